"""What happens in the child process that loads a stranger's model; ``jail.py`` starts it.

It reads request.json in the folder, writes artifacts beside it, and says one JSON line per step.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kerasql.registry import engine as engines
from kerasql.registry.errors import BadRow, InvalidInput, KerasqlError, spelled
from kerasql.registry.h5.shown import shown
from kerasql.registry.keras_engine import (
    compute_in_bf16,
    cpu_has_bf16,
    keras_predict,
    load_keras,
)
from kerasql.registry.preprocess import Preprocessor, Tensor, preprocessor_from_json
from kerasql.registry.signature import Signature, TensorSpec

PROBES = 4
"""How many rows Keras and an engine are compared on."""

BF16_PROBES = 64
"""How many rows say what bfloat16 costs: with four, top-1 agreement would mean nothing."""

NO_BF16 = (
    "the precision 'bf16' cannot be measured here: this machine's CPU has no bfloat16; "
    "register where it has, or leave the precision at 'f32'"
)

EMBEDDINGS = ("Embedding", "ReversibleEmbedding")

TOO_LARGE = "it needs more memory than KERASQL_CONSTRUCT_MEMORY_MB allows"
NO_MEMORY = ("failed to map segment", "annot allocate memory", "bad_alloc", "ResourceExhausted")
"""How the loader, libc, C++ and TensorFlow word it."""

WHERE_NOT_WHAT = "Exception encountered when calling"
"""How Keras begins a message whose reason stands in the next line."""

FREE_AXIS = 12
"""How long a probe is along an axis of any length."""


def main() -> None:
    """Answer the request of the folder named on the command line."""
    folder = Path(sys.argv[1])
    # What TensorFlow prints must not mix with our lines.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**message: Any) -> None:
        print(json.dumps(message), file=out, flush=True)

    try:
        request = json.loads((folder / "request.json").read_text())
        say(done=answer(folder, request, say))
    except InvalidInput as error:
        say(invalid=type(error).__name__, args=error.args)
    except Exception as error:
        short = isinstance(error, MemoryError) or any(sign in str(error) for sign in NO_MEMORY)
        say(failed=TOO_LARGE if short else first_line(error))


def answer(folder: Path, request: Mapping[str, Any], say: Any) -> dict[str, Any]:
    """Load, probe, compile and compare; everything the registry keeps, as JSON."""
    say(step="loading the model into Keras")
    # Only here: loading imports Keras.
    from kerasql.registry.h5.load import opened

    found = opened(request, folder, threads=os.cpu_count() or 1)
    model = found.model
    signature = signature_of(model)
    preprocess = preprocessors(signature, request["preprocess"])
    say(signature=signature.to_json())
    say(step="predicting with Keras")
    limit = smallest_vocabulary(model)

    def probes_of(rows: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            probe(spec, preprocess[spec.name], limit, seed, rows=rows)
            for seed, spec in enumerate(signature.inputs)
        ]

    prepared, probes = (list(one) for one in zip(*probes_of(PROBES), strict=True))
    predict = keras_predict(model)
    expected = predict(probes)
    files = {"golden": folder / "golden.npz"}
    write_golden(files["golden"], prepared, probes, expected)
    if found.upgraded:
        files["upgraded"] = found.upgraded
    name, report = "keras", {}
    if request["engine"] in (None, "openvino"):
        say(step="compiling for OpenVINO and comparing with Keras")
        report = prove_openvino(model, folder, probes, expected)
        if "refused" not in report:
            name = "openvino"
            files |= {
                "openvino.xml": folder / "network.xml",
                "openvino.bin": folder / "network.bin",
            }
        elif request["engine"] == "openvino":
            raise InvalidInput(
                f"the engine 'openvino' cannot serve this model: {report['refused']}"
            )
    if request["precision"] == "bf16":
        say(step="comparing bfloat16 with Keras")
        if name == "openvino":
            ours = in_openvino_bf16(files)
        else:
            ours = in_keras_bf16(found.upgraded or Path(request["path"]), request["code"])
        report |= measure_bf16(predict, ours, [probe for _, probe in probes_of(BF16_PROBES)])
    return {
        "signature": signature.to_json(),
        "preprocess": {name: value.to_json() for name, value in preprocess.items()},
        "layers": layers_of(model),
        "parameters": int(model.count_params()),
        "engine": name,
        "engine_report": {"engine": name, **report},
        "upgrade": found.applied,
        "files": {role: path.name for role, path in files.items()},
    }


def signature_of(model: Any) -> Signature:
    """The inputs and outputs of a Keras model, named as Keras names them."""
    outputs = list(model.outputs)
    names = [output._keras_history.operation.name for output in outputs]
    if len(set(names)) != len(names):
        names = [f"output_{number}" for number in range(1, len(outputs) + 1)]
    return Signature(
        tuple(replace(spec_of(i.name, i), ids=ids_of(model, i)) for i in model.inputs),
        tuple(spec_of(name, o) for name, o in zip(names, outputs, strict=True)),
    )


def spec_of(name: str, tensor: Any) -> TensorSpec:
    """One tensor's name, dtype and shape without its batch axis."""
    if not name.isprintable():
        raise InvalidInput(f"the tensor {name!r} has a name that cannot be shown; rename it")
    batch, *shape = tensor.shape
    if batch is not None:
        raise InvalidInput(
            f"the tensor {name!r} has a fixed batch size of {batch}; "
            "save the model with inputs of any batch size (batch_size=None)"
        )
    return TensorSpec(name, str(tensor.dtype), tuple(shape))


