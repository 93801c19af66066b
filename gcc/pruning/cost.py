"""The cost of a network: multiply-accumulates of one sample by two counters, and parameters.

`exact` counts what is computed: every convolution, on its own grid, and every matrix product, including those of attention. `paper` counts
as the paper's tables do, by the rules of thop, which hooks modules of known types. It therefore misses a parametrised convolution, whose
type torch changes, and counts a transposed convolution on its output grid.

Only shapes matter, so one forward pass on the meta device gives both counts. The functions that generators mostly use are not even run
there: their output shapes follow from simple rules. This avoids the meta kernels, and the second that torch takes to load them. Code that
does not run on the meta device, because it asks for the device of its input, gets fake tensors, which have a device but no values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from gcc.models.assertions import PassedAssertions
from gcc.models.calls import shapes_of, tensors_in
from gcc.models.modules import evaluating, tensors_of
from gcc.registry.architecture import Architecture
from gcc.utils.units import shape_text, with_prefix


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass of a network.

    Attributes:
        macs: multiply-accumulates per sample, exact.
        paper_macs: multiply-accumulates per sample by the authors' counter.
        parameters: number of trainable values.
        resolution: shape of the input for which both counts hold, such as `1x3x256x256`.
    """

    macs: int
    paper_macs: int
    parameters: int
    resolution: str

    def __str__(self) -> str:
        """Show every number with its counter, and the resolution. The paper's counter finds nothing in a pruned graph, and is left out."""
        paper = f", {with_prefix(self.paper_macs)} MACs by the paper's counter" if self.paper_macs else ""
        return f"{with_prefix(self.macs)} MACs exact{paper} at {self.resolution}, {with_prefix(self.parameters)} parameters"


def cost_of(network: nn.Module, *examples: Any) -> Cost:
    """Return the cost of `network` in evaluation mode for its arguments, from shapes alone; the network is not changed.

    The first dimension of the first tensor is the number of samples.
    """
    return cost_of_shapes(shapes_of(network), *examples)


def cost_of_shapes(network: nn.Module, *examples: Any) -> Cost:
    """Return the cost of a network on the meta device; its code runs, and may change it."""
    tensors = tensors_in(examples)
    try:
        exact, paper = _products(network, examples, META)
    except Exception as error:  # The network's code can raise anything.
        if tensors[0].is_meta:
            raise
        exact, paper = _products_of_fakes(network, examples, tensors[0].device, error)
    samples = tensors[0].shape[0] if tensors[0].ndim else 1
    parameters = sum(parameter.numel() for parameter in network.parameters())
    resolution = " and ".join(shape_text(tensor.shape) for tensor in tensors)
    return Cost(exact // samples, paper // samples, parameters, resolution)


META = torch.device("meta")


def _products_of_fakes(network: nn.Module, examples: tuple[Any, ...], device: torch.device, reason: Exception) -> tuple[int, int]:
    """Return the multiply-accumulates of a forward pass with fake tensors, or raise the reason for which others do not do."""
    from torch._subclasses import FakeTensorMode

    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            return _products(network, examples, device)
    except Exception:
        raise reason from None


def _products(network: nn.Module, examples: tuple[Any, ...], device: torch.device) -> tuple[int, int]:
    """Return the multiply-accumulates of a forward pass on a device by the exact and by the paper's counter."""

    def empty(tensor: Tensor) -> Tensor:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=device)

    tensors = {name: empty(tensor) for name, tensor in tensors_of(network).items() if not tensor.is_meta or device != META}
    exact, paper = _ProductCounter(device), _PaperCounter()
    with torch.no_grad(), evaluating(network), paper.watching(network), exact, PassedAssertions():
        torch.func.functional_call(network, tensors, tree_map_only(Tensor, empty, examples), tie_weights=False)
    return exact.macs, paper.macs


def _all_on_meta(arguments: Any) -> Any:
    """Return the arguments of a function; tensors that are not registered as buffers join the others on the meta device."""
    tensors = tensors_in(arguments)
    if all(tensor.is_meta for tensor in tensors) or not any(tensor.is_meta for tensor in tensors):
        return arguments
    return tree_map_only(Tensor, lambda tensor: tensor if tensor.is_meta else tensor.to("meta"), arguments)


