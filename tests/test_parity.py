"""SQL equals Keras, on every real model that Keras loads, on each engine, and on real photos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.parity import Bench, Parity, anchors, measure, prepare, same_top_1
from pyspark.sql import SparkSession

from kerasql.registry.engine import ENGINES


@pytest.fixture(scope="module")
def bench(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    prepared = prepare(data, tmp_path_factory.mktemp("parity"))
    yield prepared
    prepared.registry.close()


@pytest.fixture(scope="module")
def own_session(spark: SparkSession) -> SparkSession:
    return spark.newSession()


@pytest.fixture(scope="module")
def compared(own_session: SparkSession, bench: Bench) -> list[Parity]:
    return measure(own_session, bench)


def test_sql_equals_keras_for_every_file_that_keras_loads(
    bench: Bench, compared: list[Parity]
) -> None:
    assert len(bench.loadable) == 7
    assert {case.model.stem for case in bench.cases} == {*bench.loadable, "mobilenet"}
    assert [row for row in compared if not row.agrees] == []
    assert all(row.rows >= 32 for row in compared if not row.refused)


def test_openvino_is_refused_only_where_it_says_why(compared: list[Parity]) -> None:
    refused = {row.case: row.refused for row in compared if row.refused}
    assert set(refused) == {"cnc"}
    assert "OpenVINO cannot convert it" in refused["cnc"]


@pytest.mark.parametrize("engine", ENGINES)
def test_known_accuracies_are_reached_through_sql(
    own_session: SparkSession, bench: Bench, compared: list[Parity], engine: str
) -> None:
    found = anchors(own_session, bench, engine)
    assert len(found) == 6
    assert [anchor for anchor in found if not anchor.is_kept] == []


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("like", ["load_img", "image_dataset"])
def test_mobilenet_names_every_photo_as_keras_does(
    own_session: SparkSession, bench: Bench, compared: list[Parity], like: str, engine: str
) -> None:
    found = same_top_1(own_session, bench, like, engine)
    assert [(anchor.expected, anchor.shown) for anchor in found] == [("89", "89")] * 2
