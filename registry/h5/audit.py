"""Is every class and function that a model file names one of Keras' own? A recursive allow-list.

The whole config is walked, nested models and wrappers included; what is not on the list is named
with its place and the file is refused. Nothing is imported, decoded or run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kerasql.registry.errors import RefusedFile
from kerasql.registry.h5 import allowed

CLASSES = (
    allowed.LAYERS
    | allowed.OPERATIONS
    | allowed.INITIALIZERS
    | allowed.REGULARIZERS
    | allowed.CONSTRAINTS
    | allowed.POLICIES
    | {"__keras_tensor__", "__tensor__", "__numpy__", "TensorShape", "__tuple__", "__ellipsis__"}
)
ACTIVATION_KEYS = {"activation", "recurrent_activation"}
PATH_KEYS = {"vocabulary", "idf_weights", "filepath", "file_path", "path"}
DEEPEST = 100


def audit(name: str, config: dict[str, Any], keras_version: str | None) -> None:
    """Raise RefusedFile for the first thing in the config that is not Keras' own.

    ``hard_sigmoid`` is refused in files older than Keras 3: it was clip(0.2 x + 0.5, 0, 1) and is
    relu6(x + 3) / 6 now, so such a file would load and predict other numbers than it was
    trained to.
    """
    for where, what in _findings("", config, 0):
        raise RefusedFile(name, f"{where.lstrip('.')} = {what}")
    if not (keras_version or "").startswith("3.") and (old := _hard_sigmoid("", config)):
        raise RefusedFile(
            name,
            f"{old.lstrip('.')} = 'hard_sigmoid' was saved by Keras {keras_version} and computes "
            "other numbers in Keras 3; save the model again with Keras 3",
        )


def _hard_sigmoid(where: str, node: Any) -> str | None:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        place = f"{where}[{key}]" if isinstance(node, list) else f"{where}.{key}"
        if value == "hard_sigmoid" and key != "name":
            return place
        if isinstance(value, dict | list) and (found := _hard_sigmoid(place, value)):
            return found
    return None


def _findings(where: str, node: Any, depth: int) -> Iterator[tuple[str, str]]:
    if depth > DEEPEST:
        yield where, f"nested deeper than {DEEPEST} levels"
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from _findings(f"{where}[{index}]", item, depth + 1)
    elif isinstance(node, dict):
        yield from _class_findings(where, node)
        for key, value in node.items():
            place = f"{where}.{key}"
            if key in ACTIVATION_KEYS and isinstance(value, str):
                if value not in allowed.ACTIVATIONS and value not in allowed.LAYERS:
                    yield place, f"{value!r} is not one of Keras' own activations"
            elif key in PATH_KEYS and isinstance(value, str):
                yield place, f"{value!r} names a file; only values inside the model are read"
            yield from _findings(place, value, depth + 1)


def _is_training(where: str) -> bool:
    """Whether this is how a model inside the model was compiled."""
    return ".compile_config" in where


def _class_findings(where: str, node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "class_name" not in node:
        return
    name, module = node["class_name"], node.get("module")
    trained = _is_training(where)
    if name == "function":
        functions = allowed.ACTIVATIONS | (allowed.TRAINING_FUNCTIONS if trained else frozenset())
        if node.get("config") not in functions:
            yield f"{where}.config", f"{node.get('config')!r} is not one of Keras' own functions"
    elif trained and isinstance(name, str) and name in allowed.TRAINING:
        pass
    elif not isinstance(name, str) or name not in CLASSES:
        yield (
            f"{where}.class_name",
            f"{name!r} is not one of Keras' own layers; rebuild the model from built-in layers",
        )
    if module is not None and not _is_keras(module):
        yield f"{where}.module", f"{module!r} is not part of Keras"
    registered = node.get("registered_name")
    if registered not in (None, name):
        yield f"{where}.registered_name", f"{registered!r} is not one of Keras' own classes"


def _is_keras(module: Any) -> bool:
    return module == "builtins" or (
        isinstance(module, str) and (module == "keras" or module.startswith("keras."))
    )
