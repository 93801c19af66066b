import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from gcc.deploy.latency import Latency
from gcc.errors import BudgetError, PluginError, TrainingError
from gcc.models.build import generator_on_meta
from gcc.models.pix2pix import Pix2Pix, Pix2PixRecipe
from gcc.pruning.budget import Budget, LatencyBudget
from gcc.pruning.cost import cost_of
from gcc.pruning.groups import find_groups
from gcc.pruning.importance import L1Norm, PaperL1Norm, Slimming
from gcc.pruning.ranking import NEAR_ENOUGH
from gcc.pruning.search import (
    drop_empty_levels,
    prune_family,
    search_widths,
)
from gcc.registry.types import Group
from tests.helpers.pruning_toys import TOYS

UNET = Pix2Pix(Pix2PixRecipe(size=64, prune_width=8))
UNET_GROUPS = find_groups(UNET, 8)


def unet_macs(widths):
    return cost_of(generator_on_meta(UNET, widths), UNET.example_input()).paper_macs


def group(name, channels, minimum=0):
    return Group(name, channels, minimum, (), ())


def chain_cost(widths):
    """Cost a chain of layers between 3 channels and 3; nothing is left of a layer without channels."""
    sizes = [3, *widths.values(), 3]
    return sum(a * b for a, b in zip(sizes, sizes[1:], strict=False))


@st.composite
def searches(draw):
    groups = [group(f"g{k}", draw(st.integers(1, 12)), draw(st.integers(0, 1))) for k in range(draw(st.integers(1, 5)))]
    scores = {
        g.name: torch.tensor(draw(st.lists(st.integers(0, 20), min_size=g.channels, max_size=g.channels)), dtype=torch.float32)
        if draw(st.integers(0, 4))
        else None
        for g in groups
    }
    full = {g.name: g.channels for g in groups}
    lowest = {g.name: g.channels if scores[g.name] is None else g.minimum for g in groups}
    share = draw(st.floats(0, 1))
    limit = chain_cost(lowest) + share * (chain_cost(full) - chain_cost(lowest))
    return groups, scores, limit


def check(groups, scores, limit, cost):
    widths = search_widths(groups, scores, cost, limit)
    assert cost(widths) <= limit
    for g in groups:
        assert g.minimum <= widths[g.name] <= g.channels
        if scores[g.name] is None:
            assert widths[g.name] == g.channels
    if cost(widths) < (1 - NEAR_ENOUGH) * limit:
        for g in groups:
            if widths[g.name] < g.channels:
                assert cost(widths | {g.name: widths[g.name] + 1}) > limit
    return widths


@settings(deadline=None)
@given(searches())
def test_the_limit_holds_and_nothing_more_fits(case):
    check(*case, chain_cost)


def kept_importance(groups, scores, widths):
    """Return the importance of the channels that stay and still cost something."""
    cost = chain_cost(widths)
    live = [g for g in groups if scores[g.name] is not None and (g.minimum or chain_cost(widths | {g.name: 0}) < cost)]
    return sum(sum(sorted(scores[g.name].tolist(), reverse=True)[: widths[g.name]]) for g in live)


def plain(groups, scores, limit):
    """Remove the least important channel, one by one, until the limit holds."""
    widths = {g.name: g.channels for g in groups}
    scored = [g for g in groups if scores[g.name] is not None]
    order = [(value, k, g.name) for k, g in enumerate(scored) for value in sorted(scores[g.name].tolist())[: g.channels - g.minimum]]
    for _, _, name in sorted(order):
        if chain_cost(widths) <= limit:
            break
        widths[name] -= 1
    return widths


@settings(deadline=None, max_examples=300)
@given(searches())
def test_never_less_importance_stays_than_by_the_plain_rule(case):
    groups, scores, limit = case
    widths, expected = search_widths(groups, scores, chain_cost, limit), plain(groups, scores, limit)
    assert kept_importance(groups, scores, widths) >= kept_importance(groups, scores, expected) - 1e-6
    if all(width or not g.channels for g, width in zip(groups, expected.values(), strict=True)):
        # Unless a level has vanished, channels come back and nothing else.
        assert all(widths[name] >= width for name, width in expected.items())


