"""What a file is, before anything in it is believed: h5py and JSON, no TensorFlow, no Keras."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import h5py

from kerasql.registry.errors import InvalidFile, RefusedFile
from kerasql.registry.h5.archive import member_text, opened, weights_of
from kerasql.registry.h5.describe import (
    CONTAINERS,
    MOST_LAYERS,
    Layer,
    Weights,
    inputs_of,
    layers_of,
    outputs_of,
    training_of,
    written_by,
)
from kerasql.registry.h5.inspection import (
    ARCHITECTURE,
    FULL,
    OPTIMIZER,
    WEIGHTS,
)
from kerasql.registry.h5.inspection import Inspection as Inspection
from kerasql.registry.h5.inspection import require_model as require_model
from kerasql.registry.h5.shown import shown
from kerasql.registry.h5.strangers import HEAD_BYTES, what_folder, what_it_is
from kerasql.registry.h5.structure import Stored, check_structure, text_attribute

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

MOST_CONTAINERS = 50
MOST_VALUES = 3_000_000
"""In one JSON text: 64 MB of ``[],[],…`` would take 1.5 GB of memory."""

STEPS = ("iterations", "iteration", "iter")
MOST_STEPS = 10**15
"""Of training; what the optimizers of Keras call them, and more than anyone did."""

DAMAGED = (
    *(OSError, RuntimeError, KeyError, ValueError, TypeError, NotImplementedError),
    *(zipfile.BadZipFile, EOFError),
)
"""What h5py and zipfile raise where the bytes make no sense; InvalidFile is a ValueError too."""

OTHER_HDF5 = (
    ("PYTABLES_FORMAT_VERSION", "it is a table of pandas or PyTables, not a Keras model"),
    ("_NCProperties", "it is a NetCDF file, not a Keras model"),
    ("encoding-type", "it is an AnnData file, not a Keras model"),
)


def inspect(path: Path, name: str | None = None) -> Inspection:
    """Say what a model file is; InvalidFile for one that is none, RefusedFile for one that lies.

    Weights without an architecture are described too: see ``require_model``. name is what errors
    call the file, by default its own.
    """
    name = name or path.name
    if path.is_dir():
        raise InvalidFile(name, what_folder(path))
    if not path.is_file():
        raise InvalidFile(name, f"there is no such file ({path})")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise InvalidFile(name, f"it cannot be read ({error.strerror})") from error
    if not head:
        raise InvalidFile(name, "it is empty (zero bytes); download or save it again")
    # The first bytes decide, here and where Keras loads it: a file that is two things at once
    # must not be audited as one and loaded as the other.
    if head.startswith(HDF5_SIGNATURE):
        return _inspect_h5(path, name, size)
    if head.startswith(b"PK"):
        return _inspect_keras(path, name, size)
    if h5py.is_hdf5(path) and not head.startswith(b"MATLAB"):
        raise RefusedFile(name, "its HDF5 data does not begin with the file's first byte")
    raise InvalidFile(name, what_it_is(head, name))


def _inspect_h5(path: Path, name: str, size: int) -> Inspection:
    try:
        with h5py.File(path, "r") as file:
            stored = check_structure(name, file, size)
            texts = {
                key: text_attribute(name, file, key)
                for key in ("keras_version", "backend", "model_config", "training_config")
            }
            if isinstance(weights := file.get("model_weights"), h5py.Group):
                for key in ("keras_version", "backend"):
                    texts[key] = texts[key] or text_attribute(name, weights, key)
            kind = _kind_of(name, file, texts["model_config"] is not None)
            legacy_root = _legacy_root(file)
            steps = _steps(file, stored)
    except InvalidFile:
        raise
    except DAMAGED as error:
        raise _damaged(name, error, "its HDF5 structure") from error
    config = None if texts["model_config"] is None else json_object(name, texts["model_config"])
    training = texts["training_config"]
    return _inspection(
        config,
        Weights(stored, legacy_root=legacy_root),
        format="h5",
        kind=kind,
        keras_version=texts["keras_version"],
        backend=texts["backend"],
        saved_at=None,
        size_bytes=size,
        training=training_of(json_object(name, training) if training else {}, steps),
    )


def _inspect_keras(path: Path, name: str, size: int) -> Inspection:
    try:
        with opened(path, name) as archive:
            config = json_object(name, member_text(name, archive, "config.json"))
            metadata = json_object(name, member_text(name, archive, "metadata.json"))
            with weights_of(archive) as member:
                stored, steps = _inspect_weights(name, member)
    except InvalidFile:
        raise
    except DAMAGED as error:
        raise _damaged(name, error, "the archive") from error
    # Nobody compiles it again: Keras drops this key too where a model is loaded to predict.
    compiled = config.pop("compile_config", None)
    return _inspection(
        config,
        Weights(stored, legacy_root=None),
        format="keras",
        kind=FULL,
        keras_version=_text(name, metadata, "keras_version"),
        backend=None,
        saved_at=_text(name, metadata, "date_saved"),
        size_bytes=size,
        training=training_of(compiled if isinstance(compiled, dict) else {}, steps),
    )


def _inspect_weights(name: str, member: IO[bytes]) -> tuple[list[Stored], int | None]:
    size = member.seek(0, io.SEEK_END)
    member.seek(0)
    if member.read(len(HDF5_SIGNATURE)) != HDF5_SIGNATURE:
        raise InvalidFile(name, "the weights in the archive are no HDF5; save it again")
    with h5py.File(member, "r") as weights:
        stored = check_structure(name, weights, size)
        return stored, _steps(weights, stored)


def _inspection(
    config: dict[str, Any] | None,
    weights: Weights,
    *,
    keras_version: str | None,
    backend: str | None,
    saved_at: str | None,
    training: dict[str, Any],
    **facts: Any,
) -> Inspection:
    layers = layers_of(config, weights) if config else _containers(weights)
    first = list(islice(layers, MOST_LAYERS))
    return Inspection(
        **facts,
        keras_version=keras_version and shown(keras_version),
        written_by=written_by(keras_version, config, has_paths=weights.legacy_root is None),
        backend=backend and shown(backend),
        saved_at=saved_at and shown(saved_at),
        class_name=_class_name(config),
        parameters=weights.total,
        optimizer_numbers=weights.optimizer,
        inputs=inputs_of(config) if config else [],
        outputs=outputs_of(config) if config else [],
        containers=[shown(one) for one in sorted(weights.outermost)[:MOST_CONTAINERS]],
        layer_count=len(first) + sum(1 for _ in layers),
        layers=first,
        training=training or None,
        config=config,
    )


def _class_name(config: dict[str, Any] | None) -> str | None:
    value = (config or {}).get("class_name")
    return shown(value) if isinstance(value, str) else None


def _containers(weights: Weights) -> Iterator[Layer]:
    """The groups of weights, where no architecture says what they are."""
    for place, count in sorted(weights.containers.items(), key=lambda one: _by_number(one[0])):
        if count:
            yield Layer(shown(place.rpartition("/")[2]), "", "", count)


def _by_number(place: str) -> list[Any]:
    """``dense_2`` before ``dense_10``."""
    parts = re.split(r"(\d{1,9})", place)
    return [int(part) if number % 2 else part for number, part in enumerate(parts)]


def _kind_of(name: str, file: h5py.File, has_config: bool) -> str:
    groups = set(file)
    if has_config:
        return FULL if "model_weights" in groups else ARCHITECTURE
    if _has_layer_names(file) or groups & {"model_weights", "vars", *CONTAINERS}:
        return WEIGHTS
    if groups and groups <= {"optimizer", "optimizer_weights"}:
        return OPTIMIZER
    for attribute, meaning in OTHER_HDF5:
        if attribute in file.attrs:
            raise InvalidFile(name, meaning)
    raise InvalidFile(name, "it is an HDF5 file without a Keras model in it")


def _has_layer_names(file: h5py.File) -> bool:
    """In one attribute, or in several where they would not fit (``layer_names0`` …)."""
    return "layer_names" in file.attrs or "layer_names0" in file.attrs


def _legacy_root(file: h5py.File) -> str | None:
    """The group that holds a group per layer: Keras 1 and 2. None for Keras 3's own layout."""
    if "model_weights" in file:
        return "model_weights"
    return "" if _has_layer_names(file) else None


