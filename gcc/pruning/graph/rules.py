"""The effect of every ATen operator on channels: one table of rules.

A rule receives the operator's arguments by name, with a channel layout in place of each tensor. It ties channels that must be removed
together, fixes channels that must be kept, and returns the layout of the output. An operator that `RULES` does not name, or whose rule
raises an error, is a wall: all channels that enter it are kept.

If an operator such as `view` or `split` reads a size from a width, the graph does not show whether the module computes that size or has it
as a constant. The rules assume that it is computed; the trial cut that follows finds the constants.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from gcc.pruning.graph import position_rules as positions
from gcc.pruning.graph.call import Call, Roles, Rule, RuleOutput
from gcc.pruning.graph.channel_ids import FIXED, Atoms, Axis, Layout, fixed


def elementwise(call: Call) -> Layout:
    """Compute every position of the output from the same position of each input, after broadcasting."""
    return call.atoms.together(call.tensors)


def convolution(call: Call) -> Layout:
    """Apply a convolution, possibly transposed or grouped.

    A grouped one loses whole groups, with their inputs and outputs. If its groups have the same channels, such as those of the samples of
    a batch that was folded into channels, every group loses the same ones.
    """
    image, weight, groups, atoms = call["input"], call["weight"], call["groups"], call.atoms
    transposed = "transpose" in call.name
    channel = len(image) - len(weight) + 1
    atoms.fix(*weight[2:], *image[channel + 1 :])
    inputs, outputs = (weight[0], weight[1]) if transposed else (weight[1], weight[0])
    is_producer = True
    if groups == 1 or _are_alike(atoms, groups, image[channel], weight[0]):
        atoms.tie(image[channel], inputs if transposed else np.tile(inputs, groups))
        outputs = np.tile(outputs, groups) if transposed else outputs
    else:
        atoms.fix(weight[1])
        group_atoms = atoms.blocks(weight[0], groups)
        atoms.tie(image[channel].reshape(groups, -1), group_atoms[:, None])
        is_producer = not transposed and len(inputs) > 1
        outputs = np.repeat(group_atoms, len(outputs)) if transposed else outputs
    if is_producer:
        call.roles.outputs.append(outputs)
    call.tie(outputs, "bias")
    return (*image[:channel], outputs, *fixed(call.shape[channel + 1 :]))


def _are_alike(atoms: Atoms, groups: int, *axes: Axis) -> bool:
    """Return whether each of `groups` consecutive blocks of every dimension has the same channels."""
    blocks = [atoms.roots(axis).reshape(groups, -1) for axis in axes]
    return any(map(atoms.prunable, axes)) and all(bool((block == block[:1]).all()) for block in blocks)


def linear(call: Call) -> Layout:
    """Apply a linear layer to the last dimension."""
    weight = call["weight"]
    call.atoms.tie(call["input"][-1], weight[1])
    call.tie(weight[0], "bias")
    call.roles.outputs.append(weight[0])
    call.roles.linear_inputs[int(weight[0][0])] = call["input"][-1]
    return (*call["input"][:-1], weight[0])


def product(call: Call) -> Layout:
    """Multiply matrices or vectors."""
    return _product(call, *call.tensors)


def product_and_sum(call: Call) -> Layout:
    """Add the product of two matrices to a tensor."""
    addend, left, right = call.tensors
    return call.atoms.together([_product(call, left, right), addend])


def _product(call: Call, left: Layout, right: Layout) -> Layout:
    call.atoms.tie(left[-1], right[-1 if len(right) == 1 else -2])
    batch = call.atoms.together([left[:-2], right[:-2]]) if len(left) > 2 or len(right) > 2 else ()
    call.roles.outputs += [*left[-2:-1], *(right[-1:] if len(right) > 1 else ())]
    return (*batch, *left[-2:-1], *(right[-1:] if len(right) > 1 else ()))


def einsum(call: Call) -> Layout:
    """Sum products by Einstein's convention; dimensions with one letter are tied, and those of an ellipsis are broadcast."""
    inputs, arrow, output = call["equation"].replace(" ", "").partition("->")
    axes: dict[str, list[Axis]] = {}
    ellipses: list[Layout] = []
    for term, tensor in zip(inputs.split(","), call["tensors"], strict=True):
        before, dots, after = term.partition("...")
        last = len(tensor) - len(after)
        for letter, axis in zip(before + after, (*tensor[: len(before)], *tensor[last:]), strict=True):
            axes.setdefault(letter, []).append(axis)
        if dots:
            ellipses.append(tensor[len(before) : last])
    letters = {letter: call.atoms.together([(axis,) for axis in ones])[0] for letter, ones in axes.items()}
    if not arrow:
        output = "..." * bool(ellipses) + "".join(sorted(letter for letter in letters if inputs.count(letter) == 1))
    before, dots, after = output.partition("...")
    middle = call.atoms.together(ellipses) if dots and ellipses else ()
    return (*(letters[letter] for letter in before), *middle, *(letters[letter] for letter in after))


