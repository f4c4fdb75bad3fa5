"""How long deploying 100 models of 3 versions takes: ``python -m benchmarks.deploy``.

Every name of every model becomes callable in a new session, and no artifact moves before a query
is analysed. The artifacts are small: what is measured is the registry, Python and Spark's analyser.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pyspark.sql import SparkSession

from benchmarks.report import console, machine, write
from kerasql.registry.preprocess import Image
from kerasql.registry.signature import Output, Signature, TensorSpec
from kerasql.registry.store import Registry, connect
from kerasql.registry.version import Examined
from kerasql.udf.artifacts import _sent
from kerasql.udf.deploy import deploy
from kerasql.udf.session import local_session

MODELS, VERSIONS, RUNS = 100, 3, 7
MOST_SECONDS = 2.0

EXAMINED = Examined(
    signature=Signature(
        inputs=(TensorSpec("image", "float32", (224, 224, 3)),),
        outputs=(TensorSpec("scores", "float32", (2,)),),
    ),
    layers=[{"name": "dense", "class": "Dense", "output": [None, 2], "parameters": 6}],
    parameters=6,
    keras_version="3.15.1",
    engine="openvino",
    engine_report={"engine": "openvino", "difference": 0.0},
    inspection={},
)
ROLES = ("model", "golden", "openvino.xml", "openvino.bin")


@dataclass(frozen=True)
class Run:
    """One deployment in a new session, then a query: seconds, names and what was moved.

    broadcasts counts Spark's, of any kind, while deploying; sent counts artifacts.
    """

    deploy_s: float
    names: int
    unresolved: tuple[str, ...]
    broadcasts: int
    sent: int
    first_analysis_s: float
    next_analysis_s: float
    sent_by_query: int

    @property
    def moved_nothing(self) -> bool:
        """Whether no artifact left the registry before the query."""
        return self.broadcasts == self.sent == 0

    @property
    def is_kept(self) -> bool:
        """Whether all names came in time, and no artifact with them."""
        return self.deploy_s < MOST_SECONDS and not self.unresolved and self.moved_nothing


def fill(registry: Registry, folder: Path, *, models: int, versions: int) -> None:
    """Save so many models of so many versions, with artifacts of a few random bytes."""
    files = {role: folder / role for role in ROLES}
    for model in range(models):
        for _ in range(versions):
            for path in files.values():
                path.write_bytes(os.urandom(1000))
            registry.save(
                f"model_{model:03d}",
                EXAMINED,
                preprocess={"image": Image(size=(224, 224), scale="tf").to_json()},
                outputs={"scores": Output("label", ("daisy", "tulip"))},
                files=files,
            )


def measure(spark: SparkSession, registry: Registry) -> Run:
    """Deploy everything to a new session, then have one query analysed, then another."""
    session = spark.newSession()
    first, sent = next_broadcast(spark), sent_files(spark)
    deploy_s, deployment = timed(lambda: deploy(session, registry))
    broadcasts = next_broadcast(spark) - first - 1
    sent_by_deploying = sent_files(spark) - sent
    unresolved = tuple(name for name in deployment.functions if not resolves(session, name))
    model = registry.models()[0].name
    first_s, _ = timed(lambda: session.sql(f"SELECT {model}(X'00')"))
    next_s, _ = timed(lambda: session.sql(f"SELECT {model}(X'00')"))
    return Run(
        deploy_s,
        len(deployment.functions),
        unresolved,
        broadcasts,
        sent_by_deploying,
        first_s,
        next_s,
        sent_files(spark) - sent,
    )


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result of a call."""
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def resolves(session: SparkSession, name: str) -> bool:
    """Whether Spark's analyser finds the function."""
    context: Any = session.sparkContext
    identifier = context._jvm.org.apache.spark.sql.catalyst.FunctionIdentifier(name)
    catalog = session._jsparkSession.sessionState().catalog()
    return bool(catalog.isTemporaryFunction(identifier))


def next_broadcast(spark: SparkSession) -> int:
    """Spark numbers its broadcasts: the number of one that is made for this question."""
    context: Any = spark.sparkContext
    return int(context._jsc.broadcast("what number is next?").id())


def sent_files(spark: SparkSession) -> int:
    """How many artifacts kerasql has handed to Spark in this process."""
    return len(_sent.get(spark.sparkContext, {}))


def main() -> int:
    """Print the medians; 1 where a run broke the promise."""
    with tempfile.TemporaryDirectory(prefix="kerasql-deploy-") as folder:
        console.print(machine())
        registry = connect(f"sqlite:///{folder}/models.db", artifacts="")
        fill_s, _ = timed(lambda: fill(registry, Path(folder), models=MODELS, versions=VERSIONS))
        console.print(f"{MODELS} models of {VERSIONS} versions saved in {fill_s:.1f} s")
        spark = local_session(master="local[2]")
        try:
            runs = [measure(spark, registry) for _ in range(RUNS)]
        finally:
            spark.stop()
            registry.close()
    show(runs)
    return 0 if all(run.is_kept for run in runs) else 1


def show(runs: Sequence[Run]) -> None:
    """The table: the first run, in which Spark is cold, and the median of all."""
    middle: dict[str, Callable[[Run], float]] = {
        f"deploy, s (allowed: {MOST_SECONDS:g})": lambda run: run.deploy_s,
        "first query's analysis, s": lambda run: run.first_analysis_s,
        "the same query's analysis again, s": lambda run: run.next_analysis_s,
    }
    counts: dict[str, Callable[[Run], int]] = {
        "SQL names": lambda run: run.names,
        "names that Spark does not find": lambda run: len(run.unresolved),
        "broadcasts Spark made for deploying": lambda run: run.broadcasts,
        "artifacts sent by deploying": lambda run: run.sent,
        "artifacts sent by the query": lambda run: run.sent_by_query,
    }
    write(
        f"{MODELS} models of {VERSIONS} versions, {len(runs)} new sessions",
        ("", "first", "median", "largest"),
        [
            *(
                (
                    name,
                    *(f"{x:.3f}" for x in (of(runs[0]), median(map(of, runs)), max(map(of, runs)))),
                )
                for name, of in middle.items()
            ),
            *(
                (name, count(runs[0]), median(map(count, runs)), max(map(count, runs)))
                for name, count in counts.items()
            ),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
