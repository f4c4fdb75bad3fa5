"""The function Spark calls on an executor with Arrow batches. No TensorFlow, no database.

The network is not here: rows are prepared in this process and predicted by the executor's model
server, which may know their answers already.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from kerasql.registry.errors import KerasqlError
from kerasql.registry.preprocess import Image
from kerasql.udf import batch
from kerasql.udf.asked import network, scope
from kerasql.udf.devices import placed, server_of
from kerasql.udf.files import Files
from kerasql.udf.left import end_when_left
from kerasql.udf.plan import Plan
from kerasql.udf.server.client import Group, Prepared, Server, Slice
from kerasql.udf.server.home import CPU, Process
from kerasql.udf.server.segment import Rows
from kerasql.udf.stats import count, failures

AHEAD = 1
"""Slices on their way while the next one is prepared."""


def predict(
    plan: Plan, files: Files, counter: Any, batches: Iterator[pa.Array | tuple[pa.Array, ...]]
) -> Iterator[pa.Array]:
    """One answer per row, in order; a bad row's answer is NULL."""
    end_when_left()
    os.environ["KERASQL_MAX_PIXELS"] = str(plan.max_pixels)
    server = server_of(plan)
    plan = plan.on(server.home.device)
    with suppress(ConnectionError):
        # The network is loaded while the first rows are on their way.
        server.open(network(plan, files))
    for columns in batches:
        columns = columns if isinstance(columns, tuple) else (columns,)
        yield answered(plan, files, server, counter, columns)


def answered(
    plan: Plan, files: Files, server: Server, counter: Any, columns: Sequence[pa.Array]
) -> pa.Array:
    """The answers to one Arrow batch: a slice is prepared while the one before is predicted."""
    waiting: deque[Waiting] = deque()
    parts = [batch.column(plan, [], [])]
    try:
        for start in range(0, len(columns[0]), plan.slice_rows):
            rows = [array.slice(start, plan.slice_rows) for array in columns]
            waiting.append(Waiting.begun(plan, files, server, rows))
            if len(waiting) > AHEAD:
                parts.append(waiting[0].collected(plan, counter))
                waiting.popleft()
        while waiting:
            parts.append(waiting[0].collected(plan, counter))
            waiting.popleft()
    finally:
        if waiting:
            # Others may wait for rows that this task has promised and will not deliver.
            server.close()
    return pa.concat_arrays(parts)


@dataclass
class Waiting:
    """A slice on its way, and the reasons that its rows had before anything was prepared."""

    slice: Slice
    reasons: batch.Reasons

    @classmethod
    def begun(
        cls, plan: Plan, files: Files, server: Server, columns: Sequence[pa.Array]
    ) -> Waiting:
        """Ask the server about the rows, and give it those it does not know."""
        reasons: batch.Reasons = [None] * len(columns[0])
        columns = batch.opened(plan, columns, reasons)
        remembers = plan.limits["memo_mb"] and not batch.opens_files(plan, columns)
        hashes = b"".join(batch.hashes(columns, reasons)) if remembers else None
        asked = Slice(
            server=server,
            network=network(plan, files),
            scope=scope(plan),
            count=len(reasons),
            hashes=hashes,
            prepare=partial(prepared, plan, files, columns, reasons),
        )
        try:
            asked.begin()
        except BaseException:
            server.close()
            raise
        return cls(asked, reasons)

    def collected(self, plan: Plan, counter: Any) -> pa.Array:
        """The answers as Spark wants them."""
        outcome = self.slice.collect()
        reasons = [before or outcome.reasons.get(row) for row, before in enumerate(self.reasons)]
        count(counter, plan.ref, {**outcome.counts, **failures(reasons)})
        return batch.column(plan, outcome.groups, reasons)


def prepared(
    plan: Plan,
    files: Files,
    columns: Sequence[pa.Array],
    known: batch.Reasons,
    positions: list[int],
) -> Prepared:
    """The rows at these positions as the network takes them, or why they cannot be."""
    if len(positions) < len(known):
        columns = [array.take(pa.array(positions)) for array in columns]
    rows, reasons = batch.tensors(plan, columns, [known[position] for position in positions])
    good = [index for index, reason in enumerate(reasons) if reason is None]
    groups = []
    for same in same_shapes(rows, good):
        arrays = [
            finished([of_input[i] for i in same], plan, number)
            for number, of_input in enumerate(rows)
        ]
        given = tuple(of_input[same[0]].dtype.name for of_input in rows)
        groups.append(Group([positions[i] for i in same], arrays, network(plan, files, given)))
    bad = {positions[i]: reason for i, reason in enumerate(reasons) if reason is not None}
    return Prepared(groups, bad)


def finished(rows: list[np.ndarray], plan: Plan, number: int) -> Rows:
    """Rows as they cross: pixels as they are, for their network does the rest."""
    preprocessor, spec = plan.preprocess[number], plan.signature.inputs[number]
    return rows if isinstance(preprocessor, Image) else preprocessor.finish(np.stack(rows), spec)


def same_shapes(rows: Sequence[Sequence[np.ndarray]], good: Sequence[int]) -> list[list[int]]:
    """The rows grouped by shape and dtype: an axis of any length may differ from row to row."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index in good:
        kind = tuple((of_input[index].shape, of_input[index].dtype) for of_input in rows)
        groups.setdefault(kind, []).append(index)
    return list(groups.values())


def begin(plan: Plan, owner: int) -> None:
    """Start the servers of an executor, which import their engines, before an artifact is there.

    owner is the executor's process. What goes wrong here, the first task says.
    """
    to_servers(plan, owner, Server.begin)


def warm(plan: Plan, files: Files, owner: int) -> None:
    """Let the servers of an executor load the plan's network, before a task asks."""
    to_servers(plan, owner, lambda s: s.open(network(plan.on(s.home.device), files)))


def to_servers(plan: Plan, owner: int, say: Callable[[Server], Any]) -> None:
    """Say something to each server of an executor that the plan may need, if it can be reached."""
    for address in (plan.gpu and plan.gpu.addresses) or (CPU,):
        with suppress(OSError, KerasqlError):
            server = placed(plan, Process.running(owner), address)
            try:
                say(server)
            finally:
                server.close()
