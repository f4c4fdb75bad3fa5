"""Arrow columns to tensors and back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kerasql.registry.errors import BadRow, InvalidArguments
from kerasql.registry.preprocess import Code, Image, Preprocessor, Tensor
from kerasql.registry.signature import SQL_TYPES, Output, TensorSpec
from kerasql.udf.plan import Plan

ARROW_TYPES = {
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "INT": pa.int32(),
    "BIGINT": pa.int64(),
    "STRING": pa.string(),
}

Reasons = list[str | None]
"""Why each row has no answer; None for a row that has one."""


# --- in


def tensors(
    plan: Plan, columns: Sequence[pa.Array], reasons: Reasons | None = None
) -> tuple[list[list[Any]], Reasons]:
    """The prepared rows of each input, without batch axis, and the reasons of bad rows.

    Rows that have a reason stay as they are: None, like every row that an input refuses.
    """
    reasons = [None] * len(columns[0]) if reasons is None else reasons
    if len(columns) not in (len(plan.signature.inputs), len(plan.columns)):
        # Over Spark Connect nobody has counted them yet.
        names = ", ".join(plan.arguments)
        raise InvalidArguments(plan.ref, f"it takes ({names}); {len(columns)} were given")
    if plan.columns and len(columns) > 1:
        rows = _tabular(plan, columns, reasons)
        _check_ids(rows, plan.signature.inputs[0], reasons)
        return [rows], reasons
    prepared = []
    for array, preprocessor, spec in zip(
        columns, plan.preprocess, plan.signature.inputs, strict=True
    ):
        # The name of an only input is Keras' own, and no analyst chose it.
        name = spec.name if len(columns) > 1 else "the input"
        prepared.append(_rows(array, preprocessor, spec, reasons, name=name))
        _check_ids(prepared[-1], spec, reasons)
    return prepared, reasons


def _rows(
    array: pa.Array,
    preprocessor: Preprocessor,
    spec: TensorSpec,
    reasons: Reasons,
    *,
    name: str,
) -> list[Any]:
    if isinstance(preprocessor, Tensor) and (block := _block(array)) is not None:
        return _prepared_block(block, preprocessor, spec, reasons)
    rows: list[Any] = [None] * len(array)
    for index, value in enumerate(_values(array)):
        if reasons[index]:
            continue
        try:
            if value is None:
                raise BadRow(f"{name} is NULL")
            rows[index] = preprocessor.prepare(value, spec)
        except BadRow as reason:
            reasons[index] = str(reason)
    return rows


def opened(plan: Plan, columns: Sequence[pa.Array], reasons: Reasons) -> list[pa.Array]:
    """The columns with the contents of the files that a picture's paths name, where allowed."""
    if not plan.read_paths or plan.columns:
        return list(columns)
    return [
        _contents(array, reasons) if isinstance(preprocessor, Image) and _is_text(array) else array
        for array, preprocessor in zip(columns, plan.preprocess, strict=True)
    ]


def _contents(array: pa.Array, reasons: Reasons) -> pa.Array:
    contents: list[bytes | None] = []
    for index, path in enumerate(array.to_pylist()):
        contents.append(None)
        if path is not None and reasons[index] is None:
            try:
                contents[-1] = _read(path)
            except BadRow as reason:
                reasons[index] = str(reason)
    return pa.array(contents, pa.large_binary())


def hashes(columns: Sequence[pa.Array], reasons: Reasons) -> list[bytes]:
    """16 bytes per row that say what is in it, the kinds of its values included.

    The first half of SHA-256, which processors compute themselves: nobody can make two pictures
    that are taken for one another. A row that is bad already is told from others by its reason.
    """
    found = [hashlib.sha256((reason or "").encode()) for reason in reasons]
    for array in columns:
        kind = str(array.type).encode()
        for digest, value in zip(found, _hashed(array), strict=True):
            digest.update(kind)
            _update(digest, value)
    return [digest.digest()[:16] for digest in found]


