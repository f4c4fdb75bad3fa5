"""How many cores an executor may use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
CPU_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def cores(granted: int = 0) -> int:
    """The cores that Spark grants the executor (0: it does not say), those it may run on, and
    those its container pays for: the fewest of the three, at least one.
    """
    usable = [len(os.sched_getaffinity(0)), granted or None, _quota()]
    return max(1, min(count for count in usable if count is not None))


def _quota() -> int | None:
    with suppress(OSError, ValueError):
        quota, _, period = CPU_MAX.read_text().partition(" ")
        return None if quota == "max" else max(1, round(int(quota) / int(period)))
    with suppress(OSError, ValueError):
        quota_us = int(CPU_QUOTA.read_text())
        return None if quota_us < 0 else max(1, round(quota_us / int(CPU_PERIOD.read_text())))
    return None
