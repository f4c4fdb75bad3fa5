"""The tables of the registry; ``migrations/`` builds them, one revision after the other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    LargeBinary,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# The revision this code reads and writes. Revisions are numbered, so an older one sorts lower.
REVISION = "0001"


class UtcTime(TypeDecorator[datetime]):
    """An instant in UTC, always aware: SQLite keeps no time zone, PostgreSQL gives its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Sent to the database in UTC."""
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read as UTC, whatever the database says."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """Constraints have names, so that a later migration can change them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # JSON, not JSONB: the order of keys is kept (inputs and outputs are shown in it).
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: UtcTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
        bytes: LargeBinary,
    }


class RegistryRow(Base):
    """The one row that names this registry; its files under a URL are in a folder of that name."""

    __tablename__ = "registry"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)


class ModelRow(Base):
    """A name and the last number given under it. The row outlives its versions: numbers too."""

    __tablename__ = "model"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    last_version: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]


class VersionRow(Base):
    """One immutable deposit."""

    __tablename__ = "version"
    __table_args__ = (
        UniqueConstraint("model_id", "number"),
        UniqueConstraint("model_id", "fingerprint"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    number: Mapped[int]
    fingerprint: Mapped[str] = mapped_column(String(64))
    signature: Mapped[dict[str, Any]]
    preprocess: Mapped[dict[str, Any]]
    outputs: Mapped[dict[str, Any]]
    has_scores: Mapped[bool]
    columns: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    layers: Mapped[list[Any]]
    parameters: Mapped[int] = mapped_column(BigInteger)
    keras_version: Mapped[str | None]
    description: Mapped[str]
    tags: Mapped[list[Any]]
    owner: Mapped[str | None]
    created_at: Mapped[datetime]
    metrics: Mapped[dict[str, Any]]
    engine: Mapped[str]
    engine_report: Mapped[dict[str, Any]]
    inspection: Mapped[dict[str, Any]]


class AliasRow(Base):
    """A movable name for a version; its version cannot be deleted."""

    __tablename__ = "alias"

    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("version.id"), index=True)
    moved_at: Mapped[datetime]
    moved_by: Mapped[str | None]


class ArtifactRow(Base):
    """Bytes at rest. Without a url they are in ``artifact_chunk``, else in a file under the url."""

    __tablename__ = "artifact"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    url: Mapped[str | None]
    created_at: Mapped[datetime]


class ChunkRow(Base):
    """A few MiB of an artifact: both databases hold big models, and no reader needs them whole."""

    __tablename__ = "artifact_chunk"

    sha256: Mapped[str] = mapped_column(
        ForeignKey("artifact.sha256", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes]


class VersionArtifactRow(Base):
    """What an artifact is to a version: ``model``, ``golden``, ``openvino.xml``."""

    __tablename__ = "version_artifact"

    version_id: Mapped[int] = mapped_column(
        ForeignKey("version.id", ondelete="CASCADE"), primary_key=True
    )
    role: Mapped[str] = mapped_column(String(64), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("artifact.sha256"), index=True)


class DatasetRow(Base):
    """What analysts may put after FROM."""

    __tablename__ = "dataset"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    format: Mapped[str]
    path: Mapped[str]
    options: Mapped[dict[str, Any]]
    description: Mapped[str]
    owner: Mapped[str | None]
    created_at: Mapped[datetime]
