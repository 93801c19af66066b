import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcc.errors import BudgetError
from gcc.models.srgan import SRGAN, SRGANRecipe
from gcc.pruning.budget import LatencyBudget
from gcc.pruning.cost import Cost, generator_cost
from gcc.pruning.groups import find_groups
from gcc.pruning.latency_search import MAX_TIMINGS, estimate_limit, search_latency
from gcc.registry.types import Group


def group(name, channels, minimum=0):
    return Group(name, channels, minimum, (), ())


def channels(widths):
    """The cost of a network whose channels cost one MAC each."""
    return Cost(sum(widths.values()), 0, 0, "1x1")


def clock(widths):
    """A clock that runs fast at first: what it tells for the first time for some widths is a tenth too little."""
    key = tuple(widths.values())
    clock.seen[key] = clock.seen.get(key, 0) + 1
    return sum(widths.values()) * (0.9 if clock.seen[key] == 1 else 1.0)


@pytest.mark.parametrize("round_to", [1, 8])
@pytest.mark.parametrize("milliseconds", [60.0, 123.4, 179.0])
def test_what_the_clock_finds_too_slow_at_last_is_cut_further(milliseconds, round_to):
    clock.seen = {}
    groups = [group("a", 64), group("b", 136)]
    scores = {"a": torch.rand(64), "b": torch.rand(136)}
    widths = search_latency(groups, scores, channels, clock, LatencyBudget(milliseconds, "cpu"), round_to)
    # The honest time holds, and little is left unused.
    assert 0.8 * milliseconds <= sum(widths.values()) <= milliseconds
    assert all(width % round_to == 0 for width in widths.values())
    assert len(clock.seen) < 30
    if round_to == 1:
        ranked = sorted([*scores["a"].tolist(), *scores["b"].tolist()], reverse=True)[: sum(widths.values())]
        assert widths["a"] == sum(score in ranked for score in scores["a"].tolist())


@pytest.mark.parametrize("scatter", [0.02, 0.1])
def test_only_confirmed_widths_are_returned(scatter):
    groups = [group("a", 64), group("b", 136)]
    confirmed = 0
    for seed in range(100):
        random = torch.Generator().manual_seed(seed)
        times = {}

        def milliseconds(widths, random=random, times=times):
            key = tuple(widths.values())
            times[key] = sum(key) * (1 + scatter * float(torch.randn(1, generator=random)))
            return times[key]

        scores = {"a": torch.rand(64, generator=random), "b": torch.rand(136, generator=random)}
        try:
            widths = search_latency(groups, scores, channels, milliseconds, LatencyBudget(100.0, "cpu"))
        except BudgetError:
            continue
        confirmed += 1
        assert times[tuple(widths.values())] <= 100  # the last measurement
    assert confirmed >= 95


@given(
    st.floats(0.0, 50.0),
    st.floats(0.5, 2.0),
    st.floats(0.05, 0.95),
    st.lists(st.integers(2, 60), min_size=1, max_size=6),
    st.integers(0, 2**31),
)
@settings(deadline=None)
def test_a_latency_takes_few_measurements_whatever_the_time_of_a_mac(fixed, exponent, share, channels_of, seed):
    groups = [group(f"g{number}", count, minimum=1) for number, count in enumerate(channels_of)]
    random = torch.Generator().manual_seed(seed)
    scores = {one.name: torch.rand(one.channels, generator=random) for one in groups}
    timed = []

    def milliseconds(widths):
        timed.append(dict(widths))
        return fixed + sum(widths.values()) ** exponent

    shortest, longest = milliseconds(dict.fromkeys(scores, 1)), milliseconds(dict(zip(scores, channels_of, strict=True)))
    limit = shortest + share * (longest - shortest)
    widths = search_latency(groups, scores, channels, milliseconds, LatencyBudget(limit, "cpu"))
    assert milliseconds(widths) <= limit and len(timed) <= 16
    larger = fixed + max(sum(widths.values()) + 1, sum(widths.values()) / 0.95) ** exponent
    assert milliseconds(widths) >= 0.9 * limit or larger > limit


def test_a_latency_that_no_measurement_confirms_is_refused():
    groups, seen = [group("a", 100)], set()

    def lucky_once(widths):
        first = widths["a"] not in seen
        seen.add(widths["a"])
        return widths["a"] if first else 200.0

    with pytest.raises(BudgetError, match=r"times vary too much.* ms to 200 ms, and none that met it twice"):
        search_latency(groups, {"a": torch.rand(100)}, channels, lucky_once, LatencyBudget(50.0, "cpu"))


