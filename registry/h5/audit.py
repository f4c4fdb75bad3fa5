"""Is every class and function that a model file names one of Keras' own? A recursive allow-list.

The whole config is walked, nested models and wrappers included; what is not on the list is named
with its place and the file is refused, unless the user's own trusted code defines it. Nothing is
imported, decoded or run.
"""

from __future__ import annotations

import json
import keyword
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kerasql.registry.errors import RefusedFile
from kerasql.registry.h5 import allowed, allowed_old
from kerasql.registry.tensorflow_names import TF_NODE_OPS, TF_OPERATORS, TF_REWRITTEN

Finding = tuple["Place", str]
"""Where, and what is wrong there."""

DEEPEST = 100
MOST_VALUES = 5_000_000
LONGEST_TEXT = 2**20
LARGEST_NUMBER = 2**64
LONGEST_SHOWN = 200

MODELS = frozenset(["Sequential", "Functional", "Model"])
LAYERS = allowed.LAYERS | allowed_old.LAYERS
INITIALIZERS = allowed.INITIALIZERS | allowed_old.INITIALIZERS
REGULARIZERS = allowed.REGULARIZERS | allowed_old.REGULARIZERS
CONSTRAINTS = allowed.CONSTRAINTS | allowed_old.CONSTRAINTS
ACTIVATIONS = allowed.ACTIVATIONS | allowed_old.ACTIVATIONS
TRAINING = allowed.TRAINING | allowed_old.TRAINING
TRAINING_FUNCTIONS = allowed.TRAINING_FUNCTIONS | allowed_old.TRAINING_FUNCTIONS

HOMES = {
    "": MODELS | allowed.POLICIES,
    "models": MODELS,
    "engine": MODELS | LAYERS,
    "layers": LAYERS | {"Lambda"},
    "applications": LAYERS,
    "ops": allowed.OPERATIONS,
    "initializers": INITIALIZERS,
    "regularizers": REGULARIZERS,
    "constraints": CONSTRAINTS,
    "dtype_policies": allowed.POLICIES,
    "mixed_precision": allowed.POLICIES,
    "random": frozenset(["SeedGenerator"]),
}
"""Which part of Keras may bring which classes; ``""`` is ``keras`` itself."""

TRAINING_HOMES = ("losses", "metrics", "optimizers")
FUNCTION_HOMES = ("activations", "ops", *TRAINING_HOMES)
MODULE = re.compile(r"(?:tf_)?keras(?:\.src)?(?:\.(?P<home>[a-z]\w*)(?:\.[a-z]\w*)*)?", re.ASCII)

CLASSES = frozenset[str]().union(*HOMES.values())
VALUES = frozenset(
    [
        *("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__"),
        *("__slice__", "__ellipsis__", "__tuple__", "TensorShape"),
    ]
)
"""How Keras writes tensors, tuples and slices among the arguments."""

OURS = "kerasql>"

RESERVED = MODELS | VALUES | {"Lambda", "function"}
"""Names that no code given with a file can take over."""

NEVER = {
    "TFSMLayer": "runs a TensorFlow program from a folder",
    "TorchModuleWrapper": "opens a Python pickle",
    "JaxLayer": "runs a function of its own",
    "FlaxLayer": "runs a function of its own",
    "ModuleWrapper": "runs a function of its own",
    "ClassMethod": "calls any method of a TensorFlow class",
    "InstanceMethod": "calls any method of a tensor",
    "InstanceProperty": "reads any attribute of a tensor",
    "TypeSpec": "names any class of TensorFlow",
    "__typespec__": "names any class of TensorFlow",
    "CompositeTensor": "names any class of TensorFlow",
    "__lambda__": "is Python bytecode, which is never run",
}
"""Refused whatever the trusted code defines: Keras may prefer its own class of that name."""

CODE_KEYS = ("function", "output_shape", "mask")
"""Where a Lambda keeps bytecode. Given code replaces the first; the others are dropped."""

PATH_KEYS = frozenset(
    [
        *("cache_dir", "directory", "dirname", "export_dir", "file", "file_path", "filename"),
        *("filepath", "fname", "idf_weights", "model_path", "origin", "path", "saved_model"),
        *("uri", "url", "vocabulary", "vocabulary_file", "weights", "weights_path"),
    ]
)
PATH = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*://|[a-z]:\\|\\\\|/|~\w*/|\.\.?/)", re.I)
DTYPE = re.compile(r"\w{1,40}", re.ASCII)