def attention(call: Call) -> Layout:
    """Apply scaled dot-product attention: queries and keys have the same channels, and there is one value per key."""
    query, key, value, mask = (call[name] for name in ("query", "key", "value", "attn_mask"))
    call.atoms.tie(query[-1], key[-1])
    call.atoms.tie(key[-2], value[-2])
    batch = call.atoms.together([query[:-2], key[:-2], value[:-2]]) if len(query) > 2 else ()
    call.atoms.together([(*batch, query[-2], key[-2]), *([mask] if mask is not None else [])])
    return (*batch, query[-2], value[-1])


def channel_norm(call: Call) -> Layout:
    """Apply batch norm or instance norm, with statistics of each single channel."""
    image = call["input"]
    call.tie(image[1], "weight", "bias", "running_mean", "running_var")
    if call.name == "instance_norm":
        call.atoms.fix(*image[2:])
    return _scaled(call)


def group_norm(call: Call) -> Layout:
    """Apply group norm, which loses whole groups; with a single group, statistics are those of the kept channels."""
    image, groups = call["input"], call["num_groups"]
    call.atoms.fix(*image[2:])
    if groups > 1:
        call.atoms.blocks(image[1], groups)
    call.tie(image[1], "weight", "bias")
    return _scaled(call)


def layer_norm(call: Call) -> Layout:
    """Apply a norm over the last dimensions; its statistics are those of the kept channels."""
    last = call["input"][-len(call["normalized_shape"]) :]
    for name in ("weight", "bias"):
        if call.arguments.get(name) is not None:
            call.atoms.together([last, call[name]])
    return _scaled(call)


def _scaled(call: Call) -> Layout:
    call.roles.scales.extend(call["weight"] or ())
    return tuple(call["input"])


def weight_norm(call: Call) -> Layout:
    """Compute a weight whose slices in one dimension have given norms; the norm of a slice is that of its kept part."""
    direction, gain, dim = call["v"], call["g"], call["dim"]
    if gain:  # A weight has a single norm, a number without dimensions, if `dim` is None.
        call.tie(direction[dim], "g", dim=dim)
    return tuple(direction)


def combined_weights(call: Call) -> Layout:
    """Combine weights, such as a kernel and a mask or gains: positions are those of the largest, of a parameter rather than a buffer."""

    def rank(layout: Layout) -> tuple[int, list[int]]:
        return -math.prod(map(len, layout)), [int(axis[0]) for axis in layout]

    return call.atoms.together(sorted(call.tensors, key=rank))


def product_of_weights(call: Call) -> Layout:
    """Multiply weights, as spectral norm does to find their norm; such a product computes no features."""
    return product(replace(call, roles=Roles()))


def prelu(call: Call) -> Layout:
    """Apply PReLU with one slope for all channels, or one for each."""
    image, slope = call["self"], call["weight"]
    if len(slope[0]) > 1:
        call.atoms.tie(image[1], slope[0])
    return tuple(image)


def embedding(call: Call) -> Layout:
    """Look up a row of a table for each index."""
    weight = call["weight"]
    call.atoms.fix(weight[0])
    call.roles.outputs.append(weight[1])
    return (*call["indices"], weight[1])


def first(call: Call) -> Layout:
    """Return a tensor with the positions of the first input."""
    return call.tensors[0]


