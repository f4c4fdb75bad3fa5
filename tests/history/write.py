# ruff: noqa: B905, E731, F401, N812, SIM905  (this file also runs on Python 3.6)
"""Write small models with an old Keras, each with what that Keras predicts: the ground truth.

    python write.py keras FOLDER          standalone Keras 1 or 2, KERAS_BACKEND=tensorflow|theano
    python write.py tf.keras FOLDER       the Keras inside TensorFlow 1 or 2

makes FOLDER/keras-1.2.2-theano.zip, FOLDER/tf.keras-2.4.0.zip, ... with, for every case, NAME.h5 by
`model.save` and NAME.npz: inputs x0, x1, ... and predictions y0, y1, ...; for some also
NAME.weights.h5 by `model.save_weights`, NAME.json and NAME.yaml. Weights are random, biases and
moving averages too, so a forgotten or swapped array shows. Each file is loaded again by its own
writer and must predict the same; what fails is left out and said on the standard output. A third
argument runs only the cases whose names hold it and prints instead of writing.

One environment per line, made with ``python -m venv`` and ``pip install``:

writer                    Python  pins
keras-1.0.8 ... 2.1.6     3.6     tensorflow==1.4.0 theano==1.0.5 protobuf<3.18 h5py==2.10.0
                                  numpy==1.16.6 scipy==1.2.3 pyyaml<6; keras==... (--no-deps)
                                  keras_applications==1.0.8 keras_preprocessing==1.1.2 (--no-deps)
keras-2.2.4, keras-2.3.1  3.7     as tf.keras-1.15.5, with scipy==1.4.1; keras==... (--no-deps)
tf.keras-1.13.2, 1.14.0   3.7     tensorflow==... protobuf<3.21 h5py==2.10.0 numpy==1.16.6 pyyaml<6
tf.keras-1.15.5           3.7     tensorflow==1.15.5 protobuf<3.21 h5py==2.10.0 numpy==1.18.5
                                  pyyaml<6
tf.keras-2.0.4, 2.1.4     3.7     tensorflow-cpu==... protobuf<3.21 h5py==2.10.0 numpy==1.18.5
                                  pyyaml<6
tf.keras-2.3.4            3.8     tensorflow-cpu==2.3.4 protobuf<3.21 h5py==2.10.0 numpy==1.18.5
                                  pyyaml<6
tf.keras-2.4.0            3.8     tensorflow==2.4.0 protobuf<3.21 h5py==2.10.0 numpy==1.19.5 pyyaml
tf.keras-2.6.5            3.9     tensorflow-cpu==2.6.5 keras==2.6.0 tensorflow-estimator==2.6.0
                                  tensorboard<2.7 protobuf<3.20 h5py==3.1.0 numpy==1.19.5
tf.keras-2.8.0            3.9     tensorflow==2.8.0 protobuf<3.20 h5py<3.8 numpy==1.22.4 pyyaml
tf.keras-2.9.3, 2.10.1    3.10    tensorflow-cpu==... protobuf<3.20 h5py<3.8 numpy==1.23.5
tf.keras-2.12.0           3.9     tensorflow==2.12.0 h5py<3.9 numpy==1.23.5
tf.keras-2.15.1           3.11    tensorflow-cpu==2.15.1 h5py<3.11 numpy==1.26.4

Theano runs its own Python code, slowly, and needs no C compiler: see THEANO_FLAGS.
"""

import os
import sys
import tempfile
import traceback
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault(
    "THEANO_FLAGS",
    "mode=FAST_COMPILE,floatX=float32,optimizer_excluding=conv_gemm:AbstractConvCheck",
)

import numpy as np

DIALECT = sys.argv[1]
THEANO = DIALECT == "keras" and os.environ["KERAS_BACKEND"] == "theano"
tf = None
if THEANO:
    import theano.ifelse  # Keras 1 uses it without importing it
else:
    import tensorflow as tf


def patch_tensorflow():
    """Give TensorFlow 1.4 the functions of 0.12, for Keras 1.0 and 1.1."""
    for old, new in {"pack": "stack", "unpack": "unstack", "select": "where"}.items():
        setattr(tf, old, getattr(tf, new))
    concat, reverse = tf.concat, tf.reverse
    tf.concat = lambda a, b, **k: concat(b, a, **k) if isinstance(a, int) else concat(a, b, **k)
    tf.reverse = lambda x, axes: reverse(x, [i for i, axis in enumerate(axes) if axis])
    tf.batch_matmul = lambda x, y, adj_x=None, adj_y=None: tf.matmul(
        x, y, adjoint_a=bool(adj_x), adjoint_b=bool(adj_y)
    )
    tf.TensorArray.unpack, tf.TensorArray.pack = tf.TensorArray.unstack, tf.TensorArray.stack


if DIALECT == "keras":
    import keras
    from keras import backend as K
    from keras import layers as L
    from keras.models import Model, Sequential, load_model

    VERSION = keras.__version__
    if not THEANO and VERSION < "1.2":
        patch_tensorflow()
    if not THEANO and tf.__version__ == "1.4.0":  # Keras 2.1 calls `dim` by its later name
        softmax = tf.nn.softmax
        tf.nn.softmax = lambda x, axis=-1: softmax(x, axis)
    WRITER = "keras-{}-{}".format(VERSION, os.environ["KERAS_BACKEND"])
else:
    from tensorflow import keras

    L, K = keras.layers, keras.backend
    Model, Sequential, load_model = keras.Model, keras.Sequential, keras.models.load_model
    VERSION = tf.__version__
    WRITER = "tf.keras-" + VERSION
MAJOR = 1 if VERSION.startswith("1.") and DIALECT == "keras" else 2
ROWS = 3
CASES = OrderedDict()
# These writers write every case, others only the few that changed most.
FULL = {
    "keras-1.2.2-tensorflow",
    "keras-1.2.2-theano",
    "keras-2.2.4-tensorflow",
    "tf.keras-1.15.5",
    "tf.keras-2.4.0",
    "tf.keras-2.15.1",
}
FEW = set(
    """
    every_activation dense separable_conv2d depthwise_conv2d batchnorm channels_first_conv
    recurrent_LSTM gru_reset_after stateful_LSTM bidirectional_sequential cudnn_CuDNNGRU
    embedding time_distributed merge_layers nested nested_twice nested_frozen slash_names
    compiled_adam multi_head_attention attention normalization_layer string_lookup_int
    integer_lookup text_vectorization_int category_encoding_binary category_encoding_multi_hot
    hashing_plain mixed_precision conv2d_groups operations_slicing operations_between_layers
    old_dense old_highway_maxout old_convolution1d old_convolution2d_th old_convolution2d_tf
    old_convolution_net_th old_convolution_net_tf old_deconvolution2d_th old_atrous2d_th
    old_batchnorm old_batchnorm_mode_1 old_softplus_srelu old_recurrent_SimpleRNN
    old_recurrent_LSTM old_recurrent_GRU old_lstm old_stateful_GRU
    old_bidirectional_sequential_LSTM old_embedding old_mask_zero old_time_distributed
    old_merge_sequential_concat old_merge_sequential_dot old_merge_function old_functional
    old_shared old_nested old_nested_frozen old_compiled_sgd
""".split()
)
# These leave out what other full writers have and what did not change in between.
THINNED = {"tf.keras-1.15.5", "tf.keras-2.15.1"}
STEADY = set(
    """
    dense_3d dense_activations conv2d_sequential conv3d conv2d_transpose_output_padding
    conv3d_transpose separable_conv2d_dilated separable_conv1d pooling pooling1d pooling3d
    padding_cropping_upsampling padding_cropping_upsampling_1d_3d shapes repeat_vector
    noise_dropout alpha_dropout merge_functions identity_output recurrent_SimpleRNN
    recurrent_options_SimpleRNN recurrent_options_LSTM stateful_SimpleRNN stateful_GRU
    bidirectional_none_LSTM bidirectional_none_GRU frozen_wrapped seq2seq_gru mask_zero_unused
""".split()
)
SAVED_APART = {
    "lstm",
    "nested_frozen",
    "batchnorm",
    "functional",
    "slash_names",
    "nested",
    "embedding",
    "merge_layers",
    "old_lstm",
    "old_batchnorm",
    "old_functional",
    "old_nested_frozen",
    "old_convolution_net_th",
}


class Made:
    """A case's model; its inputs where random floats would not do; a twin that predicts for it."""

    def __init__(self, model, *inputs, twin=None, random=True):
        self.model, self.inputs, self.twin, self.random = model, list(inputs), twin, random


def case(*variants, **only):
    """Register a case for Keras 1, `only(keras=1)`, or 2; `tf=True`: only in tf.keras.

    With variants, one case each: the function gets the variant, its name ends in it.
    """

    def register(function):
        wanted = only.get("keras", 2) == MAJOR and DIALECT in (
            {True: ["tf.keras"], False: ["keras"]}.get(only.get("tf"), ["keras", "tf.keras"])
        )
        for variant in variants if wanted else ():
            CASES[f"{function.__name__}_{variant}"] = lambda v=variant: function(v)
        if wanted and not variants:
            CASES[function.__name__] = function
        return function

    return register


def numbers(*shape):
    """Random floats for one input, large enough to leave the middle of a sigmoid."""
    return steps(np.random.randn(ROWS, *shape) * 2, 8)


def steps(values, parts):
    """The values to the nearest 1 / parts, not 0: such float32 numbers compress well."""
    return ((np.floor(values * parts) + 0.5) / parts).astype("float32")


def whole(top, *shape, **bounds):
    """Random whole numbers from `low`, by default 0, up to and without `top`."""
    return np.random.randint(bounds.get("low", 0), top, (ROWS, *shape)).astype("int32")


def inputs_of(*shapes, **options):
    """One Input per shape."""
    return [L.Input(shape=shape, **options) for shape in shapes]


def outputs_of(source, *layers):
    """A model of one input and one output per layer: many variants in one file."""
    return Model(source, [layer(source) for layer in layers])


def bundle(shape, *layers):
    """The same, from the input's shape."""
    return outputs_of(L.Input(shape=shape), *layers)


def surviving(shape, *functions):
    """A bundle of those functions that this version accepts and can save. Others are said."""
    source, outputs = L.Input(shape=shape), []
    for number, function in enumerate(functions):
        try:
            output = function(source)
            assert saveable(Model(source, [*outputs, output])), "one name is inside another"
            outputs.append(output)
        except Exception as error:
            print("    without function", number, type(error).__name__, str(error)[:90])
    return Model(source, outputs)


def saveable(model):
    """Whether no layer's name is a folder of another: HDF5 cannot hold `a` and `a/b` of TF 1.15."""
    names = [layer.name for layer in model.layers]
    return not any(a.startswith(b + "/") for a in names for b in names)


def have(*names):
    """Those layers of this version, by name."""
    return [getattr(L, name) for name in names if hasattr(L, name)]


# Keras 2 and tf.keras: the basic layers.

ACTIVATIONS = [
    name
    for name in (
        "elu",
        "selu",
        "softmax",
        "softplus",
        "softsign",
        "relu",
        "tanh",
        "sigmoid",
        "hard_sigmoid",
        "exponential",
        "linear",
        "swish",
        "gelu",
        "mish",
        "relu6",
        "silu",
        "leaky_relu",
        "log_softmax",
    )
    if hasattr(keras.activations, name)
]


@case()
def every_activation():
    return bundle((6,), *[L.Activation(name) for name in ACTIVATIONS])


@case()
def dense_activations():
    return bundle((4,), *[L.Dense(3, activation=name) for name in ACTIVATIONS])


@case()
def dense():
    return Sequential(
        [
            L.Dense(4, activation="relu", input_shape=(5,)),
            L.Dense(3, use_bias=False),
            L.Activation("hard_sigmoid"),
            L.Dense(2, name="last"),
        ]
    )


@case()
def dense_options():
    return Sequential(
        [
            L.Dense(
                4,
                input_shape=(5,),
                kernel_initializer=keras.initializers.RandomNormal(0, 0.1),
                kernel_regularizer=keras.regularizers.l2(0.01),
                bias_regularizer=keras.regularizers.l1(0.01),
            ),
            L.Dense(
                4,
                activity_regularizer=keras.regularizers.l1(0.01),
                bias_initializer="ones",
                kernel_constraint=keras.constraints.max_norm(2),
                bias_constraint="non_neg",
            ),
            L.ActivityRegularization(l1=0.1),
            L.Dense(
                3,
                kernel_initializer=keras.initializers.Orthogonal(gain=0.5),
                kernel_regularizer=keras.regularizers.l1_l2(0.1, 0.1),
            ),
        ]
    )


