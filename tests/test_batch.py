"""Arrow columns to tensors and back, without Spark."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kerasql.registry.errors import InvalidArguments, InvalidInput, InvalidLabels
from kerasql.registry.examine import outputs_of
from kerasql.registry.preprocess import Code, Image, Tensor
from kerasql.registry.signature import Output, Signature, TensorSpec
from kerasql.udf import batch
from kerasql.udf.plan import Plan
from kerasql.udf.planning import elements


def plan(spec: TensorSpec, preprocessor: Any = None, **facts: Any) -> Plan:
    """A plan of one input and one number."""
    made: dict[str, Any] = {
        "ref": "m@1",
        "variant": "try",
        "signature": Signature((spec,), (TensorSpec("y", "float32", (1,)),)),
        "preprocess": (preprocessor or Tensor(),),
        "outputs": (Output("value"),),
        "columns": (),
        "engine": "keras",
        "artifacts": {},
    }
    return Plan(**{**made, **facts})


def test_whole_columns_keep_every_digit_beside_fractional_ones() -> None:
    spec = TensorSpec("ids", "int64", (3,))
    columns = [
        pa.array([2**53 + 1, 2**53 + 1]),
        pa.array([1.0, 1.5]),
        pa.array([Decimal(2**53 + 1), Decimal(0)], pa.decimal128(18, 0)),
    ]
    (rows,), reasons = batch.tensors(plan(spec, columns=("a", "b", "c")), columns)
    assert rows[0].tolist() == [2**53 + 1, 1, 2**53 + 1]
    assert reasons == [None, "b is 1.5, not a whole number"]


def test_unknown_ids_are_refused_column_by_column_too() -> None:
    spec = TensorSpec("ids", "int32", (2,), ids=10)
    columns = [pa.array([1, 10]), pa.array([2, 3])]
    (rows,), reasons = batch.tensors(plan(spec, columns=("a", "b")), columns)
    assert rows[0].tolist() == [1, 2]
    assert reasons == [None, "the id 10 is not one of 0 … 9"]


def test_a_slice_of_lists_is_that_slice() -> None:
    lists = pa.array([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]).slice(1, 2)
    (rows,), reasons = batch.tensors(plan(TensorSpec("x", "float32", (2,))), [lists])
    assert [row.tolist() for row in rows] == [[1, 2], [3, 4]]
    assert reasons == [None, None]


def test_large_strings_are_paths_too() -> None:
    paths = pa.array(["/no/such/file"], pa.large_string())
    image = plan(TensorSpec("x", "float32", (8, 8, 3)), Image(), read_paths=True)
    reasons: batch.Reasons = [None]
    (contents,) = batch.opened(image, [paths], reasons)
    _, (reason,) = batch.tensors(image, [contents], reasons)
    assert reason is not None
    assert "'/no/such/file' cannot be read" in reason


def test_a_wrong_number_of_arguments_is_one_sentence() -> None:
    wanted = plan(TensorSpec("x", "float32", (3,)), columns=("a", "b", "c"))
    with pytest.raises(InvalidArguments, match=r"m@1: it takes \(a, b, c\); 2 were given"):
        batch.tensors(wanted, [pa.array([1]), pa.array([2])])


def test_unsigned_scores_are_ranked_by_size() -> None:
    spec = TensorSpec("y", "uint8", (3,))
    best, _ = batch.answers(
        np.array([[0, 100, 3]], np.uint8), spec, Output("top_k", ("a", "b", "c"), k=2)
    )
    assert [one["label"] for one in best.to_pylist()[0]] == ["b", "c"]


def test_scores_that_are_not_numbers_are_no_label() -> None:
    made = plan(TensorSpec("x", "float32", (1,)), outputs=(Output("label", ("no", "yes")),))
    scores = [np.array([[0.9], [np.nan]], np.float32)]
    column = batch.column(made, [(np.array([0, 1]), scores)], [None, None])
    assert column.to_pylist() == [
        {"value": "yes", "error": None},
        {"value": None, "error": "the scores of y are not numbers (NaN)"},
    ]


def test_no_rows_are_a_column_of_no_rows() -> None:
    made = plan(TensorSpec("x", "float32", (1,)))
    (rows,), reasons = batch.tensors(made, [pa.array([], pa.float32())])
    assert (rows, reasons) == ([], [])
    assert batch.column(made, [], []).type == pa.struct(
        [("value", pa.float32()), ("error", pa.string())]
    )


def outputs(spec: TensorSpec, **facts: Any) -> dict[str, Output]:
    signature = Signature((TensorSpec("x", "float32", (1,)),), (spec,))
    given: dict[str, Any] = {"output": None, "threshold": 0.5, "top_k": 5}
    return outputs_of(signature, facts.pop("labels", {}), **{**given, **facts})


@pytest.mark.parametrize("dtype", ["uint64", "complex64"])
def test_an_output_sql_has_no_type_for_is_refused(dtype: str) -> None:
    with pytest.raises(InvalidInput, match=f"is {dtype}, which SQL has no type for"):
        outputs(TensorSpec("y", dtype, (2,)))


def test_text_has_no_class_names() -> None:
    with pytest.raises(InvalidLabels, match="class names need scores"):
        outputs(TensorSpec("y", "string", (2,)), labels={"": ("a", "b")})


def test_what_the_kind_does_not_use_makes_no_other_output() -> None:
    spec = TensorSpec("y", "float32", (2,))
    assert outputs(spec, threshold=0.9, top_k=3) == outputs(spec)
    labelled = {"": ("a", "b")}
    assert outputs(spec, labels=labelled, threshold=0.9) == outputs(spec, labels=labelled)


@pytest.mark.parametrize(
    ("shape", "count"),
    [([None, 3, 4], 12), ([[None, 2], [None, 5]], 5), (None, 0), ([None], 1), ([None, None], 1)],
)
def test_the_elements_of_a_layers_output_are_counted(shape: Any, count: int) -> None:
    assert elements(shape) == count


def hashed(values: Any, kind: pa.DataType) -> list[bytes]:
    return batch.hashes([pa.array(values, kind)], [None] * len(values))


@pytest.mark.parametrize(
    ("kind", "row", "others"),
    [
        (pa.float64(), 1.0, [None, 2.5]),
        (pa.list_(pa.float64()), [1.0, 2.0], [None, [1.0], [], [1.0, 2.0, 3.0]]),
        (pa.list_(pa.float32(), 2), [1.0, 2.0], [None, [2.0, 1.0]]),
        (pa.binary(), b"ab", [None, b"a", b""]),
        (pa.string(), "ab", [None, "a", ""]),
        (pa.list_(pa.list_(pa.int32())), [[1], [2]], [None, [[1, 2]], [[1], [2], []]]),
    ],
    ids=str,
)
def test_a_rows_hash_is_its_own_whatever_stands_beside_it(
    kind: pa.DataType, row: Any, others: list[Any]
) -> None:
    (alone,) = hashed([row], kind)
    among = hashed([others[0], row, *others[1:], row], kind)
    assert (among[1], among[-1]) == (alone, alone)
    assert len(set(among)) == len(others) + 1
    sliced = pa.array([*others, row], kind).slice(len(others))
    assert batch.hashes([sliced], [None]) == [alone]


def test_values_of_different_kinds_and_places_have_different_hashes() -> None:
    ones = [pa.array([1], kind) for kind in (pa.int32(), pa.int64(), pa.float64())]
    assert len({batch.hashes([one], [None])[0] for one in [*ones, pa.array([True])]}) == 4
    split = [[pa.array(["ab"]), pa.array(["c"])], [pa.array(["a"]), pa.array(["bc"])]]
    assert batch.hashes(split[0], [None]) != batch.hashes(split[1], [None])
    assert hashed([0.0], pa.float64()) != hashed([-0.0], pa.float64())
    assert hashed([float("nan")], pa.float64()) == hashed([float("nan")], pa.float64())


def test_a_row_without_a_file_is_not_taken_for_a_null() -> None:
    image = plan(TensorSpec("x", "float32", (8, 8, 3)), Image(), read_paths=True)
    reasons: batch.Reasons = [None, None]
    contents = batch.opened(image, [pa.array(["/no/such/file", None])], reasons)
    first, second = batch.hashes(contents, reasons)
    assert first != second


def test_what_somebodys_own_function_reads_from_a_path_is_not_remembered() -> None:
    spec = TensorSpec("x", "float32", (1,))
    code = plan(spec, Code("import numpy\ndef read(x):\n    return numpy.zeros(1)\n", "read"))
    assert batch.opens_files(code, [pa.array(["/a/file"])])
    assert not batch.opens_files(code, [pa.array([b"bytes"])])
    assert not batch.opens_files(plan(spec), [pa.array(["text"])])
