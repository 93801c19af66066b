"""What every ATen operator does to channels: the one table of rules.

A rule gets a call's arguments by their names in the operator's schema, with layouts in the place of tensors. It ties the atoms that must go
together for the operator to make sense of what is left, fixes those that must stay, and returns the layout of what comes out. An operator
without a rule, which `RULES` does not name, is not followed: where channels that could go enter it, the generator is refused.

Where an operator reads a size from a width, such as `view` or `split`, the graph does not tell whether the module computes that size or has
it as a constant. The rules take it to be computed; the trial cut that follows finds the constants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gcc.pruning.graph.channel_ids import FIXED, Atoms, Axis, Layout, fixed

RuleOutput = Layout | list[Layout]
"""The layout of an operator's output, or of each of several."""


@dataclass
class Roles:
    """What operators have told about atoms beside their ties.

    Attributes:
        made: those that convolutions, linear layers and embeddings make, as outputs of a weight.
        scales: those of the scales of norms.
        read: what a linear layer reads, by the first of the atoms that it makes.
    """

    made: list[Axis] = field(default_factory=list)
    scales: list[Axis] = field(default_factory=list)
    read: dict[int, Axis] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """One operator's call in the graph.

    Attributes:
        name: of the operator, without namespace, overload and the underscore of an operator in place.
        given: arguments by their name in the schema, layouts for tensors, defaults included.
        shapes: of the tensors that come out.
        atoms: of the network.
        roles: of atoms.
    """

    name: str
    given: Mapping[str, Any]
    shapes: Sequence[Sequence[int]]
    atoms: Atoms
    roles: Roles

    def __getitem__(self, name: str) -> Any:
        return self.given[name]

    @property
    def shape(self) -> Sequence[int]:
        """The shape of the output."""
        return self.shapes[0]

    @property
    def tensors(self) -> list[Layout]:
        """The layouts of all tensors among the arguments, those in lists included."""
        values = [one for value in self.given.values() for one in (value if isinstance(value, list) else [value])]
        return [value for value in values if isinstance(value, tuple)]

    def tie(self, axis: Axis, *others: str, dim: int = 0) -> None:
        """Tie a dimension to those of other arguments, where these are given."""
        for name in others:
            if self.given[name] is not None:
                self.atoms.tie(axis, self.given[name][dim])


Rule = Callable[[Call], RuleOutput]


def elementwise(call: Call) -> Layout:
    """Every position of the output from the same position of each input, as they are broadcast."""
    return call.atoms.together(call.tensors)


def convolution(call: Call) -> Layout:
    """A convolution, also transposed or grouped: of a grouped one, whole groups go, with what goes in and what comes out."""
    image, weight, groups, atoms = call["input"], call["weight"], call["groups"], call.atoms
    transposed = "transpose" in call.name
    channel = len(image) - len(weight) + 1
    atoms.fix(*weight[2:], *image[channel + 1 :])
    inputs, outputs = (weight[0], weight[1]) if transposed else (weight[1], weight[0])
    if groups == 1:
        atoms.tie(image[channel], inputs)
        call.roles.made.append(outputs)
    else:
        atoms.fix(weight[1])
        of_group = atoms.blocks(weight[0], groups)
        atoms.tie(image[channel].reshape(groups, -1), of_group[:, None])
        if not transposed and len(inputs) > 1:
            call.roles.made.append(outputs)
        outputs = np.repeat(of_group, len(outputs)) if transposed else outputs
    call.tie(outputs, "bias")
    return (*image[:channel], outputs, *fixed(call.shape[channel + 1 :]))


def linear(call: Call) -> Layout:
    """A linear layer over the last dimension."""
    weight = call["weight"]
    call.atoms.tie(call["input"][-1], weight[1])
    call.tie(weight[0], "bias")
    call.roles.made.append(weight[0])
    call.roles.read[int(weight[0][0])] = call["input"][-1]
    return (*call["input"][:-1], weight[0])


def product(call: Call) -> Layout:
    """A product of matrices or vectors."""
    return _product(call, *call.tensors)