@case()
def dense_3d():
    return bundle((4, 3), L.Dense(2, activation="tanh"), L.Dense(2, use_bias=False))


@case()
def conv1d():
    return bundle(
        (8, 3),
        L.Conv1D(3, 3),
        L.Conv1D(3, 3, padding="same", activation="relu"),
        L.Conv1D(3, 4, strides=2, padding="same"),
        L.Conv1D(2, 3, dilation_rate=2),
        L.Conv1D(2, 2, padding="causal", dilation_rate=2),
        L.Conv1D(2, 1, use_bias=False),
    )


@case()
def conv2d():
    return bundle(
        (6, 5, 2),
        L.Conv2D(3, (3, 2)),
        L.Conv2D(3, 3, padding="same", activation="tanh"),
        L.Conv2D(3, (2, 3), strides=(2, 1), padding="same"),
        L.Conv2D(2, 4, strides=2),
        L.Conv2D(2, 2, dilation_rate=2),
        L.Conv2D(2, 2, use_bias=False),
    )


@case()
def conv2d_sequential():
    return Sequential(
        [
            L.Conv2D(3, (3, 3), input_shape=(8, 8, 2)),
            L.BatchNormalization(),
            L.Activation("relu"),
            L.MaxPooling2D((2, 2)),
            L.Dropout(0.3),
            L.Flatten(),
            L.Dense(4, activation="softmax"),
        ]
    )


@case()
def conv3d():
    return bundle(
        (4, 3, 4, 2),
        L.Conv3D(2, (2, 3, 2)),
        L.Conv3D(2, 2, padding="same"),
        L.Conv3D(2, 2, strides=2, activation="relu"),
    )


@case()
def conv2d_groups():
    return Sequential([L.Conv2D(4, 3, groups=2, input_shape=(5, 5, 4))])


@case()
def conv2d_transpose():
    return bundle(
        (3, 3, 2),
        L.Conv2DTranspose(3, (3, 2)),
        L.Conv2DTranspose(2, 2, strides=2),
        L.Conv2DTranspose(3, 3, strides=(2, 1), padding="same", activation="relu"),
        L.Conv2DTranspose(3, 2, strides=3, use_bias=False),
    )


@case()
def conv2d_transpose_output_padding():
    return bundle(
        (4, 3, 2),
        L.Conv2DTranspose(2, 3, strides=2, output_padding=1),
        L.Conv2DTranspose(2, 3, strides=2, output_padding=0, padding="same"),
    )


@case()
def conv2d_transpose_dilated():
    return bundle((4, 3, 2), L.Conv2DTranspose(2, 3, dilation_rate=2))


@case()
def conv1d_transpose():
    return bundle(
        (4, 3),
        L.Conv1DTranspose(3, 3),
        L.Conv1DTranspose(2, 2, strides=2),
        L.Conv1DTranspose(2, 3, strides=2, padding="same"),
    )


@case()
def conv3d_transpose():
    return bundle(
        (2, 2, 3, 2), L.Conv3DTranspose(2, 2), L.Conv3DTranspose(2, 3, strides=2, padding="same")
    )


@case()
def separable_conv2d():
    return bundle(
        (5, 6, 2),
        L.SeparableConv2D(3, (3, 2)),
        L.SeparableConv2D(3, 3, depth_multiplier=2, padding="same", strides=2),
        L.SeparableConv2D(2, 2, use_bias=False, activation="relu"),
    )


@case()
def separable_conv2d_dilated():
    return bundle((6, 6, 2), L.SeparableConv2D(3, 2, dilation_rate=2))


@case()
def separable_conv1d():
    return bundle((6, 2), L.SeparableConv1D(3, 3), L.SeparableConv1D(3, 2, depth_multiplier=2))


@case()
def depthwise_conv2d():
    return bundle(
        (5, 6, 2),
        L.DepthwiseConv2D((3, 2)),
        L.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="relu"),
        L.DepthwiseConv2D(3, strides=2, use_bias=False),
    )


@case()
def depthwise_conv1d():
    return bundle((6, 2), L.DepthwiseConv1D(3), L.DepthwiseConv1D(2, depth_multiplier=2))


@case()
def locally_connected():
    return Sequential(
        [
            L.LocallyConnected2D(2, (3, 2), strides=(2, 1), input_shape=(6, 5, 2)),
            L.Reshape((8, 2)),
            L.LocallyConnected1D(3, 2, activation="relu"),
        ]
    )


@case(tf=True)
def locally_connected_implementations():
    return bundle((3, 3, 2), *[L.LocallyConnected2D(2, 2, implementation=i) for i in (1, 2, 3)])


@case()
def pooling():
    return bundle(
        (6, 7, 2),
        L.MaxPooling2D(),
        L.MaxPooling2D((3, 2), strides=1, padding="same"),
        L.AveragePooling2D(2),
        L.AveragePooling2D(3, strides=2, padding="same"),
        L.GlobalMaxPooling2D(),
        L.GlobalAveragePooling2D(),
    )


@case()
def pooling1d():
    return bundle(
        (7, 2),
        L.MaxPooling1D(),
        L.MaxPooling1D(3, strides=1, padding="same"),
        L.AveragePooling1D(3),
        L.GlobalMaxPooling1D(),
        L.GlobalAveragePooling1D(),
    )


@case()
def pooling3d():
    return bundle(
        (4, 5, 4, 2),
        L.MaxPooling3D(),
        L.AveragePooling3D((2, 1, 3), strides=(1, 2, 2)),
        *[layer() for layer in have("GlobalMaxPooling3D", "GlobalAveragePooling3D")],
    )


@case()
def pooling_keepdims():
    return bundle(
        (4, 5, 2), L.GlobalMaxPooling2D(keepdims=True), L.GlobalAveragePooling2D(keepdims=True)
    )


@case()
def padding_cropping_upsampling():
    return bundle(
        (5, 6, 2),
        L.ZeroPadding2D(),
        L.ZeroPadding2D(((1, 2), (0, 3))),
        L.ZeroPadding2D((2, 1)),
        L.Cropping2D(1),
        L.Cropping2D(((1, 0), (2, 1))),
        L.UpSampling2D(),
        L.UpSampling2D((3, 1)),
    )


@case()
def upsampling_bilinear():
    return bundle((3, 4, 2), L.UpSampling2D((2, 3), interpolation="bilinear"))


@case()
def padding_cropping_upsampling_1d_3d():
    one = L.Input(shape=(6, 2))
    three = L.Input(shape=(3, 4, 3, 2))
    return Model(
        [one, three],
        [
            L.ZeroPadding1D((1, 2))(one),
            L.Cropping1D((2, 1))(one),
            L.UpSampling1D(3)(one),
            L.ZeroPadding3D((1, 0, 2))(three),
            L.Cropping3D(((1, 0), (1, 1), (0, 2)))(three),
            L.UpSampling3D((1, 2, 1))(three),
        ],
    )


@case()
def batchnorm():
    return bundle(
        (3, 4, 3),
        L.BatchNormalization(),
        L.BatchNormalization(scale=False),
        L.BatchNormalization(center=False, epsilon=0.1),
        L.BatchNormalization(scale=False, center=False, momentum=0.5),
        L.BatchNormalization(axis=2),
    )


@case()
def batchnorm_axis_1():
    return bundle((4, 3), L.BatchNormalization(axis=1), L.BatchNormalization(axis=-1))


@case()
def batchnorm_dense():
    return Sequential(
        [
            L.Dense(4, input_shape=(3,)),
            L.BatchNormalization(),
            L.Dense(3),
            L.BatchNormalization(axis=1, center=False),
            L.Dense(2),
        ]
    )


@case(tf=True)
def batchnorm_fused():
    return bundle((4, 3, 3), L.BatchNormalization(fused=True), L.BatchNormalization(fused=False))


@case(tf=True)
def batchnorm_axes():
    return bundle((4, 5, 3), L.BatchNormalization(axis=[1, 3]))


@case(tf=True)
def batchnorm_renorm():
    return bundle((4, 3), L.BatchNormalization(renorm=True))


@case()
def advanced_activations():
    return bundle(
        (3, 4, 2),
        L.LeakyReLU(),
        L.LeakyReLU(alpha=0.2),
        L.PReLU(),
        L.PReLU(shared_axes=[1, 2]),
        L.ELU(alpha=0.5),
        L.ThresholdedReLU(theta=0.7),
    )


@case()
def relu_softmax_layers():
    return bundle((4, 3), L.ReLU(), L.ReLU(max_value=1.0), L.Softmax(), L.Softmax(axis=1))


@case()
def relu_options():
    return bundle((4, 3), L.ReLU(6.0), L.ReLU(max_value=2, negative_slope=0.2, threshold=0.5))


@case()
def shapes():
    return bundle(
        (4, 3, 2), L.Permute((3, 1, 2)), L.Reshape((6, -1)), L.Reshape((2, 12)), L.Flatten()
    )


@case()
def repeat_vector():
    return Sequential(
        [L.RepeatVector(3, input_shape=(4,)), L.Permute((2, 1)), L.Dense(2), L.Flatten()]
    )


@case()
def noise_dropout():
    return Sequential(
        [
            L.Dense(4, input_shape=(5, 3)),
            L.Dropout(0.5),
            L.Dropout(0.2, noise_shape=(None, 1, 4)),
            L.GaussianNoise(0.3),
            L.GaussianDropout(0.3),
            L.SpatialDropout1D(0.4),
            L.Dense(2),
        ]
    )


@case()
def alpha_dropout():
    return Sequential(
        [
            L.Dense(4, input_shape=(5,), activation="selu", kernel_initializer="lecun_normal"),
            L.AlphaDropout(0.2),
            L.Dense(2),
        ]
    )


# Channels first: TensorFlow's convolutions on a CPU want channels last, so in tf.keras a twin
# with the same weights, channels last between two Permutes, says the numbers.


def conv_net(layers, shape, first):
    """A Sequential of the layers; channels first, or channels last between Permutes."""
    if first:
        return Sequential([L.InputLayer(shape), *layers])
    return Sequential([L.Permute((2, 3, 1), input_shape=shape), *layers, L.Permute((3, 1, 2))])


def channels_first_layers(order):
    axis = 1 if order == "channels_first" else -1
    return [
        L.ZeroPadding2D((1, 2), data_format=order),
        L.Conv2D(3, (3, 2), data_format=order, activation="relu"),
        L.BatchNormalization(axis=axis),
        L.MaxPooling2D(2, data_format=order),
        L.Conv2DTranspose(4, 2, strides=2, data_format=order),
        L.UpSampling2D(data_format=order),
        L.AveragePooling2D((2, 1), data_format=order),
        L.Cropping2D(1, data_format=order),
        L.Conv2D(2, 2, data_format=order, padding="same"),
    ]


@case(tf=True)
def channels_first():
    made = [
        conv_net(channels_first_layers(order), (2, 8, 9), order == "channels_first")
        for order in ("channels_first", "channels_last")
    ]
    return Made(made[0], twin=made[1])


@case(tf=True)
def channels_first_depthwise():
    def layers(order):
        return [
            L.SeparableConv2D(3, 3, data_format=order, depth_multiplier=2),
            L.DepthwiseConv2D(2, data_format=order),
        ]

    made = [
        conv_net(layers(order), (2, 6, 7), order == "channels_first")
        for order in ("channels_first", "channels_last")
    ]
    return Made(made[0], twin=made[1])


@case(tf=False)
def channels_first_conv():
    first = {"data_format": "channels_first"}
    return bundle(
        (2, 7, 6),
        L.Conv2D(3, (3, 2), **first),
        L.MaxPooling2D(**first),
        L.Conv2D(3, 3, strides=2, padding="same", **first),
        L.Conv2D(2, 2, dilation_rate=2, **first),
        L.AveragePooling2D((3, 2), strides=1, **first),
        L.GlobalMaxPooling2D(**first),
        L.GlobalAveragePooling2D(**first),
        L.ZeroPadding2D(((1, 0), (2, 1)), **first),
        L.Cropping2D(1, **first),
        L.UpSampling2D((2, 3), **first),
        L.BatchNormalization(axis=1),
    )


