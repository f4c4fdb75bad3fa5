"""Reading a model file: inspect, audit, construct."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from kerasql.registry.errors import ConstructFailed, InvalidFile, InvalidInput, RefusedFile
from kerasql.registry.h5 import allowed
from kerasql.registry.h5.audit import audit
from kerasql.registry.h5.construct import construct
from kerasql.registry.h5.inspect import inspect


def silent(step: str) -> None:
    pass


@pytest.mark.parametrize("file", ["image.h5", "image.keras"])
def test_an_inspection_says_what_the_file_is(networks: Path, file: str) -> None:
    inspection = inspect(networks / file)
    assert inspection.format == file.rpartition(".")[2]
    assert inspection.keras_version == "3.15.1"
    assert inspection.class_name == "Sequential"
    assert inspection.parameters == (3 * 3 * 3 * 4 + 4) + (4 * 3 + 3)
    assert "config" not in inspection.report()
    json.dumps(inspection.report())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "it is an HTML page"),
        (b"\n\n<html>", "it is an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>NoSuchKey', "a storage service's error message"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "it is a Git LFS pointer"),
        (pickle.dumps({"a": 1}), "it is a Python pickle"),
        (b'{"class_name": "Sequential"}', "it is JSON"),
        (b"\x00\x01\x02\x03", "it is neither HDF5 nor"),
        (b"\x89HDF\r\n\x1a\n" + b"\x00" * 100, "damaged"),
        (b"PK\x03\x04 and nonsense", "the archive is damaged"),
    ],
)
def test_a_file_that_is_no_model_is_named_for_what_it_is(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    file = tmp_path / "model.h5"
    file.write_bytes(content)
    with pytest.raises(InvalidFile, match=sentence):
        inspect(file)


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="it is a folder"):
        inspect(tmp_path)
    with pytest.raises(InvalidFile, match="there is no such file"):
        inspect(tmp_path / "none.h5")


def test_real_files_that_are_no_models_are_named(data: Path) -> None:
    with pytest.raises(InvalidFile, match="it is an HTML page"):
        inspect(data / "h5_bad" / "real_tr_model_is_html.h5")
    with pytest.raises(InvalidFile, match="it is empty"):
        inspect(data / "h5_bad" / "real_zero_byte.h5")


def test_weights_alone_are_no_model(networks: Path) -> None:
    with pytest.raises(InvalidFile, match="it holds weights only"):
        inspect(networks / "only.weights.h5")


def test_a_zip_that_is_no_keras_archive_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InvalidFile, match=r"not a \.keras archive"):
        inspect(tmp_path / "m.keras")


def test_a_file_cut_short_is_damaged(networks: Path, tmp_path: Path) -> None:
    whole = (networks / "image.h5").read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidFile, match="damaged"):
        inspect(cut)


def external_link(file: h5py.File) -> None:
    file["model_weights/elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")


def external_storage(file: h5py.File) -> None:
    file.create_dataset("model_weights/far", (4,), "u1", external=[("/etc/hostname", 0, 4)])


def virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
    file.create_virtual_dataset("model_weights/virtual", layout)


def huge_dataset(file: h5py.File) -> None:
    file.create_dataset("model_weights/huge", (2**50,), "f4", chunks=(2**20,))


@pytest.mark.parametrize(
    ("trick", "sentence"),
    [
        (external_link, "leads to another file"),
        (external_storage, "keeps its bytes in another file"),
        (virtual_dataset, "keeps its bytes in another file"),
        (huge_dataset, "declares"),
    ],
)
def test_hdf5_that_leaves_the_file_or_lies_about_its_size_is_refused(
    networks: Path, tmp_path: Path, trick: Any, sentence: str
) -> None:
    file = Path(shutil.copy(networks / "image.h5", tmp_path / "trick.h5"))
    with h5py.File(file, "a") as opened:
        trick(opened)
    with pytest.raises(RefusedFile, match=sentence):
        inspect(file)


def test_a_file_that_is_hdf5_and_an_archive_at_once_is_refused(
    networks: Path, tmp_path: Path
) -> None:
    """HDF5 may begin after 512 bytes: read as one thing and loaded as another, it hides a model."""
    both = tmp_path / "both.h5"
    hidden = (networks / "image.keras").read_bytes()
    shown = tmp_path / "shown.h5"
    with (
        h5py.File(networks / "vector.h5") as source,
        h5py.File(shown, "w", userblock_size=512) as target,
    ):
        for name in source:
            source.copy(name, target)
        target.attrs.update(source.attrs)
    content = bytearray(shown.read_bytes())
    content[:2] = b"PK"
    both.write_bytes(bytes(content) + hidden)
    inspection = inspect(both)
    assert (inspection.format, inspection.class_name) == ("keras", "Sequential")
    assert inspection.config["config"]["name"] != "vector"
    content[:2] = b"XX"
    both.write_bytes(bytes(content))
    with pytest.raises(RefusedFile, match="does not begin with the file's first byte"):
        inspect(both)


@pytest.mark.parametrize("key", ["keras_version", "model_config", "training_config"])
@pytest.mark.parametrize("value", [3, [1, 2]])
def test_attributes_that_are_no_text_are_named(
    networks: Path, tmp_path: Path, key: str, value: Any
) -> None:
    file = Path(shutil.copy(networks / "image.h5", tmp_path / "odd.h5"))
    with h5py.File(file, "a") as opened:
        opened.attrs[key] = value
    with pytest.raises(InvalidFile, match=f"its attribute '{key}' is no text"):
        inspect(file)


@pytest.mark.parametrize("file", ["compiled.keras", "compiled.h5", "compiled_inside.keras"])
def test_a_trained_model_is_accepted(networks: Path, tmp_path: Path, file: str) -> None:
    inspection = inspect(networks / file)
    audit(file, inspection.config, inspection.keras_version)
    built = construct(
        networks / file,
        name=file,
        folder=tmp_path,
        preprocess=None,
        engine=None,
        progress=silent,
    )
    assert built.engine == "openvino"
    if file != "compiled_inside.keras":
        assert inspection.training is not None


def test_a_loss_is_no_layer() -> None:
    with pytest.raises(RefusedFile, match="'Adam' is not one of Keras' own layers"):
        audit("m.keras", layer(class_name="Adam"), "3.15.1")
    hidden = layer(compile_config={"loss": {"class_name": "Lambda", "config": {}}})
    with pytest.raises(RefusedFile, match=r"compile_config\.loss\.class_name = 'Lambda'"):
        audit("m.keras", hidden, "3.15.1")


def layer(**changes: Any) -> dict[str, Any]:
    dense = {"class_name": "Dense", "config": {"units": 2, "activation": "relu"}}
    return {"class_name": "Sequential", "config": {"layers": [dense | changes]}}


@pytest.mark.parametrize(
    ("config", "where"),
    [
        (layer(class_name="Lambda"), r"config\.layers\[0\]\.class_name = 'Lambda'"),
        (layer(class_name="TFSMLayer"), r"class_name = 'TFSMLayer'"),
        (layer(class_name="TorchModuleWrapper"), r"class_name = 'TorchModuleWrapper'"),
        (layer(class_name=["Dense"]), r"class_name = \['Dense'\]"),
        (layer(module="os"), r"config\.layers\[0\]\.module = 'os'"),
        (layer(module="keras_evil.layers"), r"module = 'keras_evil.layers'"),
        (layer(registered_name="my>Dense"), r"registered_name = 'my>Dense'"),
        (layer(config={"activation": "os.system"}), r"activation = 'os.system'"),
        (
            layer(config={"activation": {"class_name": "function", "config": "eval"}}),
            r"activation\.config = 'eval'",
        ),
        (
            layer(class_name="TimeDistributed", config={"layer": {"class_name": "Mine"}}),
            r"config\.layers\[0\]\.config\.layer\.class_name = 'Mine'",
        ),
        (
            layer(config={"kernel_initializer": {"class_name": "Evil", "config": {}}}),
            r"kernel_initializer\.class_name = 'Evil'",
        ),
        (
            layer(class_name="StringLookup", config={"vocabulary": "/etc/passwd"}),
            r"vocabulary = '/etc/passwd' names a file",
        ),
        (layer(**layer(class_name="Lambda")), r"class_name = 'Lambda'"),
    ],
)
def test_what_is_not_keras_own_is_refused_with_its_place(
    config: dict[str, Any], where: str
) -> None:
    with pytest.raises(RefusedFile, match=where):
        audit("m.h5", config, "3.15.1")


def test_a_config_nested_without_end_is_refused() -> None:
    config: dict[str, Any] = layer()
    for _ in range(200):
        config = {"class_name": "Sequential", "config": {"layers": [config]}}
    with pytest.raises(RefusedFile, match="nested deeper"):
        audit("m.h5", config, "3.15.1")


def test_hard_sigmoid_of_keras_2_is_refused_because_it_would_predict_other_numbers() -> None:
    old = layer(class_name="LSTM", config={"recurrent_activation": "hard_sigmoid"})
    function = {"class_name": "function", "config": "hard_sigmoid"}
    as_object = layer(class_name="LSTM", config={"recurrent_activation": function})
    for config in (old, as_object):
        audit("m.h5", config, "3.15.1")
        with pytest.raises(RefusedFile, match=r"'hard_sigmoid' was saved by Keras 2\.2\.4"):
            audit("m.h5", config, "2.2.4")


def test_a_lambda_is_refused_before_anything_of_the_file_runs(networks: Path) -> None:
    inspection = inspect(networks / "with_lambda.h5")
    with pytest.raises(RefusedFile, match="'Lambda' is not one of Keras' own layers"):
        audit("with_lambda.h5", inspection.config, inspection.keras_version)


def test_the_allow_list_names_what_the_installed_keras_has() -> None:
    """Compared in a process of its own, which imports Keras."""
    code = """
