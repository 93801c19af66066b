"""Whole runs with compiled networks have the gradients and the tensors of uncompiled ones, at every step of every optimizer."""

import pytest
import torch

from gcc import Compressor, Teacher
from gcc.training import precision
from gcc.training.optimizer import ScopedOptimizer
from gcc.utils.state_tree import flatten_state
from tests.helpers.families import TINY

# Torch's compiler takes warnings of its own as errors otherwise.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def gradients(monkeypatch):
    """The gradients of every optimizer step, None where a parameter has none."""
    recorded = []

    def record(optimizer, free=ScopedOptimizer.zero_grad):
        recorded.append([None if parameter.grad is None else parameter.grad.clone() for parameter in optimizer.parameters])
        free(optimizer)

    monkeypatch.setattr(ScopedOptimizer, "zero_grad", record)
    return recorded


def trained(arch, recorded, compile):
    """Train to the end, and return all gradients, and the run's tensors after every step."""
    torch._dynamo.reset()
    run = Compressor(Teacher.create(arch), **TINY[arch], compile=compile, device="cpu", amp="off")
    states = []
    for _ in run.steps():
        states.append({name: tensor.detach().clone() for name, tensor in flatten_state(run.state_dict())[1].items()})
    gradients = list(recorded)
    recorded.clear()
    return gradients, states


@pytest.mark.parametrize("arch", TINY)
def test_every_gradient_and_every_tensor_that_changes_is_that_of_the_uncompiled_run(arch, gradients, monkeypatch):
    # What is compiled, and when anew, does not depend on the code that a backend generates, which takes minutes.
    monkeypatch.setattr(precision, "COMPILER", {"backend": "aot_eager"})
    expected_gradients, expected = trained(arch, gradients, compile=False)
    actual_gradients, actual = trained(arch, gradients, compile=True)
    assert len(actual_gradients) == len(expected_gradients) > 10 and len(actual) == len(expected)
    for step, (values, references) in enumerate(zip(actual_gradients, expected_gradients, strict=True)):
        assert [value is None for value in values] == [reference is None for reference in references], step
        for value, reference in zip(values, references, strict=True):
            if value is not None:
                # The gradient of a bias before a norm is rounding noise, of some 1e-6.
                torch.testing.assert_close(value, reference, rtol=1e-2, atol=1e-2 * float(reference.abs().max()) + 1e-5)
    for tensors, references in zip(actual, expected, strict=True):
        assert tensors.keys() == references.keys()
        for name, reference in references.items():
            # The gradient of a bias before a norm is rounding noise, from which Adam makes steps of the learning rate.
            atol = 1e-2 if name.endswith(".0.bias") else 1e-3
            torch.testing.assert_close(tensors[name], reference, rtol=1e-2, atol=atol, msg=name)
    names = {name.rpartition("/")[2] for name in expected[-1] if not name.endswith(("exp_avg", "exp_avg_sq", "step"))}
    assert any(name.endswith("alpha") for name in names)
