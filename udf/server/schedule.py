"""Which rows a model server predicts next: across tasks, and with what memory there is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kerasql.udf.server.answers import Row

PATIENCE_S = 1.0
"""How long a task waits for others' networks before its own is loaded in their place."""


@dataclass(eq=False)
class Work:
    """Rows of one task that lie in a segment, and how many of them have been taken."""

    request: Any
    segment: int
    places: list[dict[str, Any]]
    rows: list[Row]
    taken: int = 0
    since: float = field(default_factory=time.monotonic)


@dataclass
class Part:
    """The rows from … to of a work's arrays."""

    work: Work
    start: int
    stop: int

    @property
    def rows(self) -> list[Row]:
        """What the part is to answer."""
        return self.work.rows[self.start : self.stop]


@dataclass(eq=False)
class Job:
    """What is predicted at once; deaths are the processes that ended while they predicted it."""

    network: Network
    parts: list[Part]
    alone: bool = False
    deaths: int = 0
    since: float = 0.0

    @property
    def rows(self) -> list[Row]:
        """All rows in the order of the parts."""
        return [row for part in self.parts for row in part.rows]

    def halves(self) -> list[Job]:
        """The same rows in two jobs, each to be predicted with nothing beside it."""
        half = len(self.rows) // 2
        sizes = [part.stop - part.start for part in self.parts]
        first, second = [], []
        for part, size in zip(self.parts, sizes, strict=True):
            cut = part.start + max(0, min(size, half))
            half -= size
            first += [Part(part.work, part.start, cut)] if cut > part.start else []
            second += [Part(part.work, cut, part.stop)] if cut < part.stop else []
        return [Job(self.network, parts, alone=True) for parts in (first, second)]


@dataclass(eq=False)
class Network:
    """A model as the server knows it: what loads it, what waits for it, what it takes.

    state is ``absent``, ``loading`` or ``loaded``; wanted says that a task is about to ask; bytes
    is the memory it takes, estimated from its artifacts until it was loaded once. doubtful says
    that a process died while it was being loaded: it is loaded with nothing beside it then, to see
    whose fault it was.
    """

    asked: Mapping[str, Any]
    files: Mapping[str, int]
    state: str = "absent"
    wanted: bool = True
    bytes: int = 0
    works: deque[Work] = field(default_factory=deque)
    running: int = 0
    used: float = 0.0
    crashes: int = 0
    loads: int = 0
    doubtful: bool = False

    def __post_init__(self) -> None:
        self.bytes = self.asked["bytes"]

    @property
    def key(self) -> str:
        """What this network is, for ever."""
        return str(self.asked["key"])

    def take(self) -> Job:
        """The next rows, from as many tasks as it takes to fill a batch."""
        parts: list[Part] = []
        room = self.asked["rows"]
        while self.works and room:
            work = self.works[0]
            if parts and not _alike(parts[0].work.places, work.places):
                break
            stop = min(len(work.rows), work.taken + room)
            parts.append(Part(work, work.taken, stop))
            room -= stop - work.taken
            work.taken = stop
            if stop == len(work.rows):
                self.works.popleft()
        return Job(self, parts)


def next_network(networks: Iterable[Network]) -> tuple[Network | None, Network | None]:
    """(the network to predict with now, the network to load now); None where there is none.

    Whoever waits longest is served first; while a network is not loaded others go on, but not for
    ever, and not beside a doubtful one.
    """
    networks = list(networks)
    if any(n.state == "loading" and n.doubtful for n in networks):
        return None, None
    waiting = sorted((n for n in networks if n.works), key=lambda n: n.works[0].since)
    absent = next((n for n in waiting if n.state == "absent"), None)
    if absent is not None and absent.doubtful:
        return None, absent
    first = absent is not None and absent is waiting[0]
    if first and time.monotonic() - waiting[0].works[0].since > PATIENCE_S:
        return None, absent
    return next((n for n in waiting if n.state == "loaded"), None), absent


def to_drop(networks: Iterable[Network], wanted: Network, limit: int) -> list[Network] | None:
    """The networks that leave so that the wanted one fits; None where it must wait for others.

    The least recently used leaves first. One that is larger than the limit is loaded alone.
    """
    held = [n for n in networks if n.state != "absent"]
    excess = sum(n.bytes for n in held) + wanted.bytes - limit
    leave = []
    for network in sorted(held, key=lambda n: n.used):
        if excess <= 0:
            break
        if network.state == "loaded" and not network.running:
            leave.append(network)
            excess -= network.bytes
    if excess > 0 and len(leave) < len(held):
        return None
    return leave


def to_shed(networks: Iterable[Network], limit: int) -> list[Network]:
    """The networks that leave because one that was loaded turned out larger than was thought.

    The last used stays, however large it is; those that predict now may leave the next time.
    """
    held = sorted((n for n in networks if n.state != "absent"), key=lambda n: n.used)
    excess = sum(n.bytes for n in held) - limit
    leave = []
    for network in held[:-1]:
        if excess > 0 and network.state == "loaded" and not network.running:
            leave.append(network)
            excess -= network.bytes
    return leave


def _alike(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Whether rows of two tasks can stand in one batch."""
    return all(
        a["dtype"] == b["dtype"] and a["shape"][1:] == b["shape"][1:]
        for a, b in zip(one, other, strict=True)
    )
