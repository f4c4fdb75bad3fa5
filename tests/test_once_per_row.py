"""However often Spark evaluates a function, the network sees each distinct row once."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import peak
from benchmarks.left_behind import fronts, kill_now_and_then, runners
from pyspark.sql import SparkSession

from kerasql.registry.store import Registry, connect
from kerasql.udf.deploy import deploy
from kerasql.udf.query import query

ROWS = 300

SHAPES = {
    "WHERE on another column": "SELECT price(x) FROM t WHERE contains(label, 'P')",
    "twice in SELECT": "SELECT price(x) + 1, price(x) * 2 FROM t",
    "CASE": "SELECT CASE WHEN price(x) > 1 THEN 2 WHEN price(x) > 0 THEN 1 END FROM t",
    "WHERE and SELECT": "SELECT price(x) FROM t WHERE price(x) > 0",
    "subquery": "SELECT * FROM (SELECT price(x) AS p FROM t) WHERE p > 0",
    "HAVING": "SELECT price(x), count(*) FROM t GROUP BY price(x) HAVING price(x) > 0",
    "join": "SELECT a.id FROM t a JOIN t b ON price(a.x) = price(b.x)",
    "UNION": "SELECT price(x) FROM t UNION ALL SELECT price(x) FROM t WHERE price(x) > 0",
    "ORDER BY and LIMIT": "SELECT id, price(x) FROM t ORDER BY price(x) DESC LIMIT 5",
    "average": "SELECT id FROM t WHERE price(x) > (SELECT avg(price(x)) FROM t)",
}


@pytest.fixture(scope="module")
def registry(networks: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    database = tmp_path_factory.mktemp("once") / "models.db"
    with connect(f"sqlite:///{database}", artifacts="") as opened:
        opened.register("price", networks / "tabular.h5")
        yield opened


@pytest.fixture
def asked(session: SparkSession, registry: Registry) -> SparkSession:
    deploy(session, registry)
    return session


def rows(session: SparkSession, seed: int, count: int = ROWS) -> None:
    """A view t of distinct rows that no server has seen, half of them labelled with a P."""
    values = np.random.default_rng(seed).normal(size=(count, 4)).tolist()
    data = [(n, "QP"[n % 2], value) for n, value in enumerate(values)]
    frame = session.createDataFrame(data, "id INT, label STRING, x ARRAY<DOUBLE>")
    frame.repartition(4).createOrReplaceTempView("t")


@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_is_predicted_once(asked: SparkSession, shape: str) -> None:
    rows(asked, seed=100 + list(SHAPES).index(shape))
    result = query(asked, SHAPES[shape], limit=None)
    assert result.table.num_rows > 0
    expected = ROWS // 2 if shape == "WHERE on another column" else ROWS
    assert result.stats["price@1"].predicted == expected
    again = query(asked, SHAPES[shape], limit=None)
    assert again.stats["price@1"].predicted == 0
    assert sorted(map(str, again.rows())) == sorted(map(str, result.rows()))


def test_variants_of_a_version_share_its_answers(asked: SparkSession) -> None:
    rows(asked, seed=50)
    result = query(asked, "SELECT price(x), try_price(x).value, price_v1(x) FROM t", limit=None)
    assert all(one == other == third for one, other, third in result.rows())
    assert result.stats["price@1"].predicted == ROWS
    assert result.stats["price@1"].rows == 3 * ROWS


def test_queries_at_once_keep_their_own_counts(asked: SparkSession) -> None:
    rows(asked, seed=51)
    found: dict[int, Any] = {}

    def ask(number: int) -> None:
        sql = f"SELECT sum(price(x)) FROM t WHERE id < {100 * number}"
        found[number] = query(asked, sql).stats["price@1"].rows

    threads = [threading.Thread(target=ask, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {1: 100, 2: 200, 3: 300}


def test_without_memory_every_evaluation_is_predicted(
    asked: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASQL_MEMO_MB", "0")
    rows(asked, seed=52)
    stats = query(asked, SHAPES["subquery"], limit=None).stats["price@1"]
    assert (stats.predicted, stats.hits) == (stats.rows, 0)
    assert stats.rows > ROWS


@pytest.mark.parametrize("victims", [fronts, runners])
def test_a_query_whose_server_is_killed_has_the_rows_of_a_quiet_one(
    asked: SparkSession, monkeypatch: pytest.MonkeyPatch, victims: Callable[[int], list[int]]
) -> None:
    monkeypatch.setenv("KERASQL_MEMO_MB", "0")
    monkeypatch.setenv("KERASQL_BATCH_ROWS", "8")
    rows(asked, seed=53, count=3000)
    sql = "SELECT id, price(x) AS p FROM t ORDER BY id"
    quiet = query(asked, sql, limit=None).rows()
    assert len(quiet) == 3000
    (java,) = [pid for pid in peak.children(os.getpid()) if victims(pid)]
    chance, kills = random.Random(5), 0
    for _ in range(6):
        ending, killed = threading.Event(), []
        thread = threading.Thread(
            target=kill_now_and_then, args=(lambda: victims(java), ending, chance, killed)
        )
        thread.start()
        answers = query(asked, sql, limit=None).rows()
        ending.set()
        thread.join()
        kills += len(killed)
        assert [row[0] for row in answers] == [row[0] for row in quiet]
        np.testing.assert_allclose(
            [row[1] for row in answers], [row[1] for row in quiet], atol=1e-6
        )
    assert kills >= 6
