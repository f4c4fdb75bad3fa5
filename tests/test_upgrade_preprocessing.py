"""tf.keras' preprocessing and attention layers as Keras 3 names and calls them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kerasql.registry.errors import NotUnderstood
from kerasql.registry.h5.upgrade.graph import Call, Layer, Ref
from kerasql.registry.h5.upgrade.preprocessing import NO_SALT, PREPROCESSING
from kerasql.registry.h5.upgrade.rule import Facts

WORDS = {"vocabulary": ["a", "b"]}


def upgraded(class_name: str, *, version: tuple[int, ...] = (2, 15), **config: Any) -> Layer:
    """A layer after all the rules."""
    layer = Layer(class_name, "one", "one", config, calls=[Call([Ref("x", 0, 0)])])
    for rule in PREPROCESSING:
        rule.apply(layer, Facts(2, version=version))
    return layer


def test_old_names_of_arguments_become_the_new_ones() -> None:
    layer = upgraded("CategoryEncoding", max_tokens=6, output_mode="binary")
    assert layer.config == {"num_tokens": 6, "output_mode": "multi_hot"}
    assert upgraded("Discretization", bins=[0.0, 1.0]).config == {"bin_boundaries": [0.0, 1.0]}
    lookup = upgraded("IntegerLookup", max_values=9, oov_value=-1, mask_value=0, vocabulary=[1])
    expected = {"max_tokens": 9, "oov_token": -1, "mask_token": 0, "vocabulary": [1]}
    assert lookup.config == expected


def test_an_argument_under_both_names_keeps_the_new_one() -> None:
    assert upgraded("CategoryEncoding", max_tokens=6, num_tokens=7).config == {"num_tokens": 7}


def test_what_only_described_a_layer_is_dropped() -> None:
    shapes = {"query_shape": [None, 2], "key_shape": None, "softmax_robust_masking": False}
    assert upgraded("MultiHeadAttention", num_heads=2, **shapes).config == {"num_heads": 2}
    assert upgraded("RandomFlip", mode="horizontal", rng_type=None).config == {"mode": "horizontal"}
    assert upgraded("TextVectorization", **WORDS, vocabulary_size=4).config == WORDS


def test_tf_idf_is_spelled_with_an_underscore() -> None:
    layer = upgraded("TextVectorization", output_mode="tf-idf", idf_weights=[1.0, 2.0], **WORDS)
    assert layer.config["output_mode"] == "tf_idf"


def test_weights_of_tf_idf_come_from_the_config() -> None:
    layer = upgraded("StringLookup", output_mode="tf_idf", idf_weights=[1.0, 2.0], **WORDS)
    assert layer.arrays == 0
    assert layer.convert[0]([np.ones(3)]) == []


def test_the_dtype_of_encoded_rows_is_keras_own() -> None:
    assert upgraded("Hashing", num_bins=3, dtype="float32").config == {"num_bins": 3}
    assert upgraded("Rescaling", dtype="float32").config == {"dtype": "float32"}


def test_sparse_answers_become_rows() -> None:
    assert upgraded("StringLookup", sparse=True, **WORDS).config == WORDS


def test_random_sizes_pass_on() -> None:
    layer = upgraded("RandomHeight", factor=0.2)
    assert (layer.class_name, layer.config) == ("Identity", {})


def test_random_crop_is_what_it_was_in_predictions() -> None:
    new = upgraded("RandomCrop", height=4, width=5, seed=None, version=(2, 15, 0))
    assert new.class_name == "Resizing"
    assert new.config == {"height": 4, "width": 5, "crop_to_aspect_ratio": True}
    old = upgraded("RandomCrop", height=4, width=5, seed=None, version=(2, 4, 0))
    assert (old.class_name, old.config) == ("ResizedCrop", {"height": 4, "width": 5})


def test_the_salt_that_stood_for_none_is_none() -> None:
    assert upgraded("Hashing", num_bins=3, salt=list(NO_SALT)).config["salt"] is None
    assert upgraded("Hashing", num_bins=3, salt=[1, 2]).config["salt"] == [1, 2]


@pytest.mark.parametrize("class_name", ["IntegerLookup", "StringLookup", "TextVectorization"])
def test_a_vocabulary_that_the_file_lacks_is_named(class_name: str) -> None:
    with pytest.raises(NotUnderstood, match="does not hold the vocabulary"):
        upgraded(class_name, vocabulary=None)


@pytest.mark.parametrize("class_name", ["StringLookup", "TextVectorization"])
def test_a_vocabulary_is_never_read_from_a_path(class_name: str) -> None:
    with pytest.raises(NotUnderstood, match="file's name"):
        upgraded(class_name, vocabulary="/etc/passwd")


def test_what_keras_3_cannot_compute_is_refused() -> None:
    with pytest.raises(NotUnderstood, match="gaussian"):
        upgraded("Resizing", height=2, width=2, interpolation="gaussian")
    with pytest.raises(NotUnderstood, match="joins texts"):
        upgraded("CategoryCrossing")


def test_causal_attention_is_an_argument_of_the_call() -> None:
    layer = upgraded("Attention", causal=True, use_scale=False)
    assert layer.config == {"use_scale": False}
    assert layer.calls[0].kwargs == {"use_causal_mask": True}
    assert upgraded("AdditiveAttention", causal=False).calls[0].kwargs == {}


def test_the_vector_of_a_spectral_normalization_comes_second() -> None:
    kernel, bias, vector = np.ones((4, 3)), np.ones(3), np.ones((1, 3))
    convert = upgraded("SpectralNormalization").convert[0]
    assert convert([kernel, bias, vector]) == [kernel, vector, bias]
    assert convert([kernel, vector]) == [kernel, vector]


def test_random_fourier_features_are_a_dense_layer() -> None:
    layer = upgraded("RandomFourierFeatures", output_dim=6, kernel_initializer="gaussian", scale=2)
    assert layer.class_name == "Dense"
    assert layer.config == {"units": 6, "activation": "kerasql>cos"}
    kernel, bias = layer.convert[0]([np.array([2.0]), np.full((4, 6), 3.0), np.zeros(6)])
    assert np.all(kernel == 1.5)
    assert bias.shape == (6,)


def test_every_rule_has_a_source() -> None:
    assert all(rule.source for rule in PREPROCESSING)
