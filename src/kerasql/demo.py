"""``kerasql demo``: from handwritten digits to SQL over a network that reads them.

Everything is made on this machine: scikit-learn's bundled digits become PNG files, a small Keras
network learns from most of them in a process of its own, and SQL asks it about the others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from kerasql.registry.errors import InvalidInput, KerasqlError

QUERIES = (
    (
        "What does the network read in pictures it never saw?",
        """SELECT label,
       digits(image) AS read,
       round(array_max(digits_scores(image)), 3) AS score
FROM images
WHERE contains(path, '/held_out/') AND label <> 'broken'
ORDER BY substring_index(path, '/', -1)
LIMIT 8""",
    ),
    (
        "How often is it right, digit by digit and in all, on held-out pictures?",
        """SELECT coalesce(label, 'all') AS digit,
       count(*) AS pictures,
       round(avg(CAST(label = digits(image) AS INT)), 4) AS accuracy
FROM images
WHERE contains(path, '/held_out/') AND label <> 'broken'
GROUP BY ROLLUP (label)
ORDER BY digit""",
    ),
    (
        "A broken file costs its own row an answer, and says why.",
        """SELECT path, answer.value AS read, answer.error AS reason
FROM (SELECT substring_index(path, '/', -2) AS path, try_digits(image) AS answer
      FROM images
      WHERE label = 'broken')""",
    ),
)

NEXT = """
What to try next:{path}
  export KERASQL_DATABASE={url}
  kerasql show digits
  kerasql query "SELECT digits(image) AS read, count(*) FROM images GROUP BY 1 ORDER BY 1"
  kerasql register flowers flowers.h5 --preprocess image:size=224x224,scale=tf \\
      --labels labels.txt"""

console = Console(highlight=False)


def run(folder: Path) -> None:
    """Make the demo's folder anew and run it through; takes well under a minute."""
    from kerasql.registry.preprocess import Image
    from kerasql.registry.store import connect
    from kerasql.show import write_table
    from kerasql.udf.deploy import deploy
    from kerasql.udf.query import query
    from kerasql.udf.session import check_java, local_session

    check_java()
    make_room(folder)
    with step("writing handwritten digits as PNG files"):
        count = write_pictures(folder / "pictures")
    console.print(f"  {count:,} pictures in {folder / 'pictures'}")
    with step("training a small network with Keras"):
        said = train(folder / "pictures" / "train", folder / "digits.h5")
    console.print(f"  {said}")
    url = f"sqlite:///{folder / 'models.db'}"
    with connect(url) as registry:
        console.print(f"registering {folder / 'digits.h5'} as 'digits' in {url}")
        version = registry.register(
            "digits",
            folder / "digits.h5",
            preprocess=Image(size=(8, 8), color="grayscale", scale="unit"),
            labels=[str(digit) for digit in range(10)],
            description="Handwritten digits of 8 x 8 pixels",
            progress=lambda name: console.print(f"  {name}"),
        )
        console.print(f"  {version.ref} answers as digits(image) on {version.engine}")
        registry.add_dataset("images", folder / "pictures", description="the demo's digits")
        with step("starting Spark"):
            spark = local_session()
        try:
            deploy(spark, registry)
            for question, sql in QUERIES:
                console.print(f"\n[bold]{question}[/bold]")
                console.print(sql, style="cyan", markup=False)
                write_table(query(spark, sql), console)
        finally:
            spark.stop()
    console.print(
        NEXT.format(path=path_hint(), url=url),
        markup=False,
        soft_wrap=True,
    )


def path_hint() -> str:
    """How to find the command where its environment is not activated."""
    if shutil.which("kerasql"):
        return ""
    return f"\n  export PATH={Path(sys.executable).parent}:$PATH"


def make_room(folder: Path) -> None:
    """An empty folder; one that the demo did not make is left alone."""
    mark = folder / ".kerasql-demo"
    if folder.exists() and any(folder.iterdir()) and not mark.exists():
        raise InvalidInput(f"{folder} holds something else; name another one: --folder FOLDER")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    mark.touch()


@contextmanager
def step(name: str) -> Iterator[None]:
    """A progress line while a long step runs."""
    if not console.is_terminal:
        console.print(f"{name} …")
        yield
        return
    with console.status(f"{name} …"):
        yield
    console.print(name)


def write_pictures(folder: Path) -> int:
    """The digits as 8 x 8 PNG files, ``train`` or ``held_out`` by their place, and a broken one."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InvalidInput(
            "the demo needs scikit-learn's digits: pip install 'kerasql[demo]'"
        ) from error
    import numpy as np
    from PIL import Image

    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        part = "held_out" if number % 4 == 0 else "train"
        path = folder / part / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(path)
    whole = (folder / "held_out" / "0" / "0000.png").read_bytes()
    broken = folder / "held_out" / "broken" / "cut_short.png"
    broken.parent.mkdir()
    broken.write_bytes(whole[: len(whole) * 2 // 3])
    return len(digits.images) + 1


def train(pictures: Path, model: Path) -> str:
    """Train in a process of its own: TensorFlow stays out of Spark's driver."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, str(pictures), str(model)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise KerasqlError(f"training failed: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout.strip().splitlines()[-1]


TRAINING = """
import sys

import keras

pictures, model_file = sys.argv[1:]
keras.utils.set_random_seed(1)
data = keras.utils.image_dataset_from_directory(
    pictures, color_mode="grayscale", image_size=(8, 8), batch_size=64, verbose=False
).cache()
model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(32, 3, activation="relu", padding="same"),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(data.map(lambda x, y: (x / 255, y)), epochs=12, verbose=0).history
model.save(model_file)
print(f"12 epochs, training accuracy {history['accuracy'][-1]:.3f}, saved as {model_file}")
"""