def reduction(call: Call) -> RuleOutput:
    """Reduce some dimensions, or all of them, to a sum, a mean or the like."""
    tensor = call.tensors[0]
    over = call.arguments.get("dim")
    dims = set(range(len(tensor))) if over is None or over == [] else {dim % len(tensor) for dim in _listed(over)}
    keepdim = call.arguments.get("keepdim", False)
    output = tuple(np.array([FIXED]) if dim in dims else axis for dim, axis in enumerate(tensor) if keepdim or dim not in dims)
    return output if len(call.shapes) == 1 else [output] * len(call.shapes)


def concatenation(call: Call) -> Layout:
    """Concatenate tensors along a dimension."""
    tensors = [tensor for tensor in call["tensors"] if tensor != () and not (len(tensor) == 1 and len(tensor[0]) == 0)]
    dim = call["dim"] % len(tensors[0])
    rest = call.atoms.together([_without(tensor, dim) for tensor in tensors])
    return (*rest[:dim], np.concatenate([tensor[dim] for tensor in tensors]), *rest[dim:])


def horizontal(call: Call) -> Layout:
    """Concatenate tensors along the second dimension, and vectors along their only one."""
    return concatenation(replace(call, arguments={**call.arguments, "dim": min(1, len(call["tensors"][0]) - 1)}))


def stack(call: Call) -> Layout:
    """Stack tensors along a new dimension."""
    layout = call.atoms.together(call["tensors"])
    dim = call["dim"] % (len(layout) + 1)
    return (*layout[:dim], *fixed([len(call["tensors"])]), *layout[dim:])


def split(call: Call) -> list[Layout]:
    """Split a dimension into parts; parts of one size lose the same positions."""
    tensor, dim = call["self"], call["dim"] % len(call["self"])
    ends = np.cumsum([shape[dim] for shape in call.shapes])
    parts = np.split(tensor[dim], ends[:-1])
    if len({len(part) for part in parts}) == 1:
        for part in parts[1:]:
            call.atoms.tie(parts[0], part)
    return [(*tensor[:dim], part, *tensor[dim + 1 :]) for part in parts]


def unbind(call: Call) -> list[Layout]:
    """Return each position of a dimension as a tensor; all of these positions are fixed."""
    dim = call["dim"] % len(call["self"])
    call.atoms.fix(call["self"][dim])
    return [_without(call["self"], dim)] * len(call.shapes)


def select(call: Call) -> Layout:
    """Select one position of a dimension; all of its positions are fixed."""
    dim = call["dim"] % len(call["self"])
    call.atoms.fix(call["self"][dim])
    return _without(call["self"], dim)


def indexed(call: Call) -> Layout:
    """Look up positions by index tensors; the indexed dimensions are fixed."""
    tensor = call["self"]
    indexed_dims = [dim for dim, index in enumerate(call["indices"]) if index is not None]
    call.atoms.fix(*(tensor[dim] for dim in indexed_dims), *(axis for index in call["indices"] for axis in index or ()))
    rest = tuple(axis for dim, axis in enumerate(tensor) if dim not in indexed_dims)
    # The dimensions of the index tensors replace the indexed ones, or come first if these are not adjacent.
    lead = indexed_dims[0] if indexed_dims[-1] - indexed_dims[0] < len(indexed_dims) else 0
    return (*rest[:lead], *fixed(call.shape[lead : lead + len(call.shape) - len(rest)]), *rest[lead:])


def index_selected(call: Call) -> Layout:
    """Select positions of one dimension by index; all of its positions are fixed."""
    tensor, dim = call["self"], call["dim"] % len(call["self"])
    call.atoms.fix(tensor[dim], *call["index"])
    return (*tensor[:dim], *fixed(call.shape[dim : dim + 1]), *tensor[dim + 1 :])


def gated(call: Call) -> Layout:
    """Apply a gated linear unit: one half of the channels gates the other."""
    tensor, dim = call["self"], call["dim"] % len(call["self"])
    values, gates = np.split(tensor[dim], 2)
    call.atoms.tie(values, gates)
    return (*tensor[:dim], values, *tensor[dim + 1 :])


