"""The panels of a run, and their drawings."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcc.report.panels import Curve, Panel, activity_panels, aligned, balance_panels, loss_panels, quality_panels
from gcc.report.plots import BOTTOM, LEFT, MARGIN, POINTS, RIGHT, TOP, draw
from gcc.report.run_record import read_run
from gcc.utils.templates import render
from tests.helpers.run_folders import append, begun_run, full_run


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return read_run(full_run(tmp_path_factory.mktemp("runs") / "cyclegan", "cyclegan"))


def labels(panels):
    return {panel.title: [curve.label for curve in panel.curves] for panel in panels}


def test_losses_have_a_panel_each_with_both_pairs(record):
    both = ["teacher", "student"]
    assert labels(loss_panels(record, "train")) == {
        "L_G, of the generator": both,
        "L_D on real images": both,
        "L_D on generated images": both,
        "own_loss": both,
        "distillation from the generator": ["student"],
        "distillation from the discriminator": ["student"],
        "L_arch, of the retention factors": ["student"],
    }
    assert list(labels(loss_panels(record, "search"))) == ["L_G, of the generator", "L_D on real images", "L_D on generated images"]
    assert loss_panels(record, "pretrain") == []


def test_the_balance_has_a_panel_per_discriminator_with_the_target(record):
    assert labels(balance_panels(record)) == {f"|L_G - L_Dfake|, discriminator {name}": ["teacher", "student", "target"] for name in "AB"}


def test_active_channels_are_per_cent_of_each_layer(record):
    panels = activity_panels(record)
    assert labels(panels) == {f"active channels, discriminator {name}": [f"conv{layer}.2" for layer in range(1, 5)] for name in "AB"}
    (last,) = {panel.curves[-1].y[-1] for panel in panels}
    assert last == pytest.approx(20) and {panel.unit for panel in panels} == {"%"}
    assert len({curve.paint for curve in panels[0].curves}) == 4


def test_quality_runs_over_epochs_and_says_which_values_are_better(record):
    panels = quality_panels(record)
    assert labels(panels) == {f"{name} psnr (higher is better)": ["teacher", "student"] for name in ("A2B", "B2A")}
    assert panels[0].curves[0].x.tolist() == [1, 2, 3] and (panels[0].across, panels[0].unit) == ("epoch", "dB")


def test_what_was_not_recorded_is_left_out(tmp_path):
    record = read_run(begun_run(tmp_path / "run"))
    assert [balance_panels(record), activity_panels(record), quality_panels(record)] == [[], [], []]
    append(tmp_path / "run", {"phase": "train", "epoch": 1, "step": 1, "target/D": 0.5, "teacher/G": float("nan"), "val/x": 1, "other": 2})
    record = read_run(tmp_path / "run")
    assert labels(balance_panels(record)) == {"|L_G - L_Dfake|, discriminator D": ["target"]}
    assert loss_panels(record, "train") == quality_panels(record) == []


def test_an_evaluator_that_is_not_installed_has_no_unit(tmp_path):
    append(begun_run(tmp_path / "run"), {"phase": "train", "epoch": 1, "step": 1, "val/student/G/own (part)": 3.0})
    (panel,) = quality_panels(read_run(tmp_path / "run"))
    assert (panel.title, panel.unit) == ("own (part)", "")


def test_runs_side_by_side_share_their_axes(tmp_path):
    append(begun_run(tmp_path / "run"), {"phase": "search", "epoch": 2, "step": 90, "teacher/G": 30.0})
    begun_run(tmp_path / "other")
    panels = aligned([loss_panels(read_run(tmp_path / name), "search") for name in ("run", "other")])
    assert panels[0][0].x_range == panels[1][0].x_range == (1, 90)
    assert panels[0][0].y_range == panels[1][0].y_range and panels[0][0].y_range[1] > 29


def test_the_moving_mean_keeps_a_constant_and_the_mean_of_its_window():
    noisy = Curve("teacher", "", np.arange(9.0), np.array([0, 3, 0, 3, 0, 3, 0, 3, 0.0]), 1)
    np.testing.assert_allclose(noisy.smooth, [1.5, 1, 2, 1, 2, 1, 2, 1, 1.5])
    np.testing.assert_allclose(Curve("teacher", "", np.arange(9.0), np.full(9, 0.1), 4).smooth, 0.1)


def drawn(*curves, **axes):
    return draw(Panel("a < b", curves, "step", "", axes.get("x_range", (0, 1)), axes.get("y_range", (0, 1))))


def markup(drawing):
    return render("gcc.report", "drawing.html.j2", drawing=drawing)


def line(y, label="teacher", **arguments):
    return Curve(label, f"var(--{label})", np.arange(float(len(y))), np.array(y, dtype=float), 0, **arguments)


def places(path):
    return [tuple(map(float, place.split())) for place in path.removeprefix("M ").split(" L ")]


def test_a_drawing_takes_colours_and_fonts_from_the_page():
    text = markup(drawn(line([0, 1]), line([0, 1], "target")))
    assert '<svg viewBox="0 0 288 158"' in text and 'aria-label="a &lt; b"' in text
    assert "stroke:var(--teacher)" in text and ">step</text>" in text and 'class="curve target"' in text
    assert not re.search(r"https?:|<\?xml|<!|stroke:#|font-|id=", text)


def test_points_are_where_their_values_are():
    drawing = drawn(line([0, 1, 0.25], notes=("a", "", "c")), x_range=(0, 2))
    extent = RIGHT - LEFT
    margin = extent * MARGIN / (1 + 2 * MARGIN)
    heights = [BOTTOM, TOP, BOTTOM + (TOP - BOTTOM) / 4]
    expected = [(LEFT + margin + (extent - 2 * margin) * number / 2, height) for number, height in enumerate(heights)]
    (only,) = drawing.lines
    np.testing.assert_allclose(places(only.path), expected, atol=0.06)
    assert [(mark.x, mark.y) for mark in only.marks] == places(only.path) and [mark.label for mark in only.marks] == ["a", "", "c"]
    assert ">a</text>" in markup(drawing)


@pytest.mark.parametrize(
    ("low", "high", "across", "up"),
    [
        (0, 1, "0 1", "0 0.25 0.5 0.75 1"),
        (1, 3, "1 2 3", "1 1.5 2 2.5 3"),
        (0.9, 37.5, "10 20 30", "10 20 30"),
        (0, 250_000, "0 100 K 200 K", "0 100 K 200 K"),
        (-1, 1, "-1 0 1", "-1 -0.5 0 0.5 1"),
        (12.03, 12.09, "", "12.04 12.06 12.08"),
    ],
)
def test_labels_are_round_numbers(low, high, across, up):
    drawing = drawn(line([low, high]), x_range=(low, high), y_range=(low, high))
    assert " ".join(tick.label for tick in drawing.x_ticks) == across and " ".join(tick.label for tick in drawing.y_ticks) == up


def test_many_points_are_thinned_and_spikes_stay():
    values = np.zeros(50_000)
    values[31_234] = 1.0
    drawing = drawn(Curve("teacher", "var(--teacher)", np.arange(50_000.0), values, 800), x_range=(0, 50_000))
    assert len(markup(drawing)) < 20_000
    (only,) = drawing.lines
    heights = [height for _, height in places(only.raw)]
    assert max(heights) - min(heights) > 100 and len(heights) <= POINTS and not only.marks


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=30))
def test_any_values_can_be_drawn(values):
    drawing = drawn(line(values), x_range=(0, len(values) - 1), y_range=(min(values), max(values)))
    assert all(LEFT <= x <= RIGHT and TOP <= y <= BOTTOM for x, y in places(drawing.lines[0].path))
    ticks = [tick.at for tick in drawing.y_ticks]
    assert len(ticks) <= 5 and all(TOP <= at <= BOTTOM for at in ticks) and ticks == sorted(ticks, reverse=True)
    assert "</svg>" in markup(drawing)
