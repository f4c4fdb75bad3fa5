"""Who is compared, each in a process of its own: ``python -m benchmarks.contestants KIND FOLDER``.

One JSON line is a question, one the answer. ``Apart`` starts such a process and asks.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from pyspark.sql.pandas.functions import arrow_udf

import kerasql
from benchmarks import peak
from benchmarks.bench import PRECISIONS, ROLES, Bench, preprocessor
from benchmarks.limit import TAKEN, Work, best_batch, best_way, decoding_s, measured
from benchmarks.peers import PEERS
from kerasql.udf.session import local_session

AGGREGATE = f"SELECT sum({{function}}(image)[{TAKEN}]) FROM images"
"""Every row is predicted, one number comes back."""


CONF = {
    "spark.driver.memory": "2g",
    # A part of every file for every core; by default it must be worth 4 MB.
    "spark.sql.files.openCostInBytes": "1",
}


class Contestant(Protocol):
    """Who answers questions."""

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Seconds, and what was found."""


@dataclass
class InSpark:
    """A contestant behind a SQL function; a question names the rows and perhaps the SQL."""

    bench: Bench
    kind: str
    network: str
    master: str = "local[*]"

    def __post_init__(self) -> None:
        self.spark = local_session(master=self.master, conf=CONF)
        self.functions = self.deployed()

    def deployed(self) -> dict[str, str]:
        """The SQL functions by precision."""
        if self.kind == "ours":
            # The registry stays open: it is asked at every analysis.
            self.registry = self.bench.registry()
            kerasql.deploy(self.spark, self.registry)
            return {p: f"{self.network}_v{n}" for n, p in enumerate(PRECISIONS, 1)}
        if self.kind == "identity":
            self.spark.udf.register("answer", identity())
        else:
            PEERS[self.kind](self.spark, self.bench, self.network, "answer")
        return {"f32": "answer"}

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Run one query; with ``stats``, through ``kerasql.query``, which counts.

        In the SQL ``{function}`` is the contestant's function, ``same`` one that does nothing.
        """
        self.spark.read.parquet(question["rows"]).createOrReplaceTempView("images")
        function = self.functions[question.get("precision", "f32")]
        sql = question.get("sql", AGGREGATE).format(function=function)
        if "stats" in question:
            result = kerasql.query(self.spark, sql, limit=None)
            return {"stats": {ref: stats_of(one) for ref, one in result.stats.items()}}
        if "same(" in sql:
            self.spark.udf.register("same", identity())
        before = self.cpu_s()
        started = time.perf_counter()
        rows = self.spark.sql(sql).collect()
        seconds = time.perf_counter() - started
        cpu_s = {kind: used - before[kind] for kind, used in self.cpu_s().items()}
        found = rows[0][0] if "sql" not in question else len(rows)
        memory = self.memory() if "memory" in question else {}
        return {"seconds": seconds, "total": found, "cpu_s": cpu_s, **memory}

    def cpu_s(self) -> dict[str, float]:
        """The seconds of CPU that the processes of this session have used, by their kind."""
        server = peak.servers(self.java)
        kinds = {
            "Java": [self.java],
            "Python workers": peak.workers(self.java),
            "front": server[:1],
            "runner": server[1:],
        }
        return {kind: sum(peak.cpu_s(pid) for pid in pids) for kind, pids in kinds.items()}

    def memory(self) -> dict[str, Any]:
        """Megabytes of the processes of this session, and of what the driver's Java keeps."""
        java = self.java
        servers = peak.servers(java)
        self.spark._jvm.java.lang.System.gc()  # type: ignore[union-attr]  # a classic session
        runtime = self.spark._jvm.java.lang.Runtime.getRuntime()  # type: ignore[union-attr]
        return {
            "driver_mb": peak.resident_mb(),
            "heap_mb": (runtime.totalMemory() - runtime.freeMemory()) / peak.MB,
            "java_mb": peak.resident_mb(java),
            "servers": len(servers),
            "server_mb": sum(peak.resident_mb(pid) for pid in servers),
            "workers_mb": [peak.resident_mb(pid) for pid in peak.workers(java)],
        }

    @cached_property
    def java(self) -> int:
        """The number of Spark's Java process, which is driver and executor here."""
        return int(self.spark._jvm.java.lang.ProcessHandle.current().pid())  # type: ignore[union-attr]


def stats_of(one: Any) -> dict[str, float]:
    """One version's counters as plain numbers."""
    names = ("rows", "predicted", "hits", "batches", "loads", "restarts", "held_bytes")
    return {name: getattr(one, name) for name in names}


def identity() -> Any:
    """A function that does nothing: what Spark's first Python worker costs."""

    def same(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        yield from batches

    return arrow_udf(same, "binary")  # type: ignore[call-overload]  # types of 4.3 know BINARY not


@dataclass
class Limit:
    """The loop without Spark; a question names rows and precision."""

    bench: Bench
    kind: str
    network: str

    def __post_init__(self) -> None:
        self.chosen: dict[str, tuple[int, str]] = {}

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Seconds and the sum, with the batch and in the way that suit the network.

        With ``decode``, the seconds of CPU that so many rows take to be decoded alone.
        """
        precision = question.get("precision", "f32")
        work = Work(
            rows=Path(question["rows"]),
            files={role: self.bench.artifact(self.network, role) for role in ROLES},
            image=preprocessor(self.network),
            spec=self.bench.version(self.network).signature.inputs[0],
            precision=precision,
        )
        if "decode" in question:
            return {"cpu_s": decoding_s(work, question["decode"])}
        if precision not in self.chosen:
            work = replace(work, batch=best_batch(work))
            self.chosen[precision] = work.batch, best_way(work)
        batch, way = self.chosen[precision]
        return {**measured(replace(work, batch=batch), way), "batch": batch, "way": way}


def main(kind: str, folder: str, network: str, *master: str) -> None:
    """Answer until nobody asks any more."""
    # What Spark, TensorFlow and workers print must not mix with our lines.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    bench = Bench(Path(folder))
    one: Contestant = (
        Limit(bench, kind, network) if kind == "limit" else InSpark(bench, kind, network, *master)
    )
    for line in sys.stdin:
        print(json.dumps(one.answer(json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
