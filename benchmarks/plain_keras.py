"""What Keras itself answers, in a process of its own: ``python plain_keras.py FOLDER``.

It knows nothing of kerasql: files are loaded with ``keras.models.load_model``, pictures with
``keras.utils``, numbers are given as they are. FOLDER holds request.json; the answers to a
question NAME are written beside it as NAME.npz (y0, y1 …), what could be loaded to loaded.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

SCALES = {
    None: lambda x: x,
    "unit": lambda x: x / 255.0,
    "tf": keras.applications.mobilenet.preprocess_input,
}


def main(folder: Path) -> None:
    """Answer every question of the request whose model Keras loads."""
    request = json.loads((folder / "request.json").read_text())
    if request["mobilenet_weights"]:
        save_mobilenet(request["mobilenet_weights"], folder / "mobilenet.h5")
    loaded: dict[str, str] = {}
    for path in request["models"]:
        try:
            model = keras.models.load_model(path, compile=False)
        except Exception as error:
            loaded[path] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            continue
        loaded[path] = ""
        for question in request["questions"]:
            if question["model"] == path:
                answer(model, question, folder)
    (folder / "loaded.json").write_text(json.dumps(loaded))


def save_mobilenet(weights: str, path: Path) -> None:
    """Save the pretrained MobileNet v1 0.25 as one ``.h5``."""
    keras.applications.MobileNet(alpha=0.25, weights=weights).save(path)


def answer(model: Any, question: dict[str, Any], folder: Path) -> None:
    """Write the outputs for one question's rows."""
    inputs = numbers(question) if question["numbers"] else pictures(question, model.input_shape)
    outputs = model.predict(inputs, batch_size=32, verbose=0)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    np.savez(
        folder / f"{question['name']}.npz", **{f"y{n}": value for n, value in enumerate(outputs)}
    )


def numbers(question: dict[str, Any]) -> np.ndarray:
    """The rows of a .npy file, standardised in float64 as sklearn's StandardScaler does."""
    rows = np.load(question["numbers"])
    if question["standardised"]:
        rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    return np.asarray(rows, np.float32)


def pictures(question: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """A folder's pictures by name, loaded as the question says and scaled."""
    size, mode = shape[1:3], "grayscale" if shape[3] == 1 else "rgb"
    paths = sorted(Path(question["pictures"]).iterdir())
    if question["like"] == "load_img":
        loaded = [
            keras.utils.load_img(p, color_mode=mode, target_size=size, interpolation="bilinear")
            for p in paths
        ]
        batch = np.stack([keras.utils.img_to_array(image) for image in loaded])
    else:
        dataset = keras.utils.image_dataset_from_directory(
            question["pictures"],
            labels=None,
            color_mode=mode,
            image_size=size,
            shuffle=False,
            verbose=False,
        )
        assert dataset.file_paths == [str(path) for path in paths]
        batch = np.concatenate(list(dataset.as_numpy_iterator()))
    return np.asarray(SCALES[question["scale"]](batch))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
