"""Which device a task's rows are predicted on. No GPU is needed: whether one works is asked."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.left_behind import left_behind, servers

from kerasql.registry.store import connect
from kerasql.registry.version import Version
from kerasql.udf import devices
from kerasql.udf.devices import placed, visible_gpus
from kerasql.udf.plan import Plan
from kerasql.udf.planning import GPU_BATCH_BYTES, needed, on_gpu, rows_at_once
from kerasql.udf.server.home import CPU, Process


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory, networks: Path) -> Iterator[Version]:
    folder = tmp_path_factory.mktemp("devices")
    with connect(f"sqlite:///{folder}/models.db", artifacts="") as registry:
        yield registry.register("colors", networks / "image.h5")


def plan_of(version: Version, addresses: tuple[str, ...] | None) -> Plan:
    artifacts, size = needed(version, version.engine)
    return Plan(
        ref=version.ref,
        variant="value",
        signature=version.signature,
        preprocess=(),
        outputs=(),
        columns=(),
        engine=version.engine,
        artifacts=artifacts,
        network_bytes=size,
        limits={"memo_mb": 0, "idle_s": 60},
        gpu=on_gpu(version, addresses),
    )


@pytest.mark.parametrize(
    ("files", "shown", "found"),
    [
        ([], None, ()),
        ([], "0", ()),
        (["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"], None, ("0", "1")),
        (["nvidia3"], None, ("0",)),
        (["nvidia0", "nvidia1"], "1", ("1",)),
        (["nvidia0", "nvidia1"], "GPU-8932, 0", ("GPU-8932", "0")),
        (["nvidia0"], "-1", ()),
        (["nvidia0"], "", ()),
    ],
)
def test_gpus_are_found_without_asking_a_driver(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: list[str],
    shown: str | None,
    found: tuple[str, ...],
) -> None:
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(devices, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert visible_gpus() == found


def test_a_plan_on_a_gpu_takes_keras_and_more_rows(version: Version) -> None:
    plan = plan_of(version, ("0",))
    there = plan.on("0")
    assert (plan.engine, there.engine) == ("openvino", "keras")
    assert set(there.artifacts) == {"model", "golden"}
    assert set(plan.shipped) == {"model", "golden", "openvino.xml", "openvino.bin"}
    assert there.batch_rows <= rows_at_once(version, GPU_BATCH_BYTES) < 2 * there.batch_rows
    assert there.slice_rows >= 24
    assert plan.on(CPU) is plan
    assert plan_of(version, None).on("0").engine == "openvino"


def test_bf16_of_another_engine_may_be_further_off(version: Version) -> None:
    report = {**version.engine_report, "precision": "bf16", "bf16_difference": 0.01}
    measured = Version(**{**vars(version), "engine_report": report})
    gpu = on_gpu(measured, ())
    assert gpu is not None
    assert gpu.allowed == pytest.approx(0.041)


def test_a_gpu_that_nothing_sees_is_not_used_and_its_server_says_so(
    version: Version, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(version, ("7",))
    with subprocess.Popen(["sleep", "600"]) as running:
        found = [placed(plan, Process.running(running.pid), "7") for _ in range(2)]
        lines = [line for _, line in servers() if f"-{running.pid}-" in line]
        running.kill()
    assert [(server.home.device, server.engine) for server in found] == [(CPU, "openvino")] * 2
    # One server for the GPU, which would have computed with keras; its runner has gone.
    assert [line.split()[-3:-1] for line in lines] == [["7", "keras"]]
    said = [line for line in capfd.readouterr().err.splitlines() if "kerasql" in line]
    assert len(said) == 1
    assert said[0].startswith("kerasql: the GPU 7 is not used, the CPU is: tensorflow sees none")
    assert left_behind() == []
