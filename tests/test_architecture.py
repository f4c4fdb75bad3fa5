"""Architectures in files of their own: JSON and YAML as any Keras wrote them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from kerasql.registry.errors import InvalidFile
from kerasql.registry.h5.architecture import LONGEST_YAML, Architecture, read_architecture


def read(tmp_path: Path, text: str | bytes) -> Architecture:
    path = tmp_path / "model"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_architecture(path, "model")


def test_json_says_what_it_is_and_who_wrote_it(tmp_path: Path) -> None:
    text = json.dumps(
        {
            "class_name": "Sequential",
            "config": [1],
            "keras_version": "2.2.4",
            "backend": "theano",
            "build_config": {},
        }
    )
    assert read(tmp_path, text) == Architecture(
        {"class_name": "Sequential", "config": [1]}, "2.2.4", "theano"
    )


def test_yaml_may_hold_pythons_tuples_and_aliases(tmp_path: Path) -> None:
    text = "class_name: Model\nconfig:\n  a: &one !!python/tuple [null, 3]\n  b: *one\n"
    assert read(tmp_path, text).config["config"] == {"a": [None, 3], "b": [None, 3]}


def test_yaml_may_hold_tensorflows_lists_and_numpys_numbers(tmp_path: Path) -> None:
    text = """
class_name: Model
config:
  axis: !!python/object/apply:tensorflow.python.training.tracking.data_structures.ListWrapper
  - [3]
  input_dim: !!python/object/apply:numpy.core.multiarray.scalar
  - !!python/object/apply:numpy.dtype {args: [i8, 0, 1], state: !!python/tuple [3, <]}
  - !!binary EgAAAAAAAAA=
"""
    assert read(tmp_path, text).config["config"] == {"axis": [3], "input_dim": 18}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("class_name: !!python/object/apply:os.system ['touch bad']", "is a Python object"),
        ("class_name: !!python/object/new:os.system ['touch bad']", "neither JSON nor plain YAML"),
        ("class_name: !!python/name:os.system", "neither JSON nor plain YAML"),
        ("class_name: !!python/module:os", "neither JSON nor plain YAML"),
        (
            "a: !!python/object/apply:numpy.core.multiarray.scalar [1, 2]",
            "a NumPy scalar that is no number",
        ),
        ("a: [1, 2", "neither JSON nor plain YAML"),
        ("{not json", "is not readable JSON"),
        (b"\xff\xfe\x00", "neither JSON nor plain YAML"),
        ("- 1\n- 2", "it names no class"),
        ("{}", "it names no class"),
        ('{"class_name": 3}', "it names no class"),
        ("[" * 100_000, "neither JSON nor plain YAML"),
        ('{"a":' * 100_000, "is not readable JSON"),
        ("a: &a [*a]", "neither JSON nor plain YAML"),
        ("a: 2020-01-01", "date is no JSON value"),
        ("a" * (LONGEST_YAML + 1), "YAML of more than"),
        ("a: &a {k: 1}\nb:\n  <<: *a", r"a merge \(<<\) is not read"),
        ('{"class_name": "A", "class_name": "B"}', "says 'class_name' twice"),
        ("[" + "[]," * 4_000_000 + "[]]", "neither JSON nor plain YAML|YAML of more than"),
        ('{"a": [' + "[]," * 4_000_000 + "[]]}", "says more than"),
    ],
)
def test_what_is_no_architecture_is_said_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | bytes, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidFile, match=sentence):
        read(tmp_path, text)
    assert not Path("bad").exists()


def test_a_billion_laughs_end_soon(tmp_path: Path) -> None:
    lines = ["a0: &a0 [lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 15)]
    started = time.monotonic()
    with pytest.raises(InvalidFile, match="more than 1,000,000 values"):
        read(tmp_path, "\n".join(lines))
    assert time.monotonic() - started < 30


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="there is no such file"):
        read_architecture(tmp_path / "none.json", "none.json")