def product_and_sum(call: Call) -> Layout:
    """A product of matrices that is added to a tensor."""
    addend, left, right = call.tensors
    return call.atoms.together([_product(call, left, right), addend])


def _product(call: Call, left: Layout, right: Layout) -> Layout:
    call.atoms.tie(left[-1], right[-1 if len(right) == 1 else -2])
    batch = call.atoms.together([left[:-2], right[:-2]]) if len(left) > 2 or len(right) > 2 else ()
    call.roles.made += [*left[-2:-1], *(right[-1:] if len(right) > 1 else ())]
    return (*batch, *left[-2:-1], *(right[-1:] if len(right) > 1 else ()))


def einsum(call: Call) -> Layout:
    """A sum of products by Einstein's convention: positions of one letter go together."""
    inputs, arrow, output = call["equation"].replace(" ", "").partition("->")
    letters: dict[str, Axis] = {}
    for term, tensor in zip(inputs.split(","), call["tensors"], strict=True):
        for letter, axis in zip(term, tensor, strict=True):
            call.atoms.tie(letters.setdefault(letter, axis), axis)
    if not arrow:
        output = "".join(sorted(letter for letter in letters if inputs.count(letter) == 1))
    return tuple(letters[letter] for letter in output)


def attention(call: Call) -> Layout:
    """Scaled dot product attention: queries and keys have the same channels, and there are as many values as keys."""
    query, key, value, mask = (call[name] for name in ("query", "key", "value", "attn_mask"))
    call.atoms.tie(query[-1], key[-1])
    call.atoms.tie(key[-2], value[-2])
    batch = call.atoms.together([query[:-2], key[:-2], value[:-2]]) if len(query) > 2 else ()
    call.atoms.together([(*batch, query[-2], key[-2]), *([mask] if mask is not None else [])])
    return (*batch, query[-2], value[-1])


def channel_norm(call: Call) -> Layout:
    """Batch norm and instance norm, whose statistics are those of one channel."""
    image = call["input"]
    call.tie(image[1], "weight", "bias", "running_mean", "running_var")
    if call.name == "instance_norm":
        call.atoms.fix(*image[2:])
    return _scaled(call)


def group_norm(call: Call) -> Layout:
    """Group norm, of which whole groups go; with a single group, its statistics are those of the channels that are left."""
    image, groups = call["input"], call["num_groups"]
    call.atoms.fix(*image[2:])
    if groups > 1:
        call.atoms.blocks(image[1], groups)
    call.tie(image[1], "weight", "bias")
    return _scaled(call)


def layer_norm(call: Call) -> Layout:
    """Norms over the last dimensions, whose statistics are those of the channels that are left."""
    last = call["input"][-len(call["normalized_shape"]) :]
    for name in ("weight", "bias"):
        if call.given.get(name) is not None:
            call.atoms.together([last, call[name]])
    return _scaled(call)


def _scaled(call: Call) -> Layout:
    call.roles.scales.extend(call["weight"] or ())
    return tuple(call["input"])


def weight_norm(call: Call) -> Layout:
    """A weight whose slices in one dimension have given norms: the norm of a slice is that of what is left of it."""
    direction, dim = call["v"], call["dim"]
    call.tie(direction[dim], "g", dim=dim)
    return tuple(direction)


def prelu(call: Call) -> Layout:
    """A slope for all channels, or one for each."""
    image, slope = call["self"], call["weight"]
    if len(slope[0]) > 1:
        call.atoms.tie(image[1], slope[0])
    return tuple(image)


def embedding(call: Call) -> Layout:
    """A row of a table for each index."""
    weight = call["weight"]
    call.atoms.fix(weight[0])
    call.roles.made.append(weight[1])
    return (*call["indices"], weight[1])


def first(call: Call) -> Layout:
    """What has the positions of its first input."""
    return call.tensors[0]


