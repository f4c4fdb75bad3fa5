"""A Python worker that Spark has left: it ends, where it would wait for answers nobody reads.

Java closes its connection to the worker of a task that was stopped, and says nothing. A worker
that waits for the model server would hear of it only with its next row.
"""

from __future__ import annotations

import os
import select
import sys
import threading

GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR
_watching: list[int] = []


def end_when_left() -> None:
    """Have this process end as soon as Spark has closed its connection; no more in any other."""
    connection = connection_to_spark()
    if connection is None or connection in _watching:
        return
    _watching.append(connection)
    threading.Thread(target=_watch, args=(connection,), daemon=True).start()


def connection_to_spark() -> int | None:
    """The connection over which Spark gives this Python worker its tasks; None in any other.

    PySpark hands it to nobody: it is what ``main(infile, outfile)`` of ``pyspark/worker.py``, which
    called us, reads from.
    """
    frame = sys._getframe()
    while frame := frame.f_back:  # type: ignore[assignment]
        if frame.f_code.co_name == "main" and "infile" in frame.f_locals:
            return int(frame.f_locals["infile"].fileno())
    return None


def _watch(connection: int) -> None:
    gone = select.poll()
    gone.register(connection, GONE)
    gone.poll()
    os._exit(0)


def has_gone(connection: int) -> bool:
    """Whether the other side of a connection has closed it."""
    gone = select.poll()
    gone.register(connection, GONE)
    return bool(gone.poll(0))
