"""What ``kerasql check`` says about a file: its inspection, what is refused, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasql.registry.errors import InvalidFile
from kerasql.registry.h5.apart import ask, inspection_of
from kerasql.registry.h5.describe import Layer
from kerasql.registry.h5.inspection import Inspection
from kerasql.registry.h5.shown import shown

LAYERS_SHOWN = 20
TENSORS_SHOWN = 8
WIDEST_NAME = 40


@dataclass(frozen=True)
class Report:
    """One file; inspection is None where it is no model, problem None where it can be registered.

    rewrites says what registering changes in the architecture so that today's Keras reads it.
    """

    file: str
    inspection: Inspection | None
    problem: str | None
    rewrites: tuple[str, ...] = ()

    @property
    def registrable(self) -> bool:
        """Whether the file can be registered as it is."""
        return self.problem is None

    def to_json(self) -> dict[str, Any]:
        """The same as JSON; ``inspection`` is what a version keeps."""
        return {
            "file": self.file,
            "registrable": self.registrable,
            "problem": self.problem,
            "rewrites": list(self.rewrites),
            "inspection": self.inspection and self.inspection.report(),
        }


def report_of(path: Path, defines: frozenset[str] = frozenset()) -> Report:
    """Inspect and audit one file, in a process of its own; what is wrong is in the report.

    defines are the names that code given with the file would define.
    """
    try:
        said = ask("judge", path, path.name, *sorted(defines))
    except InvalidFile as error:
        return Report(shown(path, 400), None, shown(error.args[1], 1000))
    inspection = inspection_of(said["facts"], None)
    return Report(shown(path, 400), inspection, said["problem"], tuple(said["rewrites"]))


def rows(report: Report, *, all_layers: bool = False) -> list[tuple[str, str]]:
    """The report as a table of two columns."""
    found = [("file", report.file)]
    if report.inspection:
        found += inspection_rows(report.inspection, all_layers=all_layers)
    found += [("will be rewritten", sentence) for sentence in report.rewrites]
    return [*found, ("can be registered", f"no: {report.problem}" if report.problem else "yes")]


def inspection_rows(one: Inspection, *, all_layers: bool) -> list[tuple[str, str]]:
    """What the file says of itself, in words; what it does not say is left out."""
    kind = f"{one.kind}, {one.class_name}" if one.class_name else one.kind
    backend = f", backend {one.backend}" if one.backend else ""
    saved = f", saved {one.saved_at}" if one.saved_at else ""
    optimizer = (
        f", and {one.optimizer_numbers:,} numbers of the optimizer" if one.optimizer_numbers else ""
    )
    return [
        ("is", f"{kind} ({'.keras archive' if one.format == 'keras' else 'HDF5'})"),
        ("written by", f"{one.written_by}{backend}{saved}"),
        ("size", f"{one.size_bytes:,} bytes"),
        ("parameters", f"{one.parameters:,}{optimizer}"),
        *limited([("input", input_words(it)) for it in one.inputs], TENSORS_SHOWN, "inputs"),
        *limited([("output", output_words(it)) for it in one.outputs], TENSORS_SHOWN, "outputs"),
        *([("trained with", training_words(one.training))] if one.training else []),
        ("layers", f"{one.layer_count:,}"),
        *layer_rows(one, all_layers=all_layers),
    ]


def layer_rows(one: Inspection, *, all_layers: bool) -> list[tuple[str, str]]:
    """A row for each of the first layers; inner ones are indented."""
    listed = one.layers if all_layers else one.layers[:LAYERS_SHOWN]
    names = [f"{'  ' * depth(layer)}{layer.name}" for layer in listed]
    width = min(max(map(len, names), default=0), WIDEST_NAME)
    found = [
        ("", f"{name:{width}}  {layer_words(layer)}".rstrip())
        for name, layer in zip(names, listed, strict=True)
    ]
    if left := one.layer_count - len(found):
        found.append(("", f"… {left:,} more" + ("" if all_layers else " (--layers for all)")))
    return found


def depth(layer: Layer) -> int:
    """How many models the layer lies in."""
    return layer.path.count("/") + 1 if layer.path else 0


def limited(found: list[tuple[str, str]], most: int, what: str) -> list[tuple[str, str]]:
    """The first rows, and how many more there are."""
    more = len(found) - most
    return [*found[:most], *([("", f"… {more:,} more {what}")] if more > 0 else [])]


def input_words(given: dict[str, Any]) -> str:
    """``row: float32 (any, 4)``; the first axis is the rows'."""
    shape = given["shape"]
    axes = "shape not said" if shape is None else f"({', '.join(map(axis, shape))})"
    return " ".join(filter(None, [f"{given['name']}:", given["dtype"], axes]))


def axis(length: int | None) -> str:
    """One axis of a shape."""
    return "any" if length is None else str(length)


def output_words(given: dict[str, Any]) -> str:
    """``species: 3 numbers, softmax``."""
    units = given["units"]
    numbers = "" if units is None else "1 number" if units == 1 else f"{units:,} numbers"
    known = ", ".join(filter(None, [numbers, given["activation"]]))
    return f"{given['name']}: {known or given['class_name']}"


def training_words(training: dict[str, Any]) -> str:
    """Loss, optimizer, metrics and steps in one line."""
    steps = training.get("steps")
    return "; ".join(
        [
            *(f"{key} {training[key]}" for key in ("loss", "metrics") if key in training),
            *([training["optimizer"]] if "optimizer" in training else []),
            *([f"{steps:,} step{'s' * (steps != 1)}"] if steps is not None else []),
        ]
    )


def layer_words(layer: Layer) -> str:
    """``Dense  1,024``: the class and the numbers of its weights, where it has any."""
    what = f"{layer.class_name} of {layer.layers} layers" if layer.layers else layer.class_name
    return "  ".join(filter(None, [what, f"{layer.parameters:,}" if layer.parameters else ""]))
