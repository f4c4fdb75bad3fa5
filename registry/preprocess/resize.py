"""tf.image.resize (antialias=False) without TensorFlow: every output pixel is a sum of few taps.

The rules are TensorFlow's for half-pixel centres, in float32 as its kernels compute them:
ResizeBilinear, ResizeNearestNeighbor, ResizeBicubic (Keys' cubic, a = -0.5, from a table of 1,024
steps), ResizeArea, and ScaleAndTranslate for lanczos3, lanczos5, gaussian and mitchellcubic.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ..errors import BadRow

F = np.float32
CUBIC_STEPS = 1024
BAND = 32  # rows at a time, so that what is between stays in the cache: twice as fast


def fitted(pixels: np.ndarray, height: int, width: int, method: str, fit: str) -> np.ndarray:
    """What image_dataset_from_directory makes of a decoded picture, by its three fits."""
    if fit == "pad":
        return _resized_with_pad(pixels, height, width, method)
    if fit == "crop":
        pixels = _smart_crop(pixels, height, width)
    return resized(pixels, height, width, method)


def _smart_crop(pixels: np.ndarray, to_height: int, to_width: int) -> np.ndarray:
    """The crop of keras.preprocessing.image.smart_resize, in float32 as in a tf.data pipeline."""
    height, width = pixels.shape[:2]
    crop_height = max(min(height, int(F(width * to_height) / F(to_width))), 1)
    crop_width = max(min(width, int(F(height * to_width) / F(to_height))), 1)
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    return pixels[top : top + crop_height, left : left + crop_width]


def _resized_with_pad(pixels: np.ndarray, height: int, width: int, method: str) -> np.ndarray:
    """tf.image.resize_with_pad."""
    ratio = max(F(pixels.shape[1]) / F(width), F(pixels.shape[0]) / F(height))
    inner_height, inner_width = F(pixels.shape[0]) / ratio, F(pixels.shape[1]) / ratio
    top = max(0, int(np.floor((F(height) - inner_height) / F(2))))
    left = max(0, int(np.floor((F(width) - inner_width) / F(2))))
    if int(inner_height) < 1 or int(inner_width) < 1:
        raise BadRow("the picture is too thin to be resized and padded")
    inner = resized(pixels, int(inner_height), int(inner_width), method)
    padded = np.zeros((height, width, pixels.shape[2]), inner.dtype)
    padded[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return padded


def resized(pixels: np.ndarray, height: int, width: int, method: str) -> np.ndarray:
    """``tf.image.resize(pixels, (height, width), method)`` of a (h, w, channels) array.

    float32; with ``nearest`` the dtype of pixels. As inside a tf.data pipeline, a picture that has
    the size already is filtered too.
    """
    if method == "nearest":
        rows = pixels.take(_nearest(pixels.shape[0], height), axis=0)
        return rows.take(_nearest(pixels.shape[1], width), axis=1)
    channels = pixels.shape[2]
    lines = pixels.reshape(len(pixels), -1)
    across = _columns(pixels.shape[1], width, method, channels)
    index, weight = taps(len(pixels), height, method)
    result = np.empty((height, width * channels), F)
    for start in range(0, height, BAND):
        band = slice(start, start + BAND)
        rows = _summed(lines, index[:, band], weight[:, band, None], 0)
        result[band] = _summed(rows, *across, 1)
    return result.reshape(height, width, channels)


def _summed(values: np.ndarray, index: np.ndarray, weight: np.ndarray, axis: int) -> np.ndarray:
    total: np.ndarray = values.take(index[0], axis) * weight[0]
    for tap in range(1, len(index)):
        total += values.take(index[tap], axis) * weight[tap]
    return total


@lru_cache(maxsize=64)
def _columns(length: int, wanted: int, method: str, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """The taps of a line whose pixels lie side by side, channel after channel."""
    index, weight = taps(length, wanted, method)
    spread = index[..., None] * channels + np.arange(channels)
    return spread.reshape(len(index), -1), weight.repeat(channels, axis=1)


@lru_cache(maxsize=256)
def taps(length: int, wanted: int, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Source positions and their float32 weights, both (taps, wanted), of each output position."""
    if method in KERNELS:
        index, weight = _kernel_taps(length, wanted, *KERNELS[method])
    else:
        index, weight = {"bilinear": _bilinear, "bicubic": _bicubic, "area": _area}[method](
            length, wanted
        )
    return index.astype(np.intp), weight.astype(F)


