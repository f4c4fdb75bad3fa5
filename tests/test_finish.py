"""What an engine makes part of its network is what NumPy does to the pixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasql.registry.engine import ENGINES
from kerasql.registry.preprocess import Image
from kerasql.registry.preprocess.finish import Finish
from kerasql.registry.signature import TensorSpec

OPTIONS: dict[str, dict[str, Any]] = {
    "as they are": {},
    "unit": {"scale": "unit"},
    "tf": {"scale": "tf"},
    "caffe": {"scale": "caffe"},
    "torch": {"scale": "torch"},
    "mean and std": {"scale": "unit", "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.25, 2.0)},
    "one mean": {"mean": 3.0},
}


def pixels(given: str) -> np.ndarray:
    rng = np.random.default_rng(7)
    return rng.integers(-20 if given == "float32" else 0, 256, (3, 4, 5, 3)).astype(given)


@pytest.mark.parametrize("shape", [(4, 5, 3), (60,)], ids=str)
@pytest.mark.parametrize("given", ["uint8", "float32"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_openvino_does_the_steps(
    options: dict[str, Any], given: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    steps = Image(size=(4, 5), **options).finishing(TensorSpec("x", "float32", shape), given)
    predict = ENGINES["openvino"].load(identity(tmp_path, shape, "f32"), finish=[steps])
    (found,) = predict([pixels(given)])
    np.testing.assert_allclose(found, steps(pixels(given)), rtol=1e-6, atol=1e-5)


def test_openvino_keeps_whole_numbers_in_their_range(tmp_path: Path) -> None:
    spec = TensorSpec("x", "uint8", (4, 5, 3))
    steps = Image(size=(4, 5), like="image_dataset").finishing(spec, "float32")
    predict = ENGINES["openvino"].load(identity(tmp_path, spec.shape, "u8"), finish=[steps])
    given = pixels("float32") * 1.5
    np.testing.assert_array_equal(predict([given])[0], steps(given))
    assert steps(given).min() == 0
    assert steps(given).max() == 255


def identity(folder: Path, shape: tuple[int | None, ...], kind: str) -> dict[str, Path]:
    """The files of an OpenVINO network that hands its input on."""
    import openvino
    from openvino import opset13

    x = opset13.parameter(openvino.PartialShape([-1, *shape]), getattr(openvino.Type, kind))
    network = openvino.Model([opset13.maximum(x, x)], [x])
    files = {"openvino.xml": folder / "network.xml", "openvino.bin": folder / "network.bin"}
    openvino.serialize(network, files["openvino.xml"], files["openvino.bin"])
    return files


def test_keras_does_the_steps() -> None:
    code = f"""
import numpy as np, tensorflow as tf
from kerasql.registry.preprocess import Image
from kerasql.registry.signature import TensorSpec

for options in {list(OPTIONS.values())!r}:
    for given in ("uint8", "float32"):
        for dtype, shape in (("float32", (4, 5, 3)), ("float32", (60,)), ("uint8", (4, 5, 3))):
            if dtype == "uint8" and options:
                continue
            steps = Image(size=(4, 5), **options).finishing(TensorSpec("x", dtype, shape), given)
            rng = np.random.default_rng(7)
            rows = rng.integers(-20 if given == "float32" else 0, 290, (3, 4, 5, 3)).astype(given)
            found = np.asarray(steps.keras(tf.constant(rows)))
            assert found.dtype == dtype
            np.testing.assert_allclose(found, steps(rows), rtol=1e-6, atol=1e-5)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_steps_survive_json() -> None:
    steps = Image(size=(4, 5), scale="torch").finishing(TensorSpec("x", "float32", (4, 5, 3)))
    assert Finish.from_json(steps.to_json()) == steps
