"""What the registry knows, as frozen facts: versions, models, datasets, artifacts."""

from __future__ import annotations

import glob
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from kerasql.registry.errors import InvalidInput
from kerasql.registry.signature import Output, Signature

# PostgreSQL keeps no NUL, and half a character cannot be encoded.
NOT_TEXT = re.compile("[\\x00\\ud800-\\udfff]")


@dataclass(frozen=True)
class Artifact:
    """Bytes at rest: their SHA-256 in hex, which is also their name, and their size."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Examined:
    """What registering found out about a model file.

    layers is one dict per layer; engine_report says which engine was chosen, the largest
    difference to Keras (in bf16 too, where the owner allowed it), or why an engine was refused.
    """

    signature: Signature
    layers: list[dict[str, Any]]
    parameters: int
    keras_version: str | None
    engine: str
    engine_report: dict[str, Any]
    inspection: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for the database."""
        return asdict(self) | {"signature": self.signature.to_json()}


@dataclass(frozen=True)
class Version:
    """One immutable deposit under a model's name.

    preprocess maps an input's name to its preprocessor as JSON; outputs says how each output
    becomes a SQL value; columns are the names of a tabular input; artifacts are by role
    (``model``, ``golden``, ``openvino.xml`` …). existed is True when the same deposit had been
    made before and nothing was stored.
    """

    name: str
    number: int
    aliases: tuple[str, ...]
    signature: Signature
    preprocess: dict[str, Any]
    outputs: dict[str, Output]
    columns: tuple[str, ...] | None
    layers: list[dict[str, Any]]
    parameters: int
    keras_version: str | None
    description: str
    tags: tuple[str, ...]
    owner: str | None
    created_at: datetime
    metrics: dict[str, float]
    engine: str
    engine_report: dict[str, Any]
    inspection: dict[str, Any]
    artifacts: dict[str, Artifact]
    existed: bool = False

    @property
    def ref(self) -> str:
        """``name@3``: what names this version for ever."""
        return f"{self.name}@{self.number}"

    @property
    def precision(self) -> str:
        """What the engine may compute in: ``f32``, or ``bf16`` where the owner allowed it."""
        return str(self.engine_report.get("precision", "f32"))

    @property
    def has_scores(self) -> bool:
        """Whether ``m_scores(x)`` exists beside ``m(x)``."""
        return any(output.has_scores for output in self.outputs.values())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for ``--json`` and the page."""
        return {"ref": self.ref, **asdict(self), "created_at": self.created_at.isoformat()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Version:
        """The version that ``to_json`` wrote."""
        outputs = {
            name: Output(**{**one, "labels": tuple(one["labels"])})
            for name, one in value["outputs"].items()
        }
        columns = value["columns"]
        given = {
            **facts_of(cls, value),
            "aliases": tuple(value["aliases"]),
            "signature": Signature.from_json(value["signature"]),
            "outputs": outputs,
            "columns": None if columns is None else tuple(columns),
            "tags": tuple(value["tags"]),
            "artifacts": {role: Artifact(**one) for role, one in value["artifacts"].items()},
        }
        return cls(**given)


@dataclass(frozen=True)
class Model:
    """A name and what is kept under it: its aliases (to numbers) and its latest version."""

    name: str
    description: str
    aliases: dict[str, int]
    latest: int
    versions: int
    created_at: datetime

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for ``--json`` and the page."""
        return {**asdict(self), "created_at": self.created_at.isoformat()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Model:
        """The model that ``to_json`` wrote."""
        return cls(**facts_of(cls, value))


@dataclass(frozen=True)
class AliasMove:
    """One move of a model's alias; no number is where the alias was made or removed."""

    model: str
    alias: str
    from_number: int | None
    to_number: int | None
    at: datetime
    by: str | None
    why: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for ``--json`` and the page."""
        return {**asdict(self), "at": self.at.isoformat()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AliasMove:
        """The move that ``to_json`` wrote."""
        return cls(**facts_of(cls, value))


@dataclass(frozen=True)
class Dataset:
    """What analysts may put after FROM: a format, a path or URL, and the reader's options."""

    name: str
    format: str
    path: str
    options: dict[str, str]
    description: str
    owner: str | None
    created_at: datetime

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for ``--json`` and the page."""
        return {**asdict(self), "created_at": self.created_at.isoformat()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Dataset:
        """The dataset that ``to_json`` wrote."""
        return cls(**facts_of(cls, value))


def facts_of(cls: type, value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass from JSON, instants as such."""
    moments = {"created_at", "at"}
    return {
        one.name: datetime.fromisoformat(value[one.name])
        if one.name in moments
        else value[one.name]
        for one in fields(cls)
        if one.name in value
    }


def fingerprint(
    model_sha256: str,
    outputs: Mapping[str, Output],
    *,
    preprocess: Mapping[str, Any],
    columns: Sequence[str] | None,
    engine: str,
    precision: str = "f32",
    given: Mapping[str, str],
) -> str:
    """The SHA-256 of what makes a version that version: registering the same again adds none.

    given are the SHA-256 sums of what was given beside the model file (``code``,
    ``architecture``).
    """
    facts: dict[str, Any] = {
        "model": model_sha256,
        "outputs": {name: asdict(output) for name, output in outputs.items()},
        "preprocess": dict(preprocess),
        "columns": list(columns) if columns else None,
        "engine": engine,
        # Left out at the default: older versions' fingerprints have no precision.
        **({"precision": precision} if precision != "f32" else {}),
        **given,
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def plain_text(text: str) -> str:
    """The text, if both databases can keep it."""
    if not isinstance(text, str) or NOT_TEXT.search(text):
        raise InvalidInput(f"{text!r} is no text that can be kept; use ordinary characters")
    return text


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as finite numbers: JSON has no others."""
    kept = {}
    for name, value in metrics.items():
        try:
            kept[plain_text(name)] = number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise InvalidInput(f"the metric {name!r} is {value!r}; give a finite number")
    return kept


def absolute_path(path: str) -> str:
    """A dataset's path: a URL as it is, a local path (or pattern) that exists made absolute.

    An empty one stays empty, for formats that read no files (``jdbc``).
    """
    if not path or ("://" in path and not path.startswith("file://")):
        return path
    local = path.removeprefix("file://").removeprefix("file:")
    local = str(Path(local).expanduser().absolute())
    if not Path(local).exists() and not glob.glob(local):  # noqa: PTH207 - the pattern is a whole path
        raise InvalidInput(f"there is nothing at {local}; give a folder, a file or a URL")
    return local
