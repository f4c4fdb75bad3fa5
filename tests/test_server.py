"""The model server: found, shared, remembered, crashed, killed, full; and nothing left behind."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from benchmarks.left_behind import (
    fronts,
    kill_now_and_then,
    left_behind,
    runners,
    segments,
    servers,
)
from pyspark.sql import SparkSession

from kerasql.registry.errors import BrokenArtifact, EngineFailed, ServerFailed
from kerasql.registry.store import Registry, connect
from kerasql.udf.plan import Plan
from kerasql.udf.planning import plan_of
from kerasql.udf.predict import answered
from kerasql.udf.server import wire
from kerasql.udf.server.answers import Answer, Answers
from kerasql.udf.server.client import MOST_SEGMENTS, Server
from kerasql.udf.server.front import RunnerProcess
from kerasql.udf.server.home import Home, Process, executor, sweep
from kerasql.udf.server.schedule import Network, to_shed

MORE_THAN_A_MESSAGE_TAKES = 300
"""Descriptors: Linux passes 253 at once."""

TRAP = Path(__file__).parent / "sources" / "trap.py"
CRASHES, HANGS, LARGE = 666.0, 777.0, 555.0


@dataclass
class Kept:
    """Artifacts as files in a folder, and counts as they come."""

    folder: Path
    counts: list[Any] = field(default_factory=list)

    def path(self, sha256: str) -> Path:
        return self.folder / sha256

    def add(self, counted: dict[Any, Any]) -> None:
        self.counts += counted.values()

    def total(self, name: str) -> int:
        return sum(getattr(one, name) for one in self.counts)


@pytest.fixture(scope="module")
def registry(networks: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("served")
    with connect(f"sqlite:///{folder}/models.db", artifacts="") as opened:
        opened.register("digits", networks / "vector.h5")
        opened.register("price", networks / "tabular.h5")
        opened.register("pair", networks / "pair.h5")
        opened.register("free", networks / "words.h5")
        opened.register("words", networks / "text.keras")
        opened.register("trap", networks / "trap.h5", code=TRAP, trust_code=True)
        yield opened


@pytest.fixture(scope="module")
def kept(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("artifacts")
    for name in ("digits", "price", "pair", "words", "trap", "free"):
        version = registry.get(name)
        for role, artifact in version.artifacts.items():
            with (folder / artifact.sha256).open("wb") as file:
                registry.copy_artifact(version, role, file)
    return Kept(folder)


@pytest.fixture
def files(kept: Kept) -> Kept:
    return Kept(kept.folder)


@pytest.fixture(scope="module")
def plans(registry: Registry, spark: SparkSession) -> Callable[..., Plan]:
    def made(name: str, **limits: int) -> Plan:
        plan = plan_of(spark, registry.get(name), "try", scalar=False)
        return replace(plan, limits={**plan.limits, "memo_mb": 64, **limits})

    return made


@pytest.fixture
def owner() -> Iterator[Process]:
    """An executor: any process that runs until the test has ended."""
    with subprocess.Popen(["sleep", "600"]) as running:
        yield Process.running(running.pid)
        running.kill()
    while OPENED:
        OPENED.pop().close()
    assert left_behind() == []


def ask(server: Server, plan: Plan, files: Kept, *columns: Any) -> list[Any]:
    """(value, error) of each row, through the whole of the executor's side."""
    arrays = [column if isinstance(column, pa.Array) else pa.array(column) for column in columns]
    rows = answered(plan, files, server, files, arrays).to_pylist()
    return [(row["value"], row["error"]) for row in rows]


def vectors(count: int, seed: int = 0) -> list[list[float]]:
    return np.random.default_rng(seed).normal(size=(count, 4)).round(4).tolist()


OPENED: list[Server] = []


def server_of(owner: Process, plan: Plan) -> Server:
    """A Python worker's connection; closed when the test ends."""
    OPENED.append(Server(Home.of(owner, "cpu"), plan.limits, plan.engine))
    return OPENED[-1]


