"""Kill what runs a query, at random moments: ``python -m benchmarks.kills --runs 50``.

A standalone Spark cluster of two executors on this machine answers one query again and again, while
a model server's process, a Python worker or an executor gets SIGKILL. Every run must give the rows
of a quiet run, and nothing may be left behind. Every second run remembers answers, and no row is
known from the run before: its bytes are others.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

import kerasql
from benchmarks import peak
from benchmarks.figures import progress
from benchmarks.left_behind import fronts, left_behind, runners, segments
from benchmarks.report import console, machine, write
from benchmarks.small_convolutions import SIZE
from benchmarks.standalone import Cluster, cluster, without_spark
from kerasql.registry.errors import InvalidQuery
from kerasql.registry.preprocess import Image
from kerasql.udf.deploy import deploy
from kerasql.udf.query import query
from kerasql.udf.session import local_session

KINDS = ("front", "runner", "Python worker", "executor")
OF_AN_EXECUTOR: Mapping[str, Callable[[int], Iterable[int]]] = {
    "front": fronts,
    "runner": runners,
    "Python worker": peak.workers,
}
ROWS_OF_A_FILE = 24
TWICE = 0.2
"""How many of the runs have a second kill."""
DIFFERENCE = 1e-6
"""What a row's scores may differ when other rows stand beside it in its batch."""
EXECUTORS = 2
PATIENCE_S = 120
SQL = """
SELECT id, sorter(content) AS label, try_sorter_scores(content) AS tried
FROM (SELECT id, concat(image, encode('{mark}', 'UTF-8')) AS content FROM pictures)
DISTRIBUTE BY id
"""
"""A mark behind a picture's last byte is seen by no decoder. The rows cross a shuffle."""

SETTINGS = {
    "spark.executor.memory": "512m",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.files.maxPartitionBytes": "4m",
    # Who asks a killed executor for its rows again waits five seconds otherwise.
    "spark.shuffle.io.retryWait": "200ms",
}

Rows = dict[int, tuple[str | None, list[float] | None, str | None]]
"""Label, scores and reason by id."""


@dataclass(frozen=True)
class Kill:
    """What is to be killed, and when: 0 is the query's beginning, 1 what a quiet one takes."""

    kind: str
    share: float


@dataclass
class Run:
    """One query, what was to be killed meanwhile and what was, and how it differs from quiet."""

    remembers: bool
    kills: tuple[Kill, ...]
    landed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    wrong: int = 0
    other_bits: int = 0
    difference: float = 0.0
    failed: str = ""
    left: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """What was killed, in a table's cell."""
        kinds = [kill.kind for kill in self.kills]
        return "nothing" if not kinds else kinds[0] if len(kinds) == 1 else "two of them"

    @property
    def is_kept(self) -> bool:
        """Whether it gave the rows of a quiet run and left nothing."""
        return not (self.wrong or self.failed or self.left)


# --- what is asked


def prepare(folder: Path, files: int) -> kerasql.Registry:
    """Write the pictures, make the network and register it."""
    write_pictures(folder / "pictures", files)
    model = folder / "sorter.h5"
    command = [sys.executable, "-m", "benchmarks.small_convolutions", str(model)]
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run(command, check=True, capture_output=True, env=quiet)
    registry = kerasql.connect(f"sqlite:///{folder}/models.db", artifacts="")
    registry.register(
        "sorter", model, preprocess=Image(size=(SIZE, SIZE)), labels=["a", "b", "c", "d", "e"]
    )
    return registry


