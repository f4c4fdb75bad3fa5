"""Small networks of every shape the tests need, saved with what Keras answers to an input.

Run as ``python tests/networks.py FOLDER``, in a process of its own: TensorFlow stays out of the
test run. Beside ``NAME.h5`` lies ``NAME.npz`` with inputs x0 … and Keras' outputs y0 ….
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers


def image() -> keras.Model:
    """8 x 8 colour pictures to three classes."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def gray() -> keras.Model:
    """8 x 8 gray pictures to one sigmoid."""
    return keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(1, activation="sigmoid")]
    )


def tabular() -> keras.Model:
    """Four numbers to one number."""
    return keras.Sequential(
        [keras.Input((4,), name="row"), layers.Dense(5, activation="tanh"), layers.Dense(1)]
    )


def vector() -> keras.Model:
    """Four numbers to three scores."""
    return keras.Sequential([keras.Input((4,), name="row"), layers.Dense(3, activation="softmax")])


def pair() -> keras.Model:
    """Two inputs and two outputs, neither in alphabetical order."""
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="ahead")
    both = layers.Concatenate()([left, right])
    return keras.Model(
        [left, right],
        [
            layers.Dense(2, activation="softmax", name="species")(both),
            layers.Dense(1, name="age")(both),
        ],
    )


def words() -> keras.Model:
    """Up to any number of word ids to one sigmoid; an LSTM, which OpenVINO cannot convert."""
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32", name="ids"),
            layers.Embedding(20, 4),
            layers.LSTM(3),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def bag() -> keras.Model:
    """Three word ids of ten to two scores; OpenVINO can."""
    return keras.Sequential(
        [
            keras.Input((3,), dtype="int32", name="ids"),
            layers.Embedding(10, 4),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )


def mask() -> keras.Model:
    """8 x 8 pictures to a map of the same size: an output of rank 3."""
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3, padding="same")])


def wide() -> keras.Model:
    """Four numbers to three scores, over eight megabytes of weights."""
    return keras.Sequential(
        [
            keras.Input((4,), name="row"),
            layers.Dense(1400, activation="tanh"),
            layers.Dense(1400, activation="tanh"),
            layers.Dense(3, activation="softmax"),
        ]
    )


def slow() -> keras.Model:
    """64 x 64 pictures to one number, some 30 ms each on a core."""
    convolutions = [layers.Conv2D(64, 3, padding="same", activation="relu") for _ in range(7)]
    return keras.Sequential(
        [keras.Input((64, 64, 3)), *convolutions, layers.GlobalAveragePooling2D(), layers.Dense(1)]
    )


NETWORKS = (image, gray, tabular, vector, pair, words, bag, mask, slow)


@keras.saving.register_keras_serializable("pack")
def double_relu(x: Any) -> Any:
    """A function of a user's own, registered in a package."""
    return keras.ops.relu(x) * 2


class Trap(layers.Layer):
    """What tests/sources/trap.py makes dangerous."""

    def call(self, rows: Any) -> Any:
        return rows


class Scale(layers.Layer):
    """A layer of a user's own: a factor and a trained bias."""

    def __init__(self, factor: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, shape: Any) -> None:
        self.bias = self.add_weight(shape=(shape[-1],), name="bias")

    def call(self, x: Any) -> Any:
        return x * self.factor + self.bias

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


def keep(model: keras.Model, path: Path) -> None:
    """Save a model, and beside it what Keras answers to some rows."""
    model.save(path)
    rows = np.random.default_rng(3).random((6, *model.inputs[0].shape[1:]), dtype="float32")
    np.savez(path.with_suffix(".npz"), x0=rows, y0=model.predict(rows, verbose=0))


def main(folder: Path) -> None:
    """Save every network, the image one also as ``.keras``, and what Keras answers."""
    for make in NETWORKS:
        keras.utils.set_random_seed(7)
        model = make()
        model.save(folder / f"{make.__name__}.h5")
        rng = np.random.default_rng(3)
        inputs = [
            rng.integers(0, 10, (6, *(n or 5 for n in i.shape[1:]))).astype("int32")
            if "int" in i.dtype
            else rng.random((6, *i.shape[1:]), dtype="float32")
            for i in model.inputs
        ]
        outputs = model.predict(inputs if len(inputs) > 1 else inputs[0], verbose=0)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        np.savez(
            folder / f"{make.__name__}.npz",
            **{f"x{n}": value for n, value in enumerate(inputs)},
            **{f"y{n}": value for n, value in enumerate(outputs)},
        )
    for seed in range(6):
        keras.utils.set_random_seed(seed)
        wide().save(folder / f"wide_{seed}.h5")
    keras.utils.set_random_seed(7)
    image().save(folder / "image.keras")
    compiled = vector()
    compiled.compile(keras.optimizers.Adam(1e-3), "mse", metrics=["accuracy"])
    compiled.save(folder / "compiled.keras")
    compiled.save(folder / "compiled.h5")
    keras.Sequential([keras.Input((4,)), compiled, layers.Dense(2)]).save(
        folder / "compiled_inside.keras"
    )
    row = keras.Input((3,), name="row")
    keras.Model(row, keras.ops.cast(row, "uint64")).save(folder / "unsigned.keras")
    with_text = keras.Sequential(
        [
            keras.Input((), dtype="string", name="text"),
            layers.TextVectorization(
                vocabulary=["good", "bad"], output_mode="multi_hot", name="vectorize"
            ),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    with_text.save(folder / "text.keras")
    answers = with_text.predict(keras.ops.convert_to_tensor(["good good", "bad", "?"]), verbose=0)
    np.savez(folder / "text.npz", y0=answers)
    keep(
        keras.Sequential(
            [keras.Input((2,)), layers.Lambda(lambda x: x * 2, name="twice"), layers.Dense(1)]
        ),
        folder / "with_lambda.h5",
    )
    custom = keras.Sequential([keras.Input((2,)), layers.Dense(3), Scale(2.0)])
    custom.layers[-1].bias.assign([1.0, 2.0, 3.0])
    keep(custom, folder / "custom.h5")
    custom.save(folder / "custom.keras")
    activated = keras.Sequential([keras.Input((2,)), layers.Dense(3, activation=double_relu)])
    keep(activated, folder / "activated.h5")
    activated.save(folder / "activated.keras")
    keep(keras.Sequential([keras.Input((1,)), Trap()]), folder / "trap.h5")
    apart = tabular()
    keep(apart, folder / "only.h5")
    apart.save_weights(folder / "only.weights.h5")
    (folder / "only.json").write_text(apart.to_json())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
