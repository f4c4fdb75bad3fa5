"""A result as people and other programs read it: a table, CSV, Parquet."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet
from rich.console import Console
from rich.table import Table

from kerasql.registry.errors import InvalidInput
from kerasql.udf.query import Result

MOST_ITEMS = 6
MOST_CHARACTERS = 120


def write_table(result: Result, console: Console) -> None:
    """Rows in columns; bytes by their size, long lists by their beginning, NULL as NULL."""
    table = Table(header_style="bold")
    for name in result.table.column_names:
        table.add_column(name.replace("[", r"\["), overflow="fold")
    for row in zip(*(column.to_pylist() for column in result.table.columns), strict=True):
        table.add_row(*(in_table(value).replace("[", r"\[") for value in row))
    console.print(table)
    rows = result.table.num_rows
    console.print(f"{rows:,} row{'' if rows == 1 else 's'}", highlight=False)


def in_table(value: Any) -> str:
    """One value as a table's cell shows it."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {in_table(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        more = [f"… {len(value)} in all"] if len(value) > MOST_ITEMS else []
        return "[" + ", ".join([in_table(v) for v in value[:MOST_ITEMS]] + more) + "]"
    text = str(value)
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def write_csv(result: Result, file: IO[str]) -> None:
    """RFC 4180 with a header; NULL is an empty field, bytes are hex, lists and structs are JSON."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(result.table.column_names)
    for row in zip(*(column.to_pylist() for column in result.table.columns), strict=True):
        writer.writerow([in_csv(value) for value in row])


def in_csv(value: Any) -> Any:
    """One value as a CSV field."""
    if isinstance(value, bytes):
        return value.hex()
    return json.dumps(value, default=str) if isinstance(value, dict | list) else value


def write_parquet(result: Result, path: Path) -> None:
    """The rows as one Parquet file, whole or not at all."""
    try:
        with tempfile.TemporaryDirectory(prefix=".kerasql-", dir=path.resolve().parent) as folder:
            part = Path(folder, "rows.parquet")
            pyarrow.parquet.write_table(result.table, part)
            os.replace(part, path)  # noqa: PTH105 - atomic, and says so
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}") from error
