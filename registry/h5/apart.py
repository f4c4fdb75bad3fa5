"""Inspect a file in a process of its own, which the HDF5 library may hang or crash.

A single wrong byte can send libhdf5 round in circles for ever, where Python cannot interrupt it
(seen: an object of length zero in a global heap). The process has the limits of ``jail.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from kerasql.registry.errors import InvalidFile, RefusedFile
from kerasql.registry.h5.describe import Layer
from kerasql.registry.h5.inspection import Inspection

LONGEST_S = 20
MEMORY_MB = 3072
PASSED_ON = ("PATH", "PYTHONPATH", "TMPDIR", "LANG", "LD_LIBRARY_PATH")


def inspect_apart(path: Path, name: str | None = None) -> Inspection:
    """The same as ``inspect``; InvalidFile too where reading the file does not end."""
    name = name or path.name
    command = [sys.executable, "-P", "-m", "kerasql.registry.h5.apart", str(path), name]
    try:
        child = subprocess.run(
            command, env=_environment(), capture_output=True, timeout=LONGEST_S + 5, check=False
        )
        said = json.loads(child.stdout)
    except (subprocess.TimeoutExpired, ValueError, RecursionError) as error:
        raise InvalidFile(
            name,
            "it is damaged: reading it did not end, or ended the reader; download or save it again",
        ) from error
    if "refused" in said:
        kind = RefusedFile if said["refused"] else InvalidFile
        raise kind(name, said["reason"])
    facts: dict[str, Any] = said["facts"]
    layers = [Layer(**one) for one in facts.pop("layers")]
    return Inspection(**facts, layers=layers, config=said["config"])


def _environment() -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return passed_on | {
        "KERASQL_CHILD_PARENT": str(os.getpid()),
        "KERASQL_CHILD_MEMORY_MB": str(MEMORY_MB),
        "KERASQL_CHILD_TIMEOUT_S": str(LONGEST_S),
        "OPENBLAS_NUM_THREADS": "1",
    }


def main(path: Path, name: str) -> None:
    """In the child process: print what ``inspect`` says, or its error, as JSON."""
    from kerasql.registry.h5.inspect import inspect

    try:
        inspection = inspect(path, name)
        said = {"facts": inspection.report(), "config": inspection.config}
    except InvalidFile as error:
        said = {"refused": isinstance(error, RefusedFile), "reason": error.args[1]}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    from kerasql.registry.h5.jail import limit

    limit()
    main(Path(sys.argv[1]), sys.argv[2])
