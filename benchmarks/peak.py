"""Memory as Linux counts it, of this process and of Spark's Python workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MB = 1_000_000


def resident_mb(pid: int | str = "self") -> float:
    """What a process holds now."""
    return _status_mb(pid, "VmRSS")


def peak_mb(pid: int | str = "self") -> float:
    """The most a process held since it began, or since its peak was reset."""
    return _status_mb(pid, "VmHWM")


def reset_peak(pid: int | str = "self") -> float:
    """Let the peak begin anew; what the process holds now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return resident_mb(pid)


def cpu_s(pid: int) -> float:
    """The seconds of CPU that a process has used, itself and in the kernel; 0 when it is gone."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def workers(parent: int | None = None) -> Iterator[int]:
    """The Python processes that Spark started below a process (this one)."""
    for pid in children(parent or os.getpid()):
        if "pyspark.daemon" in command_line(pid):
            yield pid
        yield from workers(pid)


def servers(owner: int) -> list[int]:
    """The model server of an executor (its Java process) and what it started."""
    named = f"kerasql-server-{owner}-"
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    fronts = [
        pid
        for pid in numbers
        if "-m kerasql.udf.server" in (said := command_line(pid)) and named in said
    ]
    return [pid for front in fronts for pid in (front, *below(front))]


def below(parent: int) -> list[int]:
    """The processes that a process started, and those that they started."""
    return [pid for child in children(parent) for pid in (child, *below(child))]


def children(parent: int) -> list[int]:
    """The processes that a process started and that still run."""
    found = []
    for task in _tasks(parent):
        # A thread that ends meanwhile takes only its own line with it.
        with suppress(OSError):
            found += [int(pid) for pid in (task / "children").read_text().split()]
    return found


def parent(pid: int) -> int:
    """The process that started a process, 0 when it is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _tasks(pid: int) -> list[Path]:
    with suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def command_line(pid: int) -> str:
    """A process's command and arguments; empty when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def _status_mb(pid: int | str, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / MB
    return 0.0
