"""Looking after the registry's database: what it holds, and whether this kerasql can use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from kerasql.registry.database import open_engine, reading, revision, shown
from kerasql.registry.errors import RegistryUnavailable
from kerasql.registry.store import Registry
from kerasql.registry.tables import REVISION, ArtifactRow, VersionRow


@dataclass(frozen=True)
class Check:
    """The state of a database.

    broken are the sentences about artifacts that are missing or altered. Of a database with
    another schema nothing is counted.
    """

    url: str
    revision: str | None
    head: str
    up_to_date: bool
    models: int = 0
    versions: int = 0
    artifacts: int = 0
    size_bytes: int = 0
    broken: tuple[str, ...] = ()


def check(url: str) -> Check:
    """Look at a database, and read and hash every artifact; nothing is changed."""
    engine = open_engine(url)
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").exists():
        raise RegistryUnavailable(shown(engine), "there is no such file")
    with Registry(engine) as registry:
        found = revision(engine)
        if found != REVISION:
            return Check(registry.url, found, REVISION, up_to_date=False)
        with reading(engine) as db:
            models, versions, artifacts, size_bytes = db.execute(
                select(
                    select(func.count(VersionRow.model_id.distinct())).scalar_subquery(),
                    select(func.count(VersionRow.id)).scalar_subquery(),
                    select(func.count(ArtifactRow.sha256)).scalar_subquery(),
                    select(func.coalesce(func.sum(ArtifactRow.size_bytes), 0)).scalar_subquery(),
                )
            ).one()
        return Check(
            registry.url,
            found,
            REVISION,
            up_to_date=True,
            models=models,
            versions=versions,
            artifacts=artifacts,
            size_bytes=int(size_bytes),
            broken=tuple(str(error) for error in registry.broken_artifacts()),
        )
