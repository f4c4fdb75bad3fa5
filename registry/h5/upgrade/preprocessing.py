"""tf.keras' preprocessing and attention layers, as Keras 3 names and calls them.

tf.keras never wrote a vocabulary that was learned with ``adapt`` into a ``.h5`` file (it stops with
"'VocabWeightHandler' object has no attribute 'dtype'"); one given as an argument is in the config.
"""

from __future__ import annotations

import numpy as np

from kerasql.registry.errors import NotUnderstood
from kerasql.registry.h5.upgrade.graph import Layer
from kerasql.registry.h5.upgrade.rule import Facts, Rule, rule

PREPROCESSING: list[Rule] = []

LOOKUPS = ("IntegerLookup", "StringLookup")
ENCODERS = (
    *LOOKUPS,
    "CategoryEncoding",
    "Discretization",
    "HashedCrossing",
    "Hashing",
    "TextVectorization",
)
"""Layers with an output_mode."""

OUTPUT_MODES = {"binary": "multi_hot", "tf-idf": "tf_idf"}
"""As tf.keras to 2.5 called them -> as they are called since."""

RENAMED = {
    "CategoryEncoding": {"max_tokens": "num_tokens"},
    "Discretization": {"bins": "bin_boundaries"},
    "IntegerLookup": {"max_values": "max_tokens", "oov_value": "oov_token"}
    | {"mask_value": "mask_token"},
}
"""Arguments of tf.keras 2.3 to 2.5 -> their names since 2.6, by class."""

GONE = {
    "Hashing": ("strong",),
    "IntegerLookup": ("vocabulary_size", "has_static_table"),
    "MultiHeadAttention": ("query_shape", "key_shape", "value_shape", "softmax_robust_masking"),
    "Normalization": ("batch_input_shape",),
    "StringLookup": ("vocabulary_size", "has_static_table"),
    "TextVectorization": ("vocabulary_size", "has_input_vocabulary"),
}
"""Arguments that change no number, by class."""


@rule("", source="tf.keras 2.6 renamed arguments of its preprocessing layers", into=PREPROCESSING)
def preprocessing_arguments(layer: Layer, facts: Facts) -> bool:
    """Old names of arguments, and those that only described the layer."""
    renamed = RENAMED.get(layer.class_name, {}).items()
    found = [(old, new) for old, new in renamed if old in layer.config]
    for old, new in found:
        layer.config.setdefault(new, layer.config[old])
        del layer.config[old]
    gone = [name for name in GONE.get(layer.class_name, ()) if name in layer.config]
    gone += [name for name in ("rng_type",) if name in layer.config]
    for name in gone:
        del layer.config[name]
    return bool(found or gone)


@rule(
    "output_mode 'binary' is called 'multi_hot' now, 'tf-idf' 'tf_idf'",
    source="tf.keras 2.6",
    into=PREPROCESSING,
)
def output_modes(layer: Layer, facts: Facts) -> bool:
    """The output_mode under its present name."""
    mode = layer.config.get("output_mode")
    if layer.class_name not in ENCODERS or mode not in OUTPUT_MODES:
        return False
    layer.config["output_mode"] = OUTPUT_MODES[mode]
    return True


@rule("", source="Keras 3 takes the dtype for that of the output", into=PREPROCESSING)
def output_dtypes(layer: Layer, facts: Facts) -> bool:
    """The dtype of encoded rows: tf.keras gave float32 whatever the layer's dtype."""
    if layer.class_name not in ENCODERS or "dtype" not in layer.config:
        return False
    del layer.config["dtype"]
    return True


@rule(
    "answers that were sparse tensors are whole rows now, with the same numbers",
    source="kerasql: nothing reads a sparse answer",
    into=PREPROCESSING,
)
def sparse_answers(layer: Layer, facts: Facts) -> bool:
    """sparse=True of an encoding layer."""
    if layer.class_name not in ENCODERS:
        return False
    return layer.config.pop("sparse", False) is True


@rule("", source="tf.keras keeps idf_weights in the config too", into=PREPROCESSING)
def idf_weights(layer: Layer, facts: Facts) -> bool:
    """The weights of tf-idf, which Keras 3 takes from the config."""
    if layer.class_name not in (*LOOKUPS, "TextVectorization"):
        return False
    if layer.config.get("output_mode") != "tf_idf":
        return False
    layer.arrays = 0
    layer.convert.append(no_arrays)
    return True


