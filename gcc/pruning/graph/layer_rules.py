"""Rules of operators that compute: layers, norms, products, attention, functions of single positions, pooling and sampling."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from gcc.pruning.graph.call import Call, Roles, RuleOutput
from gcc.pruning.graph.channel_ids import Atoms, Axis, Layout, fixed


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


def gated(call: Call) -> Layout:
    """Apply a gated linear unit: one half of the channels gates the other."""
    tensor, dim = call["self"], call["dim"] % len(call["self"])
    values, gates = np.split(tensor[dim], 2)
    call.atoms.tie(values, gates)
    return (*tensor[:dim], values, *tensor[dim + 1 :])


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
