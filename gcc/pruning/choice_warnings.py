"""Warnings about the choice of channels, when a metric's scores or the budget make it a poor one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gcc.errors import PruningWarning, abridged
from gcc.utils.user_warnings import warn_user

NARROW = 0.1
"""Share of its channels below which a layer is narrow."""


def warn_of_narrow_layers(full: Mapping[str, int], widths: Mapping[str, int], generator: str) -> None:
    """Warn if a layer keeps less than a tenth of its channels, or a level vanishes.

    Args:
        full: channels before pruning, by width name.
        widths: channels after pruning; 0 if the level is left out.
        generator: whose widths these are, for the message.
    """
    gone = [name for name, channels in full.items() if channels and not widths[name]]
    narrow = [f"{name} {widths[name]} of {channels}" for name, channels in full.items() if 0 < widths[name] < NARROW * channels]
    facts = [f"leaves few channels: {', '.join(narrow)}"] if narrow else []
    facts += [f"removes the levels {', '.join(gone)}"] if gone else []
    if facts:
        warn_user(
            f"pruning {generator} {', and '.join(facts)}; min_keep_ratio = {NARROW} would keep a tenth of every layer, and another metric "
            "or a larger budget may keep more",
            PruningWarning,
        )


def warn_of_ties(scores: Mapping[str, Tensor | None], widths: Mapping[str, int], generator: str) -> None:
    """Warn if most of the removed channels have the score of a channel that is kept, so that not their importance decides.

    Args:
        scores: importance by group name, (channels,); None if the metric has no score for the group.
        widths: channels after pruning, by group name.
        generator: whose scores these are, for the message.
    """
    ascending = {name: score.detach().cpu().sort().values for name, score in scores.items() if score is not None}
    if not ascending:
        return
    removed = torch.cat([score[: len(score) - widths[name]] for name, score in ascending.items()])
    kept = torch.cat([score[len(score) - widths[name] :] for name, score in ascending.items()])
    ties = int(torch.isin(removed, kept).sum())
    if 2 * ties > len(removed):
        warn_user(
            f"pruning {generator} removes {len(removed)} channels, {ties} of them with the same score as channels that it keeps, so "
            "the order of the layers decides which go. Scales of norms that were never trained tie; the metric l1 ranks kernels instead",
            PruningWarning,
        )


def warn_of_unranked_layers(scores: Mapping[str, Tensor | None], generator: str) -> None:
    """Warn if the metric has no score for some groups, whose channels are therefore all kept.

    Args:
        scores: importance by group name; None if the metric has no score for the group.
        generator: whose scores these are, for the message.
    """
    names = [name for name, score in scores.items() if score is None]
    if names:
        warn_user(
            f"pruning {generator} keeps all channels of the layers {abridged(names)}, which the metric cannot rank "
            "(slimming needs a norm with scales after a layer): use the metric l1, which ranks kernels",
            PruningWarning,
        )
