"""Damaged files and architectures, a bounded number of them; longer by benchmarks/fuzz.py."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest
from benchmarks.ages import HISTORY
from benchmarks.fuzz import Fuzzer, changed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.hostile import Traps, keras_1_lambda, lambda_, layer, merge, sequential

from kerasql.registry.errors import NotUnderstood, RefusedFile
from kerasql.registry.h5.audit import audit
from kerasql.registry.h5.upgrade import facts_of, upgrade

TRAPS = Traps(Path("marker"), Path("secret"), "http://localhost/")
CONFIGS = [
    sequential(lambda_(TRAPS)),
    keras_1_lambda(TRAPS),
    merge(mode="sum"),
    layer("Dense", activation="relu", kernel_initializer={"class_name": "Zeros", "config": {}}),
    layer("TFOpLambda", function="math.add"),
    layer("TensorFlowOpLayer", node_def=json.dumps({"op": "Mul"})),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(["class_name", "config", "module", "name", "function", "activation"])
            | st.text(max_size=10),
            inner
            | st.sampled_from(["Lambda", "Dense", "function", "Merge", "TFOpLambda", "Model"]),
            max_size=6,
        )
    ),
    max_leaves=30,
)


def audited(config: Any, defines: frozenset[str]) -> None:
    sentence = ""
    try:
        audit("m.h5", config, defines=defines)
    except RefusedFile as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert len(sentence) < 2000


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(JSON, st.frozensets(st.sampled_from(["trap", "Lambda", "f"])))
def test_any_json_is_audited_without_a_stack_trace(config: Any, defines: frozenset[str]) -> None:
    audited(config, defines)
    audited({"class_name": "Sequential", "config": config}, defines)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CONFIGS), st.randoms(use_true_random=False))
def test_changed_architectures_are_audited_without_a_stack_trace(
    config: Any, rng: random.Random
) -> None:
    audited(changed(rng, config), frozenset(["trap"]))


@pytest.fixture(scope="module")
def old_configs(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The architectures of every other file by an old Keras."""
    folder = tmp_path_factory.mktemp("old")
    configs = []
    for archive in sorted(HISTORY.glob("*.zip")):
        with zipfile.ZipFile(archive) as opened:
            names = [name for name in opened.namelist() if name.endswith(".h5")]
            for name in [one for one in names if not one.endswith(".weights.h5")][::2]:
                with h5py.File(opened.extract(name, folder)) as file:
                    configs.append(json.loads(file.attrs["model_config"]))
    return configs


def test_changed_old_architectures_are_upgraded_or_refused(old_configs: list[Any]) -> None:
    """What the audit lets through, the upgrade takes or names; neither takes long."""
    upgraded = 0
    for number in range(3 * len(old_configs)):
        config = changed(random.Random(number), old_configs[number % len(old_configs)])
        version = ("1.2.2", "2.2.4", "2.15.0", None)[number % 4]
        started = time.monotonic()
        try:
            audit("m.h5", config)
            upgrade(config, facts_of(config, version, theano=number % 3 == 0))
            upgraded += 1
        except (RefusedFile, NotUnderstood):
            pass
        assert time.monotonic() - started < 5, number
    assert upgraded > 100


def test_an_upgrade_of_very_many_layers_ends() -> None:
    layers = [{"class_name": "Dense", "config": {"name": "d/d", "units": 2}} for _ in range(50_000)]
    started = time.monotonic()
    found = upgrade({"class_name": "Sequential", "config": layers}, facts_of({}, "2.2.2"))
    assert len(found.model.layers) == 50_000
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("files", ["networks", "data"])
def test_damaged_files_are_read_without_a_stack_trace(
    request: pytest.FixtureRequest, tmp_path: Path, files: str
) -> None:
    folder = request.getfixturevalue(files)
    folder = folder if files == "networks" else folder / "h5"
    count = 400 if files == "networks" else 100
    answer = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.fuzz", str(folder), "--keep", str(tmp_path)),
            *("--first", "1", "--count", str(count), "--minutes", "3"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parents[1],
        env=os.environ,
    )
    found = "\n".join(path.read_text() for path in tmp_path.glob("finding-*.txt"))
    assert answer.returncode == 0, found or answer.stderr
    tally = json.loads(answer.stdout)
    assert tally["read"] >= min(count, 50)
    assert tally["seeds"] >= 5


def test_mutants_are_made_again_from_their_number(networks: Path, tmp_path: Path) -> None:
    seeds = [networks / "vector.h5", networks / "image.keras"]
    first, again = (Fuzzer(seeds, tmp_path, 1) for _ in range(2))
    made = [first.make(number) for number in range(20)]
    assert made[5][0] == again.make(5)[0]
    assert len({content for _, content in made}) == 20
