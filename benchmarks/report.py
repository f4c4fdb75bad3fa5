"""Tables on the terminal, and the folder of real inputs."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

console = Console(width=118, highlight=False)


def data_folder() -> Path:
    """The folder of real models and photos that KERASQL_TEST_DATA names."""
    folder = os.environ.get("KERASQL_TEST_DATA")
    if not folder:
        sys.exit("set KERASQL_TEST_DATA to the folder of real models and photos")
    return Path(folder)


def write(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print one table; numbers and times are on the right."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)


def machine() -> str:
    """Cores and processor, as one line."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{len(os.sched_getaffinity(0))} cores, {model}, Python {platform.python_version()}"
