"""A server whose database goes away waits for it; one whose Spark has ended does so too."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
import requests
from benchmarks import peak
from fsspec.implementations.local import LocalFileSystem
from pyspark.sql import SparkSession
from served import ServerProcess, postgres, until

from kerasql.registry import history
from kerasql.registry.access import Access
from kerasql.registry.database import upgrade
from kerasql.registry.errors import RegistryUnavailable
from kerasql.registry.registrations import LOST, Registrations
from kerasql.registry.store import Registry, connect
from kerasql.registry.version import Version
from kerasql.udf.fence.check import Fence
from kerasql.udf.running import queries as running
from kerasql.udf.running.queries import Queries
from kerasql.udf.running.query import Limits

UNREACHED = "its database cannot be reached now; try again soon"
AWAY_S = 5
PATIENCE_S = 60
NOTHING = Fence(functions=frozenset(), relations=frozenset())


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[Any]:
    """A PostgreSQL server that may be stopped, with an empty registry."""
    # The other one is asked for because the package keeps one lock for all, in its folder.
    with postgres() as server:
        upgrade(server.get_uri())
        yield server


@pytest.fixture(scope="module")
def registry(
    database: Any, networks: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """A model, a dataset, and an analyst who may use both."""
    folder = tmp_path_factory.mktemp("numbers")
    (folder / "a.csv").write_text("x\n1\n2\n3\n")
    with connect(database.get_uri(), artifacts="") as opened:
        opened.register("m", networks / "tabular.h5")
        options = {"header": "true", "inferSchema": "true"}
        opened.add_dataset("numbers", folder, format="csv", options=options)
        access = Access(opened)
        access.add_user("ann", role="analyst")
        access.grant("execute", "m", to="user:ann", by=None)
        access.grant("select", "numbers", to="user:ann", by=None)
        yield opened


def away(database: Any) -> None:
    database.stop()


def back(database: Any) -> None:
    database.ensure_postgres_running()


Made = Callable[..., Queries]


@pytest.fixture
def made(
    spark: SparkSession, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Made]:
    """Servers that take each other for dead soon, closed when the test ends."""
    for module in (history, running):
        monkeypatch.setattr(module, "SILENT_S", 3)
    monkeypatch.setattr(running, "SWEEP_S", 0.5)
    servers: list[Queries] = []

    def make(
        server: str = "one", *, results: str = f"file://{tmp_path}/results", **limits: Any
    ) -> Queries:
        limited = Limits(**limits)
        servers.append(Queries(spark, registry, results=results, limits=limited, server=server))
        return servers[-1]

    yield make
    for server in servers:
        server.close(0)
    assert [thread.name for thread in threading.enumerate() if "quer" in thread.name] == []


class Gate:
    """A fence that lets a query on when it is opened; by then the query runs."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> Fence:
        self.reached.set()
        assert self.opened.wait(PATIENCE_S)
        return NOTHING


# --- the database


def test_a_query_that_ends_while_the_database_is_away_is_finished_when_it_is_back(
    database: Any, made: Made, tmp_path: Path
) -> None:
    one, two, gate = made(seconds=AWAY_S - 1), made("two"), Gate()
    two.wait(two.submit("ann", "SELECT 1", fence=NOTHING).id, PATIENCE_S)  # Spark is slow at first
    asked = one.submit("ann", "SELECT 7 AS seven", fence=gate)
    assert gate.reached.wait(PATIENCE_S)
    away(database)
    try:
        gate.opened.set()
        until(lambda: list((tmp_path / "results").rglob("*.arrow")))
        with pytest.raises(RegistryUnavailable):
            one.get(asked.id)
        # Longer than a query may take, and than a server may be silent.
        time.sleep(AWAY_S)
    finally:
        back(database)
    seen = Counter[str]()
    end = time.monotonic() + PATIENCE_S
    while not seen["finished"] and time.monotonic() < end:
        seen[two.get(asked.id).state] += 1
    assert set(seen) <= {"running", "finished"}
    assert two.get(asked.id).error is None
    assert two.table(asked.id)["seven"].to_pylist() == [7]


def test_a_query_is_kept_through_an_outage_that_is_longer_than_the_silence_of_the_dead(
    database: Any, made: Made
) -> None:
    one, _, gate = made(), made("two"), Gate()
    asked = one.submit("ann", "SELECT 7 AS seven", fence=gate)
    assert gate.reached.wait(PATIENCE_S)
    away(database)
    time.sleep(AWAY_S)
    back(database)
    until(
        lambda: datetime.now(UTC) - one._history.find(asked.id).heartbeat_at < timedelta(seconds=2)
    )
    assert one.get(asked.id).state == "running"
    gate.opened.set()
    assert one.wait(asked.id, PATIENCE_S).state == "finished"


