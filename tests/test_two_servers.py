"""Two servers on one database, one folder of artifacts and one of results: they are as one."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import psycopg
import pytest
import requests
from served import ServerProcess, until

from kerasql.registry.access import Access
from kerasql.registry.database import upgrade
from kerasql.registry.registrations import DIED
from kerasql.registry.store import Registry, connect

PASSWORD = "correct horse battery"
SILENT_S = 4
AT_ONCE = 8
MOVES = 20
CALL = "SELECT m(array(x, 1, 2, 3)) AS answer FROM numbers ORDER BY x"
HASHED = "id"
for _ in range(40):
    HASHED = f"sha2(cast({HASHED} AS STRING), 512)"
SLOW = f"SELECT max({HASHED}) FROM range(9000000)"


@dataclass(frozen=True)
class Client:
    """A user at one of the servers."""

    url: str
    token: str

    @property
    def registry(self) -> Registry:
        """The registry as the user has it there."""
        return connect(self.url, token=self.token)

    def send(self, method: str, path: str, **request: Any) -> requests.Response:
        """The answer to a request."""
        headers = {"Authorization": f"Bearer {self.token}", **request.pop("headers", {})}
        return requests.request(
            method, f"{self.url}/api/v1/{path}", headers=headers, timeout=60, **request
        )

    def asked(self, sql: str) -> str:
        """The id of a query that was just asked."""
        answer = self.send("POST", "queries", json={"sql": sql})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def query(self, id: str) -> dict[str, Any]:
        """A query as it is."""
        found: dict[str, Any] = self.send("GET", f"queries/{id}").json()
        return found

    def upload(self, file: Path, *, end: int | None = None) -> str:
        """The id of a file of which what is missing is sent, up to a byte."""
        content = file.read_bytes()
        announced = {
            "name": file.name,
            "size_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        upload = self.send("POST", "uploads", json=announced).json()
        piece = content[upload["offset"] : end]
        last = upload["offset"] + len(piece) - 1
        headers = {
            "Content-Range": f"bytes {upload['offset']}-{last}/{len(content)}",
            "Content-Type": "application/octet-stream",
        }
        sent = self.send("PUT", f"uploads/{upload['id']}", data=piece, headers=headers)
        assert sent.json()["offset"] == last + 1, sent.text
        return str(upload["id"])

    def begin(self, name: str, upload: str) -> str:
        """The id of a registration of a whole upload."""
        answer = self.send("POST", f"models/{name}/versions", json={"model": upload})
        return str(answer.json()["id"])

    def registration(self, id: str) -> dict[str, Any]:
        """A registration as it is."""
        found: dict[str, Any] = self.send("GET", f"registrations/{id}").json()
        return found

    def ended(self, id: str) -> dict[str, Any]:
        """A query that has ended."""
        until(lambda: self.query(id)["state"] not in ("queued", "running"))
        return self.query(id)

    def versions(self, sql: str = CALL) -> list[str]:
        """The versions that answer a query."""
        query = self.ended(self.asked(sql))
        assert query["state"] == "finished", query["error"]
        return list(query["versions"])

    def refused(self, sql: str) -> str:
        """Why a query failed."""
        query = self.ended(self.asked(sql))
        assert query["state"] == "failed"
        return str(query["error"])


@dataclass
class Twins:
    """The servers, and an admin's tokens."""

    one: ServerProcess
    two: ServerProcess
    secret: str

    @property
    def a(self) -> Client:
        """The admin at the first."""
        return Client(self.one.url, self.secret)

    @property
    def b(self) -> Client:
        """The admin at the second."""
        return Client(self.two.url, self.secret)


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        url = postgres_url.replace("/postgres?", f"/{name}?")
        upgrade(url)
        yield url
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def access(database: str) -> Iterator[Access]:
    with connect(database) as registry:
        yield Access(registry)


@pytest.fixture(scope="module")
def twins(
    database: str, access: Access, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Twins]:
    """Two servers with a core each, and a dataset."""
    access.add_user("boss", role="admin", password=PASSWORD)
    secret = access.new_token("boss", "test", lifetime_s=3600)[1]
    folder = tmp_path_factory.mktemp("twins")
    shared = {"database": database, "results": f"file://{folder}/results", "master": "local[1]"}
    artifacts = f"file://{folder}/artifacts"
    servers = [
        ServerProcess(folder / name, silent_s=SILENT_S, KERASQL_ARTIFACTS=artifacts, **shared)
        for name in ("one", "two")
    ]
    try:
        for server in servers:
            server.wait_for("kerasql is at")
        both = Twins(*servers, secret)
        add_numbers(both.a, folder / "numbers", "1\n2\n3\n")
        yield both
    finally:
        for server in servers:
            server.kill()


