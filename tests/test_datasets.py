"""What analysts put after FROM."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image as Pillow
from pyspark.sql import SparkSession

from kerasql.registry.errors import InvalidInput
from kerasql.registry.store import Registry
from kerasql.udf.deploy import deploy
from kerasql.udf.query import query


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two labelled pictures, a text and an empty file, in folders with awkward names."""
    top = tmp_path / "pic tures"
    for label, name in (("cats & dogs", "ä 1.png"), ("trees", "2.png")):
        path = top / label / name
        path.parent.mkdir(parents=True)
        Pillow.fromarray(np.zeros((3, 5, 3), np.uint8)).save(path)
    (top / "trees" / "notes.txt").write_text("no picture")
    (top / "trees" / "empty.png").touch()
    return top


def test_every_file_of_a_folder_is_a_row(
    session: SparkSession, sqlite_registry: Registry, folder: Path
) -> None:
    sqlite_registry.add_dataset("images", folder)
    deploy(session, sqlite_registry)
    result = query(session, "SELECT path, label, width, height FROM images ORDER BY path")
    rows = [
        (row["path"].rpartition("/")[2], row["label"], row["width"], row["height"])
        for row in result.table.to_pylist()
    ]
    assert rows == [
        ("ä 1.png", "cats & dogs", 5, 3),
        ("2.png", "trees", 5, 3),
        ("empty.png", "trees", None, None),
        ("notes.txt", "trees", None, None),
    ]


def test_the_picture_is_the_bytes_of_the_file(
    session: SparkSession, sqlite_registry: Registry, folder: Path
) -> None:
    sqlite_registry.add_dataset("images", folder)
    deploy(session, sqlite_registry)
    result = query(session, "SELECT path, image FROM images")
    assert result.table.num_rows == 4
    for row in result.table.to_pylist():
        assert row["image"] == Path(row["path"].removeprefix("file:")).read_bytes()


def test_sizes_are_not_looked_up_by_queries_that_do_not_ask(
    session: SparkSession, sqlite_registry: Registry, folder: Path
) -> None:
    sqlite_registry.add_dataset("images", folder)
    deploy(session, sqlite_registry)
    plan = session.sql("SELECT label, count(*) FROM images GROUP BY label")
    assert "picture_size" not in plan._jdf.queryExecution().executedPlan().toString()


def test_tables_of_any_spark_format_are_read_with_their_options(
    session: SparkSession, sqlite_registry: Registry, tmp_path: Path
) -> None:
    pyarrow.parquet.write_table(pa.table({"a": [1, 2]}), tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("a;b\n1;x\n2;y\n")
    (tmp_path / "t.json").write_text("\n".join(json.dumps({"a": n}) for n in (1, 2)))
    options = {"header": "true", "sep": ";", "inferSchema": "true"}
    sqlite_registry.add_dataset("p", tmp_path / "t.parquet", format="parquet")
    sqlite_registry.add_dataset("c", tmp_path / "t.csv", format="csv", options=options)
    sqlite_registry.add_dataset("j", tmp_path / "t.json", format="json")
    deploy(session, sqlite_registry)
    sql = "SELECT sum(p.a), max(c.b), sum(j.a) FROM p JOIN c USING (a) JOIN j USING (a)"
    assert query(session, sql).rows() == [(3, "y", 3)]


def test_a_format_without_a_path_has_its_options(
    session: SparkSession, sqlite_registry: Registry
) -> None:
    options = {
        "url": "jdbc:derby:memory:shop;create=true",
        "driver": "org.apache.derby.jdbc.EmbeddedDriver",
        "query": "SELECT COUNT(*) AS N FROM SYS.SYSSCHEMAS",
    }
    sqlite_registry.add_dataset("schemas", format="jdbc", options=options)
    deployment = deploy(session, sqlite_registry)
    assert deployment.unreadable == {}
    ((count,),) = query(session, "SELECT n FROM schemas").rows()
    assert count > 0


def test_pictures_need_a_folder(sqlite_registry: Registry) -> None:
    with pytest.raises(InvalidInput, match="needs a path"):
        sqlite_registry.add_dataset("images")


def test_a_dataset_that_is_gone_costs_only_itself(
    session: SparkSession, sqlite_registry: Registry, tmp_path: Path
) -> None:
    pyarrow.parquet.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    gone = tmp_path / "gone"
    gone.mkdir()
    sqlite_registry.add_dataset("here", tmp_path / "t.parquet", format="parquet")
    sqlite_registry.add_dataset("lost", gone)
    sqlite_registry.add_dataset("odd", tmp_path, format="nonsense")
    gone.rmdir()
    deployment = deploy(session, sqlite_registry)
    assert deployment.datasets == ("here",)
    assert "'lost' cannot be read" in deployment.unreadable["lost"]
    assert "'odd' cannot be read" in deployment.unreadable["odd"]
    assert query(session, "SELECT * FROM here").table.num_rows == 1