def no_arrays(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Nothing: what the config holds already."""
    return []


@rule(
    "RandomWidth and RandomHeight pass a picture on as it is, which they always did in predictions",
    source="Keras 3.0 has neither",
    into=PREPROCESSING,
)
def random_sizes(layer: Layer, facts: Facts) -> bool:
    """Layers that change a picture only while a model learns."""
    if layer.class_name not in ("RandomWidth", "RandomHeight"):
        return False
    layer.class_name, layer.config = "Identity", {}
    return True


@rule(
    "RandomCrop resizes and cuts the middle, as tf.keras' did in predictions",
    source="Keras 3's RandomCrop leaves the picture as it is; tf.keras 2.8 cut before it resized",
    into=PREPROCESSING,
)
def random_crop(layer: Layer, facts: Facts) -> bool:
    """RandomCrop as Resizing; to tf.keras 2.6 as a layer of ours."""
    if layer.class_name != "RandomCrop":
        return False
    kept: dict[str, object] = {key: layer.config.get(key) for key in ("height", "width")}
    if facts.version < (2, 7):
        layer.class_name, layer.config = "ResizedCrop", kept
    else:
        layer.class_name, layer.config = "Resizing", {**kept, "crop_to_aspect_ratio": True}
    return True


@rule(
    "Hashing without a salt keeps its hash function",
    source="tf.keras to 2.5 wrote a salt where there was none, and hashed otherwise when loaded",
    into=PREPROCESSING,
)
def hashing_salt(layer: Layer, facts: Facts) -> bool:
    """The salt that stood for none."""
    if layer.class_name != "Hashing" or layer.config.get("salt") != NO_SALT:
        return False
    layer.config["salt"] = None
    return facts.version < (2, 6)


NO_SALT = [0xDECAFCAFFE, 0xDECAFCAFFE]


@rule("", source="tf.keras to 2.7 left it out", into=PREPROCESSING)
def vocabularies(layer: Layer, facts: Facts) -> bool:
    """Refuse a layer whose vocabulary the file does not hold."""
    if layer.class_name in (*LOOKUPS, "TextVectorization") and not layer.config.get("vocabulary"):
        raise NotUnderstood(
            layer.saved_name,
            f"the file does not hold the vocabulary of this {layer.class_name}; save the model "
            "without it, or with the vocabulary as an argument and tf.keras 2.8 or later",
        )
    if isinstance(layer.config.get("vocabulary"), str):
        raise NotUnderstood(layer.saved_name, "its vocabulary is a file's name")
    return False


@rule("", source="Keras 3 has fewer kinds of interpolation", into=PREPROCESSING)
def interpolations(layer: Layer, facts: Facts) -> bool:
    """Refuse those that Keras 3 cannot compute."""
    kind = layer.config.get("interpolation")
    if layer.class_name == "Resizing" and kind in ("gaussian", "mitchellcubic"):
        raise NotUnderstood(
            layer.saved_name, f"Keras 3 cannot resize with the interpolation {kind!r}"
        )
    return False


@rule("", source="tf.keras to 2.7 had it", into=PREPROCESSING)
def category_crossing(layer: Layer, facts: Facts) -> bool:
    """Refuse it: it joins texts, of which Keras 3 has nothing."""
    if layer.class_name == "CategoryCrossing":
        raise NotUnderstood(
            layer.saved_name, "Keras 3 has no layer that joins texts as CategoryCrossing did"
        )
    return False


@rule(
    "causal=True of an attention layer is use_causal_mask=True of its call",
    source="tf.keras 2.10",
    into=PREPROCESSING,
)
def causal_attention(layer: Layer, facts: Facts) -> bool:
    """The mask that hides what comes later."""
    if layer.class_name not in ("Attention", "AdditiveAttention") or "causal" not in layer.config:
        return False
    if not layer.config.pop("causal"):
        return False
    for call in layer.calls:
        call.kwargs["use_causal_mask"] = True
    return True


@rule("", source="Keras 3.0", into=PREPROCESSING)
def spectral_normalization(layer: Layer, facts: Facts) -> bool:
    """The order of its arrays: the vector u came last, and comes after the kernel now."""
    if layer.class_name != "SpectralNormalization":
        return False
    layer.convert.append(vector_second)
    return True


def vector_second(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Kernel, bias, u -> kernel, u, bias."""
    return [*arrays[:1], *arrays[-1:], *arrays[1:-1]] if len(arrays) > 1 else arrays


@rule(
    "RandomFourierFeatures is a Dense layer whose activation is the cosine",
    source="Keras 3.0 has no such layer",
    into=PREPROCESSING,
)
def random_fourier_features(layer: Layer, facts: Facts) -> bool:
    """cos(x W / scale + b); Rahimi and Recht, Random Features for Large-Scale Kernel Machines."""
    if layer.class_name != "RandomFourierFeatures":
        return False
    units = layer.config.get("output_dim")
    layer.class_name, layer.config = "Dense", {"units": units, "activation": "kerasql>cos"}
    layer.convert.append(scaled_kernel)
    layer.arrays = 3
    return True


def scaled_kernel(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The scale, W and b -> W / scale and b."""
    scale, kernel, bias = arrays
    return [kernel / scale, bias]
