"""One SELECT, guarded and limited, and its rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException, PythonException
from pyspark.sql import SparkSession

from kerasql.registry.errors import InvalidQuery

QUERIES = {
    "Aggregate", "CTERelationDef", "Distinct", "Except", "Filter", "Generate", "GlobalLimit",
    "Intersect", "Join", "LocalLimit", "LocalRelation", "Offset", "OneRowRelation", "Pivot",
    "Project", "Sample", "Sort", "SubqueryAlias", "Union", "UnresolvedCTERelationPlans",
    "UnresolvedHaving", "UnresolvedHint", "UnresolvedInlineTable", "UnresolvedRelation",
    "UnresolvedSubqueryColumnAliases", "UnresolvedWith", "Unpivot", "Window", "WithCTE",
    "WithWindowDefinition", "UnresolvedTableValuedFunction", "RepartitionByExpression",
    "RebalancePartitions", "Repartition", "Tail",
}  # fmt: skip
"""The roots of Spark's parsed plans that read and change nothing."""

OUR_ERROR = re.compile(r"kerasql\.registry\.errors\.\w+: (.+)")
CONDITION = re.compile(r"^\[[A-Z0-9_.]+\] ")


@dataclass(frozen=True)
class Result:
    """A query's rows as an Arrow table; truncated says that there were more than the limit."""

    sql: str
    table: pa.Table
    limit: int | None
    truncated: bool

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
    try:
        check_is_query(spark, sql)
        frame = spark.sql(sql)
        if limit is None:
            return Result(sql, frame.toArrow(), None, truncated=False)
        table = frame.limit(limit + 1).toArrow()
    except (PySparkException, Py4JJavaError) as error:
        raise InvalidQuery(sentence(error)) from error
    return Result(sql, table.slice(0, limit), limit, truncated=table.num_rows > limit)


def check_is_query(spark: SparkSession, sql: str) -> None:
    """Refuse, by Spark's own parser and before anything runs, what is not a query."""
    parsed = spark._jsparkSession.sessionState().sqlParser().parsePlan(sql)
    kind = parsed.getClass().getSimpleName()
    if kind not in QUERIES:
        raise InvalidQuery(
            f"only a query (SELECT, WITH, VALUES, TABLE) is run here; this statement is {kind}"
        )


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
    position = re.search(r"; line (\d+) pos (\d+)", text)
    line = line.split("; line ")[0].rstrip(" ;.")
    return f"{line} (line {position[1]}, column {int(position[2]) + 1})" if position else line
