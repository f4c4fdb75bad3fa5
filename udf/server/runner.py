"""The process that loads networks and predicts. A crash here takes nothing else with it."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from kerasql.registry.engine import Predict, agree, engine_named, largest_difference
from kerasql.registry.errors import BrokenArtifact, EngineFailed, KerasqlError
from kerasql.registry.keras_backends import backend, is_short, take_gpu
from kerasql.registry.preprocess.finish import Finish
from kerasql.udf.server import wire
from kerasql.udf.server.answers import TEXT
from kerasql.udf.server.home import CPU
from kerasql.udf.server.segment import Segment

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve the process at the other end of the socket whose number is on the command line."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    front = socket.socket(fileno=int(sys.argv[1]))
    engine, streams, device = sys.argv[2], int(sys.argv[3]), sys.argv[4]
    runner = Runner(front, streams, device)
    # The first network's artifacts are on their way meanwhile.
    threading.Thread(target=runner.begin, args=(engine,), daemon=True).start()
    runner.serve()


@dataclass
class Network:
    """A loaded model and its lock: the first thread that needs it loads it."""

    asked: Mapping[str, Any]
    files: Mapping[str, int]
    predict: Predict | None = None


@dataclass
class Runner:
    """The networks and segments of this process, and the threads that predict.

    waiting are the jobs that no thread has begun, and that are still wanted.
    """

    front: socket.socket
    streams: int
    device: str
    begun: threading.Event = field(default_factory=threading.Event)
    networks: dict[str, Network] = field(default_factory=dict)
    segments: dict[int, Segment] = field(default_factory=dict)
    jobs: SimpleQueue[Any] = field(default_factory=SimpleQueue)
    waiting: set[int] = field(default_factory=set)
    loads: SimpleQueue[str] = field(default_factory=SimpleQueue)
    saying: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, engine: str) -> None:
        """Import the engine; on a GPU find out first who can compute there, and say so or go."""
        if self.device != CPU:
            refused = take_gpu()
            self._say({"device": refused})
            if refused:
                os._exit(0)
        self.begun.set()
        begin(engine)

    def serve(self) -> None:
        """Do what the front says until it goes."""
        for _ in range(self.streams):
            threading.Thread(target=self._predicting, daemon=True).start()
        threading.Thread(target=self._loading, daemon=True).start()
        with suppress(ConnectionError):
            while True:
                self._take(wire.receive(self.front))
        # Threads may be inside a network; nothing here needs an orderly end.
        os._exit(0)

    def _take(self, message: wire.Message) -> None:
        header, files = message.header, iter(message.files)
        for number in header.get("segments", ()):
            self.segments[number] = Segment(next(files))
        for number in header.get("forget", ()):
            self.segments.pop(number).close()
        if "load" in header:
            roles = {role: next(files) for role in header["load"]["artifacts"]}
            self.networks[header["load"]["key"]] = Network(header["load"], roles)
            self.loads.put(header["load"]["key"])
        elif "drop" in header:
            self.networks.pop(header["drop"], None)
            give_back_memory()
        elif "leave" in header:
            self.waiting.discard(header["leave"])
        elif "job" in header:
            # Taken out here: the front may let a segment go while its rows wait for a thread.
            parts = [(self.segments[part["segment"]], part) for part in header["parts"]]
            held = [segment.hold() for segment, _ in parts]
            self.waiting.add(header["job"])
            self.jobs.put((header["job"], header["network"], parts, held))

    def _loading(self) -> None:
        """Load one network after the other: what each takes, and breaks, can then be told."""
        try:
            while True:
                self._load(self.loads.get())
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def _load(self, key: str) -> None:
        self._say({"loading": key})
        network = self.networks[key]
        self.begun.wait()
        begin(network.asked["engine"])
        before = self._held_bytes()
        try:
            network.predict = load(network.asked, network.files, self.streams)
            grown = max(self._held_bytes() - before, network.asked["bytes"])
            self._say({"loaded": key, "bytes": grown})
        except KerasqlError as error:
            self.networks.pop(key, None)
            self._say({"failed": key, "error": type(error).__name__, "args": error.args})
        finally:
            for file in network.files.values():
                os.close(file)

    def _held_bytes(self) -> int:
        """What this process holds: of the GPU's memory where it has one."""
        if self.device == CPU:
            return resident_bytes()
        with suppress(Exception):
            # Where the engine cannot be had, loading says so.
            return backend().held_bytes() or 0
        return 0

    def _predicting(self) -> None:
        try:
            while True:
                self._predict(*self.jobs.get())
        except ConnectionError:
            os._exit(0)
        except BaseException:
            # A thread that ended would leave its rows waiting; a process that ends does not.
            traceback.print_exc()
            os._exit(1)

    def _predict(
        self,
        number: int,
        key: str,
        parts: list[tuple[Segment, dict[str, Any]]],
        held: list[memoryview],
    ) -> None:
        try:
            self.waiting.remove(number)
        except KeyError:
            self._say({"done": number, "left": True})
            return
        arrays = [
            [segment.get(place)[part["from"] : part["to"]] for place in part["places"]]
            for segment, part in parts
        ]
        inputs = [
            column[0] if len(column) == 1 else np.concatenate(column)
            for column in zip(*arrays, strict=True)
        ]
        network = self.networks[key]
        assert network.predict is not None  # noqa: S101 - the front waits for "loaded"
        answers = Answers(len(inputs[0]))
        answers.find(network.predict, inputs, np.arange(len(inputs[0])))
        header = {
            "done": number,
            "layouts": answers.layouts,
            "reasons": answers.reasons,
            "batches": answers.batches,
            "halved": answers.halved,
        }
        del arrays, inputs, held
        self._say(header, b"".join(answers.blocks))

    def _say(self, header: dict[str, Any], payload: bytes = b"") -> None:
        with self.saying:
            wire.send(self.front, header, payload)