def sliced(call: Call) -> Layout:
    """Return a range of a dimension. If it is one of several equal parts, these lose the same positions."""
    axis = call["self"][call["dim"]]
    begin, stop, step = _range(call).indices(len(axis))
    size = stop - begin
    if step == 1 and 0 < size < len(axis) and len(axis) % size == 0 and begin % size == 0 and call.atoms.prunable(axis):
        parts = axis.reshape(-1, size)
        call.atoms.tie(parts, parts[:1])
    return sliced_separately(call)


def sliced_separately(call: Call) -> Layout:
    """Return a range of a dimension, which loses other positions than the rest. With a step, the positions of each step are tied."""
    tensor, dim = call["self"], call["dim"] % len(call["self"])
    axis, chosen = tensor[dim], _range(call)
    begin, stop, step = chosen.indices(len(axis))
    if step > 1 and begin < step and stop == len(axis) and len(axis) % step == 0:
        call.atoms.blocks(axis, len(axis) // step)
    elif step > 1:
        call.atoms.fix(axis)
    return (*tensor[:dim], axis[chosen], *tensor[dim + 1 :])


def _range(call: Call) -> slice:
    """Return the range that a call of `slice` or `narrow` selects."""
    if "length" in call.arguments:
        return slice(call["start"], call["start"] + call["length"])
    return slice(call["start"], call["end"], call.arguments.get("step", 1))


def regrouped(call: Call) -> Layout:
    """Return a tensor in another shape: some dimensions are merged, others are split.

    The channels of a split dimension belong to one of its parts, and are removed at all positions of the other parts. That part is the one
    in which the channels already lie; else the one whose size the module leaves open (-1); else, for the last of three or more dimensions,
    the last part, as in the heads of attention; else the largest part.
    """
    tensor = call.tensors[0]
    wanted = next((call.arguments[name] for name in ("size", "shape", "sizes") if name in call.arguments), call.shape)
    if call.name == "unflatten":
        dim = call["dim"] % len(tensor)
        wanted = [*(len(axis) for axis in tensor[:dim]), *wanted, *(len(axis) for axis in tensor[dim + 1 :])]
    output: list[Axis] = []
    for before, after in _regroupings([len(axis) for axis in tensor], call.shape):
        whole = _merged(call.atoms, [tensor[dim] for dim in before])
        shape = [call.shape[dim] for dim in after]
        preferred = [part for part, dim in enumerate(after) if len(wanted) == len(call.shape) and wanted[dim] == -1]
        heads = len(tensor) > 2 and before[-1:] == [len(tensor) - 1]
        preferred += [len(shape) - 1] if heads else sorted(range(len(shape)), key=lambda part: (shape[part], part))[-1:]
        output += _split(call.atoms, whole, shape, preferred)
    return tuple(output)


def regrouped_with_trunk_sized_heads(call: Call) -> Layout:
    """Like `regrouped`, for attention whose heads are as wide as their share of the features that the queries are computed from.

    The split dimension and the input of the linear layer that produced it lose the same channels.
    """
    features = call.tensors[0][-1:]
    trunk = call.roles.linear_inputs.get(int(features[0][0])) if features and len(call.shape) > len(call.tensors[0]) else None
    if trunk is not None and len(features[0]) % len(trunk) == 0:
        call.atoms.tie(features[0].reshape(-1, len(trunk)), trunk)
    return regrouped(call)


def _regroupings(before: Sequence[int], after: Sequence[int]) -> Iterable[tuple[list[int], list[int]]]:
    """Yield the smallest runs of dimensions of one shape and of another that hold the same number of positions."""
    ones, others = list(range(len(before))), list(range(len(after)))
    while ones or others:
        run, other_run = ones[:1], others[:1]
        del ones[:1], others[:1]
        while (size := _product_of(before, run)) != (other_size := _product_of(after, other_run)):
            run, ones, other_run, others = (
                ([*run, ones[0]], ones[1:], other_run, others) if size < other_size else (run, ones, [*other_run, others[0]], others[1:])
            )
        yield run, other_run


def _product_of(shape: Sequence[int], dims: Sequence[int]) -> int:
    return int(np.prod([shape[dim] for dim in dims], dtype=np.int64))


def _merged(atoms: Atoms, axes: Sequence[Axis]) -> Axis:
    """Return dimensions as one. If several of them are prunable, no position belongs to a single channel, so these are fixed."""
    if len(axes) == 1:
        return axes[0]
    prunable = [dim for dim, axis in enumerate(axes) if len(axis) > 1 and atoms.prunable(axis)]
    if len(prunable) != 1:
        atoms.fix(*(axes[dim] for dim in prunable))
        return fixed([int(np.prod([len(axis) for axis in axes]))])[0]
    (dim,) = prunable
    inner, outer = (int(np.prod([len(axis) for axis in part])) for part in (axes[dim + 1 :], axes[:dim]))
    return np.tile(np.repeat(axes[dim], inner), outer)


def _split(atoms: Atoms, whole: Axis, shape: Sequence[int], preferred: Sequence[int]) -> Sequence[Axis]:
    """Return a dimension as several, or as none if it has one position."""
    if len(shape) == 1:
        return [whole]
    if not shape or not atoms.prunable(whole):
        return fixed(shape)
    grid = whole.reshape(tuple(shape))
    roots = atoms.roots(whole).reshape(tuple(shape))
    present = [dim for dim in range(len(shape)) if (roots == _lead(roots, dim).reshape(_along(len(shape), dim))).all()]
    chosen = [*present, *preferred][0]
    lead = _lead(grid, chosen)
    atoms.tie(grid, lead.reshape(_along(len(shape), chosen)))
    return [lead if dim == chosen else fixed([size])[0] for dim, size in enumerate(shape)]


def _lead(grid: Axis, dim: int) -> Axis:
    return np.moveaxis(grid, dim, 0).reshape(grid.shape[dim], -1)[:, 0]


def _along(rank: int, dim: int) -> tuple[int, ...]:
    return tuple(-1 if other == dim else 1 for other in range(rank))


def permuted(call: Call) -> Layout:
    """Return the dimensions in another order."""
    tensor = call.tensors[0]
    order = list(range(len(tensor)))
    if call.name == "permute":
        order = [dim % len(tensor) for dim in call["dims"]]
    elif call.name in ("movedim", "moveaxis"):
        moved = {to % len(tensor): dim % len(tensor) for dim, to in zip(_listed(call["source"]), _listed(call["destination"]), strict=True)}
        rest = iter([dim for dim in order if dim not in moved.values()])
        order = [moved[dim] if dim in moved else next(rest) for dim in order]
    else:
        one = call.arguments.get("dim0", call.arguments.get("axis0", -2))
        other = call.arguments.get("dim1", call.arguments.get("axis1", -1))
        if len(order) > 1:
            order[one], order[other] = order[other], order[one]
    return tuple(tensor[dim] for dim in order)


def reversed_order(call: Call) -> Layout:
    """Return the dimensions in reverse order."""
    return call.tensors[0][::-1]


def unsqueezed(call: Call) -> Layout:
    """Insert a dimension of one position."""
    tensor = call["self"]
    dim = call["dim"] % (len(tensor) + 1)
    return (*tensor[:dim], np.array([FIXED]), *tensor[dim:])


def squeezed(call: Call) -> Layout:
    """Remove dimensions of one position."""
    tensor = call["self"]
    dims = range(len(tensor)) if call.arguments.get("dim") is None else [dim % len(tensor) for dim in _listed(call["dim"])]
    return tuple(axis for dim, axis in enumerate(tensor) if dim not in dims or len(axis) != 1)


def expanded(call: Call) -> Layout:
    """Expand dimensions of one position to a size that may be another tensor's width."""
    tensor = call["self"]
    new = len(call.shape) - len(tensor)
    grown = call.atoms.fresh(call.shape)
    expanded_axes = (axis if len(axis) == len(more) else more for axis, more in zip(tensor, grown[new:], strict=True))
    return (*grown[:new], *expanded_axes)


def repeated(call: Call) -> Layout:
    """Repeat a tensor along its dimensions."""
    tensor, repeats = call["self"], call.arguments.get("repeats") or call["dims"]
    new = len(repeats) - len(tensor)
    grown = call.atoms.fresh(call.shape)
    tiles = zip(tensor, repeats[new:], grown[new:], strict=True)
    return (*grown[:new], *(np.tile(axis, times) if len(axis) > 1 or times == 1 else more for axis, times, more in tiles))


def interleaved(call: Call) -> Layout:
    """Repeat every position of a dimension."""
    tensor, dim = call["self"], call["dim"] % len(call["self"])
    return (*tensor[:dim], np.repeat(tensor[dim], call["repeats"]), *tensor[dim + 1 :])


def flipped(call: Call) -> Layout:
    """Reverse some dimensions."""
    tensor = call["self"]
    dims = [dim % len(tensor) for dim in call["dims"]]
    return tuple(axis[::-1] if dim in dims else axis for dim, axis in enumerate(tensor))


def unfolded(call: Call) -> Layout:
    """Return every patch of an image as a column, in which a channel has one row for each position of the patch."""
    *batch, channels, _, _ = call["self"]
    call.atoms.fix(*call["self"][-2:])
    return (*batch, np.repeat(channels, call.shape[-2] // len(channels)), *fixed(call.shape[-1:]))


def folded(call: Call) -> Layout:
    """Assemble an image from columns; the inverse of `unfolded`."""
    *batch, rows, columns = call["self"]
    call.atoms.fix(columns)
    return (*batch, call.atoms.blocks(rows, call.shape[-3]), *fixed(call.shape[-2:]))


def shuffled(call: Call) -> Layout:
    """Apply pixel shuffle: each block of r * r channels becomes one channel."""
    *batch, channels, _, _ = call["self"]
    return (*batch, call.atoms.blocks(channels, len(channels) // call["upscale_factor"] ** 2), *_pixels(call))


def unshuffled(call: Call) -> Layout:
    """Apply pixel unshuffle: each channel becomes a block of r * r channels."""
    *batch, channels, _, _ = call["self"]
    return (*batch, np.repeat(channels, call["downscale_factor"] ** 2), *_pixels(call))


def _pixels(call: Call) -> Layout:
    call.atoms.fix(*call["self"][-2:])
    return fixed(call.shape[-2:])


def channel_shuffled(call: Call) -> Layout:
    """Apply channel shuffle: every group loses the same channels."""
    tensor = call["self"]
    channels = tensor[1].reshape(call["groups"], -1)
    call.atoms.tie(channels, channels[:1])
    return (tensor[0], channels.T.reshape(-1), *tensor[2:])


def spatial(call: Call) -> RuleOutput:
    """Combine positions of the last dimensions within each channel; these dimensions are fixed."""
    tensor = call.tensors[0]
    leading = next((dim for dim, (axis, size) in enumerate(zip(tensor, call.shape, strict=True)) if len(axis) != size), len(tensor))
    leading = min(leading, 2 if len(tensor) > 3 else len(tensor) - 1)
    call.atoms.fix(*tensor[leading:])
    output = (*tensor[:leading], *fixed(call.shape[leading:]))
    return output if len(call.shapes) == 1 else [output] * len(call.shapes)


def sampled(call: Call) -> Layout:
    """Sample a tensor at the positions of a grid."""
    image, grid = call["input"], call["grid"]
    call.atoms.fix(*image[2:], *grid)
    return (*image[:2], *fixed(call.shape[2:]))


def padded(call: Call) -> Layout:
    """Pad or crop dimensions; a dimension that is padded with other values than zeros is fixed."""
    tensor, widths = call["self"], call["pad"]
    with_zeros = call.arguments.get("mode", "constant") == "constant" and not call["value"]
    output = list(tensor)
    for back, (before, after) in enumerate(zip(widths[::2], widths[1::2], strict=True), start=1):
        axis = tensor[-back]
        if (before, after) != (0, 0):
            if not with_zeros:
                call.atoms.fix(axis)
            inner = axis[max(0, -before) : len(axis) - max(0, -after)]
            output[-back] = np.concatenate([*fixed([max(0, before)]), inner, *fixed([max(0, after)])])
    return tuple(output)


def created(call: Call) -> Layout:
    """Create a tensor whose sizes may be widths."""
    return call.atoms.fresh(call.shape)


def numbered(call: Call) -> Layout:
    """Create a tensor whose values depend on their positions; all positions are fixed."""
    return fixed(call.shape)


def checked(call: Call) -> Layout:
    """Check something and return nothing."""
    return ()


def _listed(value: int | Sequence[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def _without(tensor: Layout, dim: int) -> Layout:
    return (*tensor[:dim], *tensor[dim + 1 :])


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
        elementwise,
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
    **_rules(convolution, "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"),
    **_rules(linear, "linear"),
    **_rules(product, "matmul mm bmm mv dot vdot inner"),
    **_rules(product_and_sum, "addmm addmv addbmm baddbmm"),
    **_rules(einsum, "einsum"),
    **_rules(attention, "scaled_dot_product_attention"),
    **_rules(channel_norm, "batch_norm instance_norm"),
    **_rules(group_norm, "group_norm"),
    **_rules(layer_norm, "layer_norm rms_norm"),
    **_rules(weight_norm, "_weight_norm"),
    **_rules(prelu, "prelu"),
    **_rules(embedding, "embedding"),
    **_rules(first, "softmax _softmax _safe_softmax log_softmax type_as cumsum"),
    **_rules(
        reduction,
        "mean sum var std var_mean std_mean amax amin max min median prod norm linalg_vector_norm frobenius_norm logsumexp any all",
    ),
    **_rules(concatenation, "cat concat concatenate"),
    **_rules(horizontal, "hstack"),
    **_rules(stack, "stack"),
    **_rules(split, "chunk split split_with_sizes tensor_split"),
    **_rules(unbind, "unbind"),
    **_rules(select, "select"),
    **_rules(indexed, "index"),
    **_rules(index_selected, "index_select"),
    **_rules(gated, "glu"),
    **_rules(sliced, "slice narrow"),
    **_rules(regrouped, "view reshape flatten unflatten _unsafe_view view_as reshape_as"),
    **_rules(permuted, "permute movedim moveaxis transpose swapaxes swapdims t mT mH adjoint"),
    **_rules(reversed_order, "numpy_T"),
    **_rules(unsqueezed, "unsqueeze"),
    **_rules(squeezed, "squeeze"),
    **_rules(expanded, "expand expand_as broadcast_to"),
    **_rules(repeated, "repeat tile"),
    **_rules(interleaved, "repeat_interleave"),
    **_rules(flipped, "flip"),
    **_rules(unfolded, "im2col"),
    **_rules(folded, "col2im"),
    **_rules(shuffled, "pixel_shuffle"),
    **_rules(unshuffled, "pixel_unshuffle"),
    **_rules(channel_shuffled, "channel_shuffle native_channel_shuffle"),
    **_rules(
        spatial,
        "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
        "adaptive_max_pool1d adaptive_max_pool2d max_pool2d_with_indices upsample_nearest1d upsample_nearest2d upsample_nearest3d "
        "_upsample_nearest_exact1d _upsample_nearest_exact2d upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d "
        "_upsample_bilinear2d_aa _upsample_bicubic2d_aa reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d "
        "adaptive_max_pool3d max_pool3d_with_indices reflection_pad3d replication_pad3d",
    ),
    **_rules(sampled, "grid_sampler grid_sampler_2d grid_sampler_3d"),
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
    **_rules(padded, "pad constant_pad_nd"),
    **_rules(created, "zeros ones full empty rand randn new_zeros new_ones new_full new_empty new_empty_strided scalar_tensor"),
    **_rules(
        numbered,
        "arange linspace logspace eye tril_indices triu_indices randperm randint hann_window hamming_window fft_fftfreq fft_rfftfreq",
    ),
    **_rules(checked, "_assert_tensor_metadata _assert_scalar _assert_async sym_constrain_range_for_size"),
}

WEIGHT_RULES: dict[str, Rule] = {
    **{name: combined_weights for name, rule in RULES.items() if rule is elementwise},
    **{name: product_of_weights for name, rule in RULES.items() if rule is product},
}
"""Rules for operators that compute a weight from parameters and buffers alone."""

SEPARATE_RANGES: dict[str, Rule] = RULES | _rules(sliced_separately, "slice narrow")
"""The same rules for ranges whose limits need not stay equal parts of a dimension."""

TRUNK_SIZED_HEADS: dict[str, Rule] = RULES | _rules(regrouped_with_trunk_sized_heads, "view reshape unflatten")
"""The same rules for attention whose heads are as wide as their share of the features that they are computed from."""
