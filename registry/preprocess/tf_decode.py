"""Pixels as tf.io.decode_image gives them, without TensorFlow.

TensorFlow's choices, read from its kernels and measured against TensorFlow 2.21: libjpeg-turbo
with the fast DCT; libpng that drops alpha, keeps the high byte of 16 bits and turns colour to gray
with its own weights; the first frame of a GIF on black; raw BMP bytes; WebP only where its alpha
is what was asked for.
"""

from __future__ import annotations

import re
import struct
import zlib

import numpy as np

from ..errors import BadRow
from .decode import check_size, format_of, opened

GRAY = (9797, 19234, 3737)  # libpng's 0.299, 0.587 and the rest, in 1/32768
FORGIVEN = ("Corrupt JPEG data", "Invalid SOS parameters")  # warnings that change no pixel
ADOBE = re.compile(rb"\xff\xee..Adobe", re.DOTALL)
SRGB_GAMMA = 45455  # what libpng takes for a PNG that says sRGB, in 1/100000


def tf_pixels(data: bytes, channels: int) -> np.ndarray:
    """``tf.io.decode_image(data, channels, expand_animations=False)``: uint8 (h, w, channels)."""
    name = format_of(data)
    if name not in DECODERS:
        raise BadRow(f"image_dataset reads {', '.join(DECODERS)}, not {name}, as TensorFlow does")
    return DECODERS[name](data, channels)


def with_channels(
    color: np.ndarray, alpha: np.ndarray | None, channels: int, gamma: int = 100_000
) -> np.ndarray:
    """A (h, w, 1 or 3) picture and its alpha with 1, 3 or 4 channels, as libpng turns them."""
    if channels == 1:
        return color if color.shape[2] == 1 else _gray(color, gamma)
    if color.shape[2] == 1:
        color = color.repeat(3, axis=2)
    if channels == 3:
        return color
    if alpha is None:
        alpha = np.full(color.shape[:2], 255, np.uint8)
    return np.dstack([color, alpha])


def _gray(color: np.ndarray, gamma: int) -> np.ndarray:
    red, green, blue = (color[..., i].astype(np.uint32) for i in range(3))
    red_share, green_share, blue_share = GRAY
    if abs(gamma - 100_000) <= 5_000:
        gray = (red * red_share + green * green_share + blue * blue_share) >> 15
        return gray.astype(np.uint8)[..., None]
    linear, encoded = _gamma_table(100_000 / gamma), _gamma_table(gamma / 100_000)
    mixed = linear[red] * red_share + linear[green] * green_share + linear[blue] * blue_share
    gray = np.where((red == green) & (red == blue), red, encoded[(mixed + 16384) >> 15])
    return gray.astype(np.uint8)[..., None]


def _gamma_table(exponent: float) -> np.ndarray:
    return np.floor(255 * (np.arange(256) / 255) ** exponent + 0.5).astype(np.uint32)


def _jpeg(data: bytes, channels: int) -> np.ndarray:
    import simplejpeg

    if channels == 4:
        raise BadRow("a JPEG has no alpha channel, and image_dataset adds none")
    height, width, space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    check_size(width, height)
    if space not in ("CMYK", "YCCK"):
        return _turbo(data, "RGB" if channels == 3 else "GRAY")
    if channels == 1:
        raise BadRow("a CMYK JPEG cannot be read as grayscale by image_dataset")
    cmyk = _turbo(data, "CMYK").astype(np.uint16)
    if not ADOBE.search(data, 0, data.find(b"\xff\xda")):
        cmyk = 255 - cmyk  # the marker says that they are inverted already
    return (cmyk[..., :3] * cmyk[..., 3:] // 255).astype(np.uint8)


def _turbo(data: bytes, space: str) -> np.ndarray:
    """As TensorFlow: damaged data is decoded as far as it goes, but its early end is refused."""
    from simplejpeg import decode_jpeg

    try:
        pixels: np.ndarray = decode_jpeg(data, colorspace=space, fastdct=True)
    except ValueError as error:
        unfinished = data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
        if unfinished or not str(error).startswith(FORGIVEN):
            raise
        return _turbo_forgiving(data, space, error)
    return pixels


def _turbo_forgiving(data: bytes, space: str, error: ValueError) -> np.ndarray:
    """Without ``strict`` simplejpeg hides errors too: what it left unwritten tells them."""
    from simplejpeg import decode_jpeg, decode_jpeg_header

    height, width, _, _ = decode_jpeg_header(data, strict=False)
    shape = (height, width, {"RGB": 3, "GRAY": 1, "CMYK": 4}[space])
    black, white = np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)
    for buffer in (black, white):
        decode_jpeg(data, colorspace=space, fastdct=True, strict=False, buffer=buffer)
    if not np.array_equal(black, white):
        raise error
    return black


