"""Which arrays of a file belong to which layer."""

from __future__ import annotations

from pathlib import Path

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
