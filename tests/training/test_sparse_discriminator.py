"""Closed channels are not computed, and results stay the same."""

import copy
import warnings
from functools import partial

import pytest
import torch
from torch import nn

from gcc import Compressor, Teacher
from gcc.models.gate import ChannelGate, gates
from gcc.models.layers import PatchDiscriminator
from gcc.models.srgan import Discriminator as SRGANDiscriminator
from gcc.training import sparse_discriminator
from gcc.training.loss_tree import flattened
from gcc.training.sparse_discriminator import Chain, channels_to_compute, find_chains, run_open
from tests.helpers.families import TINY, slow_unless_pix2pix

GATE = partial(ChannelGate, tau=0.5)


@pytest.fixture(autouse=True)
def _small_round(monkeypatch):
    monkeypatch.setattr(sparse_discriminator, "ROUND", 2)


def discriminator(norm="batch"):
    torch.manual_seed(0)
    return PatchDiscriminator(3, 6, norm, GATE)


def discriminator_with_learned_instance_norm():
    network = discriminator("instance")
    for path, module in list(network.named_modules()):
        if isinstance(module, nn.InstanceNorm2d):
            network.set_submodule(path, nn.InstanceNorm2d(module.num_features, affine=True))
    return network


def close_channels(network, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for gate in gates(network).values():
        gate.alpha.data = torch.rand(len(gate.alpha), generator=generator)
    return network


def test_the_chains_of_a_patch_discriminator():
    assert find_chains(discriminator(), torch.zeros(2, 3, 32, 32)) == [
        Chain(("conv1.0",), "conv1.2", "conv2.0"),
        Chain(("conv2.0", "conv2.1"), "conv2.2", "conv3.0"),
        Chain(("conv3.0", "conv3.1"), "conv3.2", "conv4.0"),
        Chain(("conv4.0", "conv4.1"), "conv4.2", "conv5"),
    ]


@pytest.mark.parametrize(
    "build",
    [
        discriminator,
        partial(discriminator, "instance"),
        discriminator_with_learned_instance_norm,
        partial(SRGANDiscriminator, 3, 6, GATE),
    ],
)
def test_logits_and_every_gradient_are_those_of_the_whole_network(build):
    network = close_channels(build()).double()
    chains = find_chains(network, torch.zeros(3, 3, 32, 32))
    assert len(chains) >= 3
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    results = []
    for run in (network, partial(run_open, network, chains)):
        network.zero_grad()
        images.grad = None
        logits = run(images)
        logits.square().mean().backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters() if not name.endswith("alpha")}
        results.append(
            {"logits": logits.detach(), "images": images.grad, **{name: gradient.clone() for name, gradient in gradients.items()}}
        )
    for name, whole in results[0].items():
        torch.testing.assert_close(results[1][name], whole, rtol=1e-9, atol=1e-12, msg=name)


def test_the_computed_channels_are_the_open_ones_padded_to_a_multiple_of_round(monkeypatch):
    monkeypatch.setattr(sparse_discriminator, "ROUND", 4)
    network = discriminator()
    chains = find_chains(network, torch.zeros(2, 3, 32, 32))
    assert channels_to_compute(network, chains) == {}
    gate = gates(network)["conv2.2"]
    gate.alpha.data.zero_()
    gate.alpha.data[[1, 5, 7, 8, 10]] = 1
    ((chain, index),) = channels_to_compute(network, chains).items()
    assert chain.gate == "conv2.2" and index.tolist() == [0, 1, 2, 3, 5, 7, 8, 10]
    gate.alpha.data.zero_()
    assert channels_to_compute(network, chains)[chain].tolist() == [0, 1, 2, 3]


def test_running_statistics_and_the_parameters_stay_as_they_are():
    network = close_channels(discriminator())
    before = copy.deepcopy(network.state_dict())
    run_open(network, find_chains(network, torch.zeros(2, 3, 32, 32)), torch.randn(2, 3, 32, 32))
    for name, tensor in network.state_dict().items():
        assert name.endswith("num_batches_tracked") or tensor.equal(before[name])


