"""What Keras computes with: TensorFlow, JAX or torch, compiled, and kept to its share of a machine.

Every backend is imported where it is first used, and only the one that was chosen.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kerasql.registry.errors import InvalidInput, spelled
from kerasql.registry.preprocess.finish import Finish

Compute = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""Inputs (n, …) of the dtypes of ``Network.given`` -> outputs (n, …)."""


@dataclass(frozen=True)
class Network:
    """A Keras model with what is done to its inputs first (None where nothing is)."""

    model: Any
    finish: Sequence[Finish | None]
    precision: str

    @property
    def given(self) -> list[tuple[str, tuple[Any, ...]]]:
        """The dtype and shape of one row of each input; None for an axis of any length."""
        return [
            (one.given, one.row) if one else (str(tensor.dtype), tuple(tensor.shape[1:]))
            for tensor, one in zip(self.model.inputs, self.finish, strict=True)
        ]

    @property
    def takes_text(self) -> bool:
        """Whether an input is strings."""
        return any(dtype == "string" for dtype, _ in self.given)

    @property
    def is_free(self) -> bool:
        """Whether an axis beside the batch has any length."""
        return any(None in shape for _, shape in self.given)

    def finished(self, inputs: Sequence[Any]) -> list[Any]:
        """The model's inputs, as tensors of the backend."""
        return [
            one.keras(rows) if one else rows for rows, one in zip(inputs, self.finish, strict=True)
        ]

    def answered(self, outputs: Any) -> list[Any]:
        """The model's outputs in its order and dtypes; float32 for bfloat16, unknown to NumPy."""
        import keras

        found = []
        for tensor, symbol in zip(keras.tree.flatten(outputs), self.model.outputs, strict=True):
            wanted = "float32" if symbol.dtype == "bfloat16" else symbol.dtype
            # A lookup's words are said to be numbers.
            kept = keras.backend.standardize_dtype(tensor.dtype) in (wanted, "string")
            found.append(tensor if kept else keras.ops.cast(tensor, wanted))
        return found

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """The outputs for tensors as they are given."""
        return self.answered(self.model(self.finished(inputs), training=False))


class Backend(Protocol):
    """One of the libraries that Keras computes with."""

    def gpus(self) -> int:
        """How many GPUs it sees. Takes none of their memory; raises what its import raises."""

    def limit(self, threads: int) -> None:
        """Keep to so many cores, and to float32 where float32 is asked for: no TF32 on a GPU."""

    def per_shape(self, network: Network) -> bool:
        """Whether it compiles the network for each shape anew."""

    def compiled(self, network: Network) -> Compute:
        """The network as one compiled computation. Raises InvalidInput for what it cannot take."""

    def held_bytes(self) -> int | None:
        """The memory of the GPU that is in use; None on a CPU."""


