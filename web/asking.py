"""A user's questions: their SQL within what they may use, and their queries alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from kerasql.registry.access import User
from kerasql.registry.errors import AdminsOnly, InvalidQuery, NotFound
from kerasql.udf.allowed import fence_of
from kerasql.udf.fence.check import Fence
from kerasql.udf.running.formats import plain as json_value
from kerasql.udf.running.query import Estimate, Query
from kerasql.web.parts import parts

LONGEST = 200_000
"""Characters of a query and its parameters: they are kept."""


def fence(user: User) -> Fence:
    """What a user's SQL may name now."""
    known = parts()
    return fence_of(known.registry, known.access, user)


def ask(user: User, sql: str, parameters: Mapping[str, Any]) -> Query:
    """A query that was just asked; it is queued or runs."""
    known = parts()
    size = len(sql) + len(json.dumps(dict(parameters), default=str))
    if size > LONGEST:
        raise InvalidQuery(
            f"the query and its parameters have {size:,} characters, over the limit of "
            f"{LONGEST:,}; make long lists a dataset"
        )

    def may() -> Fence:
        # As it is when the query's turn comes.
        return fence_of(known.registry, known.access, known.access.user(user.name))

    return known.queries.submit(user.name, plain_sql(sql), parameters=parameters, fence=may)


def estimate(user: User, sql: str, parameters: Mapping[str, Any]) -> Estimate:
    """What a query would cost."""
    known = parts()
    with known.estimates:
        return known.queries.estimate(
            user.name, plain_sql(sql), parameters=parameters, fence=fence(user)
        )


def plain_sql(sql: str) -> str:
    """The SQL without the semicolon that people end it with."""
    return sql.strip().rstrip(";")


def history(
    user: User,
    *,
    everybody: bool = False,
    search: str | None = None,
    before: str | None = None,
    limit: int = 100,
) -> list[Query]:
    """A user's queries, or all of them for an admin who asks for it; the newest first."""
    if everybody and user.role != "admin":
        raise AdminsOnly(user.name)
    whose = None if everybody else user.name
    return parts().queries.history(user=whose, search=search, before=before, limit=limit)


def own(user: User, id: str) -> Query:
    """A query of the user's; an admin sees everybody's."""
    query = parts().queries.get(id)
    if query.user != user.name and user.role != "admin":
        raise NotFound("query", id, [], "look for it in the history")
    return query


def stop(user: User, id: str) -> Query:
    """The query, once it is told to stop."""
    own(user, id)
    return parts().queries.stop(id, by=user.name)


def rows(user: User, id: str, *, offset: int, limit: int) -> tuple[Query, pa.Table]:
    """A query of the user's and some of its rows."""
    return own(user, id), parts().queries.table(id, offset=offset, limit=limit)


def plain(table: pa.Table) -> list[list[Any]]:
    """Rows of values that JSON has; bytes as base64."""
    values = [[json_value(value) for value in column.to_pylist()] for column in table.columns]
    return [list(row) for row in zip(*values, strict=True)]


def shortened(table: pa.Table, most: int) -> list[list[Any]]:
    """Rows as texts for a page, each value cut; None stays None."""
    values = [
        [None if value is None else _short(value, most) for value in column.to_pylist()]
        for column in table.columns
    ]
    return [list(row) for row in zip(*values, strict=True)]


def _short(value: Any, most: int) -> str:
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    text = str(json_value(value))
    return text if len(text) <= most else f"{text[:most]}…"
