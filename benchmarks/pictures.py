"""Varied JPEGs from a seed, in Parquet files that every core reads a part of."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL.Image

HEIGHT, WIDTH = 375, 500
GROUP_ROWS = 25
"""Rows of a row group, about 1 MB: Spark shares a file out by whole row groups."""

WORDS = ("Product", "street", "portrait", "landscape")
START = b"\xff\xd8"
COMMENT = b"\xff\xfe"


def jpegs(count: int, seed: int) -> list[bytes]:
    """So many different pictures of 500 x 375 pixels, about 39 KB each as a photo would be."""
    rng = np.random.default_rng(seed)
    return [jpeg(rng) for _ in range(count)]


def jpeg(rng: np.random.Generator) -> bytes:
    """Patches of colour under grain of two pixels, both different in every picture."""
    patches = rng.integers(0, 256, (*rng.integers(4, 12, 2), 3), dtype=np.uint8)
    smooth = PIL.Image.fromarray(patches).resize((WIDTH, HEIGHT), PIL.Image.Resampling.BICUBIC)
    strength = int(rng.integers(8, 33))
    grain = rng.integers(-strength, strength, (HEIGHT // 2 + 1, WIDTH // 2, 1), dtype=np.int16)
    grain = grain.repeat(2, axis=0).repeat(2, axis=1)[:HEIGHT]
    pixels = (np.asarray(smooth, np.int16) + grain).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "JPEG", quality=75)
    return file.getvalue()


def marked(content: bytes, mark: str) -> bytes:
    """The same picture as other bytes: a JPEG comment is put in, which no decoder looks at."""
    text = mark.encode()
    return START + COMMENT + (len(text) + 2).to_bytes(2, "big") + text + content[len(START) :]


def write_rows(path: Path, contents: Sequence[bytes], *, rows: int, mark: str) -> Path:
    """A Parquet file (id, caption, image) whose pictures no file with another mark has.

    More rows than contents take them again and again, each time as other bytes.
    """
    # Where pictures alone are wanted there may be no pyarrow.
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("id", pa.int64()), ("caption", pa.string()), ("image", pa.binary())])
    # JPEG cannot be compressed further.
    with pq.ParquetWriter(path, schema, compression="none") as writer:
        for group in groups(contents, rows, mark):
            writer.write_table(pa.Table.from_pylist(group, schema))
    return path


def groups(contents: Sequence[bytes], rows: int, mark: str) -> Iterator[list[dict[str, object]]]:
    """The rows, a row group at a time."""
    for first in range(0, rows, GROUP_ROWS):
        yield [
            {
                "id": n,
                "caption": f"{WORDS[n % len(WORDS)]} {n}",
                "image": marked(contents[n % len(contents)], f"{mark} {n // len(contents)}"),
            }
            for n in range(first, min(first + GROUP_ROWS, rows))
        ]
