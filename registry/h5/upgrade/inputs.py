"""What goes into a model: every Sequential gets its InputLayer, in Keras 3's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerasql.registry.h5.upgrade.graph import Layer, Model, every_layer
from kerasql.registry.h5.upgrade.rule import Rule, listed
from kerasql.registry.h5.weights import Named

SHAPES = ("batch_input_shape", "batch_shape", "input_shape")


ANY_BATCH = listed(
    "a fixed batch size is any batch size now: the rows of a query come in batches of any size",
    source="Keras 2's batch_input_shape = [32, …]; stateful networks needed it",
)
FROM_BUILD = listed(
    "the input's shape is taken from the batch that the model was built with",
    source="tf.keras 2.2 to 2.15: Sequential's build_input_shape",
)


def give_inputs(model: Model, done: dict[Rule, list[str]]) -> None:
    """Give every Sequential an InputLayer where the file says its shape, in Keras 3's words."""
    for layer in list(every_layer(model)):
        if isinstance(layer, Model) and layer.class_name == "Sequential":
            add_input(layer, done)
    for layer in every_layer(model):
        if layer.class_name == "InputLayer":
            plain_input(layer, done)


def add_input(model: Model, done: dict[Rule, list[str]]) -> None:
    """An InputLayer before the first layer of a Sequential, from what that layer says."""
    first = model.layers[0] if model.layers else None
    if first is None or first.class_name == "InputLayer":
        return
    found = shape_and_dtype(first)
    if found is None and isinstance(built := model.config.get("build_input_shape"), list):
        found = built, "float32"
        done.setdefault(FROM_BUILD, []).append(model.saved_name)
    if found is None:
        return
    shape, dtype = found
    name = f"{first.name}_input"
    model.layers.insert(
        0, Layer("InputLayer", name, name, {"batch_input_shape": shape, "dtype": dtype})
    )


def shape_and_dtype(layer: Layer) -> tuple[list[Any], str] | None:
    """The input's shape, batch axis first, and dtype, as the first layer of a Sequential has it."""
    if isinstance(layer, Model):
        inner = layer.layers[0] if layer.layers else None
        if inner is None or (layer.class_name != "Sequential" and inner.class_name != "InputLayer"):
            return None
        return shape_and_dtype(inner)
    shape = next((layer.config[key] for key in SHAPES if key in layer.config), None)
    if not isinstance(shape, list):
        return None
    dtype = layer.config.get("input_dtype") or layer.config.get("dtype")
    return shape, dtype if isinstance(dtype, str) else "float32"


def plain_input(layer: Layer, done: dict[Rule, list[str]]) -> None:
    """Keras 3's arguments: batch_shape with a free batch axis, dtype, the flags that are set."""
    old = layer.config
    shape = next((list(old[key]) for key in SHAPES if isinstance(old.get(key), list)), None)
    if shape and shape[0] is not None:
        done.setdefault(ANY_BATCH, []).append(layer.saved_name)
        shape[0] = None
    dtype = old.get("dtype") or old.get("input_dtype")
    layer.config = {
        "batch_shape": shape,
        "dtype": dtype if isinstance(dtype, str) else "float32",
        **{flag: True for flag in ("sparse", "ragged") if old.get(flag)},
    }


def say_sizes(model: Model, groups: Mapping[str, Named]) -> None:
    """Tell the input of a Sequential that begins with an adapted Normalization how long it is.

    tf.keras leaves that out of the architecture; the means tell.
    """
    if model.class_name != "Sequential" or len(model.layers) < 2:
        return
    first, second, *_ = model.layers
    shape, arrays = first.config.get("batch_shape"), groups.get(second.saved_name)
    if second.class_name != "Normalization" or not arrays or not shape or shape[-1] is not None:
        return
    mean = arrays[0][1]
    if mean.ndim and second.config.get("axis") in (-1, [-1], len(shape) - 1, [len(shape) - 1]):
        first.config["batch_shape"] = [*shape[:-1], mean.shape[-1]]
