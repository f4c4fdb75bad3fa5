"""Inspect a file in a process of its own, which the HDF5 library may hang or crash.

A single wrong byte can send libhdf5 round in circles for ever, where Python cannot interrupt it
(seen: an object of length zero in a global heap). The process has the limits of ``jail.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
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
    said = ask("inspect", path, name or path.name)
    return inspection_of(said["facts"], said["config"])


def inspection_of(facts: Mapping[str, Any], config: Any) -> Inspection:
    """An inspection from what ``report`` of it said, and the config."""
    layers = [Layer(**one) for one in facts["layers"]]
    return Inspection(**{**facts, "layers": layers}, config=config)


def ask(what: str, path: Path, name: str, *more: str) -> dict[str, Any]:
    """What the child process says of a file; InvalidFile where it refuses it or does not end."""
    module = "kerasql.registry.h5.apart"
    command = [sys.executable, "-P", "-m", module, what, str(path), name, *more]
    try:
        child = subprocess.run(
            command, env=_environment(), capture_output=True, timeout=LONGEST_S + 5, check=False
        )
        said: dict[str, Any] = json.loads(child.stdout)
    except (subprocess.TimeoutExpired, ValueError, RecursionError) as error:
        raise InvalidFile(
            name,
            "it is damaged: reading it did not end, or ended the reader; download or save it again",
        ) from error
    if "refused" in said:
        kind = RefusedFile if said["refused"] else InvalidFile
        raise kind(name, said["reason"])
    return said


def _environment() -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return passed_on | {
        "KERASQL_CHILD_PARENT": str(os.getpid()),
        "KERASQL_CHILD_MEMORY_MB": str(MEMORY_MB),
        "KERASQL_CHILD_TIMEOUT_S": str(LONGEST_S),
        "OPENBLAS_NUM_THREADS": "1",
    }


def main(what: str, path: Path, name: str, *more: str) -> None:
    """In the child process: print what ``inspect`` says, or its error, as JSON.

    what is ``inspect``, or ``judge`` for what registering would make of it, where more are the
    names that code given with the file defines.
    """
    from kerasql.registry.h5.inspect import inspect
    from kerasql.registry.h5.judge import judged

    try:
        inspection = inspect(path, name)
        said: dict[str, Any] = {"facts": inspection.report()}
        if what == "inspect":
            said["config"] = inspection.config
        else:
            said["problem"], said["rewrites"] = judged(inspection, name, frozenset(more))
    except InvalidFile as error:
        said = {"refused": isinstance(error, RefusedFile), "reason": error.args[1]}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    from kerasql.registry.h5.jail import limit

    limit()
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
