"""Who may use a registry, and what is kept about it: users, tokens, grants, events."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from kerasql.registry.errors import InvalidInput, InvalidName, spelled

ROLES = ("analyst", "scientist", "admin")
KINDS = ("api", "browser", "link")
"""Of tokens: a script's, a browser's after signing in, and a link that signs in once."""

EVERYTHING = "*"
"""In place of a model's or dataset's name: all there are and will be."""

PRIVILEGES = {
    "execute": "model",
    "select": "dataset",
    "register": "model",
    "alias": "model",
    "delete": "model",
}
"""What can be granted, and on what: call a model, read a dataset, register further versions of
a model, move its aliases, delete its versions."""

USER_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")


@dataclass(frozen=True)
class User:
    """Somebody with a role; without a password only tokens and links let somebody in."""

    name: str
    role: str
    disabled: bool
    created_at: datetime
    has_password: bool

    @property
    def adds(self) -> bool:
        """Whether the role may register models of new names and add datasets."""
        return not self.disabled and self.role in ("scientist", "admin")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for ``--json`` and the page."""
        return plain(self)


@dataclass(frozen=True)
class Token:
    """A secret that stands for a user until it expires or is revoked; the secret is not here."""

    id: int
    user: str
    name: str
    kind: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    used_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for ``--json`` and the page."""
        return plain(self)


@dataclass(frozen=True)
class Grant:
    """A privilege on a model, a dataset or all (``*``), for ``user:ann`` or ``role:analyst``."""

    privilege: str
    object: str
    to: str
    by: str | None
    at: datetime

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for ``--json`` and the page."""
        return plain(self)


@dataclass(frozen=True)
class Event:
    """Who did what to which model, dataset or user, and from where.

    user is a user's name, ``os:ann`` for somebody at the command line, or None where nobody is
    known. Ids grow: ``events(before=event.id)`` are the ones before.
    """

    id: int
    at: datetime
    user: str | None
    action: str
    object: str
    detail: dict[str, Any]
    address: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for ``--json`` and the page."""
        return plain(self)


def user_name(name: str) -> str:
    """The lower-case name of a user, once it can be one."""
    if not isinstance(name, str) or not USER_NAME.fullmatch(name):
        raise InvalidName(name, "user", "use 1 to 64 letters (a to z), digits and . _ - @")
    return name.lower()


def one_of(value: str, known: Iterable[str], what: str) -> str:
    """The value, if it is one of the known."""
    if value not in known:
        raise InvalidInput(f"no {what} {value!r}; there is {spelled(known)}")
    return value


def plain(fact: User | Token | Grant | Event) -> dict[str, Any]:
    """Its fields as plain JSON values."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(fact).items()
    }
