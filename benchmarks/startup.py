"""``python -m benchmarks.startup``: how long ``import kerasql`` takes, beside Python itself."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.report import machine, write

RUNS = 21


def seconds(code: str) -> float:
    """How long a fresh interpreter takes to run the code."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def main() -> None:
    """Print medians; exit code 1 where importing kerasql takes 0.1 s or more."""
    print(machine())
    timed = [(seconds("pass"), seconds("import kerasql")) for _ in range(RUNS)]
    nothing, whole = (statistics.median(column) for column in zip(*timed, strict=True))
    rows = [
        ("python -c pass", f"{nothing:.3f} s"),
        ('python -c "import kerasql"', f"{whole:.3f} s"),
    ]
    write("a fresh interpreter", ("command", f"median of {RUNS}"), rows)
    if whole >= 0.1:
        sys.exit(1)


if __name__ == "__main__":
    main()