# --- found


def test_workers_that_race_share_one_server(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan = plans("digits")
    made: list[list[Any]] = []
    threads = [
        threading.Thread(
            target=lambda: made.append(ask(server_of(owner, plan), plan, files, vectors(3)))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert all(rows == made[0] for rows in made)
    assert len(fronts(owner.number)) == 1
    assert len(runners(owner.number)) == 1
    assert (files.total("predicted"), files.total("loads")) == (3, 1)


def test_a_server_is_private(owner: Process, plans: Callable[..., Plan], files: Kept) -> None:
    plan = plans("digits")
    server = server_of(owner, plan)
    ask(server, plan, files, vectors(1))
    home = Home.of(owner, "cpu")
    assert home.folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in home.folder.iterdir()} == {"socket", "lock", "tmp"}


def test_a_folder_that_others_may_enter_is_refused(owner: Process) -> None:
    home = Home.of(owner, "cpu")
    home.folder.mkdir()
    home.folder.chmod(0o755)
    with pytest.raises(ServerFailed, match="belongs to somebody else; remove it"):
        home.connect("openvino")
    assert fronts(owner.number) == []
    home.folder.rmdir()


def test_a_server_ends_with_its_executor(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan = plans("digits")
    with subprocess.Popen(["sleep", "600"]) as running:
        other = Process.running(running.pid)
        ask(server_of(other, plan), plan, files, vectors(1))
        ask(server_of(owner, plan), plan, files, vectors(1))
        assert fronts(other.number)
        running.kill()
    assert left_behind() == []
    assert fronts(other.number) == []
    assert not Home.of(other, "cpu").folder.exists()
    assert fronts(owner.number), "another executor's server ended too"


def test_a_server_nobody_asks_ends_and_comes_back(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan = plans("digits", idle_s=1)
    server = server_of(owner, plan)
    first = ask(server, plan, files, vectors(2))
    time.sleep(1.5)
    assert fronts(owner.number), "it ends although a worker is connected"
    server.close()
    until = time.monotonic() + 10
    while fronts(owner.number) and time.monotonic() < until:
        time.sleep(0.05)
    assert not Home.of(owner, "cpu").folder.exists()
    assert ask(server, plan, files, vectors(2)) == first
    server.close()


def test_what_a_killed_server_and_executor_left_is_swept_by_the_next(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan = plans("digits")
    with subprocess.Popen(["sleep", "600"]) as running:
        gone = Process.running(running.pid)
        ask(server_of(gone, plan), plan, files, vectors(1))
        for pid in fronts(gone.number):
            os.kill(pid, signal.SIGKILL)
        running.kill()
    folder = Home.of(gone, "cpu").folder
    assert folder.exists()
    ask(server_of(owner, plan), plan, files, vectors(1))
    assert not folder.exists()
    # The process with the networks went with the one that had started it.
    assert left_behind() == []


def test_what_a_killed_process_was_writing_goes_with_the_next(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan = plans("digits")
    server = server_of(owner, plan)
    ask(server, plan, files, vectors(1))
    (pid,) = runners(owner.number)
    temporary = Home.of(owner, "cpu").folder / "tmp"
    assert f"TMPDIR={temporary}" in Path(f"/proc/{pid}/environ").read_text().split("\0")
    (temporary / "half of something").touch()
    os.kill(pid, signal.SIGKILL)
    ask(server, plan, files, vectors(1, seed=2))
    assert list(temporary.iterdir()) == []


def test_a_limit_on_addresses_that_loads_no_network_is_refused_in_one_sentence() -> None:
    code = (
        "import os, resource\n"
        "from kerasql.udf.server.home import Home, Process\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        "Home.of(Process.running(os.getpid()), 'cpu').connect('openvino')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "spark.executor.pyspark.memory limits it to 1024 MiB" in done.stderr
    # Its folder goes when the next server starts, as that of any executor that has ended.
    sweep(Path(tempfile.gettempdir()))


def test_python_workers_stay_light(files: Kept) -> None:
    code = (
        "import kerasql.udf.predict, sys;"
        "heavy = {'tensorflow', 'keras', 'openvino', 'sqlalchemy', 'flask'} & set(sys.modules);"
        "print(sorted(heavy), open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy, kib = done.stdout.rsplit(maxsplit=1)
    assert heavy == "[]"
    assert int(kib) * 1024 < 200e6


# --- answers


def test_answers_are_those_of_keras_for_one_and_several_inputs(
    owner: Process, plans: Callable[..., Plan], files: Kept, networks: Path
) -> None:
    with np.load(networks / "pair.npz") as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    plan = plans("pair")
    server = server_of(owner, plan)
    rows = ask(server, plan, files, kept["x0"].tolist(), kept["x1"].tolist())
    assert [error for _, error in rows] == [None] * len(kept["x0"])
    species = [value["species"] for value, _ in rows]
    np.testing.assert_allclose(species, kept["y0"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose([value["age"] for value, _ in rows], kept["y1"][:, 0], rtol=1e-4)


def test_text_crosses_and_comes_back(
    owner: Process, plans: Callable[..., Plan], files: Kept, networks: Path
) -> None:
    with np.load(networks / "text.npz") as arrays:
        expected = arrays["y0"][:, 0]
    plan = plans("words")
    rows = ask(server_of(owner, plan), plan, files, ["good good", "bad", "?", None])
    np.testing.assert_allclose([value for value, _ in rows[:3]], expected, rtol=1e-5)
    assert rows[3] == (None, "the input is NULL")


def test_a_distinct_row_is_predicted_once_whoever_asks(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan, rows = plans("digits"), vectors(50)
    first, second = server_of(owner, plan), server_of(owner, plan)
    doubled = ask(first, plan, files, rows + rows)
    assert doubled[:50] == doubled[50:]
    assert files.total("predicted") == 50
    assert ask(second, plan, files, rows[::-1]) == doubled[49::-1]
    assert (files.total("predicted"), files.total("rows")) == (50, 150)
    # The same rows mean something else to another model.
    ask(second, plans("price"), files, rows)
    assert files.total("predicted") == 100


def test_without_memory_every_row_is_predicted(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan, rows = plans("digits", memo_mb=0), vectors(20)
    server = server_of(owner, plan)
    assert ask(server, plan, files, rows) == ask(server, plan, files, rows)
    assert (files.total("predicted"), files.total("hits")) == (40, 0)


def test_rows_whose_worker_dies_are_delivered_by_who_waits_for_them(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan, rows = plans("digits"), vectors(5)
    dying, waiting = server_of(owner, plan), server_of(owner, plan)
    ask(dying, plan, files, vectors(1, seed=9))
    from kerasql.udf import batch
    from kerasql.udf.asked import network, scope

    array = pa.array(rows)
    promised = {
        "verb": "ask", "id": 99, "network": network(plan, files).key, "scope": scope(plan),
        "count": 5, "hashed": True, "limits": plan.limits,
    }  # fmt: skip
    assert dying.ask(promised, b"".join(batch.hashes([array], [None] * 5)))["mine"] == [
        0,
        1,
        2,
        3,
        4,
    ]
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(ask(waiting, plan, files, array)))
    thread.start()
    time.sleep(0.5)
    assert not answers, "nobody has delivered these rows"
    dying.close()
    thread.join(30)
    assert [error for _, error in answers[0]] == [None] * 5


def test_a_damaged_artifact_fails_the_query_and_heals(
    owner: Process, plans: Callable[..., Plan], files: Kept, tmp_path: Path
) -> None:
    plan = plans("digits")
    weights = plan.artifacts["openvino.bin"]
    damaged = Kept(tmp_path)
    for sha256 in plan.artifacts.values():
        damaged.path(sha256).write_bytes(files.path(sha256).read_bytes())
    data = bytearray(damaged.path(weights).read_bytes())
    data[-1] ^= 1
    damaged.path(weights).write_bytes(data)
    server = server_of(owner, plan)
    with pytest.raises(BrokenArtifact, match=r"'openvino.bin' .* of digits@1 is damaged"):
        ask(server, plan, damaged, vectors(2))
    damaged.path(weights).unlink()
    with pytest.raises(BrokenArtifact, match="did not reach this executor"):
        ask(server_of(owner, plan), plan, damaged, vectors(2))
    # Nothing is kept of the damaged one.
    assert ask(server_of(owner, plan), plan, files, vectors(1))[0][1] is None


def test_slices_of_many_shapes_need_few_descriptors(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan = plans("free")
    server = server_of(owner, plan)
    lengths = [[n % 3 for n in range(1 + row % 90)] for row in range(400)]
    rows = ask(server, replace(plan, slice_rows=400), files, lengths)
    assert {error for _, error in rows} == {None}
    assert max(len(segments(pid)) for pid in fronts(owner.number)) <= 4


def test_rows_nobody_waits_for_any_more_leave_nothing() -> None:
    answers = Answers(limit=1000)
    owner, other = object(), object()
    mine, delivered, _ = answers.ask([b"a", b"b"], owner)
    waiting, theirs, _ = answers.ask([b"a"], other)
    assert (delivered, theirs) == ([0, 1], [])
    answers.release(mine, owner)
    assert (answers.pending, waiting[0].owner) == ({}, None)
    assert answers.ask([b"a"], other)[1] == [0]


def test_the_memory_of_answers_is_bounded_and_forgets_what_was_not_used() -> None:
    answers = Answers(limit=3 * 400)
    for key in (b"a", b"b", b"c"):
        answers.resolve(answers.ask([key], key)[0][0], Answer((), bytes(100)))
    assert answers.ask([b"a"], None)[2] == 1
    answers.resolve(answers.ask([b"d"], b"d")[0][0], Answer((), bytes(100)))
    assert list(answers.known) == [b"c", b"a", b"d"]
    assert answers.held <= answers.limit
    answers.bound(0)
    assert (answers.held, list(answers.known)) == (0, [])


# --- crashes


def test_a_row_on_which_the_network_crashes_costs_only_itself(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan = plans("trap")
    server = server_of(owner, plan)
    rows = ask(server, plan, files, [1.0, 2.0, CRASHES, 3.0])
    assert rows == [
        (1.0, None), (2.0, None), (None, "the network crashes on it (SIGSEGV)"), (3.0, None)
    ]  # fmt: skip
    assert files.total("restarts") >= 2
    # Nor does it crash the next query.
    files.counts.clear()
    assert ask(server, plan, files, [CRASHES, 4.0])[0][1] == "the network crashes on it (SIGSEGV)"
    assert files.total("restarts") == 0


def test_a_row_on_which_the_network_hangs_costs_only_itself(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan = plans("trap", timeout_s=2)
    rows = ask(server_of(owner, plan), plan, files, [1.0, HANGS])
    assert rows == [(1.0, None), (None, "the network hangs on it")]


def test_a_crash_of_one_network_is_not_blamed_on_another_that_is_being_loaded(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    trap, words = plans("trap"), plans("free")
    answers: dict[str, list[Any]] = {}

    def crash() -> None:
        answers["trap"] = ask(server_of(owner, trap), trap, files, [CRASHES, 1.0])

    ask(server_of(owner, trap), trap, files, [5.0])
    thread = threading.Thread(target=crash)
    thread.start()
    for run in range(4):
        about = replace(words, batch_rows=5 + run)
        rows = ask(server_of(owner, about), about, files, [[1, 2, run], [4]])
        assert {error for _, error in rows} == {None}
    thread.join()
    assert [error for _, error in answers["trap"]] == ["the network crashes on it (SIGSEGV)", None]


def test_a_batch_too_large_for_the_memory_is_halved_and_said_so(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan = plans("trap")
    numbers = [1.0, 2.0, LARGE, 3.0, 4.0, 5.0, 6.0, 7.0]
    rows = ask(server_of(owner, plan), plan, files, numbers)
    assert rows == [(number, None) for number in numbers]
    assert files.total("halved") == 2
    assert files.total("restarts") == 0


def test_a_process_that_reads_nothing_holds_up_nobody_but_who_needs_it(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan = plans("digits")
    known = ask(server_of(owner, plan), plan, files, vectors(5))
    (pid,) = runners(owner.number)
    os.kill(pid, signal.SIGSTOP)
    # Another network, whose name alone is more than the socket to the stopped process takes.
    long = replace(plan, batch_rows=9, ref="x" * 2**22)
    answers: list[Any] = []

    def asking(plan: Plan, count: int) -> threading.Thread:
        server = server_of(owner, plan)
        task = threading.Thread(
            target=lambda: answers.append(ask(server, plan, files, vectors(count))), daemon=True
        )
        task.start()
        return task

    try:
        waiting = asking(long, 2)
        time.sleep(0.5)
        asking(plan, 5).join(10)
        assert answers == [known], "the front waits for a process that reads nothing"
    finally:
        os.kill(pid, signal.SIGCONT)
    waiting.join(30)
    assert [value for value, _ in answers[1]] == [value for value, _ in known[:2]]
    assert files.total("restarts") == 0


@pytest.mark.parametrize("victims", [fronts, runners])
def test_processes_killed_at_any_moment_cost_time_only(
    owner: Process,
    plans: Callable[..., Plan],
    files: Kept,
    victims: Callable[[int], list[int]],
) -> None:
    plan = replace(plans("digits"), batch_rows=8)
    server, rows = server_of(owner, plan), vectors(4000)
    quiet = ask(server, replace(plan, batch_rows=512), files, rows)
    assert [error for _, error in quiet] == [None] * 4000
    (front,) = fronts(owner.number)
    held = [descriptors(pid, files.folder) for pid in (os.getpid(), front)]
    # Another network key for every run: nothing is known from the run before.
    chance, kills = random.Random(3), 0
    for run in range(8):
        ending, killed = threading.Event(), []
        thread = threading.Thread(
            target=kill_now_and_then, args=(lambda: victims(owner.number), ending, chance, killed)
        )
        thread.start()
        answers = ask(server, replace(plan, batch_rows=8 + run), files, rows)
        ending.set()
        thread.join()
        kills += len(killed)
        np.testing.assert_allclose(
            [value for value, _ in answers], [value for value, _ in quiet], atol=1e-6
        )
    assert kills > 4
    # One that was killed last would leave its folder to the next.
    ask(server, plan, files, vectors(1, seed=5))
    (front,) = fronts(owner.number)
    for pid, before in zip((os.getpid(), front), held, strict=True):
        assert descriptors(pid, files.folder) <= before + MOST_SEGMENTS


def descriptors(pid: int, artifacts: Path) -> int:
    """How many files a process holds open that are no artifacts."""
    links = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            links.append(str(path.readlink()))
    return sum(not link.startswith(str(artifacts)) for link in links)


def test_a_worker_that_dies_in_the_middle_of_a_message_leaves_no_file_open() -> None:
    ours, theirs = socket.socketpair()
    with ours, Path(os.devnull).open("rb") as file:
        before = descriptors(os.getpid(), Path("/nowhere"))
        with theirs:
            whole = wire.PREFIX.pack(100, 0) + b"{"
            socket.send_fds(theirs, [whole], [file.fileno()])
        with pytest.raises(ConnectionError):
            wire.receive(ours)
        assert descriptors(os.getpid(), Path("/nowhere")) == before - 1


def test_a_network_that_cannot_be_loaded_fails_with_one_sentence(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan = plans("digits")
    weights = {**plan.artifacts, "golden": plans("price").artifacts["golden"]}
    with pytest.raises(EngineFailed, match="digits@1 cannot be served by the engine 'openvino'"):
        ask(server_of(owner, plan), replace(plan, artifacts=weights), files, vectors(2))


# --- memory


def test_the_least_recently_used_network_leaves_when_there_is_no_room(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    # A megabyte holds none of them: each is loaded alone, and leaves for the next.
    names = ["digits", "price", "pair"]
    limits = {"memory_mb": 1, "memo_mb": 0}
    server = server_of(owner, plans("digits", **limits))
    columns = {"pair": [[[0.0, 1, 2]], [[3.0, 4]]]}
    for name in names + names[:1]:
        ask(server, plans(name, **limits), files, *columns.get(name, [vectors(2)]))
    assert files.total("loads") == 4
    held = [one.held_bytes for one in files.counts]
    assert max(held) < 2 * min(held) + 20 * 2**20, "networks have not left"


def test_networks_that_turn_out_larger_than_was_thought_leave_once_nobody_needs_them() -> None:
    def network(used: float, size: int, *, running: int = 0) -> Network:
        asked = {"key": str(used), "bytes": size}
        return Network(asked, {}, state="loaded", used=used, running=running)

    old, busy, newer, last = (
        network(1, 30),
        network(2, 30, running=1),
        network(3, 30),
        network(4, 9),
    )
    everybody = [last, old, newer, busy]
    assert to_shed(everybody, 99) == []
    assert to_shed(everybody, 98) == [old]
    assert to_shed(everybody, 60) == [old, newer]
    assert to_shed(everybody, 1) == [old, newer]
    assert to_shed([last], 1) == []


def test_many_tasks_over_more_networks_than_fit_all_get_their_answers(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    limits = {"memory_mb": 1, "memo_mb": 0}
    plan_by = {name: plans(name, **limits) for name in ("digits", "price")}
    alone = {name: ask(server_of(owner, p), p, files, vectors(30)) for name, p in plan_by.items()}
    wrong: list[str] = []

    def task(name: str) -> None:
        server = server_of(owner, plan_by[name])
        for _ in range(3):
            for (value, error), (expected, _) in zip(
                ask(server, plan_by[name], files, vectors(30)), alone[name], strict=True
            ):
                if error or not np.allclose(value, expected, atol=1e-6):
                    wrong.append(f"{name}: {value} is not {expected} ({error})")

    threads = [threading.Thread(target=task, args=(name,)) for name in list(plan_by) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_segments_vanish_with_their_processes(
    owner: Process, plans: Callable[..., Plan], files: Kept
) -> None:
    plan = plans("digits")
    server = server_of(owner, plan)
    for size in (10, 3000, 10, 9000):
        ask(server, plan, files, vectors(size, seed=size))
    held = {pid: len(segments(pid)) for pid, _ in servers() if pid in fronts(owner.number)}
    assert all(1 <= count <= 6 for count in held.values()), held
    server.close()
    until = time.monotonic() + 5
    while any(segments(pid) for pid in held) and time.monotonic() < until:
        time.sleep(0.05)
    assert [segments(pid) for pid in held] == [set()]
    assert not [path for path in Path("/dev/shm").iterdir() if "kerasql" in path.name]


def test_a_worker_that_everybody_has_left_starts_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getppid", lambda: 1)
    with pytest.raises(ServerFailed, match="the executor of this Python worker has gone"):
        executor()


def test_a_runner_that_cannot_be_told_is_ended(tmp_path: Path) -> None:
    home = Home(tmp_path, Process.running(os.getpid()), "cpu")
    runner = RunnerProcess.started("openvino", 1, home)
    with (tmp_path / "file").open("wb") as file:
        runner.say({"drop": "nothing"}, files=[file.fileno()] * MORE_THAN_A_MESSAGE_TAKES)
    assert runner.process.wait(60) == -signal.SIGKILL
    runner.close()
