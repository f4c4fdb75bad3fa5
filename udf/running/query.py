"""A query as a thing: what was asked, how far it is, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from kerasql.registry.settings import setting
from kerasql.udf.stats import Stats

STATES = ("queued", "running", "finished", "failed", "stopped", "interrupted")
"""stopped by somebody; interrupted because its server ended."""
DAY_S = 86_400


@dataclass(frozen=True)
class Limits:
    """What one query may take, and how many there may be.

    rows and size_bytes are kept of a result, the size as Arrow in memory. running_each and
    queued_each are per user, running is all of them. A result is deleted after keep_s.
    """

    seconds: float = 600
    rows: int = 1_000_000
    size_bytes: int = 2**30
    running_each: int = 2
    running: int = 8
    queued_each: int = 20
    keep_s: float = 7 * DAY_S

    @classmethod
    def of_settings(cls) -> Limits:
        """Those that the operator has set, else as they are here."""
        return cls(
            seconds=setting("KERASQL_QUERY_SECONDS"),
            rows=setting("KERASQL_QUERY_ROWS"),
            size_bytes=setting("KERASQL_QUERY_MB") * 2**20,
            running_each=setting("KERASQL_QUERIES_OF_A_USER"),
            running=setting("KERASQL_QUERIES"),
            queued_each=setting("KERASQL_QUERIES_WAITING"),
            keep_s=setting("KERASQL_RESULT_DAYS") * DAY_S,
        )


@dataclass(frozen=True)
class Progress:
    """How far a query is, of the stages that Spark has planned; None where nobody knows.

    rows_scored grows when a task ends, and counts a row as often as Spark asks for it.
    """

    tasks: int = 0
    tasks_done: int = 0
    stages: int = 0
    rows_scored: int = 0
    rows_per_s: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class Query:
    """One statement that somebody asked, as its row in the registry says it is.

    position is its place in the queue, from 1. columns are (name, SQL type). stats are by ref,
    versions the refs, failed (ref, reason, rows) of the rows without an answer. stored says
    whether the result can be read, until expires_at.
    """

    id: str
    user: str
    sql: str
    parameters: Mapping[str, Any]
    state: str
    position: int | None
    server: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    progress: Progress | None
    rows: int | None
    truncated: bool
    columns: tuple[tuple[str, str], ...]
    size_bytes: int | None
    error: str | None
    stats: Mapping[str, Stats]
    warnings: tuple[str, ...]
    stored: bool
    expires_at: datetime | None

    @property
    def versions(self) -> tuple[str, ...]:
        """The refs of the versions that were asked."""
        return tuple(sorted(self.stats))

    @property
    def failed(self) -> list[tuple[str, str, int]]:
        """(ref, reason, rows) of the rows that got no answer."""
        return [
            (ref, reason, rows)
            for ref, stats in sorted(self.stats.items())
            for reason, rows in stats.reasons.items()
        ]


@dataclass(frozen=True)
class Estimate:
    """What a query would score: the rows at most, by ref, and seconds at the measured rates.

    None where nobody knows: rows behind a join, the seconds of a version that was never asked.
    """

    rows: Mapping[str, int | None]
    seconds: float | None


def query_of(row: Any) -> Query:
    """The query in a row of ``History``."""
    facts = {field.name: getattr(row, field.name) for field in fields(Query)}
    return Query(
        **{
            **facts,
            "parameters": row.parameters or {},
            "progress": row.progress and Progress(**row.progress),
            "columns": tuple((name, kind) for name, kind in row.columns),
            "stats": {ref: Stats(**counts) for ref, counts in row.stats.items()},
            "warnings": tuple(row.warnings),
        }
    )