def _steps(file: h5py.File, stored: list[Stored]) -> int | None:
    """How many batches it was trained with, which Keras' optimizers count."""
    for one in stored:
        top, _, rest = one.place.partition("/")
        if one.shape or one.count != 1 or top not in ("optimizer", "optimizer_weights"):
            continue
        counter = rest.rpartition("/")[2].partition(":")[0].rstrip("_0123456789")
        if counter in STEPS or (one.is_integer and one.place == "optimizer/vars/0"):
            value = float(file[one.place][()])
            return int(value) if 0 <= value < MOST_STEPS else None
    return None


def _text(name: str, metadata: dict[str, Any], key: str) -> str | None:
    value = metadata.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidFile(name, f"its attribute {key!r} is no text")
    return value


def json_object(name: str, text: str | bytes) -> dict[str, Any]:
    """A stranger's JSON object: counted before it is read, no key twice in one object."""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    if sum(map(text.count, "[{,")) > MOST_VALUES:
        raise RefusedFile(name, f"its architecture says more than {MOST_VALUES:,} things")
    try:
        value = json.loads(text, object_pairs_hook=lambda pairs: _object(name, pairs))
    except InvalidFile:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidFile(
            name, f"its architecture is not readable JSON ({shown(error)})"
        ) from error
    if not isinstance(value, dict):
        raise InvalidFile(name, "its architecture is not a JSON object")
    return value


def _object(name: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, whose keys are not repeated: readers differ in which of two they believe."""
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise RefusedFile(name, f"its JSON says {shown(twice)!r} twice in one object")
    return value


def _damaged(name: str, error: Exception, what: str) -> InvalidFile:
    reason = str(error)
    if cut := re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", reason):
        there, whole = map(int, cut.groups())
        return InvalidFile(
            name, f"it is cut short: {there:,} of {whole:,} bytes are there; download it again"
        )
    if isinstance(error, BlockingIOError):
        return InvalidFile(name, "another program is writing it; try again when that is done")
    return InvalidFile(name, f"{what} is damaged ({shown(reason, 200)}); download or save it again")