NAMED = (
    ("activation", ACTIVATIONS | LAYERS, "activations"),
    ("init", INITIALIZERS, "initializers"),
    ("_initializer", INITIALIZERS, "initializers"),
    ("_regularizer", REGULARIZERS, "regularizers"),
    ("_constraint", CONSTRAINTS, "constraints"),
    ("standardize", frozenset(["lower_and_strip_punctuation", "lower", "strip_punctuation"]), ""),
    ("split", frozenset(["whitespace", "character"]), ""),
)
"""Arguments, by how their key ends, that hold the name of a function or a class."""

TRUST = "trust_code=True (--code file.py --trust-code)"
REBUILD = "rebuild the model from built-in layers"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the config: ``layers[3].config.layer``. Worded only when it is shown."""

    above: Place | None = None
    key: str | int = ""
    depth: int = 0
    training: bool = False
    """Whether this is how a model inside the model was compiled."""

    def below(self, key: str | int) -> Place:
        """A key of this object or an index of this list."""
        return Place(self, key, self.depth + 1, self.training or key == "compile_config")

    def __str__(self) -> str:
        keys = []
        place = self
        while place.above is not None:
            keys.append(_step(place.key))
            place = place.above
        text = "".join(reversed(keys)).removeprefix(".config")
        # Keras 1 and 2 wrote a Sequential's layers as its config.
        text = f"layers{text}" if text.startswith("[") else text.removeprefix(".")
        return f"…{text[-LONGEST_SHOWN:]}" if len(text) > LONGEST_SHOWN else text or "its config"


def audit(name: str, config: Any, *, defines: frozenset[str] = frozenset()) -> None:
    """Raise RefusedFile for the first thing in the config that is not Keras' own.

    name is what errors call the file; defines are the names that the user's trusted code gives
    its classes and functions. A Lambda is accepted where one of ``lambda_names`` is among them:
    that function then replaces what the file holds under ``CODE_KEYS``.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        raise RefusedFile(name, "its config names no model (class_name)")
    for place, what in _findings(config, defines):
        raise RefusedFile(name, f"{place} {what}")


def lambda_names(config: Any) -> tuple[str, ...]:
    """By which names trusted code may give a Lambda's function: its own name, then the layer's.

    ``lambda``, as Keras calls the first such layer, cannot be defined: ``lambda_`` stands for it.
    """
    if not isinstance(config, dict):
        return ()
    function = config.get("function")
    if isinstance(function, dict) and function.get("class_name") == "function":
        function = function.get("config")
    names = [name for name in (function, config.get("name")) if isinstance(name, str)]
    return tuple(dict.fromkeys(_definable(name) for name in names))


def _definable(name: str) -> str:
    name = re.sub(r"\W", "_", name[:LONGEST_SHOWN])
    name = name if name.isidentifier() else f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in RESERVED else name


def _findings(config: Any, defines: frozenset[str]) -> Iterator[Finding]:
    """Every finding in the file's order. A list of work to do, as recursion ends too early."""
    todo: list[tuple[Place, Any]] = [(Place(), config)]
    values = 0
    while todo:
        place, node = todo.pop()
        values += len(node)
        if place.depth > DEEPEST:
            yield place, f"is nested deeper than {DEEPEST} levels"
        if values > MOST_VALUES:
            yield place, f"is one of more than {MOST_VALUES:,} values"
        if isinstance(node, dict):
            yield from _object(place, node, defines)
            node = _without_code(node, defines)
            for key, value in node.items():
                yield from _argument(place, key, value, defines)
        nested = []
        for key, value in _items(node):
            if isinstance(value, dict | list):
                nested.append((place.below(key), value))
            elif _too_large(value):
                yield place.below(key), "is larger than any argument of a layer"
        todo.extend(reversed(nested))


def _items(node: Any) -> Iterable[tuple[Any, Any]]:
    items: Iterable[tuple[Any, Any]] = node.items() if isinstance(node, dict) else enumerate(node)
    return items


def _too_large(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) > LONGEST_TEXT
    return isinstance(value, int) and abs(value) > LARGEST_NUMBER


def _without_code(node: dict[str, Any], defines: frozenset[str]) -> dict[str, Any]:
    config = node.get("config")
    if node.get("class_name") != "Lambda" or not isinstance(config, dict):
        return node
    if not defines & {*lambda_names(config)}:
        return node
    return node | {"config": {k: v for k, v in config.items() if k not in CODE_KEYS}}


