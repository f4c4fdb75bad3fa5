"""The command ``kerasql serve``: the pages, the HTTP API and one Spark driver."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kerasql.cli import conf_pairs, main, notes, own_database
from kerasql.registry.errors import InvalidInput, spelled
from kerasql.registry.settings import setting

if TYPE_CHECKING:
    from kerasql.web.oidc import Provider


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--certificate",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A PEM certificate, with its chain, for HTTPS.",
)
@click.option(
    "--key", type=click.Path(path_type=Path), metavar="FILE", help="Its private key, PEM."
)
@click.option(
    "--trusted-proxy",
    metavar="ADDRESS",
    help="The proxy that does HTTPS; nobody else may connect then.",
)
@click.option("--oidc", metavar="URL", help="The issuer of an OpenID provider to sign in with.")
@click.option(
    "--oidc-client",
    metavar="ID",
    help="What it knows this server by; its secret is KERASQL_OIDC_SECRET.",
)
@click.option("--oidc-name", metavar="TEXT", help="What the button calls it (default: its host).")
@click.option(
    "--oidc-claim",
    metavar="CLAIM",
    help="The claim that is a user's name (default: email, if it is verified).",
)
@click.option(
    "--oidc-role",
    type=click.Choice(["analyst", "scientist"]),
    help="Add whom it knows and kerasql does not, with that role (default: refuse them).",
)
@click.option("--results", metavar="URL", help="Where results are kept (default: KERASQL_RESULTS).")
@click.option("--master", default="local[*]", show_default=True, help="Spark's master.")
@click.option("--conf", multiple=True, metavar="KEY=VALUE", help="A setting of Spark's; repeat.")
@click.pass_context
def serve(
    ctx: click.Context,
    host: str,
    port: int,
    certificate: Path | None,
    key: Path | None,
    trusted_proxy: str | None,
    oidc: str | None,
    oidc_client: str | None,
    oidc_name: str | None,
    oidc_claim: str | None,
    oidc_role: str | None,
    results: str | None,
    master: str,
    conf: Sequence[str],
) -> None:
    """Serve the pages and the HTTP API, until Ctrl-C."""
    from kerasql.web.serve import Address
    from kerasql.web.serve import serve as run

    run(
        own_database(ctx),
        Address(host, port, certificate, key, trusted_proxy),
        results=results or setting("KERASQL_RESULTS"),
        master=master,
        conf=conf_pairs(conf),
        provider=provider(oidc, oidc_client, name=oidc_name, claim=oidc_claim, role=oidc_role),
        say=lambda line: notes.print(line, markup=False, soft_wrap=True),
    )


def provider(issuer: str | None, client: str | None, **options: str | None) -> Provider | None:
    """Whom people may sign in with, if anybody; its secret comes from the environment."""
    from kerasql.web.oidc import Provider

    if not issuer:
        asked = [f"--oidc-{name}" for name, value in {"client": client, **options}.items() if value]
        if asked:
            raise InvalidInput(f"{spelled(asked)} needs a provider; name it with --oidc URL")
        return None
    if not client:
        raise InvalidInput(
            f"--oidc {issuer} needs --oidc-client ID, the name by which it knows this server; "
            "register kerasql there"
        )
    given = {name: value for name, value in options.items() if value}
    return Provider(issuer, client, os.environ.get("KERASQL_OIDC_SECRET") or None, **given)
