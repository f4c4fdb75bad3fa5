"""A callback that registers what ``fit`` trained; Keras runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from served import serving

from kerasql.registry.store import connect

TRAIN = """
import sys

import keras
import numpy as np

import kerasql
import kerasql.keras

url, name = sys.argv[1:]
x = np.random.default_rng(0).random((32, 4)).astype("float32")
model = keras.Sequential([keras.Input((4,), name="row"), keras.layers.Dense(2)])
model.compile("sgd", "mse", metrics=["mae"])
register = kerasql.keras.Register(name, url or None, tags=["trained"], metrics={"seed": 7})
model.fit(x, x[:, :2], epochs=2, validation_split=0.5, verbose=0, callbacks=[register])
print("SAID", register.version.ref)
"""


def train(url: str, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.run(
        [sys.executable, "-c", TRAIN, url, name],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | quiet | environment,
    )


@pytest.mark.parametrize("where", ["database", "server"])
def test_what_fit_trained_is_registered_with_its_metrics(tmp_path: Path, where: str) -> None:
    with connect(f"sqlite:///{tmp_path}/models.db", artifacts="") as registry:
        if where == "database":
            done = train("", "m", KERASQL_DATABASE=registry.url)
        else:
            with serving(registry) as served:
                token = served.token("ann", "scientist")
                done = train(served.url, "m", KERASQL_TOKEN=token)
        assert "SAID m@1" in done.stdout, done.stderr[-2000:]
        version = registry.get("m")
    assert version.metrics.keys() == {"loss", "mae", "val_loss", "val_mae", "seed"}
    assert version.tags == ("trained",)
    assert version.keras_version


def test_a_name_that_cannot_be_used_is_refused_before_training(tmp_path: Path) -> None:
    done = train(f"sqlite:///{tmp_path}/models.db", "avg")
    assert "NameTaken" in done.stderr
    assert "SAID" not in done.stdout
