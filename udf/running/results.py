"""Rows of queries at rest: an Arrow file each, read a piece at a time."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from types import TracebackType
from typing import Any

import fsspec
import pyarrow as pa

from kerasql.registry.folder import appearing
from kerasql.udf.running.query import Limits

IN_MEMORY_BYTES = 16 * 2**20
TOGETHER_ROWS = 10_000
TOGETHER_BYTES = 16 * 2**20
"""Rows of small tasks are stored together up to so many: a page is then one read."""
ENDS = b"kerasql.ends"
"""The metadata that say at which row each batch of a stored file ends."""
OURS = re.compile(r"/[0-9a-f]{2}/[0-9a-f]{32}\.arrow(\.[A-Za-z0-9_]+\.part)?")


@dataclass(frozen=True)
class Piece:
    """Rows that were kept: their partition, how many, their bytes, where they lie."""

    partition: int
    rows: int
    size: int
    number: int


class Kept:
    """The first rows of a result as they arrive, in a file without a name; few stay in memory.

    in_order says that the frame is sorted: then partitions are rows in their order, and those of
    early ones may come late. Else the first that come are as good as any.
    """

    def __init__(self, schema: pa.Schema, limits: Limits, *, in_order: bool) -> None:
        self.schema, self.limits, self.in_order = schema, limits, in_order
        self.pieces: list[Piece] = []
        self.truncated = False
        self._taken: dict[int, tuple[int, int]] = {}
        self._file: Any = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - close()
        self._writer = pa.ipc.new_file(self._file, schema)

    def __enter__(self) -> Kept:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(piece.rows for piece in self.pieces)

    @property
    def size_bytes(self) -> int:
        """Their size as Arrow in memory."""
        return sum(piece.size for piece in self.pieces)

    def add(self, partition: int, rows: pa.RecordBatch) -> bool:
        """Keep what there is room for; says whether more can be of use."""
        place = partition if self.in_order else 0
        before = [taken for other, taken in self._taken.items() if other <= place]
        piece = self._cut(rows, sum(n for n, _ in before), sum(size for _, size in before))
        if piece is not None:
            self._writer.write_batch(piece)
            self.pieces.append(Piece(partition, len(piece), piece.nbytes, len(self.pieces)))
            count, size = self._taken.get(place, (0, 0))
            self._taken[place] = count + len(piece), size + piece.nbytes
        return self.in_order or not self.truncated

    def ordered(self) -> Iterator[list[pa.RecordBatch]]:
        """All rows in their order, in lists to be stored together."""
        for group in self._together():
            yield [self._reader.get_batch(piece.number).slice(0, piece.rows) for piece in group]

    def end(self) -> list[int]:
        """Let no more come; at which row each of ``ordered`` ends."""
        self._writer.close()
        self._reader = pa.ipc.open_file(self._file)
        self._put_in_order()
        return list(accumulate(sum(piece.rows for piece in group) for group in self._together()))

    def _cut(self, rows: pa.RecordBatch, before: int, size: int) -> pa.RecordBatch | None:
        room, space = self.limits.rows - before, self.limits.size_bytes - size
        if rows.nbytes > space:
            room = min(room, int(len(rows) * max(space, 0) / rows.nbytes))
        self.truncated |= len(rows) > room
        return rows.slice(0, room) if room > 0 else None

    def _put_in_order(self) -> None:
        """Sort by partition; rows of late ones go that early ones have left no room for."""
        pieces, self.pieces = sorted(self.pieces, key=lambda p: (p.partition, p.number)), []
        rows = size = 0
        for piece in pieces:
            room = min(self.limits.rows - rows, piece.rows)
            self.truncated |= room < piece.rows or size + piece.size > self.limits.size_bytes
            if room <= 0 or size + piece.size > self.limits.size_bytes:
                break
            self.pieces.append(Piece(piece.partition, room, piece.size, piece.number))
            rows, size = rows + room, size + piece.size

    def _together(self) -> Iterator[list[Piece]]:
        group: list[Piece] = []
        for piece in self.pieces:
            full = sum(one.rows for one in group) + piece.rows > TOGETHER_ROWS
            if group and (full or sum(one.size for one in group) + piece.size > TOGETHER_BYTES):
                yield group
                group = []
            group.append(piece)
        if group:
            yield group


class Results:
    """The stored results of queries, at an fsspec URL or in a folder: ``<url>/<two digits>/<id>``.

    A file appears whole or not at all.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._files, self._root = fsspec.url_to_fs(url, use_listings_cache=False)

    def write(self, name: str, kept: Kept) -> None:
        """Store what was kept of a query."""
        ends = json.dumps(kept.end()).encode()
        schema = kept.schema.with_metadata({**(kept.schema.metadata or {}), ENDS: ends})
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with (
            appearing(self._files, self._path(name), mode=0o600) as file,
            pa.ipc.new_file(file, schema, options=options) as writer,
        ):
            for group in kept.ordered():
                table = pa.Table.from_batches(group, kept.schema).combine_chunks()
                for batch in table.to_batches():
                    writer.write_batch(batch)

    @contextmanager
    def reading(self, name: str) -> Iterator[Stored]:
        """A stored result. Raises FileNotFoundError."""
        with self._files.open(self._path(name), "rb") as file:
            yield Stored(file)

    def remove(self, name: str) -> None:
        """Delete a result; one that is gone is fine."""
        with suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))

    def sweep(self, *, older_than_s: float, stored: Callable[[], Collection[str]]) -> None:
        """Delete what killed processes left: files that were written longer ago.

        stored says which results are to stay, however old they are.
        """
        last = datetime.now(UTC) - timedelta(seconds=older_than_s)
        paths = [path for path in self._files.find(self._root) if self._is_ours(path)]
        kept = {self._path(name) for name in stored()} if paths else set()
        for path in paths:
            with suppress(FileNotFoundError):
                if path not in kept and self._files.modified(path).astimezone(UTC) < last:
                    self._files.rm_file(path)

    def _is_ours(self, path: str) -> bool:
        return OURS.fullmatch(path.removeprefix(self._root)) is not None

    def _path(self, name: str) -> str:
        return f"{self._root}/{name[:2]}/{name}.arrow"


class Stored:
    """A stored result, open: its rows, a batch in memory at a time."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self._reader = pa.ipc.open_file(file)
        metadata = dict(self._reader.schema.metadata)
        self._ends: list[int] = json.loads(metadata.pop(ENDS))
        self.schema = self._reader.schema.with_metadata(metadata or None)

    def page(self, offset: int, limit: int) -> pa.Table:
        """The rows from an offset on, at most so many."""
        parts, begin = [], 0
        for number, end in enumerate(self._ends):
            if end > offset and begin < offset + limit:
                first, last = max(offset - begin, 0), min(offset + limit, end) - begin
                parts.append(self._batch(number).slice(first, last - first))
            begin = end
        return pa.Table.from_batches(parts, self.schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, a batch after the other."""
        return map(self._batch, range(len(self._ends)))

    def _batch(self, number: int) -> pa.RecordBatch:
        return self._reader.get_batch(number).replace_schema_metadata(self.schema.metadata)


def pieces(file: Any, size: int = 2**20) -> Iterable[bytes]:
    """A file from its beginning, so many bytes at a time."""
    file.seek(0)
    while data := file.read(size):
        yield data
