"""keras.utils.load_img and img_to_array, from the open picture on, with the same Pillow calls."""

from __future__ import annotations

import numpy as np
import PIL.Image
import PIL.ImageOps

Box = tuple[int, int, int, int]
MODES = {"rgb": "RGB", "bgr": "RGB", "grayscale": "L", "rgba": "RGBA"}
KEPT_GRAY = ("L", "I;16", "I")  # color_mode="grayscale" leaves these as they are
FITS = {"pad": PIL.ImageOps.pad, "cover": PIL.ImageOps.fit}
FILTERS = {
    name: PIL.Image.Resampling[name.upper()]
    for name in ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")
}


def load_img(
    image: PIL.Image.Image, height: int, width: int, *, color: str, resize: str, fit: str
) -> np.ndarray:
    """The picture as (height, width, channels): uint8, float32 for gray of more than 8 bits."""
    mode = MODES[color]
    if image.mode != mode and not (mode == "L" and image.mode in KEPT_GRAY):
        image = _converted(image, mode)
    method = FILTERS[resize]
    if fit in FITS:
        image = FITS[fit](image, (width, height), method)
    elif image.size != (width, height):
        box = _crop_box(*image.size, width, height) if fit == "crop" else None
        image = image.resize((width, height), method, box=box)
    pixels = np.asarray(image)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32)


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
