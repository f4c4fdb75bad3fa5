"""Architectures as Keras 1 and 2 wrote them, read into layers, calls and references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kerasql.registry.errors import NotUnderstood
from kerasql.registry.h5.upgrade import facts_of, generation, upgrade
from kerasql.registry.h5.upgrade.graph import Model, Ref, parse
from kerasql.registry.h5.upgrade.inputs import say_sizes
from kerasql.registry.h5.upgrade.rule import Facts


def dense(name: str, *inbound: Any, **config: Any) -> dict[str, Any]:
    """A Dense of a functional model, called on each of the inbound lists."""
    return {
        "class_name": "Dense",
        "name": name,
        "config": {"name": name, "units": 2, **config},
        "inbound_nodes": list(inbound),
    }


def entry(name: str = "a", shape: Any = (None, 3)) -> dict[str, Any]:
    config = {"name": name, "batch_input_shape": list(shape), "dtype": "float32"}
    return {"class_name": "InputLayer", "name": name, "config": config, "inbound_nodes": []}


def functional(*layers: Any, ends: Any, name: str = "model", begins: Any = None) -> dict[str, Any]:
    config = {
        "name": name,
        "layers": list(layers),
        "input_layers": begins or [["a", 0, 0]],
        "output_layers": ends,
    }
    return {"class_name": "Model", "config": config}


def sequential(*layers: Any, **config: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "s", "layers": list(layers), **config}}


def test_a_sequential_may_be_a_bare_list() -> None:
    """Keras to 2.2.2."""
    layer = {"class_name": "Dense", "config": {"name": "d", "units": 2}}
    model = parse({"class_name": "Sequential", "config": [layer]})
    assert (model.class_name, [one.name for one in model.layers]) == ("Sequential", ["d"])


def test_a_layer_called_several_times_has_as_many_calls() -> None:
    shared = dense("d", [["a", 0, 0, {}]], [["b", 0, 0, {}]])
    model = parse(functional(entry(), entry("b"), shared, ends=[["d", 1, 0], ["d", 0, 0]]))
    assert [call.args for call in model.layers[2].calls] == [[Ref("a", 0, 0)], [Ref("b", 0, 0)]]
    assert model.outputs == [Ref("d", 1, 0), Ref("d", 0, 0)]


def test_several_tensors_are_a_list_and_one_is_itself() -> None:
    both = dense("d", [["a", 0, 0, {}], ["b", 0, 0, {}]])
    model = parse(functional(entry(), entry("b"), both, ends=[["d", 0, 0]]))
    assert model.layers[2].calls[0].args == [[Ref("a", 0, 0), Ref("b", 0, 0)]]


def test_call_arguments_may_hold_tensors_and_plain_values() -> None:
    layer = dense("d", [["a", 0, 0, {"value": ["b", 0, 0], "training": False, "mask": None}]])
    model = parse(functional(entry(), entry("b"), layer, ends=[["d", 0, 0]]))
    assert model.layers[2].calls[0].kwargs == {"value": Ref("b", 0, 0), "training": False}


@pytest.mark.parametrize("first", [0, 1])
def test_calls_of_a_model_inside_a_model_are_counted_from_zero(first: int) -> None:
    """Keras 1 and 2 counted the making of the inner model as its call 0."""
    inner = functional(entry(), dense("d", [["a", 0, 0, {}]]), ends=[["d", 0, 0]], name="inner")
    called = {**inner, "name": "inner", "inbound_nodes": [[["a", 0, 0, {}]]]}
    model = parse(functional(entry(), called, ends=[["inner", first, 0]]))
    assert model.outputs == [Ref("inner", 0, 0)]


def test_a_model_inside_a_model_may_be_called_twice() -> None:
    inner = functional(entry(), dense("d", [["a", 0, 0, {}]]), ends=[["d", 0, 0]], name="inner")
    nodes = [[["a", 0, 0, {}]], [["b", 0, 0, {}]]]
    called = {**inner, "name": "inner", "inbound_nodes": nodes}
    model = parse(functional(entry(), entry("b"), called, ends=[["inner", 1, 0], ["inner", 2, 0]]))
    assert model.outputs == [Ref("inner", 0, 0), Ref("inner", 1, 0)]


def test_names_lose_their_slashes_and_stay_different() -> None:
    layers = [dense("c/d", [["a", 0, 0, {}]]), dense("c_d", [["c/d", 0, 0, {}]])]
    model = parse(functional(entry(), *layers, ends=[["c_d", 0, 0]]))
    assert [one.name for one in model.layers] == ["a", "c_d", "c_d_1"]
    assert [one.saved_name for one in model.layers] == ["a", "c/d", "c_d"]
    assert model.outputs == [Ref("c_d_1", 0, 0)]


def test_what_a_wrapper_holds_is_a_layer_too() -> None:
    held = {"class_name": "Dense", "config": {"name": "d", "units": 2}}
    wrapper = {"class_name": "TimeDistributed", "config": {"name": "t", "layer": held}}
    layer = parse(sequential(wrapper)).layers[0]
    assert layer.inner["layer"].class_name == "Dense"
    assert "layer" not in layer.config


def test_a_package_before_a_class_is_no_part_of_it() -> None:
    layer = {"class_name": "Addons>Twice", "config": {"name": "t"}}
    assert parse(sequential(layer)).layers[0].class_name == "Twice"


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "Dense", "config": {"name": "d"}},
        {"class_name": "Sequential", "config": "layers"},
        {"class_name": "Sequential", "config": {"layers": [3]}},
        {"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense"}]}},
        {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": {}}]},
        functional(entry(), dense("d", [["nobody", 0, 0, {}]]), ends=[["d", 0, 0]]),
        functional(entry(), dense("d", [["a", 7, 0, {}]]), ends=[["d", 0, 0]]),
        functional(entry(), dense("d", [["a", 0, -1, {}]]), ends=[["d", 0, 0]]),
        functional(entry(), entry(), ends=[["a", 0, 0]]),
        functional({**dense("d"), "inbound_nodes": "a"}, ends=[["d", 0, 0]]),
    ],
)
def test_what_no_keras_wrote_is_said(config: dict[str, Any]) -> None:
    with pytest.raises(NotUnderstood):
        upgrade(config, Facts(2))


@pytest.mark.parametrize(
    ("version", "config", "expected"),
    [
        ("1.2.2", {}, 1),
        ("2.2.4-tf", {}, 2),
        ("2.15.0", {}, 2),
        ("3.0.5", {}, 3),
        (None, {"config": [{"class_name": "Dense", "config": {"nb_filter": 3}}]}, 1),
        (None, {"config": [{"class_name": "Dense", "config": {"units": 3}}]}, 2),
        (None, {"config": {"layers": [{"config": {"batch_shape": [None, 3]}}]}}, 3),
    ],
)
def test_the_keras_that_wrote_a_file_is_known_by_version_or_by_its_words(
    version: str | None, config: dict[str, Any], expected: int
) -> None:
    assert generation(config, version) == expected


def test_keras_alone_and_tensorflows_are_told_apart() -> None:
    assert facts_of({}, "2.2.4").standalone
    assert facts_of({}, "2.3.1").standalone
    assert not facts_of({}, "2.2.4-tf").standalone
    assert not facts_of({}, "2.4.0").standalone
    assert facts_of({}, "2.15.0").version == (2, 15)


def upgraded(config: dict[str, Any]) -> Model:
    return upgrade(config, Facts(2)).model


def first_input(model: Model) -> dict[str, Any]:
    assert model.layers[0].class_name == "InputLayer"
    return model.layers[0].config


def test_a_sequential_gets_an_input_layer_from_its_first_layer() -> None:
    layer = {
        "class_name": "Dense",
        "config": {"name": "d", "batch_input_shape": [None, 3], "dtype": "float32"},
    }
    model = upgraded(sequential(layer))
    assert first_input(model) == {"batch_shape": [None, 3], "dtype": "float32"}
    assert "batch_input_shape" not in model.layers[1].config


def test_a_sequential_that_begins_with_a_model_takes_that_ones_input() -> None:
    inner = sequential(
        {"class_name": "Dense", "config": {"name": "d", "batch_input_shape": [None, 3]}}
    )
    outer = upgraded({"class_name": "Sequential", "config": {"name": "o", "layers": [inner]}})
    assert first_input(outer)["batch_shape"] == [None, 3]


def test_a_sequential_that_was_built_by_a_call_takes_its_build_input_shape() -> None:
    layer = {"class_name": "Dense", "config": {"name": "d", "units": 2}}
    found = upgrade(sequential(layer, build_input_shape=[None, 3]), Facts(2))
    assert first_input(found.model)["batch_shape"] == [None, 3]
    assert "the batch that the model was built with" in found.applied[0].rule


def test_a_fixed_batch_size_is_freed_and_said() -> None:
    model = functional(entry(shape=(32, 3)), dense("d", [["a", 0, 0, {}]]), ends=[["d", 0, 0]])
    found = upgrade(model, Facts(2))
    assert first_input(found.model)["batch_shape"] == [None, 3]
    assert [one.layers for one in found.applied if "batch size" in one.rule] == [("a",)]


def test_flags_that_are_set_stay() -> None:
    model = functional(entry(), ends=[["a", 0, 0]])
    model["config"]["layers"][0]["config"] |= {"sparse": True, "ragged": False}
    assert first_input(upgraded(model))["sparse"] is True
    assert "ragged" not in first_input(upgraded(model))


@pytest.mark.parametrize(
    ("shape", "axis", "means", "expected"),
    [
        ([None, None], [-1], [1.0, 2.0, 3.0], [None, 3]),
        ([None, None], 1, [1.0, 2.0, 3.0], [None, 3]),
        ([None, 5, None], [2], [1.0, 2.0], [None, 5, 2]),
        ([None, None, 5], [1], [1.0, 2.0], [None, None, 5]),
        ([None, None, None], [1], [1.0, 2.0], [None, None, None]),
        ([None, None], None, 1.0, [None, None]),
    ],
)
def test_the_means_of_a_first_normalization_say_the_inputs_length(
    shape: list[Any], axis: Any, means: Any, expected: list[Any]
) -> None:
    config = {"name": "n", "axis": axis, "batch_input_shape": shape}
    model = upgraded(sequential({"class_name": "Normalization", "config": config}))
    say_sizes(model, {"n": [("n/mean:0", np.array(means)), ("n/variance:0", np.array(means))]})
    assert first_input(model)["batch_shape"] == expected
    say_sizes(model, {})
    assert first_input(model)["batch_shape"] == expected
