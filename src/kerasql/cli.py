"""The command ``kerasql``: what a data scientist and an operator type."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kerasql.registry.errors import InvalidInput, KerasqlError, spelled
from kerasql.registry.settings import SETTINGS, setting

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from kerasql.registry.store import Registry
    from kerasql.registry.version import Version
    from kerasql.udf.fence.check import Fence

notes = Console(stderr=True, highlight=False)
"""Progress, hints and errors; stdout holds results alone."""


class Commands(click.Group):
    """A group whose errors are one sentence and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what kerasql refuses is worded, never a stack trace."""
        try:
            return super().invoke(ctx)
        except KerasqlError as error:
            notes.print("Error:", style="bold red", end=" ")
            notes.print(str(error), markup=False, soft_wrap=True)
            sys.exit(2)


def settings_help() -> str:
    """The settings as ``--help`` shows them."""
    lines = [f"  {one.name} ({one.default!r})\n      {one.help}" for one in SETTINGS]
    return "\b\nSettings (environment variables):\n" + "\n".join(lines)


@click.group(cls=Commands, epilog=settings_help(), context_settings={"max_content_width": 100})
@click.version_option(package_name="kerasql")
@click.option(
    "--database",
    metavar="URL",
    help="The registry, a database's or a server's URL (default: KERASQL_DATABASE).",
)
@click.pass_context
def main(ctx: click.Context, database: str | None) -> None:
    """Register a Keras model once; everyone calls it by name in Spark SQL."""
    ctx.obj = database


def database_url(ctx: click.Context) -> str:
    """The registry's database, or a server's URL: ``--database``, else the setting."""
    return str(ctx.obj or setting("KERASQL_DATABASE"))


def own_database(ctx: click.Context) -> str:
    """The database itself, for what a server does not do for others."""
    url = database_url(ctx)
    if url.lower().startswith(("http://", "https://")):
        raise InvalidInput(f"this needs the database itself; {url} is a server")
    return url


@contextmanager
def opened(ctx: click.Context) -> Iterator[Registry]:
    """The registry of this command."""
    from kerasql.registry.store import connect

    with connect(database_url(ctx)) as registry:
        yield registry


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


REGISTERING = (
    click.option(
        "--code",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Python source of custom layers, and a function for each Lambda; needs --trust-code.",
    ),
    click.option(
        "--preprocess",
        multiple=True,
        metavar="SPEC",
        help="image:size=224x224,scale=tf · tensor:scale=0.5 · file.py:function · JSON; "
        "for several inputs INPUT=SPEC, once for each.",
    ),
    click.option(
        "--labels",
        multiple=True,
        metavar="FILE",
        help="Class names, a line each or CSV; [OUTPUT=]FILE.",
    ),
    click.option(
        "--label", multiple=True, help="One class name; repeat in the order of the scores."
    ),
    click.option("--output", multiple=True, metavar="KIND", help="label, top_k, scores or value."),
    click.option("--threshold", type=float, default=0.5, show_default=True),
    click.option("--top-k", type=int, default=5, show_default=True),
    click.option("--columns", metavar="A,B,…", help="Names of a tabular input's numbers."),
    click.option("--engine", help="openvino or keras (default: the faster one that equals Keras)."),
    click.option(
        "--precision",
        default="f32",
        show_default=True,
        help="f32, or bf16: faster, no longer equal to Keras; show says by how much.",
    ),
    click.option(
        "--trust-code",
        is_flag=True,
        help="Let the given Python source run: here in a child process, and on executors.",
    ),
    click.option("--description", default=""),
    click.option("--tag", "tags", multiple=True),
    click.option("--metric", "metrics", multiple=True, metavar="NAME=NUMBER"),
    click.option("--owner", default=None, help="Who answers for it (default: you)."),
)


def registering(command: Any) -> Any:
    """A command with the options of ``Registry.register``, wherever its file comes from."""
    for option in reversed(REGISTERING):
        command = option(command)
    return command


def given(
    *,
    preprocess: Sequence[str],
    labels: Sequence[str],
    label: Sequence[str],
    output: Sequence[str],
    columns: str | None,
    metrics: Sequence[str],
    owner: str | None,
    **facts: Any,
) -> dict[str, Any]:
    """Those options as ``Registry.register`` takes them."""
    if labels and label:
        raise InvalidInput("give the class names as --labels FILE or as --label, not both")
    return facts | {
        "preprocess": named(preprocess, preprocess_option),
        "labels": list(label) or named(labels, Path),
        "output": named(output, str),
        "columns": columns.split(",") if columns else None,
        "metrics": dict(metric_option(one) for one in metrics),
        "owner": owner or user(),
    }


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """What shows the steps of a registration: one at a time on a terminal, else a line each."""
    with notes.status("starting") as status:

        def show(step: str) -> None:
            line = escape(f"{step} …")
            if notes.is_terminal:
                status.update(line)
            else:
                notes.print(line)

        yield show


def print_registered(version: Version, *, as_json: bool) -> None:
    """What became of a registration."""
    if as_json:
        print_json(version.to_json())
        return
    if version.existed:
        click.echo(f"{version.ref} holds exactly this already; nothing was stored")
    else:
        aliases = f", alias {', '.join(version.aliases)}" if version.aliases else ""
        computes = "" if version.precision == "f32" else f" in {version.precision}"
        click.echo(f"registered {version.ref}{aliases} on the engine {version.engine}{computes}")
    for rewritten in upgrade_lines(version.inspection):
        notes.print(f"rewritten for Keras 3: {rewritten}", markup=False, soft_wrap=True)
    if refused := version.engine_report.get("refused"):
        notes.print(f"note: {refused}", markup=False, soft_wrap=True)
    if not version.aliases:
        notes.print(
            f"to make it production: kerasql alias {version.name} {version.number} production"
        )


@main.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="In place of FILE: weights, with --architecture or with --code that has build().",
)
@click.option(
    "--architecture",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The model's to_json() or to_yaml().",
)
@registering
@as_json
@click.pass_context
def register(
    ctx: click.Context,
    /,
    name: str,
    file: Path | None,
    weights: Path | None,
    architecture: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Put FILE (.h5 or .keras, of any Keras) into the registry as the next version of NAME."""
    facts = given(**options)
    with opened(ctx) as registry, steps() as progress:
        version = registry.register(
            name, file, weights=weights, architecture=architecture, progress=progress, **facts
        )
    print_registered(version, as_json=as_json)


