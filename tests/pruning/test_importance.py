import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch.nn.utils.parametrize import register_parametrization

from gcc.errors import PluginError
from gcc.pruning.groups import find_groups
from gcc.pruning.importance import L1Norm, PaperL1Norm, Slimming, random_gradients, score_groups
from gcc.pruning.sparsity import L1Subgradient, add_subgradient, regularized
from gcc.registry.importance import ImportanceMetric
from gcc.registry.stored_weights import effective_gradient, effective_weight
from gcc.registry.types import Group, Producer
from tests.helpers.pruning_toys import TOYS


def built(name):
    torch.manual_seed(0)
    toy = TOYS[name]
    network = toy.build_generator(toy.full_widths(16))
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    return network, find_groups(toy, 16)


def naive_l1(network, producer, channels):
    network.eval()  # without a step of spectral norm's power iteration
    path = producer.parameter.partition(".parametrizations")[0].removesuffix(".weight")
    weight = network.get_submodule(path).weight.detach().double()
    scores = []
    for channel in range(channels):
        total = 0.0
        for output in range(channel * producer.ratio, (channel + 1) * producer.ratio):
            total += sum(abs(float(value)) for value in weight.select(producer.dim, output).reshape(-1))
        scores.append(total)
    return scores


@pytest.mark.parametrize("name", TOYS)
def test_l1_is_the_largest_kernel_norm(name):
    network, groups = built(name)
    for group in groups:
        per_producer = [naive_l1(network, producer, group.channels) for producer in group.producers]
        expected = torch.tensor([max(values) for values in zip(*per_producer, strict=True)])
        torch.testing.assert_close(PaperL1Norm().score(network, group), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", TOYS)
def test_relative_l1_is_the_norm_over_the_mean_of_the_layer(name):
    network, groups = built(name)
    for group in groups:
        relative = []
        for producer in group.producers:
            norms = naive_l1(network, producer, group.channels)
            relative.append([norm / (sum(norms) / len(norms)) for norm in norms])
        largest = [max(values) for values in zip(*relative, strict=True)]
        expected = torch.tensor([value * len(largest) / sum(largest) for value in largest])
        torch.testing.assert_close(L1Norm().score(network, group), expected, rtol=1e-5, atol=0)
        with torch.no_grad():
            for number, producer in enumerate(group.producers):
                network.get_parameter(producer.parameter).mul_(10.0**-number)
        torch.testing.assert_close(L1Norm().score(network, group), expected, rtol=1e-4, atol=0)


def test_a_layer_of_zeros_scores_zero():
    network, groups = built("chain")
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    assert not L1Norm().score(network, groups[0]).any()


@pytest.mark.parametrize("name", TOYS)
def test_slimming_is_the_largest_scale(name):
    network, groups = built(name)
    for group in groups:
        scales = [[abs(float(value)) for value in dict(network.named_parameters())[scale].detach()] for scale in group.scales]
        score = Slimming().score(network, group)
        if scales:
            assert score.tolist() == [max(values) for values in zip(*scales, strict=True)]
        else:
            assert score is None


def test_scores_carry_no_gradient_and_one_value_per_channel():
    network, groups = built("residual")
    for metric in (Slimming(), L1Norm()):
        for group in groups:
            score = metric.score(network, group)
            assert score.shape == (group.channels,) and not score.requires_grad


def test_a_generator_without_scales_is_told_to_use_l1():
    network, groups = built("shuffled")
    with pytest.raises(PluginError, match=r"Slimming.*the metric l1"):
        score_groups(network, groups, Slimming())
    assert set(score_groups(network, groups, L1Norm())) == {"a"}


class Slope(L1Norm):
    """The first gradient of each channel."""

    def score(self, network, group):
        if group.name == "b":
            return None
        producer = group.producers[0]
        return network.get_parameter(producer.parameter).grad.transpose(0, producer.dim).flatten(1)[:, 0].clone()


def test_the_mean_score_of_all_rounds_counts():
    network, groups = built("chain")

    def rounds():
        for value in (1.0, 2.0, 6.0):
            for parameter in network.parameters():
                parameter.grad = torch.full_like(parameter, value)
            yield

    scores = score_groups(network, groups, Slope(), rounds())
    assert scores["a"].tolist() == [3.0] * 16 and scores["b"] is None


def test_random_gradients_are_the_same_every_time_and_are_taken_away():
    network, groups = built("chain")
    state = torch.get_rng_state()
    one, other = (score_groups(network, groups, Slope(), random_gradients(network))["a"] for _ in range(2))
    assert torch.equal(one, other) and one.unique().numel() == 16
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_a_score_of_another_shape_is_refused():
    class Wrong(ImportanceMetric):
        strength = 0.0

        def score(self, network, group):
            return torch.zeros(3)

        def regularized_parameters(self, network, group):
            return []

    network, groups = built("chain")
    with pytest.raises(PluginError, match=r"Wrong.*'a'.*\(3,\).*\(16,\)"):
        score_groups(network, groups, Wrong())


@pytest.mark.parametrize(("metric", "strength"), [(Slimming(), 1e-2), (PaperL1Norm(), 1e-3), (L1Norm(), 1e-3)])
def test_the_subgradient_is_added_once(metric, strength):
    assert metric.l1_strength == strength
    network, groups = built("residual")
    parameters = regularized(network, groups + groups, metric)
    assert len({id(parameter) for parameter in parameters}) == len(parameters) == (4 if isinstance(metric, Slimming) else 5)
    with torch.no_grad():
        parameters[0].view(-1)[0] = 0.0
    network(torch.randn(2, 3, 8, 8)).square().mean().backward()
    before = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    add_subgradient(parameters, strength)
    chosen = {id(parameter) for parameter in parameters}
    for name, parameter in network.named_parameters():
        expected = before[name] + strength * parameter.detach().sign() if id(parameter) in chosen else before[name]
        torch.testing.assert_close(parameter.grad, expected, rtol=0, atol=0)


def test_the_subgradient_leaves_frozen_parameters_alone():
    frozen, moving = (nn.Parameter(torch.ones(3)) for _ in range(2))
    moving.grad = torch.zeros(3)
    add_subgradient([frozen, moving], 0.5)
    add_subgradient([], 0.5)
    assert frozen.grad is None
    assert moving.grad.tolist() == [0.5] * 3


NORMED = {
    "parametrizations.weight.original": parametrizations.spectral_norm,
    "parametrizations.weight.original1": parametrizations.weight_norm,
    "weight_orig": spectral_norm,
    "weight_v": weight_norm,
}


def normed(stored, build=nn.Conv2d):
    """Return a network of one layer under a norm, and the group of its four outputs."""
    torch.manual_seed(0)
    layer = NORMED[stored](build(3, 4, 3))
    for _ in range(3):
        layer(torch.randn(1, 3, 5, 5))
    return nn.Sequential(layer), Group("a", 4, 1, (Producer(f"0.{stored}", int(build is nn.ConvTranspose2d), 1),), ())


def weight_in_use(network):
    """Return the weight that the layer computes with, by its response to unit impulses."""
    layer, transposed = network[0], isinstance(network[0], nn.ConvTranspose2d)
    network.eval()
    with torch.no_grad():
        if transposed:
            impulses = torch.eye(3).view(3, 3, 1, 1)
            return network(impulses) - layer.bias.view(4, 1, 1)
        impulses = torch.eye(27).view(27, 3, 3, 3)
        return (network(impulses).view(27, 4) - layer.bias).T.reshape(4, 3, 3, 3)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("build", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("stored", NORMED)
def test_the_effective_weight_counts(stored, build):
    network, group = normed(stored, build)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    score = PaperL1Norm().score(network, group)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items()) and network.training
    expected = weight_in_use(network).abs().transpose(0, group.producers[0].dim).flatten(1).sum(1)
    torch.testing.assert_close(score, expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        network.get_parameter(group.producers[0].parameter).mul_(1e-3)
    torch.testing.assert_close(PaperL1Norm().score(network, group), score, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("stored", NORMED)
def test_the_subgradient_is_that_of_the_effective_weight(stored):
    network, group = normed(stored)
    subgradient = L1Subgradient([network], [group, group], PaperL1Norm(), 0.5)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    subgradient()
    for name, parameter in network.named_parameters():
        if name == "0.bias":
            assert torch.equal(parameter.grad, torch.ones(4))
            continue
        # By finite differences of the sum of all magnitudes.
        step = torch.zeros_like(parameter)
        step.view(-1)[1] = 1e-3
        sums = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * step)
                sums.append(float(effective_weight(network, name).abs().sum()))
                parameter.sub_(sign * step)
        assert float(parameter.grad.view(-1)[1]) == pytest.approx(1 + 0.5 * (sums[0] - sums[1]) / 2e-3, abs=0.02)


def backward(network):
    """Leave the gradients of a loss in a network in evaluation mode, and return the gradient by the weight that its layer computes with."""
    layer = network[0]
    network.eval().zero_grad()
    image = torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    network(image).sin().square().sum().backward()
    weight = weight_in_use(network).requires_grad_()
    convolve = functional.conv_transpose2d if isinstance(layer, nn.ConvTranspose2d) else functional.conv2d
    return torch.autograd.grad(convolve(image, weight, layer.bias).sin().square().sum(), weight)[0]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("build", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("stored", NORMED)
def test_the_gradient_by_the_effective_weight(stored, build):
    network, group = normed(stored, build)
    (name,) = [producer.parameter for producer in group.producers]
    if stored in ("weight_v", "parametrizations.weight.original1"):
        with torch.no_grad():
            gain = network.get_parameter(name.replace("weight_v", "weight_g").replace("original1", "original0"))
            gain.mul_(torch.linspace(-1, 2.5, gain.numel()).view_as(gain))
    expected = backward(network)
    gradient = effective_gradient(network, name)
    missing = (expected - gradient).transpose(0, group.producers[0].dim).flatten(1)
    if stored in ("weight_v", "parametrizations.weight.original1"):
        assert missing.abs().max() < 1e-4 * expected.abs().max()
    else:
        # What is missing is the gradient of the spectral norm, a matrix of rank one.
        singular = torch.linalg.svdvals(missing.flatten(1))
        assert singular[1] < 1e-3 * singular[0]
    with torch.no_grad():
        network.get_parameter(name).mul_(1e-2)
    backward(network)
    torch.testing.assert_close(effective_gradient(network, name), gradient, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


class Times(nn.Module):
    """A parametrisation by a constant, as for an equalised learning rate."""

    def forward(self, weight):
        return weight * -0.25


class Square(nn.Module):
    def forward(self, weight):
        return weight.square()


def test_the_gradient_by_multiples_and_by_other_parametrisations():
    name = "0.parametrizations.weight.original"
    network = nn.Sequential(register_parametrization(nn.Conv2d(3, 4, 3), "weight", Times()))
    torch.testing.assert_close(effective_gradient(network, name), torch.zeros(4, 3, 3, 3))
    torch.testing.assert_close(backward(network), effective_gradient(network, name), rtol=1e-4, atol=1e-5)
    network = nn.Sequential(register_parametrization(nn.Conv2d(3, 4, 3), "weight", Square()))
    backward(network)
    assert effective_gradient(network, name) is None
    plain = nn.Sequential(nn.Conv2d(3, 4, 3))
    torch.testing.assert_close(backward(plain), effective_gradient(plain, "0.weight"), rtol=1e-4, atol=1e-5)
