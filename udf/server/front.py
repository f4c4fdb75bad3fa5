"""The process that Python workers talk to: it remembers, schedules, and outlives crashes.

``home.py`` starts it. It loads no network itself: ``runner.py`` does, in a process that is started
again when it dies. It ends with its executor, or when nobody has asked it for a while.
"""

from __future__ import annotations

import itertools
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from kerasql.udf.left import has_gone
from kerasql.udf.server import wire
from kerasql.udf.server.answers import Answer, Answers, Row, grouped, row_bytes
from kerasql.udf.server.cores import cores
from kerasql.udf.server.home import CPU, Home, Process
from kerasql.udf.server.schedule import Job, Network, Work, next_network, to_drop, to_shed
from kerasql.udf.stats import Stats

HASH_BYTES = 16
MOST_ABSENT = 64
TICK_S = 0.5
MISSED_S = 0.2
"""How soon a worker is missed that goes while it waits for its answers."""
MOST_DEATHS = 3
"""How often a process may die over the same rows, or the same network, before they are at fault."""
GPU_STREAMS = 2
"""Threads that predict on a GPU: one batch is on its way there while another is computed."""
MOST_KILLS = 10
"""The same for a network over which a process is killed from outside, or for want of memory."""


@dataclass
class Limits:
    """What the newest task says: how long to wait, how much to hold."""

    idle_s: int = 600
    timeout_s: int = 120
    load_timeout_s: int = 600
    memory_mb: int = 4096
    memo_mb: int = 256
    cores: int = 0


@dataclass(eq=False)
class Request:
    """One slice of one task's rows.

    error is why none of them can be answered; left, that the task has gone with its segments.
    """

    network: str
    rows: list[Row]
    counts: dict[str, int]
    error: tuple[str, list[Any]] | None = None
    left: bool = False


def main() -> None:
    """Listen in the folder named on the command line until the executor has gone."""
    folder, number, began, device, engine, tell = sys.argv[1:]
    if os.fork():
        # The worker that started this must not become its parent.
        os._exit(0)
    home = Home(Path(folder), Process(int(number), int(began)), device)
    with suppress(FileNotFoundError):
        home.address.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with home.short() as address:
        listening.bind(address)
    listening.listen(128)
    front = Front(home, listening, engine)
    os.write(int(tell), b"1")
    os.close(int(tell))
    front.serve()


