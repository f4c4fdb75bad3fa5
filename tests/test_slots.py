"""How many models a machine loads at once."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from kerasql.registry.errors import InvalidInput
from kerasql.registry.h5.slots import slot


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "0").write_text("precious")
    (tmp_path / f"kerasql-slots-{os.getuid()}").symlink_to(victim)
    with pytest.raises(InvalidInput, match="is not a folder of yours"), slot(print):
        pass
    assert (victim / "0").read_text() == "precious"


def test_as_many_as_there_are_cores_run_and_the_next_waits() -> None:
    waited: list[str] = []
    entered = threading.Event()

    def one_more() -> None:
        with slot(waited.append):
            entered.set()

    with ExitStack() as running:
        for _ in range(os.cpu_count() or 1):
            running.enter_context(slot(waited.append))
        assert waited == []
        last = threading.Thread(target=one_more)
        last.start()
        assert not entered.wait(0.3)
    last.join(5)
    assert entered.is_set()
    assert waited == ["waiting for other registrations on this machine"]
