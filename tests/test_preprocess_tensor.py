"""Tensor casts numbers safely and scales them as sklearn and Keras do."""

import json
import os
import warnings
from decimal import Decimal

import numpy as np
import pytest

from kerasql.registry.errors import BadRow, InvalidPreprocess
from kerasql.registry.preprocess import Tensor, preprocessor_from_json
from kerasql.registry.signature import TensorSpec


def spec(dtype="float32", shape=(3,)):
    return TensorSpec("x", dtype, shape)


def through(tensor, value, to):
    tensor.check(to)
    batch = tensor.finish(np.stack([tensor.prepare(value, to)]), to)
    assert len(batch) == 1
    return batch.reshape(batch.shape[1:])


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own import
        import keras
    return keras


@pytest.mark.parametrize(
    "value",
    [
        [1, 2.5, 3],
        (1, 2.5, 3),
        [Decimal(1), Decimal("2.5"), Decimal("3.0")],
        [True, 2.5, 3],
        np.array([1, 2.5, 3]),
        np.array([1, 2.5, 3], object),
        [np.float32(1), np.int8(2) + 0.5, 3],
        {"type": 1, "size": None, "indices": None, "values": [1.0, 2.5, 3.0]},
        {"type": 0, "size": 3, "indices": [0, 1, 2], "values": [1.0, 2.5, 3.0]},
    ],
    ids=repr,
)
def test_numbers_of_every_kind_become_the_tensor(value):
    result = through(Tensor(), value, spec())
    assert result.dtype == "float32"
    assert result.tolist() == [1.0, 2.5, 3.0]


def test_a_sparse_vector_is_filled_with_zeros():
    value = {"type": 0, "size": 5, "indices": [1, 4], "values": [0.5, -2.0]}
    assert through(Tensor(), value, spec(shape=(5,))).tolist() == [0, 0.5, 0, 0, -2.0]


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("value", [7, 7.0, True + 6, Decimal(7), np.int16(7), [7]])
def test_one_number_fits_an_input_of_one(value, shape):
    result = through(Tensor(), value, spec(shape=shape))
    assert result.shape == shape
    assert result.sum() == 7


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        ([1, 2, 3, 4, 5, 6], (2, 3), (2, 3)),
        ([[1, 2, 3], [4, 5, 6]], (2, 3), (2, 3)),
        ([[1, 2, 3], [4, 5, 6]], (6,), (6,)),
        ([[1, 2], [3, 4], [5, 6]], (None, 2), (3, 2)),
        ([1, 2, 3, 4], (None, 2), (2, 2)),
        ([1, 2, 3, 4], (None,), (4,)),
        ([[[1, 2]], [[3, 4]]], (None, None, 2), (2, 1, 2)),
        ([], (None,), (0,)),
        (np.zeros((28, 28)), (28, 28, 1), (28, 28, 1)),
    ],
)
def test_values_take_the_shape_of_the_input_in_numpys_order(value, shape, expected):
    result = through(Tensor(), value, spec(shape=shape))
    assert result.shape == expected
    assert np.array_equal(result.ravel(), np.ravel(value))


def test_the_shape_option_reshapes_as_numpy_does():
    value = [[1, 2], [3, 4], [5, 6]]
    result = through(Tensor(shape=(-1, 3)), value, spec(shape=(None, 3)))
    assert np.array_equal(result, np.reshape(value, (-1, 3)))


