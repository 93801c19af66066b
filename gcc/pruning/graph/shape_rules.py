"""Rules of operators that rearrange, repeat, select or reduce the positions of dimensions, and of those that create tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from gcc.pruning.graph.call import Call, RuleOutput
from gcc.pruning.graph.channel_ids import FIXED, Atoms, Axis, Layout, fixed


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
