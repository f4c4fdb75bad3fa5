"""From a version to its Plan, on the driver."""

from __future__ import annotations

import math
import re
from typing import Any

from pyspark.sql import SparkSession

from kerasql.registry.engine import engine_named
from kerasql.registry.preprocess import preprocessor_from_json
from kerasql.registry.settings import setting
from kerasql.registry.version import Version
from kerasql.udf.devices import visible_gpus
from kerasql.udf.functions import is_connect
from kerasql.udf.plan import OnGpu, Plan

BATCH_BYTES = 48 * 2**20
GPU_BATCH_BYTES = 1024 * 2**20
"""A GPU computes many rows in the time of a few, and its memory is for that."""
SLICE_BYTES = 64 * 2**20
GPU_SLICE_BYTES = 32 * 2**20
SLICE_ROWS = 24
FREE_AXIS_ROWS = 32


def plan_of(spark: SparkSession, version: Version, variant: str, *, scalar: bool) -> Plan:
    """Everything an executor needs to answer with this version."""
    inputs, outputs = version.signature.inputs, version.signature.outputs
    artifacts, network_bytes = needed(version, version.engine)
    batch_rows = rows_at_once(version, BATCH_BYTES)
    row_bytes = 4 * sum(spec.size or 0 for spec in inputs)
    return Plan(
        ref=version.ref,
        variant=variant,
        signature=version.signature,
        preprocess=tuple(preprocessor_from_json(version.preprocess[i.name]) for i in inputs),
        outputs=tuple(version.outputs[o.name] for o in outputs),
        columns=(version.columns or ()) if scalar else (),
        engine=version.engine,
        artifacts=artifacts,
        network_bytes=network_bytes,
        precision=version.engine_report.get("precision", "f32"),
        allowed=allowed_difference(version, version.engine),
        batch_rows=batch_rows,
        # Enough for two batches, and for the handing over to cost little.
        slice_rows=max(2 * batch_rows, min(SLICE_ROWS, SLICE_BYTES // max(row_bytes, 1))),
        max_pixels=setting("KERASQL_MAX_PIXELS"),
        read_paths=setting("KERASQL_READ_PATHS"),
        limits=server_limits(spark),
        gpu=on_gpu(version, gpus(spark)),
    )


def on_gpu(version: Version, addresses: tuple[str, ...] | None) -> OnGpu | None:
    """What the plan is on a GPU: the engine keras, in large batches; None for no addresses."""
    if addresses is None:
        return None
    artifacts, network_bytes = needed(version, "keras")
    batch_rows = rows_at_once(version, GPU_BATCH_BYTES)
    # A power of two: GPUs work in tiles.
    batch_rows = 1 << (batch_rows.bit_length() - 1)
    row_bytes = 4 * sum(spec.size or 0 for spec in version.signature.inputs)
    return OnGpu(
        addresses=addresses,
        engine="keras",
        artifacts=artifacts,
        network_bytes=network_bytes,
        allowed=allowed_difference(version, "keras"),
        batch_rows=batch_rows,
        # A task's share of a batch: the server fills it from all of them.
        slice_rows=max(SLICE_ROWS, min(2 * batch_rows, GPU_SLICE_BYTES // max(row_bytes, 1))),
    )


def gpus(spark: SparkSession) -> tuple[str, ...] | None:
    """The GPUs of a local driver; none by name where Spark assigns them; None without any."""
    if not is_connect(spark) and re.match(r"local(\[|$)", str(spark.sparkContext.master)):
        return visible_gpus() or None
    return () if int(spark.conf.get("spark.executor.resource.gpu.amount", "0") or 0) else None


def needed(version: Version, engine: str) -> tuple[dict[str, str], int]:
    """The SHA-256 by role of what an engine needs of a version, and how many bytes that is."""
    roles = (*engine_named(engine).roles(version.artifacts), "golden")
    kept = {role: version.artifacts[role] for role in roles}
    sums = {role: one.sha256 for role, one in kept.items()}
    return sums, sum(one.size_bytes for one in kept.values())


def allowed_difference(version: Version, engine: str) -> float | None:
    """How far a golden answer in bfloat16 may be from Keras'; None for float32's promise.

    Twice what was measured at registration, as another machine rounds at other places; four times
    where another engine was measured, which rounds other things too.
    """
    measured = version.engine_report.get("bf16_difference")
    times = 2 if engine == version.engine else 4
    return None if measured is None else times * float(measured) + 1e-3


def server_limits(spark: SparkSession) -> dict[str, int]:
    """What a model server may hold and how long it waits, as the driver's settings say."""
    return {
        "cores": executor_cores(spark),
        "memory_mb": setting("KERASQL_SERVER_MEMORY_MB"),
        "memo_mb": setting("KERASQL_MEMO_MB"),
        "idle_s": setting("KERASQL_SERVER_IDLE_S"),
        "timeout_s": setting("KERASQL_PREDICT_TIMEOUT_S"),
        "load_timeout_s": setting("KERASQL_CONSTRUCT_TIMEOUT_S"),
    }


def executor_cores(spark: SparkSession) -> int:
    """The cores of an executor as Spark grants them; 0 where it grants all there are."""
    if not is_connect(spark) and str(spark.sparkContext.master).startswith("local"):
        return spark.sparkContext.defaultParallelism
    return int(spark.conf.get("spark.executor.cores", "0") or 0)


def rows_at_once(version: Version, batch_bytes: int) -> int:
    """As many rows as keep a prediction's tensors within so many bytes.

    Counted are inputs, outputs and twice the largest output of a layer, in float32. Where an axis
    has any length nobody can count, and FREE_AXIS_ROWS is taken.
    """
    most: int = setting("KERASQL_BATCH_ROWS")
    ends = [spec.size for spec in (*version.signature.inputs, *version.signature.outputs)]
    if None in ends:
        return min(most, FREE_AXIS_ROWS)
    largest = max((elements(layer.get("output")) for layer in version.layers), default=0)
    row_bytes = 4 * (sum(size for size in ends if size) + 2 * largest)
    return max(1, min(most, batch_bytes // max(row_bytes, 1)))


def elements(shape: Any) -> int:
    """The elements of one row of a layer's output, or of the largest of its outputs."""
    if not shape:
        return 0
    if isinstance(shape[0], list):
        return max(elements(one) for one in shape)
    return math.prod(length for length in shape[1:] if length)