import inspect, json, keras
from keras.src.activations import ALL_OBJECTS_DICT
def names(space, base):
    found = [n for n in dir(space) if inspect.isclass(getattr(space, n))]
    return sorted(n for n in found if issubclass(getattr(space, n), base))
def operations():
    import importlib
    from keras.src.ops.operation import Operation
    found = set()
    for name in ("numpy", "nn", "math", "image", "linalg", "core"):
        module = importlib.import_module(f"keras.src.ops.{name}")
        for one, value in vars(module).items():
            if inspect.isclass(value) and issubclass(value, Operation) and value is not Operation:
                if value.__module__ == module.__name__:
                    found.add(one)
    return sorted(found)
print(json.dumps({
    "LAYERS": names(keras.layers, keras.layers.Layer),
    "INITIALIZERS": names(keras.initializers, keras.initializers.Initializer),
    "REGULARIZERS": names(keras.regularizers, keras.regularizers.Regularizer),
    "CONSTRAINTS": names(keras.constraints, keras.constraints.Constraint),
    "ACTIVATIONS": sorted(ALL_OBJECTS_DICT),
    "OPERATIONS": operations(),
}))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    installed = {
        kind: set(names) for kind, names in json.loads(said.stdout.splitlines()[-1]).items()
    }
    unsafe = {
        "Lambda",
        "TFSMLayer",
        "TorchModuleWrapper",
        "JaxLayer",
        "FlaxLayer",
        "Layer",
        "Wrapper",
        # These take functions.
        *("AssociativeScan", "Cond", "ForiLoop", "JVP", "Map", "Scan", "Switch"),
        *("VectorizedMap", "WhileLoop"),
    }
    extra = {
        "LAYERS": {"Sequential", "Functional", "Model"},
        "ACTIVATIONS": {"hard_swish", "swish"},
    }
    for kind, names in installed.items():
        assert getattr(allowed, kind) == names - unsafe | extra.get(kind, set()), kind


