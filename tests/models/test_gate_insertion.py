"""Gates in discriminators that were written without them."""

import copy
import io
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, leaky_relu

from gcc.errors import GccError
from gcc.models.discriminators import DCGANDiscriminator
from gcc.models.gate import ChannelGate, gates
from gcc.models.gate_insertion import with_gates
from gcc.models.layers import PatchDiscriminator
from gcc.models.modules import on_meta
from gcc.registry import ARCHITECTURES, no_gate
from gcc.training import sparse_discriminator
from gcc.training.sparse_discriminator import Chain, find_chains, run_open

GATE = partial(ChannelGate, tau=0.5)
EXAMPLE = torch.zeros(2, 3, 16, 16)


class Users(nn.Module):
    """A discriminator as users write them: functional activations, norms by attribute."""

    def __init__(self, wrap=lambda layer: layer):
        super().__init__()
        self.a = wrap(nn.Conv2d(3, 4, 4, 2, 1))
        self.b = wrap(nn.Conv2d(4, 6, 4, 2, 1))
        self.norm_of_b = nn.BatchNorm2d(6)
        self.c = wrap(nn.ConvTranspose2d(6, 5, 3, 1, 1))
        self.out = wrap(nn.Conv2d(5, 1, 3, 1, 1))

    def forward(self, x):
        x = leaky_relu(self.a(x), 0.2)
        x = leaky_relu(self.norm_of_b(self.b(x)), 0.2)
        x = torch.relu(self.c(x))
        return self.out(x).flatten(1).mean(1)


def users(**settings):
    torch.manual_seed(0)
    return Users(**settings)