class Front:
    """The server's state, all of it guarded by one lock."""

    def __init__(self, home: Home, listening: socket.socket, engine: str) -> None:
        self.home, self.listening, self.engine = home, listening, engine
        self.limits = Limits()
        self.changed = threading.Condition()
        self.answers = Answers()
        self.networks: dict[str, Network] = {}
        self.segments: dict[int, int] = {}
        self.runner: RunnerProcess | None = None
        self.suspects: deque[Job] = deque()
        self.last_segment = 0
        self.visitors = 0
        self.restarts = 0
        self.called = False
        # Whether its GPU can be used is found out by the runner.
        self.device_known = home.device == CPU
        self.refused: str | None = None
        self.last_visit = time.monotonic()
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    # --- the main thread: doors open and close, the runner starts

    def serve(self) -> None:
        """Let workers in until the executor has gone or nobody came for a while."""
        with suppress(ProcessLookupError):
            executor = os.pidfd_open(self.home.owner.number)
            waiting = select.poll()
            for fd in (executor, self.listening.fileno(), self.wake):
                waiting.register(fd, select.POLLIN)
            while self.home.owner.alive and not self._is_idle():
                ready = {fd for fd, _ in waiting.poll(TICK_S * 1000)}
                if executor in ready:
                    break
                if self.listening.fileno() in ready:
                    self._let_in()
                if self.wake in ready:
                    os.eventfd_read(self.wake)
                with self.changed:
                    self._look_after_runner()
        self._end()

    def _is_idle(self) -> bool:
        with self.changed:
            if self.visitors:
                self.last_visit = time.monotonic()
            return time.monotonic() - self.last_visit > self.limits.idle_s

    def _let_in(self) -> None:
        connection, _ = self.listening.accept()
        if wire.peer(connection)[1] != os.getuid():
            connection.close()
            return
        with self.changed:
            self.visitors += 1
        threading.Thread(target=Visit(self, connection).serve, daemon=True).start()

    def _look_after_runner(self) -> None:
        """Start the runner where there is work for one; stop it where it hangs."""
        if self.runner is None:
            wanted = any(n.works or n.wanted for n in self.networks.values())
            if self.called or self.suspects or wanted:
                self.called = False
                on_cpu = self.home.device == CPU
                streams = cores(self.limits.cores) if on_cpu else GPU_STREAMS
                self.runner = RunnerProcess.started(self.engine, streams, self.home)
                threading.Thread(target=self._listen, args=(self.runner,), daemon=True).start()
                self.pump()
            return
        looking_s = 0.0 if self.device_known else time.monotonic() - self.runner.began
        stuck = max(self.runner.loading_s(), looking_s) > self.limits.load_timeout_s
        if (stuck or self.runner.oldest() > self.limits.timeout_s) and not self.runner.hangs:
            self.runner.hangs = True
            self.runner.process.kill()

    def _end(self) -> None:
        with suppress(FileNotFoundError):
            self.home.address.unlink()
        self.listening.close()
        with self.changed:
            if self.runner:
                self.runner.process.kill()
                self.runner.process.wait()
        with self.home.locked():
            # A worker that came too late may have started another in this folder.
            if not self.home.address.exists():
                self.home.remove()
        os._exit(0)

    # --- what the runner says

    def _listen(self, runner: RunnerProcess) -> None:
        try:
            with suppress(ConnectionError):
                while True:
                    message = wire.receive(runner.socket)
                    with self.changed:
                        self._heard(runner, message.header, message.payload)
                        self.pump()
                        self.changed.notify_all()
            status = runner.process.wait()
            runner.close()
            with self.changed:
                self._lost(runner, status)
                self.changed.notify_all()
            os.eventfd_write(self.wake, 1)
        except BaseException:
            # Nobody would hear the runner any more: tasks start another server instead.
            traceback.print_exc()
            os._exit(1)

    def _heard(self, runner: RunnerProcess, header: dict[str, Any], payload: bytearray) -> None:
        if "device" in header:
            self._device(header["device"])
        elif "done" in header:
            job = runner.jobs.pop(header["done"])
            runner.note_begun()
            job.network.running -= 1
            job.network.used = time.monotonic()
            if header.get("left"):
                self.without_the_left(job)
            else:
                self._answer(job, header, bytes(payload))
        elif "loading" in header:
            runner.loading = self.networks[header["loading"]], time.monotonic()
        elif "loaded" in header:
            network, runner.loading = self.networks[header["loaded"]], None
            network.state, network.bytes = "loaded", header["bytes"]
            network.crashes, network.loads = 0, network.loads + 1
            network.doubtful, network.used = False, time.monotonic()
        elif "failed" in header:
            runner.loading = None
            self._fail(self.networks[header["failed"]], header["error"], header["args"])

    def _device(self, refused: str | None) -> None:
        """Keep what was found out about the GPU; on stderr, the executor's, why it is not used."""
        self.device_known, self.refused = True, refused
        if refused:
            said = f"kerasql: the GPU {self.home.device} is not used, the CPU is: {refused}"
            print(said, file=sys.stderr, flush=True)
            # It may have been usable when these were asked for.
            for network in list(self.networks.values()):
                self._give_up(network, refused)

    def _answer(self, job: Job, header: dict[str, Any], payload: bytes) -> None:
        rows, at = job.rows, 0
        for positions, layout in header["layouts"]:
            shapes = tuple((dtype, tuple(shape)) for dtype, shape in layout)
            size = sum(row_bytes(dtype, shape) for dtype, shape in shapes)
            for position in positions:
                self.answers.resolve(rows[position], Answer(shapes, payload[at : at + size]))
                at += size
        for position, reason in header["reasons"].items():
            # Another time there may be memory enough, or whatever else was missing.
            self.answers.resolve(rows[int(position)], Answer((), b"", reason), keep=False)
        counts = job.parts[0].work.request.counts
        counts["batches"] += header["batches"]
        counts["halved"] += header["halved"]
        for part in job.parts:
            part.work.request.counts["predicted"] += part.stop - part.start

    def _fail(self, network: Network, error: str, args: list[Any]) -> None:
        """Tell everybody who waits for a network why it cannot be had, and forget its files."""
        works = [*network.works, *self._suspected(network)]
        for work in works:
            work.request.error = (error, args)
        network.works.clear()
        self.suspects = deque(job for job in self.suspects if job.network is not network)
        self.remove(network)

    def _suspected(self, network: Network) -> list[Work]:
        jobs = [job for job in self.suspects if job.network is network]
        return [part.work for job in jobs for part in job.parts]

    # --- the runner died

    def _lost(self, runner: RunnerProcess, status: int) -> None:
        """Find the rows that are at fault; do the others again.

        A process that somebody killed says nothing about its rows, unless it happens again.
        """
        self.runner = None
        self.restarts += 1
        signal_name = signal.Signals(-status).name if status < 0 else f"exit code {status}"
        how = "hangs on it" if runner.hangs else f"crashes on it ({signal_name})"
        killed = status == -signal.SIGKILL and not runner.hangs
        if not self.device_known:
            self._device(f"the process {how.replace(' on it', ' while it looks')}")
        jobs = list(runner.jobs.values())
        for network in self.networks.values():
            network.running = 0
            network.state = "absent"
        for job in jobs:
            self.without_the_left(job)
            if job.parts:
                # Beside a network that was being loaded a job may be innocent.
                job.deaths += not runner.loading
                self._suspect(job, killed=killed, how=how)
        if killed and (hopeless := {j.network for j in jobs if j.alone and j.deaths > MOST_KILLS}):
            # Somebody else does it: that says nothing about the rows.
            for network in hopeless:
                self._give_up(network, "the process is killed whenever it predicts (SIGKILL)")
        if runner.loading:
            self._doubt(runner.loading[0], jobs, killed=killed, how=how)

    def _doubt(self, network: Network, jobs: list[Job], *, killed: bool, how: str) -> None:
        """Blame the network that was being loaded, if nothing else can have been at fault."""
        network.doubtful = True
        network.crashes += not jobs
        if network.crashes >= (MOST_KILLS if killed else MOST_DEATHS):
            how = how.replace(" on it", " while it is loaded")
            self._give_up(network, f"the process {how}")

    def _suspect(self, job: Job, *, killed: bool, how: str) -> None:
        """Do a job again, alone, or in halves; the row over which the process dies twice is bad."""
        if job.deaths == 0 or (killed and job.deaths < MOST_DEATHS):
            self.suspects.append(job)
        elif len(job.rows) > 1:
            self.suspects.extend(job.halves())
        elif killed or not job.alone or job.deaths < 2:
            job.alone = True
            self.suspects.append(job)
        else:
            self.answers.resolve(job.rows[0], Answer((), b"", f"the network {how}"))

    def without_the_left(self, job: Job) -> None:
        """Take out of a job what tasks asked that have gone."""
        for part in [part for part in job.parts if part.work.request.left]:
            job.parts.remove(part)
            self.answers.release(part.rows, part.work.request)

    def _give_up(self, network: Network, how: str) -> None:
        network.crashes = 0
        ref, engine = network.asked["ref"], network.asked["engine"]
        self._fail(network, "EngineFailed", [ref, engine, how])

    # --- work for the runner

    def pump(self) -> None:
        """Give the runner what it can take now."""
        if self.runner is None:
            os.eventfd_write(self.wake, 1)
            return
        if self.runner.gone or (self.runner.alone and self.runner.jobs):
            return
        self.runner.alone = False
        with suppress(ConnectionError):
            memory = self.limits.memory_mb * 2**20
            self._drop(self.runner, to_shed(self.networks.values(), memory))
            if self.suspects:
                self._pump_suspects(self.runner)
            while not self._holds_back() and len(self.runner.jobs) <= self.runner.streams:
                network, wanted = next_network(self.networks.values())
                if wanted is not None:
                    self._load(self.runner, wanted)
                if network is None:
                    break
                self._send(self.runner, network.take())
            ahead = [] if self._holds_back() else list(self.networks.values())
            for network in ahead:
                if network.wanted and network.state == "absent" and not network.doubtful:
                    self._load(self.runner, network, ahead=True)

    def _holds_back(self) -> bool:
        """Whether nothing may run beside what is suspected."""
        return bool(self.suspects or (self.runner and self.runner.alone))

    def _pump_suspects(self, runner: RunnerProcess) -> None:
        """One job at a time and nothing beside it, so that a crash says whose it was."""
        if runner.jobs:
            return
        job = self.suspects[0]
        if job.network.state == "absent":
            self._load(runner, job.network)
        elif job.network.state == "loaded":
            self._send(runner, self.suspects.popleft())
            runner.alone = True

    def _load(self, runner: RunnerProcess, network: Network, *, ahead: bool = False) -> None:
        """Load a network when there is room; ahead of its rows only where none has to leave."""
        leave = to_drop(self.networks.values(), network, self.limits.memory_mb * 2**20)
        network.wanted = False
        busy = network.doubtful and self.jobs()
        if leave is None or busy or (ahead and leave):
            return
        self._drop(runner, leave)
        network.state, network.used = "loading", time.monotonic()
        runner.say({"load": network.asked}, files=list(network.files.values()))

    def _drop(self, runner: RunnerProcess, leave: Iterable[Network]) -> None:
        for network in leave:
            network.state = "absent"
            runner.say({"drop": network.key})

    def _send(self, runner: RunnerProcess, job: Job) -> None:
        network = job.network
        network.running += 1
        network.used, job.since = time.monotonic(), 0.0
        parts = [
            {
                "segment": part.work.segment,
                "places": part.work.places,
                "from": part.start,
                "to": part.stop,
            }
            for part in job.parts
        ]
        runner.jobs[number := next(runner.numbers)] = job
        runner.note_begun()
        new = sorted({part.work.segment for part in job.parts} - runner.segments)
        runner.segments.update(new)
        runner.say(
            {"job": number, "network": network.key, "parts": parts, "segments": new},
            files=[self.segments[segment] for segment in new],
        )

    def jobs(self) -> list[Job]:
        """What is being predicted now."""
        return list(self.runner.jobs.values()) if self.runner else []

    def prune(self) -> None:
        """Close the files of networks that nobody has used for long; a task brings them again."""
        absent = [n for n in self.networks.values() if n.state == "absent" and not n.works]
        idle = [
            n for n in absent if not n.wanted and all(j.network is not n for j in self.suspects)
        ]
        for network in sorted(idle, key=lambda n: n.used)[:-MOST_ABSENT]:
            self.remove(network)

    def remove(self, network: Network) -> None:
        """Forget a network that is not loaded, and close its files."""
        if self.networks.pop(network.key, None) is network:
            for file in network.files.values():
                os.close(file)

    def abandon(self, requests: Iterable[Request]) -> None:
        """Do no more for requests that nobody waits for; what is predicted now may serve others."""
        requests = list(requests)
        for request in requests:
            request.left = True
        for network in self.networks.values():
            network.works = deque(work for work in network.works if not work.request.left)
        for job in list(self.suspects):
            self.without_the_left(job)
            if not job.parts:
                self.suspects.remove(job)
        self._leave_out()
        running = {id(row) for job in self.jobs() for row in job.rows}
        for request in requests:
            left = [row for row in request.rows if id(row) not in running]
            self.answers.release(left, request)

    def _leave_out(self) -> None:
        """Let the runner leave out what waits there for a thread and nobody waits for."""
        runner = self.runner
        if runner is None or runner.gone:
            return
        for number, job in runner.jobs.items():
            if all(part.work.request.left for part in job.parts):
                runner.say({"leave": number})

    def keep(self, file: int) -> int:
        """The number of a visitor's segment among all of them."""
        self.last_segment += 1
        self.segments[self.last_segment] = file
        return self.last_segment

    def forget(self, segments: list[int]) -> None:
        """Let go of a visitor's segments."""
        for segment in segments:
            os.close(self.segments.pop(segment))
        if self.runner and not self.runner.gone:
            known = [segment for segment in segments if segment in self.runner.segments]
            self.runner.segments.difference_update(known)
            if known:
                self.runner.say({"forget": known})


