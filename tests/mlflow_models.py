"""Models logged by MLflow itself, in every form that an import meets.

Run as ``python tests/mlflow_models.py TRACKING_URI FOLDER``, in a process of its own: TensorFlow
stays out of the test run. Their ids are in ``FOLDER/logged.json``; ``FOLDER/scores.npz`` has rows x
and what Keras answers to them, y1 by the first version of flowers and y2 by the second.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import mlflow
import mlflow.keras
import mlflow.sklearn
import mlflow.tensorflow
import numpy as np
from keras import layers
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
NEEDS: dict[str, Any] = {"pip_requirements": ["keras"]}
"""Given, because MLflow would load each model to find out."""


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@keras.saving.register_keras_serializable("mine")
class Doubled(layers.Layer):
    """A custom layer."""

    def call(self, x: Any) -> Any:
        return 2 * x


def classifier(*more: layers.Layer) -> keras.Model:
    """Four numbers to three scores."""
    last = layers.Dense(3, activation="softmax")
    return keras.Sequential([keras.Input((4,), name="row"), *more, last])


def main(uri: str, folder: Path) -> None:
    """Log them all."""
    mlflow.set_tracking_uri(uri)
    client, found, answers = mlflow.MlflowClient(), {}, {"x": X}
    client.create_registered_model("flowers", description="which iris")
    for number in (1, 2):
        model = classifier()
        answers[f"y{number}"] = model.predict(X, verbose=0)
        signature = infer_signature(X, answers[f"y{number}"])
        with mlflow.start_run(description="the first try", tags={"team": "garden"}) as run:
            mlflow.log_metrics({"accuracy": 0.5 + number / 10, "loss": float("nan")})
            logged = mlflow.keras.log_model(
                model, name="model", registered_model_name="flowers", signature=signature, **NEEDS
            )
        found[f"run{number}"], found[f"model{number}"] = run.info.run_id, logged.model_id
    client.set_registered_model_alias("flowers", "champion", "2")
    client.update_model_version("flowers", "2", description="more petals")
    client.set_model_version_tag("flowers", "2", "stage", "test")
    with mlflow.start_run():
        mlflow.keras.log_model(
            classifier(),
            name="exported",
            registered_model_name="exported",
            save_exported_model=True,
            signature=signature,
            **NEEDS,
        )
        mlflow.tensorflow.log_model(
            classifier(Doubled()),
            name="custom",
            registered_model_name="Custom Layers",
            code_paths=[__file__],
            custom_objects={"Trap": Trap(folder / "unpickled")},
            **NEEDS,
        )
        mlflow.sklearn.log_model(
            LinearRegression().fit(X, X[:, 0]),
            name="line",
            registered_model_name="line",
            serialization_format="cloudpickle",
            **NEEDS,
        )
    np.savez(folder / "scores.npz", **answers)
    (folder / "logged.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
