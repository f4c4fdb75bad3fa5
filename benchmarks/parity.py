"""SQL equals Keras, shown on real models and real rows: ``python -m benchmarks.parity``.

Every real ``.h5`` that Keras loads, and MobileNet with its ImageNet weights, is registered on each
engine and called in Spark SQL; another process asks Keras about the same bytes and rows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import SparkSession

from benchmarks import inputs
from benchmarks.cases import Case, cases
from benchmarks.report import console, data_folder, machine, write
from kerasql.registry.engine import ENGINES, agree, largest_difference
from kerasql.registry.errors import InvalidInput
from kerasql.registry.preprocess import Image
from kerasql.registry.store import Registry, connect
from kerasql.registry.version import Version
from kerasql.udf.deploy import deploy
from kerasql.udf.query import query
from kerasql.udf.session import local_session

CHURN_SQL = ", ".join(
    ["CreditScore", "Gender = 'Male'", *inputs.CHURN_NUMBERS]
    + [f"Geography = '{country}'" for country in inputs.COUNTRIES]
)


@dataclass(frozen=True)
class Parity:
    """One model on one engine: the largest difference of its SQL answers to Keras' own.

    predicted is how many rows the model server says that it computed. An engine that was refused
    has no rows and says why; Keras itself must never be.
    """

    case: str
    engine: str
    rows: int = 0
    predicted: int = 0
    difference: float = 0.0
    agrees: bool = True
    refused: str = ""


@dataclass(frozen=True)
class Anchor:
    """A figure known before, with the digits it is known to, and what SQL gives."""

    what: str
    expected: str
    found: float

    @property
    def shown(self) -> str:
        """The figure found, with as many digits."""
        digits = len(self.expected.partition(".")[2])
        return f"{self.found:.{digits}f}"

    @property
    def is_kept(self) -> bool:
        """Whether SQL gives the figure known before."""
        return self.shown == self.expected


@dataclass(frozen=True)
class Bench:
    """Everything one run needs: real rows in a temporary folder, Keras' answers, a registry."""

    folder: Path
    data: Path
    cases: tuple[Case, ...]
    loadable: tuple[str, ...]
    registry: Registry
    versions: Mapping[tuple[str, str], Version | str]


def prepare(data: Path, folder: Path) -> Bench:
    """Write the rows, ask Keras, register every case on every engine."""
    known_cases = cases(data, folder)
    loadable = ask_keras(data, folder, known_cases)
    known = {case.model.stem for case in known_cases}
    if unknown := sorted(set(loadable) - known):
        raise LookupError(f"Keras loads {unknown}, and no case says how to ask them")
    registry = connect(f"sqlite:///{folder}/models.db", artifacts="")
    usable = tuple(case for case in known_cases if case.model.stem in {*loadable, "mobilenet"})
    return Bench(folder, data, usable, loadable, registry, register(registry, usable))


def ask_keras(data: Path, folder: Path, asked: Sequence[Case]) -> tuple[str, ...]:
    """Have Keras answer, in another process; returns the names of the real files it loads."""
    files = sorted((data / "h5").glob("*.h5"))
    request = {
        "mobilenet_weights": str(data / "pretrained/mobilenet_v1_0.25_224_imagenet.h5"),
        "models": [str(path) for path in (*files, folder / "mobilenet.h5")],
        "questions": [case.question for case in asked],
    }
    (folder / "request.json").write_text(json.dumps(request))
    in_a_process("plain_keras.py", folder)
    loaded = json.loads((folder / "loaded.json").read_text())
    return tuple(path.stem for path in files if not loaded[str(path)])


