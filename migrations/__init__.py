"""The registry's schema, revision after revision (Alembic)."""
