import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcc.errors import BudgetError, GccError
from gcc.models.pix2pix import Pix2Pix
from gcc.pruning.budget import Budget, LatencyBudget
from gcc.pruning.cost import Cost
from gcc.recipe import changed
from gcc.utils.units import with_prefix

TEACHER = Cost(6_048_186_368, 18_146_500_608, 54_000_000, "1x3x256x256")


@pytest.mark.parametrize(
    ("text", "counter", "limit", "measure"),
    [
        ("3.0G", "paper", 3_000_000_000, 18_146_500_608),
        ("900M", "exact", 900_000_000, 6_048_186_368),
        (" 2.3 g ", "exact", 2_300_000_000, 6_048_186_368),
        (".5T", "exact", 5e11, 6_048_186_368),
        ("25%", "exact", 0.25 * 6_048_186_368, 6_048_186_368),
        ("16.52%", "paper", 0.1652 * 18_146_500_608, 18_146_500_608),
        ("100%", "paper", 18_146_500_608, 18_146_500_608),
        ("2.5Mparams", "paper", 2_500_000, 54_000_000),
        ("640K params", "paper", 640_000, 54_000_000),
        ("25%params", "exact", 13_500_000, 54_000_000),
    ],
)
def test_forms(text, counter, limit, measure):
    budget = Budget.parse(text)
    assert budget.limit(TEACHER, counter) == pytest.approx(limit, rel=1e-12)
    assert budget.measure(TEACHER, counter) == measure


@pytest.mark.parametrize(
    "text",
    [
        "",
        "G",
        "3",
        "3.0",
        "-3G",
        "+3G",
        "0G",
        "0.00%",
        "101%",
        "nan",
        "nanG",
        "infM",
        "1e3G",
        "3,0G",
        "3GB",
        "3G%",
        "params",
        "9" * 400 + "G",
        "٣G",
        "3.0.0G",
    ],
)
def test_malformed_text_says_what_was_given_and_expected(text):
    with pytest.raises(BudgetError) as error:
        Budget.parse(text)
    assert repr(text) in str(error.value)
    for form in ("3.0G", "900M", "25%", "2.5Mparams"):
        assert form in str(error.value)


@pytest.mark.parametrize("parse", [Budget.parse, lambda text: changed(Pix2Pix.published(), {"budget": float(text)})])
def test_a_share_as_a_number_suggests_a_percentage(parse):
    with pytest.raises(GccError, match=r"did you mean '12\.5%'\?"):
        parse("0.125")
    with pytest.raises(GccError, match=r"did you mean '12\.5%'\?"):
        parse("12.5")
    with pytest.raises(GccError, match=r"did you mean '1000M'\?"):
        parse("1e9")
    with pytest.raises(GccError, match="expected") as error:
        parse("125")
    assert "did you mean" not in str(error.value)


@pytest.mark.parametrize(("text", "meant"), [("8ms", "8ms@cpu"), ("50%param", "50%params"), ("2.5Mparam", "2.5Mparams")])
def test_a_budget_without_its_end_suggests_it(text, meant):
    with pytest.raises(BudgetError, match=rf"did you mean '{meant}'\?"):
        Budget.parse_each(text, ["G"])


@pytest.mark.parametrize("text", ["-5%", "-.5G", "-2Mparams", "-8ms@cpu", "0ms@cpu"])
def test_a_budget_must_be_above_0(text):
    with pytest.raises(BudgetError, match="expected a number above 0"):
        Budget.parse_each(text, ["G"])


@given(st.text(max_size=12))
def test_any_text_parses_or_is_refused(text):
    try:
        budget = Budget.parse(text)
    except BudgetError:
        return
    assert 0 < budget.limit(TEACHER, "paper") < float("inf")


@given(st.decimals(min_value="0.001", max_value=999, places=3), st.sampled_from("KMGT"))
def test_amounts_are_the_nearest_to_what_was_written(number, prefix):
    exponent = {"K": 3, "M": 6, "G": 9, "T": 12}[prefix]
    assert Budget.parse(f"{number}{prefix}").amount == float(number.scaleb(exponent))


@pytest.mark.parametrize(
    ("value", "text"),
    [(999, "999"), (1000, "1 K"), (999_960, "1 M"), (999_940, "999.9 K"), (18_146_500_608, "18.15 G"), (23_449_600, "23.45 M")],
)
def test_prefixes(value, text):
    assert with_prefix(value) == text


def test_budgets_need_no_torch():
    code = "import sys, gcc.pruning.budget; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_budget_for_all_generators_or_one_for_each():
    both = Budget.parse_each("25%", ["A2B", "B2A"])
    assert both["A2B"] == both["B2A"] == Budget.parse("25%")
    assert Budget.parse_each("2.4G, 2.7G", ["A2B", "B2A"]) == {"A2B": Budget.parse("2.4G"), "B2A": Budget.parse("2.7G")}
    with pytest.raises(BudgetError, match="expected one budget$"):
        Budget.parse_each("1G,2G", ["G"])
    with pytest.raises(BudgetError, match="expected one budget, or 2 joined by commas for A2B, B2A"):
        Budget.parse_each("1G,2G,3G", ["A2B", "B2A"])
    with pytest.raises(BudgetError):
        Budget.parse_each("1G,lots", ["A2B", "B2A"])


@pytest.mark.parametrize(
    ("text", "milliseconds", "runtime"),
    [("8ms@cpu", 8, "cpu"), (" 2.5 ms @ onnxruntime ", 2.5, "onnxruntime"), (".5ms@cuda", 0.5, "cuda")],
)
def test_latencies(text, milliseconds, runtime):
    budgets = Budget.parse_each(text, ["A2B", "B2A"])
    assert budgets == dict.fromkeys(["A2B", "B2A"], LatencyBudget(milliseconds, runtime))
    assert f"{milliseconds:g} ms" in budgets["A2B"].plan(TEACHER, "exact") and runtime in budgets["A2B"].plan(TEACHER, "exact")


@pytest.mark.parametrize("text", ["8ms@gpu", "8@cpu", "0ms@cpu", "ms@cpu", "-1ms@cpu", "8ms@", "25%@cpu", "9" * 400 + "ms@cpu"])
def test_malformed_latencies_say_what_is_expected(text):
    with pytest.raises(BudgetError, match="8ms@cpu") as error:
        Budget.parse_each(text, ["G"])
    assert repr(text) in str(error.value)


def test_kinds_of_budgets_mix():
    assert Budget.parse_each("25%,8ms@cpu", ["A2B", "B2A"]) == {"A2B": Budget(0.25, True, "macs"), "B2A": LatencyBudget(8, "cpu")}
