"""Register at the end of ``fit``: a Keras callback.

    model.fit(x, y, callbacks=[kerasql.keras.Register("flowers", labels=["daisy", "tulip"])])

Importing this imports Keras; importing kerasql does not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from kerasql.registry.names import model_name
from kerasql.registry.settings import setting
from kerasql.registry.store import Registry, connect
from kerasql.registry.version import Version


class Register(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Registers the model when ``fit`` is done, with the metrics of its last epoch.

    registry is one that is open, or the URL of a database or server; by default the setting
    KERASQL_DATABASE. how is what ``Registry.register`` takes beside: preprocess, labels, columns,
    tags … A name that cannot be used is refused before training begins. Afterwards ``version`` is
    what was registered.
    """

    def __init__(self, name: str, registry: Registry | str | None = None, **how: Any) -> None:
        super().__init__()
        self.name = model_name(name)
        self.version: Version | None = None
        self._registry = registry if registry is not None else str(setting("KERASQL_DATABASE"))
        self._how = how

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Refuse a name that collides: before training, not after it."""
        with self._opened() as registry:
            registry.check_name(self.name)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Save the model and register the file."""
        metrics = {**(logs or {}), **self._how.get("metrics", {})}
        with tempfile.TemporaryDirectory() as folder, self._opened() as registry:
            file = Path(folder, f"{self.name}.keras")
            self.model.save(file)
            self.version = registry.register(self.name, file, **{**self._how, "metrics": metrics})

    @contextmanager
    def _opened(self) -> Iterator[Registry]:
        if isinstance(self._registry, Registry):
            yield self._registry
            return
        with connect(self._registry) as registry:
            yield registry
