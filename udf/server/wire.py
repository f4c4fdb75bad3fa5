"""What the model server's processes say to each other: JSON, bytes, open files, in one message."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PREFIX = struct.Struct("<IQ")
MOST_FILES = 64
LARGEST_HEADER = 64 * 2**20


@dataclass(frozen=True)
class Message:
    """A header, bytes that would be too many for JSON, and descriptors of open files."""

    header: dict[str, Any]
    payload: bytearray
    files: tuple[int, ...]


def send(
    to: socket.socket,
    header: dict[str, Any],
    payload: bytes | bytearray | memoryview = b"",
    files: Sequence[int] = (),
) -> None:
    """Send one message whole. Raises ConnectionError where the other side has gone."""
    said = json.dumps(header).encode()
    first = PREFIX.pack(len(said), len(payload)) + said
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(files)}i", *files))]
    sent = to.sendmsg([first], rights if files else [])
    if sent < len(first):
        to.sendall(first[sent:])
    if payload:
        to.sendall(payload)


def receive(source: socket.socket) -> Message:
    """The next message. Raises ConnectionError at the end of the connection."""
    # The descriptors come with the first byte, and a stream never joins two of their kind.
    prefix, files, _, _ = socket.recv_fds(source, PREFIX.size, MOST_FILES)
    try:
        if not prefix:
            raise ConnectionResetError("the other side has gone")
        prefix += _exactly(source, PREFIX.size - len(prefix))
        said, more = PREFIX.unpack(prefix)
        if said > LARGEST_HEADER:
            raise ConnectionError("not a message of a model server")
        header = json.loads(bytes(_exactly(source, said)))
        return Message(header, _exactly(source, more), tuple(files))
    except BaseException:
        for file in files:
            os.close(file)
        raise


def peer(connection: socket.socket) -> tuple[int, int]:
    """(process, user) at the other end of a Unix socket, as the kernel knows them."""
    kept = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    process, user, _ = struct.unpack("3i", kept)
    return process, user


def _exactly(source: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    done = 0
    while done < size:
        count = source.recv_into(view[done:])
        if not count:
            raise ConnectionResetError("the other side has gone")
        done += count
    return data
