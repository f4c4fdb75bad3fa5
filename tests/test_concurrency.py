"""Many processes at once, and processes killed at any instant."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from statistics import median

import pytest
from deposits import deposit, deposit_for_ever, deposit_in_process, random_file

from kerasql.registry.check import check
from kerasql.registry.database import upgrade
from kerasql.registry.store import connect

PROCESSES = 20
KILLS = 30


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """New processes in milliseconds: forked from one that has imported the registry."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kerasql.registry.store", "alembic.command"])
    return context


@pytest.mark.parametrize("place", ["database", "files"])
def test_twenty_processes_register_twenty_consecutive_versions(
    database_url: str, tmp_path: Path, processes: ForkServerContext, place: str
) -> None:
    if not database_url.startswith("sqlite"):
        upgrade(database_url)
    artifacts = f"file://{tmp_path}/artifacts" if place == "files" else ""
    pipes = [processes.Pipe(duplex=False) for _ in range(PROCESSES)]
    workers = [
        processes.Process(
            target=deposit_in_process,
            args=(database_url, artifacts, tmp_path / f"{index}.h5", sender),
        )
        for index, (_, sender) in enumerate(pipes)
    ]
    for worker in workers:
        worker.start()
    numbers = [receiver.recv() for receiver, _ in pipes if receiver.poll(60)]
    for worker in workers:
        worker.join()
    assert sorted(numbers) == numbers_to(PROCESSES)
    with connect(database_url, artifacts=artifacts) as registry:
        assert [version.number for version in registry.versions("m")] == sorted(numbers)
        assert registry.models()[0].aliases == {"production": 1}
    assert check(database_url).broken == ()


@pytest.mark.parametrize("place", ["database", "files"])
def test_registering_killed_at_any_instant_leaves_whole_versions_only(
    database_url: str, tmp_path: Path, processes: ForkServerContext, place: str
) -> None:
    upgrade(database_url)
    artifacts = f"file://{tmp_path}/artifacts" if place == "files" else ""
    chance = random.Random(7)
    with connect(database_url, artifacts=artifacts) as registry:
        started = time.monotonic()
        deposit(registry, "m", random_file(tmp_path / "first.h5", 3_000_000))
        longest_s = min(3 * (time.monotonic() - started), 0.3)
        for _ in range(KILLS):
            kill_a_writer(processes, database_url, artifacts, tmp_path, chance, longest_s)
            versions = registry.versions("m")
            assert [version.number for version in versions] == numbers_to(len(versions))
            assert len(registry.read_artifact(versions[-1], "model")) == 3_000_000
        last = deposit(registry, "m", random_file(tmp_path / "last.h5", 3_000_000))
        # PostgreSQL may still finish the last COMMIT of a client that is gone.
        assert [version.number for version in registry.versions("m")] == numbers_to(last.number)
        assert last.number > KILLS
        registry.collect(older_than_s=0)
        stored = [path for path in tmp_path.glob("artifacts/*/*/*") if len(path.name) == 64]
        assert len(stored) == (last.number if place == "files" else 0)
    found = check(database_url)
    assert found.broken == ()
    assert found.artifacts == found.versions == last.number


def numbers_to(last: int) -> list[int]:
    return list(range(1, last + 1))


def kill_a_writer(
    processes: ForkServerContext,
    url: str,
    artifacts: str,
    folder: Path,
    chance: random.Random,
    longest_s: float,
) -> None:
    receiver, sender = processes.Pipe(duplex=False)
    args = (url, artifacts, folder / "killed.h5", sender)
    writer = processes.Process(target=deposit_for_ever, args=args)
    writer.start()
    assert receiver.recv()
    time.sleep(chance.uniform(0, longest_s))
    writer.kill()
    writer.join()


def test_creating_an_sqlite_registry_killed_at_any_instant_can_be_repeated(
    tmp_path: Path, processes: ForkServerContext
) -> None:
    # The first process also starts the fork server.
    _, *whole_s = (seconds_to_create(processes, tmp_path / f"whole{index}") for index in range(4))
    longest_s = 1.25 * median(whole_s)
    found = []
    for index in range(KILLS):
        folder = tmp_path / str(index)
        writer, _ = start_creating(processes, folder)
        time.sleep(longest_s * index / KILLS)
        writer.kill()
        writer.join()
        # A copy is looked at: reading the file itself would mend it before the registry does.
        found.append(tables(shutil.copytree(folder, tmp_path / f"copy{index}") / "m.db"))
        with connect(f"sqlite:///{folder}/m.db", artifacts="") as registry:
            last = deposit(registry, "m", random_file(folder / "m.h5"))
            assert [version.number for version in registry.versions("m")] == numbers_to(last.number)
        assert check(f"sqlite:///{folder}/m.db").broken == ()
        with closing(sqlite3.connect(folder / "m.db")) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert 0 in found, "no kill between the file and its tables"
    assert len(set(found) - {None}) == 2, "no kill after the tables, or some tables only"


def seconds_to_create(processes: ForkServerContext, folder: Path) -> float:
    """How long a process takes that creates a registry and deposits a version."""
    started = time.monotonic()
    writer, receiver = start_creating(processes, folder)
    assert receiver.recv() == 1
    seconds = time.monotonic() - started
    writer.join()
    return seconds


def start_creating(processes: ForkServerContext, folder: Path) -> tuple[BaseProcess, Connection]:
    folder.mkdir()
    receiver, sender = processes.Pipe(duplex=False)
    args = (f"sqlite:///{folder}/m.db", "", folder / "m.h5", sender)
    writer = processes.Process(target=deposit_in_process, args=args)
    writer.start()
    return writer, receiver


def tables(path: Path) -> int | None:
    """How many tables a database has; None where there is no file."""
    if not path.exists():
        return None
    with closing(sqlite3.connect(path)) as raw:
        (number,) = raw.execute(
            "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
        ).fetchone()
    return int(number)


def test_threads_share_a_registry(database_url: str, tmp_path: Path) -> None:
    upgrade(database_url)
    with connect(database_url, artifacts="") as registry:
        files = [random_file(tmp_path / f"{index}.h5") for index in range(8)]
        threads = [threading.Thread(target=deposit, args=(registry, "m", file)) for file in files]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [version.number for version in registry.versions("m")] == numbers_to(8)


def test_deleting_while_registering_the_same_bytes_never_breaks_a_version(
    database_url: str, tmp_path: Path
) -> None:
    upgrade(database_url)
    artifacts = f"file://{tmp_path}/artifacts"
    model = random_file(tmp_path / "m.h5", 300_000)
    stop = threading.Event()

    def register_and_delete() -> None:
        with connect(database_url, artifacts=artifacts) as mine:
            while not stop.is_set():
                version = deposit(mine, "m", model, columns=("other",))
                if version.aliases == ():
                    mine.delete(version.ref)
                mine.collect(older_than_s=0)

    with connect(database_url, artifacts=artifacts) as registry:
        deposit(registry, "m", random_file(tmp_path / "first.h5"))
        thread = threading.Thread(target=register_and_delete)
        thread.start()
        try:
            for index in range(20):
                version = deposit(registry, "m", model, columns=(f"c{index}",))
                assert len(registry.read_artifact(version, "model")) == 300_000
                registry.delete(version.ref)
        finally:
            stop.set()
            thread.join()
    assert check(database_url).broken == ()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_speak_on_its_parents_connections(
    database_url: str, tmp_path: Path
) -> None:
    upgrade(database_url)
    with connect(database_url, artifacts="") as registry:
        deposit(registry, "m", random_file(tmp_path / "m.h5"))
        child = multiprocessing.get_context("fork").Process(target=registry.get, args=("m",))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert registry.get("m").number == 1
