"""A Python worker's way to its executor's model server."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kerasql.registry import errors
from kerasql.registry.errors import BrokenArtifact, ServerFailed
from kerasql.udf.server import wire
from kerasql.udf.server.answers import TEXT, row_bytes
from kerasql.udf.server.home import Home
from kerasql.udf.server.segment import Rows, Segment, size_of

MOST_SEGMENTS = 3
MOST_DEATHS = 10
"""How often in a row the server may die before a slice is answered."""


@dataclass(frozen=True)
class Asked:
    """A network to be asked: what the server needs to load it, and its files.

    about is JSON with ``key``, ``ref``, ``engine``, ``precision``, ``artifacts`` (SHA-256 by role),
    ``finish``, ``numeric``, ``allowed``, ``rows`` and ``bytes``; files opens the artifact of a
    SHA-256.
    """

    about: Mapping[str, Any]
    files: Callable[[str], Any]

    @property
    def key(self) -> str:
        """What the network is, for ever."""
        return str(self.about["key"])


@dataclass(frozen=True)
class Group:
    """Prepared rows of the same shapes: their positions in the slice, and the rows per input."""

    positions: Sequence[int]
    arrays: Sequence[Rows]
    network: Asked


@dataclass
class Prepared:
    """What a worker made of the rows it had to deliver; reasons by position where it could not."""

    groups: list[Group]
    reasons: dict[int, str]


@dataclass
class Outcome:
    """The answers to a slice: (positions, outputs) groups, reasons by position, counts."""

    groups: list[tuple[np.ndarray, list[np.ndarray]]]
    reasons: dict[int, str]
    counts: dict[str, int]


class Server:
    """A worker's connection; it comes again when the server has died."""

    def __init__(self, home: Home, limits: Mapping[str, int], engine: str) -> None:
        self.home, self.limits, self.engine = home, dict(limits), engine
        self._connection: socket.socket | None = None
        self._opened: set[str] = set()
        self._shown: set[Segment] = set()
        self._free: list[Segment] = []
        self._forgotten: list[int] = []
        self.generation = 0
        self._next = 0

    def begin(self) -> str | None:
        """Have the server started and its engine imported; why its GPU cannot be used, or None."""
        for _ in range(MOST_DEATHS):
            with suppress(ConnectionError):
                refused: str | None = self.ask({"verb": "begin", "limits": self.limits})["refused"]
                return refused
        raise ServerFailed(f"it died {MOST_DEATHS} times before it could say what it has")

    def open(self, network: Asked) -> None:
        """Let the server load a network, where it does not know it."""
        if network.key in self._opened:
            return
        message = {"verb": "open", "network": network.about, "limits": self.limits}
        if not self.ask(message)["known"]:
            files: list[Any] = []
            try:
                for role, sha256 in network.about["artifacts"].items():
                    files.append(_opened(network, role, sha256))
                self.ask(message, files=[file.fileno() for file in files])
            finally:
                for file in files:
                    file.close()
        self._opened.add(network.key)

    def ask(
        self, header: dict[str, Any], payload: bytes = b"", files: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Say something and hear the answer. Raises ConnectionError where the server dies."""
        self.say(header, payload, files)
        return self.hear().header

    def say(self, header: dict[str, Any], payload: bytes = b"", files: Sequence[int] = ()) -> None:
        """Say something that needs no answer."""
        try:
            wire.send(self._connected(), header, payload, files)
        except ConnectionError:
            self.close()
            raise

    def hear(self) -> wire.Message:
        """The next answer."""
        try:
            return wire.receive(self._connected())
        except ConnectionError:
            self.close()
            raise

    def close(self) -> None:
        """Forget the connection; what was said over it is lost."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._opened.clear()
        self._shown.clear()
        self._forgotten.clear()
        self.generation += 1

    def segment(self, size: int) -> Segment:
        """Shared memory of at least that size, used before if there is one."""
        fitting = [segment for segment in self._free if segment.size >= size]
        if not fitting:
            return Segment.of(size)
        chosen = min(fitting, key=lambda segment: segment.size)
        self._free.remove(chosen)
        return chosen

    def submit(
        self, request: int, groups: Sequence[Group], reasons: Mapping[int, str]
    ) -> list[Segment]:
        """Put prepared rows where the server finds them; the segments they lie in."""
        for group in groups:
            self.open(group.network)
        sizes = [size_of(group.arrays) for group in groups]
        segments = [self.segment(sum(sizes))] if groups else []
        try:
            new = [segment for segment in segments if segment not in self._shown]
            said, at = [], 0
            for group, size in zip(groups, sizes, strict=True):
                said.append(
                    {
                        "network": group.network.key,
                        "rows": list(group.positions),
                        "segment": segments[0].number,
                        "places": segments[0].put(group.arrays, at),
                    }
                )
                at += size
            header = {
                "verb": "submit",
                "id": request,
                "groups": said,
                "reasons": reasons,
                "segments": [segment.number for segment in new],
                "forget": self._forgotten,
            }
            self.say(header, files=[segment.fd for segment in new])
        except BaseException:
            self.discard(segments)
            raise
        self._shown.update(new)
        self._forgotten = []
        return segments

    def free(self, segments: Sequence[Segment]) -> None:
        """Keep segments whose rows are answered for the next ones; a few, the largest."""
        self._free = sorted([*self._free, *segments], key=lambda segment: -segment.size)
        self.discard(self._free[MOST_SEGMENTS:])
        del self._free[MOST_SEGMENTS:]

    def discard(self, segments: Sequence[Segment]) -> None:
        """Let segments go that somebody may still read."""
        for segment in segments:
            if segment in self._shown:
                self._shown.remove(segment)
                self._forgotten.append(segment.number)
            segment.close()

    def number(self) -> int:
        """A number that no request of this worker has had."""
        self._next += 1
        return self._next

    def _connected(self) -> socket.socket:
        if self._connection is None:
            self._connection = self.home.connect(self.engine)
        return self._connection


@dataclass(eq=False)
class Slice:
    """Some rows of a task on their way: begun early, collected when their answers are needed.

    hashes are 16 bytes per row, None where nothing is remembered; scope is what they are hashes
    of: the same bytes mean other answers to another model. prepare makes the rows at the positions
    that nobody knows yet.
    """

    server: Server
    network: Asked
    scope: str
    count: int
    hashes: bytes | None
    prepare: Callable[[list[int]], Prepared]
    request: int = 0
    generation: int = -1
    deaths: int = 0
    segments: list[Segment] = field(default_factory=list)

    def begin(self) -> None:
        """Ask who knows the rows, and submit those that are this task's to deliver."""
        while True:
            try:
                return self._begin()
            except ConnectionError:
                self._died()

    def collect(self) -> Outcome:
        """Wait for every row's answer."""
        while True:
            try:
                if self.generation != self.server.generation:
                    self._begin()
                self.server.say({"verb": "collect", "id": self.request})
                said = self.server.hear()
            except ConnectionError:
                self._died()
                continue
            if "error" in said.header:
                self.server.discard(self.segments)
                raise getattr(errors, said.header["error"])(*said.header["args"])
            if "again" in said.header:
                # Somebody who was to deliver some of these rows has gone.
                self.generation = -1
                continue
            self.server.free(self.segments)
            return outcome(said)

    def _begin(self) -> None:
        self.server.discard(self.segments)
        self.segments = []
        self.server.open(self.network)
        self.request = self.server.number()
        self.generation = self.server.generation
        asked = {
            "verb": "ask",
            "id": self.request,
            "network": self.network.key,
            "scope": self.scope,
            "limits": self.server.limits,
            "count": self.count,
            "hashed": self.hashes is not None,
        }
        mine = self.server.ask(asked, self.hashes or b"")["mine"]
        if mine:
            prepared = self.prepare(mine)
            self.segments = self.server.submit(self.request, prepared.groups, prepared.reasons)

    def _died(self) -> None:
        self.deaths += 1
        if self.deaths > MOST_DEATHS:
            raise ServerFailed(
                f"it died {self.deaths} times before it could answer the same rows; "
                "the executor's stderr may say why"
            )


def outcome(said: wire.Message) -> Outcome:
    """What ``answers.grouped`` put into a message, as arrays."""
    groups, at = [], 0
    for group in said.header["groups"]:
        positions = np.array(group["rows"])
        sizes = [row_bytes(dtype, shape) for dtype, shape in group["layout"]]
        size = sum(sizes)
        block = np.frombuffer(said.payload, np.uint8, len(positions) * size, at)
        at += len(positions) * size
        outputs, begin = [], 0
        for (dtype, shape), length in zip(group["layout"], sizes, strict=True):
            columns = block.reshape(len(positions), size)[:, begin : begin + length]
            outputs.append(_output(columns, dtype, shape))
            begin += length
        groups.append((positions, outputs))
    reasons = {int(position): reason for position, reason in said.header["reasons"].items()}
    return Outcome(groups, reasons, said.header["counts"])


def _output(columns: np.ndarray, dtype: str, shape: list[int]) -> np.ndarray:
    if dtype == TEXT:
        rows = [json.loads(bytes(row)) for row in columns]
        array = np.empty((len(rows), *shape[:-1]), object)
        for number, texts in enumerate(rows):
            array[number] = np.array(texts, object).reshape(shape[:-1]) if shape[:-1] else texts[0]
        return array
    return np.ascontiguousarray(columns).view(dtype).reshape(len(columns), *shape)


def _opened(network: Asked, role: str, sha256: str) -> Any:
    try:
        return network.files(sha256)
    except OSError as error:
        raise BrokenArtifact(
            network.about["ref"], f"{role!r} ({sha256})", f"did not reach this executor ({error})"
        ) from error
