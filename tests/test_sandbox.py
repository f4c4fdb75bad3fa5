"""What a stranger's model can do to the process that loads it, and what that process cannot do."""

from __future__ import annotations

import ast
import ctypes
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from kerasql.registry.errors import KerasqlError
from kerasql.registry.examine import what_to_construct
from kerasql.registry.h5.construct import Constructed, Progress, construct
from kerasql.registry.h5.inspect import inspect
from kerasql.registry.h5.jail import MACHINES, filter_program


def silent(step: str) -> None:
    pass


def constructed(
    path: Path,
    folder: Path,
    *,
    code: str | None = None,
    engine: str | None = "keras",
    progress: Progress = silent,
) -> Constructed:
    """The file in the child process, as ``register`` asks for it."""
    audited = what_to_construct(
        path.name, inspect(path), {}, architecture=None, source=code, weights_only=False
    )
    return construct(
        path,
        name=path.name,
        folder=folder,
        audited=audited,
        preprocess=None,
        engine=engine,
        progress=progress,
    )


def said(networks: Path, folder: Path, code: str) -> Any:
    """What trusted code finds in the child process: the value it leaves in ``found``."""
    program = f"{code}\nraise RuntimeError(f'<<{{found!r}}>>')\n"
    with pytest.raises(KerasqlError) as failed:
        constructed(networks / "vector.h5", folder, code=program)
    return ast.literal_eval(str(failed.value).partition("<<")[2].partition(">>")[0])


ATTEMPTS = """
import os, socket, subprocess, threading
found = {}
def attempt(name, do):
    try:
        found[name] = "did" if do() is not False else "could not"
    except OSError as error:
        found[name] = type(error).__name__
"""


def test_given_code_reaches_no_network(networks: Path, tmp_path: Path) -> None:
    """Not a server on this machine's loopback, not one by a Unix socket."""
    unix = tmp_path / "unix"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
    ):
        local.bind(str(unix))
        local.listen()
        address = server.getsockname()
        found = said(
            networks,
            tmp_path,
            f"""{ATTEMPTS}
attempt("tcp", lambda: socket.create_connection({address!r}, timeout=2))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("tcp6", lambda: socket.socket(socket.AF_INET6))
attempt("unix", lambda: socket.socket(socket.AF_UNIX).connect({str(unix)!r}))
""",
        )
    assert found == dict.fromkeys(("tcp", "udp", "tcp6", "unix"), "PermissionError")


def test_given_code_starts_no_process_and_looks_into_none(networks: Path, tmp_path: Path) -> None:
    found = said(
        networks,
        tmp_path,
        f"""{ATTEMPTS}
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def thread():
    one = threading.Thread(target=lambda: None)
    one.start()
    one.join()
attempt("thread", thread)
attempt("fork", os.fork)
attempt("program", lambda: subprocess.run(["true"], check=True))
attempt("trace", lambda: libc.ptrace(16, {os.getpid()}, 0, 0) == 0)
attempt("memory", lambda: libc.process_vm_readv({os.getpid()}, 0, 0, 0, 0, 0) == 0)
""",
    )
    assert found == {
        "thread": "did",
        "fork": "PermissionError",
        "program": "PermissionError",
        "trace": "could not",
        "memory": "could not",
    }


def test_the_filter_alone_keeps_a_process_from_the_network() -> None:
    """Where a machine allows no namespaces."""
    code = """
import socket
from kerasql.registry.h5.jail import refuse_calls
assert refuse_calls()
try:
    socket.socket()
except PermissionError:
    print("refused")
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout == "refused\n", answer.stderr


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_is_a_program_that_always_returns(machine: str) -> None:
    program = filter_program(*MACHINES[machine])
    for at, step in enumerate(program):
        jumps = step[2:4] if step[0] & 0x07 == 0x05 else b"\0"
        assert at + 1 + max(jumps) < len(program) or step[0] == 0x06
    assert platform.machine() in MACHINES


def test_given_code_finds_no_secret_of_its_caller(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("KERASQL_DATABASE", "postgresql://me:hush@db/models")
    found = said(
        networks,
        tmp_path,
        "import os\nfound = [name for name, value in os.environ.items() if 'hush' in value]",
    )
    assert found == []


def test_given_code_cannot_look_into_its_caller(networks: Path, tmp_path: Path) -> None:
    """Where the machine has user namespaces: what root may read, the child may not."""
    found = said(
        networks,
        tmp_path,
        "import os\nfound = []\nfor name in ('environ', 'mem'):\n"
        "    try:\n        open(f'/proc/{os.getppid()}/{name}', 'rb').close()\n"
        "        found.append(name)\n    except OSError:\n        pass\n",
    )
    assert found == []


def test_given_code_finds_no_open_file_of_its_caller(networks: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("hush")
    opened = os.open(tmp_path / "secret.txt", os.O_RDONLY)
    os.set_inheritable(opened, True)
    moved = os.dup2(opened, 77, inheritable=True)
    try:
        found = said(
            networks,
            tmp_path,
            """
