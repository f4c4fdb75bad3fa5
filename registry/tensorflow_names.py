"""The operators of TensorFlow that a model may name: data, no imports.

They only compute: none reads, prints, calls back or draws random numbers, and none answers ragged
or sparse tensors. FUNCTIONS is of TFOpLambda (tf.keras 2.4 to 2.15), NODES of TensorFlowOpLayer
(tf.keras 1.14 to 2.3).
"""

FUNCTIONS = {
    "": """
        argsort batch_to_space bitcast boolean_mask broadcast_to cast clip_by_norm
        clip_by_value concat convert_to_tensor einsum ensure_shape expand_dims eye fill
        gather gather_nd identity linspace meshgrid norm one_hot ones ones_like pad range
        rank realdiv repeat reshape reverse reverse_sequence roll scatter_nd searchsorted
        sequence_mask shape size slice sort space_to_batch space_to_batch_nd split squeeze
        stack stop_gradient strided_slice tensor_scatter_nd_add tensor_scatter_nd_max
        tensor_scatter_nd_min tensor_scatter_nd_sub tensor_scatter_nd_update tensordot tile
        transpose truncatediv truncatemod unravel_index unstack where zeros zeros_like
    """,
    "__operators__": """
        add eq getitem ne
    """,
    "bitwise": """
        bitwise_and bitwise_or bitwise_xor invert left_shift right_shift
    """,
    "compat.v1": """
        batch_gather batch_to_space batch_to_space_nd boolean_mask clip_by_average_norm
        convert_to_tensor div expand_dims floor_div gather gather_nd norm ones_like pad
        shape size squeeze to_double to_float to_int32 to_int64 transpose where zeros_like
    """,
    "compat.v1.image": """
        crop_and_resize extract_image_patches resize_area resize_bicubic resize_bilinear
        resize_image_with_pad resize_images resize_nearest_neighbor
    """,
    "compat.v1.math": """
        argmax argmin count_nonzero reduce_all reduce_any reduce_logsumexp reduce_max
        reduce_mean reduce_min reduce_prod reduce_sum scalar_mul
    """,
    "compat.v1.nn": """
        avg_pool batch_norm_with_global_normalization conv1d conv2d conv2d_transpose conv3d
        conv3d_transpose convolution crelu depth_to_space depthwise_conv2d
        depthwise_conv2d_native dilation2d embedding_lookup erosion2d fused_batch_norm
        log_softmax max_pool moments pool separable_conv2d sigmoid_cross_entropy_with_logits
        softmax space_to_batch space_to_depth weighted_moments
    """,
    "dtypes": """
        complex saturate_cast
    """,
    "image": """
        adjust_brightness adjust_contrast adjust_gamma adjust_hue adjust_saturation
        central_crop convert_image_dtype crop_and_resize crop_to_bounding_box
        extract_patches flip_left_right flip_up_down grayscale_to_rgb hsv_to_rgb
        image_gradients pad_to_bounding_box per_image_standardization psnr resize
        resize_with_crop_or_pad resize_with_pad rgb_to_grayscale rgb_to_hsv rgb_to_yiq
        rgb_to_yuv rot90 sobel_edges ssim total_variation transpose yiq_to_rgb yuv_to_rgb
    """,
    "keras.backend": """
        batch_flatten
    """,
    "linalg": """
        adjoint band_part cholesky cholesky_solve cross det diag diag_part eigh eigvalsh inv
        logdet lstsq matmul matrix_rank matrix_transpose matvec normalize pinv qr set_diag
        solve svd tensor_diag tensor_diag_part trace triangular_solve
    """,
    "math": """
        abs accumulate_n acos acosh add add_n angle argmax argmin asin asinh atan atan2
        atanh bessel_i0 bessel_i0e bessel_i1 bessel_i1e betainc ceil conj cos cosh
        count_nonzero cumprod cumsum cumulative_logsumexp digamma divide divide_no_nan equal
        erf erfc erfcinv erfinv exp expm1 floor floordiv floormod greater greater_equal
        igamma igammac imag invert_permutation is_finite is_inf is_nan l2_normalize lbeta
        less less_equal lgamma log log1p log_sigmoid logical_and logical_not logical_or
        logical_xor maximum minimum multiply multiply_no_nan ndtri negative nextafter
        not_equal polygamma polyval pow real reciprocal reciprocal_no_nan reduce_all
        reduce_any reduce_euclidean_norm reduce_logsumexp reduce_max reduce_mean reduce_min
        reduce_prod reduce_std reduce_sum reduce_variance rint round rsqrt scalar_mul
        segment_max segment_mean segment_min segment_prod segment_sum sigmoid sign sin sinh
        softplus sqrt square squared_difference subtract tan tanh top_k truediv
        unsorted_segment_max unsorted_segment_mean unsorted_segment_min
        unsorted_segment_prod unsorted_segment_sqrt_n unsorted_segment_sum xdivy xlog1py
        xlogy zero_fraction zeta
    """,
    "nn": """
        atrous_conv2d atrous_conv2d_transpose avg_pool avg_pool1d avg_pool2d avg_pool3d
        batch_norm_with_global_normalization batch_normalization bias_add conv1d
        conv1d_transpose conv2d conv2d_transpose conv3d conv3d_transpose conv_transpose
        convolution crelu depth_to_space depthwise_conv2d dilation2d elu embedding_lookup
        erosion2d gelu isotonic_regression l2_loss leaky_relu local_response_normalization
        log_softmax max_pool max_pool1d max_pool2d max_pool3d moments normalize_moments pool
        relu relu6 selu separable_conv2d sigmoid_cross_entropy_with_logits silu softmax
        softmax_cross_entropy_with_logits softsign space_to_depth weighted_moments
    """,
    "signal": """
        dct fft fft2d fft3d fftshift frame hamming_window hann_window idct ifft ifft2d
        ifft3d ifftshift inverse_stft linear_to_mel_weight_matrix
        mfccs_from_log_mel_spectrograms overlap_and_add stft
    """,
    "strings": """
        as_string join length lower regex_full_match regex_replace strip substr
        to_hash_bucket to_hash_bucket_fast to_number upper
    """,
}
"""Functions of TensorFlow by module, named as tf.keras 2.4 to 2.15 write them."""

