"""What the audit lets through: Keras' own of every age, and what trusted code defines."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest
from tests.hostile import Traps, dense, function, graph, keras_1_lambda, lambda_, layer, sequential

from kerasql.registry.errors import RefusedFile
from kerasql.registry.h5 import allowed, allowed_old
from kerasql.registry.h5.audit import CLASSES, NEVER, audit, lambda_names
from kerasql.registry.tensorflow_names import TF_NODE_OPS, TF_OPERATORS

TRAPS = Traps(Path("marker"), Path("secret"), "http://localhost/")


def listed(class_name: str, **config: Any) -> dict[str, Any]:
    """A Sequential as Keras 1 and 2 wrote it."""
    inner = {"class_name": class_name, "config": {"name": "l", **config}}
    return {"class_name": "Sequential", "config": [inner]}


def operator(name: str, **more: Any) -> dict[str, Any]:
    """A step of a tf.keras graph."""
    step = {"name": f"tf.{name}", "trainable": True, "dtype": "float32", "function": name}
    module = "tf_keras.src.layers.core.tf_op_layer"
    return sequential(
        {"class_name": "TFOpLambda", "config": step, "module": module, **more},
    )


@pytest.mark.parametrize(
    "config",
    [
        listed("Convolution2D", nb_filter=8, init="glorot_uniform", dim_ordering="th"),
        listed(
            "Dense", init="he_normal", activation="linear", W_regularizer=None, b_constraint=None
        ),
        listed("Dense", W_regularizer={"name": "WeightRegularizer", "l1": 0.0, "l2": 0.01}),
        listed("Dense", W_constraint={"name": "maxnorm", "m": 2}, activity_regularizer=None),
        listed("LSTM", inner_init="orthogonal", forget_bias_init="one", inner_activation="tanh"),
        listed("BatchNormalization", mode=0, beta_init="zero", gamma_init="one"),
        listed("Merge", mode="concat", concat_axis=-1, layers=[listed("Dense")], arguments={}),
        listed("Merge", mode="sum", output_shape=[None, 3], output_shape_type="raw"),
        listed("TimeDistributedDense", output_dim=3),
        layer("CuDNNLSTM", kernel_initializer={"class_name": "VarianceScaling", "config": {}}),
        layer("LocallyConnected1D", activation="softmax_v2"),
        layer("ThresholdedReLU", theta=1.0),
        layer("BatchNormalizationV1", beta_initializer={"class_name": "Zeros", "config": {}}),
        layer("SyncBatchNormalization"),
        layer("Custom>CustomScaleLayer"),
        layer("SlicingOpLambda", function="__operators__.getitem"),
        operator("math.multiply"),
        operator("compat.v1.transpose", registered_name="TFOpLambda"),
        layer("TensorFlowOpLayer", node_def=json.dumps({"name": "m", "op": "Mul"})),
        layer("TensorFlowOpLayer", node_def={"name": "m", "op": "Mul"}, constants={"1": 127.5}),
        graph([[["row", 0, 0, {"slice_spec": [{"start": None, "stop": 2, "step": None}]}]]]),
        graph([{"args": [{"class_name": "__slice__", "config": {"start": None}}], "kwargs": {}}]),
        dense(module="keras.layers", registered_name=None),
        dense(module="keras.src.layers.core.dense", registered_name="Dense"),
        sequential({"class_name": "Add", "module": "keras.src.ops.numpy", "config": {}}),
        layer("Activation", activation=function("relu", "keras.ops", registered_name="relu")),
        layer("Activation", activation="hard_sigmoid"),
        layer("Dense", dtype={"class_name": "Policy", "config": {"name": "mixed_float16"}}),
        layer("TextVectorization", standardize="lower", split="whitespace", vocabulary=["a/../b"]),
        layer("EinsumDense", equation="...x,xy->...y"),
        {"class_name": "Model", "config": {"name": "m", "layers": []}},
        sequential(sequential() | {"compile_config": {"loss": {"class_name": "Huber"}}}),
    ],
)
def test_what_keras_of_any_age_writes_passes(config: dict[str, Any]) -> None:
    audit("m.h5", config)


def test_real_files_pass_or_are_refused_for_their_own_layers(data: Path) -> None:
    sentences = {}
    for path in sorted((data / "h5").glob("*.h5")):
        with h5py.File(path) as file:
            config = json.loads(file.attrs["model_config"])
        try:
            audit(path.name, config)
        except RefusedFile as error:
            sentences[path.name] = str(error)
    assert set(sentences) == {
        "k1_1_2_carnd_steering_lambda.h5",
        "tf2_2_4_garnet_1layer_custom.h5",
    }
    assert "def lambda_1(x): …" in sentences["k1_1_2_carnd_steering_lambda.h5"]
    assert "defines class GarNet" in sentences["tf2_2_4_garnet_1layer_custom.h5"]


def test_the_networks_of_the_tests_pass(networks: Path) -> None:
    for path in sorted(networks.glob("*.keras")):
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
        audit(path.name, config, defines=frozenset(["Scale", "double_relu"]))


def test_a_custom_layer_says_how_to_give_its_source() -> None:
    with pytest.raises(RefusedFile) as refused:
        audit("m.h5", layer("GarNet"))
    assert str(refused.value) == (
        "m.h5 cannot be registered: layers[1].class_name = 'GarNet' is not one of Keras' own "
        "layers; give its source: code='file.py' that defines class GarNet, and trust_code=True "
        "(--code file.py --trust-code), or rebuild the model from built-in layers"
    )


def test_a_lambda_says_how_to_give_its_function() -> None:
    with pytest.raises(RefusedFile) as refused:
        audit("m.h5", keras_1_lambda(TRAPS))
    assert str(refused.value) == (
        "m.h5 cannot be registered: layers[0].class_name = 'Lambda' (the layer 'trap'): its "
        "function is bytecode, which is never run; give its source: code='file.py' with "
        "`def trap(x): …` and trust_code=True (--code file.py --trust-code)"
    )


@pytest.mark.parametrize(
    "config",
    [
        layer("GarNet"),
        layer("Custom>GarNet"),
        sequential(
            {
                "class_name": "GarNet",
                "module": "__main__",
                "registered_name": "Package>GarNet",
                "config": {},
            }
        ),
        layer("Dense", activation="GarNet"),
        layer("Dense", activation=function("GarNet", "my.module", registered_name="GarNet")),
        layer("Dense", kernel_initializer={"class_name": "GarNet", "config": {}}),
        layer("Dense", kernel_regularizer="GarNet"),
        layer("TimeDistributed", layer={"class_name": "GarNet", "config": {}}),
        {"class_name": "GarNet", "config": {}},
    ],
)
def test_what_trusted_code_defines_passes(config: dict[str, Any]) -> None:
    audit("m.h5", config, defines=frozenset(["GarNet"]))
    with pytest.raises(RefusedFile):
        audit("m.h5", config, defines=frozenset(["Other"]))


@pytest.mark.parametrize("name", sorted(NEVER))
def test_trusted_code_does_not_make_what_runs_code_acceptable(name: str) -> None:
    with pytest.raises(RefusedFile, match=f"class_name = '{name}'"):
        audit("m.h5", layer(name), defines=frozenset([name]))


def test_trusted_code_is_not_asked_under_another_name() -> None:
    hidden = sequential({"class_name": "GarNet", "registered_name": "a>Dense", "config": {}})
    with pytest.raises(RefusedFile, match="registered_name = 'a>Dense' is not what 'GarNet' is"):
        audit("m.h5", hidden, defines=frozenset(["GarNet", "Lambda"]))


def test_a_lambda_passes_when_trusted_code_defines_its_layers_name() -> None:
    config = sequential(lambda_(TRAPS, output_shape=[TRAPS.bytecode, None, None]))
    audit("m.h5", config, defines=frozenset(["trap"]))
    for other in ("Lambda", "function", "other"):
        with pytest.raises(RefusedFile, match="'Lambda'"):
            audit("m.h5", config, defines=frozenset([other]))


def test_what_else_a_lambda_holds_is_audited_although_its_function_is_given() -> None:
    config = sequential(lambda_(TRAPS, arguments={"f": lambda_(TRAPS)["config"] | {"x": "/etc"}}))
    with pytest.raises(RefusedFile, match="arguments.f.x = '/etc' names a file"):
        audit("m.h5", config, defines=frozenset(["trap"]))


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"name": "lambda_1", "function": ["4wEA", None, None]}, ("lambda_1",)),
        ({"name": "lambda"}, ("lambda_",)),
        ({"name": "scale-it"}, ("scale_it",)),
        ({"name": "7th"}, ("_7th",)),
        ({"name": "l", "function": "resize", "function_type": "function"}, ("resize", "l")),
        ({"name": "l", "function": function("resize")}, ("resize", "l")),
        ({"name": ["x"], "function": 3}, ()),
        ("text", ()),
    ],
)
def test_a_lambdas_function_may_be_given_by_names_that_python_can_define(
    config: Any, names: tuple[str, ...]
) -> None:
    assert lambda_names(config) == names
    assert all(compile(f"def {name}(x): return x", "", "exec") for name in names)


@pytest.mark.parametrize(
    "config", [None, [], "x", 3, {}, {"config": {}}, [{"class_name": "Dense"}]]
)
def test_a_config_that_is_no_model_is_refused(config: Any) -> None:
    with pytest.raises(RefusedFile, match="names no model"):
        audit("m.h5", config)


def test_the_audit_takes_time_in_proportion() -> None:
    """A hundred thousand layers in seconds, and a million words of a vocabulary."""
    wide = sequential(*[{"class_name": "Dense", "config": {"units": 1}}] * 100_000)
    words = layer("StringLookup", vocabulary=["word"] * 1_000_000)
    started = time.perf_counter()
    audit("m.h5", wide)
    audit("m.h5", words)
    assert time.perf_counter() - started < 20


def test_more_values_than_any_architecture_has_are_refused() -> None:
    with pytest.raises(RefusedFile, match="one of more than 5,000,000 values"):
        audit("m.h5", layer("StringLookup", vocabulary=[0] * 5_000_001))


def test_no_list_names_what_runs_code() -> None:
    known = CLASSES - {"Lambda"}
    assert not known & set(NEVER)
    assert not known & {"Lambda", "Layer", "Wrapper", "Map", "Scan", "WhileLoop", "Cond"}
    forbidden = (
        "io.",
        "raw_ops",
        "py_func",
        "numpy_func",
        "load_",
        "saved_model",
        "print",
        "debug",
    )
    forbidden += ("read", "write", "config", "experimental", "while_loop", "map_fn", "cond", "_fn")
    forbidden += ("switch_case", "function", "audio.decode", "image.decode", "save", "data.")
    for name in TF_OPERATORS | TF_NODE_OPS:
        assert not any(word in name.lower() for word in forbidden), name


def test_the_old_list_names_only_what_todays_keras_has_not() -> None:
    for kind in ("LAYERS", "INITIALIZERS", "REGULARIZERS", "CONSTRAINTS", "ACTIVATIONS"):
        assert not getattr(allowed, kind) & getattr(allowed_old, kind), kind


def test_the_allow_list_names_what_the_installed_keras_has() -> None:
    """Compared in a process of its own, which imports Keras."""
    code = """
