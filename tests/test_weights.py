"""Which arrays of a file belong to which layer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from kerasql.registry.errors import WeightsMissing
from kerasql.registry.h5.weights import (
    Named,
    Unit,
    from_theano,
    owns,
    read_weights,
    shared_out,
    text_list,
)


def named(*names: str) -> Named:
    """One array per name; its only number is its place."""
    return [(name, np.array([number])) for number, name in enumerate(names)]


def places(shares: list[Named]) -> list[list[int]]:
    return [[int(array[0]) for _, array in share] for share in shares]


@pytest.mark.parametrize(
    ("layer", "weight"),
    [
        ("conv", "conv/kernel:0"),
        ("conv", "outer/conv/kernel:0"),
        ("conv", "conv_1/kernel:0"),
        ("conv", "conv_W:0"),
        ("conv", "conv_W"),
        ("a/b", "a/b/kernel:0"),
        ("lstm", "lstm/lstm_cell_3/kernel:0"),
    ],
)
def test_a_weights_name_says_whose_it_is(layer: str, weight: str) -> None:
    assert owns(layer, weight)


@pytest.mark.parametrize("weight", ["conv2/kernel:0", "my_conv/kernel:0", "convolution_W", "conv"])
def test_another_layers_weight_is_not_taken(weight: str) -> None:
    assert not owns("conv", weight)


def test_a_nested_models_arrays_are_shared_out_by_their_names() -> None:
    """Keras 2 lists what is trained first, then moving means and variances."""
    arrays = named("c/kernel:0", "c/bn/gamma:0", "c/bn/moving_mean:0", "d/kernel:0")
    units = [Unit("c", 1, 0, False), Unit("c/bn", 1, 1, False), Unit("d", 1, 0, False)]
    assert places(shared_out(arrays, units, "model")) == [[0], [1, 2], [3]]


def test_without_telling_names_keras_2s_order_holds() -> None:
    units = [Unit("conv", 2, 0, False), Unit("bn", 2, 2, False), Unit("dense", 2, 0, False)]
    shares = shared_out(named(*"abcdefgh"), units, "model")
    assert places(shares) == [[0, 1], [2, 3, 6, 7], [4, 5]]


def test_a_frozen_layers_arrays_are_listed_behind_what_is_trained() -> None:
    units = [Unit("conv", 2, 0, True), Unit("bn", 2, 2, True), Unit("dense", 2, 0, False)]
    shares = shared_out(named(*"abcdefgh"), units, "model")
    assert places(shares) == [[2, 3], [4, 5, 6, 7], [0, 1]]


def test_twins_by_name_go_by_order() -> None:
    units = [Unit("d", 1, 0, False), Unit("d", 1, 0, False)]
    assert places(shared_out(named("d/kernel:0", "d/kernel:0"), units, "model")) == [[0], [1]]


def test_too_few_arrays_are_said() -> None:
    with pytest.raises(WeightsMissing, match="has 1 arrays for it, 2 are expected"):
        shared_out(named("x"), [Unit("a", 1, 0, False), Unit("b", 1, 0, False)], "model")


def test_long_lists_of_names_lie_in_several_attributes() -> None:
    """HDF5 keeps at most 64 KiB in one: Keras writes ``layer_names0``, ``layer_names1`` …"""
    attributes = {"layer_names0": [b"a", b"b"], "layer_names1": ["c"]}
    assert text_list(attributes, "layer_names") == ["a", "b", "c"]
    assert text_list({}, "layer_names") == []


def test_states_of_random_generators_are_no_weights(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        group = file.create_group("model_weights/flip")
        file["model_weights"].attrs["layer_names"] = [b"flip"]
        group.attrs["weight_names"] = [b"flip/StateVar:0", b"flip/kernel:0"]
        group["flip/StateVar:0"], group["flip/kernel:0"] = [1, 2], [3.0]
        assert [name for name, _ in read_weights(file)["flip"]] == ["flip/kernel:0"]


def test_theano_is_known_by_its_names() -> None:
    """TensorFlow's variables end in ``:0``; Keras wrote no backend into a file before 2.0."""
    assert from_theano({"c": named("c_W", "c_b")}, None)
    assert not from_theano({"c": named("c_W:0", "c_b:0")}, None)
    assert not from_theano({}, None)
    assert from_theano({}, "theano")
    assert not from_theano({"c": named("c_W")}, "tensorflow")


