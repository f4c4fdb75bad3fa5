"""Convolutions whose channels are the first axis, in files of Keras 1 and 2.

To be applied after all rules that ask for data_format or put layers in the place of others.
"""
# ruff: noqa: D103 - a rule's words stand in its decorator.

from __future__ import annotations

from kerasql.registry.h5.upgrade.graph import Layer, after, replaced
from kerasql.registry.h5.upgrade.rule import Facts, Rule, rule

CHANNELS_FIRST: list[Rule] = []

RANKS = {
    "Conv1D": 1,
    "Conv2D": 2,
    "Conv3D": 3,
    "Conv1DTranspose": 1,
    "Conv2DTranspose": 2,
    "Conv3DTranspose": 3,
    "DepthwiseConv1D": 1,
    "DepthwiseConv2D": 2,
    "SeparableConv1D": 1,
    "SeparableConv2D": 2,
    "ConvLSTM1D": 2,
    "ConvLSTM2D": 3,
    "ConvLSTM3D": 4,
}
"""How many axes the input has beside rows and channels."""


@rule(
    "convolutions with the channels first run with the channels last, their inputs and outputs "
    "turned",
    source="Keras 3.15, backend/tensorflow/numpy.py: add takes a bias (1, n, 1, 1) for one of the "
    "last axis where that has n elements too; and TensorFlow's CPU has no 3D convolution for it",
    into=CHANNELS_FIRST,
)
def channels_first(layer: Layer, facts: Facts) -> bool:
    return replaced(layer, has_channels_first, between_permutations)


def has_channels_first(layer: Layer) -> bool:
    """Whether a layer is such a convolution, called on one tensor and giving one."""
    return (
        layer.class_name in RANKS
        and layer.config.get("data_format") == "channels_first"
        and not layer.config.get("return_state")
        and not any(call.kwargs.keys() - {"training"} for call in layer.calls)
    )


def between_permutations(layer: Layer) -> list[Layer]:
    """The layer with the channels last between two that turn the axes."""
    rank = RANKS[layer.class_name]
    steps = [1] if layer.class_name.startswith("ConvLSTM") else []
    channels, *space = range(len(steps) + 1, rank + 2)
    layer.config["data_format"] = "channels_last"
    turn = after(layer, "Permute", {"dims": [*steps, *space, channels]})
    turn.name = f"{layer.name}_channels_last"
    if steps and not layer.config.get("return_sequences"):
        steps, rank = [], rank - 1
    first, last = len(steps) + 1, rank + 1
    back = after(layer, "Permute", {"dims": [*steps, last, *range(first, last)]})
    back.name = f"{layer.name}_channels_first"
    return [turn, layer, back]
