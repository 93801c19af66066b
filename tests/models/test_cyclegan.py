"""CycleGAN against independent calculations."""

import pytest
import torch
from torch import nn

from gcc.errors import PluginError, RecipeError
from gcc.models.build import build_discriminators, build_generators
from gcc.models.cyclegan import CycleGAN
from gcc.pruning.budget import Budget
from gcc.pruning.cost import generator_cost
from gcc.pruning.groups import find_groups
from gcc.pruning.importance import Slimming, score_groups
from gcc.pruning.search import prune_family
from gcc.recipe import changed
from gcc.registry import METRICS
from gcc.training.teacher import Teacher


def cyclegan(**settings):
    return CycleGAN(changed(CycleGAN.published(), {"size": 32, "ngf": 4, "ndf": 4, "n_blocks": 2} | settings))


def build(architecture, base=4):
    return build_generators(architecture, {name: architecture.full_widths(base) for name in architecture.generators}, "test")


@pytest.mark.parametrize("identity", [0.5, 0.0])
def test_cycle_and_identity_losses_are_the_papers(identity):
    architecture = cyclegan(lambda_A=7.0, lambda_B=11.0, lambda_identity=identity)
    networks = build(architecture)
    a2b, b2a = (network.double() for network in networks.values())
    batch = {key: torch.rand(2, 3, 32, 32, dtype=torch.float64) * 2 - 1 for key in "AB"}
    for network in networks.values():
        network.requires_grad_(False)
    samples = architecture.generate(networks, batch)
    assert torch.equal(samples["B"], a2b(batch["A"])) and torch.equal(samples["A"], b2a(batch["B"]))

    def distance(made, real):
        return sum(abs(x - y) for x, y in zip(made.flatten().tolist(), real.flatten().tolist(), strict=True)) / made.numel()

    expected = {
        "cycle_A": 7 * distance(b2a(a2b(batch["A"])), batch["A"]),
        "cycle_B": 11 * distance(a2b(b2a(batch["B"])), batch["B"]),
        "identity_A": 0.5 * 7 * distance(b2a(batch["A"]), batch["A"]),
        "identity_B": 0.5 * 11 * distance(a2b(batch["B"]), batch["B"]),
    }
    losses = architecture.task_losses(networks, batch, samples) | architecture.data_losses(networks, batch)
    assert losses.keys() == {name for name in expected if identity or name.startswith("cycle")}
    assert {name: float(loss) for name, loss in losses.items()} == pytest.approx({name: expected[name] for name in losses}, rel=1e-6)


def test_each_discriminator_judges_its_domain():
    architecture = cyclegan()
    batch, samples = {"A": torch.zeros(1), "B": torch.ones(1)}, {"A": torch.full((1,), 2.0), "B": torch.full((1,), 3.0)}
    pairs = architecture.pairs(batch, samples)
    assert {name: (pair.real.item(), pair.fake.item()) for name, pair in pairs.items()} == {"A": (0, 2), "B": (1, 3)}


def test_domains_may_have_other_channels():
    architecture = cyclegan(input_nc=2, output_nc=1, lambda_identity=0.0)
    networks = build(architecture)
    discriminators = build_discriminators(architecture, "test")
    batch = {key: torch.rand(2, *example.shape[1:]) for key, example in architecture.example_batch().items()}
    samples = architecture.generate(networks, batch)
    for name, pair in architecture.pairs(batch, samples).items():
        assert pair.real.shape == pair.fake.shape == (2, {"A": 2, "B": 1}[name], 32, 32)
        assert discriminators[name](pair.fake).shape[:2] == (2, 1)
    assert architecture.for_network("B2A").for_network("B2A").recipe == architecture.recipe
    assert cyclegan().for_network("B2A").recipe == cyclegan().recipe


def test_the_identity_loss_needs_equal_channels():
    with pytest.raises(RecipeError, match="lambda_identity = 0.5: .* A and B have 1 and 3 channels: expected lambda_identity = 0"):
        cyclegan(input_nc=1)


def test_slimming_needs_scales():
    architecture = cyclegan()
    with pytest.raises(PluginError, match="the metric l1"):
        score_groups(build(architecture)["A2B"], find_groups(architecture, 4), Slimming())
    normed = cyclegan(norm="batch")
    assert score_groups(build(normed)["A2B"], find_groups(normed, 4), Slimming()).keys() == normed.widths(4).keys()


