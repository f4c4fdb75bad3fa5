"""Where a task's rows are predicted: on a GPU that it may use, else on the CPU."""

from __future__ import annotations

import ctypes
import os
import re
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from kerasql.udf.plan import Plan
from kerasql.udf.server.client import Server
from kerasql.udf.server.home import CPU, Home, Process, executor

DEVICES = Path("/dev")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 64 * 2**20


def visible_gpus() -> tuple[str, ...]:
    """The machine's NVIDIA GPUs by their addresses: of them those that CUDA_VISIBLE_DEVICES names.

    Nothing is imported and no driver is asked, so whether anything can compute there is not known.
    """
    count = sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in DEVICES.iterdir())
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None or not count:
        return tuple(map(str, range(count)))
    # CUDA itself sees nothing behind an entry that names no device.
    names = (name.strip() for name in shown.split(","))
    return tuple(takewhile(lambda name: name and not name.startswith("-"), names))


def device(plan: Plan) -> str:
    """The address of the GPU that Spark gave this task, or of one that was found; or ``cpu``.

    Of several, partitions take them in turn.
    """
    from pyspark import TaskContext

    if plan.gpu is None:
        return CPU
    task = TaskContext.get()
    given = task.resources() if task else {}
    addresses = given["gpu"].addresses if "gpu" in given else plan.gpu.addresses
    if not addresses:
        return CPU
    return str(addresses[task.partitionId() % len(addresses) if task else 0])


def server_of(plan: Plan) -> Server:
    """The worker's connection to the model server of its executor and this task's device."""
    address = device(plan)
    if address not in _servers:
        keep_freed_memory()
        _servers[address] = placed(plan, executor(), address)
    _servers[address].limits = dict(plan.limits)
    return _servers[address]


def placed(plan: Plan, owner: Process, address: str) -> Server:
    """A new connection to the server of an executor's GPU; to that of its CPU where it has none,

    or nothing can compute there, which the GPU's server says once on the executor's stderr.
    """
    if address != CPU:
        server = Server(Home.of(owner, address), plan.limits, plan.on(address).engine)
        if server.begin() is None:
            return server
        server.close()
    return Server(Home.of(owner, CPU), plan.limits, plan.engine)


_servers: dict[str, Server] = {}


def keep_freed_memory() -> None:
    """Let glibc keep what a slice of pictures took, for the next one takes it again.

    By default it goes back to the system each time, which clears every page before the next use.
    """
    with suppress(OSError, AttributeError):
        # Another C library has neither the function nor the habit.
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES // 2)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
