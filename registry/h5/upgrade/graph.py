"""A model's architecture between the file and Keras: its layers and what they are called on.

``parse`` reads the JSON of any Keras 1 or 2; the rules rewrite the layers; ``build.py`` makes the
Keras 3 model. Plain Python: neither Keras nor TensorFlow is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kerasql.registry.errors import NotUnderstood

Convert = Callable[[list[np.ndarray]], list[np.ndarray]]
"""A layer's arrays as the file has them -> as Keras 3 wants them, in the order of its weights."""

MODELS = ("Sequential", "Functional", "Model", "Container", "Network")
INNER = ("layer", "backward_layer", "cell", "cells")
"""The arguments under which a wrapper's config holds other layers."""

CONSTANT = "_CONSTANT_VALUE"
"""How tf.keras writes a plain value where a tensor could stand."""


@dataclass(frozen=True)
class Ref:
    """One tensor: which output of which call of which layer."""

    layer: str
    call: int
    output: int


@dataclass
class Call:
    """What a layer is called on: Refs, and lists and dicts of them, among plain values."""

    args: list[Any]
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class Layer:
    """One layer as a rule sees and changes it.

    name is unique within its model and has no ``/``; saved_name is the file's. config holds the
    arguments without the name. inner are the layers a wrapper holds, by argument (``cells`` are
    ``cells.0``, ``cells.1`` …). convert are applied to its arrays one after the other; arrays is
    how many the file holds, where that differs from Keras 3. unmasked: the masks of what it is
    called on are not handed to it.
    """

    class_name: str
    name: str
    saved_name: str
    config: dict[str, Any]
    calls: list[Call] = field(default_factory=list)
    inner: dict[str, Layer] = field(default_factory=dict)
    convert: list[Convert] = field(default_factory=list)
    arrays: int | None = None
    unmasked: bool = False


@dataclass
class Model(Layer):
    """A model, also one inside another; class_name is Sequential or Functional.

    inputs and outputs are Refs, or lists or dicts of them; a Sequential has none.
    """

    layers: list[Layer] = field(default_factory=list)
    inputs: Any = None
    outputs: Any = None


def parse(node: Mapping[str, Any]) -> Model:
    """The architecture that a file's ``model_config`` describes."""
    model = layer_of(node, "model")
    if not isinstance(model, Model):
        raise NotUnderstood("class_name", f"{model.class_name!r} is no model but a layer")
    return model


def layer_of(node: Any, place: str) -> Layer:
    """A layer or model, with all that it holds."""
    if not isinstance(node, Mapping) or not isinstance(node.get("class_name"), str):
        raise NotUnderstood(place, "it does not name a class")
    class_name, config = plain_class(node["class_name"]), node.get("config")
    if class_name in MODELS:
        return model_of(class_name, config, place, node)
    if not isinstance(config, Mapping):
        raise NotUnderstood(f"{place}.config", "it is no object")
    config = dict(config)
    inner_name = config.pop("name", None)
    # tf.keras 1.15 calls an operator otherwise in its config than in the graph.
    saved = name_of(node.get("name") or inner_name, place)
    layer = Layer(class_name, plain_name(saved), saved, config)
    for argument in INNER:
        held = config.get(argument)
        if isinstance(held, list) and argument == "cells":
            del config[argument]
            for number, one in enumerate(held):
                layer.inner[f"cells.{number}"] = layer_of(one, f"{place}.cells[{number}]")
        elif isinstance(held, Mapping) and "class_name" in held:
            del config[argument]
            layer.inner[argument] = layer_of(held, f"{place}.{argument}")
    return layer


def model_of(class_name: str, config: Any, place: str, node: Mapping[str, Any]) -> Model:
    """A Sequential or Functional model: Keras to 2.2.2 wrote a Sequential as a bare list."""
    config = {"layers": config} if isinstance(config, list) else config
    if not isinstance(config, Mapping) or not isinstance(config.get("layers"), list):
        raise NotUnderstood(f"{place}.config", "it lists no layers")
    nodes = config["layers"]
    saved = name_of(node.get("name") or config.get("name") or class_name.lower(), place)
    rest = {key: config[key] for key in ("trainable", "build_input_shape") if key in config}
    is_graph = class_name != "Sequential"
    model = Model(
        "Functional" if is_graph else "Sequential",
        plain_name(saved),
        saved,
        rest,
        layers=[layer_of(one, f"{place}.layers[{n}]") for n, one in enumerate(nodes)],
    )
    rename_twins(model)
    if is_graph:
        connect(model, nodes, config, place)
    return model


def rename_twins(model: Model) -> None:
    """Give every layer of a model a name of its own: ``a/b`` and ``a_b`` are one in Keras 3."""
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    for layer in model.layers:
        name = layer.name
        while layer.name in taken:
            numbers[name] += 1
            layer.name = f"{name}_{numbers[name]}"
        taken.add(layer.name)


def connect(
    model: Model, nodes: list[Mapping[str, Any]], config: Mapping[str, Any], place: str
) -> None:
    """Read what each layer is called on, and the model's inputs and outputs."""
    names = {layer.saved_name: layer for layer in model.layers}
    if len(names) < len(model.layers):
        raise NotUnderstood(place, "two of its layers have the same name")
    reader = _Nodes(names, place)
    for layer, node in zip(model.layers, nodes, strict=True):
        inbound = node.get("inbound_nodes") or []
        if not isinstance(inbound, list):
            raise NotUnderstood(place, f"the inbound nodes of {layer.name!r} are no list")
        layer.calls = [reader.call(one, layer) for one in inbound]
    model.inputs = reader.tensors(config.get("input_layers"))
    model.outputs = reader.tensors(config.get("output_layers"))
    count_from_zero(model)


