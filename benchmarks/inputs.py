"""Real rows for the real models: photos, handwritten digits, tables; each in a fixed order."""

from __future__ import annotations

import csv
import gzip
import io
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

CHURN_NUMBERS = (
    "Age",
    "Tenure",
    "Balance",
    "NumOfProducts",
    "HasCrCard",
    "IsActiveMember",
    "EstimatedSalary",
)
COUNTRIES = ("France", "Germany", "Spain")


def copy_pictures(folders: Iterable[Path], into: Path) -> Path:
    """Copies of the pictures of some folders, numbered; Keras and Spark then agree on the order."""
    into.mkdir()
    paths = [path for folder in folders for path in sorted(folder.iterdir())]
    for number, path in enumerate(paths):
        shutil.copyfile(path, into / f"{number:05d}{path.suffix}")
    return into


def mnist(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The MNIST test set: pixels (10000, 28, 28) and digits, from the idx files."""
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as file:
        return pixels, np.frombuffer(file.read(), np.uint8, offset=8)


def png(pixels: np.ndarray) -> bytes:
    """One gray picture as a PNG file."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_digits(folder: Path, into: Path) -> Path:
    """The 10,000 test digits as one Parquet file: image (PNG), digit."""
    pixels, digits = mnist(folder)
    table = pa.table({"image": [png(one) for one in pixels], "digit": pa.array(digits)})
    # Several row groups, so that every core has work.
    pq.write_table(table, into, row_group_size=2500)
    return into


def churn_rows(path: Path) -> np.ndarray:
    """The churn table as its network takes it: Male = 1, then one column per country."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = [
        [float(row["CreditScore"]) for row in rows],
        [float(row["Gender"] == "Male") for row in rows],
        *([float(row[name]) for row in rows] for name in CHURN_NUMBERS),
        *([float(row["Geography"] == country) for row in rows] for country in COUNTRIES),
    ]
    return np.array(columns).T


def keypoint_rows(path: Path) -> np.ndarray:
    """The 42 numbers of each hand; the first column is its sign."""
    return np.loadtxt(path, delimiter=",", encoding="utf-8-sig")[:, 1:]


def write_rows(rows: np.ndarray, into: Path) -> Path:
    """Rows of numbers as one Parquet file: row, x (nested arrays of DOUBLE)."""
    x = pa.array(rows.tolist())
    pq.write_table(pa.table({"row": np.arange(len(rows)), "x": x}), into)
    return into


def write_pictures(folder: Path, into: Path) -> Path:
    """A folder's pictures by name as one Parquet file: row, x (encoded bytes)."""
    contents = [path.read_bytes() for path in sorted(folder.iterdir())]
    table = pa.table({"row": np.arange(len(contents)), "x": pa.array(contents, pa.binary())})
    pq.write_table(table, into)
    return into
