"""Events: who did what, written in the transaction that did it.

Every function is given the connection of an open transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from kerasql.registry.errors import TooManyAttempts
from kerasql.registry.tables import EventRow
from kerasql.registry.users import Event
from kerasql.registry.version import NOT_TEXT

SIGN_IN, REFUSED = "sign_in", "sign_in.refused"
WINDOW = timedelta(minutes=15)
MOST_OF_A_NAME, MOST_OF_AN_ADDRESS = 5, 20


def record(
    db: Connection,
    user: str | None,
    action: str,
    name: str = "",
    *,
    detail: Mapping[str, Any] | None = None,
    address: str | None = None,
    at: datetime | None = None,
) -> None:
    """Keep that somebody did something; odd or long text is kept as far as it can be."""
    facts = {
        "at": at or datetime.now(UTC),
        "actor": user and kept(user, 80),
        "action": kept(action, 64),
        "object": kept(name, 200),
        "detail": dict(detail or {}),
        "address": address and kept(address, 64),
    }
    db.execute(insert(EventRow).values(facts))


def count(db: Connection, before: datetime) -> int:
    """How many events there are from before then."""
    return db.scalar(select(func.count(EventRow.id)).where(EventRow.at < before)) or 0


def forget(db: Connection, before: datetime, *, limit: int) -> int:
    """Delete the oldest events from before then, at most so many; returns how many."""
    old = select(EventRow.id).where(EventRow.at < before).order_by(EventRow.id).limit(limit)
    ids = db.scalars(old.with_for_update()).all()
    db.execute(delete(EventRow).where(EventRow.id.in_(ids)))
    return len(ids)


def kept(text: str, longest: int) -> str:
    """What a column and its index can hold of a text."""
    return NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", text)[:longest]


def refuse_too_many(db: Connection, attempted: str, address: str, *, now: datetime) -> None:
    """Raise TooManyAttempts where a name or an address was refused too often in the last while."""
    limits = (
        (EventRow.object, attempted, MOST_OF_A_NAME),
        (EventRow.address, kept(address, 64), MOST_OF_AN_ADDRESS),
    )
    for column, value, most in limits:
        recent = (
            select(EventRow.at)
            .where(column == value, EventRow.action == REFUSED, EventRow.at > now - WINDOW)
            .order_by(EventRow.at.desc())
        )
        first_that_counts = db.scalar(recent.offset(most - 1).limit(1))
        if first_that_counts is not None:
            raise TooManyAttempts(first_that_counts + WINDOW)


def attempted(name: str) -> str:
    """What refused attempts are counted by: 16 bits of the name's digest.

    The name itself is not kept. It may be a password that was typed in the wrong field, and the
    rest of the digest would let it be guessed. Names of users are counted alike, so that nobody
    can tell them from others.
    """
    digest = hashlib.sha256(name.lower().encode("utf-8", "surrogatepass")).hexdigest()
    return f"name:{digest[:4]}"


def event_of(row: Row[Any]) -> Event:
    """The event in its row."""
    return Event(row.id, row.at, row.actor, row.action, row.object, row.detail, row.address)
