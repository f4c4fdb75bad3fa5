"""A short version of ``python -m benchmarks.server_kills``: a real server, killed at random."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from benchmarks.server_kills import Outcome, Seen

ROOT = Path(__file__).parent.parent


def test_a_server_killed_at_random_moments_leaves_nothing_half_done() -> None:
    command = [sys.executable, "-m", "benchmarks.server_kills", "--kills", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "2 x all of it, 1 x its Python" in done.stdout


def kept(outcome: Outcome) -> bool:
    return all(yes for _, _, yes in outcome.promises())


def test_what_is_lost_wrong_or_left_is_a_broken_promise() -> None:
    seen = Seen(registered=["a"])
    assert kept(Outcome(seen=seen, states=Counter(finished=3, interrupted=1)))
    assert not kept(Outcome(seen=seen, lost=1))
    assert not kept(Outcome(seen=seen, wrong=1))
    assert not kept(Outcome(seen=seen, halves=1))
    assert not kept(Outcome(seen=seen, outlived=1))
    assert not kept(Outcome(seen=seen, left=["/tmp/x"]))
    assert not kept(Outcome(seen=seen, states=Counter(running=1)))
    assert not kept(Outcome(seen=seen, sentences=Counter(["something went wrong"])))
    assert not kept(Outcome(seen=Seen()))