def _hashed(array: pa.Array) -> Iterator[Any]:
    """Values to hash, numbers as their bytes: the same for a row whatever stands beside it."""
    kind = array.type
    if _is_number(kind):
        numbers, ends = array, np.arange(len(array) + 1)
    elif _is_list(kind) and _is_number(kind.value_type):
        numbers = array.values
        if pa.types.is_fixed_size_list(kind):
            ends = (array.offset + np.arange(len(array) + 1)) * kind.list_size
        else:
            ends = np.asarray(array.offsets)
    else:
        yield from _values(array)
        return
    data, gaps, missing = np.ascontiguousarray(_filled(numbers)), _nulls(numbers), _nulls(array)
    for row in range(len(array)):
        inside = slice(ends[row], ends[row + 1])
        if missing[row]:
            yield None
        else:
            yield array[row].as_py() if gaps[inside].any() else data[inside].tobytes()


def _nulls(array: pa.Array) -> np.ndarray:
    """Which values are NULL."""
    return np.asarray(array.is_null()) if array.null_count else np.zeros(len(array), bool)


def _update(digest: Any, value: Any) -> None:
    """Add a value and how long it is: ["ab", "c"] is not ["a", "bc"]."""
    if isinstance(value, (bytes, memoryview)):
        digest.update(b"b%d:" % len(value))
        digest.update(value)
    elif isinstance(value, Mapping):
        digest.update(b"m%d:" % len(value))
        for name, item in value.items():
            _update(digest, name)
            _update(digest, item)
    elif isinstance(value, (list, tuple)):
        digest.update(b"l%d:" % len(value))
        for item in value:
            _update(digest, item)
    else:
        said = f"{type(value).__name__} {value!r}".encode()
        digest.update(b"v%d:" % len(said))
        digest.update(said)


def opens_files(plan: Plan, columns: Sequence[pa.Array]) -> bool:
    """Whether somebody's own function may read the file that a STRING names: it may change."""
    return any(isinstance(p, Code) for p in plan.preprocess) and any(map(_is_text, columns))


def _is_text(array: pa.Array) -> bool:
    return bool(pa.types.is_string(array.type) or pa.types.is_large_string(array.type))


def _check_ids(rows: Sequence[Any], spec: TensorSpec, reasons: Reasons) -> None:
    """Refuse ids an Embedding does not know: Keras does, OpenVINO would make something up."""
    if spec.ids is None:
        return
    for index, row in enumerate(rows):
        if reasons[index] is None and ((row < 0) | (row >= spec.ids)).any():
            wrong = row[(row < 0) | (row >= spec.ids)].flat[0]
            reasons[index] = f"the id {wrong} is not one of 0 … {spec.ids - 1}"


def _values(array: pa.Array) -> Iterator[Any]:
    """Python values of a column; binary without a copy."""
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        for item in array:
            buffer = item.as_buffer()
            yield None if buffer is None else memoryview(buffer)
    else:
        for item in array:
            yield item.as_py()


