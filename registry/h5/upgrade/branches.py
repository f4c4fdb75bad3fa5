"""What a model of Keras 1 leaves unsaid, before the rules look at one layer after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial

from kerasql.registry.errors import NotUnderstood
from kerasql.registry.h5.upgrade.graph import (
    Call,
    Layer,
    Model,
    Ref,
    every_layer,
    layer_of,
    mapped,
)
from kerasql.registry.h5.upgrade.inputs import shape_and_dtype
from kerasql.registry.h5.upgrade.rule import Facts, Rule, listed

BRANCHES = listed(
    "a Sequential that begins with merged branches is a graph with an input for each",
    source="Keras 1.0 to 1.2: Sequential([Merge([left, right])]), models.py",
)


ORDER_OF_AXES = listed(
    "layers whose order of axes the file does not say take their neighbours'",
    source="Keras 1.0 to 1.2, convolutional.py: get_config of ZeroPadding2D, Cropping2D, "
    "UpSampling2D and their 3D forms leaves dim_ordering out",
)

SILENT = (
    "ZeroPadding2D",
    "ZeroPadding3D",
    "Cropping2D",
    "Cropping3D",
    "UpSampling2D",
    "UpSampling3D",
)
"""Layers that have a dim_ordering and whose get_config left it out."""


def prepare_keras1(model: Model, facts: Facts, done: dict[Rule, list[str]]) -> None:
    """Join branches and say the order of axes, in a file of Keras 1. Before ``give_inputs``."""
    if facts.generation == 1:
        join_branches(model, done)
        find_inputs(model)
        say_order_of_axes(model, facts, done)


def find_inputs(model: Model) -> None:
    """Let each model begin at its InputLayers.

    A layer that gave its input itself back, as Activation("linear") did, was named in their place.
    """
    for one in every_layer(model):
        if isinstance(one, Model) and one.class_name == "Functional":
            layers = {layer.name: layer for layer in one.layers}
            one.inputs = mapped(partial(origin, layers), one.inputs)


def origin(layers: Mapping[str, Layer], ref: Ref) -> Ref:
    """The tensor that came in where this one came out unchanged."""
    layer = layers[ref.layer]
    if layer.config.get("activation") == "linear" and layer.class_name == "Activation":
        given = layer.calls[ref.call].args[0]
        return origin(layers, given) if isinstance(given, Ref) else ref
    return ref


def say_order_of_axes(model: Model, facts: Facts, done: dict[Rule, list[str]]) -> None:
    """Give layers that do not say their dim_ordering the one that most others have."""
    layers = list(every_layer(model))
    said = Counter(layer.config.get("dim_ordering") for layer in layers)
    silent = [
        one for one in layers if one.class_name in SILENT and "dim_ordering" not in one.config
    ]
    if silent and not said["tf"] + said["th"]:
        raise NotUnderstood(
            silent[0].saved_name,
            "the file does not say which axis its channels are on (dim_ordering); "
            "add it to its to_json() and give that as the architecture",
        )
    common = max(("tf", "th"), key=lambda order: (said[order], (order == "th") == facts.theano))
    for layer in silent:
        layer.config["dim_ordering"] = common
        if common == "th":
            done.setdefault(ORDER_OF_AXES, []).append(layer.saved_name)


def join_branches(model: Model, done: dict[Rule, list[str]]) -> None:
    """Make a Functional of every Sequential that begins with a Merge of branches.

    The branches' layers become the model's own, in the order
    of Keras 1's ``flattened_layers``: so their weights lie in the file.
    """
    for layer in list(every_layer(model)):
        if isinstance(layer, Model) and layer.class_name == "Sequential" and begins_merged(layer):
            done.setdefault(BRANCHES, []).append(layer.saved_name)
            graph = _Graph()
            layer.outputs = [graph.sequential(layer)]
            layer.inputs = graph.inputs
            layer.layers = list(graph.layers.values())
            layer.class_name = "Functional"


def begins_merged(model: Model) -> bool:
    """Whether the first layer is a Merge that holds its branches."""
    first = model.layers[0] if model.layers else None
    return first is not None and first.class_name == "Merge" and "layers" in first.config


class _Graph:
    """Collects the layers of the branches and calls them."""

    def __init__(self) -> None:
        self.layers: dict[str, Layer] = {}
        self.inputs: list[Ref] = []

    def sequential(self, model: Model) -> Ref:
        """The last tensor of a chain of layers."""
        if not model.layers:
            raise NotUnderstood(model.saved_name, "a branch has no layers")
        first, *rest = model.layers
        end = self.merged(first) if begins_merged(model) else self.begun(first)
        for layer in rest:
            end = self.called(layer, end)
        return end

    def merged(self, merge: Layer) -> Ref:
        nodes = merge.config.pop("layers")
        if not isinstance(nodes, list):
            raise NotUnderstood(merge.saved_name, "its branches are no list")
        place = f"{merge.saved_name}.layers"
        return self.called(
            merge, [self.branch(layer_of(node, f"{place}[{n}]")) for n, node in enumerate(nodes)]
        )

    def branch(self, layer: Layer) -> Ref:
        """The last tensor of a branch: of a Sequential, a Functional, or one layer."""
        if not isinstance(layer, Model):
            return self.begun(layer)
        if layer.class_name == "Sequential":
            return self.sequential(layer)
        self.layers |= {one.name: one for one in layer.layers}
        mapped(self.inputs.append, layer.inputs)
        outputs: list[Ref] = []
        mapped(outputs.append, layer.outputs)
        if len(outputs) != 1:
            raise NotUnderstood(layer.saved_name, f"a branch has {len(outputs)} outputs, not one")
        return outputs[0]

    def begun(self, layer: Layer) -> Ref:
        """The tensor of a branch's first layer, called on an input of its own."""
        if layer.name in self.layers:
            # Two branches begin with one layer: Keras 1 gave them one input.
            return Ref(layer.name, 0, 0)
        if layer.class_name == "InputLayer":
            end = self.called(layer, None)
            self.inputs.append(end)
            return end
        found = shape_and_dtype(layer)
        if found is None:
            raise NotUnderstood(layer.saved_name, "it begins a branch and does not say its input")
        shape, dtype = found
        name = f"{layer.name}_input"
        config = {"batch_input_shape": shape, "dtype": dtype}
        return self.called(layer, self.begun(Layer("InputLayer", name, name, config)))

    def called(self, layer: Layer, on: Ref | list[Ref] | None) -> Ref:
        """The layer called once more; a layer of the same name is the same layer."""
        own = self.layers.setdefault(layer.name, layer)
        if on is not None:
            own.calls.append(Call([on]))
        return Ref(own.name, max(len(own.calls) - 1, 0), 0)
