"""A scientist's own Python function, kept as source text that people can read."""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import symtable
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, ClassVar

import numpy as np

from ..code import module_of
from ..errors import BadRow, InvalidPreprocess, SourceFailed
from ..signature import TensorSpec
from .image import Image
from .options import from_options, jsonable, numpy_dtype
from .tensor import Tensor, safe_cast

POSTPONED = "from __future__ import annotations\n\n\n"


@dataclass(frozen=True)
class Code:
    """A function of a value (encoded bytes, a number, text …) that returns one row's array.

    source: the Python text that defines it, run in a module of its own when the first row comes:
        never when it is made, stored or read.
    name: the function's name in the source.
    """

    source: str
    name: str

    runs_code: ClassVar[bool] = True

    def __post_init__(self) -> None:
        try:
            table = symtable.symtable(self.source, "<source>", "exec")
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
            raise InvalidPreprocess(f"the source is not Python: {error}") from error
        defined = [s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()]
        if self.name not in defined:
            raise InvalidPreprocess(
                f"the source does not define {self.name!r}; it defines {', '.join(defined)}"
            )

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Code:
        """The source of a function that needs nothing from around it (imports go inside)."""
        if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
            raise InvalidPreprocess(f"{function!r} is not a function written with def")
        try:
            source = textwrap.dedent(inspect.getsource(function))
        except (OSError, TypeError) as error:
            raise InvalidPreprocess(
                f"the source of {function.__name__} cannot be found ({error}); "
                "write it into a file and use Code.file"
            ) from error
        outside = sorted(_outside_names(source, function.__name__))
        if outside:
            raise InvalidPreprocess(
                f"{function.__name__} uses {', '.join(map(repr, outside))} from outside; import or "
                "define it inside the function, or keep the whole file with Code.file"
            )
        return cls(POSTPONED + source, function.__name__)

    @classmethod
    def file(cls, path: str | Path, name: str) -> Code:
        """The whole text of a file, and which of its functions to call."""
        try:
            return cls(Path(path).read_text(encoding="utf-8"), name)
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidPreprocess(f"{str(path)!r} cannot be read: {error}") from error

    @property
    def sha256(self) -> str:
        """The SHA-256 of the source."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with ``kind``."""
        return jsonable(self, "code")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Code:
        """The preprocessor that ``to_json`` wrote; the source is not run."""
        code: Code = from_options(cls, value)
        return code

    def check(self, spec: TensorSpec) -> None:
        """What the function returns is only known when it runs; ``prepare`` checks it."""

    def prepare(self, value: Any, spec: TensorSpec) -> np.ndarray:
        """What the function makes of the value, checked against the input.

        A leading axis of one, as functions written for ``model.predict`` return it, is taken off.
        """
        function = getattr(_module(self.source), self.name)
        try:
            array = np.asarray(function(value))
        except (Exception, SystemExit) as error:
            raise BadRow(f"{type(error).__name__}: {error}") from error
        return _checked(array, self.name, spec)

    def finish(self, batch: np.ndarray, spec: TensorSpec) -> np.ndarray:
        """Stacked rows in the input's dtype."""
        return batch.astype(numpy_dtype(spec), copy=False)

    def describe(self) -> str:
        """One sentence for people."""
        lines = len(self.source.splitlines())
        return f"the Python function {self.name} ({lines} lines of source) runs on every row"

    def example(self, spec: TensorSpec, rng: np.random.Generator) -> Any:
        """A picture where the input looks like one, else numbers: the function may want others."""
        if len(spec.shape) == 3 and spec.shape[2] in (1, 3, 4):
            height, width = (length or 224 for length in spec.shape[:2])
            return Image(size=(height, width)).example(spec, rng)
        return Tensor().example(spec, rng)


def _checked(array: np.ndarray, name: str, spec: TensorSpec) -> np.ndarray:
    shape = array.shape
    if not _fits(shape, spec.shape) and shape[:1] == (1,):
        array = array[0]
    if not _fits(array.shape, spec.shape):
        raise BadRow(f"{name} returned the shape {shape}, {spec.shape} is expected")
    if spec.dtype == "string":
        return array.astype(object)
    if array.dtype.kind not in "iufb":
        raise BadRow(f"{name} returned an array of {array.dtype}, {spec.dtype} is expected")
    return array if array.dtype == np.uint8 else safe_cast(array, numpy_dtype(spec))


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        b is None or a == b for a, b in zip(shape, wanted, strict=True)
    )


def _module(source: str) -> ModuleType:
    try:
        return module_of(source)
    except SourceFailed as error:
        raise InvalidPreprocess(*error.args) from error


def _outside_names(source: str, name: str) -> set[str]:
    """Names the text of one function takes from the module around it."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    top = symtable.symtable(ast.unparse(tree), "<source>", "exec")
    used = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    for table in _functions(top):
        used.update(s.get_name() for s in table.get_symbols() if s.is_global())
    return used - set(dir(builtins)) - {name}


def _functions(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _functions(child)
