"""What Keras 1.0 to 1.2 wrote and Keras 2 does not: one rule each, in the order they apply.

What a model or a wrapper holds is rewritten before it. The sources named are the modules of
Keras 1.0.7 (the first that saved whole models) to 1.2.2.
"""
# ruff: noqa: D103 - a rule's words stand in its decorator.

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import numpy as np

from kerasql.registry.errors import NotUnderstood
from kerasql.registry.h5.upgrade.graph import Layer, Model, after, replaced
from kerasql.registry.h5.upgrade.rule import Facts, Rule, rule

KERAS1: list[Rule] = []

Apply = Callable[[Layer, Facts], bool]

CHANNELS = {"th": "channels_first", "tf": "channels_last"}

CLASSES = {
    "TimeDistributedDense": "Dense",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
}
"""Layers that have another name since Keras 2.0."""

ARGUMENTS = {
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "subsample": "strides",
    "subsample_length": "strides",
    "stride": "strides",
    "border_mode": "padding",
    "pool_length": "pool_size",
    "atrous_rate": "dilation_rate",
    "bias": "use_bias",
    "inner_activation": "recurrent_activation",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
}
"""Arguments of whichever layer, Keras 1's name to Keras 2's."""

ARGUMENTS_OF = {
    "Dense": {"output_dim": "units"},
    "SimpleRNN": {"output_dim": "units"},
    "LSTM": {"output_dim": "units"},
    "GRU": {"output_dim": "units"},
    "Dropout": {"p": "rate"},
    "GaussianDropout": {"p": "rate"},
    "SpatialDropout1D": {"p": "rate"},
    "SpatialDropout2D": {"p": "rate"},
    "SpatialDropout3D": {"p": "rate"},
    "GaussianNoise": {"sigma": "stddev"},
    "MaxoutDense": {"output_dim": "units"},
    "UpSampling1D": {"length": "size"},
}
"""Arguments of one layer."""

SIZES = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
"""Arguments that are one since Keras 2.0: kernel_size."""

WITHOUT_EFFECT = ("init", "weights", "consume_less", "input_length", "input_dtype", "mode_type")
"""Arguments without effect on a prediction; those that end in ``_init`` too."""

GATES = {"LSTM": (0, 2, 1, 3), "GRU": (0, 1, 2), "ConvLSTM2D": (0, 2, 1, 3)}
"""Where Keras 3's gates stand in Keras 1's list: i, f, c, o in i, c, f, o; z, r, h as they are."""

MERGES = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum"}


def keras1(says: str, *, source: str) -> Callable[[Apply], Apply]:
    """Add a rule for files of Keras 1 only."""

    def added(apply: Apply) -> Apply:
        @wraps(apply)
        def guarded(layer: Layer, facts: Facts) -> bool:
            return facts.generation == 1 and apply(layer, facts)

        return rule(says, source=source, into=KERAS1)(guarded)

    return added


@keras1(
    "the names and arguments of Keras 1 are Keras 3's now",
    source="Keras 2.0 renamed them (legacy/interfaces.py)",
)
def names_and_arguments(layer: Layer, facts: Facts) -> bool:
    if isinstance(layer, Model) or layer.class_name in ("Lambda", "Merge"):
        return False
    before = layer.class_name, dict(layer.config)
    config = layer.config
    for names in SIZES:
        if names[0] in config:
            config["kernel_size"] = [config.pop(name) for name in names]
    if layer.class_name != "Embedding":
        config.pop("input_dim", None)
    layer.class_name = CLASSES.get(layer.class_name, layer.class_name)
    renamed = ARGUMENTS | ARGUMENTS_OF.get(layer.class_name, {})
    layer.config = {renamed.get(key, key): value for key, value in config.items()}
    if "dim_ordering" in layer.config:
        order = layer.config.pop("dim_ordering")
        order = ("th" if facts.theano else "tf") if order == "default" else order
        if not layer.class_name.startswith("SpatialDropout"):
            layer.config["data_format"] = CHANNELS.get(order, order)
    return (layer.class_name, layer.config) != before


@keras1("", source="Keras 1, recurrent.py: as many arrays as gates, unless consume_less='gpu'")
def arrays_of_gates(layer: Layer, facts: Facts) -> bool:
    held = layer.inner.get("layer")
    if layer.class_name in GATES:
        at_once = layer.config.get("consume_less") == "gpu"
        layer.arrays = 3 if at_once else 3 * len(GATES[layer.class_name])
    elif held is not None and held.arrays is not None:
        layer.arrays = held.arrays * (2 if layer.class_name == "Bidirectional" else 1)
    else:
        return False
    return True


