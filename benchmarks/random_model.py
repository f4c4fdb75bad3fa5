"""A network of random weights, made by a process of its own: ``python random_model.py FILE MB``."""

from __future__ import annotations

import sys
from pathlib import Path

import keras

WIDTH = 2560
"""One Dense layer of this width has 26 MB of float32 weights."""


def main(path: Path, size_mb: int) -> None:
    """Save Dense layers of about that many megabytes as ``.h5``; 64 numbers to 10 scores."""
    layers = max(round(size_mb * 1_000_000 / (4 * WIDTH * WIDTH)), 1)
    keras.utils.set_random_seed(5)
    keras.Sequential(
        [
            keras.Input((64,)),
            *(keras.layers.Dense(WIDTH, activation="tanh") for _ in range(layers + 1)),
            keras.layers.Dense(10, activation="softmax"),
        ]
    ).save(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
