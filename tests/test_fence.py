"""What anybody's SQL may be: hostile statements are refused before any job, legitimate ones run."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from pyspark.sql import types as T  # noqa: N812 - PySpark's own name for it

from kerasql.registry.errors import InvalidInput, InvalidQuery
from kerasql.registry.store import Registry, connect
from kerasql.udf.deploy import deploy
from kerasql.udf.fence.check import EXPRESSIONS, Fence, fenced, function_classes
from kerasql.udf.fence.functions import ALLOWED, REFUSED, TABLE_FUNCTIONS
from kerasql.udf.fence.patterns import check_like, check_regex
from kerasql.udf.fence.syntax import ANALYSED, PARSED
from kerasql.udf.query import query
from kerasql.udf.session import FENCED

FOLDER = Path(__file__).with_name("fence")
MODELS = frozenset({"m", "m_v1", "try_m", "try_m_v1"})
FENCE = Fence(functions=MODELS, relations=frozenset({"people", "orders"}))
FUZZ_SECONDS = float(os.environ.get("KERASQL_FUZZ_SECONDS", "15"))


def legitimate() -> list[str]:
    """The statements of legitimate.sql."""
    lines = (FOLDER / "legitimate.sql").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("--"))
    return [one.strip().removesuffix(";") for one in text.split(";\n") if one.strip()]


def hostile() -> Iterator[tuple[str, str, str]]:
    """(kind, sentence, statement) for each line of hostile.sql."""
    kind = sentence = ""
    for line in (FOLDER / "hostile.sql").read_text().splitlines():
        if line.startswith("## "):
            kind = line[3:]
        elif line.startswith("--> "):
            sentence = line[4:]
        elif kind and line.strip():
            yield kind, sentence, line.replace("␤", "\n")


def doubled(times: int) -> str:
    """Each WITH reads the one before twice."""
    parts = ["c0 AS (SELECT id FROM people)"]
    parts += [f"c{n} AS (TABLE c{n - 1} UNION ALL TABLE c{n - 1})" for n in range(1, times)]
    return f"WITH {', '.join(parts)} SELECT count(*) FROM c{times - 1}"


def nested(times: int) -> str:
    """Each subquery uses the column below twice."""
    sql = "SELECT age AS a FROM people"
    for _ in range(times):
        sql = f"SELECT a + a AS a FROM ({sql})"
    return f"SELECT * FROM ({sql}) WHERE a > 0"


BOMBS = [
    ("nested more than", "SELECT " + "(" * 900 + "1" + ")" * 900),
    ("nested more than", "SELECT " + "NOT " * 3000 + "true"),
    ("nested more than", "SELECT " + "- " * 3000 + "1"),
    ("nested more than", "SELECT " + "1 + " * 3000 + "1"),
    ("nested more than", "SELECT 1" + " UNION ALL SELECT 1" * 3000),
    ("nested more than", "SELECT " + "CASE WHEN true THEN " * 400 + "1" + " END" * 400),
    ("nested more than", "SELECT " + "array(" * 250 + "1" + ")" * 250),
    ("nested more than", "SELECT * FROM " + "(SELECT * FROM " * 300 + "people" + ")" * 300),
    ("3,000 times", "SELECT CAST(NULL AS " + "ARRAY<" * 3000 + "INT" + ">" * 3000 + ")"),
    ("parts", f"SELECT 1 IN ({', '.join(map(str, range(11_000)))})"),
    ("characters, over the limit", f"SELECT '{'x' * 100_000}'"),
    ("repeat the same expressions", nested(18)),
    ("repeat the same expressions", "SELECT id AS a0, "
     + ", ".join(f"a{n} + a{n} AS a{n + 1}" for n in range(18)) + " FROM people"),
    ("with each name of a WITH written out", doubled(30)),
    ("can make", "SELECT repeat('x', 1000) AS a0, "
     + ", ".join(f"a{n} || a{n} AS a{n + 1}" for n in range(12))),
]  # fmt: skip


@pytest.fixture(scope="module")
def one_model(tmp_path_factory: pytest.TempPathFactory, networks: Path) -> Registry:
    """A registry with the model ``m`` of one number, and somebody else's ``secret_model``."""
    folder = tmp_path_factory.mktemp("fence")
    registry = connect(f"sqlite:///{folder}/models.db", artifacts="")
    registry.register("m", networks / "tabular.h5")
    registry.register("secret_model", networks / "tabular.h5")
    return registry


