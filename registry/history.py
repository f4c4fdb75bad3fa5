"""Queries as the registry keeps them: who asked what, how it went, which versions answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Engine,
    Row,
    Select,
    and_,
    case,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.orm import aliased

from kerasql.registry.database import reading, writing
from kerasql.registry.errors import NotFound
from kerasql.registry.tables import QueryRow, QueryVersionRow

ACTIVE = ("queued", "running")
"""The states of a query that its server still has to do with."""
SILENT_S = 30
"""How long a server may be silent before its queries are taken for interrupted."""
MEASURED = 20
"""The last queries of a version from which its speed is taken."""
LISTED = 1_000
"""The characters of its SQL that a query in a list has."""


@cache
def asked(*, whole: bool = True) -> Select[*tuple[Any, ...]]:
    """Queries, each with its position in the queue of its server.

    Where they are not whole their SQL is cut, and their parameters are left out.
    """
    ahead = aliased(QueryRow)
    older = or_(
        ahead.created_at < QueryRow.created_at,
        and_(ahead.created_at == QueryRow.created_at, ahead.id <= QueryRow.id),
    )
    before = (
        select(func.count(ahead.id))
        .where(ahead.state == "queued", ahead.server == QueryRow.server, older)
        .scalar_subquery()
    )
    columns = {column.name: column for column in QueryRow.__table__.columns}
    if not whole:
        columns["sql"] = func.substr(QueryRow.sql, 1, LISTED).label("sql")
        columns["parameters"] = null().label("parameters")
    position = case((QueryRow.state == "queued", before)).label("position")
    return select(*columns.values(), position)


def _ended(before: datetime) -> ColumnElement[bool]:
    # When it was asked is no later, and has an index.
    return and_(
        QueryRow.created_at < before,
        QueryRow.ended_at < before,
        QueryRow.state.not_in(ACTIVE),
    )


class History:
    """The queries of all servers on one database, the running ones included."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, facts: Mapping[str, Any]) -> None:
        """Keep a query that somebody has just asked."""
        with writing(self._engine) as db:
            db.execute(insert(QueryRow).values(**facts))

    def find(self, name: str) -> Row[Any]:
        """The row of one query. Raises NotFound."""
        with reading(self._engine) as db:
            row = db.execute(asked().where(QueryRow.id == name)).first()
        if row is None:
            raise NotFound("query", name, [], "look for it in the history")
        return row

    def page(
        self,
        *,
        user: str | None = None,
        search: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> Sequence[Row[Any]]:
        """The newest queries, of one user, with a text in their SQL, older than the query before.

        Of their SQL they have the first LISTED characters, and no parameters. An unknown
        ``before`` is NotFound.
        """
        found = (
            asked(whole=False).order_by(QueryRow.created_at.desc(), QueryRow.id.desc()).limit(limit)
        )
        if user is not None:
            found = found.where(QueryRow.user == user)
        if search:
            found = found.where(QueryRow.sql.icontains(search, autoescape=True))
        if before is not None:
            last = self.find(before)
            found = found.where(
                QueryRow.created_at <= last.created_at,
                or_(QueryRow.created_at < last.created_at, QueryRow.id < last.id),
            )
        with reading(self._engine) as db:
            return db.execute(found).all()

    def change(self, name: str, facts: Mapping[str, Any], *, states: Collection[str]) -> bool:
        """Write facts of a query that is in one of these states; says whether it was."""
        row = update(QueryRow).where(QueryRow.id == name, QueryRow.state.in_(states))
        with writing(self._engine) as db:
            return db.execute(row.values(**facts).returning(QueryRow.id)).first() is not None

    def end(
        self,
        name: str,
        facts: Mapping[str, Any],
        *,
        answered: Mapping[str, int],
        seconds: float,
    ) -> bool:
        """Write how a query ended, unless somebody stopped it; and how fast versions answered.

        answered are the rows that each version predicted.
        """
        # Its server knows better than another one that has not heard of it for a while.
        states = (*ACTIVE, "interrupted")
        row = update(QueryRow).where(QueryRow.id == name, QueryRow.state.in_(states))
        speeds = [
            {
                "query_id": name,
                "ref": ref,
                "rows": rows,
                "seconds": seconds,
                "ended_at": facts["ended_at"],
            }
            for ref, rows in answered.items()
        ]
        with writing(self._engine) as db:
            ended = db.execute(row.values(**facts).returning(QueryRow.id)).first() is not None
            if ended and speeds:
                db.execute(insert(QueryVersionRow), speeds)
            return ended

    def beat(self, names: Collection[str], progress: Mapping[str, Mapping[str, Any]]) -> None:
        """Say that the server of these queries has them still, and how far the running ones are.

        A query that its server has lost gets no heartbeat, and so is interrupted.
        """
        mine = update(QueryRow).where(QueryRow.id.in_(names), QueryRow.state.in_(ACTIVE))
        with writing(self._engine) as db:
            db.execute(mine.values(heartbeat_at=datetime.now(UTC)))
            for name, facts in progress.items():
                one = update(QueryRow).where(QueryRow.id == name, QueryRow.state == "running")
                db.execute(one.values(**facts))

    def stops(self, server: str) -> dict[str, str]:
        """Who wants which active query of a server to stop."""
        query = select(QueryRow.id, QueryRow.stop_by).where(
            QueryRow.state.in_(ACTIVE), QueryRow.server == server, QueryRow.stop_by.is_not(None)
        )
        with reading(self._engine) as db:
            return {row.id: row.stop_by for row in db.execute(query)}

    def interrupt(self, *, server: str | None = None) -> int:
        """Mark the queries of servers that have gone (and all of one server); returns how many."""
        now = datetime.now(UTC)
        gone = QueryRow.heartbeat_at < now - timedelta(seconds=SILENT_S)
        if server is not None:
            gone = or_(gone, QueryRow.server == server)
        row = update(QueryRow).where(QueryRow.state.in_(ACTIVE), gone)
        facts = {
            "state": "interrupted",
            "ended_at": now,
            "error": "its server ended while it was asked; run it again",
        }
        with writing(self._engine) as db:
            return len(db.execute(row.values(**facts).returning(QueryRow.id)).all())

    def stored(self) -> frozenset[str]:
        """The queries whose rows are stored."""
        with reading(self._engine) as db:
            return frozenset(db.scalars(select(QueryRow.id).where(QueryRow.stored.is_(True))))

    def expired(self) -> list[str]:
        """The queries whose stored rows are to be deleted."""
        query = select(QueryRow.id).where(
            QueryRow.stored.is_(True), QueryRow.expires_at <= datetime.now(UTC)
        )
        with reading(self._engine) as db:
            return list(db.scalars(query))

    def count(self, before: datetime) -> int:
        """How many queries ended before then."""
        with reading(self._engine) as db:
            return db.scalar(select(func.count(QueryRow.id)).where(_ended(before))) or 0

    def oldest(self, before: datetime, *, limit: int) -> Sequence[Row[Any]]:
        """The oldest queries that ended before then: their ids, and whether rows are stored."""
        query = select(QueryRow.id, QueryRow.stored).where(_ended(before))
        oldest: Select[*tuple[Any, ...]] = query.order_by(QueryRow.created_at).limit(limit)
        with reading(self._engine) as db:
            return db.execute(oldest).all()

    def forget(self, names: Sequence[str]) -> int:
        """Delete queries that have ended, and what their versions did; returns how many."""
        these = QueryRow.id.in_(names)
        with writing(self._engine) as db:
            # In one order, so that two that tidy never wait for each other.
            db.execute(select(QueryRow.id).where(these).order_by(QueryRow.id).with_for_update())
            return len(db.execute(delete(QueryRow).where(these).returning(QueryRow.id)).all())

    def rate(self, ref: str) -> float | None:
        """Rows a second that a version predicted in its last queries; None without any."""
        last = (
            select(QueryVersionRow.rows, QueryVersionRow.seconds)
            .where(QueryVersionRow.ref == ref, QueryVersionRow.rows > 0)
            .order_by(QueryVersionRow.ended_at.desc())
            .limit(MEASURED)
            .subquery()
        )
        query = select(func.sum(last.c.rows).label("rows"), func.sum(last.c.seconds).label("s"))
        with reading(self._engine) as db:
            row = db.execute(query).one()
        return float(row.rows) / row.s if row.s else None