@dataclass(eq=False)
class RunnerProcess:
    """The runner as its front knows it: the jobs it has, the segments it was given."""

    process: subprocess.Popen[bytes]
    socket: socket.socket
    streams: int
    jobs: dict[int, Job] = field(default_factory=dict)
    segments: set[int] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    hangs: bool = False
    alone: bool = False
    began: float = field(default_factory=time.monotonic)
    loading: tuple[Network, float] | None = None
    unsaid: SimpleQueue[tuple[dict[str, Any], list[int]] | None] = field(
        default_factory=SimpleQueue
    )

    @classmethod
    def started(cls, engine: str, streams: int, home: Home) -> RunnerProcess:
        """A new one, which begins to import the engine; its temporary files go into the home."""
        ours, theirs = socket.socketpair()
        with theirs:
            said = [str(theirs.fileno()), engine, str(streams), home.device]
            process = subprocess.Popen(
                [sys.executable, "-m", "kerasql.udf.server.runner", *said],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "TMPDIR": str(home.emptied())},
                pass_fds=[theirs.fileno()],
            )
        runner = cls(process, ours, streams)
        threading.Thread(target=runner.send, daemon=True).start()
        return runner

    @property
    def gone(self) -> bool:
        """Whether it has ended, though its front may not have heard."""
        return self.process.poll() is not None

    def note_begun(self) -> None:
        """Note when the jobs begin that it has a thread for: it takes them in their order."""
        for job in itertools.islice(self.jobs.values(), self.streams):
            job.since = job.since or time.monotonic()

    def oldest(self) -> float:
        """Seconds for which it has predicted one job."""
        begun = min((job.since for job in self.jobs.values() if job.since), default=None)
        return 0.0 if begun is None else time.monotonic() - begun

    def loading_s(self) -> float:
        """Seconds for which it has loaded one network."""
        return time.monotonic() - self.loading[1] if self.loading else 0.0

    def say(self, header: dict[str, Any], files: Iterable[int] = ()) -> None:
        """Have a message sent, soon: a runner that hangs reads nothing, and nobody waits for it."""
        self.unsaid.put((header, [os.dup(file) for file in files]))

    def send(self) -> None:
        """Send what was said, until the runner is closed."""
        while (message := self.unsaid.get()) is not None:
            header, files = message
            try:
                wire.send(self.socket, header, files=files)
            except OSError:
                # It has ended; or it would wait for ever for what it was not told.
                self.process.kill()
            for file in files:
                os.close(file)

    def close(self) -> None:
        """Let go of a runner that has ended."""
        self.unsaid.put(None)
        self.socket.close()