@pytest.fixture(scope="module")
def user(
    spark: SparkSession, one_model: Registry, tmp_path_factory: pytest.TempPathFactory
) -> SparkSession:
    """A session with two datasets of the user's and two of somebody else's."""
    session = spark.newSession()
    # Rows are few: compiling code for each of the queries would take most of their time.
    session.conf.set("spark.sql.codegen.wholeStage", "false")
    session.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
    session.conf.set("spark.sql.adaptive.enabled", "false")
    session.conf.set("spark.sql.shuffle.partitions", "1")
    folder = tmp_path_factory.mktemp("tables")
    for name, sql in TABLES.items():
        frame = session.sql(sql)
        frame.coalesce(1).write.parquet(str(folder / name))
        one_model.add_dataset(name, folder / name, format="parquet")
    deploy(session, one_model)
    session.sql("CREATE TEMPORARY VIEW view_of_salaries AS SELECT * FROM salaries")
    session.table("salaries").createOrReplaceGlobalTempView("shared")
    return session


TABLES = {
    "people": """
        SELECT * FROM VALUES
          (1, 'Ann', 34, 'Oslo', DATE '1990-01-02', array('a', 'b'), map('math', 2),
           named_struct('street', 's', 'zip', '1'), '{"a": 1}'),
          (2, 'Bob', 51, 'Rome', DATE '1970-03-04', array('x'), map('art', 1),
           named_struct('street', 't', 'zip', '2'), '{"a": 2}'),
          (3, 'Cid', 17, 'Oslo', DATE '2007-05-06', array('q'), map('art', 3),
           named_struct('street', 'u', 'zip', '3'), '{}')
        AS people(id, name, age, city, born, tags, scores, address, note)
    """,
    "orders": """
        SELECT * FROM VALUES
          (1, 1, 10.5, TIMESTAMP '2024-01-01 10:00:00', 'paid'),
          (2, 1, 3.0, TIMESTAMP '2024-01-02 11:00:00', 'open'),
          (3, 2, 7.25, TIMESTAMP '2024-01-03 12:30:00', 'paid')
        AS orders(id, person, amount, at, state)
    """,
    "salaries": "SELECT * FROM VALUES (1, 1000), (2, 2000) AS salaries(id, amount)",
}


def jobs(spark: SparkSession) -> int:
    """How many jobs the driver has ever started."""
    return int(spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs())


def refusal(spark: SparkSession, sql: str) -> str:
    """The one sentence a statement is refused with, once it is known that no job started."""
    before = jobs(spark)
    with pytest.raises(InvalidQuery) as refused:
        query(spark, sql, fence=FENCE)
    assert jobs(spark) == before
    said = str(refused.value)
    assert "\n" not in said
    assert len(said) < 600
    words = re.sub(r"'[^']*'", "", said)
    assert not re.search(r"Traceback|py4j|\bjava\.|\bscala\.|org\.apache", words), said
    return said


def test_the_tables_are_as_large_as_they_should_be() -> None:
    statements = [sql for _, _, sql in hostile()]
    assert len(set(statements)) == len(statements) >= 200
    assert len(legitimate()) >= 100


@pytest.mark.parametrize("kind", sorted({kind for kind, _, _ in hostile()}))
def test_a_hostile_statement_is_refused_before_any_job(user: SparkSession, kind: str) -> None:
    wrong = []
    for _, sentence, sql in (one for one in hostile() if one[0] == kind):
        said = refusal(user, sql)
        if not re.search(sentence, said):
            wrong.append((sql, sentence, said))
    assert wrong == []


@pytest.mark.parametrize(("sentence", "sql"), BOMBS, ids=range(len(BOMBS)))
def test_a_bomb_is_refused_soon(user: SparkSession, sentence: str, sql: str) -> None:
    started = time.monotonic()
    assert re.search(sentence, refusal(user, sql))
    assert time.monotonic() - started < 20


def test_a_legitimate_query_runs(user: SparkSession) -> None:
    failed = []
    for sql in legitimate():
        try:
            assert query(user, sql, fence=FENCE).table.num_columns > 0
        except InvalidQuery as error:
            failed.append((sql, str(error)))
    assert failed == []


