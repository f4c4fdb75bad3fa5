"""A whole registry, copied into another database: from SQLite to PostgreSQL, or back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy import Connection, Engine, Table, delete, func, insert, inspect, select

from kerasql.registry.database import (
    SCHEMA,
    lock,
    open_engine,
    reading,
    require_schema,
    shown,
    upgrade,
    writing,
)
from kerasql.registry.errors import InvalidInput, RegistryUnavailable
from kerasql.registry.tables import Base, ChunkRow, RegistryRow, UploadChunkRow

TOGETHER = 500
"""Rows in memory at once; of chunks, which have a few MiB, one."""
CHUNKS = (ChunkRow.__tablename__, UploadChunkRow.__tablename__)

Progress = Callable[[str, int], None]
"""Told of each table and how many of its rows are copied."""


def copy(
    source: str, target: str, *, progress: Progress = lambda table, rows: None
) -> dict[str, int]:
    """Copy every row of a registry into an empty database; returns how many by table.

    A target without tables gets them here. It holds all or nothing afterwards; the source is as
    it was. Files of artifacts stay where they are, and belong to the target from now on. Raises
    InvalidInput for a target that holds anything, RegistryUnavailable for a source that is not
    there, or one of the two with another schema.
    """
    from_, to = open_engine(source), open_engine(target)
    try:
        if from_.dialect.name == "sqlite" and not Path(from_.url.database or "").exists():
            raise RegistryUnavailable(shown(from_), "there is no such file")
        require_schema(from_)
        with reading(to) as new:
            is_new = not inspect(new).get_table_names()
        if is_new:
            upgrade(target)
        require_schema(to)
        with _snapshot(from_) as old, writing(to) as new:
            lock(new, SCHEMA)
            _require_empty(new, shown(to))
            new.execute(delete(RegistryRow))
            return {
                table.name: _copy_table(table, old, new, progress)
                for table in Base.metadata.sorted_tables
            }
    finally:
        from_.dispose()
        to.dispose()


def _snapshot(engine: Engine) -> AbstractContextManager[Connection]:
    """A transaction that sees the database as it is now, whatever is written meanwhile."""
    if engine.dialect.name == "postgresql":
        return writing(engine.execution_options(isolation_level="REPEATABLE READ"))
    return reading(engine)


def _require_empty(db: Connection, url: str) -> None:
    for table in Base.metadata.sorted_tables:
        if table.name != RegistryRow.__tablename__ and _count(db, table):
            raise InvalidInput(
                f"{url} holds a registry already ({table.name} has rows); give an empty database"
            )


def _copy_table(table: Table, old: Connection, new: Connection, progress: Progress) -> int:
    together = 1 if table.name in CHUNKS else TOGETHER
    found = old.execute(select(table), execution_options={"yield_per": together})
    copied = 0
    for rows in found.mappings().partitions():
        new.execute(insert(table), [dict(row) for row in rows])
        copied += len(rows)
        progress(table.name, copied)
    there, here = _count(old, table), _count(new, table)
    if here != there:
        raise RegistryUnavailable(
            shown(new.engine), f"{here:,} of the {there:,} rows of {table.name} arrived"
        )
    _count_on(table, new)
    return copied


def _count(db: Connection, table: Table) -> int:
    return db.scalar(select(func.count()).select_from(table)) or 0


def _count_on(table: Table, db: Connection) -> None:
    """Let PostgreSQL give new rows ids that are not taken."""
    column = table.autoincrement_column
    if db.dialect.name == "postgresql" and column is not None:
        last = func.max(column)
        counter = func.pg_get_serial_sequence(table.name, column.name)
        is_any = last.is_not(None)
        db.execute(select(func.setval(counter, func.coalesce(last, 1), is_any)))
