"""TensorFlow's operators by name. In the child process only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from kerasql.registry.tensorflow_names import TF_NODE_OPS, TF_OPERATORS
from kerasql.registry.tensorflow_steps import Operator


def operate(function: str, *args: Any, step: str | None = None, **kwargs: Any) -> Any:
    """Call a function on Keras' symbolic tensors or on numbers; step is its name in the graph."""
    return Operator(function, step)(*args, **kwargs)


OPERATIONS: dict[str, Callable[..., Any]] = {
    name: partial(operate, name)
    for name in (*sorted(TF_OPERATORS), *(f"raw_ops.{op}" for op in sorted(TF_NODE_OPS)))
}
"""Every operator a file may name: TensorFlow's arguments -> its answer."""
