"""Each rule for Keras 1 and Theano on one layer; whole files are compared in test_ages.py."""
# ruff: noqa: E501

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from kerasql.registry.errors import NotUnderstood
from kerasql.registry.h5.upgrade.branches import prepare_keras1
from kerasql.registry.h5.upgrade.channels import CHANNELS_FIRST
from kerasql.registry.h5.upgrade.graph import Call, Layer, Model, Ref, every_layer, parse
from kerasql.registry.h5.upgrade.keras1 import KERAS1, beyond
from kerasql.registry.h5.upgrade.rule import Facts
from kerasql.registry.h5.upgrade.theano import THEANO, flipped_kernels, missing

TENSORFLOW, OF_THEANO = Facts(generation=1), Facts(generation=1, theano=True)
RANDOM = np.random.default_rng(0)


def upgraded(
    class_name: str, config: dict[str, Any], facts: Facts = TENSORFLOW, **given: Any
) -> Layer:
    """The layer after the rules, where it may be a Sequential of what it became."""
    holder = Model(
        "Sequential", "m", "m", {}, layers=[Layer(class_name, "a", "a", config, **given)]
    )
    for layer in reversed(list(every_layer(holder))):
        for rule in (*KERAS1, *THEANO, *CHANNELS_FIRST):
            rule.apply(layer, facts)
    return holder.layers[0]


def converted(layer: Layer, *arrays: np.ndarray) -> list[np.ndarray]:
    given = list(arrays)
    for convert in layer.convert:
        given = convert(given)
    return given


def parts(layer: Layer) -> list[Layer]:
    assert isinstance(layer, Model)
    return layer.layers


def array(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape)


@pytest.mark.parametrize(
    ("class_name", "config", "new_name", "new_config"),
    [
        ("Dense", {"output_dim": 3, "input_dim": 4, "bias": True}, "Dense", {"units": 3, "use_bias": True}),
        ("TimeDistributedDense", {"output_dim": 3, "input_length": 2}, "Dense", {"units": 3}),
        ("Dropout", {"p": 0.5}, "Dropout", {"rate": 0.5}),
        ("SpatialDropout2D", {"p": 0.5, "dim_ordering": "th"}, "SpatialDropout2D", {"rate": 0.5}),
        ("GaussianNoise", {"sigma": 0.1}, "GaussianNoise", {"stddev": 0.1}),
        ("UpSampling1D", {"length": 2}, "UpSampling1D", {"size": 2}),
        ("MaxPooling1D", {"pool_length": 2, "stride": 1, "border_mode": "valid"}, "MaxPooling1D",
         {"pool_size": 2, "strides": 1, "padding": "valid"}),
        ("MaxPooling2D", {"pool_size": [2, 2], "dim_ordering": "th"}, "MaxPooling2D",
         {"pool_size": [2, 2], "data_format": "channels_first"}),
        ("Embedding", {"input_dim": 9, "output_dim": 3, "dropout": 0.2, "init": "uniform"}, "Embedding",
         {"input_dim": 9, "output_dim": 3}),
        ("AtrousConvolution1D", {"nb_filter": 2, "filter_length": 3, "atrous_rate": 2, "subsample_length": 1},
         "Conv1D", {"filters": 2, "kernel_size": 3, "dilation_rate": 2, "strides": 1}),
        ("Convolution2D", {"nb_filter": 2, "nb_row": 3, "nb_col": 1, "subsample": [1, 1], "dim_ordering": "tf"},
         "Conv2D", {"filters": 2, "kernel_size": [3, 1], "strides": [1, 1], "data_format": "channels_last"}),
        ("SimpleRNN", {"output_dim": 2, "inner_init": "orthogonal", "dropout_W": 0.1, "dropout_U": 0.2,
                       "consume_less": "cpu"}, "SimpleRNN",
         {"units": 2, "dropout": 0.1, "recurrent_dropout": 0.2}),
    ],
)  # fmt: skip
def test_names_and_arguments_are_keras_2s(
    class_name: str, config: dict[str, Any], new_name: str, new_config: dict[str, Any]
) -> None:
    layer = upgraded(class_name, config)  # Keras 1.2.2
    assert (layer.class_name, layer.config) == (new_name, new_config)


def test_files_of_keras_2_are_left_alone() -> None:
    config = {"target_shape": [2], "p": 1, "bias": True}
    layer = upgraded("Reshape", copy.deepcopy(config), Facts(generation=2, theano=True))
    assert layer.config == config


