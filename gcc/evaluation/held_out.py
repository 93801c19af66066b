"""Generators on images that they were not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from gcc.data.loading import in_order
from gcc.networks import evaluating
from gcc.registry import EVALUATORS, Architecture, Batch, SampleSource


@contextmanager
def sampling(generators: Mapping[str, nn.Module]) -> Iterator[None]:
    """Keep generators in evaluation mode and without gradients in this context, and as they were after it."""
    with torch.no_grad(), ExitStack() as stack:
        for network in generators.values():
            stack.enter_context(evaluating(network))
        yield


def shown(source: SampleSource, indices: Sequence[int], device: torch.device) -> Batch:
    """Return samples of a source, as a grid shows them, as one batch on the device."""
    samples = [source.shown(index) for index in indices]
    return {key: torch.stack([sample[key] for sample in samples]).to(device) for key in samples[0]}


def evaluate(
    architecture: Architecture[Any], generators: Mapping[str, nn.Module], source: SampleSource, batch_size: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """Return the figures of the architecture's evaluators over every sample of `source`, by generator and evaluator.

    Where the source has named parts, each has figures of its own, such as `psnr_y (Set5)`. The networks run in evaluation mode and float32,
    as the saved ones will.
    """
    figures: dict[str, dict[str, float]] = {name: {} for name in generators}
    if not architecture.evaluators:
        return figures
    for part, indices in _parts(source).items():
        evaluators = {name: {metric: EVALUATORS.load(metric)() for metric in architecture.evaluators} for name in generators}
        with sampling(generators):
            for batch in in_order(source, indices, batch_size if source.uniform else 1, device):
                for name, (made, real) in architecture.judged(batch, architecture.generate(generators, batch)).items():
                    for evaluator in evaluators[name].values():
                        evaluator.update(made, real)
        for name, chosen in evaluators.items():
            figures[name] |= {f"{metric} ({part})" if part else metric: evaluator.compute() for metric, evaluator in chosen.items()}
    return figures


def _parts(source: SampleSource) -> dict[str, list[int]]:
    parts: dict[str, list[int]] = {}
    for index in range(len(source)):
        parts.setdefault(source.part(index), []).append(index)
    return parts
