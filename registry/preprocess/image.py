"""Encoded pictures, and Spark's image struct, to pixels as Keras would have loaded them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

import numpy as np
import PIL.Image
import PIL.ImageOps

from ..errors import InvalidPreprocess
from ..signature import TensorSpec
from .decode import opened, read
from .finish import Finish, Step
from .load_img import FILTERS as PIL_FILTERS
from .load_img import load_img
from .options import (
    Numbers,
    divisors,
    from_options,
    input_name,
    is_whole,
    jsonable,
    numbers,
    numpy_dtype,
    one_of,
    whole_number,
)
from .resize import METHODS, fitted
from .spark_image import struct_pixels
from .tf_decode import tf_pixels, with_channels

CHANNELS = {"rgb": 3, "bgr": 3, "grayscale": 1, "rgba": 4}
FILTERS = {"load_img": tuple(PIL_FILTERS), "image_dataset": METHODS}
CROP_METHODS = ("bilinear", "nearest", "lanczos3", "lanczos5", "bicubic", "area")
FITS = {
    "stretch": "resized",
    "crop": "cropped and resized",
    "cover": "cropped and resized",
    "pad": "resized and padded",
}
IMAGENET = {  # keras.applications.imagenet_utils.preprocess_input, mode="caffe" and "torch"
    "caffe": ((103.939, 116.779, 123.68), None),
    "torch": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class Image:
    """A picture to the pixels Keras would have loaded, then scaled as the network was trained.

    size: ``(height, width)``; None takes it from the model's input.
    resize: the filter. Pillow's for ``load_img`` (nearest, bilinear, bicubic, hamming, box,
        lanczos; all but nearest antialiased), tf.image.resize's for ``image_dataset`` (bilinear,
        nearest, bicubic, area, lanczos3, lanczos5, gaussian, mitchellcubic; not antialiased).
    color: ``rgb``, ``grayscale``, ``rgba`` as Keras's color_mode; ``bgr`` is rgb, then reversed.
    fit: ``stretch``; ``crop`` = ``load_img(keep_aspect_ratio=True)`` or
        ``image_dataset_from_directory(crop_to_aspect_ratio=True)``; ``pad`` = PIL.ImageOps.pad
        or ``pad_to_aspect_ratio=True`` (tf.image.resize_with_pad), both on black; ``cover`` =
        PIL.ImageOps.fit, as Teachable Machine crops (``load_img`` only).
    scale: None keeps 0..255; ``unit`` divides by 255; ``tf`` (-1..1), ``caffe`` (BGR minus the
        ImageNet mean) and ``torch`` are keras.applications' preprocess_input modes.
    mean, std: ``(x - mean) / std`` after scale, one number or one per channel.
    like: ``load_img`` = keras.utils.load_img and img_to_array (Pillow decodes);
        ``image_dataset`` = keras.utils.image_dataset_from_directory (TensorFlow's decoders).
    exif: turn the picture upright first with PIL.ImageOps.exif_transpose (``load_img`` only;
        Keras does not).
    """

    size: tuple[int, int] | None = None
    resize: str = "bilinear"
    color: str = "rgb"
    fit: str = "stretch"
    scale: str | None = None
    mean: Numbers = None
    std: Numbers = None
    like: str = "load_img"
    exif: bool = False

    runs_code: ClassVar[bool] = False

    def __post_init__(self) -> None:
        one_of("like", self.like, FILTERS)
        one_of(f"with like={self.like!r} resize", self.resize, FILTERS[self.like])
        one_of("color", self.color, CHANNELS)
        one_of("fit", self.fit, FITS)
        one_of("scale", self.scale, (None, "unit", "tf", "caffe", "torch"))
        one_of("exif", self.exif, (False, True))
        object.__setattr__(self, "size", _size(self.size))
        object.__setattr__(self, "mean", self._per_channel("mean", numbers("mean", self.mean)))
        object.__setattr__(self, "std", self._per_channel("std", divisors("std", self.std)))
        self._check_together()

    def _per_channel(self, option: str, value: Numbers) -> Numbers:
        wanted = CHANNELS[self.color]
        if isinstance(value, tuple) and len(value) != wanted:
            raise InvalidPreprocess(
                f"{option} has {len(value)} numbers; color={self.color!r} takes one or {wanted}"
            )
        return value

    def _check_together(self) -> None:
        if self.exif and self.like != "load_img":
            raise InvalidPreprocess("exif=True needs like='load_img'; TensorFlow never turns")
        if self.fit == "cover" and self.like != "load_img":
            raise InvalidPreprocess("fit='cover' is Pillow's; it needs like='load_img'")
        if self.scale == "caffe" and self.color != "rgb":
            raise InvalidPreprocess("scale='caffe' itself turns RGB into BGR; it needs color='rgb'")
        if self.scale == "torch" and self.color not in ("rgb", "bgr"):
            raise InvalidPreprocess("scale='torch' needs three channels: color='rgb' or 'bgr'")
        if self.fit == "crop" and self.like == "image_dataset":
            one_of("with like='image_dataset', fit='crop' resize", self.resize, CROP_METHODS)

    @property
    def _scales(self) -> bool:
        return any(option is not None for option in (self.scale, self.mean, self.std))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with ``kind``; options at their default are left out."""
        return jsonable(self, "image")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Image:
        """The preprocessor that ``to_json`` wrote."""
        image: Image = from_options(cls, value)
        return image

    def check(self, spec: TensorSpec) -> None:
        """Raise InvalidPreprocess unless the pixels fit the input.

        It takes (height, width, channels); (height, width) in grayscale; or, with a size given,
        one flat axis of height * width * channels.
        """
        height, width = self._target(spec)
        channels = CHANNELS[self.color]
        shapes: list[tuple[int, ...]] = [(height, width, channels), (height * width * channels,)]
        if channels == 1:
            shapes.append((height, width))
        if not any(_fits(spec.shape, shape) for shape in shapes):
            raise InvalidPreprocess(
                f"{input_name(spec)} cannot take a {self.color} picture, which is "
                f"{' or '.join(str(shape) for shape in shapes)}"
            )
        if spec.dtype == "string":
            raise InvalidPreprocess(f"{input_name(spec)} cannot take pixels")
        if is_whole(spec) and self._scales:
            raise InvalidPreprocess(
                f"{input_name(spec)} takes whole numbers; scale, mean and std would be cut off"
            )

    def _target(self, spec: TensorSpec) -> tuple[int, int]:
        if self.size is not None:
            return self.size
        if len(spec.shape) in (2, 3):
            height, width = spec.shape[:2]
            if height is not None and width is not None:
                return height, width
        raise InvalidPreprocess(
            f"{input_name(spec)} does not say how large a picture is; give size=(height, width)"
        )

    def prepare(self, value: Any, spec: TensorSpec) -> np.ndarray:
        """One picture as (height, width, channels): uint8, float32 where the original is.

        value is encoded bytes or Spark's image struct; whatever is wrong with it is a BadRow.
        """
        height, width = self._target(spec)
        if isinstance(value, (bytes, bytearray, memoryview)):
            pixels = read(self._decoded, bytes(value), height, width)
        else:
            pixels = self._from_struct(value, height, width)
        if self.color == "bgr":
            pixels = pixels[..., ::-1]
        return np.ascontiguousarray(pixels)

    def _from_struct(self, value: Any, height: int, width: int) -> np.ndarray:
        pixels = struct_pixels(value)
        channels = pixels.shape[2]
        if self.like == "load_img":
            image = PIL.Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
            return self._loaded(image, height, width)
        color, alpha = (pixels[..., :3], pixels[..., 3]) if channels == 4 else (pixels, None)
        return self._fitted(with_channels(color, alpha, CHANNELS[self.color]), height, width)

    def finish(self, batch: np.ndarray, spec: TensorSpec) -> np.ndarray:
        """A stack of prepared pictures scaled, in the input's dtype and shape."""
        return self.finishing(spec, str(batch.dtype))(batch)

    @property
    def usual_dtype(self) -> str:
        """The dtype of prepared pixels, but for gray pictures of more than 8 bits."""
        whole = self.like == "load_img" or self.resize == "nearest"
        return "uint8" if whole else "float32"

    def finishing(self, spec: TensorSpec, given: str = "uint8") -> Finish:
        """What ``finish`` does to pixels of the dtype given, as data."""
        row = (*self._target(spec), CHANNELS[self.color])
        return Finish(given, row, self._steps(), str(numpy_dtype(spec)), self._shape(spec))

    def _steps(self) -> tuple[Step, ...]:
        """keras.applications' preprocess_input, then mean and std."""
        steps: list[Step] = []
        if self.scale in ("unit", "torch"):
            steps.append(("divide", (255.0,)))
        elif self.scale == "tf":
            steps += [("divide", (127.5,)), ("subtract", (1.0,))]
        elif self.scale == "caffe":
            steps.append(("reverse", ()))
        for mean, std in (IMAGENET.get(self.scale or "", (None, None)), (self.mean, self.std)):
            steps += [("subtract", _tuple(mean))] if mean is not None else []
            steps += [("divide", _tuple(std))] if std is not None else []
        return tuple(steps)

    def _shape(self, spec: TensorSpec) -> tuple[int, ...]:
        height, width = self._target(spec)
        shape = (height, width, CHANNELS[self.color])
        return {3: shape, 2: shape[:2]}.get(len(spec.shape), (math.prod(shape),))

    def describe(self) -> str:
        """One sentence for people."""
        source = {
            "load_img": "as keras.utils.load_img does",
            "image_dataset": "as keras.utils.image_dataset_from_directory does",
        }[self.like]
        size = f"{self.size[0]} x {self.size[1]} pixels" if self.size else "the model's size"
        parts = [f"pictures are decoded {source}"]
        if self.exif:
            parts.append("turned upright by EXIF")
        parts.append(f"{FITS[self.fit]} to {size} ({self.resize}, {self.color})")
        if self.scale:
            parts.append(f"scaled like {self.scale!r}")
        if self.mean is not None or self.std is not None:
            parts.append(f"standardised with mean {self.mean} and deviation {self.std}")
        return ", ".join(parts)

    def example(self, spec: TensorSpec, rng: np.random.Generator) -> bytes:
        """A smooth picture with edges and a little noise, a quarter larger than asked, as PNG."""
        height, width = (length + length // 4 + 1 for length in self._target(spec))
        y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
        pixels = np.empty((height, width, 3))
        for channel in range(3):
            a, b, c, d = rng.uniform(-3, 3, 4)
            pixels[..., channel] = np.sin(a + b * x + c * y) + (x > y * d) * rng.uniform(-0.5, 0.5)
        pixels = 127 + 80 * pixels + rng.normal(0, 4, pixels.shape)
        file = BytesIO()
        PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
        return file.getvalue()

    def _decoded(self, data: bytes, height: int, width: int) -> np.ndarray:
        if self.like == "image_dataset":
            return self._fitted(tf_pixels(data, CHANNELS[self.color]), height, width)
        image: PIL.Image.Image = opened(data)
        return self._loaded(
            PIL.ImageOps.exif_transpose(image) if self.exif else image, height, width
        )

    def _fitted(self, pixels: np.ndarray, height: int, width: int) -> np.ndarray:
        return fitted(pixels, height, width, self.resize, self.fit)

    def _loaded(self, image: PIL.Image.Image, height: int, width: int) -> np.ndarray:
        return load_img(image, height, width, color=self.color, resize=self.resize, fit=self.fit)


def _tuple(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise InvalidPreprocess(f"size={size!r} must be (height, width) or None")
    for length in size:
        whole_number("a length in size", length, least=1)
    return (size[0], size[1])


def _fits(wanted: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    return len(wanted) == len(shape) and all(
        a is None or a == b for a, b in zip(wanted, shape, strict=True)
    )
