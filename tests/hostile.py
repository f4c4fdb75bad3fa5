"""Model files that try to run code, read other files or exhaust the reader: one trick each.

``CONFIGS`` are tricks of the architecture, written both as ``.h5`` and as ``.keras``; ``FILES`` are
tricks of the file itself. Each has the words its refusal must hold. A trap that worked would leave
the marker, open the secret or call the address.
"""

from __future__ import annotations

import base64
import json
import marshal
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Config = dict[str, Any]


@dataclass(frozen=True)
class Traps:
    """What a payload would touch."""

    marker: Path
    secret: Path
    url: str

    @property
    def python(self) -> str:
        return f"open({str(self.marker)!r}, 'w').close()"

    @property
    def bytecode(self) -> str:
        """As Keras 2 and 3 write a lambda: marshalled, in base64."""
        code = compile(f"lambda x: {self.python} or x", "<trap>", "eval").co_consts[0]
        return base64.b64encode(marshal.dumps(code)).decode()

    @property
    def old_bytecode(self) -> str:
        """As Keras 1 wrote it: marshalled, as text."""
        return base64.b64decode(self.bytecode).decode("raw_unicode_escape", "replace")

    @property
    def pickled(self) -> bytes:
        return pickle.dumps(_Payload(self.python))


class _Payload:
    def __init__(self, python: str) -> None:
        self.python = python

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (self.python,)


def sequential(*layers: Config) -> Config:
    first = {"class_name": "InputLayer", "config": {"batch_shape": [None, 4], "name": "row"}}
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [first, *layers]}}


def dense(**changes: Any) -> Config:
    return sequential({"class_name": "Dense", "config": {"name": "d", "units": 2}} | changes)


def argument(**changes: Any) -> Config:
    """A Dense layer with other arguments."""
    return dense(config={"name": "d", "units": 2, **changes})


def layer(class_name: Any, **config: Any) -> Config:
    return sequential({"class_name": class_name, "config": {"name": "l", **config}})


def function(name: Any, module: Any = "builtins", **more: Any) -> Config:
    return {"class_name": "function", "config": name, "module": module, **more}


def nested(config: Config, times: int) -> Config:
    for _ in range(times):
        config = sequential(config)
    return config


def lambda_(traps: Traps, **more: Any) -> Config:
    function = [traps.bytecode, None, None]
    config = {"name": "trap", "function": function, "function_type": "lambda", **more}
    return {"class_name": "Lambda", "config": config}


def modern_lambda(traps: Traps) -> Config:
    """As Keras 3 writes it into ``.keras``."""
    code = {"code": traps.bytecode, "defaults": None, "closure": None}
    held = {"class_name": "__lambda__", "config": code}
    return {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"name": "trap", "function": held, "arguments": {}},
        "registered_name": None,
    }


def graph(node: Any) -> Config:
    """A Functional model whose second layer is called with this."""
    row = {
        "class_name": "InputLayer",
        "config": {"name": "row"},
        "inbound_nodes": [],
        "name": "row",
    }
    called = {"class_name": "Dense", "config": {"name": "d"}, "inbound_nodes": node, "name": "d"}
    ends = {"input_layers": [["row", 0, 0]], "output_layers": [["d", 0, 0]]}
    return {"class_name": "Functional", "config": {"name": "g", "layers": [row, called], **ends}}


def keras_1_lambda(traps: Traps) -> Config:
    function = [traps.old_bytecode, None, None]
    trap = {"name": "trap", "function": function, "function_type": "lambda"}
    return {"class_name": "Sequential", "config": [{"class_name": "Lambda", "config": trap}]}


def merge(**config: Any) -> Config:
    return {
        "class_name": "Sequential",
        "config": [{"class_name": "Merge", "config": {"name": "m", "layers": [], **config}}],
    }