def add_numbers(client: Client, folder: Path, numbers: str, name: str = "numbers") -> None:
    """A dataset of one column x, new or in place of the one that there was."""
    folder.mkdir(exist_ok=True)
    (folder / "a.csv").write_text(f"x\n{numbers}")
    options = {"header": "true", "inferSchema": "true"}
    with client.registry as registry:
        registry.add_dataset(name, folder, format="csv", options=options, replace=True)


def another(model: Path, folder: Path, number: int) -> Path:
    """The same network in a file of its own."""
    mine = shutil.copyfile(model, folder / f"{number}.h5")
    with h5py.File(mine, "r+") as file:
        file.attrs["number"] = number
    return mine


def test_a_version_and_an_alias_of_one_are_in_the_next_query_of_the_other(
    twins: Twins, networks: Path, tmp_path: Path
) -> None:
    a, b = twins.a, twins.b
    with a.registry as at_a, b.registry as at_b:
        at_a.register("m", networks / "tabular.h5")
        assert b.versions() == ["m@1"]
        at_b.register("m", another(networks / "tabular.h5", tmp_path, 2))
        assert a.versions("SELECT m_v2(array(x, 1, 2, 3)) FROM numbers") == ["m@2"]
        assert a.versions() == b.versions() == ["m@1"]
        at_a.set_alias("m", 2, "production")
        assert b.versions() == ["m@2"]
        at_b.set_alias("m", 1, "production")
        assert a.versions() == ["m@1"]
        at_b.undo_alias("m", "production")
        assert a.versions() == b.versions() == ["m@2"]
        at_a.delete("m@1")
        assert "m_v1" in b.refused("SELECT m_v1(array(x, 1, 2, 3)) FROM numbers")
        at_b.register("m", networks / "tabular.h5")
        assert a.versions("SELECT m_v3(array(x, 1, 2, 3)) FROM numbers") == ["m@3"]


def test_a_dataset_of_one_is_read_by_the_other(twins: Twins, tmp_path: Path) -> None:
    a, b = twins.a, twins.b
    counted = "SELECT count(*) AS n FROM more"

    def rows(client: Client) -> list[Any]:
        id = client.ended(client.asked(counted))["id"]
        return list(client.send("GET", f"queries/{id}/rows").json()["rows"])

    add_numbers(a, tmp_path / "first", "1\n2\n", "more")
    assert rows(b) == [[2]]
    add_numbers(a, tmp_path / "second", "1\n2\n3\n", "more")
    assert rows(b) == [[3]]
    with b.registry as registry:
        registry.remove_dataset("more")
    assert "no dataset 'more'" in a.refused(counted)


def test_what_a_user_may_is_the_same_at_both(twins: Twins, access: Access) -> None:
    access.add_user("ann", role="analyst", password=PASSWORD)
    secret = access.new_token("ann", "test", lifetime_s=3600)[1]
    ann = Client(twins.two.url, secret)
    sql = "SELECT * FROM numbers"
    assert "no dataset" in ann.refused(sql)
    grant = {"privilege": "select", "object": "numbers", "to": "user:ann"}
    assert twins.a.send("POST", "grants", json=grant).status_code == 201
    assert ann.ended(ann.asked(sql))["state"] == "finished"
    assert twins.a.send("DELETE", "grants", params=grant).status_code == 204
    assert "no dataset" in ann.refused(sql)
    access.disable("ann", by=None)
    assert ann.send("POST", "queries", json={"sql": "SELECT 1"}).status_code == 401


