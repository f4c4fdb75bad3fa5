"""Code keeps a function as text, runs it late, and checks what it returns."""

import hashlib
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from kerasql.registry.errors import BadRow, InvalidPreprocess
from kerasql.registry.preprocess import Code, Image, Tensor, Text, preprocessor_from_json
from kerasql.registry.signature import TensorSpec

SPEC = TensorSpec("x", "float32", (2, 2))
OUTSIDE = 3.0


def source(body, name="prep"):
    return f"def {name}(value):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"


def prepared(body, value=1, spec=SPEC):
    return Code(source(body), "prep").prepare(value, spec)


def self_contained(data: bytes, size: "tuple[int, int]" = (2, 2)) -> "np.ndarray":
    """Halve the numbers."""
    import numpy

    def half(number: "OUTSIDE") -> float:
        return number / 2

    def fact(n):
        return 1 if n == 0 else n * fact(n - 1)

    scale = fact(3) / 6
    return numpy.array([half(byte) * scale for byte in data], float).reshape(size)


def recursive(value):
    return [[value, 0], [0, 0]] if value < 5 else recursive(value - 1)


def uses_global(value):
    return [[value * OUTSIDE, len(json.dumps(value))], [0, 0]]


def attribute_of_that_name(value):
    import types

    return [[types.SimpleNamespace(OUTSIDE=value).OUTSIDE, 0], [0, 0]]


def default_from_outside(value, factor=OUTSIDE):
    return value * factor


def makes_global(value):
    global OUTSIDE
    OUTSIDE = value
    return value


def test_a_function_gives_what_it_gives_in_python():
    code = Code.of(self_contained)
    result = code.prepare(bytes([2, 4, 6, 8]), SPEC)
    assert result.dtype == "float32"
    assert np.array_equal(result, self_contained(bytes([2, 4, 6, 8])))
    assert np.array_equal(code.finish(result[None], SPEC), result[None])


def test_a_function_may_call_itself():
    assert Code.of(recursive).prepare(7, SPEC)[0, 0] == 4


def test_an_attribute_named_like_a_global_is_no_global():
    assert Code.of(attribute_of_that_name).prepare(7, SPEC)[0, 0] == 7


def test_a_function_inside_another_is_dedented():
    def inside(value):
        return [[value, value], [0, 0]]

    assert Code.of(inside).prepare(3, SPEC).tolist() == [[3, 3], [0, 0]]


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (uses_global, "'OUTSIDE', 'json'"),
        (default_from_outside, "'OUTSIDE'"),
        (makes_global, "'OUTSIDE'"),
    ],
)
def test_a_function_that_needs_its_surroundings_is_refused_and_they_are_named(function, named):
    with pytest.raises(InvalidPreprocess, match=f"uses {named} from outside"):
        Code.of(function)


def test_a_closure_is_refused():
    factor = 3

    def closure(value):
        return value * factor

    with pytest.raises(InvalidPreprocess, match="uses 'factor' from outside"):
        Code.of(closure)


def test_a_decorator_from_outside_is_refused():
    def decorator(function):
        return function

    @decorator
    def wrapped(value):
        return value

    with pytest.raises(InvalidPreprocess, match="uses 'decorator' from outside"):
        Code.of(wrapped)


@pytest.mark.parametrize("function", [len, np.asarray, lambda value: value, Image, "prep"])
def test_what_is_no_function_written_with_def_is_refused(function):
    with pytest.raises(InvalidPreprocess, match="not a function written with def"):
        Code.of(function)


def test_a_function_without_source_is_refused():
    space = {}
    exec("def typed_in(value):\n    return value", space)
    with pytest.raises(InvalidPreprocess, match=r"cannot be found .* Code.file"):
        Code.of(space["typed_in"])


def test_a_file_is_kept_whole(tmp_path):
    path = tmp_path / "prep.py"
    text = (
        "import math\n\nSIZE = 2\n\n\ndef preprocess(value):\n    return [[math.pi] * 2] * SIZE\n"
    )
    path.write_text(text, encoding="utf-8")
    code = Code.file(path, "preprocess")
    assert code.source == text
    assert code.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert code.prepare(None, SPEC) == pytest.approx(np.pi)
    with pytest.raises(InvalidPreprocess, match="does not define 'prep'; it defines math, SIZE"):
        Code.file(path, "prep")


def test_nothing_runs_before_the_first_row(tmp_path):
    touched = tmp_path / "touched"
    note = f"with open({str(touched)!r}, 'a') as file:\n    file.write('x')\n"
    text = note + source("return [[1, 2], [3, 4]]")
    code = preprocessor_from_json(json.loads(json.dumps(Code(text, "prep").to_json())))
    code.check(SPEC)
    code.describe()
    code.example(SPEC, np.random.default_rng(0))
    assert not touched.exists()
    for _ in range(3):
        code.prepare(1, SPEC)
    assert touched.read_text() == "x", "and then once"


