"""The way into the child process: limits first, then everything else.

``python -m kerasql.registry.h5.jail FOLDER``. Only the standard library is imported before the
limits hold, as a process with threads cannot leave its namespaces.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
CLONE_THREAD = 0x00010000

MOST_OPEN_FILES = 512

CLONE, CLONE3 = "clone", "clone3"
MACHINES = {
    "x86_64": (
        0xC000003E,
        {
            CLONE: 56,
            CLONE3: 435,
            "fork": 57,
            "vfork": 58,
            "socket": 41,
            "ptrace": 101,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "io_uring_setup": 425,
            "pidfd_getfd": 438,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            CLONE: 220,
            CLONE3: 435,
            "socket": 198,
            "ptrace": 117,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "io_uring_setup": 425,
            "pidfd_getfd": 438,
        },
    ),
}
"""AUDIT_ARCH and the numbers of system calls (Linux: unistd_64.h and asm-generic/unistd.h)."""

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""BPF: load a word; jump if equal, if at least, if a bit is set; return (linux/bpf_common.h)."""

NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
"""Where struct seccomp_data keeps them; the low half of an argument comes first."""

ALLOW, REFUSE, UNKNOWN = 0x7FFF0000, 0x0005000D, 0x00050026
"""Go on; fail with EACCES; fail with ENOSYS."""

FOREIGN_CALLS = 0x40000000
"""From here on x86_64 takes the calls of its x32 interface, under other numbers."""


def limit() -> None:
    """Bound memory, files and time as the parent says; no network; die with the parent."""
    memory = int(os.environ["KERASQL_CHILD_MEMORY_MB"]) * 2**20
    seconds = int(os.environ["KERASQL_CHILD_TIMEOUT_S"])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # At the soft limit comes SIGXCPU, which the parent knows; at the hard one SIGKILL.
    processor_s = seconds * (os.cpu_count() or 1)
    resource.setrlimit(resource.RLIMIT_CPU, (processor_s, processor_s + 10))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # No file it writes is larger than the memory that held it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (memory, memory))
    files = min(MOST_OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    os.umask(0o077)
    signal.alarm(seconds)
    if sys.platform == "linux":
        # A registration that is killed leaves nobody behind.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(os.environ["KERASQL_CHILD_PARENT"]):
            sys.exit(1)
        leave_network()
        refuse_calls()


def leave_network() -> bool:
    """Move into a network namespace with no way out; False where the machine forbids it."""
    libc = ctypes.CDLL(None)
    # A user namespace first: root without its rights cannot read the caller's environment.
    kinds = (CLONE_NEWUSER | CLONE_NEWNET, CLONE_NEWNET)
    return any(libc.unshare(kind) == 0 for kind in kinds)


def refuse_calls() -> bool:
    """No socket, no other process, no look into one, for this process until it ends.

    A seccomp filter, which needs no privileges. False on a machine whose calls are not known.
    """
    if os.uname().machine not in MACHINES:
        return False
    program = filter_program(*MACHINES[os.uname().machine])
    code = ctypes.create_string_buffer(b"".join(program))
    prog = ctypes.create_string_buffer(
        len(program).to_bytes(8, sys.byteorder) + ctypes.addressof(code).to_bytes(8, sys.byteorder)
    )
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, prog, 0, 0) == 0)


def filter_program(architecture: int, numbers: dict[str, int]) -> list[bytes]:
    """What the kernel asks at every system call, as struct sock_filter.

    Threads are made by clone with CLONE_THREAD; clone3, whose flags a filter cannot see, is
    answered as unknown, and libc takes clone instead.
    """
    refused = [number for name, number in numbers.items() if name not in (CLONE, CLONE3)]
    return [
        _step(LOAD, ARCHITECTURE),
        _step(EQUAL, architecture, jump=1),
        _step(RETURN, REFUSE),
        _step(LOAD, NUMBER),
        _step(AT_LEAST, FOREIGN_CALLS, otherwise=1),
        _step(RETURN, REFUSE),
        *(
            step
            for number in refused
            for step in (_step(EQUAL, number, otherwise=1), _step(RETURN, REFUSE))
        ),
        _step(EQUAL, numbers[CLONE3], otherwise=1),
        _step(RETURN, UNKNOWN),
        _step(EQUAL, numbers[CLONE], otherwise=3),
        _step(LOAD, FIRST_ARGUMENT),
        _step(ANY_BIT, CLONE_THREAD, jump=1),
        _step(RETURN, REFUSE),
        _step(RETURN, ALLOW),
    ]


def _step(code: int, value: int, *, jump: int = 0, otherwise: int = 0) -> bytes:
    return (
        code.to_bytes(2, sys.byteorder)
        + bytes([jump, otherwise])
        + value.to_bytes(4, sys.byteorder)
    )


if __name__ == "__main__":
    limit()
    from kerasql.registry.h5.child import main

    main()
