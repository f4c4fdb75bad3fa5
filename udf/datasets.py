"""What analysts put after FROM: a dataset of the registry becomes a view of the session."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - PySpark's own name for it

from kerasql.registry.errors import InvalidInput
from kerasql.registry.version import Dataset
from kerasql.udf.functions import arrow_function
from kerasql.udf.query import sentence


def create_view(spark: SparkSession, dataset: Dataset) -> None:
    """Create or replace the dataset's temporary view."""
    frame(spark, dataset).createOrReplaceTempView(dataset.name)


def frame(spark: SparkSession, dataset: Dataset) -> DataFrame:
    """The dataset's rows; nothing is read yet but a schema."""
    try:
        if dataset.format == "images":
            return images(spark, dataset)
        reader = spark.read.format(dataset.format).options(**dataset.options)
        return reader.load(dataset.path) if dataset.path else reader.load()
    except (PySparkException, Py4JJavaError) as error:
        raise InvalidInput(
            f"the dataset {dataset.name!r} cannot be read: {sentence(error)}"
        ) from error


def images(spark: SparkSession, dataset: Dataset) -> DataFrame:
    """A folder of pictures: path, image BINARY, label, width, height.

    Every file is a row; width and height are NULL where it is no picture, and are only looked
    up by queries that ask for them. label is the name of the folder the file lies in.
    """
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true")
    files = reader.options(**dataset.options).load(dataset.path).select("path", "content")
    if empty := empty_files(dataset.path):
        # Spark's file index drops files of zero bytes; each is a row with a reason here.
        rows = spark.createDataFrame([(path, b"") for path in empty], files.schema)
        files = files.unionByName(rows)
    measured = arrow_function(
        spark, sizes, returns="STRUCT<width: INT, height: INT>", name="picture_size"
    )
    size = measured(F.col("content"))
    return files.select(
        F.col("path"),
        F.col("content").alias("image"),
        F.element_at(F.split("path", "/"), -2).alias("label"),
        size["width"].alias("width"),
        size["height"].alias("height"),
    )


def empty_files(folder: str) -> list[str]:
    """The files of zero bytes below a local folder, named as Spark names them."""
    root = Path(folder.removeprefix("file://").removeprefix("file:"))
    files = (Path(parent, name) for parent, _, names in os.walk(root) for name in sorted(names))
    return [
        f"file:{file}"
        for file in files
        if not file.name.startswith(("_", ".")) and file.is_file() and file.stat().st_size == 0
    ]


def sizes(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
    """Width and height of encoded pictures, from their headers."""
    import warnings

    from PIL import Image

    def size(data: bytes | None) -> tuple[int | None, int | None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(io.BytesIO(data or b"")) as picture:
                    return picture.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None, None

    for contents in batches:
        pairs = [size(content.as_py()) for content in contents]
        yield pa.StructArray.from_arrays(
            [pa.array([pair[axis] for pair in pairs], pa.int32()) for axis in (0, 1)],
            ["width", "height"],
        )
