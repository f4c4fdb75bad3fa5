"""One SELECT, guarded and limited, and its rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException, PythonException
from pyspark.sql import DataFrame, SparkSession

from kerasql.registry.errors import InvalidQuery, spelled
from kerasql.udf.fence.check import TOO_DEEP, Fence, check_is_query, fenced
from kerasql.udf.functions import is_connect
from kerasql.udf.stats import Stats, counted

OUR_ERROR = re.compile(r"kerasql\.registry\.errors\.\w+: (.+)")
UNKNOWN_FUNCTION = re.compile(r"Cannot resolve routine `(\w+)`")
PARSE_POSITION = re.compile(r" \(line (\d+), pos (\d+)\)")
TOO_COMPLEX = (
    "java.lang.StackOverflowError",
    "FAILED_TO_PARSE_TOO_COMPLEX",
    "Max iterations (",
)
JAVA_CLASS = re.compile(r"^(?:[a-z]\w*\.)+\w+(?:Exception|Error): ")
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


def query(
    spark: SparkSession, sql: str, *, limit: int | None = 1000, fence: Fence | None = None
) -> Result:
    """Run one SELECT and return at most ``limit`` rows (None: all of them).

    With a fence, it may only name the functions and datasets that the fence allows, and is
    refused before any job starts where it does more; without one it is only checked to be a query.

    Raises InvalidQuery, in one sentence, for SQL that is not one query, that the fence or Spark
    refuses, or that fails while it runs.
    """
    if is_connect(spark):
        raise InvalidQuery("a Spark Connect session is asked with spark.sql(…)")
    try:
        with counted(spark.sparkContext) as stats:
            frame = asked(spark, sql, fence)
            table = (frame if limit is None else frame.limit(limit + 1)).toArrow()
    except (PySparkException, Py4JJavaError) as error:
        # Names of functions are no secret where there is no fence.
        said = sentence(error) if fence else with_names(spark, error)
        raise InvalidQuery(said) from error
    except pa.ArrowException as error:
        raise InvalidQuery(not_a_table(error)) from error
    truncated = limit is not None and table.num_rows > limit
    return Result(sql, table.slice(0, limit), limit, truncated, stats)


def asked(spark: SparkSession, sql: str, fence: Fence | None) -> DataFrame:
    """The frame of one query, once it is known to be no more than that."""
    if fence is not None:
        return fenced(spark, sql, fence)
    check_is_query(spark, sql)
    return spark.sql(sql)


def not_a_table(error: pa.ArrowException) -> str:
    """Why rows that Spark has found cannot be given."""
    line = str(error).splitlines()[0]
    return f"the rows cannot be made a table ({line}); CAST columns of rare types, as VARIANT"


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
    if any(sign in text for sign in TOO_COMPLEX):
        return TOO_DEEP
    if isinstance(error, Py4JJavaError):
        text = error.java_exception.toString()
    lines = [line for line in text.splitlines() if line.strip()] or [type(error).__name__]
    if isinstance(error, PythonException):
        return f"a Python function failed: {lines[-1].strip()}"
    line = JAVA_CLASS.sub("", lines[0])
    line = re.sub(r" SQLSTATE: \w+", "", CONDITION.sub("", line))
    position = re.search(r"; line (\d+) pos (\d+)", text) or PARSE_POSITION.search(line)
    line = PARSE_POSITION.sub("", line.split("; line ")[0]).rstrip(" ;.")
    return f"{line} (line {position[1]}, column {int(position[2]) + 1})" if position else line
