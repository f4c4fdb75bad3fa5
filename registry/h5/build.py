"""The Keras 3 model of an upgraded architecture, with the file's weights. Only in the child."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from kerasql.registry import legacy
from kerasql.registry.errors import NotUnderstood, WeightsMissing
from kerasql.registry.h5.audit import lambda_names
from kerasql.registry.h5.operations import OPERATIONS
from kerasql.registry.h5.shown import shown
from kerasql.registry.h5.upgrade.graph import Call, Layer, Model, Ref, every_layer, mapped
from kerasql.registry.h5.weights import Named, Unit, shared_out

FUNCTIONS = ("activation", "_initializer", "_regularizer", "_constraint", "function")
"""How arguments that take a function or its name end."""

OURS = "kerasql>"
"""Before the name of a function of ``legacy`` in a config."""


def build(model: Model, code: Mapping[str, Any]) -> keras.Model:
    """The Keras model, its weights not yet the file's. code: what the owner's source defines."""
    reserve_names(model)
    return _Builder(code).model(model)


def reserve_names(model: Model) -> None:
    """Keep Keras from giving the name of a layer of the file to an operation of its own."""
    for layer in every_layer(model):
        base, _, number = layer.name.rpartition("_")
        if not (base and number.isdecimal() and len(number) < 6):
            base, number = layer.name, "0"
        while keras.backend.get_uid(base) <= int(number):
            pass


class _Builder:
    def __init__(self, code: Mapping[str, Any]) -> None:
        self.code = code

    def model(self, model: Model) -> keras.Model:
        """A model, also one inside another."""
        if model.class_name == "Sequential":
            layers = [self.layer(one) for one in model.layers]
            return keras.Sequential(layers, name=model.name)
        return self.functional(model)

    def layer(self, layer: Layer) -> Any:
        """One Keras layer: Keras' own, one that only Keras 2 had, or the owner's."""
        if isinstance(layer, Model):
            return self.model(layer)
        config = {"name": layer.name, **self.config(layer)}
        if layer.class_name == "Lambda":
            return self.from_lambda(layer)
        try:
            return self.class_of(layer).from_config(config)
        except NotUnderstood:
            raise
        except Exception as error:
            raise NotUnderstood(
                layer.saved_name, f"Keras cannot make this {layer.class_name} ({reason(error)})"
            ) from error

    def class_of(self, layer: Layer) -> Any:
        """The class of a layer."""
        for place in (self.code.get, lambda name: getattr(keras.layers, name, None)):
            if (found := place(layer.class_name)) is not None:
                return found
        found = getattr(legacy, layer.class_name, None)
        if found is None:
            raise NotUnderstood(layer.saved_name, f"Keras 3 has no layer {layer.class_name!r}")
        return found

    def config(self, layer: Layer) -> dict[str, Any]:
        """The arguments, with what a wrapper holds as Keras 3 writes it."""
        config = {key: self.value(key, value) for key, value in layer.config.items()}
        if layer.class_name not in self.code:
            config.pop("trainable", None)
        cells = []
        for argument, held in layer.inner.items():
            serialized = keras.saving.serialize_keras_object(self.layer(held))
            if argument.startswith("cells."):
                cells.append(serialized)
            else:
                config[argument] = serialized
        return config | ({"cells": cells} if cells else {})

    def value(self, key: str, value: Any) -> Any:
        """An argument; the name of a function that only Keras 2 had, or of the owner's, as it."""
        if not isinstance(value, str) or not key.endswith(FUNCTIONS):
            return value
        if value.startswith(OURS):
            return getattr(legacy, value.removeprefix(OURS))
        return self.code.get(value, value)

    def from_lambda(self, layer: Layer) -> Any:
        """The owner's function in the place of a Lambda's bytecode."""
        names = lambda_names({"name": layer.saved_name, **layer.config})
        function = next((self.code[one] for one in names if one in self.code), None)
        if function is None:
            raise NotUnderstood(layer.saved_name, f"the code defines no function {names[0]!r}")
        arguments = layer.config.get("arguments")
        return keras.layers.Lambda(
            function, name=layer.name, arguments=arguments if isinstance(arguments, dict) else None
        )

    def functional(self, model: Model) -> keras.Model:
        """Call the layers on each other as the file says."""
        made: dict[str, Any] = {}
        tensors: dict[tuple[str, int], list[Any]] = {}
        waiting: list[tuple[Layer, int]] = []
        for layer in model.layers:
            if layer.class_name == "InputLayer":
                tensors[layer.name, 0] = [keras.Input(**layer.config, name=layer.name)]
            else:
                if layer.class_name != "operator":
                    made[layer.name] = self.layer(layer)
                waiting += [(layer, number) for number in range(len(layer.calls))]

        def tensor(ref: Ref) -> Any:
            outputs = tensors[ref.layer, ref.call]
            if ref.output >= len(outputs):
                raise NotUnderstood(model.saved_name, f"{ref.layer!r} has no output {ref.output}")
            return outputs[ref.output]

        while waiting:
            later = []
            for layer, number in waiting:
                call = layer.calls[number]
                if all((ref.layer, ref.call) in tensors for ref in needed(call)):
                    answer = self.called(layer, number, made.get(layer.name), tensor)
                    tensors[layer.name, number] = keras.tree.flatten(answer)
                else:
                    later.append((layer, number))
            if len(later) == len(waiting):
                names = ", ".join(sorted({layer.saved_name for layer, _ in later})[:5])
                raise NotUnderstood(model.saved_name, f"its graph does not end: {names}")
            waiting = later
        inputs = [tensor(ref) for ref in flat(model.inputs)]
        outputs = [tensor(ref) for ref in flat(model.outputs)]
        return keras.Model(
            inputs if len(inputs) > 1 else inputs[0],
            outputs if len(outputs) > 1 else outputs[0],
            name=model.name,
        )

    def called(self, layer: Layer, number: int, made: Any, tensor: Any) -> Any:
        """The outputs of one call of a layer or an operator."""
        call = layer.calls[number]
        if layer.unmasked:
            seen = tensor

            def tensor(ref: Ref) -> Any:
                return keras.ops.copy(seen(ref))

        args, kwargs = mapped(tensor, call.args), mapped(tensor, call.kwargs)
        if layer.class_name == "operator":
            function: Any = OPERATIONS[layer.config["operator"]]
            # The name of a model's output is that of the step that makes it.
            kwargs["step"] = f"{layer.name}_{number}" if number else layer.name
        else:
            function = made
            if isinstance(layer, Model):
                args = [in_order(layer, args[0]), *args[1:]]
        if "initial_state" in kwargs:
            # Keras 3 hands the mask on only to a layer that is called on one tensor.
            kwargs.setdefault("mask", getattr(args[0], "_keras_mask", None))
        try:
            return function(*args, **kwargs)
        except Exception as error:
            raise NotUnderstood(
                layer.saved_name,
                f"Keras cannot call this {layer.config.get('operator', layer.class_name)} "
                f"({type(error).__name__}: {reason(error)})",
            ) from error


