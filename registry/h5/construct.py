"""Load an audited file in a child process, prove an engine on it, and bring back what it is.

The child has limits on memory and time, a private temporary folder, no secrets in its
environment, and dies with its parent. TensorFlow is never imported into the caller.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasql.registry import errors
from kerasql.registry.errors import ConstructFailed, InvalidFile, NotUnderstood, WeightsMissing
from kerasql.registry.h5.shown import shown
from kerasql.registry.h5.slots import slot
from kerasql.registry.settings import setting
from kerasql.registry.signature import Signature

Progress = Callable[[str], None]

LONGEST_REASON = 1000
LOG_LINE = re.compile(r"[IWE]\d{4} |WARNING: All log messages")
"""What TensorFlow logs whatever happens."""

KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Constructed:
    """A loaded model: what it takes and gives, its layers, and the engine proven on it.

    preprocess is one preprocessor as JSON per input, defaults filled in; engine_report holds
    ``engine``, ``difference`` (the largest to Keras), ``compile_s``, for an engine that was not
    used ``refused`` and why, and for bf16 ``precision``, ``bf16_difference`` and ``bf16_top1``
    (None without scores to choose from); upgrade lists what was rewritten for Keras 3 (rule,
    source, layers); files are the further artifacts by role.
    """

    signature: Signature
    preprocess: dict[str, Any]
    layers: list[dict[str, Any]]
    parameters: int
    engine: str
    engine_report: dict[str, Any]
    upgrade: list[dict[str, Any]]
    files: dict[str, Path]


def construct(
    path: Path,
    *,
    name: str,
    folder: Path,
    audited: Mapping[str, Any],
    preprocess: Mapping[str, Any] | None,
    engine: str | None,
    progress: Progress,
    precision: str = "f32",
    accept: Callable[[Signature], Any] = lambda signature: None,
) -> Constructed:
    """Load the file in a child process and bring back what it found, its files in ``folder``.

    name is what errors call the file. audited is what the audit has seen and passed: ``format``
    (h5, keras or weights), ``keras_version``, ``backend``, ``architecture`` (JSON; None where the
    code builds it) and ``code`` (the owner's source or None).
    preprocess is JSON by input name, or under ``""`` for a model with one input; engine None
    means OpenVINO where it agrees with Keras, else Keras. precision is what the engine may compute
    in, proven in f32 all the same. The child's first answer is the
    signature: accept raises for one that does not fit, before anything is compiled.
    """
    request = {
        **audited,
        "path": str(path.resolve()),
        "preprocess": preprocess,
        "engine": engine,
        "precision": precision,
    }
    (folder / "request.json").write_text(json.dumps(request))
    timeout_s = setting("KERASQL_CONSTRUCT_TIMEOUT_S")
    with slot(progress), (folder / "stderr.txt").open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "kerasql.registry.h5.jail", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=folder,
            env=_environment(folder, path.stat().st_size, timeout_s),
            start_new_session=True,
            text=True,
        )
        try:
            return _listen(child, name, folder, progress, accept)
        finally:
            _end(child)


def _listen(
    child: subprocess.Popen[str],
    name: str,
    folder: Path,
    progress: Progress,
    accept: Callable[[Signature], Any],
) -> Constructed:
    assert child.stdout is not None  # noqa: S101 - Popen was given a pipe
    for line in child.stdout:
        message = said_by(line, name)
        if "step" in message:
            progress(message["step"])
        elif "signature" in message:
            accept(Signature.from_json(message["signature"]))
        elif "invalid" in message:
            raise its_error(message, name)
        elif "failed" in message:
            raise ConstructFailed(name, message["failed"])
        elif "done" in message:
            return _constructed(message["done"], folder)
    raise ConstructFailed(name, _why_it_died(child.wait(), folder))


def said_by(line: str, name: str) -> dict[str, Any]:
    """One message of the child, in which code of the owner's may have written anything."""
    try:
        message = json.loads(line)
        if isinstance(message, dict):
            return message
    except ValueError:
        pass
    raise ConstructFailed(name, f"the process that loads it said {shown(line.strip())!r}")


def its_error(message: Mapping[str, Any], name: str) -> Exception:
    """The child's own error again, of the same kind and with the same facts."""
    kind = getattr(errors, str(message["invalid"]), None)
    if not (isinstance(kind, type) and issubclass(kind, errors.InvalidInput)):
        return ConstructFailed(name, f"it failed with {shown(message['invalid'])!r}")
    error = kind(*message.get("args", ()))
    if isinstance(error, NotUnderstood | WeightsMissing):
        return InvalidFile(name, shown(error, LONGEST_REASON))
    return error


def _constructed(done: Mapping[str, Any], folder: Path) -> Constructed:
    if any(Path(file).name != file for file in done["files"].values()):
        raise ConstructFailed(str(folder.name), "it named files outside its folder")
    return Constructed(
        signature=Signature.from_json(done["signature"]),
        preprocess=done["preprocess"],
        layers=done["layers"],
        parameters=done["parameters"],
        engine=done["engine"],
        engine_report=done["engine_report"],
        upgrade=done["upgrade"],
        files={role: folder / file for role, file in done["files"].items()},
    )


def _why_it_died(status: int, folder: Path) -> str:
    if status in (-signal.SIGXCPU, -signal.SIGALRM):
        return "it took longer than KERASQL_CONSTRUCT_TIMEOUT_S allows"
    said = (folder / "stderr.txt").read_text(errors="replace")
    if status == -signal.SIGKILL or "bad_alloc" in said or "MemoryError" in said:
        return "it needs more memory than KERASQL_CONSTRUCT_MEMORY_MB allows"
    lines = [line for line in said.splitlines() if line.strip() and not LOG_LINE.match(line)]
    last = shown(lines[-1], 200) if lines else "it said nothing"
    return f"the process that loads it died with status {status} ({last})"


def _end(child: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _environment(folder: Path, size_bytes: int, timeout_s: int) -> dict[str, str]:
    memory_mb = setting("KERASQL_CONSTRUCT_MEMORY_MB") or 8192 + 10 * size_bytes // 2**20
    return {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ} | {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "KERAS_HOME": str(folder),
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "KERASQL_CHILD_MEMORY_MB": str(memory_mb),
        "KERASQL_CHILD_TIMEOUT_S": str(timeout_s),
        "KERASQL_CHILD_PARENT": str(os.getpid()),
    }