def reduction(call: Call) -> RuleOutput:
    """A sum, a mean or another figure over some dimensions, or over all."""
    tensor = call.tensors[0]
    over = call.given.get("dim")
    dims = set(range(len(tensor))) if over is None or over == [] else {dim % len(tensor) for dim in _listed(over)}
    kept = call.given.get("keepdim", False)
    made = tuple(np.array([FIXED]) if dim in dims else axis for dim, axis in enumerate(tensor) if kept or dim not in dims)
    return made if len(call.shapes) == 1 else [made] * len(call.shapes)


def concatenation(call: Call) -> Layout:
    """Tensors one after the other along a dimension."""
    tensors = [tensor for tensor in call["tensors"] if tensor != () and not (len(tensor) == 1 and len(tensor[0]) == 0)]
    dim = call["dim"] % len(tensors[0])
    rest = call.atoms.together([_without(tensor, dim) for tensor in tensors])
    return (*rest[:dim], np.concatenate([tensor[dim] for tensor in tensors]), *rest[dim:])


def stack(call: Call) -> Layout:
    """Tensors one after the other along a new dimension."""
    made = call.atoms.together(call["tensors"])
    dim = call["dim"] % (len(made) + 1)
    return (*made[:dim], *fixed([len(call["tensors"])]), *made[dim:])


def split(call: Call) -> list[Layout]:
    """Parts along a dimension: parts of one size lose the same positions."""
    tensor, dim = call["self"], call["dim"] % len(call["self"])
    ends = np.cumsum([shape[dim] for shape in call.shapes])
    parts = np.split(tensor[dim], ends[:-1])
    if len({len(part) for part in parts}) == 1:
        for part in parts[1:]:
            call.atoms.tie(parts[0], part)
    return [(*tensor[:dim], part, *tensor[dim + 1 :]) for part in parts]


def unbind(call: Call) -> list[Layout]:
    """Every position of a dimension by itself: all of them stay."""
    dim = call["dim"] % len(call["self"])
    call.atoms.fix(call["self"][dim])
    return [_without(call["self"], dim)] * len(call.shapes)


def select(call: Call) -> Layout:
    """One position of a dimension: all of them stay."""
    dim = call["dim"] % len(call["self"])
    call.atoms.fix(call["self"][dim])
    return _without(call["self"], dim)


def indexed(call: Call) -> Layout:
    """Positions by tables of their numbers: the dimensions that are looked up in stay."""
    tensor = call["self"]
    numbers = [dim for dim, index in enumerate(call["indices"]) if index is not None]
    call.atoms.fix(*(tensor[dim] for dim in numbers), *(axis for index in call["indices"] for axis in index or ()))
    rest = tuple(axis for dim, axis in enumerate(tensor) if dim not in numbers)
    # What is looked up stands where the dimensions stood, or in front where these are not neighbours.
    lead = numbers[0] if numbers[-1] - numbers[0] < len(numbers) else 0
    return (*rest[:lead], *fixed(call.shape[lead : lead + len(call.shape) - len(rest)]), *rest[lead:])


def index_selected(call: Call) -> Layout:
    """Positions of one dimension by their numbers: all of them stay."""
    tensor, dim = call["self"], call["dim"] % len(call["self"])
    call.atoms.fix(tensor[dim], *call["index"])
    return (*tensor[:dim], *fixed(call.shape[dim : dim + 1]), *tensor[dim + 1 :])


def gated(call: Call) -> Layout:
    """A gated linear unit: one half of the channels gates the other."""
    tensor, dim = call["self"], call["dim"] % len(call["self"])
    kept, gate = np.split(tensor[dim], 2)
    call.atoms.tie(kept, gate)
    return (*tensor[:dim], kept, *tensor[dim + 1 :])


