"""ResNet50 from JPEG bytes on a GPU: ``python -m benchmarks.gpu``. Neither Spark nor TensorFlow.

Every core decodes and hands its rows to the real model server through the real client, as Spark's
Python workers do. Beside it, measured in turn: the same engine fed from memory, and decoding alone.
The whole must reach 80 % of the slower of the two. Needs numpy, Pillow, keras, h5py and JAX or
torch; on a machine without a GPU it shows the same for the CPU, where nothing is promised.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks.figures import Figure, median_ratio, progress, report, write_json
from benchmarks.pictures import jpegs, marked
from kerasql.registry.keras_backends import backend_name, take_gpu
from kerasql.registry.preprocess import Image
from kerasql.registry.signature import TensorSpec
from kerasql.udf.devices import keep_freed_memory, visible_gpus
from kerasql.udf.server.client import Asked, Group, Prepared, Server, Slice
from kerasql.udf.server.front import GPU_STREAMS
from kerasql.udf.server.home import CPU, Home, Process, shown_to

PRECISIONS = ("f32", "bf16")
AHEAD = 1
"""Slices on their way while the next one is decoded, as in ``udf/predict.py``."""

SHARE = 0.8
"""What the whole must reach of the slower of engine and decoding."""

TARGET = 5000
SCOPE = "0" * 32
LIMITS = {"cores": 0, "memory_mb": 16384, "memo_mb": 256, "idle_s": 600, "load_timeout_s": 600}


@dataclass(frozen=True)
class Work:
    """What is measured: the network's files and how it is asked, the pictures, the device."""

    folder: Path
    device: str
    size: int
    cores: int
    batch: int
    slice: int
    owner: Process
    network: str

    @property
    def image(self) -> Image:
        """What ResNet50's own preprocessing does."""
        return Image(size=(self.size, self.size), resize="bilinear", scale="caffe")

    @property
    def spec(self) -> TensorSpec:
        """The network's one input."""
        return TensorSpec("image", "float32", (self.size, self.size, 3))

    def file(self, role: str) -> Path:
        """An artifact: ``model`` or ``golden``."""
        return self.folder / {"model": "network.keras", "golden": "golden.npz"}[role]

    def asked(self, precision: str) -> Asked:
        """The network as a plan of a query would ask for it."""
        roles = {role: sha256(self.file(role)) for role in ("model", "golden")}
        about: dict[str, Any] = {
            "engine": "keras",
            "precision": precision,
            "artifacts": roles,
            "finish": [self.image.finishing(self.spec).to_json()],
            "numeric": [True],
            "rows": self.batch,
        }
        key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]
        more = {"ref": "resnet50@1", "allowed": 0.1 if precision == "bf16" else None, "bytes": 0}
        files = {digest: self.file(role) for role, digest in roles.items()}

        def opened(digest: str) -> IO[bytes]:
            return files[digest].open("rb")

        return Asked({"key": key, **about, **more}, opened)

    def decoded(self, contents: Sequence[bytes]) -> list[np.ndarray]:
        """Pictures as the network takes them: (size, size, 3) uint8 each."""
        return [self.image.prepare(one, self.spec) for one in contents]


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- the network, made by a process that sees no GPU


