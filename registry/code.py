"""The owner's own Python source: custom layers, the functions of Lambdas, a builder.

It is kept as text with the version and run in two places only: the child process that constructs
the model, and executors that predict with the ``keras`` engine.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import InvalidInput, SourceFailed

BUILDER = "build"
"""The function of no arguments that returns the model whose weights a file holds."""

LARGEST_BYTES = 2**20


def read_source(path: str | Path) -> str:
    """The text of a Python file, if it is Python; nothing of it is run."""
    path = Path(path)
    try:
        if not path.is_file():
            raise InvalidInput(f"there is no code at {str(path)!r}; give a Python file")
        if path.stat().st_size > LARGEST_BYTES:
            raise InvalidInput(f"{path.name} is larger than {LARGEST_BYTES:,} bytes of source")
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the code {path.name} cannot be read: {error}") from error
    defines(source, path.name)
    return source


def defines(source: str, name: str = "the code") -> frozenset[str]:
    """The names of the classes and functions that a source defines at its top level."""
    try:
        tree = ast.parse(source, name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidInput(f"{name} is not Python: {error}") from error
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign) and not isinstance(node.value, ast.Constant):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return frozenset(names)


def objects(source: str) -> dict[str, Any]:
    """What the source defines, by name; the source is run, once per process."""
    module = module_of(source)
    found = {name: getattr(module, name, None) for name in defines(source)}
    return {name: value for name, value in found.items() if callable(value)}


@lru_cache(maxsize=64)
def module_of(source: str) -> ModuleType:
    """The source run once per process, in a module named after its SHA-256."""
    module = ModuleType(f"kerasql_code_{hashlib.sha256(source.encode()).hexdigest()}")
    sys.modules[module.__name__] = module  # dataclasses and pickles inside look it up
    try:
        exec(compile(source, f"<{module.__name__}>", "exec"), module.__dict__)  # noqa: S102
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise SourceFailed(
            f"the source cannot be run here: {type(error).__name__}: {error}"
        ) from error
    return module