def ids_of(model: Any, tensor: Any) -> int | None:
    """How many ids the Embedding that an input goes to knows; None where it goes elsewhere."""
    sizes = [
        node.operation.input_dim
        for layer in model.layers
        for node in layer._inbound_nodes
        if type(layer).__name__ in EMBEDDINGS and node.input_tensors[0] is tensor
    ]
    return min(sizes, default=None)


def preprocessors(signature: Signature, given: Mapping[str, Any] | None) -> dict[str, Preprocessor]:
    """One checked preprocessor per input; numbers as they are where none is given."""
    names = [spec.name for spec in signature.inputs]
    given = dict(given or {})
    if "" in given:
        if len(names) > 1:
            raise InvalidInput(
                f"the model has {len(names)} inputs; give a preprocessor for each of "
                f"{spelled(names)}: preprocess={{name: …}}"
            )
        given = {names[0]: given[""]}
    if unknown := sorted(set(given) - set(names)):
        raise InvalidInput(f"the model has no input {spelled(unknown)}; there is {spelled(names)}")
    chosen = {
        name: preprocessor_from_json(given[name]) if name in given else Tensor() for name in names
    }
    for spec in signature.inputs:
        chosen[spec.name].check(spec)
    return chosen


def probe(
    spec: TensorSpec, preprocessor: Preprocessor, limit: int, seed: int, *, rows: int
) -> tuple[np.ndarray, np.ndarray]:
    """So many rows as the preprocessor prepares them, and as the network will see them.

    The same twice where they could not be made through the preprocessor.
    """
    rng = np.random.default_rng(seed)
    shape = tuple(length or FREE_AXIS for length in spec.shape)
    free = replace(spec, shape=shape)
    if isinstance(preprocessor, Tensor) and (spec.ids or "int" in spec.dtype):
        ids = rng.integers(0, spec.ids or limit, (rows, *shape)).astype(spec.dtype)
        return ids, ids
    try:
        made = [preprocessor.prepare(preprocessor.example(free, rng), free) for _ in range(rows)]
    except BadRow:
        if not preprocessor.runs_code:
            raise
        # What a stranger's function takes cannot be guessed; the network is proven without it.
        random = rng.random((rows, *shape)).astype(spec.dtype)
        return random, random
    prepared = np.stack([row for row in made if row.shape == made[0].shape])
    return prepared, preprocessor.finish(prepared, free)


def smallest_vocabulary(model: Any) -> int:
    """How many ids every Embedding of the model knows; 2 where there is none."""
    sizes = [
        layer.input_dim for layer in model._flatten_layers() if type(layer).__name__ in EMBEDDINGS
    ]
    return min(sizes, default=2)