def test_an_end_that_was_written_just_as_the_database_went_keeps_its_rows(
    made: Made, registry: Registry
) -> None:
    queries, gate = made(), Gate()
    asked = queries.submit("ann", "SELECT 7 AS seven", fence=gate)
    assert gate.reached.wait(PATIENCE_S)
    # The answer to this was lost, so it is written once more.
    facts = {"state": "finished", "stored": True, "ended_at": datetime.now(UTC)}
    assert registry.history.end(asked.id, facts, answered={}, seconds=1)
    gate.opened.set()
    until(lambda: queries._mine(asked.id) is None)
    assert queries.table(asked.id)["seven"].to_pylist() == [7]


def test_a_query_that_waits_is_stopped_when_the_database_is_back(database: Any, made: Made) -> None:
    queries, gate = made(running_each=1), Gate()
    first = queries.submit("ann", "SELECT 1", fence=gate)
    waiting = queries.submit("ann", "SELECT 2", fence=NOTHING)
    assert gate.reached.wait(PATIENCE_S)
    run = queries._mine(waiting.id)
    assert run is not None
    away(database)
    # The request was there while the database was still known to have the query.
    with pytest.raises(RegistryUnavailable):
        queries._stop(run, running._stopped("ann"))
    back(database)
    gate.opened.set()
    assert queries.wait(first.id, PATIENCE_S).state == "finished"
    query = queries.wait(waiting.id, PATIENCE_S)
    assert (query.state, query.error) == ("stopped", "ann stopped it")


def test_a_query_that_its_server_does_not_know_is_interrupted(
    made: Made, registry: Registry
) -> None:
    queries, gate = made(), Gate()
    asked = queries.submit("ann", "SELECT 7 AS seven", fence=gate)
    lost = running.Run("f" * 32, "ann", "SELECT 1", {}, NOTHING)
    registry.history.add(running._new(lost, "one"))
    query = queries.wait(lost.id, PATIENCE_S)
    assert (query.state, query.error) == (
        "interrupted",
        "its server ended while it was asked; run it again",
    )
    assert queries.get(asked.id).state == "running"
    gate.opened.set()
    assert queries.wait(asked.id, PATIENCE_S).state == "finished"


def test_an_error_that_the_database_cannot_keep_is_told_without_what_it_refuses(made: Made) -> None:
    queries = made()
    asked = queries.submit("ann", "SELECT CAST('a\\0b' AS INT)", fence=NOTHING)
    query = queries.wait(asked.id, PATIENCE_S)
    assert query.state == "failed"
    assert "a\ufffdb" in str(query.error)


class Slow(LocalFileSystem):
    """A folder that takes its time to delete a file."""

    protocol = "slow"

    def __init__(self, **options: Any) -> None:
        super().__init__(auto_mkdir=True, **options)

    def rm_file(self, path: str) -> None:
        time.sleep(0.05)
        super().rm_file(path)