class Visit:
    """One Python worker's connection: its requests, answered one after the other."""

    def __init__(self, front: Front, connection: socket.socket) -> None:
        self.front, self.connection = front, connection
        self.requests: dict[int, Request] = {}
        self.segments: dict[int, int] = {}
        self.verbs: dict[str, Callable[[wire.Message], dict[str, Any] | None]] = {
            "begin": self.begin,
            "open": self.open,
            "ask": self.ask,
            "submit": self.submit,
        }

    def serve(self) -> None:
        """Answer until the worker goes; then let go of what was its own."""
        try:
            while True:
                message = wire.receive(self.connection)
                verb = message.header["verb"]
                if verb == "collect":
                    header, payload = self.collect(message)
                    wire.send(self.connection, header, payload)
                elif (reply := self.verbs[verb](message)) is not None:
                    wire.send(self.connection, reply)
        except ConnectionError:
            pass
        finally:
            self.connection.close()
            with self.front.changed:
                self._leave()
                self.front.changed.notify_all()

    def begin(self, message: wire.Message) -> dict[str, Any]:
        """Have the runner started, which imports the engine: soon there is a network to load.

        Says why this server's GPU cannot be used, or null; waits for the runner's first look.
        """
        front = self.front
        with front.changed:
            front.limits = Limits(**message.header["limits"])
            front.called = front.runner is None and front.refused is None
            front.pump()
            front.changed.wait_for(lambda: front.device_known)
        return {"refused": front.refused}

    def open(self, message: wire.Message) -> dict[str, Any]:
        """A network that this worker is going to ask about; its files come in the same message."""
        asked, front = message.header["network"], self.front
        with front.changed:
            front.limits = Limits(**message.header["limits"])
            known = front.networks.get(asked["key"])
            if known is None and message.files:
                files = dict(zip(asked["artifacts"], message.files, strict=True))
                known = front.networks[asked["key"]] = Network(asked, files)
                known.used = time.monotonic()
            elif message.files:
                for file in message.files:
                    os.close(file)
            if known is not None:
                # Loading begins while the first rows are decoded.
                known.wanted = known.state == "absent"
                front.pump()
            front.prune()
        return {"known": known is not None}

    def ask(self, message: wire.Message) -> dict[str, Any]:
        """Which rows of a slice this worker must deliver; the others are known or on their way."""
        header, front = message.header, self.front
        request = Request(header["network"], [], asdict(Stats()))
        prefix, data = bytes.fromhex(header["scope"]), bytes(message.payload)
        with front.changed:
            front.limits = Limits(**header["limits"])
            if header["hashed"]:
                front.answers.bound(front.limits.memo_mb * 2**20)
                keys = [
                    prefix + data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)
                ]
                rows, mine, hits = front.answers.ask(keys, request)
                request.rows, request.counts["hits"] = rows, hits
            else:
                request.rows = [Row(None, request) for _ in range(header["count"])]
                mine = list(range(header["count"]))
            request.counts["rows"] = len(request.rows)
            self.requests[header["id"]] = request
        return {"mine": mine}

    def submit(self, message: wire.Message) -> None:
        """Prepared rows, in a segment; or the reasons why they could not be prepared."""
        header, front = message.header, self.front
        with front.changed:
            front.forget([self.segments.pop(number) for number in header["forget"]])
            for number, file in zip(header["segments"], message.files, strict=True):
                self.segments[number] = front.keep(file)
            request = self.requests[header["id"]]
            for index, reason in header["reasons"].items():
                front.answers.resolve(request.rows[int(index)], Answer((), b"", reason), keep=False)
            for group in header["groups"]:
                rows = [request.rows[index] for index in group["rows"]]
                network = front.networks[group["network"]]
                segment = self.segments[group["segment"]]
                network.works.append(Work(request, segment, group["places"], rows))
            front.pump()
            front.changed.notify_all()

    def collect(self, message: wire.Message) -> tuple[dict[str, Any], bytes]:
        """Every row's answer, once all are there; ``again`` where somebody else left one behind."""
        front, number = self.front, message.header["id"]
        request = self.requests[number]
        with front.changed:
            while not front.changed.wait_for(lambda: _is_settled(request), MISSED_S):
                if has_gone(self.connection.fileno()):
                    raise ConnectionResetError("the worker has gone")
            del self.requests[number]
            if request.error:
                front.abandon([request])
                front.changed.notify_all()
                return {"error": request.error[0], "args": request.error[1]}, b""
            if any(row.answer is None for row in request.rows):
                front.answers.release(request.rows, request)
                return {"again": True, "counts": request.counts}, b""
            self._count(request)
            header, payload = grouped(request.rows)
        return {**header, "counts": request.counts}, payload

    def _count(self, request: Request) -> None:
        """Add what happened to the whole server since somebody was last told."""
        front = self.front
        if network := front.networks.get(request.network):
            request.counts["loads"], network.loads = network.loads, 0
        request.counts["restarts"], front.restarts = front.restarts, 0
        networks = sum(n.bytes for n in front.networks.values() if n.state == "loaded")
        request.counts["held_bytes"] = front.answers.held + networks

    def _leave(self) -> None:
        front = self.front
        front.visitors -= 1
        front.last_visit = time.monotonic()
        front.abandon(self.requests.values())
        front.forget(list(self.segments.values()))


def _is_settled(request: Request) -> bool:
    return request.error is not None or all(
        row.answer is not None or row.owner is None for row in request.rows
    )


if __name__ == "__main__":
    main()
