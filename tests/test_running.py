"""Queries of many users: asked, watched, stopped; their results stored, paged, downloaded."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from benchmarks import peak
from benchmarks.left_behind import runners
from PIL import Image as Picture
from pyspark.sql import SparkSession

from kerasql.registry.errors import InvalidInput, InvalidQuery, NotFound, TooManyQueries
from kerasql.registry.preprocess import Image
from kerasql.registry.store import Registry, connect
from kerasql.udf.fence.check import Fence
from kerasql.udf.running.queries import Queries
from kerasql.udf.running.query import Limits, Query
from kerasql.udf.running.results import Kept

POINTS = 3000
PICTURES = 3000
SPREAD = "(SELECT /*+ REPARTITION(60) */ * FROM pictures)"
SLOW = f"SELECT sum(slow(image)) FROM {SPREAD}"
FENCE = Fence(
    functions=frozenset({"price", "price_v1", "try_price", "bag", "slow", "try_bag"}),
    relations=frozenset({"points", "pictures", "ids"}),
)
DEADLINE_S = 120


def picture(number: int) -> bytes:
    """A PNG that no other number has."""
    pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "png")
    return file.getvalue()


def write_parts(folder: Path, table: pa.Table, parts: int) -> Path:
    """A Parquet dataset of so many files, hence tasks."""
    folder.mkdir()
    size = -(-table.num_rows // parts)
    for n in range(parts):
        pa.parquet.write_table(table.slice(n * size, size), folder / f"{n:03}.parquet")
    return folder


@pytest.fixture(scope="module")
def registry(networks: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("running")
    with connect(f"sqlite:///{folder}/models.db", artifacts="") as opened:
        opened.register("price", networks / "tabular.h5")
        opened.register("bag", networks / "bag.h5", output="scores")
        opened.register("slow", networks / "slow.h5", preprocess=Image(size=(64, 64)))
        x = np.random.default_rng(0).normal(size=(POINTS, 4)).tolist()
        labels = ["QP"[n % 2] for n in range(POINTS)]
        points = pa.table({"id": range(POINTS), "label": labels, "x": x})
        opened.add_dataset("points", write_parts(folder / "points", points, 4), format="parquet")
        pictures = pa.table({"id": range(PICTURES), "image": [picture(n) for n in range(PICTURES)]})
        place = write_parts(folder / "pictures", pictures, 20)
        opened.add_dataset("pictures", place, format="parquet")
        ids = pa.table({"ids": [[1, 2, 3], [1, 2, 99], [7, 8, 77], None, [0, 0, 0], [1, 2, 99]]})
        opened.add_dataset("ids", write_parts(folder / "ids", ids, 1), format="parquet")
        yield opened


Made = Callable[..., Queries]


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is remembered: what is slow is slow again."""
    monkeypatch.setenv("KERASQL_MEMO_MB", "0")


@pytest.fixture
def made(spark: SparkSession, registry: Registry, tmp_path: Path) -> Iterator[Made]:
    """Servers on the same registry and results, closed when the test ends."""
    servers: list[Queries] = []

    def make(server: str = "one", **limits: Any) -> Queries:
        results = f"file://{tmp_path}/results"
        servers.append(
            Queries(spark, registry, results=results, limits=Limits(**limits), server=server)
        )
        return servers[-1]

    yield make
    for server in servers:
        server.close(0)
    assert [thread.name for thread in threading.enumerate() if "quer" in thread.name] == []
    assert list(tmp_path.rglob("*.part")) == []


@pytest.fixture
def queries(made: Made) -> Queries:
    return made()


def finished(queries: Queries, sql: str, *, user: str = "anna", **more: Any) -> Query:
    """A query that was asked and has ended, as it was wanted to."""
    more.setdefault("fence", FENCE)
    query = queries.wait(queries.submit(user, sql, **more).id, DEADLINE_S)
    assert (query.state, query.error) == ("finished", None)
    return query


def failed(queries: Queries, sql: str, *, user: str = "anna", **more: Any) -> str:
    """Why a query failed."""
    more.setdefault("fence", FENCE)
    query = queries.wait(queries.submit(user, sql, **more).id, DEADLINE_S)
    assert query.state == "failed"
    assert query.error
    return query.error


