"""Artifacts as files under an fsspec URL: a local folder, S3 and the like."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec

from kerasql.registry.artifacts import CHUNK_BYTES, unchanged
from kerasql.registry.errors import InvalidInput, KerasqlError, RegistryUnavailable
from kerasql.registry.version import Artifact

# S3 takes parts of at least 5 MiB, and s3fs sends one after the other: two parts of memory.
PART_BYTES = 8 * 2**20
PART = ".part"
PART_AGE_S = 86_400  # a younger one may still be written to
# A stored file, or what a killed process left of one beside it.
OURS = re.compile(r"/[0-9a-f]{2}/([0-9a-f]{64})(\.[A-Za-z0-9_]+\.part)?")
# What stands between user: and @, whatever it is made of; no port, no IPv6 host, and not the ::
# of a chained URL.
PASSWORD = re.compile(r"(://[^/:\[]*:)(?!\d+(?:[/?#]|$)|:(?:/|[\w+.-]+:)).+@")


class Folder:
    """Artifacts as files under a URL: ``<url>/<two digits>/<sha256>``.

    A file appears whole or not at all, and writing one again makes it young again.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        with _reached(url):
            self._files, self._root = fsspec.url_to_fs(url, use_listings_cache=False)

    def write(self, artifact: Artifact, path: Path) -> None:
        """Put a file here, also when it is here already."""
        whole = self._path(artifact.sha256)
        with _reached(self.url), appearing(self._files, whole) as file:
            file.writelines(unchanged(path, artifact))

    def holds(self, artifact: Artifact) -> bool:
        """Whether a file of that name and size is here."""
        with _reached(self.url):
            try:
                return bool(self._files.size(self._path(artifact.sha256)) == artifact.size_bytes)
            except FileNotFoundError:
                return False

    def read(self, sha256: str) -> Iterator[bytes]:
        """The bytes of a file, unchecked; none when it is missing."""
        with _reached(self.url):
            try:
                file = self._files.open(self._path(sha256), "rb", cache_type="none")
            except FileNotFoundError:
                return
            with file:
                while data := file.read(CHUNK_BYTES):
                    yield data

    def old_files(self, *, older_than_s: float) -> list[tuple[str, str]]:
        """(SHA-256, path) of the files here that were written longer ago."""
        with _reached(self.url):
            found = [
                (match[1], path)
                for path in self._files.find(self._root)
                if (match := OURS.fullmatch(path.removeprefix(self._root)))
            ]
            return [file for file in found if self.is_old(file[1], older_than_s=older_than_s)]

    def is_old(self, path: str, *, older_than_s: float) -> bool:
        """Whether a file was written longer ago (and is still here)."""
        if path.endswith(PART):
            older_than_s = max(older_than_s, PART_AGE_S)
        with _reached(self.url):
            try:
                written_at: datetime = self._files.modified(path)
            except FileNotFoundError:
                return False
        return datetime.now(UTC) - written_at.astimezone(UTC) >= timedelta(seconds=older_than_s)

    def remove(self, path: str) -> None:
        """Delete a file; one that is gone is fine."""
        with _reached(self.url), suppress(FileNotFoundError):
            self._files.rm_file(path)

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}"


@contextmanager
def appearing(files: Any, path: str, *, mode: int = 0o644) -> Iterator[Any]:
    """A file to write that is at its path, whole, when the block ends; not at all after an error.

    files is the fsspec file system of the path; mode is who may read a local one.
    """
    is_here = "file" in _protocols(files)
    write = _appearing_here(path, mode) if is_here else _appearing_there(files, path)
    with write as file:
        yield file


@contextmanager
def _appearing_here(path: str, mode: int) -> Iterator[Any]:
    folder, name = os.path.split(path)
    Path(folder).mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(prefix=f"{name}.", suffix=PART, dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(part).chmod(mode)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink()
        raise
    _sync_folder(folder)


@contextmanager
def _appearing_there(files: Any, path: str) -> Iterator[Any]:
    # Closing an fsspec file publishes what it holds, also after an error; autocommit=False
    # leaves that to commit().
    file = files.open(path, "wb", block_size=PART_BYTES, autocommit=False)
    try:
        yield file
        file.close()
    except BaseException:
        file.discard()
        file.forced = True  # nothing is left to flush when it is closed
        raise
    file.commit()


def folder_url(setting: str, registry_id: str) -> str:
    """The URL of this registry's own folder: registries that share a URL never sweep each other.

    Raises InvalidInput for a URL with a password: the database and messages would show it.
    """
    if PASSWORD.search(setting):
        masked = PASSWORD.sub(r"\1***@", setting)
        raise InvalidInput(
            f"the artifact URL {masked} holds a password; give it through the client's environment"
        )
    with _reached(setting):
        files, root = fsspec.url_to_fs(setting)
    here = files.unstrip_protocol(root) if "file" in _protocols(files) else setting
    return f"{here.rstrip('/')}/{registry_id}"


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else files.protocol


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _reached(url: str) -> Iterator[None]:
    try:
        yield
    except KerasqlError:
        raise
    except (ImportError, ValueError) as error:  # a protocol that fsspec does not know
        raise InvalidInput(f"artifacts cannot be kept at {url}: {error}") from error
    except Exception as error:  # whatever the client library of that protocol raises
        raise RegistryUnavailable(url, f"its artifacts cannot be reached: {error}") from error
