"""The metric fulfils its contract, agrees with a naive calculation, and prunes from end to end."""

import copy

import pytest
import torch
from gcc_taylor import Taylor
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import gcc
from gcc import Compressor, Teacher
from gcc.pruning.importance import score_groups
from gcc.registry import Group, effective_gradient
from gcc.registry.types import Producer
from gcc.testing import check_metric

GROUP = Group("a", 4, 1, (Producer("0.weight", 0, 2), Producer("1.weight", 1, 1)), ())


def network_and_batches():
    torch.manual_seed(0)
    return nn.ModuleList([nn.Conv2d(3, 8, 3, padding=1), nn.ConvTranspose2d(3, 4, 1)]), [torch.randn(2, 3, 5, 5) for _ in range(3)]


def loss_of(network, batch):
    return network[0](batch).square().mean() + network[1](batch).sin().mean()


def test_contract():
    check_metric("taylor")


def test_scores_are_the_mean_of_each_batch_by_hand():
    network, batches = network_and_batches()
    expected = [0.0] * 4
    for batch in batches:
        one, other = network[0].weight, network[1].weight
        slopes = torch.autograd.grad(loss_of(network, batch), [one, other])
        for channel in range(4):
            pairs = [
                (one[2 * channel : 2 * channel + 2], slopes[0][2 * channel : 2 * channel + 2]),
                (other[:, channel], slopes[1][:, channel]),
            ]
            for weights, gradients in pairs:
                numbers = zip(weights.flatten().tolist(), gradients.flatten().tolist(), strict=True)
                expected[channel] += sum((g * w) ** 2 for w, g in numbers) / len(batches)

    def rounds():
        for batch in batches:
            network.zero_grad()
            loss_of(network, batch).backward()
            yield

    assert score_groups(network, [GROUP], Taylor(), rounds())["a"].tolist() == pytest.approx(expected, rel=1e-5)


def test_a_single_weight_is_scored_by_the_change_of_the_loss_without_it():
    # With a loss that is linear, the first order is all there is.
    network = nn.Conv2d(1, 3, 1, bias=False)
    images = torch.rand(4, 1, 6, 6)
    whole = network(images).sum()
    whole.backward()
    group = Group("a", 3, 1, (Producer("weight", 0, 1),), ())
    for channel, score in enumerate(Taylor().score(network, group).tolist()):
        with torch.no_grad():
            kept = network.weight.clone()
            network.weight[channel] = 0
            change = whole - network(images).sum()
            network.weight.copy_(kept)
        assert score == pytest.approx(change.item() ** 2, rel=1e-3)


def test_the_square_of_the_sum_tells_nothing_before_a_norm():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Tanh())
    network(torch.randn(8, 3, 9, 9)).pow(3).mean().backward()
    products = (network[0].weight * network[0].weight.grad).flatten(1)
    assert (products.sum(1).abs() < 1e-3 * products.abs().sum(1)).all()
    assert (Taylor().score(network, Group("a", 4, 1, (Producer("0.weight", 0, 1),), ())) > 0).all()


@pytest.mark.parametrize("norm", [weight_norm, spectral_norm])
def test_a_score_does_not_change_when_the_stored_tensor_is_rescaled(norm):
    torch.manual_seed(0)
    network, batch = norm(nn.Conv2d(3, 6, 3)).eval(), torch.randn(2, 3, 7, 7)
    name = "original1" if norm is weight_norm else "original"
    group = Group("a", 6, 1, (Producer(f"parametrizations.weight.{name}", 0, 1),), ())

    def score():
        network.zero_grad()
        network(batch).sin().square().mean().backward()
        return Taylor().score(network, group)

    before = score()
    with torch.no_grad():
        network.get_parameter(group.producers[0].parameter).mul_(1e-3)
    torch.testing.assert_close(score(), before, rtol=1e-3, atol=1e-9)


def test_under_weight_norm_it_is_the_score_of_the_plain_layer():
    torch.manual_seed(0)
    plain, batch = nn.Conv2d(3, 6, 3), torch.randn(2, 3, 7, 7)
    normed = weight_norm(copy.deepcopy(plain))
    for network in (plain, normed):
        network(batch).sin().square().mean().backward()
    scores = [
        Taylor().score(network, Group("a", 6, 1, (Producer(name, 0, 1),), ()))
        for network, name in ((plain, "weight"), (normed, "parametrizations.weight.original1"))
    ]
    torch.testing.assert_close(*scores, rtol=1e-3, atol=1e-9)


def test_gated_units_are_scored_by_the_weights_that_they_compute_with():
    torch.manual_seed(0)
    network = Gated()
    network(torch.randn(2, 3, 8, 8)).square().mean().backward()
    scored = []
    with pytest.MonkeyPatch.context() as patch:
        score = Taylor.score
        patch.setattr(Taylor, "score", lambda *arguments: scored.append(score(*arguments)) or scored[-1])
        gcc.prune(network, torch.zeros(1, 3, 8, 8), "taylor", "60%")
    weight = network.body.weight
    gradient = effective_gradient(network, "body.parametrizations.weight.original1")
    expected = (weight * gradient).square().flatten(1).sum(1).view(2, 8).sum(0)
    torch.testing.assert_close(scored[0], expected.detach())


class Gated(nn.Module):
    """A gated unit under weight norm; each of its channels has two outputs that are not consecutive."""

    def __init__(self):
        super().__init__()
        self.body, self.last = weight_norm(nn.Conv2d(3, 16, 3, padding=1)), nn.Conv2d(8, 3, 1)

    def forward(self, x):
        value, gate = self.body(x).chunk(2, 1)
        return self.last(value * gate.sigmoid())


def test_compress():
    settings = {"size": 32, "ngf": 4, "prune_width": 4, "ndf": 4, "epochs": 1, "batch_size": 200, "budget": "40%"}
    figures = Compressor(Teacher.create("pix2pix"), metric="taylor", **settings).run().measurements()["G"]
    assert figures["student"]["exact_macs"] <= 0.4 * figures["teacher"]["exact_macs"]
