"""What Keras 1 and 2 had and Keras 3 has no more: functions and layers.

Imported by whatever builds or runs a model; a ``.keras`` file names them ``kerasql>Highway`` …
"""
# ruff: noqa: D102 - Keras names these methods and says what they do.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops
from keras.src import backend
from keras.src.applications.convnext import LayerScale as LayerScale
from keras.src.applications.convnext import StochasticDepth as StochasticDepth
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer as CustomScaleLayer

registered = keras.saving.register_keras_serializable(package="kerasql")

LOWEST = -3.4028235e38
"""The lowest float32: what no maximum picks."""


@registered  # type: ignore[untyped-decorator]
def hard_sigmoid(x: Any) -> Any:
    """clip(0.2 x + 0.5, 0, 1), as in Keras 1, Keras 2 and tf.keras; Keras 3 has x / 6 + 0.5."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


@registered  # type: ignore[untyped-decorator]
def cos(x: Any) -> Any:
    """The cosine, which RandomFourierFeatures of tf.keras ended in."""
    return ops.cos(x)


@registered
class Highway(keras.layers.Layer):  # type: ignore[misc]
    """t * activation(x W + b) + (1 - t) * x with t = sigmoid(x W_carry + b_carry), as in Keras 1.

    Source: Srivastava et al., arXiv 1505.00387; Keras 1, core.py. (rows, n) to (rows, n).
    """

    def __init__(self, activation: Any = None, use_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias

    def build(self, input_shape: Sequence[int]) -> None:
        n = input_shape[-1]
        self.kernel = self.add_weight(shape=(n, n), name="kernel")
        self.carry_kernel = self.add_weight(shape=(n, n), name="carry_kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(n,), name="bias")
            self.carry_bias = self.add_weight(shape=(n,), name="carry_bias")

    def call(self, inputs: Any) -> Any:
        gate, value = ops.matmul(inputs, self.carry_kernel), ops.matmul(inputs, self.kernel)
        if self.use_bias:
            gate, value = gate + self.carry_bias, value + self.bias
        gate = ops.sigmoid(gate)
        return gate * self.activation(value) + (1.0 - gate) * inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation, "use_bias": self.use_bias}


class PerElement(keras.layers.Layer):  # type: ignore[misc]
    """An activation with parameters for every element of a row; shared_axes share theirs."""

    parameters: tuple[str, ...] = ()

    def __init__(self, shared_axes: Sequence[int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.shared_axes = list(shared_axes or ())

    def build(self, input_shape: Sequence[int]) -> None:
        shape = [
            1 if axis in self.shared_axes else size
            for axis, size in enumerate(input_shape[1:], start=1)
        ]
        for name in self.parameters:
            setattr(self, name, self.add_weight(shape=shape, name=name))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shared_axes": self.shared_axes}


@registered
class ParametricSoftplus(PerElement):
    """alphas * log(1 + exp(betas * x)), as in Keras 1.0 to 1.2."""

    parameters = ("alphas", "betas")

    def call(self, inputs: Any) -> Any:
        return self.alphas * ops.softplus(self.betas * inputs)


@registered
class SReLU(PerElement):
    """The S-shaped ReLU of Keras 1.0 to 1.2 (Jin et al., arXiv 1512.07030).

    x between t_left and r = t_left + |t_right|; below, t_left + a_left (x - t_left); above,
    r + a_right (x - r). Theano never let it be more than r below t_left either (K.relu's
    max_value), which a negative a_left can make it: cut_left.
    """

    parameters = ("t_left", "a_left", "t_right", "a_right")

    def __init__(self, cut_left: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cut_left = cut_left

    def call(self, inputs: Any) -> Any:
        above = inputs - self.t_left
        width = ops.abs(self.t_right)
        left = self.a_left * ops.minimum(above, 0.0)
        left = ops.minimum(left, width) if self.cut_left else left
        centre = ops.minimum(ops.relu(above), width)
        return self.t_left + left + centre + self.a_right * ops.relu(above - width)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cut_left": self.cut_left}


@registered
class SampleNormalization(keras.layers.Layer):  # type: ignore[misc]
    """Keras 1's ``BatchNormalization(mode=1)``: each row by its own mean and deviation.

    gamma (x - mean) / (std + epsilon) + beta with std = sqrt(var + epsilon), over the last axis:
    epsilon is added twice (normalization.py, Keras 1.0.5 to 1.2.2).
    """

    def __init__(self, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.epsilon = epsilon

    def build(self, input_shape: Sequence[int]) -> None:
        self.gamma = self.add_weight(shape=(input_shape[-1],), name="gamma", initializer="ones")
        self.beta = self.add_weight(shape=(input_shape[-1],), name="beta", initializer="zeros")

    def call(self, inputs: Any) -> Any:
        off = inputs - ops.mean(inputs, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(off), axis=-1, keepdims=True)
        return self.gamma * off / (ops.sqrt(variance + self.epsilon) + self.epsilon) + self.beta

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "epsilon": self.epsilon}


@registered
class Cosine(keras.layers.Layer):  # type: ignore[misc]
    """Keras 1's ``merge(mode="cos")`` of two (rows, n) tensors: (rows, 1, 1).

    a·b / max(sqrt(a·a * b·b), 1e-7); the axis of one is Keras 1's (topology.py, Merge.call).
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        a, b = inputs
        length = ops.sqrt(dot(a, a) * dot(b, b))
        return ops.expand_dims(dot(a, b) / ops.maximum(length, 1e-7), 1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0][0], 1, 1)


