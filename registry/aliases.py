"""Aliases: where they point, and every move they made.

Every function is given the connection of a transaction that ``store.py`` opened; to move an
alias, the model is locked in it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, delete, insert, select

from kerasql.registry.errors import InvalidInput
from kerasql.registry.tables import AliasMoveRow, AliasRow, ModelRow, VersionRow
from kerasql.registry.version import AliasMove


def move(
    db: Connection, model_id: int, alias: str, number: int | None, *, by: str | None, why: str
) -> None:
    """Make an alias, move it, or remove it (None); where it was is kept. No way is no move."""
    before = pointed(db, model_id, alias)
    if number == before:
        return
    now = datetime.now(UTC)
    db.execute(delete(AliasRow).where(AliasRow.model_id == model_id, AliasRow.name == alias))
    if number is not None:
        version = select(VersionRow.id).where(VersionRow.model_id == model_id)
        row = {
            "model_id": model_id,
            "name": alias,
            "version_id": version.where(VersionRow.number == number).scalar_subquery(),
            "moved_at": now,
            "moved_by": by,
        }
        db.execute(insert(AliasRow).values(row))
    made = {
        "model_id": model_id,
        "alias": alias,
        "from_number": before,
        "to_number": number,
        "moved_at": now,
        "moved_by": by,
        "why": why,
    }
    db.execute(insert(AliasMoveRow).values(made))


def pointed(db: Connection, model_id: int, alias: str) -> int | None:
    """The number of the version an alias points to."""
    query = select(VersionRow.number).join(AliasRow, AliasRow.version_id == VersionRow.id)
    return db.scalar(query.where(AliasRow.model_id == model_id, AliasRow.name == alias))


def before(db: Connection, model: str, alias: str) -> int | None:
    """The number an alias pointed to before its last move; None where it was not there."""
    known = moves(db, model, alias)
    if not known:
        raise InvalidInput(f"{model}@{alias} never moved; there is nothing to undo")
    number = known[0].from_number
    version = select(VersionRow.id).join(ModelRow, ModelRow.id == VersionRow.model_id)
    version = version.where(ModelRow.name == model, VersionRow.number == number)
    if number is not None and db.scalar(version) is None:
        raise InvalidInput(
            f"{model}@{alias} pointed to {model}@{number} before, which is deleted; "
            "point it to another version"
        )
    return number


def moves(db: Connection, model: str, alias: str | None = None) -> list[AliasMove]:
    """The moves of a model's aliases, or of one of them, the newest first."""
    query = (
        select(AliasMoveRow, ModelRow.name)
        .join(ModelRow, ModelRow.id == AliasMoveRow.model_id)
        .where(ModelRow.name == model)
        .order_by(AliasMoveRow.id.desc())
    )
    if alias is not None:
        query = query.where(AliasMoveRow.alias == alias)
    return [
        AliasMove(
            model=row.name,
            alias=row.alias,
            from_number=row.from_number,
            to_number=row.to_number,
            at=row.moved_at,
            by=row.moved_by,
            why=row.why,
        )
        for row in db.execute(query)
    ]