def test_sources_do_not_see_each_other():
    first = Code("x = 1\n" + source("return [[x, x], [x, x]]"), "prep")
    second = Code("x = 2\n" + source("return [[x, x], [x, x]]"), "prep")
    assert [c.prepare(0, SPEC)[0, 0] for c in (first, second, first)] == [1, 2, 1]


def test_a_dataclass_in_the_source_works():
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass\nclass Point:\n    x: int\n\n\n"
    ) + source("return [[Point(value).x, 0], [0, 0]]")
    assert Code(text, "prep").prepare(5, SPEC)[0, 0] == 5


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit('stop')", "SystemExit: stop"),
        ("import no_such_module_here", "ModuleNotFoundError"),
        ("return prep(value)", "RecursionError"),
        ("return None", r"returned the shape \(\), \(2, 2\) is expected"),
        ("return [[1, 2]]", r"returned the shape \(1, 2\)"),
        ("return [[1, 2], [3]]", "ValueError"),
        ("return [['a', 'b'], ['c', 'd']]", "returned an array of <U1, float32 is expected"),
        ("return [[None, 1], [1, 1]]", "returned an array of object"),
        ("return [[1e300, 1], [1, 1]]", "too large for float32"),
    ],
)
def test_what_goes_wrong_with_one_value_is_a_bad_row(body, reason):
    with pytest.raises(BadRow, match=reason):
        prepared(body)


def test_fractions_for_an_integer_input_are_a_bad_row():
    with pytest.raises(BadRow, match=r"0.5 is not a whole number"):
        prepared("return [0.5, 1]", spec=TensorSpec("ids", "int32", (2,)))


def test_a_leading_axis_of_one_is_taken_off():
    assert prepared("return [[[1, 2], [3, 4]]]").tolist() == [[1, 2], [3, 4]]
    assert prepared("return [[5]]", spec=TensorSpec("x", "float32", (1,))).tolist() == [5]


def test_pixels_stay_uint8_until_they_are_finished():
    body = "import numpy\nreturn numpy.full((2, 2), 255, 'uint8')"
    pixels = prepared(body)
    assert pixels.dtype == np.uint8
    finished = Code(source(body), "prep").finish(pixels[None], SPEC)
    assert finished.dtype == "float32"
    assert (finished == 255).all()


def test_text_passes_to_a_model_that_reads_text():
    result = prepared("return [value.upper()]", "abc", TensorSpec("x", "string", (1,)))
    assert result.dtype == object
    assert result.tolist() == ["ABC"]


def test_a_source_that_cannot_be_run_is_no_bad_row():
    """It would be so for every row: a broken deployment must fail, not turn into NULLs."""
    code = Code("import no_such_module_here\n" + source("return 1"), "prep")
    with pytest.raises(InvalidPreprocess, match="cannot be run here: ModuleNotFoundError"):
        code.prepare(1, SPEC)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def prep(value:", "not Python"),
        ("\0", "not Python"),
        ("", "does not define 'prep'"),
        ("print('prep')", "does not define 'prep'"),
        (3, "not Python"),
    ],
)
def test_a_source_that_is_no_python_is_refused(text, reason):
    with pytest.raises(InvalidPreprocess, match=reason):
        Code(text, "prep")


def test_json_gives_the_same_preprocessor_back_and_is_readable():
    code = Code.of(recursive)
    value = code.to_json()
    assert list(value) == ["kind", "source", "name"]
    assert "def recursive(value):" in value["source"]
    assert preprocessor_from_json(json.loads(json.dumps(value))) == code


def test_only_code_runs_code():
    assert Code.runs_code is True
    assert [kind.runs_code for kind in (Image, Tensor, Text)] == [False] * 3
    assert "recursive" in Code.of(recursive).describe()


def test_an_example_is_a_picture_for_an_input_like_one_else_numbers():
    rng = np.random.default_rng(0)
    code = Code.of(recursive)
    assert code.example(TensorSpec("x", "float32", (None, None, 3)), rng).startswith(b"\x89PNG")
    assert np.shape(code.example(SPEC, rng)) == (2, 2)


def test_a_function_survives_in_another_process():
    stored = json.dumps(Code.of(self_contained).to_json())
    program = (
        "import json, sys\n"
        "from kerasql.registry.preprocess import preprocessor_from_json\n"
        "from kerasql.registry.signature import TensorSpec\n"
        "code = preprocessor_from_json(json.load(sys.stdin))\n"
        "print(code.prepare(bytes([2, 4, 6, 8]), TensorSpec('x', 'float32', (2, 2))).tolist())\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], input=stored, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[[1.0, 2.0], [3.0, 4.0]]"
