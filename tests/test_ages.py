"""Files by real old Kerases, and real models, give what their writers predicted.

``tests/history`` holds archives of small models with the predictions of the very Keras that wrote
them (``write.py`` there says how). TensorFlow stays out of this process: two others read them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from benchmarks.ages import DIFFERS, HISTORY, NOT_SUPPORTED, TOLERANCE, written_names

ROOT = Path(__file__).parent.parent
NAMES = [
    (archive.stem, name)
    for archive in sorted(HISTORY.glob("*.zip"))
    for name in written_names(zipfile.ZipFile(archive).namelist())
]


@pytest.fixture(scope="module")
def reads() -> dict[tuple[str, str], dict[str, Any]]:
    """How every file was read; two processes, as the machine has at least two cores."""
    command = [sys.executable, "-m", "benchmarks.ages", "--json", "--part"]
    parts = [
        subprocess.Popen([*command, f"{n}/2"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    lines = [line for part in parts for line in part.communicate()[0].splitlines()]
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return {(one["writer"], one["name"]): one for one in found}


def test_there_are_files_of_every_age() -> None:
    writers = {writer for writer, _ in NAMES}
    for age in ("keras-1.0", "keras-1.1", "keras-1.2", "keras-2.0", "keras-2.2", "keras-2.3"):
        assert any(writer.startswith(age) for writer in writers), age
    for age in (
        "tf.keras-1.1",
        "tf.keras-2.0",
        "tf.keras-2.4",
        "tf.keras-2.8",
        "tf.keras-2.12",
        "tf.keras-2.15",
    ):
        assert any(writer.startswith(age) for writer in writers), age
    assert len(NAMES) >= 1000


@pytest.mark.parametrize(("writer", "name"), NAMES)
def test_a_file_of_any_age_gives_what_its_writer_predicted(
    reads: dict[tuple[str, str], dict[str, Any]], writer: str, name: str
) -> None:
    read = reads[writer, name]
    reason = NOT_SUPPORTED.get((writer, name)) or NOT_SUPPORTED.get(("", name))
    if reason:
        assert not read["equal"], "it is supported now: take it off the list"
        assert reason == DIFFERS or reason in read["failed"]
        return
    assert read["failed"] is None
    assert read["equal"], f"differs by {read['difference']:.2g}"


def test_every_file_that_is_not_supported_is_there() -> None:
    known = {name for _, name in NAMES}
    assert [name for _, name in NOT_SUPPORTED if name not in known] == []


def test_real_models_give_what_keras_2_gave(
    data: Path, reads: dict[tuple[str, str], dict[str, Any]]
) -> None:
    for path in sorted((data / "h5").glob("*.h5")):
        read = reads["real files", path.name]
        assert read["failed"] is None, path.name
        if (data / "h5" / "ref" / f"{path.stem}.npz").exists():
            assert read["relative"] <= TOLERANCE, path.name


def test_the_readers_runs_are_told_the_real_models(data: Path) -> None:
    assert os.environ["KERASQL_TEST_DATA"] == str(data)
