"""Kill a server at random moments: ``python -m benchmarks.server_kills --kills 20``.

``kerasql serve`` runs on PostgreSQL (SQLite with ``--sqlite``) while clients send files in pieces,
register them and ask queries. It gets SIGKILL, with all that it started or its Python process
alone, and is started again on the same database and results. In the end nothing may be half-done,
no stored result lost or wrong, and nothing left behind. Exit code 1 where a promise is not kept.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import requests
from sqlalchemy import func, select

from benchmarks.figures import progress
from benchmarks.kills import remains
from benchmarks.load import MODEL, database
from benchmarks.report import console, machine, write
from kerasql.registry.access import Access
from kerasql.registry.check import check
from kerasql.registry.database import reading
from kerasql.registry.history import ACTIVE
from kerasql.registry.store import Registry, connect
from kerasql.registry.tables import QueryRow, RegistrationRow, UploadRow
from kerasql.udf.server.home import Process

KINDS = ("all of it", "its Python")
ASKING, SENDING = 2, 2
PIECES = 5
LATEST_S = 8.0
"""After it is ready, the latest moment of a kill."""
READY_S, GONE_S, SETTLED_S = 120, 30, 120
MODELS = "SELECT x, m(array(x, 1, 2, 3)) AS y FROM numbers ORDER BY x"
LONGER = "SELECT max(sha2(sha2(cast(id AS STRING), 512), 512)) AS h FROM range(3000000)"


@dataclass
class Seen:
    """What the clients have seen."""

    asked: dict[str, str] = field(default_factory=dict)
    registered: list[str] = field(default_factory=list)
    went_on: int = 0
    went_back: int = 0
    unexpected: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """What became of everything."""

    kills: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    outlived: int = 0
    states: Counter[str] = field(default_factory=Counter)
    sentences: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    lost: int = 0
    halves: int = 0
    registrations: Counter[str] = field(default_factory=Counter)
    broken: tuple[str, ...] = ()
    left: list[str] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)

    def promises(self) -> list[tuple[str, object, bool]]:
        """Each promise, its figure, and whether it is kept."""
        seen, active = self.seen, sum(self.states[state] for state in ACTIVE)
        unsaid = sum(n for error, n in self.sentences.items() if "run it again" not in error)
        return [
            ("queries that were taken and are not known", self.lost, not self.lost),
            ("queries that are finished, their rows right", self.states["finished"], True),
            ("queries that say they were interrupted", self.states["interrupted"], not unsaid),
            ("queries that failed", self.states["failed"], not self.states["failed"]),
            ("results that are missing or wrong", self.wrong, not self.wrong),
            ("queries without an end", active, not active),
            ("files that were registered", len(seen.registered), bool(seen.registered)),
            ("registrations that were interrupted", self.registrations["interrupted"], True),
            ("uploads that went on after a kill", seen.went_on, True),
            ("uploads that had lost bytes", seen.went_back, not seen.went_back),
            ("registrations or uploads half-done", self.halves, not self.halves),
            ("artifacts that are broken", len(self.broken), not self.broken),
            ("answers that nobody expects", len(seen.unexpected), not seen.unexpected),
            (f"processes that lived {GONE_S} s longer", self.outlived, not self.outlived),
            ("files and processes left behind", len(self.left), not self.left),
        ]


# --- the server


class Server:
    """``kerasql serve`` in a process group of its own, started again on the same port."""

    def __init__(self, folder: Path, url: str, port: int) -> None:
        self.url, self.port = f"http://127.0.0.1:{port}", port
        self.temporary, self.log = folder / "tmp", folder / "serve.log"
        (folder / "spark").mkdir()
        self.temporary.mkdir()
        self._environment = os.environ | {
            "KERASQL_DATABASE": url,
            "KERASQL_RESULTS": str(folder / "results"),
            "TMPDIR": str(self.temporary),
            # Spark leaves its folders when it is killed; they are no affair of ours.
            "SPARK_LOCAL_DIRS": str(folder / "spark"),
        }

    def start(self) -> None:
        """Start it; it is ready when this returns."""
        command = [sys.executable, "-m", "kerasql", "serve", "--port", str(self.port)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [*command, "--master", "local[2]"],
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        until = time.monotonic() + READY_S
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(requests.ConnectionError):
                if requests.get(f"{self.url}/readyz", timeout=30).ok:
                    return
            time.sleep(0.1)
        raise TimeoutError(f"the server is not ready:\n{self.log.read_text()[-3000:]}")

    def processes(self) -> list[Process]:
        """It and all that it started, model servers too."""
        mine = f"TMPDIR={self.temporary}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mine in (path / "environ").read_bytes().split(b"\0"):
                    found.append(Process.running(int(path.name)))
        return found

    def kill(self, kind: str) -> tuple[float, int]:
        """Seconds until all is gone, and how many processes then still live."""
        old = self.processes()
        if kind == KINDS[0]:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()
        began = time.monotonic()
        while (alive := [one for one in old if one.alive]) and time.monotonic() - began < GONE_S:
            time.sleep(0.05)
        for one in alive:
            with suppress(ProcessLookupError):
                os.kill(one.number, signal.SIGKILL)
        return time.monotonic() - began, len(alive)

    def stop(self) -> None:
        """End it as an operator does."""
        self.process.terminate()
        self.process.wait(60)


# --- the clients


class Clients:
    """Threads that ask and send until told to end; what they see survives every kill."""

    def __init__(self, url: str, token: str, model: Path, folder: Path, chance: random.Random):
        self.seen, self._url, self._folder, self._model = Seen(), url, folder, model
        self._header = {"Authorization": f"Bearer {token}"}
        self._chance, self._ending = chance, threading.Event()
        works = [self._ask] * ASKING + [self._send] * SENDING
        self._threads = [
            threading.Thread(target=self._work, args=(work, n)) for n, work in enumerate(works)
        ]

    def begin(self) -> None:
        """Let them ask and send."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Let each end what it is at, and say so."""
        self._ending.set()
        for thread in self._threads:
            thread.join(SETTLED_S)
        if any(thread.is_alive() for thread in self._threads):
            self.seen.unexpected.append("a client did not come to its end")

    def request(self, method: str, path: str, **request: Any) -> requests.Response:
        """The answer to a request; RequestException where the server is away."""
        headers = self._header | request.pop("headers", {})
        url = f"{self._url}/api/v1/{path}"
        answer = requests.request(method, url, headers=headers, timeout=60, **request)
        if answer.status_code >= 500:
            self.seen.unexpected.append(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer

    def _work(self, work: Any, number: int) -> None:
        try:
            work(number)
        except Exception as error:
            self.seen.unexpected.append(f"{type(error).__name__}: {error}")

    def _ask(self, number: int) -> None:
        while not self._ending.wait(self._chance.uniform(0, 2)):
            sql = self._chance.choice([MODELS, MODELS, LONGER])
            with suppress(requests.RequestException):
                answer = self.request("POST", "queries", json={"sql": sql})
                if answer.status_code == 202:
                    self.seen.asked[answer.json()["id"]] = sql

    def _send(self, number: int) -> None:
        count = 0
        while not self._ending.is_set():
            count += 1
            name = f"sent_{number}_{count}"
            file = shutil.copyfile(self._model, self._folder / f"{name}.h5")
            with h5py.File(file, "r+") as opened:
                opened.attrs["name"] = name
            self._register(name, file.read_bytes())
            self.seen.registered.append(name)

    def _register(self, name: str, content: bytes) -> None:
        """Register a file, again and again until the server says that it has."""
        arrived, until = 0, time.monotonic() + 10 * SETTLED_S
        while time.monotonic() < until:
            with suppress(requests.RequestException):
                begun = self.request("POST", "uploads", json=announced(name, content)).json()
                known = self.request("GET", f"models/{name}/versions/1").ok
                if arrived and not known:
                    self.seen.went_back += begun["offset"] < arrived
                    self.seen.went_on += begun["offset"] == arrived
                offset = begun["offset"]
                while offset < len(content):
                    offset = arrived = self._piece(begun["id"], offset, content)
                body = {"model": begun["id"]}
                asked = self.request("POST", f"models/{name}/versions", json=body).json()
                if self._is_finished(asked["id"]):
                    return
            time.sleep(0.2)
        self.seen.unexpected.append(f"{name} was never registered")

    def _piece(self, id: str, offset: int, content: bytes) -> int:
        """Send the next bytes; how many have arrived."""
        piece = content[offset : offset + -(-len(content) // PIECES)]
        headers = {
            "Content-Range": f"bytes {offset}-{offset + len(piece) - 1}/{len(content)}",
            "Content-Type": "application/octet-stream",
        }
        sent = self.request("PUT", f"uploads/{id}", data=piece, headers=headers)
        return int(sent.json()["offset"])

    def _is_finished(self, id: str) -> bool:
        while True:
            found = self.request("GET", f"registrations/{id}").json()
            if found["state"] not in ACTIVE:
                if found["state"] == "failed":
                    self.seen.unexpected.append(f"a registration failed: {found['error']}")
                return bool(found["state"] == "finished")
            time.sleep(0.1)


def announced(name: str, content: bytes) -> dict[str, Any]:
    """What is said of a file before it is sent."""
    sha256 = hashlib.sha256(content).hexdigest()
    return {"name": f"{name}.h5", "size_bytes": len(content), "sha256": sha256}


# --- what is measured


def measure(folder: Path, url: str, *, kills: int, seed: int) -> Outcome:
    """Kill a server so many times; what became of everything."""
    chance, outcome = random.Random(seed), Outcome()
    with connect(url, artifacts="") as registry:
        model, token = prepare(registry, folder)
        server = Server(folder, url, port=free_port())
        server.start()
        clients = Clients(server.url, token, model, folder / "sent", chance)
        outcome.seen = clients.seen
        try:
            expected = {sql: answer(clients, sql) for sql in (MODELS, LONGER)}
            clients.begin()
            for number in range(kills):
                kind = KINDS[number % 3 == 2]
                time.sleep(chance.uniform(0, LATEST_S))
                seconds, alive = server.kill(kind)
                outcome.kills[kind] += 1
                outcome.slowest_s = max(outcome.slowest_s, seconds)
                outcome.outlived += alive
                progress(f"kill {number + 1}: {kind}, gone after {seconds:.1f} s")
                server.start()
            clients.end()
            settle(registry)
            look(outcome, clients, registry, expected)
            server.stop()
        finally:
            clients._ending.set()
            with suppress(ProcessLookupError):
                os.killpg(server.process.pid, signal.SIGKILL)
            server.process.wait()
    outcome.broken = check(url).broken
    # The locks of h5/slots.py belong to all processes of a user, and stay.
    outcome.left = [one for one in remains(server.temporary) if "kerasql-slots-" not in one]
    return outcome


def prepare(registry: Registry, folder: Path) -> tuple[Path, str]:
    """A model, a dataset and a user; returns the model's file and the user's token."""
    model = folder / "m.h5"
    subprocess.run([sys.executable, "-c", MODEL, model], check=True, capture_output=True)
    (folder / "sent").mkdir()
    (folder / "numbers").mkdir()
    (folder / "numbers" / "a.csv").write_text("x\n" + "\n".join(map(str, range(500))) + "\n")
    access = Access(registry)
    access.add_user("ann", role="admin")
    registry.register("m", model, owner="ann")
    options = {"header": "true", "inferSchema": "true"}
    registry.add_dataset("numbers", folder / "numbers", format="csv", options=options)
    return model, access.new_token("ann", "kills", lifetime_s=86_400, by=None)[1]


def answer(clients: Clients, sql: str) -> Any:
    """The rows of a query that nothing disturbs."""
    id = clients.request("POST", "queries", json={"sql": sql}).json()["id"]
    until = time.monotonic() + SETTLED_S
    while clients.request("GET", f"queries/{id}").json()["state"] in ACTIVE:
        if time.monotonic() > until:
            raise TimeoutError("the first query does not end")
        time.sleep(0.1)
    return rows(clients, id)


def rows(clients: Clients, id: str) -> Any:
    """The rows of a finished query; None where they cannot be read."""
    answered = clients.request("GET", f"queries/{id}/rows?limit=1000")
    return answered.json()["rows"] if answered.ok else None


def settle(registry: Registry) -> None:
    """Wait until nothing is under way, if that ever is so."""
    until = time.monotonic() + SETTLED_S
    while active(registry) and time.monotonic() < until:
        time.sleep(0.2)


def active(registry: Registry) -> int:
    """How many queries and registrations have not ended."""
    with reading(registry._engine) as db:
        return sum(
            db.scalar(select(func.count()).select_from(table).where(table.state.in_(ACTIVE))) or 0
            for table in (QueryRow, RegistrationRow)
        )


def look(outcome: Outcome, clients: Clients, registry: Registry, expected: dict[str, Any]) -> None:
    """See what became of everything that was asked and sent."""
    with reading(registry._engine) as db:
        found = {row.id: row for row in db.execute(select(QueryRow))}
        outcome.registrations.update(db.scalars(select(RegistrationRow.state)))
        outcome.halves = db.scalar(select(func.count()).select_from(UploadRow)) or 0
    outcome.halves += sum(outcome.registrations[state] for state in ACTIVE)
    numbers = [(name, versions) for name, _, versions in registry.catalog() if name != "m"]
    outcome.halves += sorted(name for name, _ in numbers) != sorted(clients.seen.registered)
    outcome.halves += sum(len(versions) != 1 for _, versions in numbers)
    outcome.lost = len(clients.seen.asked.keys() - found.keys())
    outcome.states.update(row.state for row in found.values())
    outcome.sentences.update(row.error for row in found.values() if row.error)
    for row in found.values():
        if row.state == "finished":
            outcome.wrong += rows(clients, row.id) != expected[row.sql]


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def opened(folder: Path, *, sqlite: bool) -> Iterator[str]:
    """The URL of an empty registry."""
    with ExitStack() as stack:
        yield f"sqlite:///{folder}/models.db" if sqlite else database(folder, stack)


def main() -> int:
    """Print the table; 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--sqlite", action="store_true", help="in place of PostgreSQL")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="kerasql-killed-") as name:
        folder = Path(name)
        with opened(folder, sqlite=options.sqlite) as url:
            outcome = measure(folder, url, kills=options.kills, seed=options.seed)
    promises = outcome.promises()
    kinds = ", ".join(f"{n} x {kind}" for kind, n in outcome.kills.items())
    write(
        f"{machine()}\nSIGKILL: {kinds}; all gone after {outcome.slowest_s:.1f} s",
        ("promise", "number", "kept"),
        [(what, number, "yes" if kept else "NO") for what, number, kept in promises],
    )
    for said in (*outcome.sentences, *outcome.seen.unexpected, *outcome.broken, *outcome.left):
        console.print(said)
    console.print(f"{time.perf_counter() - began:.0f} s in all")
    return 0 if all(kept for _, _, kept in promises) else 1


if __name__ == "__main__":
    sys.exit(main())
