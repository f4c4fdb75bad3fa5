"""What Theano computed in another way than TensorFlow, in files of Keras 1 and 2.

To be applied after the rules of Keras 1, to what is held before what holds it. Source:
``theano_backend.py`` of Keras 1.0.7 to 2.3.1.
"""
# ruff: noqa: D103 - a rule's words stand in its decorator.

from __future__ import annotations

from typing import Any

import numpy as np

from kerasql.registry.errors import NotUnderstood
from kerasql.registry.h5.upgrade.graph import Layer, after, replaced
from kerasql.registry.h5.upgrade.rule import Facts, Rule, rule

THEANO: list[Rule] = []

CONVOLUTIONS = {"Conv1D": 1, "Conv2D": 2, "Conv3D": 3}
FLIPPED = (*CONVOLUTIONS, "Conv2DTranspose", "ConvLSTM2D")
POOLINGS = {
    "MaxPooling1D": "max",
    "MaxPooling2D": "max",
    "MaxPooling3D": "max",
    "AveragePooling1D": "average",
    "AveragePooling2D": "average",
    "AveragePooling3D": "average",
}


@rule(
    "Theano's flipped kernels turned",
    source="Theano convolves, TensorFlow correlates (Keras 2.0 to 2.3, convert_kernel); Keras "
    "turned depthwise kernels itself",
    into=THEANO,
)
def theano_kernels(layer: Layer, facts: Facts) -> bool:
    if not facts.theano or layer.class_name not in FLIPPED:
        return False
    layer.convert.append(flipped_kernels)
    return True