@case(tf=False)
def channels_first_conv_transpose():
    return bundle(
        (2, 4, 3),
        L.Conv2DTranspose(3, (3, 2), strides=2, padding="same", data_format="channels_first"),
    )


@case(tf=False)
def channels_first_separable():
    first = {"data_format": "channels_first"}
    return bundle((2, 6, 5), L.SeparableConv2D(3, 2, **first))


@case(tf=False)
def channels_first_depthwise_standalone():
    return bundle((2, 6, 5), L.DepthwiseConv2D(2, data_format="channels_first"))


@case(tf=False)
def channels_first_3d():
    first = {"data_format": "channels_first"}
    return bundle((2, 4, 4, 3), L.Conv3D(2, 2, **first), L.MaxPooling3D(**first))


@case(tf=False)
def channels_first_flatten_dense():
    """In Keras 2 Flatten kept the order of the numbers, so the first Dense depends on the order."""
    first = {"data_format": "channels_first"}
    return Sequential(
        [
            L.Conv2D(3, 2, input_shape=(2, 5, 4), **first),
            L.MaxPooling2D(**first),
            L.Flatten(),
            L.Dense(3),
        ]
    )


@case()
def flatten_channels_first():
    return Sequential([L.Flatten(data_format="channels_first", input_shape=(2, 3, 4)), L.Dense(3)])


@case(tf=False)
def locally_connected_channels_first():
    return Sequential(
        [L.LocallyConnected2D(2, (3, 2), input_shape=(2, 6, 5), data_format="channels_first")]
    )


# Recurrent layers.


@case("SimpleRNN", "LSTM", "GRU")
def recurrent(name):
    layer = getattr(L, name)
    return bundle(
        (5, 3),
        layer(2),
        layer(2, return_sequences=True),
        layer(2, go_backwards=True),
        layer(2, return_sequences=True, go_backwards=True),
        layer(2, use_bias=False),
        layer(2, dropout=0.3, recurrent_dropout=0.2),
    )


@case("SimpleRNN", "LSTM", "GRU")
def recurrent_options(name):
    layer = getattr(L, name)
    return bundle(
        (5, 3),
        layer(2, unroll=True),
        layer(2, implementation=1),
        layer(2, implementation=2),
        layer(2, activation="relu"),
    )


@case("LSTM", "GRU")
def recurrent_activation(name):
    layer = getattr(L, name)
    return bundle(
        (5, 3),
        layer(2, recurrent_activation="sigmoid"),
        layer(2, recurrent_activation="hard_sigmoid", return_sequences=True),
        layer(2, activation="hard_sigmoid", recurrent_activation="tanh"),
    )


@case()
def lstm():
    return Sequential(
        [
            L.LSTM(3, return_sequences=True, input_shape=(5, 2)),
            L.LSTM(2, unit_forget_bias=False),
            L.Dense(2, activation="softmax"),
        ]
    )


@case("SimpleRNN", "LSTM", "GRU")
def stateful(name):
    layer = getattr(L, name)
    return Sequential(
        [
            layer(3, stateful=True, return_sequences=True, batch_input_shape=(ROWS, 4, 2)),
            layer(2, stateful=True),
        ]
    )


@case()
def gru_reset_after():
    return bundle(
        (5, 3),
        L.GRU(2, reset_after=True),
        L.GRU(2, reset_after=False),
        L.GRU(2, reset_after=True, recurrent_activation="sigmoid", go_backwards=True),
        L.GRU(2, reset_after=True, recurrent_activation="hard_sigmoid", use_bias=False),
        L.GRU(
            2,
            reset_after=True,
            recurrent_activation="hard_sigmoid",
            implementation=1,
            return_sequences=True,
        ),
    )


@case()
def recurrent_cells():
    return bundle(
        (5, 3),
        L.RNN(L.LSTMCell(2)),
        L.RNN([L.GRUCell(3), L.SimpleRNNCell(2)]),
        L.RNN(L.StackedRNNCells([L.LSTMCell(3), L.LSTMCell(2)]), return_sequences=True),
    )


@case()
def return_state():
    source = L.Input(shape=(5, 3))
    gru, lstm_ = L.GRU(2, return_state=True), L.LSTM(2, return_state=True, return_sequences=True)
    return Model(source, gru(source) + lstm_(source))


@case(tf=True)
def time_major():
    source = L.Input(batch_shape=(5, ROWS, 3))
    model = Model(source, L.LSTM(2, time_major=True, return_sequences=True)(source))
    return Made(model, np.random.randn(5, ROWS, 3).astype("float32"))


@case()
def bidirectional():
    modes = ("sum", "mul", "concat", "ave")
    return bundle(
        (4, 3),
        *[
            L.Bidirectional(L.SimpleRNN(2, return_sequences=mode != "sum"), merge_mode=mode)
            for mode in modes
        ],
    )


@case("LSTM", "GRU")
def bidirectional_none(name):
    source = L.Input(shape=(4, 3))
    wrapped = L.Bidirectional(getattr(L, name)(2, return_sequences=True), merge_mode=None)
    return Model(source, wrapped(source))


@case()
def bidirectional_sequential():
    return Sequential(
        [
            L.Bidirectional(L.LSTM(2, return_sequences=True), input_shape=(4, 3)),
            L.Bidirectional(L.SimpleRNN(2, go_backwards=True)),
            L.Dense(2),
        ]
    )


@case()
def bidirectional_backward_layer():
    return Sequential(
        [L.Bidirectional(L.LSTM(2), backward_layer=L.GRU(2, go_backwards=True), input_shape=(4, 3))]
    )


@case()
def bidirectional_state():
    source = L.Input(shape=(4, 3))
    encoded = L.Bidirectional(L.LSTM(2, return_state=True))(source)
    decoded = L.Bidirectional(L.LSTM(2, return_sequences=True))(source, initial_state=encoded[1:])
    return Model(source, [encoded[0], decoded])


@case()
def conv_lstm2d():
    return bundle(
        (3, 4, 5, 2),
        L.ConvLSTM2D(2, (2, 3), padding="same", return_sequences=True),
        L.ConvLSTM2D(2, 2, go_backwards=True, recurrent_activation="sigmoid"),
    )


@case("ConvLSTM1D", "ConvLSTM3D", tf=True)
def conv_lstm(name):
    shape = (3,) + {"ConvLSTM1D": (5, 2), "ConvLSTM3D": (3, 2, 3, 2)}[name]
    return Sequential([getattr(L, name)(2, 2, input_shape=shape)])


@case()
def seq2seq():
    encoder, decoder = inputs_of((4, 3), (5, 2))
    _, h, c = L.LSTM(3, return_state=True)(encoder)
    decoded = L.LSTM(3, return_sequences=True)(decoder, initial_state=[h, c])
    return Model([encoder, decoder], L.Dense(2, activation="softmax")(decoded))


@case()
def seq2seq_gru():
    encoder, decoder, state = inputs_of((4, 3), (5, 2), (3,))
    _, h = L.GRU(3, return_state=True)(encoder, initial_state=state)
    decoded, last = L.GRU(3, return_sequences=True, return_state=True)(decoder, initial_state=h)
    return Model([encoder, decoder, state], [decoded, last])


@case()
def seq2seq_positional_state():
    """`layer([sequence, h, c])`, as sampling decoders were written."""
    sequence, h, c = inputs_of((5, 2), (3,), (3,))
    outputs = L.LSTM(3, return_sequences=True, return_state=True)([sequence, h, c])
    return Model([sequence, h, c], outputs)


def cudnn_layer(name):
    """The layer of standalone Keras, TensorFlow 1 or its remains in 2."""
    return getattr(L, name, None) or getattr(tf.compat.v1.keras.layers, name)


def cudnn_twin(name):
    """The layer whose weights Keras itself makes of those of the CuDNN layer."""
    gates = {"recurrent_activation": "sigmoid"}
    if name == "CuDNNLSTM":
        return lambda units, **k: L.LSTM(units, **dict(k, **gates))
    return lambda units, **k: L.GRU(units, reset_after=True, **dict(k, **gates))


@case("CuDNNLSTM", "CuDNNGRU")
def cudnn(name):
    """Such layers run on a GPU only: this Keras' own conversion to a twin says the numbers."""

    def net(layer):
        return Sequential(
            [
                layer(3, return_sequences=True, input_shape=(4, 2)),
                layer(2, go_backwards=True),
                L.Dense(2),
            ]
        )

    return Made(net(cudnn_layer(name)), twin=net(cudnn_twin(name)))


@case("CuDNNLSTM", "CuDNNGRU")
def cudnn_bidirectional(name):
    def net(layer):
        return Sequential(
            [
                L.Bidirectional(layer(2, return_sequences=True), input_shape=(4, 2)),
                L.TimeDistributed(L.Dense(2)),
            ]
        )

    return Made(net(cudnn_layer(name)), twin=net(cudnn_twin(name)))


# Embeddings and masks.


@case()
def embedding():
    return Made(
        Sequential([L.Embedding(9, 3, input_length=5), L.Flatten(), L.Dense(2)]), whole(9, 5)
    )


def embedded_recurrent():
    source = L.Input(shape=(5,), dtype="int32")
    embedded = L.Embedding(9, 3, mask_zero=True)(source)
    return Model(
        source,
        [
            L.LSTM(2)(embedded),
            L.GRU(2, return_sequences=True)(embedded),
            L.SimpleRNN(2, go_backwards=True)(embedded),
            L.Bidirectional(L.LSTM(2))(embedded),
        ],
    )


@case()
def mask_zero_unused():
    return Made(embedded_recurrent(), whole(9, 5, low=1))


def padded():
    """Rows of word numbers: zeros after, before, and in between."""
    return np.array([[3, 4, 0, 0, 0], [0, 0, 5, 6, 1], [2, 0, 7, 0, 8]], "int32")


@case()
def mask_zero():
    return Made(embedded_recurrent(), padded())


@case()
def mask_zero_stacked():
    return Made(
        Sequential(
            [
                L.Embedding(9, 3, mask_zero=True, input_length=5),
                L.LSTM(2, return_sequences=True),
                L.Dropout(0.2),
                L.TimeDistributed(L.Dense(3, activation="relu")),
                L.GRU(2),
                L.Dense(2),
            ]
        ),
        padded(),
    )


@case()
def mask_zero_merged():
    one, two = inputs_of((5,), (5,), dtype="int32")
    words = L.Embedding(9, 3, mask_zero=True)
    joined = L.Concatenate()([words(one), words(two)])
    added = L.Add()([words(one), words(two)])
    return Made(Model([one, two], [L.LSTM(2)(joined), L.LSTM(2)(added)]), padded(), padded()[::-1])


@case()
def mask_zero_products():
    one, two = inputs_of((5,), (5,), dtype="int32")
    words = L.Embedding(9, 3, mask_zero=True)
    pair = [words(one), words(two)]
    merged = [L.Multiply()(pair), L.Maximum()(pair), L.Average()(pair)]
    return Made(Model([one, two], [L.LSTM(2)(each) for each in merged]), padded(), padded()[::-1])


@case()
def free_steps():
    """Time distributed over any number of steps."""
    source = L.Input(shape=(None, 4))
    steps_ = L.TimeDistributed(L.Dense(3))(L.SimpleRNN(3, return_sequences=True)(source))
    return Made(Model(source, steps_), numbers(5, 4))


def zeroed():
    """A sequence of vectors of which some are all zeros."""
    rows = numbers(5, 3)
    rows[0, 3:] = rows[1, :2] = rows[2, 2] = 0
    return rows


@case()
def masking():
    return Made(
        Sequential(
            [
                L.Masking(0.0, input_shape=(5, 3)),
                L.LSTM(3, return_sequences=True),
                L.Bidirectional(L.GRU(2)),
                L.Dense(2),
            ]
        ),
        zeroed(),
    )


@case()
def masking_pooling():
    source = L.Input(shape=(5, 3))
    masked = L.Masking(0.0)(source)
    return Made(Model(source, [L.LSTM(2, return_sequences=True)(masked), masked]), zeroed())


@case(tf=True)
def masking_average():
    return Made(
        Sequential([L.Masking(0.0, input_shape=(5, 3)), L.GlobalAveragePooling1D()]), zeroed()
    )


# Wrappers, merges, graphs.


