"""How many cores a model server may use: the fewest of what is granted, usable and paid for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kerasql.udf.server import cores


@pytest.mark.parametrize(
    ("quota", "granted", "expected"),
    [
        ("max 100000", 0, None),
        ("max 100000", 1, 1),
        ("100000 100000", 8, 1),
        ("50000 100000", 0, 1),
    ],
)
def test_the_fewest_of_granted_usable_and_paid(
    quota: str,
    granted: int,
    expected: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(cores, "CPU_MAX", tmp_path / "cpu.max")
    assert cores.cores(granted) == (expected or len(os.sched_getaffinity(0)))


def test_the_older_control_groups_are_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quota").write_text("100000")
    (tmp_path / "period").write_text("100000")
    monkeypatch.setattr(cores, "CPU_MAX", tmp_path / "none")
    monkeypatch.setattr(cores, "CPU_QUOTA", tmp_path / "quota")
    monkeypatch.setattr(cores, "CPU_PERIOD", tmp_path / "period")
    assert cores.cores() == 1