def make_network(work: Work) -> None:
    """Random weights, and a golden sample as Keras answers it on the CPU."""
    os.environ.update(shown_to(CPU))
    from kerasql.registry.keras_engine import Keras, import_keras

    keras = import_keras()
    keras.utils.set_random_seed(1)
    shape = (work.size, work.size, 3)
    if work.network == "tiny":
        layers = keras.layers
        model = keras.Sequential(
            [
                keras.Input(shape),
                layers.Conv2D(8, 3, strides=2, activation="relu"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(10, activation="softmax"),
            ]
        )
    else:
        model = getattr(keras.applications, work.network)(weights=None, input_shape=shape)
    model.save(work.file("model"))
    pixels = np.stack(work.decoded(jpegs(1, seed=0)))
    finished = work.image.finishing(work.spec)(pixels)
    (answer,) = Keras().load({"model": work.file("model")})([finished])
    np.savez(work.file("golden"), p0=pixels, x0=finished, y0=answer)


# --- (a) the engine fed from memory


def engine_process(work: Work, asked: Connection) -> None:
    """Load what is asked and say how fast it is: (precision, batch, seconds) -> images/s."""
    os.environ.update(shown_to(work.device))
    refused = take_gpu() if work.device != CPU else None
    asked.send((refused, backend_name()))
    loaded: dict[tuple[str, int], Any] = {}
    while (question := asked.recv()) is not None:
        precision, batch, seconds = question
        if (precision, batch) not in loaded:
            loaded[precision, batch] = load(work, precision)
        asked.send(fed(loaded[precision, batch], work, batch, seconds))


def load(work: Work, precision: str) -> Any:
    """The network; it is compiled for the one size that it is fed."""
    from kerasql.registry.keras_engine import Keras

    return Keras().load(
        {"model": work.file("model")},
        streams=streams(work),
        precision=precision,
        finish=[work.image.finishing(work.spec)],
    )


def streams(work: Work) -> int:
    """The threads that predict in the server: here as many."""
    return work.cores if work.device == CPU else GPU_STREAMS


def fed(predict: Any, work: Work, batch: int, seconds: float) -> float:
    """Images/s of decoded pixels that lie in memory."""
    shape = (batch, work.size, work.size, 3)
    rng = np.random.default_rng(1)
    pixels = [rng.integers(0, 256, shape, np.uint8) for _ in range(streams(work))]
    counts = [0] * len(pixels)

    def feed(number: int, until: float) -> None:
        while time.monotonic() < until:
            predict([pixels[number]])
            counts[number] += batch

    predict([pixels[0]])
    begun = time.monotonic()
    threads = [
        threading.Thread(target=feed, args=(number, begun + seconds))
        for number in range(len(pixels))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - begun)


# --- (b) decoding alone, (c) the whole


def core(work: Work, number: int, pictures: int, asked: Connection, counter: Any) -> None:
    """One decoding process, with pictures of its own: (what, mark, rows) -> (begun, ended)."""
    contents = jpegs(pictures, seed=number)
    keep_freed_memory()
    server = Server(Home.of(work.owner, work.device), LIMITS | {"timeout_s": 300}, "keras")
    asked.send(None)
    while (question := asked.recv()) is not None:
        what, mark, rows = question
        new = [marked(one, mark) for one in contents]
        run = decode if what == "decode" else partial(whole, server, work.asked(what))
        asked.send(None)
        asked.recv()
        begun = time.monotonic()
        run(work, new, counter, rows)
        asked.send((begun, time.monotonic()))
    server.close()


def taken(counter: Any, rows: int, slice_rows: int) -> range:
    """The next rows that nobody has; none at the end."""
    with counter.get_lock():
        first = counter.value
        counter.value = min(rows, first + slice_rows)
        return range(first, counter.value)


def contents_of(contents: Sequence[bytes], rows: range) -> list[bytes]:
    """Different bytes for every row, however few pictures there are."""
    count = len(contents)
    return [marked(contents[row % count], str(row)) for row in rows]


def decode(work: Work, contents: Sequence[bytes], counter: Any, rows: int) -> None:
    """Decode until no rows are left."""
    while part := taken(counter, rows, work.slice):
        work.decoded(contents_of(contents, part))


def whole(
    server: Server, asked: Asked, work: Work, contents: Sequence[bytes], counter: Any, rows: int
) -> None:
    """Decode and have predicted until no rows are left, a slice ahead."""
    waiting: deque[Slice] = deque()
    while part := taken(counter, rows, work.slice):
        waiting.append(begun_slice(server, asked, work, contents_of(contents, part)))
        if len(waiting) > AHEAD:
            collected(waiting.popleft())
    while waiting:
        collected(waiting.popleft())


def begun_slice(server: Server, asked: Asked, work: Work, contents: Sequence[bytes]) -> Slice:
    """A slice on its way to the server: asked by its hashes, then decoded."""

    def prepare(positions: list[int]) -> Prepared:
        pixels = work.decoded([contents[position] for position in positions])
        return Prepared([Group(positions, [pixels], asked)], {})

    hashes = b"".join(hashlib.sha256(one).digest()[:16] for one in contents)
    begun = Slice(server, asked, SCOPE, len(contents), hashes, prepare)
    begun.begin()
    return begun


def collected(part: Slice) -> None:
    """Wait for the answers; every row must have one."""
    outcome = part.collect()
    count = sum(len(positions) for positions, _ in outcome.groups)
    if outcome.reasons or count != part.count:
        raise SystemExit(f"{part.count - count} rows were not predicted: {outcome.reasons}")


class Cores:
    """The decoding processes, which wait between measurements."""

    def __init__(self, work: Work, pictures: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.counter, self.runs = context.Value("q", 0), 0
        pairs = [context.Pipe() for _ in range(work.cores)]
        self.asked = [ours for ours, _ in pairs]
        each = -(-pictures // work.cores)
        for number, (_, theirs) in enumerate(pairs, start=1):
            args = (work, number, each, theirs, self.counter)
            context.Process(target=core, args=args, daemon=True).start()
        self.heard()

    def heard(self) -> list[Any]:
        """What each of them says next."""
        return [one.recv() for one in self.asked]

    def rate(self, what: str, rows: int) -> float:
        """Images/s from the first to begin to the last to end."""
        self.runs += 1
        self.counter.value = 0
        self.say((what, f"run {self.runs}", rows))
        self.heard()
        self.say("go")
        begun, ended = zip(*self.heard(), strict=True)
        seconds: float = max(ended) - min(begun)
        return rows / seconds

    def say(self, what: Any) -> None:
        """Say the same to each of them."""
        for one in self.asked:
            one.send(what)


# --- the table


def measured(work: Work, options: argparse.Namespace) -> tuple[list[Figure], str]:
    """Every figure, and the backend that computed."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    engine = context.Process(target=engine_process, args=(work, theirs), daemon=True)
    engine.start()
    refused, backend = ours.recv()
    if refused:
        raise SystemExit(f"nothing can compute on the GPU {work.device}: {refused}")

    def from_memory(precision: str, batch: int) -> float:
        ours.send((precision, batch, options.seconds))
        rate: float = ours.recv()
        return rate

    progress(f"{options.pictures} pictures")
    cores = Cores(work, options.pictures)
    figures, best = [], {}
    for precision in PRECISIONS:
        progress(f"loading {precision}, feeding it from memory")
        rates = {batch: from_memory(precision, batch) for batch in options.batches}
        best[precision] = max(rates, key=lambda batch: rates[batch])
        figures += [
            Figure(f"engine fed from memory, {precision}, batch {batch}", rate, "images/s")
            for batch, rate in rates.items()
        ]
        # The server loads its network while nobody measures.
        cores.rate(precision, 4 * work.slice * work.cores)
    found: dict[str, list[float]] = {}
    for number in range(options.rounds):
        progress(f"round {number + 1} of {options.rounds}")
        decoding = cores.rate("decode", options.rows)
        found.setdefault("decode", []).append(decoding)
        for precision in PRECISIONS:
            memory = from_memory(precision, best[precision])
            found.setdefault(f"memory {precision}", []).append(memory)
            found.setdefault(f"bound {precision}", []).append(min(memory, decoding))
            found.setdefault(precision, []).append(cores.rate(precision, options.rows))
    cores.say(None)
    ours.send(None)
    decode_s = statistics.median(found["decode"])
    figures.append(Figure(f"decoding alone, {work.cores} processes", decode_s, "images/s"))
    for precision in PRECISIONS:
        memory = statistics.median(found[f"memory {precision}"])
        ratio = median_ratio(found[precision], found[f"bound {precision}"])
        bound = "decoding" if decode_s < memory else "the engine"
        least = None if work.device == CPU else SHARE
        figures += [
            Figure(f"engine fed from memory, {precision}, in turn", memory, "images/s"),
            Figure(f"whole, {precision}", statistics.median(found[precision]), "images/s"),
            Figure(f"whole / {bound}, the slower one, {precision}", ratio, least=least),
        ]
    fastest = max(statistics.median(found[precision]) for precision in PRECISIONS)
    figures.append(Figure(f"whole / the target of {TARGET:,} images/s", fastest / TARGET))
    return figures, backend


def gpu_name() -> str:
    """What the driver calls the GPU."""
    if not (program := shutil.which("nvidia-smi")):
        return "a GPU without nvidia-smi"
    asked = [program, "--query-gpu=name", "--format=csv,noheader"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return (said.splitlines() or ["a GPU"])[0].strip()


def main() -> None:
    """Measure and print; exit code 1 where a promise is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="ResNet50", help="of keras.applications, or tiny")
    parser.add_argument("--size", type=int, default=224, help="of the network's pictures")
    parser.add_argument("--device", help="the GPU's address, or cpu; the first GPU that is found")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=20_000, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="that the engine is fed")
    parser.add_argument("--batch", type=int, default=128, help="the server's, as a plan has it")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--slice", type=int, default=55, help="a task's, as a plan has it")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    device = options.device or next(iter(visible_gpus()), CPU)
    with tempfile.TemporaryDirectory(prefix="kerasql-gpu-") as folder:
        work = Work(
            folder=Path(folder),
            device=device,
            size=options.size,
            cores=options.cores,
            batch=options.batch,
            slice=options.slice,
            owner=Process.running(os.getpid()),
            network=options.network,
        )
        progress(f"making {options.network}")
        making = multiprocessing.get_context("spawn").Process(target=make_network, args=(work,))
        making.start()
        making.join()
        if making.exitcode:
            raise SystemExit("the network could not be made")
        figures, backend = measured(work, options)
    name = "no GPU" if device == CPU else gpu_name()
    note = (
        f"{options.network}, {options.size} x {options.size}, random weights, from "
        f"{options.pictures:,} JPEGs of 500 x 375; {name}; Keras on {backend}; "
        f"medians of {options.rounds} rounds of {options.rows:,} rows, batches of {options.batch}"
    )
    report(figures, note)
    if options.json:
        write_json(figures, options.json)
    sys.exit(not all(figure.is_kept for figure in figures))


if __name__ == "__main__":
    main()