TF_OPERATORS = frozenset(
    f"{module}.{name}".lstrip(".") for module, names in FUNCTIONS.items() for name in names.split()
)
"""The functions a TFOpLambda or SlicingOpLambda may name."""

NODES = {
    "Abs": "x:T",
    "Acos": "x:T",
    "Acosh": "x:T",
    "Add": "x:T y:T",
    "AddN": "*inputs:T",
    "AddV2": "x:T y:T",
    "AdjustContrastv2": "images:T contrast_factor",
    "AdjustHue": "images:T delta",
    "AdjustSaturation": "images:T scale",
    "All": "input axis:Tidx | keep_dims",
    "Angle": "input:T | Tout",
    "Any": "input axis:Tidx | keep_dims",
    "ArgMax": "input:T dimension:Tidx | output_type",
    "ArgMin": "input:T dimension:Tidx | output_type",
    "AsString": "input:T | precision scientific shortest width fill",
    "Asin": "x:T",
    "Asinh": "x:T",
    "Atan": "x:T",
    "Atan2": "y:T x:T",
    "Atanh": "x:T",
    "AvgPool": "value:T | ksize strides padding data_format",
    "AvgPool3D": "input:T | ksize strides padding data_format",
    "BatchMatMul": "x:T y:T | adj_x adj_y grad_x grad_y",
    "BatchMatMulV2": "x:T y:T | adj_x adj_y grad_x grad_y",
    "BatchMatMulV3": "x:Ta y:Tb | Tout adj_x adj_y grad_x grad_y",
    "BatchToSpace": "input:T crops:Tidx | block_size",
    "BatchToSpaceND": "input:T block_shape:Tblock_shape crops:Tcrops",
    "BesselI0e": "x:T",
    "BesselI1e": "x:T",
    "Betainc": "a:T b:T x:T",
    "BiasAdd": "value:T bias:T | data_format",
    "Bitcast": "input:T | type",
    "BitwiseAnd": "x:T y:T",
    "BitwiseOr": "x:T y:T",
    "BitwiseXor": "x:T y:T",
    "BroadcastArgs": "s0:T s1:T",
    "BroadcastTo": "input:T shape:Tidx",
    "Cast": "x:SrcT | DstT Truncate",
    "Ceil": "x:T",
    "Cholesky": "input:T",
    "ClipByValue": "t:T clip_value_min:T clip_value_max:T",
    "Complex": "real:T imag:T | Tout",
    "ComplexAbs": "x:T | Tout",
    "ConcatV2": "*values:T axis:Tidx",
    "Conj": "input:T",
    "Conv2D": "input:T filter:T "
    "| strides use_cudnn_on_gpu padding explicit_paddings data_format dilations",
    "Conv2DBackpropInput": "input_sizes filter:T out_backprop:T "
    "| strides use_cudnn_on_gpu padding explicit_paddings data_format dilations",
    "Conv3D": "input:T filter:T | strides padding data_format dilations",
    "Cos": "x:T",
    "Cosh": "x:T",
    "CropAndResize": "image:T boxes box_ind crop_size | method extrapolation_value",
    "Cross": "a:T b:T",
    "Cumprod": "x:T axis:Tidx | exclusive reverse",
    "Cumsum": "x:T axis:Tidx | exclusive reverse",
    "CumulativeLogsumexp": "x:T axis:Tidx | exclusive reverse",
    "DepthToSpace": "input:T | block_size data_format",
    "DepthwiseConv2dNative": "input:T filter:T "
    "| strides padding explicit_paddings data_format dilations",
    "Digamma": "x:T",
    "Dilation2D": "input:T filter:T | strides rates padding",
    "Div": "x:T y:T",
    "DivNoNan": "x:T y:T",
    "Einsum": "*inputs:T | equation",
    "Elu": "features:T",
    "EnsureShape": "input:T | shape",
    "Equal": "x:T y:T | incompatible_shape_error",
    "Erf": "x:T",
    "Erfc": "x:T",
    "Erfinv": "x:T",
    "EuclideanNorm": "input:T axis:Tidx | keep_dims",
    "Exp": "x:T",
    "ExpandDims": "input:T axis:Tdim",
    "Expm1": "x:T",
    "ExtractImagePatches": "images:T | ksizes strides rates padding",
    "FFT": "input:Tcomplex",
    "FFT2D": "input:Tcomplex",
    "Fill": "dims:index_type value:T",
    "Floor": "x:T",
    "FloorDiv": "x:T y:T",
    "FloorMod": "x:T y:T",
    "FusedBatchNorm": "x:T scale:T offset:T mean:T variance:T "
    "| epsilon exponential_avg_factor data_format is_training",
    "FusedBatchNormV2": "x:T scale:U offset:U mean:U variance:U "
    "| epsilon exponential_avg_factor data_format is_training",
    "FusedBatchNormV3": "x:T scale:U offset:U mean:U variance:U "
    "| epsilon exponential_avg_factor data_format is_training",
    "Gather": "params:Tparams indices:Tindices | validate_indices",
    "GatherNd": "params:Tparams indices:Tindices | bad_indices_policy",
    "GatherV2": "params:Tparams indices:Tindices axis:Taxis | batch_dims",
    "Greater": "x:T y:T",
    "GreaterEqual": "x:T y:T",
    "HSVToRGB": "images:T",
    "IFFT": "input:Tcomplex",
    "IFFT2D": "input:Tcomplex",
    "IRFFT": "input:Tcomplex fft_length | Treal",
    "IRFFT2D": "input:Tcomplex fft_length | Treal",
    "Identity": "input:T",
    "Igamma": "a:T x:T",
    "Igammac": "a:T x:T",
    "Imag": "input:T | Tout",
    "Inv": "x:T",
    "Invert": "x:T",
    "InvertPermutation": "x:T",
    "IsFinite": "x:T",
    "IsInf": "x:T",
    "IsNan": "x:T",
    "IsotonicRegression": "input:T | output_dtype",
    "L2Loss": "t:T",
    "LRN": "input:T | depth_radius bias alpha beta",
    "LeakyRelu": "features:T | alpha",
    "LeftShift": "x:T y:T",
    "Less": "x:T y:T",
    "LessEqual": "x:T y:T",
    "Lgamma": "x:T",
    "LinSpace": "start:T stop:T num:Tidx",
    "Log": "x:T",
    "Log1p": "x:T",
    "LogSoftmax": "logits:T",
    "LogicalAnd": "x y",
    "LogicalNot": "x",
    "LogicalOr": "x y",
    "LowerBound": "sorted_inputs:T values:T | out_type",
    "MatMul": "a:T b:T | transpose_a transpose_b grad_a grad_b",
    "MatrixBandPart": "input:T num_lower:Tindex num_upper:Tindex",
    "MatrixDeterminant": "input:T",
    "MatrixDiag": "diagonal:T",
    "MatrixDiagPart": "input:T",
    "MatrixDiagPartV2": "input:T k padding_value:T",
    "MatrixDiagPartV3": "input:T k padding_value:T | align",
    "MatrixDiagV2": "diagonal:T k num_rows num_cols padding_value:T",
    "MatrixDiagV3": "diagonal:T k num_rows num_cols padding_value:T | align",
    "MatrixInverse": "input:T | adjoint",
    "MatrixSetDiag": "input:T diagonal:T",
    "MatrixSetDiagV2": "input:T diagonal:T k",
    "MatrixSetDiagV3": "input:T diagonal:T k | align",
    "MatrixSolve": "matrix:T rhs:T | adjoint",
    "Max": "input:T axis:Tidx | keep_dims",
    "MaxPool": "input:T | ksize strides padding explicit_paddings data_format",
    "MaxPool3D": "input:T | ksize strides padding data_format",
    "MaxPoolV2": "input:T ksize strides | padding data_format",
    "Maximum": "x:T y:T",
    "Mean": "input:T axis:Tidx | keep_dims",
    "Min": "input:T axis:Tidx | keep_dims",
    "Minimum": "x:T y:T",
    "MirrorPad": "input:T paddings:Tpaddings | mode",
    "Mod": "x:T y:T",
    "Mul": "x:T y:T",
    "MulNoNan": "x:T y:T",
    "Ndtri": "x:T",
    "Neg": "x:T",
    "NextAfter": "x1:T x2:T",
    "NotEqual": "x:T y:T | incompatible_shape_error",
    "OneHot": "indices:TI depth on_value:T off_value:T | axis",
    "OnesLike": "x:T",
    "Pack": "*values:T | axis",
    "Pad": "input:T paddings:Tpaddings",
    "PadV2": "input:T paddings:Tpaddings constant_values:T",
    "Polygamma": "a:T x:T",
    "Pow": "x:T y:T",
    "PreventGradient": "input:T | message",
    "Prod": "input:T axis:Tidx | keep_dims",
    "RFFT": "input:Treal fft_length | Tcomplex",
    "RFFT2D": "input:Treal fft_length | Tcomplex",
    "RGBToHSV": "images:T",
    "Range": "start:Tidx limit:Tidx delta:Tidx",
    "Rank": "input:T",
    "Real": "input:T | Tout",
    "RealDiv": "x:T y:T",
    "Reciprocal": "x:T",
    "RegexReplace": "input pattern rewrite | replace_global",
    "Relu": "features:T",
    "Relu6": "features:T",
    "Reshape": "tensor:T shape:Tshape",
    "ResizeArea": "images:T size | align_corners",
    "ResizeBicubic": "images:T size | align_corners half_pixel_centers",
    "ResizeBilinear": "images:T size | align_corners half_pixel_centers",
    "ResizeNearestNeighbor": "images:T size | align_corners half_pixel_centers",
    "ReverseSequence": "input:T seq_lengths:Tlen | seq_dim batch_dim",
    "ReverseV2": "tensor:T axis:Tidx",
    "RightShift": "x:T y:T",
    "Rint": "x:T",
    "Roll": "input:T shift:Tshift axis:Taxis",
    "Round": "x:T",
    "Rsqrt": "x:T",
    "ScaleAndTranslate": "images:T size scale translation | kernel_type antialias",
    "ScatterNd": "indices:Tindices updates:T shape:Tindices | bad_indices_policy",
    "SegmentMax": "data:T segment_ids:Tindices",
    "SegmentMean": "data:T segment_ids:Tindices",
    "SegmentSum": "data:T segment_ids:Tindices",
    "Select": "condition x:T y:T",
    "SelectV2": "condition t:T e:T",
    "Selu": "features:T",
    "Shape": "input:T | out_type",
    "Sigmoid": "x:T",
    "Sign": "x:T",
    "Sin": "x:T",
    "Sinh": "x:T",
    "Size": "input:T | out_type",
    "Slice": "input:T begin:Index size:Index",
    "Softmax": "logits:T",
    "SoftmaxCrossEntropyWithLogits": "features:T labels:T",
    "Softplus": "features:T",
    "Softsign": "features:T",
    "SpaceToBatch": "input:T paddings:Tpaddings | block_size",
    "SpaceToBatchND": "input:T block_shape:Tblock_shape paddings:Tpaddings",
    "SpaceToDepth": "input:T | block_size data_format",
    "SparseSoftmaxCrossEntropyWithLogits": "features:T labels:Tlabels",
    "Split": "axis value:T | num_split",
    "SplitV": "value:T size_splits:Tlen axis | num_split",
    "Sqrt": "x:T",
    "Square": "x:T",
    "SquaredDifference": "x:T y:T",
    "Squeeze": "input:T | squeeze_dims=axis",
    "StaticRegexReplace": "input | pattern rewrite replace_global",
    "StopGradient": "input:T",
    "StridedSlice": "input:T begin:Index end:Index strides:Index "
    "| begin_mask end_mask ellipsis_mask new_axis_mask shrink_axis_mask",
    "StringJoin": "*inputs | separator",
    "StringLength": "input | unit",
    "StringLower": "input | encoding",
    "StringStrip": "input",
    "StringToHashBucketFast": "input | num_buckets",
    "StringToNumber": "string_tensor | out_type",
    "StringUpper": "input | encoding",
    "Sub": "x:T y:T",
    "Substr": "input pos:T len:T | unit",
    "Sum": "input:T axis:Tidx | keep_dims",
    "Tan": "x:T",
    "Tanh": "x:T",
    "TensorScatterAdd": "tensor:T indices:Tindices updates:T | bad_indices_policy",
    "TensorScatterUpdate": "tensor:T indices:Tindices updates:T | bad_indices_policy",
    "Tile": "input:T multiples:Tmultiples",
    "TopKV2": "input:T k:Tk | sorted index_type",
    "Transpose": "x:T perm:Tperm",
    "TruncateDiv": "x:T y:T",
    "TruncateMod": "x:T y:T",
    "Unpack": "value:T | num axis",
    "UnsortedSegmentSum": "data:T segment_ids:Tindices num_segments:Tnumsegments",
    "UpperBound": "sorted_inputs:T values:T | out_type",
    "Where": "condition:T",
    "Xdivy": "x:T y:T",
    "Xlog1py": "x:T y:T",
    "Xlogy": "x:T y:T",
    "ZerosLike": "x:T",
    "Zeta": "x:T q:T",
}
"""Operations of TensorFlow's graphs: their inputs (``*``: a list), each with the attribute that is
its dtype, and after ``|`` the other attributes (``saved=name`` where ``tf.raw_ops`` renamed one).
"""

TF_NODE_OPS = frozenset(NODES)
"""The operations a TensorFlowOpLayer may name."""

TF_REWRITTEN = frozenset(["nn.dropout"])
"""Functions that a file may name and that are never computed: a rule replaces or refuses them."""
