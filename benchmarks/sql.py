"""Through SQL, beside the peers and the limit: ``python -m benchmarks.sql``.

Everybody decodes the same JPEGs in the same way and asks the same networks, in processes of their
own that take turns. Each part can be run by itself; exit code 1 where a promise is not kept.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.apart import Apart
from benchmarks.bench import PRECISIONS, ROOT, SCALES, Bench
from benchmarks.figures import Figure, median_ratio, progress, report, write_json
from benchmarks.peers import PEERS, missing
from benchmarks.pictures import GROUP_ROWS
from benchmarks.shapes import SHAPES
from benchmarks.where import TO_PYTHON, where

Rates = dict[tuple[str, str], list[float]]
"""Images per second in each round, by kind and precision."""

FIRST = "SELECT {function}(image) FROM images LIMIT 1"

OF_THE_LIMIT = {
    ("mobilenetv2", "f32"): 0.85,
    ("resnet50", "f32"): 0.95,
    ("mobilenetv2", "bf16"): 0.85,
    ("resnet50", "bf16"): 0.92,
}
OF_THE_PEERS = {
    ("mobilenetv2", "f32"): 1.9,
    ("resnet50", "f32"): 1.6,
    ("mobilenetv2", "bf16"): 3.0,
    ("resnet50", "bf16"): 3.0,
}
FIRST_ABOVE_IDENTITY_S = 1.0
FIRST_OF_PEER = 0.5
AGAIN = 0.1
CORES = 1.8
LINEAR = 1.1
FLAT_MB = 50
WORKER_MB = 200
FEW_ROWS = 200
PASSES = 8
SMALL_MEMO_MB = "4"
"""Full after the first 1,000 answers: what grows afterwards is not the memory of answers."""


@dataclass(frozen=True)
class Run:
    """What was asked for on the command line."""

    bench: Bench
    networks: tuple[str, ...]
    peers: tuple[str, ...]
    rounds: int
    rows: int
    most_rows: int

    def start(self, kind: str, network: str, *master: str, **how: Any) -> Apart:
        """A contestant in a process of its own."""
        return Apart(kind, self.bench.folder, network, *master, **how)

    def warm(self, contestant: Apart, **question: Any) -> None:
        """Let every worker load what it needs, and Java compile what it does for every row."""
        for number in range(2):
            self.wake(contestant, f"first{number}", **question)
        for _ in range(0 if contestant.kind == "limit" else PASSES):
            contestant.ask(rows=self.pictures(self.rows, "warm"), sql=TO_PYTHON)

    def wake(self, contestant: Apart, mark: str, **question: Any) -> None:
        """Let every worker be there: Spark ends those that had nothing to do for a minute."""
        count = max(FEW_ROWS, 2 * GROUP_ROWS * len(os.sched_getaffinity(0)))
        contestant.ask(rows=self.pictures(count, f"wake{mark}"), **question)

    def pictures(self, count: int, mark: str) -> str:
        """A Parquet file of pictures nobody has seen."""
        return str(self.bench.rows(count, mark))


# --- images per second


def rate(run: Run) -> list[Figure]:
    """Ours, the limit and the peers over rows that are new in every round."""
    return [figure for network in run.networks for figure in rate_of(run, network)]


def rate_of(run: Run, network: str) -> list[Figure]:
    """The rates of one network and what they are to each other."""
    asked = [(kind, precision) for precision in PRECISIONS for kind in ("ours", "limit")]
    asked += [(peer, "f32") for peer in run.peers]
    rates: Rates = defaultdict(list)
    with ExitStack() as stack:
        kinds = {kind: stack.enter_context(run.start(kind, network)) for kind in dict(asked)}
        for kind, precision in asked:
            progress(f"rate, {network}: {kind} gets ready, {precision}")
            run.warm(kinds[kind], precision=precision)
        for number in range(run.rounds):
            rows, totals = run.pictures(run.rows, f"round{number}"), {}
            for kind, precision in asked:
                run.wake(kinds[kind], f"{number}", precision=precision)
                said = kinds[kind].ask(rows=rows, precision=precision)
                rates[kind, precision].append(run.rows / said["seconds"])
                totals[kind, precision] = said["total"]
                how = f", {said['way']}, batches of {said['batch']}" if "way" in said else ""
                progress(
                    f"rate, {network}, round {number + 1}: {kind} {precision} "
                    f"{run.rows / said['seconds']:.1f} images/s{how}"
                )
            check_totals(totals)
    return ratios(run, network, rates)


def check_totals(totals: dict[tuple[str, str], float]) -> None:
    """Everybody has predicted the same pictures with the same network."""
    expected = totals["limit", "f32"]
    for (kind, precision), total in totals.items():
        tolerance = 1e-4 if precision == "f32" else 5e-2
        if abs(total - expected) > tolerance * abs(expected):
            raise RuntimeError(f"{kind} {precision} answers {total}, the limit {expected}")


def ratios(run: Run, network: str, rates: Rates) -> list[Figure]:
    """The rates, and ours to the limit and to the better peer."""
    figures = [
        Figure(f"{network}: {' '.join(who)}", statistics.median(found), "images/s")
        for who, found in rates.items()
    ]
    of_peers = [rates[peer, "f32"] for peer in run.peers]
    best_peer = max(of_peers, key=statistics.median, default=[])
    for precision in PRECISIONS:
        ours, limit = rates["ours", precision], rates["limit", precision]
        what = f"{network}: ours {precision} /"
        least = OF_THE_LIMIT[network, precision]
        figures.append(Figure(f"{what} limit", median_ratio(ours, limit), least=least))
        if best_peer:
            least = OF_THE_PEERS[network, precision]
            ratio = median_ratio(ours, best_peer)
            figures.append(Figure(f"{what} better peer", ratio, least=least))
    return figures


# --- the first answer, and the same again


def first(run: Run) -> list[Figure]:
    """A model is deployed, nothing is warm: a fresh process for each answer."""
    figures = []
    rows = run.pictures(run.rows, "round0")
    for network in run.networks:
        seconds: dict[str, list[float]] = defaultdict(list)
        for number in range(run.rounds):
            for kind in ("identity", "ours", *run.peers):
                with run.start(kind, network) as fresh:
                    seconds[kind].append(fresh.ask(rows=rows, sql=FIRST)["seconds"])
                progress(f"first, {network}, round {number + 1}: {kind} {seconds[kind][-1]:.2f} s")
        figures += firsts(network, seconds)
    return figures


def firsts(network: str, seconds: dict[str, list[float]]) -> list[Figure]:
    """The medians, what ours takes above doing nothing, and its share of the better peer's."""
    medians = {kind: statistics.median(found) for kind, found in seconds.items()}
    what = f"{network}: first answer,"
    figures = [Figure(f"{what} {kind}", median, "s") for kind, median in medians.items()]
    above = statistics.median(
        ours - nothing for ours, nothing in zip(seconds["ours"], seconds["identity"], strict=True)
    )
    figures.append(Figure(f"{what} ours - identity", above, "s", most=FIRST_ABOVE_IDENTITY_S))
    if peers := [medians[peer] for peer in PEERS if peer in medians]:
        share = medians["ours"] / min(peers)
        figures.append(Figure(f"{what} ours / better peer", share, most=FIRST_OF_PEER))
    return figures


