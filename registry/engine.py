"""What loads an artifact and predicts.

An engine is compiled and compared with Keras once, at registration, and loaded on executors.
Both engines take and give lists of arrays in the order of the signature, batch axis first.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np

from kerasql.registry.code import objects
from kerasql.registry.errors import InvalidInput, UnsafeKeras, spelled
from kerasql.registry.preprocess.finish import Finish

Predict = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""Inputs (n, …) in signature order -> outputs (n, …) in signature order."""

OLDEST_KERAS = (3, 15, 1)
"""The first Keras without a known way for a model file to run code or read files."""

PRECISIONS = ("f32", "bf16")
"""What an engine may compute in: float32, or bfloat16 where a version's owner allows it."""

ABSOLUTE_TOLERANCE = RELATIVE_TOLERANCE = 1e-4


class Engine(Protocol):
    """Loads the artifacts it names and predicts with them."""

    def begin(self) -> None:
        """Import what it needs, which takes longer than loading a network."""

    def roles(self, kept: Collection[str]) -> tuple[str, ...]:
        """The roles of the artifacts that ``load`` needs, of those that a version has."""

    def load(
        self,
        files: Mapping[str, Path],
        *,
        streams: int = 1,
        precision: str = "f32",
        finish: Sequence[Finish | None] = (),
    ) -> Predict:
        """A network ready to predict, from one file per role.

        So many threads may predict at once, each on one core. precision is one of PRECISIONS.
        finish is what the network does to each input first, None where it comes finished.
        """


