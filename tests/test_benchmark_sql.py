"""What the benchmark through SQL measures with: its pictures, its shapes, its promises."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
from benchmarks.figures import Figure, median_ratio
from benchmarks.pictures import GROUP_ROWS, jpegs, marked, write_rows
from benchmarks.shapes import SHAPES


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(content)))


def test_pictures_are_varied_and_the_same_every_time() -> None:
    first, second = jpegs(20, seed=1), jpegs(20, seed=1)
    assert first == second
    assert len(set(first)) == 20
    assert pixels(first[0]).shape == (375, 500, 3)
    assert 25_000 < np.mean([len(one) for one in first]) < 55_000


def test_a_marked_picture_is_other_bytes_and_the_same_pixels() -> None:
    content = jpegs(1, seed=2)[0]
    assert marked(content, "a") != marked(content, "b")
    np.testing.assert_array_equal(pixels(marked(content, "a")), pixels(content))


def test_no_two_rows_of_a_file_or_of_two_files_are_the_same_bytes(tmp_path: Path) -> None:
    contents, rows = jpegs(3, seed=3), GROUP_ROWS + 1
    files = [write_rows(tmp_path / mark, contents, rows=rows, mark=mark) for mark in ("a", "b")]
    images = [image for file in files for image in pq.read_table(file)["image"].to_pylist()]
    assert len(set(images)) == len(images) == 2 * rows
    assert pq.ParquetFile(files[0]).num_row_groups == 2


def test_there_are_ten_shapes_and_each_asks_the_function() -> None:
    assert len({shape.sql for shape in SHAPES}) == 10
    assert all("{function}(" in shape.sql for shape in SHAPES)


@pytest.mark.parametrize(
    ("least", "most", "value", "kept", "promise"),
    [
        (0.85, None, 0.9, "yes", "≥ 0.85"),
        (0.85, None, 0.8, "NO", "≥ 0.85"),
        (None, 1, 1.1, "NO", "≤ 1"),
        (1, 1, 1, "yes", "exactly 1"),
        (None, None, 7, "", ""),
    ],
)
def test_a_promise_is_kept_or_not(
    least: float | None, most: float | None, value: float, kept: str, promise: str
) -> None:
    figure = Figure("what", value, least=least, most=most)
    assert (figure.kept, figure.promise) == (kept, promise)


def test_a_disturbed_round_does_not_move_the_ratio() -> None:
    assert median_ratio([90, 9, 90], [100, 100, 100]) == 0.9
