"""The effect of every ATen operator on channels: one table of rules.

A rule receives the operator's arguments by name, with a channel layout in place of each tensor. It ties channels that must be removed
together, fixes channels that must be kept, and returns the layout of the output. An operator that `RULES` does not name, or whose rule
raises an error, is a wall: all channels that enter it are kept.

If an operator such as `view` or `split` reads a size from a width, the graph does not show whether the module computes that size or has it
as a constant. The rules assume that it is computed; the trial cut that follows finds the constants.
"""

from __future__ import annotations

from gcc.pruning.graph import layer_rules as layers
from gcc.pruning.graph import position_rules as positions
from gcc.pruning.graph import shape_rules as shapes
from gcc.pruning.graph.call import Rule


def _rules(rule: Rule, names: str) -> dict[str, Rule]:
    """Return one rule for several operators, given as names separated by spaces."""
    return dict.fromkeys(names.split(), rule)


STATISTICS = frozenset(
    "layer_norm rms_norm group_norm softmax _softmax log_softmax mean var std var_mean std_mean amax amin max min median prod logsumexp "
    "scaled_dot_product_attention linalg_inv inverse linalg_pinv linalg_solve linalg_cholesky linalg_qr linalg_svd linalg_eigh".split()
)
"""Operators that combine channels other than by sums, so that their output for some channels is not a part of their output for all of them,
and those that fail on zeros."""

