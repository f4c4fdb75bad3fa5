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
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


def limit() -> None:
    """Bound memory and time as the parent says; no network; die with the parent."""
    memory = int(os.environ["KERASQL_CHILD_MEMORY_MB"]) * 2**20
    seconds = int(os.environ["KERASQL_CHILD_TIMEOUT_S"])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # At the soft limit comes SIGXCPU, which the parent knows; at the hard one SIGKILL.
    processor_s = seconds * (os.cpu_count() or 1)
    resource.setrlimit(resource.RLIMIT_CPU, (processor_s, processor_s + 10))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(seconds)
    if sys.platform == "linux":
        # A registration that is killed leaves nobody behind.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(os.environ["KERASQL_CHILD_PARENT"]):
            sys.exit(1)
        leave_network()


def leave_network() -> bool:
    """Move into a network namespace with no way out; False where the machine forbids it."""
    libc = ctypes.CDLL(None)
    kinds = (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET)
    return any(libc.unshare(kind) == 0 for kind in kinds)


if __name__ == "__main__":
    limit()
    from kerasql.registry.h5.child import main

    main()
