"""Networks that are run on parts of a batch, one after the other, to take less memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from gcc.losses.distillation import FeatureHooks
from gcc.training.precision import ExecutionConfig

PartOutput = tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]
"""What a network makes of a part of a batch, its tapped features, and what has become of its buffers."""


class _Moving:
    """Lets graphs that are built in this context reach the parameters that they reach now; may be entered again and again."""

    def __init__(self, network: nn.Module) -> None:
        self._then = [(parameter, parameter.requires_grad) for parameter in network.parameters()]

    def __enter__(self) -> None:
        self._now = [(parameter, parameter.requires_grad) for parameter, _ in self._then]
        self._set(self._then)

    def __exit__(self, *error: object) -> None:
        self._set(self._now)

    @staticmethod
    def _set(moving: list[tuple[nn.Parameter, bool]]) -> None:
        for parameter, moves in moving:
            parameter.requires_grad_(moves)


class MicroBatched(nn.Module):
    """A network as a player calls it: on a whole batch, or part by part with the same gradients.

    Of parts nothing is kept for the backward pass but what was given and made: each is run again when the pass comes to it (Chen et al.
    2016). What samples of a batch have to do with each other is lost between parts: batch norm normalises each by itself, and its running
    statistics then move by the mean of all parts'.

    Args:
        network: what is called; its parameters stay where they are.
        execution: tells how many samples are in a part, and whether the network is compiled.
        taps: the layers whose features can be kept, by module path.
    """

    def __init__(self, network: nn.Module, execution: ExecutionConfig, taps: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.network = network
        self.size = execution.micro_batch
        self.taps = FeatureHooks(taps)
        self._run = execution.compiled(network)

    def forward(self, *inputs: Tensor) -> Any:
        """Return what the network makes of its inputs, (N, ...) each: a tensor (N, ...)."""
        if self.size is None or len(inputs[0]) <= self.size:
            return self._run(*inputs)
        before = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        parts = zip(*(torch.split(given, self.size) for given in inputs), strict=True)
        moving = _Moving(self.network)
        roles: list[PartOutput] = [
            # While it is run again for the backward pass, the same parameters must move as now.
            checkpoint(self._part, before, *part, use_reentrant=False, context_fn=lambda: (nullcontext(), moving))
            for part in parts
        ]
        self._average_buffers([buffers for _, _, buffers in roles])
        if self.taps.features is not None:
            self.taps.features |= {path: torch.cat([features[path] for _, features, _ in roles]) for path in roles[0][1]}
        return torch.cat([made for made, _, _ in roles])

    def _part(self, before: Mapping[str, Tensor], *inputs: Tensor) -> PartOutput:
        # Every part, and each when it is run again, starts from the same: a spectral norm then has the same weight in all of them.
        buffers = {name: buffer.clone() for name, buffer in before.items()}
        features: dict[str, Tensor] | None = None if self.taps.features is None else {}
        with self.taps.storing(features):
            made = functional_call(self.network, buffers, inputs)
        return made, features or {}, buffers

    @torch.no_grad()
    def _average_buffers(self, after: Sequence[Mapping[str, Tensor]]) -> None:
        """Give the network's buffers the mean of what has become of them in all parts."""
        for name, buffer in self.network.named_buffers():
            first, *others = (moved[name] for moved in after)
            # Exact where all are the same.
            buffer.copy_(first + sum((other - first for other in others), torch.zeros_like(first)) / len(after))


@contextmanager
def keep_features(networks: Mapping[str, MicroBatched]) -> Iterator[dict[str, dict[str, Tensor]]]:
    """Keep what the tapped layers give in this context, by network and module path; a later pass replaces an earlier one."""
    features: dict[str, dict[str, Tensor]] = {name: {} for name in networks}
    with ExitStack() as stack:
        for name, network in networks.items():
            stack.enter_context(network.taps.storing(features[name]))
        yield features
