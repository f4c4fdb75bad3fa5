"""Ask a live Spark which names it keeps for itself: ``python -m tests.make_spark_names``.

Writes registry/spark_names.py, which has to be made anew for a new version of Spark.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

# Where an analyst writes a call, and where the name of a dataset: {0} is the name.
CALLS = (
    "SELECT {0}(a)",
    "SELECT {0}(a) AS x FROM t",
    "SELECT DISTINCT {0}(a) FROM t",
    "SELECT a FROM t WHERE {0}(a) = 'x' AND NOT {0}(a)",
    "SELECT a FROM t GROUP BY {0}(a)",
    "SELECT a FROM t JOIN u ON {0}(a) HAVING {0}(a)",
    "SELECT a FROM t ORDER BY {0}(a)",
    """
    SELECT b, {0}(a, b) x, {0}(a => b)[0], {0}(a).value, -{0}(a) + max({0}(a)),
      CASE WHEN {0}(a) THEN {0}(a) ELSE {0}(a) END
    FROM t
    WHERE {0}(a) = 'x' AND NOT {0}(a)
    GROUP BY b, {0}(a)
    HAVING {0}(a) > 1
    ORDER BY {0}(a) DESC
    """,
)
TABLES = (
    "SELECT * FROM {0}",
    "WITH t AS (SELECT * FROM {0}) SELECT x.a FROM {0} x, {0} y WHERE x.a = 1",
    """
    SELECT {0}.a, {0}.*
    FROM {0}
    JOIN t ON {0}.a = t.a
    LEFT JOIN {0} USING (a)
    LIMIT 3
    """,
)
ORDINARY = "zzz_ordinary"


def functions(spark: SparkSession) -> set[str]:
    """The built-in functions whose names are identifiers."""
    names = {row[0].lower() for row in spark.sql("SHOW FUNCTIONS").collect()}
    return {name for name in names if re.fullmatch("[a-z_][a-z0-9_]*", name)}


def misread(spark: SparkSession, sentences: tuple[str, ...]) -> set[str]:
    """The keywords that the parser does not read like an ordinary name in one of the sentences."""
    keywords = {row[0].lower() for row in spark.sql("SELECT * FROM sql_keywords()").collect()}
    sql = " UNION ALL ".join(f"({sentence})" for sentence in sentences)  # one call of the parser
    ordinary = plan(spark, sql.format(ORDINARY))
    assert ordinary
    return {
        word
        for word in keywords
        if plan(spark, sql.format(word)) != ordinary.replace(ORDINARY, word)
    }


def plan(spark: SparkSession, sql: str) -> str:
    """What the parser understands; empty for a parse error."""
    try:
        tree = spark._jsparkSession.sessionState().sqlParser().parsePlan(sql)
    except PySparkException:
        return ""
    return re.sub(r"#\d+", "", tree.toString())  # expressions are counted on


def source(spark: SparkSession) -> str:
    """The text of registry/spark_names.py."""
    sets = {
        "FUNCTIONS": functions(spark),
        "NOT_CALLABLE": misread(spark, CALLS),
        "NOT_TABLES": misread(spark, TABLES),
    }
    what = {
        "FUNCTIONS": "The built-in functions (SHOW FUNCTIONS).",
        "NOT_CALLABLE": "Keywords that are read as something else where a function is called.",
        "NOT_TABLES": "Keywords that are read as something else where a table is named.",
    }
    text = (
        f'"""The names Spark {spark.version} keeps for itself (tests/make_spark_names.py)."""\n\n'
    )
    text += "# ruff: noqa: SIM905\n"
    for name, words in sets.items():
        lines = textwrap.indent(textwrap.fill(" ".join(sorted(words)), 92), "    ")
        text += f'\n# {what[name]}\n{name} = frozenset(\n    """\n{lines}\n    """.split()\n)\n'
    return text


def main() -> None:
    """Write the file."""
    spark = (
        SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    )
    Path(__file__).parent.parent.joinpath("registry/spark_names.py").write_text(source(spark))
    spark.stop()


if __name__ == "__main__":
    main()
