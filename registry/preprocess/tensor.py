"""Numbers, arrays and vectors of a table to a tensor, cast without losing anything silently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np

from ..errors import BadRow, InvalidPreprocess
from ..signature import SQL_TYPES, TensorSpec
from .options import (
    Numbers,
    divisors,
    from_options,
    input_name,
    is_whole,
    jsonable,
    numbers,
    numpy_dtype,
    one_of,
    standardized,
    whole_number,
)

Shape = tuple[int | None, ...]
LONGEST = 2**26  # what a sparse vector may claim to hold: 512 MB
FREE = 8  # the length an example gives to an axis of any length


@dataclass(frozen=True)
class Tensor:
    """Numbers to a tensor, or text as it is to a model that vectorizes it itself.

    shape: what one row is reshaped to, as ``numpy.reshape`` does, -1 at most once; None takes the
        input's shape.
    dtype: what the values must be representable in; None takes the input's.
    scale: a factor, as keras.layers.Rescaling(scale).
    mean, std: ``(x - mean) / std`` after scale, one number or one per element of the last axis:
        sklearn's StandardScaler (mean_, scale_), keras.layers.Normalization (mean, variance**0.5).
    """

    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    scale: float | None = None
    mean: Numbers = None
    std: Numbers = None

    runs_code: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.shape is not None:
            object.__setattr__(self, "shape", _shape(self.shape))
        one_of("dtype", self.dtype, (None, *SQL_TYPES))
        scale = numbers("scale", self.scale)
        if isinstance(scale, tuple):
            raise InvalidPreprocess(f"scale={self.scale!r} must be one number; std takes several")
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "mean", numbers("mean", self.mean))
        object.__setattr__(self, "std", divisors("std", self.std))

    @property
    def _scales(self) -> bool:
        return any(option is not None for option in (self.scale, self.mean, self.std))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with ``kind``; options at their default are left out."""
        return jsonable(self, "tensor")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tensor:
        """The preprocessor that ``to_json`` wrote."""
        tensor: Tensor = from_options(cls, value)
        return tensor

    def check(self, spec: TensorSpec) -> None:
        """Raise InvalidPreprocess when the tensor cannot fit the input."""
        self._wanted(spec)
        dtype = self.dtype or spec.dtype
        if "string" in (dtype, spec.dtype) and (self._scales or dtype != spec.dtype):
            raise InvalidPreprocess(f"{input_name(spec)}: text and numbers cannot be mixed")
        if is_whole(spec) and (self._scales or not is_whole(_as(spec, dtype))):
            raise InvalidPreprocess(
                f"{input_name(spec)} takes whole numbers; fractions would be cut off"
            )
        last = spec.shape[-1] if spec.shape else 1
        for option, value in (("mean", self.mean), ("std", self.std)):
            if isinstance(value, tuple) and last is not None and len(value) not in (1, last):
                raise InvalidPreprocess(
                    f"{option} has {len(value)} numbers, the last axis of {input_name(spec)} {last}"
                )

    def _wanted(self, spec: TensorSpec) -> Shape:
        """The shape of one row; None is an axis of any length."""
        if self.shape is None:
            return spec.shape
        shape = tuple(None if length == -1 else length for length in self.shape)
        if len(shape) != len(spec.shape) or any(
            a != b
            for a, b in zip(shape, spec.shape, strict=True)
            if a is not None and b is not None
        ):
            raise InvalidPreprocess(f"shape={self.shape} does not fit {input_name(spec)}")
        return tuple(b if a is None else a for a, b in zip(shape, spec.shape, strict=True))

    def _kept(self, spec: TensorSpec) -> np.dtype[Any]:
        """The dtype of prepared rows: float64 until the values are standardised."""
        return np.dtype("float64") if self._scales else numpy_dtype(_as(spec, self.dtype))

    def prepare(self, value: Any, spec: TensorSpec) -> np.ndarray:
        """One row's numbers as an array of the input's shape; BadRow says which value is wrong.

        value is a number, a Decimal, a bool, a (nested) list or array, or Spark ML's VECTOR as a
        dict; for an input of dtype ``string``, text.
        """
        if spec.dtype == "string":
            array = _texts(value)
        else:
            array = safe_cast(_numbers(value), self._kept(spec))
        same_rank = self.shape is None and 1 < array.ndim == len(spec.shape)
        if same_rank and not _matches(array.shape, spec.shape):
            raise BadRow(f"shape {spec.shape} is expected, {array.shape} was given")
        return array.reshape(_exact(self._wanted(spec), array))

    def prepare_column(
        self, values: np.ndarray, spec: TensorSpec
    ) -> tuple[np.ndarray, list[tuple[int, str]]]:
        """A (rows, size) block at once: the prepared rows, and (row, reason) for each bad one.

        A bad row is all zeros in the result.
        """
        dtype = self._kept(spec)
        bad = []
        good = values
        try:
            cast = safe_cast(values, dtype)
        except BadRow:
            good = values.copy()
            for row, numbers_of_row in enumerate(values):
                try:
                    safe_cast(numbers_of_row, dtype)
                except BadRow as error:
                    bad.append((row, str(error)))
                    good[row] = 0
            cast = safe_cast(good, dtype)
        one_row = _exact(self._wanted(spec), np.empty(values.shape[1:], np.bool_))
        return cast.reshape(len(values), *one_row), bad

    def finish(self, batch: np.ndarray, spec: TensorSpec) -> np.ndarray:
        """Prepared rows scaled and standardised in float64, then in the input's dtype."""
        if self._scales:
            scaled = batch * (1.0 if self.scale is None else self.scale)
            batch = standardized(scaled, self.mean, self.std)
        return batch.astype(numpy_dtype(spec), copy=False)

    def describe(self) -> str:
        """One sentence for people."""
        parts = ["numbers are passed to the model"]
        if self.shape is not None:
            parts.append(f"in the shape {self.shape}")
        if self.scale is not None:
            parts.append(f"multiplied by {self.scale:g}")
        if self.mean is not None or self.std is not None:
            parts.append("standardised by mean and deviation")
        return ", ".join(parts)

    def example(self, spec: TensorSpec, rng: np.random.Generator) -> Any:
        """Random numbers around the mean (zeros and ones for an integer input), nested lists."""
        shape = [FREE if length is None else length for length in self._wanted(spec)]
        if spec.dtype == "string":
            return rng.choice(["good", "bad", "a blue car", "Überraschung!", ""], shape).tolist()
        if is_whole(_as(spec, self.dtype)):
            return rng.integers(0, 2, shape).tolist()
        values = rng.normal(size=shape)
        if self.std is not None:
            values = values * np.asarray(self.std)
        if self.mean is not None:
            values = values + np.asarray(self.mean)
        return (values / (self.scale or 1.0)).tolist()


