"""The command ``kerasql db``: what keeps the registry's database small, and moves it."""

from __future__ import annotations

from collections.abc import Callable

import click

from kerasql.cli import db, notes, opened, own_database, print_table, who
from kerasql.registry.errors import InvalidInput, RegistryUnavailable
from kerasql.registry.settings import setting


@db.command("tidy")
@click.option("--queries-older-than", metavar="AGE", help="36h, 90d or 8w since they ended.")
@click.option("--events-older-than", metavar="AGE", help="The same, for who did what.")
@click.option("--results", metavar="URL", help="Where results are kept (default: KERASQL_RESULTS).")
@click.option("--dry-run", is_flag=True, help="Count, and delete nothing.")
@click.pass_context
def db_tidy(
    ctx: click.Context,
    queries_older_than: str | None,
    events_older_than: str | None,
    results: str | None,
    dry_run: bool,
) -> None:
    """Delete old queries and events; servers may run meanwhile."""
    from kerasql.registry.retention import age, tidy

    own_database(ctx)
    if not (queries_older_than or events_older_than):
        raise InvalidInput(
            "nothing is chosen; give --queries-older-than 90d, --events-older-than 365d or both"
        )
    with opened(ctx) as registry:
        old = tidy(
            registry,
            queries_older_than=age(queries_older_than) if queries_older_than else None,
            events_older_than=age(events_older_than) if events_older_than else None,
            remove=remover(results or setting("KERASQL_RESULTS")),
            by=who(),
            dry_run=dry_run,
        )
    done = "would be deleted" if dry_run else "are deleted"
    if queries_older_than:
        click.echo(f"{old.queries:,} queries that ended more than {queries_older_than} ago {done}")
    if events_older_than:
        click.echo(f"{old.events:,} events of more than {events_older_than} ago {done}")


def remover(results: str) -> Callable[[str], None]:
    """Deletes the stored rows of a query, by its id."""
    from kerasql.udf.running.results import Results

    def remove(name: str) -> None:
        try:
            Results(results).remove(name)
        except Exception as error:  # whatever the client library of that protocol raises
            raise RegistryUnavailable(results, f"results cannot be deleted: {error}") from error

    return remove


@db.command("copy")
@click.argument("target", metavar="TARGET_URL")
@click.pass_context
def db_copy(ctx: click.Context, target: str) -> None:
    """Copy the whole registry into the empty database TARGET_URL; stop its servers first."""
    from kerasql.registry.copying import copy

    source = own_database(ctx)
    with notes.status("copying …") as status:
        copied = copy(
            source, target, progress=lambda table, rows: status.update(f"{table}: {rows:,} rows …")
        )
    print_table(("table", "rows"), [(name, f"{rows:,}") for name, rows in copied.items() if rows])
    notes.print("everything is there; look at it with db check, and use it instead of this one")
