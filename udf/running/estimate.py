"""What a query would score, from its plan: how many rows each version, and how long that takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import SparkSession

from kerasql.registry.store import Registry
from kerasql.registry.version import Dataset
from kerasql.udf.fence.check import MODEL_CALL
from kerasql.udf.fence.plans import Node, described
from kerasql.udf.running.query import Estimate
from kerasql.udf.running.run import MOST_NODES
from kerasql.udf.running.sessions import Session

SAME_OR_FEWER = {"Aggregate", "Deduplicate", "Distinct", "Filter", "Project", "Sort"}
SAME_OR_FEWER |= {"Repartition", "RepartitionByExpression", "SubqueryAlias", "Window", "WithCTE"}
LIMITS = {"GlobalLimit", "LocalLimit"}
WITH_FOOTERS = {"parquet", "orc"}
"""Formats of files that say how many rows they have."""


def estimate(
    session: Session, sql: str, parameters: Mapping[str, Any], registry: Registry
) -> Estimate:
    """The rows that each version would be asked for at most, and the seconds for all of them.

    Filters are not looked into, and answers that the model server remembers are not left out.
    """
    frame = session.analysed(sql, parameters).frame
    nodes = described(session.spark, frame._jdf.queryExecution().analyzed(), MOST_NODES)
    counting = _Counting(session.spark, registry, nodes)
    rows: dict[str, int | None] = {}
    for name, count in counting.calls(nodes[-1], None):
        ref = registry.get(session.functions[name][0]).ref
        known = rows.get(ref, 0)
        rows[ref] = None if known is None or count is None else known + count
    return Estimate(rows, _seconds(rows, registry))


def _seconds(rows: Mapping[str, int | None], registry: Registry) -> float | None:
    seconds = 0.0
    for ref, count in rows.items():
        rate = registry.history.rate(ref)
        if count is None or rate is None:
            return None
        seconds += count / rate
    return seconds


@dataclass
class _Counting:
    """How many rows the parts of an analysed plan have at most; None where nobody can tell."""

    spark: SparkSession
    registry: Registry
    nodes: list[Node]
    counts: dict[str, int | None] = field(default_factory=dict)

    def calls(self, node: Node, most: int | None) -> Iterator[tuple[str, int | None]]:
        """(function, rows) of each model that is called at a node or below it.

        most are the rows that are taken of the node's.
        """
        below = [child for child in node.children if child.is_plan]
        if node.kind in LIMITS:
            most = _least(most, _number(node.fields[0]))
        count = _least(most, self.rows(below[0]) if len(below) == 1 else None)
        expressions = [child for child in node.children if not child.is_plan]
        # Spark calls a function once for the same arguments in one place.
        yield from ((name, count) for name in dict.fromkeys(_calls(expressions)))
        through = most if node.kind in LIMITS | {"Project", "SubqueryAlias"} else None
        for child in [*below, *_subqueries(expressions)]:
            yield from self.calls(child, through)

    def rows(self, node: Node) -> int | None:
        """The rows of a plan, at most."""
        below = [child for child in node.children if child.is_plan]
        counts = [self.rows(child) for child in below]
        if node.kind == "View":
            return self.dataset(node.fields[0])
        if node.kind in LIMITS:
            return _least(counts[0], _number(node.fields[0]))
        if node.kind in SAME_OR_FEWER:
            return _least(counts[0], node.rows)
        if node.kind == "Union" and None not in counts:
            return sum(count for count in counts if count is not None)
        if node.kind == "CTERelationRef":
            made = [n for n in self.nodes if n.kind == "CTERelationDef"]
            named = [n for n in made if n.fields[1] == node.fields[0]]
            return self.rows(named[0].fields[0]) if named else None
        return node.rows

    def dataset(self, name: str) -> int | None:
        """The rows of a dataset, where counting them is cheap."""
        if name not in self.counts:
            self.counts[name] = self._counted(self.registry.dataset(name))
        return self.counts[name]

    def _counted(self, dataset: Dataset) -> int | None:
        view = self.spark.table(dataset.name)
        if dataset.format == "images":
            return len(view._jdf.inputFiles())
        return view.count() if dataset.format in WITH_FOOTERS else None


def _calls(expressions: list[Node]) -> Iterator[str]:
    for node in expressions:
        if node.kind == MODEL_CALL:
            yield node.fields[0].lower()
        yield from _calls([child for child in node.children if not child.is_plan])


def _subqueries(expressions: list[Node]) -> Iterator[Node]:
    for node in expressions:
        yield from (child for child in node.children if child.is_plan)
        yield from _subqueries([child for child in node.children if not child.is_plan])


def _number(node: Node) -> int | None:
    value = node.fields[0] if node.kind == "Literal" else None
    return value if isinstance(value, int) else None


def _least(*counts: int | None) -> int | None:
    return min((count for count in counts if count is not None), default=None)