@pytest.mark.parametrize(
    ("value", "to", "reason"),
    [
        (None, spec(), "^NULL$"),
        ([1, None, 3], spec(), "value 2 of 3 is NULL"),
        ([[1, 2, 3], [4, 5, None]], spec(shape=(2, 3)), "value 6 of 6 is NULL"),
        ([1, 2], spec(), "3 numbers are expected, 2 were given"),
        ([1] * 11, spec(shape=(3, 4)), "12 numbers are expected, 11 were given"),
        ([], spec(), "3 numbers are expected, 0 were given"),
        ([1, 2, 3], spec(shape=(None, 2)), "a multiple of 2 numbers is expected, 3 were given"),
        ([1, 2, 3], spec(shape=(None, None)), r"shape \(None, None\) is expected, \(3,\)"),
        ([[1, 2], [3, 4], [5, 6]], spec(shape=(2, 3)), r"\(2, 3\) is expected, \(3, 2\) was given"),
        ([[1, 2], [3]], spec(), "different lengths"),
        ("1,2,3", spec(), "numbers are expected, '1,2,3' was given"),
        ([1, "2", 3], spec(), "numbers are expected"),
        (b"abc", spec(), "numbers are expected"),
        ([1, 2, object], spec(), "numbers are expected, <class 'object'> was given"),
        ([1 + 2j] * 3, spec(), "numbers are expected"),
        ({"a": 1}, spec(), "not a vector of Spark ML"),
        ({"type": 0, "size": 2, "indices": [5], "values": [1.0]}, spec(), "not a vector"),
        ({"type": 0, "size": -1, "indices": [], "values": []}, spec(), "not a vector"),
        ({"type": 0, "size": 2**31, "indices": [], "values": []}, spec(), "too long"),
        ([0.5, 1, 2], spec("int32"), "0.5 is not a whole number, int32 is expected"),
        ([float("nan"), 1, 2], spec("int32"), "nan is not a whole number"),
        ([float("inf"), 1, 2], spec("int32"), "inf is outside the range of int32"),
        ([2**31, 1, 2], spec("int32"), "2147483648 is outside the range of int32"),
        ([2.0**31, 1, 2], spec("int32"), "2147483648.0 is outside"),
        ([2.0**63, 1, 2], spec("int64"), "is outside the range of int64"),
        ([2**63, 1, 2], spec("int64"), "is outside the range of int64"),
        ([2**70, 1, 2], spec("int64"), "is outside the range of int64"),
        ([-1, 1, 2], spec("uint8"), "-1 is outside the range of uint8"),
        ([256, 1, 2], spec("uint8"), "256 is outside the range of uint8"),
        ([Decimal("0.1"), 1, 2], spec("int64"), "0.1 is not a whole number"),
        ([2, 0, 1], spec("bool"), "2 is outside the range of bool"),
        ([1e39, 1, 2], spec(), "1e[+]39 is too large for float32"),
        ([10**400, 1, 2], spec(), "numbers are expected|too large"),
        ([70000, 1, 2], spec("float16"), "70000 is too large for float16"),
        ([Decimal("NaN"), 1, 2], spec("int32"), "nan is not a whole number"),
        (["a", None], spec("string", (2,)), "value 2 of 2 is NULL"),
        (3, spec("string", ()), "text is expected, 3 was given"),
        (None, spec("string", ()), "NULL"),
        (["a", "b"], spec("string", (1,)), "1 .* expected, 2 were given"),
    ],
    ids=repr,
)
def test_a_bad_value_is_a_bad_row_that_says_why(value, to, reason):
    with pytest.raises(BadRow, match=reason):
        through(Tensor(), value, to)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("int8", -128, 127),
        ("int64", -(2**63), 2**63 - 1),
        ("uint8", 0, 255),
        ("uint32", 0, 2**32 - 1),
        ("bool", 0, 1),
    ],
)
def test_the_whole_range_of_an_integer_is_taken(dtype, low, high):
    result = through(Tensor(), [low, high], spec(dtype, (2,)))
    assert result.dtype == dtype
    assert [int(number) for number in result] == [low, high]


def test_whole_floats_and_decimals_become_integers():
    assert through(Tensor(), [1.0, Decimal("2.00"), True], spec("int32")).tolist() == [1, 2, 1]


