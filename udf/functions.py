"""Python functions over Arrow batches, in either kind of Spark session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark.sql import SparkSession
from pyspark.util import PythonEvalType


def is_connect(spark: SparkSession) -> bool:
    """Whether a session is a client of a Spark Connect server."""
    return type(spark).__module__.startswith("pyspark.sql.connect.")


def arrow_function(
    spark: SparkSession, function: Callable[..., Any], *, returns: str, name: str
) -> Any:
    """``function`` (iterator of Arrow arrays to iterator of Arrow arrays) for Spark SQL.

    ``pyspark.sql.functions.arrow_udf`` makes the same, but chooses by a global, not by the
    session, and names the function after the Python one.
    """
    if is_connect(spark):
        from pyspark.sql.connect.udf import UserDefinedFunction
    else:
        from pyspark.sql.udf import UserDefinedFunction  # type: ignore[assignment]
    return UserDefinedFunction(
        function, returns, name=name, evalType=PythonEvalType.SQL_SCALAR_ARROW_ITER_UDF
    )
