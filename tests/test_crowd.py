"""Sixteen queries at once over six models, in memory for three: crowd.py asks them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.left_behind import left_behind

from kerasql.registry.store import connect

MODELS = 6


@pytest.fixture(scope="module")
def said(networks: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What crowd.py says, which has ended and whose temporary folder is empty."""
    folder = tmp_path_factory.mktemp("crowd")
    url, temporary = f"sqlite:///{folder}/models.db", folder / "tmp"
    temporary.mkdir()
    with connect(url, artifacts="") as registry, ThreadPoolExecutor(2) as threads:
        files = [networks / f"wide_{n}.h5" for n in range(MODELS)]
        list(threads.map(lambda file: registry.register(file.stem, file), files))
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("crowd.py"), url],
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    )
    until = time.monotonic() + 10
    while list(temporary.iterdir()) and time.monotonic() < until:
        time.sleep(0.05)
    assert list(temporary.iterdir()) == []
    assert left_behind() == []
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_query_of_many_at_once_has_the_rows_it_has_alone(said: dict[str, Any]) -> None:
    assert len(said["crowd"]) == 16
    assert len({json.dumps(rows) for rows in said["alone"].values()}) == MODELS
    for name, rows in said["crowd"]:
        alone = said["alone"][name]
        assert [row[0] for row in rows] == [row[0] for row in alone] == list(range(240))
        np.testing.assert_allclose([row[1] for row in rows], [row[1] for row in alone], atol=1e-6)


def test_networks_that_do_not_fit_leave_and_come_again(said: dict[str, Any]) -> None:
    assert said["loads"] > MODELS
    assert max(said["held"]) <= said["limit_bytes"]
    # There was room for more than one at a time, and it was used.
    assert max(said["held"]) > max(said["sizes"])
