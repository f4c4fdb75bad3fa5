"""What a file is: its structure, its kind, what it says of itself, and ``kerasql check``."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from h5py import h5p, h5t, h5z

from kerasql.cli import main
from kerasql.registry.errors import InvalidFile, RefusedFile
from kerasql.registry.h5.apart import inspect_apart
from kerasql.registry.h5.describe import MOST_LAYERS
from kerasql.registry.h5.inspect import Inspection, inspect, require_model
from kerasql.registry.h5.report import report_of, rows

Trick = Callable[[h5py.File], None]


def tricked(networks: Path, folder: Path, trick: Trick) -> Path:
    """A copy of a whole model in which something was changed."""
    file = Path(shutil.copy(networks / "image.h5", folder / "trick.h5"))
    with h5py.File(file, "a") as opened:
        trick(opened)
    return file


def h5_model(path: Path, config: Any, **attributes: Any) -> Path:
    """An ``.h5`` file with this architecture and no weights in its group."""
    with h5py.File(path, "w") as file:
        file.create_group("model_weights")
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        file.attrs.update(attributes)
    return path


def dense(name: str, units: int = 2, **config: Any) -> dict[str, Any]:
    return {"class_name": "Dense", "config": {"name": name, "units": units} | config}


def sequential(*layers: dict[str, Any], name: str = "outer") -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


# What it is


@pytest.mark.parametrize("file", ["image.h5", "image.keras"])
def test_an_inspection_says_what_the_file_is(networks: Path, file: str) -> None:
    one = inspect(networks / file)
    assert (one.format, one.kind) == (file.rpartition(".")[2], "full model")
    assert (one.keras_version, one.class_name) == ("3.15.1", "Sequential")
    assert one.parameters == (3 * 3 * 3 * 4 + 4) + (4 * 3 + 3)
    assert [(layer.class_name, layer.parameters) for layer in one.layers] == [
        *(("InputLayer", 0), ("Conv2D", 112), ("GlobalAveragePooling2D", 0), ("Dense", 15)),
    ]
    assert one.inputs[0]["shape"] == [None, 8, 8, 3]
    assert (one.outputs[0]["units"], one.outputs[0]["activation"]) == (3, "softmax")
    assert one.size_bytes == (networks / file).stat().st_size
    assert one.backend == ("tensorflow" if one.format == "h5" else None)
    assert (one.saved_at is None) == (one.format == "h5")
    assert "config" not in one.report()
    json.dumps(one.report(), allow_nan=False)


def test_several_inputs_and_outputs_are_in_the_model_s_order(networks: Path) -> None:
    one = inspect(networks / "pair.h5")
    assert [(i["name"], i["shape"]) for i in one.inputs] == [
        *(("left", [None, 3]), ("ahead", [None, 2])),
    ]
    assert [(o["name"], o["units"], o["activation"]) for o in one.outputs] == [
        *(("species", 2, "softmax"), ("age", 1, None)),
    ]


@pytest.mark.parametrize("file", ["compiled.h5", "compiled.keras"])
def test_how_it_was_trained_is_said_in_words(networks: Path, file: str) -> None:
    one = inspect(networks / file)
    assert one.training == {
        "loss": "mse",
        "optimizer": "Adam, learning rate 0.001",
        "metrics": "accuracy",
        "steps": 0,
    }
    assert one.optimizer_numbers == 2
    assert one.containers == (
        ["model_weights", "optimizer_weights"] if one.format == "h5" else ["layers", "optimizer"]
    )
    assert inspect(networks / "vector.h5").training is None


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("mse", "mse"),
        ({"a": "mse", "b": {"class_name": "MAE", "config": {"name": "mae"}}}, "a: mse; b: mae"),
        (["mse", None, ["mae"]], "mse, mae"),
        ({"class_name": "function", "config": "mine"}, "mine"),
        ({"class_name": "Hinge"}, "Hinge"),
        (3, None),
        ("\x1b[31mred", r"\x1b[31mred"),
    ],
)
def test_a_loss_of_any_form_is_words(tmp_path: Path, loss: Any, words: str | None) -> None:
    training = json.dumps({"loss": loss, "optimizer_config": {"class_name": "SGD"}})
    file = h5_model(tmp_path / "m.h5", sequential(dense("d")), training_config=training)
    assert (inspect(file).training or {}).get("loss") == words


def test_a_learning_rate_that_is_no_number_stays_out(tmp_path: Path) -> None:
    """PostgreSQL's JSON knows no NaN."""
    text = '{"optimizer_config": {"class_name": "SGD", "config": {"lr": %s}}, "loss": "mse"}'
    for rate, words in [("NaN", "SGD"), ("1e999", "SGD"), ("0.1", "SGD, learning rate 0.1")]:
        file = h5_model(
            tmp_path / "m.h5", sequential(dense("d", rate=1)), training_config=text % rate
        )
        report = inspect(file).report()
        assert report["training"]["optimizer"] == words
        json.dumps(report, allow_nan=False)


