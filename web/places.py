"""Where a dataset may lie: what it names is read by the server, for everybody who may use it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from kerasql.registry.access import User
from kerasql.registry.errors import InvalidInput, RoleMissing
from kerasql.registry.settings import setting
from kerasql.registry.store import FILE_FORMATS

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
ODD = re.compile(r"(^|/)\.\.(/|$)|[{}\\%\x00-\x1f]")
"""A way out of a folder, written plainly or as one of the patterns that Hadoop expands."""


def check_place(user: User, path: str, *, format: str, options: Mapping[str, str]) -> None:
    """Refuse a dataset that would let its user read what only the server may.

    Admins add any. Scientists add files below KERASQL_DATASET_ROOTS, in Spark's formats for
    files and without options, which may name files of their own.
    """
    if path and not path.startswith("/") and not URL.match(path):
        raise InvalidInput(f"{path!r} is no place at the server; give an absolute path or a URL")
    if user.role == "admin":
        return
    if format not in FILE_FORMATS or options:
        what = f"add a dataset of the format {format!r}" if not options else "give options"
        raise RoleMissing(user.name, what, "admins")
    roots = [root.strip() for root in setting("KERASQL_DATASET_ROOTS").split(",") if root.strip()]
    if ODD.search(path) or not any(below(path, root) for root in roots):
        whose = f"admins, unless it is below {' or '.join(roots)}" if roots else "admins"
        raise RoleMissing(user.name, f"add a dataset at {path!r}", whose)


def below(path: str, root: str) -> bool:
    """Whether a path, or a URL, is a root or lies in it, links followed."""
    if URL.match(root):
        return f"{path.rstrip('/')}/".startswith(f"{root.rstrip('/')}/")
    return path.startswith("/") and Path(path).resolve().is_relative_to(Path(root).resolve())
