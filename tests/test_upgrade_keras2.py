"""Each rule for Keras 2 and tf.keras by itself: a layer in, a layer out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasql.registry.errors import NotUnderstood
from kerasql.registry.h5.upgrade import RULES, every_rule, keras2
from kerasql.registry.h5.upgrade.graph import Call, Layer, Model, Ref
from kerasql.registry.h5.upgrade.rule import Facts

Apply = Callable[[Layer, Facts], bool]
TWO = Facts(2)


def layer(class_name: str, **config: Any) -> Layer:
    return Layer(class_name, "layer", "layer", config)


def changed(rule: Apply, one: Layer, facts: Facts = TWO) -> dict[str, Any]:
    """The config after the rule, which must say that it did something."""
    assert rule(one, facts)
    return one.config


def test_every_rule_names_its_source_and_has_a_name_of_its_own() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(rule.source for rule in RULES)


def test_every_rule_that_the_report_names_is_documented() -> None:
    page = (Path(__file__).parent.parent / "docs" / "files.md").read_text()
    rows = [f"| {rule.says} | {rule.source} |" for rule in every_rule() if rule.says]
    assert [row for row in rows if row not in page] == []


def test_every_rule_of_keras_2_is_tested_here() -> None:
    tested = "".join(name for name in globals() if name.startswith("test_"))
    assert [rule.name for rule in keras2.KERAS2 if rule.name not in tested] == []


def test_shapes_that_an_input_layer_says() -> None:
    one = layer("Dense", units=2, batch_input_shape=[None, 3], input_dtype="float32")
    assert changed(keras2.shapes_that_an_input_layer_says, one) == {"units": 2}
    assert not keras2.shapes_that_an_input_layer_says(
        layer("InputLayer", batch_input_shape=[None, 3]), TWO
    )


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ({"class_name": "Policy", "config": {"name": "mixed_float16"}}, {"dtype": "mixed_float16"}),
        (
            {"class_name": "PolicyV1", "config": {"name": "float32", "loss_scale": None}},
            {"dtype": "float32"},
        ),
        ({"class_name": "Policy", "config": {"name": "infer"}}, {}),
        ("infer", {}),
    ],
)
def test_policies_by_name(dtype: Any, expected: dict[str, Any]) -> None:
    assert changed(keras2.policies_by_name, layer("Dense", dtype=dtype)) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("BatchNormalizationV1", "BatchNormalization"),
        ("UnifiedLSTM", "LSTM"),
        ("Convolution2DTranspose", "Conv2DTranspose"),
    ],
)
def test_other_names_of_layers(old: str, new: str) -> None:
    one = layer(old)
    assert keras2.other_names_of_layers(one, TWO)
    assert one.class_name == new
    assert not keras2.other_names_of_layers(layer("Dense"), TWO)


def test_training_only() -> None:
    one = layer(
        "Dense",
        units=2,
        kernel_initializer={"class_name": "Zeros", "config": {"dtype": "float32"}},
        bias_regularizer=None,
        kernel_constraint={"class_name": "MaxNorm", "config": {}},
        trainable=False,
    )
    assert changed(keras2.training_only, one) == {"units": 2, "trainable": False}
    assert not keras2.training_only(layer("Lambda", kernel_initializer="zeros"), TWO)


def test_arguments_without_effect() -> None:
    one = layer("LSTM", units=2, implementation=2, time_major=False)
    assert changed(keras2.arguments_without_effect, one) == {"units": 2}
    one = layer("DepthwiseConv2D", kernel_size=[3, 3], groups=1)
    assert changed(keras2.arguments_without_effect, one) == {"kernel_size": [3, 3]}
    assert not keras2.arguments_without_effect(layer("Conv2D", groups=2), TWO)
    assert not keras2.arguments_without_effect(layer("Conv2DTranspose", groups=2), TWO)


@pytest.mark.parametrize("key", ["activation", "recurrent_activation"])
@pytest.mark.parametrize(
    "written", ["hard_sigmoid", {"class_name": "function", "config": "hard_sigmoid"}]
)
def test_hard_sigmoid(key: str, written: Any) -> None:
    one = layer("LSTM", units=2, **{key: written})
    assert changed(keras2.hard_sigmoid, one)[key] == "kerasql>hard_sigmoid"
    assert not keras2.hard_sigmoid(layer("LSTM", recurrent_activation="sigmoid"), TWO)


def test_activations_of_tensorflow() -> None:
    one = layer("Dense", activation="softmax_v2")
    assert changed(keras2.activations_of_tensorflow, one) == {"activation": "softmax"}
    one = layer("Dense", activation={"class_name": "function", "config": "relu"})
    assert changed(keras2.activations_of_tensorflow, one) == {"activation": "relu"}
    assert not keras2.activations_of_tensorflow(layer("Dense", activation="relu"), TWO)


def test_layers_as_activations() -> None:
    written = {"class_name": "LeakyReLU", "config": {"name": "l", "trainable": True, "alpha": 0.1}}
    one = layer("Dense", activation=written)
    found = changed(keras2.layers_as_activations, one)["activation"]
    assert (found["class_name"], found["config"]) == ("LeakyReLU", {"negative_slope": 0.1})


def test_weighted_activations() -> None:
    activation = {"class_name": "PReLU", "config": {"shared_axes": [1]}}
    model = Model("Sequential", "m", "m", {}, layers=[layer("Conv2D", activation=activation)])
    assert keras2.weighted_activations(model, TWO)
    (parts,) = model.layers
    assert isinstance(parts, Model)
    assert [one.class_name for one in parts.layers] == ["Conv2D", "PReLU"]
    assert "activation" not in parts.layers[0].config


def test_batch_normalization() -> None:
    one = layer("BatchNormalization", axis=[3], fused=True, virtual_batch_size=None)
    assert changed(keras2.batch_normalization, one) == {"axis": 3}
    one = layer("BatchNormalization", renorm=True, renorm_clipping={}, renorm_momentum=0.9)
    assert changed(keras2.batch_normalization, one) == {}
    arrays = [np.zeros(1)] * 7
    assert len(one.convert[0](arrays)) == 4

    one = layer("BatchNormalization", axis=[1, 2], momentum=0.9, epsilon=0.1)
    assert changed(keras2.batch_normalization, one) == {"axis": [1, 2], "epsilon": 0.1}
    assert one.class_name == "AxesNormalization"


def test_embedding_of_integers() -> None:
    assert changed(keras2.embedding_of_integers, layer("Embedding", dtype="int32")) == {}
    assert not keras2.embedding_of_integers(layer("Embedding", dtype="float32"), TWO)


def test_leaky_relu() -> None:
    assert changed(keras2.leaky_relu, layer("LeakyReLU", alpha=0.3)) == {"negative_slope": 0.3}


def test_thresholded_relu() -> None:
    one = layer("ThresholdedReLU", theta=1.5)
    assert changed(keras2.thresholded_relu, one) == {"threshold": 1.5}
    assert one.class_name == "ReLU"


def test_numbers_as_arrays() -> None:
    one = layer("ELU", alpha={"type": "ndarray", "value": 0.5})
    assert changed(keras2.numbers_as_arrays, one) == {"alpha": 0.5}


@pytest.mark.parametrize(("class_name", "gates"), [("CuDNNLSTM", 4), ("CuDNNGRU", 3)])
def test_cudnn(class_name: str, gates: int) -> None:
    """As Keras 2's saving.py turned ordinary weights into CuDNN's, turned back."""
    units, width = 2, 3
    rng = np.random.default_rng(0)
    kernel, recurrent = rng.random((width, gates * units)), rng.random((units, gates * units))
    # CuDNN reads each gate's block of memory as (units, width).
    theirs = [
        np.hstack([k.T.reshape(k.shape) for k in np.split(kernel, gates, 1)]),
        np.hstack([k.T for k in np.split(recurrent, gates, 1)]),
    ]
    bias = rng.random(2 * gates * units)
    one = layer(class_name, units=units)
    config = changed(keras2.cudnn, one)
    assert config["recurrent_activation"] == "sigmoid"
    assert one.class_name == class_name.removeprefix("CuDNN")
    ours = one.convert[0]([*theirs, bias])
    np.testing.assert_array_equal(ours[0], kernel)
    np.testing.assert_array_equal(ours[1], recurrent)
    if gates == 4:
        np.testing.assert_allclose(ours[2], bias[: 4 * units] + bias[4 * units :])
    else:
        assert config["reset_after"] is True
        np.testing.assert_array_equal(ours[2], bias.reshape(2, -1))


def test_gru() -> None:
    assert changed(keras2.gru, layer("GRU", units=2))["reset_after"] is False
    assert not keras2.gru(layer("GRU", reset_after=True), TWO)


def test_stateful() -> None:
    assert changed(keras2.stateful, layer("LSTM", stateful=True)) == {}
    assert not keras2.stateful(layer("LSTM", stateful=False), TWO)


def test_time_major() -> None:
    with pytest.raises(NotUnderstood, match="time_major=True"):
        keras2.time_major(layer("LSTM", time_major=True), TWO)
    assert not keras2.time_major(layer("LSTM", time_major=False), TWO)


def test_initial_state() -> None:
    one = layer("LSTM", units=2)
    x, h, c = (Ref(name, 0, 0) for name in "xhc")
    one.calls = [Call([[x, h, c]])]
    assert keras2.initial_state(one, TWO)
    assert one.calls == [Call([x], {"initial_state": [h, c]})]
    one = layer("RNN", num_constants=1)
    one.calls = [Call([[x, h, c]])]
    with pytest.raises(NotUnderstood, match="constants"):
        keras2.initial_state(one, TWO)


def test_bidirectional() -> None:
    one = layer("Bidirectional")
    one.inner["layer"] = layer("LSTM", go_backwards=True)
    assert keras2.bidirectional(one, TWO)
    assert one.inner["backward_layer"].config == {"go_backwards": False}
    one.inner = {"layer": layer("LSTM", go_backwards=False)}
    assert not keras2.bidirectional(one, TWO)


def test_spatial_dropout() -> None:
    one = layer("SpatialDropout1D", rate=0.5, noise_shape=None, data_format="channels_last")
    assert changed(keras2.spatial_dropout, layer("SpatialDropout2D", noise_shape=[1])) == {}
    keras2.spatial_dropout(one, TWO)
    assert one.config == {"rate": 0.5}


def test_attention_before_masks() -> None:
    old, new = layer("MultiHeadAttention"), layer("MultiHeadAttention")
    assert keras2.attention_before_masks(old, Facts(2, version=(2, 9)))
    assert not keras2.attention_before_masks(new, Facts(2, version=(2, 10)))
    assert (old.unmasked, new.unmasked) == (True, False)


def test_merged_masks() -> None:
    one = layer("Concatenate", axis=-1)
    assert not keras2.merged_masks(one, TWO)
    assert keras2.merged_masks(one, Facts(2, masks=True))
    assert one.class_name == "MaskedConcatenate"


def test_corners_in_place() -> None:
    one = layer("UpSampling2D", interpolation="bilinear")
    assert not keras2.corners_in_place(one, TWO)
    assert keras2.corners_in_place(one, Facts(2, standalone=True))
    assert one.class_name == "CornerUpSampling2D"


def test_time_distributed() -> None:
    one = layer("TimeDistributed")
    assert keras2.time_distributed(one, TWO)
    assert one.class_name == "EveryStep"


def test_attention_dropout() -> None:
    assert changed(keras2.attention_dropout, layer("MultiHeadAttention", dropout=0.1)) == {
        "dropout": 0.0
    }
    assert not keras2.attention_dropout(layer("Dropout", dropout=0.1), TWO)


def test_smooth_upsampling() -> None:
    one = layer("UpSampling2D", interpolation="bilinear")
    assert keras2.smooth_upsampling(one, TWO)
    assert one.class_name == "SmoothUpSampling2D"
    assert not keras2.smooth_upsampling(layer("UpSampling2D", interpolation="nearest"), TWO)


def test_given_function() -> None:
    assert keras2.given_function(layer("Lambda"), TWO)
    assert not keras2.given_function(layer("Dense"), TWO)
