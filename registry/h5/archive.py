"""A ``.keras`` archive: what ZIP allows and Keras never writes is refused."""

from __future__ import annotations

import io
import shutil
import stat
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from kerasql.registry.errors import InvalidFile, RefusedFile
from kerasql.registry.h5.shown import shown
from kerasql.registry.h5.structure import (
    LARGEST_TEXT_BYTES,
    MOST_EXPANSION,
    MOST_TOTAL_EXPANSION,
    SMALL_BYTES,
)

KERAS = {"config.json", "metadata.json", "model.weights.h5"}
WEIGHTS = "model.weights.h5"
LARGEST_DIRECTORY_BYTES = 4 * 2**20
LOCAL_HEADER_BYTES = 30
ENCRYPTED, UTF_8 = 1, 0x800
"""Flags of a member."""

COPIED_AT_ONCE = 2**20

OTHER_ARCHIVES = (
    ("[Content_Types].xml", "it is an Office document (Word, Excel, PowerPoint), not a model"),
    ("META-INF/MANIFEST.MF", "it is a Java archive, not a Keras model"),
    ("AndroidManifest.xml", "it is an Android app, not a Keras model"),
    ("data.pkl", "it is a PyTorch model; kerasql takes Keras models alone"),
    (
        "saved_model.pb",
        "it is a packed SavedModel folder; load it and save one file: m.save('m.h5')",
    ),
    ("model.json", "it is a packed TensorFlow.js model; export it as Keras (.h5)"),
    ("mimetype", "it is a document (OpenDocument or an e-book), not a model"),
)
"""Members, in any folder of the archive, that tell what it is."""


class _Sipped(io.BufferedReader):
    """A file that is never read whole, however large its directory says it is."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = LARGEST_DIRECTORY_BYTES
        if size > LARGEST_DIRECTORY_BYTES:
            raise zipfile.BadZipFile("its directory is too large")
        return super().read(size)


class _Window(io.RawIOBase):
    """The bytes of one stored member, read where they are."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self.file, self.start, self.size, self.position = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        self.position = base + offset
        return self.position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        self.file.seek(self.start + self.position)
        left = max(self.size - self.position, 0)
        read = self.file.readinto(memoryview(buffer)[:left])  # type: ignore[attr-defined]
        self.position += read
        return int(read)


@contextmanager
def opened(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    """The archive, when it is one of Keras' and its members are what they say."""
    with _Sipped(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        check_archive(name, archive, path.stat().st_size)
        yield archive


def check_archive(name: str, archive: zipfile.ZipFile, size: int) -> None:
    """InvalidFile for another kind of ZIP; RefusedFile for one that lies or leaves itself."""
    members = archive.infolist()
    names = [member.filename for member in members]
    if not set(names) >= KERAS:
        raise InvalidFile(name, other_archive(names))
    if twice := [one for one, times in Counter(names).items() if times > 1]:
        raise RefusedFile(name, f"it holds {shown(twice[0])!r} twice")
    for member in members:
        _check_member(name, member)
    declared = sum(member.file_size for member in members)
    if declared > max(MOST_TOTAL_EXPANSION * size, SMALL_BYTES):
        raise RefusedFile(name, f"it declares too many bytes: {declared:,} in {size:,}")
    _check_places(name, archive)


def _check_member(name: str, member: zipfile.ZipInfo) -> None:
    what = repr(shown(member.filename))
    if member.flag_bits & ENCRYPTED:
        raise RefusedFile(name, f"{what} is encrypted; kerasql asks for no password")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise RefusedFile(name, f"{what} is a link, not a file")
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in member.filename:
        raise RefusedFile(name, f"{what} leaves the archive")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RefusedFile(name, f"{what} is packed by a method that Keras does not use")
    packed = member.compress_type != zipfile.ZIP_STORED
    if not packed and member.file_size != member.compress_size:
        raise RefusedFile(name, f"{what} declares too many bytes, or too few")
    if member.file_size > MOST_EXPANSION * max(member.compress_size, 1):
        raise RefusedFile(name, f"{what} declares too many bytes: {member.file_size:,}")


def _check_places(name: str, archive: zipfile.ZipFile) -> None:
    """The first member begins the file, and none begins inside another."""
    end = 0
    for member in sorted(archive.infolist(), key=lambda one: one.header_offset):
        if end == 0 and member.header_offset != 0:
            raise RefusedFile(name, "something else lies before its first member")
        if member.header_offset < end:
            raise RefusedFile(name, f"{shown(member.filename)!r} lies inside another member")
        encoding = "utf-8" if member.flag_bits & UTF_8 else "cp437"
        header = LOCAL_HEADER_BYTES + len(member.orig_filename.encode(encoding))
        end = member.header_offset + header + member.compress_size
    if end > archive.start_dir:
        raise RefusedFile(name, "its last member lies over its directory")


def member_text(name: str, archive: zipfile.ZipFile, member: str) -> bytes:
    """A small member whole, its checksum compared."""
    if archive.getinfo(member).file_size > LARGEST_TEXT_BYTES:
        raise RefusedFile(name, f"{member!r} is larger than {LARGEST_TEXT_BYTES:,} bytes")
    with archive.open(member) as file:
        return b"".join(iter(lambda: file.read(COPIED_AT_ONCE), b""))


@contextmanager
def weights_of(archive: zipfile.ZipFile) -> Iterator[IO[bytes]]:
    """The weights as a file: where they are, or unpacked to disk when they are packed."""
    member = archive.getinfo(WEIGHTS)
    with archive.open(member) as packed:  # compares the member's own header with the directory
        if member.compress_type == zipfile.ZIP_DEFLATED:
            with tempfile.TemporaryFile(prefix="kerasql-weights-") as unpacked:
                shutil.copyfileobj(packed, unpacked, COPIED_AT_ONCE)
                yield unpacked
            return
    file = cast(BinaryIO, archive.fp)
    file.seek(member.header_offset)
    header = file.read(LOCAL_HEADER_BYTES)
    names = sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    start = member.header_offset + LOCAL_HEADER_BYTES + names
    yield cast(IO[bytes], _Window(file, start, member.file_size))


def other_archive(names: list[str]) -> str:
    """What a ZIP file is that is no ``.keras`` archive, and what to do."""
    ends = {one.rpartition("/")[2] for one in names}
    if models := [one for one in names if one.endswith((".h5", ".hdf5", ".keras"))]:
        if ends >= KERAS:
            return "it is a ZIP file of a .keras folder; zip the files in it, not the folder"
        if WEIGHTS not in ends:
            return f"it is a ZIP file with {shown(models[0])!r} inside; unpack it"
    for member, meaning in OTHER_ARCHIVES:
        if member in names or member in ends:
            return meaning
    if names and all(one.endswith(".npy") for one in names):
        return "it is a NumPy .npz file; the architecture is missing: m.save('m.h5')"
    if lost := sorted(KERAS - ends) if ends & KERAS else []:
        return f"it is a .keras archive without {lost[0]!r}; save it again: m.save('m.keras')"
    return "it is a ZIP file, but not a .keras archive"