def test_a_query_of_one_is_seen_stopped_and_read_at_the_other(twins: Twins) -> None:
    a, b = twins.a, twins.b
    slow = a.asked(SLOW)
    until(lambda: b.query(slow)["state"] == "running")
    assert b.send("DELETE", f"queries/{slow}").status_code == 200
    stopped = b.ended(slow)
    assert (stopped["state"], stopped["error"]) == ("stopped", "boss stopped it")
    done = a.ended(a.asked("SELECT id FROM range(2500) ORDER BY id"))["id"]
    page = b.send("GET", f"queries/{done}/rows?offset=1000&limit=2").json()
    assert (page["rows"], page["more"]) == ([[1000], [1001]], True)
    for kind in ("csv", "json", "parquet", "arrow"):
        files = [one.send("GET", f"queries/{done}/result.{kind}").content for one in (a, b)]
        assert files[0] == files[1]


def test_a_file_that_is_begun_at_one_goes_on_at_the_other(twins: Twins, networks: Path) -> None:
    file = networks / "vector.h5"
    half = file.stat().st_size // 2
    begun = twins.a.upload(file, end=half)
    assert twins.b.upload(file) == begun
    registration = twins.a.begin("vector", begun)
    until(lambda: twins.b.registration(registration)["state"] == "finished")
    assert twins.b.send("GET", f"uploads/{begun}").status_code == 404


def test_versions_registered_at_both_at_once_are_numbered_without_gap_or_twin(
    twins: Twins, networks: Path, tmp_path: Path
) -> None:
    files = [another(networks / "tabular.h5", tmp_path, n) for n in range(AT_ONCE)]

    def register(number: int) -> int:
        client = (twins.a, twins.b)[number % 2]
        with client.registry as registry:
            return registry.register("crowd", files[number]).number

    with ThreadPoolExecutor(AT_ONCE) as threads:
        numbers = list(threads.map(register, range(AT_ONCE)))
    assert sorted(numbers) == list(range(1, AT_ONCE + 1))
    with twins.b.registry as registry:
        assert [one.number for one in registry.versions("crowd")] == sorted(numbers)
        assert len(registry.alias_history("crowd")) == 1


def test_moves_of_an_alias_at_both_at_once_are_one_chain(twins: Twins) -> None:
    def move(number: int) -> None:
        with (twins.a, twins.b)[number % 2].registry as registry:
            registry.set_alias("crowd", number % AT_ONCE + 1, "production", why=str(number))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(move, range(MOVES)))
    with twins.a.registry as registry:
        moves = registry.alias_history("crowd", "production")[::-1]
        assert [move.from_number for move in moves] == [
            None,
            *(one.to_number for one in moves[:-1]),
        ]
        assert registry.get("crowd@production").number == moves[-1].to_number


def test_guesses_are_counted_over_both(twins: Twins, access: Access) -> None:
    access.add_user("guessed", role="analyst", password=PASSWORD)
    urls = [twins.one.url, twins.two.url]
    codes = [
        requests.post(
            f"{urls[n % 2]}/enter", data={"name": "guessed", "password": f"{n:012}"}, timeout=60
        ).status_code
        for n in range(5)
    ]
    assert codes == [401] * 5
    right = {"name": "guessed", "password": PASSWORD}
    assert [requests.post(f"{url}/enter", data=right, timeout=60).status_code for url in urls] == [
        429,
        429,
    ]


# The last one, because it ends a server.
def test_what_a_killed_server_ran_is_interrupted_as_the_other_says(
    twins: Twins, networks: Path, tmp_path: Path
) -> None:
    a, b = twins.a, twins.b
    running, waiting = a.asked(SLOW), [a.asked(SLOW) for _ in range(2)][-1]
    until(lambda: b.query(running)["state"] == "running")
    assert b.query(waiting)["state"] == "queued"
    here = b.asked(SLOW)
    file = another(networks / "tabular.h5", tmp_path, 99)
    upload = a.upload(file)
    registration = a.begin("crowd", upload)
    twins.one.kill()
    for id in (running, waiting):
        query = b.ended(id)
        assert (query["state"], query["error"]) == (
            "interrupted",
            "its server ended while it was asked; run it again",
        )
    until(lambda: b.registration(registration)["state"] not in ("queued", "running"))
    died = b.registration(registration)
    assert (died["state"], died["error"]) == ("interrupted", DIED)
    assert b.query(here)["state"] in ("queued", "running")
    b.send("DELETE", f"queries/{here}")
    again = b.begin("crowd", upload)
    until(lambda: b.registration(again)["state"] == "finished")
    assert b.registration(again)["version"] == AT_ONCE + 1
