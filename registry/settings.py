"""Every setting: an environment variable, its default and what it does.

This table is the one place; ``docs/settings.md`` and the command line's help show it.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from kerasql.registry.errors import InvalidInput


class Setting(NamedTuple):
    """An environment variable; its value has the type of its default, a number a least value."""

    name: str
    default: str | int | bool
    help: str
    least: int = 0


SETTINGS = (
    Setting(
        "KERASQL_DATABASE",
        "sqlite:///kerasql.db",
        "The registry's database: sqlite:///file.db or postgresql://user@host/name.",
    ),
    Setting(
        "KERASQL_ARTIFACTS",
        "",
        "Where new artifacts are put: empty for the database, or a URL such as "
        "s3://bucket/prefix or file:///folder.",
    ),
    Setting(
        "KERASQL_READ_PATHS",
        False,
        "Whether executors may open the paths and URIs in a STRING column (on or off).",
    ),
    Setting(
        "KERASQL_MAX_PIXELS",
        89_478_485,
        "The most pixels of an image that is decoded; a larger one is a bad row.",
        least=1,
    ),
    Setting("KERASQL_BATCH_ROWS", 1024, "The most rows that an engine predicts at once.", least=1),
    Setting(
        "KERASQL_MEMO_MB",
        256,
        "MiB of answers that each executor remembers, by what is in the row; 0 switches it off.",
    ),
    Setting(
        "KERASQL_SERVER_MEMORY_MB",
        4096,
        "MiB of networks that an executor's model server holds; the least recently used leaves.",
        least=1,
    ),
    Setting(
        "KERASQL_SERVER_IDLE_S",
        600,
        "Seconds after which a model server ends that no task is connected to.",
        least=1,
    ),
    Setting(
        "KERASQL_PREDICT_TIMEOUT_S",
        120,
        "Seconds for which a network may predict a batch; then it is tried again in halves, and "
        "the row on which it hangs becomes NULL.",
        least=1,
    ),
    Setting(
        "KERASQL_CONSTRUCT_TIMEOUT_S",
        600,
        "Seconds after which the child process that loads a model at registration is stopped.",
        least=1,
    ),
    Setting(
        "KERASQL_CONSTRUCT_MEMORY_MB",
        0,
        "The most memory of that child process in MiB; 0 decides by the size of the file.",
    ),
    Setting(
        "KERASQL_TOKEN",
        "",
        "The token for a kerasql server, where KERASQL_DATABASE is its URL: https://host.",
    ),
    Setting(
        "KERASQL_UPLOADS_MB",
        8192,
        "The most MiB of files that a user sends to a server before they are registered.",
        least=1,
    ),
    Setting(
        "KERASQL_DATASET_ROOTS",
        "",
        "Folders and URLs, with commas between, below which scientists may add datasets at a "
        "server; empty leaves that to admins.",
    ),
    Setting(
        "KERASQL_TRUST_SCIENTISTS",
        False,
        "Whether scientists, and not admins alone, may register Python code at a server, which "
        "runs it as the server's user (on or off).",
    ),
    Setting(
        "KERASQL_RESULTS",
        "kerasql-results",
        "Where kerasql serve keeps the rows of queries: a folder, or a URL such as s3://bucket/prefix.",
    ),
    Setting(
        "KERASQL_QUERY_SECONDS",
        600,
        "Seconds for which a query may run at a server; those in the queue do not count.",
        least=1,
    ),
    Setting(
        "KERASQL_QUERY_ROWS", 1_000_000, "The most rows that a server keeps of a result.", least=1
    ),
    Setting(
        "KERASQL_QUERY_MB",
        1024,
        "The most MiB that a server keeps of a result, as Arrow in memory.",
        least=1,
    ),
    Setting("KERASQL_QUERIES", 8, "The most queries that a server runs at once.", least=1),
    Setting(
        "KERASQL_QUERIES_OF_A_USER", 2, "The most queries of one user that run at once.", least=1
    ),
    Setting(
        "KERASQL_QUERIES_WAITING", 20, "The most queries of one user that wait for their turn."
    ),
    Setting("KERASQL_RESULT_DAYS", 7, "Days after which a result is deleted.", least=1),
    Setting("KERASQL_ROW_LIMIT", 1000, "The most rows a query returns unless it asks for more."),
)

SWITCHES = {
    "on": True,
    "true": True,
    "yes": True,
    "1": True,
    "off": False,
    "false": False,
    "no": False,
    "0": False,
}


def setting(name: str) -> Any:
    """The value of one setting, from the environment or its default.

    It has the type of the default. Raises InvalidInput when the environment holds nonsense.
    """
    known = {setting.name: setting for setting in SETTINGS}
    default = known[name].default
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if isinstance(default, bool):
        return _switch(name, text)
    if isinstance(default, int):
        return _count(name, text, known[name].least)
    return text


def _switch(name: str, text: str) -> bool:
    if text.lower() not in SWITCHES:
        raise InvalidInput(f"{name} is {text!r}; set it to on or off")
    return SWITCHES[text.lower()]


def _count(name: str, text: str, least: int) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) < 16
    if not is_number or int(text) < least:
        raise InvalidInput(f"{name} is {text!r}; set it to a whole number, {least} or more")
    return int(text)