def until(condition: Callable[[], Any], timeout_s: float = 30) -> float:
    """Seconds until something is so."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s, "it never was so"
        time.sleep(0.02)
    return time.monotonic() - began


def predicting(queries: Queries, name: str) -> bool:
    """Whether the model server works on a query: its process takes CPU time."""
    return queries.get(name).state == "running" and is_busy()


def is_busy() -> bool:
    used = cpu_s()
    time.sleep(0.25)
    return cpu_s() - used > 0.05


def cpu_s() -> float:
    """CPU seconds of the processes that predict for this test run."""
    ticks = 0
    for pid in runners(_java()):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _java() -> int:
    (java,) = [p for p in peak.children(os.getpid()) if "java" in peak.command_line(p)[:200]]
    return java


def active_jobs(spark: SparkSession) -> list[int]:
    return list(spark.sparkContext.statusTracker().getActiveJobsIds())


# --- asked and read


def test_a_query_is_asked_and_its_rows_are_read(queries: Queries) -> None:
    asked = queries.submit(
        "anna", "SELECT id, price(x) AS p, label FROM points ORDER BY id", fence=FENCE
    )
    assert asked.state in ("queued", "running")
    query = queries.wait(asked.id, DEADLINE_S)
    assert (query.state, query.rows, query.truncated, query.error) == (
        "finished",
        POINTS,
        False,
        None,
    )
    assert query.columns == (("id", "BIGINT"), ("p", "FLOAT"), ("label", "STRING"))
    assert query.versions == ("price@1",)
    # To sort, Spark evaluates everything twice; the network sees each row once.
    assert query.stats["price@1"].predicted == POINTS
    assert query.progress is not None
    assert query.progress.rows_scored >= POINTS
    assert query.progress.tasks_done == query.progress.tasks > 0
    table = queries.table(query.id, offset=10, limit=5)
    assert table["id"].to_pylist() == [10, 11, 12, 13, 14]
    assert table["label"].to_pylist() == ["Q", "P", "Q", "P", "Q"]
    assert queries.get(query.id) == query


def test_a_result_without_rows_has_its_columns(queries: Queries) -> None:
    query = finished(queries, "SELECT id, x FROM points WHERE id < 0")
    assert (query.rows, queries.table(query.id).num_rows) == (0, 0)
    assert queries.table(query.id).column_names == ["id", "x"]
    assert json.loads(b"".join(queries.download(query.id, "json"))) == []


def test_what_is_refused_is_a_failed_query_with_its_sentence(queries: Queries) -> None:
    assert "no dataset 'nothing'; there is" in failed(queries, "SELECT * FROM nothing")
    assert "only a query" in failed(queries, "DROP TABLE points")
    assert "Syntax error" in failed(queries, "SELECT (")
    assert "Division by zero" in failed(queries, "SELECT id / 0 FROM points")
    assert "price: it takes 1 argument" in failed(queries, "SELECT price(x, x) FROM points")
    assert [query.state for query in queries.history(limit=5)] == ["failed"] * 5


def test_a_user_sees_what_the_fence_allows(queries: Queries) -> None:
    fence = Fence(functions=frozenset({"bag"}), relations=frozenset({"ids"}))
    assert "no function 'price'" in failed(queries, "SELECT price(1)", fence=fence)
    assert "no dataset 'points'" in failed(queries, "SELECT * FROM points", fence=fence)
    assert finished(queries, "SELECT count(*) FROM ids", fence=fence).rows == 1


def test_what_a_user_may_is_asked_when_the_turn_comes(made: Made) -> None:
    queries, allowed = made(running=1), {"points"}
    first = queries.submit("anna", f"SELECT sum(slow(image)) FROM {SPREAD}", fence=FENCE)
    second = queries.submit(
        "bert", "SELECT count(*) FROM points", fence=lambda: Fence(relations=frozenset(allowed))
    )
    assert queries.get(second.id).state == "queued"
    allowed.clear()
    queries.stop(first.id, by="anna")
    ended = queries.wait(second.id, DEADLINE_S)
    assert (ended.state, ended.error) == ("failed", "no dataset 'points'; there is none for you")


def test_a_fence_without_names_is_the_whole_registry(queries: Queries) -> None:
    query = finished(queries, "SELECT sum(price(x)) FROM points WHERE id < 9", fence=Fence())
    assert query.versions == ("price@1",)


def test_what_is_registered_later_is_there_for_the_next_query(
    queries: Queries, registry: Registry, networks: Path, tmp_path: Path
) -> None:
    sql = "SELECT later(x) FROM later_points"
    assert "no function 'later'" in failed(queries, sql, fence=Fence())
    points = pa.table({"x": [[1.0, 2.0, 3.0, 4.0]]})
    place = write_parts(tmp_path / "later", points, 1)
    registry.add_dataset("later_points", place, format="parquet")
    registry.register("later", networks / "tabular.h5")
    assert finished(queries, sql, fence=Fence()).rows == 1
    registry.remove_dataset("later_points")
    assert "no dataset 'later_points'" in failed(queries, sql, fence=Fence())
    fence = Fence(functions=frozenset({"later"}), relations=frozenset({"later_points"}))
    assert "later_points" in failed(queries, sql, fence=fence)


def test_rows_without_an_answer_are_counted_by_reason(queries: Queries) -> None:
    query = finished(queries, "SELECT bag(ids) FROM ids")
    assert query.stats["bag@1"].failed == 4
    assert sorted(query.failed) == [
        ("bag@1", "the id 77 is not one of 0 … 9", 1),
        ("bag@1", "the id 99 is not one of 0 … 9", 2),
        ("bag@1", "the input is NULL", 1),
    ]


# --- parameters


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "it's; DROP TABLE points --",
        "x' OR '1'='1",
        'a "quoted" \\ backslash \\\' and \n a line',
        "${env:PATH} :other ? /* */ ünïcödé 🚀 \t",
        "",
        7,
        -(2**63),
        2**40,
        1.5,
        -1e300,
        True,
        False,
        None,
    ],
)
def test_a_parameter_is_a_value_whatever_it_spells(queries: Queries, value: Any) -> None:
    query = finished(queries, "SELECT :value AS v FROM points LIMIT 1", parameters={"value": value})
    assert queries.table(query.id)["v"].to_pylist() == [value]
    assert query.parameters == {"value": value}


def test_dates_and_times_are_parameters(queries: Queries) -> None:
    at = datetime(2026, 1, 31, 12, 30, 1, 250, tzinfo=UTC)
    given = {"day": date(2026, 1, 31), "at": at, "said": {"date": "2026-02-01"}}
    sql = "SELECT :day AS day, :at AS at, :said AS said, :day < :said AS before"
    query = finished(queries, sql, parameters=given)
    row = queries.table(query.id).to_pylist()[0]
    assert row == {"day": date(2026, 1, 31), "at": at, "said": date(2026, 2, 1), "before": True}
    assert query.parameters["at"] == {"timestamp": at.isoformat()}


def test_parameters_stand_where_values_stand(queries: Queries) -> None:
    sql = (
        "WITH some AS (SELECT id, label, x FROM points WHERE label = :label)\n"
        "SELECT id, price(x) + :more FROM some\n"
        "WHERE label LIKE :pattern AND id IN (SELECT id FROM points WHERE id < :most)\n"
        "ORDER BY id LIMIT :count"
    )
    given = {"label": "P", "more": 1.0, "pattern": "P%", "most": 100, "count": 3}
    query = finished(queries, sql, parameters=given)
    assert queries.table(query.id)["id"].to_pylist() == [1, 3, 5]


def test_parameters_that_do_not_fit_the_statement_are_one_sentence(queries: Queries) -> None:
    sql = "SELECT :a + :b"
    assert failed(queries, sql, parameters={"a": 1}) == (
        "the statement has the parameter ':b'; give it a value"
    )
    surplus = failed(queries, sql, parameters={"a": 1, "b": 2, "c": 3})
    assert surplus == "the statement has no parameter ':c'; there is ':a' and ':b'"
    assert "no parameter ':x'; it has none" in failed(queries, "SELECT 1", parameters={"x": 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [("a b", 1), ("", 1), ("x", [1]), ("x", {"a": 1}), ("x", {"date": "never"}), ("x", 2**63)],
)
def test_what_cannot_be_a_parameter_is_refused_at_once(
    queries: Queries, name: str, value: Any
) -> None:
    with pytest.raises(InvalidQuery, match="parameter"):
        queries.submit("anna", "SELECT 1", parameters={name: value}, fence=FENCE)


def test_a_parameter_is_fenced_like_what_is_written(queries: Queries) -> None:
    given = {"pattern": "(a+)+$"}
    assert "pattern" in failed(queries, "SELECT label RLIKE :pattern FROM points", parameters=given)
    text = {"text": "x" * 200_000}
    assert "over the limit" in failed(queries, "SELECT :text", parameters=text)
    anything = {"name": "json.`/etc/passwd`"}
    assert failed(queries, "SELECT * FROM IDENTIFIER(:name)", parameters=anything)


# --- the trap of aliases


def test_where_on_an_alias_is_answered_with_what_to_write(queries: Queries) -> None:
    sql = "SELECT id, price(x) AS p FROM points WHERE p > 0 AND id < 10 ORDER BY id LIMIT 5"
    said = failed(queries, sql)
    assert "WHERE cannot see the alias 'p' of its SELECT" in said
    rewritten = said.partition("write: ")[2]
    assert rewritten == (
        "SELECT * FROM (SELECT id, price(x) AS p FROM points WHERE id < 10) WHERE p > 0 "
        "ORDER BY id LIMIT 5"
    )
    assert 0 < (finished(queries, rewritten).rows or 0) <= 5


@pytest.mark.parametrize(
    ("sql", "rewritten"),
    [
        (
            "select price(x) as p from points where (p > 0)",
            "SELECT * FROM (select price(x) as p from points) WHERE (p > 0)",
        ),
        (
            "SELECT price(x) AS p FROM points WHERE (p > 0 OR id = 3) AND abs(p) < 1",
            None,
        ),
        (
            "SELECT id, price(x) AS p FROM points WHERE (p > 0 OR id = 3) AND abs(p) < 1",
            "SELECT * FROM (SELECT id, price(x) AS p FROM points) "
            "WHERE (p > 0 OR id = 3) AND abs(p) < 1",
        ),
        (
            "WITH a AS (SELECT price(x) AS p FROM points WHERE p > :least) SELECT count(*) FROM a",
            "WITH a AS (SELECT * FROM (SELECT price(x) AS p FROM points) WHERE p > :least) "
            "SELECT count(*) FROM a",
        ),
    ],
)
def test_the_rewritten_statement_runs_or_is_not_offered(
    queries: Queries, sql: str, rewritten: str | None
) -> None:
    given = {"least": 0} if ":least" in sql else {}
    said = failed(queries, sql, parameters=given)
    assert "WHERE cannot see the alias 'p'" in said
    if rewritten is None:
        assert "make this SELECT a subquery" in said
    else:
        assert said.partition("write: ")[2] == rewritten
        finished(queries, rewritten, parameters=given)


def test_where_on_a_column_that_is_also_an_alias_is_a_warning(queries: Queries) -> None:
    sql = "SELECT id, bag(array(1, 2, 3)) AS label FROM points WHERE contains(label, 'P')"
    query = finished(queries, sql)
    assert query.rows == POINTS // 2
    (warning,) = query.warnings
    assert warning.startswith("WHERE compares the column 'label' that is read, not the alias")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT label AS label FROM points WHERE label = 'P'",
        "SELECT upper(label) AS up FROM points WHERE label = 'P'",
        "SELECT * FROM (SELECT price(x) AS p FROM points) WHERE p > 0",
        "SELECT label AS l, count(*) AS n FROM points GROUP BY label HAVING n > 3",
    ],
)
def test_a_statement_without_the_trap_has_no_warning(queries: Queries, sql: str) -> None:
    assert finished(queries, sql).warnings == ()


# --- results


def test_a_large_result_is_paged_without_being_loaded(queries: Queries) -> None:
    query = finished(
        queries, "SELECT id, sha2(CAST(id AS STRING), 512) AS s FROM range(100000) ORDER BY id"
    )
    assert (query.rows, query.truncated) == (100_000, False)
    before = pa.total_allocated_bytes()
    page = queries.table(query.id, offset=77_770, limit=100)
    assert page["id"].to_pylist() == list(range(77_770, 77_870))
    assert pa.total_allocated_bytes() - before < 4 * 2**20 < (query.size_bytes or 0)
    assert queries.table(query.id, offset=99_990, limit=100).num_rows == 10
    assert queries.table(query.id, offset=100_000).num_rows == 0
    everything = [
        number
        for offset in range(0, 100_000, 30_000)
        for number in queries.table(query.id, offset=offset, limit=30_000)["id"].to_pylist()
    ]
    assert everything == list(range(100_000))


def test_a_result_with_more_rows_than_are_kept_is_truncated(
    made: Made, spark: SparkSession
) -> None:
    queries = made(rows=10)
    cut = finished(queries, "SELECT id FROM range(1000000)")
    assert (cut.rows, cut.truncated, queries.table(cut.id).num_rows) == (10, True, 10)
    whole = finished(queries, "SELECT id FROM range(10)")
    assert (whole.rows, whole.truncated) == (10, False)
    until(lambda: active_jobs(spark) == [])


def test_a_truncated_result_with_an_order_has_the_first_rows(made: Made) -> None:
    queries = made(rows=5)
    query = finished(queries, "SELECT id FROM points ORDER BY id DESC")
    assert queries.table(query.id)["id"].to_pylist() == [2999, 2998, 2997, 2996, 2995]
    assert query.truncated


def test_a_result_with_more_bytes_than_are_kept_is_truncated(made: Made) -> None:
    queries = made(size_bytes=100_000)
    query = finished(queries, "SELECT repeat('x', 1000) AS s FROM range(1000)")
    assert query.truncated
    assert 80 <= (query.rows or 0) <= 100
    assert (query.size_bytes or 0) <= 100_000


@pytest.mark.usefixtures("forgetful")
def test_few_rows_of_many_are_found_without_all_of_them(made: Made) -> None:
    queries = made(rows=20)
    query = finished(queries, f"SELECT slow(image) AS s FROM {SPREAD}")
    assert (query.rows, query.truncated) == (20, True)
    assert query.stats["slow@1"].rows < PICTURES / 2


ODD = """
SELECT * FROM VALUES
  (1, 'say "hi", it''s', array(1.5F, NULL), named_struct('a', 1, 'b', 'x'), X'00FF',
   DATE '2026-01-31', TIMESTAMP '2026-01-31 12:00:00.5Z', 12.340, true, 'one'),
  (NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'two')
