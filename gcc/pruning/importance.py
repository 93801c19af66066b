"""Importance of channels: what the paper ranks a generator's channels by (Li et al. 2021, appendix B).

Scores are compared over the whole generator as they are, without a normalisation by layer, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from gcc.errors import PluginError
from gcc.registry.contracts import Group, ImportanceMetric, Producer


class Slimming(ImportanceMetric):
    """Magnitude of the normalisation scale: `s_c = max over norms of |gamma_c|` (Liu et al. 2017, Network Slimming).

    Where several norms scale the same channels, as along a residual trunk, a channel is kept if any of them keeps it.
    """

    strength: ClassVar[float] = 1e-2

    def score(self, network: nn.Module, group: Group) -> Tensor | None:
        """Return `s`, (channels,), or none where no norm scales the group."""
        scales = self.sparsified(network, group)
        return _any_keeps([scale.detach().abs() for scale in scales]) if scales else None

    def sparsified(self, network: nn.Module, group: Group) -> Sequence[Tensor]:
        """Return the scales `gamma`, each (channels,)."""
        return [network.get_parameter(name) for name in group.scales]


class L1Norm(ImportanceMetric):
    """L1 norm of the kernel that makes a channel: `s_c = max over producers of sum |W_c|` (Li et al. 2017, Pruning Filters).

    `W_c` is the kernel's slice for output c; where a channel has several consecutive outputs, as before a pixel shuffle, it is all of
    theirs. Where several convolutions are summed into the same channels, a channel is kept if any of them keeps it.
    """

    strength: ClassVar[float] = 1e-3

    def score(self, network: nn.Module, group: Group) -> Tensor:
        """Return `s`, (channels,)."""
        return _any_keeps([_kernel_norms(network, producer, group) for producer in group.producers])

    def sparsified(self, network: nn.Module, group: Group) -> Sequence[Tensor]:
        """Return the kernels `W`."""
        return [network.get_parameter(producer.parameter) for producer in group.producers]


def score_groups(network: nn.Module, groups: Sequence[Group], metric: ImportanceMetric) -> dict[str, Tensor | None]:
    """Return the importance of every group's channels by group name, (channels,), larger is kept; none where `metric` cannot tell.

    Raises:
        PluginError: `metric` can tell for no group at all, or a score has another shape than (channels,).
    """
    scores = {group.name: metric.score(network, group) for group in groups}
    name = type(metric).__name__
    if all(score is None for score in scores.values()):
        raise PluginError(f"metric {name} scores no channel of this generator (slimming needs normalisation scales): use --metric l1")
    for group in groups:
        score = scores[group.name]
        if score is not None and score.shape != (group.channels,):
            raise PluginError(f"metric {name} gave the width {group.name!r} scores {tuple(score.shape)}: expected ({group.channels},)")
    return scores


def _kernel_norms(network: nn.Module, producer: Producer, group: Group) -> Tensor:
    weight = network.get_parameter(producer.parameter).detach()
    outputs = weight.abs().transpose(0, producer.dim).flatten(1).sum(1, dtype=torch.float32)
    return outputs.view(group.channels, producer.ratio).sum(1)


def _any_keeps(scores: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(scores)).amax(0)
