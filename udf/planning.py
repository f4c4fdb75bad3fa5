"""From a version to its Plan, on the driver."""

from __future__ import annotations

import math
from typing import Any

from pyspark.sql import SparkSession

from kerasql.registry.engine import engine_named
from kerasql.registry.preprocess import preprocessor_from_json
from kerasql.registry.settings import setting
from kerasql.registry.version import Version
from kerasql.udf.functions import is_connect
from kerasql.udf.plan import Plan

BATCH_BYTES = 48 * 2**20
SLICE_BYTES = 64 * 2**20
SLICE_ROWS = 24
FREE_AXIS_ROWS = 32


def plan_of(spark: SparkSession, version: Version, variant: str, *, scalar: bool) -> Plan:
    """Everything an executor needs to answer with this version."""
    inputs, outputs = version.signature.inputs, version.signature.outputs
    roles = (*engine_named(version.engine).roles(version.artifacts), "golden")
    return Plan(
        ref=version.ref,
        variant=variant,
        signature=version.signature,
        preprocess=tuple(preprocessor_from_json(version.preprocess[i.name]) for i in inputs),
        outputs=tuple(version.outputs[o.name] for o in outputs),
        columns=(version.columns or ()) if scalar else (),
        engine=version.engine,
        artifacts={role: version.artifacts[role].sha256 for role in roles},
        network_bytes=sum(version.artifacts[role].size_bytes for role in roles),
        precision=version.engine_report.get("precision", "f32"),
        allowed=allowed_difference(version),
        batch_rows=rows_at_once(version),
        slice_rows=rows_in_a_slice(version),
        max_pixels=setting("KERASQL_MAX_PIXELS"),
        read_paths=setting("KERASQL_READ_PATHS"),
        limits=server_limits(spark),
    )


def allowed_difference(version: Version) -> float | None:
    """How far a golden answer in bfloat16 may be from Keras'; None for float32's promise.

    Twice what was measured at registration, where another CPU rounds at other places.
    """
    measured = version.engine_report.get("bf16_difference")
    return None if measured is None else 2 * float(measured) + 1e-3


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


def rows_at_once(version: Version) -> int:
    """As many rows as keep a prediction's tensors within BATCH_BYTES.

    Counted are inputs, outputs and twice the largest output of a layer, in float32. Where an axis
    has any length nobody can count, and FREE_AXIS_ROWS is taken.
    """
    most: int = setting("KERASQL_BATCH_ROWS")
    ends = [spec.size for spec in (*version.signature.inputs, *version.signature.outputs)]
    if None in ends:
        return min(most, FREE_AXIS_ROWS)
    largest = max((elements(layer.get("output")) for layer in version.layers), default=0)
    row_bytes = 4 * (sum(size for size in ends if size) + 2 * largest)
    return max(1, min(most, BATCH_BYTES // max(row_bytes, 1)))


def rows_in_a_slice(version: Version) -> int:
    """How many rows a task prepares before it hands them over: enough for two batches, and for the
    handing over to cost little, as long as they fit SLICE_BYTES.
    """
    row_bytes = 4 * sum(spec.size or 0 for spec in version.signature.inputs)
    return max(2 * rows_at_once(version), min(SLICE_ROWS, SLICE_BYTES // max(row_bytes, 1)))


def elements(shape: Any) -> int:
    """The elements of one row of a layer's output, or of the largest of its outputs."""
    if not shape:
        return 0
    if isinstance(shape[0], list):
        return max(elements(one) for one in shape)
    return math.prod(length for length in shape[1:] if length)
