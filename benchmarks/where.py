"""Where the time goes: CPU of each kind of process, and what of it is waiting."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from benchmarks.bench import PRECISIONS
from benchmarks.figures import Figure, progress

if TYPE_CHECKING:
    from benchmarks.apart import Apart
    from benchmarks.sql import Run

SCAN = "SELECT sum(length(image)) FROM images"
TO_PYTHON = "SELECT sum(length(same(image))) FROM images"
UNIT = "ms"


def where(run: Run) -> list[Figure]:
    """Milliseconds of CPU for each image: the scan, the way to Python and back, decoding, ours."""
    return [figure for network in run.networks for figure in where_of(run, network)]


def where_of(run: Run, network: str) -> list[Figure]:
    """One network's milliseconds, on all cores together."""
    took: dict[str, list[float]] = defaultdict(list)
    with (
        run.start("ours", network) as ours,
        run.start("limit", network) as limit,
    ):
        for precision in PRECISIONS:
            run.warm(ours, precision=precision)
        for number in range(run.rounds):
            rows = run.pictures(run.rows, f"where{number}")
            spent(took, "scan", run, ours, rows=rows, sql=SCAN)
            spent(took, "scan, to Python and back", run, ours, rows=rows, sql=TO_PYTHON)
            decoded = limit.ask(rows=rows, decode=run.rows)
            took["decoding and resizing alone"].append(1000 * decoded["cpu_s"] / run.rows)
            for precision in PRECISIONS:
                spent(took, f"ours {precision}", run, ours, rows=rows, precision=precision)
            progress(f"where, {network}: round {number + 1}")
    return [
        Figure(f"{network}: {what}", statistics.median(found), UNIT) for what, found in took.items()
    ]


def spent(
    took: dict[str, list[float]], what: str, run: Run, contestant: Apart, **question: Any
) -> None:
    """Ask, and note the milliseconds for each image: by kind of process, and of cores idle."""
    said = contestant.ask(**question)
    cores = len(os.sched_getaffinity(0))
    idle = cores * said["seconds"] - sum(said["cpu_s"].values())
    for kind, seconds in {**said["cpu_s"], "idle, or others'": idle}.items():
        if seconds:
            took[f"{what}: {kind}"].append(1000 * seconds / run.rows)