def test_nan_and_infinity_are_numbers():
    values = [float("nan"), float("inf"), Decimal("NaN")]
    result = through(Tensor(), values, spec())
    assert np.array_equal(result, [np.nan, np.inf, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("value", "shape"),
    [("a word", ()), ("a word", (1,)), (["a", "b"], (2,)), (["a", "b"], (None,))],
)
def test_text_passes_to_a_model_that_reads_text(value, shape):
    result = through(Tensor(), value, spec("string", shape))
    assert result.dtype == object
    assert np.array_equal(result.ravel(), np.ravel(np.array(value, object)))
    assert len(result.shape) == len(shape)


def test_mean_and_std_equal_standard_scaler():
    rng = np.random.default_rng(0)
    table = rng.normal([1e5, 40, 0], [6e4, 10, 1], (200, 3))
    mean, scale = table.mean(axis=0), table.std(axis=0)  # StandardScaler's mean_ and scale_
    expected = ((table - mean) / scale).astype("float32")
    tensor = Tensor(mean=mean, std=scale)
    found = np.stack([through(tensor, row.tolist(), spec()) for row in table])
    assert np.array_equal(found, expected)


def test_mean_and_std_equal_the_normalization_layer(keras):
    table = np.random.default_rng(0).normal(5, 3, (50, 3)).astype("float32")
    layer = keras.layers.Normalization()
    layer.adapt(table)
    mean, variance = np.asarray(layer.mean).ravel(), np.asarray(layer.variance).ravel()
    tensor = Tensor(mean=mean, std=variance**0.5)
    found = np.stack([through(tensor, row, spec()) for row in table])
    assert np.abs(found - np.asarray(layer(table))).max() < 1e-6


def test_scale_equals_the_rescaling_layer(keras):
    pixels = np.arange(12).reshape(2, 2, 3)
    expected = np.asarray(keras.layers.Rescaling(1 / 255)(pixels.astype("float32")))
    assert (
        np.abs(through(Tensor(scale=1 / 255), pixels, spec(shape=(2, 2, 3))) - expected).max()
        < 1e-8
    )


def test_scale_comes_before_mean_and_std():
    assert through(Tensor(scale=2, mean=4, std=0.5), [1, 2, 3], spec()).tolist() == [-4, 0, 4]


def column(tensor, values, to):
    tensor.check(to)
    prepared, bad = tensor.prepare_column(np.asarray(values), to)
    return tensor.finish(prepared, to), bad


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int8", "bool"])
@pytest.mark.parametrize("tensor", [Tensor(), Tensor(shape=(2, 3)), Tensor(dtype="bool")])
def test_a_block_of_numbers_gives_the_same_as_row_by_row(tensor, dtype):
    rng = np.random.default_rng(0)
    block = rng.choice([0.0, 1.0, 0.5, 200.0, -1.0, np.nan], (40, 6), p=[0.5, 0.42, *[0.02] * 4])
    to = spec(dtype, (2, 3))
    if dtype == "int8":
        tensor = Tensor(tensor.shape)
    result, bad = column(tensor, block, to)
    reasons = dict(bad)
    for number, row in enumerate(block):
        try:
            expected = through(tensor, row.tolist(), to)
        except BadRow as error:
            assert reasons.pop(number) == str(error)  # noqa: PT017
            assert not result[number].any()
            continue
        assert np.array_equal(result[number], expected, equal_nan=True)
    assert not reasons
    assert result.shape == (40, 2, 3)


def test_a_block_is_scaled_too():
    result, bad = column(Tensor(mean=[1, 2], std=[2, 4]), [[3, 6], [1, 2]], spec(shape=(2,)))
    assert result.tolist() == [[1, 1], [0, 0]]
    assert bad == []


def test_a_block_of_the_wrong_width_is_refused():
    with pytest.raises(BadRow, match="3 numbers are expected, 2 were given"):
        column(Tensor(), [[1, 2]], spec())


def test_finish_leaves_the_prepared_rows_as_they_are():
    batch = np.ones((4, 3))
    Tensor(scale=2, mean=4, std=0.5).finish(batch, spec())
    Tensor(mean=4).finish(batch, spec())
    assert (batch == 1).all()


def test_a_block_is_not_changed():
    block = np.array([[0.5, 1], [1, 1]])
    _, bad = column(Tensor(), block, spec("int32", (2,)))
    assert bad == [(0, "0.5 is not a whole number, int32 is expected")]
    assert block[0, 0] == 0.5


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"shape": 3}, "list of lengths"),
        ({"shape": (2, 0)}, "at least 1"),
        ({"shape": (-1, -1)}, "at most once"),
        ({"dtype": "complex64"}, "'float16'"),
        ({"scale": [1, 2]}, "one number"),
        ({"scale": "a"}, "must be a number"),
        ({"mean": []}, "must be a number"),
        ({"mean": [1, None]}, "finite"),
        ({"std": [1, 0]}, "divide by zero"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_allowed(options, reason):
    with pytest.raises(InvalidPreprocess, match=reason):
        Tensor(**options)


@pytest.mark.parametrize(
    ("tensor", "to", "reason"),
    [
        (Tensor(shape=(2, 2)), spec(), r"shape=\(2, 2\) does not fit"),
        (Tensor(shape=(4,)), spec(), "does not fit"),
        (Tensor(mean=[1, 2]), spec(), "mean has 2 numbers, the last axis of .* 3"),
        (Tensor(std=[1, 2]), spec(), "std has 2 numbers"),
        (Tensor(scale=0.5), spec("int32"), "whole numbers"),
        (Tensor(dtype="float32"), spec("int32"), "whole numbers"),
        (Tensor(mean=1), spec("string"), "text and numbers"),
        (Tensor(dtype="string"), spec(), "text and numbers"),
    ],
)
def test_a_tensor_that_does_not_fit_the_input_is_refused(tensor, to, reason):
    with pytest.raises(InvalidPreprocess, match=reason):
        tensor.check(to)


def test_dtype_limits_what_is_taken():
    tensor = Tensor(dtype="uint8")
    assert through(tensor, [0, 255, 3], spec()).dtype == "float32"
    with pytest.raises(BadRow, match="outside the range of uint8"):
        through(tensor, [0, 256, 3], spec())


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(),
        Tensor(shape=[-1, 2], dtype="int32", scale=2),
        Tensor(mean=np.array([1, 2]), std=3),
    ],
)
def test_json_gives_the_same_preprocessor_back(tensor):
    stored = json.dumps(tensor.to_json())
    assert preprocessor_from_json(json.loads(stored)) == tensor
    assert json.dumps(preprocessor_from_json(json.loads(stored)).to_json()) == stored


