"""The Keras 3 model of a file of any age. In the child process only.

A file of Keras 3 is loaded as it is. Any other is built from its upgraded architecture and saved
as a ``.keras`` file, which is what engines load.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import keras

from kerasql.registry.code import BUILDER, defines, objects
from kerasql.registry.errors import InvalidInput, WeightsMissing
from kerasql.registry.h5.audit import CODE_KEYS, lambda_names
from kerasql.registry.h5.build import build, load_weights, mirror
from kerasql.registry.h5.upgrade import facts_of, generation, upgrade
from kerasql.registry.h5.upgrade.graph import MODELS, plain_class
from kerasql.registry.h5.upgrade.inputs import say_sizes
from kerasql.registry.h5.weights import from_theano, read_weights
from kerasql.registry.keras_engine import load_keras, require_keras


@dataclass(frozen=True)
class Opened:
    """A Keras model with its weights; upgraded is the file that engines load instead of the given

    one, and applied says what was rewritten (dicts of rule, source, layers).
    """

    model: Any
    upgraded: Path | None
    applied: list[dict[str, Any]]


def opened(request: Mapping[str, Any], folder: Path, *, threads: int) -> Opened:
    """Load what the request names: path, architecture (JSON or None), code (source or None)."""
    path, config, source = Path(request["path"]), request["architecture"], request["code"]
    require_keras(keras.__version__)
    code = objects(source) if source else {}
    applied: list[dict[str, Any]] = []
    if config is None:
        model = from_builder(code, path, folder)
    elif generation(config, request["keras_version"]) < 3:
        model, applied = from_old(request, path, code, folder)
    elif request["format"] == "weights" or source:
        model = from_keras3(config, path, code, folder)
    else:
        return Opened(load_keras(path, code=source, threads=threads), None, [])
    upgraded = folder / "upgraded.keras"
    model.save(upgraded)
    del model
    # What engines will load is what is proven.
    return Opened(load_keras(upgraded, code=source, threads=threads), upgraded, applied)


def from_old(
    request: Mapping[str, Any], path: Path, code: Mapping[str, Any], folder: Path
) -> tuple[Any, list[dict[str, Any]]]:
    """A model of Keras 1 or 2, rewritten."""
    config, version = request["architecture"], request["keras_version"]
    names = defines(request["code"] or "")
    if request["format"] == "keras":
        upgraded = upgrade(config, facts_of(config, version, defines=names))
        model = build(upgraded.model, code)
        give_weights(model, path, folder)
    else:
        with h5py.File(path, "r") as file:
            groups = read_weights(file)
            theano = from_theano(groups, request["backend"])
            upgraded = upgrade(config, facts_of(config, version, theano=theano, defines=names))
            say_sizes(upgraded.model, groups)
            model = build(upgraded.model, code)
            if groups:
                load_weights(upgraded.model, model, groups)
        if not groups:
            # tf.keras 2.12 and later: names ending in .weights.h5 have Keras 3's layout.
            give_weights(model, path, folder)
    return model, [asdict(one) for one in upgraded.applied]


def from_keras3(
    config: Mapping[str, Any], path: Path, code: Mapping[str, Any], folder: Path
) -> Any:
    """A model of Keras 3 whose weights lie apart, or whose Lambdas are the owner's functions."""
    with keras.saving.custom_object_scope(dict(code)):
        model = from_config(with_own(config, code))
    give_weights(model, path, folder)
    return model


def from_config(config: Mapping[str, Any]) -> Any:
    """A model from an architecture of Keras 3; its ``.h5`` files have it without modules."""
    return keras.saving.deserialize_keras_object(with_modules(config), safe_mode=True)


def with_modules(node: Any) -> Any:
    """A config whose layers and models say where Keras keeps them."""
    if isinstance(node, list):
        return [with_modules(one) for one in node]
    if not isinstance(node, Mapping):
        return node
    found = {key: with_modules(value) for key, value in node.items()}
    name = found.get("class_name")
    if isinstance(name, str) and "config" in found and "module" not in found:
        if name in MODELS:
            found |= {"module": "keras", "registered_name": None}
        elif hasattr(keras.layers, name):
            found |= {"module": "keras.layers", "registered_name": None}
    return found


def from_builder(code: Mapping[str, Any], path: Path, folder: Path) -> Any:
    """The model that the owner's ``build()`` returns, with the file's weights."""
    if BUILDER not in code:
        raise InvalidInput(
            f"the file holds weights only and the code defines no function {BUILDER}(); "
            "write one that returns the model, or give its architecture as JSON or YAML"
        )
    model = code[BUILDER]()
    if not isinstance(model, keras.Model):
        raise InvalidInput(f"{BUILDER}() returned {type(model).__name__}, not a Keras model")
    give_weights(model, path, folder)
    return model


def give_weights(model: Any, path: Path, folder: Path) -> None:
    """Give a Keras 3 model the weights of a file, in the layout of whichever Keras wrote it."""
    if not is_archive(path):
        with h5py.File(path, "r") as file:
            groups = read_weights(file)
        if groups:
            return load_weights(mirror(model), model, groups)
    try:
        model.load_weights(weights_file(path, folder))
    except ValueError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise WeightsMissing(model.name, " ".join(lines[:2])) from error
    return None


def is_archive(path: Path) -> bool:
    """Whether a file is a ``.keras`` archive: its first bytes decide, as everywhere."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def weights_file(path: Path, folder: Path) -> Path:
    """The weights in Keras 3's layout under the name that Keras insists on."""
    target = folder / "given.weights.h5"
    if not is_archive(path):
        target.symlink_to(path)
        return target
    with (
        zipfile.ZipFile(path) as archive,
        archive.open("model.weights.h5") as member,
        target.open("wb") as copy,
    ):
        shutil.copyfileobj(member, copy)
    return target


def with_own(node: Any, code: Mapping[str, Any]) -> Any:
    """A Keras 3 architecture that names the owner's classes and functions as the source does.

    Whatever package they were registered under; never the bytecode of a Lambda.
    """
    if isinstance(node, list):
        return [with_own(one, code) for one in node]
    if not isinstance(node, Mapping):
        return node
    node = {key: with_own(value, code) for key, value in node.items()}
    name, config = node.get("class_name"), node.get("config")
    if not isinstance(name, str):
        return node
    if (own := plain_class(name)) in code:
        node |= {"module": None, "class_name": own, "registered_name": own}
    if name == "function" and isinstance(config, str) and (own := plain_class(config)) in code:
        node |= {"module": "builtins", "config": own, "registered_name": "function"}
    if name == "Lambda" and isinstance(config, dict):
        function = next((one for one in lambda_names(config) if one in code), None)
        if function is None:
            raise InvalidInput(f"the code defines no function {lambda_names(config)[0]!r}")
        node["config"] = {k: v for k, v in config.items() if k not in CODE_KEYS} | {
            "function": {
                "module": "builtins",
                "class_name": "function",
                "config": function,
                "registered_name": "function",
            }
        }
    return node