RULES: dict[str, Rule] = {
    **_rules(
        layers.elementwise,
        "relu relu6 leaky_relu rrelu elu celu selu gelu silu mish sigmoid hardsigmoid hardswish hardtanh tanh softplus softsign logsigmoid "
        "log_sigmoid softshrink hardshrink tanhshrink threshold dropout feature_dropout alpha_dropout native_dropout clone contiguous to "
        "_to_copy detach alias lift lift_fresh lift_fresh_copy float double half exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square "
        "abs absolute neg negative sign sgn sin cos tan asin acos atan sinh cosh erf erfc reciprocal floor ceil round trunc frac clamp "
        "clamp_min clamp_max clip nan_to_num positive logical_not bitwise_not isnan isfinite isinf zero "
        "zeros_like ones_like full_like empty_like rand_like randn_like bernoulli normal uniform fill copy "
        "add sub subtract rsub mul multiply div divide true_divide floor_divide remainder fmod pow float_power maximum minimum atan2 "
        "where masked_fill addcmul addcdiv lerp eq ne lt le gt ge logical_and logical_or logical_xor max.other min.other "
        "real imag complex polar angle conj conj_physical _conj resolve_conj resolve_neg "
        "asinh acosh atanh logit sinc erfinv lgamma digamma deg2rad rad2deg logaddexp hypot copysign heaviside xlogy fmax fmin fix "
        "special_expit special_erf special_log1p special_expm1 special_logit special_xlogy special_sinc "
        "isneginf isposinf signbit bitwise_and bitwise_or bitwise_xor randint_like isclose fake_quantize_per_tensor_affine",
    ),
    **_rules(layers.convolution, "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"),
    **_rules(layers.linear, "linear"),
    **_rules(layers.product, "matmul mm bmm mv dot vdot inner"),
    **_rules(layers.product_and_sum, "addmm addmv addbmm baddbmm"),
    **_rules(layers.einsum, "einsum"),
    **_rules(layers.attention, "scaled_dot_product_attention"),
    **_rules(layers.channel_norm, "batch_norm instance_norm"),
    **_rules(layers.group_norm, "group_norm"),
    **_rules(layers.layer_norm, "layer_norm rms_norm"),
    **_rules(layers.weight_norm, "_weight_norm"),
    **_rules(layers.prelu, "prelu"),
    **_rules(layers.embedding, "embedding"),
    **_rules(layers.first, "softmax _softmax _safe_softmax log_softmax type_as cumsum"),
    **_rules(
        shapes.reduction,
        "mean sum var std var_mean std_mean amax amin max min median prod norm linalg_vector_norm frobenius_norm logsumexp any all",
    ),
    **_rules(shapes.concatenation, "cat concat concatenate"),
    **_rules(shapes.horizontal, "hstack"),
    **_rules(shapes.stack, "stack"),
    **_rules(shapes.split, "chunk split split_with_sizes tensor_split"),
    **_rules(shapes.unbind, "unbind"),
    **_rules(shapes.select, "select"),
    **_rules(shapes.indexed, "index"),
    **_rules(shapes.index_selected, "index_select"),
    **_rules(layers.gated, "glu"),
    **_rules(shapes.sliced, "slice narrow"),
    **_rules(shapes.regrouped, "view reshape flatten unflatten _unsafe_view view_as reshape_as"),
    **_rules(shapes.permuted, "permute movedim moveaxis transpose swapaxes swapdims t mT mH adjoint"),
    **_rules(shapes.reversed_order, "numpy_T"),
    **_rules(shapes.unsqueezed, "unsqueeze"),
    **_rules(shapes.squeezed, "squeeze"),
    **_rules(shapes.expanded, "expand expand_as broadcast_to"),
    **_rules(shapes.repeated, "repeat tile"),
    **_rules(shapes.interleaved, "repeat_interleave"),
    **_rules(shapes.flipped, "flip"),
    **_rules(shapes.unfolded, "im2col"),
    **_rules(shapes.folded, "col2im"),
    **_rules(shapes.shuffled, "pixel_shuffle"),
    **_rules(shapes.unshuffled, "pixel_unshuffle"),
    **_rules(shapes.channel_shuffled, "channel_shuffle native_channel_shuffle"),
    **_rules(
        layers.spatial,
        "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
        "adaptive_max_pool1d adaptive_max_pool2d max_pool2d_with_indices upsample_nearest1d upsample_nearest2d upsample_nearest3d "
        "_upsample_nearest_exact1d _upsample_nearest_exact2d upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d "
        "_upsample_bilinear2d_aa _upsample_bicubic2d_aa reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d "
        "adaptive_max_pool3d max_pool3d_with_indices reflection_pad3d replication_pad3d",
    ),
    **_rules(layers.sampled, "grid_sampler grid_sampler_2d grid_sampler_3d"),
    **_rules(
        positions.along,
        "cumprod cummax cummin logcumsumexp topk sort argsort msort kthvalue mode nanmedian argmax argmin roll rot90 diff fft_fftshift "
        "fft_ifftshift fft_fft fft_ifft fft_rfft fft_irfft fft_hfft fft_ihfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_hfft2 fft_ihfft2 "
        "fft_fftn fft_ifftn fft_rfftn fft_irfftn fft_hfftn fft_ihfftn linalg_norm linalg_matrix_norm nuclear_norm",
    ),
    **_rules(
        positions.matrices,
        "tril triu linalg_inv inverse linalg_pinv linalg_qr linalg_svd linalg_svdvals linalg_eig linalg_eigh linalg_eigvals "
        "linalg_eigvalsh linalg_cholesky linalg_solve linalg_lstsq linalg_det det linalg_slogdet slogdet logdet linalg_matrix_exp "
        "matrix_exp linalg_matrix_power matrix_power linalg_solve_triangular linalg_lu_factor cov",
    ),
    **_rules(positions.spectrogram, "stft istft"),
    **_rules(positions.gathered, "gather take_along_dim scatter scatter_add scatter_reduce"),
    **_rules(positions.put_along, "index_add index_copy index_fill index_reduce"),
    **_rules(positions.put, "index_put"),
    **_rules(positions.windows, "unfold"),
    **_rules(positions.bucket, "bucketize isin"),
    **_rules(positions.mesh, "meshgrid"),
    **_rules(positions.outer, "outer ger"),
    **_rules(positions.distances, "cdist"),
    **_rules(positions.contracted, "cosine_similarity dist linalg_vecdot"),
    **_rules(positions.tensordot, "tensordot"),
    **_rules(positions.one_hot, "one_hot"),
    **_rules(positions.diagonal, "diagonal linalg_diagonal"),
    **_rules(positions.diagonal_matrix, "diag_embed"),
    **_rules(positions.as_complex, "view_as_complex"),
    **_rules(positions.as_real, "view_as_real"),
    **_rules(shapes.padded, "pad constant_pad_nd"),
    **_rules(shapes.created, "zeros ones full empty rand randn new_zeros new_ones new_full new_empty new_empty_strided scalar_tensor"),
    **_rules(
        shapes.numbered,
        "arange linspace logspace eye tril_indices triu_indices randperm randint hann_window hamming_window fft_fftfreq fft_rfftfreq",
    ),
    **_rules(shapes.checked, "_assert_tensor_metadata _assert_scalar _assert_async sym_constrain_range_for_size"),
}

WEIGHT_RULES: dict[str, Rule] = {
    **{name: layers.combined_weights for name, rule in RULES.items() if rule is layers.elementwise},
    **{name: layers.product_of_weights for name, rule in RULES.items() if rule is layers.product},
}
"""Rules for operators that compute a weight from parameters and buffers alone."""

SEPARATE_RANGES: dict[str, Rule] = RULES | _rules(shapes.sliced_separately, "slice narrow")
"""The same rules for ranges whose limits need not stay equal parts of a dimension."""

TRUNK_SIZED_HEADS: dict[str, Rule] = RULES | _rules(shapes.regrouped_with_trunk_sized_heads, "view reshape unflatten")
"""The same rules for attention whose heads are as wide as their share of the features that they are computed from."""
