"""Model servers that nobody owns any more: their processes and folders."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks import peak
from kerasql.udf.server.home import NAME, PREFIX, Process


def servers() -> list[tuple[int, str]]:
    """(process, command line) of every model server's processes on this machine."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    lines = [(pid, peak.command_line(pid)) for pid in pids]
    return [(pid, line) for pid, line in lines if "kerasql.udf.server." in line]


def fronts(owner: int) -> list[int]:
    """The processes of model servers that belong to an executor."""
    return [pid for pid, line in servers() if ".front " in line and f"{PREFIX}{owner}-" in line]


def runners(owner: int) -> list[int]:
    """The processes in which those servers load networks."""
    mine = fronts(owner)
    return [pid for pid, line in servers() if ".runner " in line and peak.parent(pid) in mine]


def kill_now_and_then(
    victims: Callable[[], list[int]],
    ending: threading.Event,
    chance: random.Random,
    killed: list[int],
) -> None:
    """Kill processes at random moments, three at most; killed is filled with their numbers."""
    while len(killed) < 3 and not ending.wait(chance.uniform(0.02, 0.2)):
        for pid in victims():
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)


def segments(pid: int) -> set[int]:
    """The shared memory without a name that a process holds open, by the kernel's numbers."""
    found = set()
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if "memfd:kerasql" in str(path.readlink()):
                    found.add(path.stat().st_ino)
    return found


def left_behind(timeout_s: float = 10) -> list[str]:
    """What is left of servers whose executor has gone, once they had time to end."""
    until = time.monotonic() + timeout_s
    while (found := _orphans()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def _orphans() -> list[str]:
    folders = Path(tempfile.gettempdir()).glob(PREFIX + "*")
    named = [(path, NAME.fullmatch(path.name)) for path in folders]
    gone = [str(path) for path, m in named if m and not Process(int(m[1]), int(m[2])).alive]
    parents = {pid: peak.parent(pid) for pid, _ in servers()}
    alone = [
        line for pid, line in servers() if ".runner " in line and parents.get(pid) not in parents
    ]
    return gone + alone
