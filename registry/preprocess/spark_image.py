"""Spark's image struct: origin, height, width, nChannels, mode, data (BGR, row by row)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import BadRow
from .decode import check_size

CHANNELS = {0: 1, 16: 3, 24: 4}  # by mode: OpenCV's CV_8UC1, CV_8UC3, CV_8UC4


def struct_pixels(value: Any) -> np.ndarray:
    """Spark's image struct as (height, width, 1, 3 or 4), BGR(A) turned to RGB(A)."""
    height, width, channels, mode, data = (
        _field(value, name) for name in ("height", "width", "nChannels", "mode", "data")
    )
    if mode == -1:
        raise BadRow("Spark could not decode this picture (its mode is -1)")
    if CHANNELS.get(mode) != channels:
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
