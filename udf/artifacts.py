"""How artifacts leave the driver: each once, when a query first needs it."""

from __future__ import annotations

import pickle
import tempfile
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pyspark import SparkContext
from pyspark.core.broadcast import Broadcast

from kerasql.registry.store import Registry
from kerasql.registry.version import Version
from kerasql.udf.files import BroadcastFiles, Files, LocalFiles

Writer = Callable[[BinaryIO], Any]


class FileBroadcast(Broadcast[Any]):
    """A broadcast whose file holds an artifact's bytes as they are, written chunk by chunk.

    Spark's own broadcast pickles a value that must exist in memory, and unpickles it whole in
    every Python worker; an executor can open this one's file where it lies. Only where Spark
    encrypts what it writes (spark.io.encryption.enabled) the bytes travel as one pickle.
    """

    def __init__(self, context: SparkContext, writer: Writer) -> None:
        super().__init__(context, writer, context._pickled_broadcast_vars)

    def dump(self, value: Writer, f: BinaryIO) -> None:
        """Write the artifact; what was written of a broken one is removed."""
        try:
            if self._sc is not None and self._sc._encryption_enabled:
                with tempfile.TemporaryFile() as whole:
                    value(whole)
                    whole.seek(0)
                    pickle.dump(whole.read(), f, pickle.HIGHEST_PROTOCOL)
            else:
                value(f)
        except BaseException:
            Path(self._path).unlink(missing_ok=True)
            raise
        finally:
            f.close()


_sent: weakref.WeakKeyDictionary[SparkContext, dict[str, Any]] = weakref.WeakKeyDictionary()
"""The broadcasts, or the paths of files, by SHA-256."""


def executors_files(
    context: SparkContext, registry: Registry, version: Version, artifacts: Mapping[str, str]
) -> Files:
    """Bring the artifacts a plan needs to the executors; those of earlier queries are there."""
    local = is_one_process(context)
    sent = _sent.setdefault(context, {})
    for role, sha256 in artifacts.items():
        if sha256 not in sent:

            def write(file: BinaryIO, role: str = role) -> None:
                registry.copy_artifact(version, role, file)

            sent[sha256] = _written(context, write) if local else FileBroadcast(context, write)
    mine = {sha256: sent[sha256] for sha256 in artifacts.values()}
    return LocalFiles(mine) if local else BroadcastFiles(mine)


def is_one_process(context: SparkContext) -> bool:
    """Whether the driver is the executor too, and its files need no encryption."""
    # local-cluster[…] starts executors of their own.
    master = str(context.master)
    is_local = master == "local" or master.startswith("local[")
    return is_local and not context._encryption_enabled


def _written(context: SparkContext, write: Writer) -> str:
    """A file in the folder that goes with the Spark context."""
    with tempfile.NamedTemporaryFile(dir=context._temp_dir, delete=False) as file:
        try:
            write(file)  # type: ignore[arg-type]
        except BaseException:
            Path(file.name).unlink()
            raise
    return file.name