def generator_cost(architecture: Architecture[Any], widths: Mapping[str, int]) -> Cost:
    """Return the cost of a generator of these widths at the architecture's example input."""
    with torch.device("meta"):
        return cost_of_shapes(architecture.build_generator(widths), architecture.example_input())


@cache
def _may_multiply(operator: torch._ops.OpOverload) -> bool:
    """Return whether torch's own counter counts an operator, or other operators that it consists of."""
    from torch.utils.flop_counter import flop_registry

    return operator.overloadpacket in flop_registry or torch._C._dispatch_has_kernel_for_dispatch_key(
        operator.name(),  # type: ignore[no-untyped-call]
        "CompositeImplicitAutograd",
    )


class _ProductCounter(TorchFunctionMode):
    """Counts the multiply-accumulates of every convolution and matrix product.

    Convolutions are counted here, and functions that are known not to multiply are skipped. All others run under torch's own counter, which
    counts the products they consist of.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.macs = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type[Any]],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, torch._ops.OpOverload):
            args, kwargs = tree_map_only(torch.device, lambda _: self.device, (args, kwargs))
        if func in SHAPE_KEEPING and args:
            return torch.empty_like(args[0])
        if func in OUTPUTS and (output := _output(OUTPUTS[func], args, kwargs)) is not None:
            if func in CONVOLUTION or func in TRANSPOSED_CONVOLUTION:
                image, weight = _named(args, kwargs, "input", "weight")
                self.macs += (image if func in TRANSPOSED_CONVOLUTION else output).numel() * math.prod(weight.shape[1:])
            return output
        args, kwargs = _all_on_meta((args, kwargs))
        if func in PRODUCTLESS or (isinstance(func, torch._ops.OpOverload) and not _may_multiply(func)):
            return func(*args, **kwargs)
        return self._counted_by_torch(func, args, kwargs)

    def _counted_by_torch(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Loading torch's counter takes longer than a whole search that does not need it.
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            result = func(*args, **kwargs)
        self.macs += counter.get_total_flops() // 2
        return result


SHAPE_KEEPING = frozenset(
    [
        functional.relu,
        functional.leaky_relu,
        functional.prelu,
        functional.elu,
        functional.gelu,
        functional.silu,
        functional.dropout,
        functional.dropout2d,
        functional.batch_norm,
        functional.instance_norm,
        functional.group_norm,
        functional.layer_norm,
        torch.sigmoid,
        torch.tanh,
    ]
)
PRODUCTLESS = frozenset(
    [
        Tensor.dim,
        Tensor.numel,
        Tensor.size,
        Tensor.view,
        Tensor.reshape,
        Tensor.flatten,
        Tensor.permute,
        Tensor.transpose,
        Tensor.add,
        torch.add,
        torch.softmax,
        functional.softmax,
        functional.pad,
        functional.pixel_shuffle,
    ]
)
CONCATENATION = frozenset([torch.cat, torch.concat])
INVERSE_STFT: frozenset[Callable[..., Any]] = frozenset([torch.istft, Tensor.istft, torch.ops.aten.istft.default])
"""Functions whose kernel reads values of the window."""
CONVOLUTION = frozenset([functional.conv1d, functional.conv2d, functional.conv3d])
TRANSPOSED_CONVOLUTION = frozenset([functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d])

# The rules below name their arguments as torch does. They return None if the arguments are unusual or do not fit together. Torch then runs
# the function, or raises the error.
Sizes = int | Sequence[int]


def _concatenated(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    rests = {(*tensor.shape[:dim], *tensor.shape[dim:][1:]) for tensor in tensors}
    if dim < 0 or len(rests) > 1:
        return None
    return first.new_empty([*first.shape[:dim], sum(tensor.shape[dim] for tensor in tensors), *first.shape[dim + 1 :]])


def _signal(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor | None:
    if return_complex:
        return None
    samples = (input.shape[-1] - 1) * (hop_length or n_fft // 4) + (0 if center else n_fft)
    return input.new_empty([*input.shape[:-2], samples if length is None else length], dtype=input.dtype.to_real())


def _convolved(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor | None:
    if input.ndim != weight.ndim or isinstance(padding, str) or input.shape[1] != groups * weight.shape[1]:
        return None
    sizes = zip(input.shape[2:], weight.shape[2:], *_spatial(input.ndim - 2, stride, padding, dilation), strict=True)
    grid = [(size + 2 * pad - dilate * (kernel - 1) - 1) // step + 1 for size, kernel, step, pad, dilate in sizes]
    return input.new_empty([input.shape[0], weight.shape[0], *grid]) if min(grid) > 0 else None


def _transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor | None:
    if input.ndim != weight.ndim or input.shape[1] != weight.shape[0]:
        return None
    sizes = zip(input.shape[2:], weight.shape[2:], *_spatial(input.ndim - 2, stride, padding, output_padding, dilation), strict=True)
    grid = [(size - 1) * step - 2 * pad + dilate * (kernel - 1) + more + 1 for size, kernel, step, pad, more, dilate in sizes]
    return input.new_empty([input.shape[0], groups * weight.shape[1], *grid]) if min(grid) > 0 else None


def _spatial(dimensions: int, *settings: Sizes) -> Iterator[list[int]]:
    """Yield each setting with one value for each spatial dimension."""
    for setting in settings:
        values = [setting] if isinstance(setting, int) else list(setting)
        yield values * dimensions if len(values) == 1 else values


OUTPUTS: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    **dict.fromkeys(CONCATENATION, _concatenated),
    **dict.fromkeys(INVERSE_STFT, _signal),
    **dict.fromkeys(CONVOLUTION, _convolved),
    **dict.fromkeys(TRANSPOSED_CONVOLUTION, _transposed),
}


def _output(rule: Callable[..., Tensor | None], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Return the output by a rule; None if the arguments are unusual, such as `axis` instead of `dim`, or do not fit together."""
    try:
        return rule(*args, **kwargs)
    except (AttributeError, IndexError, TypeError, ValueError):
        return None


