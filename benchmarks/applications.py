"""Networks of keras.applications with random weights, made in a process of its own.

``python -m benchmarks.applications FOLDER NAME …`` writes NAME.h5 for each name.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.pictures import jpegs

APPLICATIONS = {
    "mobilenetv2": keras.applications.mobilenet_v2,
    "resnet50": keras.applications.resnet50,
}
MADE = {
    "mobilenetv2": keras.applications.MobileNetV2,
    "resnet50": keras.applications.ResNet50,
}
SAMPLES = 16


def main(folder: Path, names: list[str]) -> None:
    """Save the networks, the same ones every time."""
    pixels = np.stack([keras.utils.img_to_array(loaded(one)) for one in jpegs(SAMPLES, seed=7)])
    for name in names:
        keras.utils.set_random_seed(5)
        model = MADE[name](weights=None)
        settle(model, APPLICATIONS[name].preprocess_input(pixels.copy()))
        model.save(folder / f"{name}.h5")


def loaded(content: bytes) -> Any:
    """A picture in the networks' size."""
    return keras.utils.load_img(io.BytesIO(content), target_size=(224, 224))


def settle(model: Any, pictures: np.ndarray) -> None:
    """Let every BatchNormalization know the pictures.

    Otherwise signals die out on their way (or grow without end), and every picture gets the same
    answer.
    """
    normal = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]
    for layer in normal:
        layer.momentum = 0.0
    model(pictures, training=True)
    for layer in normal:
        layer.momentum = 0.99


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