def upgrade_lines(inspection: Mapping[str, Any]) -> list[str]:
    """What was rewritten for Keras 3, in plain words with the layers it touched."""
    from kerasql.registry.h5.shown import shown

    return [
        f"{one['rule']} ({', '.join(shown(name, 60) for name in one['layers'][:5])}"
        + (f" and {one['count'] - 5} more)" if one["count"] > 5 else ")")
        for one in inspection.get("upgrade", [])
    ]


def user() -> str:
    """Who runs the command: the login name, or the user id where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a passwd entry
        return str(os.getuid())


def who() -> str:
    """The same, as histories and events keep it; no user of the registry is called so."""
    return f"os:{user()}"


def named(values: Sequence[str], parse: Any) -> Any:
    """One value, or a dict of values by the input or output they name: ``left=…``."""
    if not values:
        return None
    parts = [name_and_value(value) for value in values]
    if len(parts) == 1 and parts[0][0] is None:
        return parse(parts[0][1])
    if any(name is None for name, _ in parts):
        raise InvalidInput(f"{spelled(values)}: with several values write NAME=VALUE for each")
    return {name: parse(value) for name, value in parts}


def name_and_value(text: str) -> tuple[str | None, str]:
    """``left=image:size=8x8`` names an input, ``image:size=8x8`` does not."""
    name, equals, value = text.partition("=")
    if equals and name.replace("_", "a").isalnum():
        return name, value
    return None, text


def preprocess_option(text: str) -> Any:
    """A preprocessor from JSON, from ``kind:option=value,…`` or from ``file.py:function``."""
    from kerasql.registry.preprocess import KINDS, preprocessor_from_json

    if text.lstrip().startswith("{"):
        try:
            return preprocessor_from_json(json.loads(text))
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise InvalidInput(f"{text!r} is no preprocessor: {error}") from error
    kind, _, options = text.partition(":")
    if kind not in KINDS or kind == "code":
        return text
    pairs = [option.partition("=") for option in options.split(",") if option]
    try:
        return KINDS[kind](**{name: option_value(value) for name, _, value in pairs})
    except TypeError as error:
        raise InvalidInput(f"{text!r} is no preprocessor: {error}") from error


def option_value(text: str) -> Any:
    """``224x224`` is a size, ``0.5`` and ``true`` are JSON, anything else is text."""
    height, x, width = text.partition("x")
    if x and height.isdecimal() and width.isdecimal():
        return int(height), int(width)
    try:
        return json.loads(text)
    except ValueError:
        return text


def metric_option(text: str) -> tuple[str, float]:
    """``accuracy=0.98``."""
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError as error:
        raise InvalidInput(f"{text!r} is no metric; write --metric accuracy=0.98") from error


@main.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option("--layers", is_flag=True, help="List all layers (default: the first 20).")
@click.option(
    "--code",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Python source that will be given with it; it is read, not run.",
)
@as_json
def check(files: Sequence[Path], layers: bool, code: Path | None, as_json: bool) -> None:
    """Say what each FILE is and whether it can be registered; nothing in it is run.

    The exit code is 1 where a file cannot be registered as it is. No registry is needed.
    """
    from kerasql.registry.code import defines, read_source
    from kerasql.registry.h5.report import report_of, rows

    known = defines(read_source(code)) if code else frozenset[str]()
    reports = [report_of(file, known) for file in files]
    if as_json:
        found = [report.to_json() for report in reports]
        print_json(found[0] if len(found) == 1 else found)
    else:
        for number, report in enumerate(reports):
            if number:
                click.echo()
            print_table(("", ""), rows(report, all_layers=layers), header=False)
    if not all(report.registrable for report in reports):
        sys.exit(1)


@main.command()
@as_json
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List the models."""
    with opened(ctx) as registry:
        found = registry.models()
    if as_json:
        return print_json([model.to_json() for model in found])
    if not found:
        return notes.print("no models yet; register one with: kerasql register NAME FILE")
    return print_table(
        ("model", "production", "latest", "versions", "other aliases", "description"),
        [
            (
                model.name,
                model.aliases.get("production"),
                model.latest,
                model.versions,
                ", ".join(f"{a} → {n}" for a, n in model.aliases.items() if a != "production"),
                model.description,
            )
            for model in found
        ],
    )