@dataclass
class Answers:
    """What a network says about the rows of a job.

    layouts are (rows, outputs' dtypes and shapes): blocks has the bytes of those rows, a row after
    the other and of each row its outputs. reasons are why other rows have none.
    """

    rows: int
    layouts: list[tuple[list[int], list[tuple[str, list[int]]]]] = field(default_factory=list)
    blocks: list[bytes] = field(default_factory=list)
    reasons: dict[int, str] = field(default_factory=dict)
    batches: int = 0
    halved: int = 0

    def find(self, predict: Predict, inputs: Sequence[np.ndarray], rows: np.ndarray) -> None:
        """Predict; what does not fit the memory, or is refused, in halves.

        The network has answered its golden sample: what it refuses is a row's own fault.
        """
        try:
            self.batches += 1
            outputs = predict([value[rows] if len(rows) < self.rows else value for value in inputs])
            if any(len(output) != len(rows) for output in outputs):
                raise ValueError("it gives another number of rows than it was given")
        except Exception as error:
            if len(rows) == 1:
                said = (str(error).strip().splitlines() or [""])[0]
                self.reasons[int(rows[0])] = (
                    "one row alone does not fit the memory"
                    if is_short(error)
                    else f"the network refuses it ({type(error).__name__}: {said[:200]})"
                )
                return
            self.halved += is_short(error)
            for half in np.array_split(rows, 2):
                self.find(predict, inputs, half)
            return
        self._keep(outputs, rows)

    def _keep(self, outputs: Sequence[np.ndarray], rows: np.ndarray) -> None:
        if any(output.dtype.kind in "OUS" for output in outputs):
            # Text has no fixed length: a layout for each row.
            for n, row in enumerate(rows):
                parts = [_packed(output[n]) for output in outputs]
                self.layouts.append(([int(row)], [layout for layout, _ in parts]))
                self.blocks.append(b"".join(data for _, data in parts))
            return
        kinds = [(output.dtype.str, list(output.shape[1:])) for output in outputs]
        self.layouts.append((rows.tolist(), kinds))
        flat = [
            np.ascontiguousarray(output).reshape(len(rows), -1).view(np.uint8) for output in outputs
        ]
        self.blocks.append((flat[0] if len(flat) == 1 else np.hstack(flat)).tobytes())


