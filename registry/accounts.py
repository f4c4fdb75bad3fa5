"""Users and tokens in their tables, and the facts made of their rows.

Every function that reads is given the connection of an open transaction.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from kerasql.registry.errors import InvalidInput, NotFound
from kerasql.registry.tables import TokenRow, UserRow
from kerasql.registry.users import Token, User, user_name

ADD_USER = "add one with: kerasql user add NAME"


def find_user(db: Connection, name: str) -> Row[Any]:
    """The row of a user; NotFound says which there are."""
    name = user_name(name)
    row = db.execute(select(UserRow).where(UserRow.name == name)).first()
    if row is None:
        known = db.scalars(select(UserRow.name).order_by(UserRow.name)).all()
        raise NotFound("user", name, list(known), ADD_USER)
    return row


def findable(name: str) -> str:
    """The name as it would be kept; where it can be none, nothing, which nobody is called."""
    try:
        return user_name(name)
    except InvalidInput:
        return ""


def name_of(user: User | str) -> str:
    """A user's name."""
    return user if isinstance(user, str) else user.name


def user_of(row: Row[Any]) -> User:
    """The user in its row."""
    return User(row.name, row.role, row.disabled, row.created_at, row.password is not None)


@cache
def token_rows() -> Select[*tuple[Any, ...]]:
    """Tokens with their users."""
    return select(
        TokenRow,
        UserRow.name.label("user_name"),
        UserRow.role,
        UserRow.disabled,
        UserRow.created_at.label("user_created_at"),
        UserRow.password,
    ).join(UserRow, UserRow.id == TokenRow.user_id)


def holder_of(row: Row[Any]) -> User:
    """The user in a row of ``token_rows()``."""
    has_password = row.password is not None
    return User(row.user_name, row.role, row.disabled, row.user_created_at, has_password)


def token_of(row: Row[Any]) -> Token:
    """The token in a row of ``token_rows()``."""
    return Token(
        id=row.id,
        user=row.user_name,
        name=row.name,
        kind=row.kind,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        used_at=row.used_at,
    )


def ended(row: Row[Any], now: datetime) -> str | None:
    """Why the token in a row of ``token_rows()`` lets nobody in; None where it does."""
    if row.disabled:
        return "belongs to a user who is disabled"
    if row.revoked_at is not None:
        return "was revoked"
    return "has expired" if row.expires_at <= now else None


def sha256(secret: str) -> str:
    """What is kept of a secret: 32 random bytes are not guessed from it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