@main.command()
@click.argument("ref")
@click.option("--code", "as_code", is_flag=True, help="Print the Python source it carries.")
@as_json
@click.pass_context
def show(ctx: click.Context, ref: str, as_code: bool, as_json: bool) -> None:
    """Show one version: REF is name, name@3 or name@production."""
    from kerasql.registry.names import function_names
    from kerasql.registry.preprocess import preprocessor_from_json
    from kerasql.registry.signature import sql_type

    with opened(ctx) as registry:
        version = registry.get(ref)
        source = registry.code(ref) if as_code else None
    if as_code:
        return click.echo(source, nl=False) if source else notes.print("it carries no code")
    if as_json:
        return print_json(version.to_json())
    calls = function_names(version.name, version.aliases, [(version.number, version.has_scores)])
    report = version.engine_report
    rows = [
        ("version", version.ref),
        ("aliases", ", ".join(version.aliases)),
        ("call it", ", ".join(f"{name}(…)" for name in calls)),
        *((f"input {i.name}", f"{i.dtype} {i.shape}") for i in version.signature.inputs),
        *(
            (f"preprocess {name}", preprocessor_from_json(one).describe())
            for name, one in version.preprocess.items()
        ),
        ("columns", ", ".join(version.columns or ())),
        *(
            (f"output {o.name}", f"{sql_type(o, version.outputs[o.name])} from {o.dtype} {o.shape}")
            for o in version.signature.outputs
        ),
        *(
            (f"labels {name}", spelled(one.labels))
            for name, one in version.outputs.items()
            if one.labels
        ),
        ("engine", version.engine),
        ("largest difference", report.get("difference") and f"{report['difference']:.2g}"),
        ("precision", precision_line(version)),
        ("not used", report.get("refused")),
        ("layers", f"{len(version.layers)}, {version.parameters:,} parameters"),
        ("saved with Keras", version.keras_version),
        *(("rewritten for Keras 3", line) for line in upgrade_lines(version.inspection)),
        ("code", code_line(version)),
        ("description", version.description),
        ("tags", ", ".join(version.tags)),
        ("metrics", ", ".join(f"{k} {v:g}" for k, v in version.metrics.items())),
        ("owner", version.owner),
        ("registered", f"{version.created_at:%Y-%m-%d %H:%M} UTC"),
        ("SHA-256", version.artifacts["model"].sha256),
        ("size", f"{version.artifacts['model'].size_bytes:,} bytes"),
    ]
    return print_table(("", ""), [row for row in rows if row[1]], header=False)


