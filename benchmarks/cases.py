"""The real models, how each is registered, and the rows it is asked about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import inputs
from kerasql.registry.preprocess import Image, Tensor

DIGITS = tuple(map(str, range(10)))
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
CIFAR = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
CHURN_COLUMNS = ("CreditScore", "Gender", *inputs.CHURN_NUMBERS, *inputs.COUNTRIES)


@dataclass(frozen=True)
class Case:
    """A model and how it is registered; rows is a folder of pictures or a .npy file of numbers."""

    name: str
    model: Path
    rows: Path
    preprocess: Image | Tensor | None = None
    labels: Sequence[str] | Path | None = None
    columns: Sequence[str] | None = None

    @property
    def scores(self) -> str:
        """What follows the function's name where the plain numbers are wanted."""
        return "_scores" if self.labels else ""

    @property
    def question(self) -> dict[str, Any]:
        """What Keras' process has to know to answer about the same rows."""
        image = self.preprocess if isinstance(self.preprocess, Image) else None
        return {
            "name": self.name,
            "model": str(self.model),
            "pictures": str(self.rows) if image else None,
            "numbers": None if image else str(self.rows),
            "standardised": isinstance(self.preprocess, Tensor),
            "like": image and image.like,
            "scale": image and image.scale,
        }


def cases(data: Path, folder: Path) -> tuple[Case, ...]:
    """Every real model of which it is known what it takes, its rows written into the folder."""
    return (*picture_cases(data, folder), *number_cases(data, folder), *mobilenets(data, folder))


def picture_cases(data: Path, folder: Path) -> tuple[Case, ...]:
    """The networks for pictures, on photos of flowers and on MNIST's digits."""
    photos = inputs.copy_pictures(sorted((data / "images/flowers").iterdir()), folder / "photos")
    digits = folder / "digits"
    digits.mkdir()
    for number, pixels in enumerate(inputs.mnist(data / "mnist")[0][:256]):
        (digits / f"{number:05d}.png").write_bytes(inputs.png(pixels))
    emotion = Image(color="grayscale", scale="tf")
    mnist = Image(size=(28, 28), color="grayscale", scale="unit")
    h5 = data / "h5"
    return (
        Case("emotion", h5 / "k2_0_5_emotion_mini_xception.h5", photos, emotion, EMOTIONS),
        Case("resnet8", h5 / "tf2_4_0_resnet8_cifar10.h5", photos, Image(), CIFAR),
        Case("mnist", h5 / "k3_8_0_mnist_cnn.h5", digits, mnist, DIGITS),
    )


def number_cases(data: Path, folder: Path) -> tuple[Case, ...]:
    """The networks for numbers, on their tables, on Keras 2's inputs, or on random rows."""
    h5, beside = data / "h5", data / "h5/sidecars"
    churn = inputs.churn_rows(beside / "k3_8_0_churn_mlp/Churn_Modelling.csv")
    standardise = Tensor(mean=tuple(churn.mean(axis=0)), std=tuple(churn.std(axis=0)))
    hands = beside / "tf2_4_0_keypoint_mlp"
    noise = np.load(h5 / "ref/tf2_4_0_toycar_autoencoder.npz")["x0"]
    asked_before = np.load(h5 / "ref/tf2_4_0_keypoint_mlp.npz")["x0"]
    rng = np.random.default_rng(5)
    rows = {
        "churn": churn,
        "keypoint": np.vstack([asked_before, inputs.keypoint_rows(hands / "keypoint.csv")]),
        "toycar": np.vstack([noise, rng.uniform(noise.min(), noise.max(), (61, 640))]),
        "cnc": rng.normal(size=(64, 10, 18)),
    }
    files = {name: folder / f"{name}.npy" for name in rows}
    for name, numbers in rows.items():
        np.save(files[name], numbers)
    return (
        Case(
            "churn",
            h5 / "k3_8_0_churn_mlp.h5",
            files["churn"],
            standardise,
            ("stays", "leaves"),
            CHURN_COLUMNS,
        ),
        Case(
            "keypoint",
            h5 / "tf2_4_0_keypoint_mlp.h5",
            files["keypoint"],
            labels=hands / "keypoint_classifier_label.csv",
        ),
        Case("toycar", h5 / "tf2_4_0_toycar_autoencoder.h5", files["toycar"]),
        Case("cnc", h5 / "k3_10_0_cnc_multi_output.h5", files["cnc"]),
    )


def mobilenets(data: Path, folder: Path) -> tuple[Case, ...]:
    """The pretrained MobileNet on photos of cars and buses, read in both of Keras' ways."""
    traffic = inputs.copy_pictures(
        sorted((data / "images/cars_buses").iterdir()), folder / "traffic"
    )
    index = json.loads((data / "pretrained/imagenet_class_index.json").read_text())
    # With the WordNet id: two of ImageNet's thousand classes are called crane, two maillot.
    labels = tuple(" ".join(index[str(n)]) for n in range(len(index)))
    return tuple(
        Case(
            f"mobilenet_{like}",
            folder / "mobilenet.h5",
            traffic,
            Image(scale="tf", like=like),
            labels,
        )
        for like in ("load_img", "image_dataset")
    )
