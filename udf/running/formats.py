"""A stored result as a file to take away, made a piece at a time."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from kerasql.registry.errors import InvalidInput
from kerasql.udf.running.results import Stored, pieces


def as_arrow(stored: Stored) -> Iterator[bytes]:
    """An Arrow IPC file (Feather): the stored one as it is."""
    yield from pieces(stored.file)


def as_parquet(stored: Stored) -> Iterator[bytes]:
    """A Parquet file. Raises InvalidInput for a type that Parquet has not."""
    sink = _Sink()
    try:
        with pa.parquet.ParquetWriter(sink, stored.schema, compression="zstd") as writer:
            for batch in stored.batches():
                writer.write_batch(batch)
                yield sink.taken()
    except pa.ArrowNotImplementedError as error:
        raise InvalidInput(f"Parquet cannot hold this result ({error}); take arrow") from error
    yield sink.taken()


def as_csv(stored: Stored) -> Iterator[bytes]:
    """CSV with a header; arrays, structs and maps are JSON, binary is base64, NULL is nothing."""
    sink = _Sink()
    schema = pa.schema([(field.name, _csv_type(field.type)) for field in stored.schema])
    with pa.csv.CSVWriter(sink, schema) as writer:
        for batch in stored.batches():
            columns = [
                _csv_column(column, kind) for column, kind in zip(batch, schema.types, strict=True)
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            yield sink.taken()
    yield sink.taken()


def as_json(stored: Stored) -> Iterator[bytes]:
    """An array of objects, each on a line of its own.

    Times are ISO, binary is base64, decimals are texts, and what JSON has no number for (NaN) is
    null. A name that several columns have gets a number behind it.
    """
    names = _distinct(stored.schema.names)
    before = b"[\n"
    for batch in stored.batches():
        columns = [column.to_pylist() for column in batch]
        rows = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
        text = ",\n".join(json.dumps(plain(row), ensure_ascii=False) for row in rows)
        if text:
            yield before + text.encode()
            before = b",\n"
    yield b"[]\n" if before == b"[\n" else b"\n]\n"


FORMATS: dict[str, Callable[[Stored], Iterator[bytes]]] = {
    "arrow": as_arrow,
    "csv": as_csv,
    "json": as_json,
    "parquet": as_parquet,
}


CSV_TYPES = (
    *(pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string),
    *(pa.types.is_date, pa.types.is_timestamp, pa.types.is_decimal),
)


def plain(value: Any) -> Any:
    """A value of SQL as JSON has it."""
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (bytes, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return str(value) if isinstance(value, (Decimal, timedelta)) else value


def _distinct(names: list[str]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        number, one = 2, name
        while one in found:
            number, one = number + 1, f"{name}_{number}"
        found[one] = None
    return list(found)


def _csv_type(kind: pa.DataType) -> pa.DataType:
    """What pyarrow can write as CSV itself; all else becomes text."""
    is_own = any(is_kind(kind) for is_kind in CSV_TYPES)
    return kind if is_own else pa.string()


def _csv_column(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type == kind:
        return column
    return pa.array([_csv_text(value) for value in column.to_pylist()], pa.string())


def _csv_text(value: Any) -> str | None:
    value = plain(value)
    is_text = value is None or isinstance(value, str)
    return value if is_text else json.dumps(value, ensure_ascii=False)


class _Sink(io.RawIOBase):
    """A file that keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def taken(self) -> bytes:
        """What was written since the last time."""
        data, self._parts = b"".join(self._parts), []
        return data
