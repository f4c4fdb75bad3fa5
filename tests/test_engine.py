"""Which Keras is accepted at all."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from kerasql.registry.engine import ENGINES, OLDEST_KERAS, require_keras
from kerasql.registry.errors import UnsafeKeras


@pytest.mark.parametrize("version", ["2.15.0", "3.0.0", "3.12.1", "3.15.0", "3.15.0.dev1"])
def test_a_keras_with_known_holes_is_refused(version: str) -> None:
    with pytest.raises(UnsafeKeras, match=r"has known holes.*install Keras 3\.15\.1 or newer"):
        require_keras(version)


@pytest.mark.parametrize("version", ["3.15.1", "3.16.0", "4.0"])
def test_a_newer_keras_is_accepted(version: str) -> None:
    require_keras(version)


def test_the_project_pins_the_same_keras() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    oldest = ".".join(map(str, OLDEST_KERAS))
    assert f"keras>={oldest},<3.16" in project["project"]["dependencies"]


def test_an_engine_asks_for_what_a_version_has() -> None:
    """Versions from before files were upgraded have the file as it was given."""
    keras = ENGINES["keras"]
    assert keras.roles({"model", "golden"}) == ("model",)
    assert keras.roles({"model", "upgraded"}) == ("upgraded",)
    assert keras.roles({"model", "upgraded", "code"}) == ("upgraded", "code")
    assert "code" not in ENGINES["openvino"].roles({"model", "code", "openvino.xml"})
