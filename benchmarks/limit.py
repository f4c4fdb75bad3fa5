"""The limit: the same decoding and the same engine in a loop without Spark, on all cores.

Two ways are tried, a process for each core and one process with a thread for each core, and
several sizes of a batch; the best is measured. Rows are handed out a batch at a time, so that no
core waits for another at the end.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from kerasql.registry.engine import ENGINES, Predict
from kerasql.registry.preprocess import Image
from kerasql.registry.signature import TensorSpec

WAYS = ("processes", "threads")
BATCHES = (1, 4, 8, 16, 32)
TRIAL_ROWS = 64
TRIALS = 2
TAKEN = 7
"""The score that is summed up, here as in SQL: proof that the rows were predicted."""


@dataclass(frozen=True)
class Work:
    """What every core does: its rows, how they are decoded, the engine's files."""

    rows: Path
    files: dict[str, Path]
    image: Image
    spec: TensorSpec
    precision: str
    batch: int = 1

    def contents(self) -> list[bytes]:
        """The encoded pictures, in memory before the clock starts."""
        column: list[bytes] = pq.read_table(self.rows, columns=["image"])["image"].to_pylist()
        return column

    def network(self, streams: int) -> Predict:
        """The engine with the last arithmetic on pixels inside, as the model server has it."""
        finish = [self.image.finishing(self.spec)]
        return ENGINES["openvino"].load(
            self.files, streams=streams, precision=self.precision, finish=finish
        )

    def done(self, predict: Predict, contents: Sequence[bytes]) -> float:
        """Decode and predict a few rows; the sum of one score."""
        pixels = np.stack([self.image.prepare(one, self.spec) for one in contents])
        return float(predict([pixels])[0][:, TAKEN].sum())

    def drained(self, predict: Predict, contents: Sequence[bytes], counter: Any) -> float:
        """Take batches until none is left; the sum of one score over those that were taken."""
        total = 0.0
        while True:
            with counter.get_lock():
                first = counter.value
                counter.value += self.batch
            if first >= len(contents):
                return total
            total += self.done(predict, contents[first : first + self.batch])


def measured(work: Work, way: str) -> dict[str, float]:
    """Seconds for all rows, loading left out, and the sum of one score."""
    cores = len(os.sched_getaffinity(0))
    return {"processes": in_processes, "threads": in_threads}[way](work, cores)


def decoding_s(work: Work, rows: int) -> float:
    """The seconds of CPU that so many rows take to be decoded and resized."""
    contents = work.contents()[:rows]
    started = time.process_time()
    for one in contents:
        work.image.prepare(one, work.spec)
    return time.process_time() - started


def best_batch(work: Work) -> int:
    """How many rows at once take this network the least CPU time for each."""
    contents, predict = work.contents()[:TRIAL_ROWS], work.network(1)
    pixels = np.stack([work.image.prepare(one, work.spec) for one in contents])

    def cpu_s(batch: int) -> float:
        started = time.process_time()
        for first in range(0, len(pixels), batch):
            predict([pixels[first : first + batch]])
        return time.process_time() - started

    for batch in BATCHES:
        predict([pixels[:batch]])
    return min(BATCHES, key=lambda batch: min(cpu_s(batch) for _ in range(2)))


def best_way(work: Work) -> str:
    """The faster way on these rows."""
    found = {way: [measured(work, way)["seconds"] for _ in range(TRIALS)] for way in WAYS}
    return min(WAYS, key=lambda way: min(found[way]))


def in_processes(work: Work, cores: int) -> dict[str, float]:
    """A process for each core, each with a network of its own."""
    context = multiprocessing.get_context("spawn")
    counter, barrier = context.Value("q", 0), context.Barrier(cores)
    answers = context.SimpleQueue()
    started = [
        context.Process(target=one_process, args=(work, counter, barrier, answers))
        for _ in range(cores)
    ]
    for process in started:
        process.start()
    found = [answers.get() for _ in started]
    for process in started:
        process.join()
    begun, ended, totals = zip(*found, strict=True)
    return {"seconds": max(ended) - min(begun), "total": sum(totals)}


def one_process(work: Work, counter: Any, barrier: Barrier, answers: Any) -> None:
    """The body of a process: say when it began, when it ended, and its sum."""
    contents, predict = work.contents(), work.network(1)
    work.done(predict, contents[: work.batch])
    barrier.wait()
    begun = time.monotonic()
    total = work.drained(predict, contents, counter)
    answers.put((begun, time.monotonic(), total))


def in_threads(work: Work, cores: int) -> dict[str, float]:
    """A thread for each core, which share one network."""
    contents, predict = work.contents(), work.network(cores)
    counter = multiprocessing.Value("q", 0)
    totals: list[float] = []

    def drain() -> None:
        totals.append(work.drained(predict, contents, counter))

    run_all([lambda: totals.append(0 * work.done(predict, contents[: work.batch]))] * cores)
    begun = time.monotonic()
    run_all([drain] * cores)
    return {"seconds": time.monotonic() - begun, "total": sum(totals)}


def run_all(bodies: Sequence[Callable[[], None]]) -> None:
    """Run each in a thread, until all have ended."""
    threads = [threading.Thread(target=body) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
