"""The two tables of permissions.txt: what each privilege is good for, and each action."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

THING = re.compile("<([a-z_]+)>")
READING = ("GET", "POST /api/v1/checks", "POST /api/v1/queries/estimate")

WHO = {
    "nobody": (None, None),
    "analyst": ("analyst", None),
    "granted": ("analyst", "to the user"),
    "others": ("analyst", "every other"),
    "by_role": ("analyst", "to the role"),
    "on_all": ("analyst", "on all"),
    "scientist": ("scientist", None),
    "sci_granted": ("scientist", "to the user"),
    "owner": ("owner", None),
    "admin": ("admin", None),
    "disabled": ("disabled", None),
    "expired": ("admin", None),
    "revoked": ("admin", None),
}
"""For each column of actions, the user and how the privilege was granted."""


@dataclass(frozen=True)
class Action:
    """A row: the privileges for it, the answer to each, what is asked and what that may show."""

    needs: frozenset[str]
    cells: Mapping[str, str]
    method: str
    path: str
    body: str
    shows: str

    def __str__(self) -> str:
        text = " ".join(filter(None, (self.method, self.path, self.body)))
        return f"{text} shows {self.shows}" if self.shows else text

    @property
    def runs_sql(self) -> bool:
        """Whether its model has to be one that can be called."""
        return self.method == "SQL" or self.path.endswith("/estimate")

    @property
    def reads(self) -> bool:
        """Whether it changes nothing where it is allowed."""
        return str(self).startswith(READING)


def action(line: str) -> Action:
    """The action in a line of the table."""
    needs, *cells, asked = line.split(maxsplit=len(WHO) + 1)
    asked, _, shows = asked.partition(" shows ")
    method, _, what = asked.partition(" ")
    path, _, body = ("", "", what) if method == "SQL" else what.partition(" ")
    answers = dict(zip(WHO, cells, strict=True))
    return Action(frozenset(needs.split("+")) - {"-"}, answers, method, path, body, shows)


def read() -> tuple[list[list[str]], list[Action]]:
    """The cells of the first table, its header among them, and the rows of the second."""
    text = Path(__file__).with_name("permissions.txt").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    first = list(takewhile(lambda line: not line.startswith("needs"), lines))
    header, *rows = lines[len(first) :]
    if header.split() != ["needs", *WHO, "action"]:
        raise ValueError(f"permissions.txt has other columns than {', '.join(WHO)}: {header}")
    return [line.split() for line in first], [action(line) for line in rows]


DECISIONS, ACTIONS = read()