def test_kernel_of_conv1d_loses_its_axis_of_one() -> None:
    kernel = array(3, 1, 4, 2)  # Keras 1.1 and 1.2; to 1.0.8 (filters, channels, length, 1)
    layer = upgraded("Convolution1D", {"nb_filter": 2, "filter_length": 3})
    assert np.array_equal(converted(layer, kernel)[0], kernel[:, 0])
    assert np.array_equal(converted(layer, kernel.transpose(3, 2, 0, 1))[0], kernel[:, 0])


@pytest.mark.parametrize(
    ("class_name", "rank", "axes"),
    [("Convolution2D", 2, "oihw->hwio"), ("Convolution3D", 3, "oixyz->xyzio")],
)
def test_kernels_of_th_are_turned(class_name: str, rank: int, axes: str) -> None:
    layer = parts(upgraded(class_name, {"dim_ordering": "th"}))[1]  # Keras 1.2.2
    kernel = array(5, 4, 3, 2, 1)[..., 0] if rank == 2 else array(5, 4, 3, 2, 1)
    assert np.array_equal(converted(layer, kernel)[0], np.einsum(axes, kernel))


@pytest.mark.parametrize(("order", "axes"), [("tf", "hwio->hwoi"), ("th", "oihw->hwoi")])
def test_kernel_of_deconvolution_is_turned(order: str, axes: str) -> None:
    config = {"dim_ordering": order, "nb_row": 3, "nb_col": 3}
    layer = upgraded("Deconvolution2D", config)  # Keras 1.2.2
    layer = layer if order == "tf" else parts(layer)[1]
    kernel = array(3, 3, 4, 5)
    assert np.array_equal(converted(layer, kernel)[0], np.einsum(axes, kernel))