def _png(data: bytes, channels: int) -> np.ndarray:
    image = opened(data)
    _check_chunks(data)
    image.load()
    gamma = SRGB_GAMMA if "srgb" in image.info else round(image.info.get("gamma", 1.0) * 1e5)
    transparency = image.info.get("transparency")
    if image.mode == "P":
        rgba = np.asarray(image.convert("RGBA"))
        alpha = None if transparency is None else rgba[..., 3]
        pixels = rgba[..., :3]
    else:
        pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
        pixels = np.atleast_3d(pixels)
        alpha = None
        if transparency is not None:
            if image.mode in ("1", "L"):
                transparency *= 255 // ((1 << data[24]) - 1)  # Pillow gives it as it is stored
            alpha = np.where((pixels == transparency).all(axis=2), 0, 255).astype(np.uint8)
    if pixels.dtype != np.uint8:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.shape[2] in (2, 4):
        pixels, alpha = pixels[..., :-1], pixels[..., -1]
    if alpha is None:  # libpng's filler is the largest value of the file's own depth
        alpha = np.full(pixels.shape[:2], (1 << min(data[24], 8)) - 1, np.uint8)
    return with_channels(pixels, alpha, channels, gamma)


def _check_chunks(data: bytes) -> None:
    """Refuse what libpng refuses and Pillow lets pass: a wrong checksum, a missing end."""
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if end + 4 > len(data):
            break
        checksum = int.from_bytes(data[end : end + 4], "big")
        if kind[0:1].isupper() and zlib.crc32(data[at + 4 : end]) != checksum:  # a critical one
            raise BadRow("the PNG data is damaged (a checksum is wrong)")
        if kind == b"IEND":
            return
        at = end + 4
    raise BadRow("the PNG data ends early (truncated)")


def _gif(data: bytes, channels: int) -> np.ndarray:
    if channels != 3:
        raise BadRow("image_dataset reads a GIF with three channels only")
    image = opened(data)
    frames = _gif_frames(data)
    width, height = (max(frame[side] for frame in frames) for side in (2, 3))
    check_size(width, height)
    image.load()
    left, top, frame_width, frame_height = frames[0]
    box = (left, top, left + frame_width, top + frame_height)
    clear = image.info.pop("transparency", None)
    drawn = np.asarray(image.convert("RGB").crop(box))
    if clear is not None:
        drawn = drawn * (np.asarray(image.crop(box)) != clear)[..., None]
    pixels = np.zeros((height, width, 3), np.uint8)
    inside = drawn[: max(height - top, 0), : max(width - left, 0)]
    pixels[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return pixels


def _gif_frames(data: bytes) -> list[tuple[int, ...]]:
    """Left, top, width, height of each whole frame (GIF89a, section 20).

    TensorFlow's canvas is as large as the largest of them, whatever the screen's size is.
    """
    frames: list[tuple[int, ...]] = []
    at = 13 + _color_table(data[10])
    while data[at : at + 1] in (b"!", b","):
        start, is_frame = at, data[at : at + 1] == b","
        if is_frame and start + 10 > len(data):
            break
        at += 11 + _color_table(data[start + 9]) if is_frame else 2
        while at < len(data) and data[at]:  # sub-blocks, up to one of length 0
            at += 1 + data[at]
        if at >= len(data):
            break
        if is_frame:
            frames.append(struct.unpack_from("<4H", data, start + 1))
        at += 1
    if not frames:
        raise BadRow("the GIF data ends early (truncated)")
    return frames


def _color_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _bmp(data: bytes, channels: int) -> np.ndarray:
    """Rows of bytes, whatever the header says of palettes, masks or compression."""
    if channels == 1:
        raise BadRow("image_dataset does not read a BMP as grayscale")
    if len(data) < 32:
        raise BadRow("the BMP data ends early (truncated)")
    start, width, height = (
        int.from_bytes(data[at : at + 4], "little", signed=True) for at in (10, 18, 22)
    )
    depth = int.from_bytes(data[28:30], "little", signed=True) // 8
    if depth not in (1, 3, 4) or width <= 0 or not height or start < 0:
        raise BadRow(f"image_dataset reads a BMP of 8, 24 or 32 bits, not of {data[28]}")
    check_size(width, abs(height))
    row = (depth * width + 3) // 4 * 4
    if len(data) != start + row * abs(height):
        raise BadRow("the BMP data does not have the length that its header says")
    rows = np.frombuffer(data, np.uint8, offset=start).reshape(abs(height), row)
    pixels = rows[:: 1 if height < 0 else -1, : depth * width].reshape(-1, width, depth)
    color = pixels if depth == 1 else pixels[..., 2::-1]
    return with_channels(color, pixels[..., 3] if depth == 4 else None, channels)


def _webp(data: bytes, channels: int) -> np.ndarray:
    if channels == 1:
        raise BadRow("image_dataset does not read a WebP as grayscale")
    image = opened(data)
    pixels = np.asarray(image)
    if pixels.shape[2] != channels:
        has = "has" if pixels.shape[2] == 4 else "has no"
        raise BadRow(f"the WebP {has} alpha, image_dataset asked for {channels} channels")
    return pixels


DECODERS = {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "BMP": _bmp, "WebP": _webp}