@case()
def time_distributed():
    image = L.Input(shape=(3, 5, 4, 2))
    inner = Sequential(
        [L.Conv2D(2, 2, input_shape=(5, 4, 2)), L.BatchNormalization(), L.Flatten(), L.Dense(3)]
    )
    source = L.Input(shape=(4,))
    functional = Model(source, L.Dense(2)(L.Dense(3, activation="tanh")(source)))
    sequence = L.Input(shape=(3, 4))
    return Model(
        [image, sequence],
        [
            L.TimeDistributed(L.Conv2D(2, (2, 3)))(image),
            L.TimeDistributed(inner)(image),
            L.TimeDistributed(functional)(sequence),
            L.TimeDistributed(L.Dense(2))(sequence),
        ],
    )


@case()
def time_distributed_sequential():
    return Sequential(
        [
            L.TimeDistributed(L.Conv2D(2, 2, activation="relu"), input_shape=(3, 5, 5, 1)),
            L.TimeDistributed(L.MaxPooling2D(2)),
            L.TimeDistributed(L.BatchNormalization()),
            L.TimeDistributed(L.Flatten()),
            L.LSTM(2),
            L.Dense(2),
        ]
    )


@case()
def merge_layers():
    one, two = inputs_of((4, 3), (4, 3))
    plain = have("Add", "Multiply", "Average", "Maximum", "Concatenate", "Subtract", "Minimum")
    pair = [L.Dense(3)(one), L.Dense(3)(two)]
    return Model([one, two], [layer()(pair) for layer in plain] + [L.Concatenate(axis=1)(pair)])


@case()
def merge_dot():
    one, two = inputs_of((4, 3), (4, 5))
    three, four = inputs_of((4,), (4,))
    return Model(
        [one, two, three, four],
        [
            L.Dot(1)([one, two]),
            L.Dot((1, 1), normalize=True)([one, two]),
            L.Dot(-1)([three, four]),
            L.Dot(1, normalize=True)([three, four]),
        ],
    )


@case()
def merge_functions():
    one, two = inputs_of((4,), (4,))
    return Model(
        [one, two],
        [
            L.add([one, two]),
            L.multiply([one, two]),
            L.average([one, two]),
            L.maximum([one, two]),
            L.concatenate([one, two, one], axis=-1),
            L.dot([one, two], axes=1, normalize=True),
        ],
    )


@case()
def functional():
    one, two = inputs_of((4,), (3,), dtype="float32")
    joined = L.concatenate(
        [L.Dense(3, activation="relu", name="left")(one), L.Dense(3, name="right")(two)],
        name="joined",
    )
    hidden = L.Dense(4, activation="tanh", name="hidden")(joined)
    return Model(
        [one, two],
        [
            L.Dense(2, activation="softmax", name="kind")(hidden),
            L.Dense(1, activation="sigmoid", name="sure")(hidden),
            joined,
        ],
    )


@case()
def shared():
    one, two = inputs_of((4,), (4,))
    layer, norm = L.Dense(4, activation="tanh"), L.BatchNormalization()
    three_times = layer(layer(layer(one)))
    return Model([one, two], [layer(two), three_times, norm(layer(one)), norm(two)])


@case()
def identity_output():
    """An output that is an input, and the same output twice."""
    source = L.Input(shape=(3,))
    out = L.Dense(2)(source)
    return Model(source, [out, L.Activation("relu")(out), L.Dense(2)(out)])


@case()
def nested():
    source = L.Input(shape=(4,))
    inner = Sequential([L.Dense(3, activation="relu", input_shape=(4,)), L.Dense(3)], name="inner")
    middle = Model(source, L.BatchNormalization()(inner(source)), name="middle")
    return Sequential([L.Dense(4, input_shape=(5,)), middle, L.Dense(2)])


@case()
def nested_functional():
    inside = L.Input(shape=(4,))
    inner = Model(inside, [L.Dense(3)(inside), L.Dense(2, activation="tanh")(inside)], name="inner")
    middle_in = L.Input(shape=(4,))
    middle = Model(middle_in, L.concatenate(inner(L.Dense(4)(middle_in))), name="middle")
    source = L.Input(shape=(4,))
    return Model(source, [L.Dense(2)(middle(source)), inner(source)[0]])


@case()
def nested_twice():
    inner = Sequential([L.Dense(3, activation="relu", input_shape=(4,)), L.Dense(2)], name="tower")
    one, two = inputs_of((4,), (4,))
    return Model([one, two], L.Dense(1)(L.concatenate([inner(one), inner(two)])))


@case()
def nested_many_inputs():
    one, two = inputs_of((4,), (3,))
    inner = Model([one, two], L.Dense(3)(L.concatenate([one, two])), name="joins")
    left, right = inputs_of((4,), (3,))
    return Model([left, right], L.Dense(2)(inner([left, right])))


@case()
def nested_sequentials():
    """What Teachable Machine and many tutorials write."""
    deepest = Sequential([L.Conv2D(2, 2, input_shape=(5, 5, 1)), L.BatchNormalization()])
    deep = Sequential([deepest, L.GlobalAveragePooling2D()])
    return Sequential([deep, Sequential([L.Dense(3, input_shape=(2,)), L.Dense(2)])])


def frozen_inner():
    source = L.Input(shape=(4, 4, 2))
    hidden = L.BatchNormalization(name="bn1")(L.Conv2D(3, 2, name="conv1")(source))
    hidden = L.BatchNormalization(name="bn2", scale=False)(L.Conv2D(3, 2, name="conv2")(hidden))
    return Model(source, L.GlobalAveragePooling2D()(hidden), name="base")


@case()
def nested_frozen():
    inner = frozen_inner()
    inner.trainable = False
    source = L.Input(shape=(4, 4, 2))
    return Model(source, L.Dense(2)(inner(source)))


@case()
def nested_frozen_sequential():
    inner = frozen_inner()
    inner.trainable = False
    return Sequential([inner, L.Dense(3), L.BatchNormalization(), L.Dense(2)])


@case()
def nested_partly_frozen():
    inner = frozen_inner()
    for layer in inner.layers[:3]:
        layer.trainable = False
    return Sequential([inner, L.Dense(2)])


@case()
def nested_not_frozen():
    return Sequential([frozen_inner(), L.Dense(2)])


@case()
def frozen_layers():
    model = Sequential(
        [L.Dense(3, input_shape=(4,), trainable=False), L.BatchNormalization(), L.Dense(2)]
    )
    model.layers[1].trainable = False
    return model


@case()
def frozen_wrapped():
    inner = frozen_inner()
    inner.trainable = False
    return Sequential(
        [
            L.TimeDistributed(inner, input_shape=(3, 4, 4, 2)),
            L.Bidirectional(L.LSTM(2), trainable=False),
            L.Dense(2),
        ]
    )


@case()
def slash_names():
    source = L.Input(shape=(4,), name="in")
    one = L.Dense(3, name="block/one")(source)
    return Model(source, L.Dense(2, name="block/out/deep")(L.BatchNormalization(name="a/b")(one)))


@case()
def odd_names():
    return Sequential(
        [
            L.Dense(3, input_shape=(4,), name="D.1-x"),
            L.Dense(2, name="2nd"),
            L.Dense(2, name="dense"),
        ],
        name="my.model",
    )


@case()
def lambda_layer():
    return Sequential([L.Dense(3, input_shape=(4,)), L.Lambda(lambda x: x * 2 + 1), L.Dense(2)])


@case()
def variable_sizes():
    return Sequential(
        [L.Conv2D(3, 2, input_shape=(None, None, 2)), L.GlobalMaxPooling2D(), L.Dense(2)]
    )


@case()
def input_layer_sequential():
    return Sequential([L.InputLayer(input_shape=(4,)), L.Dense(2)])


def trained(model, optimizer, *targets):
    """The model after one step, so that the file also holds the optimizer's weights."""
    model.compile(optimizer, "mse", metrics=["mae"])
    source = numbers(*[4])
    for _ in range(2):
        model.train_on_batch(source, list(targets) if len(targets) > 1 else targets[0])
    return Made(model, source, random=False)


@case("sgd", "adam")
def compiled(optimizer):
    return trained(
        Sequential([L.Dense(3, input_shape=(4,)), L.BatchNormalization(), L.Dense(2)]),
        optimizer,
        numbers(2),
    )


@case()
def compiled_functional():
    source = L.Input(shape=(4,))
    hidden = L.Dense(3)(source)
    model = Model(source, [L.Dense(2, name="a")(hidden), L.Dense(1, name="b")(hidden)])
    optimizer = keras.optimizers.SGD(momentum=0.9, nesterov=True)
    return trained(model, optimizer, numbers(2), numbers(1))


# Only tf.keras.


@case(tf=True)
def deferred_sequential():
    model = Sequential([L.Dense(3, activation="relu"), L.BatchNormalization(), L.Dense(2)])
    model.build((None, 4))
    return Made(model, numbers(4))


@case(tf=True)
def deferred_sequential_called():
    model = Sequential([L.Conv1D(3, 2), L.Flatten(), L.Dense(2)])
    source = numbers(5, 2)
    model.predict(source)
    return Made(model, source)


@case(tf=True)
def deferred_sequential_fitted():
    model = Sequential([L.Flatten(), L.Dense(3, activation="relu"), L.Dense(2)])
    model.compile("adam", "mse")
    source = numbers(3, 2)
    model.fit(source, numbers(2), verbose=0)
    return Made(model, source, random=False)


@case(tf=True)
def normalizations():
    return bundle(
        (4, 3),
        L.LayerNormalization(),
        L.LayerNormalization(scale=False, epsilon=0.1),
        L.LayerNormalization(axis=1, center=False),
        L.LayerNormalization(axis=[1, 2]),
    )


@case(tf=True)
def unit_normalization():
    return bundle((4, 3), L.UnitNormalization(), L.UnitNormalization(axis=[1, 2]))


@case(tf=True)
def group_normalization():
    return bundle((4, 4, 6), L.GroupNormalization(2), L.GroupNormalization(-1, scale=False))


@case(tf=True)
def spectral_normalization():
    return Sequential([L.SpectralNormalization(L.Dense(3), input_shape=(4,))])


@case(tf=True)
def attention():
    query, value = inputs_of((4, 3), (5, 3))
    return Model(
        [query, value],
        [
            L.Attention()([query, value]),
            L.Attention(use_scale=True)([query, value]),
            L.AdditiveAttention()([query, value]),
            L.AdditiveAttention(use_scale=False)([query, value]),
            L.Attention()([query, L.Dense(2)(value), L.Dense(3)(value)]),
        ],
    )


@case(tf=True)
def attention_causal():
    source = L.Input(shape=(4, 3))
    return Model(source, L.Attention(causal=True)([source, source]))


@case(tf=True)
def attention_causal_call():
    source = L.Input(shape=(4, 3))
    return Model(source, L.Attention()([source, source], use_causal_mask=True))


@case(tf=True)
def attention_masked():
    source = L.Input(shape=(5,), dtype="int32")
    words = L.Embedding(9, 3, mask_zero=True)(source)
    return Made(
        Model(source, [L.Attention()([words, words]), L.AdditiveAttention()([words, words])]),
        padded(),
    )


@case(tf=True)
def attention_scores():
    query, value = inputs_of((4, 3), (5, 3))
    return Model([query, value], L.Attention()([query, value], return_attention_scores=True))


@case(tf=True)
def multi_head_attention():
    query, value = inputs_of((4, 3), (5, 3))
    return Model(
        [query, value],
        [
            L.MultiHeadAttention(2, 3)(query, value),
            L.MultiHeadAttention(2, 3)(query, query),
            L.MultiHeadAttention(2, 3, value_dim=4, use_bias=False, output_shape=5)(query, value),
            L.MultiHeadAttention(1, 2)(query, value, L.Dense(3)(value)),
        ],
    )


@case(tf=True)
def multi_head_attention_axes():
    source = L.Input(shape=(3, 4, 5))
    return Model(source, L.MultiHeadAttention(2, 3, attention_axes=(1, 2))(source, source))


@case(tf=True)
def multi_head_attention_scores():
    source = L.Input(shape=(4, 3))
    return Model(source, L.MultiHeadAttention(2, 3)(source, source, return_attention_scores=True))


@case(tf=True)
def multi_head_attention_causal():
    source = L.Input(shape=(4, 3))
    return Model(source, L.MultiHeadAttention(2, 3)(source, source, use_causal_mask=True))


@case(tf=True)
def multi_head_attention_masked():
    source = L.Input(shape=(5,), dtype="int32")
    words = L.Embedding(9, 4, mask_zero=True)(source)
    return Made(Model(source, L.MultiHeadAttention(2, 3)(words, words)), padded())


