"""What the registry asks its tables, and the facts it makes of their rows.

Every function is given the connection of a transaction that ``store.py`` opened.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    ScalarSelect,
    Select,
    String,
    cast,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from kerasql.registry import aliases, grants
from kerasql.registry.database import NAMES, insert_new, lock
from kerasql.registry.errors import NotFound
from kerasql.registry.names import PRODUCTION, Ref, check_free
from kerasql.registry.signature import Output, Signature
from kerasql.registry.tables import (
    AliasMoveRow,
    AliasRow,
    ArtifactRow,
    DatasetRow,
    ModelRow,
    VersionArtifactRow,
    VersionRow,
)
from kerasql.registry.version import Artifact, Dataset, Model, Version

REGISTER_FIRST = "register one with: kerasql register NAME FILE"
ADD_FIRST = "add one with: kerasql dataset add NAME PATH"


def aliases_of_version() -> ScalarSelect[str]:
    """The aliases that point to a version, with commas between: names hold none."""
    return (
        select(func.aggregate_strings(AliasRow.name, ","))
        .where(AliasRow.version_id == VersionRow.id)
        .correlate(VersionRow)
        .scalar_subquery()
    )


def artifacts_of_version() -> ScalarSelect[str]:
    """A version's artifacts as ``role:sha256:size``, with commas between."""
    size = cast(ArtifactRow.size_bytes, String)
    fact = VersionArtifactRow.role + ":" + ArtifactRow.sha256 + ":" + size
    return (
        select(func.aggregate_strings(fact, ","))
        .join(ArtifactRow, ArtifactRow.sha256 == VersionArtifactRow.sha256)
        .where(VersionArtifactRow.version_id == VersionRow.id)
        .correlate(VersionRow)
        .scalar_subquery()
    )


@cache
def versions() -> Select[*tuple[Any, ...]]:
    """Whole versions, each in one row: reading one is one round trip."""
    return select(
        ModelRow.name,
        VersionRow,
        aliases_of_version().label("aliases"),
        artifacts_of_version().label("artifacts"),
    ).join(VersionRow, VersionRow.model_id == ModelRow.id)


@cache
def overview() -> Select[*tuple[Any, ...]]:
    """A few facts about every version, by model and number."""
    return (
        select(
            ModelRow.name,
            ModelRow.created_at,
            VersionRow.number,
            VersionRow.description,
            VersionRow.has_scores,
            aliases_of_version().label("aliases"),
        )
        .join(VersionRow, VersionRow.model_id == ModelRow.id)
        .order_by(ModelRow.name, VersionRow.number)
    )


def models_found(search: str, names: Collection[str] | None) -> Select[int]:
    """The ids of models that have a version, by name."""
    version = exists().where(VersionRow.model_id == ModelRow.id)
    query = select(ModelRow.id).where(version).order_by(ModelRow.name)
    if names is not None:
        query = query.where(ModelRow.name.in_(names))
    if search:
        described = VersionRow.description.icontains(search, autoescape=True)
        named = ModelRow.name.icontains(search, autoescape=True)
        query = query.where(named | version.where(described))
    # It stands inside a query over models itself.
    return query.correlate(None)


def find(db: Connection, ref: Ref) -> Row[Any]:
    """The row of one version; NotFound says what there is instead."""
    query = versions().where(ModelRow.name == ref.name)
    if ref.number is not None:
        query = query.where(VersionRow.number == ref.number)
    else:
        query = query.join(AliasRow, AliasRow.version_id == VersionRow.id)
        query = query.where(AliasRow.name == ref.alias)
    row = db.execute(query).first()
    if row is None:
        raise not_found(db, ref)
    return row


def find_same(db: Connection, name: str, key: str) -> Row[Any] | None:
    """The row of a model's version with that fingerprint."""
    query = versions().where(ModelRow.name == name, VersionRow.fingerprint == key)
    return db.execute(query).first()


def not_found(db: Connection, ref: Ref) -> NotFound:
    """What to raise when a ref names nothing."""
    rows = db.execute(overview()).all()
    known = [row for row in rows if row.name == ref.name]
    if not known:
        return NotFound("model", ref.name, sorted({row.name for row in rows}), REGISTER_FIRST)
    aliases = sorted(alias for row in known for alias in split(row.aliases))
    numbers = [row.number for row in reversed(known)]
    return NotFound("version", str(ref), [f"{ref.name}@{label}" for label in aliases + numbers], "")


def find_dataset(db: Connection, name: str) -> Row[Any]:
    """The row of a dataset; NotFound says which there are instead."""
    row = db.execute(select(DatasetRow).where(DatasetRow.name == name)).first()
    if row is None:
        known = db.scalars(select(DatasetRow.name).order_by(DatasetRow.name)).all()
        raise NotFound("dataset", name, list(known), ADD_FIRST)
    return row


def first_uses() -> Select[*tuple[Any, ...]]:
    """Every artifact once, with the first version and role that refers to it."""
    return (
        select(ArtifactRow, ModelRow.name, VersionRow.number, VersionArtifactRow.role)
        .join(VersionArtifactRow, VersionArtifactRow.sha256 == ArtifactRow.sha256)
        .join(VersionRow, VersionRow.id == VersionArtifactRow.version_id)
        .join(ModelRow, ModelRow.id == VersionRow.model_id)
        .where(
            VersionRow.id
            == select(func.min(VersionArtifactRow.version_id))
            .where(VersionArtifactRow.sha256 == ArtifactRow.sha256)
            .correlate(ArtifactRow)
            .scalar_subquery()
        )
        .order_by(ModelRow.name, VersionRow.number, VersionArtifactRow.role)
    )