@keras1("", source="Keras 1: arguments for the first weights and for the way of computing")
def first_weights(layer: Layer, facts: Facts) -> bool:
    if isinstance(layer, Model) or layer.class_name in ("Lambda", "Merge"):
        return False
    gone = [key for key in layer.config if key.endswith("_init") or key in WITHOUT_EFFECT]
    if layer.class_name == "Embedding":
        gone += [key for key in ("dropout",) if key in layer.config]
    for key in gone:
        del layer.config[key]
    return bool(gone)


@keras1(
    "kernels are turned from Keras 1's order of axes",
    source="Keras 2.0 stores (rows, columns, channels, filters) always (preprocess_weights_for_"
    "loading); Keras 1's dim_ordering 'th' (filters, channels, rows, columns)",
)
def kernels(layer: Layer, facts: Facts) -> bool:
    first = layer.config.get("data_format") == "channels_first"
    if layer.class_name == "Conv1D":
        length, filters = layer.config.get("kernel_size"), layer.config.get("filters")
        layer.convert.append(lambda arrays: without_columns(arrays, length, filters))
    elif layer.class_name == "Conv2DTranspose":
        layer.convert.append(turned((2, 3, 0, 1) if first else (0, 1, 3, 2)))
    elif first and layer.class_name in ("Conv2D", "SeparableConv2D"):
        layer.convert.append(turned((2, 3, 1, 0)))
    elif first and layer.class_name == "Conv3D":
        layer.convert.append(turned((2, 3, 4, 1, 0)))
    else:
        return False
    return True


def turned(axes: tuple[int, ...]) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """Transpose the kernels; biases stay."""
    return lambda arrays: [
        array.transpose(axes) if array.ndim == len(axes) else array for array in arrays
    ]


def without_columns(arrays: list[np.ndarray], length: Any, filters: Any) -> list[np.ndarray]:
    """(length, 1, channels, filters), or (filters, channels, length, 1) to 1.0.8: without the 1."""
    kernel, *rest = arrays
    if kernel.shape[:2] != (length, 1) or kernel.shape[3] != filters:
        kernel = kernel.transpose(2, 3, 1, 0)
    return [kernel[:, 0], *rest]


@keras1(
    "the size that `Deconvolution2D` was given is kept",
    source="Keras 1, convolutional.py: output_shape; Keras 2.0 computes it, 2.2.3 added "
    "output_padding",
)
def deconvolution(layer: Layer, facts: Facts) -> bool:
    config = layer.config
    shape = config.get("output_shape") if layer.class_name == "Conv2DTranspose" else None
    if not isinstance(shape, list) or len(shape) != 4:
        return False
    same = config.get("padding") == "same"
    if facts.theano and same and max(config.get("strides", (1, 1))) > 1:
        return False  # theano.py
    del config["output_shape"]
    sizes = shape[2:] if config.get("data_format") == "channels_first" else shape[1:3]
    rest = [
        beyond(size, kernel, stride, same)
        for size, kernel, stride in zip(
            sizes, config["kernel_size"], config.get("strides", (1, 1)), strict=True
        )
    ]
    if any(extra is not None for extra in rest):
        config["output_padding"] = [extra or 0 for extra in rest]
    return True