def flipped_kernels(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Kernels (*space, inputs, filters) turned round in space; biases stay."""
    return [
        np.flip(array, axis=tuple(range(array.ndim - 2))) if array.ndim > 2 else array
        for array in arrays
    ]


@rule(
    "Theano's padding of convolutions kept: as much in front as behind",
    source="theano_backend.py: border_mode 'half' and 'full'; TensorFlow's 'same' depends on the "
    "input's size",
    into=THEANO,
)
def theano_padding(layer: Layer, facts: Facts) -> bool:
    return facts.theano and replaced(layer, padded_otherwise, with_padding)


def padded_otherwise(layer: Layer) -> bool:
    """Whether TensorFlow would pad this convolution in another way."""
    if layer.class_name in ("SeparableConv2D", "DepthwiseConv2D"):
        if padding_of(layer) == "same":
            refuse_even(layer)
    elif layer.class_name not in CONVOLUTIONS:
        return False
    if padding_of(layer) == "full":
        return True
    even = any(size % 2 == 0 for size in reach(layer))
    return padding_of(layer) == "same" and (even or any(step > 1 for step in strides_of(layer)))


def with_padding(layer: Layer) -> list[Layer]:
    """A layer of zeros, and the convolution without padding."""
    full = padding_of(layer) == "full"
    sides = [[size - 1] * 2 if full else [size // 2, (size - 1) // 2] for size in reach(layer)]
    rank = len(sides)
    layer.config["padding"] = "valid"
    config = {"padding": sides, "data_format": data_format(layer)}
    zeros = after(layer, f"ZeroPadding{rank}D", config if rank > 1 else {"padding": sides[0]})
    return [zeros, layer]


@rule(
    "Theano's padding of transposed convolutions kept",
    source="theano_backend.py: conv2d_transpose is the gradient of border_mode 'half'",
    into=THEANO,
)
def theano_transposed_padding(layer: Layer, facts: Facts) -> bool:
    return facts.theano and replaced(layer, cropped_otherwise, with_cropping)


def cropped_otherwise(layer: Layer) -> bool:
    """Whether TensorFlow would crop this transposed convolution in another way."""
    if layer.class_name != "Conv2DTranspose" or padding_of(layer) != "same":
        return False
    return any(step > 1 for step in strides_of(layer))


def with_cropping(layer: Layer) -> list[Layer]:
    """The transposed convolution in full, and what Theano keeps of it."""
    sizes, steps = reach(layer), strides_of(layer)
    refuse_even(layer)
    shape = layer.config.pop("output_shape", None)
    if isinstance(shape, list):
        wanted = shape[2:] if data_format(layer) == "channels_first" else shape[1:3]
    else:
        wanted = steps
    extra = [missing(*each) for each in zip(wanted, sizes, steps, strict=True)]
    layer.config["padding"] = "valid"
    layer.config["output_padding"] = [max(more, 0) for more in extra]
    sides = [[size // 2, max(-more, 0)] for size, more in zip(sizes, extra, strict=True)]
    config = {"cropping": sides, "data_format": data_format(layer)}
    return [layer, after(layer, "Cropping2D", config)]


def missing(wanted: int, size: int, step: int) -> int:
    """How many elements the full result lacks behind, below 0 how many it has too many."""
    half = size // 2
    steps = (wanted + 2 * half - size) // step
    return wanted + half - size - steps * step


@rule(
    "Theano's padding in every step of a `ConvLSTM2D` kept",
    source="theano_backend.py: border_mode 'half' puts k // 2 in front, TensorFlow less for even k",
    into=THEANO,
)
def theano_recurrent_padding(layer: Layer, facts: Facts) -> bool:
    return facts.theano and replaced(layer, steps_otherwise, with_odd_kernels)


def steps_otherwise(layer: Layer) -> bool:
    """Whether TensorFlow would pad the steps of this ConvLSTM2D in another way."""
    if layer.class_name != "ConvLSTM2D":
        return False
    if padding_of(layer) == "same" and any(step > 1 for step in strides_of(layer)):
        raise NotUnderstood(layer.saved_name, "Theano padded its strides in another way")
    return any(size % 2 == 0 for size in as_list(layer.config.get("kernel_size", 1), 2))


def with_odd_kernels(layer: Layer) -> list[Layer]:
    """Kernels with a zero behind, so that they are odd; without padding, the rows get one too."""
    sizes = as_list(layer.config.get("kernel_size", 1), 2)
    more = [1 - size % 2 for size in sizes]
    layer.config["kernel_size"] = [size + one for size, one in zip(sizes, more, strict=True)]
    layer.convert.append(lambda arrays: longer(arrays, more))
    if padding_of(layer) == "same":
        return [layer]
    sides = [[0, 0], *([0, one] for one in more)]
    config = {"padding": sides, "data_format": data_format(layer)}
    return [after(layer, "ZeroPadding3D", config), layer]


def longer(arrays: list[np.ndarray], more: list[int]) -> list[np.ndarray]:
    """Kernels (rows, columns, channels, filters) with so many zeros behind."""
    width = [*((0, one) for one in more), (0, 0), (0, 0)]
    return [np.pad(array, width) if array.ndim == 4 else array for array in arrays]


def refuse_even(layer: Layer) -> None:
    """NotUnderstood for an even kernel: it is off by one from TensorFlow's."""
    if any(size % 2 == 0 for size in reach(layer)):
        raise NotUnderstood(
            layer.saved_name, "Theano padded its kernel of an even size in another way"
        )


@rule(
    "Theano's padding of poolings kept",
    source="theano_backend.py: pool2d pads k - 1 in front, k - 2 for odd k",
    into=THEANO,
)
def theano_pooling(layer: Layer, facts: Facts) -> bool:
    if not facts.theano or layer.class_name not in POOLINGS or padding_of(layer) != "same":
        return False
    config = layer.config
    rank = rank_of(layer)
    size = as_list(config.get("pool_size", 2), rank)
    steps = as_list(config.get("strides") or size, rank)
    if all(k == 1 or (k == 3 and step == 1) for k, step in zip(size, steps, strict=True)):
        return False
    layer.config = {
        "mode": POOLINGS[layer.class_name],
        "pool_size": size,
        "strides": steps,
        "data_format": data_format(layer),
    }
    layer.class_name = "TheanoPooling"
    return True


@rule(
    "Theano's `SReLU` kept",
    source="Keras 1, theano_backend.py: relu cuts at max_value what is below zero too",
    into=THEANO,
)
def theano_srelu(layer: Layer, facts: Facts) -> bool:
    if not facts.theano or layer.class_name != "SReLU":
        return False
    layer.config["cut_left"] = True
    return True


def reach(layer: Layer) -> list[int]:
    """How far a kernel reaches along each axis, dilation counted."""
    rank = rank_of(layer)
    sizes = as_list(layer.config.get("kernel_size", 1), rank)
    rates = as_list(layer.config.get("dilation_rate", 1), rank)
    return [(size - 1) * rate + 1 for size, rate in zip(sizes, rates, strict=True)]


def strides_of(layer: Layer) -> list[int]:
    """The strides along each axis."""
    return as_list(layer.config.get("strides", 1), rank_of(layer))


def rank_of(layer: Layer) -> int:
    """How many axes a row has beside the channels."""
    return int(layer.class_name.removesuffix("Transpose")[-2])


def padding_of(layer: Layer) -> Any:
    """The padding: "valid", "same" or Keras 1's "full"."""
    return layer.config.get("padding")


def data_format(layer: Layer) -> str:
    """The order of the axes; Keras 2's default is channels last."""
    return str(layer.config.get("data_format") or "channels_last")


def as_list(value: Any, rank: int) -> list[int]:
    """A number for every spatial axis."""
    return [int(one) for one in value] if isinstance(value, list | tuple) else [int(value)] * rank
