"""Where an executor finds the artifacts that Spark brought it. No database."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


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
        # Spark decrypted it into memory.
        with tempfile.NamedTemporaryFile(prefix="kerasql-", delete=False) as file:
            file.write(broadcast._value)
        weakref.finalize(broadcast, Path(file.name).unlink, missing_ok=True)
        return Path(file.name)


@dataclass(frozen=True)
class SessionFiles:
    """Artifacts among the files of a Spark Connect session, named by their SHA-256."""

    def path(self, sha256: str) -> Path:
        """Where Spark put the session's file on this machine."""
        from pyspark import SparkFiles

        return Path(SparkFiles.get(sha256))
