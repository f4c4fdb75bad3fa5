"""The arrays of a ``.h5`` file, and which layer each belongs to. h5py and NumPy; no Keras."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import h5py
import numpy as np

from kerasql.registry.errors import WeightsMissing

Named = list[tuple[str, np.ndarray]]
"""Arrays with the names that Keras gave them: ``dense_1/kernel:0``."""

NO_WEIGHTS = ("StateVar", "seed_generator_state", "table")
"""Last parts of the names of arrays that are no weights: states of random generators, tables."""


def read_weights(file: h5py.File) -> dict[str, Named]:
    """The arrays of each group that ``save_weights`` wrote, in the file's order."""
    root = file.get("model_weights", file)
    return {name: arrays_of(root[name]) for name in text_list(root.attrs, "layer_names")}


def arrays_of(group: h5py.Group) -> Named:
    """The arrays of one layer; states of random generators are left out."""
    names = text_list(group.attrs, "weight_names")
    return [(name, np.asarray(group[name])) for name in names if not is_state(name)]


def is_state(name: str) -> bool:
    """Whether an array is no weight."""
    last = name.rpartition("/")[2].partition(":")[0]
    return last.startswith(NO_WEIGHTS)


def text_list(attributes: Mapping[str, Any], name: str) -> list[str]:
    """A list of names, also where Keras cut a long one into ``name0``, ``name1`` …"""
    if name in attributes:
        parts = [attributes[name]]
    else:
        parts = []
        while f"{name}{len(parts)}" in attributes:
            parts.append(attributes[f"{name}{len(parts)}"])
    return [one.decode() if isinstance(one, bytes) else str(one) for part in parts for one in part]


def from_theano(groups: Mapping[str, Named], backend: str | None) -> bool:
    """Whether Theano computed the weights: TensorFlow's names end in ``:0``, Theano's do not."""
    if backend is not None:
        return backend == "theano"
    names = [name for arrays in groups.values() for name, _ in arrays]
    return bool(names) and not any(name.endswith(":0") for name in names)


@dataclass(frozen=True)
class Unit:
    """One layer that owns arrays, of a model whose arrays lie in one list.

    trainable and others are how many arrays the layer has of each sort; frozen ones are listed
    with the others.
    """

    name: str
    trainable: int
    others: int
    frozen: bool

    @property
    def arrays(self) -> int:
        """How many arrays the file has for it."""
        return self.trainable + self.others


def shared_out(arrays: Named, units: Sequence[Unit], place: str) -> list[Named]:
    """The arrays of a nested model's group, unit by unit.

    By the names of the arrays where they tell, else by Keras 2's order: first what is trained, in
    the order of the layers, then the rest.
    """
    if len(units) == 1:
        return [arrays]
    by_name = shared_by_name(arrays, units)
    if by_name is not None:
        return by_name
    if len(arrays) != sum(unit.arrays for unit in units):
        raise WeightsMissing(
            place,
            f"the file has {len(arrays)} arrays for it, "
            f"{sum(unit.arrays for unit in units)} are expected",
        )
    return shared_in_order(arrays, units)


def shared_by_name(arrays: Named, units: Sequence[Unit]) -> list[Named] | None:
    """None where the names do not say of every array to which one unit it belongs."""
    owned: list[Named] = [[] for _ in units]
    if len({unit.name for unit in units}) < len(units):
        return None
    for name, array in arrays:
        owners = [n for n, unit in enumerate(units) if owns(unit.name, name)]
        # ``a/b`` belongs to the layer ``a/b`` before it belongs to the layer ``a``.
        longest = max((len(units[n].name) for n in owners), default=0)
        owners = [n for n in owners if len(units[n].name) == longest]
        if len(owners) != 1:
            return None
        owned[owners[0]].append((name, array))
    if any(len(own) != unit.arrays for own, unit in zip(owned, units, strict=True)):
        return None
    return owned


def owns(layer: str, weight: str) -> bool:
    """Whether a weight's name is that of a weight of the layer.

    ``conv_1/kernel:0``, ``outer/conv_1/kernel:0``, ``conv_1_2/kernel:0`` (TensorFlow numbers a
    name that it has met before) or Keras 1's ``conv_1_W:0``.
    """
    if f"/{layer}/" in f"/{weight}":
        return True
    path = weight.rpartition("/")[0]
    if re.sub(r"_\d+$", "", path) == layer:
        return True
    return (
        "/" not in weight
        and re.fullmatch(re.escape(layer) + r"_[A-Za-z]\w*(:0)?", weight) is not None
    )


def shared_in_order(arrays: Named, units: Sequence[Unit]) -> list[Named]:
    """Keras 2's order: what is trained, layer by layer, then what is not."""
    values = iter(arrays)
    trained = [take(values, 0 if unit.frozen else unit.trainable) for unit in units]
    others = [take(values, unit.arrays if unit.frozen else unit.others) for unit in units]
    return [first + second for first, second in zip(trained, others, strict=True)]


def take(values: Iterator[tuple[str, np.ndarray]], count: int) -> Named:
    """The next so many arrays."""
    return list(islice(values, count))