CONFIGS: dict[str, tuple[Callable[[Traps], Any], str]] = {
    # Bytecode
    "CVE-2024-3660: a Lambda's bytecode": (
        lambda t: sequential(lambda_(t)),
        r"layers\[1\]\.class_name = 'Lambda' \(the layer 'trap'\): its function is bytecode",
    ),
    "CVE-2025-9905: a Lambda in an h5, where safe_mode was not asked": (
        lambda t: sequential(modern_lambda(t)),
        r"class_name = 'Lambda'.*bytecode",
    ),
    "a Lambda of Keras 1": (keras_1_lambda, r"layers\[0\]\.class_name = 'Lambda'"),
    "a Lambda ten models deep": (
        lambda t: nested(sequential(lambda_(t)), 10),
        r"layers\[1\]\.config\.layers\[1\].*class_name = 'Lambda'",
    ),
    "a Lambda in TimeDistributed": (
        lambda t: layer("TimeDistributed", layer=lambda_(t)),
        r"layers\[1\]\.config\.layer\.class_name = 'Lambda'",
    ),
    "a Lambda as Bidirectional's backward layer": (
        lambda t: layer("Bidirectional", layer=dense(), backward_layer=lambda_(t)),
        "backward_layer.class_name = 'Lambda'",
    ),
    "a Lambda as an RNN's cell": (
        lambda t: layer("RNN", cell=lambda_(t)),
        "cell.class_name = 'Lambda'",
    ),
    "a Lambda among stacked cells": (
        lambda t: layer("StackedRNNCells", cells=[lambda_(t)]),
        r"cells\[0\]\.class_name = 'Lambda'",
    ),
    "a Lambda in a Pipeline of preprocessing": (
        lambda t: layer("Pipeline", layers=[lambda_(t)]),
        r"config\.layers\[0\]\.class_name = 'Lambda'",
    ),
    "a Lambda as an activation": (
        lambda t: argument(activation=lambda_(t)),
        r"activation\.class_name = 'Lambda'",
    ),
    "a Lambda in an argument that no layer has": (
        lambda t: argument(surprise={"deep": [{"deeper": lambda_(t)}]}),
        r"surprise\.deep\[0\]\.deeper\.class_name = 'Lambda'",
    ),
    "a Lambda in a call's arguments": (
        lambda t: graph([[["row", 0, 0, {"mask": lambda_(t)}]]]),
        r"inbound_nodes\[0\]\[0\]\[3\]\.mask\.class_name = 'Lambda'",
    ),
    "a Lambda in build_config": (
        lambda t: dense(build_config={"input_shape": lambda_(t)}),
        r"build_config\.input_shape\.class_name = 'Lambda'",
    ),
    "a Lambda in an inner model's compile_config": (
        lambda t: sequential(sequential() | {"compile_config": {"loss": lambda_(t)}}),
        r"compile_config\.loss\.class_name = 'Lambda'",
    ),
    "bare bytecode": (
        lambda t: argument(
            activation={"class_name": "__lambda__", "config": {"value": t.bytecode}}
        ),
        "activation.class_name = '__lambda__' is Python bytecode",
    ),
    "bytecode as a call's argument": (
        lambda t: graph(
            [{"args": [], "kwargs": {"f": {"class_name": "__lambda__", "config": {}}}}]
        ),
        "kwargs.f.class_name = '__lambda__' is Python bytecode",
    ),
    "bytecode as Keras 1's way to merge": (
        lambda t: merge(mode=[t.old_bytecode, None, None], mode_type="lambda"),
        r"layers\[0\]\.config\.mode is a function",
    ),
    "bytecode as a merged shape": (
        lambda t: merge(mode="sum", output_shape=[t.old_bytecode, None, None]),
        r"layers\[0\]\.config\.output_shape is a function",
    ),
    # Modules and functions
    "CVE-2025-1550: os.system as a class": (
        lambda t: dense(module="os", class_name="system", registered_name=None),
        "class_name = 'system' is not one of Keras' own layers",
    ),
    "CVE-2025-1550: subprocess in a call's arguments": (
        lambda t: graph([{"args": [{**function("run", "subprocess")}], "kwargs": {}}]),
        "config = 'run' is not one of Keras' own functions",
    ),
    "CVE-2025-8747: get_file as an activation": (
        lambda t: argument(
            activation=function("get_file", "keras.utils", registered_name="get_file")
        ),
        "activation.config = 'get_file' is not one of Keras' own functions",
    ),
    "CVE-2025-8747: get_file as a class": (
        lambda t: dense(
            module="keras.src.utils.file_utils", class_name="get_file", config={"origin": t.url}
        ),
        "class_name = 'get_file' is not one of Keras' own layers",
    ),
    "CVE-2025-9906: enable_unsafe_deserialization before a Lambda": (
        lambda t: sequential(
            {
                "module": "keras.config",
                "class_name": "function",
                "config": "enable_unsafe_deserialization",
                "registered_name": "enable_unsafe_deserialization",
            },
            lambda_(t),
        ),
        "config = 'enable_unsafe_deserialization' is not one of Keras' own functions",
    ),
    "CVE-2025-9906: load_model from within a model": (
        lambda t: dense(module="keras.models", class_name="load_model", config={"filepath": t.url}),
        "class_name = 'load_model' is not one of Keras' own layers",
    ),
    "a foreign module beside a class of Keras": (
        lambda t: dense(module="os"),
        r"layers\[1\]\.module = 'os' is not the part of Keras that has 'Dense'",
    ),
    "a module that only begins like Keras": (
        lambda t: dense(module="keras_evil.layers"),
        "module = 'keras_evil.layers'",
    ),
    "a part of Keras that has no layers": (
        lambda t: dense(module="keras.src.utils.file_utils"),
        "module = 'keras.src.utils.file_utils' is not the part of Keras that has 'Dense'",
    ),
    "a module of builtins beside a layer": (
        lambda t: dense(module="builtins"),
        "module = 'builtins' is not the part",
    ),
    "a module that is a list": (lambda t: dense(module=["keras.layers"]), r"module = \['keras"),
    "__main__ as the module of an activation": (
        lambda t: argument(activation=function("relu", "__main__")),
        "activation.module = '__main__'",
    ),
    "another name registered over a layer's": (
        lambda t: dense(registered_name="os>system"),
        "registered_name = 'os>system' is not what 'Dense' is",
    ),
    "another name registered over a function's": (
        lambda t: argument(activation=function("relu", registered_name="eval")),
        "registered_name = 'eval' is not what 'relu' is",
    ),
    "eval as a function": (
        lambda t: argument(activation=function("eval")),
        "activation.config = 'eval' is not one of Keras' own functions",
    ),
    "a function as a name": (
        lambda t: argument(activation="os.system"),
        "activation = 'os.system' is not one of Keras' own activations",
    ),
    "a foreign initializer": (
        lambda t: argument(kernel_initializer={"class_name": "Popen", "config": {}}),
        "kernel_initializer.class_name = 'Popen' is not one of Keras' own initializers",
    ),
    "a foreign initializer as a name": (
        lambda t: argument(kernel_initializer="exec"),
        "kernel_initializer = 'exec' is not one of Keras' own initializers",
    ),
    "a foreign regularizer of Keras 1": (
        lambda t: argument(W_regularizer={"name": "eval", "l1": t.python}),
        "W_regularizer.name = 'eval' is not one of Keras' own regularizers",
    ),
    "a foreign constraint": (
        lambda t: argument(kernel_constraint="Unpickler"),
        "kernel_constraint = 'Unpickler' is not one of Keras' own constraints",
    ),
    "a precision policy from elsewhere": (
        lambda t: argument(dtype={"class_name": "DTypePolicy", "module": "os", "config": {}}),
        "dtype.module = 'os'",
    ),
    "a quantizer from elsewhere": (
        lambda t: argument(
            quantization_config={"class_name": "check_output", "module": "subprocess", "config": {}}
        ),
        "quantization_config.class_name = 'check_output'",
    ),
    "a metric that is a function": (
        lambda t: sequential(
            sequential() | {"compile_config": {"metrics": [function("exec", "builtins")]}}
        ),
        r"metrics\[0\]\.config = 'exec'",
    ),
    "a function that TextVectorization standardizes with": (
        lambda t: layer("TextVectorization", standardize="builtins.eval", split=None),
        "standardize = 'builtins.eval'",
    ),
    # Classes that run what the file brings
    "CVE-2025-49655: TorchModuleWrapper's pickle": (
        lambda t: layer("TorchModuleWrapper", module=base64.b64encode(t.pickled).decode()),
        "class_name = 'TorchModuleWrapper' opens a Python pickle",
    ),
    "CVE-2026-1462: TFSMLayer's folder": (
        lambda t: layer("TFSMLayer", filepath=str(t.secret), call_endpoint="serve"),
        "class_name = 'TFSMLayer' runs a TensorFlow program",
    ),
    "a function of Jax": (lambda t: layer("JaxLayer", call_fn=t.bytecode), "'JaxLayer' runs a"),
    "a Flax module": (lambda t: layer("FlaxLayer", module={}), "'FlaxLayer' runs a function"),
    "an operation that maps a function": (
        lambda t: layer("Map", function=function("eval")),
        "class_name = 'Map' is not one of Keras' own layers",
    ),
    "any class of TensorFlow by its type": (
        lambda t: argument(
            spec={"class_name": "__typespec__", "spec_name": "x", "module": "os", "config": []}
        ),
        "spec.class_name = '__typespec__' names any class of TensorFlow",
    ),
    "a composite tensor": (
        lambda t: argument(value={"class_name": "CompositeTensor", "spec": {}, "tensors": []}),
        "value.class_name = 'CompositeTensor' names any class",
    ),
    "TensorFlow reads a file": (
        lambda t: layer("TFOpLambda", function="io.read_file"),
        "config.function = 'io.read_file' is not a TensorFlow operator that only computes",
    ),
    "TensorFlow calls Python": (
        lambda t: layer("TFOpLambda", function="numpy_function"),
        "config.function = 'numpy_function' is not a TensorFlow operator",
    ),
    "TensorFlow loads a library": (
        lambda t: layer("TFOpLambda", function="load_op_library"),
        "config.function = 'load_op_library' is not a TensorFlow operator",
    ),
    "a raw operation of TensorFlow": (
        lambda t: layer("TFOpLambda", function="raw_ops.WriteFile"),
        "config.function = 'raw_ops.WriteFile' is not a TensorFlow operator",
    ),
    "a node that writes a file": (
        lambda t: layer("TensorFlowOpLayer", node_def={"op": "WriteFile", "name": "w"}),
        "node_def.op = 'WriteFile' is not a TensorFlow operator",
    ),
    "a node, as text, that calls Python": (
        lambda t: layer("TensorFlowOpLayer", node_def=json.dumps({"op": "PyFunc"})),
        "node_def.op = 'PyFunc' is not a TensorFlow operator",
    ),
    "a method of a class of TensorFlow": (
        lambda t: layer("ClassMethod", cls_symbol="io.gfile.GFile", method_name="__init__"),
        "class_name = 'ClassMethod' calls any method",
    ),
    "an attribute of a tensor": (
        lambda t: layer("InstanceProperty", attr_name="__globals__"),
        "class_name = 'InstanceProperty' reads any attribute",
    ),
    # Other files
    "CVE-2025-12058: a vocabulary that is a file": (
        lambda t: layer("StringLookup", vocabulary=str(t.secret)),
        "config.vocabulary = '.*' names a file; only values inside the model are read",
    ),
    "CVE-2025-12058: a vocabulary that is an address": (
        lambda t: layer("TextVectorization", vocabulary=t.url),
        "config.vocabulary = 'http://.*' names a file",
    ),
    "weights of a vocabulary that are a file": (
        lambda t: layer("IntegerLookup", idf_weights=str(t.secret)),
        "config.idf_weights = '.*' names a file",
    ),
    "an address in an argument that no layer has": (
        lambda t: argument(surprise="gs://bucket/model"),
        "surprise = 'gs://bucket/model' names a file",
    ),
    "a path in an argument that no layer has": (
        lambda t: argument(surprise=str(t.secret)),
        "surprise = '.*' names a file",
    ),
    "a layer's name that climbs out of a folder": (
        lambda t: argument(name="../../secret"),
        r"name = '\.\./\.\./secret' names a file",
    ),
    # Names that only look right
    "a class name in other letters": (
        lambda t: layer("L\u0430mbda", function=[t.bytecode]),
        r"class_name = 'L\\u0430mbda' is not one of Keras' own layers",
    ),
    "a class name in lower case": (lambda t: layer("lambda"), "class_name = 'lambda' is not one"),
    "a class name with a space behind": (lambda t: layer("Dense "), "class_name = 'Dense ' is not"),
    "a class name with a path before": (
        lambda t: layer("keras.layers.Lambda", function=[t.bytecode]),
        "class_name = 'keras.layers.Lambda' is not one",
    ),
    "a package before a Lambda": (
        lambda t: layer("Custom>Lambda", function=[t.bytecode]),
        "class_name = 'Custom>Lambda' is not one",
    ),
    "a package before TFSMLayer": (
        lambda t: layer("Custom>TFSMLayer"),
        "class_name = 'Custom>TFSMLayer' runs a TensorFlow program",
    ),
    "a class name that is a list": (lambda t: layer(["Lambda"]), r"class_name = \['Lambda'\]"),
    "a class name that is an object": (lambda t: layer({"x": 1}), r"class_name = \{'x': 1\}"),
    "a class name that is a number": (lambda t: layer(7), "class_name = 7 is not one"),
    "a class that is not there": (
        lambda t: layer("__superclass__"),
        "class_name = '__superclass__' is not one of Keras' own layers",
    ),
    "a config that is text": (
        lambda t: dense(config=t.python),
        r"layers\[1\]\.config = .* is no object",
    ),
    "a layer in the place of a model": (
        lambda t: lambda_(t),
        "class_name = 'Lambda' is not one of Keras' own models",
    ),
    # Too much
    "nesting without end": (lambda t: nested(dense(), 60), "is nested deeper than 100 levels"),
    "lists without end": (
        lambda t: argument(x=json.loads("[" * 200 + "]" * 200)),
        "is nested deeper than 100 levels",
    ),
    "a number of a thousand digits": (
        lambda t: argument(units=10**1000),
        "config.units is larger than any argument",
    ),
    "a text of megabytes": (
        lambda t: argument(note="x" * 2**21),
        "config.note is larger than any argument",
    ),
    "a type that is a record of millions": (
        lambda t: argument(x={"class_name": "__numpy__", "config": {"dtype": "(9999999,)f8"}}),
        r"x\.config\.dtype = '\(9999999,\)f8' is no type of number",
    ),
}


