"""Where an executor's model server is found, and how it is started once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import resource
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kerasql.registry.errors import ServerFailed
from kerasql.udf.server.wire import peer

START_TIMEOUT_S = 60
PREFIX = "kerasql-server-"
CPU = "cpu"
"""The device of a server without a GPU; others are what CUDA_VISIBLE_DEVICES calls them."""
NAME = re.compile(PREFIX + r"(\d+)-(\d+)-(\d+)-[0-9a-f]{8}")
LEAST_ADDRESSES = 4 * 2**30
"""TensorFlow and OpenVINO cannot be loaded into less address space."""


@dataclass(frozen=True)
class Process:
    """A process for ever: its number is given again one day, with another beginning."""

    number: int
    began: int

    @classmethod
    def running(cls, number: int) -> Process:
        """The process that has this number now. Raises OSError where none has."""
        return cls(number, int(_stat(number)[19]))

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        try:
            stat = _stat(self.number)
        except OSError:
            return False
        return int(stat[19]) == self.began and stat[0] != "Z"


def executor() -> Process:
    """The Java process this Python worker belongs to: the executor, or a local driver.

    Spark starts workers from a daemon, or from Java itself; the nearest ancestor that runs another
    program than Python is taken. Raises ServerFailed for a worker that everybody has left.
    """
    number = os.getppid()
    while number > 1 and "python" in _program(number):
        number = int(_stat(number)[1])
    # In a container Java may be the first process.
    if number <= 1 and "java" not in _program(1):
        raise ServerFailed("the executor of this Python worker has gone")
    return Process.running(number)


@dataclass(frozen=True)
class Home:
    """The private folder of one executor's model server, for one device and environment."""

    folder: Path
    owner: Process
    device: str

    @classmethod
    def of(cls, owner: Process, device: str) -> Home:
        """The same for all workers of an executor that run the same Python."""
        # The interpreter and where it looks: another environment needs another server.
        program = str(Path(sys.executable).resolve())
        environment = "\0".join([program, sys.prefix, __file__, device, str(os.getuid())])
        digest = hashlib.sha256(environment.encode()).hexdigest()[:8]
        name = f"{PREFIX}{owner.number}-{owner.began}-{_pid_namespace()}-{digest}"
        return cls(Path(tempfile.gettempdir(), name), owner, device)

    @property
    def address(self) -> Path:
        """The Unix socket it listens on."""
        return self.folder / "socket"

    def connect(self, engine: str) -> socket.socket:
        """A connection to the server, which is started where it does not run.

        Raises ConnectionError where it ends at once: somebody may have killed it.
        """
        with suppress(OSError):
            return self._connected()
        self.make()
        with self.locked():
            # Another worker may have started it while this one waited.
            with suppress(OSError):
                return self._connected()
            sweep(self.folder.parent)
            self._start(engine)
            try:
                return self._connected()
            except OSError as error:
                raise ConnectionAbortedError("it started and ended") from error

    def make(self) -> None:
        """Create the folder. Raises ServerFailed where it is somebody else's."""
        while True:
            with suppress(FileExistsError):
                self.folder.mkdir(mode=0o700)
            # A server that ends removes it; then once more.
            with suppress(FileNotFoundError):
                found = self.folder.lstat()
                break
        if found.st_uid != os.getuid() or found.st_mode & 0o077 or not stat.S_ISDIR(found.st_mode):
            raise ServerFailed(f"{self.folder} belongs to somebody else; remove it")

    @contextmanager
    def short(self) -> Iterator[str]:
        """The socket's address in few characters: Linux takes 107, and folders may be deep."""
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"/proc/self/fd/{folder}/{self.address.name}"
        finally:
            os.close(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among this machine's processes that start or end this server."""
        path = self.folder / "lock"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        while True:
            self.make()
            try:
                lock = os.open(path, flags, 0o600)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                # A server that ended has removed the file; a lock on it keeps nobody out.
                if _is_same(lock, path):
                    yield
                    return
            finally:
                os.close(lock)

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            with self.short() as address:
                connection.connect(address)
            if peer(connection)[1] != os.getuid():
                raise ServerFailed(f"{self.address} belongs to somebody else; remove it")
        except BaseException:
            connection.close()
            raise
        return connection

    def _start(self, engine: str) -> None:
        addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
        if 0 <= addresses < LEAST_ADDRESSES:
            raise ServerFailed(
                f"spark.executor.pyspark.memory limits it to {addresses // 2**20} MiB of address "
                "space, too little to load a network; leave that setting out"
            )
        ready, tell = os.pipe()
        command = [sys.executable, "-m", "kerasql.udf.server.front", str(self.folder)]
        owner = [str(self.owner.number), str(self.owner.began)]
        try:
            started = subprocess.Popen(
                [*command, *owner, self.device, engine, str(tell)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                env=_environment(self.device),
                pass_fds=[tell],
                start_new_session=True,
            )
            os.close(tell)
            # It leaves this worker at once and says when it listens, or ends without a word.
            started.wait(START_TIMEOUT_S)
            with os.fdopen(ready, "rb") as said:
                if said.read(1) != b"1":
                    raise ConnectionAbortedError("it did not start")
        except subprocess.TimeoutExpired:
            started.kill()
            raise ServerFailed(f"it did not start within {START_TIMEOUT_S} s") from None

    def emptied(self) -> Path:
        """The folder for temporary files, without those of a process that was killed."""
        temporary = self.folder / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o700)
        return temporary

    def remove(self) -> None:
        """Remove the folder, in the hands of whoever holds its lock."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_same(file: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False


def sweep(folder: Path) -> None:
    """Remove the folders of servers whose executors are gone, killed before they could."""
    for path in folder.glob(PREFIX + "*"):
        named = NAME.fullmatch(path.name)
        with suppress(OSError):
            # Processes of another container have numbers of their own.
            mine = named and int(named[3]) == _pid_namespace()
            mine = mine and path.lstat().st_uid == os.getuid()
            if named and mine and not Process(int(named[1]), int(named[2])).alive:
                shutil.rmtree(path, ignore_errors=True)


def _environment(device: str) -> dict[str, str]:
    # What Spark put on this worker's path (archives, wheels) the server needs too.
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", **shown_to(device)}


def shown_to(device: str) -> dict[str, str]:
    """What CUDA and the libraries above it are to see, before any of them is imported."""
    if device == CPU:
        return {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    return {
        "CUDA_VISIBLE_DEVICES": device,
        # As nvidia-smi and so Spark's discovery scripts count; CUDA would put the fastest first.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        # Memory as it is needed: others may use the GPU too.
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


def _program(number: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{number}/exe").readlink().name.lower()
    return ""


def _stat(number: int) -> list[str]:
    """The fields of /proc/N/stat after the program's name: state, parent …"""
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