def beyond(size: int, kernel: int, stride: int, same: bool) -> int | None:
    """Keras 3's output_padding for an output of this size; None where it needs none.

    An output of one element more or less may come of the same input, by stride - 1 elements.
    """
    if same:
        extra = size - (-(-size // stride) - 1) * stride - kernel + 2 * (kernel // 2)
        usual = stride - kernel + 2 * (kernel // 2)
    else:
        extra = (size - kernel) % stride
        usual = max(stride - kernel, 0)
    return extra if extra != usual or extra < stride else None


@keras1(
    "the gates of a recurrent layer are one array, in Keras 2's order",
    source="Keras 1, recurrent.py and convolutional_recurrent.py: W, U and b of each gate; "
    "LSTM i, c, f, o, GRU z, r, h",
)
def gates(layer: Layer, facts: Facts) -> bool:
    if layer.class_name not in GATES:
        return False
    order = GATES[layer.class_name]
    if layer.class_name == "ConvLSTM2D" and layer.config.get("data_format") == "channels_first":
        layer.convert.append(turned((2, 3, 1, 0)))
    layer.convert.append(lambda arrays: joined(arrays, order))
    return True


def joined(arrays: list[np.ndarray], order: tuple[int, ...]) -> list[np.ndarray]:
    """All W, all U and all b, side by side; consume_less='gpu' wrote them so."""
    if len(arrays) != 3 * len(order):
        return arrays
    return [
        np.concatenate([arrays[3 * gate + part] for gate in order], axis=-1) for part in range(3)
    ]


@keras1(
    "`BatchNormalization` mode 1 kept: each row by its own mean",
    source="Keras 2.0 removed mode (Keras 1, normalization.py)",
)
def batch_normalization_of_rows(layer: Layer, facts: Facts) -> bool:
    if layer.class_name != "BatchNormalization":
        return False
    mode = layer.config.pop("mode", 0)
    if mode == 2:
        raise NotUnderstood(
            layer.saved_name,
            "BatchNormalization mode 2 normalises by the rows that happen to be in the same "
            "batch, so it has no answer for a row",
        )
    if mode != 1:
        return False
    layer.class_name = "SampleNormalization"
    kept = ("epsilon", "trainable", "batch_input_shape")
    layer.config = {key: layer.config[key] for key in kept if key in layer.config}
    layer.arrays = 4
    layer.convert.append(lambda arrays: arrays[:2])
    return True


@keras1(
    "`Highway` kept as Keras 1 defined it",
    source="Keras 2.0 removed Highway (Keras 1, core.py); to 1.1 its arrays were W, b, W_carry, "
    "b_carry, in 1.2 W, W_carry, b, b_carry",
)
def highway(layer: Layer, facts: Facts) -> bool:
    if layer.class_name != "Highway":
        return False
    layer.config.pop("transform_bias", None)
    layer.convert.append(kernels_first)
    return True


def kernels_first(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The matrices, then the biases."""
    return sorted(arrays, key=lambda array: -array.ndim)


@keras1(
    "the paddings of each side are Keras 3's",
    source="Keras 1.2, convolutional.py: ZeroPadding's dictionaries and four numbers",
)
def paddings(layer: Layer, facts: Facts) -> bool:
    padding = layer.config.get("padding")
    if isinstance(padding, Mapping):
        top, bottom, left, right = (
            padding.get(f"{side}_pad", 0) for side in ("top", "bottom", "left", "right")
        )
    elif isinstance(padding, list) and len(padding) == 4:
        top, bottom, left, right = padding
    else:
        return False
    if layer.class_name == "ZeroPadding2D":
        layer.config["padding"] = [[top, bottom], [left, right]]
    elif layer.class_name == "ZeroPadding1D":
        layer.config["padding"] = [left, right]
    return layer.class_name in ("ZeroPadding1D", "ZeroPadding2D")


@keras1(
    "`Merge` is the layer of its mode",
    source="Keras 2.0: Add, Multiply, Average, Maximum, Concatenate, Dot (Keras 1, topology.py)",
)
def merge(layer: Layer, facts: Facts) -> bool:
    if layer.class_name != "Merge":
        return False
    mode, config = layer.config.get("mode", "sum"), layer.config
    if config.get("mode_type", "raw") != "raw":
        raise NotUnderstood(layer.saved_name, "it merges by a Python function")
    layer.config = {}
    if mode in MERGES:
        layer.class_name = MERGES[mode]
    elif mode == "concat":
        layer.class_name, layer.config = "Concatenate", {"axis": config.get("concat_axis", -1)}
    elif mode == "dot":
        layer.class_name, layer.config = "Dot", {"axes": config.get("dot_axes", -1)}
    elif mode == "cos":
        layer.class_name = "Cosine"
    else:
        raise NotUnderstood(layer.saved_name, f"it merges by {mode!r}, which Keras 1 did not know")
    return True


@keras1(
    "`MaxoutDense` is a `Dense`, a `Reshape` and a maximum now",
    source="Keras 2.0 removed MaxoutDense (Keras 1, core.py)",
)
def maxout_dense(layer: Layer, facts: Facts) -> bool:
    return replaced(layer, lambda one: one.class_name == "MaxoutDense", as_dense)


def as_dense(layer: Layer) -> list[Layer]:
    """The maximum over nb_feature linear layers, as layers that Keras 3 has."""
    features, units = int(layer.config.pop("nb_feature", 4)), int(layer.config["units"])
    layer.class_name = "Dense"
    layer.config["units"] = features * units
    layer.convert.append(side_by_side)
    return [
        layer,
        after(layer, "Reshape", {"target_shape": [features, units]}),
        after(layer, "GlobalMaxPooling1D", {}),
    ]


def side_by_side(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """(features, inputs, units) and (features, units) as one Dense's kernel and bias."""
    kernel = arrays[0].transpose(1, 0, 2)
    return [kernel.reshape(len(kernel), -1), *(bias.reshape(-1) for bias in arrays[1:])]