def write_h5(base: Path, target: Path, config: Any) -> Path:
    """A copy of a model with another architecture."""
    shutil.copy(base / "vector.h5", target)
    text = config if isinstance(config, str) else json.dumps(config)
    with h5py.File(target, "a") as file:
        del file.attrs["model_config"]
        file.attrs["model_config"] = text
    return target


def write_keras(base: Path, target: Path, changes: dict[str, bytes | str]) -> Path:
    """A copy of an archive with members replaced or added."""
    with zipfile.ZipFile(base / "image.keras") as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            if name not in changes:
                copy.writestr(name, source.read(name))
        for name, content in changes.items():
            copy.writestr(name, content)
    return target


def in_h5(change: Callable[[h5py.File, Traps], None]) -> Callable[[Path, Path, Traps], Path]:
    def make(base: Path, target: Path, traps: Traps) -> Path:
        shutil.copy(base / "vector.h5", target)
        with h5py.File(target, "a") as file:
            change(file, traps)
        return target

    return make


def in_archive(change: Callable[[h5py.File, Traps], None]) -> Callable[[Path, Path, Traps], Path]:
    """The same trick in the weights of a ``.keras`` archive."""

    def make(base: Path, target: Path, traps: Traps) -> Path:
        weights = target.with_suffix(".weights")
        with zipfile.ZipFile(base / "image.keras") as source:
            weights.write_bytes(source.read("model.weights.h5"))
        with h5py.File(weights, "a") as file:
            change(file, traps)
        return write_keras(base, target, {"model.weights.h5": weights.read_bytes()})

    return make


