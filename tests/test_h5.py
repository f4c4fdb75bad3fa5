"""Constructing a model from a file: what the caller learns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.test_sandbox import constructed, silent

from kerasql.registry.errors import ConstructFailed, InvalidFile, InvalidInput, InvalidLabels
from kerasql.registry.h5.construct import its_error, said_by
from kerasql.registry.h5.inspect import inspect


@pytest.mark.parametrize("file", ["compiled.keras", "compiled.h5", "compiled_inside.keras"])
def test_a_trained_model_is_accepted(networks: Path, tmp_path: Path, file: str) -> None:
    inspection = inspect(networks / file)
    built = constructed(networks / file, tmp_path, engine=None)
    assert built.engine == "openvino"
    if file != "compiled_inside.keras":
        assert inspection.training is not None


def test_the_caller_learns_signature_layers_and_engine(networks: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    built = constructed(networks / "pair.h5", tmp_path, engine=None, progress=steps.append)
    assert [(i.name, i.shape) for i in built.signature.inputs] == [("left", (3,)), ("ahead", (2,))]
    assert [o.name for o in built.signature.outputs] == ["species", "age"]
    assert built.parameters == 5 * 2 + 2 + 5 + 1
    assert built.engine == "openvino"
    assert 0 <= built.engine_report["difference"] < 1e-4
    assert {"golden", "openvino.xml", "openvino.bin"} == set(built.files)
    assert len(steps) == 3


def test_the_golden_sample_is_what_keras_answered(networks: Path, tmp_path: Path) -> None:
    built = constructed(networks / "vector.h5", tmp_path, engine=None, progress=silent)
    code = f"""
import keras, numpy as np
golden = np.load({str(built.files["golden"])!r})
model = keras.saving.load_model({str(networks / "vector.h5")!r}, compile=False)
np.testing.assert_allclose(golden["y0"], model.predict(golden["x0"], verbose=0), atol=1e-6)
assert golden["x0"].shape == (1, 4)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_engine_that_cannot_is_refused_with_its_reason(networks: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match="the engine 'openvino' cannot serve this model: .*Tensor"
    ):
        constructed(networks / "words.h5", tmp_path, engine="openvino")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [("nonsense\n", "'nonsense'"), ("[1]", r"'\[1\]'"), ("\x1b[31m", r"\\x1b")],
)
def test_what_code_writes_among_the_childs_messages_is_one_sentence(
    line: str, sentence: str
) -> None:
    with pytest.raises(ConstructFailed, match=sentence):
        said_by(line, "m.h5")


def test_only_errors_of_kerasql_come_back_from_the_child() -> None:
    assert type(its_error({"invalid": "sys", "args": []}, "m")) is ConstructFailed
    assert type(its_error({"invalid": "InvalidLabels", "args": ["no"]}, "m")) is InvalidLabels
    assert type(its_error({"invalid": "WeightsMissing", "args": ["a", "b"]}, "m")) is InvalidFile
