"""What Alembic runs: on the connection kerasql opened, else on KERASQL_DATABASE."""

from alembic import context
from sqlalchemy import Connection

from kerasql.registry.database import open_engine, writing
from kerasql.registry.settings import setting
from kerasql.registry.tables import Base


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_server_default=True,
        render_as_batch=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("kerasql migrates a database it can reach; drop --sql")

given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    with writing(open_engine(setting("KERASQL_DATABASE"))) as connection:
        migrate(connection)
