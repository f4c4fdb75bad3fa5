"""Where an executor finds the artifacts that Spark brought it. No database."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol


class Files(Protocol):
    """How artifacts reach an executor."""

    def path(self, sha256: str) -> Path:
        """A local file with that artifact's bytes, not yet checked."""


@dataclass(frozen=True)
class BroadcastFiles:
    """Artifacts as broadcasts by SHA-256: fetched once per executor, by queries that use them."""

    broadcasts: Mapping[str, Any]

    def path(self, sha256: str) -> Path:
        """The file in which Spark put the artifact on this machine."""
        broadcast = self.broadcasts[sha256]
        if not hasattr(broadcast, "_value"):
            return Path(broadcast._path)
        # Spark decrypted it into memory; a file without a name goes when this worker does.
        if sha256 not in _decrypted:
            _decrypted[sha256] = tempfile.TemporaryFile()  # noqa: SIM115 - kept open on purpose
            _decrypted[sha256].write(broadcast._value)
            _decrypted[sha256].flush()
        return Path(f"/dev/fd/{_decrypted[sha256].fileno()}")


_decrypted: dict[str, IO[bytes]] = {}


@dataclass(frozen=True)
class LocalFiles:
    """Artifacts as files of the driver, by SHA-256, where the driver is the only executor."""

    paths: Mapping[str, str]

    def path(self, sha256: str) -> Path:
        """The file that the driver wrote."""
        return Path(self.paths[sha256])


@dataclass(frozen=True)
class SessionFiles:
    """Artifacts among the files of a Spark Connect session, named by their SHA-256."""

    def path(self, sha256: str) -> Path:
        """Where Spark put the session's file on this machine."""
        from pyspark import SparkFiles

        return Path(SparkFiles.get(sha256))