def test_layers_of_inner_models_have_their_path_and_their_weights(networks: Path) -> None:
    one = inspect(networks / "compiled_inside.keras")
    assert [(layer.path.count("/"), bool(layer.path)) for layer in one.layers][1:4] == [
        *((0, False), (0, True), (0, True)),
    ]
    inner, row, first, last = one.layers[1:]
    assert (inner.layers, inner.parameters, inner.class_name) == (2, 15, "Sequential")
    assert (row.path, first.path, last.path) == (inner.name, inner.name, "")
    assert (first.parameters, last.parameters) == (15, 8)


def test_inner_layers_of_old_files_are_found_by_name_even_with_slashes(tmp_path: Path) -> None:
    inner = sequential(dense("layer1/conv"), dense("layer1/conv/bn"), dense("d"), name="inner")
    file = h5_model(tmp_path / "m.h5", sequential(inner, dense("layer1/conv")))
    with h5py.File(file, "a") as opened:
        group = opened["model_weights"]
        group["inner/layer1/conv/kernel:0"] = np.zeros(3)
        group["inner/layer1/conv/bn/gamma:0"] = np.zeros(5)
        group["inner/inner/d/kernel:0"] = np.zeros(7)
        group["layer1/conv/layer1/conv/kernel:0"] = np.zeros(11)
    one = inspect(file)
    assert [layer.parameters for layer in one.layers] == [15, 3, 5, 7, 11]


def test_a_wrapped_layer_is_named_with_its_wrapper(tmp_path: Path) -> None:
    wrapped = {"class_name": "TimeDistributed", "config": {"name": "td", "layer": dense("d", 9)}}
    one = inspect(h5_model(tmp_path / "m.h5", sequential(wrapped)))
    assert one.layers[0].class_name == "TimeDistributed(Dense)"
    assert one.outputs[0]["units"] == 9


def test_scores_are_counted_through_layers_that_keep_their_number(tmp_path: Path) -> None:
    ending = {"class_name": "Activation", "config": {"name": "a", "activation": "softmax"}}
    one = inspect(h5_model(tmp_path / "m.h5", sequential(dense("d", 7), ending)))
    assert one.outputs == [
        {"name": "a", "class_name": "Activation", "units": 7, "activation": "softmax"}
    ]


def test_keras_1_is_told_by_its_words_where_no_version_is_said(tmp_path: Path) -> None:
    layer = {
        "class_name": "Convolution2D",
        "config": {"name": "c", "nb_filter": 4, "batch_input_shape": [None, 3, 8, 8]},
    }
    one = inspect(h5_model(tmp_path / "m.h5", {"class_name": "Sequential", "config": [layer]}))
    assert one.keras_version is None
    assert one.written_by == "Keras 1, older than Keras 2 (no version in the file)"
    assert one.inputs[0]["shape"] == [None, 3, 8, 8]
    assert one.outputs[0]["units"] == 4
    merge = {"class_name": "Merge", "config": {"name": "m", "layers": [sequential(layer)] * 2}}
    two = inspect(h5_model(tmp_path / "n.h5", {"class_name": "Sequential", "config": [merge]}))
    assert len(two.inputs) == 2


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.1.2", "Keras 1.1.2"),
        ("2.2.4", "Keras 2.2.4"),
        ("2.2.4-tf", "tf.keras 2.2.4-tf (inside TensorFlow 1.x to 2.2)"),
        ("2.11.0", "Keras 2.11.0 (inside TensorFlow 2)"),
        ("3.8.0", "Keras 3.8.0"),
    ],
)
def test_a_version_is_said_with_what_it_was_part_of(
    tmp_path: Path, version: str, words: str
) -> None:
    file = h5_model(tmp_path / "m.h5", sequential(dense("d")))
    with h5py.File(file, "a") as opened:
        opened["model_weights"].attrs["keras_version"] = version.encode()
    assert (inspect(file).keras_version, inspect(file).written_by) == (version, words)


@pytest.mark.parametrize("as_kept", [str, str.encode, np.bytes_])
def test_a_config_may_be_text_or_bytes_of_any_or_of_fixed_length(
    tmp_path: Path, as_kept: Callable[[str], Any]
) -> None:
    text = json.dumps(sequential(dense("d")))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_group("model_weights")
        file.attrs["model_config"] = as_kept(text)
    assert inspect(tmp_path / "m.h5").class_name == "Sequential"


# Weights alone


def test_weights_alone_are_described_and_are_no_model(networks: Path) -> None:
    one = inspect(networks / "only.weights.h5")
    assert (one.kind, one.config, one.parameters) == ("weights only", None, 31)
    assert [(layer.name, layer.parameters) for layer in one.layers] == [
        *(("dense", 25), ("dense_1", 6)),
    ]
    with pytest.raises(InvalidFile, match=r"it holds weights only; .*--architecture model\.json"):
        require_model(one, "only.weights.h5")


