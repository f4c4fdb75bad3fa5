"""From a column's value to a network's input: small frozen values, stored as JSON.

    image = Image(size=(224, 224), scale="tf")
    image.check(spec)                      # at registration: does it fit the input?
    rows = [image.prepare(value, spec) for value in column]     # BadRow: NULL and a reason
    network_input = image.finish(np.stack(rows), spec)

Nothing here imports TensorFlow or Keras; the tests compare every option with their calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from ..errors import InvalidPreprocess
from ..signature import TensorSpec
from .code import Code
from .image import Image
from .tensor import Tensor
from .text import Text

__all__ = ["KINDS", "Code", "Image", "Preprocessor", "Tensor", "Text", "preprocessor_from_json"]


class Preprocessor(Protocol):
    """What every kind of preprocessor does."""

    @property
    def runs_code(self) -> bool:
        """Whether it runs somebody's Python on executors, which needs an explicit grant."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with ``kind``; ``preprocessor_from_json`` reads it."""

    def check(self, spec: TensorSpec) -> None:
        """Raise InvalidPreprocess when the result cannot fit the input."""

    def prepare(self, value: Any, spec: TensorSpec) -> np.ndarray:
        """One row's value as an array without the batch axis; BadRow says what is wrong with it."""

    def finish(self, batch: np.ndarray, spec: TensorSpec) -> np.ndarray:
        """Stacked prepared rows (n, …) as what the network takes."""

    def describe(self) -> str:
        """One plain sentence for people."""

    def example(self, spec: TensorSpec, rng: np.random.Generator) -> object:
        """A realistic value that ``prepare`` takes, to probe a model with."""


KINDS: dict[str, Any] = {"image": Image, "tensor": Tensor, "text": Text, "code": Code}


def preprocessor_from_json(value: Mapping[str, Any]) -> Preprocessor:
    """The preprocessor whose ``to_json`` is value; an unknown kind lists the known ones."""
    kind = value.get("kind")
    if kind not in KINDS:
        raise InvalidPreprocess(
            f"a preprocessor of kind {kind!r} is not known; there is {', '.join(KINDS)}"
        )
    preprocessor: Preprocessor = KINDS[kind].from_json(value)
    return preprocessor
