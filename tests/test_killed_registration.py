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


def timed_steps(running: subprocess.Popen[bytes]) -> list[tuple[bytes, float]]:
    """(what it says, seconds until it says the next) of a registration that may end by itself."""
    assert running.stdout is not None
    said = [(b"", time.monotonic())]
    said += [(line.rstrip(), time.monotonic()) for line in running.stdout]
    ends = [*(at for _, at in said[1:]), time.monotonic()]
    return [(step, end - at) for (step, at), end in zip(said, ends, strict=True)]


def kill_within(
    running: subprocess.Popen[bytes], step: bytes, delay_s: float, folder: Path
) -> bool:
    """Kill a registration a while after it says that it begins a step; whether it had a child."""
    assert running.stdout is not None
    while step and running.stdout.readline().rstrip() != step:
        assert running.poll() is None, f"it ended before it said {step!r}"
    time.sleep(delay_s)
    has_child = bool(left_alive(folder))
    running.kill()
    running.wait()
    return has_child


def test_a_registration_killed_at_any_instant_leaves_whole_versions_and_no_process(
    networks: Path, tmp_path: Path
) -> None:
    url, model = f"sqlite:///{tmp_path}/models.db", networks / "gray.h5"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    # The first one fills the machine's caches; the second one shows how long each step takes.
    start(url, model, temporary, -1).communicate(timeout=120)
    with start(url, model, temporary, 0) as whole:
        steps = timed_steps(whole)
    assert steps.pop()[0] == b"m@2"
    assert len(steps) >= 4, f"hardly any steps are said: {steps}"
    chance, seen_child = random.Random(11), 0
    for kill in range(KILLS):
        step, duration_s = steps[kill % len(steps)]
        with start(url, model, temporary, kill + 1) as running:
            delay_s = duration_s * chance.random()
            seen_child += kill_within(running, step, delay_s, temporary)
        assert wait_for_nobody(temporary) == []
        with connect(url, artifacts="") as registry:
            versions = registry.versions("m")
            assert [version.number for version in versions] == list(range(1, len(versions) + 1))
            assert len(registry.read_artifact(versions[-1], "model")) >= model.stat().st_size
    assert seen_child > KILLS / 4, "hardly a kill came while a child process was loading the model"
    said, _ = start(url, model, temporary, KILLS + 1).communicate(timeout=120)
    assert said.splitlines()[-1] == f"m@{len(versions) + 1}".encode()
    # The next registration has cleared away what the killed ones left.
    assert list(temporary.glob("kerasql-register-*")) == []
    found = check(url)
    assert found.broken == ()
    assert found.versions == len(versions) + 1