@case(tf=True)
def multi_head_attention_masked_dropout():
    source = L.Input(shape=(5,), dtype="int32")
    words = L.Embedding(9, 4, mask_zero=True)(source)
    attended = L.MultiHeadAttention(2, 3, dropout=0.1)(words, words)
    return Made(Model(source, L.Dense(2)(words + attended)), padded())


@case(tf=True)
def upsampling_any_size():
    source = L.Input(shape=(None, None, 2))
    larger = L.UpSampling2D((2, 3), interpolation="bilinear")(L.Conv2D(2, 2)(source))
    return Made(Model(source, larger), numbers(5, 4, 2))


@case(tf=True)
def frozen_base_called_for_inference():
    base = Sequential([L.Dense(3, input_shape=(4,)), L.BatchNormalization(), L.Dropout(0.5)])
    base.trainable = False
    source = L.Input(shape=(4,))
    return Model(source, L.Dense(2)(base(source, training=False)))


@case(tf=True)
def prelu_as_activation():
    return Sequential([L.Dense(3, activation=L.PReLU(), input_shape=(4,)), L.Dense(2)])


@case(tf=True)
def numbers_first():
    source = L.Input(shape=(3,))
    return Model(source, [1 + source, 2.0 * source, 1.0 / (1.0 + source * source), 3 - source])


@case(tf=True)
def transformer():
    source = L.Input(shape=(5,), dtype="int32")
    words = L.Embedding(9, 4)(source)
    attended = L.LayerNormalization()(words + L.MultiHeadAttention(2, 2)(words, words))
    hidden = L.Dense(4)(L.Dense(6, activation="relu")(attended))
    out = L.LayerNormalization()(attended + hidden)
    return Made(Model(source, L.Dense(2)(L.GlobalAveragePooling1D()(out))), whole(9, 5))


@case(tf=True)
def einsum_dense():
    make = getattr(L, "EinsumDense", None) or L.experimental.EinsumDense
    return bundle(
        (4, 3),
        make("abc,cd->abd", output_shape=(None, 5), bias_axes="d"),
        make("abc,bd->adc", output_shape=(2, 3), activation="relu"),
    )


@case(tf=True)
def mixed_precision():
    precision = keras.mixed_precision
    if hasattr(precision, "set_global_policy"):
        choose = precision.set_global_policy
    else:
        choose = precision.experimental.set_policy
    choose("mixed_float16")
    try:
        return Sequential(
            [
                L.Dense(3, activation="relu", input_shape=(4,)),
                L.BatchNormalization(),
                L.Dense(2, dtype="float32"),
            ]
        )
    finally:
        choose("float32")


@case(tf=True)
def layer_dtypes():
    return Sequential([L.Dense(3, input_shape=(4,), dtype="float64"), L.Dense(2, dtype="float32")])


@case(tf=True)
def dictionary_inputs():
    one, two = L.Input(shape=(3,), name="b"), L.Input(shape=(2,), name="a")
    return Model(
        {"b": one, "a": two}, {"z": L.Dense(2, name="z")(one), "y": L.Dense(3, name="y")(two)}
    )


# Preprocessing layers, under `experimental.preprocessing` before 2.6.


def preprocessing(name):
    """The layer class, wherever this version keeps it."""
    return getattr(L, name, None) or getattr(L.experimental.preprocessing, name)


@case(tf=True)
def normalization_layer():
    layer = preprocessing("Normalization")()
    layer.adapt(numbers(4) * 3 + 1)
    model = Sequential([L.Input(shape=(4,)), layer, L.Dense(2)])
    return Made(model, random=False)


@case(tf=True)
def normalization_axis():
    layer = preprocessing("Normalization")(axis=1)
    layer.adapt(numbers(4, 3) * 3 + 1)
    source = L.Input(shape=(4, 3))
    return Made(Model(source, layer(source)), random=False)


@case(tf=True)
def normalization_no_axis():
    layer = preprocessing("Normalization")(axis=None)
    layer.adapt(numbers(4) * 3 + 1)
    source = L.Input(shape=(4,))
    return Made(Model(source, layer(source)), random=False)


@case(tf=True)
def normalization_given():
    layer = preprocessing("Normalization")(mean=[1.0, 2.0, 3.0], variance=[0.5, 2.0, 4.0])
    source = L.Input(shape=(3,))
    return Made(Model(source, layer(source)), random=False)


@case(tf=True)
def rescaling():
    source = L.Input(shape=(4, 5, 3), dtype="uint8")
    layer = preprocessing("Rescaling")
    model = Model(source, [layer(1 / 255)(source), layer(1 / 127.5, offset=-1)(source)])
    return Made(model, whole(256, 4, 5, 3).astype("uint8"))


@case(tf=True)
def image_layers():
    return bundle(
        (6, 7, 3),
        preprocessing("Resizing")(4, 5),
        preprocessing("Resizing")(3, 9, interpolation="nearest"),
        preprocessing("CenterCrop")(3, 4),
    )


@case(tf=True)
def random_image_layers():
    names = ("RandomFlip", "RandomRotation", "RandomZoom", "RandomContrast", "RandomTranslation")
    options = {"RandomFlip": ("horizontal",), "RandomTranslation": (0.1, 0.2)}
    model = Sequential([L.Input(shape=(6, 6, 3))])
    for name in names:
        model.add(preprocessing(name)(*options.get(name, (0.1,))))
    model.add(L.Conv2D(2, 3))
    return model


@case(tf=True)
def random_crop():
    return Sequential([L.Input(shape=(6, 7, 3)), preprocessing("RandomCrop")(4, 5)])


@case("binary", "count", "multi_hot", "one_hot", tf=True)
def category_encoding(mode):
    layer = preprocessing("CategoryEncoding")
    length = 1 if mode == "one_hot" else 4
    source = L.Input(shape=(length,), dtype="int32")
    try:
        outputs = layer(num_tokens=6, output_mode=mode)(source)
    except TypeError:
        outputs = layer(max_tokens=6, output_mode=mode)(source)
    return Made(Model(source, outputs), whole(6, length))


@case(tf=True)
def discretization():
    layer = preprocessing("Discretization")
    source = L.Input(shape=(3,))
    try:
        outputs = layer(bin_boundaries=[-1.0, 0.0, 1.5])(source)
    except TypeError:
        outputs = layer(bins=[-1.0, 0.0, 1.5])(source)
    return Model(source, outputs)


@case("plain", "salted", tf=True)
def hashing(kind):
    options = {"salt": [133, 137]} if kind == "salted" else {}
    one, two = L.Input(shape=(2,), dtype="string"), L.Input(shape=(2,), dtype="int64")
    layers = [preprocessing("Hashing")(7, **options) for _ in range(2)]
    words = np.array([["red", "green"], ["blue", "red"], ["", "a b"]])
    return Made(
        Model([one, two], [layers[0](one), layers[1](two)]), words, whole(1000, 2).astype("int64")
    )


@case("int", "multi_hot", "binary", tf=True)
def string_lookup(mode):
    layer = preprocessing("StringLookup")(vocabulary=["red", "green", "blue"], output_mode=mode)
    source = L.Input(shape=(2,), dtype="string")
    words = np.array([["red", "green"], ["blue", "red"], ["pink", "blue"]])
    return Made(Model(source, layer(source)), words, random=False)


@case(tf=True)
def string_lookup_adapted():
    layer = preprocessing("StringLookup")()
    layer.adapt(np.array(["red", "red", "green", "blue", "blue", "blue"]))
    source = L.Input(shape=(2,), dtype="string")
    words = np.array([["red", "green"], ["blue", "red"], ["pink", "blue"]])
    return Made(Model(source, layer(source)), words, random=False)


@case(tf=True)
def string_lookup_inverted():
    layer = preprocessing("StringLookup")(vocabulary=["red", "green", "blue"], invert=True)
    source = L.Input(shape=(2,), dtype="int64")
    return Made(Model(source, layer(source)), whole(4, 2).astype("int64"), random=False)


@case(tf=True)
def integer_lookup():
    make = preprocessing("IntegerLookup")
    try:
        layer = make(vocabulary=[12, 36, 1138])
    except TypeError:
        layer = make(values=[12, 36, 1138])
    source = L.Input(shape=(2,), dtype="int64")
    numbers_ = np.array([[12, 36], [1138, 5], [36, 0]], "int64")
    return Made(Model(source, layer(source)), numbers_, random=False)


@case("int", "multi_hot", "tf_idf", tf=True)
def text_vectorization(mode):
    options = {"output_sequence_length": 5} if mode == "int" else {}
    layer = preprocessing("TextVectorization")(output_mode=mode, **options)
    texts = np.array([["Red red, green!"], ["blue sky over red"], ["Nothing else"]])
    layer.adapt(texts[:2])
    source = L.Input(shape=(1,), dtype="string")
    return Made(Model(source, layer(source)), texts, random=False)


@case(tf=True)
def text_vectorization_given():
    layer = preprocessing("TextVectorization")(
        vocabulary=["red", "green"], output_sequence_length=4
    )
    texts = np.array([["Red red, green!"], ["blue sky over red"], ["Nothing else"]])
    source = L.Input(shape=(1,), dtype="string")
    return Made(Model(source, layer(source)), texts, random=False)


# TensorFlow functions called on symbolic tensors: TensorFlowOpLayer, later TFOpLambda.