def test_instance_norms_know_their_number_of_channels_after_a_run_and_after_a_failed_one():
    network = close_channels(discriminator("instance"))
    chains = find_chains(network, torch.zeros(2, 3, 32, 32))
    features = [norm.num_features for norm in network.modules() if isinstance(norm, nn.InstanceNorm2d)]
    run_open(network, chains, torch.randn(2, 3, 32, 32))
    with pytest.raises(RuntimeError):
        run_open(network, chains, torch.randn(2, 4, 32, 32))
    assert features == [norm.num_features for norm in network.modules() if isinstance(norm, nn.InstanceNorm2d)] == [12, 24, 48]


class Block(nn.Module):
    """A gate whose channels are read by what `how` says."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.conv, self.gate, self.act = nn.Conv2d(3, 8, 3, 1, 1), ChannelGate(8, 0.5), nn.Sigmoid() if how == "sigmoid" else nn.ReLU()
        self.next = nn.Conv2d(8, 8, 3, 1, 1, groups=8 if how == "grouped" else 1)

    def forward(self, x):
        before = self.conv(x)
        gated = self.gate(before)
        if self.how == "in place":
            gated += 1
        features = self.act(gated)
        after = self.next(features)
        if self.how == "returned":
            return after, features
        if self.how == "twice":
            return after + self.next(features)
        return after + {"residual": features, "skip": before}.get(self.how, torch.zeros_like(after))


@pytest.mark.parametrize("how", ["sigmoid", "grouped", "residual", "skip", "twice", "in place", "returned"])
def test_channels_with_other_readers_are_all_computed(how):
    assert find_chains(Block(how), torch.zeros(1, 3, 8, 8)) == []
    assert len(find_chains(Block("chain"), torch.zeros(1, 3, 8, 8))) == 1


class Shifted(nn.ReLU):
    def forward(self, x):
        return super().forward(x) + 0.5


def test_activations_that_need_not_map_zero_to_zero_need_every_channel():
    subclass, hooked = Block("chain"), Block("chain")
    subclass.act = Shifted()
    hooked.act.register_forward_hook(lambda module, inputs, output: output + 0.5)
    for network in (subclass, hooked):
        assert find_chains(network, torch.zeros(1, 3, 8, 8)) == []


def test_spectral_norm_and_attention_need_every_channel():
    network = Teacher.create("sagan").demo_architecture(TINY["sagan"]).build_discriminator(GATE)
    assert find_chains(network, torch.zeros(2, 3, 32, 32)) == []


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning", "ignore:.*spectral_norm.*:FutureWarning")
@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_weights_computed_by_hooks_need_every_channel(wrap):
    network = Block("chain")
    wrap(network.next)
    assert find_chains(network, torch.zeros(1, 3, 8, 8)) == []


def test_a_network_that_does_not_run_on_meta_has_no_chains():
    class Branches(Block):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else x

    assert find_chains(Branches("chain"), torch.zeros(1, 3, 8, 8)) == []


@pytest.mark.parametrize("arch", [pytest.param(arch, marks=slow_unless_pix2pix(arch)) for arch in ("pix2pix", "cyclegan", "srgan")])
def test_skipping_closed_channels_leaves_the_losses_as_they_are(arch):
    settings = TINY[arch] | {"lr_alpha": 0.3, "epochs": 2}
    losses, shares, widths = {True: [], False: []}, [], {}
    for reference in (True, False):
        run = Compressor(Teacher.create(arch), reference=reference, **settings)
        # A rounding error may swap two channels in the search.
        run.fixed_widths = widths
        for step in run.steps():
            losses[reference].append({name: float(value) for name, value in flattened(step.losses).items()})
            if step.phase == "train":
                shares.append(min(float(share) for share in run.student.active_share().values()))
        widths = run.widths
    assert min(shares) < 1
    trained = losses[True][-len(losses[False]) :]
    for fast, slow in zip(losses[False], trained, strict=True):
        assert fast == pytest.approx(slow, rel=1e-3, abs=1e-4)


def test_a_warning_from_one_place_in_the_loop_is_shown_once():
    run = Compressor(Teacher.create("pix2pix"), **TINY["pix2pix"])
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for _step in run.steps():
            warnings.warn("from the loop", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in shown].count("from the loop") == 1