def write_pictures(folder: Path, files: int) -> None:
    """Parquet files of small pictures; every tenth row is none, in one of four ways."""
    folder.mkdir()
    chance = np.random.default_rng(5)
    for file in range(files):
        ids = range(file * ROWS_OF_A_FILE, (file + 1) * ROWS_OF_A_FILE)
        images = [broken(jpeg(chance), n // 10) if n % 10 == 9 else jpeg(chance) for n in ids]
        table = pa.table({"id": list(ids), "image": pa.array(images, pa.binary())})
        pq.write_table(table, folder / f"{file:02d}.parquet")


def jpeg(chance: np.random.Generator) -> bytes:
    """A picture of soft patches."""
    patches = chance.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(patches).resize((96, 80)).save(file, "JPEG")
    return file.getvalue()


def broken(content: bytes, number: int) -> bytes | None:
    """What is no picture any more."""
    return (None, b"no picture" * 9, content[50:], content[: len(content) // 3])[number % 4]


def opened(spark: SparkSession, registry: kerasql.Registry, pictures: Path) -> SparkSession:
    """A session of its own in which the model and the pictures have their names."""
    session = spark.newSession()
    deploy(session, registry)
    session.read.parquet(str(pictures)).createOrReplaceTempView("pictures")
    return session


def answers(session: SparkSession, mark: str) -> Rows:
    """Every row's answer; a row that comes twice is an error."""
    rows = query(session, SQL.format(mark=mark), limit=None).rows()
    found = {id_: (label, tried["value"], tried["error"]) for id_, label, tried in rows}
    if len(found) < len(rows):
        raise InvalidQuery(f"{len(rows)} rows with {len(found)} ids came back")
    return found


def compare(run: Run, ours: Rows, quiet: Rows) -> None:
    """Count the rows that are not those of the quiet run, or missing, or too many."""
    run.wrong += len(ours.keys() ^ quiet.keys())
    for id_ in ours.keys() & quiet.keys():
        (our_label, our_scores, our_reason), (label, scores, reason) = ours[id_], quiet[id_]
        difference = 0.0
        if scores and our_scores:
            difference = float(np.abs(np.subtract(scores, our_scores)).max())
        same = (label, reason, scores is None) == (our_label, our_reason, our_scores is None)
        run.wrong += not same or difference > DIFFERENCE
        run.other_bits += scores != our_scores
        run.difference = max(run.difference, difference)


# --- what is killed


def planned(chance: random.Random, count: int) -> list[Run]:
    """Runs with kills over the time that a quiet run takes: every kind as often, in any order."""
    kinds = [KINDS[n % len(KINDS)] for n in range(count)]
    chance.shuffle(kinds)
    runs = []
    for number, kind in enumerate(kinds):
        more = [chance.choice(KINDS)] if chance.random() < TWICE else []
        kills = [Kill(one, chance.random()) for one in [kind, *more]]
        runs.append(Run(number % 2 == 1, tuple(sorted(kills, key=lambda kill: kill.share))))
    return runs


def victims(found: Cluster, kind: str) -> list[int]:
    """The processes of a kind that run now."""
    executors = found.executors()
    if kind == "executor":
        return executors
    return [pid for executor in executors for pid in OF_AN_EXECUTOR[kind](executor)]


def kill(
    found: Cluster, run: Run, chance: random.Random, quiet_s: float, ending: threading.Event
) -> None:
    """Kill what the run says when its moment has come, as soon as there is such a process."""
    began = time.perf_counter()
    for one in run.kills:
        ending.wait(max(0, began + one.share * quiet_s - time.perf_counter()))
        while not (pids := victims(found, one.kind)) and not ending.wait(0.02):
            pass
        with suppress(ProcessLookupError):
            if not ending.is_set():
                os.kill(chance.choice(pids), signal.SIGKILL)
                run.landed.append(one.kind)


def perform(
    run: Run,
    found: Cluster,
    session: SparkSession,
    chance: random.Random,
    *,
    quiet_s: float,
    mark: str,
) -> Rows:
    """The answers to the query, while somebody kills; none where it failed."""
    ending, ours = threading.Event(), {}
    thread = threading.Thread(target=kill, args=(found, run, chance, quiet_s, ending))
    began = time.perf_counter()
    thread.start()
    try:
        ours = answers(session, mark)
    except InvalidQuery as error:
        run.failed = str(error)
    run.seconds = time.perf_counter() - began
    ending.set()
    thread.join()
    return ours


# --- what is left


def wait_for_executors(found: Cluster, spark: SparkSession) -> None:
    """Return when the driver has all its executors (again)."""
    until = time.monotonic() + PATIENCE_S
    known = spark.sparkContext._jsc.sc().getExecutorMemoryStatus
    while known().size() != EXECUTORS + 1 or len(found.executors()) != EXECUTORS:
        if time.monotonic() > until:
            raise TimeoutError(f"no {EXECUTORS} executors after {PATIENCE_S} s")
        time.sleep(0.05)


def orphans(found: Cluster, timeout_s: float = 10) -> list[str]:
    """Servers without an executor, and shared memory that a server holds for no worker."""
    executors = found.executors()
    left = [one for one in left_behind(timeout_s) if not Path(one).exists()]
    until = time.monotonic() + timeout_s
    while (memory := unowned(executors)) and time.monotonic() < until:
        time.sleep(0.05)
    return left + [f"{count} segments of {pid}" for pid, count in memory.items()]


def unowned(executors: Sequence[int]) -> dict[int, int]:
    """Segments that a server's processes hold and no Python worker does.

    A worker whose daemon was killed is nobody's child, and works on.
    """
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    workers = [pid for pid in numbers if "pyspark.daemon" in peak.command_line(pid)]
    theirs = set[int]().union(*map(segments, workers))
    servers = [pid for one in executors for pid in (*fronts(one), *runners(one))]
    counts = {pid: len(segments(pid) - theirs) for pid in servers}
    return {pid: count for pid, count in counts.items() if count}


def remains(temporary: Path, timeout_s: float = 20) -> list[str]:
    """Processes, files and shared memory that are there when the cluster has ended."""
    until = time.monotonic() + timeout_s
    while (left := list(everything(temporary))) and time.monotonic() < until:
        time.sleep(0.1)
    return left


def everything(temporary: Path) -> Iterator[str]:
    """What can be found of a cluster whose temporary folder this was."""
    yield from (str(path) for path in temporary.iterdir())
    yield from (str(path) for path in Path("/dev/shm").glob("*kerasql*"))
    mine = f"TMPDIR={temporary}".encode()
    for path in Path("/proc").iterdir():
        if path.name.isdecimal() and int(path.name) not in family():
            with suppress(OSError):
                if mine in (path / "environ").read_bytes().split(b"\0"):
                    yield f"process {path.name}: {peak.command_line(int(path.name))}"


def family() -> set[int]:
    """We, and Spark's gateway, which ends with us."""
    return {os.getpid(), *peak.children(os.getpid())}


# --- all of it


@dataclass(frozen=True)
class Outcome:
    """All runs of so many rows, and what was left when the cluster had ended."""

    rows: int
    quiet: list[Run]
    runs: list[Run]
    left: list[str]

    @property
    def is_kept(self) -> bool:
        """Whether every promise was, and kills happened at all."""
        landed = sum(bool(run.landed) for run in self.runs)
        return (
            all(run.is_kept for run in (*self.quiet, *self.runs))
            and not self.left
            and landed * 2 >= len(self.runs)
        )


def measure(folder: Path, *, count: int, files: int, seed: int) -> Outcome:
    """Quiet runs, runs with kills, and a quiet run at the end."""
    progress("making and registering a network")
    registry = prepare(folder, files)
    with temporary_folder(folder) as temporary:
        environment = without_spark() | {"PYTHONPATH": os.environ["PYTHONPATH"]}
        logs = folder / "cluster"
        logs.mkdir()
        progress("starting a cluster")
        with cluster(logs, workers=EXECUTORS, environment=environment) as found:
            spark = local_session(master=found.master, conf=SETTINGS)
            try:
                quiet, runs = ask_again_and_again(
                    found, spark, registry, folder / "pictures", count=count, seed=seed
                )
            finally:
                spark.stop()
                registry.close()
        return Outcome(files * ROWS_OF_A_FILE, quiet, runs, remains(temporary))


def ask_again_and_again(
    found: Cluster,
    spark: SparkSession,
    registry: kerasql.Registry,
    pictures: Path,
    *,
    count: int,
    seed: int,
) -> tuple[list[Run], list[Run]]:
    """The quiet runs and the others, compared with the first quiet one."""
    chance = random.Random(seed)
    progress("asking for the first time")
    sessions = {}
    for remembers, size in ((False, "0"), (True, "64")):
        os.environ |= {"KERASQL_MEMO_MB": size, "KERASQL_BATCH_ROWS": "8"}
        sessions[remembers] = opened(spark, registry, pictures)
        # The first query makes the plan, which keeps these settings.
        expected = answers(sessions[remembers], f"first {size}")

    seconds: list[float] = []

    def done(runs: Sequence[Run], name: str) -> list[Run]:
        for number, run in enumerate(runs):
            wait_for_executors(found, spark)
            mark = f"{name} {number}"
            # Spark gets faster from query to query, and a shared machine slower and faster.
            quiet_s = min(seconds[-6:], default=0.0)
            session = sessions[run.remembers]
            ours = perform(run, found, session, chance, quiet_s=quiet_s, mark=mark)
            seconds.append(run.seconds)
            if not run.failed:
                compare(run, ours, expected)
            run.left = orphans(found)
            progress(f"{mark}: killed {run.landed}, {run.seconds:.1f} s, {run.failed}")
        return list(runs)

    quiet = done([Run(n % 2 == 1, ()) for n in range(max(2, count // 10))], "quiet")
    runs = done(planned(chance, count), "run")
    # Servers that were killed last leave their folders to the next.
    return quiet + done([Run(False, ())], "quiet again"), runs


@contextmanager
def temporary_folder(folder: Path) -> Iterator[Path]:
    """Have everything put its temporary files into a folder where nobody else's are."""
    before, kept = dict(os.environ), tempfile.tempdir
    (temporary := folder / "tmp").mkdir()
    (scratch := folder / "spark").mkdir()
    source = str(Path(kerasql.__file__).parent.parent)
    os.environ |= {"TMPDIR": str(temporary), "SPARK_LOCAL_DIRS": str(scratch)}
    os.environ |= {"PYTHONPATH": source, "PYSPARK_PYTHON": sys.executable}
    tempfile.tempdir = None
    try:
        yield temporary
    finally:
        os.environ.clear()
        os.environ |= before
        tempfile.tempdir = kept


def show(outcome: Outcome) -> None:
    """The table, and what the scores' bits say."""
    every = [*outcome.quiet, *outcome.runs]
    by_kind: Mapping[str, list[Run]] = {
        kind: [run for run in every if run.kind == kind]
        for kind in ("nothing", *KINDS, "two of them")
    }
    columns = ("killed", "runs", "killed meanwhile", "wrong rows", "failed", "left", "median s")
    write(
        f"{machine()}\n{outcome.rows} rows, two executors; SIGKILL at random moments",
        columns,
        [line(kind, runs) for kind, runs in by_kind.items() if runs]
        + [line("all kills", outcome.runs)],
    )
    scores = len(every) * outcome.rows
    console.print(
        f"scores with other bits than the first quiet run's: {sum(r.other_bits for r in every):,} "
        f"of {scores:,} rows, at most {max(run.difference for run in every):.1e} away\n"
        f"left when the cluster had ended: {len(outcome.left)}"
    )
    kills = Counter(kind for run in outcome.runs for kind in run.landed)
    console.print("killed in all: " + ", ".join(f"{n} x {kind}" for kind, n in kills.items()))
    for said in [said for run in every for said in (run.failed, *run.left)] + outcome.left:
        if said:
            console.print(said)


def line(kind: str, runs: Sequence[Run]) -> tuple[Any, ...]:
    """One kind's line."""
    landed = sum(bool(run.landed) for run in runs)
    return (
        kind,
        len(runs),
        landed if kind != "nothing" else "",
        sum(run.wrong for run in runs),
        sum(bool(run.failed) for run in runs),
        sum(len(run.left) for run in runs),
        f"{median(run.seconds for run in runs):.2f}",
    )


def main() -> int:
    """Print the table; 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--files", type=int, default=20, help="of 24 rows each")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="kerasql-kills-") as folder:
        outcome = measure(Path(folder), count=options.runs, files=options.files, seed=options.seed)
    show(outcome)
    console.print(f"{time.perf_counter() - began:.0f} s in all")
    return 0 if outcome.is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