class OpenVINO:
    """OpenVINO on the CPU. Needs neither Keras nor TensorFlow."""

    def begin(self) -> None:
        """Import OpenVINO and its library for the CPU."""
        import openvino

        openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")

    def roles(self, kept: Collection[str]) -> tuple[str, ...]:
        """The network's XML and its weights."""
        return ("openvino.xml", "openvino.bin")

    def load(
        self,
        files: Mapping[str, Path],
        *,
        streams: int = 1,
        precision: str = "f32",
        finish: Sequence[Finish | None] = (),
    ) -> Predict:
        """Read the network's XML and its weights (mapped, not copied) and compile them."""
        import openvino

        core = openvino.Core()
        wanted = usable(precision, core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        with tempfile.TemporaryDirectory(prefix="kerasql-") as folder:
            network = core.read_model(
                linked(files["openvino.xml"], folder, "network.xml"),
                linked(files["openvino.bin"], folder, "network.bin"),
            )
            for number, steps in enumerate(finish):
                if steps:
                    steps.openvino(network, number)
            compiled = core.compile_model(
                network,
                "CPU",
                {
                    # OpenVINO's default is bfloat16 where the CPU has it: wrong by up to 0.2.
                    "INFERENCE_PRECISION_HINT": wanted,
                    "INFERENCE_NUM_THREADS": streams,
                    "NUM_STREAMS": streams,
                    # Pinned, the networks of two processes share one core.
                    "ENABLE_CPU_PINNING": False,
                },
            )
        used = compiled.get_property("INFERENCE_PRECISION_HINT")
        if used != getattr(openvino.Type, wanted):
            raise RuntimeError(f"OpenVINO computes in {used} although {wanted} was asked for")
        waiting: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams):
            waiting.put(compiled.create_infer_request())
        count = len(compiled.outputs)

        def predict(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            request = waiting.get()
            try:
                outputs = request.infer(list(inputs), share_inputs=True)
                return [np.array(outputs[index]) for index in range(count)]
            finally:
                waiting.put(request)

        return predict


class Keras:
    """Keras itself, on its TensorFlow backend."""

    def begin(self) -> None:
        """Import TensorFlow and Keras, which print what they like while they are."""
        import_keras()

    def roles(self, kept: Collection[str]) -> tuple[str, ...]:
        """The file as it was given, or as it was upgraded to Keras 3; the owner's source."""
        return ("upgraded" if "upgraded" in kept else "model", *({"code"} & set(kept)))

    def load(
        self,
        files: Mapping[str, Path],
        *,
        streams: int = 1,
        precision: str = "f32",
        finish: Sequence[Finish | None] = (),
    ) -> Predict:
        """Load a ``.h5`` or ``.keras`` file without its training configuration."""
        if precision != "f32":
            raise InvalidInput(f"the engine 'keras' computes as its model says, not in {precision}")
        path = files.get("upgraded") or files["model"]
        code = files["code"].read_text(encoding="utf-8") if "code" in files else None
        return keras_predict(load_keras(path, code=code, threads=streams), finish)


ENGINES: dict[str, Engine] = {"openvino": OpenVINO(), "keras": Keras()}


def engine_named(name: str) -> Engine:
    """The engine of that name; an unknown one lists those that exist."""
    if name not in ENGINES:
        raise InvalidInput(f"no engine {name!r}; there is {spelled(ENGINES)}")
    return ENGINES[name]


def load_keras(path: Path, *, threads: int, code: str | None = None) -> Any:
    """The Keras model of an audited file, its inputs and outputs as flat lists.

    code is the owner's source, which is run here: custom layers and the functions of Lambdas.
    """
    tf, keras = import_keras()
    limit_threads(tf, threads)
    require_keras(keras.__version__)
    # These register what only Keras 2 had: layers and TensorFlow's operators.
    from . import legacy, tensorflow_steps  # noqa: F401

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


def import_keras() -> tuple[Any, Any]:
    """TensorFlow and Keras, imported without their noise."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with silent_stderr():
        import keras
        import tensorflow as tf
    return tf, keras


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


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Nothing on stderr: what TensorFlow prints while it loads obeys none of its settings."""
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def limit_threads(tf: Any, threads: int) -> None:
    """Keep TensorFlow to its share of the executor's cores; too late once it has computed."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        # Another network of this process was here first and set the same limit.
        pass


def keras_predict(model: Any, finish: Sequence[Finish | None] = ()) -> Predict:
    """Predict with a Keras model: one traced graph for every batch size."""
    import tensorflow as tf

    steps = list(finish) or [None] * len(model.inputs)
    signature = [
        tf.TensorSpec([None, *one.row], one.given)
        if one
        else tf.TensorSpec([None, *i.shape[1:]], i.dtype)
        for i, one in zip(model.inputs, steps, strict=True)
    ]

    def called(inputs: Sequence[Any]) -> Any:
        finished = [
            one.tensorflow(rows) if one else rows for rows, one in zip(inputs, steps, strict=True)
        ]
        return model(finished, training=False)

    # Autograph would leave the Python it generates in the temporary folder.
    graph = tf.function(called, input_signature=[signature], autograph=False)

    def predict(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        tensors = [tf.convert_to_tensor(i, s.dtype) for i, s in zip(inputs, signature, strict=True)]
        outputs = tf.nest.flatten(graph(tensors))
        # NumPy has no bfloat16.
        return [
            tf.cast(o, tf.float32).numpy() if o.dtype == tf.bfloat16 else o.numpy() for o in outputs
        ]

    return predict


def usable(precision: str, capabilities: Collection[str]) -> str:
    """What a CPU is asked to compute in: f32, which is more exact, where it has no bf16 itself."""
    return precision if precision.upper() in capabilities else "f32"


def has_bf16() -> bool:
    """Whether this machine's CPU has instructions for bfloat16."""
    import openvino

    known = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return usable("bf16", known) == "bf16"


def compile_openvino(model: Any, folder: Path) -> dict[str, Path]:
    """Write a Keras model as an OpenVINO network into a folder: one file per role.

    Inputs and outputs keep Keras' order, whatever names the conversion gave them.
    """
    import openvino

    exported = folder / "exported.xml"
    model.export(str(exported), format="openvino", verbose=False)
    network = openvino.Core().read_model(exported)
    inputs = {name: i.get_node() for i in network.inputs for name in i.get_names()}
    outputs = {name: o.get_node() for o in network.outputs for name in o.get_names()}
    # TensorFlow calls the outputs of a traced function Identity, Identity_1, Identity_2 …
    count = len(network.outputs)
    ordered = openvino.Model(
        results=[outputs[f"Identity_{n}:0" if n else "Identity:0"] for n in range(count)],
        parameters=[inputs[tensor.name] for tensor in model.inputs],
    )
    files = {"openvino.xml": folder / "network.xml", "openvino.bin": folder / "network.bin"}
    openvino.serialize(ordered, files["openvino.xml"], files["openvino.bin"])
    return files


def largest_difference(ours: Sequence[np.ndarray], keras: Sequence[np.ndarray]) -> float:
    """The largest absolute difference between two lists of outputs."""
    return max(
        (float(np.max(np.abs(a - b), initial=0.0)) for a, b in _numeric_pairs(ours, keras)),
        default=0.0,
    )


def same_top_1(ours: Sequence[np.ndarray], keras: Sequence[np.ndarray]) -> float | None:
    """The share of rows whose best score is the same one, of the output where it is least.

    None where no output has several scores.
    """
    shares = [
        float(np.mean(a.argmax(axis=-1) == b.argmax(axis=-1)))
        for a, b in _numeric_pairs(ours, keras)
        if a.ndim > 1 and a.shape[-1] > 1
    ]
    return min(shares, default=None)


def agree(ours: Sequence[np.ndarray], keras: Sequence[np.ndarray]) -> bool:
    """Whether |a - b| <= 1e-4 + 1e-4 |b| everywhere: the promise that SQL equals Keras."""
    return all(
        np.allclose(a, b, rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE, equal_nan=True)
        for a, b in _numeric_pairs(ours, keras)
    )


def _numeric_pairs(
    ours: Sequence[np.ndarray], keras: Sequence[np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(a.astype("float64"), b.astype("float64")) for a, b in zip(ours, keras, strict=True)]


def linked(path: Path, folder: str, name: str) -> str:
    """The same file under a name that a library insists on."""
    target = Path(folder) / name
    target.symlink_to(path.absolute())
    return str(target)
