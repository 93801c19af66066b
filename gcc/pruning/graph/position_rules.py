"""Rules of operators that combine, order or look up positions: transforms, sorting, gathering, matrices, complex numbers.

They keep the positions that they combine, and channels in other dimensions pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gcc.pruning.graph.call import Call, RuleOutput
from gcc.pruning.graph.channel_ids import FIXED, Atoms, Axis, Layout, fixed


def along(call: Call) -> RuleOutput:
    """Combine or order the positions of some dimensions, or of all; these are fixed, and a reduction drops them."""
    tensor = call.tensors[0]
    dims = _dims(call, len(tensor))
    call.atoms.fix(*(tensor[dim] for dim in dims))
    return _each(call, [_combined(tensor, dims, shape) for shape in call.shapes])


def _dims(call: Call, rank: int) -> set[int]:
    dims = call.arguments.get("dim", call.arguments.get("dims"))
    if dims is None and call.arguments.get("s") is not None:
        dims = range(-len(call["s"]), 0)
    if dims is None or dims == []:
        # Only `msort` has no such argument.
        return {0} if call.name == "msort" else set(range(rank))
    return {dim % rank for dim in ([dims] if isinstance(dims, int) else dims)}


def _combined(tensor: Layout, dims: set[int], shape: Sequence[int]) -> Layout:
    if len(shape) < len(tensor):
        return tuple(axis for dim, axis in enumerate(tensor) if dim not in dims)
    return tuple(fixed([shape[dim]])[0] if dim in dims else axis for dim, axis in enumerate(tensor))


def _each(call: Call, layouts: list[Layout]) -> RuleOutput:
    return layouts[0] if len(call.shapes) == 1 else layouts


def matrices(call: Call) -> RuleOutput:
    """Compute with matrices in the last two dimensions, which are fixed."""
    if len({len(tensor) for tensor in call.tensors}) > 1:
        raise ValueError("matrices and vectors")
    call.atoms.fix(*(axis for tensor in call.tensors for axis in tensor[-2:]))
    batch = call.atoms.together([tensor[:-2] for tensor in call.tensors])
    return _each(call, [(*batch, *fixed(shape[len(batch) :])) for shape in call.shapes])


def spectrogram(call: Call) -> Layout:
    """Apply the short-time Fourier transform or its inverse to every signal."""
    signals = call["self"]
    dims = 1 if call.name == "stft" else 2
    call.atoms.fix(*signals[-dims:], *(call["window"] or ()))
    batch = signals[:-dims]
    return (*batch, *fixed(call.shape[len(batch) :]))


def gathered(call: Call) -> Layout:
    """Read or write positions of one dimension by an index for every position of the others, which are tied."""
    tensor, index = call["self"], call["indices" if call.name == "take_along_dim" else "index"]
    dim = call["dim"] % len(tensor)
    others = [call[name] for name in ("src", "value") if isinstance(call.arguments.get(name), tuple) and call[name]]
    for other in (index, *others):
        for one, (axis, theirs) in enumerate(zip(tensor, other, strict=True)):
            if one == dim or len(axis) != len(theirs):
                call.atoms.fix(axis, theirs)
            else:
                call.atoms.tie(axis, theirs)
    return tensor if "scatter" in call.name else index  # type: ignore[no-any-return]


def put_along(call: Call) -> Layout:
    """Write some positions of one dimension, which is fixed."""
    tensor, dim = call["self"], call["dim"] % len(call["self"])
    call.atoms.fix(tensor[dim], *call["index"])
    source = call.arguments.get("source")
    if isinstance(source, tuple):
        call.atoms.fix(source[dim])
        call.atoms.together([(*tensor[:dim], *tensor[dim + 1 :]), (*source[:dim], *source[dim + 1 :])])
    return tensor  # type: ignore[no-any-return]


def put(call: Call) -> Layout:
    """Write the positions of some dimensions by index tensors, which fix them, or a number by a mask.

    Raises:
        ValueError: several index tensors of several dimensions, or of dimensions that are not adjacent.
    """
    tensor, indices = call["self"], call["indices"]
    dims = [dim for dim, index in enumerate(indices) if index is not None]
    first, last = dims[0], dims[-1]
    if len(dims) == 1 and _is_mask(indices[first], tensor[first:]) and call["values"] == ():
        for axis, masked in zip(tensor[first:], indices[first], strict=False):
            call.atoms.tie(axis, masked)
        return tensor  # type: ignore[no-any-return]
    if last - first >= len(dims) or any(index is not None and len(index) > 1 for index in indices):
        raise ValueError("several dimensions")
    index = call.atoms.together([indices[dim] for dim in dims])
    call.atoms.fix(*tensor[first : last + 1], *index)
    call.atoms.together([(*tensor[:first], *fixed(map(len, index)), *tensor[last + 1 :]), call["values"]])
    return tensor  # type: ignore[no-any-return]


def _is_mask(index: Layout, indexed: Layout) -> bool:
    """Return whether an index has the sizes of a mask; index tensors of several dimensions hardly ever have these."""
    return len(index) > 1 and [len(axis) for axis in index] == [len(axis) for axis in indexed[: len(index)]]


def windows(call: Call) -> Layout:
    """Return windows of one dimension, which is fixed, with their positions as the last dimension."""
    tensor, dim = call["self"], call["dimension"] % len(call["self"])
    call.atoms.fix(tensor[dim])
    return (*tensor[:dim], *fixed(call.shape[dim : dim + 1]), *tensor[dim + 1 :], *fixed(call.shape[-1:]))


def bucket(call: Call) -> Layout:
    """Compare every position with all values of another tensor."""
    values, table = call.tensors
    call.atoms.fix(*table)
    return values


def mesh(call: Call) -> list[Layout]:
    """Expand vectors to the grid that they span."""
    axes: list[Axis] = [tensor[0] if tensor else np.array([FIXED]) for tensor in call["tensors"]]
    if call.arguments.get("indexing") == "xy":
        axes[:2] = axes[1::-1]
    return [tuple(axes)] * len(call.shapes)


def outer(call: Call) -> Layout:
    """Multiply every position of one vector by every position of another."""
    return (call.tensors[0][0], call.tensors[1][0])


def distances(call: Call) -> Layout:
    """Return the distance of every row of one matrix to every row of another; their columns are tied."""
    one, other = call.tensors
    call.atoms.tie(one[-1], other[-1])
    return (*call.atoms.together([one[:-2], other[:-2]]), one[-2], other[-2])


def contracted(call: Call) -> Layout:
    """Sum over the same positions of two tensors in one dimension, or in all."""
    layout = call.atoms.together(call.tensors)
    if "dim" not in call.arguments:
        return ()
    dim = call["dim"] % len(layout)
    return (*layout[:dim], *layout[dim + 1 :])


def tensordot(call: Call) -> Layout:
    """Sum products over pairs of dimensions, which are tied."""
    one, other = call.tensors
    dims, other_dims = ([dim % len(tensor) for dim in call[name]] for tensor, name in ((one, "dims_self"), (other, "dims_other")))
    for dim, other_dim in zip(dims, other_dims, strict=True):
        call.atoms.tie(one[dim], other[other_dim])
    rests = ([axis for dim, axis in enumerate(tensor) if dim not in summed] for tensor, summed in ((one, dims), (other, other_dims)))
    left, right = rests
    return (*left, *right)


def one_hot(call: Call) -> Layout:
    """Return a vector of zeros and a one for every position."""
    return (*call["self"], *fixed(call.shape[-1:]))


def diagonal(call: Call) -> Layout:
    """Return the diagonal of two dimensions, which are tied, as the last dimension."""
    tensor = call.tensors[0]
    one, other = (call[name] % len(tensor) for name in ("dim1", "dim2"))
    _tie_diagonal(call.atoms, tensor[one], tensor[other], call["offset"])
    rest = [axis for dim, axis in enumerate(tensor) if dim not in (one, other)]
    return (*rest, tensor[one] if call["offset"] == 0 and len(tensor[one]) == len(tensor[other]) else fixed(call.shape[-1:])[0])


def _tie_diagonal(atoms: Atoms, one: Axis, other: Axis, offset: int) -> None:
    if offset == 0 and len(one) == len(other):
        atoms.tie(one, other)
    else:
        atoms.fix(one, other)


def diagonal_matrix(call: Call) -> Layout:
    """Return matrices in the last two dimensions with the given diagonals.

    Raises:
        ValueError: they lie in other dimensions, or another diagonal is given.
    """
    if (call["offset"], call["dim1"], call["dim2"]) != (0, -2, -1):
        raise ValueError("another diagonal")
    tensor = call.tensors[0]
    return (*tensor, tensor[-1])


def as_complex(call: Call) -> Layout:
    """Return complex numbers whose parts lie in the last dimension."""
    call.atoms.fix(call["self"][-1])
    return call["self"][:-1]  # type: ignore[no-any-return]


def as_real(call: Call) -> Layout:
    """Return the parts of complex numbers in a new last dimension."""
    return (*call["self"], *fixed([2]))