def sliced(call: Call) -> Layout:
    """A range along a dimension; where it is one of equal parts, these lose the same positions; one step's go together."""
    tensor, dim = call["self"], call["dim"] % len(call["self"])
    axis = tensor[dim]
    start, end = (call["start"], call["end"]) if "start" in call.given and "end" in call.given else _narrowed(call)
    chosen = slice(start, end, call.given.get("step", 1))
    begin, stop, step = chosen.indices(len(axis))
    size = stop - begin
    if step == 1 and 0 < size < len(axis) and len(axis) % size == 0 and begin % size == 0 and call.atoms.prunable(axis):
        parts = axis.reshape(-1, size)
        call.atoms.tie(parts, parts[:1])
    if step > 1 and begin < step and stop == len(axis) and len(axis) % step == 0:
        call.atoms.blocks(axis, len(axis) // step)
    elif step > 1:
        call.atoms.fix(axis)
    return (*tensor[:dim], axis[chosen], *tensor[dim + 1 :])


def _narrowed(call: Call) -> tuple[int, int]:
    return call["start"], call["start"] + call["length"]


def regrouped(call: Call) -> Layout:
    """A tensor in another shape: dimensions that are joined, and such that are taken apart.

    The channels of a dimension that is taken apart lie in that part in which they lie already, else in that whose size the module leaves
    open (-1), else in the last, as those of attention's heads do, where they are the last of three dimensions and more, else in the
    largest; they go at all positions of the other parts.
    """
    tensor = call.tensors[0]
    wanted = next((call.given[name] for name in ("size", "shape", "sizes") if name in call.given), call.shape)
    if call.name == "unflatten":
        dim = call["dim"] % len(tensor)
        wanted = [*(len(axis) for axis in tensor[:dim]), *wanted, *(len(axis) for axis in tensor[dim + 1 :])]
    made: list[Axis] = []
    for before, after in _regroupings([len(axis) for axis in tensor], call.shape):
        whole = _joined(call.atoms, [tensor[dim] for dim in before])
        shape = [call.shape[dim] for dim in after]
        preferred = [place for place, dim in enumerate(after) if len(wanted) == len(call.shape) and wanted[dim] == -1]
        heads = len(tensor) > 2 and before[-1:] == [len(tensor) - 1]
        preferred += [len(shape) - 1] if heads else sorted(range(len(shape)), key=lambda place: (shape[place], place))[-1:]
        made += _parted(call.atoms, whole, shape, preferred)
    return tuple(made)


def regrouped_by_trunk(call: Call) -> Layout:
    """As `regrouped`, for code that takes the size of attention's heads from the width of the features that queries are made from.

    What is taken apart, and what the linear layer that made it reads, lose the same channels.
    """
    features = call.tensors[0][-1:]
    read = call.roles.read.get(int(features[0][0])) if features and len(call.shape) > len(call.tensors[0]) else None
    if read is not None and len(features[0]) % len(read) == 0:
        call.atoms.tie(features[0].reshape(-1, len(read)), read)
    return regrouped(call)


def _regroupings(before: Sequence[int], after: Sequence[int]) -> Iterable[tuple[list[int], list[int]]]:
    """Return the smallest runs of dimensions of one shape and of another that hold the same numbers."""
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


def _joined(atoms: Atoms, axes: Sequence[Axis]) -> Axis:
    """Return dimensions as one; no position of a product of several prunable ones is one channel's, so these stay."""
    if len(axes) == 1:
        return axes[0]
    prunable = [dim for dim, axis in enumerate(axes) if len(axis) > 1 and atoms.prunable(axis)]
    if len(prunable) != 1:
        atoms.fix(*(axes[dim] for dim in prunable))
        return fixed([int(np.prod([len(axis) for axis in axes]))])[0]
    (dim,) = prunable
    inner, outer = (int(np.prod([len(axis) for axis in part])) for part in (axes[dim + 1 :], axes[:dim]))
    return np.tile(np.repeat(axes[dim], inner), outer)


def _parted(atoms: Atoms, whole: Axis, shape: Sequence[int], preferred: Sequence[int]) -> Sequence[Axis]:
    """Return a dimension as several, or as none where it has one position."""
    if len(shape) == 1:
        return [whole]
    if not shape or not atoms.prunable(whole):
        return fixed(shape)
    grid = whole.reshape(tuple(shape))
    roots = atoms.roots(whole).reshape(tuple(shape))
    lying = [dim for dim in range(len(shape)) if (roots == _lead(roots, dim).reshape(_along(len(shape), dim))).all()]
    chosen = [*lying, *preferred][0]
    lead = _lead(grid, chosen)
    atoms.tie(grid, lead.reshape(_along(len(shape), chosen)))
    return [lead if dim == chosen else fixed([size])[0] for dim, size in enumerate(shape)]


def _lead(grid: Axis, dim: int) -> Axis:
    return np.moveaxis(grid, dim, 0).reshape(grid.shape[dim], -1)[:, 0]


def _along(rank: int, dim: int) -> tuple[int, ...]:
    return tuple(-1 if other == dim else 1 for other in range(rank))


def permuted(call: Call) -> Layout:
    """Dimensions in another order."""
    tensor = call.tensors[0]
    order = list(range(len(tensor)))
    if call.name == "permute":
        order = [dim % len(tensor) for dim in call["dims"]]
    elif call.name in ("movedim", "moveaxis"):
        moved = {to % len(tensor): dim % len(tensor) for dim, to in zip(_listed(call["source"]), _listed(call["destination"]), strict=True)}
        rest = iter([dim for dim in order if dim not in moved.values()])
        order = [moved[place] if place in moved else next(rest) for place in order]
    else:
        one, other = call.given.get("dim0", call.given.get("axis0", -2)), call.given.get("dim1", call.given.get("axis1", -1))
        if len(order) > 1:
            order[one], order[other] = order[other], order[one]
    return tuple(tensor[dim] for dim in order)


def reversed_order(call: Call) -> Layout:
    """Dimensions in the reverse order."""
    return call.tensors[0][::-1]


def unsqueezed(call: Call) -> Layout:
    """A new dimension of one position."""
    tensor = call["self"]
    dim = call["dim"] % (len(tensor) + 1)
    return (*tensor[:dim], np.array([FIXED]), *tensor[dim:])


def squeezed(call: Call) -> Layout:
    """Without dimensions of one position."""
    tensor = call["self"]
    dims = range(len(tensor)) if call.given.get("dim") is None else [dim % len(tensor) for dim in _listed(call["dim"])]
    return tuple(axis for dim, axis in enumerate(tensor) if dim not in dims or len(axis) != 1)


def expanded(call: Call) -> Layout:
    """Dimensions of one position repeated, to a size that another tensor's width may give."""
    tensor = call["self"]
    new = len(call.shape) - len(tensor)
    grown = call.atoms.fresh(call.shape)
    kept = (axis if len(axis) == len(more) else more for axis, more in zip(tensor, grown[new:], strict=True))
    return (*grown[:new], *kept)


def repeated(call: Call) -> Layout:
    """A tensor several times over along its dimensions."""
    tensor, repeats = call["self"], call["repeats"]
    new = len(repeats) - len(tensor)
    grown = call.atoms.fresh(call.shape)
    tiles = zip(tensor, repeats[new:], grown[new:], strict=True)
    return (*grown[:new], *(np.tile(axis, times) if len(axis) > 1 or times == 1 else more for axis, times, more in tiles))


def interleaved(call: Call) -> Layout:
    """Every position of a dimension several times over."""
    tensor, dim = call["self"], call["dim"] % len(call["self"])
    return (*tensor[:dim], np.repeat(tensor[dim], call["repeats"]), *tensor[dim + 1 :])


def flipped(call: Call) -> Layout:
    """Some dimensions backwards."""
    tensor = call["self"]
    dims = [dim % len(tensor) for dim in call["dims"]]
    return tuple(axis[::-1] if dim in dims else axis for dim, axis in enumerate(tensor))


def rolled(call: Call) -> Layout:
    """Positions moved around along some dimensions, or along all: these stay."""
    tensor = call["self"]
    call.atoms.fix(*(tensor[dim] for dim in call["dims"] or range(len(tensor))))
    return tuple(tensor)


def unfolded(call: Call) -> Layout:
    """Every patch of an image as a column: a channel has a row for each position of the patch."""
    *batch, channels, _, _ = call["self"]
    call.atoms.fix(*call["self"][-2:])
    return (*batch, np.repeat(channels, call.shape[-2] // len(channels)), *fixed(call.shape[-1:]))


def folded(call: Call) -> Layout:
    """Columns put together to an image, as `unfolded` takes it apart."""
    *batch, rows, columns = call["self"]
    call.atoms.fix(columns)
    return (*batch, call.atoms.blocks(rows, call.shape[-3]), *fixed(call.shape[-2:]))


def shuffled(call: Call) -> Layout:
    """Pixel shuffle: blocks of r * r channels become one each."""
    *batch, channels, _, _ = call["self"]
    return (*batch, call.atoms.blocks(channels, len(channels) // call["upscale_factor"] ** 2), *_pixels(call))


def unshuffled(call: Call) -> Layout:
    """Pixel unshuffle: every channel becomes a block of r * r."""
    *batch, channels, _, _ = call["self"]
    return (*batch, np.repeat(channels, call["downscale_factor"] ** 2), *_pixels(call))


def _pixels(call: Call) -> Layout:
    call.atoms.fix(*call["self"][-2:])
    return fixed(call.shape[-2:])


def channel_shuffled(call: Call) -> Layout:
    """Channel shuffle: every group loses the same channels."""
    tensor = call["self"]
    channels = tensor[1].reshape(call["groups"], -1)
    call.atoms.tie(channels, channels[:1])
    return (tensor[0], channels.T.reshape(-1), *tensor[2:])


def spatial(call: Call) -> RuleOutput:
    """What looks at the positions of the last dimensions of each channel: these stay."""
    tensor = call.tensors[0]
    leading = next((dim for dim, (axis, size) in enumerate(zip(tensor, call.shape, strict=True)) if len(axis) != size), len(tensor))
    leading = min(leading, 2 if len(tensor) > 3 else len(tensor) - 1)
    call.atoms.fix(*tensor[leading:])
    made = (*tensor[:leading], *fixed(call.shape[leading:]))
    return made if len(call.shapes) == 1 else [made] * len(call.shapes)


def sampled(call: Call) -> Layout:
    """A tensor read at the places of a grid."""
    image, grid = call["input"], call["grid"]
    call.atoms.fix(*image[2:], *grid)
    return (*image[:2], *fixed(call.shape[2:]))


def padded(call: Call) -> Layout:
    """Positions added at the ends of dimensions, or taken away: zeros stay zeros, all else makes a dimension stay."""
    tensor, widths = call["self"], call["pad"]
    plain = call.given.get("mode", "constant") == "constant" and not call["value"]
    made = list(tensor)
    for back, (before, after) in enumerate(zip(widths[::2], widths[1::2], strict=True), start=1):
        axis = tensor[-back]
        if (before, after) != (0, 0):
            if not plain:
                call.atoms.fix(axis)
            inner = axis[max(0, -before) : len(axis) - max(0, -after)]
            made[-back] = np.concatenate([*fixed([max(0, before)]), inner, *fixed([max(0, after)])])
    return tuple(made)


def created(call: Call) -> Layout:
    """A tensor from nothing, of sizes that widths may give."""
    return call.atoms.fresh(call.shape)


def numbered(call: Call) -> Layout:
    """A tensor from nothing whose values depend on their positions: all stay."""
    return fixed(call.shape)


def checked(call: Call) -> Layout:
    """What only checks."""
    return ()


def _listed(value: int | Sequence[int]) -> list[int]:
    return [value] if isinstance(value, int) else list(value)


def _without(tensor: Layout, dim: int) -> Layout:
    return (*tensor[:dim], *tensor[dim + 1 :])


def _each(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


STATISTICS = frozenset(
    "layer_norm rms_norm group_norm softmax _softmax log_softmax mean var std var_mean std_mean amax amin max min median prod logsumexp "
    "scaled_dot_product_attention".split()
)
"""Operators that mix channels in another way than by sums: what they make of some is no part of what they make of all."""

RULES: dict[str, Rule] = {
    **_each(
        elementwise,
        "relu relu6 leaky_relu rrelu elu celu selu gelu silu mish sigmoid hardsigmoid hardswish hardtanh tanh softplus softsign logsigmoid "
        "log_sigmoid softshrink hardshrink tanhshrink threshold dropout feature_dropout alpha_dropout native_dropout clone contiguous to "
        "_to_copy detach alias lift lift_fresh lift_fresh_copy float double half exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square "
        "abs absolute neg negative sign sgn sin cos tan asin acos atan sinh cosh erf erfc reciprocal floor ceil round trunc frac clamp "
        "clamp_min clamp_max clip nan_to_num positive logical_not bitwise_not isnan isfinite isinf zero "
        "zeros_like ones_like full_like empty_like rand_like randn_like bernoulli normal uniform fill copy "
        "add sub subtract rsub mul multiply div divide true_divide floor_divide remainder fmod pow float_power maximum minimum atan2 "
        "where masked_fill addcmul addcdiv lerp eq ne lt le gt ge logical_and logical_or logical_xor max.other min.other",
    ),
    **_each(convolution, "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d"),
    **_each(linear, "linear"),
    **_each(product, "matmul mm bmm mv dot vdot inner"),
    **_each(product_and_sum, "addmm addmv addbmm baddbmm"),
    **_each(einsum, "einsum"),
    **_each(attention, "scaled_dot_product_attention"),
    **_each(channel_norm, "batch_norm instance_norm"),
    **_each(group_norm, "group_norm"),
    **_each(layer_norm, "layer_norm rms_norm"),
    **_each(weight_norm, "_weight_norm"),
    **_each(prelu, "prelu"),
    **_each(embedding, "embedding"),
    **_each(first, "softmax _softmax log_softmax type_as"),
    **_each(
        reduction,
        "mean sum var std var_mean std_mean amax amin max min median prod norm linalg_vector_norm frobenius_norm logsumexp any all",
    ),
    **_each(concatenation, "cat concat concatenate"),
    **_each(stack, "stack"),
    **_each(split, "chunk split split_with_sizes tensor_split"),
    **_each(unbind, "unbind"),
    **_each(select, "select"),
    **_each(indexed, "index"),
    **_each(index_selected, "index_select"),
    **_each(gated, "glu"),
    **_each(sliced, "slice narrow"),
    **_each(regrouped, "view reshape flatten unflatten _unsafe_view view_as reshape_as"),
    **_each(permuted, "permute movedim moveaxis transpose swapaxes swapdims t mT mH adjoint"),
    **_each(reversed_order, "numpy_T"),
    **_each(unsqueezed, "unsqueeze"),
    **_each(squeezed, "squeeze"),
    **_each(expanded, "expand expand_as broadcast_to"),
    **_each(repeated, "repeat tile"),
    **_each(interleaved, "repeat_interleave"),
    **_each(flipped, "flip"),
    **_each(rolled, "roll"),
    **_each(unfolded, "im2col"),
    **_each(folded, "col2im"),
    **_each(shuffled, "pixel_shuffle"),
    **_each(unshuffled, "pixel_unshuffle"),
    **_each(channel_shuffled, "channel_shuffle native_channel_shuffle"),
    **_each(
        spatial,
        "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
        "adaptive_max_pool1d adaptive_max_pool2d max_pool2d_with_indices upsample_nearest1d upsample_nearest2d upsample_nearest3d "
        "_upsample_nearest_exact1d _upsample_nearest_exact2d upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d "
        "_upsample_bilinear2d_aa _upsample_bicubic2d_aa reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d",
    ),
    **_each(sampled, "grid_sampler grid_sampler_2d"),
    **_each(padded, "pad constant_pad_nd"),
    **_each(created, "zeros ones full empty rand randn new_zeros new_ones new_full new_empty new_empty_strided scalar_tensor"),
    **_each(numbered, "arange linspace eye tril_indices triu_indices"),
    **_each(checked, "_assert_tensor_metadata _assert_scalar _assert_async sym_constrain_range_for_size"),
}

BY_TRUNK: dict[str, Rule] = RULES | _each(regrouped_by_trunk, "view reshape unflatten")
"""The same, where attention's heads are as wide as their share of the features that they are made from."""
