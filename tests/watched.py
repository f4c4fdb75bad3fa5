"""Read model files in a process that notes what Python does meanwhile.

Run as ``python tests/watched.py GOOD …``; a path per line on stdin, one JSON object per line on
stdout: how the file was refused (or null), and every opened file, import, run code and connection.
The good files are read first, so that what Python imports late is imported before.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
from pathlib import Path
from typing import Any

from kerasql.registry.errors import InvalidFile
from kerasql.registry.h5.audit import audit
from kerasql.registry.h5.inspect import inspect, require_model

WATCHED = (
    *("open", "import", "exec", "compile", "marshal.loads", "pickle.find_class"),
    *("ctypes.dlopen", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"),
    *("socket.connect", "socket.getaddrinfo", "urllib.Request", "shutil.copyfile"),
)
events: list[str] = []
watching = False


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    if watching and event in WATCHED:
        events.append(f"{event} {arguments[0]!s}")


def read(path: Path) -> dict[str, str] | None:
    """As ``register`` reads a file before anything of it is constructed."""
    try:
        inspection = inspect(path)
        require_model(inspection, path.name)
        audit(path.name, inspection.config)
    except InvalidFile as error:
        return {"error": type(error).__name__, "sentence": str(error)}
    return None


def main() -> None:
    """Answer each line."""
    global watching
    for good in sys.argv[1:]:
        read(Path(good))
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"):
        codecs.lookup(encoding)  # of JSON
    sys.addaudithook(hook)
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        events.clear()
        watching = True
        refused = read(path)
        watching = False
        own = {f"open {path}", f"open {os.fspath(path.parent)}"}
        print(json.dumps({"refused": refused, "events": [e for e in events if e not in own]}))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
