"""A run that goes on from a checkpoint on another device: torch's meta device, which refuses tensors on the CPU as a GPU does."""

from contextlib import nullcontext

import pytest
import torch

from gcc import Compressor, Teacher
from gcc.artifacts.metrics_log import Phase
from gcc.training import context
from gcc.training.checkpoint import Checkpoints
from gcc.training.precision import ExecutionConfig
from gcc.training.teacher_trainer import Trainer
from gcc.utils.state_tree import flatten_state
from tests.helpers.families import TINY

pytestmark = pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
META = torch.device("meta")
# Four steps per epoch: two before the checkpoint and one after it.
OPTIONS = {"epochs": 2, "batch_size": 4, "on_collapse": "rollback", "evaluators": "l1", "evaluate_every": 1, "device": "cpu"}
ON_CPU = ("/best/", "/ranks/0/random/")
"""Tensors that belong on the CPU: the best epochs and the states of random generators."""


class MetaAdam(torch.optim.Adam):
    """Adam that combines gradients and moments without reading values."""

    def __init__(self, groups, fused, **options):
        super().__init__(groups, **options)

    @torch.no_grad()
    def step(self):
        for parameter, moments in self.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                moments[name].add_(parameter.grad)
            moments["step"].add_(parameter.grad.sum())


@pytest.fixture
def meta(monkeypatch):
    """Return a function that lets new runs compute on meta."""

    def begin():
        monkeypatch.setattr(context, "choose_device", lambda name: META)
        monkeypatch.setattr(ExecutionConfig, "choose", classmethod(lambda cls, *_, **__: cls(META)))
        # Meta has neither autocast nor fused steps.
        monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
        monkeypatch.setattr(torch.optim, "Adam", MetaAdam)

    return begin


def step_of(run, phase, epoch, index):
    """Train up to a step of an epoch, and return its record."""
    for step in run.steps():
        if (step.phase, step.epoch, step.number - (epoch - 1) * run.context.loader.steps) == (phase, epoch, index):
            return step
    raise AssertionError("the run ended before")


@pytest.mark.parametrize(
    ("arch", "kind", "phase", "epoch", "settings"),
    [
        ("pix2pix", Trainer, Phase.TEACHER, 2, {"pool_size": 3}),
        ("pix2pix", Compressor, Phase.SEARCH, 1, {}),
        pytest.param("srgan", Compressor, Phase.PRETRAIN, 2, {"pretrain_epochs": 2}, marks=pytest.mark.slow),
        pytest.param("pix2pix", Compressor, Phase.TRAIN, 2, {"pool_size": 3}, marks=pytest.mark.slow),
        pytest.param("cyclegan", Compressor, Phase.TRAIN, 2, {"evaluators": ""}, marks=pytest.mark.slow),
        pytest.param("sagan", Compressor, Phase.TRAIN, 2, {"evaluators": ""}, marks=pytest.mark.slow),
        pytest.param("srgan", Compressor, Phase.TRAIN, 2, {}, marks=pytest.mark.slow),
    ],
)
def test_every_tensor_of_a_checkpoint_goes_to_the_device_of_its_owner(arch, kind, phase, epoch, settings, tmp_path, meta):
    options = TINY[arch] | OPTIONS | settings
    run = kind(Teacher.create(arch), **options)
    state = run.checkpoint(step_of(run, phase, epoch, 2))
    saved = flatten_state(state)[1]
    Checkpoints(tmp_path).save(state)
    meta()
    run = kind(Teacher.create(arch), **options)
    run.resume(Checkpoints(tmp_path).newest())
    resumed = flatten_state(run.checkpoint(step_of(run, phase, epoch, 3)))[1]
    assert saved.keys() <= resumed.keys()
    devices = {name: tensor.device.type for name, tensor in resumed.items()}
    assert devices == {name: "cpu" if name.startswith(ON_CPU) else "meta" for name in devices}
    # Each part of a checkpoint that may hold tensors has held some.
    parts = ["/state/pairs/"]
    if phase in (Phase.TRAIN, Phase.TEACHER):
        parts += ["/collapse/last_good_state/", "/collapse/detector/"]
        parts += ["/best/"] * bool(options["evaluators"]) + ["/state/pools/"] * ("pool_size" in settings)
    assert [part for part in parts if not any(name.startswith(part) for name in saved)] == []