def _object(place: Place, node: dict[str, Any], defines: frozenset[str]) -> Iterator[Finding]:
    if "class_name" not in node:
        return
    name, where = node["class_name"], place.below("class_name")
    own = name.rpartition(">")[2] if isinstance(name, str) else None
    if own in NEVER:
        yield where, f"= {name!r} {NEVER[own]}; {REBUILD}"
    elif own in defines and own not in RESERVED:
        yield from _registered(place, node, own)
        return
    elif not isinstance(name, str) or not _known(place, name):
        yield where, _stranger(place, name)
        return
    yield from RULES.get(name, _own)(place, node, defines)
    # Keras 3 writes a function's registered name into its config and "function" beside it.
    if name != "function" or node.get("registered_name") != "function":
        yield from _registered(place, node, node.get("config") if name == "function" else name)
    yield from _settings(place, node)


def _known(place: Place, name: str) -> bool:
    if place.above is None:
        return name in MODELS
    trained = place.training and name in TRAINING
    return trained or name in CLASSES or name in VALUES or name == "function"


def _own(place: Place, node: dict[str, Any], defines: frozenset[str]) -> Iterator[Finding]:
    """A class of Keras comes from where Keras keeps it."""
    name, module = node["class_name"], node.get("module")
    home = _home(module)
    trained = place.training and home in TRAINING_HOMES and name in TRAINING
    if not (module is None or trained or (home is not None and name in HOMES.get(home, ()))):
        yield _misplaced(place, node, name)


def _misplaced(place: Place, node: dict[str, Any], name: str) -> Finding:
    module = _shown(node.get("module"))
    return place.below("module"), f"= {module} is not the part of Keras that has {name!r}"


def _home(module: Any) -> str | None:
    """The part of Keras a module is in, ``""`` for ``keras`` itself; None for another's."""
    found = MODULE.fullmatch(module) if isinstance(module, str) else None
    return None if found is None else found["home"] or ""


def _registered(place: Place, node: dict[str, Any], name: Any) -> Iterator[Finding]:
    """No name beside the name: Keras would look the other one up first."""
    said = node.get("registered_name")
    if said not in (None, name) and not (
        isinstance(said, str) and isinstance(name, str) and said.endswith(f">{name}")
    ):
        yield place.below("registered_name"), f"= {_shown(said)} is not what {_shown(name)} is"


def _settings(place: Place, node: dict[str, Any]) -> Iterator[Finding]:
    """The config of a class is an object; of a Sequential of Keras 1 and 2, a list."""
    config, name = node.get("config"), node["class_name"]
    listed = name in MODELS and isinstance(config, list)
    if name != "function" and not (config is None or listed or isinstance(config, dict)):
        yield place.below("config"), f"= {_shown(config)} is no object"


def _function(place: Place, node: dict[str, Any], defines: frozenset[str]) -> Iterator[Finding]:
    name, module = node.get("config"), node.get("module")
    own = ACTIVATIONS | (TRAINING_FUNCTIONS if place.training else frozenset())
    if isinstance(name, str) and name.rpartition(">")[2] in defines:
        return
    if not isinstance(name, str) or name not in own:
        yield place.below("config"), _stranger(place.below("function"), name)
    elif module not in (None, "builtins") and _home(module) not in FUNCTION_HOMES:
        yield _misplaced(place, node, name)


def _lambda(place: Place, node: dict[str, Any], defines: frozenset[str]) -> Iterator[Finding]:
    yield from _own(place, node, defines)
    config = node.get("config")
    names = lambda_names(config)
    if defines & {*names}:
        return
    config = config if isinstance(config, dict) else {}
    held = "is bytecode, which is never run"
    if not _bytecode(config.get("function")):
        held = "is not in the file"
    source = REBUILD
    if names:
        source = f"give its source: code='file.py' with `def {names[0]}(x): …` and {TRUST}"
    yield (
        place.below("class_name"),
        f"= 'Lambda' (the layer {_shown(config.get('name'))}): its function {held}; {source}",
    )


def _bytecode(function: Any) -> bool:
    if isinstance(function, dict):
        return function.get("class_name") == "__lambda__"
    return isinstance(function, list)


def _merge(place: Place, node: dict[str, Any], defines: frozenset[str]) -> Iterator[Finding]:
    yield from _own(place, node, defines)
    config = node.get("config")
    if not isinstance(config, dict):
        return
    where = place.below("config")
    if not _is_name(config.get("mode", "sum"), allowed_old.MERGE_MODES):
        yield where.below("mode"), f"is a function, which is never run; {REBUILD}"
    for key in ("output_shape", "output_mask"):
        if _holds_text(config.get(key)):
            yield where.below(key), f"is a function, which is never run; {REBUILD}"


