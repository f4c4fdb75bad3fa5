"""TensorFlow's operators between layers: what a file writes, and what a Keras 3 graph computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasql.registry.errors import NotUnderstood
from kerasql.registry.h5.upgrade.graph import Call, Layer, Ref
from kerasql.registry.h5.upgrade.operators import OPERATORS, TF_NODE_OPS, TF_OPERATORS, typed
from kerasql.registry.h5.upgrade.rule import Facts

X, Y = Ref("x", 0, 0), Ref("y", 0, 0)


def upgraded(class_name: str, config: dict[str, Any], call: Call) -> Layer:
    """A layer after all the rules."""
    layer = Layer(class_name, "step", "step", config, calls=[call])
    for rule in OPERATORS:
        rule.apply(layer, Facts(2))
    return layer


def function(called: str, *args: Any, **kwargs: Any) -> Layer:
    return upgraded("TFOpLambda", {"function": called}, Call(list(args), kwargs))


def node(op: str, args: Any, constants: dict[str, Any] | None = None, **attr: Any) -> Layer:
    node_def = {"name": "n", "op": op, "input": [], "attr": attr}
    config = {"node_def": node_def, "constants": constants or {}, "dtype": "float32"}
    return upgraded("TensorFlowOpLayer", config, Call([args]))


def test_a_function_becomes_an_operator_without_its_name() -> None:
    layer = function("math.multiply", X, y=2.0, name=None)
    assert (layer.class_name, layer.config) == ("operator", {"operator": "math.multiply"})
    assert layer.calls == [Call([X], {"y": 2.0})]


def test_constants_that_are_text_stay_as_they_are() -> None:
    """As NumPy's text each would be as long as the longest."""
    assert typed(["a", "b" * 1000], "str_") == ["a", "b" * 1000]
    assert typed([1, 2], "int8").dtype == "int8"


def test_dropout_of_nothing_passes_on() -> None:
    assert function("nn.dropout", X, rate=0.0).config == {"operator": "identity"}


def test_a_function_of_a_list_of_one_keeps_the_list() -> None:
    assert function("concat", X, axis=1).calls == [Call([[X]], {"axis": 1})]


def test_marks_of_json_become_plain_values() -> None:
    spec = [{"start": None, "stop": 2, "step": None}, {"class_name": "__ellipsis__"}, None]
    call = Call([X], {"slice_spec": spec})
    layer = upgraded("SlicingOpLambda", {"function": "__operators__.getitem"}, call)
    assert layer.calls[0].kwargs["slice_spec"] == [spec[0], "...", None]
    shape = {"class_name": "TensorShape", "items": [2, 3]}
    assert function("reshape", X, shape=shape).calls[0].kwargs == {"shape": [2, 3]}


@pytest.mark.parametrize("name", ["io.read_file", "py_function", "numpy_function", "print", None])
def test_a_function_that_does_more_than_compute_is_refused(name: Any) -> None:
    with pytest.raises(NotUnderstood, match="only compute"):
        function(name, X)


@pytest.mark.parametrize("name", ["random.normal", "nn.dropout"])
def test_random_numbers_are_refused(name: str) -> None:
    with pytest.raises(NotUnderstood, match="random numbers"):
        function(name, X)


@pytest.mark.parametrize("name", ["__operators__.eq", "einsum", "meshgrid"])
def test_arguments_that_tf_keras_lost_are_named(name: str) -> None:
    with pytest.raises(NotUnderstood, match="left out"):
        function(name, X)
    assert function("__operators__.eq", X, other=Y).calls == [Call([X], {"other": Y})]


def test_a_node_takes_its_constants_where_they_stood() -> None:
    layer = node(
        "ConcatV2",
        [X, Y],
        {"2": 1},
        N={"i": "2"},
        T={"type": "DT_FLOAT"},
        Tidx={"type": "DT_INT32"},
    )
    assert layer.config == {"operator": "raw_ops.ConcatV2"}
    assert layer.calls[0].kwargs["values"] == [X, Y]
    assert layer.calls[0].kwargs["axis"].dtype == np.int32


def test_a_constant_has_the_dtype_it_had() -> None:
    layer = node("Mul", X, {"1": 2}, T={"type": "DT_HALF"})
    assert layer.calls[0].kwargs["y"].dtype == np.float16


def test_attributes_are_decoded_and_renamed() -> None:
    layer = node("Squeeze", X, squeeze_dims={"list": {"i": ["1", "2"]}}, T={"type": "DT_FLOAT"})
    assert layer.calls == [Call([], {"input": X, "axis": [1, 2]})]
    padding = {"padding": {"s": "U0FNRQ=="}, "ksize": {"list": {"i": ["1", "2", "2", "1"]}}}
    kwargs = node("MaxPool", X, **padding).calls[0].kwargs
    assert kwargs == {"input": X, "padding": "SAME", "ksize": [1, 2, 2, 1]}
    assert node("Cast", X, DstT={"type": "DT_FLOAT"}).calls[0].kwargs["DstT"] == "float32"


def test_a_node_that_does_more_than_compute_is_refused() -> None:
    for op in ("ReadFile", "PyFunc", "RandomUniform", "Print", ["Mul"]):
        with pytest.raises(NotUnderstood):
            node(op, X)  # type: ignore[arg-type]


def test_ragged_methods_are_refused() -> None:
    with pytest.raises(NotUnderstood, match="ragged"):
        upgraded("ClassMethod", {"cls_symbol": "RaggedTensor"}, Call([X]))