def again(run: Run) -> list[Figure]:
    """The same query a second time, all of its rows known."""
    figures = []
    for network in run.networks:
        with run.start("ours", network) as ours:
            run.warm(ours)
            found = []
            for number in range(run.rounds):
                rows = run.pictures(run.rows, f"round{number}")
                new, known = (ours.ask(rows=rows)["seconds"] for _ in range(2))
                progress(f"again, {network}, round {number + 1}: {new:.2f} s, then {known:.2f} s")
                found.append(known / new)
        figures.append(
            Figure(f"{network}: again / first run", statistics.median(found), most=AGAIN)
        )
    return figures


def once(run: Run) -> list[Figure]:
    """Predictions for each distinct row, in ten shapes of queries."""
    network, figures = run.networks[0], []
    with run.start("ours", network) as ours:
        for number, shape in enumerate(SHAPES):
            # Pictures that no other shape has: nothing is known when it comes.
            rows = run.pictures(FEW_ROWS, f"shape{number}")
            stats = ours.ask(rows=rows, sql=shape.sql, stats=True)["stats"][f"{network}@1"]
            share = stats["predicted"] / (FEW_ROWS * shape.share)
            progress(f"once, {shape.name}: {stats}")
            figures.append(Figure(f"predictions per row, {shape.name}", share, least=1, most=1))
    return figures


# --- cores, rows, slots


def cores(run: Run) -> list[Figure]:
    """How much faster two cores are than one."""
    network = "resnet50" if "resnet50" in run.networks else run.networks[0]
    two = sorted(os.sched_getaffinity(0))[:2]
    if len(two) < 2:
        progress("cores: left out, this machine has one")
        return []
    count = max(run.rows // 4, FEW_ROWS)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with (
        run.start("ours", network, cores=two[:1]) as one,
        run.start("ours", network, cores=two) as both,
    ):
        for contestant in (one, both):
            run.warm(contestant)
        for number in range(run.rounds):
            rows = run.pictures(count, f"cores{number}")
            for used, contestant in ((1, one), (2, both)):
                seconds[used].append(contestant.ask(rows=rows)["seconds"])
                progress(f"cores, {network}: {used} take {seconds[used][-1]:.1f} s")
    ratio = median_ratio(seconds[1], seconds[2])
    return [Figure(f"{network}: two cores / one core", ratio, least=CORES)]


