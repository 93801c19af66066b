"""What is asked of a pruned network, whatever tool pruned it. Each check returns `yes`, `no: why`, or `not applicable: why`."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from gcc.pruning.graph.graph_form import OtherSizesError

from .calls import called, close, copied, evaluated, other_batch, other_size, shapes
from .macs import products, total, untouched_share
from .masked import equals_masked

HALF = 0.505
"""The largest share of multiply-accumulates that counts as half."""
TOLERANCE = 1e-3
"""Difference between a network and its export, as a share of the largest output."""
Inputs = tuple[Any, ...]
Check = Callable[[nn.Module, nn.Module, Inputs], str]


class Inapplicable(Exception):
    """The original network does not pass either."""


def first_line(error: BaseException) -> str:
    """Return the class and the first line of an exception."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"


def cost(original: nn.Module, pruned: nn.Module, inputs: Inputs) -> dict[str, Any]:
    """Return the share of multiply-accumulates that is left, and the share of these in products that lost nothing."""
    before, after = products(copied(original), inputs), products(copied(pruned), inputs)
    return {"macs": total(before), "share": total(after) / max(1, total(before)), "untouched": untouched_share(before, after)}


def verdict(check: Check, original: nn.Module, pruned: nn.Module, inputs: Inputs) -> str:
    """Return a check's answer; an exception is a no, unless the network says that it does not take these sizes."""
    try:
        return check(original, pruned, inputs)
    except Inapplicable as reason:
        return f"not applicable: {reason}"
    except OtherSizesError as reason:
        return f"refused: {reason}"
    except Exception as error:
        return f"no: {first_line(error)}"


def runs(original: nn.Module, pruned: nn.Module, inputs: Inputs) -> str:
    return _same_shapes(evaluated(original, inputs), evaluated(pruned, inputs))


def runs_other_batch(original: nn.Module, pruned: nn.Module, inputs: Inputs) -> str:
    samples = other_batch(inputs)
    return _same_shapes(_of_original(evaluated, original, samples), evaluated(pruned, samples))


def runs_other_size(original: nn.Module, pruned: nn.Module, inputs: Inputs) -> str:
    samples = other_size(inputs)
    return _same_shapes(_of_original(evaluated, original, samples), evaluated(pruned, samples))


def masked(original: nn.Module, pruned: nn.Module, inputs: Inputs) -> str:
    """Compare with the original whose removed channels are zero."""
    return equals_masked(original, pruned, inputs)


def trains(original: nn.Module, pruned: nn.Module, inputs: Inputs) -> str:
    """Ask for a finite gradient of every parameter that has one in the original."""
    for samples in (inputs, other_batch(inputs)):
        try:
            expected = _gradients(original, samples)
            break
        except Exception as error:
            reason = first_line(error)
    else:
        raise Inapplicable(reason)
    gradients = _gradients(pruned, samples)
    missing = sorted(name for name in expected if name not in gradients and name in dict(pruned.named_parameters()))
    infinite = sorted(name for name, finite in gradients.items() if not finite and expected.get(name, True))
    if missing or infinite:
        return f"no: {len(missing)} parameters without gradient {missing[:2]}, {len(infinite)} not finite {infinite[:2]}"
    return "yes"


def attributes(original: nn.Module, pruned: nn.Module, inputs: Inputs) -> str:
    """Compare the sizes that layers of torch state with the sizes of their weights."""
    wrong = [
        f"{path}.{name} is {stated}, its weight has {actual}"
        for path, module in pruned.named_modules()
        for name, stated, actual in _sizes(module)
        if stated != actual
    ]
    return f"no: {wrong[0]}" if wrong else "yes"


def leaves_original(state: dict[str, Tensor]) -> Check:
    """Return a check that the original still has this state."""

    def check(original: nn.Module, pruned: nn.Module, inputs: Inputs) -> str:
        now = original.state_dict()
        changed = [name for name, tensor in state.items() if name not in now or not _identical(tensor, now[name])]
        return f"no: {changed[0]} of the original changed" if changed else "yes"

    return check


def exports(original: nn.Module, pruned: nn.Module, inputs: Inputs) -> str:
    """Compare the network with its ONNX file, run by ONNX Runtime, if the full network's own file computes what it should."""
    if not close(_of_original(_exported, original, inputs), evaluated(original, inputs), TOLERANCE):
        raise Inapplicable("the full network's own file computes something else")
    return "yes" if close(_exported(pruned, inputs), evaluated(pruned, inputs), TOLERANCE) else "no: the file computes something else"


def _exported(network: nn.Module, inputs: Inputs) -> list[Tensor]:
    import onnxruntime

    file = io.BytesIO()
    torch.onnx.export(
        copied(network).eval(),
        tree_map_only(Tensor, torch.clone, inputs),
        file,
        dynamo=True,
        verbose=False,
        optimize=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    tensors = [leaf for leaf in torch.utils._pytree.tree_leaves(inputs) if isinstance(leaf, Tensor)]
    names = [entry.name for entry in session.get_inputs()]
    if len(names) != len(tensors):
        raise ValueError(f"the file has {len(names)} inputs for {len(tensors)} tensors")
    outputs = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)})
    return [torch.from_numpy(output) for output in outputs]


def _of_original(function: Callable[[nn.Module, Inputs], list[Tensor]], original: nn.Module, inputs: Inputs) -> list[Tensor]:
    try:
        return function(original, inputs)
    except Exception as error:
        raise Inapplicable(first_line(error)) from error


def _same_shapes(expected: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    if shapes(outputs) != shapes(expected):
        return f"no: returns {shapes(outputs)[:3]}, the original {shapes(expected)[:3]}"
    return "yes" if all(bool(tensor.isfinite().all()) for tensor in outputs) else "no: outputs are not finite"


def _gradients(network: nn.Module, inputs: Inputs) -> dict[str, bool]:
    """Return which parameters get a gradient in a training step, and whether it is finite."""
    trained = copied(network).train()
    trained.zero_grad(set_to_none=True)
    outputs = [tensor for tensor in called(trained, inputs) if tensor.requires_grad]
    torch.stack([(tensor.float() / (tensor.detach().abs().max() + 1e-6)).square().mean() for tensor in outputs]).sum().backward()
    return {name: bool(parameter.grad.isfinite().all()) for name, parameter in trained.named_parameters() if parameter.grad is not None}


def _identical(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(torch.equal(torch.nan_to_num(one), torch.nan_to_num(other)))


def _sizes(module: nn.Module) -> list[tuple[str, Any, Any]]:
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        return []
    if isinstance(module, nn.Linear):
        return [("out_features", module.out_features, weight.shape[0]), ("in_features", module.in_features, weight.shape[1])]
    if isinstance(module, nn.modules.conv._ConvNd):
        outward, inward = ("in_channels", "out_channels") if module.transposed else ("out_channels", "in_channels")
        inner = getattr(module, inward) // module.groups
        return [(outward, getattr(module, outward), weight.shape[0]), (f"{inward} / groups", inner, weight.shape[1])]
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return [("num_features", module.num_features, weight.shape[0])]
    if isinstance(module, nn.GroupNorm):
        return [("num_channels", module.num_channels, weight.shape[0])]
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return [("normalized_shape", tuple(module.normalized_shape), tuple(weight.shape))]
    if isinstance(module, nn.Embedding):
        return [("embedding_dim", module.embedding_dim, weight.shape[1])]
    return []


QUICK: dict[str, Check] = {
    "runs": runs,
    "batch": runs_other_batch,
    "size": runs_other_size,
    "masked": masked,
    "trains": trains,
    "attributes": attributes,
}