def in_a_process(script: str, *arguments: object) -> str:
    """Run a script that lies beside this one; what it printed."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(script), *map(str, arguments)],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script} failed: {done.stderr[-2000:]}")
    return done.stdout


def register(registry: Registry, chosen: Sequence[Case]) -> dict[tuple[str, str], Version | str]:
    """(case, engine) -> the version, or why that engine was refused; two at a time."""

    def one(case: Case, engine: str) -> Version | str:
        try:
            return registry.register(
                f"{case.name}_{engine}",
                case.model,
                preprocess=case.preprocess,
                labels=case.labels,
                columns=case.columns,
                engine=engine,
            )
        except InvalidInput as refusal:
            return str(refusal)

    with ThreadPoolExecutor(2) as threads:
        running = {
            (case.name, engine): threads.submit(one, case, engine)
            for case in chosen
            for engine in ENGINES
        }
        return {key: future.result() for key, future in running.items()}


def measure(spark: SparkSession, bench: Bench) -> list[Parity]:
    """Every case on every engine: SQL's numbers against Keras' own, row by row."""
    deploy(spark, bench.registry)
    for case in bench.cases:
        table = bench.folder / f"{case.name}.parquet"
        if isinstance(case.preprocess, Image):
            inputs.write_pictures(case.rows, table)
        else:
            inputs.write_rows(np.load(case.rows), table)
        spark.read.parquet(str(table)).createOrReplaceTempView(f"{case.name}_rows")
    return [compare(spark, bench, case, engine) for case in bench.cases for engine in ENGINES]


def compare(spark: SparkSession, bench: Bench, case: Case, engine: str) -> Parity:
    """One case on one engine; a row without an answer is a difference without bounds."""
    version = bench.versions[case.name, engine]
    if isinstance(version, str):
        return Parity(case.name, engine, agrees=engine != "keras", refused=version)
    function = f"{case.name}_{engine}{case.scores}"
    sql = f"SELECT {function}(x) AS answer FROM {case.name}_rows ORDER BY row"
    result = query(spark, sql, limit=None)
    answers = result.table["answer"].to_pylist()
    predicted = result.stats[version.ref].predicted
    with np.load(bench.folder / f"{case.name}.npz") as arrays:
        expected = [arrays[f"y{n}"] for n in range(len(arrays.files))]
    if None in answers:
        return Parity(case.name, engine, len(answers), predicted, np.inf, agrees=False)
    names = [spec.name for spec in version.signature.outputs]
    parts = [[one[name] for one in answers] for name in names] if len(names) > 1 else [answers]
    ours = [
        np.array(part, np.float32).reshape(theirs.shape)
        for part, theirs in zip(parts, expected, strict=True)
    ]
    return Parity(
        case.name,
        engine,
        len(answers),
        predicted,
        largest_difference(ours, expected),
        agree(ours, expected) and predicted > 0,
    )


def anchors(spark: SparkSession, bench: Bench, engine: str) -> list[Anchor]:
    """The figures of the data's README through SQL, by label and by scores."""
    beside = bench.data / "h5/sidecars"
    digits = inputs.write_digits(bench.data / "mnist", bench.folder / "all_digits.parquet")
    spark.read.parquet(str(digits)).createOrReplaceTempView("digits")
    customers = beside / "k3_8_0_churn_mlp/Churn_Modelling.csv"
    reader = spark.read.options(header=True, inferSchema=True)
    reader.csv(str(customers)).createOrReplaceTempView("customers")
    hands = spark.read.options(inferSchema=True).csv(
        str(beside / "tf2_4_0_keypoint_mlp/keypoint.csv")
    )
    hands.createOrReplaceTempView("hands")
    signs = "map(0, 'Open', 1, 'Close', 2, 'Pointer')"
    hand = f"array({', '.join(hands.columns[1:])})"
    best = "array_position({0}, array_max({0})) - 1".format
    e = engine
    asked = [
        ("MNIST, label", f"mnist_{e}(image) = digit", "digits", "0.9813"),
        ("MNIST, scores", f"{best(f'mnist_{e}_scores(image)')} = digit", "digits", "0.9813"),
        (
            "churn, label",
            f"(churn_{e}({CHURN_SQL}) = 'leaves') = (Exited = 1)",
            "customers",
            "0.8645",
        ),
        (
            "churn, scores",
            f"(churn_{e}_scores({CHURN_SQL}) > 0.5) = (Exited = 1)",
            "customers",
            "0.8645",
        ),
        ("keypoint, label", f"keypoint_{e}({hand}) = {signs}[_c0]", "hands", "0.965"),
        ("keypoint, scores", f"{best(f'keypoint_{e}_scores({hand})')} = _c0", "hands", "0.965"),
    ]
    return [
        Anchor(f"{what}, {engine}", expected, average(spark, sql, table))
        for what, sql, table, expected in asked
    ]


