"""The panels of a run, and their drawings."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcc.report.panels import Curve, Panel, activity_panels, aligned, balance_panels, loss_panels, quality_panels
from gcc.report.plots import POINTS, svg
from gcc.report.run_record import read_run
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
    return svg(Panel("a < b", curves, "step", "", axes.get("x_range", (0, 1)), axes.get("y_range", (0, 1))), "key")


def test_a_drawing_takes_colours_and_fonts_from_the_page():
    text = drawn(Curve("teacher", "var(--teacher)", np.array([0, 1.0]), np.array([0, 1.0]), 0))
    assert text.startswith('<svg viewBox="') and 'aria-label="a &lt; b"' in text
    assert "stroke: var(--teacher)" in text and "fill: var(--muted)" in text and ">step</text>" in text
    assert not re.search(r"https?:|<\?xml|<!|<metadata|stroke: #", text)
    assert set(re.findall(r'id="([^"]*)"', text)) == set(re.findall(r'(?:url\(|href=")#([^")]*)', text))


def test_many_points_are_thinned_and_spikes_stay():
    values = np.zeros(50_000)
    values[31_234] = 1.0
    text = drawn(Curve("teacher", "var(--teacher)", np.arange(50_000.0), values, 800), x_range=(0, 50_000))
    assert len(text) < 40_000
    raw = next(path for path in re.findall(r'd="([^"]*)"', text) if path.count("L") > 2)
    heights = {float(height) for height in re.findall(r"[ML] [\d.]+ ([\d.]+)", raw)}
    assert max(heights) - min(heights) > 100
    assert raw.count("L") <= POINTS


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=30))
def test_any_values_can_be_drawn(values):
    steps = np.arange(len(values), dtype=float)
    assert "</svg>" in drawn(Curve("teacher", "var(--teacher)", steps, np.array(values), 0), y_range=(min(values), max(values)))