def growth(run: Run) -> list[Figure]:
    """1,000 rows and 50,000: the time for each row, and what stays in memory."""
    network, few = run.networks[0], min(1000, run.most_rows)
    with run.start("ours", network, environment={"KERASQL_MEMO_MB": SMALL_MEMO_MB}) as ours:
        run.warm(ours)
        small = [
            ours.ask(rows=run.pictures(few, f"few{number}"), memory=True)
            for number in range(run.rounds)
        ]
        before = small[-1]
        progress(f"growth, {network}: {few:,} rows, {before}")
        path = run.bench.rows(run.most_rows, "many")
        large = ours.ask(rows=str(path), memory=True)
        path.unlink()
        progress(f"growth, {network}: {run.most_rows:,} rows, {large}")
        # Afterwards too: within minutes a shared machine becomes another one.
        small += [
            ours.ask(rows=run.pictures(few, f"few{run.rounds + number}"), memory=True)
            for number in range(run.rounds)
        ]
    each = statistics.median(one["seconds"] for one in small) / few
    ratio = large["seconds"] / run.most_rows / each
    what = f"{network}, {few:,} → {run.most_rows:,} rows:"
    names = {"driver_mb": "driver's Python", "heap_mb": "driver's Java heap", "server_mb": "server"}
    return [
        Figure(f"{what} time for each row", ratio, most=LINEAR),
        *(
            Figure(f"{what} {name} grew by", large[key] - before[key], "MB", most=FLAT_MB)
            for key, name in names.items()
        ),
    ]


def slots(run: Run) -> list[Figure]:
    """Two and eight tasks at once: one copy of the model in both."""
    network = "resnet50" if "resnet50" in run.networks else run.networks[0]
    model_mb = run.bench.artifact(network, "openvino.bin").stat().st_size / 1e6
    figures, server_mb = [], []
    for number in (2, 8):
        with run.start("ours", network, f"local[{number}]") as ours:
            rows = run.pictures(2 * FEW_ROWS, f"slots{number}")
            loads = ours.ask(rows=rows, stats=True)["stats"][f"{network}@1"]["loads"]
            found = ours.ask(rows=rows, memory=True)
        progress(f"slots, {network}, {number}: {found}")
        server_mb.append(found["server_mb"])
        workers = found["workers_mb"]
        what = f"{network}, {number} slots:"
        figures += [
            Figure(f"{what} loads of the model", loads, least=1, most=1),
            Figure(f"{what} model server", found["server_mb"], "MB"),
            Figure(f"{what} largest of {len(workers)} workers", max(workers), "MB", most=WORKER_MB),
        ]
    more = server_mb[1] - server_mb[0]
    what = f"{network}: server grows from 2 to 8 slots (model: {model_mb:.0f} MB)"
    return [*figures, Figure(what, more, "MB", most=round(model_mb / 2))]


PARTS: dict[str, Callable[[Run], list[Figure]]] = {
    "rate": rate,
    "where": where,
    "first": first,
    "again": again,
    "once": once,
    "cores": cores,
    "growth": growth,
    "slots": slots,
}


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sql", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="repeat; default: all")
    parser.add_argument("--network", action="append", choices=SCALES, help="repeat; default: both")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--most-rows", type=int, default=50_000, help="of the part growth")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--folder", type=Path, help="keep networks and pictures there; use again")
    return parser.parse_args()


def present() -> tuple[str, ...]:
    """The peers that can be measured; says what the others lack."""
    for peer in PEERS:
        if lacking := missing(peer):
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())
            wanted = " ".join(f"'{one}'" for one in project["dependency-groups"]["benchmarks"])
            names = " and ".join(lacking)
            progress(f"{peer} is left out: {names} is missing; pip install {wanted}")
    return tuple(peer for peer in PEERS if not missing(peer))


def main() -> int:
    """Print the table; 1 where a promise is not kept."""
    asked, started = options(), time.perf_counter()
    networks = tuple(asked.network or SCALES)
    with tempfile.TemporaryDirectory(prefix="kerasql-sql-") as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        progress("making the networks and registering them …")
        bench = Bench.prepared(folder.resolve(), networks)
        run = Run(bench, networks, present(), asked.rounds, asked.rows, asked.most_rows)
        figures = [one for part in asked.part or PARTS for one in PARTS[part](run)]
    rounds = f"medians of {asked.rounds} rounds of {asked.rows:,} JPEGs, in turn"
    report(figures, f"{rounds}; {time.perf_counter() - started:.0f} s in all")
    if asked.json:
        write_json(figures, asked.json)
    return 0 if all(one.is_kept for one in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
