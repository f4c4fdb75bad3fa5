"""bfloat16 where a version's owner allows it: what it costs is measured, kept and shown."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from kerasql.cli import main
from kerasql.registry.engine import ENGINES, has_bf16, same_top_1, usable
from kerasql.registry.errors import InvalidInput
from kerasql.registry.preprocess import Image
from kerasql.registry.store import Registry, connect

needs_bf16 = pytest.mark.skipif(not has_bf16(), reason="this machine's CPU has no bfloat16")

PICTURES = Image(size=(8, 8), scale="unit")


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory, networks: Path) -> Iterator[Registry]:
    """A registry with ``colors@1`` in f32 and ``colors@2``, the same file in bf16."""
    folder = tmp_path_factory.mktemp("precision")
    with connect(f"sqlite:///{folder}/models.db", artifacts="") as opened:
        opened.register("colors", networks / "image.h5", preprocess=PICTURES)
        if has_bf16():
            opened.register("colors", networks / "image.h5", preprocess=PICTURES, precision="bf16")
        yield opened


@needs_bf16
def test_what_bf16_costs_is_kept_with_the_version(colors: Registry) -> None:
    version = colors.get("colors@2")
    report = version.engine_report
    assert (version.engine, version.precision, report["precision"]) == ("openvino", "bf16", "bf16")
    assert report["difference"] < 1e-4 < report["bf16_difference"] < 0.1
    assert 0.5 < report["bf16_top1"] <= 1


@needs_bf16
def test_another_precision_is_another_version_and_the_same_is_not(
    colors: Registry, networks: Path
) -> None:
    again = colors.register("colors", networks / "image.h5", preprocess=PICTURES, precision="bf16")
    assert (again.number, again.existed) == (2, True)


def test_f32_is_the_default_and_leaves_no_trace(colors: Registry, networks: Path) -> None:
    version = colors.get("colors@1")
    assert version.precision == "f32"
    assert not {"precision", "bf16_difference", "bf16_top1"} & set(version.engine_report)
    assert colors.register("colors", networks / "image.h5", preprocess=PICTURES).existed


@needs_bf16
def test_bf16_has_no_best_score_where_there_is_one_number(
    sqlite_registry: Registry, networks: Path
) -> None:
    version = sqlite_registry.register("age", networks / "tabular.h5", precision="bf16")
    assert version.engine_report["bf16_top1"] is None


def test_the_golden_sample_has_its_rows_before_and_after_finish(colors: Registry) -> None:
    with np.load(io.BytesIO(colors.read_artifact("colors@1", "golden"))) as golden:
        assert golden["p0"].dtype == np.uint8
        np.testing.assert_allclose(golden["x0"], golden["p0"] / np.float32(255), rtol=1e-6)


@needs_bf16
def test_the_network_in_bf16_answers_the_golden_sample_about_as_keras_did(
    colors: Registry, tmp_path: Path
) -> None:
    version, files = colors.get("colors@2"), {}
    for role in ("openvino.xml", "openvino.bin", "golden"):
        files[role] = tmp_path / role
        files[role].write_bytes(colors.read_artifact(version, role))
    with np.load(files["golden"]) as golden:
        answer = ENGINES["openvino"].load(files, precision="bf16")([golden["x0"]])[0]
        assert np.abs(answer - golden["y0"]).max() <= version.engine_report["bf16_difference"]
        assert (answer != golden["y0"]).any()


@pytest.mark.parametrize(
    ("file", "engine", "precision", "sentence"),
    [
        ("image.h5", None, "fp16", "no precision 'fp16'; there is 'f32' and 'bf16'"),
        ("image.h5", "keras", "int8", "no precision 'int8'; there is 'f32' and 'bf16'"),
        ("words.h5", "openvino", "bf16", "the engine 'openvino' cannot serve this model"),
    ],
)
def test_a_precision_that_cannot_be_is_refused(
    sqlite_registry: Registry,
    networks: Path,
    file: str,
    engine: str | None,
    precision: str,
    sentence: str,
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        sqlite_registry.register("m", networks / file, engine=engine, precision=precision)
    assert sqlite_registry.models() == []


@needs_bf16
@pytest.mark.parametrize(("file", "engine"), [("image.h5", "keras"), ("words.h5", None)])
def test_keras_computes_in_bf16_too(
    sqlite_registry: Registry, networks: Path, tmp_path: Path, file: str, engine: str | None
) -> None:
    """What is measured at registration is what executors find; weights and outputs are float32."""
    version = sqlite_registry.register("m", networks / file, engine=engine, precision="bf16")
    report = version.engine_report
    assert (version.engine, report["precision"]) == ("keras", "bf16")
    assert 0 < report["bf16_difference"] < 0.1
    code = f"""
import io
from pathlib import Path
import numpy as np
from kerasql.registry.engine import ENGINES
from kerasql.registry.store import connect

with connect({sqlite_registry.url!r}, artifacts="") as registry:
    golden = np.load(io.BytesIO(registry.read_artifact("m@1", "golden")))
files = {{"model": Path({str(networks / file)!r})}}
exact, rounded = (
    ENGINES["keras"].load(files, precision=precision)([golden["x0"]])[0]
    for precision in ("f32", "bf16")
)
assert rounded.dtype == np.float32
assert 0 < np.abs(rounded - exact).max() <= {report["bf16_difference"]}
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_cpu_without_bf16_computes_in_f32() -> None:
    assert usable("bf16", ["FP32", "BF16", "INT8"]) == "bf16"
    assert usable("bf16", ["FP32", "INT8"]) == "f32"
    assert usable("f32", ["FP32", "BF16"]) == "f32"


def test_top_1_is_that_of_the_output_where_it_agrees_least() -> None:
    keras = [np.eye(4), np.ones((4, 1)), np.array([[0.1, 0.9]] * 4)]
    ours = [np.eye(4), np.zeros((4, 1)), np.array([[0.1, 0.9]] * 3 + [[0.6, 0.4]])]
    assert same_top_1(ours, keras) == 0.75
    assert same_top_1(ours[1:2], keras[1:2]) is None


@needs_bf16
def test_the_command_line_registers_in_bf16_and_shows_what_it_costs(
    tmp_path: Path, networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASQL_DATABASE", f"sqlite:///{tmp_path}/models.db")
    monkeypatch.setenv("COLUMNS", "200")
    asked = ["register", "scores", str(networks / "vector.h5"), "--precision"]
    made = CliRunner().invoke(main, [*asked, "bf16"])
    shown = CliRunner().invoke(main, ["show", "scores"])
    refused = CliRunner().invoke(main, [*asked, "int8"])
    assert "registered scores@1, alias production on the engine openvino in bf16" in made.stdout
    assert "bf16, largest difference 0.0" in shown.stdout
    assert "same best score on" in shown.stdout
    assert refused.exit_code == 2
    assert "no precision 'int8'; there is 'f32' and 'bf16'" in refused.output