def test_an_important_channel_never_goes_to_fill_the_budget():
    groups = [group("dead", 10, minimum=1), group("dear", 3, minimum=1), group("top", 2, minimum=1)]
    scores = {"dead": torch.zeros(10), "dear": torch.tensor([1.0, 2.0, 3.0]), "top": torch.tensor([10.0, 11.0])}

    def cost(widths):
        return widths["dead"] + 100 * widths["dear"] + 62 * widths["top"]

    # Of 434, the dead channels and one "dear" go, and the dead ones come back: 334. Without a "top" in its place, 363 would be used.
    assert search_widths(groups, scores, cost, 364) == {"dead": 10, "dear": 2, "top": 2}


@settings(deadline=None)
@given(searches())
def test_the_search_is_deterministic(case):
    assert search_widths(*case[:2], chain_cost, case[2]) == search_widths(*case[:2], chain_cost, case[2])


@given(st.lists(st.integers(0, 50), min_size=30, max_size=30), st.integers(0, 30))
def test_equal_costs_remove_exactly_the_least_important(values, kept):
    groups = [group(name, 10) for name in "abc"]
    scores = {g.name: torch.tensor(values[10 * k : 10 * k + 10], dtype=torch.float32) for k, g in enumerate(groups)}
    widths = search_widths(groups, scores, lambda w: sum(w.values()), kept)
    ranked = sorted(range(30), key=lambda c: (values[c], c // 10))[30 - kept :] if kept else []
    assert widths == {name: sum(c // 10 == k for c in ranked) for k, name in enumerate("abc")}


@given(st.lists(st.integers(0, 50), min_size=20, max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_a_larger_budget_never_takes_a_channel_away(values, one, other):
    groups = [group(name, 10) for name in "ab"]
    scores = {"a": torch.tensor(values[:10]).float(), "b": torch.tensor(values[10:]).float()}
    small, large = (search_widths(groups, scores, lambda w: sum(w.values()), limit) for limit in sorted((one, other)))
    assert all(small[name] <= large[name] for name in small)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**31), st.floats(0.02, 1.0), st.floats(0.2, 5.0))
def test_the_unet_is_cut_to_any_budget(seed, share, spread):
    generator = torch.Generator().manual_seed(seed)
    scores = {g.name: torch.rand(g.channels, generator=generator) ** spread for g in UNET_GROUPS}
    largest = unet_macs({g.name: g.channels for g in UNET_GROUPS})
    smallest = unet_macs({g.name: g.minimum for g in UNET_GROUPS})
    check(UNET_GROUPS, scores, smallest + share * (largest - smallest), unet_macs)


def test_an_expensive_channel_gives_way_to_others():
    groups = [group("dear", 2), group("cheap", 100)]
    scores = {"dear": torch.tensor([50.5, 200.0]), "cheap": torch.arange(100.0)}
    # Of 300, 51 cheap and then a dear channel go: 149 are left, and cheap ones come back.
    assert search_widths(groups, scores, lambda w: 100 * w["dear"] + w["cheap"], 199) == {"dear": 1, "cheap": 99}


def test_a_collapse_that_nothing_can_refill_is_avoided():
    groups = [group("gate", 4), group("body", 100)]
    scores = {"gate": torch.arange(4.0), "body": 10 + torch.arange(100.0)}
    # Nothing is left of the body once the gate has lost its last channel.
    widths = search_widths(groups, scores, lambda w: w["body"] + w["gate"] if w["gate"] else 0, 50)
    assert widths == {"gate": 1, "body": 49}


@pytest.mark.parametrize("limit", [2.9, 1000.1, float("nan")])
def test_a_budget_out_of_reach_names_the_range(limit):
    groups = [group("a", 1000, minimum=3)]
    with pytest.raises(BudgetError, match=r"MACs \(paper counter\).*between 3 and 1 K"):
        search_widths(groups, {"a": torch.rand(1000)}, lambda w: w["a"], limit, "MACs (paper counter)")


def test_both_ends_are_within_reach():
    groups = [group("a", 10, minimum=3)]
    for limit in (3, 10):
        assert search_widths(groups, {"a": torch.rand(10)}, lambda w: w["a"], limit) == {"a": limit}


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(TrainingError, match="'a'"):
        search_widths([group("a", 2)], {"a": torch.tensor([1.0, float("nan")])}, lambda w: w["a"], 1)


def test_levels_that_vanish_are_zero():
    full = UNET.full_widths(8)
    settled = drop_empty_levels(UNET, UNET_GROUPS, full | {"down4": 0})
    assert settled == {name: 0 if name[-1] in "456" else channels for name, channels in full.items()}
    assert drop_empty_levels(UNET, UNET_GROUPS, full) == full


def teacher_cost(architecture, base):
    return cost_of(generator_on_meta(architecture, architecture.full_widths(base)), architecture.example_input())


@pytest.mark.parametrize("metric", [Slimming(), L1Norm(), PaperL1Norm()])
@pytest.mark.parametrize(("text", "counter"), [("30%", "exact"), ("16.52%", "paper"), ("40%params", "exact"), ("6M", "paper")])
def test_a_pruned_family_keeps_any_kind_of_budget(metric, text, counter):
    torch.manual_seed(0)
    network = UNET.build_generator(UNET.full_widths(8))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=1 / parameter[0].numel())
    teacher = teacher_cost(UNET, 8)
    budget = Budget.parse(text)
    limit = budget.limit(teacher, counter)
    pruned = prune_family(UNET, network, 8, metric, budget.resolve(teacher, counter))
    assert 0.98 * limit <= budget.measure(pruned.cost, counter) <= limit
    assert pruned.cost == cost_of(UNET.build_generator(pruned.widths), UNET.example_input())


def test_pruning_without_scales_says_what_to_do():
    toy = TOYS["shuffled"]
    network = toy.build_generator({"a": 16})
    with pytest.raises(PluginError, match=r"the metric l1"):
        prune_family(toy, network, 16, Slimming(), Budget.parse("50%").resolve(teacher_cost(toy, 16), "exact"))


def test_a_budget_above_the_pruned_width_is_out_of_reach():
    network = UNET.build_generator(UNET.full_widths(8))
    with pytest.raises(BudgetError, match=r"exact counter\) at 1x3x64x64.*between"):
        prune_family(UNET, network, 8, Slimming(), Budget.parse("90%").resolve(teacher_cost(UNET, 64), "exact"))


@pytest.mark.parametrize("min_keep_ratio", [0.0, 0.25, 0.7])
def test_a_share_of_every_width_stays(min_keep_ratio):
    network = UNET.build_generator(UNET.full_widths(8))
    with torch.no_grad():
        for block in ("down3", "up3"):
            getattr(network, block).norm.weight.fill_(1e-3)  # least important by far
    teacher = cost_of(network, UNET.example_input())
    pruned = prune_family(UNET, network, 8, Slimming(), Budget.parse("70%").resolve(teacher, "exact"), min_keep_ratio)
    full = UNET.full_widths(8)
    assert all(width >= min_keep_ratio * full[name] - 1e-9 for name, width in pruned.widths.items())
    assert pruned.widths["down3"] < 0.3 * full["down3"] if min_keep_ratio < 0.3 else pruned.widths["down3"] >= 0.7 * full["down3"] - 1e-9
    with pytest.raises(BudgetError):
        prune_family(UNET, network, 8, Slimming(), Budget.parse("1%").resolve(teacher, "exact"), 0.7)


@settings(deadline=None)
@given(searches(), st.integers(2, 5), st.floats(0, 1))
def test_rounded_widths_are_full_or_multiples(case, round_to, share):
    groups, scores, _ = case

    def least(g):
        rounded = round_to * -(-g.minimum // round_to)
        return g.channels if scores[g.name] is None or rounded >= g.channels else rounded

    smallest, largest = chain_cost({g.name: least(g) for g in groups}), chain_cost({g.name: g.channels for g in groups})
    limit = smallest + share * (largest - smallest)
    widths = search_widths(groups, scores, chain_cost, limit, round_to=round_to)
    assert chain_cost(widths) <= limit
    assert all(widths[g.name] == g.channels or widths[g.name] % round_to == 0 for g in groups)
    assert all(widths[g.name] >= g.minimum for g in groups)


@given(st.lists(st.integers(0, 50), min_size=21, max_size=21), st.integers(0, 5))
def test_blocks_go_by_their_mean_importance(values, gone):
    # Of ten channels in fours, the least two go first, then four, then four; of eleven, three, four and four.
    sizes = {"a": 10, "b": 11}
    own = {"a": sorted(values[:10]), "b": sorted(values[10:])}
    blocks = []
    for name, first in (("a", 2), ("b", 3)):
        for start, end in ((0, first), (first, first + 4), (first + 4, first + 8)):
            blocks.append((sum(own[name][start:end]) / (end - start), name))
    order = [name for _, name in sorted(blocks, key=lambda block: block[0])]
    left = {name: [size, *(8, 4, 0)][order[:gone].count(name)] for name, size in sizes.items()}
    groups = [group(name, size) for name, size in sizes.items()]
    scores = {"a": torch.tensor(values[:10]).float(), "b": torch.tensor(values[10:]).float()}

    # Every block costs the same, so that the budget is a number of blocks.
    def cost(widths):
        return sum(-(-width // 4) for width in widths.values())

    assert search_widths(groups, scores, cost, 6 - gone, round_to=4) == left


def test_the_unet_is_cut_to_round_widths():
    network = UNET.build_generator(UNET.full_widths(8))
    teacher = cost_of(network, UNET.example_input())
    pruned = prune_family(UNET, network, 8, L1Norm(), Budget.parse("30%").resolve(teacher, "exact"), round_to=4)
    assert all(width % 4 == 0 for width in pruned.widths.values()) and 0.2 * teacher.macs < pruned.cost.macs <= 0.3 * teacher.macs


@pytest.mark.parametrize("round_to", [1, 4])
def test_every_candidate_is_built_and_timed(monkeypatch, round_to):
    timed = []

    def measured(network, example, runtime):
        timed.append((network, runtime))
        parameters = sum(parameter.numel() for parameter in network.parameters())
        return Latency(parameters / 1000, parameters / 1000, "cpu", 1)

    monkeypatch.setattr("gcc.pruning.search.measure_optimized", measured)
    network = UNET.build_generator(UNET.full_widths(8))
    full = sum(parameter.numel() for parameter in network.parameters())
    state = torch.random.get_rng_state()
    pruned = prune_family(UNET, network, 8, L1Norm(), LatencyBudget(0.3 * full / 1000, "cpu"), round_to=round_to)
    assert 0.2 * full < pruned.cost.parameters <= 0.3 * full and {runtime for _, runtime in timed} == {"cpu"}
    assert all(width % round_to == 0 for width in pruned.widths.values()) and torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("initialise", [nn.init.kaiming_normal_, lambda weight: nn.init.normal_(weight, std=0.02)])
@pytest.mark.parametrize("text", ["50%", "25%"])
def test_l1_takes_about_the_same_share_of_layers_with_unequal_numbers_of_inputs(text, initialise):
    torch.manual_seed(0)
    network = UNET.build_generator(UNET.full_widths(8))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            initialise(module.weight)
    limit = Budget.parse(text).resolve(teacher_cost(UNET, 8), "exact")
    full, shares = UNET.full_widths(8), {}
    for metric in (L1Norm(), PaperL1Norm()):
        widths = prune_family(UNET, network, 8, metric, limit).widths
        shares[type(metric)] = min(width / full[name] for name, width in widths.items())
    assert shares[L1Norm] > 0.2 and shares[PaperL1Norm] < 0.1
