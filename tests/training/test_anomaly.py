"""Numbers that are not finite, in losses, layers and gradients."""

import math
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from gcc import Compressor, Teacher
from gcc.errors import TrainingError
from gcc.registry import ARCHITECTURES
from gcc.training.anomaly import FiniteLosses, not_finite, register_anomaly_hooks
from gcc.training.context import Stream
from gcc.training.loss_tree import leaves
from gcc.utils.state_tree import flatten_state, unflatten_state
from tests.helpers.families import TINY, one_quick_family


def losses(**values):
    return {name: torch.tensor(value) for name, value in values.items()}


def test_the_first_step_that_is_not_finite_and_its_losses_are_reported():
    finite = FiniteLosses()
    assert finite.broken == (0, [])
    for number, values in enumerate(({"G": 1.0, "D": 2.0}, {"G": 1.0, "D": math.inf}, {"G": math.nan, "D": 1.0}), 1):
        finite.update(number, losses(**values))
    assert finite.broken == (2, [("D",)])
    finite.reset()
    finite.update(4, losses(G=1.0, D=1.0))
    assert finite.broken == (0, [])


def test_only_the_first_losses_that_break_are_reported():
    finite = FiniteLosses()
    finite.update(1, losses(G=1.0))
    finite.update(2, losses(G=1.0, D=-math.inf))
    finite.update(3, losses(G=math.nan))
    assert finite.broken == (2, [("D",)])


def test_the_state_has_the_first_step_of_losses_of_every_kind():
    finite, other = FiniteLosses(), FiniteLosses()
    finite.update(1, losses(G=1.0))
    finite.update(2, losses(G=1.0, D=-math.inf))
    other.load_state_dict(unflatten_state(*flatten_state(finite.state_dict())))
    other.update(3, losses(G=math.nan))
    assert other.broken == (2, [("D",)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_full_precision_is_advised_where_it_is_off(dtype):
    assert ('use `amp="off"`' in not_finite([("student", "G")], 1, "epoch 1", dtype)) == (dtype == torch.bfloat16)


class Logarithm(nn.Module):
    def forward(self, values):
        return values.log()


def network():
    return nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Sigmoid(), Logarithm()), nn.Linear(3, 1))


def test_the_layer_that_returns_them_is_named():
    observed = network()
    register_anomaly_hooks(observed, "student/generators/G", scaled=False)
    observed(torch.ones(2, 3))
    with torch.no_grad():
        observed[0].bias.fill_(-1e4)
    with pytest.raises(
        TrainingError, match=r"^student/generators/G: layer 1\.1 \(Logarithm\) returns values that are not finite: give lower `lr_g"
    ):
        observed(torch.ones(2, 3))


def test_weights_and_inputs_that_are_not_finite_are_distinguished():
    observed = network()
    register_anomaly_hooks(observed, "G", scaled=False)
    with pytest.raises(TrainingError, match=r"layer 0 \(Linear\) receives values that are not finite: "):
        observed(torch.full((2, 3), math.nan))
    with torch.no_grad():
        observed[0].weight[0, 0] = math.inf
    with pytest.raises(TrainingError, match=r"layer 0 \(Linear\) returns values that are not finite, with such values in its weight: "):
        observed(torch.ones(2, 3))


def test_a_gradient_that_is_not_finite_is_named_unless_it_is_scaled():
    for scaled in (False, True):
        observed = nn.Linear(2, 1)
        observed.requires_grad_(False)
        register_anomaly_hooks(observed, "G", scaled=scaled)
        assert not observed.weight.requires_grad
        observed.requires_grad_(True)
        # The derivative of the root at zero is infinite.
        loss = (observed(torch.ones(1, 2)) * 0).sqrt().sum()
        if scaled:
            loss.backward()
        else:
            with pytest.raises(TrainingError, match="^G: the gradient of (weight|bias) is not finite"):
                loss.backward()


@one_quick_family
def test_detection_covers_every_family_and_changes_nothing_while_all_is_finite(arch):
    unobserved, observed = (
        Compressor(Teacher.create(arch), reference=True, detect_anomaly=detected, **TINY[arch]) for detected in (False, True)
    )
    name = ARCHITECTURES.load(arch).generators[-1]
    for step, same in zip(unobserved.steps(), observed.steps(), strict=True):
        assert all(torch.equal(value, other) for (_, value), (_, other) in zip(leaves(step.losses), leaves(same.losses), strict=True))
        if step.phase == "train":
            break
    with torch.no_grad():
        next(observed.student.generators[name].parameters()).fill_(torch.nan)
    message = f"^student/generators/{name}: layer .* returns values that are not finite, with such values in"
    with pytest.raises(TrainingError, match=message):
        observed.student.generate(next(observed.context.batches(Stream.TRAIN, 1)))


REPEATED = """
import torch
from tests.helpers.families import TINY, demo_data
from gcc import Compressor, Teacher
with demo_data():
    for arch, settings in TINY.items():
        run = Compressor(Teacher.create(arch), deterministic=True, **settings)
        steps = run.steps()
        next(step for step in steps if step.phase == "train")
        assert torch.are_deterministic_algorithms_enabled()
        steps.close()
        assert not torch.are_deterministic_algorithms_enabled()
"""


@pytest.mark.slow
def test_every_family_has_deterministic_algorithms():
    # In a new process, since torch switches whole processes to deterministic algorithms.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", REPEATED], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
