"""What evaluators are given in tests."""

import torch

from gcc.registry import EvalContext, EvalSample
from gcc.utils.weights import Weights


def context(training=None, store=None, **files):
    """Return surroundings with the training split and the store given, and with these files of weights by name."""

    def source():
        assert training is not None, "nothing here reads the training split"
        return training

    names = {name.replace("_", "-"): path for name, path in files.items()}
    return EvalContext(Weights(names), torch.device("cpu"), source, store)


def eval_samples(made, real=None, **batch):
    """Return made images beside the real ones, and what else the batch holds."""
    return EvalSample({"A": torch.zeros_like(made), "B": made if real is None else real, **batch}, made, "A", "B")


def figure(evaluator, *seen):
    """Return the figure over batches of what evaluators see."""
    return evaluator.figure(torch.cat([evaluator.compare(each) for each in seen]))


def streets(count, size=64, split="train"):
    """Return photographs of the demo world, (count, 3, size, size) in [-1, 1]."""
    from types import SimpleNamespace

    from gcc.data.demo.streets import Streets

    source = Streets(None, split, SimpleNamespace(size=size))
    return torch.stack([source.sample(index, None)["B"] for index in range(count)])
