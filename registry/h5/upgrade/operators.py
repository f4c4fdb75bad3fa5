"""TensorFlow's operators in a graph of Keras layers: tf.keras made a layer of each."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasql.registry.errors import NotUnderstood
from kerasql.registry.h5.upgrade.graph import Call, Layer, Ref
from kerasql.registry.h5.upgrade.rule import Facts, Rule, rule
from kerasql.registry.tensorflow_names import NODES, TF_NODE_OPS, TF_OPERATORS

__all__ = ["OPERATORS", "TF_NODE_OPS", "TF_OPERATORS"]

OPERATORS: list[Rule] = []

LISTS = {"concat", "stack", "math.add_n", "math.accumulate_n", "strings.join"}
"""Functions whose first argument is a list, also where it has one element."""

LOST = {
    "einsum": "inputs",
    "meshgrid": "args",
    "__operators__.eq": "other",
    "__operators__.ne": "other",
}
"""What tf.keras leaves out when it saves these, so that it cannot load them either."""


@rule(
    "TensorFlow's functions between the layers (tf.concat, tf.math.add …) are steps of the graph",
    source="tf.keras 2.4 to 2.15 write each as a layer TFOpLambda, unknown to Keras 3",
    into=OPERATORS,
)
def tensorflow_functions(layer: Layer, facts: Facts) -> bool:
    """A layer that calls one function of TensorFlow; NotUnderstood where it is not allowed."""
    if layer.class_name not in ("TFOpLambda", "SlicingOpLambda"):
        return False
    function = layer.config.get("function")
    if function == "nn.dropout" and all(call.kwargs.get("rate") == 0 for call in layer.calls):
        function, layer.calls = "identity", [Call(call.args) for call in layer.calls]
    if not isinstance(function, str) or function not in TF_OPERATORS:
        raise NotUnderstood(layer.saved_name, unknown(function))
    layer.class_name, layer.config = "operator", {"operator": function}
    layer.calls = [arguments(call, function, layer) for call in layer.calls]
    return True


def arguments(call: Call, function: str, layer: Layer) -> Call:
    """A call without the operation's name, its lists as lists and its plain values plain."""
    args = [plain(value) for value in call.args]
    kwargs = {key: plain(value) for key, value in call.kwargs.items() if key != "name"}
    if function in LISTS and not isinstance(args[0], list):
        args = [[args[0]], *args[1:]]
    if function in LOST and LOST[function] not in kwargs and len(args) < 2:
        raise NotUnderstood(
            layer.saved_name,
            f"the file does not say what tf.{function} is called on: tf.keras left out its "
            "further arguments when it saved the model, and cannot load it either",
        )
    return Call(args, kwargs)


