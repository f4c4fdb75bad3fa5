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


Rows = np.ndarray | Sequence[np.ndarray]
"""(n, …) in one array, or n arrays of the same shape and dtype."""

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

    def put(self, arrays: Sequence[Rows], at: int = 0) -> list[dict[str, Any]]:
        """Copy arrays in from an offset on; where each lies, for ``get`` on the other side."""
        places = []
        for array in arrays:
            kind, shape, size = _layout(array)
            if kind == TEXT:
                self._memory[at : at + size] = _text(array)
            elif size:
                inside = np.frombuffer(self._memory, np.uint8, size, at).view(kind).reshape(shape)
                if isinstance(array, np.ndarray):
                    np.copyto(inside, array)
                else:
                    np.stack(array, out=inside)
            places.append({"at": at, "size": size, "dtype": kind, "shape": shape})
            at += _aligned(size)
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


def size_of(arrays: Sequence[Rows]) -> int:
    """The bytes that ``put`` needs."""
    return sum(_aligned(_layout(array)[2]) for array in arrays)


def _layout(array: Rows) -> tuple[str, tuple[int, ...], int]:
    """Dtype, shape and bytes as they lie in a segment."""
    if not isinstance(array, np.ndarray):
        first = array[0]
        return first.dtype.str, (len(array), *first.shape), len(array) * first.nbytes
    if array.dtype.kind in "OU":
        return TEXT, array.shape, len(_text(array))
    return array.dtype.str, array.shape, array.nbytes


def _text(array: Rows) -> bytes:
    assert isinstance(array, np.ndarray)  # noqa: S101 - text is never apart
    return json.dumps(array.tolist()).encode()


def _aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED
