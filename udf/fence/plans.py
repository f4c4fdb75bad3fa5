"""Spark's logical plans as plain Python values, whole and in one call."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

CATALYST = "org.apache.spark.sql.catalyst."
SOURCE = Path(__file__).with_name("Described.java")


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One node of a plan: a relation's operator or an expression.

    fields are the values Spark made it with: nodes, texts, numbers, lists of these. type is an
    expression's SQL type where it is known; rows is how many rows a plan can have at most, where
    Spark can tell; id is what refers to a named expression; at are the first and the last character
    that it was made of, where it was written.
    """

    kind: str
    is_plan: bool
    fields: list[Any]
    type: str | None
    id: int | None
    rows: int | None
    at: tuple[int, int] | None = None

    @property
    def children(self) -> list[Node]:
        """The nodes directly below, plans and expressions alike."""
        return list(_nodes(self.fields))


def described(spark: SparkSession, plan: Any, most: int) -> list[Node]:
    """Every node of a logical plan, subqueries included, children before parents.

    Empty where there are more than ``most``. What a view holds is left out.
    """
    text = _compiled(spark.sparkContext._gateway).nodes(plan, most)
    nodes: list[Node] = []
    for one in json.loads(text or "[]"):
        nodes.append(
            Node(
                _kind(one["class"]),
                "rows" in one,
                [_resolved(value, nodes) for value in one["fields"]],
                one.get("type"),
                one.get("id"),
                one.get("rows"),
                tuple(one["at"]) if "at" in one else None,
            )
        )
    return nodes


def _kind(java_class: str) -> str:
    """``Project`` for Spark's own classes; those from elsewhere keep their package."""
    if java_class.startswith(CATALYST):
        return java_class.rpartition(".")[2].rstrip("$")
    return java_class


def _resolved(value: Any, nodes: list[Node]) -> Any:
    if isinstance(value, list):
        return [_resolved(one, nodes) for one in value]
    if isinstance(value, dict):
        return nodes[value["node"]] if "node" in value else _kind(value["class"])
    return value


def _nodes(values: list[Any]) -> Iterator[Node]:
    for value in values:
        if isinstance(value, Node):
            yield value
        elif isinstance(value, list):
            yield from _nodes(value)


_compiling = threading.Lock()


def _compiled(gateway: Any) -> Any:
    """An object of the class in Described.java, compiled once in each driver.

    Once, also when several threads come first: py4j remembers methods by the name of their class,
    and a second class of the same name has others.
    """
    with _compiling:
        return _compiled_once(gateway)


@lru_cache(maxsize=1)
def _compiled_once(gateway: Any) -> Any:
    jvm = gateway.jvm
    compiler = jvm.org.codehaus.janino.SimpleCompiler()
    compiler.setParentClassLoader(jvm.java.lang.Thread.currentThread().getContextClassLoader())
    compiler.cook(SOURCE.read_text())
    return compiler.getClassLoader().loadClass("kerasql.Described").newInstance()
