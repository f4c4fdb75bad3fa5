"""What ``kerasql check`` costs: ``python -m benchmarks.check [MB]``.

A file of that size (500) is written as Keras writes it, a group per layer with its arrays, beside
the smallest that says as much; each is checked by the command in a process of its own, three
times. The middle of the three is shown. Keras and TensorFlow take no part in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import numpy as np

from benchmarks.peak import children, resident_mb
from benchmarks.report import console, machine, write

MB = 2**20
WIDTH = 1024
LAYER_MB = (WIDTH * WIDTH + WIDTH) * 4 / MB
LONGEST_S = 1.0
MOST_MB = 100
TIMES = 3
LOOKED_S = 0.005
"""How often memory is looked at."""


@dataclass(frozen=True)
class Cost:
    """What checking one file cost: seconds from start to exit, and its processes' peak."""

    file: str
    size_mb: float
    layers: int
    seconds: float
    peak_mb: float

    @property
    def is_kept(self) -> bool:
        """Whether it is as quick and as small as promised."""
        return self.seconds < LONGEST_S and self.peak_mb < MOST_MB


def dense(number: int) -> dict[str, Any]:
    """One Dense layer as Keras 3 writes it."""
    config = {"name": f"dense_{number}", "trainable": True, "units": WIDTH, "activation": "relu"}
    return {"module": "keras.layers", "class_name": "Dense", "config": config}


def architecture(layers: int) -> dict[str, Any]:
    """A Sequential model of Dense layers."""
    first = {"batch_shape": [None, WIDTH], "dtype": "float32", "name": "row"}
    nodes = [{"module": "keras.layers", "class_name": "InputLayer", "config": first}]
    nodes += [dense(number) for number in range(layers)]
    return {"class_name": "Sequential", "config": {"name": "large", "layers": nodes}}


def arrays() -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """The weights of one layer."""
    rng = np.random.default_rng(1)
    yield "kernel", rng.random((WIDTH, WIDTH), dtype="float32")
    yield "bias", np.zeros(WIDTH, "float32")


def write_h5(path: Path, layers: int) -> None:
    """A full model as ``model.save("m.h5")`` writes it."""
    with h5py.File(path, "w") as file:
        file.attrs.update(
            keras_version="3.15.1",
            backend="tensorflow",
            model_config=json.dumps(architecture(layers)),
            training_config=json.dumps({"loss": "mse", "optimizer_config": {"class_name": "Adam"}}),
        )
        names = [f"dense_{number}" for number in range(layers)]
        file.create_group("model_weights").attrs["layer_names"] = names
        for name in names:
            weights = file.create_group(f"model_weights/{name}")
            weights.attrs["weight_names"] = [f"large/{name}/{what}" for what, _ in arrays()]
            for what, values in arrays():
                weights[f"large/{name}/{what}"] = values


def write_keras(path: Path, layers: int) -> None:
    """An archive as ``model.save("m.keras")`` writes it: nothing in it is packed."""
    weights = path.with_suffix(".weights.h5")
    with h5py.File(weights, "w") as file:
        for number in range(layers):
            group = file.create_group(
                f"layers/dense_{number}/vars" if number else "layers/dense/vars"
            )
            group.attrs["name"] = f"dense_{number}"
            for index, (_, values) in enumerate(arrays()):
                group[str(index)] = values
    with zipfile.ZipFile(path, "w") as archive:
        metadata = {"keras_version": "3.15.1", "date_saved": "2026-01-02@03:04:05"}
        archive.writestr("metadata.json", json.dumps(metadata))
        archive.writestr("config.json", json.dumps(architecture(layers)))
        archive.write(weights, "model.weights.h5")
    weights.unlink()


def cost(path: Path, layers: int) -> Cost:
    """Check the file with the command a few times; the middle one counts."""
    runs = [checked(path) for _ in range(TIMES)]
    seconds, peak = (median(values) for values in zip(*runs, strict=True))
    return Cost(path.name, path.stat().st_size / MB, layers, seconds, peak)


def checked(path: Path) -> tuple[float, float]:
    """Seconds and peak megabytes of one run of the command and its child process."""
    command = str(Path(sysconfig.get_path("scripts"), "kerasql"))
    started, peak = time.perf_counter(), 0.0
    running = subprocess.Popen([command, "check", str(path)], stdout=subprocess.DEVNULL)
    while running.poll() is None:
        peak = max(peak, held_mb(running.pid))
        time.sleep(LOOKED_S)
    if running.returncode:
        raise RuntimeError(f"kerasql check {path} failed")
    return time.perf_counter() - started, peak


def held_mb(pid: int) -> float:
    """What the process and the one it started hold together now."""
    with suppress(OSError):
        return sum(resident_mb(one) for one in [pid, *children(pid)])
    return 0.0


def measure(size_mb: int) -> Iterator[Cost]:
    """Small and large, both formats."""
    with tempfile.TemporaryDirectory(prefix="kerasql-check-") as folder:
        for layers in (1, max(1, round(size_mb / LAYER_MB))):
            for end, make in (("h5", write_h5), ("keras", write_keras)):
                path = Path(folder, f"dense_{layers}.{end}")
                console.print(f"writing {path.name} …")
                make(path, layers)
                yield cost(path, layers)
                path.unlink()


def main(arguments: list[str]) -> int:
    """Print the table; 1 where a check took too long or too much."""
    console.print(machine())
    costs = list(measure(int(arguments[0]) if arguments else 500))
    write(
        f"kerasql check, from start to exit (allowed: {LONGEST_S:g} s and {MOST_MB} MB)",
        ("file", "MB", "layers", "s", "peak MB", "within"),
        (
            (
                one.file,
                f"{one.size_mb:.0f}",
                one.layers,
                f"{one.seconds:.2f}",
                f"{one.peak_mb:.0f}",
                "yes" if one.is_kept else "NO",
            )
            for one in costs
        ),
    )
    return 0 if all(one.is_kept for one in costs) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
