"""A few convolutions of random weights, made by a process of its own: ``… FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

import keras

SIZE = 64


def main(path: Path) -> None:
    """Save a network of 64 x 64 colour pictures to five scores, some milliseconds a picture."""
    keras.utils.set_random_seed(5)
    keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            *(keras.layers.Conv2D(48, 3, padding="same", activation="relu") for _ in range(4)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(5, activation="softmax"),
        ]
    ).save(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