import os
found = []
for one in os.listdir("/proc/self/fd"):
    try:
        found.append(os.readlink(f"/proc/self/fd/{one}"))
    except OSError:
        pass
found = [one for one in found if one.endswith("secret.txt")]
""",
        )
    finally:
        os.close(opened)
        os.close(moved)
    assert found == []


def test_the_child_has_bounds_and_a_folder_of_its_own(networks: Path, tmp_path: Path) -> None:
    found = said(
        networks,
        tmp_path,
        """
import os, resource, tempfile
names = ("RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_CPU")
found = {name: resource.getrlimit(getattr(resource, name))[0] for name in names}
found["folder"] = tempfile.gettempdir()
found["privileges"] = "NoNewPrivs:\\t1" in open("/proc/self/status").read()
""",
    )
    assert found["folder"] == str(tmp_path)
    assert found["privileges"] is True
    assert 8 * 2**30 <= found["RLIMIT_AS"] == found["RLIMIT_FSIZE"] < 9 * 2**30
    assert found["RLIMIT_NOFILE"] <= 512
    assert found["RLIMIT_CORE"] == 0
    assert 0 < found["RLIMIT_CPU"] < 10**6


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import ctypes; ctypes.string_at(1)", "status -11"),
        ("import os; os._exit(3)", "status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "MEMORY_MB"),
        ("def f(): f()\nf()", "RecursionError"),
        ("import sys; sys.exit('bye')", "bye|SystemExit"),
        ("x = bytearray(2**40)", "memory|MemoryError"),
    ],
)
def test_a_crash_of_given_code_is_one_sentence(
    networks: Path, tmp_path: Path, code: str, sentence: str
) -> None:
    with pytest.raises(KerasqlError, match=sentence) as failed:
        constructed(networks / "vector.h5", tmp_path, code=code)
    assert "\n" not in str(failed.value)
    assert "vector.h5" in str(failed.value) or "source" in str(failed.value)


def test_given_code_that_never_ends_is_stopped(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERASQL_CONSTRUCT_TIMEOUT_S", "20")
    code = "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_DFL)\nwhile True: pass"
    started = time.monotonic()
    with pytest.raises(KerasqlError, match="KERASQL_CONSTRUCT_TIMEOUT_S"):
        constructed(networks / "vector.h5", tmp_path, code=code)
    assert time.monotonic() - started < 40


def test_a_file_keras_cannot_load_is_one_sentence(networks: Path, tmp_path: Path) -> None:
    file = tmp_path / "torn.h5"
    file.write_bytes((networks / "vector.h5").read_bytes())
    with h5py.File(file, "a") as opened:
        group = opened["model_weights"]
        name = next(n for n in group if len(group[n]))
        del group[name]
        group.create_group(name).attrs["weight_names"] = np.array([], "S8")
    with pytest.raises(KerasqlError, match="torn.h5 ") as failed:
        constructed(file, tmp_path)
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("KERASQL_CONSTRUCT_TIMEOUT_S", "1"), ("KERASQL_CONSTRUCT_MEMORY_MB", "600")],
)
def test_a_child_that_needs_too_much_is_one_sentence(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    monkeypatch.setenv(setting, value)
    with pytest.raises(KerasqlError, match=setting) as failed:
        constructed(networks / "image.h5", tmp_path)
    assert "\n" not in str(failed.value)


def test_a_child_dies_with_its_parent(networks: Path, tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from tests.test_sandbox import constructed
constructed(Path({str(networks / "image.h5")!r}), Path({str(tmp_path)!r}),
            progress=lambda step: print(step, flush=True))
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    assert children(tmp_path)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while children(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not children(tmp_path)


def children(folder: Path) -> list[int]:
    """The processes that construct in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"h5.jail" in command and os.fsencode(folder) in command:
                found.append(int(entry.name))
    return found


def test_the_child_cannot_be_given_privileges() -> None:
    """After PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS (39) says so."""
    code = "from kerasql.registry.h5.jail import refuse_calls as r; import ctypes; r(); "
    code += "print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout == "1\n"
    assert ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) in (0, 1)
