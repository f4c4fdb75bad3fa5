"""A registry on each database, one Spark session, small real networks; nothing is mocked."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from deposits import BEHIND
from served import postgres, serving

from kerasql.registry.database import upgrade
from kerasql.registry.store import Registry, connect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server for this run; gone with its files afterwards."""
    with postgres() as server:
        yield server.get_uri()


@contextmanager
def empty_database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh, empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/registry.db"
        return
    server, name = request.getfixturevalue("postgres_url"), f"t{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield server.replace("/postgres?", f"/{name}?")
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, empty database on each of the two."""
    with empty_database(request.param, request, tmp_path) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Registry]:
    """An empty registry on each of the two databases, for what only a database has."""
    upgrade(database_url)
    with connect(database_url, artifacts="") as opened:
        yield opened


@pytest.fixture
def registry(database: Registry) -> Registry:
    """The same, for tests that need not say so."""
    return database


@pytest.fixture(params=["sqlite", "postgresql", "server"])
def any_registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry on each of the two databases, and at a server as an admin has it."""
    kind = "sqlite" if request.param == "server" else request.param
    with empty_database(kind, request, tmp_path) as url:
        upgrade(url)
        with connect(url, artifacts="") as opened:
            if request.param != "server":
                yield opened
                return
            with serving(opened) as served, served.connect() as remote:
                BEHIND[remote.url] = opened
                yield remote
                del BEHIND[remote.url]


@pytest.fixture(params=["sqlite", "server"])
def near_or_far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry on SQLite, and at a server, where files are registered for real."""
    with connect(f"sqlite:///{tmp_path}/models.db", artifacts="") as opened:
        if request.param == "sqlite":
            yield opened
            return
        with serving(opened) as served, served.connect() as remote:
            yield remote


@pytest.fixture
def sqlite_registry(tmp_path: Path) -> Iterator[Registry]:
    """An empty registry on SQLite, where the database makes no difference."""
    with connect(f"sqlite:///{tmp_path}/models.db", artifacts="") as opened:
        yield opened


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One Spark for the whole run, on two cores; tests take ``session`` from it."""
    from kerasql.udf.session import SHARED, local_session

    conf = {**SHARED, "spark.sql.shuffle.partitions": "2", "spark.driver.memory": "2g"}
    started = local_session(master="local[2]", conf=conf)
    yield started
    started.stop()


@pytest.fixture
def session(spark: SparkSession) -> SparkSession:
    """A session of its own: functions and views of one test are not seen by another."""
    return spark.newSession()


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small networks, made and saved by Keras in one process (tests/networks.py)."""
    folder = tmp_path_factory.mktemp("networks")
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run(
        [sys.executable, Path(__file__).with_name("networks.py"), folder],
        check=True,
        env=environment,
    )
    return folder


@pytest.fixture(scope="session")
def data() -> Path:
    """Real models and pictures, which lie beside the project and are never copied into it."""
    folder = os.environ.get("KERASQL_TEST_DATA")
    if not folder:
        pytest.skip("KERASQL_TEST_DATA is not set; it names the folder of real models and photos")
    return Path(folder)
