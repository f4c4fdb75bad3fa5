"""What files answer once kerasql has read and upgraded them: TensorFlow stays out of the test run.

Run as ``python tests/answers.py FILE …``: one JSON object per line, ``answer`` to the rows of
``FILE.npy``, or ``failed``. ``FILE.py`` is the owner's source, where there is one.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from kerasql.registry.errors import KerasqlError
from kerasql.registry.h5.inspect import inspect
from kerasql.registry.h5.load import opened
from kerasql.registry.keras_engine import keras_predict


def answer(path: Path) -> dict[str, Any]:
    """The first output for the rows that lie beside the file."""
    inspection, source = inspect(path), path.with_suffix(".py")
    request = {
        "path": str(path),
        "architecture": inspection.config,
        "keras_version": inspection.keras_version,
        "backend": inspection.backend,
        "format": inspection.format,
        "code": source.read_text() if source.exists() else None,
    }
    try:
        with tempfile.TemporaryDirectory() as folder:
            model = opened(request, Path(folder), threads=1).model
        return {"answer": keras_predict(model)([np.load(path.with_suffix(".npy"))])[0].tolist()}
    except KerasqlError as error:
        return {"failed": str(error)}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(json.dumps(answer(Path(name))))