def test_deleting_many_results_holds_up_no_heartbeat(
    made: Made, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("slow", Slow, clobber=True)
    monkeypatch.setattr(running, "EXPIRE_S", 0.1)
    for number in range(400):
        run = running.Run(f"{number:032x}", "ann", "SELECT 1", {}, NOTHING)
        facts = {"state": "finished", "stored": True, "expires_at": datetime.now(UTC)}
        registry.history.add(running._new(run, "one") | facts)
    queries, gate = made(results=f"slow://{tmp_path}/results"), Gate()
    asked = queries.submit("ann", "SELECT 1", fence=gate)
    assert gate.reached.wait(PATIENCE_S)
    until(lambda: 0 < len(registry.history.expired()) < 400)
    beats = {queries._history.find(asked.id).heartbeat_at}
    while registry.history.expired() and len(beats) < 3:
        beats.add(queries._history.find(asked.id).heartbeat_at)
    assert len(beats) == 3
    gate.opened.set()
    assert queries.wait(asked.id, PATIENCE_S).state == "finished"
    queries.close(5)
    assert registry.history.expired(), "close waited for all of them"


def test_a_registration_that_lost_its_database_says_so(
    database: Any, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registrations, reached, opened = Registrations(registry), threading.Event(), threading.Event()

    def register(paths: Any, step: Any) -> Version:
        reached.set()
        assert opened.wait(PATIENCE_S)
        return registry.get("m@1")

    begun = registrations.begin("ann", "m", {}, register, is_new=False)
    assert reached.wait(PATIENCE_S)
    away(database)
    opened.set()
    time.sleep(1)
    back(database)
    until(lambda: not registrations.get(begun.id).active)
    ended = registrations.get(begun.id)
    assert (ended.state, ended.error) == ("interrupted", LOST)
    registrations.close()


def test_a_server_closes_while_its_database_is_away(database: Any, made: Made) -> None:
    queries, gate = made(running_each=1), Gate()
    asked = [queries.submit("ann", "SELECT 1", fence=gate) for _ in range(2)]
    assert gate.reached.wait(PATIENCE_S)
    away(database)
    gate.opened.set()
    assert queries.close(1) == []
    back(database)
    states = {made("one").get(one.id).state for one in asked}
    assert states == {"interrupted"}


# --- kerasql serve


@dataclass(frozen=True)
class Served:
    """``kerasql serve`` and a user of it."""

    process: ServerProcess
    token: str

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        """The answer to a request."""
        return requests.request(
            method,
            f"{self.process.url}{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=PATIENCE_S,
        )

    def query(self, sql: str) -> requests.Response:
        """The answer to a query that is asked."""
        return self.ask("POST", "/api/v1/queries", {"sql": sql})

    def is_active(self, id: str) -> bool:
        """Whether a query has not ended."""
        return self.ask("GET", f"/api/v1/queries/{id}").json()["state"] in ("queued", "running")


@pytest.fixture(scope="module")
def served(
    database: Any, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    token = Access(registry).new_token("ann", "test", lifetime_s=3600)[1]
    process = ServerProcess(tmp_path_factory.mktemp("served"), database=database.get_uri())
    try:
        process.wait_for("kerasql is at")
        yield Served(process, token)
    finally:
        process.kill()


@dataclass(frozen=True)
class Answer:
    """What somebody got from the server."""

    path: str
    status: int
    text: str
    id: str | None


class Crowd:
    """Some who read pages and one who asks queries, until the block ends."""

    PATHS = ("/api/v1/models", "/api/v1/queries?limit=5", "/queries", "/readyz", "/healthz")

    def __init__(self, served: Served) -> None:
        self.served, self.answers = served, list[Answer]()
        self._stop = threading.Event()
        works = [self._read, self._read, self._query]
        self._threads = [threading.Thread(target=work) for work in works]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)
            assert not thread.is_alive()

    def asked(self) -> list[str]:
        """The queries that were taken."""
        return [answer.id for answer in list(self.answers) if answer.id]

    def refused(self) -> list[Answer]:
        """The answers that say to come back."""
        return [answer for answer in list(self.answers) if answer.status == 503]

    def _read(self) -> None:
        while not self._stop.wait(0.1):
            for path in self.PATHS:
                got = self.served.ask("GET", path)
                self.answers.append(Answer(path, got.status_code, got.text, None))

    def _query(self) -> None:
        while not self._stop.wait(0.5):
            got = self.served.query("SELECT sum(m(array(x, 1, 2, 3))) AS s FROM numbers")
            id = got.json()["id"] if got.status_code == 202 else None
            self.answers.append(Answer("/api/v1/queries", got.status_code, got.text, id))


def test_a_server_recovers_by_itself_when_its_database_is_back(
    database: Any, served: Served
) -> None:
    with Crowd(served) as crowd:
        until(crowd.asked)
        away(database)
        try:
            until(lambda: len({answer.path for answer in crowd.refused()}) > 3)
            time.sleep(AWAY_S)
        finally:
            back(database)
        before = len(crowd.asked())
        until(lambda: len(crowd.asked()) > before + 2)
    codes = Counter((answer.path, answer.status) for answer in crowd.answers)
    assert {status for _, status in codes} <= {200, 202, 429, 503}, codes
    assert codes["/healthz", 503] == 0
    assert all(UNREACHED in answer.text for answer in crowd.refused())
    until(lambda: not any(served.is_active(id) for id in crowd.asked()))
    ended = [served.ask("GET", f"/api/v1/queries/{id}").json() for id in crowd.asked()]
    assert {one["state"] for one in ended[-2:]} == {"finished"}
    errors = {one["error"] for one in ended if one["state"] != "finished"}
    assert all("database" in error and "://" not in error for error in errors), errors
    rows = [
        served.ask("GET", f"/api/v1/queries/{one['id']}/rows").json()["rows"]
        for one in ended
        if one["state"] == "finished"
    ]
    assert all(one == rows[0] for one in rows)


def test_a_server_whose_spark_has_ended_ends_for_its_supervisor(
    served: Served, registry: Registry
) -> None:
    hashed = "id"
    for _ in range(40):
        hashed = f"sha2(cast({hashed} AS STRING), 512)"
    id = served.query(f"SELECT max({hashed}) FROM range(9000000)").json()["id"]
    until(lambda: served.ask("GET", f"/api/v1/queries/{id}").json()["progress"])
    process = served.process
    (java,) = [
        pid for pid in peak.children(process.process.pid) if "java" in peak.command_line(pid)
    ]
    os.kill(java, signal.SIGKILL)
    assert process.process.wait(PATIENCE_S) == 1
    assert "Spark has ended; the server stops, start it again" in process.said.read_text()
    found = registry.history.find(id)
    assert (found.state, found.error) == ("interrupted", "Spark ended while it ran; run it again")
    until(lambda: not process.left())