class _Nodes:
    """Reads the inbound nodes of one model."""

    def __init__(self, names: Mapping[str, Layer], place: str) -> None:
        self.names = names
        self.place = place

    def call(self, node: Any, layer: Layer) -> Call:
        kwargs: dict[str, Any] = {}
        args = self.tensors(node, kwargs)
        # A layer called on one tensor has a list of one.
        if isinstance(args, list) and len(args) == 1 and isinstance(args[0], Ref):
            args = args[0]
        kept = {name: self.tensors(value) for name, value in kwargs.items() if value is not None}
        return Call([args], kept)

    def tensors(self, value: Any, kwargs: dict[str, Any] | None = None) -> Any:
        """The value with every ``[layer, call, output]`` in it as a Ref."""
        if isinstance(value, list):
            if len(value) in (3, 4) and isinstance(value[0], str):
                if kwargs is not None and len(value) == 4 and isinstance(value[3], Mapping):
                    kwargs.update(value[3])
                if value[0] == CONSTANT:
                    return value[2]
                if value[0] in self.names and all(type(n) is int for n in value[1:3]):
                    return Ref(self.names[value[0]].name, value[1], value[2])
                if kwargs is not None:
                    raise NotUnderstood(self.place, f"there is no layer {value[0]!r}")
            return [self.tensors(one, kwargs) for one in value]
        if isinstance(value, Mapping):
            return {key: self.tensors(one, kwargs) for key, one in value.items()}
        return value


def count_from_zero(model: Model) -> None:
    """Count the calls of a model inside a model from 0; Keras 1 and 2 counted its own making as 0.

    (``_should_skip_first_node`` in tf.keras' functional.py, ``kept_nodes`` in Keras' topology.py.)
    """
    used: dict[str, set[int]] = {}
    for ref in refs(model):
        used.setdefault(ref.layer, set()).add(ref.call)
    calls = {layer.name: len(layer.calls) or 1 for layer in model.layers}
    models = {layer.name for layer in model.layers if isinstance(layer, Model)}
    late = {
        name
        for name, numbers in used.items()
        if name in models and (max(numbers) >= calls[name] or 0 not in numbers)
    }

    def counted(ref: Ref) -> Ref:
        number = ref.call - (ref.layer in late)
        if not 0 <= number < calls.get(ref.layer, 0) or ref.output < 0:
            raise NotUnderstood(model.name, f"there is no call {ref.call} of {ref.layer!r}")
        return Ref(ref.layer, number, ref.output)

    for layer in model.layers:
        for call in layer.calls:
            call.args = mapped(counted, call.args)
            call.kwargs = mapped(counted, call.kwargs)
    model.inputs, model.outputs = mapped(counted, model.inputs), mapped(counted, model.outputs)


def mapped(change: Callable[[Ref], Any], value: Any) -> Any:
    """A copy of a structure with every Ref changed."""
    if isinstance(value, Ref):
        return change(value)
    if isinstance(value, list):
        return [mapped(change, one) for one in value]
    if isinstance(value, dict):
        return {key: mapped(change, one) for key, one in value.items()}
    return value


def refs(model: Model) -> Iterator[Ref]:
    """Every Ref in the calls, inputs and outputs of a model (not of models inside it)."""
    found: list[Ref] = []
    for layer in model.layers:
        for call in layer.calls:
            mapped(found.append, call.args)
            mapped(found.append, call.kwargs)
    mapped(found.append, model.inputs)
    mapped(found.append, model.outputs)
    return iter(found)


def every_layer(layer: Layer) -> Iterator[Layer]:
    """The layer, all that it holds, and all that those hold."""
    yield layer
    for held in layer.inner.values():
        yield from every_layer(held)
    if isinstance(layer, Model):
        for one in layer.layers:
            yield from every_layer(one)


def replaced(
    holder: Layer, wanted: Callable[[Layer], bool], parts: Callable[[Layer], list[Layer]]
) -> bool:
    """Put a Sequential of its parts, under its name, in the place of each layer that is wanted.

    Also in the place of one that lies in such a Sequential.
    """
    found = False

    def part(layer: Layer) -> Layer:
        nonlocal found
        if wanted(layer):
            layer, found = sequential(layer, parts), True
        elif isinstance(layer, Model):
            found |= replaced(layer, wanted, parts)
        return layer

    holder.inner = {argument: part(layer) for argument, layer in holder.inner.items()}
    if isinstance(holder, Model):
        holder.layers = [part(layer) for layer in holder.layers]
    return found


def sequential(layer: Layer, parts: Callable[[Layer], list[Layer]]) -> Model:
    """A Sequential of a layer's parts, called on what the layer was called on."""
    calls, layer.calls = layer.calls, []
    return Model("Sequential", layer.name, layer.saved_name, {}, calls=calls, layers=parts(layer))


def after(layer: Layer, class_name: str, config: dict[str, Any]) -> Layer:
    """One more part in the place of a layer."""
    name = f"{layer.name}_{class_name.lower()}"
    return Layer(class_name, name, name, config)


def plain_class(name: str) -> str:
    """The class without the package it was registered under: ``Custom>GarNet`` is ``GarNet``."""
    return name.rpartition(">")[2]


def plain_name(name: str) -> str:
    """A name without ``/``, which Keras 3 takes for folders."""
    return name.replace("/", "_")


def name_of(name: Any, place: str) -> str:
    """A layer's name, if it is one."""
    if not isinstance(name, str) or not name:
        raise NotUnderstood(place, f"{name!r} is no layer's name")
    return name
