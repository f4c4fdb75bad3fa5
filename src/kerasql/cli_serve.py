"""The command ``kerasql serve``: the pages, the HTTP API and one Spark driver."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from kerasql.cli import conf_pairs, main, notes, own_database
from kerasql.registry.settings import setting


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
        say=lambda line: notes.print(line, markup=False, soft_wrap=True),
    )
