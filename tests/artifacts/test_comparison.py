"""The table of teacher and student: which values are better, by how much they differ, and whether latencies can be compared."""

import pytest

from gcc.artifacts.comparison import comparison, latency_note
from gcc.registry import MetricKey
from tests.helpers.run_folders import STUDENT, TEACHER

PSNR, L1, OWN = map(MetricKey.parse, ("psnr", "l1", "own"))


def test_quality_has_its_direction_and_the_difference_to_the_first_column():
    table = comparison(
        {
            "teacher": TEACHER | {"metrics": {PSNR: 19.25, L1: 0.125, OWN: 1.0}},
            "student": STUDENT | {"metrics": {PSNR: 18.5, L1: 0.15, OWN: float("nan")}},
        }
    )
    assert table["psnr, held out (higher is better)"] == ["19.25 dB", "18.5 dB (-0.75)"]
    assert table["l1, held out (lower is better)"] == ["0.125", "0.15 (+0.025)"]
    assert table["own, held out"] == ["1", "nan"]


def test_equal_values_differ_by_nothing():
    table = comparison({"teacher": TEACHER | {"metrics": {PSNR: 19.25}}, "student": STUDENT | {"metrics": {PSNR: 19.25}}})
    assert table["psnr, held out (higher is better)"][1] == "19.25 dB (+0)"


@pytest.mark.parametrize(("p90", "warns"), [(1.0, False), (1.5, False), (1.6, True)])
def test_latencies_that_scatter_cannot_be_compared(p90, warns):
    columns = [{"latency_ms": 1.0, "latency_p90_ms": 1.0}, {"latency_ms": 2.0, "latency_p90_ms": 2 * p90}]
    note = latency_note(dict(zip(("teacher", "student"), columns, strict=True)), "gcc bench S")
    assert bool(note) == warns
    assert not warns or ("1.6 times" in note and "gcc bench" in note)


def test_a_student_that_misses_its_latency_budget_is_named():
    calm = {"latency_ms": 1.0, "latency_p90_ms": 1.0, "promised_ms": 8.0}
    assert latency_note({"teacher": calm | {"ready_ms": 20.0}, "student": calm | {"ready_ms": 8.0}}, "gcc bench S") == ""
    note = latency_note({"teacher": calm | {"ready_ms": 20.0}, "student": calm | {"ready_ms": 8.3}}, "gcc bench S")
    assert note.startswith("student: 8.3 ms now, more than the budget of 8 ms that its widths held; `gcc bench S` measures again")


def test_budgets_in_milliseconds_are_in_the_title_if_they_agree():
    def columns(*budgets):
        promised = {"promised_on": "cpu", "ready_ms": 4.0, "metrics": {}}
        return {str(number): STUDENT | promised | {"promised_ms": budget} for number, budget in enumerate(budgets)}

    assert "latency, ready for inference (cpu), budget 5 ms" in comparison(columns(5.0, 5.0))
    assert "latency, ready for inference (cpu)" in comparison(columns(5.0, 6.0))
