"""Checks of a preprocessor's options, worded the same everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from ..errors import InvalidPreprocess
from ..signature import TensorSpec

Numbers = float | tuple[float, ...] | None


def one_of(option: str, value: object, allowed: Iterable[Any]) -> None:
    """Raise InvalidPreprocess, listing what is allowed, unless value is among it."""
    allowed = list(allowed)
    if not any(
        value is choice or (type(value) is type(choice) and value == choice) for choice in allowed
    ):
        choices = ", ".join(repr(choice) for choice in allowed)
        raise InvalidPreprocess(f"{option}={value!r} is not known; {option} is one of {choices}")


def whole_number(option: str, value: object, *, least: int) -> None:
    """Raise InvalidPreprocess unless value is an int of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidPreprocess(f"{option}={value!r} must be a whole number of at least {least}")


def numbers(option: str, value: Any) -> Numbers:
    """One number or a tuple of them, as a frozen option keeps it; None stays None."""
    if value is None:
        return None
    try:
        if np.ndim(value) == 0:
            kept: Numbers = float(value)
        else:
            kept = tuple(float(number) for number in value)
    except (TypeError, ValueError):
        kept = ()
    if kept == () or not np.all(np.isfinite(np.asarray(kept))):
        raise InvalidPreprocess(f"{option}={value!r} must be a number or a list of finite numbers")
    return kept


def divisors(option: str, value: Any) -> Numbers:
    """As ``numbers``, and none of them zero."""
    kept = numbers(option, value)
    if kept is not None and not np.all(kept):
        raise InvalidPreprocess(f"{option}={value!r} would divide by zero")
    return kept


def jsonable(preprocessor: Any, kind: str) -> dict[str, Any]:
    """A dataclass as plain JSON, ``kind`` first; options that have their default are left out."""
    value: dict[str, Any] = {"kind": kind}
    for field in fields(preprocessor):
        option = getattr(preprocessor, field.name)
        if option != field.default or type(option) is not type(field.default):
            value[field.name] = list(option) if isinstance(option, tuple) else option
    return value


def from_options(cls: type, value: Mapping[str, Any]) -> Any:
    """The dataclass whose ``jsonable`` is value; an unknown option lists the known ones."""
    options = {name: option for name, option in value.items() if name != "kind"}
    known = [field.name for field in fields(cls)]
    for name in options:
        if name not in known:
            raise InvalidPreprocess(
                f"{cls.__name__} has no option {name!r}; it has {', '.join(known)}"
            )
    try:
        return cls(**options)
    except TypeError as error:
        raise InvalidPreprocess(f"{cls.__name__} cannot be made: {error}") from error


def numpy_dtype(spec: TensorSpec) -> np.dtype[Any]:
    """The numpy dtype that reaches the network; float32 where numpy has none (bfloat16)."""
    return np.dtype({"bfloat16": "float32", "string": "object"}.get(spec.dtype, spec.dtype))


def is_whole(spec: TensorSpec) -> bool:
    """Whether the input takes integers (or booleans) only."""
    return numpy_dtype(spec).kind in "iub"


def input_name(spec: TensorSpec) -> str:
    """``the input 'x' of shape (None, 3) and dtype float32``, as errors name it."""
    return f"the input {spec.name!r} of shape {spec.shape} and dtype {spec.dtype}"


def standardized(values: np.ndarray, mean: Numbers, std: Numbers) -> np.ndarray:
    """``(values - mean) / std``, in place: values may be large, and are the caller's own copy."""
    if mean is not None:
        values -= np.asarray(mean, values.dtype)
    if std is not None:
        values /= np.asarray(std, values.dtype)
    return values