def taken_names(db: Connection) -> dict[str, list[str]]:
    """Every model that has versions, with its aliases."""
    taken = dict[str, list[str]]()
    for row in db.execute(overview()):
        taken.setdefault(row.name, []).extend(split(row.aliases))
    return taken


def lock_model(db: Connection, name: str) -> int | None:
    """The id of a model whose versions and aliases nobody else changes until the end."""
    query = select(ModelRow.id).where(ModelRow.name == name).with_for_update()
    return db.scalar(query)


def lock_or_add_model(db: Connection, name: str) -> int:
    """The same, for a model that may be new; its name is then checked against all others."""
    if not has_versions(db, name):
        lock(db, NAMES)
        check_free(name, PRODUCTION, taken_names(db))
        row = {"name": name, "last_version": 0, "created_at": datetime.now(UTC)}
        insert_new(db, ModelRow, row)
    model_id = lock_model(db, name)
    assert model_id is not None  # noqa: S101 - rows of models are never deleted
    return model_id


def has_versions(db: Connection, name: str) -> bool:
    """Whether there is a version of that model."""
    query = select(VersionRow.id).join(ModelRow, ModelRow.id == VersionRow.model_id)
    return db.execute(query.where(ModelRow.name == name).limit(1)).first() is not None


def add_version(db: Connection, model_id: int, name: str, facts: dict[str, Any]) -> int:
    """Store a version under the next number; a model's first one becomes ``production``.

    A user who is the owner of the first one owns the model.
    """
    is_first = not has_versions(db, name)
    now = datetime.now(UTC)
    number = db.scalar(
        update(ModelRow)
        .where(ModelRow.id == model_id)
        .values(last_version=ModelRow.last_version + 1)
        .returning(ModelRow.last_version)
    )
    row = {"model_id": model_id, "number": number, "created_at": now, **facts}
    version_id: int = db.execute(
        insert(VersionRow).values(row).returning(VersionRow.id)
    ).scalar_one()
    if is_first:
        owner = facts["owner"]
        aliases.move(db, model_id, PRODUCTION, number, by=owner, why="the first version")
        grants.own(db, "model", name, owner)
    return version_id


def drop_unreferenced(db: Connection) -> set[str]:
    """Delete the artifacts that no version refers to; returns the URLs where files remain."""
    used = select(VersionArtifactRow.sha256)
    dropped = db.execute(
        delete(ArtifactRow).where(ArtifactRow.sha256.not_in(used)).returning(ArtifactRow.url)
    )
    return {row.url for row in dropped if row.url}


def version_of(row: Row[Any]) -> Version:
    """The version in a row of ``versions()``."""
    artifacts = (fact.split(":") for fact in split(row.artifacts))
    outputs = {
        name: Output(**{**output, "labels": tuple(output["labels"])})
        for name, output in row.outputs.items()
    }
    return Version(
        name=row.name,
        number=row.number,
        aliases=tuple(split(row.aliases)),
        signature=Signature.from_json(row.signature),
        preprocess=row.preprocess,
        outputs=outputs,
        columns=tuple(row.columns) if row.columns else None,
        layers=row.layers,
        parameters=row.parameters,
        keras_version=row.keras_version,
        description=row.description,
        tags=tuple(row.tags),
        owner=row.owner,
        created_at=row.created_at,
        metrics=row.metrics,
        engine=row.engine,
        engine_report=row.engine_report,
        inspection=row.inspection,
        artifacts={role: Artifact(sha256, int(size)) for role, sha256, size in artifacts},
    )


def models_of(rows: Sequence[Row[Any]]) -> list[Model]:
    """The models in the rows of ``overview()``."""
    by_name = dict[str, list[Row[Any]]]()
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    return [
        Model(
            name=name,
            description=versions[-1].description,
            aliases={alias: row.number for row in versions for alias in split(row.aliases)},
            latest=versions[-1].number,
            versions=len(versions),
            created_at=versions[0].created_at,
        )
        for name, versions in by_name.items()
    ]


def names_state(db: Connection) -> tuple[Any, ...]:
    """What differs whenever a version or an alias has been added, moved or deleted.

    Numbers are given once, moves are only added: two of these numbers never fall, and while they
    stand still the third can only fall.
    """
    query = select(
        select(func.sum(ModelRow.last_version)).scalar_subquery(),
        select(func.count()).select_from(AliasMoveRow).scalar_subquery(),
        select(func.count()).select_from(VersionRow).scalar_subquery(),
    )
    return tuple(db.execute(query).one())


def catalog_of(
    rows: Sequence[Row[Any]],
) -> list[tuple[str, dict[str, int], list[tuple[int, bool]]]]:
    """What deploying has to know, from the rows of ``overview()``."""
    models = dict[str, tuple[dict[str, int], list[tuple[int, bool]]]]()
    for row in rows:
        aliases, versions = models.setdefault(row.name, ({}, []))
        aliases.update(dict.fromkeys(split(row.aliases), row.number))
        versions.append((row.number, row.has_scores))
    return [(name, aliases, versions) for name, (aliases, versions) in models.items()]


def dataset_of(row: Row[Any]) -> Dataset:
    """The dataset in its row."""
    return Dataset(
        row.name,
        row.format,
        row.path,
        row.options,
        row.description,
        row.owner,
        row.created_at,
    )


def split(joined: str | None) -> list[str]:
    """What an aggregate joined with commas, in order."""
    return sorted(joined.split(",")) if joined else []