@pytest.mark.parametrize("attribute", ["layer_names", "layer_names0"])
def test_weights_of_keras_2_are_counted_by_layer(tmp_path: Path, attribute: str) -> None:
    """Many names are kept in several attributes, since one has at most 64 KB."""
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.attrs[attribute] = [b"dense_2", b"dense_10"]
        file["dense_10/dense_10/kernel:0"] = np.zeros((3, 2), "float32")
        file["dense_2/dense_2/kernel:0"] = np.zeros((4, 2), "float32")
    one = inspect(tmp_path / "w.h5")
    assert (one.kind, one.parameters) == ("weights only", 14)
    assert [layer.name for layer in one.layers] == ["dense_2", "dense_10"]


def test_the_state_of_an_optimizer_is_no_model(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file["optimizer_weights/Adam/iterations:0"] = np.int64(12)
        file["optimizer_weights/Adam/m:0"] = np.zeros(5, "float32")
    one = inspect(tmp_path / "o.h5")
    assert (one.kind, one.parameters, one.optimizer_numbers) == ("optimizer state", 0, 6)
    assert one.training == {"steps": 12}
    with pytest.raises(InvalidFile, match="it holds the state of an optimizer only"):
        require_model(one, "o.h5")


def test_an_architecture_without_weights_is_no_model(tmp_path: Path) -> None:
    file = h5_model(tmp_path / "m.h5", sequential(dense("d")))
    require_model(inspect(file), "m.h5")
    with h5py.File(file, "a") as opened:
        del opened["model_weights"]
    with pytest.raises(InvalidFile, match="an architecture without weights"):
        require_model(inspect(file), "m.h5")


def test_numbers_that_are_no_weights_are_not_counted(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        file["_layer_checkpoint_dependencies/dense/vars/0"] = np.zeros((2, 3), "float32")
        file["_layer_checkpoint_dependencies/dropout/seed_generator/vars/0"] = np.zeros(2, "u4")
        file["optimizer/vars/0"] = np.int64(3)
        file["metrics/mean/vars/0"] = np.float32(1)
    one = inspect(tmp_path / "w.weights.h5")
    assert (one.kind, one.parameters, one.optimizer_numbers) == ("weights only", 6, 1)


def test_bfloat16_and_booleans_are_numbers(tmp_path: Path) -> None:
    file = h5_model(tmp_path / "m.h5", sequential(dense("d")))
    with h5py.File(file, "a") as opened:
        opened["model_weights/d/kernel"] = np.zeros(4, "V2")
        opened["model_weights/d/mask"] = np.zeros(4, "bool")
    assert inspect(file).parameters == 8


# Files that are no models


def zipped(*members: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for member in members:
            archive.writestr(member, "x")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is empty"),
        (b"\0" * 64, "its download was not finished"),
        (b"<!DOCTYPE html><html>", "it is an HTML page"),
        (b"\n\n<html>", "it is an HTML page"),
        (b"<html><title>Google Drive - Quota exceeded</title>", "'quota exceeded'"),
        (b"<html>Google Drive can't scan this file; Virus scan warning", "warning page"),
        (b"<!DOCTYPE html><link href='https://github.githubassets.com'>", "it is a GitHub page"),
        (b'<?xml version="1.0"?><Error><Code>NoSuchKey', "a storage service's error message"),
        (b"<Error><Code>AccessDenied", "a storage service's error message"),
        (b'<?xml version="1.0"?>\n<net name="m" version="11">', "an OpenVINO network"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "it is a Git LFS pointer"),
        (pickle.dumps({"a": 1}), "it is a Python pickle"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "it is a PyTorch model"),
        (b'{"class_name": "Sequential", "config": {}}', "an architecture without weights"),
        (b'{"message": "Not Found", "documentation_url": "x"}', "an answer of GitHub"),
        (b'{"error": {"code": 403, "message": "quota"}}', "a server's error message"),
        (b'{"format": "layers-model", "modelTopology": {}}', "a TensorFlow.js model"),
        (b'{"cells": [], "nbformat": 4}', "a Jupyter notebook"),
        (b'{"a": 1}', "it is JSON; a model needs its weights too"),
        (b"404: Not Found", "it is text, not a model: '404: Not Found'"),
        (b"\x1b[31mred\x1b[0m", "it is neither HDF5 nor"),
        (b"\x1f\x8b\x08\0", r"it is packed \(gzip\)"),
        (b"7z\xbc\xaf\x27\x1c", r"packed \(7z\)"),
        (b"Rar!\x1a\x07\x01", r"packed \(RAR\)"),
        (b"\xfd7zXZ\0", r"packed \(xz\)"),
        (b"model.h5".ljust(257, b"\0") + b"ustar\0", r"packed \(tar\)"),
        (b"\x20\0\0\0TFL3", "a TensorFlow Lite model"),
        (b"\x08\x08\x12\x07pytorch", "it is an ONNX model"),
        (b"\x08\x01\x12\x80\x20", "saved_model.pb of a SavedModel folder"),
        (b'\x40\0\0\0\0\0\0\0{"__metadata__":', "it is a safetensors file"),
        (b"\x93NUMPY\x01\0", "it is a NumPy array"),
        (b"PAR1\x15", "it is a Parquet table"),
        (b"\x89PNG\r\n\x1a\n", r"it is a picture \(PNG\)"),
        (b"\xff\xd8\xff\xe0", r"it is a picture \(JPEG\)"),
        (b"%PDF-1.7", "it is a PDF document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document"),
        (b"\x00\x01\x02\x03", "it is neither HDF5 nor"),
        (b"\x89HDF\r\n\x1a\n" + b"\x00" * 100, "damaged"),
        (b"PK\x03\x04 and nonsense", "the archive is damaged"),
        (zipped("readme.txt"), r"not a \.keras archive"),
        (zipped("keras_model.h5", "labels.txt"), "with 'keras_model.h5' inside; unpack it"),
        (zipped("m/saved_model.pb", "m/variables/variables.index"), "packed SavedModel folder"),
        (zipped("archive/data.pkl", "archive/version"), "it is a PyTorch model"),
        (zipped("[Content_Types].xml", "word/document.xml"), "an Office document"),
        (zipped("META-INF/MANIFEST.MF", "A.class"), "a Java archive"),
        (zipped("arr_0.npy", "arr_1.npy"), "it is a NumPy .npz file"),
        (zipped("model.json", "weights.bin"), "TensorFlow.js"),
        (zipped("m/config.json", "m/metadata.json", "m/model.weights.h5"), "zip the files in it"),
        (zipped("config.json", "metadata.json"), "without 'model.weights.h5'"),
    ],
)
def test_a_file_that_is_no_model_is_named_for_what_it_is(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    file = tmp_path / "model.h5"
    file.write_bytes(content)
    with pytest.raises(InvalidFile, match=sentence) as failed:
        inspect(file)
    assert str(failed.value).isprintable()


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="it is a folder"):
        inspect(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(InvalidFile, match="it is a SavedModel folder"):
        inspect(tmp_path)
    with pytest.raises(InvalidFile, match="there is no such file"):
        inspect(tmp_path / "none.h5")


@pytest.mark.parametrize(
    ("attribute", "sentence"),
    [
        ("PYTABLES_FORMAT_VERSION", "a table of pandas"),
        ("_NCProperties", "a NetCDF file"),
        ("title", "an HDF5 file without a Keras model"),
    ],
)
def test_hdf5_of_others_is_named(tmp_path: Path, attribute: str, sentence: str) -> None:
    with h5py.File(tmp_path / "o.h5", "w") as file:
        file.attrs[attribute] = "2.1"
        file["table"] = np.zeros(3)
    with pytest.raises(InvalidFile, match=sentence):
        inspect(tmp_path / "o.h5")


def test_real_files_that_are_no_models_are_named(data: Path) -> None:
    with pytest.raises(InvalidFile, match="it is an HTML page"):
        inspect(data / "h5_bad" / "real_tr_model_is_html.h5")
    with pytest.raises(InvalidFile, match="it is empty"):
        inspect(data / "h5_bad" / "real_zero_byte.h5")


def test_real_models_of_every_age_are_described(data: Path) -> None:
    """As the manifest, written with the Keras of their time, says; every weight has its layer."""
    manifest = json.loads((data / "h5" / "MANIFEST.json").read_text())
    assert manifest
    for entry in manifest:
        one = inspect(data / "h5" / entry["file"])
        assert (one.kind, one.class_name) == ("full model", entry["class_name"]), entry["name"]
        assert (one.keras_version, one.backend) == (entry["keras_version"], entry["backend"])
        own = sum(layer.parameters or 0 for layer in one.layers if layer.layers is None)
        assert own == one.parameters > 0, entry["name"]
        if entry["inputs"]:
            shapes = [given["shape"] for given in entry["inputs"]]
            assert [given["shape"] for given in one.inputs] == shapes, entry["name"]
        if entry["outputs"]:
            ends = [given["shape"][-1] for given in entry["outputs"]]
            assert [given["units"] for given in one.outputs] == ends, entry["name"]
        assert (one.training is not None) == (entry["loss"] is not None), entry["name"]
        json.dumps(one.report(), allow_nan=False)


# HDF5 that lies, leads elsewhere or never ends


def test_a_file_cut_short_says_how_short(networks: Path, tmp_path: Path) -> None:
    whole = (networks / "image.h5").read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidFile, match=f"it is cut short: .* of {len(whole):,} bytes"):
        inspect(cut)


def external_link(file: h5py.File) -> None:
    file["model_weights/elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")


def external_link_behind_a_soft_one(file: h5py.File) -> None:
    file["model_weights/a"] = h5py.SoftLink("/model_weights/z/x")
    file["model_weights/z"] = h5py.ExternalLink("/etc/passwd", "/x")


def external_storage(file: h5py.File) -> None:
    file.create_dataset("model_weights/far", (4,), "u1", external=[("/etc/hostname", 0, 4)])


def virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
    file.create_virtual_dataset("model_weights/virtual", layout)


def huge_dataset(file: h5py.File) -> None:
    file.create_dataset("model_weights/huge", (2**50,), "f4", chunks=(2**20,))


def huge_contiguous(file: h5py.File) -> None:
    file.create_dataset("model_weights/huge", (2**40,), "f4")


def huge_chunk(file: h5py.File) -> None:
    chunk = {"chunks": (2**28,), "maxshape": (None,), "compression": "gzip"}
    file.create_dataset("model_weights/huge", (8,), "f4", **chunk)


def unknown_filter(file: h5py.File) -> None:
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_chunk((4,))
    plan.set_filter(32999, h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"model_weights/packed", h5t.NATIVE_FLOAT, space, plan)


def scale_offset(file: h5py.File) -> None:
    file.create_dataset("model_weights/packed", (4,), "i4", chunks=(4,), scaleoffset=3)


def soft_link_to_nowhere(file: h5py.File) -> None:
    file["model_weights/lost"] = h5py.SoftLink("/nothing/here")


def soft_links_in_a_circle(file: h5py.File) -> None:
    file["model_weights/a"] = h5py.SoftLink("/model_weights/b")
    file["model_weights/b"] = h5py.SoftLink("/model_weights/a")


def named_type(file: h5py.File) -> None:
    file["model_weights/kind"] = np.dtype("f4")


def shared_type(file: h5py.File) -> None:
    file["model_weights/kind"] = np.dtype("f4")
    file.create_dataset("model_weights/a_typed", (2,), file["model_weights/kind"])


def compound(file: h5py.File) -> None:
    file["model_weights/odd"] = np.zeros(2, [("a", "f4"), ("b", "f4")])


def references(file: h5py.File) -> None:
    file.create_dataset("model_weights/odd", (1,), h5py.ref_dtype)


def texts_of_any_length(file: h5py.File) -> None:
    file["model_weights/odd"] = ["a", "b"]


def lists_of_any_length(file: h5py.File) -> None:
    file.create_dataset("model_weights/odd", (2,), h5py.vlen_dtype("f4"))


def opaque(file: h5py.File) -> None:
    file["model_weights/odd"] = np.zeros(2, "V9")


def deep_groups(file: h5py.File) -> None:
    file.create_group("model_weights/" + "/".join("g" * 100))


def many_attributes(file: h5py.File) -> None:
    for number in range(1001):
        file["model_weights"].attrs[f"a{number}"] = 1


def many_zeros(file: h5py.File) -> None:
    zeros = {"shape": (2**22,), "dtype": "f4", "chunks": (2**22,), "compression": "gzip"}
    for number in range(5):
        file.create_dataset(f"model_weights/z{number}", **zeros)[0] = 0


@pytest.mark.parametrize(
    ("trick", "sentence"),
    [
        (external_link, "'model_weights/elsewhere' leads to another file"),
        (external_link_behind_a_soft_one, "'model_weights/z' leads to another file"),
        (external_storage, "keeps its bytes in another file"),
        (virtual_dataset, "keeps its bytes in another file"),
        (huge_dataset, "declares"),
        (huge_contiguous, "declares"),
        (huge_chunk, "declares"),
        (unknown_filter, "'model_weights/packed' is packed with the HDF5 filter 32999"),
        (scale_offset, "packed with the HDF5 filter 6"),
        (soft_link_to_nowhere, "'model_weights/lost' to '/nothing/here' leads nowhere"),
        (soft_links_in_a_circle, "leads nowhere or in a circle"),
        (named_type, "'model_weights/kind' is a named type"),
        (shared_type, "takes its type from elsewhere|is a named type"),
        (compound, "holds records of several fields"),
        (references, "holds references"),
        (texts_of_any_length, "holds text of any length"),
        (lists_of_any_length, "holds lists of any length"),
        (opaque, "holds opaque bytes"),
        (deep_groups, "nested deeper than 64 levels"),
        (many_attributes, "has 1,00. attributes"),
        (many_zeros, r"declare .* bytes in a"),
    ],
)
def test_hdf5_that_leaves_the_file_or_lies_about_its_size_is_refused(
    networks: Path, tmp_path: Path, trick: Trick, sentence: str
) -> None:
    with pytest.raises(RefusedFile, match=sentence):
        inspect(tricked(networks, tmp_path, trick))


def test_an_attribute_larger_than_a_config_may_be_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w", libver="latest") as file:
        file.attrs["model_config"] = "{}"
        file.attrs.create("large", np.zeros(65 * 2**20, "u1"))
    with pytest.raises(RefusedFile, match="the attribute 'large' of '/' declares"):
        inspect(tmp_path / "m.h5")


def test_more_objects_than_any_model_has_are_refused(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kerasql.registry.h5.structure.MOST_OBJECTS", 3)
    with pytest.raises(RefusedFile, match="holds more than 3 objects"):
        inspect(networks / "image.h5")


def test_a_circle_of_groups_ends_and_counts_once(networks: Path, tmp_path: Path) -> None:
    def circle(file: h5py.File) -> None:
        file["model_weights/round"] = file["model_weights"]
        file["model_weights/soft"] = h5py.SoftLink("/model_weights")

    assert inspect(tricked(networks, tmp_path, circle)).parameters == 127


@pytest.mark.parametrize("how", [{"compression": "gzip", "shuffle": True}, {"fletcher32": True},
                                 {"compression": "lzf"}])  # fmt: skip
def test_the_filters_that_h5py_has_itself_are_read(
    networks: Path, tmp_path: Path, how: dict[str, Any]
) -> None:
    def pack(file: h5py.File) -> None:
        file.create_dataset("model_weights/packed", data=np.ones((64, 64), "f4"), **how)

    assert inspect(tricked(networks, tmp_path, pack)).parameters == 127 + 64 * 64


def test_a_file_that_is_hdf5_and_an_archive_at_once_is_refused(
    networks: Path, tmp_path: Path
) -> None:
    """HDF5 may begin after 512 bytes: read as one thing and loaded as another, it hides a model."""
    both = tmp_path / "both.h5"
    with h5py.File(both, "w", userblock_size=512) as target:
        target.create_group("model_weights")
    content = bytearray(both.read_bytes())
    content[:2] = b"PK"
    both.write_bytes(bytes(content) + (networks / "image.keras").read_bytes())
    with pytest.raises(RefusedFile, match="something else lies before its first member"):
        inspect(both)
    content[:2] = b"XX"
    both.write_bytes(bytes(content))
    with pytest.raises(RefusedFile, match="does not begin with the file's first byte"):
        inspect(both)


@pytest.mark.parametrize("key", ["keras_version", "model_config", "training_config", "backend"])
@pytest.mark.parametrize("value", [3, [1, 2], ["a", "b"], h5py.Empty("S1")])
def test_attributes_that_are_no_text_are_named(
    networks: Path, tmp_path: Path, key: str, value: Any
) -> None:
    def change(file: h5py.File) -> None:
        file.attrs[key] = value

    with pytest.raises(InvalidFile, match=f"its attribute '{key}' is no text"):
        inspect(tricked(networks, tmp_path, change))


def test_a_file_that_hangs_the_hdf5_library_is_one_sentence(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Free space of length zero in the heap of the attributes' texts: libhdf5 never comes out."""
    monkeypatch.setattr("kerasql.registry.h5.apart.LONGEST_S", 1)
    content = bytearray((networks / "pair.h5").read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 : heap + 32] = bytes(16)
    file = tmp_path / "hangs.h5"
    file.write_bytes(bytes(content))
    with pytest.raises(InvalidFile, match="reading it did not end"):
        inspect_apart(file)


def test_an_inspection_apart_says_the_same(networks: Path, tmp_path: Path) -> None:
    for file in ("compiled_inside.keras", "pair.h5", "only.weights.h5"):
        assert inspect_apart(networks / file) == inspect(networks / file)
    with pytest.raises(RefusedFile, match="^m cannot be registered: the link 'model_weights/else"):
        inspect_apart(tricked(networks, tmp_path, external_link), "m")


# JSON


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "its architecture is not readable JSON"),
        ("[]", "its architecture is not a JSON object"),
        ("[" * 100_000, "its architecture is not readable JSON"),
        ('{"a":' * 100_000, "its architecture is not readable JSON"),
        ('{"n": ' + "9" * 5000 + "}", "its architecture is not readable JSON"),
        ('{"a": [' + "[]," * 3_000_000 + "[]]}", "says more than 3,000,000 things"),
        ('{"class_name": "Dense", "class_name": "Lambda"}', "says 'class_name' twice"),
        ('{"config": {"a": {"module": "keras", "module": "os"}}}', "says 'module' twice"),
    ],
)
def test_json_that_readers_disagree_about_is_refused(
    tmp_path: Path, text: str, sentence: str
) -> None:
    with pytest.raises(InvalidFile, match=sentence):
        inspect(h5_model(tmp_path / "m.h5", text))


