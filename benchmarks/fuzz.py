"""Damage model files at random and read them: ``python -m benchmarks.fuzz --minutes 10 FOLDER``.

FOLDER holds ``.h5`` and ``.keras`` files. Every mutant is inspected, audited and upgraded in a
process with bounds on memory and time, as ``register`` reads a file apart from its caller. What is
neither ``InvalidFile`` nor ``NotUnderstood`` there is a finding: its mutant stays in ``--keep``.
libhdf5 itself may die or hang on damaged bytes; such mutants are counted as ``died`` and kept too.
"""

from __future__ import annotations

import argparse
import io
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py

from kerasql.registry.errors import InvalidFile, NotUnderstood
from kerasql.registry.h5.audit import audit
from kerasql.registry.h5.inspect import inspect, require_model
from kerasql.registry.h5.judge import rewrites

LONGEST_S = 5
MEMORY_BYTES = 3 * 2**30
FRESH_AFTER = 500
"""How many mutants one process reads: libhdf5 leaks and keeps what a damaged file broke."""

NUMBERS = [b"\0", b"\xff", b"\xff" * 4, b"\xff" * 8, bytes(8), bytes(16), b"\xff\xff\xff\x7f"]
LARGEST_SEED_BYTES = 2**20

FRAGMENTS: list[Any] = [
    *(None, True, 0, -1, 10**30, 1e308, "", "x", "../x", "http://x/y", "\u0430", "x" * 5000),
    *([], {}, [[]], {"class_name": None}, {"class_name": []}, {"class_name": "Dense"}),
    {"class_name": "Lambda", "config": {"name": "l", "function": ["4wEA", None, None]}},
    {"class_name": "__lambda__", "config": {"value": "4wEA"}},
    {"class_name": "function", "config": "eval", "module": "builtins"},
    {"module": "os", "class_name": "system", "config": "true", "registered_name": "os>system"},
    {"class_name": "TFOpLambda", "config": {"function": "io.read_file"}},
    {"class_name": "TensorFlowOpLayer", "config": {"node_def": "{"}},
    {"class_name": "Merge", "config": {"mode": ["4wEA"]}},
    {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": "x"}]},
]
"""What is put into architectures."""


def damaged(rng: random.Random, content: bytes) -> bytes:
    """The bytes with some overwritten, moved, cut or added."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 5, 10, 30])):
        at, how = rng.randrange(len(data) + 1), rng.random()
        if how < 0.4:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif how < 0.7:
            number = rng.choice(NUMBERS)
            data[at : at + len(number)] = number
        elif how < 0.85:
            start, length = rng.randrange(len(data) + 1), rng.choice([2, 4, 8, 64, 512])
            data[at : at + length] = data[start : start + length]
        elif how < 0.9:
            data[at : at + 8] = struct.pack("<Q", rng.randrange(len(data) + 1))
        elif how < 0.94:
            del data[at:]
        else:
            data[at:at] = bytes(rng.choice([1, 4, 8, 100]))
    return bytes(data)


def changed(rng: random.Random, config: Any) -> Any:
    """An architecture with values replaced, removed, swapped or nested."""
    config = json.loads(json.dumps(config))
    for _ in range(rng.choice([1, 1, 2, 4, 8])):
        places = list(_places(config))
        if not places:
            return config
        holder, key = rng.choice(places)
        other, other_key = rng.choice(places)
        how = rng.random()
        if how < 0.5:
            holder[key] = json.loads(json.dumps(rng.choice(FRAGMENTS)))
        elif how < 0.7:
            del holder[key]
        elif how < 0.9:
            holder[key] = json.loads(json.dumps(other[other_key]))
        else:
            for _ in range(rng.choice([1, 5, 120])):
                holder[key] = rng.choice([[holder[key]], {"config": holder[key]}])
    return config


def _places(config: Any) -> Iterator[tuple[Any, Any]]:
    todo = [config]
    while todo:
        node = todo.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            yield node, key
            if isinstance(node[key], dict | list):
                todo.append(node[key])


def mutant(rng: random.Random, seed: Path, content: bytes) -> bytes:
    """A damaged file; of an archive, more often one member of it."""
    if seed.suffix == ".h5":
        return _with_config(rng, content) if rng.random() < 0.3 else damaged(rng, content)
    if rng.random() < 0.2:
        return damaged(rng, content)
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w") as copy:
        victim = rng.choice(source.namelist())
        for name in source.namelist():
            member = source.read(name)
            if name == victim and name == "config.json":
                member = json.dumps(changed(rng, json.loads(member))).encode()
            elif name == victim:
                member = damaged(rng, member)
            copy.writestr(name, member)
    return target.getvalue()


def _with_config(rng: random.Random, content: bytes) -> bytes:
    target = io.BytesIO(content)
    with h5py.File(target, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        text = json.dumps(changed(rng, config))
        if len(text) < 60_000:
            file.attrs["model_config"] = text
    return target.getvalue()


def read(path: Path) -> str:
    """As ``register`` reads a file before anything of it is constructed."""
    try:
        inspection = inspect(path, "mutant")
        require_model(inspection, "mutant")
        audit("mutant", inspection.config)
        rewrites(inspection)
    except (InvalidFile, NotUnderstood):
        return "refused"
    return "accepted"


class Fuzzer:
    """Reads mutants one after another, in processes that may die."""

    def __init__(self, seeds: list[Path], keep: Path, first: int) -> None:
        self.contents = {path: path.read_bytes() for path in seeds}
        self.keep = keep
        self.next = first
        self.shared = mmap.mmap(-1, 16)

    def make(self, number: int) -> tuple[str, bytes]:
        """The mutant of that number, the same each time."""
        rng = random.Random(number)
        seed = rng.choice(list(self.contents))
        return seed.suffix, mutant(rng, seed, self.contents[seed])

    def run(self, goes_on: Callable[[int], bool]) -> Counter[str]:
        """Count accepted, refused and died mutants, and findings."""
        tally: Counter[str] = Counter()
        while goes_on(self.next):
            sys.stdout.flush()
            process = os.fork()
            if process == 0:
                self._work(goes_on)
            status = os.waitpid(process, 0)[1]
            number, outcomes = struct.unpack("<QQ", self.shared)
            tally["read"] += number - self.next + 1
            tally["accepted"] += outcomes >> 32
            tally["findings"] += outcomes & 0xFFFFFFFF
            if status:
                tally["died"] += 1
                self._keep(number, f"died{os.waitstatus_to_exitcode(status)}", "")
            self.next = number + 1
        return tally

    def _work(self, goes_on: Callable[[int], bool]) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        path, accepted, findings = self.keep / f"reading-{os.getpid()}", 0, 0
        for number in range(self.next, self.next + FRESH_AFTER):
            path.write_bytes(self.make(number)[1])
            struct.pack_into("<QQ", self.shared, 0, number, accepted << 32 | findings)
            signal.alarm(LONGEST_S)
            try:
                accepted += read(path) == "accepted"
            except BaseException:
                findings += 1
                self._keep(number, "finding", traceback.format_exc())
            signal.alarm(0)
            struct.pack_into("<QQ", self.shared, 0, number, accepted << 32 | findings)
            if not goes_on(number + 1):
                break
        path.unlink()
        os._exit(0)

    def _keep(self, number: int, what: str, why: str) -> None:
        suffix, content = self.make(number)
        (self.keep / f"{what}-{number}{suffix}").write_bytes(content)
        if why:
            (self.keep / f"{what}-{number}.txt").write_text(why)


def main() -> None:
    """Print what became of the mutants as JSON; status 1 where there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", type=Path, default=Path("fuzzed"))
    parser.add_argument("--first", type=int, default=time.time_ns() // 1000)
    parser.add_argument("--count", type=int)
    parser.add_argument("--minutes", type=float, default=10)
    given = parser.parse_args()
    given.keep.mkdir(exist_ok=True)
    seeds = [
        path
        for path in sorted(given.folder.iterdir())
        if path.suffix in (".h5", ".keras")
        and path.stat().st_size < LARGEST_SEED_BYTES
        and read(path) == "accepted"
    ]
    ends = time.monotonic() + 60 * given.minutes
    last = given.first + given.count if given.count else None

    def goes_on(number: int) -> bool:
        return time.monotonic() < ends and (last is None or number < last)

    tally = Fuzzer(seeds, given.keep, given.first).run(goes_on)
    print(json.dumps({"first": given.first, "seeds": len(seeds), **tally}))
    sys.exit(bool(tally["findings"]))


if __name__ == "__main__":
    main()
