"""What a 500 MB model costs the caller: ``python -m benchmarks.memory [MB]``.

A network of random weights is registered, deployed and asked once, in a fresh process for each
artifact store. The caller is the Python process that does so: Spark's JVM, the child process that
loads the model, Spark's Python workers and the executor's model server are others.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import kerasql
from benchmarks import peak
from benchmarks.report import console, machine, write

MOST_GROWTH_MB = 150


@dataclass(frozen=True)
class Cost:
    """What one store cost: seconds, and megabytes the caller grew by at its peak."""

    store: str
    size_mb: float
    register_s: float
    register_growth_mb: float
    answer_s: float
    answer_growth_mb: float
    worker_peak_mb: float
    server_peak_mb: float

    @property
    def is_kept(self) -> bool:
        """Whether the caller never held the model."""
        return max(self.register_growth_mb, self.answer_growth_mb) < MOST_GROWTH_MB


@dataclass
class Growth:
    """How far the peak of this process went above what it held before, and for how long."""

    mb: float = 0.0
    seconds: float = 0.0


@contextmanager
def growth() -> Iterator[Growth]:
    """Measure this process while the block runs."""
    measured, before, started = Growth(), peak.reset_peak(), time.perf_counter()
    yield measured
    measured.seconds = time.perf_counter() - started
    measured.mb = peak.peak_mb() - before


def cost(model: Path, folder: Path, store: str) -> Cost:
    """Register, deploy and ask the model once, as a caller that has done neither before."""
    from kerasql.udf.session import local_session

    artifacts = "" if store == "database" else f"file://{folder}/artifacts"
    registry = kerasql.connect(f"sqlite:///{folder}/models.db", artifacts=artifacts)
    with growth() as registering:
        version = registry.register("large", model)
    spark = local_session(master="local[2]")
    try:
        with growth() as answering:
            kerasql.deploy(spark, registry)
            sql = "SELECT large(array_repeat(0.5, 64)) AS scores"
            answer = kerasql.query(spark, sql).table["scores"].to_pylist()
        workers = [peak.peak_mb(pid) for pid in peak.workers()]
        jvm: Any = spark.sparkContext._jvm
        java = jvm.java.lang.ProcessHandle.current().pid()
        servers = [peak.peak_mb(pid) for pid in peak.servers(java)]
    finally:
        spark.stop()
        registry.close()
    assert len(answer[0]) == 10, "the model did not answer"
    return Cost(
        f"{store}, {version.engine}",
        model.stat().st_size / peak.MB,
        registering.seconds,
        registering.mb,
        answering.seconds,
        answering.mb,
        max(workers),
        max(servers),
    )


def measure(size_mb: int) -> list[Cost]:
    """The cost in both stores, each in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="kerasql-memory-") as folder:
        model = Path(folder, "large.h5")
        script = Path(__file__).with_name("random_model.py")
        subprocess.run(
            [sys.executable, script, model, str(size_mb)], check=True, capture_output=True
        )
        return [measure_in_a_process(model, Path(folder), store) for store in ("database", "file")]


def measure_in_a_process(model: Path, folder: Path, store: str) -> Cost:
    """One store's cost, as a fresh process finds it."""
    console.print(f"registering {model.stat().st_size / peak.MB:.0f} MB, store: {store} …")
    room = folder / store
    room.mkdir()
    command = [sys.executable, "-m", "benchmarks.memory", str(model), str(room), store]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def main(arguments: list[str]) -> int:
    """Print the table; 1 where the caller grew too much."""
    if len(arguments) == 3:
        print(json.dumps(asdict(cost(Path(arguments[0]), Path(arguments[1]), arguments[2]))))
        return 0
    console.print(machine())
    costs = measure(int(arguments[0]) if arguments else 500)
    write(
        f"what a {costs[0].size_mb:.0f} MB model costs the caller (allowed: {MOST_GROWTH_MB} MB)",
        (
            "artifact store, engine",
            "registered s",
            "caller grew by MB",
            "deploy + query s",
            "caller grew by MB",
            "Python worker's peak MB",
            "model server's peak MB",
            "within",
        ),
        (
            (
                one.store,
                f"{one.register_s:.1f}",
                f"{one.register_growth_mb:.0f}",
                f"{one.answer_s:.1f}",
                f"{one.answer_growth_mb:.0f}",
                f"{one.worker_peak_mb:.0f}",
                f"{one.server_peak_mb:.0f}",
                "yes" if one.is_kept else "NO",
            )
            for one in costs
        ),
    )
    return 0 if all(one.is_kept for one in costs) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
