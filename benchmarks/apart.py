"""A process that answers one question after the other, so that contestants can take turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.bench import ROOT, quiet


class Apart:
    """``python -m benchmarks.contestants KIND FOLDER`` while it runs.

    cores are those it and everything it starts may use (None: all); environment is added to
    this process's.
    """

    def __init__(
        self,
        kind: str,
        folder: Path,
        *arguments: str,
        cores: Collection[int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self._said = folder / f"{kind}.stderr"
        with self._said.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.contestants", kind, str(folder), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=ROOT,
                env={**quiet(), **surroundings(), **(environment or {})},
                # Inherited by Spark and its workers, as taskset does it.
                preexec_fn=None if cores is None else lambda: os.sched_setaffinity(0, cores),
            )
        assert self._process.stdin
        assert self._process.stdout
        self._questions, self._answers = self._process.stdin, self._process.stdout

    def ask(self, **question: Any) -> dict[str, Any]:
        """The answer; a process that died tells its last words."""
        try:
            self._questions.write(json.dumps(question) + "\n")
            self._questions.flush()
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            said = self._said.read_text(errors="replace")
            raise RuntimeError(f"{self.kind} ended:\n{said[-3000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """It ends when nobody asks any more."""
        with suppress(BrokenPipeError):
            self._questions.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()


def surroundings() -> dict[str, str]:
    """What the peers' workers need: this project on their path, and no questions to the world."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
