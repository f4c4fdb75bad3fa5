"""What Keras 2 and tf.keras wrote and Keras 3 does not: one rule each, in the order they apply."""
# ruff: noqa: D103 - what a rule does and why stands in its decorator.

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from kerasql.registry.errors import NotUnderstood
from kerasql.registry.h5.upgrade.graph import Layer, Model, Ref, every_layer, replaced
from kerasql.registry.h5.upgrade.rule import Facts, Rule, rule

KERAS2: list[Rule] = []

RECURRENT = ("SimpleRNN", "LSTM", "GRU", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
MERGING = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
MOST_CELLS = 64
HARD_SIGMOID = "kerasql>hard_sigmoid"
"""``legacy.hard_sigmoid``, under the name that it is registered by."""

OTHER_NAMES = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "LSTMV1": "LSTM",
    "LSTMV2": "LSTM",
    "UnifiedLSTM": "LSTM",
    "GRUV1": "GRU",
    "GRUV2": "GRU",
    "UnifiedGRU": "GRU",
    "DenseV1": "Dense",
    "DropoutV1": "Dropout",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "Convolution2DTranspose": "Conv2DTranspose",
    "Convolution3DTranspose": "Conv3DTranspose",
    "Deconvolution2D": "Conv2DTranspose",
    "Deconvolution3D": "Conv3DTranspose",
    "SeparableConvolution1D": "SeparableConv1D",
    "SeparableConvolution2D": "SeparableConv2D",
}

OTHER_ACTIVATIONS = {
    "softmax_v2": "softmax",
    "log_softmax_v2": "log_softmax",
    "swish": "silu",
    "leaky_relu_v2": "leaky_relu",
    "tf.nn.relu": "relu",
}
"""How tf.keras wrote a function of ``tf.nn`` that was given as an activation."""

ACTIVATIONS = ("activation", "recurrent_activation", "inner_activation")

DROPPED: dict[str, tuple[Any, ...]] = {
    "batch_input_shape": (),
    "input_shape": (),
    "input_dtype": (),
    "build_input_shape": (),
    "input_spec": (),
    "weights": (),
    "implementation": (),
    "autocast": (),
    "input_length": (),
    "ragged": (False, None),
    "time_major": (False, None),
    "groups": (1, None),
    "dynamic": (False, None),
    "experimental_autocast": (),
    "expects_training_arg": (),
}
"""Arguments that Keras 3 no longer has and that change no number; with values, only those."""


def drop(layer: Layer, arguments: Iterable[str]) -> bool:
    """Take arguments away; whether one of them said something."""
    said = [layer.config.pop(one, None) is not None for one in list(arguments)]
    return any(said)


@rule(
    "", source="Keras 3.0 takes a layer's input shape from an InputLayer", into=KERAS2, custom=True
)
def shapes_that_an_input_layer_says(layer: Layer, facts: Facts) -> bool:
    if layer.class_name == "InputLayer":
        return False
    return drop(layer, ("batch_input_shape", "input_dtype", "build_input_shape"))


@rule("", source="tf.keras 2.4's Policy is Keras 3's DTypePolicy", into=KERAS2, custom=True)
def policies_by_name(layer: Layer, facts: Facts) -> bool:
    dtype = layer.config.get("dtype")
    if dtype in ("infer", "_infer", None):
        return layer.config.pop("dtype", None) is not None
    if not isinstance(dtype, Mapping):
        return False
    name = dtype.get("config", {}).get("name") if isinstance(dtype.get("config"), Mapping) else None
    layer.config.pop("dtype")
    if isinstance(name, str) and name not in ("infer", "_infer"):
        layer.config["dtype"] = name
    return True


@rule("", source="tf.keras 1.13 to 2.0 and Keras 1's names of the same layers", into=KERAS2)
def other_names_of_layers(layer: Layer, facts: Facts) -> bool:
    name = OTHER_NAMES.get(layer.class_name)
    layer.class_name = name or layer.class_name
    return name is not None


@rule(
    "initializers, regularizers and constraints are left out: they act in training only",
    source="Keras 2 and 3 write them differently",
    into=KERAS2,
)
def training_only(layer: Layer, facts: Facts) -> bool:
    if isinstance(layer, Model) or layer.class_name in ("Lambda", "operator"):
        return False
    # Trainable is kept: in which order a nested model's arrays are depends on it.
    names = [
        key
        for key in layer.config
        if key.endswith(("_initializer", "_regularizer", "_constraint"))
        or (key == "seed" and "Random" not in layer.class_name)
    ]
    return drop(layer, names)