@pytest.mark.parametrize("kernel", range(1, 6))
@pytest.mark.parametrize("stride", range(1, 4))
@pytest.mark.parametrize("same", [True, False])
def test_size_of_deconvolution_is_kept(kernel: int, stride: int, same: bool) -> None:
    for size in range(kernel, 20):
        steps = -(-size // stride) if same else (size - kernel) // stride + 1
        extra = beyond(size, kernel, stride, same)
        half = kernel // 2 if same else 0
        if extra is None:
            whole = steps * stride if same or kernel < stride else (steps - 1) * stride + kernel
        else:
            whole = (steps - 1) * stride + kernel - 2 * half + extra
        assert whole == size


@pytest.mark.parametrize(
    ("class_name", "order", "gates"), [("LSTM", "icfo", "ifco"), ("GRU", "zrh", "zrh")]
)
def test_gates_are_joined(class_name: str, order: str, gates: str) -> None:
    layer = upgraded(class_name, {"output_dim": 2, "consume_less": "cpu"})  # Keras 1.0.7 to 1.2.2
    each = {gate: [array(3, 2), array(2, 2), array(2)] for gate in order}
    found = converted(layer, *[one for gate in order for one in each[gate]])
    for part in range(3):
        expected = np.concatenate([each[gate][part] for gate in gates], axis=-1)
        assert np.array_equal(found[part], expected)
    assert layer.arrays == 3 * len(order)


def test_gates_that_are_one_array_stay() -> None:
    layer = upgraded("LSTM", {"output_dim": 2, "consume_less": "gpu"})  # Keras 1.2.2
    given = [array(3, 8), array(2, 8), array(8)]
    assert all(a is b for a, b in zip(converted(layer, *given), given, strict=True))
    assert layer.arrays == 3


def test_bidirectional_has_the_arrays_of_both() -> None:
    held = Layer("LSTM", "b", "b", {"output_dim": 2})
    layer = upgraded("Bidirectional", {"merge_mode": "sum"}, inner={"layer": held})  # Keras 1.1
    assert (layer.arrays, held.arrays) == (24, 12)


def test_gates_of_conv_lstm_are_turned_and_joined() -> None:
    config = {"nb_filter": 2, "nb_row": 3, "nb_col": 3, "dim_ordering": "th"}
    turn, layer, back = parts(upgraded("ConvLSTM2D", config))  # Keras 1.2.2
    each = [[array(2, 4, 3, 3), array(2, 2, 3, 3), array(2)] for _ in "icfo"]
    kernel, recurrent, bias = converted(layer, *[one for gate in each for one in gate])
    assert (kernel.shape, recurrent.shape, bias.shape) == ((3, 3, 4, 8), (3, 3, 2, 8), (8,))
    assert np.array_equal(kernel[..., 2:4], each[2][0].transpose(2, 3, 1, 0))
    assert (turn.config["dims"], back.config["dims"]) == ([1, 3, 4, 2], [3, 1, 2])


def test_normalisation_by_rows_is_kept() -> None:
    config = {"mode": 1, "epsilon": 0.01, "axis": -1, "momentum": 0.9}
    layer = upgraded("BatchNormalization", config)  # Keras 1.2.2
    given = [array(3) for _ in range(4)]
    assert (layer.class_name, layer.config) == ("SampleNormalization", {"epsilon": 0.01})
    assert len(converted(layer, *given)) == 2
    assert layer.arrays == 4


def test_normalisation_by_the_batch_is_refused() -> None:
    with pytest.raises(NotUnderstood, match="no answer for a row"):
        upgraded("BatchNormalization", {"mode": 2})  # Keras 1.2.2


def test_highway_takes_both_orders_of_arrays() -> None:
    layer = upgraded("Highway", {"activation": "tanh", "bias": True})
    w, carry, b, carry_b = array(3, 3), array(3, 3), array(3), array(3)
    new, old = (w, carry, b, carry_b), (w, b, carry, carry_b)  # Keras 1.2; 1.0 and 1.1
    for given in (new, old):
        assert all(a is b for a, b in zip(converted(layer, *given), new, strict=True))


def test_maxout_is_composed() -> None:
    dense, reshape, _ = parts(upgraded("MaxoutDense", {"output_dim": 2, "nb_feature": 3}))
    weights, bias, x = array(3, 4, 2), array(3, 2), array(5, 4)  # Keras 1.2.2
    kernel, flat = converted(dense, weights, bias)
    found = (x @ kernel + flat).reshape(-1, *reshape.config["target_shape"]).max(1)
    assert np.allclose(found, (np.einsum("bi,fio->bfo", x, weights) + bias).max(1))


@pytest.mark.parametrize(
    ("class_name", "padding", "expected"),
    [
        ("ZeroPadding1D", {"left_pad": 2}, [2, 0]),
        ("ZeroPadding2D", {"top_pad": 1, "right_pad": 3}, [[1, 0], [0, 3]]),
        ("ZeroPadding2D", [1, 2, 3, 4], [[1, 2], [3, 4]]),
        ("ZeroPadding2D", [1, 2], [1, 2]),
    ],
)
def test_paddings_of_each_side(class_name: str, padding: Any, expected: Any) -> None:
    assert upgraded(class_name, {"padding": padding}).config["padding"] == expected  # Keras 1.2.2


@pytest.mark.parametrize(
    ("mode", "class_name", "config"),
    [
        ("sum", "Add", {}),
        ("mul", "Multiply", {}),
        ("ave", "Average", {}),
        ("max", "Maximum", {}),
        ("concat", "Concatenate", {"axis": 1}),
        ("dot", "Dot", {"axes": [1, 2]}),
        ("cos", "Cosine", {}),
    ],
)
def test_merge_is_the_layer_of_its_mode(mode: str, class_name: str, config: Any) -> None:
    given = {"mode": mode, "mode_type": "raw", "concat_axis": 1, "dot_axes": [1, 2]}
    layer = upgraded("Merge", given)  # Keras 1.2.2
    assert (layer.class_name, layer.config) == (class_name, config)


def test_merge_by_a_function_is_refused() -> None:
    with pytest.raises(NotUnderstood, match="Python function"):
        upgraded("Merge", {"mode": "…", "mode_type": "lambda"})


def node(class_name: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": name, **config}}


def test_branches_become_a_graph() -> None:
    left = [node("Dense", "l", batch_input_shape=[None, 3], input_dtype="float32")]
    right = [node("Dense", "r", batch_input_shape=[None, 5], input_dtype="float32")]
    layers = [{"class_name": "Sequential", "config": branch} for branch in (left, right)]
    merge = node("Merge", "m", mode="concat", layers=layers)
    model = parse({"class_name": "Sequential", "config": [merge, node("Dense", "end")]})  # 1.2.2
    prepare_keras1(model, TENSORFLOW, done := {})
    assert model.class_name == "Functional"
    assert [one.name for one in model.layers] == ["l_input", "l", "r_input", "r", "m", "end"]
    assert model.inputs == [Ref("l_input", 0, 0), Ref("r_input", 0, 0)]
    assert model.outputs == [Ref("end", 0, 0)]
    assert model.layers[4].calls[0].args == [[Ref("l", 0, 0), Ref("r", 0, 0)]]
    assert len(done) == 1


def test_inputs_named_after_a_linear_activation_are_found() -> None:
    layers = [
        {**node("InputLayer", "i"), "name": "i", "inbound_nodes": []},
        {
            **node("Activation", "a", activation="linear"),
            "name": "a",
            "inbound_nodes": [[["i", 0, 0]]],
        },
    ]
    config = {"layers": layers, "input_layers": [["a", 0, 0]], "output_layers": [["a", 0, 0]]}
    model = parse({"class_name": "Model", "config": {"name": "m", **config}})  # Keras 1.2.2
    prepare_keras1(model, TENSORFLOW, {})
    assert model.inputs == [Ref("i", 0, 0)]


def test_unsaid_order_of_axes_is_the_neighbours() -> None:
    layers = [node("ZeroPadding2D", "z"), node("Convolution2D", "c", dim_ordering="th")]
    model = parse({"class_name": "Sequential", "config": layers})  # Keras 1.2.2
    prepare_keras1(model, TENSORFLOW, {})
    assert model.layers[0].config["dim_ordering"] == "th"


@pytest.mark.parametrize("size", range(1, 5))
@pytest.mark.parametrize("step", [1, 2])
def test_theano_pads_as_much_in_front_as_behind(size: int, step: int) -> None:
    config = {
        "filter_length": size,
        "nb_filter": 1,
        "border_mode": "same",
        "subsample_length": step,
    }
    layer = upgraded("Convolution1D", config, OF_THEANO)  # Keras 1.2.2
    if size % 2 and step == 1:
        assert layer.config["padding"] == "same"
        return
    zeros, convolution = parts(layer)
    assert zeros.config["padding"] == [size // 2, (size - 1) // 2]
    assert convolution.config["padding"] == "valid"


def test_full_padding() -> None:
    config = {"kernel_size": [2, 3], "padding": "full"}
    zeros, _ = parts(upgraded("Conv2D", config, Facts(generation=2, theano=True)))  # Keras 2.2.4
    assert zeros.config == {"padding": [[1, 1], [2, 2]], "data_format": "channels_last"}


def test_flipped_kernels_are_turned_in_space_only() -> None:
    kernel, bias = array(2, 3, 4, 5), array(5)
    found = flipped_kernels([kernel, bias])  # Keras 2.0 to 2.3, conv_utils.convert_kernel
    assert np.array_equal(found[0], kernel[::-1, ::-1])
    assert found[1] is bias


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("step", [2, 3])
def test_transposed_convolution_of_theano_is_cropped(size: int, step: int) -> None:
    for wanted in range(size, 20):
        steps = (wanted + 2 * (size // 2) - size) // step + 1
        whole = (steps - 1) * step + size + missing(wanted, size, step)
        assert whole - size // 2 == wanted


def test_even_kernels_of_conv_lstm_in_theano_get_a_zero() -> None:
    config = {"filters": 1, "kernel_size": [2, 3], "padding": "same"}
    (layer,) = parts(upgraded("ConvLSTM2D", config, Facts(generation=2, theano=True)))
    kernel = converted(layer, array(2, 3, 1, 4))[0]  # Keras 2.2.4
    assert layer.config["kernel_size"] == [3, 3]
    assert kernel.shape == (3, 3, 1, 4)
    assert not kernel[2].any()


def test_pooling_of_theano() -> None:
    config = {"pool_size": [2, 2], "border_mode": "same", "dim_ordering": "th"}
    layer = upgraded("MaxPooling2D", config, OF_THEANO)  # Keras 1.2.2
    assert layer.class_name == "TheanoPooling"
    assert (layer.config["mode"], layer.config["data_format"]) == ("max", "channels_first")


def test_srelu_of_theano_is_cut() -> None:
    assert upgraded("SReLU", {}, OF_THEANO).config == {"cut_left": True}  # Keras 1.2.2


def test_channels_first_are_turned() -> None:
    config = {"filters": 2, "kernel_size": [3, 3], "data_format": "channels_first"}
    turn, layer, back = parts(upgraded("Conv2D", config, Facts(generation=2)))  # Keras 2.2.4
    assert (turn.config["dims"], back.config["dims"]) == ([2, 3, 1], [3, 1, 2])
    assert layer.config["data_format"] == "channels_last"


@pytest.mark.parametrize(
    ("kwargs", "is_turned"),
    [({"training": False}, True), ({"initial_state": [Ref("x", 0, 0)]}, False)],
)
def test_channels_first_are_turned_where_one_tensor_goes_in(
    kwargs: dict[str, Any], is_turned: bool
) -> None:
    config = {"filters": 2, "kernel_size": [3, 3], "data_format": "channels_first"}
    calls = [Call([Ref("a", 0, 0)], kwargs)]
    layer = upgraded("ConvLSTM2D", config, Facts(generation=2), calls=calls)
    assert isinstance(layer, Model) == is_turned
    assert layer.calls == calls