def _read(path: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(path, "rb") as file:
            return bytes(file.read())
    except (OSError, ValueError, ImportError) as error:
        raise BadRow(f"{path!r} cannot be read: {error}") from error


def _tabular(plan: Plan, columns: Sequence[pa.Array], reasons: Reasons) -> list[Any]:
    """One row of numbers from a column each."""
    (preprocessor,), (spec,) = plan.preprocess, plan.signature.inputs
    for name, array in zip(plan.columns, columns, strict=True):
        if array.null_count:
            for index in np.flatnonzero(np.asarray(array.is_null())):
                reasons[index] = reasons[index] or f"{name} is NULL"
    blocks = [_block(_filled(array)) for array in columns]
    numbers = [block for block in blocks if block is not None]
    if len(numbers) < len(columns):
        # A column of nothing but NULLs: every row has its reason already.
        return [None] * len(reasons)
    if "int" in spec.dtype:
        numbers = [
            _whole(block, reasons, name) for block, name in zip(numbers, plan.columns, strict=True)
        ]
    block = np.hstack(numbers)
    if not isinstance(preprocessor, Tensor):
        return _prepared_rows(block, preprocessor, spec, reasons)
    return _prepared_block(block, preprocessor, spec, reasons)


def _whole(block: np.ndarray, reasons: Reasons, name: str) -> np.ndarray:
    """Fractional columns as int64 before they meet others: as float64, 2**53 + 1 is 2**53."""
    if block.dtype.kind != "f":
        return block
    wrong = (block != np.trunc(block)) | (np.abs(block) >= 2.0**63)
    for index in np.flatnonzero(wrong):
        reasons[index] = reasons[index] or f"{name} is {block[index, 0]}, not a whole number"
    return np.where(wrong, 0, block).astype(np.int64)


def _filled(array: pa.Array) -> pa.Array:
    """A numeric column with zeros for its NULLs, whose rows have a reason."""
    if pa.types.is_decimal(array.type):
        is_whole = array.type.scale == 0 and array.type.precision <= 18
        array = array.cast(pa.int64() if is_whole else pa.float64())
    if not array.null_count or pa.types.is_null(array.type):
        return array
    return array.fill_null(False if pa.types.is_boolean(array.type) else 0)


def _prepared_rows(
    block: np.ndarray, preprocessor: Preprocessor, spec: TensorSpec, reasons: Reasons
) -> list[Any]:
    rows: list[Any] = [None] * len(block)
    for index, value in enumerate(block):
        if reasons[index] is None:
            try:
                rows[index] = preprocessor.prepare(value, spec)
            except BadRow as reason:
                reasons[index] = str(reason)
    return rows


def _prepared_block(
    block: np.ndarray, preprocessor: Tensor, spec: TensorSpec, reasons: Reasons
) -> list[Any]:
    try:
        values, bad = preprocessor.prepare_column(block, spec)
    except BadRow as error:
        # Every row has the same wrong number of numbers.
        reasons[:] = [reason or str(error) for reason in reasons]
        return [None] * len(reasons)
    for index, reason in bad:
        reasons[index] = reasons[index] or reason
    return [row if reason is None else None for row, reason in zip(values, reasons, strict=True)]


def _block(array: pa.Array) -> np.ndarray | None:
    """A numeric column, or one of lists of the same length, as (rows, numbers); else None."""
    if array.null_count or not len(array):
        return None
    kind = array.type
    if _is_list(kind):
        values = array.flatten()
        if values.null_count or not _is_number(values.type) or len(values) % len(array):
            return None
        width = len(values) // len(array)
        if (
            not pa.types.is_fixed_size_list(kind)
            and (np.diff(np.asarray(array.offsets)) != width).any()
        ):
            return None
        return np.asarray(values).reshape(len(array), width)
    return np.asarray(array).reshape(-1, 1) if _is_number(kind) else None


def _is_list(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(kind) for is_kind in lists)


def _is_number(kind: pa.DataType) -> bool:
    is_real = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return bool(is_real or pa.types.is_boolean(kind))


# --- out


def answer_type(spec: TensorSpec, output: Output) -> pa.DataType:
    """The Arrow type of one output."""
    element = ARROW_TYPES[SQL_TYPES[spec.dtype]]
    if output.kind == "label":
        return pa.string()
    if output.kind == "top_k":
        return pa.list_(pa.struct([("label", pa.string()), ("score", element)]))
    if output.kind == "scores":
        for _ in spec.shape:
            element = pa.list_(element)
    return element


def answers(values: np.ndarray, spec: TensorSpec, output: Output) -> tuple[pa.Array, np.ndarray]:
    """One output's answers for (rows, …), and which rows have none because a score is NaN."""
    if output.kind in ("label", "top_k"):
        unknown = np.isnan(values).any(axis=1)
        scores = np.where(unknown[:, None], 0, values)
        return (_labels if output.kind == "label" else _top)(scores, spec, output), unknown
    if values.dtype == object:
        values = np.vectorize(lambda v: v.decode() if isinstance(v, bytes) else v)(values)
    element = ARROW_TYPES[SQL_TYPES[spec.dtype]]
    if values.dtype != object and element != pa.string():
        values = values.astype(element.to_pandas_dtype(), copy=False)
    array = _arrow(values.reshape(-1), element)
    if output.kind == "scores":
        for axis in range(values.ndim - 1, 0, -1):
            length = values.shape[axis]
            count = int(np.prod(values.shape[:axis]))
            offsets = _arrow(np.arange(count + 1, dtype=np.int32) * length, pa.int32())
            array = pa.ListArray.from_arrays(offsets, array)
    return array, np.zeros(len(values), bool)


def _labels(scores: np.ndarray, spec: TensorSpec, output: Output) -> pa.Array:
    if scores.shape[1] == 1:
        chosen = (scores[:, 0] > output.threshold).astype(np.intp)
    else:
        chosen = scores.argmax(axis=1)
    return _texts([output.labels[index] for index in chosen.tolist()])


def _top(scores: np.ndarray, spec: TensorSpec, output: Output) -> pa.Array:
    scores = scores.astype(np.float64)
    if scores.shape[1] == 1:
        scores = np.hstack([1 - scores, scores])
    best = np.argsort(-scores, axis=1, kind="stable")[:, : output.k]
    labels = _texts([output.labels[index] for index in best.reshape(-1).tolist()])
    element = ARROW_TYPES[SQL_TYPES[spec.dtype]]
    chosen = np.take_along_axis(scores, best, axis=1).reshape(-1)
    chosen = _arrow(chosen.astype(element.to_pandas_dtype()), element)
    offsets = _arrow(np.arange(len(scores) + 1, dtype=np.int32) * best.shape[1], pa.int32())
    pairs = pa.StructArray.from_arrays([labels, chosen], ["label", "score"])
    return pa.ListArray.from_arrays(offsets, pairs)


def _arrow(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """An Arrow array of numbers. pa.array imports pandas where there is one: a quarter second."""
    if values.dtype.kind not in "iuf":
        return pa.array(values.tolist(), kind)
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [None, data])


def _texts(texts: Sequence[str]) -> pa.Array:
    """An Arrow array of strings, made without pa.array too."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """The array in a type: only names of lists' items may differ."""
    return array if array.type == kind else array.cast(kind)


def column(
    plan: Plan, groups: Sequence[tuple[np.ndarray, Sequence[np.ndarray]]], reasons: Reasons
) -> pa.Array:
    """The answers as one Arrow column of the plan's type: NULL where a row has a reason.

    groups are (positions of the rows, their outputs in signature order).
    """
    order = np.full(len(reasons), -1, np.int64)
    done = 0
    parts: list[list[pa.Array]] = [[] for _ in plan.shown]
    for positions, outputs in groups:
        order[positions] = np.arange(done, done + len(positions))
        done += len(positions)
        for part, values, spec, output in zip(
            parts, outputs, plan.signature.outputs, plan.shown, strict=True
        ):
            array, unknown = answers(values, spec, output)
            part.append(array)
            for index in positions[unknown]:
                order[index] = -1
                reasons[index] = f"the scores of {spec.name} are not numbers (NaN)"
    types = [answer_type(s, o) for s, o in zip(plan.signature.outputs, plan.shown, strict=True)]
    arrays = [
        _cast(pa.concat_arrays(part), kind) if part else pa.nulls(0, kind)
        for part, kind in zip(parts, types, strict=True)
    ]
    names = [spec.name for spec in plan.signature.outputs]
    answer = arrays[0] if len(arrays) == 1 else pa.StructArray.from_arrays(arrays, names)
    if len(answer) != len(order) or (order != np.arange(len(order))).any():
        answer = answer.take(
            pa.array([None if row < 0 else row for row in order.tolist()], pa.int64())
        )
    if not plan.tries:
        return answer
    return pa.StructArray.from_arrays([answer, pa.array(reasons, pa.string())], ["value", "error"])
