"""What goes into a model and what comes out: tensors, output kinds, their SQL types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

SQL_TYPES = {
    "float16": "FLOAT",
    "bfloat16": "FLOAT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "uint8": "SMALLINT",
    "int16": "SMALLINT",
    "uint16": "INT",
    "int32": "INT",
    "uint32": "BIGINT",
    "int64": "BIGINT",
    "string": "STRING",
}


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a network: its name, dtype and shape without the batch axis.

    A ``None`` in the shape is an axis of any length. ids is how many ids an Embedding knows that
    the input goes to: its numbers are 0 … ids - 1.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    ids: int | None = None

    @property
    def size(self) -> int | None:
        """The number of elements of one row, or None when an axis has any length."""
        size = 1
        for length in self.shape:
            if length is None:
                return None
            size *= length
        return size


@dataclass(frozen=True)
class Output:
    """How one output tensor becomes a SQL value.

    kind is one of ``label``, ``top_k``, ``scores`` or ``value`` (DESIGN of the four in
    docs/models.md); labels are the class names in the order of the scores; threshold decides
    a single sigmoid with two class names; k is the length of ``top_k``.
    """

    kind: str
    labels: tuple[str, ...] = ()
    threshold: float = 0.5
    k: int = 5

    @property
    def has_scores(self) -> bool:
        """Whether ``m_scores(x)`` exists beside ``m(x)``."""
        return self.kind in ("label", "top_k")


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a network, in the order the network takes and gives them."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain lists and strings, for the database and for a child process."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Signature:
        """The signature that ``to_json`` wrote."""
        return cls(_specs(value["inputs"]), _specs(value["outputs"]))


def _specs(values: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(v["name"], v["dtype"], tuple(v["shape"]), v.get("ids")) for v in values)


def sql_type(spec: TensorSpec, output: Output) -> str:
    """The SQL type of one output: ``ARRAY<FLOAT>``, ``STRING`` …"""
    element = SQL_TYPES[spec.dtype]
    if output.kind == "label":
        return "STRING"
    if output.kind == "top_k":
        return f"ARRAY<STRUCT<label: STRING, score: {element}>>"
    if output.kind == "value":
        return element
    return "ARRAY<" * len(spec.shape) + element + ">" * len(spec.shape)


def scores_of(spec: TensorSpec) -> Output:
    """The plain numbers of an output: a ``value`` for one number, else ``scores``."""
    return Output("value" if spec.size == 1 and len(spec.shape) <= 1 else "scores")
