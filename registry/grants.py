"""Grants: who may do what with which model or dataset.

Every function is given the connection of an open transaction. Grants on a model go with its last
version, and those on a dataset with the dataset: they are not for what gets the name later.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, exists, literal, or_, select

from kerasql.registry import events
from kerasql.registry.accounts import find_user
from kerasql.registry.database import insert_new
from kerasql.registry.errors import InvalidInput
from kerasql.registry.tables import DatasetRow, GrantRow, ModelRow, UserRow, VersionRow
from kerasql.registry.users import EVERYTHING, PRIVILEGES, ROLES, Grant, User, one_of


def give(db: Connection, privilege: str, name: str, grantee: str, *, by: str | None) -> bool:
    """Grant a privilege; says whether that is new."""
    facts = {
        "privilege": privilege,
        "object": name,
        "grantee": grantee,
        "granted_by": by,
        "granted_at": datetime.now(UTC),
    }
    return insert_new(db, GrantRow, facts)


def own(db: Connection, kind: str, name: str, owner: str | None) -> None:
    """Grant an owner all there is to grant on a model or dataset, if the owner is a user."""
    owner = (owner or "").lower()
    if db.scalar(select(UserRow.id).where(UserRow.name == owner)) is None:
        return
    for privilege in privileges_on(kind):
        give(db, privilege, name, f"user:{owner}", by=owner)
    events.record(db, owner, "own", name, detail={"kind": kind})


def forget(db: Connection, kind: str, name: str) -> None:
    """Delete all grants on a model or dataset."""
    of_kind = GrantRow.privilege.in_(privileges_on(kind))
    db.execute(delete(GrantRow).where(of_kind, GrantRow.object == name))


def privileges_on(kind: str) -> list[str]:
    """The privileges that there are on models, or on datasets."""
    return [privilege for privilege, on in PRIVILEGES.items() if on == kind]


def grantee_of(db: Connection, to: str) -> str:
    """``user:ann`` or ``role:analyst``, if there is one."""
    kind, _, name = to.lower().partition(":")
    if kind == "user":
        return f"user:{find_user(db, name).name}"
    if kind == "role":
        return f"role:{one_of(name, ROLES, 'role')}"
    raise InvalidInput(f"{to!r} names nobody; write user:NAME or role:ROLE")


def grant_rows(
    privilege: str | None = None, name: str | None = None, to: str | None = None
) -> Select[*tuple[Any, ...]]:
    """Grants of a privilege, on a name, to a grantee."""
    query = select(GrantRow).order_by(GrantRow.object, GrantRow.privilege, GrantRow.grantee)
    asked = ((GrantRow.privilege, privilege), (GrantRow.object, name), (GrantRow.grantee, to))
    for column, value in asked:
        if value is not None:
            query = query.where(column == value)
    return query


def grant_of(row: Row[Any]) -> Grant:
    """The grant in its row."""
    return Grant(row.privilege, row.object, row.grantee, row.granted_by, row.granted_at)


def granted(user: User, privilege: str) -> Select[str]:
    """The names on which a user, or the user's role, was granted a privilege."""
    grantees = (f"user:{user.name}", f"role:{user.role}")
    return select(GrantRow.object).where(
        GrantRow.grantee.in_(grantees), GrantRow.privilege == privilege
    )


def allows(db: Connection, user: User, privilege: str, name: str) -> bool:
    """Whether a user who is no admin may; a scientist may also register a new name."""
    allowed = granted(user, privilege).where(GrantRow.object.in_((name, EVERYTHING))).exists()
    if privilege == "register" and user.adds:
        taken = exists().where(VersionRow.model_id == ModelRow.id, ModelRow.name == name)
        return bool(db.scalar(select(or_(allowed, ~taken))))
    return bool(db.scalar(select(allowed)))


def names_allowed(db: Connection, user: User, privilege: str) -> frozenset[str]:
    """The models, or datasets, on which a user has a privilege; one query."""
    if PRIVILEGES[privilege] == "model":
        has_versions = exists().where(VersionRow.model_id == ModelRow.id).correlate(ModelRow)
        names, query = ModelRow.name, select(ModelRow.name).where(has_versions)
    else:
        names, query = DatasetRow.name, select(DatasetRow.name)
    if user.role != "admin":
        mine = granted(user, privilege)
        query = query.where(or_(names.in_(mine), literal(EVERYTHING).in_(mine)))
    return frozenset(db.scalars(query))
