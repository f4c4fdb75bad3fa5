"""A real cluster: a master and two workers, whose Python has neither TensorFlow nor the checkout.

It is set up as docs/cluster.md says: an environment with the wheel and the executors' packages.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import peak
from benchmarks.left_behind import left_behind, servers
from benchmarks.standalone import free_port, start_spark, without_spark

from kerasql.registry.store import connect

CHECKOUT = Path(__file__).parent.parent
NEEDED = ("numpy", "numpy.libs", "pyarrow", "PIL", "pillow.libs", "openvino")
ROWS = 4000

DRIVER = """
import json, sys
import numpy as np
import kerasql
from kerasql.udf.session import local_session

master, url, conf = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
spark = local_session(master=master, conf=conf)
values = np.random.default_rng(1).normal(size=(4000, 4)).tolist()
data = [(n, value) for n, value in enumerate(values)]
frame = spark.createDataFrame(data, "id INT, x ARRAY<DOUBLE>")
frame.repartition(40).createOrReplaceTempView("t")
with kerasql.connect(url) as registry:
    kerasql.deploy(spark, registry)
    def asked():
        result = kerasql.query(spark, "SELECT id, price(x) FROM t ORDER BY id", limit=None)
        stats = result.stats["price@1"]
        return {"rows": result.rows(), "predicted": stats.predicted, "loads": stats.loads}
    print("SAID " + json.dumps(asked()), flush=True)
    sys.stdin.readline()
    print("SAID " + json.dumps(asked()), flush=True)
    sys.stdin.readline()
spark.stop()
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python as executors have it: their packages, the wheel, and nothing else."""
    room = tmp_path_factory.mktemp("executor")
    # A copy: setuptools builds where the source is, from what it built there before too.
    left_out = shutil.ignore_patterns(".*", "build", "dist", "tests", "docs", "*.egg-info")
    source = shutil.copytree(CHECKOUT, room / "source", symlinks=True, ignore=left_out)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(room), str(source)], check=True, capture_output=True)
    python = room / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(python)], check=True)
    (packages,) = python.glob("lib/python*/site-packages")
    installed = Path(np.__file__).parent.parent
    for name in NEEDED:
        if (installed / name).exists():
            (packages / name).symlink_to(installed / name)
    (wheel,) = room.glob("kerasql-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    return python


@pytest.fixture(scope="module")
def cluster(
    environment: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The address and folder of a master with two workers of two cores and one "GPU" each."""
    folder = tmp_path_factory.mktemp("cluster")
    port, clean = free_port(), without_spark()
    running = [start_spark(folder, clean, "master.Master", "--port", str(port))]
    for number in (0, 1):
        found = folder / f"gpus{number}.sh"
        found.write_text(f'#!/bin/sh\necho \'{{"name": "gpu", "addresses": ["{number}"]}}\'\n')
        found.chmod(0o755)
        settings = folder / f"worker{number}.conf"
        settings.write_text(
            "spark.worker.resource.gpu.amount 1\n"
            f"spark.worker.resource.gpu.discoveryScript {found}\n"
        )
        running.append(
            start_spark(
                folder, clean, "worker.Worker", "--cores", "2", "--memory", "1g",
                "--work-dir", str(folder / f"work{number}"), "--properties-file", str(settings),
                f"spark://127.0.0.1:{port}",
            )
        )  # fmt: skip
    yield f"spark://127.0.0.1:{port}", folder
    for process in running:
        process.terminate()
    for process in running:
        process.wait()


def executors() -> dict[int, str]:
    """The executors of the application, and the command each was started with."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    lines = {pid: peak.command_line(pid) for pid in pids}
    return {pid: line for pid, line in lines.items() if "CoarseGrainedExecutorBackend" in line}


def variables(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def test_an_executor_is_killed_and_the_answer_is_still_right(
    environment: Path, cluster: tuple[str, Path], networks: Path, tmp_path: Path
) -> None:
    master, folder = cluster
    url = f"sqlite:///{tmp_path}/models.db"
    with connect(url, artifacts="") as registry:
        registry.register("price", networks / "tabular.h5")
    conf = {
        "spark.executor.memory": "512m",
        "spark.executor.cores": "2",
        "spark.executor.resource.gpu.amount": "1",
        "spark.task.resource.gpu.amount": "0.5",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    environ = {"PYSPARK_PYTHON": str(environment / "bin/python"), "KERASQL_BATCH_ROWS": "8"}
    with (
        (tmp_path / "driver.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-c", DRIVER, master, url, json.dumps(conf)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | environ,
            text=True,
        ) as driver,
    ):
        try:
            ask_twice(driver, environment)
        finally:
            driver.kill()
    assert said_of_gpus(folder) == {"0", "1"}
    assert left_behind() == []
    assert [line for _, line in servers() if str(environment) in line] == []


def ask_twice(driver: subprocess.Popen[str], environment: Path) -> None:
    first = heard(driver)
    assert [row[0] for row in first["rows"]] == list(range(ROWS))
    # Sorting samples the rows first: each executor predicts what it sees once.
    assert ROWS <= first["predicted"] <= 2 * ROWS
    # Two tasks of an executor at once, and still one server for the GPU that Spark gave it: of the
    # engine keras, which finds no Keras here. So there is one for the CPU; nothing of the checkout.
    serving = [(pid, line) for pid, line in servers() if str(environment) in line]
    fronts = {pid: line.split()[-3:-1] for pid, line in serving if ".front " in line}
    cpu = ["cpu", "openvino"]
    assert sorted(fronts.values()) == [["0", "keras"], ["1", "keras"], cpu, cpu]
    shown = {fronts[pid][0]: variables(pid)["CUDA_VISIBLE_DEVICES"] for pid in fronts}
    assert shown == {"0": "0", "1": "1", "cpu": "-1"}
    runners = [pid for pid, line in serving if ".runner " in line]
    assert sorted(fronts[peak.parent(pid)] for pid in runners) == [cpu, cpu]
    assert len(executors()) == 2
    assert all(len(list(peak.workers(pid))) > 2 for pid in executors())
    for pid, _ in serving:
        assert str(CHECKOUT / "src") not in variables(pid)["PYTHONPATH"]
    say(driver)
    time.sleep(0.3)
    os.kill(min(executors()), signal.SIGKILL)
    second = heard(driver)
    assert [row[0] for row in second["rows"]] == list(range(ROWS))
    answers = [[row[1] for row in said["rows"]] for said in (first, second)]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
    # What the killed one remembered is gone with it.
    assert second["predicted"] > 0
    say(driver)
    assert driver.wait(60) == 0


def said_of_gpus(folder: Path) -> set[str]:
    """The GPUs that executors said on their stderr they do not use, and why; each at most once."""
    said = re.compile(
        r"kerasql: the GPU (\d) is not used, the CPU is: keras is not installed", re.M
    )
    found = [said.findall(path.read_text()) for path in folder.glob("work*/*/*/stderr")]
    assert max(map(len, found)) == 1
    return {gpu for one in found for gpu in one}


def say(driver: subprocess.Popen[str]) -> None:
    assert driver.stdin is not None
    driver.stdin.write("\n")
    driver.stdin.flush()


def heard(driver: subprocess.Popen[str]) -> dict[str, Any]:
    assert driver.stdout is not None
    for line in driver.stdout:
        if line.startswith("SAID "):
            said: dict[str, Any] = json.loads(line.removeprefix("SAID "))
            return said
    raise AssertionError("the driver ended without an answer")
