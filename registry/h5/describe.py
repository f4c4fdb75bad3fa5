"""What the config of a model says in plain words: its layers, inputs, outputs and training."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kerasql.registry.h5.shown import shown

if TYPE_CHECKING:
    from kerasql.registry.h5.structure import Stored

MOST_LAYERS = 2_000
"""That a report lists; the largest of Keras' own applications has 1,041."""

MOST_TENSORS = 50
DEEPEST_MODEL = 32
MOST_GROUPS = 8
"""Of a dataset's place that are searched for layer names."""

STATE = {"optimizer", "metrics", "seed_generator"}
"""Containers of Keras 3 that hold no weights of a layer."""

PASSES = {
    *("Activation", "Dropout", "Flatten", "LeakyReLU", "PReLU", "ReLU", "Softmax"),
    *("BatchNormalization", "GlobalAveragePooling1D", "GlobalAveragePooling2D"),
    *("GlobalMaxPooling1D", "GlobalMaxPooling2D"),
}
"""Layers after which the count of the numbers before them still holds, where those are scores."""


@dataclass(frozen=True)
class Layer:
    """One layer: path names the models it lies in (``sequential_1/model_2``), layers counts its
    own where it is a model itself; parameters is None where the file's weights do not tell.
    """

    name: str
    class_name: str
    path: str
    parameters: int | None
    layers: int | None = None


class Weights:
    """How many numbers the file holds, all in all and for one layer."""

    def __init__(self, stored: Iterable[Stored], *, legacy_root: str | None) -> None:
        """legacy_root is the group of Keras 1 and 2 with a group per layer; None for Keras 3."""
        self.legacy_root = legacy_root
        self.total = self.optimizer = 0
        self.containers: Counter[str] = Counter()
        self.outermost: set[str] = set()
        self.counted: list[tuple[list[str], int]] = []
        self._below: Counter[str] = Counter()
        for one in stored:
            self._add(one)

    def _add(self, one: Stored) -> None:
        parts = one.place.split("/")
        self.outermost.add(parts[0])
        if parts[0] in ("optimizer_weights", "optimizer"):
            self.optimizer += one.count
            return
        if self.legacy_root is None:
            if STATE & set(parts):
                return
        elif self.legacy_root and parts.pop(0) != self.legacy_root:
            return
        self.total += one.count
        self.containers["/".join(parts[: 2 if parts[0] in CONTAINERS else 1])] += one.count
        self.counted.append((parts, one.count))
        for end in range(1, len(parts)):
            self._below["/".join(parts[:end])] += one.count

    def below(self, place: str) -> int:
        """Numbers in the datasets of a group and of its groups."""
        return self._below[place]

    def by_layer(self, names: Collection[tuple[str, str]]) -> Counter[tuple[str, str]]:
        """Numbers of each layer of Keras 1 and 2, told by (top layer, name of a layer in it).

        Top layers have groups of their own. A layer inside is one of the names, each of which may
        have slashes, on the way down: the last that fits, and of those the longest.
        """
        found: Counter[tuple[str, str]] = Counter()
        for parts, count in self.counted:
            groups = parts[:-1][:MOST_GROUPS]
            ends = range(len(groups), 0, -1)
            heads = (("/".join(groups[:end]), groups[end:]) for end in ends)
            top, rest = next((one for one in heads if (one[0], "") in names), ("", []))
            found[top, ""] += count
            spans = ((start, end) for end in range(len(rest), 0, -1) for start in range(end))
            inner = ("/".join(rest[start:end]) for start, end in spans)
            found[top, next((one for one in inner if (top, one) in names), "?")] += count
        return found


CONTAINERS = ("layers", "_layer_checkpoint_dependencies")


def model_layers(node: Any) -> list[dict[str, Any]] | None:
    """The layers of a model's config; None for what is no model."""
    config = node.get("config")
    layers = config.get("layers") if isinstance(config, dict) else config
    return [one for one in layers if isinstance(one, dict)] if isinstance(layers, list) else None


def name_of(node: dict[str, Any]) -> str:
    """The layer's name; ``""`` where it has none."""
    return shown(node.get("name") or settings(node).get("name") or "")