OPERATIONS = {
    "arithmetic": [
        lambda x: x * 2 + 1,
        lambda x: 1 - x,
        lambda x: x / 3,
        lambda x: 2.0 / (x + 20),
        lambda x: -x,
        lambda x: x**2,
        lambda x: x + x * x,
        lambda x: x - [1.0, 2.0, 3.0],
        lambda x: tf.add(x, 1.0),
        lambda x: tf.multiply(x, x),
        lambda x: abs(x),
        lambda x: tf.subtract(1.0, x),
        lambda x: x // 2,
        lambda x: x % 2,
    ],
    "mathematics": [
        lambda x: tf.exp(x),
        lambda x: tf.sqrt(tf.abs(x)),
        lambda x: tf.math.log(tf.abs(x) + 1),
        lambda x: tf.square(x),
        lambda x: tf.clip_by_value(x, -1.0, 1.0),
        lambda x: tf.sign(x),
        lambda x: tf.round(x),
        lambda x: tf.maximum(x, 0.5),
        lambda x: tf.minimum(x, 0.5),
        lambda x: tf.pow(x, 2.0),
        lambda x: tf.math.sin(x),
        lambda x: tf.math.floor(x),
        lambda x: tf.math.rsqrt(x * x + 1),
        lambda x: tf.math.cumsum(x, axis=1),
        lambda x: tf.math.divide_no_nan(x, x - x),
    ],
    "reductions": [
        lambda x: tf.reduce_mean(x, axis=1),
        lambda x: tf.reduce_sum(x, axis=-1, keepdims=True),
        lambda x: tf.reduce_max(x, axis=[1, 2]),
        lambda x: tf.argmax(x, axis=1),
        lambda x: tf.reduce_min(x, axis=2),
        lambda x: tf.norm(x, axis=1),
        lambda x: tf.math.reduce_std(x, axis=1),
        lambda x: tf.reduce_prod(x, axis=1),
        lambda x: tf.math.reduce_variance(x, axis=-1),
        lambda x: tf.math.top_k(x, 2)[0],
    ],
    "reshaping": [
        lambda x: tf.reshape(x, [-1, 12]),
        lambda x: tf.expand_dims(x, 1),
        lambda x: tf.transpose(x, [0, 2, 1]),
        lambda x: tf.squeeze(tf.expand_dims(x, 2), 2),
        lambda x: tf.reshape(x, (tf.shape(x)[0], 3, 4)),
        lambda x: tf.tile(x, [1, 2, 1]),
        lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 0]]),
        lambda x: tf.reverse(x, [1]),
        lambda x: tf.repeat(x, 2, axis=1),
        lambda x: tf.roll(x, 1, axis=1),
    ],
    "slicing": [
        lambda x: x[:, 0],
        lambda x: x[:, 1:3, :2],
        lambda x: x[..., -1],
        lambda x: x[:, ::-1],
        lambda x: x[:, None, 0],
        lambda x: x[:, :, 1:2],
        lambda x: x[:, 1, 2],
        lambda x: x[..., tf.newaxis],
        lambda x: tf.gather(x, [2, 0], axis=1),
        lambda x: tf.strided_slice(x, [0, 0, 0], [2, 4, 3], [1, 2, 1], begin_mask=1, end_mask=1),
    ],
    "joining": [
        lambda x: tf.concat([x, x * 2], axis=-1),
        lambda x: tf.stack([x, x], axis=1),
        lambda x: tf.split(x, 2, axis=1)[1],
        lambda x: tf.unstack(x, axis=1)[2],
        lambda x: tf.add_n([x, x, x]),
        lambda x: tf.split(x, [1, 2], axis=2)[0],
        lambda x: tf.concat([x, tf.zeros_like(x)], 1),
        lambda x: tf.ones_like(x) + x,
    ],
    "network": [
        tf and tf.nn.relu,
        tf and tf.nn.sigmoid,
        tf and tf.nn.softmax,
        tf and tf.nn.tanh,
        lambda x: tf.nn.leaky_relu(x, 0.1),
        lambda x: tf.math.l2_normalize(x, axis=1),
        lambda x: tf.nn.relu6(x),
        lambda x: tf.nn.elu(x),
        lambda x: tf.nn.softplus(x),
        lambda x: tf.nn.softmax(x, axis=1),
        lambda x: tf.nn.gelu(x),
        lambda x: tf.nn.selu(x),
        lambda x: tf.nn.l2_normalize(x, -1),
        lambda x: tf.nn.silu(x),
        lambda x: tf.nn.log_softmax(x),
        lambda x: tf.nn.dropout(x, 0.0),
    ],
    "products": [
        lambda x: tf.matmul(x, x, transpose_b=True),
        lambda x: tf.matmul(x, tf.transpose(x, [0, 2, 1])),
        lambda x: tf.tensordot(x, np.ones((3, 2), "f"), 1),
        lambda x: tf.linalg.matvec(x, x[:, 0]),
    ],
    "casting": [
        lambda x: tf.cast(x, "int32"),
        lambda x: tf.cast(x > 0, tf.float32),
        lambda x: tf.where(x > 0, x, x * 0.1),
        lambda x: tf.cast(tf.cast(tf.abs(x), "uint8"), "float32"),
        lambda x: tf.one_hot(tf.cast(tf.abs(x), "int32"), 4),
        lambda x: tf.identity(x),
        lambda x: tf.cast(tf.logical_and(x > 0, x < 1), "float32"),
        tf and tf.stop_gradient,
        lambda x: tf.cast(tf.not_equal(x, 0), "float32"),
        lambda x: tf.cast(x, "float16"),
    ],
    "backend": [
        lambda x: K.mean(x, axis=1),
        lambda x: K.sum(x, axis=-1, keepdims=True),
        lambda x: K.abs(x),
        lambda x: K.relu(x),
        lambda x: K.expand_dims(x, 1),
        lambda x: K.permute_dimensions(x, (0, 2, 1)),
        lambda x: K.concatenate([x, x], axis=1),
        lambda x: K.l2_normalize(x, axis=1),
        lambda x: K.batch_dot(x, x, axes=(1, 1)),
        lambda x: K.hard_sigmoid(x),
        lambda x: K.square(x),
        lambda x: keras.activations.relu(x),
        lambda x: keras.activations.gelu(x),
        lambda x: keras.activations.hard_sigmoid(x),
        lambda x: K.sqrt(K.abs(x)),
        lambda x: K.exp(x),
    ],
}


@case(*sorted(OPERATIONS), tf=True)
def operations(kind):
    return surviving((4, 3), *OPERATIONS[kind])


@case(tf=True)
def operations_einsum():
    return surviving((4, 3), lambda x: tf.einsum("bij,bkj->bik", x, x))


@case(tf=True)
def operations_two_inputs():
    one, two = inputs_of((4, 3), (4, 3))
    functions = [
        lambda x, y: x + y,
        lambda x, y: x * y,
        lambda x, y: x - y,
        lambda x, y: x / (y * y + 1),
        lambda x, y: tf.concat([x, y], axis=1),
        lambda x, y: tf.stack([y, x], axis=1),
        lambda x, y: tf.maximum(x, y),
        lambda x, y: tf.matmul(x, y, transpose_a=True),
        lambda x, y: tf.where(x > y, x, y),
        lambda x, y: tf.add_n([x, y, y]),
    ]
    return Model([one, two], [function(one, two) for function in functions])


@case(tf=True)
def operations_image():
    return surviving(
        (4, 5, 2),
        lambda x: tf.image.resize(x, (6, 7)),
        lambda x: tf.image.resize(x, (3, 3), method="nearest"),
        lambda x: tf.image.flip_left_right(x),
        lambda x: tf.nn.avg_pool2d(x, 2, 2, "SAME"),
        lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"),
        lambda x: tf.nn.depth_to_space(tf.concat([x, x], -1), 2),
        lambda x: tf.nn.space_to_depth(x[:, :4, :4], 2),
        lambda x: tf.image.resize(x, (8, 10), method="bicubic"),
    )


@case(tf=True)
def operations_preprocess_input():
    """What `applications.mobilenet_v2.preprocess_input` leaves in transfer-learning files."""
    source = L.Input(shape=(5, 5, 3))
    scaled = keras.applications.mobilenet_v2.preprocess_input(source * 20)
    other = keras.applications.vgg16.preprocess_input(source * 20)
    return Model(source, [L.Conv2D(2, 2)(scaled), L.Conv2D(2, 2)(other)])


@case(tf=True)
def operations_between_layers():
    source = L.Input(shape=(6,))
    hidden = L.Dense(4)(source)
    gate = tf.nn.sigmoid(L.Dense(4)(source))
    mixed = hidden * gate + (1.0 - gate) * tf.nn.relu(hidden)
    norm = tf.math.l2_normalize(tf.concat([mixed, hidden], axis=-1), axis=-1)
    return Model(source, L.Dense(2)(norm))


@case(tf=True)
def operations_nested():
    source = L.Input(shape=(4,))
    inner = Model(source, tf.nn.relu(L.Dense(3)(source)) * 0.5, name="inner")
    outside = L.Input(shape=(4,))
    return Model(outside, L.Dense(2)(inner(outside) + inner(outside * 2)))


# Keras 1: other names of layers and options, `th` (channels first) or `tf` ordering.


def image(order, rows, cols, channels):
    """An image's shape in the ordering."""
    return (channels, rows, cols) if order == "th" else (rows, cols, channels)


@case(keras=1)
def old_activations():
    names = ["softmax", "softplus", "softsign", "relu", "tanh", "sigmoid", "hard_sigmoid", "linear"]
    names += [name for name in ("elu",) if hasattr(keras.activations, name)]
    return bundle((6,), *[L.Activation(name) for name in names])


@case(keras=1)
def old_dense():
    return Sequential(
        [
            L.Dense(4, input_dim=5, init="normal", activation="hard_sigmoid"),
            L.Dense(3, bias=False),
            L.Activation("relu"),
            L.Dense(output_dim=2),
        ]
    )


@case(keras=1)
def old_dense_options():
    regularizers = keras.regularizers
    return Sequential(
        [
            L.Dense(
                4,
                input_shape=(5,),
                W_regularizer=regularizers.l2(0.01),
                b_regularizer=regularizers.l1(0.01),
            ),
            L.Dense(
                4,
                activity_regularizer=regularizers.activity_l2(0.01),
                W_constraint=keras.constraints.maxnorm(2),
                b_constraint="nonneg",
            ),
            L.ActivityRegularization(l1=0.1),
            L.Dropout(0.5),
            L.GaussianNoise(0.3),
            L.GaussianDropout(0.3),
            L.Dense(3, W_regularizer=regularizers.l1l2(0.1, 0.1)),
        ]
    )


@case(keras=1)
def old_highway_maxout():
    return Sequential(
        [
            L.Highway(activation="tanh", input_dim=4),
            L.Highway(bias=False),
            L.MaxoutDense(3, nb_feature=2),
            L.MaxoutDense(2, bias=False),
        ]
    )


@case(keras=1)
def old_highway_functional():
    return bundle((3,), L.Highway(activation="relu", transform_bias=-2), L.MaxoutDense(2))


@case(keras=1)
def old_convolution1d():
    make = L.Convolution1D
    return bundle(
        (8, 3),
        make(3, 3),
        make(3, 3, border_mode="same", activation="relu"),
        make(2, 3, subsample_length=2),
        make(2, 2, bias=False),
        make(2, 4, subsample_length=2, border_mode="same"),
    )


@case(keras=1)
def old_atrous1d():
    return bundle(
        (8, 3),
        L.AtrousConvolution1D(2, 3, atrous_rate=2),
        L.AtrousConvolution1D(2, 2, atrous_rate=2, border_mode="same"),
    )


@case("th", "tf", keras=1)
def old_convolution2d(order):
    make = lambda *a, **k: L.Convolution2D(*a, dim_ordering=order, **k)
    return bundle(
        image(order, 6, 5, 2),
        make(3, 3, 2),
        make(2, 3, 3, border_mode="same"),
        make(2, 2, 3, subsample=(2, 1), activation="relu"),
        make(2, 2, 2, bias=False),
    )


@case("th", "tf", keras=1)
def old_convolution2d_same_strides(order):
    make = lambda *a, **k: L.Convolution2D(*a, dim_ordering=order, border_mode="same", **k)
    return bundle(
        image(order, 6, 5, 2),
        make(2, 3, 3, subsample=(2, 2)),
        make(2, 2, 2),
        make(2, 4, 2, subsample=(2, 1)),
    )


@case("th", "tf", keras=1)
def old_convolution_net(order):
    """Flatten kept the order of the numbers, so the Dense after it depends on the ordering."""
    axis = 1 if order == "th" else -1
    k = {"dim_ordering": order}
    return Sequential(
        [
            L.ZeroPadding2D((1, 1), input_shape=image(order, 6, 5, 2), **k),
            L.Convolution2D(3, 3, 3, activation="relu", **k),
            L.BatchNormalization(axis=axis),
            L.MaxPooling2D((2, 2), strides=(2, 2), **k),
            L.Dropout(0.25),
            L.Flatten(),
            L.Dense(4, activation="relu"),
            L.Dense(3, activation="softmax"),
        ]
    )


@case("th", "tf", keras=1)
def old_atrous2d(order):
    make = lambda *a, **k: L.AtrousConvolution2D(*a, dim_ordering=order, **k)
    return bundle(
        image(order, 7, 6, 2),
        make(2, 3, 2, atrous_rate=(2, 2)),
        make(2, 2, 2, atrous_rate=(3, 3), activation="tanh"),
    )


@case("th", "tf", keras=1)
def old_deconvolution2d(order):
    def make(shape, *sizes, **k):
        shape = (ROWS, *image(order, *shape))
        return L.Deconvolution2D(*sizes, output_shape=shape, dim_ordering=order, **k)

    source = L.Input(batch_shape=(ROWS, *image(order, 3, 4, 2)))
    return outputs_of(
        source,
        make((5, 5, 3), 3, 3, 2),
        make((7, 9, 2), 2, 3, 3, subsample=(2, 2), activation="relu"),
        make((6, 8, 2), 2, 2, 2, subsample=(2, 2), bias=False),
    )


@case("th", "tf", keras=1)
def old_deconvolution2d_same(order):
    shape = (ROWS, *image(order, 6, 8, 2))
    source = L.Input(batch_shape=(ROWS, *image(order, 3, 4, 2)))
    return outputs_of(
        source,
        L.Deconvolution2D(
            2, 3, 3, output_shape=shape, dim_ordering=order, subsample=(2, 2), border_mode="same"
        ),
    )


@case("th", "tf", keras=1)
def old_separable(order):
    make = lambda *a, **k: L.SeparableConvolution2D(*a, dim_ordering=order, **k)
    return bundle(
        image(order, 5, 6, 2),
        make(3, 3, 2),
        make(2, 2, 2, depth_multiplier=2),
        make(2, 3, 3, border_mode="same", bias=False),
    )


@case("th", "tf", keras=1)
def old_convolution3d(order):
    shape = (2, 4, 3, 4) if order == "th" else (4, 3, 4, 2)
    make = lambda *a, **k: L.Convolution3D(*a, dim_ordering=order, **k)
    return bundle(
        shape,
        make(2, 2, 3, 2),
        make(2, 2, 2, 2, subsample=(2, 1, 2)),
        L.MaxPooling3D(pool_size=(2, 1, 2), dim_ordering=order),
        L.AveragePooling3D(pool_size=(2, 2, 2), dim_ordering=order),
    )