@pytest.mark.parametrize("milliseconds", [0.5, 300.0])
def test_a_latency_out_of_reach_names_the_range(milliseconds):
    groups = [group("a", 10, minimum=2)]
    with pytest.raises(BudgetError, match="ms by cpu on this machine: .* between 2 ms and 10 ms"):
        search_latency(groups, {"a": torch.rand(10)}, channels, lambda widths: sum(widths.values()), LatencyBudget(milliseconds, "cpu"))


def test_networks_that_differ_much_are_not_tried_one_channel_at_a_time():
    """Between those with one and with both channels of `a`, no network has a number of MACs near the limit."""
    groups = [group("a", 2, minimum=1), group("b", 100, minimum=1)]
    scores = {"a": torch.tensor([2.0, 3.0]), "b": torch.rand(100)}
    timed = []

    def milliseconds(widths):
        timed.append(dict(widths))
        return 1000.0 * widths["a"] + 5.0 * widths["b"]

    def cost(widths):
        return Cost(1000 * widths["a"] + 5 * widths["b"], 0, 0, "1x1")

    for limit in (1500.0, 1700.0, 1800.0, 1900.0, 2100.0):
        timed.clear()
        widths = search_latency(groups, scores, cost, milliseconds, LatencyBudget(limit, "cpu"))
        assert len(timed) <= 12
        assert 0.9 * limit <= milliseconds(widths) <= limit or widths == {"a": 1, "b": 100}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_blocks_of_channels_take_few_measurements(share, seed):
    architecture = SRGAN(SRGANRecipe(n_blocks=4))
    groups = find_groups(architecture, 64)
    random = torch.Generator().manual_seed(seed)
    scores = {one.name: torch.rand(one.channels, generator=random) for one in groups}
    timed = []

    def cost(widths):
        return generator_cost(architecture, widths)

    def milliseconds(widths):
        timed.append(cost(widths).macs / 1e9)
        return timed[-1]

    limit = share * milliseconds({one.name: one.channels for one in groups})
    widths = search_latency(groups, scores, cost, milliseconds, LatencyBudget(limit, "cpu"), round_to=16)
    assert milliseconds(widths) <= limit and len(timed) <= 16


@pytest.mark.parametrize("number", range(2, 9))
def test_one_slow_measurement_does_not_decide(number):
    groups, timed = [group("a", 200)], []

    def milliseconds(widths):
        timed.append(20.0 + widths["a"])
        return timed[-1] * (1.6 if len(timed) == number + 1 else 1.0)

    widths = search_latency(groups, {"a": torch.rand(200)}, channels, milliseconds, LatencyBudget(150.0, "cpu"))
    assert 115 <= widths["a"] <= 130 and len(timed) <= 16


def test_the_smallest_network_is_not_timed_until_it_is_lucky():
    groups, times = [group("a", 10, minimum=5)], iter([97.0, 200.0, *[150.0] * 3, 102.0, *[97.0] * MAX_TIMINGS])
    with pytest.raises(BudgetError, match="none that met it twice"):
        search_latency(groups, {"a": torch.rand(10)}, channels, lambda widths: next(times), LatencyBudget(98.0, "cpu"))


@pytest.mark.parametrize("milliseconds", [0.0, 10.0, 123.4, 199.0, 200.0])
def test_an_estimate_times_two_networks_and_is_exact_where_time_is_proportional_to_macs(milliseconds):
    groups, timed = [group("a", 64), group("b", 136)], []
    scores = {"a": torch.rand(64), "b": torch.rand(136)}
    budget = LatencyBudget(milliseconds, "cpu")
    limit = estimate_limit(groups, scores, channels, lambda widths: timed.append(widths) or sum(widths.values()), budget)
    assert timed == [{"a": 0, "b": 0}, {"a": 64, "b": 136}]
    assert limit.value == pytest.approx(milliseconds) and limit.measure(channels({"a": 3, "b": 4})) == 7


def test_an_estimate_for_networks_that_take_equally_long_is_the_full_one():
    groups, scores = [group("a", 10)], {"a": torch.rand(10)}
    assert estimate_limit(groups, scores, channels, lambda widths: 5.0, LatencyBudget(5.0, "cpu")).value == 10


@pytest.mark.parametrize(("milliseconds", "says"), [(5.0, "give a larger budget"), (11.0, "it already meets the budget")])
def test_an_estimate_refuses_what_no_network_takes(milliseconds, says):
    groups, scores = [group("a", 10, minimum=6)], {"a": torch.rand(10)}
    with pytest.raises(BudgetError, match=says):
        estimate_limit(groups, scores, channels, lambda widths: sum(widths.values()), LatencyBudget(milliseconds, "cpu"))
