"""Deploying into a Spark Connect session: a real server, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from kerasql.registry.store import Registry

CLIENT = """
import json, os, sys

os.environ["PYSPARK_PYTHON"] = sys.executable
from pyspark.sql import SparkSession

import kerasql

url, folder = sys.argv[1:]
builder = SparkSession.builder.remote("local[2]")
for name, value in {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
said = {}
with kerasql.connect(url) as registry:
    try:
        kerasql.deploy(spark, registry)
    except kerasql.KerasqlError as error:
        said["without_refs"] = str(error)
    said["functions"] = kerasql.deploy(spark, registry, refs=["price"]).functions
rows = spark.sql("SELECT price(1, 2, 3, 4), price(array(1, 2, 3, 4)), try_price_v1(1, 2, 3, NULL)")
said["row"] = rows.collect()[0].asDict(recursive=True)
said["files"] = spark.sql("SELECT label, width FROM pictures ORDER BY width").collect()
print("SAID " + json.dumps(said))
spark.stop()
"""


def test_a_connect_session_calls_the_models_it_names(
    sqlite_registry: Registry, networks: Path, tmp_path: Path
) -> None:
    from PIL import Image as Pillow

    sqlite_registry.register("price", networks / "tabular.h5", columns=list("abcd"))
    (tmp_path / "dark").mkdir()
    Pillow.fromarray(np.zeros((2, 6, 3), np.uint8)).save(tmp_path / "dark" / "1.png")
    sqlite_registry.add_dataset("pictures", tmp_path / "dark")
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, sqlite_registry.url, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("SAID ")]
    assert lines, done.stderr[-2000:]
    said = json.loads(lines[0].removeprefix("SAID "))
    assert "name the models it needs" in said["without_refs"]
    assert "price" in said["functions"]
    by_columns, by_array, tried = said["row"].values()
    assert by_columns == by_array
    assert tried == {"value": None, "error": "d is NULL"}
    assert said["files"] == [["dark", 6]]
