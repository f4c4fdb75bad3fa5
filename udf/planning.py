"""From a version to its Plan, on the driver."""

from __future__ import annotations

from pyspark.sql import SparkSession

from kerasql.registry.engine import engine_named
from kerasql.registry.preprocess import preprocessor_from_json
from kerasql.registry.settings import setting
from kerasql.registry.version import Version
from kerasql.udf.plan import Plan

BATCH_BYTES = 16 * 2**20
MOST_BATCH_ROWS = 4096


def plan_of(spark: SparkSession, version: Version, variant: str, *, scalar: bool) -> Plan:
    """Everything an executor needs to answer with this version."""
    inputs, outputs = version.signature.inputs, version.signature.outputs
    roles = (*engine_named(version.engine).roles, "golden")
    sizes = [spec.size for spec in inputs]
    batch_rows = setting("KERASQL_BATCH_ROWS")
    if all(sizes):
        row_bytes = 4 * sum(size for size in sizes if size)
        batch_rows = max(batch_rows, min(BATCH_BYTES // row_bytes, MOST_BATCH_ROWS))
    return Plan(
        ref=version.ref,
        variant=variant,
        signature=version.signature,
        preprocess=tuple(preprocessor_from_json(version.preprocess[i.name]) for i in inputs),
        outputs=tuple(version.outputs[o.name] for o in outputs),
        columns=(version.columns or ()) if scalar else (),
        engine=version.engine,
        artifacts={role: version.artifacts[role].sha256 for role in roles},
        threads=int(spark.conf.get("spark.task.cpus", "1") or 1),
        batch_rows=batch_rows,
        max_pixels=setting("KERASQL_MAX_PIXELS"),
        read_paths=setting("KERASQL_READ_PATHS"),
    )