@pytest.mark.parametrize(
    ("settings", "metric"),
    [
        ({}, "l1_paper"),
        ({"size": 128, "epochs": 3}, "l1_paper"),
        ({"generator": "resnet"}, "l1"),
        ({"ngf": 32}, "l1"),
        ({"n_blocks": 6}, "l1"),
        ({"budget": "25%"}, "l1"),
        ({"budget": "2.4G,2.7G", "mac_counter": "paper"}, "l1"),
        ({"budget": "25%", "metric": "l1_paper"}, "l1_paper"),
        ({"budget": "25%", "metric": "slimming"}, "slimming"),
    ],
)
def test_the_papers_metric_belongs_to_its_generators_and_its_budget(settings, metric):
    assert Teacher.create("cyclegan", **settings).architecture({}).recipe.metric == metric
    assert Teacher.create("cyclegan").architecture(settings).recipe.metric == metric


def test_published_values_are_no_changes():
    assert CycleGAN.published().implied({"generator": "mobile", "ngf": 64, "n_blocks": "9"}) == {}


def test_a_budget_keeps_a_metric_that_a_recipe_has_chosen():
    chosen = changed(CycleGAN.published(), {"metric": "slimming", "norm": "batch"})
    assert chosen.implied({"budget": "25%"}) == {"mac_counter": "exact"}
    assert chosen.implied({"budget": "25%", "mac_counter": "paper"}) == {}


def kept_shares(**settings):
    """Return the share of its channels that each layer of A to B keeps, with untrained weights."""
    architecture = Teacher.create("cyclegan", **{"size": 64} | settings).architecture({})
    recipe, full = architecture.recipe, architecture.full_widths(architecture.recipe.prune_width)
    network = build(architecture, recipe.prune_width)["A2B"]
    budget = Budget.parse_each(recipe.budget, architecture.generators)["A2B"]
    limit = budget.resolve(generator_cost(architecture, architecture.full_widths(recipe.ngf)), recipe.mac_counter)
    widths = prune_family(architecture, network, recipe.prune_width, METRICS.load(recipe.metric)(), limit).widths
    return {name: widths[name] / full[name] for name in full}


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"generator": "resnet", "budget": "25%"},
        {"generator": "mobile", "budget": "25%"},
        {"n_blocks": 6},
        {"budget": "2.4G,2.7G", "mac_counter": "paper", "size": 256},
    ],
)
def test_what_you_change_leaves_channels_in_every_layer(settings):
    settings = {"ngf": 16} | settings if "size" not in settings else settings
    assert min(kept_shares(**settings).values()) > 0.2
    assert min(kept_shares(**settings, metric="l1_paper").values()) < 0.1


def test_the_published_recipe_prunes_blocks_alone():
    shares = kept_shares()
    assert all(0.1 < share < 0.9 if name.startswith("block") else share == 1 for name, share in shares.items())


@pytest.mark.parametrize("blocks", ["mobile", "resnet"])
def test_a_block_without_channels_is_the_identity(blocks):
    architecture = cyclegan(generator=blocks)
    network = architecture.build_generator(architecture.full_widths(4) | {"block2": 0})
    assert not list(network.block2.parameters())
    features = torch.randn(1, 16, 8, 8)
    assert torch.equal(network.block2(features), features) and not torch.equal(network.block1(features), features)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)


def test_the_trunk_is_made_by_all_that_is_summed_into_it():
    for blocks, layers in (("resnet", ("1", "6")), ("mobile", ("1.pointwise", "6.pointwise"))):
        (trunk,) = [group for group in find_groups(cyclegan(generator=blocks), 4) if group.name == "trunk"]
        makers = {producer.parameter for producer in trunk.producers}
        assert makers == {"down2.0.weight", f"block1.{layers[1]}.weight", f"block2.{layers[1]}.weight"}


def test_sizes_that_are_multiples_of_4_keep_theirs():
    architecture = cyclegan()
    network = architecture.build_generator(architecture.full_widths(4))
    assert network(torch.zeros(1, 3, 36, 52)).shape == (1, 3, 36, 52)


def test_no_scale_in_any_norm_unless_batch():
    norms = [module for module in build(cyclegan())["A2B"].modules() if isinstance(module, nn.InstanceNorm2d)]
    assert norms and all(norm.weight is None for norm in norms)


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"size": 50}, "multiples of 4"), ({"n_blocks": 0}, "n_blocks"), ({"dropout": 1.0}, "dropout"), ({"lambda_A": -1.0}, "lambda_A")],
)
def test_bad_recipes_are_refused(settings, says):
    with pytest.raises(RecipeError, match=says):
        cyclegan(**settings)


@pytest.mark.parametrize(("blocks", "distilled"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (6, [2, 4, 6]), (9, [3, 6, 9])])
def test_each_distilled_block_is_distilled_once(blocks, distilled):
    expected = ("down2.2", *(f"block{number}" for number in distilled))
    assert cyclegan(n_blocks=blocks).taps().generator == expected
