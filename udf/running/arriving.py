"""The rows of a frame in the driver, a task's at a time, as tasks end.

Spark's own ways are to collect all of them, or one partition after the other with a job each.
``collectAsArrowToPython`` is one job that sends what each task has made, read here as it comes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyspark.errors.exceptions.captured import unwrap_spark_exception
from pyspark.serializers import read_int
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - PySpark's own name for it
from pyspark.sql.pandas.serializers import ArrowStreamSerializer
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.util import _load_from_socket

PARTITION = "kerasql partition"


def schema_of(frame: DataFrame) -> pa.Schema:
    """The frame's columns as Arrow, times in UTC; everything may be NULL.

    Spark says NOT NULL of the fields of a struct that is NULL itself, which Parquet cannot hold.
    """
    schema = to_arrow_schema(
        frame.schema, error_on_duplicated_field_names_in_struct=True, timezone="UTC"
    )
    return pa.schema([_nullable(field) for field in schema])


def _nullable(field: pa.Field) -> pa.Field:
    kind = field.type
    if pa.types.is_struct(kind):
        kind = pa.struct([_nullable(inner) for inner in kind])
    elif pa.types.is_map(kind):
        kind = pa.map_(kind.key_type, _nullable(kind.item_field))
    elif pa.types.is_list(kind):
        kind = pa.list_(_nullable(kind.value_field))
    return pa.field(field.name, kind, metadata=field.metadata)


def arriving(frame: DataFrame) -> Generator[tuple[int, pa.RecordBatch], None, None]:
    """(partition, rows) in the order in which tasks end; a partition's in their own order.

    Spark's scheduler writes to the connection itself: who reads slowly keeps it from everybody's
    tasks. To stop, cancel the job and then close the iterator, which waits for its end.
    """
    schema = schema_of(frame)
    numbered = frame.select("*", F.spark_partition_id().alias(PARTITION))
    if _is_known(numbered):
        # Spark has worked out the few rows of VALUES, the number too, which says nothing then.
        yield from ((0, _as(schema, batch.columns)) for batch in frame._collect_as_arrow())  # type: ignore[operator]
        return
    port, secret, serving = numbered._jdf.collectAsArrowToPython()
    try:
        with _load_from_socket((port, secret), _AsTheyCome()) as batches:
            for batch in batches:
                *columns, partitions = batch.columns
                yield partitions[0].as_py(), _as(schema, columns)
    finally:
        # What went wrong in Spark is said here, also where the connection has just ended.
        with unwrap_spark_exception():
            serving.getResult()


def _is_known(frame: DataFrame) -> bool:
    plan = frame._jdf.queryExecution().optimizedPlan()
    return bool(plan.getClass().getSimpleName() == "LocalRelation")


def _as(schema: pa.Schema, columns: Sequence[pa.Array]) -> pa.RecordBatch:
    arrays = [column.cast(kind) for column, kind in zip(columns, schema.types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


class _AsTheyCome(ArrowStreamSerializer):
    """The batches of a job; what follows them is their order, or that it failed."""

    def load_stream(self, stream: Any) -> Iterator[pa.RecordBatch]:
        yield from super().load_stream(stream)
        for _ in range(_number(stream)):
            _number(stream)


def _number(stream: Any) -> int:
    return int(read_int(stream))  # type: ignore[no-untyped-call]