def test_a_fenced_query_gives_what_it_gives_without(user: SparkSession) -> None:
    sql = """
        SELECT p.name, sum(o.amount) AS spent
        FROM people p JOIN orders o ON p.id = o.person
        GROUP BY 1
    """
    fenced_rows = sorted(query(user, sql, fence=FENCE).rows())
    assert fenced_rows == sorted(query(user, sql).rows())
    assert len(fenced_rows) == 2


@pytest.mark.parametrize("template", [
    "SELECT * FROM {}",
    "SELECT {0}.nope FROM {0}",
    "SELECT * FROM {0} UNION ALL (WITH {0} AS (SELECT 1 AS id) SELECT * FROM {0})",
    "WITH {0} AS (SELECT id FROM {0}) SELECT * FROM {0}",
    "SELECT (SELECT max(x) FROM {})",
    "SELECT * FROM {} VERSION AS OF 1",
    "SELECT * FROM {} WITH (a = 1)",
    "SELECT * FROM session.{}",
    "SELECT * FROM spark_catalog.default.{}",
    "SELECT * FROM {}(1)",
    "SELECT {}(1)",
    "SELECT session.{}(1)",
])  # fmt: skip
def test_somebody_elses_reads_like_one_that_does_not_exist(
    user: SparkSession, template: str
) -> None:
    said = {
        name: refusal(user, template.format(name)).replace(name, "…")
        for name in ("salaries", "shared", "secret_model", "zzz_nothing", "view_of_salaries")
    }
    assert len(set(said.values())) == 1, said


def test_a_user_without_anything_is_told_so(user: SparkSession) -> None:
    nothing = Fence(functions=frozenset(), relations=frozenset())
    with pytest.raises(InvalidQuery, match="no dataset 'people'; there is none for you"):
        query(user, "SELECT * FROM people", fence=nothing)
    with pytest.raises(InvalidQuery, match="no function 'm'; there is no model for you"):
        query(user, "SELECT m(1)", fence=nothing)
    assert query(user, "SELECT 1", fence=nothing).rows() == [(1,)]


def test_a_fence_of_none_allows_all_of_the_session(user: SparkSession) -> None:
    assert query(user, "SELECT secret_model(id) FROM salaries", fence=Fence()).table.num_rows == 2
    with pytest.raises(InvalidQuery, match="no function 'nobody'"):
        query(user, "SELECT nobody(id) FROM salaries", fence=Fence())


def test_every_builtin_function_was_decided_about(spark: SparkSession) -> None:
    state = spark.newSession()._jsparkSession.sessionState()
    tables = builtins(state.tableFunctionRegistry())
    functions = builtins(state.functionRegistry()) | tables
    assert len(functions) > 500
    assert functions - ALLOWED - set(REFUSED) == set()
    assert (ALLOWED | set(REFUSED)) - functions == set()
    assert ALLOWED & set(REFUSED) == set()
    assert tables - TABLE_FUNCTIONS <= set(REFUSED)
    assert tables >= TABLE_FUNCTIONS


def builtins(registry: Any) -> set[str]:
    """The names of Spark's own in a session's registry of functions."""
    return {
        name.rpartition(".")[2].strip("`")
        for name in registry.listFunction().mkString("\n").split("\n")
    }


def test_no_refused_function_shares_its_class_with_an_allowed_one(spark: SparkSession) -> None:
    registry = spark.sparkContext._jvm.org.apache.spark.sql.catalyst.analysis.FunctionRegistry
    found = (registry.expressions().get(name) for name in sorted(REFUSED))
    classes = {one.get()._1().getClassName().rpartition(".")[2] for one in found if one.isDefined()}
    assert classes
    assert classes & (EXPRESSIONS | set(function_classes(spark))) == set()


def test_every_allowed_plan_is_one_of_sparks(spark: SparkSession) -> None:
    loader = spark.sparkContext._jvm.java.lang.Thread.currentThread().getContextClassLoader()
    packages = ("plans.logical", "analysis", "expressions")
    places = [f"org/apache/spark/sql/catalyst/{package.replace('.', '/')}" for package in packages]
    unknown = [
        kind
        for kind in PARSED | ANALYSED
        if not any(loader.getResource(f"{place}/{kind}.class") for place in places)
    ]
    assert unknown == []