def reason(error: Exception) -> str:
    """What Keras says is wrong, without the config that it shows around it."""
    said = str(error)
    for begin in ("Exception encountered: ", ""):
        if begin in said:
            lines = said.partition(begin)[2] if begin else said.partition("using config=")[0]
            return shown((lines.strip().splitlines() or [""])[0], 300)
    return ""


def in_order(model: Model, given: Any) -> Any:
    """What a nested model is called on, as the list or the one tensor that ours takes."""
    if isinstance(given, dict):
        given = [given[name] for name in sorted(given)]
    return given[0] if isinstance(given, list) and len(given) == 1 else given


def needed(call: Call) -> list[Ref]:
    """The tensors that must exist before the call."""
    found: list[Ref] = []
    mapped(found.append, [call.args, call.kwargs])
    return found


def flat(structure: Any) -> list[Ref]:
    """The Refs of a model's inputs or outputs in their order: of a dict, by its keys."""
    if isinstance(structure, dict):
        structure = [structure[key] for key in sorted(structure)]
    if isinstance(structure, list):
        return [ref for one in structure for ref in flat(one)]
    return [structure] if isinstance(structure, Ref) else []


def load_weights(model: Model, built: keras.Model, groups: Mapping[str, Named]) -> None:
    """Give every layer its arrays; WeightsMissing where one has none or of another shape."""
    full = {name: arrays for name, arrays in groups.items() if arrays}
    for layer, one, arrays in by_name(model, built, full) or by_position(model, built, full):
        give(layer, one, arrays)


def by_name(
    model: Model, built: keras.Model, groups: Mapping[str, Named]
) -> list[tuple[Layer, Any, Named]] | None:
    """Layers with their groups; None where a group has not exactly one layer of its name."""
    # Keras 1 listed the layers of a Sequential's branches side by side.
    for members in (list(zip_layers(model, built)), list(leaves(model, built))):
        saved = [layer.saved_name for layer, _ in members]
        if sorted(name for name in saved if name in groups) == sorted(groups):
            return [(layer, one, groups.get(layer.saved_name, [])) for layer, one in members]
    return None