def precision_line(version: Version) -> str | None:
    """What a version computes in, where it is not float32, and what that costs."""
    report = version.engine_report
    if version.precision == "f32":
        return None
    line = f"{version.precision}, largest difference {report['bf16_difference']:.2g}"
    if report["bf16_top1"] is None:
        return line
    return f"{line}, same best score on {report['bf16_top1']:.1%} of the probes"


def code_line(version: Version) -> str | None:
    """That a version carries source, and how to read it."""
    artifact = version.artifacts.get("code")
    if artifact is None:
        return None
    return f"{artifact.size_bytes:,} bytes of Python: kerasql show {version.ref} --code"


why = click.option("--why", default="", help="The reason, for who reads the history.")


@main.command()
@click.argument("name")
@click.argument("version", type=int)
@click.argument("alias")
@why
@click.pass_context
def alias(ctx: click.Context, name: str, version: int, alias: str, why: str) -> None:
    """Point ALIAS of the model NAME to VERSION; the next query uses it."""
    with opened(ctx) as registry:
        moved = registry.set_alias(name, version, alias, by=who(), why=why)
    click.echo(f"{moved.name}@{alias.lower()} is {moved.ref} now")


@main.command()
@click.argument("name")
@click.argument("alias")
@why
@click.pass_context
def unalias(ctx: click.Context, name: str, alias: str, why: str) -> None:
    """Remove ALIAS from the model NAME; the version stays."""
    with opened(ctx) as registry:
        left = registry.remove_alias(name, alias, by=who(), why=why)
    click.echo(f"{left.name}@{alias.lower()} is removed; {left.ref} is still there")


@main.command("alias-undo")
@click.argument("name")
@click.argument("alias")
@why
@click.pass_context
def alias_undo(ctx: click.Context, name: str, alias: str, why: str) -> None:
    """Put ALIAS of the model NAME where it was before its last move."""
    with opened(ctx) as registry:
        there = registry.undo_alias(name, alias, by=who(), why=why)
    ref = f"{name.lower()}@{alias.lower()}"
    click.echo(f"{ref} is {there.ref} again" if there else f"{ref} is removed again")


@main.command("alias-history")
@click.argument("name")
@click.argument("alias", required=False)
@as_json
@click.pass_context
def alias_history(ctx: click.Context, name: str, alias: str | None, as_json: bool) -> None:
    """List the moves of the model NAME's aliases, or of ALIAS, the newest first."""
    with opened(ctx) as registry:
        moves = registry.alias_history(name, alias)
    if as_json:
        return print_json([move.to_json() for move in moves])
    if not moves:
        return notes.print("no moves are known")
    return print_table(
        ("when (UTC)", "alias", "from", "to", "by", "why"),
        [(at(m.at), m.alias, m.from_number, m.to_number, m.by, m.why) for m in moves],
    )


@main.command()
@click.argument("ref")
@click.pass_context
def delete(ctx: click.Context, ref: str) -> None:
    """Delete one version, named by its number: name@3."""
    with opened(ctx) as registry:
        registry.delete(ref)
    click.echo(f"{ref.lower()} is deleted")


@main.group()
def dataset() -> None:
    """What analysts can put after FROM."""