@rule("", source="arguments of Keras 2 that Keras 3.0 removed", into=KERAS2)
def arguments_without_effect(layer: Layer, facts: Facts) -> bool:
    if layer.class_name in ("Lambda", "operator", "InputLayer"):
        return False
    gone = [
        key
        for key, values in DROPPED.items()
        if key in layer.config
        and (not values or layer.config[key] in values)
        and not (key == "groups" and layer.class_name in ("Conv1D", "Conv2D", "Conv3D"))
        and not (key == "implementation" and layer.class_name.startswith("LocallyConnected"))
    ]
    for key in gone:
        del layer.config[key]
    return bool(gone)


@rule(
    "`hard_sigmoid` kept as Keras 2 defined it",
    source="clip(0.2 x + 0.5, 0, 1) to Keras 2.15; relu6(x + 3) / 6 since Keras 3.0",
    into=KERAS2,
)
def hard_sigmoid(layer: Layer, facts: Facts) -> bool:
    changed = False
    for key in ACTIVATIONS:
        if function_name(layer.config.get(key)) in ("hard_sigmoid", "HardSigmoid"):
            layer.config[key] = HARD_SIGMOID
            changed = True
    return changed


@rule("", source="how tf.keras wrote functions of tf.nn", into=KERAS2)
def activations_of_tensorflow(layer: Layer, facts: Facts) -> bool:
    changed = False
    for key in ACTIVATIONS:
        name = function_name(layer.config.get(key))
        if name is not None and (name in OTHER_ACTIVATIONS or name != layer.config[key]):
            layer.config[key] = OTHER_ACTIVATIONS.get(name, name)
            changed = True
    return changed


def function_name(activation: Any) -> str | None:
    """The name of an activation function: as text, or as tf.keras 2.13 and later wrote one."""
    if isinstance(activation, Mapping) and activation.get("class_name") == "function":
        activation = activation.get("config")
    return activation if isinstance(activation, str) else None


@rule(
    "a layer given as an activation is kept", source="Keras 2: activation=LeakyReLU()", into=KERAS2
)
def layers_as_activations(layer: Layer, facts: Facts) -> bool:
    activation = layer.config.get("activation")
    if not isinstance(activation, Mapping) or not isinstance(activation.get("config"), Mapping):
        return False
    inner = Layer(str(activation.get("class_name")), "", "", dict(activation["config"]))
    inner.config.pop("trainable", None)
    for each in KERAS2:
        if each.apply is not layers_as_activations:
            each.apply(inner, facts)
    inner.config.pop("name", None)
    layer.config["activation"] = {
        "module": "keras.layers",
        "class_name": inner.class_name,
        "config": inner.config,
        "registered_name": None,
    }
    return True


@rule(
    "a `PReLU` given as an activation is a layer of its own, as it has weights",
    source="Keras 2: activation=PReLU()",
    into=KERAS2,
)
def weighted_activations(layer: Layer, facts: Facts) -> bool:
    return replaced(layer, is_prelu_activated, with_prelu)


def is_prelu_activated(layer: Layer) -> bool:
    """Whether a layer's activation has weights."""
    activation = layer.config.get("activation")
    return isinstance(activation, dict) and activation.get("class_name") == "PReLU"


def with_prelu(layer: Layer) -> list[Layer]:
    """The layer without its activation, and that."""
    activation = layer.config.pop("activation")
    name = f"{layer.name}_activation"
    return [layer, Layer("PReLU", name, name, activation["config"])]


@rule("", source="Keras 2.2 and tf.keras wrote the axis as a list", into=KERAS2)
def batch_normalization(layer: Layer, facts: Facts) -> bool:
    if layer.class_name != "BatchNormalization":
        return False
    axis = layer.config.get("axis", -1)
    if isinstance(axis, list) and len(axis) == 1:
        layer.config["axis"] = axis[0]
    elif isinstance(axis, list):
        # Keras 3 normalises along one axis only.
        layer.class_name = "AxesNormalization"
        layer.config.pop("momentum", None)
    for key in (
        "fused",
        "virtual_batch_size",
        "adjustment",
        "synchronized",
        "beta_regularizer",
        "mode",
    ):
        layer.config.pop(key, None)
    if layer.config.pop("renorm", None):
        kept = 2 + bool(layer.config.get("scale", True)) + bool(layer.config.get("center", True))
        layer.convert.append(lambda arrays: arrays[:kept])
    for key in ("renorm_clipping", "renorm_momentum"):
        layer.config.pop(key, None)
    return True


