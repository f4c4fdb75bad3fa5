"""The command ``kerasql``: users, their tokens and grants, and who did what.

Who has the database's URL is an administrator; what is done here is recorded as ``os:NAME``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kerasql.cli import as_json, at, main, notes, opened, print_json, print_table, who
from kerasql.registry.errors import InvalidInput
from kerasql.registry.users import PRIVILEGES, ROLES

if TYPE_CHECKING:
    from kerasql.registry.access import Access

DAY_S = 86_400

password_file = click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Read it from the first line of a file instead of asking.",
)
to_option = click.option("--to", required=True, metavar="WHOM", help="user:NAME or role:ROLE.")


@contextmanager
def access(ctx: click.Context) -> Iterator[Access]:
    """Users and grants of this command's registry."""
    from kerasql.registry.access import Access

    with opened(ctx) as registry:
        yield Access(registry)


def password(file: Path | None) -> str:
    """A password from a file, else asked for twice and not shown."""
    if file is None:
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    try:
        return file.read_text().partition("\n")[0].removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} cannot be read: {error}") from error


@main.group()
def user() -> None:
    """Who may sign in."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="analyst", show_default=True)
@password_file
@click.option("--no-password", is_flag=True, help="Let in by tokens and links only.")
@click.pass_context
def user_add(
    ctx: click.Context, name: str, role: str, password_file: Path | None, no_password: bool
) -> None:
    """Add the user NAME; the password is asked for."""
    if no_password and password_file:
        raise InvalidInput("give --password-file or --no-password, not both")
    secret = None if no_password else password(password_file)
    with access(ctx) as users:
        added = users.add_user(name, role=role, password=secret, by=who())
    click.echo(f"{added.name} is a user, role {added.role}")


@user.command("list")
@as_json
@click.pass_context
def user_list(ctx: click.Context, as_json: bool) -> None:
    """List the users."""
    with access(ctx) as users:
        found = users.users()
    if as_json:
        return print_json([one.to_json() for one in found])
    if not found:
        return notes.print("no users yet; add one with: kerasql user add NAME")
    return print_table(
        ("user", "role", "password", "disabled", "added (UTC)"),
        [(u.name, u.role, yes(u.has_password), yes(u.disabled), at(u.created_at)) for u in found],
    )


def yes(fact: bool) -> str:
    """A fact in a table's cell."""
    return "yes" if fact else ""


@user.command("role")
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
@click.pass_context
def user_role(ctx: click.Context, name: str, role: str) -> None:
    """Give the user NAME another ROLE."""
    with access(ctx) as users:
        changed = users.set_role(name, role, by=who())
    click.echo(f"{changed.name} has the role {changed.role} now")


@user.command("password")
@click.argument("name")
@password_file
@click.pass_context
def user_password(ctx: click.Context, name: str, password_file: Path | None) -> None:
    """Give the user NAME another password; signed-in browsers are signed out."""
    with access(ctx) as users:
        found = users.user(name)
        users.set_password(found.name, password(password_file), by=who())
    click.echo(f"{found.name} has another password now")


@user.command("disable")
@click.argument("name")
@click.pass_context
def user_disable(ctx: click.Context, name: str) -> None:
    """Let the user NAME in no longer, by password or token."""
    with access(ctx) as users:
        found = users.disable(name, by=who())
    click.echo(f"{found.name} is disabled")


@user.command("enable")
@click.argument("name")
@click.pass_context
def user_enable(ctx: click.Context, name: str) -> None:
    """Let the user NAME in again."""
    with access(ctx) as users:
        found = users.enable(name, by=who())
    click.echo(f"{found.name} is enabled")


@main.group()
def token() -> None:
    """Secrets that stand for a user, for scripts."""


@token.command("new")
@click.argument("user")
@click.argument("name")
@click.option("--days", type=click.FloatRange(0, min_open=True), default=90, show_default=True)
@click.pass_context
def token_new(ctx: click.Context, user: str, name: str, days: float) -> None:
    """Make a token called NAME for USER; its secret is printed this once."""
    with access(ctx) as users:
        made, secret = users.new_token(user, name, lifetime_s=days * DAY_S, by=who())
    click.echo(secret)
    notes.print(f"token {made.id} of {made.user}, until {at(made.expires_at)} UTC; keep it safe")


