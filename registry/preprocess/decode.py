"""Encoded bytes to a Pillow picture: the header first, so that no size can surprise the memory."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Any

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.ImageFile import ImageFile

from ..errors import BadRow

MAX_PIXELS = 89_478_485  # Pillow's own limit before it warns of a decompression bomb

READERS: dict[str, Callable[[BytesIO], ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}
BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_quiet = threading.Lock()


def max_pixels() -> int:
    """The largest picture that is decoded, in pixels: KERASQL_MAX_PIXELS, else 89,478,485."""
    return int(os.environ.get("KERASQL_MAX_PIXELS") or MAX_PIXELS)


def format_of(data: bytes) -> str:
    """JPEG, PNG, GIF, BMP, WebP or TIFF by the first bytes; anything else is a BadRow."""
    if not data:
        raise BadRow("zero bytes instead of a picture")
    for beginning, name in BEGINNINGS.items():
        if data.startswith(beginning):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    raise BadRow(f"not a picture (begins with {data[:12]!r}); {', '.join(READERS)} are read")


def opened(data: bytes) -> ImageFile:
    """The picture as ``PIL.Image.open`` gives it, header read, pixels not yet.

    The format's reader is called directly: ``Image.open`` would warn about large pictures, and
    hand formats nobody expects in a table (PostScript) to programs outside.
    """
    name = format_of(data)
    if name == "WebP":
        check_size(*_webp_size(data))  # its reader allocates the canvas at once
    image = READERS[name](BytesIO(data))
    check_size(*image.size)
    return image


def check_size(width: int, height: int) -> None:
    """Refuse a picture that would not fit the memory planned for one row."""
    limit = max_pixels()
    if width * height > limit:
        raise BadRow(
            f"the picture is {width} x {height} pixels = {_mega(width * height)} megapixels, "
            f"over the limit of {_mega(limit)} (KERASQL_MAX_PIXELS)"
        )


def _mega(pixels: int) -> str:
    return f"{pixels / 1e6:.0f}" if pixels >= 1e6 else f"{pixels / 1e6:g}"


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height in a WebP header (VP8X, VP8L or VP8): RFC 9649, sections 2.5 to 2.7."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return _little(data[24:27]) + 1, _little(data[27:30]) + 1
    if chunk == b"VP8L":
        bits = _little(data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def read(decode: Callable[..., Any], data: bytes, *arguments: Any) -> Any:
    """``decode(data, *arguments)``, every failure a BadRow, every warning of Pillow silenced.

    Where warnings are errors, a picture that draws one (damaged EXIF …) is decoded once more with
    warnings off, one thread at a time; every other picture never touches the filters.
    """
    try:
        return decode(data, *arguments)
    except BadRow:
        raise
    except Warning:
        with _quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(decode, data, *arguments)
    except Exception as error:
        raise BadRow(_reason(data, error)) from error


def _reason(data: bytes, error: Exception) -> str:
    name = format_of(data)
    wrong = str(error) or type(error).__name__
    if "truncated" in wrong or "Premature end of JPEG file" in wrong or "ends early" in wrong:
        return f"the {name} data ends early (truncated)"
    return f"the {name} data is damaged ({wrong})"