def average(spark: SparkSession, condition: str, table: str) -> float:
    """How often a condition holds in a table; rows without an answer count as wrong."""
    sql = f"SELECT avg(CAST(coalesce({condition}, false) AS INT)) FROM {table}"
    return float(spark.sql(sql).first()[0])  # type: ignore[index]  # an aggregate has one row


def same_top_1(spark: SparkSession, bench: Bench, like: str, engine: str) -> list[Anchor]:
    """On how many of the photos MobileNet's label in SQL is Keras' own; and by its scores."""
    case = next(case for case in bench.cases if case.name == f"mobilenet_{like}")
    function = f"{case.name}_{engine}"
    with np.load(bench.folder / f"{case.name}.npz") as arrays:
        keras = arrays["y0"].argmax(axis=1)
    assert not isinstance(case.labels, Path | None)
    found: dict[str, Callable[[Any], object]] = {
        function: case.labels.index,
        f"{function}_scores": lambda scores: int(np.argmax(scores)),
    }
    counts = []
    for name, chosen in found.items():
        sql = f"SELECT {name}(x) AS answer FROM {case.name}_rows ORDER BY row"
        answers = spark.sql(sql).toArrow()["answer"].to_pylist()
        same = sum(chosen(ours) == theirs for ours, theirs in zip(answers, keras, strict=True))
        kind = "scores" if name.endswith("_scores") else "label"
        counts.append(Anchor(f"MobileNet top-1, {like}, {kind}, {engine}", str(len(keras)), same))
    return counts


def main() -> int:
    """Print both tables; 1 where anything differs."""
    started = time.perf_counter()
    data = data_folder()
    with tempfile.TemporaryDirectory(prefix="kerasql-parity-") as folder:
        console.print(f"{machine()}\nasking Keras, and registering on each engine …")
        bench = prepare(data, Path(folder))
        console.print(f"Keras loads {len(bench.loadable)} of the real files, and MobileNet")
        spark = local_session(master="local[2]")
        try:
            compared = measure(spark, bench)
            kept = [anchor for engine in ENGINES for anchor in anchors(spark, bench, engine)]
            tops = [
                anchor
                for like in ("load_img", "image_dataset")
                for engine in ENGINES
                for anchor in same_top_1(spark, bench, like, engine)
            ]
        finally:
            spark.stop()
            bench.registry.close()
    show(compared, kept, tops)
    console.print(f"{time.perf_counter() - started:.0f} s in all")
    wrong = [row for row in compared if not row.agrees] + [a for a in kept + tops if not a.is_kept]
    return 1 if wrong else 0


def show(compared: Sequence[Parity], kept: Sequence[Anchor], tops: Sequence[Anchor]) -> None:
    """The tables."""
    write(
        "SQL against Keras: |a - b| <= 1e-4 + 1e-4 |b|",
        ("model", "engine", "rows", "by the server", "largest difference", "within"),
        (
            (row.case, row.engine, "", "", row.refused, "refused")
            if row.refused
            else (
                row.case,
                row.engine,
                f"{row.rows:,}",
                f"{row.predicted:,}",
                f"{row.difference:.1e}",
                "yes" if row.agrees else "NO",
            )
            for row in compared
        ),
    )
    write(
        "accuracy through SQL",
        ("model", "expected", "found", "same"),
        ((a.what, a.expected, a.shown, "yes" if a.is_kept else "NO") for a in kept),
    )
    write(
        "the 89 cars and buses: photos on which SQL's top-1 is Keras'",
        ("model", "same top-1"),
        ((a.what, f"{a.shown}/{a.expected}") for a in tops),
    )


if __name__ == "__main__":
    sys.exit(main())
