"""A short version of ``python -m benchmarks.kills``: real kills on a real cluster."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.kills import KINDS, Outcome, Run, compare, planned

ROOT = Path(__file__).parent.parent


def test_killed_at_random_moments_a_query_has_the_rows_of_a_quiet_one() -> None:
    command = [sys.executable, "-m", "benchmarks.kills", "--runs", "6", "--files", "6"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "left when the cluster had ended: 0" in done.stdout


def test_every_kind_is_killed_as_often_while_a_quiet_run_lasts() -> None:
    runs = planned(random.Random(1), 40)
    first = [kind for run in runs for kind in {kill.kind for kill in run.kills}]
    assert all(first.count(kind) >= 10 for kind in KINDS)
    assert all(0 <= kill.share <= 1 for run in runs for kill in run.kills)
    assert {len(run.kills) for run in runs} == {1, 2}
    assert {run.remembers for run in runs} == {True, False}


@pytest.mark.parametrize(
    ("ours", "wrong"),
    [
        (("a", [0.5], None), 0),
        (("a", [0.5 + 1e-8], None), 0),
        (("a", [0.6], None), 1),
        (("b", [0.5], None), 1),
        ((None, None, "the network crashes on it (SIGKILL)"), 1),
    ],
)
def test_a_row_is_wrong_when_anything_in_it_is(
    ours: tuple[str | None, list[float] | None, str | None], wrong: int
) -> None:
    run = Run(True, ())
    compare(run, {1: ours}, {1: ("a", [0.5], None)})
    assert run.wrong == wrong
    for more in ({}, {1: ours, 2: ours}):
        missing = Run(True, ())
        compare(missing, more, {1: ours})
        assert missing.wrong == 1
    landed = Run(True, (), landed=["front"])
    assert Outcome(1, [run], [landed], []).is_kept == (not wrong)


def test_what_is_left_or_fails_or_never_happens_is_a_broken_promise() -> None:
    good, never = Run(True, (), landed=["front"]), Run(True, ())
    assert Outcome(1, [], [good], []).is_kept
    assert not Outcome(1, [], [good], ["/tmp/x"]).is_kept
    assert not Outcome(1, [], [good, Run(True, (), landed=["front"], failed="why")], []).is_kept
    assert not Outcome(1, [], [good, never, never], []).is_kept