def safe_cast(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """The array in dtype; a BadRow where a value would change more than its precision."""
    if array.dtype == dtype:
        return array
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            cast = array.astype(dtype)
        _refuse(array, np.isinf(cast) & np.isfinite(array), f"is too large for {dtype}")
        return cast
    if array.dtype.kind == "f":
        _refuse(array, array != np.trunc(array), f"is not a whole number, {dtype} is expected")
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    _refuse(array, (array < low) | (array >= high + 1), f"is outside the range of {dtype}")
    return array.astype(dtype)


def _refuse(array: np.ndarray, wrong: np.ndarray, reason: str) -> None:
    if wrong.any():
        raise BadRow(f"{array[wrong].flat[0]} {reason}")


def _numbers(value: Any) -> np.ndarray:
    if isinstance(value, Mapping):
        value = _vector(value)
    try:
        array = np.asarray(value)
    except ValueError:
        raise BadRow("the arrays inside have different lengths") from None
    if array.dtype.kind in "iufb":
        return array
    if array.dtype.kind == "O":
        return _plain(array)
    raise BadRow(f"numbers are expected, {_shown(value)} was given")


def _vector(value: Mapping[str, Any]) -> Any:
    """Spark ML's VECTOR: type 1 is dense, type 0 sparse (size, indices, values)."""
    try:
        kind, size, indices, values = (value[k] for k in ("type", "size", "indices", "values"))
        if kind == 1:
            return values
        if size > LONGEST:
            raise BadRow(f"a sparse vector of {size} numbers is too long")
        dense = np.zeros(size)
        dense[np.asarray(indices, np.intp)] = values
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BadRow(f"not a vector of Spark ML ({type(error).__name__}: {error})") from None
    return dense


def _plain(array: np.ndarray) -> np.ndarray:
    """An object array (NULLs, Decimals, very large ints) as numbers."""
    found: list[Any] = []
    for at, item in enumerate(array.flat, 1):
        if item is None:
            raise BadRow("NULL" if array.ndim == 0 else f"value {at} of {array.size} is NULL")
        if isinstance(item, Decimal):
            item = int(item) if item == item.to_integral_value() else float(item)
        if not isinstance(item, (int, float, np.number, np.bool_)):
            raise BadRow(f"numbers are expected, {_shown(item)} was given")
        found.append(item)
    numbers_found = np.array(found)
    if numbers_found.dtype.kind == "O":  # an int beyond 64 bits
        numbers_found = np.array([_float(item) for item in found])
    return numbers_found.reshape(array.shape)


def _float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        raise BadRow(f"{_shown(number)} is too large for float64") from None


def _texts(value: Any) -> np.ndarray:
    array = np.asarray(value, object)
    for at, item in enumerate(array.flat, 1):
        if item is None:
            raise BadRow("NULL" if array.ndim == 0 else f"value {at} of {array.size} is NULL")
        if not isinstance(item, str):
            raise BadRow(f"text is expected, {_shown(item)} was given")
    return array


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _exact(shape: Shape, array: np.ndarray) -> tuple[int, ...]:
    """The shape without its free axes, for as many elements as array has."""
    free = [axis for axis, length in enumerate(shape) if length is None]
    if len(free) > 1 or (free and _matches(array.shape, shape)):
        if not _matches(array.shape, shape):
            raise BadRow(f"shape {shape} is expected, {array.shape} was given")
        return array.shape
    known = int(np.prod([length for length in shape if length is not None]))
    if not free and array.size != known:
        raise BadRow(f"{known} numbers are expected, {array.size} were given")
    if free and (known == 0 or array.size % known):
        raise BadRow(f"a multiple of {known} numbers is expected, {array.size} were given")
    return tuple(array.size // known if length is None else length for length in shape)


def _matches(given: tuple[int, ...], wanted: Shape) -> bool:
    return len(given) == len(wanted) and all(
        b is None or a == b for a, b in zip(given, wanted, strict=True)
    )


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, (tuple, list)) or list(shape).count(-1) > 1:
        raise InvalidPreprocess(f"shape={shape!r} must be a list of lengths, -1 at most once")
    for length in shape:
        if length != -1:
            whole_number("a length in shape", length, least=1)
    return tuple(shape)


def _as(spec: TensorSpec, dtype: str | None) -> TensorSpec:
    return spec if dtype is None else TensorSpec(spec.name, dtype, spec.shape)
