"""One SELECT, guarded and limited, and its rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException, PythonException
from pyspark.sql import SparkSession

from kerasql.registry.errors import InvalidQuery, spelled
from kerasql.udf.functions import is_connect
from kerasql.udf.stats import Stats, counted

QUERIES = {
    "Aggregate", "CTERelationDef", "Distinct", "Except", "Filter", "Generate", "GlobalLimit",
    "Intersect", "Join", "LocalLimit", "LocalRelation", "Offset", "OneRowRelation", "Pivot",
    "Project", "RebalancePartitions", "Repartition", "RepartitionByExpression", "Sample",
    "Sort", "SubqueryAlias", "Tail", "Union", "Unpivot", "UnresolvedCTERelationPlans",
    "UnresolvedHaving", "UnresolvedHint", "UnresolvedInlineTable", "UnresolvedQualify",
    "UnresolvedRelation", "UnresolvedSubqueryColumnAliases", "UnresolvedTableValuedFunction",
    "UnresolvedWith", "Window", "WithCTE", "WithWindowDefinition",
}  # fmt: skip
"""The roots of Spark's parsed plans that read and change nothing."""

OUR_ERROR = re.compile(r"kerasql\.registry\.errors\.\w+: (.+)")
UNKNOWN_FUNCTION = re.compile(r"Cannot resolve routine `(\w+)`")
PARSE_POSITION = re.compile(r" \(line (\d+), pos (\d+)\)")
CONDITION = re.compile(r"^\[[A-Z0-9_.]+\] ")


@dataclass(frozen=True)
class Result:
    """A query's rows as an Arrow table; truncated says that there were more than the limit.

    stats says what each version that was called did on the executors, by ref.
    """

    sql: str
    table: pa.Table
    limit: int | None
    truncated: bool
    stats: Mapping[str, Stats] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The columns' names; two may have the same."""
        return list(self.table.column_names)

    def rows(self) -> list[tuple[Any, ...]]:
        """Plain Python values in the order of the columns."""
        columns = [column.to_pylist() for column in self.table.columns]
        return list(zip(*columns, strict=True))


def query(spark: SparkSession, sql: str, *, limit: int | None = 1000) -> Result:
    """Run one SELECT and return at most ``limit`` rows (None: all of them).

    Raises InvalidQuery, in one sentence, for SQL that is not one query, that Spark refuses, or
    that fails while it runs.
    """
    if is_connect(spark):
        raise InvalidQuery("a Spark Connect session is asked with spark.sql(…)")
    try:
        check_is_query(spark, sql)
        with counted(spark.sparkContext) as stats:
            frame = spark.sql(sql)
            table = (frame if limit is None else frame.limit(limit + 1)).toArrow()
    except (PySparkException, Py4JJavaError) as error:
        raise InvalidQuery(with_names(spark, error)) from error
    truncated = limit is not None and table.num_rows > limit
    return Result(sql, table.slice(0, limit), limit, truncated, stats)


def check_is_query(spark: SparkSession, sql: str) -> None:
    """Refuse, by Spark's own parser and before anything runs, what is not a query."""
    for kind in kinds(spark._jsparkSession.sessionState().sqlParser().parsePlan(sql)):
        if kind not in QUERIES:
            raise InvalidQuery(
                f"only a query (SELECT, WITH, VALUES, TABLE) is run here; this statement is {kind}"
            )


def kinds(parsed: Any) -> Iterator[str]:
    """The kind of a parsed plan, and of what a WITH or a UNION holds: there may be an INSERT."""
    kind = parsed.getClass().getSimpleName()
    yield kind
    if kind in ("UnresolvedWith", "Union"):
        children = parsed.children()
        for index in range(children.size()):
            yield from kinds(children.apply(index))


def with_names(spark: SparkSession, error: BaseException) -> str:
    """The error's sentence; for a function nobody knows, the deployed ones it may mean."""
    said = sentence(error)
    asked = UNKNOWN_FUNCTION.match(said)
    if not asked:
        return said
    registry = spark._jsparkSession.sessionState().functionRegistry()
    known = re.findall(r"session\.(\w+)", registry.listFunction().mkString(" ").replace("`", ""))
    close = get_close_matches(asked[1].lower(), known, n=3, cutoff=0.6)
    if not known:
        return f"no function {asked[1]!r}; no model is deployed in this session"
    plain = [n for n in known if not n.startswith("try_") and not n.endswith("_scores")]
    return f"no function {asked[1]!r}; there is {spelled(close or sorted(plain))}"


def sentence(error: BaseException) -> str:
    """What went wrong, without stack traces and plans."""
    text = str(error)
    if ours := OUR_ERROR.findall(text):
        return str(ours[-1]).strip()
    if isinstance(error, Py4JJavaError):
        text = error.java_exception.toString()
    lines = [line for line in text.splitlines() if line.strip()] or [type(error).__name__]
    if isinstance(error, PythonException):
        return f"a Python function failed: {lines[-1].strip()}"
    line = lines[0]
    line = re.sub(r" SQLSTATE: \w+", "", CONDITION.sub("", line))
    position = re.search(r"; line (\d+) pos (\d+)", text) or PARSE_POSITION.search(line)
    line = PARSE_POSITION.sub("", line.split("; line ")[0]).rstrip(" ;.")
    return f"{line} (line {position[1]}, column {int(position[2]) + 1})" if position else line