def test_sparks_own_examples_of_allowed_functions_are_allowed(user: SparkSession) -> None:
    registry = user.sparkContext._jvm.org.apache.spark.sql.catalyst.analysis.FunctionRegistry
    wrong = []
    for name in sorted(ALLOWED):
        info = registry.expressions().get(name)
        examples = info.get()._1().getExamples() if info.isDefined() else ""
        for sql in re.findall(r"^\s*> (SELECT .*?);?\s*$", examples, re.MULTILINE)[:1]:
            try:
                fenced(user, sql, FENCE)
            except InvalidQuery as error:
                wrong.append((name, sql, str(error)))
            except Exception:
                pass
    by_purpose = (
        r"VALUES takes plain|sequence\(\) takes|must be written out|no function|must start|"
        "cannot be judged"
    )
    assert [one for one in wrong if not re.search(by_purpose, one[2])] == []
    assert len(wrong) < 40


@pytest.mark.parametrize("name", sorted(FENCED))
def test_a_session_with_a_hole_is_not_fenced(spark: SparkSession, name: str) -> None:
    session = spark.newSession()
    flipped = {"true": "false", "false": "true"}.get(FENCED[name], "LEGACY")
    if not session.conf.isModifiable(name):
        with pytest.raises(AnalysisException, match="CANNOT_MODIFY_STATIC_CONFIG"):
            session.conf.set(name, flipped)
        return
    session.conf.set(name, flipped)
    with pytest.raises(InvalidInput, match=f"{name} is '{flipped}', not '{FENCED[name]}'"):
        fenced(session, "SELECT 1", Fence())


def test_the_environment_is_not_filled_in(user: SparkSession) -> None:
    assert query(user, "SELECT '${env:HOME}'", fence=FENCE).rows() == [("${env:HOME}",)]


@pytest.mark.parametrize("pattern", [
    "^[A-Z][a-z]+$", r"(\d{3})-(\d{4})", r"^\d+(\.\d+)*$", r"[^@]+@[^@]+\.[a-z]{2,}", "(foo|bar)+",
    r"(?i)error: (.*) at line (\d+)", r"\d+-\d+-\d+ \d+:\d+:\d+", "^(GET|POST) /[^ ]* ", r"\p{L}+",
    "a{3}b{2,5}", r"(,\s*)?x", "[a-z&&[^aeiou]]", r"\Q(a+)+\E", "(?:ab)*c", r"^(?=.*\d)[a-z]", "",
])  # fmt: skip
def test_an_ordinary_pattern_is_allowed(pattern: str) -> None:
    check_regex(pattern)


@pytest.mark.parametrize("pattern", [
    "(a+)+", "(a*)*", "(a|a)*", "(a|aa)+", "(a?){30}", "([a-z]+)*[0-9]", "(.*)*", "((a+)b?)+",
    "(a+){10}", r"(\w+\s?)*!", "(x+x+)+y", "(?:a+)+", "(?<n>a+)+", "(a|b|ab)*c", "(?=(a+)+)b",
    "a*a*a*a*b", ".*.*.*.*x", r"(\d+)*", "([^x]+)*", r"(\Qa\E+)+", "(a+)++", r"(a)\1*\1*\1*\1*",
    "(", "a)", "[a", "a**", "(?x)a", "*a", "\\", r"\y", "x" * 1001,
])  # fmt: skip
def test_a_pattern_that_may_take_for_ever_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput):
        check_regex(pattern)


def test_like_may_look_for_three_texts_in_a_row() -> None:
    check_like("%a%b%c%d%e%")
    check_like("%a_a%")
    with pytest.raises(InvalidInput, match="repetitions in a row"):
        check_like("%a%a%a%a%")


# --- a fuzzer: queries made of allowed and of forbidden parts

