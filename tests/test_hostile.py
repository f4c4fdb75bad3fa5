"""Hostile files, one per known trick: each is refused by name, and none of them got anywhere."""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest
from tests.hostile import CONFIGS, FILES, Traps, write_h5, write_keras

from kerasql.registry.errors import InvalidFile
from kerasql.registry.store import Registry

IN_ACCESS_AND_OPEN = 0x01 | 0x20

EXAMPLE = Traps(marker=Path("/marker"), secret=Path("/secret.h5"), url="http://127.0.0.1/trap")
FIT_AN_ATTRIBUTE = [
    trick for trick, (make, _) in CONFIGS.items() if len(json.dumps(make(EXAMPLE))) < 60_000
]
"""What an attribute of HDF5 holds, at most 64 KiB; an archive holds the others too."""

Read = Callable[[Path], dict[str, Any]]


@pytest.fixture(scope="module")
def read(networks: Path) -> Iterator[Read]:
    """Read a file in a process that notes what Python does meanwhile (tests/watched.py)."""
    process = subprocess.Popen(
        [
            *(sys.executable, Path(__file__).with_name("watched.py")),
            *(networks / name for name in ("vector.h5", "image.keras", "with_lambda.h5")),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(path: Path) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        print(path, file=process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    yield ask
    process.stdin.close()
    process.stdout.close()
    process.wait()


@pytest.fixture
def traps(tmp_path: Path) -> Iterator[Traps]:
    """A marker, a secret and a server; afterwards none of them may have been touched."""
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = [1, 2, 3, 4]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        traps = Traps(
            marker=tmp_path / "marker",
            secret=secret,
            url=f"http://127.0.0.1:{server.getsockname()[1]}/trap",
        )
        accesses = watch(secret)
        yield traps
        assert not traps.marker.exists(), "code of the file ran"
        with pytest.raises(BlockingIOError):
            server.accept()
        with pytest.raises(BlockingIOError):
            os.read(accesses, 4096)
        os.close(accesses)


def watch(path: Path) -> int:
    """A descriptor with something to read once anybody, HDF5 included, has opened the file."""
    libc = ctypes.CDLL(None)
    descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert libc.inotify_add_watch(descriptor, os.fsencode(path), IN_ACCESS_AND_OPEN) >= 0
    return descriptor


def refused(read: Read, path: Path, sentence: str) -> None:
    answer = read(path)
    assert answer["refused"], "it was accepted"
    assert re.search(sentence, answer["refused"]["sentence"]), answer["refused"]["sentence"]
    assert "\n" not in answer["refused"]["sentence"]
    assert len(answer["refused"]["sentence"]) < 1000
    assert answer["events"] == []


@pytest.mark.parametrize("trick", FIT_AN_ATTRIBUTE)
def test_a_hostile_architecture_in_hdf5_is_refused_by_name(
    networks: Path, tmp_path: Path, traps: Traps, read: Read, trick: str
) -> None:
    make, sentence = CONFIGS[trick]
    refused(read, write_h5(networks, tmp_path / "trap.h5", make(traps)), sentence)


@pytest.mark.parametrize("trick", CONFIGS)
def test_a_hostile_architecture_in_an_archive_is_refused_by_name(
    networks: Path, tmp_path: Path, traps: Traps, read: Read, trick: str
) -> None:
    make, sentence = CONFIGS[trick]
    config = json.dumps(make(traps))
    path = write_keras(networks, tmp_path / "trap.keras", {"config.json": config})
    refused(read, path, sentence)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-le"])
def test_an_architecture_in_another_encoding_is_refused_as_the_same(
    networks: Path, tmp_path: Path, traps: Traps, read: Read, encoding: str
) -> None:
    make, sentence = CONFIGS["CVE-2024-3660: a Lambda's bytecode"]
    config = json.dumps(make(traps)).encode(encoding)
    path = write_keras(networks, tmp_path / "trap.keras", {"config.json": config})
    refused(read, path, f"{sentence}|not readable JSON")


@pytest.mark.parametrize("trick", FILES)
def test_a_hostile_file_is_refused_by_name(
    networks: Path, tmp_path: Path, traps: Traps, read: Read, trick: str
) -> None:
    suffix, make, sentence = FILES[trick]
    refused(read, make(networks, tmp_path / f"trap.{suffix}", traps), sentence)


@pytest.mark.parametrize(
    "trick",
    [
        "CVE-2024-3660: a Lambda's bytecode",
        "CVE-2025-1550: os.system as a class",
        "CVE-2025-12058: a vocabulary that is a file",
    ],
)
def test_a_hostile_file_is_not_registered(
    networks: Path, tmp_path: Path, traps: Traps, sqlite_registry: Registry, trick: str
) -> None:
    make, sentence = CONFIGS[trick]
    path = write_h5(networks, tmp_path / "trap.h5", make(traps))
    with pytest.raises(InvalidFile, match=sentence):
        sqlite_registry.register("trap", path)
    assert list(sqlite_registry.models()) == []


def test_there_are_many_tricks_and_every_known_cve() -> None:
    tricks = [*CONFIGS, *FILES]
    assert len(tricks) >= 100
    assert set(CONFIGS) - set(FIT_AN_ATTRIBUTE) == {"a text of megabytes"}
    for cve in (
        *("2024-3660", "2025-1550", "2025-8747", "2025-9905", "2025-9906", "2025-12058"),
        *("2025-12060", "2025-12638", "2025-49655", "2026-0897", "2026-1462", "2026-1669"),
        "2026-12480",
    ):
        assert any(f"CVE-{cve}:" in trick for trick in tricks), cve
