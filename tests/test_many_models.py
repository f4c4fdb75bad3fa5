"""Deploying moves no artifact, however many models there are (benchmarks/deploy.py times it)."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.deploy import Run, fill, measure
from pyspark.sql import SparkSession

from kerasql.registry.store import connect


@pytest.fixture(scope="module")
def run(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder: Path = tmp_path_factory.mktemp("many")
    with connect(f"sqlite:///{folder}/models.db", artifacts="") as registry:
        fill(registry, folder, models=100, versions=3)
        return measure(spark, registry)


def test_every_name_of_a_hundred_models_is_found_by_spark(run: Run) -> None:
    # production and three numbers, each with try_, _scores and try_..._scores
    assert run.names == 100 * 4 * 4
    assert run.unresolved == ()


def test_deploying_a_hundred_models_moves_no_artifact(run: Run) -> None:
    assert run.moved_nothing


def test_the_first_query_moves_the_artifacts_of_one_version(run: Run) -> None:
    assert run.sent_by_query == len({"openvino.xml", "openvino.bin", "golden"})
