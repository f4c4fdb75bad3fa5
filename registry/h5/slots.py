"""How many models a machine loads at once: each takes about a gigabyte and a core."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LOOK_AGAIN_S = 0.05


@contextmanager
def slot(waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold one of as many places as the machine has cores, among all of this user's processes.

    waiting is called once where none is free. The kernel frees the place of a process that dies.
    """
    folder = Path(tempfile.gettempdir(), f"kerasql-slots-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")
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
        file = (folder / str(number)).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return file
    return None
