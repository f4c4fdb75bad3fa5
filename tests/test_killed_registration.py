"""A registration killed at any instant leaves whole versions only, and nobody alive."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
from benchmarks import peak

from kerasql.registry.check import check
from kerasql.registry.store import connect

KILLS = 16

REGISTER = """
import sys
import kerasql

url, model = sys.argv[1:]
with kerasql.connect(url, artifacts="") as registry:
    version = registry.register("m", model, progress=lambda step: print(step, flush=True))
    print(version.ref, flush=True)
"""


def start(url: str, model: Path, folder: Path, number: int) -> subprocess.Popen[bytes]:
    """A registration of a file of its own, in a process of its own."""
    mine = shutil.copyfile(model, folder.parent / f"{number}.h5")
    with h5py.File(mine, "r+") as file:
        file.attrs["number"] = number
    return subprocess.Popen(
        [sys.executable, "-c", REGISTER, url, str(mine)],
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
    )


def left_alive(folder: Path) -> list[str]:
    """The commands of processes that name the folder."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [line for line in map(peak.command_line, pids) if str(folder) in line]


def wait_for_nobody(folder: Path, timeout_s: float = 5) -> list[str]:
    until = time.monotonic() + timeout_s
    while (alive := left_alive(folder)) and time.monotonic() < until:
        time.sleep(0.02)
    return alive


def test_a_registration_killed_at_any_instant_leaves_whole_versions_and_no_process(
    networks: Path, tmp_path: Path
) -> None:
    url, model = f"sqlite:///{tmp_path}/models.db", networks / "gray.h5"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    started = time.monotonic()
    said, _ = start(url, model, temporary, 0).communicate(timeout=120)
    whole_s = time.monotonic() - started
    assert said.splitlines()[-1] == b"m@1"
    chance, last_steps, seen_child = random.Random(11), [], 0
    for kill in range(KILLS):
        with start(url, model, temporary, kill + 1) as running:
            # One instant in each part of the whole duration, so that no step is left out.
            time.sleep(whole_s * (kill + chance.random()) / KILLS)
            seen_child += bool(left_alive(temporary))
            running.kill()
            assert running.stdout is not None
            steps = running.stdout.read().splitlines()
        last_steps.append(steps[-1] if steps else b"")
        assert wait_for_nobody(temporary) == []
        with connect(url, artifacts="") as registry:
            versions = registry.versions("m")
            assert [version.number for version in versions] == list(range(1, len(versions) + 1))
            assert len(registry.read_artifact(versions[-1], "model")) >= model.stat().st_size
    assert seen_child > KILLS / 4, "hardly a kill came while a child process was loading the model"
    assert len(set(last_steps)) >= 3, f"the kills came too much alike: {last_steps}"
    said, _ = start(url, model, temporary, KILLS + 1).communicate(timeout=120)
    assert said.splitlines()[-1] == f"m@{len(versions) + 1}".encode()
    # The next registration has cleared away what the killed ones left.
    assert list(temporary.glob("kerasql-register-*")) == []
    found = check(url)
    assert found.broken == ()
    assert found.versions == len(versions) + 1