def by_position(
    model: Model, built: keras.Model, groups: Mapping[str, Named]
) -> list[tuple[Layer, Any, Named]]:
    """Layers and groups in order, as Keras pairs them where the names differ."""
    having = [(layer, one) for layer, one in zip_layers(model, built) if one.weights]
    if len(having) != len(groups):
        raise WeightsMissing(
            model.saved_name,
            f"the file has weights for {len(groups)} layers ({', '.join(list(groups)[:5])} …), "
            f"the architecture has {len(having)} ({', '.join(h.name for h, _ in having[:5])} …)",
        )
    return [
        (layer, one, arrays) for (layer, one), arrays in zip(having, groups.values(), strict=True)
    ]


def zip_layers(model: Model, built: keras.Model) -> Iterator[tuple[Layer, Any]]:
    """Each layer of a model beside the Keras layer made of it.

    Keras leaves out a layer that no output needs. WeightsMissing where one of Keras' layers with
    weights has no other side: the owner's class gave it a name of its own.
    """
    made = {one.name: one for one in built.layers}
    for layer in model.layers:
        if layer.class_name not in ("InputLayer", "operator") and layer.name in made:
            yield layer, made.pop(layer.name)
    for one in made.values():
        if one.weights:
            raise WeightsMissing(
                one.name,
                f"the architecture has no layer of this name; let {type(one).__name__}.__init__ "
                "hand its name on",
            )


def leaves(model: Model, built: keras.Model) -> Iterator[tuple[Layer, Any]]:
    """Each layer that is no model, at any depth."""
    for layer, one in zip_layers(model, built):
        if isinstance(layer, Model):
            yield from leaves(layer, one)
        else:
            yield layer, one


def give(layer: Layer, built: Any, arrays: Named) -> None:
    """Set the weights of a layer and of all that it holds."""
    if isinstance(layer, Model):
        members = list(leaves(layer, built))
        members = [(held, one) for held, one in members if one.weights]
        shares = shared_out(arrays, [unit(held, one) for held, one in members], layer.saved_name)
        for (held, one), share in zip(members, shares, strict=True):
            give(held, one, share)
    elif layer.class_name == "EveryStep":
        give(layer.inner["layer"], built.layer, arrays)
    elif layer.class_name == "Bidirectional":
        half = len(arrays) // 2
        give(layer.inner["layer"], built.forward_layer, arrays[:half])
        back = layer.inner.get("backward_layer", layer.inner["layer"])
        give(back, built.backward_layer, arrays[half:])
    else:
        for holder in (layer, *layer.inner.values()):
            for convert in holder.convert:
                arrays = [("", array) for array in convert([array for _, array in arrays])]
        assign(layer, built, [array for _, array in arrays])


def unit(layer: Layer, built: Any) -> Unit:
    """How many arrays the file has for a layer."""
    trainable = len(built.trainable_weights)
    others = len(built.weights) - trainable
    if layer.arrays is not None:
        trainable = layer.arrays - others
    frozen = layer.config.get("trainable") is False
    return Unit(layer.saved_name, trainable, others, frozen)


def assign(layer: Layer, built: Any, arrays: list[np.ndarray]) -> None:
    """Set the weights of one Keras layer, shapes compared."""
    if layer.class_name == "Discretization" and arrays:
        # What ``adapt`` counted; the boundaries follow from it and are no weight in Keras 3.
        built.summary = arrays[0]
        built.finalize_state()
        return
    weights = built.weights
    ours = [tuple(weight.shape) for weight in weights]
    given = [array.shape for array in arrays]
    if ours != given:
        raise WeightsMissing(
            layer.saved_name,
            f"the {layer.class_name} needs arrays of the shapes {ours}, the file has {given}",
        )
    for weight, array in zip(weights, arrays, strict=True):
        weight.assign(array)
    if layer.class_name == "Normalization":
        built.finalize_state()


def mirror(built: keras.Model) -> Model:
    """The tree of a model that is Keras 3's already: nothing to rewrite, only to pair by name."""
    layers = [one for one in built.layers if not isinstance(one, keras.layers.InputLayer)]
    return Model(
        "Functional",
        built.name,
        built.name,
        {},
        layers=[mirrored(one) for one in layers],
    )


def mirrored(built: Any) -> Layer:
    """One layer of a Keras model, with what it holds."""
    if isinstance(built, keras.Model):
        return mirror(built)
    layer = Layer(type(built).__name__, built.name, built.name, {})
    if layer.class_name == "TimeDistributed":
        layer.class_name = "EveryStep"
        layer.inner["layer"] = mirrored(built.layer)
    elif layer.class_name == "Bidirectional":
        layer.inner["layer"] = mirrored(built.forward_layer)
    return layer
