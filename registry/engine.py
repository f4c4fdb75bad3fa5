"""What loads an artifact and predicts.

An engine is compiled and compared with Keras once, at registration, and loaded on executors.
Both engines take and give lists of arrays in the order of the signature, batch axis first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np

from kerasql.registry.errors import InvalidInput, spelled
from kerasql.registry.keras_engine import Keras, linked
from kerasql.registry.preprocess.finish import Finish

Predict = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""Inputs (n, …) in signature order -> outputs (n, …) in signature order."""

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
        rows: int | None = None,
        precision: str = "f32",
        finish: Sequence[Finish | None] = (),
    ) -> Predict:
        """A network ready to predict, from one file per role.

        So many threads may predict at once, each on one core. rows are the most that come at once,
        None where that is not known. precision is one of PRECISIONS.
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
        rows: int | None = None,
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


ENGINES: dict[str, Engine] = {"openvino": OpenVINO(), "keras": Keras()}


def engine_named(name: str) -> Engine:
    """The engine of that name; an unknown one lists those that exist."""
    if name not in ENGINES:
        raise InvalidInput(f"no engine {name!r}; there is {spelled(ENGINES)}")
    return ENGINES[name]


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