def test_a_report_is_small_and_printable_however_large_the_config(tmp_path: Path) -> None:
    red = "\x1b[31m\u202e" + "x" * 1_000
    layers = [dense(f"{red}{number}") for number in range(5_000)]
    config = sequential(*layers, name=red)
    file = h5_model(tmp_path / "m.h5", config, keras_version=red, backend=red)
    one = inspect(file)
    text = json.dumps(one.report(), ensure_ascii=False)
    assert one.layer_count == 5_000
    assert len(one.layers) == MOST_LAYERS
    assert len(text) < 250 * MOST_LAYERS
    assert text.isprintable()


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": ["x"], "config": None},
        {"class_name": None, "config": {"layers": [1, None, {}, {"config": 3, "name": {}}]}},
        {"config": {"layers": [{"class_name": 3, "config": {"layer": {"config": []}}}]}},
        {"config": {"layers": [dense("d", batch_input_shape="x", dtype={"config": 3})]}},
        {"config": {"layers": [dense("d", batch_input_shape=[1.5, True])], "input_layers": 3}},
        {"config": {"layers": [dense("d")], "input_layers": [["x", 0, 0]],
                    "output_layers": {"a": [[["d", 0, 0]]]}, "build_input_shape": {"items": 3}}},
        {"config": {"layers": [{"name": "d", "inbound_nodes": [[["d", 0, 0]]],
                                "class_name": "Softmax"}], "output_layers": [["d", 0, 0]]}},
        {"config": [{"class_name": "Merge", "config": []}]},
    ],
)  # fmt: skip
def test_a_config_of_any_form_is_described_without_a_stack_trace(
    tmp_path: Path, config: Any
) -> None:
    one = inspect(h5_model(tmp_path / "m.h5", config, training_config='{"loss": {"a": [[1]]}}'))
    json.dumps(one.report(), allow_nan=False)
    for layers in (True, False):
        assert rows(report_of(tmp_path / "m.h5"), all_layers=layers)


