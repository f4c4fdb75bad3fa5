"""GarNet, written from its papers: arXiv 1902.07987 and, for the simplified form, 2008.03601.

Each vertex learns features and a distance to each aggregator; an aggregator's answer is the mean of
the features weighted by exp(-distance²), which is handed back to the vertices by the same weights.
"""

import keras
from keras import ops


class GarNet(keras.layers.Layer):
    def __init__(
        self,
        n_aggregators,
        n_filters,
        n_propagate,
        simplified=True,
        collapse=None,
        input_format="xn",
        output_activation=None,
        quantize_transforms=False,
        mean_by_nvert=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not simplified or input_format != "xn" or quantize_transforms:
            raise ValueError("only the simplified, unquantized form with (x, n) is written here")
        self.n_aggregators = n_aggregators
        self.n_filters = n_filters
        self.n_propagate = n_propagate
        self.collapse = collapse
        self.mean_by_nvert = mean_by_nvert
        self.activation = keras.activations.get(output_activation)

    def build(self, shapes):
        features = shapes[0][-1]
        aggregated = self.n_aggregators * self.n_propagate
        self.parts = [
            (self.add_weight(shape=(rows, columns)), self.add_weight(shape=(columns,)))
            for rows, columns in (
                (features, self.n_propagate),
                (features, self.n_aggregators),
                (aggregated, self.n_filters),
            )
        ]

    def call(self, inputs):
        x, count = inputs
        vertices = x.shape[1]
        (to_features, bias_f), (to_distances, bias_d), (to_output, bias_o) = self.parts
        exists = ops.cast(ops.arange(vertices) < ops.cast(count, "int32"), x.dtype)[..., None]
        weights = exists * ops.exp(-ops.square(ops.matmul(x, to_distances) + bias_d))
        features = ops.matmul(x, to_features) + bias_f
        total = ops.matmul(ops.transpose(weights, (0, 2, 1)), features)
        number = ops.cast(count, x.dtype)[..., None] if self.mean_by_nvert else float(vertices)
        means = total / number
        back = weights[..., None] * means[:, None]
        back = ops.reshape(back, (-1, vertices, self.n_aggregators * self.n_propagate))
        out = self.activation(exists * (ops.matmul(back, to_output) + bias_o))
        if self.collapse is None:
            return out
        if self.mean_by_nvert:
            return ops.sum(out, axis=1) / number[..., 0]
        return ops.mean(out, axis=1)

    def compute_output_shape(self, shapes):
        batch, vertices, _ = shapes[0]
        return (batch, self.n_filters) if self.collapse else (batch, vertices, self.n_filters)

    def get_config(self):
        return {
            **super().get_config(),
            "n_aggregators": self.n_aggregators,
            "n_filters": self.n_filters,
            "n_propagate": self.n_propagate,
            "collapse": self.collapse,
            "mean_by_nvert": self.mean_by_nvert,
            "output_activation": keras.activations.serialize(self.activation),
        }