def test_the_caller_learns_signature_layers_and_engine(networks: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    built = construct(
        networks / "pair.h5",
        name="pair.h5",
        folder=tmp_path,
        preprocess=None,
        engine=None,
        progress=steps.append,
    )
    assert [(i.name, i.shape) for i in built.signature.inputs] == [("left", (3,)), ("ahead", (2,))]
    assert [o.name for o in built.signature.outputs] == ["species", "age"]
    assert built.parameters == 5 * 2 + 2 + 5 + 1
    assert built.engine == "openvino"
    assert 0 <= built.engine_report["difference"] < 1e-4
    assert {"golden", "openvino.xml", "openvino.bin"} == set(built.files)
    assert len(steps) == 3


def test_the_golden_sample_is_what_keras_answered(networks: Path, tmp_path: Path) -> None:
    built = construct(
        networks / "vector.h5",
        name="vector.h5",
        folder=tmp_path,
        preprocess=None,
        engine=None,
        progress=silent,
    )
    code = f"""
import keras, numpy as np
golden = np.load({str(built.files["golden"])!r})
model = keras.saving.load_model({str(networks / "vector.h5")!r}, compile=False)
np.testing.assert_allclose(golden["y0"], model.predict(golden["x0"], verbose=0), atol=1e-6)
assert golden["x0"].shape == (1, 4)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_engine_that_cannot_is_refused_with_its_reason(networks: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match="the engine 'openvino' cannot serve this model: .*Tensor"
    ):
        construct(
            networks / "words.h5",
            name="words.h5",
            folder=tmp_path,
            preprocess=None,
            engine="openvino",
            progress=silent,
        )


def test_a_file_keras_cannot_load_is_one_sentence(networks: Path, tmp_path: Path) -> None:
    file = Path(shutil.copy(networks / "vector.h5", tmp_path / "torn.h5"))
    with h5py.File(file, "a") as opened:
        group = opened["model_weights"]
        name = next(n for n in group if len(group[n]))
        del group[name]
        group.create_group(name).attrs["weight_names"] = np.array([], "S8")
    with pytest.raises(ConstructFailed, match="torn.h5 could not be loaded: ") as failed:
        construct(
            file, name=file.name, folder=tmp_path, preprocess=None, engine=None, progress=silent
        )
    assert "\n" not in str(failed.value)


def test_a_child_that_takes_too_long_is_stopped(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASQL_CONSTRUCT_TIMEOUT_S", "1")
    with pytest.raises(ConstructFailed, match="KERASQL_CONSTRUCT_TIMEOUT_S"):
        construct(
            networks / "image.h5",
            name="image.h5",
            folder=tmp_path,
            preprocess=None,
            engine=None,
            progress=silent,
        )


def test_a_child_that_needs_too_much_memory_is_one_sentence(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASQL_CONSTRUCT_MEMORY_MB", "600")
    with pytest.raises(ConstructFailed, match="KERASQL_CONSTRUCT_MEMORY_MB") as failed:
        construct(
            networks / "image.h5",
            name="image.h5",
            folder=tmp_path,
            preprocess=None,
            engine=None,
            progress=silent,
        )
    assert "\n" not in str(failed.value)


def test_the_child_has_no_secrets_in_its_environment(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("KERASQL_DATABASE", "postgresql://me:hush@db/models")
    seen: list[bytes] = []

    def look(step: str) -> None:
        seen.extend(Path(f"/proc/{pid}/environ").read_bytes() for pid in children(tmp_path))

    construct(
        networks / "vector.h5",
        name="vector.h5",
        folder=tmp_path,
        preprocess=None,
        engine="keras",
        progress=look,
    )
    assert seen
    assert all(b"KERASQL_CHILD_PARENT" in environment for environment in seen)
    assert not any(b"hush" in environment for environment in seen)


def test_the_child_cannot_reach_the_network() -> None:
    """Not even a server on this machine's loopback, which answers without the jail."""
    code = """
import socket, sys
from kerasql.registry.h5.jail import leave_network
if sys.argv[2] == "jailed":
    assert leave_network()
socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=2)
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        free, jailed = (
            subprocess.run(
                [sys.executable, "-c", code, port, how], capture_output=True, text=True, check=False
            )
            for how in ("free", "jailed")
        )
    assert free.returncode == 0, free.stderr
    assert jailed.returncode == 1
    assert "OSError" in jailed.stderr
    assert "unreachable" in jailed.stderr


def test_a_child_dies_with_its_parent(networks: Path, tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from kerasql.registry.h5.construct import construct
construct(Path({str(networks / "image.h5")!r}), name="image.h5",
          folder=Path({str(tmp_path)!r}), preprocess=None, engine=None,
          progress=lambda step: print(step, flush=True))
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    parent.stdout.readline()
    assert children(tmp_path)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while children(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not children(tmp_path)


def children(folder: Path) -> list[int]:
    """The processes that construct in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"h5.jail" in command and os.fsencode(folder) in command:
                found.append(int(entry.name))
    return found
