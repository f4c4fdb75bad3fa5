"""Queries of a server, and the versions that answered them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "query",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("user", sa.String, nullable=False),
        sa.Column("sql", sa.Text, nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("server", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stop_by", sa.String, nullable=True),
        sa.Column("progress", sa.JSON, nullable=True),
        sa.Column("rows", sa.BigInteger, nullable=True),
        sa.Column("truncated", sa.Boolean, nullable=False),
        sa.Column("columns", sa.JSON, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=True),
        sa.Column("error", sa.Text, nullable=True),
        sa.Column("stats", sa.JSON, nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("stored", sa.Boolean, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_query"),
    )
    op.create_index("ix_query_user_created_at", "query", ["user", "created_at"])
    op.create_index("ix_query_created_at", "query", ["created_at"])
    op.create_index("ix_query_state", "query", ["state"])
    op.create_table(
        "query_version",
        sa.Column("query_id", sa.String(32), nullable=False),
        sa.Column("ref", sa.String(80), nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("query_id", "ref", name="pk_query_version"),
        sa.ForeignKeyConstraint(
            ["query_id"],
            ["query.id"],
            name="fk_query_version_query_id_query",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_query_version_ref_ended_at", "query_version", ["ref", "ended_at"])