A, B = [[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [1.0, 1.0]]
ROWS = np.array([[1.0, 2.0], [-3.0, 5.0]], "float32")
MEANS, VARIANCES = [1.0, 2.0], [4.0, 0.25]
NAMELESS = """
import keras


class Nameless(keras.layers.Dense):
    def __init__(self, name=None, **kwargs):
        super().__init__(**kwargs)
"""


def layer(class_name: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": name, **config}}


def dense(name: str, class_name: str = "Dense") -> dict[str, Any]:
    return layer(
        class_name, name, units=2, use_bias=False, batch_input_shape=[None, 2], dtype="float32"
    )


def inner(name: str, *layers: dict[str, Any]) -> dict[str, Any]:
    return layer("Sequential", name, layers=list(layers))


NORMALIZATION = layer("Normalization", "norm", axis=[-1], batch_input_shape=[None, None])
LINEAR = layer("Activation", "linear", activation="linear")
UNSAID = layer("Dense", "d", units=2, use_bias=False)
FILES: dict[str, tuple[list[dict[str, Any]], dict[str, list[Any]]]] = {
    "twins": ([dense("d"), dense("d")], {"d": [A], "d_1": [B]}),
    "twins_of_one_group": ([dense("d"), dense("d")], {"d": [A]}),
    "other_names": ([dense("d"), dense("e")], {"one": [A], "two": [B]}),
    "inside": ([inner("first", dense("d")), inner("then", dense("e"))], {"e": [B], "d": [A]}),
    "inside_among_twins_without_weights": (
        [inner("first", dense("d"), LINEAR), inner("then", dense("e"), LINEAR)],
        {"e": [B], "d": [A]},
    ),
    "twins_inside": ([inner("first", dense("d")), inner("then", dense("d"))], {"d": [A]}),
    "too_few": ([dense("d"), dense("e")], {"d": [A]}),
    "nameless": ([dense("own", "Nameless"), dense("d")], {"d": [B]}),
    "adapted": (
        [NORMALIZATION, UNSAID],
        {"norm": [MEANS, VARIANCES, np.int64(7)], "d": [A]},
    ),
}
"""A Sequential's layers as Keras 2 wrote them, and the arrays of each group, by case."""


def write_old(path: Path, layers: list[dict[str, Any]], groups: dict[str, list[Any]]) -> None:
    """A whole model as Keras 2 saved it."""
    config = {"class_name": "Sequential", "config": {"name": "model", "layers": layers}}
    with h5py.File(path, "w") as file:
        file.attrs.update(keras_version="2.4.0", backend="tensorflow")
        file.attrs["model_config"] = json.dumps(config)
        file.create_group("model_weights").attrs["layer_names"] = [name.encode() for name in groups]
        for name, arrays in groups.items():
            group = file.create_group(f"model_weights/{name}")
            group.attrs["weight_names"] = [f"{name}/{n}:0".encode() for n in range(len(arrays))]
            for number, array in enumerate(arrays):
                group[f"{name}/{number}:0"] = np.asarray(
                    array, "float32" if isinstance(array, list) else None
                )


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each of FILES answers to ROWS, or how it failed."""
    folder = tmp_path_factory.mktemp("files")
    for name, (layers, groups) in FILES.items():
        write_old(folder / f"{name}.h5", layers, groups)
        np.save(folder / f"{name}.npy", ROWS)
    (folder / "nameless.py").write_text(NAMELESS)
    files = [folder / f"{name}.h5" for name in FILES]
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("answers.py"), *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(FILES, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", ["twins", "other_names"])
def test_layers_whose_names_do_not_tell_get_their_arrays_in_order(
    read: dict[str, dict[str, Any]], name: str
) -> None:
    np.testing.assert_allclose(read[name]["answer"], ROWS @ A @ B, rtol=1e-6)


@pytest.mark.parametrize("name", ["inside", "inside_among_twins_without_weights"])
def test_layers_of_inner_models_get_their_arrays_by_name(
    read: dict[str, dict[str, Any]], name: str
) -> None:
    """Keras 1 listed the layers of a Sequential's branches side by side."""
    np.testing.assert_allclose(read[name]["answer"], ROWS @ A @ B, rtol=1e-6)


@pytest.mark.parametrize("name", ["twins_of_one_group", "twins_inside"])
def test_one_group_is_never_taken_for_two_layers_of_its_name(
    read: dict[str, dict[str, Any]], name: str
) -> None:
    assert "weights for 1 layers (d …), the architecture has 2" in read[name]["failed"]


def test_a_layer_without_arrays_is_said(read: dict[str, dict[str, Any]]) -> None:
    assert "'e': the Dense needs arrays of the shapes [(2, 2)]" in read["too_few"]["failed"]


def test_a_layer_of_code_that_loses_its_name_is_said(read: dict[str, dict[str, Any]]) -> None:
    assert "let Nameless.__init__ hand its name on" in read["nameless"]["failed"]


def test_an_adapted_normalization_says_the_inputs_length(read: dict[str, dict[str, Any]]) -> None:
    """tf.keras wrote no length before such a layer: the tutorials' tabular models begin so."""
    expected = (ROWS - MEANS) / np.sqrt(VARIANCES) @ A
    np.testing.assert_allclose(read["adapted"]["answer"], expected, rtol=1e-6)