@rule("", source="Keras 3.0: LeakyReLU(alpha) is negative_slope", into=KERAS2)
def leaky_relu(layer: Layer, facts: Facts) -> bool:
    if layer.class_name != "LeakyReLU" or "alpha" not in layer.config:
        return False
    layer.config["negative_slope"] = number(layer.config.pop("alpha"))
    return True


@rule(
    "`ThresholdedReLU` is `ReLU(threshold)` now",
    source="Keras 3.0 removed ThresholdedReLU",
    into=KERAS2,
)
def thresholded_relu(layer: Layer, facts: Facts) -> bool:
    if layer.class_name != "ThresholdedReLU":
        return False
    layer.class_name = "ReLU"
    layer.config["threshold"] = number(layer.config.pop("theta", 1.0))
    return True


@rule("", source="Keras 2.2 wrote numbers of these layers as NumPy arrays", into=KERAS2)
def numbers_as_arrays(layer: Layer, facts: Facts) -> bool:
    if layer.class_name not in ("ReLU", "ELU", "LeakyReLU"):
        return False
    changed = False
    for key, value in layer.config.items():
        if isinstance(value, Mapping):
            layer.config[key] = number(value)
            changed = True
    return changed


def number(value: Any) -> Any:
    """A number, also where Keras 2.2 wrote ``{"type": "ndarray", "value": 0.3}``."""
    return value.get("value") if isinstance(value, Mapping) else value


@rule(
    "CuDNN's recurrent layers are the ordinary ones with the same weights",
    source="Keras 2.0.8 to tf.keras 2.15: CuDNNLSTM, CuDNNGRU",
    into=KERAS2,
)
def cudnn(layer: Layer, facts: Facts) -> bool:
    if layer.class_name not in ("CuDNNLSTM", "CuDNNGRU"):
        return False
    layer.class_name = layer.class_name.removeprefix("CuDNN")
    layer.config |= {"activation": "tanh", "recurrent_activation": "sigmoid"}
    if layer.class_name == "GRU":
        layer.config["reset_after"] = True
    units = int(layer.config.get("units", 0))
    gates = 4 if layer.class_name == "LSTM" else 3
    layer.convert.append(lambda arrays: from_cudnn(arrays, units, gates))
    return True


def from_cudnn(arrays: list[np.ndarray], units: int, gates: int) -> list[np.ndarray]:
    """kernel, recurrent kernel and the two biases of CuDNN as the ordinary layer wants them.

    CuDNN keeps each gate's matrices the other way round; its LSTM adds two biases, its GRU keeps
    them apart.
    """
    kernel, recurrent, bias = arrays
    blocks = bias.reshape(2, gates, units)
    kernel = np.hstack([k.T.reshape(k.shape, order="F") for k in np.split(kernel, gates, axis=1)])
    recurrent = np.hstack([k.T for k in np.split(recurrent, gates, axis=1)])
    bias = blocks.sum(0).reshape(-1) if gates == 4 else blocks.reshape(2, -1)
    return [kernel, recurrent, bias]


@rule(
    "`GRU` resets before the product, as Keras 2 did",
    source="Keras 2.1.0 added reset_after=False; tf.keras 2.0 and Keras 3 default to True",
    into=KERAS2,
)
def gru(layer: Layer, facts: Facts) -> bool:
    if layer.class_name not in ("GRU", "GRUCell") or "reset_after" in layer.config:
        return False
    layer.config["reset_after"] = False
    return True


@rule(
    "a stateful network starts every row from a state of zeros",
    source="stateful=True is of no use to a query, whose rows have no order",
    into=KERAS2,
)
def stateful(layer: Layer, facts: Facts) -> bool:
    return bool(layer.config.pop("stateful", False)) and layer.class_name != "operator"


@rule("", source="Keras 2.0 wrote int32, the dtype of the ids, as that of the layer", into=KERAS2)
def embedding_of_integers(layer: Layer, facts: Facts) -> bool:
    dtype = layer.config.get("dtype")
    if layer.class_name != "Embedding" or not isinstance(dtype, str) or "int" not in dtype:
        return False
    del layer.config["dtype"]
    return True


@rule("", source="Keras 3.0 removed time_major", into=KERAS2)
def time_major(layer: Layer, facts: Facts) -> bool:
    if layer.config.get("time_major"):
        raise NotUnderstood(
            layer.saved_name,
            "time_major=True is not supported: its first axis is time, where rows should be",
        )
    return False


