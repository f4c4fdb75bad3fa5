"""What was measured, beside what was promised."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.report import machine, write


@dataclass(frozen=True)
class Figure:
    """One line of the table: a value, and the least or the most it may be (None: only shown)."""

    what: str
    value: float
    unit: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the value is what was promised."""
        low = self.least is None or self.value >= self.least
        return low and (self.most is None or self.value <= self.most)

    @property
    def promise(self) -> str:
        """The promise in a table's cell."""
        if self.least is not None and self.least == self.most:
            return f"exactly {self.least:g}"
        bounds = [f"≥ {self.least:g}"] if self.least is not None else []
        bounds += [f"≤ {self.most:g}"] if self.most is not None else []
        return " and ".join(bounds)

    @property
    def kept(self) -> str:
        """Yes or NO; nothing where nothing was promised."""
        return "" if not self.promise else "yes" if self.is_kept else "NO"


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of what each round says: neighbours on a machine disturb a whole round."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def report(figures: Sequence[Figure], note: str) -> None:
    """Print the table."""
    columns = ("figure", "measured", "must be", "kept")
    rows = ((f.what, shown(f), f.promise, f.kept) for f in figures)
    write(f"{machine()}\n{note}", columns, rows)


def shown(figure: Figure) -> str:
    """The value with three figures that count, and its unit."""
    digits = 0 if figure.value >= 100 else 1 if figure.value >= 10 else 2
    return f"{figure.value:,.{digits}f} {figure.unit}".strip()


def write_json(figures: Sequence[Figure], path: Path) -> None:
    """The same for programs."""
    facts = [{**asdict(f), "kept": f.is_kept} for f in figures]
    path.write_text(json.dumps({"machine": machine(), "figures": facts}, indent=2) + "\n")


def progress(said: str) -> None:
    """One line on stderr."""
    print(said, file=sys.stderr, flush=True)
