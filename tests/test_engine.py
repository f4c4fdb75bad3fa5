"""Which Keras is accepted at all, and what is put right when a file of Keras 3 is loaded."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from kerasql.registry.engine import ENGINES
from kerasql.registry.errors import UnsafeKeras
from kerasql.registry.keras_engine import OLDEST_KERAS, require_keras


@pytest.mark.parametrize("version", ["2.15.0", "3.0.0", "3.12.1", "3.15.0", "3.15.0.dev1"])
def test_a_keras_with_known_holes_is_refused(version: str) -> None:
    with pytest.raises(UnsafeKeras, match=r"has known holes.*install Keras 3\.15\.1 or newer"):
        require_keras(version)


@pytest.mark.parametrize("version", ["3.15.1", "3.16.0", "4.0"])
def test_a_newer_keras_is_accepted(version: str) -> None:
    require_keras(version)


@pytest.mark.parametrize(
    "load",
    [
        "keras_engine.load_keras(Path('none.h5'), threads=1)",
        "from kerasql.registry.h5.load import opened; opened(REQUEST, Path(), threads=1)",
    ],
)
def test_nothing_is_opened_by_an_older_keras(load: str) -> None:
    """The installed Keras, taken for too old, is refused before the file is looked for."""
    code = f"""
from pathlib import Path
from kerasql.registry import keras_engine
from kerasql.registry.errors import UnsafeKeras

keras_engine.OLDEST_KERAS = (9, 0, 0)
REQUEST = {{"path": "none.h5", "architecture": {{}}, "code": "print('the code ran')"}}
try:
    {load}
except UnsafeKeras as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "has known holes" in done.stdout
    assert "the code ran" not in done.stdout


STEPS = """
import sys
from pathlib import Path
import keras
import numpy as np
from kerasql.registry.keras_engine import keras_predict, load_keras

path = Path(sys.argv[1])
model = keras.Sequential(
    [
        keras.Input((None, 3)),
        keras.layers.TimeDistributed(keras.layers.Dense(4, activation="relu")),
        keras.layers.TimeDistributed(keras.layers.LayerNormalization()),
        keras.layers.GlobalMaxPooling1D(),
    ]
)
x = np.random.default_rng(1).random((5, 5, 3), dtype="float32")
model.save(path)
predict = keras_predict(load_keras(path, threads=1))
asked = {str(n): predict([np.concatenate([x, x])[:n]])[0] for n in (1, 3, 5, 9)}
np.savez(path.with_suffix(".npz"), keras=model.predict_on_batch(x), **asked)
"""


@pytest.mark.parametrize("name", ["steps.h5", "steps.keras"])
def test_steps_are_not_taken_for_rows_in_a_file_of_keras_3(tmp_path: Path, name: str) -> None:
    """Keras' own TimeDistributed is right where there are as many rows as steps: five here."""
    subprocess.run(
        [sys.executable, "-c", STEPS, tmp_path / name], capture_output=True, text=True, check=True
    )
    with np.load(tmp_path / "steps.npz") as kept:
        for rows in (1, 3, 5, 9):
            expected = np.concatenate([kept["keras"], kept["keras"]])[:rows]
            np.testing.assert_allclose(kept[str(rows)], expected, rtol=1e-5, atol=1e-6)


def test_the_project_pins_the_same_keras() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    oldest = ".".join(map(str, OLDEST_KERAS))
    assert f"keras>={oldest},<3.16" in project["project"]["dependencies"]


def test_an_engine_asks_for_what_a_version_has() -> None:
    """Versions from before files were upgraded have the file as it was given."""
    keras = ENGINES["keras"]
    assert keras.roles({"model", "golden"}) == ("model",)
    assert keras.roles({"model", "upgraded"}) == ("upgraded",)
    assert keras.roles({"model", "upgraded", "code"}) == ("upgraded", "code")
    assert "code" not in ENGINES["openvino"].roles({"model", "code", "openvino.xml"})
