"""Micro-batches: the same gradients with less memory."""

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm
from torch.nn.utils.parametrizations import spectral_norm

from gcc import Compressor, GccError, Teacher
from gcc.data import loader
from gcc.losses.distillation import stored_features
from gcc.training import collapse
from gcc.training.loss_tree import leaves
from gcc.training.micro_batch import MicroBatched
from gcc.training.precision import ExecutionConfig
from tests.helpers.families import TINY


def network(norm):
    torch.manual_seed(5)
    return nn.Sequential(spectral_norm(nn.Conv2d(3, 6, 3)), norm(6), nn.Tanh(), nn.Conv2d(6, 2, 3)).double()


def in_micro_batches(size):
    return ExecutionConfig(torch.device("cpu"), micro_batch=size)


def results(size, norm, batch=7):
    """Return the output, features, gradients and buffers of one pass, with micro-batches of `size` samples."""
    inner = network(norm)
    wrapped = MicroBatched(inner, in_micro_batches(size), {"1": inner[1]})
    images = torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    with stored_features({"G": wrapped.taps}) as features:
        output = wrapped(images)
    (output.square().mean() + features["G"]["1"].sin().mean()).backward()
    gradients = {name: parameter.grad for name, parameter in inner.named_parameters()}
    return {"output": output, "tapped": features["G"]["1"], "images": images.grad, **gradients, **dict(inner.named_buffers())}


@pytest.mark.parametrize("size", [1, 3, 6, 7])
def test_outputs_features_gradients_and_spectral_norms_are_those_of_the_whole_batch(size):
    whole, parts = results(None, nn.InstanceNorm2d), results(size, nn.InstanceNorm2d)
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-10, atol=1e-12)
    assert all(torch.equal(parts[name], value) for name, value in whole.items() if name.endswith(("_u", "_v")))


def test_batch_norm_normalises_each_micro_batch_and_its_running_statistics_follow_their_mean():
    parts = results(2, nn.BatchNorm2d, batch=4)
    inner = network(nn.BatchNorm2d)
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    before = inner[0](images)
    # By hand, for each micro-batch: a tenth of its mean and of its unbiased variance.
    expected = sum(0.1 * part.mean((0, 2, 3)) for part in before.split(2)) / 2
    torch.testing.assert_close(parts["1.running_mean"], expected.detach())
    expected = 0.9 + sum(0.1 * part.var((0, 2, 3), correction=1) for part in before.split(2)) / 2
    torch.testing.assert_close(parts["1.running_var"], expected.detach())
    micro_batches = before.split(2)
    normed = torch.cat(
        [(p - p.mean((0, 2, 3), True)) / (p.var((0, 2, 3), keepdim=True, correction=0) + 1e-5).sqrt() for p in micro_batches]
    )
    torch.testing.assert_close(parts["tapped"], normed)


def test_only_the_inputs_are_stored_for_the_backward_pass():
    def stored(size):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor):
            MicroBatched(inner, in_micro_batches(size), {})(images)
        return sum(sizes)

    inner, images = network(nn.InstanceNorm2d), torch.rand(8, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    assert stored(2) < 0.2 * stored(None)


def test_features_are_kept_only_inside_the_context():
    inner = network(nn.InstanceNorm2d)
    wrapped = MicroBatched(inner, in_micro_batches(2), {"1": inner[1]})
    with pytest.raises(ZeroDivisionError), stored_features({"G": wrapped.taps}):
        raise ZeroDivisionError
    wrapped(torch.rand(3, 3, 8, 8, dtype=torch.float64))
    assert wrapped.taps.features is None


@pytest.fixture
def precise(monkeypatch):
    """Train in double precision, without dropout, and with batch norms that use running statistics, so that micro-batches are exact."""

    def normalised(self, features):
        return batch_norm(features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)

    monkeypatch.setattr(nn.BatchNorm2d, "forward", normalised)
    for module, name in ((loader, "default_collate"), (collapse, "load_samples")):
        original = getattr(module, name)
        doubled = lambda *arguments, original=original: {key: value.double() for key, value in original(*arguments).items()}  # noqa: E731
        monkeypatch.setattr(module, name, doubled)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["pix2pix", "cyclegan", "sagan", "srgan"])
def test_every_family_trains_alike_in_micro_batches(arch, precise):
    settings = TINY[arch] | ({"dropout": 0.0} if arch == "pix2pix" else {})
    whole, parts = (Compressor(Teacher.create(arch), reference=True, micro_batch=size, **settings) for size in (None, 3))
    count = 0
    for step, same in zip(whole.steps(), parts.steps(), strict=True):
        for (_, loss), (_, other) in zip(leaves(step.losses), leaves(same.losses), strict=True):
            torch.testing.assert_close(other, loss, rtol=1e-6, atol=1e-7)
        count += step.phase == "train"
        if count == 3:
            break
    for role in ("teacher", "student"):
        for name, network in whole.pairs[role].generators.items():
            for key, value in network.state_dict().items():
                torch.testing.assert_close(parts.pairs[role].generators[name].state_dict()[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arch", "text"), [("cyclegan", "micro-batches of 1"), ("pix2pix", "micro-batches of 1, which batch norm normalises separately")]
)
def test_the_plan_says_what_micro_batches_change(arch, text):
    assert Compressor(Teacher.create(arch), micro_batch=1, **TINY[arch]).plan()["training"].endswith(text)


def test_a_micro_batch_has_at_least_one_sample():
    with pytest.raises(GccError, match="micro_batch = 0: expected a whole number from 1 up"):
        Compressor(Teacher.create("pix2pix"), micro_batch=0)
