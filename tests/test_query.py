"""One SELECT, guarded and limited."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from kerasql.registry.errors import InvalidInput, InvalidQuery
from kerasql.registry.store import Registry, connect
from kerasql.udf.deploy import deploy
from kerasql.udf.query import query
from kerasql.udf.session import check_java


@pytest.fixture(scope="module")
def one_model(tmp_path_factory: pytest.TempPathFactory, networks: Path) -> Registry:
    """A registry with the model ``m`` of four numbers."""
    path = tmp_path_factory.mktemp("one_model") / "models.db"
    registry = connect(f"sqlite:///{path}", artifacts="")
    registry.register("m", networks / "tabular.h5")
    return registry


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS x",
        "WITH t AS (SELECT 1 AS x) SELECT x FROM t ORDER BY x LIMIT 3",
        "VALUES (1), (2)",
        "SELECT 1 UNION ALL SELECT 2",
        "SELECT id, count(*) FROM range(3) GROUP BY id HAVING count(*) > 0",
        "FROM range(3) |> WHERE id > 1",
        "-- a comment first\nSELECT id FROM range(3) LIMIT 1 OFFSET 1",
        "SELECT * FROM (SELECT id, id % 2 AS k FROM range(4)) PIVOT (sum(id) FOR k IN (0, 1))",
        "SELECT /*+ REPARTITION(2) */ id FROM range(3)",
        "SELECT id FROM range(9) QUALIFY row_number() OVER (ORDER BY id) > 3",
        "WITH a AS (SELECT 1 AS x), b AS (SELECT 2 AS x) SELECT * FROM a UNION SELECT * FROM b",
        "SELECT DISTINCT id, rank() OVER w FROM range(3) WINDOW w AS (ORDER BY id)",
    ],
)
def test_a_query_runs(session: SparkSession, sql: str) -> None:
    assert query(session, sql).table.num_rows > 0


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE t",
        "CREATE TEMPORARY VIEW v AS SELECT 1",
        "INSERT INTO t VALUES (1)",
        "INSERT OVERWRITE DIRECTORY '/tmp/x' USING parquet SELECT 1",
        "SET spark.sql.ansi.enabled=false",
        "CACHE TABLE t",
        "EXECUTE IMMEDIATE 'SELECT 1'",
        "BEGIN SELECT 1; END",
        "ADD JAR '/tmp/x.jar'",
        "EXPLAIN SELECT 1",
        "WITH q AS (SELECT 1 AS a) INSERT OVERWRITE DIRECTORY '/tmp/x' USING json SELECT * FROM q",
        "WITH q AS (SELECT 1 AS a) INSERT INTO t SELECT * FROM q",
        "FROM range(3) INSERT INTO a SELECT * INSERT INTO b SELECT *",
        "WITH q AS (SELECT 1 AS a) DELETE FROM t WHERE a IN (SELECT a FROM q)",
    ],
)
def test_anything_else_is_refused_before_it_runs(session: SparkSession, sql: str) -> None:
    with pytest.raises(InvalidQuery, match="only a query"):
        query(session, sql)


def test_two_statements_are_refused(session: SparkSession) -> None:
    with pytest.raises(InvalidQuery, match="Syntax error"):
        query(session, "SELECT 1; SELECT 2")


def test_a_result_says_when_it_was_cut(session: SparkSession) -> None:
    cut = query(session, "SELECT id FROM range(10)", limit=3)
    whole = query(session, "SELECT id FROM range(3)", limit=3)
    everything = query(session, "SELECT id FROM range(2000)", limit=None)
    assert (cut.table.num_rows, cut.truncated) == (3, True)
    assert (whole.table.num_rows, whole.truncated) == (3, False)
    assert (everything.table.num_rows, everything.truncated) == (2000, False)


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("SELECT nope FROM range(3)", r"`nope` cannot be resolved.*\(line 1, column 8\)"),
        ("SELECT m(row_of_four) FROM range(3)", "`row_of_four` cannot be resolved"),
        ("SELECT nobody(1)", "no function 'nobody'; no model is deployed in this session"),
        ("SELECT m(1) + m_v9(array(1))", "no function 'm_v9'; there is 'm_v1'"),
        ("SELECT churn(1) + m(1)", "no function 'churn'; there is 'm' and 'm_v1'"),
        ("SELECT m(nothing => 1)", "m: no argument 'nothing'; there is 'row'"),
        ("SELECT reflect('java.lang.Math', 'abs', 1)", "reflect"),
        ("SELECT * FROM (SELECT TRANSFORM(1) USING 'cat' AS (x))", "(?i)restricted|TRANSFORM"),
        ("SELECT * FROM text.`/etc/hostname`", "hostname` cannot be found"),
        ("SELECT * FROM nowhere", "`nowhere` cannot be found"),
        ("SELECT m('text')", "m: the argument 'row' is STRING; give a number"),
        ("SELECT m(named_struct('a', 1))", "m: the argument 'row' is STRUCT<.*>; give a number"),
        ("SELECT m(1, 2)", "m: it takes 1 argument .'row'., 2 were given"),
        ("SELECT m(other => 1)", "m: no argument 'other'; there is 'row'"),
        ("SELECT m()", "m: it takes 1 argument .'row'., 0 were given"),
        ("SELECT row(", "Syntax error"),
        ("SELECT 1 / 0", "Division by zero"),
    ],
)
def test_what_spark_refuses_is_one_sentence(
    session: SparkSession, one_model: Registry, sql: str, sentence: str
) -> None:
    if "m(" in sql:
        deploy(session, one_model)
    with pytest.raises(InvalidQuery, match=sentence) as refused:
        query(session, sql)
    assert "\n" not in str(refused.value)
    assert "Traceback" not in str(refused.value)


def test_a_deleted_version_is_named_by_the_next_query(
    session: SparkSession, sqlite_registry: Registry, networks: Path
) -> None:
    sqlite_registry.register("m", networks / "tabular.h5")
    sqlite_registry.register("m", networks / "tabular.h5", output="scores")
    deploy(session, sqlite_registry)
    sqlite_registry.delete("m@2")
    with pytest.raises(InvalidQuery, match="no version .*2"):
        query(session, "SELECT m_v2(array(1, 2, 3, 4))")


def test_a_missing_java_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(InvalidInput, match="install a Java runtime 17"):
        check_java()


def test_an_old_java_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_412\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(InvalidInput, match="is Java 8; install"):
        check_java()