def class_of(node: dict[str, Any]) -> str:
    """The layer's class; a wrapper's with what it wraps: ``TimeDistributed(Dense)``."""
    inner = settings(node).get("layer")
    wrapped = f"({inner.get('class_name')})" if isinstance(inner, dict) else ""
    return shown(f"{node.get('class_name')}{wrapped}")


def settings(node: Any) -> dict[str, Any]:
    """The config of a layer; empty where it is none."""
    config = node.get("config")
    return config if isinstance(config, dict) else {}


def layers_of(model: dict[str, Any], weights: Weights) -> Iterator[Layer]:
    """Every layer in the config's order, those of inner models after their model."""
    nodes = model_layers(model) or []
    if weights.legacy_root is None:
        root = next((one for one in CONTAINERS if weights.below(one)), CONTAINERS[0])
        yield from _modern(nodes, weights, root, "", 0)
    else:
        names = Counter(_legacy_names(nodes, "", 0))
        yield from _legacy(nodes, weights.by_layer(names), names, ("", ""), 0)


def _legacy_names(nodes: list[dict[str, Any]], top: str, depth: int) -> Iterator[tuple[str, str]]:
    for node in nodes:
        name = name_of(node)
        yield (top, name) if top else (name, "")
        if depth < DEEPEST_MODEL:
            yield from _legacy_names(_inner_layers(node), top or name, depth + 1)


def _legacy(
    nodes: list[dict[str, Any]],
    counts: Counter[tuple[str, str]],
    names: Counter[tuple[str, str]],
    place: tuple[str, str],
    depth: int,
) -> Iterator[Layer]:
    """Keras 1 and 2: a group per layer; inner layers by their own names within it."""
    path, top = place
    for node in nodes:
        name, below = name_of(node), _inner_layers(node)
        key = (top, name) if top else (name, "")
        # Of two inner layers of one name, and of a model in a model, the file does not tell.
        counted = None if names[key] > 1 or (top and below) else counts[key]
        yield Layer(name, class_of(node), path, counted, _count(model_layers(node)))
        if depth < DEEPEST_MODEL:
            deeper = (_join(path, name), top or name)
            yield from _legacy(below, counts, names, deeper, depth + 1)


def _modern(
    nodes: list[dict[str, Any]], weights: Weights, container: str, path: str, depth: int
) -> Iterator[Layer]:
    """Keras 3: ``layers/dense_1``, the class in small letters and its number in the model."""
    used: Counter[str] = Counter()
    for node in nodes:
        saved = snake_case(str(node.get("class_name")))
        number = used[saved]
        used[saved] += 1
        place = f"{container}/{saved}_{number}" if number else f"{container}/{saved}"
        inner = model_layers(node)
        yield Layer(name_of(node), class_of(node), path, weights.below(place), _count(inner))
        if depth < DEEPEST_MODEL:
            deeper = f"{place}/layers" if inner is not None else f"{place}/layer/layers"
            path_below = _join(path, name_of(node))
            yield from _modern(_inner_layers(node), weights, deeper, path_below, depth + 1)