@dataset.command("add")
@click.argument("name")
@click.argument("path", default="")
@click.option(
    "--format",
    "format_",
    default="images",
    show_default=True,
    help="images (a folder of pictures), parquet, csv, json or any format Spark reads.",
)
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Spark's own.")
@click.option("--description", default="")
@click.option("--replace", is_flag=True, help="Replace a dataset of that name.")
@click.pass_context
def dataset_add(
    ctx: click.Context, /, name: str, path: str, format_: str, options: Sequence[str], **facts: Any
) -> None:
    """Let analysts read PATH as NAME; formats such as jdbc have options in place of a path."""
    pairs = [option.partition("=") for option in options]
    if wrong := [key for key, equals, _ in pairs if not equals]:
        raise InvalidInput(f"--option {wrong[0]!r} has no value; write --option header=true")
    with opened(ctx) as registry:
        added = registry.add_dataset(
            name,
            path,
            format=format_,
            options={key: value for key, _, value in pairs},
            owner=user(),
            **facts,
        )
    place = f" at {added.path}" if added.path else ""
    click.echo(f"{added.name}: {added.format}{place}")


@dataset.command("list")
@as_json
@click.pass_context
def dataset_list(ctx: click.Context, as_json: bool) -> None:
    """List the datasets."""
    with opened(ctx) as registry:
        found = registry.datasets()
    if as_json:
        return print_json([one.to_json() for one in found])
    if not found:
        return notes.print("no datasets yet; add one with: kerasql dataset add NAME PATH")
    return print_table(
        ("dataset", "format", "path", "options", "description"),
        [
            (d.name, d.format, d.path, ", ".join(f"{k}={v}" for k, v in d.options.items()),
             d.description)
            for d in found
        ],
    )  # fmt: skip


@dataset.command("remove")
@click.argument("name")
@click.pass_context
def dataset_remove(ctx: click.Context, name: str) -> None:
    """Forget a dataset; its files stay."""
    with opened(ctx) as registry:
        registry.remove_dataset(name)
    click.echo(f"{name.lower()} is forgotten; its files are where they were")


@main.command()
@click.argument("sql", required=False)
@click.option("--file", type=click.Path(path_type=Path), help="Read the SQL from a file.")
@click.option("--limit", type=click.IntRange(0), help="Rows at most; 0 for all.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--parquet", type=click.Path(path_type=Path), help="Write the rows to this file.")
@click.option("--as", "as_user", metavar="USER", help="With what this user may use, and no more.")
@click.option("--master", default="local[*]", show_default=True, help="The Spark cluster.")
@click.option("--conf", multiple=True, metavar="KEY=VALUE", help="A Spark setting.")
@click.option("--stats", is_flag=True, help="Say what the models did: rows, batches, memory.")
@as_json
@click.pass_context
def query(
    ctx: click.Context,
    sql: str | None,
    file: Path | None,
    limit: int | None,
    as_csv: bool,
    parquet: Path | None,
    as_user: str | None,
    master: str,
    conf: Sequence[str],
    stats: bool,
    as_json: bool,
) -> None:
    """Run one SQL query over the models and datasets of the registry."""
    from kerasql.show import stats_line, write_csv, write_json, write_parquet, write_table
    from kerasql.udf.deploy import deploy
    from kerasql.udf.query import query as run

    sql = query_text(sql, file)
    limit = setting("KERASQL_ROW_LIMIT") if limit is None else limit
    with ExitStack() as stack:
        registry = stack.enter_context(opened(ctx))
        fence = fence_of_user(registry, as_user) if as_user else None
        spark = stack.enter_context(spark_session(master, conf))
        deployment = deploy(spark, registry)
        with notes.status("running …"):
            try:
                result = run(spark, sql, limit=limit or None, fence=fence)
            finally:
                for reason in deployment.unreadable.values():
                    notes.print(f"note: {reason}", markup=False)
    if parquet:
        write_parquet(result, parquet)
        click.echo(f"{result.table.num_rows:,} rows in {parquet}")
    elif as_csv:
        write_csv(result, sys.stdout)
    elif as_json:
        write_json(result, sys.stdout)
    else:
        write_table(result, Console())
    if result.truncated:
        notes.print(
            f"only the first {limit:,} rows are shown; there are more (--limit N, 0 for all)"
        )
    if stats:
        for ref, one in sorted(result.stats.items()):
            notes.print(stats_line(ref, one), markup=False, soft_wrap=True)
        if not result.stats:
            notes.print("no model was asked, or a LIMIT stopped those that were")