AS t(n, text, scores, both, raw, day, at, money, flag, text)
"""


def test_every_format_is_read_back_equal(queries: Queries) -> None:
    query = finished(queries, ODD)
    table = queries.table(query.id)
    assert table.num_rows == 2
    got = {
        kind: b"".join(queries.download(query.id, kind))
        for kind in ("arrow", "parquet", "json", "csv")
    }
    assert pa.ipc.open_file(got["arrow"]).read_all().equals(table)
    assert pa.parquet.ParquetFile(io.BytesIO(got["parquet"])).read().equals(table)
    first, second = json.loads(got["json"])
    assert first == {
        "n": 1,
        "text": 'say "hi", it\'s',
        "scores": [1.5, None],
        "both": {"a": 1, "b": "x"},
        "raw": base64.b64encode(b"\x00\xff").decode(),
        "day": "2026-01-31",
        "at": "2026-01-31T12:00:00.500000+00:00",
        "money": "12.340",
        "flag": True,
        "text_2": "one",
    }
    assert second["n"] is None
    assert second["text"] == ""
    header, *rows = csv.reader(io.StringIO(got["csv"].decode()))
    assert header == table.column_names
    assert rows[0][:5] == ["1", 'say "hi", it\'s', "[1.5, null]", '{"a": 1, "b": "x"}', "AP8="]
    assert (rows[0][5], Decimal(rows[0][7]), rows[1][0]) == ("2026-01-31", Decimal("12.34"), "")


def test_a_large_download_comes_in_pieces(queries: Queries) -> None:
    query = finished(
        queries, "SELECT id, sha2(CAST(id AS STRING), 512) AS s FROM range(50000) ORDER BY id"
    )
    for kind in ("csv", "json", "parquet", "arrow"):
        pieces = list(queries.download(query.id, kind))
        assert len(pieces) > 2, kind
    rows = json.loads(b"".join(queries.download(query.id, "json")))
    assert [row["id"] for row in rows] == list(range(50_000))


def test_an_unknown_format_lists_the_known_ones(queries: Queries) -> None:
    query = finished(queries, "SELECT 1")
    with pytest.raises(InvalidInput, match="as 'xls'; there is 'arrow', 'csv', 'json' and"):
        queries.download(query.id, "xls")


def test_a_result_outlives_its_server(made: Made) -> None:
    one = made("one")
    query = finished(one, "SELECT id FROM points ORDER BY id")
    assert one.close(1) == []
    two = made("two")
    assert two.get(query.id) == query
    assert two.table(query.id, limit=3)["id"].to_pylist() == [0, 1, 2]
    assert next(iter(two.download(query.id, "csv")))


def test_a_result_expires_with_its_file(made: Made, tmp_path: Path) -> None:
    queries = made(keep_s=0)
    query = finished(queries, "SELECT 1")
    assert len(list((tmp_path / "results").rglob("*.arrow"))) == 1
    assert queries.expire() == 1
    assert list((tmp_path / "results").rglob("*.arrow")) == []
    assert queries.get(query.id).state == "finished"
    with pytest.raises(NotFound, match="it was deleted when it was old enough"):
        queries.table(query.id)
    assert queries.expire() == 0


def test_old_files_go_but_not_those_of_results(queries: Queries, tmp_path: Path) -> None:
    kept = finished(queries, "SELECT 1 AS one")
    (file,) = tmp_path.rglob(f"{kept.id}.arrow")
    left = file.with_name(f"{file.parent.name}{'0' * 30}.arrow")
    new = file.with_name(f"{file.parent.name}{'1' * 30}.arrow")
    for one in (left, new):
        one.write_bytes(b"")
    for one in (file, left):
        os.utime(one, (0, 0))
    queries.expire()
    assert (file.exists(), left.exists(), new.exists()) == (True, False, True)
    assert queries.table(kept.id).num_rows == 1


def test_results_at_a_url_are_those_of_a_folder(
    spark: SparkSession, registry: Registry, tmp_path: Path
) -> None:
    queries = Queries(spark, registry, results="memory://kerasql-results", server="far")
    query = finished(queries, "SELECT id FROM points ORDER BY id")
    assert queries.table(query.id, offset=5, limit=2)["id"].to_pylist() == [5, 6]
    assert queries.close(5) == []


def test_a_query_without_a_result_says_why(queries: Queries) -> None:
    query = queries.submit("anna", "SELECT nothing", fence=FENCE)
    queries.wait(query.id, DEADLINE_S)
    with pytest.raises(NotFound, match="the query failed: "):
        queries.download(query.id, "csv")
    with pytest.raises(NotFound, match="no query 'nobody'"):
        queries.get("nobody")


# --- the queue


@pytest.mark.usefixtures("forgetful")
def test_a_user_waits_behind_their_own_queries(made: Made) -> None:
    queries = made(running_each=1, queued_each=2)
    first, second, third = (queries.submit("anna", SLOW, fence=FENCE) for _ in range(3))
    assert first.state in ("queued", "running")
    assert [queries.get(one.id).position for one in (first, second, third)] == [None, 1, 2]
    with pytest.raises(TooManyQueries, match="'anna' has 2 queries waiting"):
        queries.submit("anna", "SELECT 1", fence=FENCE)
    # Another user does not wait for her.
    assert finished(queries, "SELECT 1", user="ben").rows == 1
    stopped = queries.stop(second.id, by="anna")
    assert (stopped.state, stopped.error) == ("stopped", "anna stopped it")
    assert queries.get(third.id).position == 1
    queries.stop(first.id, by="anna")
    until(lambda: queries.get(third.id).state == "running")
    queries.stop(third.id, by="root")


@pytest.mark.usefixtures("forgetful")
def test_no_more_run_at_once_than_the_server_may(made: Made) -> None:
    queries = made(running=2)
    asked = [queries.submit(user, SLOW, fence=FENCE) for user in ("anna", "ben", "carl", "dora")]
    until(lambda: sum(queries.get(one.id).state == "running" for one in asked) == 2)
    states = [queries.get(one.id) for one in asked]
    assert [query.state for query in states] == ["running", "running", "queued", "queued"]
    assert [query.position for query in states] == [None, None, 1, 2]
    for one in asked:
        queries.stop(one.id, by="root")


@pytest.mark.usefixtures("forgetful")
def test_a_short_query_does_not_wait_for_a_long_one(queries: Queries) -> None:
    long = queries.submit("anna", SLOW, fence=FENCE)
    until(lambda: predicting(queries, long.id))
    began = time.monotonic()
    finished(queries, "SELECT sum(id) FROM points", user="ben")
    assert time.monotonic() - began < 8
    assert queries.get(long.id).state == "running"
    queries.stop(long.id, by="anna")


def test_users_at_once_get_their_own_rows_and_counts(queries: Queries) -> None:
    asked = {
        count: queries.submit(
            f"user{count}", f"SELECT id, price(x) AS p FROM points WHERE id < {count}", fence=FENCE
        )
        for count in (100, 200, 300, 400)
    }
    for count, one in asked.items():
        query = queries.wait(one.id, DEADLINE_S)
        assert (query.state, query.rows, query.stats["price@1"].rows) == ("finished", count, count)


# --- stopped


@pytest.mark.usefixtures("forgetful")
def test_stop_stops_within_two_seconds(queries: Queries, spark: SparkSession) -> None:
    query = queries.submit("anna", SLOW, fence=FENCE)
    until(lambda: predicting(queries, query.id))
    began = time.monotonic()
    stopped = queries.stop(query.id, by="anna")
    assert (stopped.state, stopped.error) == ("stopped", "anna stopped it")
    jobs = until(lambda: active_jobs(spark) == [])
    until(lambda: not is_busy())
    seconds = time.monotonic() - began
    print(f"Spark's jobs gone after {jobs:.2f} s, the model server idle after {seconds:.2f} s")
    assert seconds < 2
    with pytest.raises(NotFound, match="the query stopped: anna stopped it"):
        queries.table(query.id)
    # What was stopped took nothing with it.
    assert finished(queries, "SELECT sum(price(x)) FROM points").rows == 1


@pytest.mark.usefixtures("forgetful")
def test_a_query_that_was_taken_for_interrupted_can_be_stopped_and_ends(queries: Queries) -> None:
    def taken(sql: str) -> str:
        query = queries.submit("anna", sql, fence=FENCE)
        until(lambda: predicting(queries, query.id))
        said = {"state": "interrupted", "error": "its server ended"}
        assert queries._history.change(query.id, said, states=("running",))
        return query.id

    stopped = taken(SLOW)
    queries.stop(stopped, by="anna")
    until(lambda: queries.get(stopped).state == "stopped")
    ended = taken(f"SELECT sum(slow(image)) FROM {SPREAD} WHERE id % 3 = 1")
    until(lambda: queries.get(ended).state == "finished")
    assert queries.get(ended).error is None


def test_rows_that_another_query_waits_for_are_still_predicted(queries: Queries) -> None:
    sql = f"SELECT id, slow(image) FROM {SPREAD} WHERE id % 3 = 1"
    one, two = queries.submit("anna", sql, fence=FENCE), queries.submit("ben", sql, fence=FENCE)
    until(lambda: predicting(queries, two.id))
    queries.stop(one.id, by="anna")
    query = queries.wait(two.id, DEADLINE_S)
    assert (query.state, query.rows, query.failed) == ("finished", PICTURES // 3, [])


@pytest.mark.usefixtures("forgetful")
def test_another_server_stops_a_query(made: Made) -> None:
    one, two = made("one"), made("two")
    query = one.submit("anna", SLOW, fence=FENCE)
    until(lambda: predicting(two, query.id))
    until(lambda: two.get(query.id).progress is not None)
    two.stop(query.id, by="root")
    stopped = two.wait(query.id, 5)
    assert (stopped.state, stopped.error) == ("stopped", "root stopped it")


def test_a_query_that_has_ended_stays_as_it_is(queries: Queries) -> None:
    query = finished(queries, "SELECT 1")
    assert queries.stop(query.id, by="root") == query


@pytest.mark.usefixtures("forgetful")
def test_a_query_is_stopped_at_its_time_limit(made: Made, spark: SparkSession) -> None:
    queries = made(seconds=3)
    query = queries.wait(queries.submit("anna", SLOW, fence=FENCE).id, 30)
    assert (query.state, query.error) == (
        "failed",
        "it took more than 3 seconds, which is the limit; ask for fewer rows",
    )
    until(lambda: active_jobs(spark) == [])


@pytest.mark.usefixtures("forgetful")
def test_progress_is_seen_while_a_query_runs(queries: Queries) -> None:
    query = queries.submit("anna", f"SELECT id, slow(image) FROM {SPREAD}", fence=FENCE)
    until(lambda: (p := queries.get(query.id).progress) is not None and p.rows_scored > 0, 60)
    seen = queries.get(query.id)
    assert seen.progress is not None
    assert seen.progress.tasks > seen.progress.tasks_done > 0
    assert (seen.progress.rows_per_s or 0) > 0
    assert (seen.progress.seconds_left or 0) > 0
    assert seen.columns[0] == ("id", "BIGINT")
    queries.stop(query.id, by="anna")


# --- the end of a server


@pytest.mark.usefixtures("forgetful")
def test_close_finishes_what_is_quick_and_interrupts_the_rest(made: Made) -> None:
    queries = made(running_each=1)
    long, waiting = (queries.submit("anna", SLOW, fence=FENCE) for _ in range(2))
    until(lambda: queries.get(long.id).state == "running")
    quick = queries.submit("ben", "SELECT id FROM points", fence=FENCE)
    ended = queries.close(3)
    assert {query.id for query in ended} == {long.id, waiting.id}
    assert {query.state for query in ended} == {"interrupted"}
    assert "while it ran; run it again" in str(queries.get(long.id).error)
    assert "before its turn came" in str(queries.get(waiting.id).error)
    assert queries.get(quick.id).state == "finished"
    with pytest.raises(InvalidQuery, match="being closed"):
        queries.submit("anna", "SELECT 1", fence=FENCE)


SERVER = """
import sys
from kerasql.registry.store import connect
from kerasql.udf.fence.check import Fence
from kerasql.udf.running.queries import Queries
from kerasql.udf.session import SHARED, local_session

