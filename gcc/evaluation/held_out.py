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


def sampled(source: SampleSource, indices: Sequence[int], device: torch.device) -> Batch:
    """Return samples of a source, not augmented, as one batch on the device."""
    samples = [source.sample(index, None) for index in indices]
    return {key: torch.stack([sample[key] for sample in samples]).to(device) for key in samples[0]}


def evaluate(
    architecture: Architecture[Any], generators: Mapping[str, nn.Module], source: SampleSource, batch_size: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """Return the figures of the architecture's evaluators over every sample of `source`, by generator and evaluator.

    The networks run in evaluation mode and float32, as the saved ones will.
    """
    evaluators = {name: {metric: EVALUATORS.load(metric)() for metric in architecture.evaluators} for name in generators}
    with sampling(generators):
        for batch in in_order(source, batch_size, device):
            for name, (made, real) in architecture.judged(batch, architecture.generate(generators, batch)).items():
                for evaluator in evaluators[name].values():
                    evaluator.update(made, real)
    return {name: {metric: evaluator.compute() for metric, evaluator in chosen.items()} for name, chosen in evaluators.items()}
