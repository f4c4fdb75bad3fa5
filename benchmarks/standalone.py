"""A real Spark cluster on this machine: a standalone master and workers, as PySpark has them."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark

from benchmarks import peak


@dataclass(frozen=True)
class Cluster:
    """A master that listens, and the processes of its workers."""

    master: str
    workers: tuple[int, ...]

    def executors(self) -> list[int]:
        """The Java processes that run tasks now."""
        below = [pid for worker in self.workers for pid in peak.children(worker)]
        return [pid for pid in below if "CoarseGrainedExecutorBackend" in peak.command_line(pid)]


@contextmanager
def cluster(folder: Path, *, workers: int, environment: Mapping[str, str]) -> Iterator[Cluster]:
    """A master and so many workers of one core each; logs and work lie in the folder."""
    port = free_port()
    address = f"spark://127.0.0.1:{port}"
    running = [start_spark(folder, environment, "master.Master", "--port", str(port))]
    for number in range(workers):
        work = ("--cores", "1", "--memory", "1g", "--work-dir", str(folder / f"work{number}"))
        running.append(start_spark(folder, environment, "worker.Worker", *work, address))
    try:
        yield Cluster(address, tuple(process.pid for process in running[1:]))
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start_spark(
    folder: Path, environment: Mapping[str, str], name: str, *options: str
) -> subprocess.Popen[bytes]:
    """Start a part of Spark (``master.Master``); what it says goes to a file in the folder."""
    home = Path(pyspark.__file__).parent
    local = ("--host", "127.0.0.1", "--webui-port", "0")
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [str(home / "bin/spark-class"), f"org.apache.spark.deploy.{name}", *local, *options],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env={**environment, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"},
        )


def without_spark(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment less what names this Python's packages to Spark."""
    return {k: v for k, v in environment.items() if not k.startswith(("PYSPARK", "PYTHONPATH"))}