def fence_of_user(registry: Registry, name: str) -> Fence:
    """What that user's SQL may name."""
    from kerasql.registry.access import Access
    from kerasql.udf.allowed import fence_of

    access = Access(registry)
    return fence_of(registry, access, access.user(name))


def query_text(sql: str | None, file: Path | None) -> str:
    """The SQL from the argument, from a file, or from standard input (``-``)."""
    if (sql is None) == (file is None):
        raise InvalidInput('give one query: kerasql query "SELECT …", or --file FILE')
    if file is not None:
        try:
            sql = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{file} cannot be read: {error}") from error
    text = sys.stdin.read() if sql == "-" else str(sql)
    return text.strip().rstrip(";")


@contextmanager
def spark_session(master: str, conf: Sequence[str]) -> Iterator[SparkSession]:
    """A Spark session that is stopped at the end."""
    from kerasql.udf.session import local_session

    settings = conf_pairs(conf)
    with notes.status("starting Spark …"):
        spark = local_session(master=master, conf=settings)
    try:
        yield spark
    finally:
        spark.stop()


def conf_pairs(conf: Sequence[str]) -> dict[str, str]:
    """Spark's settings from ``--conf``."""
    pairs = [one.partition("=") for one in conf]
    if wrong := [key for key, equals, _ in pairs if not equals]:
        raise InvalidInput(f"--conf {wrong[0]!r} has no value; write --conf spark.task.cpus=2")
    return {key: value for key, _, value in pairs}


@main.group()
def db() -> None:
    """The registry's database."""


@db.command("upgrade")
@click.pass_context
def db_upgrade(ctx: click.Context) -> None:
    """Create the registry's tables, or bring them up to date with their data."""
    from kerasql.registry.check import check
    from kerasql.registry.database import upgrade

    upgrade(own_database(ctx))
    state = check(own_database(ctx))
    click.echo(f"{state.url} is at revision {state.revision}, up to date")


@db.command("check")
@as_json
@click.pass_context
def db_check(ctx: click.Context, as_json: bool) -> None:
    """Say what the database holds, and read and hash every artifact."""
    from dataclasses import asdict

    from kerasql.registry.check import check

    state = check(own_database(ctx))
    if as_json:
        print_json(asdict(state))
    else:
        rows = [(name.replace("_", " "), value) for name, value in asdict(state).items()]
        print_table(("", ""), [row for row in rows if row[0] != "broken"], header=False)
        for sentence in state.broken:
            notes.print(f"broken: {sentence}", markup=False)
    if state.broken or not state.up_to_date:
        sys.exit(1)


@db.command("collect")
@click.pass_context
def db_collect(ctx: click.Context) -> None:
    """Delete artifact files that a killed registration left behind more than a day ago."""
    with opened(ctx) as registry:
        click.echo(f"{registry.collect()} files deleted")


@main.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Where its pictures, model and registry are written.",
)
def demo(folder: Path) -> None:
    """Train a small network on handwritten digits, register it, and query it in SQL."""
    from kerasql.demo import run

    run(folder)


def at(time: datetime | None) -> str:
    """A time as tables show it, in UTC."""
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else ""


def print_json(value: Any) -> None:
    """JSON on stdout."""
    click.echo(json.dumps(value, indent=2, default=str))


def print_table(
    names: Sequence[str], rows: Sequence[Sequence[Any]], *, header: bool = True
) -> None:
    """A table on stdout; None is an empty cell."""
    table = Table(show_header=header, box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value).replace("[", r"\[") for value in row))
    Console(highlight=False).print(table)


# At the end, because it adds its commands to main.
import kerasql.cli_access  # noqa: E402
import kerasql.cli_database  # noqa: E402
import kerasql.cli_import  # noqa: E402
import kerasql.cli_serve  # noqa: E402, F401
