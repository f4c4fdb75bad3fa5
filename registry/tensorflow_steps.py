"""TensorFlow's operators as steps of a Keras graph.

TensorFlow itself computes them, so the numbers and dtypes are the writer's. Imported by whatever
builds or runs a model; a saved ``.keras`` names the step ``kerasql>Operator``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from kerasql.registry.tensorflow_names import TF_NODE_OPS, TF_OPERATORS


@keras.saving.register_keras_serializable(package="kerasql")
class Operator(keras.Operation):  # type: ignore[misc]
    """One function of TensorFlow, such as ``math.multiply``, on Keras' symbolic tensors.

    TensorFlow infers the shapes of its answers. ValueError where the function is not allowed.
    """

    def __init__(self, function: str, name: str | None = None) -> None:
        super().__init__(name)
        self.function = function
        self._compute = function_named(function)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The function's answer."""
        return self._compute(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The shapes and dtypes of the answers; of lengths, also which of them are known.

        A shape that a graph takes apart and puts together again (tf.shape, tf.stack, tf.reshape)
        keeps its known lengths, as in tf.keras' ``KerasTensor.inferred_value``.
        """
        given = keras.tree.flatten((args, kwargs))
        known = [getattr(one, "lengths", None) for one in given]
        found: list[Any] = []

        def computed(values: list[Any]) -> Any:
            args_, kwargs_ = keras.tree.pack_sequence_as((args, kwargs), values)
            return self.call(*args_, **kwargs_)

        def compute(*args: Any, **kwargs: Any) -> Any:
            placed = keras.tree.flatten((args, kwargs))
            told = [told_of(one, lengths) for one, lengths in zip(placed, known, strict=True)]
            answer = computed(told)
            found.extend(lengths_of(one) for one in keras.tree.flatten(answer))
            return answer

        answer = keras.src.backend.compute_output_spec(compute, *args, **kwargs)
        symbolic = [isinstance(one, keras.KerasTensor) for one in given]
        if all(not one or lengths for one, lengths in zip(symbolic, known, strict=True)):
            found = lengths_through(computed, given, known) or found
        for one, lengths in zip(keras.tree.flatten(answer), found, strict=True):
            one.lengths = lengths if len(one.shape) < 2 else None
        return answer

    def get_config(self) -> dict[str, Any]:
        """Its arguments, for a ``.keras`` file."""
        return {"function": self.function, "name": self.name}


def told_of(tensor: Any, lengths: list[int | None] | None) -> Any:
    """A placeholder with its known elements written in."""
    if lengths is None or all(length is None for length in lengths):
        return tensor
    if tensor.shape.rank == 0:
        return tf.constant(lengths[0], tensor.dtype)
    elements = zip(tf.unstack(tensor), lengths, strict=True)
    return tf.stack([one if n is None else tf.constant(n, one.dtype) for one, n in elements])


def lengths_through(
    compute: Callable[[list[Any]], Any], given: list[Any], known: list[Any]
) -> list[list[int | None]]:
    """What is known of answers that depend on lengths alone: what is equal whatever the others are.

    None stands for a length that is not known; empty where TensorFlow cannot compute.
    """

    def answers(unknown: int) -> list[Any]:
        values = [
            one
            if lengths is None
            else tensor_of(one, [unknown if n is None else n for n in lengths])
            for one, lengths in zip(given, known, strict=True)
        ]
        return [one.numpy().ravel().tolist() for one in keras.tree.flatten(compute(values))]

    try:
        with tf.init_scope():
            pairs = zip(answers(1009), answers(2003), strict=True)
            return [[a if a == b else None for a, b in zip(*pair, strict=True)] for pair in pairs]
    except (ValueError, TypeError, AttributeError, tf.errors.OpError):
        return []


def tensor_of(like: Any, lengths: list[int]) -> Any:
    """The lengths as a number or a vector."""
    return tf.constant(lengths if len(like.shape) else lengths[0], like.dtype)


def lengths_of(tensor: Any) -> list[int | None] | None:
    """The elements of an integer vector or number that TensorFlow knows; None for each other."""
    if not tensor.dtype.is_integer or tensor.shape.rank not in (0, 1) or None in tensor.shape:
        return None
    try:
        # What tf.fill makes has the lengths its shape is known to have.
        shape = tf.fill(tf.stack([tensor]) if tensor.shape.rank == 0 else tensor, 0).shape
    except ValueError:
        return None
    return list(shape)


def function_named(name: str) -> Callable[..., Any]:
    """The function of that name: ours where a file's arguments need care, else TensorFlow's."""
    module, _, last = name.rpartition(".")
    if name not in TF_OPERATORS and (module != "raw_ops" or last not in TF_NODE_OPS):
        raise ValueError(f"{name!r} is not among TensorFlow's operators that only compute")
    if name in OURS:
        return OURS[name]
    found: Any = tf
    for part in name.split("."):
        found = getattr(found, part)
    function: Callable[..., Any] = found
    return function


def getitem(tensor: Any, slice_spec: Any = None) -> Any:
    """``tensor[...]`` as tf.keras writes the brackets; None is a new axis."""
    several = isinstance(slice_spec, list | tuple)
    return tensor[tuple(index(one) for one in slice_spec) if several else index(slice_spec)]


def index(value: Any) -> Any:
    """One index: a slice, ``...``, a new axis, a number or a tensor."""
    if isinstance(value, str):
        return Ellipsis
    if isinstance(value, dict):
        return slice(value.get("start"), value.get("stop"), value.get("step"))
    return value


def filled(function: Callable[..., Any], shape: Any, *args: Any, **kwargs: Any) -> Any:
    """tf.fill, tf.ones, tf.zeros: a file writes a shape of one axis as the number alone."""
    alone = not isinstance(shape, list) and tf.convert_to_tensor(shape).shape.rank == 0
    return function(tf.stack([shape]) if alone else shape, *args, **kwargs)


def squeeze(input: Any, axis: Any = None, squeeze_dims: Any = None) -> Any:  # noqa: A002
    """tf.squeeze; where the file names no axes, those whose length is known to be 1.

    TensorFlow looks at the lengths of each batch, so it would not know how many axes are left.
    """
    axes = squeeze_dims if axis in (None, []) else axis
    if axes in (None, []):
        axes = [number for number, length in enumerate(input.shape) if length == 1]
    return tf.squeeze(input, axes)


def batch_flatten(x: Any) -> Any:
    """Every axis but the first as one."""
    return tf.reshape(x, tf.stack([-1, tf.reduce_prod(tf.shape(x)[1:])]))


def add(x: Any, y: Any, name: str | None = None) -> Any:
    """The sum x + y, also where x is a plain number, which TensorFlow's own cannot begin with."""
    if not hasattr(x, "dtype"):
        x = tf.convert_to_tensor(x, getattr(y, "dtype", None))
    return tf.add(x, y)


OURS: dict[str, Callable[..., Any]] = {
    "__operators__.add": add,
    "__operators__.getitem": getitem,
    "compat.v1.squeeze": squeeze,
    "fill": partial(filled, tf.fill),
    "keras.backend.batch_flatten": batch_flatten,
    "ones": partial(filled, tf.ones),
    "raw_ops.Squeeze": squeeze,
    "squeeze": squeeze,
    "zeros": partial(filled, tf.zeros),
}