def close_channels(network, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for gate in gates(network).values():
        gate.alpha.data = torch.rand(len(gate.alpha), generator=generator).to(gate.alpha.dtype)
    return network


def test_gates_follow_the_norm_of_each_convolution_except_the_last():
    network = with_gates(users(), EXAMPLE, GATE)
    assert {path: len(gate.alpha) for path, gate in gates(network).items()} == {"a.gate": 4, "norm_of_b.gate": 6, "c.gate": 5}


def test_the_output_and_the_gradients_of_alpha_by_hand():
    network = close_channels(with_gates(users(), EXAMPLE, GATE).double())
    first, third = network.a, network.c
    torch.manual_seed(1)
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    masks = {path: (gate.alpha.detach() >= 0.5).double()[:, None, None] for path, gate in gates(network).items()}
    assert any(not mask.all() for mask in masks.values())

    def naive(extra):
        x = conv2d(images, first.weight, first.bias, 2, 1) * masks["a.gate"]
        x = conv2d(leaky_relu(x, 0.2), network.b.weight, network.b.bias, 2, 1)
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
        x = leaky_relu((x - mean) / (variance + 1e-5).sqrt() * masks["norm_of_b.gate"], 0.2)
        features = nn.functional.conv_transpose2d(x, third.weight, third.bias, 1, 1)
        x = torch.relu(features * masks["c.gate"] + extra)
        return features, conv2d(x, network.out.weight, network.out.bias, 1, 1).flatten(1).mean(1)

    extra = torch.zeros(2, 5, 4, 4, dtype=torch.float64, requires_grad=True)
    features, expected = naive(extra)
    logits = network(images)
    torch.testing.assert_close(logits, expected)
    logits.square().sum().backward()
    expected.square().sum().backward()
    slopes = extra.grad
    for i in range(5):
        total = 0.0
        for n in range(2):
            for y in range(4):
                for x in range(4):
                    total += slopes[n, i, y, x].item() * features[n, i, y, x].item()
        assert network.c.gate.alpha.grad[i].item() == pytest.approx(total, rel=1e-9, abs=1e-12)


def test_names_are_the_users_own_and_the_original_does_not_change():
    original = users()
    before = copy.deepcopy(original.state_dict())
    network = with_gates(original, torch.randn(2, 3, 16, 16), GATE)
    added = {"a.gate.alpha", "norm_of_b.gate.alpha", "c.gate.alpha"}
    assert network.state_dict().keys() == before.keys() | added and not gates(original)
    for name, tensor in before.items():
        assert tensor.equal(original.state_dict()[name]) and tensor.equal(network.state_dict()[name])
    images = torch.randn(2, 3, 16, 16)
    assert original.training and network.training and torch.equal(network(images), original(images))
    assert network.load_state_dict(before, strict=False).unexpected_keys == []


def test_no_gate_gives_a_copy_of_any_network():
    own = users()
    teacher = with_gates(nn.DataParallel(own), EXAMPLE, no_gate)
    assert teacher is not own and [path for path, _ in teacher.named_modules()] == [path for path, _ in own.named_modules()]
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(teacher(images), users()(images))
    for network in WITHOUT_LAYERS:
        assert with_gates(network, EXAMPLE, no_gate).state_dict().keys() == network.state_dict().keys()
    with pytest.raises(GccError, match="expected a discriminator that runs on an input of shape"):
        with_gates(own, torch.zeros(2, 4, 16, 16), no_gate)


def test_copies_have_gates_of_their_own():
    network = with_gates(users(), EXAMPLE, GATE).eval()
    images = torch.randn(2, 3, 16, 16)
    before = network(images)
    other = copy.deepcopy(network)
    close_channels(other)
    assert torch.equal(network(images), before) and not torch.equal(other(images), before)
    stream = io.BytesIO()
    torch.save(other.state_dict(), stream)
    stream.seek(0)
    network.load_state_dict(torch.load(stream, weights_only=True))
    assert torch.equal(network(images), other(images))


def test_on_the_meta_device():
    for network in (on_meta(partial(with_gates, users(), EXAMPLE, GATE)), with_gates(users().to("meta"), EXAMPLE, GATE)):
        assert all(tensor.is_meta for tensor in network.state_dict().values()) and len(gates(network)) == 3
        assert network(EXAMPLE.to("meta")).shape == (2,)
    assert not with_gates(users(), EXAMPLE.to("meta"), GATE).a.gate.alpha.is_meta


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning", "ignore:.*spectral_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "wrap",
    [
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.spectral_norm,
        nn.utils.weight_norm,
    ],
)
def test_spectral_norm_and_weight_norm(wrap):
    original = users(wrap=wrap)
    before = copy.deepcopy(original.state_dict())
    network = with_gates(original, EXAMPLE, GATE)
    assert list(gates(network)) == ["a.gate", "norm_of_b.gate", "c.gate"]
    assert all(tensor.equal(before[name]) for name, tensor in original.state_dict().items())
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(network.eval()(images), original.eval()(images), rtol=0, atol=0)
    assert find_chains(close_channels(network), EXAMPLE) == []
    assert not torch.equal(network(images), original(images))


@pytest.mark.parametrize("paths", [None, ["module.a", "module.c"]])
def test_wrappers_are_left_out(paths):
    network = with_gates(nn.DataParallel(users()), EXAMPLE, GATE, paths)
    assert isinstance(network, Users) and "a.gate" in gates(network)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_compiled_network():
    assert len(gates(with_gates(torch.compile(users()), EXAMPLE, GATE))) == 3


class Scales(nn.Module):
    """The same discriminator at two sizes; returns features too, changed in place."""

    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.LeakyReLU(0.2, inplace=True))
        self.b = nn.Conv2d(4, 4, 3, 1, 1)
        self.shared = nn.InstanceNorm2d(4)
        self.c = nn.Conv2d(4, 4, 3, 1, 1)
        self.logits, self.second = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        results = []
        for small, head in [(x, self.logits), (x[..., ::2, ::2], self.second)]:
            features = self.a(small)
            features = self.shared(self.c(self.shared(self.b(features))))
            results.append({"features": features, "logits": head(features)})
        return results


def test_outputs_of_the_discriminator_are_not_gated():
    # The shared norm belongs to both b and c, and returns the features.
    assert list(gates(with_gates(Scales(), EXAMPLE, GATE))) == ["a.0.gate", "b.gate", "c.gate"]


