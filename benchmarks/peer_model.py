"""The model that ``mlflow.pyfunc`` saves: code in a file, as its documentation advises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel  # type: ignore[attr-defined, unused-ignore]

from benchmarks.peers import loaded, scores


class Pictures(PythonModel):  # type: ignore[misc, unused-ignore]  # no types where not installed
    """Scores of encoded pictures."""

    def load_context(self, context: Any) -> None:
        """Load the network once for each Python worker."""
        self.name = context.model_config["name"]
        self.model = loaded(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """One list of scores for each row of the first column."""
        return scores(self.model, self.name, model_input.iloc[:, 0]).tolist()


mlflow.models.set_model(Pictures())