def test_no_name_reaches_files_code_or_chance() -> None:
    words = ("read", "write", "file", "py_f", "numpy_f", "print", "random", "dropout", "map_fn")
    allowed = {name for name in TF_OPERATORS | TF_NODE_OPS if any(w in name.lower() for w in words)}
    assert not allowed


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the process below, which imports TensorFlow, found."""
    found = tmp_path_factory.mktemp("operators") / "found.json"
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run([sys.executable, __file__, found], check=True, env=environment)
    answer: dict[str, Any] = json.loads(found.read_text())
    return answer


def test_operations_are_exactly_the_names_that_files_may_give(computed: dict[str, Any]) -> None:
    assert set(computed["names"]) == TF_OPERATORS | {f"raw_ops.{op}" for op in TF_NODE_OPS}


def test_tensorflow_has_every_function(computed: dict[str, Any]) -> None:
    assert computed["missing"] == []


def test_declared_arguments_are_those_of_the_raw_operations(computed: dict[str, Any]) -> None:
    assert computed["undeclared"] == []


def test_a_graph_computes_what_tensorflow_does(computed: dict[str, Any]) -> None:
    assert computed["differences"]
    assert max(computed["differences"].values()) == 0.0


def test_known_lengths_survive_a_shape_taken_apart(computed: dict[str, Any]) -> None:
    assert computed["lengths"] == [None, 6, 4]


def test_a_saved_graph_computes_the_same(computed: dict[str, Any]) -> None:
    assert computed["saved"] == 0.0


def examples() -> dict[str, tuple[Any, Any]]:
    """By name: a graph of our operators, and TensorFlow's own function; both of one (n, 6, 4)."""
    import tensorflow as tf

    from kerasql.registry.h5.operations import OPERATIONS as OPS

    first = {"slice_spec": [{"start": None, "stop": None, "step": 2}, "...", None, 1]}
    ones = np.ones((4, 2), "float32")
    return {
        "add": (lambda x: OPS["__operators__.add"](x, y=2.0), lambda x: x + 2.0),
        "subtract": (lambda x: OPS["math.subtract"](1.0, y=x), lambda x: 1.0 - x),
        "getitem": (
            lambda x: OPS["__operators__.getitem"](x, **first),
            lambda x: x[::2, ..., tf.newaxis, 1],
        ),
        "new axis": (lambda x: OPS["__operators__.getitem"](x), lambda x: x[tf.newaxis]),
        "concat": (lambda x: OPS["concat"]([x, x], axis=-1), lambda x: tf.concat([x, x], -1)),
        "split": (
            lambda x: OPS["split"](x, num_or_size_splits=2, axis=1)[1],
            lambda x: tf.split(x, 2, 1)[1],
        ),
        "cast": (
            lambda x: OPS["cast"](OPS["cast"](x, dtype="int32"), dtype="float32"),
            lambda x: tf.cast(tf.cast(x, "int32"), "float32"),
        ),
        "fill": (
            lambda x: OPS["fill"](OPS["__operators__.getitem"](OPS["shape"](x), 0), value=1.0),
            lambda x: tf.fill([tf.shape(x)[0]], 1.0),
        ),
        "squeeze": (
            lambda x: OPS["squeeze"](OPS["expand_dims"](x, axis=1)),
            lambda x: x,
        ),
        "top_k": (lambda x: OPS["math.top_k"](x, k=2)[0], lambda x: tf.math.top_k(x, 2)[0]),
        "flatten": (
            lambda x: OPS["keras.backend.batch_flatten"](x),
            lambda x: tf.reshape(x, (-1, 24)),
        ),
        "tensordot": (
            lambda x: OPS["tensordot"](x, b=ones.tolist(), axes=1),
            lambda x: tf.tensordot(x, ones, 1),
        ),
        "node": (
            lambda x: OPS["raw_ops.Mean"](input=x, axis=np.array([1]), keep_dims=True),
            lambda x: tf.reduce_mean(x, [1], True),
        ),
    }


def main(target: Path) -> None:
    """Compare with TensorFlow, and write what was found."""
    import inspect

    import keras
    import tensorflow as tf

    from kerasql.registry.h5.operations import OPERATIONS
    from kerasql.registry.tensorflow_names import NODES
    from kerasql.registry.tensorflow_steps import function_named

    def missing(name: str) -> bool:
        try:
            return not callable(function_named(name))
        except AttributeError:
            return True

    undeclared = []
    for op, declared in NODES.items():
        inputs, _, others = declared.partition("|")
        names = [one.strip("*").partition(":")[0] for one in inputs.split()]
        names += [one.rpartition("=")[2] for one in others.split()]
        if set(names) - set(inspect.signature(getattr(tf.raw_ops, op)).parameters):
            undeclared.append(op)
    given = np.random.default_rng(3).normal(size=(5, 6, 4)).astype("float32")
    x = keras.Input((6, 4))
    made = {name: keras.Model(x, ours(x)) for name, (ours, _) in examples().items()}
    differences = {
        name: float(np.abs(made[name](given) - theirs(tf.constant(given))).max())
        for name, (_, theirs) in examples().items()
    }
    lengths = OPERATIONS["shape"](x)
    pieces = [OPERATIONS["__operators__.getitem"](lengths, n) for n in range(3)]
    again = OPERATIONS["reshape"](x, shape=OPERATIONS["stack"](pieces))
    path = target.with_suffix(".keras")
    made["getitem"].save(path)
    saved = keras.saving.load_model(path)(given) - made["getitem"](given)
    found = {
        "names": sorted(OPERATIONS),
        "missing": [name for name in OPERATIONS if missing(name)],
        "undeclared": undeclared,
        "differences": differences,
        "lengths": list(again.shape),
        "saved": float(np.abs(saved).max()),
    }
    target.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