def _named(args: tuple[Any, ...], kwargs: Mapping[str, Any], *names: str) -> list[Any]:
    """Return a function's first arguments, which are given by position or by name."""
    return [args[number] if number < len(args) else kwargs[name] for number, name in enumerate(names)]


class _PaperCounter:
    """Counts by module type, like the authors' counter, thop.

    A convolution, transposed or not, costs `outputs * (inputs / groups * kernel size + 1 if it has a bias)`, a linear layer
    `outputs * inputs`, and a batch norm in evaluation mode `2 * elements`. Instance norms (unknown to thop at that time), activations, the
    products of attention and everything else cost nothing. This reproduces the published 18.15 G of the U-Net, 145.88 G of SRGAN, 18.4 G
    and 56.8 G of the ResNets and 23.45 M of SAGAN.
    """

    def __init__(self) -> None:
        self.macs = 0

    @contextmanager
    def watching(self, network: nn.Module) -> Iterator[None]:
        # thop compares exact types, so it does not count a subclass such as a parametrised convolution.
        hooks = [module.register_forward_hook(self._count) for module in network.modules() if type(module) in PAPER_RULES]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _count(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.macs += PAPER_RULES[type(module)](module, output)


def _paper_convolution(module: Any, output: Tensor) -> int:
    kernel: int = module.in_channels // module.groups * math.prod(module.kernel_size)
    return output.numel() * (kernel + (module.bias is not None))


def _paper_linear(module: nn.Linear, output: Tensor) -> int:
    return output.numel() * module.in_features


def _paper_batch_norm(module: nn.Module, output: Tensor) -> int:
    return 2 * output.numel()


PAPER_RULES: dict[type[nn.Module], Callable[[Any, Tensor], int]] = {
    **dict.fromkeys(
        [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d],
        _paper_convolution,
    ),
    **dict.fromkeys(
        [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d],
        _paper_batch_norm,
    ),
    nn.Linear: _paper_linear,
}