def _packed(value: Any) -> tuple[tuple[str, list[int]], bytes]:
    """One row of one output, text as JSON."""
    array = np.asarray(value)
    if array.dtype.kind not in "OUS":
        return (array.dtype.str, list(array.shape)), array.tobytes()
    texts = [item.decode() if isinstance(item, bytes) else str(item) for item in array.flat]
    data = json.dumps(texts).encode()
    return (TEXT, [*array.shape, len(data)]), data


# --- loading


def begin(engine: str) -> None:
    """Import what an engine needs; where it cannot be had, loading says so."""
    with suppress(Exception):
        engine_named(engine).begin()


def load(asked: Mapping[str, Any], files: Mapping[str, int], streams: int) -> Predict:
    """A network whose every byte was checked and whose golden sample came out right."""
    ref, engine = asked["ref"], asked["engine"]
    paths = {role: Path(f"/proc/self/fd/{file}") for role, file in files.items()}
    for role, sha256 in asked["artifacts"].items():
        check(paths[role], sha256, ref=ref, role=role)
    finish = [steps and Finish.from_json(steps) for steps in asked["finish"]]
    try:
        loaded = engine_named(engine).load(
            paths,
            streams=streams,
            rows=asked["rows"],
            precision=asked["precision"],
            finish=finish,
        )
        prove(asked, loaded, paths, finish)
    except EngineFailed:
        raise
    except KerasqlError as error:
        raise EngineFailed(ref, engine, str(error)) from error
    except Exception as error:
        raise EngineFailed(ref, engine, f"{type(error).__name__}: {error}") from error
    return loaded


def check(path: Path, sha256: str, *, ref: str, role: str) -> None:
    """Raise BrokenArtifact where a file's bytes are not those that were registered."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BrokenArtifact(ref, f"{role!r} ({sha256})", f"cannot be read ({error})") from error
    if found != sha256:
        raise BrokenArtifact(
            ref, f"{role!r} ({sha256})", f"is damaged: its bytes have the SHA-256 {found}"
        )


def prove(
    asked: Mapping[str, Any],
    loaded: Predict,
    paths: Mapping[str, Path],
    finish: Sequence[Finish | None],
) -> None:
    """Raise EngineFailed where this machine answers the golden sample otherwise than Keras did."""
    with np.load(paths["golden"], allow_pickle=False) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    inputs = []
    for number, steps in enumerate(finish):
        prepared = kept.get(f"p{number}")
        if steps is None:
            inputs.append(kept[f"x{number}"])
        elif prepared is not None and prepared.dtype == steps.given:
            inputs.append(prepared)
        else:
            # Made before prepared rows were kept, or of another dtype than this network takes:
            # what the steps do is then proven by the tests alone.
            plain = engine_named(asked["engine"]).load(paths, precision=asked["precision"])
            prove(asked, plain, paths, [None] * len(finish))
            return
    expected = [kept[f"y{n}"] for n in range(len(asked["numeric"]))]
    ours, expected = (
        [value for value, kept in zip(values, asked["numeric"], strict=True) if kept]
        for values in (loaded(inputs), expected)
    )
    difference = largest_difference(ours, expected)
    allowed = asked["allowed"]
    if difference > allowed if allowed else not agree(ours, expected):
        raise EngineFailed(
            asked["ref"],
            asked["engine"],
            f"its answer to the golden sample differs from Keras' by {difference:.2g} here",
        )


# --- memory


def resident_bytes() -> int:
    """What this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def give_back_memory() -> None:
    """Let the system have what a dropped network held."""
    gc.collect()
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    main()
