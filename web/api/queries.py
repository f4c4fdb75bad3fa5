"""Queries as things: asked, watched, stopped, their rows read."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from kerasql.udf.running import query as running
from kerasql.web import asking
from kerasql.web.api.problem import REFUSALS, Problem
from kerasql.web.api.sent import Bound, Sent, sent
from kerasql.web.parts import parts
from kerasql.web.who import asker

FORMATS = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
Format = Literal["csv", "json", "parquet", "arrow"]

queries = APIBlueprint(
    "queries",
    __name__,
    url_prefix="/api/v1",
    abp_tags=[Tag(name="queries", description="SQL over the models and datasets you may use.")],
    abp_security=[{"token": []}, {"browser": []}],
    abp_responses=REFUSALS,
)


class Ask(Bound):
    """One query."""

    sql: str = Field(max_length=200_000, description="One SELECT; ; at the end may be left out.")
    parameters: dict[str, str | int | float | bool | None] = Field(
        {}, description="Values of :name in the SQL."
    )


class Progress(Sent):
    """How far a running query is."""

    tasks: int
    tasks_done: int
    stages: int
    rows_scored: int
    rows_per_s: float | None
    seconds_left: float | None


class Column(BaseModel):
    """A column of the result."""

    name: str
    type: str = Field(description="Its SQL type.")


class Failed(BaseModel):
    """Rows for which a function had no answer."""

    ref: str
    reason: str
    rows: int


class Query(Sent):
    """A query: its text, its state, and what came of it."""

    id: str
    user: str
    sql: str = Field(description="In a list, its first 1,000 characters.")
    parameters: dict[str, Any] = Field(description="In a list, none.")
    state: Literal["queued", "running", "finished", "failed", "stopped", "interrupted"]
    position: int | None = Field(description="Its place in the queue.")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    progress: Progress | None
    rows: int | None
    truncated: bool
    columns: list[Column]
    size_bytes: int | None
    error: str | None
    stats: dict[str, dict[str, Any]] = Field(description="What each version did.")
    versions: list[str] = Field(description="Versions that were called.")
    failed: list[Failed]
    warnings: list[str]
    stored: bool = Field(description="Whether its rows can be read.")
    expires_at: datetime | None = Field(description="When its rows are deleted.")


class Queries(BaseModel):
    """Queries, the newest first."""

    queries: list[Query]


class Estimate(Sent):
    """What a query would cost."""

    rows: dict[str, int | None] = Field(description="Rows each version would score.")
    seconds: float | None


class Rows(BaseModel):
    """Some rows of a result."""

    columns: list[Column]
    offset: int
    rows: list[list[Any]] = Field(description="Values as JSON; binary as base64.")
    more: bool


class Id(Bound):
    """A query."""

    id: str = Field(max_length=64, pattern="^[0-9a-f]{32}$")


class IdAndFormat(Id):
    """A result as a file."""

    format: Format


class Page(Bound):
    """Which rows."""

    offset: int = Field(0, ge=0, lt=2**31)
    limit: int = Field(100, ge=1, le=1_000)


class Which(Bound):
    """Which queries."""

    search: str | None = Field(None, max_length=200, description="A text in their SQL.")
    everybody: bool = Field(False, description="Of all users (admins).")
    before: str | None = Field(
        None, pattern="^[0-9a-f]{32}$", description="The id of a query: older ones than that."
    )
    limit: int = Field(100, ge=1, le=1000)


@queries.post("/queries", responses={202: Query, 400: Problem})
def ask(body: Ask) -> Response:
    """Ask a query; the answer comes at once and says its id"""
    return sent(shown(asking.ask(asker(), body.sql, body.parameters)), 202)


@queries.post("/queries/estimate", responses={200: Estimate, 400: Problem})
def estimate(body: Ask) -> Response:
    """What a query would cost; it is not run"""
    return sent(Estimate.of(asking.estimate(asker(), body.sql, body.parameters)))


@queries.get("/queries", responses={200: Queries, 404: Problem})
def list_queries(query: Which) -> Response:
    """My queries, the newest first"""
    found = asking.history(
        asker(),
        everybody=query.everybody,
        search=query.search,
        before=query.before,
        limit=query.limit,
    )
    return sent(Queries(queries=[shown(one) for one in found]))


@queries.get("/queries/<id>", responses={200: Query, 404: Problem})
def get_query(path: Id) -> Response:
    """A query's state, progress and what came of it"""
    return sent(shown(asking.own(asker(), path.id)))


@queries.delete("/queries/<id>", responses={200: Query, 404: Problem})
def stop_query(path: Id) -> Response:
    """Stop a query; one that has ended stays as it is"""
    return sent(shown(asking.stop(asker(), path.id)))


@queries.get("/queries/<id>/rows", responses={200: Rows, 400: Problem, 404: Problem})
def rows(path: Id, query: Page) -> Response:
    """Some rows of a finished query"""
    found, table = asking.rows(asker(), path.id, offset=query.offset, limit=query.limit)
    return sent(
        Rows(
            columns=columns(found),
            offset=query.offset,
            rows=asking.plain(table),
            more=query.offset + table.num_rows < (found.rows or 0),
        )
    )


@queries.get("/queries/<id>/result.<format>", responses={400: Problem, 404: Problem})
def download(path: IdAndFormat) -> Response:
    """A finished query's rows as a file: csv, json, parquet or arrow"""
    asking.own(asker(), path.id)
    pieces = parts().queries.download(path.id, path.format)
    response = Response(pieces, mimetype=FORMATS[path.format])
    name = f"kerasql-{path.id[:8]}.{path.format}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def shown(query: running.Query) -> Query:
    """A query as JSON."""
    return Query.of(
        query,
        columns=columns(query),
        stats={ref: asdict(stats) for ref, stats in query.stats.items()},
        failed=[Failed(ref=ref, reason=reason, rows=n) for ref, reason, n in query.failed],
    )


def columns(query: running.Query) -> list[Column]:
    """The columns of a result."""
    return [Column(name=name, type=kind) for name, kind in query.columns]
