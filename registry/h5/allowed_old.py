"""Names that only Keras 1, Keras 2 and tf.keras gave: data, no imports.

Left out are those that run what the file brings: ``Lambda`` has its own rule in audit.py, and
``ClassMethod``, ``InstanceMethod`` and ``InstanceProperty`` reach for any attribute of a TensorFlow
object. TensorFlow's operators are in ``registry/tensorflow_names.py``.
"""

LAYERS = frozenset(
    [
        "AtrousConv1D",
        "AtrousConv2D",
        "AtrousConvolution1D",
        "AtrousConvolution2D",
        "BatchNormalizationV1",
        "BatchNormalizationV2",
        "CategoryCrossing",
        "ConvLSTM2DCell",
        "ConvRNN",
        "ConvRNN2D",
        "ConvRecurrent2D",
        "CuDNNGRU",
        "CuDNNLSTM",
        "Custom>CustomScaleLayer",
        "CustomScaleLayer",
        "LayerScale",
        "StochasticDepth",
        "Deconvolution2D",
        "Deconvolution3D",
        "GRUCellV1",
        "GRUCellV2",
        "GRUV1",
        "GRUV2",
        "Highway",
        "LSTMCellV1",
        "LSTMCellV2",
        "LSTMV1",
        "LSTMV2",
        "LocallyConnected1D",
        "LocallyConnected2D",
        "MaxoutDense",
        "Merge",
        "ParametricSoftplus",
        "PeepholeLSTMCell",
        "RandomFourierFeatures",
        "RandomHeight",
        "RandomWidth",
        "SReLU",
        "SlicingOpLambda",
        "SyncBatchNormalization",
        "TFOpLambda",
        "TensorFlowOpLayer",
        "ThresholdedLinear",
        "ThresholdedReLU",
        "TimeDistributedDense",
        "UnifiedGRU",
        "UnifiedLSTM",
    ]
)
"""Layers of other names or of no successor; ``CustomScaleLayer`` is InceptionResNetV2's,

``LayerScale`` and ``StochasticDepth`` are ConvNeXt's.
"""


INITIALIZERS = frozenset(
    [
        "GlorotNormalV2",
        "GlorotUniformV2",
        "HeNormalV2",
        "HeUniformV2",
        "LecunNormalV2",
        "LecunUniformV2",
        "Normal",
        "One",
        "OnesV2",
        "OrthogonalV2",
        "RandomNormalV2",
        "RandomUniformV2",
        "TruncatedNormalV2",
        "Uniform",
        "VarianceScalingV2",
        "Zero",
        "ZerosV2",
        "normal",
        "one",
        "uniform",
        "zero",
    ]
)
"""Keras 1's functions and tf.keras' class names."""

REGULARIZERS = frozenset(
    [
        "ActivityRegularizer",
        "EigenvalueRegularizer",
        "L1L2Regularizer",
        "WeightRegularizer",
        "activity_l1",
        "activity_l1l2",
        "activity_l2",
        "l1l2",
    ]
)
"""Keras 1's, where a dictionary names its class under ``name``."""

CONSTRAINTS = frozenset(
    [
        "RadialConstraint",
        "max_norm_constraint",
        "maxnorm",
        "nonneg",
        "radial_constraint",
        "unitnorm",
    ]
)
"""Keras 1's functions, and one of tf.keras that is gone."""

ACTIVATIONS = frozenset(
    [
        "crelu",
        "leaky_relu_v2",
        "log_softmax_v2",
        "relu_v2",
        "silu_v2",
        "softmax_v2",
        "softplus_v2",
        "softsign_v2",
        "swish_v2",
    ]
)
"""``tf.nn`` functions as tf.keras wrote them."""

TRAINING = frozenset(
    [
        "KLD",
        "MAE",
        "MAPE",
        "MSE",
        "MSLE",
        "MeanRelativeError",
        "MeanTensor",
        "SumOverBatchSize",
        "SumOverBatchSizeMetricWrapper",
    ]
)
"""Losses and metrics."""

TRAINING_FUNCTIONS = frozenset(
    [
        "kld",
        "kullback_leibler_divergence",
        "logcosh",
        "mae",
        "mape",
        "mse",
        "msle",
    ]
)
"""Losses and metrics as functions."""

MERGE_MODES = frozenset(
    [
        "ave",
        "concat",
        "cos",
        "dot",
        "max",
        "min",
        "mul",
        "sub",
        "sum",
    ]
)
"""How Keras 1's ``Merge`` combines; anything else is a function."""
