"""Bytes at rest, named by their SHA-256, in chunks of a few MiB and checked whenever they move.

They are in the database (here) or in files under a URL (``folder.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from sqlalchemy import Connection, insert, select

from kerasql.registry.errors import BrokenArtifact, InvalidInput, KerasqlError
from kerasql.registry.tables import ChunkRow
from kerasql.registry.version import Artifact

CHUNK_BYTES = 4 * 2**20


def artifact_of(path: Path) -> Artifact:
    """The SHA-256 and size of a file, read chunk by chunk."""
    sha256, size_bytes = hashlib.sha256(), 0
    for data in chunks_of(path):
        sha256.update(data)
        size_bytes += len(data)
    return Artifact(sha256.hexdigest(), size_bytes)


def chunks_of(path: Path) -> Iterator[bytes]:
    """The file's bytes, 4 MiB at a time."""
    with path.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            yield data


def unchanged(path: Path, artifact: Artifact) -> Iterator[bytes]:
    """The file's bytes; InvalidInput before the last of them when it is no longer that artifact."""
    wrong = InvalidInput(f"{path.name} changed while it was being registered; register it again")
    return _verified(chunks_of(path), artifact, wrong)


def checked(
    pieces: Iterable[bytes], artifact: Artifact, *, ref: str | None, role: str
) -> Iterator[bytes]:
    """The artifact's bytes; BrokenArtifact before the last of them when they are not those."""
    named = f"{role!r} ({artifact.sha256})"
    pieces = iter(pieces)
    first = next(pieces, b"")
    if artifact.size_bytes and not first:
        raise BrokenArtifact(ref, named, "is missing")
    wrong = BrokenArtifact(ref, named, "is not what was registered")
    yield from _verified(chain([first], pieces), artifact, wrong)


def _verified(pieces: Iterable[bytes], artifact: Artifact, wrong: KerasqlError) -> Iterator[bytes]:
    sha256, size_bytes, held = hashlib.sha256(), 0, b""
    for data in pieces:
        if held:
            yield held
        sha256.update(data)
        size_bytes += len(data)
        held = data
    if Artifact(sha256.hexdigest(), size_bytes) != artifact:
        raise wrong
    if held:
        yield held


def write_chunks(db: Connection, artifact: Artifact, path: Path) -> None:
    """Put a file into the database."""
    for position, data in enumerate(unchanged(path, artifact)):
        row = {"sha256": artifact.sha256, "position": position, "data": data}
        db.execute(insert(ChunkRow), row)


def read_chunk(db: Connection, sha256: str, position: int) -> bytes | None:
    """One chunk of an artifact in the database, or None behind the last."""
    data = db.scalar(
        select(ChunkRow.data).where(ChunkRow.sha256 == sha256, ChunkRow.position == position)
    )
    return data and bytes(data)
