"""Encoded pictures, and Spark's image struct, to pixels as Keras would have loaded them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

import numpy as np
import PIL.Image
import PIL.ImageOps

from ..errors import BadRow, InvalidPreprocess
from ..signature import TensorSpec
from .decode import check_size, opened, read
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
    standardized,
    whole_number,
)
from .resize import METHODS, resized
from .tf_decode import tf_pixels, with_channels

CHANNELS = {"rgb": 3, "bgr": 3, "grayscale": 1, "rgba": 4}
MODES = {"rgb": "RGB", "bgr": "RGB", "grayscale": "L", "rgba": "RGBA"}
KEPT_GRAY = ("L", "I;16", "I")  # load_img leaves these as they are
PIL_FILTERS = {
    name: PIL.Image.Resampling[name.upper()]
    for name in ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")
}
FILTERS = {"load_img": tuple(PIL_FILTERS), "image_dataset": METHODS}
CROP_METHODS = ("bilinear", "nearest", "lanczos3", "lanczos5", "bicubic", "area")
IMAGENET = {  # keras.applications.imagenet_utils.preprocess_input, mode="caffe" and "torch"
    "caffe": ((103.939, 116.779, 123.68), None),
    "torch": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
Box = tuple[int, int, int, int]
SPARK_CHANNELS = {0: 1, 16: 3, 24: 4}  # OpenCV's CV_8UC1, CV_8UC3, CV_8UC4


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
        or ``pad_to_aspect_ratio=True`` (tf.image.resize_with_pad), both on black.
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
        one_of("fit", self.fit, ("stretch", "crop", "pad"))
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
        if len(spec.shape) in (2, 3) and None not in spec.shape[:2]:
            return spec.shape[:2]  # type: ignore[return-value]
        raise InvalidPreprocess(
            f"{input_name(spec)} does not say how large a picture is; give size=(height, width)"
        )

    def prepare(self, value: Any, spec: TensorSpec) -> np.ndarray:
        """One picture as (height, width, channels): uint8, float32 where the original is.

        value is encoded bytes or Spark's image struct; whatever is wrong with it is a BadRow.
        """
        height, width = self._target(spec)
        if isinstance(value, (bytes, bytearray, memoryview)):
            load = _load_img if self.like == "load_img" else _image_dataset
            pixels = read(load, bytes(value), self, height, width)
        else:
            pixels = self._from_struct(value, height, width)
        if self.color == "bgr":
            pixels = pixels[..., ::-1]
        return np.ascontiguousarray(pixels)

    def _from_struct(self, value: Any, height: int, width: int) -> np.ndarray:
        pixels = _struct_pixels(value)
        channels = pixels.shape[2]
        color, alpha = (pixels[..., :3], pixels[..., 3]) if channels == 4 else (pixels, None)
        if self.like == "image_dataset":
            return self._tf_sized(with_channels(color, alpha, CHANNELS[self.color]), height, width)
        image = PIL.Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        return read(self._pil_sized, b"BM", image, height, width)

    def finish(self, batch: np.ndarray, spec: TensorSpec) -> np.ndarray:
        """A stack of prepared pictures scaled, in the input's dtype and shape."""
        if self._scales:
            batch = standardized(self._scaled(batch.astype(np.float32)), self.mean, self.std)
        dtype = numpy_dtype(spec)
        if dtype.kind in "iu" and batch.dtype.kind == "f":
            limits = np.iinfo(dtype)
            batch = batch.clip(limits.min, limits.max)
        finished: np.ndarray = batch.astype(dtype, copy=False)
        return finished.reshape(len(batch), *self._shape(spec))

    def _scaled(self, batch: np.ndarray) -> np.ndarray:
        if self.scale == "unit":
            return batch / np.float32(255)
        if self.scale == "tf":
            return batch / np.float32(127.5) - np.float32(1)
        if self.scale == "torch":
            return standardized(batch / np.float32(255), *IMAGENET["torch"])
        if self.scale == "caffe":
            return standardized(batch[..., ::-1], *IMAGENET["caffe"])
        return batch

    def _shape(self, spec: TensorSpec) -> tuple[int, ...]:
        height, width = self._target(spec)
        shape = (height, width, CHANNELS[self.color])
        return {3: shape, 2: shape[:2]}.get(len(spec.shape), (-1,))

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
        fit = {"stretch": "resized", "crop": "cropped and resized", "pad": "resized and padded"}
        parts.append(f"{fit[self.fit]} to {size} ({self.resize}, {self.color})")
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

    def _pil_sized(self, _: bytes, image: PIL.Image.Image, height: int, width: int) -> np.ndarray:
        """keras.utils.load_img and img_to_array from the open picture on."""
        if self.exif:
            image = PIL.ImageOps.exif_transpose(image)
        mode = MODES[self.color]
        if image.mode != mode and not (mode == "L" and image.mode in KEPT_GRAY):
            image = _converted(image, mode)
        method = PIL_FILTERS[self.resize]
        if self.fit == "pad":
            image = PIL.ImageOps.pad(image, (width, height), method)
        elif image.size != (width, height):
            box = _crop_box(*image.size, width, height) if self.fit == "crop" else None
            image = image.resize((width, height), method, box=box)
        pixels = np.asarray(image)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        return pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)

    def _tf_sized(self, pixels: np.ndarray, height: int, width: int) -> np.ndarray:
        """What image_dataset_from_directory does after decoding."""
        if self.fit == "crop":
            pixels = _smart_crop(pixels, height, width)
        if self.fit == "pad":
            return _resized_with_pad(pixels, height, width, self.resize)
        return resized(pixels, height, width, self.resize)


