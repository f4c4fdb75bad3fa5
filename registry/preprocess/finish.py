"""The last arithmetic on prepared pixels, as data: an engine makes it part of its network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Step = tuple[str, tuple[float, ...]]
"""``("divide", numbers)``, ``("subtract", numbers)`` (one number, or one per channel, float32) or
``("reverse", ())``, which turns the channels round."""


@dataclass(frozen=True)
class Finish:
    """From prepared rows (n, *row) of dtype given to a network's input (n, *shape) of dtype.

    The steps are done in float32, one after the other; a fraction that a whole-numbered input
    takes is cut off, and a number outside its range is the nearest inside.
    """

    given: str
    row: tuple[int, ...]
    steps: tuple[Step, ...]
    dtype: str
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; ``from_json`` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Finish:
        """The steps that ``to_json`` wrote."""
        steps = tuple((name, tuple(numbers)) for name, numbers in value["steps"])
        row, shape = tuple(value["row"]), tuple(value["shape"])
        return cls(value["given"], row, steps, value["dtype"], shape)

    @property
    def clipped(self) -> tuple[int, int] | None:
        """The range of an input of whole numbers that is given fractions."""
        if np.dtype(self.dtype).kind not in "iu" or np.dtype(self.given).kind != "f":
            return None
        limits = np.iinfo(self.dtype)
        return int(limits.min), int(limits.max)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """The network's input; rows stay as they are."""
        if self.steps:
            rows = rows.astype(np.float32)
        for name, numbers in self.steps:
            if name == "reverse":
                rows = rows[..., ::-1]
            elif name == "divide":
                rows /= np.asarray(numbers, np.float32)
            else:
                rows -= np.asarray(numbers, np.float32)
        if self.clipped:
            rows = rows.clip(*self.clipped)
        return rows.astype(self.dtype, copy=False).reshape(len(rows), *self.shape)

    def openvino(self, network: Any, number: int) -> None:
        """Put the steps before an OpenVINO network's input of that number."""
        from openvino import PartialShape, Type, opset13

        old = network.inputs[number]
        new = opset13.parameter(PartialShape([-1, *self.row]), Type(np.dtype(self.given)))
        rows = new
        if self.steps:
            rows = opset13.convert(rows, "f32")
        for name, numbers in self.steps:
            if name == "reverse":
                order = np.arange(self.row[-1])[::-1].astype(np.int64)
                rows = opset13.gather(rows, order, np.int64(len(self.row)))
            else:
                does = opset13.divide if name == "divide" else opset13.subtract
                rows = does(rows, np.asarray(numbers, np.float32))
        if self.clipped:
            rows = opset13.clamp(rows, *map(float, self.clipped))
        rows = opset13.convert(rows, old.get_element_type().to_string())
        if self.shape != self.row:
            rows = opset13.reshape(rows, np.array([-1, *self.shape], np.int64), special_zero=False)
        for target in old.get_target_inputs():
            target.replace_source_output(rows.output(0))
        network.replace_parameter(number, new)

    def keras(self, rows: Any) -> Any:
        """The same in Keras, for a tensor (n, *row) of its backend."""
        from keras import ops

        if self.steps:
            rows = ops.cast(rows, "float32")
        for name, numbers in self.steps:
            if name == "reverse":
                rows = ops.flip(rows, -1)
            elif name == "divide":
                rows = rows / ops.convert_to_tensor(numbers, "float32")
            else:
                rows = rows - ops.convert_to_tensor(numbers, "float32")
        if self.clipped:
            rows = ops.clip(rows, *map(float, self.clipped))
        return ops.reshape(ops.cast(rows, self.dtype), (-1, *self.shape))