@case("th", "tf", keras=1)
def old_convolution3d_same(order):
    shape = (2, 4, 3, 4) if order == "th" else (4, 3, 4, 2)
    return bundle(shape, L.Convolution3D(2, 3, 3, 3, dim_ordering=order, border_mode="same"))


@case("th", "tf", keras=1)
def old_locally_connected(order):
    return Sequential(
        [
            L.LocallyConnected2D(
                2, 3, 2, subsample=(2, 1), dim_ordering=order, input_shape=image(order, 6, 5, 2)
            ),
            L.Reshape((8, 2)),
            L.LocallyConnected1D(3, 2, activation="relu"),
        ]
    )


@case("th", "tf", keras=1)
def old_pooling(order):
    k = {"dim_ordering": order}
    return bundle(
        image(order, 6, 7, 2),
        L.MaxPooling2D(**k),
        L.MaxPooling2D((3, 2), strides=(1, 2), **k),
        L.AveragePooling2D((2, 3), **k),
        *[layer(**k) for layer in have("GlobalMaxPooling2D", "GlobalAveragePooling2D")],
    )


@case("th", "tf", keras=1)
def old_pooling_same(order):
    k = {"dim_ordering": order, "border_mode": "same"}
    return bundle(
        image(order, 5, 7, 2), L.MaxPooling2D(**k), L.AveragePooling2D((3, 3), strides=(2, 2), **k)
    )


@case(keras=1)
def old_pooling1d():
    return bundle(
        (7, 2),
        L.MaxPooling1D(),
        L.MaxPooling1D(3, stride=1),
        L.AveragePooling1D(3),
        *[layer() for layer in have("GlobalMaxPooling1D", "GlobalAveragePooling1D")],
    )


@case("th", "tf", keras=1)
def old_padding_cropping_upsampling(order):
    k = {"dim_ordering": order}
    return bundle(
        image(order, 5, 6, 2),
        L.ZeroPadding2D((1, 2), **k),
        L.Cropping2D(((1, 0), (2, 1)), **k),
        L.UpSampling2D((2, 3), **k),
    )


@case("th", "tf", keras=1)
def old_padding_asymmetric(order):
    sides = {"top_pad": 1, "bottom_pad": 2, "left_pad": 0, "right_pad": 3}
    return bundle(
        image(order, 3, 4, 2),
        L.ZeroPadding2D(sides, dim_ordering=order),
        L.ZeroPadding2D((1, 0, 2, 1), dim_ordering=order),
    )


@case(keras=1)
def old_padding_cropping_upsampling1d():
    return bundle((6, 2), L.ZeroPadding1D(2), L.Cropping1D((2, 1)), L.UpSampling1D(3))


@case("th", "tf", keras=1)
def old_padding_cropping_upsampling3d(order):
    shape, k = ((2, 3, 4, 3) if order == "th" else (3, 4, 3, 2)), {"dim_ordering": order}
    return bundle(
        shape,
        L.ZeroPadding3D((1, 0, 2), **k),
        L.Cropping3D(((1, 0), (1, 1), (0, 2)), **k),
        L.UpSampling3D((1, 2, 1), **k),
    )


@case(keras=1)
def old_batchnorm():
    return bundle(
        (3, 4, 3),
        L.BatchNormalization(),
        L.BatchNormalization(axis=1),
        L.BatchNormalization(epsilon=0.1, momentum=0.5),
        L.BatchNormalization(axis=2),
    )


@case(1, 2, keras=1)
def old_batchnorm_mode(mode):
    return Sequential(
        [
            L.Dense(4, input_dim=3),
            L.BatchNormalization(mode=mode),
            L.Dense(2),
            L.BatchNormalization(mode=mode, epsilon=0.1),
        ]
    )


@case(keras=1)
def old_batchnorm_mode_1_images():
    return bundle((2, 3, 4), L.BatchNormalization(mode=1))


@case(keras=1)
def old_advanced_activations():
    return bundle(
        (3, 4, 2),
        L.LeakyReLU(),
        L.LeakyReLU(alpha=0.1),
        L.PReLU(),
        L.ELU(alpha=0.5),
        L.ThresholdedReLU(theta=0.7),
    )


@case(keras=1)
def old_softplus_srelu():
    return bundle((3, 4), L.ParametricSoftplus(), L.SReLU())


@case("PReLU", "SReLU", "ParametricSoftplus", keras=1)
def old_shared_axes(name):
    return bundle((3, 4, 2), getattr(L, name)(shared_axes=[1, 2]))


@case(keras=1)
def old_shapes():
    return bundle(
        (4, 3, 2), L.Permute((3, 1, 2)), L.Reshape((6, -1)), L.Reshape((2, 12)), L.Flatten()
    )


@case(keras=1)
def old_repeat_vector():
    return Sequential(
        [L.RepeatVector(3, input_shape=(4,)), L.Permute((2, 1)), L.Flatten(), L.Dense(2)]
    )


@case(keras=1)
def old_spatial_dropout():
    return Sequential(
        [L.SpatialDropout2D(0.3, dim_ordering="th", input_shape=(2, 3, 4)), L.Flatten(), L.Dense(2)]
    )


@case("SimpleRNN", "LSTM", "GRU", keras=1)
def old_recurrent(name):
    layer = getattr(L, name)
    return bundle(
        (5, 3),
        layer(2),
        layer(2, return_sequences=True),
        layer(2, go_backwards=True),
        layer(2, return_sequences=True, go_backwards=True),
        layer(2, dropout_W=0.3, dropout_U=0.2),
    )


@case("SimpleRNN", "LSTM", "GRU", keras=1)
def old_recurrent_consume_less(name):
    layer = getattr(L, name)
    modes = ["cpu", "mem"] + ["gpu"] * (name != "SimpleRNN")
    return bundle((5, 3), layer(2, unroll=True), *[layer(2, consume_less=mode) for mode in modes])


@case("LSTM", "GRU", keras=1)
def old_recurrent_activation(name):
    layer = getattr(L, name)
    return bundle(
        (5, 3),
        layer(2, inner_activation="sigmoid"),
        layer(2, activation="relu", inner_activation="hard_sigmoid"),
        layer(2, activation="hard_sigmoid", inner_activation="tanh", consume_less="gpu"),
    )


@case(keras=1)
def old_lstm():
    return Sequential(
        [
            L.LSTM(3, return_sequences=True, input_dim=2, input_length=5),
            L.LSTM(2, forget_bias_init="zero"),
            L.Dense(2, activation="softmax"),
        ]
    )


@case("SimpleRNN", "LSTM", "GRU", keras=1)
def old_stateful(name):
    layer = getattr(L, name)
    return Sequential(
        [
            layer(3, stateful=True, return_sequences=True, batch_input_shape=(ROWS, 4, 2)),
            layer(2, stateful=True),
        ]
    )


@case(keras=1)
def old_bidirectional():
    modes = ("sum", "mul", "concat", "ave")
    return bundle(
        (4, 3),
        *[
            L.Bidirectional(L.GRU(2, return_sequences=mode != "sum"), merge_mode=mode)
            for mode in modes
        ],
    )


@case("SimpleRNN", "LSTM", "GRU", keras=1)
def old_bidirectional_sequential(name):
    layer = getattr(L, name)
    return Sequential(
        [
            L.Bidirectional(layer(2, return_sequences=True), input_shape=(4, 3)),
            L.Bidirectional(layer(2, consume_less="mem")),
            L.Dense(2),
        ]
    )


@case(keras=1)
def old_bidirectional_none():
    source = L.Input(shape=(4, 3))
    return Model(source, L.Bidirectional(L.LSTM(2), merge_mode=None)(source))


@case("th", "tf", keras=1)
def old_conv_lstm2d(order):
    shape = (3, *image(order, 4, 5, 2))
    k = {"dim_ordering": order, "border_mode": "same"}
    return bundle(
        shape,
        L.ConvLSTM2D(2, 2, 3, return_sequences=True, **k),
        L.ConvLSTM2D(2, 3, 3, inner_activation="sigmoid", **k),
    )


@case("th", "tf", keras=1)
def old_conv_lstm2d_valid(order):
    return bundle(
        (3, *image(order, 4, 5, 2)),
        L.ConvLSTM2D(2, 2, 3, dim_ordering=order, border_mode="valid", go_backwards=True),
    )


@case(keras=1)
def old_embedding():
    return Made(
        Sequential([L.Embedding(9, 3, input_length=5, dropout=0.2), L.Flatten(), L.Dense(2)]),
        whole(9, 5),
    )


@case(keras=1)
def old_embedding_variable_length():
    return Made(
        Sequential([L.Embedding(9, 3), L.LSTM(2), L.Dense(1, activation="sigmoid")]), whole(9, 5)
    )


def old_embedded_recurrent():
    source = L.Input(shape=(5,), dtype="int32")
    embedded = L.Embedding(9, 3, mask_zero=True)(source)
    return Model(
        source,
        [
            L.LSTM(2)(embedded),
            L.GRU(2, return_sequences=True)(embedded),
            L.SimpleRNN(2, go_backwards=True)(embedded),
            L.Bidirectional(L.LSTM(2))(embedded),
        ],
    )


@case(keras=1)
def old_mask_zero_unused():
    return Made(old_embedded_recurrent(), whole(9, 5, low=1))


@case(keras=1)
def old_mask_zero():
    return Made(old_embedded_recurrent(), padded())


@case(keras=1)
def old_mask_zero_stacked():
    return Made(
        Sequential(
            [
                L.Embedding(9, 3, mask_zero=True, input_length=5),
                L.LSTM(2, return_sequences=True),
                L.Dropout(0.2),
                L.TimeDistributed(L.Dense(3, activation="relu")),
                L.GRU(2),
                L.Dense(2),
            ]
        ),
        padded(),
    )


@case(keras=1)
def old_masking():
    return Made(
        Sequential(
            [
                L.Masking(0.0, input_shape=(5, 3)),
                L.LSTM(3, return_sequences=True),
                L.GRU(2, return_sequences=True),
                L.SimpleRNN(2),
                L.Dense(2),
            ]
        ),
        zeroed(),
    )


@case(keras=1)
def old_time_distributed():
    sequence = L.Input(shape=(3, 4))
    inner = Sequential([L.Dense(3, input_dim=4, activation="tanh"), L.Dense(2)])
    source = L.Input(shape=(4,))
    functional = Model(source, L.Dense(2)(L.Dense(3, activation="tanh")(source)))
    return Model(
        sequence,
        [
            L.TimeDistributed(inner)(sequence),
            L.TimeDistributed(L.Dense(2))(sequence),
            L.TimeDistributed(functional)(sequence),
        ],
    )


@case("th", "tf", keras=1)
def old_time_distributed_images(order):
    k = {"dim_ordering": order}
    return Sequential(
        [
            L.TimeDistributed(
                L.Convolution2D(2, 2, 2, activation="relu", **k),
                input_shape=(3, *image(order, 5, 5, 1)),
            ),
            L.TimeDistributed(L.MaxPooling2D((2, 2), **k)),
            L.TimeDistributed(L.Flatten()),
            L.LSTM(2),
            L.Dense(2),
        ]
    )


@case(keras=1)
def old_time_distributed_dense():
    return Sequential(
        [
            L.TimeDistributedDense(3, input_shape=(4, 2), activation="tanh"),
            L.TimeDistributedDense(2, bias=False),
            L.GRU(2),
        ]
    )


def towers(*shapes):
    """One small Sequential per input shape."""
    return [Sequential([L.Dense(3, input_shape=shape)]) for shape in shapes]


@case("sum", "mul", "concat", "ave", "max", "dot", "cos", keras=1)
def old_merge_sequential(mode):
    """A Merge layer inside a Sequential."""
    return Sequential(
        [L.Merge(towers((4,), (5,)), mode=mode), L.Reshape((-1,)) if mode == "cos" else L.Dense(2)]
    )


@case(keras=1)
def old_merge_sequential_concat_axis():
    return Sequential(
        [L.Merge(towers((4, 2), (5, 2)), mode="concat", concat_axis=1), L.GRU(2), L.Dense(2)]
    )


@case(keras=1)
def old_merge_sequential_dot_axes():
    return Sequential(
        [L.Merge(towers((4, 2), (4, 2)), mode="dot", dot_axes=(1, 1)), L.Flatten(), L.Dense(2)]
    )


