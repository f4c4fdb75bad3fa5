"""The arguments of a SQL call: how many, by which name, of which type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    CharType,
    DataType,
    NullType,
    NumericType,
    StringType,
    StructType,
    UserDefinedType,
    VarcharType,
)

from kerasql.registry.errors import InvalidArguments, spelled
from kerasql.registry.preprocess import Code, Image, Preprocessor, Text
from kerasql.registry.signature import TensorSpec
from kerasql.udf.plan import Plan

Expression = TypeVar("Expression")

IMAGE_FIELDS = {"height", "width", "nChannels", "mode", "data"}


def ordered(
    function: str, names: Sequence[str], given: Sequence[tuple[str | None, Expression]]
) -> list[Expression]:
    """The given (name or None, expression) pairs in the order of the names; each exactly once."""
    places = {name.lower(): index for index, name in enumerate(names)}
    placed: dict[int, Expression] = {}
    for position, (name, expression) in enumerate(given):
        if name is None:
            index = position
        elif name in places:
            index = places[name]
        else:
            raise InvalidArguments(function, f"no argument {name!r}; there is {spelled(names)}")
        if index in placed:
            raise InvalidArguments(function, f"the argument {names[index]!r} is given twice")
        placed[index] = expression
    if sorted(placed) != list(range(len(names))):
        takes = f"{len(names)} argument{'s' if len(names) > 1 else ''}"
        raise InvalidArguments(
            function, f"it takes {takes} ({spelled(names, 20)}), {len(given)} were given"
        )
    return [placed[index] for index in range(len(names))]


def check_types(function: str, plan: Plan, types: Sequence[DataType]) -> None:
    """Raise InvalidArguments for the first argument of a type its input cannot take."""
    for index, (name, kind) in enumerate(zip(plan.arguments, types, strict=True)):
        spec = plan.signature.inputs[0 if plan.columns else index]
        preprocessor = plan.preprocess[0 if plan.columns else index]
        if isinstance(kind, NullType):
            continue
        wanted = wanted_type(preprocessor, spec, kind, plan)
        if wanted:
            raise InvalidArguments(
                function, f"the argument {name!r} is {kind.simpleString().upper()}; give {wanted}"
            )


def wanted_type(
    preprocessor: Preprocessor, spec: TensorSpec, kind: DataType, plan: Plan
) -> str | None:
    """What an input takes, in words, where it does not take this type; else None."""
    text = isinstance(kind, StringType | CharType | VarcharType)
    if isinstance(preprocessor, Image):
        struct = isinstance(kind, StructType) and set(kind.names) >= IMAGE_FIELDS
        if isinstance(kind, BinaryType) or struct or (text and plan.read_paths):
            return None
        paths = "" if plan.read_paths else " (a path, once the operator sets KERASQL_READ_PATHS=on)"
        return f"a picture: BINARY (JPEG, PNG …) or Spark's image struct{paths}"
    if isinstance(preprocessor, Code):
        return None
    if isinstance(preprocessor, Text) or spec.dtype == "string":
        return None if text else "a STRING"
    if plan.columns:
        return None if _is_numeric(kind) else "a number"
    return None if _is_tensor(kind) else "a number, an ARRAY of numbers or a VECTOR"


def _is_numeric(kind: DataType) -> bool:
    return isinstance(kind, NumericType | BooleanType)


def _is_tensor(kind: DataType) -> bool:
    while isinstance(kind, ArrayType):
        kind = kind.elementType
    return _is_numeric(kind) or (
        isinstance(kind, UserDefinedType) and "Vector" in type(kind).__name__
    )
