"""The command ``kerasql import``: models that another registry has."""

from __future__ import annotations

from typing import Any

import click

from kerasql.cli import as_json, given, main, opened, print_registered, registering, steps


@main.group("import")
def import_() -> None:
    """Register models that lie elsewhere."""


@import_.command("mlflow")
@click.argument("uri")
@click.option("--name", help="The model's name here (default: its name in MLflow).")
@click.option(
    "--tracking-uri", metavar="URL", help="MLflow's address (default: MLFLOW_TRACKING_URI)."
)
@registering
@as_json
@click.pass_context
def mlflow(
    ctx: click.Context,
    /,
    uri: str,
    name: str | None,
    tracking_uri: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Register MLflow's model URI: models:/name@alias, models:/name/3 or runs:/<run id>/model.

    Only its Keras file is taken; its tags, metrics and description come along.
    """
    from kerasql.registry.from_mlflow import import_mlflow

    facts = given(**options)
    with opened(ctx) as registry, steps() as progress:
        version = import_mlflow(
            registry, uri, name=name, tracking_uri=tracking_uri, progress=progress, **facts
        )
    print_registered(version, as_json=as_json)