def prove_openvino(
    model: Any, folder: Path, probes: list[np.ndarray], expected: list[np.ndarray]
) -> dict[str, Any]:
    """Compile for OpenVINO and compare with Keras, one row at a time and all at once."""
    try:
        started = time.perf_counter()
        files = engines.compile_openvino(model, folder)
        predict = engines.ENGINES["openvino"].load(files)
        ours = predict(probes)
        rows = [predict([p[n : n + 1] for p in probes]) for n in range(len(probes[0]))]
        singly = [np.concatenate(column) for column in zip(*rows, strict=True)]
        seconds = round(time.perf_counter() - started, 2)
    except Exception as error:
        return {"refused": f"OpenVINO cannot convert it ({first_line(error)})"}
    difference = max(
        engines.largest_difference(ours, expected), engines.largest_difference(singly, expected)
    )
    report: dict[str, Any] = {"difference": difference, "compile_s": seconds}
    if not (engines.agree(ours, expected) and engines.agree(singly, expected)):
        report["refused"] = f"OpenVINO's answers differ from Keras' by up to {difference:.2g}"
    return report


def in_openvino_bf16(files: Mapping[str, Path]) -> engines.Predict:
    """The network of OpenVINO's files in bfloat16. Raises InvalidInput where this CPU has none."""
    if not engines.has_bf16():
        raise InvalidInput(NO_BF16)
    return engines.ENGINES["openvino"].load(files, precision="bf16")


def in_keras_bf16(path: Path, code: str | None) -> engines.Predict:
    """A Keras model in bfloat16, loaded once more. Raises InvalidInput where this CPU has none."""
    if not cpu_has_bf16():
        raise InvalidInput(NO_BF16)
    model = load_keras(path, code=code, threads=os.cpu_count() or 1)
    compute_in_bf16(model)
    return keras_predict(model, precision="bf16")


def measure_bf16(
    keras: engines.Predict, ours: engines.Predict, probes: Sequence[np.ndarray]
) -> dict[str, Any]:
    """What a report says of a network in bfloat16: the largest difference, the same top-1."""
    rows = min(len(value) for value in probes)
    # A few rows at once, as the other proof: a large network's layers must fit.
    parts = [[value[n : n + PROBES] for value in probes] for n in range(0, rows, PROBES)]
    try:
        computed, expected = (
            [np.concatenate(column) for column in zip(*map(predict, parts), strict=True)]
            for predict in (ours, keras)
        )
    except Exception as error:
        raise InvalidInput(
            f"the precision 'bf16' cannot be computed on this model ({first_line(error)}); "
            "leave it at 'f32'"
        ) from error
    difference = engines.largest_difference(computed, expected)
    if not math.isfinite(difference):
        raise InvalidInput(
            "the precision 'bf16' gives numbers that are none (NaN or infinity) on this model; "
            "leave it at 'f32'"
        )
    return {
        "precision": "bf16",
        "bf16_difference": difference,
        "bf16_top1": engines.same_top_1(computed, expected),
    }


def write_golden(
    path: Path,
    prepared: Sequence[np.ndarray],
    inputs: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
) -> None:
    """Keep one row that Keras answered: arrays p0 …, x0 … and y0 …, shapes (1, …), no pickles.

    p are prepared rows, before the preprocessor's ``finish``, x the network's inputs, y Keras'
    answers.
    """
    arrays = {f"p{n}": _plain(value[:1]) for n, value in enumerate(prepared)}
    arrays |= {f"x{n}": _plain(value[:1]) for n, value in enumerate(inputs)}
    arrays |= {f"y{n}": _plain(value[:1]) for n, value in enumerate(outputs)}
    np.savez(path, allow_pickle=False, **arrays)


def _plain(value: np.ndarray) -> np.ndarray:
    return value.astype(str) if value.dtype == object else value


def layers_of(model: Any) -> list[dict[str, Any]]:
    """Name, class, output shape and parameters of each layer, as ``model.summary()`` lists them."""
    return [
        {
            "name": shown(layer.name),
            "class": type(layer).__name__,
            "output": _shape_of(layer),
            "parameters": int(layer.count_params()) if hasattr(layer, "count_params") else 0,
        }
        for layer in model.layers
    ]


def _shape_of(layer: Any) -> Any:
    try:
        output = layer.output
    except (AttributeError, ValueError):
        return None
    return [list(o.shape) for o in output] if isinstance(output, list) else list(output.shape)


def first_line(error: BaseException) -> str:
    """An error of a library in one line."""
    if isinstance(error, KerasqlError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(WHERE_NOT_WHAT)] or lines
    said = next((line for line in lines if "No conversion rule" in line), *telling[:1] or [""])
    # Keras shows the whole config of the layer it cannot make.
    said = said.partition(" using config=")[0]
    return shown(f"{type(error).__name__}: {said}", 400)
