"""The function Spark calls on an executor with Arrow batches. No TensorFlow, no database."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from kerasql.registry.engine import Predict, agree, engine_named, largest_difference
from kerasql.registry.errors import BrokenArtifact, EngineFailed
from kerasql.udf import batch
from kerasql.udf.files import Files
from kerasql.udf.plan import Plan

MOST_NETWORKS = 8
"""Networks that one Python worker keeps loaded; the least recently used leaves first."""


def predict(
    plan: Plan, files: Files, batches: Iterator[pa.Array | tuple[pa.Array, ...]]
) -> Iterator[pa.Array]:
    """One answer per row, in order; a bad row's answer is NULL."""
    os.environ["KERASQL_MAX_PIXELS"] = str(plan.max_pixels)
    for columns in batches:
        yield answered(plan, files, columns if isinstance(columns, tuple) else (columns,))


def answered(plan: Plan, files: Files, columns: Sequence[pa.Array]) -> pa.Array:
    """The answers to one Arrow batch, a few rows decoded at a time."""
    rows = len(columns[0])
    parts = [
        scored(plan, files, [array.slice(start, plan.batch_rows) for array in columns])
        for start in range(0, max(rows, 1), plan.batch_rows)
    ]
    return pa.concat_arrays(parts)


def scored(plan: Plan, files: Files, columns: Sequence[pa.Array]) -> pa.Array:
    """Prepare the rows, predict those that can be, put the answers in their places."""
    prepared, reasons = batch.tensors(plan, columns)
    good = [index for index, reason in enumerate(reasons) if reason is None]
    groups = []
    for positions in same_shapes(prepared, good):
        inputs = [
            np.ascontiguousarray(preprocessor.finish(np.stack([rows[i] for i in positions]), spec))
            for rows, preprocessor, spec in zip(
                prepared, plan.preprocess, plan.signature.inputs, strict=True
            )
        ]
        groups += predicted(network(plan, files), inputs, positions, reasons)
    return batch.column(plan, groups, reasons)


def predicted(
    loaded: Predict, inputs: list[np.ndarray], positions: list[int], reasons: batch.Reasons
) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """(positions, outputs) of the rows; where an engine refuses them, of each row by itself.

    The engine has answered its golden sample: what it refuses now is this row's fault.
    """
    try:
        return [(np.array(positions), loaded(inputs))]
    except MemoryError:
        raise
    except Exception as error:
        if len(positions) == 1:
            said = (str(error).strip().splitlines() or [""])[0]
            reasons[positions[0]] = f"the network refuses it ({type(error).__name__}: {said[:200]})"
            return []
    singly = [[value[n : n + 1] for value in inputs] for n in range(len(positions))]
    return [
        answer
        for position, row in zip(positions, singly, strict=True)
        for answer in predicted(loaded, row, [position], reasons)
    ]


def same_shapes(prepared: Sequence[Sequence[np.ndarray]], good: Sequence[int]) -> list[list[int]]:
    """The rows grouped by shape: an axis of any length may differ from row to row."""
    groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for index in good:
        groups.setdefault(tuple(rows[index].shape for rows in prepared), []).append(index)
    return list(groups.values())


def network(plan: Plan, files: Files) -> Predict:
    """The loaded network of the plan: once per Python worker, however many functions use it."""
    key = (plan.engine, plan.threads, *sorted(plan.artifacts.items()))
    if key not in _networks:
        _networks[key] = load(plan, files)
        if len(_networks) > MOST_NETWORKS:
            _networks.popitem(last=False)
    _networks.move_to_end(key)
    return _networks[key]


_networks: OrderedDict[Hashable, Predict] = OrderedDict()


def load(plan: Plan, files: Files) -> Predict:
    """A network whose every byte was checked and whose golden sample came out right."""
    paths = {role: files.path(sha256) for role, sha256 in plan.artifacts.items()}
    for role, sha256 in plan.artifacts.items():
        check(paths[role], sha256, ref=plan.ref, role=role)
    engine = engine_named(plan.engine)
    try:
        loaded = engine.load(paths, threads=plan.threads)
        prove(plan, loaded, paths["golden"])
    except EngineFailed:
        raise
    except Exception as error:
        raise EngineFailed(plan.ref, plan.engine, f"{type(error).__name__}: {error}") from error
    return loaded


def check(path: Path, sha256: str, *, ref: str, role: str) -> None:
    """Raise BrokenArtifact where a file's bytes are not those that were registered."""
    artifact = f"{role!r} ({sha256})"
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BrokenArtifact(ref, artifact, f"did not reach this executor ({error})") from error
    if found != sha256:
        raise BrokenArtifact(ref, artifact, f"is damaged: its bytes have the SHA-256 {found}")


def prove(plan: Plan, loaded: Predict, golden: Path) -> None:
    """Raise EngineFailed where this machine answers the golden sample otherwise than Keras did."""
    with np.load(golden, allow_pickle=False) as arrays:
        inputs = [arrays[f"x{n}"] for n in range(len(plan.signature.inputs))]
        expected = [arrays[f"y{n}"] for n in range(len(plan.signature.outputs))]
    ours = loaded(inputs)
    numeric = [spec.dtype != "string" for spec in plan.signature.outputs]
    ours, expected = (
        [value for value, kept in zip(values, numeric, strict=True) if kept]
        for values in (ours, expected)
    )
    if not agree(ours, expected):
        difference = largest_difference(ours, expected)
        raise EngineFailed(
            plan.ref,
            plan.engine,
            f"its answer to the golden sample differs from Keras' by {difference:.2g} here",
        )
