"""Awkward and broken pictures: a label, or NULL and a reason, and never a dead query."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks import peak
from pyspark.sql import SparkSession

from kerasql.registry.preprocess import Image
from kerasql.registry.store import connect
from kerasql.udf.deploy import deploy
from kerasql.udf.query import query

LABELS = ("cat", "dog", "bird")
BOMBS = ("bomb_12000x12000.png", "lying_header_60000x60000.png")
# A picture of the limit's 89 megapixels may take 3 bytes each, a bomb nothing of the kind.
BOMB_MB = 60

REASONS = {
    "zero_byte.jpg": "zero bytes instead of a picture",
    "text_renamed.jpg": "not a picture (begins with",
    "MANIFEST.json": "not a picture (begins with",
    "truncated_50pct.jpg": "the JPEG data ends early (truncated)",
    "truncated_last_2_bytes.jpg": "the JPEG data ends early (truncated)",
    "bad_crc_idat.png": "the PNG data is damaged (",
    "alpha_lossless.webp": "WebP",
    "bomb_12000x12000.png": "12000 x 12000 pixels = 144 megapixels, over the limit of 89",
    "lying_header_60000x60000.png": "60000 x 60000 pixels = 3600 megapixels, over the limit of 89",
}

ASK = """
SELECT substring_index(path, '/', -1) AS name,
       width,
       height,
       odd(image) AS label,
       try_odd(image) AS answer
FROM images
"""


@pytest.fixture(scope="module")
def pictures(data: Path) -> Path:
    return data / "images/odd"


@pytest.fixture(scope="module")
def manifest(pictures: Path) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads((pictures / "MANIFEST.json").read_text())
    assert len(kept) == 24
    return kept


@pytest.fixture(scope="module", params=["load_img", "image_dataset"])
def like(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def asked(
    spark: SparkSession,
    networks: Path,
    pictures: Path,
    like: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SparkSession]:
    """A session in which odd(image) can be called on the odd pictures."""
    database = tmp_path_factory.mktemp("odd") / "models.db"
    with connect(f"sqlite:///{database}", artifacts="") as registry:
        registry.register("odd", networks / "image.h5", preprocess=Image(like=like), labels=LABELS)
        registry.add_dataset("images", pictures)
        session = spark.newSession()
        deploy(session, registry)
        yield session


def readable(entry: dict[str, Any], name: str, like: str) -> bool:
    """What the original reader made of the file when the manifest was written."""
    if name in BOMBS:
        return False
    return bool(entry["pillow" if like == "load_img" else "tf_decode_image"].startswith("ok"))


def test_every_odd_picture_has_a_label_or_a_reason_that_names_what_is_wrong(
    asked: SparkSession, manifest: dict[str, Any], like: str
) -> None:
    rows = {row["name"]: row for row in query(asked, ASK).table.to_pylist()}
    assert set(rows) == {*manifest, "MANIFEST.json"}
    for name, row in rows.items():
        value, reason = row["answer"]["value"], row["answer"]["error"]
        assert row["label"] == value, name
        if name in manifest and readable(manifest[name], name, like):
            assert (value in LABELS, reason) == (True, None), name
        else:
            assert value is None, name
            assert REASONS[name] in reason


def test_width_and_height_are_known_of_what_has_a_readable_header(
    asked: SparkSession, manifest: dict[str, Any]
) -> None:
    found = {
        row["name"]: [row["width"], row["height"]] for row in query(asked, ASK).table.to_pylist()
    }
    for name, entry in manifest.items():
        if name not in BOMBS:
            assert found[name] == entry.get("size", [None, None]), name


def test_bombs_cost_the_python_worker_no_memory(asked: SparkSession) -> None:
    query(asked, f"{ASK} WHERE path NOT RLIKE 'bomb|lying'")
    before = {pid: peak.reset_peak(pid) for pid in peak.workers()}
    assert before, "Spark has no Python worker"
    rows = query(asked, f"{ASK} WHERE path RLIKE 'bomb|lying'").table.to_pylist()
    assert sorted(row["name"] for row in rows) == sorted(BOMBS)
    after = {pid: peak.peak_mb(pid) for pid in peak.workers()}
    # A worker that is new has loaded the network too: it is held to the largest of the old ones.
    grown = {pid: mb - before.get(pid, max(before.values())) for pid, mb in after.items()}
    assert max(grown.values()) < BOMB_MB


def test_a_fresh_process_reads_both_bombs_in_bounded_memory(pictures: Path, like: str) -> None:
    decode = """
import resource, sys
from pathlib import Path
from kerasql.registry.errors import BadRow
from kerasql.registry.preprocess import Image
from kerasql.registry.signature import TensorSpec

image, spec = Image(like=sys.argv[1]), TensorSpec("image", "float32", (8, 8, 3))
good, *bombs = (Path(name).read_bytes() for name in sys.argv[2:])
image.prepare(good, spec)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for bomb in bombs:
    try:
        image.prepare(bomb, spec)
    except BadRow as reason:
        assert "megapixels" in str(reason)
    else:
        raise AssertionError("a bomb was decoded")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    files = [pictures / name for name in ("photo.bmp", *BOMBS)]
    done = subprocess.run(
        [sys.executable, "-c", decode, like, *files], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) * 1024 / peak.MB < BOMB_MB


def test_the_measure_of_memory_sees_what_a_bomb_would_have_cost() -> None:
    before = peak.reset_peak()
    pixels = bytearray(12_000 * 12_000)
    pixels[:: resource.getpagesize()] = b"1" * len(pixels[:: resource.getpagesize()])
    assert peak.peak_mb() - before > 2 * BOMB_MB
