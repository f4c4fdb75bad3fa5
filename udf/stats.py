"""What queries cost on the executors: rows, batches, answers remembered; by version."""

from __future__ import annotations

import uuid
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark import SparkContext

QUERY = "kerasql.query"
"""The local property of Spark's that names a query to its tasks."""
MOST_REASONS = 20
OTHER = "other reasons"


@dataclass(frozen=True)
class Stats:
    """What one version did in one query, on all executors together.

    rows were asked for; hits of them were known from earlier, and predicted is how many the network
    computed, in so many batches (a row that two tasks ask at once is predicted once). halved
    counts batches that did not fit the memory; loads, networks loaded; restarts, processes that
    died; held_bytes is the most that one executor held, networks and answers of all versions.
    failed of the rows have no answer, and reasons says why: the most frequent ones, with how many
    rows each, and the sum of the others. Tasks that Spark repeats or gives up count too, and a
    row counts as often as Spark asks for it.
    """

    rows: int = 0
    hits: int = 0
    predicted: int = 0
    batches: int = 0
    halved: int = 0
    loads: int = 0
    restarts: int = 0
    held_bytes: int = 0
    failed: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Stats) -> Stats:
        """Both together."""
        names = [f.name for f in fields(self) if f.name != "reasons"]
        sums = {name: getattr(self, name) + getattr(other, name) for name in names}
        sums["held_bytes"] = max(self.held_bytes, other.held_bytes)
        reasons = frequent(Counter(self.reasons) + Counter(other.reasons))
        return Stats(**sums, reasons=reasons)


def failures(reasons: Sequence[str | None]) -> dict[str, Any]:
    """How many rows have no answer and why, of the reasons of each; None for one that has one."""
    why = Counter(reason for reason in reasons if reason is not None)
    return {"failed": why.total(), "reasons": frequent(why)}


def frequent(reasons: Counter[str]) -> dict[str, int]:
    """The most frequent reasons, the sum of the others last."""
    others = reasons.pop(OTHER, 0)
    kept = dict(reasons.most_common(MOST_REASONS))
    others += reasons.total() - sum(kept.values())
    return {**kept, OTHER: others} if others else kept


Counted = dict[tuple[str, str], Stats]
"""(query, ref) -> what it did."""


class Counting:
    """How Spark adds what its tasks counted."""

    def zero(self, value: Counted) -> Counted:
        """Nothing counted."""
        return {}

    def addInPlace(self, one: Counted, other: Counted) -> Counted:  # noqa: N802 - Spark's name
        """Both counts in the first."""
        for key, stats in other.items():
            one[key] = one.get(key, Stats()) + stats
        return one


_counters: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def counter(context: SparkContext) -> Any:
    """The accumulator to which this application's tasks add."""
    if context not in _counters:
        _counters[context] = context.accumulator({}, Counting())  # type: ignore[arg-type]
    return _counters[context]


def count(counter: Any, ref: str, counts: Mapping[str, Any]) -> None:
    """On an executor: add what one slice of rows took to the query that the task belongs to."""
    from pyspark import TaskContext

    if counter is None:
        # Spark Connect has no accumulators.
        return
    task = TaskContext.get()
    query = task and task.getLocalProperty(QUERY)
    counter.add({(query or "", ref): Stats(**counts)})


@contextmanager
def counted(context: SparkContext, name: str = "") -> Iterator[dict[str, Stats]]:
    """Run a query and learn what each version did: the dict is full when the block ends.

    ``so_far`` knows it by its name meanwhile.
    """
    name, before = name or uuid.uuid4().hex, context.getLocalProperty(QUERY)
    found: dict[str, Stats] = {}
    context.setLocalProperty(QUERY, name)
    try:
        yield found
    finally:
        context.setLocalProperty(QUERY, before)  # type: ignore[arg-type]
        values = counter(context).value
        for key in [key for key in list(values) if key[0] == name]:
            found[key[1]] = values.pop(key)


def so_far(context: SparkContext, name: str) -> dict[str, Stats]:
    """What each version has done in a query that runs, of the tasks that have ended."""
    # A copy: Spark's thread adds to it meanwhile.
    values = dict(counter(context).value)
    return {ref: stats for (query, ref), stats in values.items() if query == name}