def test_json_is_plain_and_short():
    assert Tensor(mean=[1, 2]).to_json() == {"kind": "tensor", "mean": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("tensor", "to"),
    [
        (Tensor(), spec()),
        (Tensor(), spec(shape=(None, 4))),
        (Tensor(), spec(shape=())),
        (Tensor(shape=(-1, 2)), spec(shape=(None, 2))),
        (Tensor(mean=[1e6, 0, 1], std=[10, 1, 1]), spec()),
        (Tensor(), spec("int32")),
        (Tensor(), spec("bool")),
        (Tensor(), spec("string", (1,))),
        (Tensor(), spec("float16", (None, None, 2))),
    ],
)
def test_an_example_is_taken_and_varies(tensor, to):
    rng = np.random.default_rng(0)
    examples = [through(tensor, tensor.example(to, rng), to) for _ in range(8)]
    assert any(not np.array_equal(examples[0], other) for other in examples)


def test_an_example_lies_around_the_mean():
    tensor = Tensor(mean=1e6, std=10.0)
    assert (
        np.abs(through(tensor, tensor.example(spec(), np.random.default_rng(0)), spec())).max() < 5
    )


def test_describe_says_what_happens():
    assert Tensor().describe() == "numbers are passed to the model"
    assert "multiplied by 0.5" in Tensor(scale=0.5).describe()
    assert "standardised" in Tensor(mean=1).describe()
    assert Tensor().runs_code is False
