"""What is imported when: fresh interpreters tell."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kerasql


def modules_after(code: str) -> set[str]:
    """The top-level modules a fresh interpreter has imported after running the code."""
    tell = "import sys; print(' '.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{tell}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_kerasql_imports_nothing_heavy() -> None:
    heavy = {
        "sqlalchemy",
        "pyspark",
        "tensorflow",
        "keras",
        "openvino",
        "numpy",
        "pyarrow",
        "flask",
    }
    assert not heavy & modules_after("import kerasql")


def test_the_executor_side_imports_no_database_page_or_tensorflow() -> None:
    loaded = modules_after(
        "import kerasql.udf.predict, kerasql.udf.batch, kerasql.udf.plan, kerasql.udf.files"
    )
    assert {"numpy", "pyarrow"} <= loaded
    assert not {"sqlalchemy", "alembic", "flask", "tensorflow", "keras", "pyspark"} & loaded


def test_what_executors_unpickle_needs_no_database() -> None:
    """A dataset's function brings PySpark, which is there."""
    assert not {"sqlalchemy", "alembic"} & modules_after("import kerasql.udf.datasets")


def test_an_openvino_network_predicts_without_tensorflow(networks, tmp_path) -> None:
    code = f"""
from pathlib import Path
from kerasql.registry.h5.construct import construct
from kerasql.registry.engine import ENGINES
audited = {{"format": "h5", "keras_version": "3.15.1", "backend": "tensorflow", "code": None}}
built = construct(Path({str(networks / "vector.h5")!r}), name="vector.h5",
                  folder=Path({str(tmp_path)!r}), preprocess=None, engine="openvino",
                  audited=audited | {{"architecture": {{"class_name": "Sequential"}}}},
                  progress=lambda step: None)
import numpy as np
predict = ENGINES["openvino"].load(built.files)
assert predict([np.ones((2, 4), "float32")])[0].shape == (2, 3)
"""
    loaded = modules_after(code)
    assert "openvino" in loaded
    assert not {"tensorflow", "keras"} & loaded


def test_the_command_line_starts_without_spark_and_database() -> None:
    assert not {"sqlalchemy", "pyspark", "tensorflow"} & modules_after("import kerasql.cli")


def test_the_public_names_are_these() -> None:
    assert kerasql.__all__ == [
        *("Code", "Deployment", "Fence", "Image", "KerasqlError", "Registry", "Result"),
        *("Tensor", "Text", "Version", "connect", "deploy", "query"),
    ]
    for name in kerasql.__all__:
        assert getattr(kerasql, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        kerasql.nothing  # noqa: B018
