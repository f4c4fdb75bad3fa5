"""How many models a machine loads at once: each takes about a gigabyte and a core."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from kerasql.registry.errors import InvalidInput

LOOK_AGAIN_S = 0.05


@contextmanager
def slot(waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold one of as many places as the machine has cores, among all of this user's processes.

    waiting is called once where none is free. The kernel frees the place of a process that dies.
    """
    folder = Path(tempfile.gettempdir(), f"kerasql-slots-{os.getuid()}")
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise InvalidInput(f"{folder} is not a folder of yours; remove it, or set TMPDIR")
    said = False
    while (file := _free(folder)) is None:
        if not said:
            waiting("waiting for other registrations on this machine")
            said = True
        time.sleep(LOOK_AGAIN_S)
    with file:
        yield


def _free(folder: Path) -> IO[str] | None:
    for number in range(os.cpu_count() or 1):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.fdopen(os.open(folder / str(number), flags, 0o600), "w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return file
    return None