class Linear(nn.Module):
    """A network with a linear head, an attention map of one channel, and a convolution that it does not call."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Conv2d(3, 4, 3)
        self.a, self.attention, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 1, 1), nn.Conv2d(4, 5, 3)
        self.norm = nn.GroupNorm(5, 5)
        self.head = nn.Linear(5, 1)
        self.pair = Pair()

    def forward(self, x):
        x = self.a(x)
        x = self.norm(self.b(x * self.attention(x).sigmoid()))
        return self.head(sum(self.pair(x)).mean((2, 3)))


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def test_the_convolution_before_a_linear_layer_is_gated():
    assert list(gates(with_gates(Linear(), EXAMPLE, GATE))) == ["a.gate", "norm.gate"]


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm, self.out = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 3)

    def forward(self, x):
        return self.out(self.norm(self.a(x).relu_()))


def test_a_norm_after_an_activation_in_place_is_not_the_norm_of_the_convolution():
    network = with_gates(InPlace(), EXAMPLE, GATE)
    assert list(gates(network)) == ["a.gate"]
    network(torch.randn(2, 3, 16, 16)).sum().backward()
    assert network.a.gate.alpha.grad.shape == (4,)


class Values(Users):
    """Depends on values, so that it does not run on the meta device."""

    def forward(self, x):
        return super().forward(x) if float(x.sum()) == 0 else None


def test_a_network_that_cannot_run_on_the_meta_device():
    original = Values()
    before = copy.deepcopy(original.state_dict())
    assert len(gates(with_gates(original, EXAMPLE, GATE))) == 3
    assert all(tensor.equal(before[name]) for name, tensor in original.state_dict().items())
    for example in (EXAMPLE, EXAMPLE.to("meta")):
        network = on_meta(partial(with_gates, original, example, GATE))
        assert len(gates(network)) == 3 and all(tensor.is_meta for tensor in network.state_dict().values())
    assert find_chains(with_gates(original, EXAMPLE, GATE), EXAMPLE) == []


def test_chosen_modules():
    network = with_gates(users(), EXAMPLE, GATE, ["b", "norm_of_b", "b"])
    assert list(gates(network)) == ["b.gate", "norm_of_b.gate"]
    images = torch.randn(2, 3, 16, 16)
    close_channels(network)
    closed = ~network.norm_of_b.gate.open()
    assert closed.any() and not network.norm_of_b(network.b(leaky_relu(network.a(images), 0.2)))[:, closed].any()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nrm", r"gates: Linear has no module 'nrm' \(did you mean 'norm'\?\)"),
        ("", "no module ''"),
        ("unused", r"layer 'unused' \(Conv2d\) cannot be gated: the discriminator does not call it; name the modules"),
        ("head", r"layer 'head' \(Linear\) cannot be gated: it returns \(2, 1\), expected one tensor \(N, C, H, W\); name the modules"),
        ("pair", r"layer 'pair' \(Pair\) cannot be gated: it returns tuple, expected one tensor"),
    ],
)
def test_modules_that_cannot_be_gated(path, message):
    with pytest.raises(GccError, match=message):
        with_gates(Linear(), EXAMPLE, GATE, [path])


def test_a_module_with_several_numbers_of_channels_is_refused():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out, self.norm = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Conv2d(5, 1, 3), nn.Identity()

        def forward(self, x):
            return self.out(self.norm(self.b(self.norm(self.a(x)))))

    with pytest.raises(GccError, match=r"layer 'norm' \(Identity\) cannot be gated: it returns 4 and 5 channels in turn"):
        with_gates(Shared(), EXAMPLE, GATE, ["norm"])


def test_a_sequence_would_run_its_gate_twice():
    with pytest.raises(GccError, match="layer 'conv1' is an nn.Sequential, .* name its last layer"):
        with_gates(DCGANDiscriminator(3, 16, 2, no_gate), EXAMPLE, GATE, ["conv1"])


WITHOUT_LAYERS = [nn.Sequential(nn.Flatten(), nn.Linear(768, 1)), nn.Conv2d(3, 1, 3), nn.Sequential(nn.Conv2d(3, 4, 3))]
"""Discriminators without a layer for a gate."""


@pytest.mark.parametrize("network", WITHOUT_LAYERS)
def test_no_layer_for_a_gate(network):
    message = r"has no layer for a gate: expected a convolution .* gates=\['path.of.a.module', ...\], or .* `discriminator=\"full\"`$"
    with pytest.raises(GccError, match=message):
        with_gates(network, EXAMPLE, GATE)


def test_an_attribute_that_is_called_gate():
    network = users()
    network.a.gate = 3
    with pytest.raises(GccError, match=r"layer 'a' \(Conv2d\) already has an attribute 'gate': rename it"):
        with_gates(network, EXAMPLE, GATE)
    assert list(gates(with_gates(network, EXAMPLE, GATE, ["c"]))) == ["c.gate"]


def test_a_discriminator_that_does_not_run_on_the_example():
    with pytest.raises(GccError, match=r"layer 'a' \(Conv2d\).*expected a discriminator that runs on an input of shape \(2, 4, 16, 16\)"):
        with_gates(users(), torch.zeros(2, 4, 16, 16), GATE)


class Modules(nn.Sequential):
    """Convolutions, norms and activations that are all modules, so that closed channels can be skipped."""

    def __init__(self, norm=nn.BatchNorm2d):
        super().__init__(
            nn.Conv2d(3, 6, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(6, 8, 3, 1, 1), norm(8), nn.ReLU(),
            nn.Conv2d(8, 6, 3, 1, 1), nn.Tanh(),
            nn.Conv2d(6, 1, 3, 1, 1),
        )  # fmt: skip


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.InstanceNorm2d])
def test_closed_channels_are_skipped_with_the_same_results(norm, monkeypatch):
    monkeypatch.setattr(sparse_discriminator, "ROUND", 2)
    torch.manual_seed(0)
    network = close_channels(with_gates(Modules(norm), EXAMPLE, GATE)).double()
    chains = find_chains(network, EXAMPLE)
    assert chains == [Chain(("0",), "0.gate", "2"), Chain(("2", "3"), "3.gate", "5")]
    assert sparse_discriminator.channels_to_compute(network, chains)
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    results = []
    for run in (network, partial(run_open, network, chains)):
        network.zero_grad()
        images.grad = None
        logits = run(images)
        logits.square().mean().backward()
        gradients = {name: parameter.grad.clone() for name, parameter in network.named_parameters() if not name.endswith("alpha")}
        results.append({"logits": logits.detach(), "images": images.grad, **gradients})
    for name, whole in results[0].items():
        torch.testing.assert_close(results[1][name], whole, rtol=1e-9, atol=1e-12, msg=name)


def test_a_sum_in_place_needs_every_channel():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 1, 3)

        def forward(self, x):
            x = self.a(x)
            x += 1
            return self.out(self.b(x))

    assert find_chains(with_gates(Noisy(), EXAMPLE, GATE), EXAMPLE) == [Chain(("b",), "b.gate", "out")]


@pytest.mark.parametrize("family", ["cyclegan", "sagan", "srgan"])
def test_the_gates_of_the_families(family):
    architecture = ARCHITECTURES.load(family)
    with torch.device("meta"):
        built = architecture(architecture.published())
        expected, plain = built.build_discriminator(GATE), built.build_discriminator()
    network = with_gates(plain, torch.zeros(1, 3, 64, 64), GATE)
    assert [len(gate.alpha) for gate in gates(network).values()] == [len(gate.alpha) for gate in gates(expected).values()]


def test_the_patch_discriminator_gives_the_same_bits():
    torch.manual_seed(0)
    gated, plain = PatchDiscriminator(3, 4, "batch", GATE), PatchDiscriminator(3, 4, "batch", no_gate)
    plain.load_state_dict(gated.state_dict(), strict=False)
    network = with_gates(plain, torch.zeros(1, 3, 32, 32), GATE)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(close_channels(network)(images), close_channels(gated)(images))
