"""Importance of channels, by which the paper ranks a generator's channels (Li et al. 2021, appendix B).

Scores are compared over the whole generator. The paper does not normalise them by layer; `l1` does, and `l1_paper` is the paper's rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from gcc.errors import PluginError
from gcc.registry.importance import ImportanceMetric
from gcc.registry.stored_weights import effective_weight
from gcc.registry.types import Group, Producer

ONCE = (None,)
"""One round, for a metric that reads no gradients."""


class Slimming(ImportanceMetric):
    """Magnitude of the normalisation scale: `s_c = max over norms of |gamma_c|` (Liu et al. 2017, Network Slimming).

    If several norms scale the same channels, as along a residual trunk, a channel is as important as the largest scale makes it.
    """

    l1_strength: ClassVar[float] = 1e-2

    def score(self, network: nn.Module, group: Group) -> Tensor | None:
        """Return `s`, (channels,); None if no norm scales the group."""
        scales = self.regularized_parameters(network, group)
        return _largest([scale.detach().abs() for scale in scales]) if scales else None

    def regularized_parameters(self, network: nn.Module, group: Group) -> Sequence[Tensor]:
        """Return the scales `gamma`, each (channels,)."""
        return [network.get_parameter(name) for name in group.scales]


class PaperL1Norm(ImportanceMetric):
    """L1 norm of the kernel that produces a channel: `s_c = max over producers of sum |W_c|` (Li et al. 2017, Pruning Filters).

    `W_c` is the kernel's slice for output c; if a channel has several consecutive outputs, as before a pixel shuffle, it covers all of
    them. If several convolutions are summed into the same channels, a channel is as important as the largest kernel makes it. `W` is the
    weight that the layer computes with, whatever spectral norm or weight norm stores. A sum over more inputs is larger, so that layers with
    few inputs lose more channels.
    """

    l1_strength: ClassVar[float] = 1e-3

    def score(self, network: nn.Module, group: Group) -> Tensor:
        """Return `s`, (channels,)."""
        return _largest(self._norms(network, group))

    def regularized_parameters(self, network: nn.Module, group: Group) -> Sequence[Tensor]:
        """Return the kernels `W`, or the tensors that they are stored as."""
        return [network.get_parameter(producer.parameter) for producer in group.producers]

    def _norms(self, network: nn.Module, group: Group) -> list[Tensor]:
        return [_kernel_norms(network, producer, group) for producer in group.producers]


class L1Norm(PaperL1Norm):
    """L1 norm of the kernel that produces a channel, relative to the mean of its layer: `s_c = max over producers of n_c / mean(n)`.

    `n_c` is the score of `PaperL1Norm`. The scores of a group are then divided by their mean in turn. Every layer thus has the mean 1,
    whatever its number of inputs and the scale of its weights, and layers can be ranked together (as in DepGraph, Fang et al. 2023).
    """

    def score(self, network: nn.Module, group: Group) -> Tensor:
        """Return `s`, (channels,)."""
        return _relative(_largest([_relative(norms) for norms in self._norms(network, group)]))


def as_it_is(network: nn.Module) -> nn.Module:
    """Return the network itself."""
    return network


def score_groups(
    network: nn.Module,
    groups: Sequence[Group],
    metric: ImportanceMetric,
    rounds: Iterable[None] = ONCE,
    readable: Callable[[nn.Module], nn.Module] = as_it_is,
) -> dict[str, Tensor | None]:
    """Return the importance of every group's channels by group name, (channels,); None if `metric` has no score for the group.

    Args:
        network: the generator whose channels are scored.
        groups: its channel groups.
        metric: scores the channels.
        rounds: each iteration leaves other gradients in the network's parameters; scores are averaged over all rounds.
        readable: returns the network, with its present gradients, as metrics read it; see `Architecture.readable`.

    Raises:
        PluginError: `metric` scores no group at all, or a score has another shape than (channels,).
    """
    rounds_of_scores = [_scores(readable(network), groups, metric) for _ in rounds]
    return {group.name: _mean([scores[group.name] for scores in rounds_of_scores]) for group in groups}


def most_important(scores: Mapping[str, Tensor | None], widths: Mapping[str, int]) -> dict[str, list[int]]:
    """Return the indices of the most important channels of every group that has scores, in ascending order, as many as its width."""
    return {
        name: sorted(score.argsort(descending=True, stable=True)[: widths[name]].tolist())
        for name, score in scores.items()
        if score is not None
    }


def random_gradients(network: nn.Module) -> Iterator[None]:
    """Run one round with random gradients, for a network that has not been trained yet."""
    random = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=random).to(parameter)
    yield
    network.zero_grad(set_to_none=True)


def _scores(network: nn.Module, groups: Sequence[Group], metric: ImportanceMetric) -> dict[str, Tensor | None]:
    """Return the scores of one round."""
    scores = {group.name: metric.score(network, group) for group in groups}
    name = type(metric).__name__
    if all(score is None for score in scores.values()):
        raise PluginError(
            f"metric {name} scores no channel of this generator: use the metric l1 (slimming, the default of most recipes, needs "
            "normalisation layers with scales)"
        )
    for group in groups:
        score = scores[group.name]
        if score is not None and score.shape != (group.channels,):
            raise PluginError(f"metric {name} scored the width {group.name!r} {tuple(score.shape)}: expected ({group.channels},)")
    return scores


def _mean(scores: Sequence[Tensor | None]) -> Tensor | None:
    present = [score for score in scores if score is not None]
    return torch.stack(present).double().mean(0) if present else None


def _kernel_norms(network: nn.Module, producer: Producer, group: Group) -> Tensor:
    weight = effective_weight(network, producer.parameter).detach()
    outputs = weight.abs().transpose(0, producer.dim).flatten(1).sum(1, dtype=torch.float32)
    return outputs.view(group.channels, producer.ratio).sum(1)


def _relative(scores: Tensor) -> Tensor:
    """Return scores divided by their mean; zeros stay zeros."""
    mean = scores.mean()
    return scores / torch.where(mean == 0, 1.0, mean)


def _largest(scores: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(scores)).amax(0)
