"""Networks that are run on parts of a batch, one after the other, to take less memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from gcc.losses.distillation import tapping

Outcome = tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]
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


class InParts(nn.Module):
    """A network as a player calls it: on a whole batch, or part by part with the same gradients.

    Of parts nothing is kept for the backward pass but what was given and made: each is run again when the pass comes to it (Chen et al.
    2016). What samples of a batch have to do with each other is lost between parts: batch norm normalises each by itself, and its running
    statistics then move by the mean of all parts'.

    Args:
        network: what is called; its parameters stay where they are.
        size: samples in a part; none for whole batches.
        taps: the layers whose features can be kept, by module path.
    """

    def __init__(self, network: nn.Module, size: int | None, taps: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.network = network
        self.size = size
        self.taps = taps
        self.kept: dict[str, Tensor] | None = None

    def forward(self, *inputs: Tensor) -> Any:
        """Return what the network makes of its inputs, (N, ...) each: a tensor (N, ...)."""
        if self.size is None or len(inputs[0]) <= self.size:
            with tapping({"": self._tapped}) as features:
                made = self.network(*inputs)
            self._keep(features[""])
            return made
        before = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        parts = zip(*(torch.split(given, self.size) for given in inputs), strict=True)
        moving = _Moving(self.network)
        outcomes: list[Outcome] = [
            # While it is run again for the backward pass, the same parameters must move as now.
            checkpoint(self._part, before, *part, use_reentrant=False, context_fn=lambda: (nullcontext(), moving))
            for part in parts
        ]
        self._move_on([buffers for _, _, buffers in outcomes])
        self._keep({path: torch.cat([features[path] for _, features, _ in outcomes]) for path in self._tapped})
        return torch.cat([made for made, _, _ in outcomes])

    @property
    def _tapped(self) -> Mapping[str, nn.Module]:
        return {} if self.kept is None else self.taps

    def _keep(self, features: Mapping[str, Tensor]) -> None:
        if self.kept is not None:
            self.kept.update(features)

    def _part(self, before: Mapping[str, Tensor], *inputs: Tensor) -> Outcome:
        # Every part, and each when it is run again, starts from the same: a spectral norm then has the same weight in all of them.
        buffers = {name: buffer.clone() for name, buffer in before.items()}
        with tapping({"": self._tapped}) as features:
            made = functional_call(self.network, buffers, inputs)
        return made, features[""], buffers

    @torch.no_grad()
    def _move_on(self, after: Sequence[Mapping[str, Tensor]]) -> None:
        """Give the network's buffers the mean of what has become of them in all parts."""
        for name, buffer in self.network.named_buffers():
            first, *others = (moved[name] for moved in after)
            # Exact where all are the same.
            buffer.copy_(first + sum((other - first for other in others), torch.zeros_like(first)) / len(after))


@contextmanager
def keeping(networks: Mapping[str, InParts]) -> Iterator[dict[str, dict[str, Tensor]]]:
    """Keep what the tapped layers give in this context, by network and module path; a later pass replaces an earlier one."""
    features: dict[str, dict[str, Tensor]] = {name: {} for name in networks}
    for name, network in networks.items():
        network.kept = features[name]
    try:
        yield features
    finally:
        for network in networks.values():
            network.kept = None
