"""Shared memory without a name: it goes with the last process that holds it, killed or not."""

from __future__ import annotations

import fcntl
import itertools
import json
import mmap
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from kerasql.udf.server.answers import TEXT

ALIGNED = 64
SMALLEST = 1 << 16
F_ADD_SEALS, F_SEAL_SHRINK = 1033, 2
"""From linux/fcntl.h: a segment that cannot shrink cannot be cut off under its reader's feet."""


_numbers = itertools.count(1)


class Segment:
    """Arrays in memory that another process maps too; number is its own in this process."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.number = next(_numbers)
        self.size = os.fstat(fd).st_size
        self._memory = mmap.mmap(fd, self.size)

    @classmethod
    def of(cls, size: int) -> Segment:
        """A new one of at least that many bytes."""
        fd = os.memfd_create("kerasql", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, max(size, SMALLEST))
        fcntl.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)
        return cls(fd)

    def put(self, arrays: Sequence[np.ndarray], at: int = 0) -> list[dict[str, Any]]:
        """Copy arrays in from an offset on; where each lies, for ``get`` on the other side."""
        places = []
        for array in arrays:
            kind, data = _plain(array)
            self._memory[at : at + data.nbytes] = data.data.cast("B") if data.nbytes else b""
            places.append({"at": at, "size": data.nbytes, "dtype": kind, "shape": array.shape})
            at += -(-data.nbytes // ALIGNED) * ALIGNED
        return places

    def hold(self) -> memoryview:
        """The memory, which stays while somebody has this, whoever closes the segment."""
        return memoryview(self._memory)

    def get(self, place: dict[str, Any]) -> np.ndarray:
        """An array where it lies, without a copy; text is read out."""
        data = memoryview(self._memory)[place["at"] : place["at"] + place["size"]]
        if place["dtype"] == TEXT:
            return np.array(json.loads(bytes(data)), object).reshape(place["shape"])
        return np.frombuffer(data, place["dtype"]).reshape(place["shape"])

    def close(self) -> None:
        """Let go of it; arrays that are still in use keep the memory until they go."""
        os.close(self.fd)
        with suppress(BufferError):
            self._memory.close()


def size_of(arrays: Sequence[np.ndarray]) -> int:
    """The bytes that ``put`` needs."""
    return sum(-(-_plain(array)[1].nbytes // ALIGNED) * ALIGNED for array in arrays)


def _plain(array: np.ndarray) -> tuple[str, np.ndarray]:
    if array.dtype.kind in "OU":
        return TEXT, np.frombuffer(json.dumps(array.tolist()).encode(), np.uint8)
    return array.dtype.str, np.ascontiguousarray(array)