def _load_img(data: bytes, image: Image, height: int, width: int) -> np.ndarray:
    return image._pil_sized(data, opened(data), height, width)


def _image_dataset(data: bytes, image: Image, height: int, width: int) -> np.ndarray:
    return image._tf_sized(tf_pixels(data, CHANNELS[image.color]), height, width)


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


def _converted(image: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    image.load()
    if mode != "RGBA" and isinstance(image.info.get("transparency"), bytes):
        del image.info["transparency"]  # convert() would only warn that it drops it
    return image.convert(mode)


def _crop_box(width: int, height: int, to_width: int, to_height: int) -> Box:
    """The centred box that ``load_img(keep_aspect_ratio=True)`` resizes."""
    crop_height = min(height, width * to_height // to_width)
    crop_width = min(width, height * to_width // to_height)
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return left, top, left + crop_width, top + crop_height


def _smart_crop(pixels: np.ndarray, to_height: int, to_width: int) -> np.ndarray:
    """The crop of keras.preprocessing.image.smart_resize, in float32 as in a tf.data pipeline."""
    height, width = pixels.shape[:2]
    f = np.float32
    crop_height = max(min(height, int(f(width * to_height) / f(to_width))), 1)
    crop_width = max(min(width, int(f(height * to_width) / f(to_height))), 1)
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    return pixels[top : top + crop_height, left : left + crop_width]


def _resized_with_pad(pixels: np.ndarray, height: int, width: int, method: str) -> np.ndarray:
    """tf.image.resize_with_pad."""
    f = np.float32
    ratio = max(f(pixels.shape[1]) / f(width), f(pixels.shape[0]) / f(height))
    inner_height, inner_width = f(pixels.shape[0]) / ratio, f(pixels.shape[1]) / ratio
    top = max(0, int(np.floor((f(height) - inner_height) / f(2))))
    left = max(0, int(np.floor((f(width) - inner_width) / f(2))))
    if int(inner_height) < 1 or int(inner_width) < 1:
        raise BadRow("the picture is too thin to be resized and padded")
    inner = resized(pixels, int(inner_height), int(inner_width), method)
    padded = np.zeros((height, width, pixels.shape[2]), inner.dtype)
    padded[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return padded


def _struct_pixels(value: Any) -> np.ndarray:
    """Spark's image struct as (height, width, 1, 3 or 4), BGR(A) turned to RGB(A)."""
    height, width, channels, mode, data = (
        _field(value, name) for name in ("height", "width", "nChannels", "mode", "data")
    )
    if mode == -1:
        raise BadRow("Spark could not decode this picture (its mode is -1)")
    if SPARK_CHANNELS.get(mode) != channels:
        raise BadRow(
            f"an image struct of mode {mode} and {channels} channels is not read; "
            "8-bit gray (0), BGR (16) and BGRA (24) are"
        )
    if data is None or min(height, width) < 1 or len(data) != height * width * channels:
        raise BadRow(
            f"the image struct says {height} x {width} x {channels} but carries "
            f"{0 if data is None else len(data)} bytes"
        )
    check_size(width, height)
    pixels = np.frombuffer(data, np.uint8).reshape(height, width, channels)
    return pixels if channels == 1 else pixels[..., [2, 1, 0, 3][:channels]]


def _field(value: Any, name: str) -> Any:
    try:
        field = value[name] if isinstance(value, Mapping) else getattr(value, name)
    except (KeyError, AttributeError):
        raise BadRow(
            f"a {type(value).__name__} is not a picture; encoded bytes or an image struct are"
        ) from None
    if field is None and name != "data":
        raise BadRow(f"the image struct's {name} is NULL")
    return field