import importlib, inspect, json, keras
from keras.src.activations import ALL_OBJECTS_DICT
from keras.src.ops.operation import Operation
def names(space, base):
    found = [n for n in dir(space) if inspect.isclass(getattr(space, n))]
    return sorted(n for n in found if issubclass(getattr(space, n), base))
def operations():
    found = set()
    for name in ("numpy", "nn", "math", "image", "linalg", "core"):
        module = importlib.import_module(f"keras.src.ops.{name}")
        for one, value in vars(module).items():
            if inspect.isclass(value) and issubclass(value, Operation) and value is not Operation:
                if value.__module__ == module.__name__:
                    found.add(one)
    return sorted(found)
policies = (keras.DTypePolicy, keras.dtype_policies.DTypePolicyMap)
print(json.dumps({
    "LAYERS": names(keras.layers, keras.layers.Layer),
    "INITIALIZERS": names(keras.initializers, keras.initializers.Initializer),
    "REGULARIZERS": names(keras.regularizers, keras.regularizers.Regularizer),
    "CONSTRAINTS": names(keras.constraints, keras.constraints.Constraint),
    "POLICIES": names(keras.dtype_policies, policies),
    "ACTIVATIONS": sorted(ALL_OBJECTS_DICT),
    "OPERATIONS": operations(),
}))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    installed = {
        kind: set(names) for kind, names in json.loads(said.stdout.splitlines()[-1]).items()
    }
    unsafe = {
        *("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"),
        *("Layer", "Wrapper"),
        # These take functions.
        *("AssociativeScan", "Cond", "ForiLoop", "JVP", "Map", "Scan", "Switch"),
        *("VectorizedMap", "WhileLoop"),
        # Quantized models are not served.
        *("QuantizedDTypePolicy", "QuantizedFloat8DTypePolicy", "GPTQDTypePolicy"),
        *("AWQDTypePolicy", "Int4DTypePolicy"),
    }
    extra = {
        "LAYERS": {"Sequential", "Functional", "Model"},
        "ACTIVATIONS": {"hard_swish", "swish"},
        "POLICIES": {"Policy", "PolicyV1"},
    }
    for kind, names in installed.items():
        assert getattr(allowed, kind) == names - unsafe | extra.get(kind, set()), kind


def test_code_cannot_take_over_what_holds_functions_and_models() -> None:
    """A Lambda may be called ``function``; the code for it must not open every function."""
    evil = layer("Dense", activation={"class_name": "function", "config": "plot_model"})
    taken = frozenset(["function", "Sequential", "__tuple__"])
    with pytest.raises(RefusedFile, match="plot_model"):
        audit("m.h5", evil, defines=taken)
    assert lambda_names({"name": "function"}) == ("function_",)


def test_a_function_that_keras_3_registered_passes_with_its_source() -> None:
    function = {"class_name": "function", "config": "pack>act", "registered_name": "function"}
    config = layer("Dense", activation={**function, "module": "builtins"})
    audit("m.h5", config, defines=frozenset(["act"]))
    with pytest.raises(RefusedFile, match="pack>act"):
        audit("m.h5", config)


def test_a_layer_may_be_called_like_a_path() -> None:
    """As converters from ONNX call them."""
    audit("m.h5", layer("Dense", name="/model/conv"))


def test_names_that_only_kerasql_writes_are_refused() -> None:
    with pytest.raises(RefusedFile, match="only kerasql itself writes"):
        audit("m.h5", layer("Dense", units="kerasql>Operator"))
