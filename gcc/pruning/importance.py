"""Importance of channels: what the paper ranks a generator's channels by (Li et al. 2021, appendix B).

Scores are compared over the whole generator as they are, without a normalisation by layer, as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from gcc.errors import PluginError
from gcc.registry.importance import ImportanceMetric
from gcc.registry.types import Group, Producer

ONCE = (None,)
"""The rounds of a metric that reads no gradients."""


class Slimming(ImportanceMetric):
    """Magnitude of the normalisation scale: `s_c = max over norms of |gamma_c|` (Liu et al. 2017, Network Slimming).

    Where several norms scale the same channels, as along a residual trunk, a channel is kept if any of them keeps it.
    """

    l1_strength: ClassVar[float] = 1e-2

    def score(self, network: nn.Module, group: Group) -> Tensor | None:
        """Return `s`, (channels,), or none where no norm scales the group."""
        scales = self.regularized_parameters(network, group)
        return _any_keeps([scale.detach().abs() for scale in scales]) if scales else None

    def regularized_parameters(self, network: nn.Module, group: Group) -> Sequence[Tensor]:
        """Return the scales `gamma`, each (channels,)."""
        return [network.get_parameter(name) for name in group.scales]


class L1Norm(ImportanceMetric):
    """L1 norm of the kernel that makes a channel: `s_c = max over producers of sum |W_c|` (Li et al. 2017, Pruning Filters).

    `W_c` is the kernel's slice for output c; where a channel has several consecutive outputs, as before a pixel shuffle, it is all of
    theirs. Where several convolutions are summed into the same channels, a channel is kept if any of them keeps it.
    """

    l1_strength: ClassVar[float] = 1e-3

    def score(self, network: nn.Module, group: Group) -> Tensor:
        """Return `s`, (channels,)."""
        return _any_keeps([_kernel_norms(network, producer, group) for producer in group.producers])

    def regularized_parameters(self, network: nn.Module, group: Group) -> Sequence[Tensor]:
        """Return the kernels `W`."""
        return [network.get_parameter(producer.parameter) for producer in group.producers]


def score_groups(
    network: nn.Module, groups: Sequence[Group], metric: ImportanceMetric, rounds: Iterable[None] = ONCE
) -> dict[str, Tensor | None]:
    """Return the importance of every group's channels by group name, (channels,), larger is kept; none where `metric` cannot tell.

    Args:
        network: the generator whose channels are scored.
        groups: of its channels.
        metric: scores them.
        rounds: leaves other gradients in the network's parameters each time it goes on; the mean score of all rounds counts.

    Raises:
        PluginError: `metric` can tell for no group at all, or a score has another shape than (channels,).
    """
    found = [_scored(network, groups, metric) for _ in rounds]
    return {group.name: _mean([scores[group.name] for scores in found]) for group in groups}


def random_gradients(network: nn.Module) -> Iterator[None]:
    """Go one round with random gradients: what there is of them before the network is trained."""
    random = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=random).to(parameter)
    yield
    network.zero_grad(set_to_none=True)


def _scored(network: nn.Module, groups: Sequence[Group], metric: ImportanceMetric) -> dict[str, Tensor | None]:
    """Return the scores of one round."""
    scores = {group.name: metric.score(network, group) for group in groups}
    name = type(metric).__name__
    if all(score is None for score in scores.values()):
        raise PluginError(f"metric {name} scores no channel of this generator (slimming needs normalisation scales): use --metric l1")
    for group in groups:
        score = scores[group.name]
        if score is not None and score.shape != (group.channels,):
            raise PluginError(f"metric {name} gave the width {group.name!r} scores {tuple(score.shape)}: expected ({group.channels},)")
    return scores


def _mean(scores: Sequence[Tensor | None]) -> Tensor | None:
    told = [score for score in scores if score is not None]
    return torch.stack(told).double().mean(0) if told else None


def _kernel_norms(network: nn.Module, producer: Producer, group: Group) -> Tensor:
    weight = network.get_parameter(producer.parameter).detach()
    outputs = weight.abs().transpose(0, producer.dim).flatten(1).sum(1, dtype=torch.float32)
    return outputs.view(group.channels, producer.ratio).sum(1)


def _any_keeps(scores: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(scores)).amax(0)