def _operator(place: Place, node: dict[str, Any], defines: frozenset[str]) -> Iterator[Finding]:
    yield from _own(place, node, defines)
    config = node.get("config")
    called = config.get("function") if isinstance(config, dict) else None
    if not _is_name(called, TF_OPERATORS | TF_REWRITTEN):
        where = place.below("config").below("function")
        yield where, f"= {_shown(called)} is not a TensorFlow operator that only computes"


def _node(place: Place, node: dict[str, Any], defines: frozenset[str]) -> Iterator[Finding]:
    yield from _own(place, node, defines)
    config = node.get("config")
    definition = config.get("node_def") if isinstance(config, dict) else None
    try:
        definition = json.loads(definition) if isinstance(definition, str) else definition
    except (ValueError, RecursionError):
        definition = None
    operator = definition.get("op") if isinstance(definition, dict) else None
    if not _is_name(operator, TF_NODE_OPS):
        where = place.below("config").below("node_def").below("op")
        yield where, f"= {_shown(operator)} is not a TensorFlow operator that only computes"


RULES: dict[str, Callable[[Place, dict[str, Any], frozenset[str]], Iterator[Finding]]] = {
    "function": _function,
    "Lambda": _lambda,
    "Merge": _merge,
    "TFOpLambda": _operator,
    "SlicingOpLambda": _operator,
    "TensorFlowOpLayer": _node,
}
"""What classes are asked beyond where they come from."""


def _argument(place: Place, key: str, value: Any, defines: frozenset[str]) -> Iterator[Finding]:
    named = next((one for one in NAMED if key.endswith(one[0])), None)
    if isinstance(value, dict) and "class_name" not in value and named and "name" in value:
        # Keras 1: {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.01}.
        place, key, value = place.below(key), "name", value["name"]
    if not isinstance(value, str):
        return
    if named and value not in named[1] and value.rpartition(">")[2] not in defines:
        yield place.below(key), _stranger(place.below(key), value, named[2])
    elif value.startswith(OURS):
        yield place.below(key), f"= {_shown(value)} is a name that only kerasql itself writes"
    elif key in PATH_KEYS or (_climbs(value) if key == "name" else _is_path(value)):
        yield (
            place.below(key),
            f"= {_shown(value)} names a file; only values inside the model are read",
        )
    elif key == "dtype" and not DTYPE.fullmatch(value):
        yield place.below(key), f"= {_shown(value)} is no type of number"


def _is_path(value: str) -> bool:
    return PATH.match(value) is not None or _climbs(value)


def _climbs(value: str) -> bool:
    return ".." in value.split("/")


def _is_name(value: Any, known: frozenset[str]) -> bool:
    return isinstance(value, str) and value in known


def _holds_text(value: Any) -> bool:
    return any(isinstance(one, str) for one in (value if isinstance(value, list) else [value]))


def _stranger(place: Place, name: Any, kind: str | None = None) -> str:
    """What is not Keras' own, and what to do about it."""
    kind = _kind(place) if kind is None else kind
    what = f"= {_shown(name)} is not one of Keras' own {kind or 'functions'}"
    own = name.rpartition(">")[2] if isinstance(name, str) else ""
    is_name = len(own) <= LONGEST_SHOWN and own.isascii() and own.isidentifier()
    if not is_name or own in RESERVED:
        return f"{what}; {REBUILD}"
    defines = f"defines {'class ' if kind in ('layers', 'models') else ''}{own}"
    return f"{what}; give its source: code='file.py' that {defines}, and {TRUST}, or {REBUILD}"


def _kind(place: Place) -> str:
    key = place.key if isinstance(place.key, str) else ""
    if key == "function":
        return "functions"
    found = next((kind for end, _, kind in NAMED if key.endswith(end)), "")
    return found or ("models" if place.above is None else "layers")


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if re.fullmatch(r"\w{1,60}", key, re.ASCII) else f"[{_shown(key)}]"


def _shown(value: Any) -> str:
    """Short and in ASCII, so that a letter that only looks like another is seen."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    text = f"{text[:LONGEST_SHOWN]}…" if len(text) > LONGEST_SHOWN else text
    return ascii(text) if isinstance(value, str) else text
