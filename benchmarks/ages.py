"""Files of every age, read by kerasql and compared with what the Keras that wrote them predicted.

``python -m benchmarks.ages`` reads the archives of ``tests/history`` (files by real old Kerases,
each beside its own predictions) and the real models of KERASQL_TEST_DATA, and prints how far each
answer is from the writer's. ``--sql`` also registers the real models and asks them in SQL.
``--json`` prints one line per file, for the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.report import write
from kerasql.registry.code import defines, read_source
from kerasql.registry.errors import KerasqlError
from kerasql.registry.h5.architecture import read_architecture
from kerasql.registry.h5.audit import audit
from kerasql.registry.h5.inspect import inspect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HISTORY = Path(__file__).parent.parent / "tests" / "history"
SOURCES = Path(__file__).parent.parent / "tests" / "sources"
CODE = {
    "k1_1_2_carnd_steering_lambda": SOURCES / "steering.py",
    "tf2_2_4_garnet_1layer_custom": SOURCES / "garnet.py",
}
"""The source that goes with the real files that need one."""

LAMBDAS = {
    "lambda_layer.h5": SOURCES / "lambdas.py",
    "old_lambda.h5": SOURCES / "lambdas.py",
    "lambda_layer.json": SOURCES / "lambdas.py",
}
"""The source of the functions that the Lambdas in the archives had."""

TOLERANCE = 1e-5
HALF_PRECISION = 5e-3
"""For what was computed in float16: another order of additions already shows."""


DIFFERS = "nothing in the file says that Theano computed it: it has no weights"
NOT_SUPPORTED: dict[tuple[str, str], str] = {
    ("", "time_major.h5"): "time_major=True is not supported",
    ("", "locally_connected_implementations.h5"): "implementation",
    ("tf.keras-2.15.1", "cudnn_CuDNNGRU.keras"): "its weights do not fit its architecture",
    ("", "old_batchnorm_mode_2.h5"): "has no answer for a row",
    ("", "old_shared_batchnorm.h5"): "has no answer for a row",
    ("", "old_merge_lambda.h5"): "is a function, which is never run",
    **{
        ("", f"old_padding_{kind}_{order}.h5"): "does not say which axis its channels are on"
        for kind in ("asymmetric", "cropping_upsampling", "cropping_upsampling3d")
        for order in ("tf", "th")
    },
    ("keras-1.2.2-theano", "old_pooling_same_tf.h5"): DIFFERS,
    ("keras-1.2.2-theano", "old_pooling_same_th.h5"): DIFFERS,
}
"""(writer, file), or ("", file) for every writer: what kerasql says of what it does not read."""


@dataclass(frozen=True)
class Case:
    """One file: who wrote it, where it lies, where its predictions lie and what is read with it."""

    writer: str
    name: str
    path: Path
    answers: Path | None
    architecture: Path | None = None
    code: Path | None = None


@dataclass(frozen=True)
class Read:
    """How reading went: the largest difference, absolute and to 1 + |answer|, or why it failed."""

    writer: str
    name: str
    difference: float | None
    relative: float | None
    rules: list[str]
    failed: str | None

    @property
    def equal(self) -> bool:
        """Whether every answer is the writer's, to TOLERANCE times 1 + |answer|."""
        tolerance = HALF_PRECISION if "mixed_precision" in self.name else TOLERANCE
        return self.failed is None and (self.relative is None or self.relative <= tolerance)

    @property
    def known(self) -> bool:
        """Whether the file is known not to be supported."""
        return (self.writer, self.name) in NOT_SUPPORTED or ("", self.name) in NOT_SUPPORTED