def dot(a: Any, b: Any) -> Any:
    """The products of the rows of two matrices: (rows, 1)."""
    return ops.sum(a * b, axis=-1, keepdims=True)


class LocallyConnected(keras.layers.Layer):  # type: ignore[misc]
    """A convolution with a kernel of its own at every place, as in Keras 1, Keras 2 and tf.keras.

    kernel is (places, elements of a patch, filters), Keras 2's ``implementation=1``, bias (*places,
    filters); the elements of a patch run in the order of the input's axes. Padding is "valid".
    """

    rank = 0

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        activation: Any = None,
        use_bias: bool = True,
        implementation: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if padding != "valid" or implementation != 1:
            raise ValueError(
                f"padding is {padding!r} and implementation {implementation!r}; "
                "only padding='valid' with implementation=1 is understood"
            )
        self.filters = filters
        self.kernel_size = every_axis(kernel_size, self.rank)
        self.strides = every_axis(strides, self.rank)
        self.data_format = data_format or "channels_last"
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias

    def places(self, input_shape: Sequence[int]) -> list[int]:
        """How many patches there are along each axis."""
        first = self.data_format == "channels_first"
        sizes = input_shape[2:] if first else input_shape[1:-1]
        return [
            (size - kernel) // stride + 1
            for size, kernel, stride in zip(sizes, self.kernel_size, self.strides, strict=True)
        ]

    def build(self, input_shape: Sequence[int]) -> None:
        channels = input_shape[1 if self.data_format == "channels_first" else -1]
        places = self.places(input_shape)
        shape = (product(places), product(self.kernel_size) * channels, self.filters)
        self.kernel = self.add_weight(shape=shape, name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(*places, self.filters), name="bias")

    def call(self, inputs: Any) -> Any:
        first = self.data_format == "channels_first"
        places = self.places(inputs.shape)
        patches = self.patches(ops.moveaxis(inputs, 1, -1) if first else inputs, places)
        patches = ops.transpose(patches, (1, 0, 3, 2) if first else (1, 0, 2, 3))
        count, length, filters = self.kernel.shape
        patches = ops.reshape(patches, (count, -1, length))
        output = ops.transpose(ops.matmul(patches, self.kernel), (1, 0, 2))
        output = ops.reshape(output, (-1, *places, filters))
        output = ops.moveaxis(output, -1, 1) if first else output
        if self.use_bias:
            # Keras 2 reshaped the bias for channels first, it did not transpose it (bias_add).
            shape = (1, filters, *places) if first else (1, *places, filters)
            output = output + ops.reshape(self.bias, shape)
        return self.activation(output)

    def patches(self, inputs: Any, places: Sequence[int]) -> Any:
        """(rows, places, elements of the kernel, channels)."""
        parts = [inputs]
        for axis, (size, stride, count) in enumerate(
            zip(self.kernel_size, self.strides, places, strict=True), start=1
        ):
            before = (slice(None),) * axis
            parts = [
                part[(*before, slice(at, at + (count - 1) * stride + 1, stride))]
                for part in parts
                for at in range(size)
            ]
        stacked = ops.stack(parts, axis=-2)
        return ops.reshape(stacked, (-1, product(places), len(parts), inputs.shape[-1]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        places = self.places(input_shape)
        if self.data_format == "channels_first":
            return (input_shape[0], self.filters, *places)
        return (input_shape[0], *places, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "data_format": self.data_format,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }


@registered
class LocallyConnected1D(LocallyConnected):
    """(rows, steps, channels) to (rows, new steps, filters)."""

    rank = 1


@registered
class LocallyConnected2D(LocallyConnected):
    """(rows, height, width, channels) to (rows, new height, new width, filters)."""

    rank = 2


@registered
class TheanoPooling(keras.layers.Layer):  # type: ignore[misc]
    """Pooling with Theano's padding "same" (Keras 1 and 2, theano_backend.py, pool2d).

    k - 1 elements are padded in front, k - 2 for odd k above 2, where TensorFlow pads half as many;
    padding is no maximum and counts in no mean. mode is "max" or "average".
    """

    def __init__(
        self,
        mode: str,
        pool_size: Sequence[int],
        strides: Sequence[int],
        data_format: str = "channels_last",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mode, self.data_format = mode, data_format
        self.pool_size, self.strides = list(pool_size), list(strides)

    def call(self, inputs: Any) -> Any:
        if self.mode == "max":
            return self.pooled(ops.max_pool, inputs, LOWEST)
        ones = ops.ones_like(inputs)
        return self.pooled(ops.average_pool, inputs, 0.0) / self.pooled(ops.average_pool, ones, 0.0)

    def pooled(self, pool: Any, inputs: Any, outside: float) -> Any:
        """The pools of the padded inputs."""
        width = [[0, 0], *[[front(k), k - 1 - front(k)] for k in self.pool_size]]
        width.insert(1 if self.data_format == "channels_first" else len(width), [0, 0])
        padded = ops.pad(inputs, width, constant_values=outside)
        return pool(padded, self.pool_size, self.strides, "valid", self.data_format)

    def compute_output_shape(self, input_shape: Any) -> Any:
        first = self.data_format == "channels_first"
        sizes = input_shape[2:] if first else input_shape[1:-1]
        new = [
            None if size is None else (size - 1) // stride + 1
            for size, stride in zip(sizes, self.strides, strict=True)
        ]
        if first:
            return (*input_shape[:2], *new)
        return (input_shape[0], *new, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "mode": self.mode,
            "pool_size": self.pool_size,
            "strides": self.strides,
            "data_format": self.data_format,
        }


def front(size: int) -> int:
    """How many elements Theano pads in front of a pool of this size."""
    return size - 2 if size > 2 and size % 2 else size - 1


def every_axis(value: int | Sequence[int], rank: int) -> list[int]:
    """A number for every spatial axis."""
    return [value] * rank if isinstance(value, int) else list(value)


def product(numbers: Sequence[int]) -> int:
    """All of them multiplied."""
    result = 1
    for number in numbers:
        result *= number
    return result


class AllMasks:
    """For layers that merge tensors: a step is kept where every mask keeps it, as in Keras 1 and 2.

    Keras 3 keeps a step that any mask keeps, and for all but Concatenate forgets the masks where
    one tensor has none.
    """

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        masks = list(mask or [])
        if all(one is None for one in masks):
            return None
        if getattr(self, "axis", None) == 1:
            # Steps behind steps: those of a tensor without a mask are kept.
            pairs = zip(inputs, masks, strict=True)
            return ops.concatenate(
                [ops.ones_like(x[:, :, 0], "bool") if m is None else m for x, m in pairs], axis=1
            )
        kept = [one for one in masks if one is not None]
        both = kept[0]
        for one in kept[1:]:
            both = ops.logical_and(both, one)
        return both


class PlainMerge:
    """For layers that merge tensors: masked steps too, whose numbers Keras 3 replaces."""

    operation: Any

    def _merge_function(self, inputs: Any) -> Any:
        merged = inputs[0]
        for one in inputs[1:]:
            merged = self.operation(merged, one)
        return merged


@registered
class MaskedAdd(AllMasks, keras.layers.Add):  # type: ignore[misc]
    """Add, by Keras 2's masks."""


@registered
class MaskedSubtract(AllMasks, keras.layers.Subtract):  # type: ignore[misc]
    """Subtract, by Keras 2's masks."""


@registered
class MaskedMultiply(AllMasks, PlainMerge, keras.layers.Multiply):  # type: ignore[misc]
    """Multiply, by Keras 2's masks."""

    operation = staticmethod(ops.multiply)


@registered
class MaskedAverage(AllMasks, keras.layers.Average):  # type: ignore[misc]
    """Average, by Keras 2's masks."""


@registered
class MaskedMaximum(AllMasks, PlainMerge, keras.layers.Maximum):  # type: ignore[misc]
    """Maximum, by Keras 2's masks."""

    operation = staticmethod(ops.maximum)


@registered
class MaskedMinimum(AllMasks, PlainMerge, keras.layers.Minimum):  # type: ignore[misc]
    """Minimum, by Keras 2's masks."""

    operation = staticmethod(ops.minimum)


@registered
class MaskedConcatenate(AllMasks, keras.layers.Concatenate):  # type: ignore[misc]
    """Concatenate, by Keras 2's masks."""


@registered
class CornerUpSampling2D(keras.layers.UpSampling2D):  # type: ignore[misc]
    """Bilinear UpSampling2D that keeps the corners in place, as Keras 2.2.3 to 2.3.1 did.

    The new pixel i lies at i / factor of the old ones; since tf.keras 1.14 at (i + 0.5) / factor
    - 0.5.
    """

    def call(self, inputs: Any) -> Any:
        rows, columns = (1, 2) if self.data_format == "channels_last" else (2, 3)
        return stretched(stretched(inputs, rows, self.size[0]), columns, self.size[1])


def stretched(x: Any, axis: int, factor: int) -> Any:
    """A tensor made factor times as long along an axis: between two neighbours on a line."""
    length = x.shape[axis] if x.shape[axis] is not None else ops.shape(x)[axis]
    place = ops.arange(length * factor)
    low = place // factor
    high = ops.minimum(low + 1, length - 1)
    shape = [-1 if n == axis else 1 for n in range(len(x.shape))]
    weight = ops.reshape(ops.cast(place % factor, x.dtype) / factor, shape)
    return ops.take(x, low, axis) * (1.0 - weight) + ops.take(x, high, axis) * weight


@registered
class ResizedCrop(keras.layers.Layer):  # type: ignore[misc]
    """RandomCrop of tf.keras to 2.6 in predictions: the shorter side resized, the middle cut out.

    (rows, a, b, channels) to (rows, height, width, channels).
    """

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def call(self, inputs: Any) -> Any:
        high, wide = inputs.shape[-3:-1]
        if high / wide > self.height / self.width:
            tall, broad = int(self.width * high / wide), self.width
        else:
            tall, broad = self.height, int(self.height * wide / high)
        resized = ops.image.resize(inputs, (tall, broad))
        top, left = (tall - self.height) // 2, (broad - self.width) // 2
        return resized[..., top : top + self.height, left : left + self.width, :]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}


@registered
class AxesNormalization(keras.layers.Layer):  # type: ignore[misc]
    """BatchNormalization along several axes, as in tf.keras 1.14 to 2.15, in predictions.

    gamma, beta, the moving mean and variance have the shape of the input, with 1 for other axes.
    """

    def __init__(
        self,
        axis: Sequence[int],
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis, self.epsilon = list(axis), epsilon
        self.center, self.scale = center, scale

    def build(self, input_shape: Sequence[int]) -> None:
        axes = [axis % len(input_shape) for axis in self.axis]
        shape = [n if axis in axes else 1 for axis, n in enumerate(input_shape)]
        self.gamma = self.add_weight(shape=shape, name="gamma") if self.scale else None
        self.beta = self.add_weight(shape=shape, name="beta") if self.center else None
        self.moving_mean = self.add_weight(shape=shape, name="moving_mean", trainable=False)
        self.moving_variance = self.add_weight(shape=shape, name="moving_variance", trainable=False)

    def call(self, inputs: Any) -> Any:
        factor = ops.rsqrt(self.moving_variance + self.epsilon)
        if self.gamma is not None:
            factor = factor * self.gamma
        shift = -self.moving_mean * factor
        return inputs * factor + (shift if self.beta is None else shift + self.beta)

    def get_config(self) -> dict[str, Any]:
        own = {"axis": self.axis, "epsilon": self.epsilon}
        return {**super().get_config(), **own, "center": self.center, "scale": self.scale}


@registered
class FreeSteps(keras.layers.TimeDistributed):  # type: ignore[misc]
    """TimeDistributed of all steps at once: (rows, steps, …) as (rows * steps, …) and back.

    Where the number of steps is free, Keras 3.15.1's own takes the number of rows for it.
    """

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        kwargs: dict[str, Any] = {}
        if self.layer._call_has_mask_arg and mask is not None:
            kwargs["mask"] = folded(mask)
        if self.layer._call_has_training_arg:
            kwargs["training"] = training
        return unfolded(self.layer(folded(inputs), **kwargs), inputs)


@registered
class EveryStep(FreeSteps):
    """TimeDistributed as in Keras 1 and 2, which asks the layer that it holds for the mask."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        # A mask of whole steps is none of the layer's.
        inner = None if mask is None or len(mask.shape) < 3 else mask
        return super().call(inputs, training=training, mask=inner)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        inner = None
        if self.layer.supports_masking:
            flat = None if mask is None else folded(mask)
            inner = self.layer.compute_mask(folded(inputs), flat)
        if inner is not None:
            return unfolded(inner, inputs)
        while mask is not None and len(mask.shape) > 2:
            mask = ops.any(mask, axis=-1)
        return mask


# Archives name the weights by the class: those of tf.keras have to be found.
EveryStep.__name__ = "TimeDistributed"


def folded(x: Any) -> Any:
    """(rows, steps, …) as (rows * steps, …)."""
    return ops.reshape(x, (-1, *lengths(x)[2:]))


def unfolded(y: Any, x: Any) -> Any:
    """(rows * steps, …) as (rows, steps, …), with the steps of x."""
    return ops.reshape(y, (-1, lengths(x)[1], *lengths(y)[1:]))


def lengths(x: Any) -> list[Any]:
    """The lengths of a tensor's axes, as numbers where they are known."""
    found = ops.shape(x)
    return [found[axis] if n is None else n for axis, n in enumerate(x.shape)]


@registered
class SmoothUpSampling2D(keras.layers.UpSampling2D):  # type: ignore[misc]
    """UpSampling2D by interpolation, also of pictures of any size, which Keras 3.15 refuses."""

    def call(self, inputs: Any) -> Any:
        turned = self.data_format == "channels_first"
        x = ops.transpose(inputs, (0, 2, 3, 1)) if turned else inputs
        _, height, width, _ = lengths(x)
        size = (height * self.size[0], width * self.size[1])
        x = backend.image.resize(x, size, self.interpolation, data_format="channels_last")
        return ops.transpose(x, (0, 3, 1, 2)) if turned else x