@case(keras=1)
def old_merge_function():
    one, two = inputs_of((4,), (4,))
    modes = ("sum", "mul", "concat", "ave", "max")
    return Model([one, two], [L.merge([one, L.Dense(4)(two)], mode=mode) for mode in modes])


@case(keras=1)
def old_merge_function_dot():
    one, two, three, four = inputs_of((4, 3), (4, 5), (4,), (4,))
    return Model(
        [one, two, three, four],
        [L.merge([one, two], mode="dot", dot_axes=[1, 1]), L.merge([three, four], mode="dot")],
    )


@case(keras=1)
def old_merge_function_cos():
    one, two = inputs_of((4,), (4,))
    return Model(
        [one, two],
        [
            L.merge([one, two], mode="cos"),
            L.merge([L.Dense(3)(one), L.Dense(3)(two)], mode="cos", dot_axes=1),
        ],
    )


@case(keras=1)
def old_merge_function_concat_axis():
    one, two, three = inputs_of((4, 3), (2, 3), (4, 3))
    return Model(
        [one, two, three],
        [
            L.merge([one, two, one], mode="concat", concat_axis=1),
            L.merge([one, three, three], mode="concat"),
            L.merge([one, three, one], mode="sum"),
        ],
    )


@case(keras=1)
def old_merge_lambda():
    one, two = inputs_of((4,), (4,))
    return Model(
        [one, two],
        L.Dense(2)(
            L.merge(
                [one, two],
                mode=lambda pair: pair[0] - pair[1],
                output_shape=lambda shapes: shapes[0],
            )
        ),
    )


@case(keras=1)
def old_lambda():
    return Sequential([L.Dense(3, input_dim=4), L.Lambda(lambda x: x * 2 + 1), L.Dense(2)])


@case(keras=1)
def old_functional():
    one, two = inputs_of((4,), (3,))
    joined = L.merge(
        [L.Dense(3, activation="relu", name="left")(one), L.Dense(3, name="right")(two)],
        mode="concat",
        name="joined",
    )
    hidden = L.Dense(4, activation="tanh", name="hidden")(joined)
    return Model(
        [one, two],
        [
            L.Dense(2, activation="softmax", name="kind")(hidden),
            L.Dense(1, activation="sigmoid", name="sure")(hidden),
            joined,
        ],
    )


@case(keras=1)
def old_shared():
    one, two = inputs_of((4,), (4,))
    layer = L.Dense(4, activation="tanh")
    return Model([one, two], [L.Dense(2)(layer(one)), layer(two)])


@case(keras=1)
def old_shared_chain():
    source = L.Input(shape=(4,))
    layer = L.Dense(4, activation="tanh")
    return Model(source, layer(layer(layer(source))))


@case(keras=1)
def old_shared_batchnorm():
    one, two = inputs_of((4,), (4,))
    norm = L.BatchNormalization(mode=2)
    return Model([one, two], [norm(one), norm(L.Dense(4)(two))])


@case(keras=1)
def old_nested():
    source = L.Input(shape=(4,))
    inner = Sequential([L.Dense(3, activation="relu", input_dim=4), L.Dense(3)], name="inner")
    middle = Model(source, L.BatchNormalization()(inner(source)), name="middle")
    return Sequential([L.Dense(4, input_dim=5), middle, L.Dense(2)])


@case(keras=1)
def old_nested_functional():
    inside = L.Input(shape=(4,))
    inner = Model(inside, [L.Dense(3)(inside), L.Dense(2, activation="tanh")(inside)], name="inner")
    middle_in = L.Input(shape=(4,))
    parts = inner(L.Dense(4)(middle_in))
    middle = Model(middle_in, L.merge(parts, mode="concat"), name="middle")
    source = L.Input(shape=(4,))
    return Model(source, [L.Dense(2)(middle(source)), inner(source)[0]])


@case(keras=1)
def old_nested_twice():
    inner = Sequential([L.Dense(3, activation="relu", input_dim=4), L.Dense(2)], name="tower")
    one, two = inputs_of((4,), (4,))
    return Model([one, two], L.Dense(1)(L.merge([inner(one), inner(two)], mode="concat")))


def old_frozen_inner():
    source = L.Input(shape=(4,))
    hidden = L.BatchNormalization(name="bn1")(L.Dense(4, name="dense1")(source))
    hidden = L.BatchNormalization(name="bn2")(L.Dense(4, name="dense2")(hidden))
    return Model(source, hidden, name="base")


@case(keras=1)
def old_nested_frozen():
    inner = old_frozen_inner()
    inner.trainable = False
    source = L.Input(shape=(4,))
    return Model(source, L.Dense(2)(inner(source)))


@case(keras=1)
def old_nested_frozen_sequential():
    inner = old_frozen_inner()
    for layer in inner.layers[:3]:
        layer.trainable = False
    return Sequential([inner, L.Dense(3, trainable=False), L.BatchNormalization(), L.Dense(2)])


@case(keras=1)
def old_nested_sequentials():
    """A Sequential whose first layer is a Sequential."""
    deepest = Sequential([L.Dense(3, input_dim=4), L.BatchNormalization()])
    deep = Sequential([deepest, L.Activation("relu")])
    return Sequential([deep, L.Dense(2)])


@case(keras=1)
def old_slash_names():
    return Sequential(
        [
            L.Dense(3, input_dim=4, name="block/one"),
            L.BatchNormalization(name="a/b"),
            L.Dense(2, name="block/out/deep"),
        ]
    )


@case(keras=1)
def old_variable_sizes():
    return Sequential(
        [L.Convolution1D(3, 2, input_shape=(None, 2)), L.GlobalMaxPooling1D(), L.Dense(2)]
    )


@case("sgd", "adam", keras=1)
def old_compiled(optimizer):
    return trained(
        Sequential([L.Dense(3, input_dim=4), L.BatchNormalization(), L.Dense(2)]),
        optimizer,
        numbers(2),
    )


# Making, saving, checking.


def random_value(name, value):
    """New numbers for one weight; what has to be positive stays so."""
    if value.dtype.kind != "f" and value.dtype.name != "bfloat16":
        return value
    if any(word in name for word in ("variance", "running_std", "stddev")):
        low, high = 0.3, 2.0
    elif "gamma" in name:
        low, high = 0.5, 1.5
    else:
        low, high = -0.9, 0.9
    return steps(np.random.uniform(low, high, value.shape), 64).astype(value.dtype)


def randomise(model):
    """Set every weight, biases and moving averages too, to random numbers."""
    weights = model.weights
    values = [
        random_value(str(w.name), np.asarray(v))
        for w, v in zip(weights, K.batch_get_value(weights))
    ]
    K.batch_set_value(list(zip(weights, values)))


def listed(value):
    """A list of what may be one, a dict or already a list."""
    if isinstance(value, dict):
        return [value[key] for key in sorted(value)]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def input_shapes(model):
    """The inputs' shapes without the rows; unknown sizes are 5."""
    shapes = listed(model.input_shape)
    if not isinstance(shapes[0], (list, tuple)):
        shapes = [tuple(shapes)]
    return [tuple(size or 5 for size in shape[1:]) for shape in shapes]


def predicted(model, inputs, called=False):
    """What the model predicts, a list of arrays; `called` eagerly, which is faster."""
    if any(getattr(layer, "stateful", False) for layer in model.layers):
        model.reset_states()
    rows = len(inputs[0])
    names = getattr(model, "_nested_inputs", None)
    if any(x.dtype.kind == "U" for x in inputs):
        inputs = [tf.constant(x) for x in inputs]
    source = inputs if len(inputs) > 1 else inputs[0]
    if isinstance(names, dict):
        source = dict(zip(sorted(names), inputs))
    if called:
        return [np.asarray(y) for y in listed(model(source, training=False))]
    return [np.asarray(y) for y in listed(model.predict(source, batch_size=rows))]


def loaded(path):
    """The model that this Keras makes of its own file."""
    try:
        return load_model(path, compile=False)
    except TypeError:
        return load_model(path)


def same(one, two):
    """Whether two lists of predictions agree to 1e-6; words to the letter."""
    return len(one) == len(two) and all(
        a.shape == b.shape
        and (
            np.allclose(a, b, rtol=1e-6, atol=1e-6) if a.dtype.kind != "O" else np.array_equal(a, b)
        )
        for a, b in zip(one, two)
    )


def texts(model):
    """The model's JSON and YAML, where this version writes them."""
    for name in ("json", "yaml"):
        try:
            yield name, getattr(model, "to_" + name)()
        except (AttributeError, RuntimeError):
            continue


def expected(made, inputs, path):
    """The predictions: by the model, or by its twin with the file's weights."""
    if made.twin is None:
        return predicted(made.model, inputs)
    try:
        made.twin.load_weights(path)
    except (ValueError, IndexError):
        made.twin.set_weights(made.model.get_weights())
    return predicted(made.twin, inputs)


def checked(made, inputs, outputs, path):
    """Raise where the file, loaded by its writer, predicts something else."""
    again = loaded(path)
    if made.twin is None:
        eager = DIALECT == "tf.keras" and tf.executing_eagerly()
        assert same(outputs, predicted(again, inputs, eager)), "loaded again it predicts others"
    else:
        before, after = made.model.get_weights(), again.get_weights()
        assert same(before, after), "loaded again it has other weights"


def make(name, folder):
    """Write one case's files into the folder."""
    if MAJOR == 1:  # some layers' config leaves the ordering out: it is the user's default then
        K.set_image_dim_ordering("th" if name.endswith("_th") else "tf")
    np.random.seed(zlib.crc32(name.encode()) % 2**31)
    made = CASES[name]()
    made = made if isinstance(made, Made) else Made(made)
    if made.random:
        randomise(made.model)
    inputs = made.inputs or [numbers(*shape) for shape in input_shapes(made.model)]
    path = str(folder / (name + ".h5"))
    made.model.save(
        path,
        **({"save_format": "h5"} if DIALECT == "tf.keras" and tf.__version__ >= "2.12" else {}),
    )
    outputs = expected(made, inputs, path)
    checked(made, inputs, outputs, path)
    arrays = {f"x{i}": x for i, x in enumerate(inputs)}
    arrays.update(
        {f"y{i}": y.astype("S") if y.dtype.kind == "O" else y for i, y in enumerate(outputs)}
    )
    np.savez(str(folder / (name + ".npz")), **arrays)
    if name in SAVED_APART and WRITER in FULL:
        made.model.save_weights(str(folder / (name + ".weights.h5")))
        for kind, text in texts(made.model):
            (folder / (name + "." + kind)).write_text(text)
    if DIALECT == "tf.keras" and WRITER in FULL and name in FEW and tf.__version__ >= "2.12":
        made.model.save(str(folder / (name + ".keras")))


def attempt(name, folder):
    """Write one case's files; whether that went well. What failed leaves nothing."""
    clear_session()
    try:
        make(name, folder)
    except Exception as error:
        for left in folder.glob(name + ".*"):
            left.unlink()
        if len(sys.argv) > 3:
            traceback.print_exc()
        reason = " ".join(str(error).split())
        print("skipped", name, type(error).__name__, reason[:150])
        return False
    return True


def pack(folder, path):
    """One zip of the folder's files, the same bytes for the same files."""
    with zipfile.ZipFile(str(path), "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(file.name, (2000, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())


def clear_session():
    """Forget the last model; a fresh session of one thread, for the neighbours' sake.

    TensorFlow 1 looks for a kernel for every operation of the graph, unless told to look only at
    those that run: CuDNN layers have none here.
    """
    if hasattr(K, "clear_session"):
        K.clear_session()
    if hasattr(tf, "ConfigProto"):
        config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        config.graph_options.place_pruned_graph = True
        K.set_session(tf.Session(config=config))


def limit_threads():
    """One thread in TensorFlow 2."""
    if tf is not None and not hasattr(tf, "ConfigProto"):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def main():
    limit_threads()
    wanted = [
        name
        for name in CASES
        if (WRITER in FULL or name in FEW) and not (WRITER in THINNED and name in STEADY)
    ]
    if len(sys.argv) > 3:
        wanted = [name for name in CASES if sys.argv[3] in name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        done = [name for name in wanted if attempt(name, folder)]
        path = Path(sys.argv[2]) / (WRITER + ".zip")
        if len(sys.argv) < 4:
            pack(folder, path)
            print(
                WRITER,
                len(done),
                "cases",
                path.stat().st_size,
                "bytes; skipped:",
                *[name for name in wanted if name not in done],
            )


if __name__ == "__main__":
    main()
