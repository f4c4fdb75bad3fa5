"""The engine keras on whichever backends are installed answers what TensorFlow answers."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from kerasql.registry.errors import InvalidInput
from kerasql.registry.keras_backends import BACKENDS, Padded, backend_name, is_short, tried

NETWORKS = ("image", "pair", "words", "mask", "bag")

SAME = """
import sys
from pathlib import Path
import numpy as np
from kerasql.registry.engine import ENGINES, agree
from kerasql.registry.preprocess import Image
from kerasql.registry.signature import TensorSpec

folder, names = Path(sys.argv[1]), sys.argv[2].split(",")
for name in names:
    with np.load(folder / f"{name}.npz") as kept:
        inputs = [kept[key] for key in sorted(kept) if key.startswith("x")]
        expected = [kept[key] for key in sorted(kept) if key.startswith("y")]
    predict = ENGINES["keras"].load({"model": folder / f"{name}.h5"}, rows=4)
    # More rows than a batch, a batch, an odd number, one.
    for rows in (len(inputs[0]), 4, 3, 1):
        ours = predict([value[:rows] for value in inputs])
        assert agree(ours, [value[:rows] for value in expected]), (name, rows)
        assert [o.dtype for o in ours] == [e.dtype for e in expected]

spec = TensorSpec("x", "float32", (8, 8, 3))
steps = Image(size=(8, 8), scale="caffe").finishing(spec, "uint8")
files = {"model": folder / "image.h5"}
pixels = np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), np.uint8)
fused = ENGINES["keras"].load(files, finish=[steps])([pixels])
assert agree(fused, ENGINES["keras"].load(files)([steps(pixels)]))

import keras
print(keras.backend.backend())
"""


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_answers_what_tensorflow_answers(networks: Path, name: str) -> None:
    if not find_spec(name):
        pytest.skip(f"{name} is not installed")
    # Compiling every size of five networks with torch takes a minute.
    asked = "image,words" if name == "torch" else ",".join(NETWORKS)
    done = subprocess.run(
        [sys.executable, "-c", SAME, networks, asked],
        env=os.environ | {"KERAS_BACKEND": name, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == name


def test_the_backend_is_what_the_environment_says_or_the_first_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert backend_name() == "tensorflow"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert backend_name() == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(InvalidInput, match="no Keras backend 'theano'; there is 'tensorflow', "):
        backend_name()


class Computed:
    """A computation that notes the sizes it was given, and has memory for so many rows."""

    def __init__(self, most: int) -> None:
        self.most, self.sizes = most, list[int]()

    def __call__(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        self.sizes.append(len(inputs[0]))
        if len(inputs[0]) > self.most:
            raise MemoryError
        return [inputs[0] * 2]


def test_batches_are_filled_up_to_few_sizes() -> None:
    computed = Computed(1000)
    padded = Padded(computed, 64)
    padded.begin([("float32", (2,))])
    assert computed.sizes == [1, 8, 64]
    for rows in (1, 2, 8, 9, 64, 130):
        values = np.random.default_rng(rows).random((rows, 2))
        np.testing.assert_array_equal(padded([values])[0], values * 2)
    assert computed.sizes[3:] == [1, 8, 8, 64, 64, 64, 64, 8]


def test_a_size_that_does_not_fit_the_memory_is_not_tried_again() -> None:
    computed = Computed(20)
    padded = Padded(computed, 64)
    padded.begin([("float32", (2,))])
    values = np.arange(140.0).reshape(70, 2)
    assert computed.sizes == [1, 8, 64, 32, 16]
    np.testing.assert_array_equal(padded([values])[0], values * 2)
    assert max(padded.sizes) <= 20


def test_what_cannot_be_compiled_is_computed_all_the_same_and_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def compiled(inputs: list[np.ndarray]) -> list[np.ndarray]:
        raise NotImplementedError("no kernel\nfor it")

    compute = tried(compiled, Computed(10), "XLA")
    for _ in range(2):
        np.testing.assert_array_equal(compute([np.ones(3)])[0], np.full(3, 2))
    said = "kerasql: computes without XLA, which fails (NotImplementedError: no kernel)\n"
    assert capsys.readouterr().err == said


def test_a_refused_row_is_not_a_failed_compilation(capsys: pytest.CaptureFixture[str]) -> None:
    def refusing(inputs: list[np.ndarray]) -> list[np.ndarray]:
        raise ValueError("a bad row")

    with pytest.raises(ValueError, match="a bad row"):
        tried(refusing, refusing, "XLA")([np.ones(3)])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("said", "short"),
    [
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8589934592 bytes.", True),
        ("CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("OOM when allocating tensor: ResourceExhaustedError", True),
        ("[enforce fail] DefaultCPUAllocator: can't allocate memory", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("incompatible shapes", False),
    ],
)
def test_backends_say_in_these_words_that_memory_was_short(said: str, short: bool) -> None:
    assert is_short(RuntimeError(said)) is short


def test_a_model_with_tensorflows_own_steps_says_what_it_needs(tmp_path: Path) -> None:
    if not find_spec("jax"):
        pytest.skip("jax is not installed")
    code = f"""
import keras
from kerasql.registry.tensorflow_steps import Operator
x = keras.Input((3,))
keras.Model(x, Operator("math.multiply")(x, x)).save({str(tmp_path / "own.keras")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    load = f"""
from pathlib import Path
from kerasql.registry.engine import ENGINES
ENGINES["keras"].load({{"upgraded": Path({str(tmp_path / "own.keras")!r})}})
"""
    done = subprocess.run(
        [sys.executable, "-c", load],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert "it has steps of TensorFlow's own, which jax cannot compute; install" in done.stderr