def external_link(file: h5py.File, traps: Traps) -> None:
    file["elsewhere"] = h5py.ExternalLink(str(traps.secret), "/x")


def weights_elsewhere(file: h5py.File, traps: Traps) -> None:
    """GHSA-27f4-p4xq-cxg8: the group of all weights is in another file."""
    if "model_weights" in file:
        del file["model_weights"]
    file["model_weights"] = h5py.ExternalLink(str(traps.secret), "/")


def soft_link_out(file: h5py.File, traps: Traps) -> None:
    file["far"] = h5py.ExternalLink(str(traps.secret), "/x")
    file["near"] = h5py.SoftLink("/far")


def external_storage(file: h5py.File, traps: Traps) -> None:
    file.create_dataset("far", (4,), "u1", external=[(str(traps.secret), 0, 4)])


def virtual_dataset(file: h5py.File, traps: Traps) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource(str(traps.secret), "x", (4,))
    file.create_virtual_dataset("virtual", layout)


def huge_dataset(file: h5py.File, traps: Traps) -> None:
    file.create_dataset("huge", (2**50,), "f4", chunks=(2**20,))


def huge_chunk(file: h5py.File, traps: Traps) -> None:
    file.create_dataset("chunk", (1,), "f4", chunks=(2**29,), maxshape=(None,))


