"""What the benchmark through SQL measures with: pictures, two networks, a registry."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import kerasql
from benchmarks.pictures import jpegs, write_rows
from kerasql.registry.preprocess import Image
from kerasql.registry.store import Registry
from kerasql.registry.version import Version

ROOT = Path(__file__).parent.parent
SEED = 5
PICTURES = 2000
SCALES = {"mobilenetv2": "tf", "resnet50": "caffe"}
"""The networks, and how keras.applications scales their pixels."""

PRECISIONS = ("f32", "bf16")
ROLES = ("openvino.xml", "openvino.bin")


@dataclass(frozen=True)
class Bench:
    """A folder with everything in it; processes find it again by the folder's name."""

    folder: Path

    @classmethod
    def prepared(cls, folder: Path, networks: Sequence[str]) -> Bench:
        """Make and register what is missing: each network as version 1 in f32, 2 in bf16."""
        bench = cls(folder)
        missing = [name for name in networks if not bench.model(name).exists()]
        if missing:
            command = [sys.executable, "-m", "benchmarks.applications", str(folder), *missing]
            subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=quiet())
        with bench.registry() as registry:
            known = {model.name for model in registry.models()}
            for name in set(networks) - known:
                bench.register(registry, name)
        return bench

    def register(self, registry: Registry, name: str) -> None:
        """Both versions of a network, and the files of its engine for whoever has no registry."""
        for precision in PRECISIONS:
            version = registry.register(
                name, self.model(name), preprocess=preprocessor(name), precision=precision
            )
        for role in ROLES:
            with self.artifact(name, role).open("wb") as file:
                registry.copy_artifact(version, role, file)

    def registry(self) -> Registry:
        """The registry in the folder."""
        return kerasql.connect(f"sqlite:///{self.folder}/models.db", artifacts="")

    def version(self, name: str) -> Version:
        """A network's version in f32."""
        with self.registry() as registry:
            return registry.get(f"{name}@1")

    def model(self, name: str) -> Path:
        """A network's ``.h5`` file."""
        return self.folder / f"{name}.h5"

    def artifact(self, name: str, role: str) -> Path:
        """A file of a network's engine."""
        return self.folder / f"{name}.{role}"

    @cached_property
    def contents(self) -> list[bytes]:
        """The pictures."""
        return jpegs(PICTURES, SEED)

    def rows(self, count: int, mark: str) -> Path:
        """A Parquet file of pictures that no other mark has; written once."""
        path = self.folder / f"{count}-{mark}.parquet"
        if not path.exists():
            part = path.with_suffix(".part")
            write_rows(part, self.contents, rows=count, mark=mark).rename(path)
        return path


def preprocessor(name: str) -> Image:
    """How a network's pictures are decoded and scaled."""
    return Image(size=(224, 224), resize="bilinear", scale=SCALES[name])


def quiet() -> dict[str, str]:
    """The environment, in which TensorFlow says nothing and no GPU is seen."""
    return os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