@token.command("list")
@click.argument("user", required=False)
@as_json
@click.pass_context
def token_list(ctx: click.Context, user: str | None, as_json: bool) -> None:
    """List the tokens, or those of USER."""
    with access(ctx) as users:
        found = users.tokens(user)
    if as_json:
        return print_json([one.to_json() for one in found])
    if not found:
        return notes.print("no tokens; make one with: kerasql token new USER NAME")
    return print_table(
        ("id", "user", "token", "kind", "made (UTC)", "expires", "used", "revoked"),
        [
            (t.id, t.user, t.name, t.kind, *map(at, (t.created_at, t.expires_at, t.used_at)),
             at(t.revoked_at))
            for t in found
        ],
    )  # fmt: skip


@token.command("revoke")
@click.argument("id", type=int)
@click.pass_context
def token_revoke(ctx: click.Context, id: int) -> None:
    """Make the token ID let nobody in any more."""
    with access(ctx) as users:
        revoked = users.revoke_token(id, by=who())
    click.echo(f"token {revoked.id} ({revoked.name}) of {revoked.user} is revoked")


@main.command()
@click.argument("privilege", type=click.Choice(list(PRIVILEGES)))
@click.argument("object")
@to_option
@click.pass_context
def grant(ctx: click.Context, privilege: str, object: str, to: str) -> None:
    """Grant PRIVILEGE on OBJECT: a model's name, a dataset's (select), or '*' for all."""
    with access(ctx) as users:
        made = users.grant(privilege, object, to=to, by=who())
    click.echo(f"{made.to} has {made.privilege} on {made.object}")


@main.command()
@click.argument("privilege", type=click.Choice(list(PRIVILEGES)))
@click.argument("object")
@to_option
@click.pass_context
def ungrant(ctx: click.Context, privilege: str, object: str, to: str) -> None:
    """Take back what was granted."""
    with access(ctx) as users:
        users.ungrant(privilege, object, to=to, by=who())
    click.echo(f"{privilege} on {object.lower()} is no longer granted to {to.lower()}")


@main.command()
@click.argument("object", required=False)
@click.option("--to", metavar="WHOM", help="user:NAME or role:ROLE.")
@as_json
@click.pass_context
def grants(ctx: click.Context, object: str | None, to: str | None, as_json: bool) -> None:
    """List what is granted, or what is granted on OBJECT."""
    with access(ctx) as users:
        found = users.grants(object, to)
    if as_json:
        return print_json([one.to_json() for one in found])
    if not found:
        return notes.print("no grants; make one with: kerasql grant PRIVILEGE OBJECT --to WHOM")
    return print_table(
        ("object", "privilege", "to", "by", "since (UTC)"),
        [(g.object, g.privilege, g.to, g.by, at(g.at)) for g in found],
    )


@main.command()
@click.option("--user", help="Who did it: a user's name, or os:NAME.")
@click.option("--action", help="What was done: sign_in, grant, token.new …")
@click.option("--object", help="What it was done to: a model, a dataset, a user.")
@click.option("--before", type=int, metavar="ID", help="The events before this one.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@as_json
@click.pass_context
def audit(
    ctx: click.Context,
    user: str | None,
    action: str | None,
    object: str | None,
    before: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """List who did what, the newest first."""
    with access(ctx) as users:
        found = users.events(user, action, object, before, limit)
    if as_json:
        return print_json([one.to_json() for one in found])
    if not found:
        return notes.print("nothing was done yet")
    return print_table(
        ("id", "when (UTC)", "user", "action", "object", "detail", "address"),
        [
            (e.id, at(e.at), e.user, e.action, e.object, in_short(e.detail), e.address)
            for e in found
        ],
    )


def in_short(detail: dict[str, object]) -> str:
    """An event's detail in one cell."""
    return ", ".join(f"{name} {value}" for name, value in detail.items())