@rule(
    "the initial state given as further inputs is the argument `initial_state`",
    source="Keras 2 and tf.keras: RNN layers called with keras tensors as initial_state",
    into=KERAS2,
)
def initial_state(layer: Layer, facts: Facts) -> bool:
    if layer.class_name not in (*RECURRENT, "Bidirectional"):
        return False
    constants = int(layer.config.get("num_constants") or 0)
    layer.config.pop("num_constants", None)
    changed = False
    for call in layer.calls:
        given = call.args[0]
        if isinstance(given, list) and len(given) > 1 and all(isinstance(g, Ref) for g in given):
            states = given[1 : len(given) - constants]
            call.args[0] = given[0]
            if states:
                call.kwargs["initial_state"] = states
            if constants:
                raise NotUnderstood(
                    layer.saved_name, "its cell takes constants, which is not supported"
                )
            changed = True
    return changed


@rule(
    "the second direction of `Bidirectional` runs against the first, whichever way that runs",
    source="Keras 2 turned go_backwards over; Keras 3.0 sets it",
    into=KERAS2,
)
def bidirectional(layer: Layer, facts: Facts) -> bool:
    inner = layer.inner.get("layer")
    if layer.class_name != "Bidirectional" or inner is None or "backward_layer" in layer.inner:
        return False
    if not inner.config.get("go_backwards") or inner.class_name not in RECURRENT:
        return False
    if sum(1 for _ in every_layer(inner)) > MOST_CELLS:
        raise NotUnderstood(layer.saved_name, f"it holds more than {MOST_CELLS} layers")
    back = copy.deepcopy(inner)
    back.config["go_backwards"] = False
    layer.inner["backward_layer"] = back
    return True


@rule("", source="tf.keras wrote the arguments of Dropout for SpatialDropout too", into=KERAS2)
def spatial_dropout(layer: Layer, facts: Facts) -> bool:
    if not layer.class_name.startswith("SpatialDropout"):
        return False
    only_1d = ["data_format"] if layer.class_name == "SpatialDropout1D" else []
    return drop(layer, ["noise_shape", *only_1d])


@rule(
    "`MultiHeadAttention` sees every step, as it did before it knew masks",
    source="tf.keras 2.10 let MultiHeadAttention take the masks of its inputs",
    into=KERAS2,
)
def attention_before_masks(layer: Layer, facts: Facts) -> bool:
    layer.unmasked = layer.class_name == "MultiHeadAttention" and facts.version < (2, 10)
    return layer.unmasked


@rule(
    "where masked tensors are merged, a step is kept that every mask keeps, as in Keras 2",
    source="Keras 3.0 keeps a step that any mask keeps",
    into=KERAS2,
)
def merged_masks(layer: Layer, facts: Facts) -> bool:
    if not facts.masks or layer.class_name not in MERGING:
        return False
    layer.class_name = f"Masked{layer.class_name}"
    return True


@rule(
    "bilinear `UpSampling2D` keeps the corners in place, as in Keras 2.2 and 2.3",
    source="tf.keras 1.14 went over to pixels' centres (tf.image.resize of TensorFlow 2)",
    into=KERAS2,
)
def corners_in_place(layer: Layer, facts: Facts) -> bool:
    is_bilinear = layer.config.get("interpolation") == "bilinear"
    if layer.class_name != "UpSampling2D" or not is_bilinear or not facts.standalone:
        return False
    layer.class_name = "CornerUpSampling2D"
    return True


@rule(
    "`TimeDistributed` works on all steps at once, as in Keras 2",
    source="Keras 3.15.1 takes the number of rows for that of steps where it is free, and hands on "
    "masks that Keras 2 asked the inner layer for",
    into=KERAS2,
)
def time_distributed(layer: Layer, facts: Facts) -> bool:
    if layer.class_name != "TimeDistributed":
        return False
    layer.class_name = "EveryStep"
    return True


@rule("", source="dropout acts in training only, but lets Keras 3 empty masked rows", into=KERAS2)
def attention_dropout(layer: Layer, facts: Facts) -> bool:
    if layer.class_name != "MultiHeadAttention" or not layer.config.get("dropout"):
        return False
    layer.config["dropout"] = 0.0
    return True


@rule("", source="Keras 3.15 cannot interpolate pictures whose size is free", into=KERAS2)
def smooth_upsampling(layer: Layer, facts: Facts) -> bool:
    smooth = layer.config.get("interpolation", "nearest") != "nearest"
    if layer.class_name != "UpSampling2D" or not smooth:
        return False
    layer.class_name = "SmoothUpSampling2D"
    return True


@rule(
    "a Lambda calls the function given for it, not the one in the file",
    source="every Keras to 3: a Lambda's function is Python bytecode",
    into=KERAS2,
)
def given_function(layer: Layer, facts: Facts) -> bool:
    return layer.class_name == "Lambda"