def _centres(length: int, wanted: int) -> np.ndarray:
    """Where the middle of each output pixel lies in the source, in source pixels from the edge."""
    return (np.arange(wanted, dtype=F) + F(0.5)) * (F(length) / F(wanted))


def _nearest(length: int, wanted: int) -> np.ndarray:
    nearest: np.ndarray = np.clip(np.floor(_centres(length, wanted)), 0, length - 1)
    return nearest.astype(np.intp)


def _bilinear(length: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    position = _centres(length, wanted) - F(0.5)
    below = np.floor(position)
    share = position - below
    index = np.stack([np.maximum(below, 0), np.minimum(np.ceil(position), length - 1)])
    return index, np.stack([F(1) - share, share])


def _bicubic(length: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    position = _centres(length, wanted) - F(0.5)
    below = np.floor(position)
    step = np.rint((position - below) * F(CUBIC_STEPS)) / F(CUBIC_STEPS)
    distance = np.stack([F(1) + step, step, F(1) - step, F(2) - step])
    return _normalized(below + np.arange(-1, 3, dtype=F)[:, None], _cubic(distance), length)


def _area(length: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    scale = F(length) / F(wanted)
    edge = np.arange(wanted + 1, dtype=F) * scale
    start, stop = edge[:-1], edge[1:]
    first = np.floor(start)
    count = int((np.ceil(stop) - first).max())
    index = first + np.arange(count, dtype=F)[:, None]
    covered = np.minimum(index + F(1), stop) - np.maximum(index, start)
    covered = np.where((index < start) & (index + F(1) > stop), scale, covered)
    return np.clip(index, 0, length - 1), np.maximum(covered, F(0)) / scale


def _kernel_taps(
    length: int, wanted: int, kernel: Callable[[np.ndarray], np.ndarray], radius: float
) -> tuple[np.ndarray, np.ndarray]:
    inverse = F(1.0 / float(F(wanted) / F(length)))
    centre = (np.arange(wanted, dtype=F) + F(0.5)) * inverse
    first = np.ceil(centre - F(radius) - F(0.5))
    index = first + np.arange(2 * int(np.ceil(radius)) + 1, dtype=F)[:, None]
    last = np.floor(centre + F(radius) - F(0.5))
    weight = np.where(index <= last, kernel(np.abs(index + F(0.5) - centre)), F(0))
    return _normalized(index, weight, length)


def _normalized(
    index: np.ndarray, weight: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Taps outside the picture weigh nothing, the others add up to one."""
    weight = np.where((index >= 0) & (index < length), weight, F(0)).astype(F)
    return np.clip(index, 0, length - 1), weight / weight.sum(axis=0, dtype=F)


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys 1981, a = -0.5."""
    near = (F(1.5) * x - F(2.5)) * x * x + F(1)
    far = ((F(-0.5) * x + F(2.5)) * x - F(4)) * x + F(2)
    return np.where(x < 1, near, np.where(x < 2, far, F(0)))


def _mitchell(x: np.ndarray) -> np.ndarray:
    """Mitchell and Netravali 1988, B = C = 1/3."""
    near = (F(7 / 6) * x - F(2)) * x * x + F(8 / 9)
    far = ((F(-7 / 18) * x + F(2)) * x - F(10 / 3)) * x + F(16 / 9)
    return np.where(x < 1, near, np.where(x < 2, far, F(0)))


def _gaussian(x: np.ndarray) -> np.ndarray:
    """Sigma 0.5, radius 1.5."""
    return np.where(x < 1.5, np.exp(-2 * x * x), F(0))


def _lanczos(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.where(x <= radius, np.sinc(x) * np.sinc(x / radius), 0.0)


KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "lanczos3": (_lanczos(3), 3.0),
    "lanczos5": (_lanczos(5), 5.0),
    "gaussian": (_gaussian, 1.5),
    "mitchellcubic": (_mitchell, 2.0),
}
METHODS = ("bilinear", "nearest", "bicubic", "area", *KERNELS)
