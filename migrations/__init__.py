"""The registry's schema, revision after revision (Alembic); there is no way back but a backup."""