def test_models_in_models_without_end_are_described_to_a_depth(tmp_path: Path) -> None:
    config = dense("d")
    for _ in range(90):
        config = sequential(config, name="m")
    one = inspect(h5_model(tmp_path / "m.h5", config))
    assert len(one.layers) <= 90


# Archives


def archive(networks: Path, path: Path, **changes: Any) -> Path:
    """The image model's archive written again, some members otherwise."""
    with (
        zipfile.ZipFile(networks / "image.keras") as old,
        zipfile.ZipFile(path, "w", changes.get("packed", zipfile.ZIP_STORED)) as new,
    ):
        for member in old.namelist():
            new.writestr(member, changes.get(member, old.read(member)))
        for member in changes.get("more", ()):
            new.writestr(member, "x")
    return path


def patched(path: Path, member: str, at: int, value: bytes) -> Path:
    """A member's entry in the directory with other bytes at this place of it."""
    content = bytearray(path.read_bytes())
    entry = content.rindex(member.encode()) - 46
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + at : entry + at + len(value)] = value
    path.write_bytes(bytes(content))
    return path


def test_packed_weights_are_read_too(networks: Path, tmp_path: Path) -> None:
    file = archive(networks, tmp_path / "m.keras", packed=zipfile.ZIP_DEFLATED)
    assert inspect(file).layers == inspect(networks / "image.keras").layers


