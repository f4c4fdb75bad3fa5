"""The tables of the registry; ``migrations/`` builds them, one revision after the other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# The revision this code reads and writes. Revisions are numbered, so an older one sorts lower.
REVISION = "0005"


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


class AliasMoveRow(Base):
    """One move of an alias, by the numbers of versions: a number outlives its version."""

    __tablename__ = "alias_move"
    __table_args__ = (Index(None, "model_id", "alias"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"))
    alias: Mapped[str] = mapped_column(String(64))
    from_number: Mapped[int | None]
    to_number: Mapped[int | None]
    moved_at: Mapped[datetime]
    moved_by: Mapped[str | None]
    why: Mapped[str]


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


class UserRow(Base):
    """Who may sign in. A row is never deleted: what somebody did keeps its name."""

    __tablename__ = "access_user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    password: Mapped[str | None]
    disabled: Mapped[bool]
    created_at: Mapped[datetime]


class TokenRow(Base):
    """A secret that stands for a user; only its SHA-256 is here."""

    __tablename__ = "access_token"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("access_user.id"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]


class GrantRow(Base):
    """A privilege on a model, a dataset or all (``*``), for ``user:ann`` or ``role:analyst``."""

    __tablename__ = "access_grant"
    __table_args__ = (UniqueConstraint("grantee", "privilege", "object"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    privilege: Mapped[str] = mapped_column(String(16))
    object: Mapped[str] = mapped_column(String(64))
    grantee: Mapped[str] = mapped_column(String(80))
    granted_by: Mapped[str | None]
    granted_at: Mapped[datetime]


class EventRow(Base):
    """Who did what. An index for each question asked of 100,000 rows; none is ever changed."""

    __tablename__ = "access_event"
    __table_args__ = (
        Index(None, "actor", "id"),
        Index(None, "action", "id"),
        Index(None, "object", "id"),
        Index(None, "address", "at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str | None] = mapped_column(String(80))
    action: Mapped[str] = mapped_column(String(64))
    object: Mapped[str] = mapped_column(String(200))
    detail: Mapped[dict[str, Any]]
    address: Mapped[str | None] = mapped_column(String(64))


class QueryRow(Base):
    """One statement that somebody asked a server, how it went, and where its rows are.

    server is the process that runs it, heartbeat_at when that last said so; stop_by is who wants
    it to stop. stored says that its rows can be read.
    """

    __tablename__ = "query"
    __table_args__ = (Index("ix_query_user_created_at", "user", "created_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user: Mapped[str]
    sql: Mapped[str] = mapped_column(Text)
    parameters: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16), index=True)
    server: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(index=True)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime]
    stop_by: Mapped[str | None]
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    rows: Mapped[int | None] = mapped_column(BigInteger)
    truncated: Mapped[bool]
    columns: Mapped[list[Any]]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)
    stats: Mapped[dict[str, Any]]
    warnings: Mapped[list[Any]]
    stored: Mapped[bool]
    expires_at: Mapped[datetime | None]


class QueryVersionRow(Base):
    """A version that answered rows of a query: how many it predicted, in how many seconds."""

    __tablename__ = "query_version"
    __table_args__ = (Index("ix_query_version_ref_ended_at", "ref", "ended_at"),)

    query_id: Mapped[str] = mapped_column(
        ForeignKey("query.id", ondelete="CASCADE"), primary_key=True
    )
    ref: Mapped[str] = mapped_column(String(80), primary_key=True)
    rows: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float] = mapped_column(Float)
    ended_at: Mapped[datetime]


class UploadRow(Base):
    """A file that arrives in pieces; position is how many of its bytes are here."""

    __tablename__ = "upload"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    position: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class UploadChunkRow(Base):
    """Bytes of an upload, from a position on."""

    __tablename__ = "upload_chunk"

    upload_id: Mapped[str] = mapped_column(
        ForeignKey("upload.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    data: Mapped[bytes]


class RegistrationRow(Base):
    """A version on its way into the registry, carried out by one server and shown by all."""

    __tablename__ = "registration"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user: Mapped[str] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(String(64), index=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    steps: Mapped[list[Any]]
    error: Mapped[str | None]
    error_kind: Mapped[str | None]
    facts: Mapped[list[Any]]
    number: Mapped[int | None]
    existed: Mapped[bool]
    server: Mapped[str] = mapped_column(String(32))
    beat_at: Mapped[datetime]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
