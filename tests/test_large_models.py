"""Registering, deploying and asking a large model costs the caller next to no memory.

It is 105 MB here and allowed 60; ``python -m benchmarks.memory`` shows it for 500 MB.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import memory
from benchmarks.memory import growth
from pyspark.sql import SparkSession

from kerasql.registry.store import connect
from kerasql.udf.deploy import deploy
from kerasql.udf.query import query

SIZE_MB = 100
MOST_GROWTH_MB = 60


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.h5"
    script = Path(memory.__file__).with_name("random_model.py")
    subprocess.run([sys.executable, script, path, str(SIZE_MB)], check=True, capture_output=True)
    assert path.stat().st_size > SIZE_MB * 1_000_000
    return path


@pytest.mark.parametrize("store", ["database", "file"])
def test_the_caller_never_holds_a_large_model(
    large: Path, networks: Path, tmp_path: Path, session: SparkSession, store: str
) -> None:
    artifacts = "" if store == "database" else f"file://{tmp_path}/artifacts"
    with connect(f"sqlite:///{tmp_path}/models.db", artifacts=artifacts) as registry:
        registry.register("small", networks / "vector.h5")  # what is imported stays
        with growth() as registering:
            version = registry.register("large", large)
        deploy(session, registry)
        with growth() as answering:
            (row,) = query(session, "SELECT large(array_repeat(0.5, 64)) AS scores").rows()
    assert sum(version.artifacts[r].size_bytes for r in ("model", "openvino.bin")) > 2e6 * SIZE_MB
    assert sum(row[0]) == pytest.approx(1, abs=1e-4)
    assert registering.mb < MOST_GROWTH_MB
    assert answering.mb < MOST_GROWTH_MB


def test_the_measure_sees_what_a_caller_holds(large: Path) -> None:
    with growth() as reading:
        held = large.read_bytes()
        del held
    assert reading.mb > SIZE_MB * 0.9
