"""What a file is, before anything in it is believed: h5py and JSON, no TensorFlow, no Keras."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import h5py

from kerasql.registry.errors import InvalidFile, RefusedFile

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
LARGEST_CONFIG_BYTES = 64 * 2**20
MOST_OBJECTS = 200_000
MOST_EXPANSION = 1024
"""Deflate cannot shrink more than 1032-fold: a dataset beyond that declares bytes it has not."""

WEIGHTS = {"model_weights", "layers", "vars"}
"""Groups that ``save_weights`` writes: Keras 1 and 2 the first, Keras 3 the others."""

NOT_MODELS = (
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file; fetch it: git lfs pull"),
    (b"<?xml", "it is an XML page, probably a storage service's error message; download it again"),
    (b"<Error", "it is a storage service's error message; download it again"),
    (b"<", "it is an HTML page, not a model; download the file itself, not the page about it"),
    (b"\x80", "it is a Python pickle; kerasql never opens one; save it with model.save('m.h5')"),
    (b"{", "it is JSON; a model needs its weights too: save the whole with model.save('m.h5')"),
)


@dataclass(frozen=True)
class Inspection:
    """What the file says of itself.

    format is ``h5`` or ``keras``; parameters counts the numbers in its weights; config is the
    architecture as JSON read it (not part of the report); training is the loss and optimizer
    it was compiled with, where it says.
    """

    format: str
    keras_version: str | None
    class_name: str
    parameters: int
    size_bytes: int
    training: dict[str, Any] | None
    config: dict[str, Any]

    def report(self) -> dict[str, Any]:
        """The part that a version keeps: everything but the config."""
        return {name: value for name, value in asdict(self).items() if name != "config"}


def inspect(path: Path, name: str | None = None) -> Inspection:
    """Say what a model file is; one that is no whole Keras model raises InvalidFile.

    name is what errors call it, by default the file's own.
    """
    name = name or path.name
    if path.is_dir():
        raise InvalidFile(name, "it is a folder (a SavedModel?); save one file: model.save('m.h5')")
    if not path.is_file():
        raise InvalidFile(name, f"there is no such file ({path})")
    size = path.stat().st_size
    if size == 0:
        raise InvalidFile(name, "it is empty (zero bytes); download or save it again")
    with path.open("rb") as file:
        head = file.read(64)
    # The first bytes decide, here and where Keras loads it: a file that is two things at once
    # must not be audited as one and loaded as the other.
    if head.startswith(HDF5_SIGNATURE):
        if not h5py.is_hdf5(path):
            raise InvalidFile(name, "its HDF5 header is damaged; download or save it again")
        return _inspect_h5(path, name, size)
    if head.startswith(b"PK"):
        return _inspect_keras(path, name, size)
    if h5py.is_hdf5(path):
        raise RefusedFile(name, "its HDF5 data does not begin with the file's first byte")
    for signature, meaning in NOT_MODELS:
        if head.lstrip().startswith(signature):
            raise InvalidFile(name, meaning)
    raise InvalidFile(
        name, f"it is neither HDF5 nor a .keras archive (it begins with {head[:12]!r})"
    )


def _inspect_h5(path: Path, name: str, size: int) -> Inspection:
    try:
        with h5py.File(path, "r") as file:
            parameters = _check_structure(name, file, size)
            attributes = {
                key: _attribute(name, file, key)
                for key in ("keras_version", "model_config", "training_config")
            }
            weights = file.get("model_weights", file)
            version = attributes.get("keras_version") or _attribute(name, weights, "keras_version")
            architecture = attributes.get("model_config")
            if architecture is None:
                if "layer_names" in file.attrs or WEIGHTS & set(file):
                    raise InvalidFile(
                        name,
                        "it holds weights only; save the whole model: model.save('m.h5')",
                    )
                raise InvalidFile(name, "it is an HDF5 file without a Keras model in it")
    except (OSError, RuntimeError, KeyError, UnicodeDecodeError) as error:
        raise InvalidFile(
            name, f"its HDF5 structure is damaged ({error}); download or save it again"
        ) from error
    config = _json(name, architecture)
    training = attributes.get("training_config")
    return Inspection(
        format="h5",
        keras_version=version,
        class_name=str(config.get("class_name")),
        parameters=parameters,
        size_bytes=size,
        training=_training(name, training) if training else None,
        config=config,
    )


def _inspect_keras(path: Path, name: str, size: int) -> Inspection:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if not {"config.json", "metadata.json", "model.weights.h5"} <= names:
                raise InvalidFile(name, "it is a ZIP file, but not a .keras archive")
            for info in archive.infolist():
                if info.file_size > MOST_EXPANSION * max(info.compress_size, 1):
                    raise RefusedFile(name, f"{info.filename!r} declares too many bytes")
                if info.filename.startswith("/") or ".." in Path(info.filename).parts:
                    raise RefusedFile(name, f"{info.filename!r} leaves the archive")
            config = _json(name, _member(name, archive, "config.json"))
            metadata = _json(name, _member(name, archive, "metadata.json"))
            with archive.open("model.weights.h5") as member:
                parameters = _inspect_weights(name, member, size)
    except (zipfile.BadZipFile, OSError, RuntimeError, KeyError, NotImplementedError) as error:
        raise InvalidFile(
            name, f"the archive is damaged ({error}); download or save it again"
        ) from error
    # Nobody compiles it again: Keras drops this key too where a model is loaded to predict.
    compiled = config.pop("compile_config", None)
    return Inspection(
        format="keras",
        keras_version=_text(name, "keras_version", metadata.get("keras_version")),
        class_name=str(config.get("class_name")),
        parameters=parameters,
        size_bytes=size,
        training=compiled if isinstance(compiled, dict) else None,
        config=config,
    )


def _inspect_weights(name: str, member: IO[bytes], size: int) -> int:
    with h5py.File(member, "r") as weights:
        return _check_structure(name, weights, size)


def _check_structure(name: str, file: h5py.File, size: int) -> int:
    """Refuse what leaves the file or lies about its size; return the number of weights."""
    parameters = 0
    for where, item in _objects(name, file):
        if not isinstance(item, h5py.Dataset):
            continue
        if item.external or item.is_virtual:
            raise RefusedFile(name, f"the dataset {where!r} keeps its bytes in another file")
        if item.nbytes > MOST_EXPANSION * size:
            raise RefusedFile(
                name,
                f"the dataset {where!r} declares {item.nbytes:,} bytes in a {size:,} byte file",
            )
        if "optimizer" not in where.split("/")[1]:
            parameters += int(item.size or 0)
    return parameters


def _objects(name: str, file: h5py.File) -> Iterator[tuple[str, Any]]:
    seen: set[Any] = set()
    groups: list[tuple[str, h5py.Group]] = [("", file)]
    count = 0
    while groups:
        where, group = groups.pop()
        for key in group:
            count += 1
            if count > MOST_OBJECTS:
                raise RefusedFile(name, f"it holds more than {MOST_OBJECTS:,} objects")
            place = f"{where}/{key}"
            if isinstance(group.get(key, getlink=True), h5py.ExternalLink):
                raise RefusedFile(name, f"the link {place!r} leads to another file")
            item = group[key]
            if item.id in seen:
                continue
            seen.add(item.id)
            if isinstance(item, h5py.Group):
                groups.append((place, item))
            yield place, item


def _attribute(name: str, item: Any, key: str) -> str | None:
    return _text(name, key, item.attrs.get(key))


def _text(name: str, key: str, value: Any) -> str | None:
    value = value.decode() if isinstance(value, bytes) else value
    if value is not None and not isinstance(value, str):
        raise InvalidFile(name, f"its attribute {key!r} is no text")
    return value


def _member(name: str, archive: zipfile.ZipFile, member: str) -> bytes:
    if archive.getinfo(member).file_size > LARGEST_CONFIG_BYTES:
        raise RefusedFile(name, f"{member!r} is larger than {LARGEST_CONFIG_BYTES:,} bytes")
    return archive.read(member)


def _json(name: str, text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidFile(name, f"its architecture is not readable JSON ({error})") from error
    if not isinstance(value, dict):
        raise InvalidFile(name, "its architecture is not a JSON object")
    return value


def _training(name: str, text: Any) -> dict[str, Any]:
    training = _json(name, text)
    return {
        key: training[key] for key in ("loss", "metrics", "optimizer_config") if key in training
    }
