"""An architecture in a file beside a file of weights: ``to_json()`` or ``to_yaml()``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from yaml.constructor import ConstructorError

from kerasql.registry.errors import InvalidFile
from kerasql.registry.h5.inspect import json_object

LARGEST_BYTES = 64 * 2**20
LONGEST_YAML = 4 * 2**20
"""It is read a hundred times more slowly than JSON."""

MOST_VALUES = 1_000_000
DEEPEST = 200
NUMPY_SCALAR = "numpy.core.multiarray.scalar"
NUMPY_KINDS = ("i4", "i8", "f4", "f8")
COMPILED = ("compile_config", "build_config")
"""What Keras 3 writes beside an architecture and loading does not need."""


@dataclass(frozen=True)
class Architecture:
    """A model's config and, where the file says them, the Keras and the backend that wrote it."""

    config: dict[str, Any]
    keras_version: str | None
    backend: str | None


class _Loader(yaml.SafeLoader):
    """YAML without objects: what Keras wrote as Python's tuples are lists."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse merges (``<<``), which Keras never wrote: nested ones double a part each time."""
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise ConstructorError(None, None, "a merge (<<) is not read", node.start_mark)


def _tuple(loader: _Loader, node: yaml.Node) -> list[Any]:
    if not isinstance(node, yaml.SequenceNode):
        raise ConstructorError(None, None, "a tuple that is no list", node.start_mark)
    return list(loader.construct_sequence(node, deep=True))


def _text(loader: _Loader, node: yaml.Node) -> Any:
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else ""


def _wrapped(loader: _Loader, suffix: str, node: yaml.Node) -> Any:
    """The value that Keras wrote as an object of a class around it: nothing is made but values.

    tf.keras 2.0 to 2.5 wrote a layer's axis as a ListWrapper, Keras 1 sizes as NumPy scalars.
    """
    if suffix == NUMPY_SCALAR:
        return numpy_scalar(loader, node)
    if suffix.rpartition(".")[2] not in ("ListWrapper", "_DictWrapper"):
        raise ConstructorError(
            None, None, f"{suffix} is a Python object; only plain values are read", node.start_mark
        )
    value = _tuple(loader, node)
    return value[0] if len(value) == 1 else value


def numpy_scalar(loader: _Loader, node: yaml.Node) -> float | int:
    """A NumPy number, which YAML has as a dtype and its bytes."""
    if not isinstance(node, yaml.SequenceNode) or len(node.value) != 2:
        raise ConstructorError(None, None, "a NumPy scalar of another form", node.start_mark)
    kind, data = node.value
    # ``args: [i8, 0, 1]`` of the dtype beside it; the dtype itself is not made.
    written = (
        loader.construct_mapping(kind, deep=True) if isinstance(kind, yaml.MappingNode) else {}
    )
    letters, value = (written.get("args") or [None])[0], loader.construct_object(data)
    if letters not in NUMPY_KINDS or not isinstance(value, bytes) or len(value) != int(letters[1]):
        raise ConstructorError(None, None, "a NumPy scalar that is no number", node.start_mark)
    number: float | int = np.frombuffer(value, f"<{letters}")[0].item()
    return number


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)
_Loader.add_multi_constructor("tag:yaml.org,2002:python/object/apply:", _wrapped)
_Loader.add_constructor("tag:yaml.org,2002:python/unicode", _text)


def read_architecture(path: Path, name: str) -> Architecture:
    """The architecture of a JSON or YAML file; InvalidFile where it is neither. Nothing is run."""
    try:
        if not path.is_file():
            raise InvalidFile(name, f"there is no such file ({path})")
        if path.stat().st_size > LARGEST_BYTES:
            raise InvalidFile(name, f"it is larger than {LARGEST_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8")
        is_json = text.lstrip().startswith("{")
        if not is_json and len(text) > LONGEST_YAML:
            raise InvalidFile(name, f"it is YAML of more than {LONGEST_YAML:,} characters")
        value = json_object(name, text) if is_json else plain(yaml.load(text, _Loader))  # noqa: S506
    except InvalidFile:
        raise
    except OSError as error:
        raise InvalidFile(name, f"it cannot be read ({error.strerror})") from error
    except Exception as error:  # whatever YAML makes of a stranger's text
        said = " ".join(str(error).split())[:300]
        raise InvalidFile(name, f"it is neither JSON nor plain YAML ({said})") from error
    if not isinstance(value, dict) or not isinstance(value.get("class_name"), str):
        raise InvalidFile(name, "it names no class; write it with model.to_json()")
    config = {key: one for key, one in value.items() if key not in COMPILED}
    version, backend = config.pop("keras_version", None), config.pop("backend", None)
    return Architecture(
        config,
        version if isinstance(version, str) else None,
        backend if isinstance(backend, str) else None,
    )


def plain(value: Any) -> Any:
    """A copy without shared parts: YAML's aliases can name one part a billion times."""
    count = 0

    def copied(one: Any, depth: int) -> Any:
        nonlocal count
        count += 1
        if count > MOST_VALUES or depth > DEEPEST:
            raise ValueError(f"it holds more than {MOST_VALUES:,} values, or {DEEPEST} levels")
        if isinstance(one, Mapping):
            return {str(key): copied(item, depth + 1) for key, item in one.items()}
        if isinstance(one, list):
            return [copied(item, depth + 1) for item in one]
        if one is None or isinstance(one, str | int | float | bool):
            return one
        raise ValueError(f"{type(one).__name__} is no JSON value")

    return copied(value, 0)