def many_large(file: h5py.File, traps: Traps) -> None:
    for number in range(40):
        zeros = file.create_dataset(
            f"zeros{number}", (2**24,), "f4", chunks=(2**22,), compression="gzip"
        )
        zeros[:] = np.zeros(2**24, "f4")


def pickled_objects(file: h5py.File, traps: Traps) -> None:
    kind = h5py.vlen_dtype(np.uint8)
    rows = file.create_dataset("objects", (1,), kind)
    rows[0] = np.frombuffer(traps.pickled, np.uint8)


def plugin_filter(file: h5py.File, traps: Traps) -> None:
    """A filter that HDF5 would look for in a folder of libraries."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((4,))
    plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"packed", h5py.h5t.NATIVE_FLOAT, space, plan)


def groups_without_end(file: h5py.File, traps: Traps) -> None:
    group = file
    for _ in range(200):
        group = group.create_group("g")


def a_circle(file: h5py.File, traps: Traps) -> None:
    """A group that holds itself ends; the file is refused for what else is in it."""
    group = file.create_group("round")
    group["again"] = group
    external_link(file, traps)


def a_pickle(base: Path, target: Path, traps: Traps) -> Path:
    target.write_bytes(traps.pickled)
    return target


def a_yaml_architecture(base: Path, target: Path, traps: Traps) -> Path:
    """CVE-2021-37678: Keras once read YAML, whose tags call Python."""
    return write_h5(base, target, f"!!python/object/apply:builtins.exec [{traps.python!r}]")


def endless_heap(base: Path, target: Path, traps: Traps) -> Path:
    """An entry of no bytes in the heap of texts, over which HDF5 1.14 never gets."""
    content = bytearray((base / "vector.h5").read_bytes())
    at = content.index(b"GCOL") + 16
    content[at : at + 16] = bytes(16)
    target.write_bytes(content)
    return target


def two_formats(base: Path, target: Path, traps: Traps) -> Path:
    """HDF5 behind 512 other bytes, which some readers find and others do not."""
    with (
        h5py.File(base / "vector.h5") as source,
        h5py.File(target, "w", userblock_size=512) as shifted,
    ):
        for name in source:
            source.copy(name, shifted)
        shifted.attrs.update(source.attrs)
    with target.open("r+b") as file:
        file.write(b"XX")
    return target


def doubled_key(base: Path, target: Path, traps: Traps) -> Path:
    """Readers differ in which of two equal keys they believe."""
    harmless = json.dumps(dense())
    trap = json.dumps(sequential(lambda_(traps))["config"])
    return write_h5(base, target, f'{harmless[:-1]}, "config": {trap}, "config": {{}}}}')


def doubled_member(base: Path, target: Path, traps: Traps) -> Path:
    with zipfile.ZipFile(base / "image.keras") as archive:
        config = archive.read("config.json")
    content = bytearray(write_keras(base, target, {"config_json": config}).read_bytes())
    return _renamed(target, content, b"config_json", b"config.json")


def _renamed(target: Path, content: bytearray, old: bytes, new: bytes) -> Path:
    target.write_bytes(bytes(content).replace(old, new))
    return target


def member(name: str, content: bytes = b"x") -> Callable[[Path, Path, Traps], Path]:
    return lambda base, target, traps: write_keras(base, target, {name: content})


def linked_member(base: Path, target: Path, traps: Traps) -> Path:
    write_keras(base, target, {})
    link = zipfile.ZipInfo("assets/vocabulary.txt")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(link, str(traps.secret))
    return target


def zip_bomb(base: Path, target: Path, traps: Traps) -> Path:
    """A config that says it is 60 bytes packed and 4 GB unpacked."""
    write_keras(base, target, {})
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(2**26))
    content = bytearray(target.read_bytes())
    at = content.rindex(b"assets/zeros") - 46
    content[at + 24 : at + 28] = struct.pack("<I", 2**32 - 2)
    target.write_bytes(content)
    return target


def weights_that_are_no_hdf5(base: Path, target: Path, traps: Traps) -> Path:
    return write_keras(base, target, {"model.weights.h5": traps.pickled})


def deep_json(base: Path, target: Path, traps: Traps) -> Path:
    return write_keras(base, target, {"config.json": '{"a":' * 100_000 + "1" + "}" * 100_000})


FILES: dict[str, tuple[str, Callable[[Path, Path, Traps], Path], str]] = {
    "CVE-2026-1669: an external link": ("h5", in_h5(external_link), "another file"),
    "GHSA-27f4-p4xq-cxg8: all weights by a link": ("h5", in_h5(weights_elsewhere), "another file"),
    "CVE-2026-1669: a soft link to an external one": ("h5", in_h5(soft_link_out), "link"),
    "CVE-2026-1669: external storage": ("h5", in_h5(external_storage), "another file"),
    "CVE-2026-12480: a virtual dataset": ("h5", in_h5(virtual_dataset), "another file"),
    "CVE-2026-0897: a shape larger than the file": ("h5", in_h5(huge_dataset), "declares"),
    "CVE-2026-0897: a chunk larger than the file": ("h5", in_h5(huge_chunk), "declares"),
    "CVE-2026-0897: many that pack too well": ("h5", in_h5(many_large), "declare"),
    "a pickle in a dataset": ("h5", in_h5(pickled_objects), "holds lists of any length"),
    "a filter that loads a library": ("h5", in_h5(plugin_filter), "filter 32015"),
    "groups without end": ("h5", in_h5(groups_without_end), "deep"),
    "a circle of groups": ("h5", in_h5(a_circle), "another file"),
    "an external link in an archive": ("keras", in_archive(external_link), "another file"),
    "external storage in an archive": ("keras", in_archive(external_storage), "another file"),
    "a virtual dataset in an archive": ("keras", in_archive(virtual_dataset), "another file"),
    "a shape too large in an archive": ("keras", in_archive(huge_dataset), "declares"),
    "a pickle by another name": ("h5", a_pickle, "it is a Python pickle"),
    "a pickle as an archive's weights": ("keras", weights_that_are_no_hdf5, "no HDF5"),
    "CVE-2021-37678: YAML that calls Python": ("h5", a_yaml_architecture, "not readable JSON"),
    "two formats at once": ("h5", two_formats, "does not begin with the file's first byte"),
    "a key said twice": ("h5", doubled_key, "says 'config' twice"),
    "a member that is there twice": ("keras", doubled_member, "'config.json' twice"),
    "CVE-2025-12638: a member outside the archive": (
        "keras",
        member("../../.ssh/authorized_keys"),
        "leaves the archive",
    ),
    "CVE-2025-12060: a member at an absolute path": (
        "keras",
        member("/etc/cron.d/trap"),
        "leaves the archive",
    ),
    "CVE-2025-12638: a member that is a link": ("keras", linked_member, "is a link"),
    "a member of four gigabytes": ("keras", zip_bomb, "declares too many bytes"),
    "JSON nested a hundred thousand times": ("keras", deep_json, "not readable JSON"),
}
