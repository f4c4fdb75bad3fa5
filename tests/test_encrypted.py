"""Artifacts where Spark encrypts what it writes: a Spark of its own, as it is a static setting."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from kerasql.registry.store import Registry

CODE = """
import json, sys

import kerasql
from kerasql.udf.session import local_session

spark = local_session(master="local[1]", conf={"spark.io.encryption.enabled": "true"})
assert spark.sparkContext._encryption_enabled
with kerasql.connect(sys.argv[1]) as registry:
    kerasql.deploy(spark, registry)
    rows = kerasql.query(spark, f"SELECT m(array({sys.argv[2]}))").rows()
print("SAID " + json.dumps(rows))
spark.stop()
"""


def test_artifacts_arrive_through_encrypted_broadcasts(
    sqlite_registry: Registry, networks: Path, tmp_path: Path
) -> None:
    sqlite_registry.register("m", networks / "tabular.h5")
    with np.load(networks / "tabular.npz") as arrays:
        row, expected = arrays["x0"][0], float(arrays["y0"][0, 0])
    numbers = ", ".join(f"{value!r}D" for value in row.tolist())
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CODE, sqlite_registry.url, numbers],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(temporary)},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("SAID ")]
    assert lines, done.stderr[-2000:]
    ((answer,),) = json.loads(lines[0].removeprefix("SAID "))
    # The model server ends a moment after its executor.
    until = time.monotonic() + 10
    while (left := list(temporary.glob("kerasql*"))) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-4)
