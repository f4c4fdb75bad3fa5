"""WHERE cannot see the names that its own SELECT gives: what to write instead.

``SELECT image, m(image) AS label FROM images WHERE contains(label, 'P')`` fails; or, where images
has a column label, silently compares that one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kerasql.udf.fence.plans import Node

MOST_REWRITTEN = 3


@dataclass(frozen=True)
class Trap:
    """A WHERE that uses a name which the SELECT beside it gives; rewritten says what is meant."""

    name: str
    rewritten: str | None

    @property
    def sentence(self) -> str:
        """What to write."""
        if self.rewritten:
            return f"to compare the alias, write: {self.rewritten}"
        return (
            f"to compare the alias {self.name!r}, make this SELECT a subquery and compare outside "
            "of it"
        )


def traps(sql: str, nodes: list[Node], runs: Callable[[str], bool]) -> list[Trap]:
    """The traps in a statement whose parsed nodes these are.

    runs says whether another statement would run: what would not is no advice.
    """
    found = list[Trap]()
    for select in nodes:
        where = _where(select)
        aliases = _aliases(select) & _columns(where) if where else frozenset()
        if where and aliases:
            # Each one is analysed, which takes as long as the statement itself.
            rewritten = (
                _rewritten(sql, select, where, aliases) if len(found) < MOST_REWRITTEN else None
            )
            usable = rewritten is not None and runs(rewritten)
            found += [Trap(name, rewritten if usable else None) for name in sorted(aliases)]
    return found


def _where(select: Node) -> Node | None:
    """The condition of the WHERE that stands beside a SELECT's list."""
    if select.kind not in ("Project", "Aggregate"):
        return None
    below = next((child for child in select.children if child.is_plan), None)
    return below.fields[0] if below is not None and below.kind == "Filter" else None


def _aliases(select: Node) -> frozenset[str]:
    """The names that the list gives to something that is no column of that name."""
    items = select.fields[0 if select.kind == "Project" else 1]
    named = [item for item in items if isinstance(item, Node) and item.kind == "Alias"]
    return frozenset(
        item.fields[1].lower()
        for item in named
        if _column(item.fields[0]) != item.fields[1].lower()
    )


def _columns(expression: Node) -> frozenset[str]:
    """The names without a dot in an expression, those in subqueries left out."""
    return frozenset(name for node in _expressions(expression) if (name := _column(node)))


def _expressions(node: Node) -> Iterator[Node]:
    if not node.is_plan:
        yield node
        for child in node.children:
            yield from _expressions(child)


def _column(node: Node) -> str | None:
    if node.kind != "UnresolvedAttribute" or len(node.fields[0]) != 1:
        return None
    return str(node.fields[0][0]).lower()


def _rewritten(sql: str, select: Node, where: Node, aliases: frozenset[str]) -> str | None:
    """The statement with this SELECT in a FROM, and behind it what WHERE says of its aliases.

    None where the text is not as it is expected to be.
    """
    parts = list(_conjuncts(where))
    if select.at is None or any(part.at is None for part in parts):
        return None
    begin, end = select.at[0], select.at[1] + 1
    spans = [_widened(sql, *part.at, inside=(begin, end)) for part in parts if part.at]
    first, last = min(s for s, _ in spans), max(e for _, e in spans)
    before = re.search(r"\bWHERE\s*$", sql[begin:first], re.IGNORECASE)
    if before is None:
        return None
    outer = [n for n, part in enumerate(parts) if _columns(part) & aliases]
    texts = [sql[s:e] for s, e in spans]
    inner = [text for n, text in enumerate(texts) if n not in outer]
    kept = f" WHERE {' AND '.join(inner)}" if inner else ""
    head = sql[begin : begin + before.start()].rstrip()
    rest = sql[last:end]
    condition = " AND ".join(texts[n] for n in outer)
    inside = f"({head}{kept}{rest})"
    return f"{sql[:begin]}SELECT * FROM {inside} WHERE {condition}{sql[end:]}"  # noqa: S608 - it is fenced


def _conjuncts(where: Node) -> Iterator[Node]:
    if where.kind == "And":
        for child in where.children:
            yield from _conjuncts(child)
    else:
        yield where


def _widened(sql: str, first: int, last: int, *, inside: tuple[int, int]) -> tuple[int, int]:
    """The span of an expression with the parentheses around it: begin, and end behind it."""
    begin, end = first, last + 1
    while True:
        left, right = sql[inside[0] : begin].rstrip(), sql[end : inside[1]].lstrip()
        if not (left.endswith("(") and right.startswith(")")):
            return begin, end
        # A function's own are behind its name; an expression in brackets is behind anything else.
        if re.search(r"\w\s*\($", left) and not re.search(r"\b(WHERE|AND)\s*\($", left, re.I):
            return begin, end
        begin = inside[0] + len(left) - 1
        end = inside[1] - len(right) + 1
