"""Old queries and events: counted, then deleted a few at a time, beside running servers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from kerasql.registry import events
from kerasql.registry.database import reading, writing
from kerasql.registry.errors import InvalidInput
from kerasql.registry.store import Registry

TOGETHER = 1000
LEAST = timedelta(days=1)
"""Servers still write to what is younger, and refused sign-ins are counted in it."""
UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Old:
    """How many queries ended, and how many events happened, before a time."""

    queries: int = 0
    events: int = 0


def age(text: str) -> timedelta:
    """How old ``36h``, ``90d`` or ``8w`` is. Raises InvalidInput for less than a day."""
    match = re.fullmatch(r"([0-9]{1,5})([hdw])", text.strip())
    if not match:
        raise InvalidInput(f"{text!r} is no age; write 36h, 90d or 8w")
    found = timedelta(**{UNITS[match[2]]: int(match[1])})
    if found < LEAST:
        raise InvalidInput(
            f"{text} is too young; what is younger than a day stays, give 1d or more"
        )
    return found


def tidy(
    registry: Registry,
    *,
    queries_older_than: timedelta | None = None,
    events_older_than: timedelta | None = None,
    remove: Callable[[str], None],
    by: str | None,
    dry_run: bool = False,
) -> Old:
    """Delete the queries that ended, and the events that happened, longer ago; returns how many.

    None leaves them alone; what is younger than a day stays. remove deletes the stored rows of a
    query by its id. What is about to be deleted is an event of its own, written before the first
    row goes. A run that is killed is finished by the next.
    """
    queries_before, events_before = _ago(queries_older_than), _ago(events_older_than)
    old = _counted(registry, queries_before, events_before)
    if dry_run or old == Old():
        return old
    bounds = {"queries_before": queries_before, "events_before": events_before}
    detail = {**asdict(old), **{name: str(at) for name, at in bounds.items() if at}}
    with writing(registry._engine) as db:
        events.record(db, by, "db.tidy", detail=detail)
    return Old(
        queries=_forget_queries(registry, queries_before, remove) if queries_before else 0,
        events=_forget_events(registry, events_before) if events_before else 0,
    )


def _ago(age: timedelta | None) -> datetime | None:
    return None if age is None else datetime.now(UTC) - max(age, LEAST)


def _counted(
    registry: Registry, queries_before: datetime | None, events_before: datetime | None
) -> Old:
    with reading(registry._engine) as db:
        found = events.count(db, events_before) if events_before else 0
    return Old(registry.history.count(queries_before) if queries_before else 0, found)


def _forget_queries(registry: Registry, before: datetime, remove: Callable[[str], None]) -> int:
    forgotten = 0
    while rows := registry.history.oldest(before, limit=TOGETHER):
        for row in rows:
            if row.stored:
                remove(row.id)
        with _half_the_time():
            forgotten += registry.history.forget([row.id for row in rows])
    return forgotten


def _forget_events(registry: Registry, before: datetime) -> int:
    forgotten = 0
    while True:
        with _half_the_time(), writing(registry._engine) as db:
            deleted = events.forget(db, before, limit=TOGETHER)
        if not deleted:
            return forgotten
        forgotten += deleted


@contextmanager
def _half_the_time() -> Iterator[None]:
    """As long as this took, others may write: SQLite has one writer at a time, and no queue."""
    began = time.monotonic()
    yield
    time.sleep(time.monotonic() - began)