def plain(value: Any) -> Any:
    """A value without the marks of tf.keras' JSON; ``...`` is the text."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        if value.get("class_name") in ("TensorShape", "__tuple__"):
            return plain(value["items"])
        if value.get("class_name") == "__ellipsis__":
            return "..."
        return {key: plain(one) for key, one in value.items()}
    return value


def unknown(function: Any) -> str:
    """Why an operator is refused."""
    if isinstance(function, str) and ("random" in function or "dropout" in function):
        return (
            f"tf.{function} draws random numbers at every prediction, so no two answers are equal"
        )
    return f"tf.{function} is not among TensorFlow's operators that only compute"


@rule(
    "TensorFlow's operations between the layers (Mul, ConcatV2 …) are steps of the graph",
    source="tf.keras 1.14 to 2.3 write each as a layer TensorFlowOpLayer, unknown to Keras 3",
    into=OPERATORS,
)
def tensorflow_nodes(layer: Layer, facts: Facts) -> bool:
    """A layer that makes one operation of TensorFlow; NotUnderstood where it is not allowed."""
    if layer.class_name != "TensorFlowOpLayer":
        return False
    node, constants = layer.config.get("node_def"), layer.config.get("constants") or {}
    if not isinstance(node, Mapping) or not isinstance(constants, Mapping):
        raise NotUnderstood(layer.saved_name, "its node_def is no object")
    name = node.get("op")
    if not isinstance(name, str) or name not in TF_NODE_OPS:
        raise NotUnderstood(layer.saved_name, unknown(f"raw_ops.{name}"))
    operation = Node(name, node.get("attr") or {}, constants, layer.saved_name)
    layer.class_name, layer.config = "operator", {"operator": f"raw_ops.{operation.name}"}
    layer.calls = [Call([], operation.arguments(call)) for call in layer.calls]
    return True


class Node:
    """One operation of a TensorFlow graph, without its inputs."""

    def __init__(
        self, name: str, attributes: Mapping[str, Any], constants: Mapping[str, Any], place: str
    ) -> None:
        self.name = name
        self.attributes = attributes
        self.constants = constants
        self.place = place
        inputs, _, others = NODES[name].partition("|")
        self.inputs = inputs.split()
        self.others = others.split()

    def arguments(self, call: Call) -> dict[str, Any]:
        """The arguments by name: tensors, the constants between them, attributes."""
        waiting = self.all_inputs(call)
        found: dict[str, Any] = {}
        for declared in self.inputs:
            name, _, kind = declared.partition(":")
            dtype = self.value(kind) if kind in self.attributes else None
            count = self.value("N") if name.startswith("*") else 1
            if count > len(waiting):
                raise NotUnderstood(self.place, f"a {self.name} has more inputs than these")
            taken = [typed(value, dtype) for value in waiting[:count]]
            waiting = waiting[count:]
            found[name.removeprefix("*")] = taken if name.startswith("*") else taken[0]
        for declared in self.others:
            saved, _, name = declared.partition("=")
            if saved in self.attributes:
                found[name or saved] = self.value(saved)
        return found

    def all_inputs(self, call: Call) -> list[Any]:
        """The tensors the layer is called on, the constants put where they stood."""
        first = call.args[0] if call.args else []
        values = list(first) if isinstance(first, list) else [first]
        for index, constant in sorted((int(key), value) for key, value in self.constants.items()):
            values.insert(index, constant)
        return values

    def value(self, name: str) -> Any:
        """An attribute as Python has it; protobuf's JSON writes numbers and bytes as text."""
        ((kind, value),) = self.attributes[name].items() or [("none", None)]
        if kind == "list":
            return [decoded(one, each) for one, several in value.items() for each in several]
        return decoded(kind, value)


def decoded(kind: str, value: Any) -> Any:
    """One value of an attribute of that kind."""
    if kind == "i":
        return int(value)
    if kind == "f":
        return float(value)
    if kind == "s":
        return base64.b64decode(value).decode()
    if kind == "type":
        return DTYPES.get(value, value.removeprefix("DT_").lower())
    if kind == "shape":
        return [int(one.get("size", 0)) for one in value.get("dim", [])]
    return value


NUMBERS = frozenset(
    [
        *("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64"),
    ]
)
"""NumPy's dtypes of constants; text and objects would be copied to the longest of them."""

DTYPES = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16"}
"""Where TensorFlow's name of a dtype is not NumPy's; the others are DT_INT32, DT_BOOL …"""


def typed(value: Any, dtype: str | None) -> Any:
    """A constant in the dtype it had; a tensor as it is."""
    if isinstance(value, Ref) or dtype not in NUMBERS:
        return value
    return np.asarray(value, dtype)


@rule(
    "",
    source="tf.keras 2.4 writes methods of ragged and sparse tensors as layers",
    into=OPERATORS,
)
def ragged_methods(layer: Layer, facts: Facts) -> bool:
    """Refuse them."""
    if layer.class_name in ("ClassMethod", "InstanceMethod", "InstanceProperty"):
        raise NotUnderstood(
            layer.saved_name,
            "it works on ragged or sparse tensors, which Keras 3's graphs have not",
        )
    return False
