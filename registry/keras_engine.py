"""Keras itself as an engine, on TensorFlow, JAX or torch: how a file becomes a network."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasql.registry.code import objects
from kerasql.registry.errors import InvalidInput, UnsafeKeras
from kerasql.registry.keras_backends import (
    Network,
    Padded,
    backend,
    backend_name,
    silent_stderr,
)
from kerasql.registry.preprocess.finish import Finish

if TYPE_CHECKING:
    from kerasql.registry.engine import Predict

OLDEST_KERAS = (3, 15, 1)
"""The first Keras without a known way for a model file to run code or read files."""

PREPARING = "keras.src.layers.preprocessing"
"""Where Keras has the layers that take raw numbers: bfloat16 would round them first."""

TENSORFLOW_STEP = b"kerasql>Operator"
"""How a file names a step that TensorFlow itself computes (``tensorflow_steps.py``)."""


class Keras:
    """Keras itself, on whichever backend is installed."""

    def begin(self) -> None:
        """Import Keras and its backend, which print what they like while they are."""
        import_keras()

    def roles(self, kept: Collection[str]) -> tuple[str, ...]:
        """The file as it was given, or as it was upgraded to Keras 3; the owner's source."""
        return ("upgraded" if "upgraded" in kept else "model", *({"code"} & set(kept)))

    def load(
        self,
        files: Mapping[str, Path],
        *,
        streams: int = 1,
        rows: int | None = None,
        precision: str = "f32",
        finish: Sequence[Finish | None] = (),
    ) -> Predict:
        """Load a ``.h5`` or ``.keras`` file without its training configuration, and compile it.

        In bfloat16 the weights stay in float32, and so do outputs. On a CPU without bfloat16 all
        is float32, which is more exact and no slower there.
        """
        path = files.get("upgraded") or files["model"]
        code = files["code"].read_text(encoding="utf-8") if "code" in files else None
        model = load_keras(path, code=code, threads=streams)
        if precision == "bf16" and (backend().gpus() or cpu_has_bf16()):
            compute_in_bf16(model)
        else:
            precision = "f32"
        return keras_predict(model, finish, precision=precision, rows=rows)


def load_keras(path: Path, *, threads: int, code: str | None = None) -> Any:
    """The Keras model of an audited file, its inputs and outputs as flat lists.

    code is the owner's source, which is run here: custom layers and the functions of Lambdas.
    Raises InvalidInput where the file needs another backend than this process has.
    """
    keras = import_keras()
    backend().limit(threads)
    require_keras(keras.__version__)
    # These register what only Keras 2 had: layers, and TensorFlow's operators.
    from . import legacy

    if backend_name() == "tensorflow":
        from . import tensorflow_steps  # noqa: F401
    else:
        refuse_tensorflow_steps(path)
    scope = keras.saving.custom_object_scope(objects(code) if code else {})
    with scope, tempfile.TemporaryDirectory(prefix="kerasql-") as folder, path.open("rb") as file:
        # Keras chooses its reader by the name's suffix.
        suffix = ".keras" if file.read(2) == b"PK" else ".h5"
        model = keras.saving.load_model(
            linked(path, folder, f"model{suffix}"),
            custom_objects=operations(keras) if suffix == ".h5" else None,
            compile=False,
            safe_mode=True,
        )
    for layer in model._flatten_layers():
        # Keras 3.15.1 takes the number of rows for that of steps where it is free.
        if type(layer) is keras.layers.TimeDistributed:
            layer.__class__ = legacy.FreeSteps
    if not model.inputs:
        raise ValueError("the file does not say what shape its input has")
    return keras.Model(model.inputs, model.outputs)


def import_keras() -> Any:
    """Keras on the backend of this process, imported without its noise."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = backend_name()
    with silent_stderr():
        import keras
    return keras


def refuse_tensorflow_steps(path: Path) -> None:
    """Raise InvalidInput for a model with steps of TensorFlow's own, which no other computes."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json")
    if TENSORFLOW_STEP in config:
        raise InvalidInput(
            f"it has steps of TensorFlow's own, which {backend_name()} cannot compute; install "
            "tensorflow where executors run, or set KERAS_BACKEND=tensorflow there"
        )


def operations(keras: Any) -> dict[str, Any]:
    """Keras' own operations, which a ``.h5`` of Keras 3 names without their module.

    The audit has passed every name in the file; layers of the same name come first.
    """
    found: dict[str, Any] = {}
    waiting = [keras.Operation]
    while waiting:
        for one in waiting.pop().__subclasses__():
            if one.__module__.startswith("keras.src.ops."):
                found[one.__name__] = one
            waiting.append(one)
    return {name: one for name, one in found.items() if not hasattr(keras.layers, name)}


def require_keras(version: str) -> None:
    """Refuse a Keras with known holes, whatever an environment has installed."""
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())
    if numbers < OLDEST_KERAS:
        oldest = ".".join(map(str, OLDEST_KERAS))
        raise UnsafeKeras(version, oldest)


def keras_predict(
    model: Any,
    finish: Sequence[Finish | None] = (),
    *,
    precision: str = "f32",
    rows: int | None = None,
) -> Predict:
    """Predict with a Keras model, compiled.

    Where compiling is per shape, batches are filled up to a few sizes of at most so many rows, and
    every size is compiled here; with rows None each new size is compiled when it comes.
    """
    network = Network(model, list(finish) or [None] * len(model.inputs), precision)
    if network.takes_text and backend_name() != "tensorflow":
        raise InvalidInput(f"it takes text, which {backend_name()} cannot; TensorFlow can")
    compute = backend().compiled(network)
    if rows is None or not backend().per_shape(network):
        return compute
    padded = Padded(compute, rows)
    if not network.is_free:
        padded.begin(network.given)
    return padded


def compute_in_bf16(model: Any) -> None:
    """Let a model's layers of float32 compute in bfloat16; their weights stay as they are.

    Layers whose answers leave the model stay in float32, and so do those that take raw numbers.
    """
    last = {id(tensor._keras_history.operation) for tensor in model.outputs}
    for layer in model._flatten_layers(include_self=False):
        prepares = type(layer).__module__.startswith(PREPARING)
        if layer.dtype_policy.name == "float32" and not prepares and id(layer) not in last:
            layer.dtype_policy = "mixed_bfloat16"


def cpu_has_bf16() -> bool:
    """Whether this CPU has instructions for bfloat16, by Linux' names for those of x86 and Arm."""
    said = Path("/proc/cpuinfo").read_text().split()
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(said)


def linked(path: Path, folder: str, name: str) -> str:
    """The same file under a name that a library insists on."""
    target = Path(folder) / name
    target.symlink_to(path.absolute())
    return str(target)