GOOD_RELATIONS = ["people", "orders", "range(3)", "(VALUES (1, 'a')) AS v(id, name)", "`people`"]
BAD_RELATIONS = [
    "salaries", "text.`/etc/passwd`", "view_of_salaries", "global_temp.shared", "read_files('/x')",
    "session.people", "IDENTIFIER('sal' || 'aries')", "range(1000000000000)", "secret_model(1)",
]  # fmt: skip
GOOD_VALUES = ["1", "'x'", "id", "NULL", "1.5D", "DATE '2024-01-01'", "array(1, 2)", "m(id)", "*"]
BAD_VALUES = [
    "reflect('java.lang.System', 'exit', 1)", "secret_model(1)", "current_user", "version()",
    "input_file_name()", "repeat('x', 2000000000)", "'a' RLIKE '(a+)+b'", "session.secret_model(1)",
    "(SELECT max(id) FROM salaries)", "IDENTIFIER('ver' || 'sion')()", "xpath('<a/>', 'a')",
]  # fmt: skip
WRAPPERS = [
    "abs({})", "CAST({} AS STRING)", "({})", "array({})", "coalesce({}, 1)", "NOT {}", "{} IS NULL",
    "CASE WHEN {} THEN 1 END", "struct({})", "transform(array({}), x -> x)", "{} || 'a'",
    "max({}) OVER ()", "count({})", "{} IN (1, 2)", "(SELECT {})", "named_struct('k', {}).k",
    "EXISTS (SELECT {} FROM people)", "explode(array({}))", "to_json(struct({}))", "{} LIKE '%a%'",
]  # fmt: skip
QUERIES = [
    "SELECT {v} FROM {r}", "SELECT DISTINCT {v} AS c FROM {r} LIMIT 3", "TABLE people",
    "SELECT id FROM {r} WHERE {v} IS NOT NULL", "SELECT count(*) FROM {r} GROUP BY {v}",
    "SELECT id FROM {r} ORDER BY {v}", "SELECT id FROM {r} HAVING {v} IS NOT NULL",
    "WITH c AS (SELECT {v} FROM {r}) SELECT * FROM c", "FROM {r} |> EXTEND {v} AS e |> LIMIT 2",
    "SELECT {v} FROM {r} UNION ALL SELECT {v} FROM {r}", "SELECT * FROM (SELECT {v} FROM {r}) t",
    "SELECT a.id FROM {r} a JOIN people b ON a.id = b.id AND {v} IS NOT NULL",
    "SELECT * FROM people p, LATERAL (SELECT {v} FROM {r}) l LIMIT 3",
    "SELECT sum(id) OVER (PARTITION BY {v}) FROM {r}", "SELECT /*+ REPARTITION(2) */ {v} FROM {r}",
]  # fmt: skip


@st.composite
def statements(draw: st.DrawFn) -> tuple[str, bool]:
    """A statement, and whether something forbidden is in it."""
    values, bad = [], False
    for _ in range(2):
        wicked = draw(st.integers(0, 3)) == 0
        value = draw(st.sampled_from(BAD_VALUES if wicked else GOOD_VALUES))
        for wrapper in draw(st.lists(st.sampled_from(WRAPPERS), max_size=4)):
            value = wrapper.format(value)
        values.append((value, wicked))
    relation, foreign = draw(
        st.one_of(
            st.tuples(st.sampled_from(GOOD_RELATIONS), st.just(False)),
            st.tuples(st.sampled_from(BAD_RELATIONS), st.just(True)),
        )
    )
    template = draw(st.sampled_from(QUERIES))
    value, wicked = values[0]
    bad = ("{v}" in template and wicked) or ("{r}" in template and foreign)
    return template.format(v=value, r=relation), bad


def test_whatever_a_fuzzer_writes_runs_or_is_refused_in_one_sentence(user: SparkSession) -> None:
    end = time.monotonic() + FUZZ_SECONDS
    seen = {"run": 0, "refused": 0, "bad": 0}

    @settings(
        max_examples=100_000 if FUZZ_SECONDS > 60 else 1_000,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(statements())
    def fuzz(made: tuple[str, bool]) -> None:
        sql, bad = made
        if time.monotonic() > end:
            return
        before = jobs(user)
        try:
            fenced_frame = fenced(user, sql, FENCE)
        except InvalidQuery:
            seen["refused"] += 1
            assert jobs(user) == before, sql
            assert "\n" not in refusal(user, sql)
        except Exception:
            seen["refused"] += 1
            refusal(user, sql)
        else:
            assert not bad, f"not refused: {sql}"
            assert isinstance(fenced_frame.schema, T.StructType)
            seen["run"] += 1
        seen["bad"] += bad

    fuzz()
    assert min(seen.values()) > 5, seen
