"""The owner's own source: custom layers, the functions of Lambdas, builders; weights apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from kerasql.registry.code import defines, read_source
from kerasql.registry.errors import (
    InvalidFile,
    InvalidInput,
    RefusedFile,
    SourceFailed,
    UntrustedCode,
    WeightsMissing,
)
from kerasql.registry.store import Registry
from kerasql.udf.deploy import deploy
from kerasql.udf.query import query

LAMBDA = "def twice(x):\n    return x * 2\n"
SCALE = """
import keras


class Scale(keras.layers.Layer):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, shape):
        self.bias = self.add_weight(shape=(shape[-1],), name="bias")

    def call(self, x):
        return x * self.factor + self.bias

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
"""
BUILDER = """
import keras


def build():
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(1)]
    )
"""


@pytest.fixture
def registry(near_or_far: Registry) -> Registry:
    """On SQLite, and at a server."""
    return near_or_far


@pytest.fixture
def source(tmp_path: Path) -> Any:
    """Writes a source into a file of its own."""

    def write(text: str) -> Path:
        path = tmp_path / "code.py"
        path.write_text(text)
        return path

    return write


def answers(session: SparkSession, registry: Registry, name: str, rows: np.ndarray) -> np.ndarray:
    """What SQL answers to rows of numbers."""
    deploy(session, registry)
    table = [(n, row.tolist()) for n, row in enumerate(rows)]
    session.createDataFrame(table, ["id", "x"]).createOrReplaceTempView("numbers")
    found = query(session, f"SELECT {name}(x) FROM numbers ORDER BY id")
    return np.array(found.table.column(0).to_pylist())


def test_what_a_source_defines_is_known_without_running_it() -> None:
    text = "import os\nraise SystemExit\nclass A: ...\ndef f(): ...\ng = f\n_, h = 1, 2\nN = 3\n"
    assert defines(text) == {"A", "f", "g"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"def f(:", r"code\.py is not Python"),
        (b"\xff\xfe", "cannot be read"),
        (b"#" * 2**21, "larger than"),
    ],
)
def test_a_source_that_cannot_be_read_is_said(tmp_path: Path, text: bytes, sentence: str) -> None:
    (tmp_path / "code.py").write_bytes(text)
    with pytest.raises(InvalidInput, match=sentence):
        read_source(tmp_path / "code.py")


def test_a_lambda_needs_its_function_and_the_function_its_grant(
    registry: Registry, networks: Path, source: Any
) -> None:
    file = networks / "with_lambda.h5"
    with pytest.raises(RefusedFile, match=r"layers\[1\]\.class_name = 'Lambda' .*def twice\(x\)"):
        registry.register("m", file)
    with pytest.raises(UntrustedCode, match=r"code\.py carries Python source"):
        registry.register("m", file, code=source(LAMBDA))
    with pytest.raises(RefusedFile, match="Lambda"):
        registry.register("m", file, code=source("def other(x): ..."), trust_code=True)
    assert registry.models() == []


@pytest.mark.parametrize("engine", ["openvino", "keras"])
def test_a_given_function_stands_in_for_a_lambda(
    registry: Registry, networks: Path, source: Any, session: SparkSession, engine: str
) -> None:
    version = registry.register(
        "m", networks / "with_lambda.h5", code=source(LAMBDA), trust_code=True, engine=engine
    )
    with np.load(networks / "with_lambda.npz") as kept:
        ours = answers(session, registry, "m", kept["x0"])
        np.testing.assert_allclose(ours, kept["y0"][:, 0], atol=1e-5)
    assert registry.code("m") == LAMBDA
    assert version.artifacts.keys() >= {"model", "code", "upgraded"}


@pytest.mark.parametrize("file", ["custom.h5", "custom.keras"])
@pytest.mark.parametrize("engine", ["openvino", "keras"])
def test_a_custom_layer_is_served_with_its_source(
    registry: Registry,
    networks: Path,
    source: Any,
    session: SparkSession,
    file: str,
    engine: str,
) -> None:
    with pytest.raises(RefusedFile, match=r"'Scale' is not one of Keras' own layers; give its"):
        registry.register("m", networks / file)
    registry.register("m", networks / file, code=source(SCALE), trust_code=True, engine=engine)
    with np.load(networks / "custom.npz") as kept:
        ours = answers(session, registry, "m", kept["x0"])
        np.testing.assert_allclose(ours, kept["y0"], atol=1e-5)


@pytest.mark.parametrize("file", ["activated.h5", "activated.keras"])
def test_a_custom_function_is_served_with_its_source(
    registry: Registry, networks: Path, source: Any, session: SparkSession, file: str
) -> None:
    with pytest.raises(RefusedFile, match="double_relu"):
        registry.register("m", networks / file)
    code = source("import keras\n\n\ndef double_relu(x):\n    return keras.ops.relu(x) * 2\n")
    registry.register(
        "m", networks / file, code=code, trust_code=True, engine="keras", output="scores"
    )
    with np.load(networks / "activated.npz") as kept:
        ours = answers(session, registry, "m", kept["x0"])
        np.testing.assert_allclose(ours, kept["y0"], atol=1e-5)


def test_the_same_bytes_built_by_code_are_another_version(
    registry: Registry, networks: Path, source: Any
) -> None:
    text = BUILDER.replace('"tanh"', '"relu"')
    whole = registry.register("m", networks / "tabular.h5", code=source(text), trust_code=True)
    built = registry.register(
        "m", weights=networks / "tabular.h5", code=source(text), trust_code=True
    )
    assert (whole.number, built.number, built.existed) == (1, 2, False)


def test_other_code_is_another_version(registry: Registry, networks: Path, source: Any) -> None:
    file = networks / "with_lambda.h5"
    first = registry.register("m", file, code=source(LAMBDA), trust_code=True)
    again = registry.register("m", file, code=source(LAMBDA), trust_code=True)
    other = registry.register("m", file, code=source(LAMBDA.replace("2", "3")), trust_code=True)
    assert (first.number, again.number, again.existed, other.number) == (1, 1, True, 2)


@pytest.mark.parametrize(
    ("text", "kind", "sentence"),
    [
        ("def twice(x):\n    raise ValueError('no')", InvalidFile, "no"),
        ("import nothing_like_it\n\n\ndef twice(x): ...", SourceFailed, "nothing_like_it"),
        ("raise SystemExit(3)\n\n\ndef twice(x): ...", SourceFailed, "SystemExit"),
        ("twice = 3 + 0", InvalidInput, "defines no function 'twice'"),
    ],
)
def test_source_that_fails_is_one_sentence(
    registry: Registry, networks: Path, source: Any, text: str, kind: Any, sentence: str
) -> None:
    with pytest.raises(kind, match=sentence):
        registry.register("m", networks / "with_lambda.h5", code=source(text), trust_code=True)
    assert registry.models() == []


def test_weights_with_an_architecture_are_a_model(
    registry: Registry, networks: Path, session: SparkSession
) -> None:
    weights, architecture = networks / "only.weights.h5", networks / "only.json"
    with pytest.raises(InvalidFile, match=r"weights only.*architecture=model\.json"):
        registry.register("m", weights)
    version = registry.register("m", weights=weights, architecture=architecture)
    assert version.artifacts.keys() >= {"model", "architecture", "upgraded"}
    with np.load(networks / "only.npz") as kept:
        ours = answers(session, registry, "m", kept["x0"])
        np.testing.assert_allclose(ours, kept["y0"][:, 0], atol=1e-5)


def test_weights_with_a_builder_are_a_model(
    registry: Registry, networks: Path, source: Any, session: SparkSession
) -> None:
    with pytest.raises(InvalidFile, match="weights only"):
        registry.register(
            "m", weights=networks / "only.weights.h5", code=source(LAMBDA), trust_code=True
        )
    registry.register(
        "m", weights=networks / "only.weights.h5", code=source(BUILDER), trust_code=True
    )
    with np.load(networks / "only.npz") as kept:
        ours = answers(session, registry, "m", kept["x0"])
        np.testing.assert_allclose(ours, kept["y0"][:, 0], atol=1e-5)


def test_weights_that_do_not_fit_are_said(registry: Registry, networks: Path, source: Any) -> None:
    code = source(BUILDER.replace("Dense(5", "Dense(6"))
    with pytest.raises((InvalidFile, WeightsMissing), match="weights do not fit"):
        registry.register("m", weights=networks / "only.weights.h5", code=code, trust_code=True)


def test_a_builder_that_builds_no_model_is_said(
    registry: Registry, networks: Path, source: Any
) -> None:
    with pytest.raises(InvalidInput, match=r"build\(\) returned int, not a Keras model"):
        registry.register(
            "m",
            weights=networks / "only.weights.h5",
            code=source("def build():\n    return 3"),
            trust_code=True,
        )


def test_one_file_is_given(registry: Registry, networks: Path) -> None:
    with pytest.raises(InvalidInput, match="give one file"):
        registry.register("m")
    with pytest.raises(InvalidInput, match="give one file"):
        registry.register("m", networks / "image.h5", weights=networks / "image.h5")


def test_an_architecture_is_audited_too(registry: Registry, networks: Path, tmp_path: Path) -> None:
    config = json.loads((networks / "only.json").read_text())
    config["config"]["layers"][1]["class_name"] = "TFSMLayer"
    (tmp_path / "bad.json").write_text(json.dumps(config))
    with pytest.raises(RefusedFile, match=r"bad\.json .*layers\[1\]\.class_name = 'TFSMLayer'"):
        registry.register(
            "m", weights=networks / "only.weights.h5", architecture=tmp_path / "bad.json"
        )


def test_real_weights_with_a_builder_are_a_real_classifier(
    registry: Registry, data: Path, source: Any
) -> None:
    """Weights of tf.keras' MobileNet, by the names of its layers, in Keras 3's MobileNet."""
    weights = next((data / "pretrained").glob("*.h5"))
    text = (
        "import keras\n\n\ndef build():\n"
        "    return keras.applications.MobileNet(alpha=0.25, weights=None)\n"
    )
    version = registry.register(
        "m", weights=weights, code=source(text), trust_code=True, output="scores"
    )
    assert version.engine == "openvino"
    assert version.signature.outputs[0].shape == (1000,)
