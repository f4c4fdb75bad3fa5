"""The peers as their documentation advises: ``predict_batch_udf`` and ``mlflow.pyfunc.spark_udf``.

Both get encoded pictures and decode them in the worker, with kerasql's own ``Image.prepare``, so
that the same pixels reach the same network and no pixels travel through Spark. Both call
``model.predict`` with TensorFlow on one thread for each task.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, FloatType

from benchmarks.bench import Bench, preprocessor

BATCH_ROWS = 32
"""``model.predict``'s own default."""

PACKAGES = {"predict_batch_udf": ("pandas",), "spark_udf": ("pandas", "mlflow")}
"""The peers, and what each needs beside kerasql's dependencies."""


def missing(peer: str) -> list[str]:
    """The packages that a peer needs and that are not installed."""
    return [name for name in PACKAGES[peer] if importlib.util.find_spec(name) is None]


def loaded(model: Path) -> Any:
    """The Keras model, TensorFlow on one thread."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return keras.models.load_model(model, compile=False)


def scores(model: Any, name: str, contents: Any) -> np.ndarray:
    """What a Keras model answers to encoded pictures: decoded, scaled, predicted."""
    from keras import applications

    from kerasql.registry.signature import TensorSpec

    spec = TensorSpec("image", "float32", (224, 224, 3))
    image = preprocessor(name)
    pixels = np.stack([image.prepare(one, spec) for one in contents]).astype(np.float32)
    scaled = getattr(applications, {"mobilenetv2": "mobilenet_v2"}.get(name, name))
    answers: np.ndarray = model.predict(
        scaled.preprocess_input(pixels), batch_size=BATCH_ROWS, verbose=0
    )
    return answers


def predict_batch_udf(spark: SparkSession, bench: Bench, name: str, function: str) -> None:
    """Register a SQL function as PySpark's documentation of ``predict_batch_udf`` does."""
    from pyspark.ml import functions

    model = bench.model(name)

    def make_predict() -> Callable[[np.ndarray], np.ndarray]:
        return partial(scores, loaded(model), name)

    answers = functions.predict_batch_udf(
        make_predict, return_type=ArrayType(FloatType()), batch_size=BATCH_ROWS
    )
    spark.udf.register(function, answers)


def spark_udf(spark: SparkSession, bench: Bench, name: str, function: str) -> None:
    """Register a SQL function as MLflow's documentation of ``spark_udf`` does."""
    import mlflow

    saved = bench.folder / f"{name}-mlflow"
    if not saved.exists():
        mlflow.pyfunc.save_model(
            saved,
            python_model=Path(__file__).with_name("peer_model.py"),
            artifacts={"model": str(bench.model(name))},
            model_config={"name": name},
            pip_requirements=["keras"],
        )
    answers = mlflow.pyfunc.spark_udf(
        spark, str(saved), result_type=ArrayType(FloatType()), env_manager="local"
    )
    spark.udf.register(function, answers)


PEERS = {"predict_batch_udf": predict_batch_udf, "spark_udf": spark_udf}
