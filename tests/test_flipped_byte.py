"""One flipped byte in a stored artifact fails the query, and says in which version it is."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from pyspark.sql import SparkSession

from kerasql.registry.errors import BrokenArtifact, InvalidQuery
from kerasql.registry.store import Registry, connect
from kerasql.registry.version import Version
from kerasql.udf.artifacts import _sent
from kerasql.udf.deploy import deploy
from kerasql.udf.query import query

ENGINES = {"openvino": "openvino.bin", "keras": "model"}
ASK = "SELECT fragile(array(1, 2, 3, 4)) AS scores"


@dataclass(frozen=True)
class Fragile:
    """A version whose artifact will be damaged, and the database that holds it."""

    registry: Registry
    database: Path
    version: Version
    role: str

    @property
    def sha256(self) -> str:
        return self.version.artifacts[self.role].sha256


@pytest.fixture(scope="module", params=ENGINES)
def registered(
    request: pytest.FixtureRequest, networks: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A database with one version, and its engine; nobody else has a network of these weights."""
    folder = tmp_path_factory.mktemp("fragile")
    model = shutil.copyfile(networks / "vector.h5", folder / "fragile.h5")
    with h5py.File(model, "r+") as file:
        kernels: list[h5py.Dataset] = []
        file.visititems(lambda _, item: kernels.append(item) if is_kernel(item) else None)
        for kernel in kernels:
            kernel[...] = np.random.default_rng().normal(size=kernel.shape)
    assert kernels
    with connect(f"sqlite:///{folder}/models.db", artifacts="") as registry:
        registry.register("fragile", model, engine=request.param)
    return folder / "models.db", request.param


@pytest.fixture
def fragile(registered: tuple[Path, str], spark: SparkSession, tmp_path: Path) -> Iterator[Fragile]:
    """The version in a database of this test's own, no artifact of it sent to Spark before."""
    database = tmp_path / "models.db"
    with (
        closing(sqlite3.connect(registered[0])) as whole,
        closing(sqlite3.connect(database)) as mine,
    ):
        whole.backup(mine)
    with connect(f"sqlite:///{database}", artifacts="") as registry:
        version = registry.get("fragile")
        one = Fragile(registry, database, version, ENGINES[registered[1]])
        _sent.get(spark.sparkContext, {}).pop(one.sha256, None)
        yield one


def is_kernel(item: object) -> bool:
    return isinstance(item, h5py.Dataset) and item.ndim == 2


def flip(data: bytes) -> bytes:
    """The bytes with one of them, in the middle, changed in one bit."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def flip_in_the_database(fragile: Fragile) -> None:
    with closing(sqlite3.connect(fragile.database)) as db, db:
        where = "WHERE sha256 = ? AND position = 0"
        (data,) = db.execute(
            f"SELECT data FROM artifact_chunk {where}", (fragile.sha256,)
        ).fetchone()
        db.execute(f"UPDATE artifact_chunk SET data = ? {where}", (flip(data), fragile.sha256))


def test_a_byte_flipped_in_the_database_fails_the_query_with_version_and_artifact(
    fragile: Fragile, session: SparkSession
) -> None:
    deploy(session, fragile.registry)
    flip_in_the_database(fragile)
    with pytest.raises(InvalidQuery) as failed:
        query(session, ASK)
    assert str(failed.value) == (
        f"artifact '{fragile.role}' ({fragile.sha256}) of fragile@1 is not what was registered"
    )


def test_a_broken_artifact_is_not_null_where_reasons_are_asked_for(
    fragile: Fragile, session: SparkSession
) -> None:
    deploy(session, fragile.registry)
    flip_in_the_database(fragile)
    with pytest.raises(InvalidQuery, match="of fragile@1 is not what was registered"):
        query(session, ASK.replace("fragile", "try_fragile"))


def test_a_byte_flipped_on_its_way_fails_the_query_until_it_is_mended(
    fragile: Fragile, session: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(session, fragile.registry)
    session.sql(ASK)  # analysed: the artifacts are where the executor finds them
    path = Path(_sent[session.sparkContext][fragile.sha256])
    sent = path.read_bytes()
    path.write_bytes(flip(sent))
    # Another batch is another network to the server, which may have loaded this one already.
    monkeypatch.setenv("KERASQL_BATCH_ROWS", "7")
    later = session.newSession()
    deploy(later, fragile.registry)
    with pytest.raises(InvalidQuery) as failed:
        query(later, ASK)
    assert str(failed.value).startswith(
        f"artifact {fragile.role!r} ({fragile.sha256}) of fragile@1 is damaged: "
    )
    path.write_bytes(sent)
    (row,) = later.sql(ASK).collect()
    assert sum(row.scores) == pytest.approx(1)


def test_checking_the_registry_finds_the_flipped_byte(fragile: Fragile) -> None:
    assert fragile.registry.broken_artifacts() == []
    flip_in_the_database(fragile)
    (found,) = fragile.registry.broken_artifacts()
    assert isinstance(found, BrokenArtifact)
    assert f"'{fragile.role}' ({fragile.sha256})" in str(found)
