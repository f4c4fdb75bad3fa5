"""The registry's database: how it is opened, how a transaction runs, which schema it has."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, literal, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

import kerasql.migrations
from kerasql.registry.errors import InvalidInput, RegistryUnavailable
from kerasql.registry.tables import REVISION, Base

BUSY_TIMEOUT_S = 60
CONNECT_TIMEOUT_S = 10
DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
SECRETS = ("password", "passfile", "sslpassword")  # what libpq takes as ?password=…
MIGRATIONS = Path(kerasql.migrations.__file__).parent

# PostgreSQL's advisory locks of a transaction; SQLite has one writer at a time.
ARTIFACTS, NAMES, SCHEMA = 5461001, 5461002, 5461003
SIGN_INS, UPLOADS = 5461004, 5461006

# Both write ON CONFLICT alike.
INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

_alembic = threading.Lock()  # its context is one per process
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def open_engine(url: str) -> Engine:
    """An engine for SQLite or PostgreSQL; nothing is connected yet."""
    parsed = _parse(url)
    if parsed.get_backend_name() == "postgresql":
        engine = create_engine(
            parsed,
            hide_parameters=True,
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
        )
    else:
        engine = create_engine(
            parsed, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S}
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    _engines.add(engine)
    return engine


def shown(engine: Engine) -> str:
    """The database's URL without its password."""
    return engine.url.difference_update_query(SECRETS).render_as_string(hide_password=True)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection for one SELECT: on PostgreSQL one round trip, without a transaction."""
    with _reached(engine):
        if engine.dialect.name == "postgresql":
            engine = _autocommit(engine)
        with engine.connect() as db:
            yield db


@lru_cache(maxsize=8)
def _autocommit(engine: Engine) -> Engine:
    return engine.execution_options(isolation_level="AUTOCOMMIT")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that commits at the end, or leaves nothing behind."""
    with _reached(engine), engine.execution_options(kerasql_writes=True).begin() as db:
        yield db


def lock(db: Connection, key: int, *, shared: bool = False) -> None:
    """Hold one of the advisory locks until the transaction ends."""
    if db.dialect.name == "postgresql":
        function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
        db.execute(text(f"SELECT {function}(:key)"), {"key": key})


def insert_new(db: Connection, table: type[Base], facts: dict[str, Any]) -> bool:
    """Insert a row unless there is one of that name; says whether it did."""
    query = INSERT[db.dialect.name](table).values(facts).on_conflict_do_nothing()
    return db.execute(query.returning(literal(1))).first() is not None


def upgrade(url: str) -> str:
    """Bring a database to this version's schema, in one transaction; returns the revision.

    A database without one (or without any table) gets all of it. Raises RegistryUnavailable
    when a newer kerasql has been here.
    """
    engine = open_engine(url)
    try:
        _migrate(engine)
    finally:
        engine.dispose()
    return REVISION


def require_schema(engine: Engine) -> None:
    """Refuse a database of another schema; an empty SQLite gets its tables here."""
    found = revision(engine)
    if found is None and engine.dialect.name == "sqlite":
        _migrate(engine, only_empty=True)
        found = revision(engine)
    if found is None or found < REVISION:
        state = "has no registry yet" if found is None else f"has the older schema {found}"
        raise RegistryUnavailable(shown(engine), f"it {state}; run: kerasql db upgrade")
    _refuse_newer(engine, found)


def revision(engine: Engine) -> str | None:
    """The revision of the database's schema; None when it has no registry."""
    with reading(engine) as db:
        return _revision(db)


def _revision(db: Connection) -> str | None:
    if not inspect(db).has_table("alembic_version"):
        return None
    found: str | None = db.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _refuse_newer(engine: Engine, found: str) -> None:
    if found > REVISION:
        raise RegistryUnavailable(
            shown(engine), f"its schema {found} is newer than this kerasql; upgrade kerasql"
        )


def _migrate(engine: Engine, *, only_empty: bool = False) -> None:
    if engine.dialect.name == "sqlite":
        _write_ahead(engine)
    with writing(engine) as db:
        lock(db, SCHEMA)
        found = _revision(db)
        _refuse_newer(engine, found or "")
        if found == REVISION or (only_empty and inspect(db).get_table_names()):
            return
        _run_alembic(db)


def _run_alembic(db: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": db})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with _alembic:
        command.upgrade(config, "head")


def _write_ahead(engine: Engine) -> None:
    # Readers then never wait for a writer. The mode stays with the file; SQLite's busy timeout
    # does not cover two processes that change it at once.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            with _reached(engine), engine.connect() as db:
                raw: Any = db.connection.dbapi_connection
                raw.execute("PRAGMA journal_mode = WAL")
                return
        except RegistryUnavailable as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _prepare_sqlite(connection: sqlite3.Connection, record: object) -> None:
    connection.isolation_level = None  # BEGIN is ours to say, see _begin_sqlite
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    # The log of a big registration is cut down again.
    connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")


def _begin_sqlite(db: Connection) -> None:
    # A writer takes its lock at once: one that begins as a reader fails when another was faster.
    writes = db.get_execution_options().get("kerasql_writes")
    db.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _parse(url: str) -> URL:
    advice = "write sqlite:///models.db or postgresql://user@host/name"
    try:
        parsed = make_url(url)
    except ArgumentError:
        # Not shown: it may hold a password.
        raise InvalidInput(f"that is no database URL; {advice}") from None
    if parsed.drivername not in DRIVERS:
        raise InvalidInput(f"a registry cannot be kept in {parsed.drivername!r}; {advice}")
    if parsed.get_backend_name() == "postgresql":
        return parsed
    if not parsed.database or parsed.database == ":memory:":
        raise InvalidInput("a registry in memory is lost at once; write sqlite:///models.db")
    # Later connections must find the same file after a change of directory.
    return parsed.set(database=str(Path(parsed.database).absolute()))


@contextmanager
def _reached(engine: Engine) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        raise RegistryUnavailable(shown(engine), _reason(error)) from error


def _reason(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return re.sub(r"\s+", " ", str(cause)).strip() or type(cause).__name__


def _forget_connections() -> None:
    for engine in _engines:
        engine.dispose(close=False)


# A forked child must not speak on its parent's connections.
os.register_at_fork(after_in_child=_forget_connections)
