"""Many queries at once over more networks than the memory holds, in a Spark of its own.

Run as ``python tests/crowd.py DATABASE``: one JSON object on stdout. ``alone`` has the rows of each
model when nobody else asks; ``crowd`` has (model, rows) of every query of many at once; ``held`` is
the most that the server held while it answered each, and ``loads`` how often a network came.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from pyspark.sql import SparkSession

from kerasql.registry.store import Registry, connect
from kerasql.udf.deploy import deploy
from kerasql.udf.query import Result, query
from kerasql.udf.session import local_session

QUERIES, SLOTS, PARTS, ROWS, FIT = 16, 6, 4, 240, 3


def session(spark: SparkSession, registry: Registry, memory_mb: int) -> SparkSession:
    """A session whose models share so much memory, with rows in a view t."""
    os.environ["KERASQL_SERVER_MEMORY_MB"] = str(memory_mb)
    opened = spark.newSession()
    deploy(opened, registry)
    values = np.random.default_rng(1).normal(size=(ROWS, 4)).round(4).tolist()
    frame = opened.createDataFrame(list(enumerate(values)), "id INT, x ARRAY<DOUBLE>")
    frame.repartition(PARTS).createOrReplaceTempView("t")
    return opened


def asked(spark: SparkSession, model: str) -> Result:
    """Every row's scores by one model."""
    return query(spark, f"SELECT id, {model}(x) FROM t", limit=None)


def main(url: str) -> dict[str, Any]:
    """Ask each model alone, then all of them at once with room for three."""
    os.environ |= {"KERASQL_MEMO_MB": "0", "KERASQL_BATCH_ROWS": "16"}
    conf = {"spark.scheduler.mode": "FAIR", "spark.sql.shuffle.partitions": str(PARTS)}
    spark = local_session(master=f"local[{SLOTS}]", conf=conf)
    with connect(url, artifacts="") as registry:
        names = [model.name for model in registry.models()]
        # A megabyte holds none of them: each is alone, and what is held is its size.
        lonely = session(spark, registry, 1)
        alone = {name: asked(lonely, name) for name in names}
        sizes = [held(result) for result in alone.values()]
        limit_mb = int((FIT + 0.5) * statistics.median(sizes) / 2**20)
        crowded = session(spark, registry, limit_mb)
        models = [names[n % len(names)] for n in range(QUERIES)]
        with ThreadPoolExecutor(QUERIES) as threads:
            results = list(threads.map(lambda name: asked(crowded, name), models))
    spark.stop()
    return {
        "alone": {name: sorted(result.rows()) for name, result in alone.items()},
        "crowd": [(n, sorted(r.rows())) for n, r in zip(models, results, strict=True)],
        "sizes": sizes,
        "limit_bytes": limit_mb * 2**20,
        "held": [held(result) for result in results],
        "loads": sum(stats.loads for result in results for stats in result.stats.values()),
    }


def held(result: Result) -> int:
    """The most that the server held while it answered."""
    return max(stats.held_bytes for stats in result.stats.values())


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