url, results, sql = sys.argv[1:]
spark = local_session(master="local[1]", conf=SHARED)
queries = Queries(spark, connect(url, artifacts=""), results=results, server="dies")
done = queries.submit("anna", "SELECT 7 AS seven", fence=Fence())
queries.wait(done.id, 60)
running = queries.submit("anna", sql, fence=Fence())
while queries.get(running.id).progress is None:
    pass
print(done.id, running.id, flush=True)
queries.wait(running.id, 600)
"""


@pytest.mark.usefixtures("forgetful")
def test_a_query_whose_server_was_killed_is_interrupted_and_results_are_there(
    made: Made, registry: Registry, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", SERVER, registry.url, f"file://{tmp_path}/results", SLOW]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        done, running = server.stdout.readline().split()
        server.send_signal(signal.SIGKILL)
    queries = made("dies")
    query = queries.get(running)
    assert (query.state, query.error) == (
        "interrupted",
        "its server ended while it was asked; run it again",
    )
    assert queries.table(done)["seven"].to_pylist() == [7]


def test_nothing_is_left_in_the_folder_for_temporary_files(
    queries: Queries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    finished(queries, "SELECT id, repeat('x', 1000) FROM range(60000)")
    failed(queries, "SELECT id / 0 FROM points")
    assert list(folder.iterdir()) == []


# --- looked up


def test_the_history_is_that_of_a_user_with_a_text(queries: Queries) -> None:
    for user in ("zoe", "yan"):
        for number in range(3):
            finished(queries, f"SELECT {number} AS n{number}", user=user)
    assert [query.sql for query in queries.history("zoe")] == [
        "SELECT 2 AS n2",
        "SELECT 1 AS n1",
        "SELECT 0 AS n0",
    ]
    (found,) = queries.history("yan", search="as N1")
    assert [query.sql for query in queries.history("yan", before=found.id)] == ["SELECT 0 AS n0"]


def test_an_estimate_says_rows_and_seconds(queries: Queries) -> None:
    sql = "SELECT price(x), bag(array(1, 2, 3)) FROM points WHERE id < 5"
    estimate = queries.estimate("anna", sql, fence=FENCE)
    assert estimate.rows == {"price@1": POINTS, "bag@1": POINTS}
    shifted = "SELECT transform(x, one -> one + 3) AS x FROM points"
    finished(queries, f"SELECT sum(price(x)) FROM ({shifted})")
    seconds = queries.estimate("anna", "SELECT price(x) FROM points", fence=FENCE).seconds
    assert seconds is not None
    assert seconds > 0


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT price(x) FROM points LIMIT 10", 10),
        ("SELECT price(x) FROM points ORDER BY id LIMIT 10", POINTS),
        ("SELECT * FROM (SELECT * FROM points LIMIT 7) WHERE price(x) > 0", 7),
        ("SELECT price(x) FROM points UNION ALL SELECT price(x) FROM points", 2 * POINTS),
        ("WITH p AS (SELECT x FROM points) SELECT avg(price(x)) FROM p", POINTS),
        ("SELECT id FROM points WHERE id > (SELECT avg(price(x)) FROM points)", POINTS),
        ("SELECT price(a.x) FROM points a JOIN points b ON a.id = b.id", None),
        ("SELECT price(array(1.0, 2.0, 3.0, 4.0))", 1),
    ],
)
def test_estimated_rows_are_those_a_model_is_asked_for_at_most(
    queries: Queries, sql: str, rows: int | None
) -> None:
    assert queries.estimate("anna", sql, fence=FENCE).rows == {"price@1": rows}


def test_a_query_that_cannot_run_has_no_estimate(queries: Queries) -> None:
    with pytest.raises(InvalidQuery, match="no dataset 'nothing'"):
        queries.estimate("anna", "SELECT * FROM nothing", fence=FENCE)


# --- rows as they arrive


def kept(arrivals: list[tuple[int, list[int]]], *, in_order: bool, rows: int = 5) -> Any:
    """(rows in their order, truncated, how many batches were taken before it was enough)."""
    schema = pa.schema([("n", pa.int64())])
    with Kept(schema, Limits(rows=rows), in_order=in_order) as result:
        taken = 0
        for partition, numbers in arrivals:
            taken += 1
            if not result.add(partition, pa.record_batch([pa.array(numbers)], schema=schema)):
                break
        ends = result.end()
        groups = [pa.Table.from_batches(group)["n"].to_pylist() for group in result.ordered()]
    assert ends[-1:] == ([sum(map(len, groups))] if groups else [])
    return [number for group in groups for number in group], result.truncated, taken


def test_partitions_that_come_late_are_put_in_their_place() -> None:
    arrivals = [(2, [5]), (0, [1, 2]), (1, [3, 4])]
    assert kept(arrivals, in_order=True) == ([1, 2, 3, 4, 5], False, 3)
    assert kept(arrivals, in_order=False) == ([1, 2, 3, 4, 5], False, 3)


def test_of_sorted_rows_the_first_are_kept_however_late_they_come() -> None:
    arrivals = [(3, [9, 9, 9]), (1, [4, 5, 6]), (2, [7, 8]), (0, [1, 2, 3])]
    assert kept(arrivals, in_order=True) == ([1, 2, 3, 4, 5], True, 4)


def test_of_other_rows_the_first_to_come_are_kept_and_no_more_are_awaited() -> None:
    arrivals = [(3, [9, 9, 9]), (1, [4, 5, 6]), (2, [7, 8]), (0, [1, 2, 3])]
    assert kept(arrivals, in_order=False) == ([4, 5, 9, 9, 9], True, 2)


def test_as_many_rows_as_are_kept_are_not_truncated() -> None:
    assert kept([(0, [1, 2, 3, 4, 5])], in_order=False) == ([1, 2, 3, 4, 5], False, 1)
    assert kept([(0, [1, 2, 3, 4, 5]), (1, [6])], in_order=False)[1:] == (True, 2)
    assert kept([], in_order=True) == ([], False, 0)


def test_rows_that_are_written_out_keep_their_order(queries: Queries) -> None:
    values = ", ".join(f"({n})" for n in range(500))
    query = finished(queries, f"SELECT n + 1 AS n FROM VALUES {values} AS t(n)")
    assert queries.table(query.id)["n"].to_pylist() == list(range(1, 501))