def _inner_layers(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers of a model, and of a model that the layer wraps; none for other layers."""
    wrapped = settings(node).get("layer")
    return model_layers(node) or (model_layers(wrapped) if isinstance(wrapped, dict) else []) or []


def _count(layers: list[dict[str, Any]] | None) -> int | None:
    return None if layers is None else len(layers)


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def snake_case(name: str) -> str:
    """``Conv2DTranspose`` as ``conv2d_transpose``, as Keras names the parts of its archives."""
    words = r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])"
    return re.sub(words, "_", re.sub(r"\W+", "", name[:200])).lower()


def inputs_of(model: dict[str, Any], depth: int = 0) -> list[dict[str, Any]]:
    """``{"name", "shape", "dtype"}`` of each input; None where the config does not say."""
    layers = model_layers(model)
    if layers is None or not layers or depth > DEEPEST_MODEL:
        return [_input(model)]
    if named := _named(model, layers, "input_layers"):
        return [_input(one) for one in named[:MOST_TENSORS]]
    first = layers[0]
    if first.get("class_name") == "Merge":  # of Keras 1: each of its models has an input
        branches = (model_layers(first) or [])[:MOST_TENSORS]
        return [one for branch in branches for one in inputs_of(branch, depth + 1)][:MOST_TENSORS]
    found = inputs_of(first, depth + 1)
    if found[0]["shape"] is None and (shape := _shape(settings(model).get("build_input_shape"))):
        return [found[0] | {"shape": shape}]
    return found


def _input(node: dict[str, Any]) -> dict[str, Any]:
    config = settings(node)
    shape = config.get("batch_input_shape") or config.get("batch_shape")
    kind = config.get("input_dtype") or config.get("dtype")
    kind = settings(kind).get("name") if isinstance(kind, dict) else kind
    return {
        "name": name_of(node),
        "shape": _shape(shape),
        "dtype": shown(kind) if isinstance(kind, str) else None,
    }


def _shape(value: Any) -> list[int | None] | None:
    """A shape, batch axis first; None where it is none."""
    if isinstance(value, dict):  # TensorShape of TensorFlow 2
        value = value.get("items") or settings(value).get("items")
    if not isinstance(value, list) or len(value) > 32:
        return None
    fits = all(one is None or (type(one) is int and abs(one) < 2**63) for one in value)
    return value if fits else None


def _named(model: dict[str, Any], layers: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    by_name = _by_name(layers)
    names = list(_references(settings(model).get(key), 0))
    return [by_name[name] for name in names if name in by_name]


def _by_name(layers: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    names = (node.get("name") or settings(node).get("name") for node in layers)
    pairs = zip(names, layers, strict=True)
    return {name: node for name, node in pairs if isinstance(name, str)}


def _references(value: Any, depth: int) -> Iterator[str]:
    """Layer names in ``[["a", 0, 0], …]``, ``["a", 0, 0]`` and ``{"x": ["a", 0, 0]}``."""
    if depth > 4:
        return
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        if value and isinstance(value[0], str):
            yield value[0]
            return
        for one in value:
            yield from _references(one, depth + 1)


def outputs_of(model: dict[str, Any], depth: int = 0) -> list[dict[str, Any]]:
    """``{"name", "class_name", "units", "activation"}`` of each output, as far as it is said."""
    layers = model_layers(model)
    if layers is None or not layers or depth > DEEPEST_MODEL:
        return [_output(model, [])]
    named = _named(model, layers, "output_layers")
    if not named:
        *before, last = layers
        return outputs_of(last, depth + 1) if model_layers(last) else [_output(last, before)]
    by_name = _by_name(layers)
    found: list[dict[str, Any]] = []
    for node in named[:MOST_TENSORS]:
        before = list(_before(node, by_name))
        inner = outputs_of(node, depth + 1) if model_layers(node) else [_output(node, before)]
        found += [one | {"name": name_of(node)} for one in inner]
    return found[:MOST_TENSORS]


def _before(node: dict[str, Any], by_name: dict[Any, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The layers that lead to this one, the nearest last, over each one's first input."""
    found: list[dict[str, Any]] = []
    while len(found) < DEEPEST_MODEL:
        fed_by = next(_histories(node.get("inbound_nodes"), 0), None)
        if fed_by not in by_name:
            break
        node = by_name[fed_by]
        found.append(node)
    yield from found[::-1]


def _histories(value: Any, depth: int) -> Iterator[str]:
    """Layer names in inbound nodes: ``["a", 0, 0, {}]``, or in Keras 3 a ``keras_history``."""
    if depth > 8:
        return
    if isinstance(value, dict):
        value = [value["keras_history"]] if "keras_history" in value else list(value.values())
    if isinstance(value, list):
        if len(value) > 2 and isinstance(value[0], str) and type(value[1]) is int:
            yield value[0]
            return
        for one in value:
            yield from _histories(one, depth + 1)


def _output(node: dict[str, Any], before: list[dict[str, Any]]) -> dict[str, Any]:
    activation, units = None, None
    for one in [node, *before[::-1]]:
        inner = settings(one).get("layer") if one.get("class_name") == "TimeDistributed" else one
        config = settings(inner) if isinstance(inner, dict) else {}
        activation = activation or _activation(one, config)
        keys = ("units", "filters", "output_dim", "nb_filter")
        units = next((config[key] for key in keys if type(config.get(key)) is int), None)
        if units is not None or str(one.get("class_name")) not in PASSES:
            break
    return {
        "name": name_of(node),
        "class_name": class_of(node),
        "units": units if units is None or 0 <= units < 2**63 else None,
        "activation": activation,
    }


def _activation(node: dict[str, Any], config: dict[str, Any]) -> str | None:
    if node.get("class_name") in ("Softmax", "ReLU"):
        return str(node["class_name"]).lower()
    value = config.get("activation")
    value = value.get("config") if isinstance(value, dict) else value
    return shown(value) if isinstance(value, str) and value != "linear" else None


def training_of(training: dict[str, Any], steps: int | None) -> dict[str, Any]:
    """Loss, optimizer and metrics in words, and how many batches it was trained with."""
    optimizer = training.get("optimizer_config") or training.get("optimizer")
    words = {
        "loss": in_words(training.get("loss")),
        "optimizer": _optimizer(optimizer),
        "metrics": in_words(training.get("metrics")),
    }
    return {key: value for key, value in words.items() if value} | (
        {} if steps is None else {"steps": steps}
    )


def _optimizer(value: Any) -> str:
    if not isinstance(value, dict):
        return in_words(value)
    if isinstance(inner := settings(value).get("inner_optimizer"), dict):
        value = inner  # of a LossScaleOptimizer
    config = settings(value)
    rate = config.get("learning_rate", config.get("lr"))
    if isinstance(rate, dict):
        return shown(f"{value.get('class_name')}, learning rate by {rate.get('class_name')}")
    if isinstance(rate, float | int) and math.isfinite(rate):
        return shown(f"{value.get('class_name')}, learning rate {rate:.4g}")
    return shown(value.get("class_name"))


def in_words(value: Any) -> str:
    """``species: mse; age: mae`` of whatever Keras calls a loss or a metric."""
    return shown(_words(value, 0), 400)


def _words(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value
    if depth > 8:
        return "…"
    if isinstance(value, list):
        words = (_words(one, depth + 1) for one in value[:MOST_TENSORS])
        return ", ".join(dict.fromkeys(filter(None, words)))
    if not isinstance(value, dict):
        return ""
    if "class_name" in value:
        config = value.get("config")
        if isinstance(config, dict) and isinstance(config.get("name"), str):
            return str(config["name"])
        return config if isinstance(config, str) else str(value["class_name"])
    pairs = ((key, _words(one, depth + 1)) for key, one in list(value.items())[:MOST_TENSORS])
    return "; ".join(f"{key}: {words}" for key, words in pairs if words)


def written_by(keras_version: str | None, config: Any, *, has_paths: bool) -> str:
    """Which Keras wrote the file, in words; without a version, what its config looks like.

    has_paths: its weights lie as Keras writes them since 2.12, by path and not by name.
    """
    if keras_version is None:
        return f"{_dialect(config, has_paths)} (no version in the file)"
    if keras_version.endswith("-tf"):
        return shown(f"tf.keras {keras_version} (inside TensorFlow 1.x to 2.2)")
    if re.match(r"2\.([4-9]|1\d)\.", keras_version):
        return shown(f"Keras {keras_version} (inside TensorFlow 2)")
    return shown(f"Keras {keras_version}")


KERAS_1 = {"nb_filter", "nb_row", "border_mode", "subsample", "W_regularizer", "input_dtype"}


def _dialect(config: Any, has_paths: bool) -> str:
    """The Keras that a config without a version was written by."""
    nodes = model_layers(config) if isinstance(config, dict) else None
    if not nodes:
        return "Keras 3, or 2.12 and later" if has_paths else "an unknown Keras"
    if any(KERAS_1 & set(settings(node)) for node in nodes):
        return "Keras 1, older than Keras 2"
    if isinstance(config.get("config"), list):
        return "Keras older than 2.2.3"
    if any("batch_shape" in settings(node) or "module" in node for node in nodes):
        return "Keras 3"
    return "an unknown Keras"