def main(arguments: Sequence[str] | None = None) -> int:
    """Read every file; the exit code is 1 where one differs or fails that is not known to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one line of JSON per file")
    parser.add_argument("--real", action="store_true", help="the real models alone")
    parser.add_argument("--history", action="store_true", help="the archives alone")
    parser.add_argument("--sql", action="store_true", help="ask the real models in SQL too")
    parser.add_argument("--part", help="0/2: every second file, from the first on")
    parser.add_argument("only", nargs="*", help="writers or files whose name contains one of these")
    given = parser.parse_args(arguments)
    os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["CUDA_VISIBLE_DEVICES"] = "3", "-1"
    reads = []
    with tempfile.TemporaryDirectory(prefix="kerasql-ages-") as folder:
        cases = [] if given.real else list(archived(Path(folder)))
        cases += [] if given.history else list(real())
        part, _, parts = (given.part or "0/1").partition("/")
        chosen = [case for case in cases[int(part) :: int(parts)] if is_asked(case, given.only)]
        progress = track(chosen, "reading", console=Console(stderr=True), disable=given.json)
        for case in progress:
            found = read(case)
            reads.append(found)
            if given.json:
                print(json.dumps({**asdict(found), "equal": found.equal}), flush=True)
        if given.sql:
            ask([case for case in cases if case.writer == "real files"], Path(folder))
    if not given.json:
        show(reads)
    return int(not all(one.equal or one.known for one in reads))


def is_asked(case: Case, only: Sequence[str]) -> bool:
    """Whether a case is one of those named on the command line, or none are."""
    return not only or any(word in f"{case.writer}/{case.name}" for word in only)


def archived(folder: Path) -> Iterator[Case]:
    """The files of every archive in ``tests/history``, unpacked."""
    for archive in sorted(HISTORY.glob("*.zip")):
        unpacked = folder / archive.stem
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(unpacked)
        yield from written_by(archive.stem, unpacked)


def written_by(writer: str, folder: Path) -> Iterator[Case]:
    """Every model of a folder, and every file of weights with the architecture beside it."""
    for name in written_names(path.name for path in folder.iterdir()):
        path, stem = folder / name, name.rpartition(".")[0]
        answers, code = folder / f"{stem}.npz", LAMBDAS.get(name)
        if path.suffix in (".json", ".yaml"):
            weights = folder / f"{stem}.weights.h5"
            yield Case(writer, name, weights, answers, architecture=path, code=code)
        else:
            yield Case(writer, name, path, answers, code=code)


def written_names(names: Iterable[str]) -> list[str]:
    """Of the names in an archive, those of models and of architectures; each has its answers."""
    names = set(names)
    return sorted(
        name
        for name in names
        if name.endswith((".h5", ".keras", ".json", ".yaml"))
        and f"{name.rpartition('.')[0]}.npz" in names
    )


def real() -> Iterator[Case]:
    """The real models, where KERASQL_TEST_DATA names them."""
    data = os.environ.get("KERASQL_TEST_DATA")
    if data:
        for path in sorted(Path(data, "h5").glob("*.h5")):
            answers = path.parent / "ref" / f"{path.stem}.npz"
            kept = answers if answers.exists() else None
            yield Case("real files", path.name, path, kept, code=CODE.get(path.stem))


def ask(cases: Sequence[Case], folder: Path) -> None:
    """Register the real models, ask each in SQL, and print how far its answers are."""
    from kerasql.registry.store import connect
    from kerasql.udf.deploy import deploy
    from kerasql.udf.session import local_session

    spark = local_session(master="local[2]")
    rows = []
    try:
        with connect(f"sqlite:///{folder}/models.db", artifacts="") as registry:
            for case in cases:
                name = sql_name(case)
                version = registry.register(
                    name, case.path, code=case.code, trust_code=case.code is not None
                )
                deploy(spark, registry)
                rows.append((case.name, version.engine, *asked(spark, case)))
    finally:
        spark.stop()
    write(
        "The same files in SQL",
        ("file", "engine", "rows answered", "difference", "to 1 + |answer|"),
        rows,
    )


def sql_name(case: Case) -> str:
    """What a real model is called in SQL."""
    return case.path.stem.lower()


def sql_answers(spark: SparkSession, case: Case) -> list[Any]:
    """What the deployed model answers to the file's own inputs, or to zeros, in their order."""
    inputs, _ = inputs_of(case)
    columns = [[row.tolist() for row in value] for value in inputs]
    letters = "abcdefgh"[: len(inputs)]
    rows = list(zip(range(len(inputs[0])), *columns, strict=True))
    spark.createDataFrame(rows, ["id", *letters]).createOrReplaceTempView("rows_of_file")
    call = f"{sql_name(case)}({', '.join(letters)})"
    return [
        row.y for row in spark.sql(f"SELECT {call} AS y FROM rows_of_file ORDER BY id").collect()
    ]


def asked(spark: SparkSession, case: Case) -> tuple[int, str, str]:
    """(rows answered, differences) of one query over the file's own inputs."""
    answers, (_, expected) = sql_answers(spark, case), inputs_of(case)
    answered = sum(one is not None for one in answers)
    if expected is None:
        return answered, "no reference", "-"
    distance = np.abs(np.array(answers, "float64").reshape(expected.shape) - expected)
    relative = distance / (1 + np.abs(expected))
    return answered, f"{distance.max():.2g}", f"{relative.max():.2g}"


def inputs_of(case: Case) -> tuple[list[np.ndarray], np.ndarray | None]:
    """The inputs that the reference was computed from and its answers; two rows of zeros else."""
    if case.answers is not None:
        with np.load(case.answers, allow_pickle=False) as arrays:
            names = sorted(name for name in arrays if name.startswith("x"))
            return [arrays[name] for name in names], arrays["y0"]
    shapes = [tensor["shape"] for tensor in inspect(case.path).report()["inputs"]]
    return [np.zeros((2, *(n or 8 for n in shape[1:])), "float32") for shape in shapes], None


