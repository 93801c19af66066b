"""Inputs of evaluators for tests."""

import torch

from gcc.registry import EvalContext, EvalSample
from gcc.utils.weights import Weights


def context(training=None, store=None, **files):
    """Return a context with this training split and store, and with these files of weights by name."""

    def source():
        assert training is not None, "nothing here reads the training split"
        return training

    names = {name.replace("_", "-"): path for name, path in files.items()}
    return EvalContext(Weights(names), torch.device("cpu"), source, store)


def eval_sample(fake, real=None, **batch):
    """Return fake images with their real counterparts, and with what else the batch contains."""
    return EvalSample({"A": torch.zeros_like(fake), "B": fake if real is None else real, **batch}, fake, "A", "B")


def metric(evaluator, *samples):
    """Return the metric of an image evaluator over batches."""
    return evaluator.aggregate(torch.cat([evaluator.compare(sample) for sample in samples]))


def streets(count, size=64, split="train"):
    """Return photographs of the demo world, (count, 3, size, size) in [-1, 1]."""
    from types import SimpleNamespace

    from gcc.data.demo.streets import Streets

    source = Streets(None, split, SimpleNamespace(size=size))
    return torch.stack([source.sample(index, None)["B"] for index in range(count)])
