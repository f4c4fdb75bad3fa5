"""A server that is killed while it takes a file and registers it; the client begins again."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import func, select

from kerasql.registry.access import Access
from kerasql.registry.check import check
from kerasql.registry.database import reading
from kerasql.registry.errors import KerasqlError
from kerasql.registry.registrations import ACTIVE
from kerasql.registry.store import Registry, connect
from kerasql.registry.tables import RegistrationRow, UploadRow
from kerasql.registry.version import Version

KILLS = 5
SERVE = """
import signal
import sys

from served import serving

from kerasql.registry import registrations
from kerasql.registry.store import connect

registrations.BEAT_S, registrations.DEAD_S = 0.1, 2.0
with connect(sys.argv[1], artifacts="") as registry, serving(registry, port=int(sys.argv[2])):
    print("ready", flush=True)
    signal.pause()
"""


def start(url: str, port: int) -> subprocess.Popen[str]:
    """A server in a process of its own, once it answers."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, url, str(port)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    return server


def kill(server: subprocess.Popen[str]) -> None:
    server.kill()
    server.wait()
    assert server.stdout is not None
    server.stdout.close()


def until_it_is_there(url: str, token: str, file: Path) -> Version:
    """What a patient script gets: it registers again where it was refused."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        with suppress(KerasqlError), connect(url, token=token) as registry:
            return registry.register("m", file)
        time.sleep(0.2)
    raise AssertionError("it was never registered")


def test_a_server_killed_at_any_instant_leaves_nothing_half_done(
    sqlite_registry: Registry, networks: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    access = Access(sqlite_registry)
    access.add_user("ann", role="scientist")
    token = access.new_token("ann", "test", lifetime_s=3600)[1]
    chance, found = random.Random(11), list[Version]()
    args = (f"http://127.0.0.1:{port}", token, networks / "vector.h5")
    client = threading.Thread(target=lambda: found.append(until_it_is_there(*args)))
    server = start(sqlite_registry.url, port)
    client.start()
    for _ in range(KILLS):
        time.sleep(chance.uniform(0, 5))
        kill(server)
        server = start(sqlite_registry.url, port)
    client.join(300)
    assert [version.ref for version in found] == ["m@1"]
    assert found[0].owner == "ann"
    time.sleep(3)  # the last server has seen who is dead
    kill(server)
    assert [version.number for version in sqlite_registry.versions("m")] == [1]
    assert access.may(access.user("ann"), "alias", "m")
    assert check(sqlite_registry.url).broken == ()
    with reading(sqlite_registry._engine) as db:
        active = RegistrationRow.state.in_(ACTIVE)
        assert db.scalar(select(func.count()).select_from(RegistrationRow).where(active)) == 0
        assert db.scalar(select(func.count()).select_from(UploadRow)) == 0