def read(case: Case) -> Read:
    """Inspect, audit, upgrade, construct and predict, as registering does, in this process."""
    try:
        rules, difference, relative = compared(case)
    except KerasqlError as error:
        return Read(case.writer, case.name, None, None, [], str(error))
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0]
        return Read(case.writer, case.name, None, None, [], f"{type(error).__name__}: {said[:300]}")
    return Read(case.writer, case.name, difference, relative, rules, None)


def compared(case: Case) -> tuple[list[str], float | None, float | None]:
    """The rules that were applied, and the largest differences to the writer's answers."""
    from kerasql.registry.h5.load import opened
    from kerasql.registry.keras_engine import keras_predict

    source = read_source(case.code) if case.code else None
    with tempfile.TemporaryDirectory(prefix="kerasql-ages-") as folder:
        found = opened(request(case, source), Path(folder), threads=1)
    rules = [one["rule"] for one in found.applied]
    if case.answers is None:
        return rules, None, None
    with np.load(case.answers, allow_pickle=False) as arrays:
        inputs = [arrays[f"x{n}"] for n in range(len(found.model.inputs))]
        expected = [arrays[f"y{n}"] for n in range(len(found.model.outputs))]
    inputs = [value.astype(object) if value.dtype.kind in "SU" else value for value in inputs]
    differences, relatives = [0.0], [0.0]
    for ours, theirs in zip(keras_predict(found.model)(inputs), expected, strict=True):
        if ours.shape != theirs.shape:
            raise ValueError(f"the answer has the shape {ours.shape}, not {theirs.shape}")
        if theirs.dtype.kind in "SU":
            if ours.astype("S").tolist() != theirs.astype("S").tolist():
                raise ValueError(f"the answer is {ours.ravel()[:5]}")
            continue
        distance = np.abs(ours.astype("float64") - theirs.astype("float64"))
        differences.append(float(distance.max(initial=0.0)))
        relatives.append(float((distance / (1 + np.abs(theirs))).max(initial=0.0)))
    return rules, max(differences), max(relatives)


def request(case: Case, source: str | None) -> dict[str, Any]:
    """What the child process would be asked for, after inspection and audit."""
    inspection = inspect(case.path)
    if case.architecture is not None:
        given = read_architecture(case.architecture, case.architecture.name)
        config, version = given.config, given.keras_version or inspection.keras_version
        backend, kind = inspection.backend or given.backend, "weights"
    else:
        config, version = inspection.config, inspection.keras_version
        backend, kind = inspection.backend, inspection.format
    audit(case.name, config or {}, defines=defines(source or ""))
    return {
        "path": str(case.path),
        "architecture": config,
        "keras_version": version,
        "backend": backend,
        "format": kind,
        "code": source,
    }


def show(reads: Sequence[Read]) -> None:
    """One line per real file, one per writer, and every file that is not equal."""
    files = [one for one in reads if one.writer == "real files"]
    if files:
        write(
            "Real files: the largest difference to the Keras 2 that they were referred to",
            ("file", "difference", "to 1 + |answer|", "equal"),
            [(one.name, *numbers(one)) for one in files],
        )
    writers = sorted({one.writer for one in reads} - {"real files"})
    by_writer = {name: [one for one in reads if one.writer == name] for name in writers}
    if writers:
        write(
            f"Files by real old Kerases: equal to {TOLERANCE:g} of what their writer predicted",
            ("writer", "files", "equal", "largest difference"),
            [
                (name, len(own), sum(one.equal for one in own), largest(own))
                for name, own in by_writer.items()
            ]
            + [("all", *map(str, counted(reads, files)), "")],
        )
    for one in reads:
        if not one.equal:
            print(f"{one.writer}: {one.name}: {one.failed or f'differs by {one.difference:.2g}'}")


def counted(reads: Sequence[Read], files: Sequence[Read]) -> tuple[int, int]:
    """How many files of the archives there are, and how many are equal."""
    own = [one for one in reads if one not in files]
    return len(own), sum(one.equal for one in own)


def numbers(one: Read) -> tuple[str, str, str]:
    """The differences of one file as a table shows them."""
    if one.failed is not None:
        return "-", "-", "no"
    if one.difference is None:
        return "no reference", "-", "-"
    return f"{one.difference:.2g}", f"{one.relative:.2g}", "yes" if one.equal else "no"


def largest(reads: Sequence[Read]) -> str:
    """The largest difference among the files that are equal."""
    return f"{max((one.difference or 0 for one in reads if one.equal), default=0):.2g}"


if __name__ == "__main__":
    sys.exit(main())