class TensorFlow:
    """``tf.function``; on a GPU with XLA, which on a CPU was slower and compiles per shape."""

    def gpus(self) -> int:
        """The GPUs that TensorFlow was built for and has found."""
        import tensorflow as tf

        return len(tf.config.list_physical_devices("GPU"))

    def limit(self, threads: int) -> None:
        """One pool of threads for the process; too late once it has computed."""
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
        # Another network of this process may have been here first and set the same limit.
        with suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)

    def per_shape(self, network: Network) -> bool:
        """XLA does, and knows no text."""
        return bool(self.gpus()) and not network.takes_text

    def compiled(self, network: Network) -> Compute:
        """One graph for every size of a batch."""
        import tensorflow as tf

        signature = [tf.TensorSpec([None, *shape], dtype) for dtype, shape in network.given]

        # A function for each network: TensorFlow would warn that one is traced again and again.
        def traced(inputs: Sequence[Any]) -> list[Any]:
            return network(inputs)

        # Autograph would leave the Python it generates in the temporary folder.
        graph = partial(tf.function, traced, input_signature=[signature], autograph=False)

        def compute(called: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            tensors = [
                tf.convert_to_tensor(i, s.dtype) for i, s in zip(inputs, signature, strict=True)
            ]
            return [output.numpy() for output in called(tensors)]

        plain = partial(compute, graph())
        if not self.per_shape(network):
            return plain
        return tried(partial(compute, graph(jit_compile=True)), plain, "XLA")

    def held_bytes(self) -> int | None:
        """What TensorFlow's allocator has handed out."""
        import tensorflow as tf

        if not self.gpus():
            return None
        return int(tf.config.experimental.get_memory_info("GPU:0")["current"])


class Jax:
    """``jax.jit``, which compiles for each shape."""

    def gpus(self) -> int:
        """The GPUs that a plugin of JAX has found."""
        import jax

        try:
            return len(jax.devices("gpu"))
        except RuntimeError:
            return 0

    def limit(self, threads: int) -> None:
        """XLA reads the size of its pool of threads when it first computes."""
        os.environ["NPROC"] = str(threads)

    def per_shape(self, network: Network) -> bool:
        """XLA does."""
        return True

    def compiled(self, network: Network) -> Compute:
        """A function of the weights, which would be copied into every compilation otherwise."""
        import jax

        model = network.model
        weights = [
            [variable.value for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        ]

        def called(weights: Any, inputs: Sequence[Any]) -> list[Any]:
            finished = network.finished(inputs)
            outputs, _ = model.stateless_call(*weights, finished, training=False)
            return network.answered(outputs)

        jitted = jax.jit(called)
        dtypes = [dtype for dtype, _ in network.given]

        def compute(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            arrays = [np.asarray(i, dtype) for i, dtype in zip(inputs, dtypes, strict=True)]
            # What GPUs do by default with float32 is TF32.
            exact = network.precision == "f32"
            with jax.default_matmul_precision("highest") if exact else nullcontext():
                return [np.asarray(output) for output in jitted(weights, arrays)]

        return compute

    def held_bytes(self) -> int | None:
        """What XLA's allocator has handed out."""
        import jax

        device = jax.local_devices()[0]
        said = device.memory_stats() if device.platform == "gpu" else None
        return int(said["bytes_in_use"]) if said else None


class Torch:
    """``torch.compile`` under inference mode, where there is a compiler for what it writes."""

    def gpus(self) -> int:
        """The GPUs that CUDA has found."""
        import torch

        return int(torch.cuda.device_count()) if torch.cuda.is_available() else 0

    def limit(self, threads: int) -> None:
        """One core for each thread that predicts: every one would have a team of its own."""
        import torch

        torch.set_num_threads(1)
        # Every network is another graph of the same function: eight would be all by default.
        torch._dynamo.config.recompile_limit = MOST_GRAPHS
        torch._dynamo.config.accumulated_recompile_limit = MOST_GRAPHS
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False

    def per_shape(self, network: Network) -> bool:
        """Where there is a compiler for what torch.compile writes."""
        return bool(shutil.which(os.environ.get("CXX", "c++")) and shutil.which("cc"))

    def compiled(self, network: Network) -> Compute:
        """A graph for each shape; for any shape where axes are free."""
        import torch

        device = "cuda" if self.gpus() else "cpu"
        dtypes = [dtype for dtype, _ in network.given]

        def compute(called: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
            with torch.inference_mode():
                tensors = [
                    torch.from_numpy(np.require(i, dtype, ["C", "W"])).to(device)
                    for i, dtype in zip(inputs, dtypes, strict=True)
                ]
                return [output.cpu().numpy() for output in called(tensors)]

        plain = partial(compute, network.__call__)
        if not self.per_shape(network):
            say("torch computes uncompiled: torch.compile needs a C++ compiler (cc, c++)")
            return plain
        graph = torch.compile(network.__call__, dynamic=None if network.is_free else False)
        return tried(partial(compute, graph), plain, "torch.compile")

    def held_bytes(self) -> int | None:
        """What torch's allocator has handed out."""
        import torch

        return int(torch.cuda.memory_allocated()) if self.gpus() else None


MOST_GRAPHS = 1 << 16

BACKENDS: dict[str, Backend] = {"tensorflow": TensorFlow(), "jax": Jax(), "torch": Torch()}
"""In the order in which the first that is installed is taken."""

SHORT = (
    *("ResourceExhausted", "RESOURCE_EXHAUSTED", "OutOfMemory", "out of memory", "bad_alloc"),
    *("ALLOC_FAILED", "MemoryAllocation", "allocate memory", "not enough memory"),
)
"""How TensorFlow, JAX, torch, CUDA's libraries and C++ say that memory was short."""


def is_short(error: BaseException) -> bool:
    """Whether an error says that memory was short, here or on a device."""
    said = f"{type(error).__name__}: {error}"
    return isinstance(error, MemoryError) or any(sign in said for sign in SHORT)


def backend_name() -> str:
    """What KERAS_BACKEND says; else the first that is installed of tensorflow, jax and torch."""
    name = os.environ.get("KERAS_BACKEND") or next(iter(installed()), "tensorflow")
    if name not in BACKENDS:
        raise InvalidInput(f"no Keras backend {name!r}; there is {spelled(BACKENDS)}")
    return name


def backend() -> Backend:
    """The backend of this process."""
    return BACKENDS[backend_name()]


def installed() -> list[str]:
    """The backends that could be imported here."""
    return [name for name in BACKENDS if find_spec(name)]


def take_gpu() -> str | None:
    """Let Keras compute with the first backend that sees a GPU; why none does, or None.

    Before Keras is imported, and in a process that is to use a GPU: KERAS_BACKEND is set.
    """
    if not find_spec("keras"):
        return "keras is not installed"
    asked = os.environ.get("KERAS_BACKEND")
    tried = [asked] if asked in BACKENDS else installed()
    reasons = []
    for name in tried:
        try:
            with silent_stderr():
                count = BACKENDS[name].gpus()
        except Exception as error:
            reasons.append(f"{name} fails ({type(error).__name__}: {str(error)[:200]})")
            continue
        if count:
            os.environ["KERAS_BACKEND"] = name
            return None
        reasons.append(f"{name} sees none")
    return ", ".join(reasons) or f"none of {spelled(BACKENDS)} is installed"


def tried(compiled: Compute, plain: Compute, how: str) -> Compute:
    """compiled, until it fails for another reason than memory: then plain, and that is said."""
    chosen = compiled

    def compute(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        nonlocal chosen
        if chosen is plain:
            return plain(inputs)
        try:
            return compiled(inputs)
        except Exception as error:
            if is_short(error):
                raise
            # Where the rows are at fault this fails too, and nothing was lost.
            answers = plain(inputs)
            reason = (str(error).strip().splitlines() or [""])[0][:200]
            say(f"computes without {how}, which fails ({type(error).__name__}: {reason})")
            chosen = plain
            return answers

    return compute


def say(what: str) -> None:
    """One line on stderr, which is the executor's."""
    print(f"kerasql: {what}", file=sys.stderr, flush=True)


class Padded:
    """A computation in few sizes of batch, where each size is compiled: the rest is filled up.

    The sizes are one row, an eighth of a batch and a whole batch of so many rows. A size for which
    memory was short is not tried again; more rows than the largest are computed in parts.
    """

    def __init__(self, compute: Compute, rows: int) -> None:
        self.compute = compute
        self.sizes = sorted({1, max(1, rows // 8), rows})

    def begin(self, given: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """Compile every size before rows wait for it; others for those that memory is short of."""
        done: set[int] = set()
        while new := [size for size in self.sizes if size not in done]:
            done.add(size := new[0])
            zeros = [np.zeros((size, *shape), dtype) for dtype, shape in given]
            try:
                self(zeros)
            except Exception as error:
                # A smaller one has taken its place.
                if not is_short(error):
                    raise

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for any number of rows."""
        rows, sizes = len(inputs[0]), self.sizes
        if rows > sizes[-1]:
            starts = range(0, rows, sizes[-1])
            parts = [self([value[at : at + sizes[-1]] for value in inputs]) for at in starts]
            return [np.concatenate(column) for column in zip(*parts, strict=True)]
        size = next(size for size in sizes if size >= rows)
        try:
            outputs = self.compute([filled(value, size) for value in inputs])
        except Exception as error:
            if is_short(error) and size > 1:
                self.sizes = sorted({1, size // 2, *(one for one in sizes if one < size)})
            raise
        return [output[:rows] for output in outputs]


def filled(rows: np.ndarray, size: int) -> np.ndarray:
    """So many rows: the last one again and again behind those that are there."""
    missing = size - len(rows)
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows


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
