"""What an executor's model server knows: answers it gave, and rows somebody is finding out."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

TEXT = "text"
"""The dtype of an array of strings, which crosses as JSON."""

ROW_BYTES = 250
"""What keeping one answer costs beside its bytes, in Python objects."""

Layout = tuple[tuple[str, tuple[int, ...]], ...]
"""The dtype and shape of each output of one row."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One row's outputs, one after the other in data; or the reason why it has none."""

    layout: Layout
    data: bytes
    reason: str | None = None


@dataclass(eq=False, slots=True)
class Row:
    """One distinct row of one model: its answer, or whose task is to deliver it.

    A row without an answer and an owner is nobody's: its task has gone.
    """

    key: bytes | None
    owner: object | None
    answer: Answer | None = None


@dataclass
class Answers:
    """The memory of answers, least recently used first; at most limit bytes."""

    limit: int = 0
    held: int = 0
    known: OrderedDict[bytes, Answer] = field(default_factory=OrderedDict)
    pending: dict[bytes, Row] = field(default_factory=dict)

    def ask(self, keys: Sequence[bytes], owner: object) -> tuple[list[Row], list[int], int]:
        """The rows of the keys, which of them the owner must deliver, and how many were known."""
        rows, mine, hits = [], [], 0
        for index, key in enumerate(keys):
            if (answer := self.known.get(key)) is not None:
                self.known.move_to_end(key)
                rows.append(Row(key, None, answer))
                hits += 1
                continue
            if (row := self.pending.get(key)) is None:
                row = self.pending[key] = Row(key, owner)
                mine.append(index)
            rows.append(row)
        return rows, mine, hits

    def resolve(self, row: Row, answer: Answer, *, keep: bool = True) -> None:
        """Give a row its answer, once; keep says whether to remember it."""
        if row.answer is not None:
            return
        row.answer = answer
        if row.key is not None:
            self.pending.pop(row.key, None)
            if keep and self.limit:
                self._remember(row.key, answer)

    def release(self, rows: Sequence[Row], owner: object) -> None:
        """Make rows nobody's that this owner was to deliver; who waits for them asks again."""
        for row in rows:
            if row.answer is None and row.owner is owner:
                row.owner = None
                if row.key is not None:
                    self.pending.pop(row.key, None)

    def bound(self, limit: int) -> None:
        """Change how many bytes of answers are kept."""
        self.limit = limit
        self._shrink()

    def _remember(self, key: bytes, answer: Answer) -> None:
        size = _size(answer)
        if size > self.limit:
            return
        self.known[key] = answer
        self.held += size
        self._shrink()

    def _shrink(self) -> None:
        while self.held > self.limit and self.known:
            self.held -= _size(self.known.popitem(last=False)[1])


def _size(answer: Answer) -> int:
    return len(answer.data) + len(answer.reason or "") + ROW_BYTES


def row_bytes(dtype: str, shape: Sequence[int]) -> int:
    """The bytes of one row of one output: text says its own length last."""
    return shape[-1] if dtype == TEXT else int(dtype[2:]) * math.prod(shape)


def grouped(rows: Sequence[Row]) -> tuple[dict[str, Any], bytes]:
    """The answers of rows as a header and the bytes that go with it, for ``client.outcome``."""
    groups: dict[Layout, tuple[list[int], list[bytes]]] = {}
    reasons: dict[int, str] = {}
    for index, row in enumerate(rows):
        assert row.answer is not None  # noqa: S101 - the caller has waited for it
        if row.answer.reason is not None:
            reasons[index] = row.answer.reason
            continue
        positions, data = groups.setdefault(row.answer.layout, ([], []))
        positions.append(index)
        data.append(row.answer.data)
    header = {
        "groups": [{"rows": rows, "layout": layout} for layout, (rows, _) in groups.items()],
        "reasons": reasons,
    }
    return header, b"".join(piece for _, data in groups.values() for piece in data)
