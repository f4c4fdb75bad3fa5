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
from kerasql.udf.stats import Stats

MOST_ITEMS = 6
MOST_CHARACTERS = 120


def write_table(result: Result, console: Console) -> None:
    """Rows in columns; bytes by their size, long lists by their beginning, NULL as NULL."""
    table = Table(header_style="bold")
    for name in result.table.column_names:
        table.add_column(name.replace("[", r"\["), overflow="fold")
    for row in result.rows():
        table.add_row(*(in_table(value).replace("[", r"\[") for value in row))
    console.print(table)
    rows = result.table.num_rows
    console.print(f"{rows:,} row{'' if rows == 1 else 's'}", highlight=False)


def stats_line(ref: str, stats: Stats) -> str:
    """What one version did in a query: ``m@1: 80 rows, 20 known, 60 predicted in 4 batches …``."""
    parts = [f"{stats.rows:,} rows", f"{stats.hits:,} known"]
    parts.append(f"{stats.predicted:,} predicted in {stats.batches:,} batches")
    more = {
        "loaded into memory": stats.loads,
        "too large for the memory and halved": stats.halved,
        "restarted after a crash": stats.restarts,
    }
    parts += [f"{what} {count:,} x" for what, count in more.items() if count]
    return f"{ref}: {', '.join(parts)}; {stats.held_bytes / 1e6:,.0f} MB held"


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
    for row in result.rows():
        writer.writerow([in_csv(value) for value in row])


def in_csv(value: Any) -> Any:
    """One value as a CSV field."""
    if isinstance(value, bytes):
        return value.hex()
    return json.dumps(value, default=in_json) if isinstance(value, dict | list) else value


def write_json(result: Result, file: IO[str]) -> None:
    """One object: ``columns``, ``rows`` (a list each) and ``truncated``; bytes are hex."""
    facts = {"columns": result.columns, "rows": result.rows(), "truncated": result.truncated}
    json.dump(facts, file, indent=2, default=in_json)
    file.write("\n")


def in_json(value: Any) -> Any:
    """What JSON has no word for: bytes as hex, times and decimals as text."""
    return value.hex() if isinstance(value, bytes) else str(value)


def write_parquet(result: Result, path: Path) -> None:
    """The rows as one Parquet file, whole or not at all."""
    for name in result.columns:
        if result.columns.count(name) > 1:
            raise InvalidInput(
                f"two columns are called {name!r}, which Parquet cannot keep apart; "
                "name them with AS"
            )
    try:
        with tempfile.TemporaryDirectory(prefix=".kerasql-", dir=path.resolve().parent) as folder:
            part = Path(folder, "rows.parquet")
            pyarrow.parquet.write_table(result.table, part)
            os.replace(part, path)  # noqa: PTH105 - atomic, and says so
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}") from error
