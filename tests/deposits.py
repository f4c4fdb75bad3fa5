"""Versions for tests of the registry alone: random bytes instead of a network."""

from __future__ import annotations

import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kerasql.registry.signature import Output, Signature, TensorSpec
from kerasql.registry.store import Registry, connect
from kerasql.registry.version import Examined, Version

SIGNATURE = Signature(
    inputs=(TensorSpec("image", "float32", (None, None, 3)),),
    outputs=(TensorSpec("scores", "float32", (2,)),),
)
EXAMINED = Examined(
    signature=SIGNATURE,
    layers=[{"name": "dense", "class": "Dense"}],
    parameters=6_000_000_000,
    keras_version="3.15.1",
    engine="openvino",
    engine_report={"engine": "openvino", "largest_difference": 1e-6},
    inspection={"size_bytes": 3},
)
LABEL = Output("label", ("daisy", "tulip"))
SCORES = Output("scores")
BEHIND: dict[str, Registry] = {}
"""The registry in the database behind a server, by the server's URL."""


def behind(registry: Registry) -> Registry:
    """The registry in a database: the one itself, or behind the server where it is."""
    return BEHIND.get(registry.url, registry)


def random_file(path: Path, size_bytes: int = 1000) -> Path:
    path.write_bytes(os.urandom(size_bytes))
    return path


def deposit(registry: Registry, name: str, model: Path, **changes: Any) -> Version:
    """Save the file as a version with the usual facts; changes are other keyword arguments.

    A server takes no facts from others, so they are put into the database behind it.
    """
    facts: dict[str, Any] = {
        "preprocess": {"image": {"kind": "image", "size": [224, 224]}},
        "outputs": {"scores": LABEL},
        "files": {"model": model},
    }
    return behind(registry).save(name, EXAMINED, **{**facts, **changes})


def deposit_in_process(url: str, artifacts: str, model: Path, answer: Connection) -> None:
    """Connect, deposit one version of ``m`` and send its number; the body of a process."""
    with connect(url, artifacts=artifacts) as registry:
        answer.send(deposit(registry, "m", random_file(model)).number)


def deposit_for_ever(url: str, artifacts: str, model: Path, ready: Connection) -> None:
    """Deposit one version of ``m`` after the other until killed; says when the first is done."""
    with connect(url, artifacts=artifacts) as registry:
        while True:
            random_file(model, 3_000_000)
            deposit(registry, "m", model)
            ready.send(True)
