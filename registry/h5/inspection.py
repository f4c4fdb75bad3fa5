"""What an inspection found in a model file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from kerasql.registry.errors import InvalidFile
from kerasql.registry.h5.describe import Layer

FULL, ARCHITECTURE = "full model", "architecture only"
WEIGHTS, OPTIMIZER = "weights only", "optimizer state"


@dataclass(frozen=True)
class Inspection:
    """What the file says of itself.

    format is ``h5`` or ``keras``; kind is ``full model``, ``weights only``, ``optimizer state`` or
    ``architecture only``; parameters counts the numbers in its weights, optimizer_numbers those
    of its optimizer; containers are the outermost groups of its weights; layers holds the first
    2,000 of layer_count, those of inner models after their model; training is the loss, optimizer
    and metrics in words; config is the architecture as JSON read it, a dict, or None where the
    file has none (not part of the report).
    """

    format: str
    kind: str
    keras_version: str | None
    written_by: str
    backend: str | None
    saved_at: str | None
    class_name: str | None
    parameters: int
    optimizer_numbers: int
    size_bytes: int
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    containers: list[str]
    layer_count: int
    layers: list[Layer]
    training: dict[str, Any] | None
    config: Any = field(repr=False)

    def report(self) -> dict[str, Any]:
        """The part that a version keeps: everything but the config."""
        facts = asdict(replace(self, config=None))
        del facts["config"]
        return facts


def require_model(inspection: Inspection, name: str) -> None:
    """Raise InvalidFile, with what to do, unless the file holds architecture and weights."""
    whole = "save the whole model: model.save('m.h5')"
    sentences = {
        WEIGHTS: f"it holds weights only; {whole}, or give the architecture beside it: "
        "architecture=model.json (--architecture model.json), or code=file.py with `def build()` "
        "that returns the model (--code file.py --trust-code)",
        OPTIMIZER: f"it holds the state of an optimizer only; {whole}",
        ARCHITECTURE: f"it holds an architecture without weights; {whole}",
    }
    if inspection.kind in sentences:
        raise InvalidFile(name, sentences[inspection.kind])