def test_zip64_is_read(networks: Path, tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(networks / "image.keras") as old,
        zipfile.ZipFile(tmp_path / "m.keras", "w") as new,
    ):
        for member in old.namelist():
            with new.open(member, "w", force_zip64=True) as file:
                file.write(old.read(member))
    assert inspect(tmp_path / "m.keras").parameters == 127


@pytest.mark.parametrize("member", ["/etc/passwd", "../up", "assets/../../up", "C:/x", "..\\up"])
def test_members_that_leave_the_archive_are_refused(
    networks: Path, tmp_path: Path, member: str
) -> None:
    with pytest.raises(RefusedFile, match="leaves the archive"):
        inspect(archive(networks, tmp_path / "m.keras", more=[member]))


def test_two_members_of_one_name_are_refused(networks: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        file = archive(networks, tmp_path / "m.keras", more=["config.json"])
    with pytest.raises(RefusedFile, match=r"it holds 'config\.json' twice"):
        inspect(file)


def test_a_link_as_a_member_is_refused(networks: Path, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    file = archive(networks, tmp_path / "m.keras", more=[link])
    with pytest.raises(RefusedFile, match="'assets/link' is a link"):
        inspect(file)


def test_other_packing_than_keras_uses_is_refused(networks: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedFile, match="packed by a method that Keras does not use"):
        inspect(archive(networks, tmp_path / "m.keras", packed=zipfile.ZIP_BZIP2))


@pytest.mark.parametrize(
    ("at", "value", "sentence"),
    [
        (8, b"\x01\x00", "is encrypted"),
        (24, b"\xff\xff\xff\x7f", "declares too many bytes"),
        (42, b"\x01\x00\x00\x00", "lies inside another member|lies before its first member"),
    ],
)
def test_a_directory_that_lies_is_refused(
    networks: Path, tmp_path: Path, at: int, value: bytes, sentence: str
) -> None:
    file = archive(networks, tmp_path / "m.keras")
    with pytest.raises(RefusedFile, match=sentence):
        inspect(patched(file, "config.json", at, value))


def test_a_directory_too_large_to_read_is_refused(networks: Path, tmp_path: Path) -> None:
    file = archive(networks, tmp_path / "m.keras", more=[f"{n:0>60000}" for n in range(80)])
    with pytest.raises(InvalidFile, match="its directory is too large"):
        inspect(file)


def test_weights_that_are_no_hdf5_are_named(networks: Path, tmp_path: Path) -> None:
    file = archive(networks, tmp_path / "m.keras", **{"model.weights.h5": b"<html>"})
    with pytest.raises(InvalidFile, match="the weights in the archive are no HDF5"):
        inspect(file)


def test_weights_in_an_archive_are_checked_as_a_file_s(networks: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.h5"
    with h5py.File(weights, "w") as file:
        file["layers/elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
    path = archive(networks, tmp_path / "m.keras", **{"model.weights.h5": weights.read_bytes()})
    with pytest.raises(RefusedFile, match="'layers/elsewhere' leads to another file"):
        inspect(path)


# The command


def run(*arguments: str | Path) -> Any:
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, ["check", *map(str, arguments)])


def test_check_prints_what_a_file_is(networks: Path) -> None:
    done = run(networks / "compiled.h5")
    assert done.exit_code == 0
    for words in (
        *("full model, Sequential (HDF5)", "written by", "Keras 3.15.1, backend tensorflow"),
        *("row: float32 (any, 4)", "3 numbers, softmax"),
        *("loss mse; metrics accuracy; Adam, learning rate 0.001; 0 steps", "can be registered"),
    ):
        assert words in done.stdout, words


def test_check_says_of_each_file_and_ends_with_1_where_one_cannot_be_registered(
    networks: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.h5"
    page.write_bytes(b"<html>")
    done = run(page, tmp_path / "none.h5", networks / "with_lambda.h5", networks / "vector.h5")
    assert done.exit_code == 1
    assert "no: it is an HTML page" in done.stdout
    assert "no: there is no such file" in done.stdout
    assert "Lambda" in done.stdout
    assert done.stdout.count("yes") == 1
    assert not done.stderr


def test_check_lists_the_first_layers_or_all(tmp_path: Path) -> None:
    file = h5_model(tmp_path / "m.h5", sequential(*(dense(f"d{n}") for n in range(150))))
    assert "… 130 more (--layers for all)" in run(file).stdout
    assert "d148" not in run(file).stdout
    assert "d148" in run(file, "--layers").stdout


def test_check_answers_in_json(networks: Path) -> None:
    one = json.loads(run(networks / "image.h5", "--json").stdout)
    assert (one["file"], one["registrable"]) == (str(networks / "image.h5"), True)
    assert one["inspection"]["layers"][1]["class_name"] == "Conv2D"
    two = json.loads(run(networks / "image.h5", networks / "only.weights.h5", "--json").stdout)
    assert [one["registrable"] for one in two] == [True, False]
    assert two[1]["inspection"]["kind"] == "weights only"
    assert "weights only" in two[1]["problem"]


def test_check_shows_no_terminal_codes_of_the_file(tmp_path: Path) -> None:
    red = "\x1b[31m[bold]red"
    config = sequential(dense(red) | {"class_name": red}, name=red)
    with h5py.File(h5_model(tmp_path / "m.h5", config, keras_version=red), "a") as file:
        file["model_weights"].create_group(red)
    done = run(tmp_path / "m.h5")
    assert "\x1b" not in done.stdout
    assert r"\x1b[31m[bold]red" in done.stdout


def test_check_needs_no_registry_and_imports_nothing_heavy(networks: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from kerasql.cli import main
main(["check", {str(networks / "image.h5")!r}, {str(networks / "image.keras")!r}],
     standalone_mode=False)
heavy = {{"tensorflow", "keras", "pyspark", "sqlalchemy", "openvino", "pyarrow", "PIL"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    environment = os.environ | {"KERASQL_DATABASE": "postgresql://nobody@nowhere/none"}
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment, capture_output=True
    )
    assert not list(tmp_path.iterdir())


def test_weights_are_never_read_whole(networks: Path, tmp_path: Path) -> None:
    """A sparse file of 4 GiB, alone and in an archive, under a limit of 1 GiB of memory."""
    large = tmp_path / "large.h5"
    shutil.copy(networks / "vector.h5", large)
    with h5py.File(large, "a") as file:
        plan = h5p.create(h5p.DATASET_CREATE)
        plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((2**30,))
        h5py.h5d.create(file.id, b"model_weights/large", h5t.NATIVE_FLOAT, space, plan)
    assert large.stat().st_size > 2**32

    def little_memory() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))

    code = f"""
from pathlib import Path
from kerasql.registry.h5.inspect import inspect
assert inspect(Path({str(large)!r})).parameters == 2**30 + 15
"""
    subprocess.run(
        [sys.executable, "-c", code], check=True, preexec_fn=little_memory, capture_output=True
    )


def test_an_inspection_is_a_value() -> None:
    assert Inspection.__dataclass_params__.frozen  # type: ignore[attr-defined]
