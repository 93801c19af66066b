"""The page: whole, safe, and self-contained."""

import json
import re
import shlex
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcc.errors import BudgetError, GccError, OutputError, RunError
from gcc.report.cells import about, duration, next_steps
from gcc.report.html import report, save_report
from gcc.report.panels import Curve, Panel
from gcc.report.plots import draw
from gcc.report.run_record import read_run
from gcc.utils.templates import render
from tests.helpers.run_folders import MEASUREMENTS, append, begun_run, full_run, save_generators
from tests.test_docs import understood

ELEMENTS = (
    "html head meta title style body header main section footer h1 h2 p ul li div figure figcaption b span i small svg path circle text"
)
HOSTILE = "<script>alert(1)</script>\"'><img src=http://example.org/x onerror=alert(1)>&amp;"


class Page(HTMLParser):
    """The elements of a page with their attributes, its text and its headings."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.headings, self._open = [], [], [], []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in ("meta", "img", "input"):
            self._open.append(name)

    def handle_startendtag(self, name, attributes):
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self._open.pop() == name

    def handle_data(self, data):
        if "style" not in self._open:
            self.text.append(data)
        if self._open and self._open[-1] in ("h1", "h2"):
            self.headings.append(data)

    @property
    def words(self):
        return " ".join("".join(self.text).split())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return full_run(folder / "streets"), full_run(folder / "horses", "cyclegan"), begun_run(folder / "begun")


@pytest.fixture(scope="module")
def page(runs):
    return Page(report(runs[:1]))


def test_a_full_run_has_every_part(page):
    assert page.headings == [
        "streets",
        "Summary",
        "Samples",
        "Quality over epochs",
        "Generator-discriminator balance",
        "Pruned channels",
        "Losses: 2/2 joint training",
        "Losses: 1/2 sparse training",
        "Run",
        "Next steps",
        "Recipe",
        "Environment",
    ]
    drawings = [attributes["aria-label"] for name, attributes in page.elements if name == "svg"]
    assert len(drawings) == 1 + 2 + 7 + 3
    assert sum(name == "img" for name, _ in page.elements) == 5
    for text in ("pix2pix", "finished", "prune_width", "cpu (x86_64)", "40 images, 32x32 pixels", "own_loss", "down2", "teacher 19.25 dB"):
        assert text in page.words, text


def test_rectangles_have_both_sides_in_the_heading(tmp_path):
    run = begun_run(tmp_path / "run")
    recipe = (run / "recipe.toml").read_text()
    assert "32 pixels" in about(read_run(run))
    (run / "recipe.toml").write_text(f"{recipe}image_width = 64\n")
    assert "64x32 pixels" in about(read_run(run))


def test_the_summary_compares_the_student_with_teacher_and_budget(page):
    for text in (
        "39.0%of the teacher's MACs, exact390 K, teacher 1 M; budget at most 400 K (40%)",
        "20.0%of the",
        "2.0xas fast",
        "18.5 dBpsnr",
    ):
        assert text in page.words, text
    assert "MACs at 1x3x32x32, exact1 M390 K (39.0%)390 K (39.0%)at most 400 K (40%)MACs at" in page.words


def test_every_generator_has_its_own_budget(runs):
    words = Page(report(runs[1:2])).words
    assert "at most 400 K (40%)" in words and "at most 600 K (60%)" in words
    assert words.count("Generator A2B") == words.count("Generator B2A") == 2


def test_budgets_in_parameters_are_compared_with_parameters(tmp_path):
    folder = full_run(tmp_path / "run")
    for role in ("student", "teacher"):
        path = folder / role / "config.json"
        config = json.loads(path.read_text())
        config["recipe"]["budget"] = "70Kparams"
        path.write_text(json.dumps(config))
    words = Page(report([folder])).words
    assert "20.0%of the teacher's parameters60 K, teacher 300 K; budget at most 70 K39.0%of the teacher's MACs, exact" in words


def test_a_latency_budget_is_shown_with_the_measured_latency(tmp_path):
    folder = full_run(tmp_path / "run")
    for role in ("student", "teacher"):
        path = folder / role / "config.json"
        config = json.loads(path.read_text())
        config["recipe"]["budget"] = "5ms@onnxruntime"
        for column, measurements in config["figures"].items():
            latency = 12.0 if column == "teacher" else 4.8
            measurements |= {"promised_ms": 5.0, "promised_on": "onnxruntime, cpu, 2 threads", "ready_ms": latency}
        path.write_text(json.dumps(config))
    words = Page(report([folder])).words
    assert "40.0%of the teacher's latency by onnxruntime4.8 ms, teacher 12 ms; budget at most 5 ms" in words
    assert "latency, ready for inference (onnxruntime, cpu, 2 threads), budget 5 ms12 ms4.8 ms (2.5x)4.8 ms (2.5x)at most 5 ms" in words


def test_a_student_whose_widths_were_given_has_no_budget(tmp_path):
    folder = full_run(tmp_path / "run")
    path = folder / "student" / "config.json"
    config = json.loads(path.read_text())
    config["environment"] = {"widths from": "runs/other/student"}
    path.write_text(json.dumps(config))
    words = Page(report([folder])).words
    assert "of the teacher's MACs, exact" in words and "widths fromruns/other/student" in words and "at most" not in words


def test_a_damaged_budget_is_refused(tmp_path):
    folder = full_run(tmp_path / "run")
    path = folder / "student" / "config.json"
    path.write_text(path.read_text().replace('"40%"', '"lots"'))
    with pytest.raises(BudgetError, match="lots"):
        report([folder])


def test_the_page_says_when_how_long_by_what_and_where(page):
    for text in ("27 November 2026", "training time2 h 3 min", "commandgcc compress --arch pix2pix", "machineSome CPU, 2 CPUs"):
        assert text in page.words, text


def test_next_steps_are_commands_for_this_run(runs, tmp_path):
    def steps(folder):
        return {step.purpose: step.command for step in next_steps(read_run(folder))}

    pix2pix = steps(runs[0])
    assert pix2pix["generate images"] == f"gcc translate {runs[0] / 'student'} photo.png out.png"
    assert pix2pix["measure the speed"] == f"gcc bench {runs[0] / 'student'} --against {runs[0] / 'teacher'}"
    cyclegan = steps(runs[1])
    assert cyclegan["measure the speed"] == f"gcc bench {runs[1] / 'student' / 'A2B'} --against {runs[1] / 'teacher' / 'A2B'}"
    assert cyclegan["measure quality again"] == f"gcc evaluate {runs[1] / 'student'} --evaluators fd_effnetlite0"
    assert steps(full_run(tmp_path / "faces", "sagan"))["generate images"] == f"gcc generate {tmp_path / 'faces' / 'student'} --count 16"
    assert steps(runs[2]) == {}
    begun = begun_run(tmp_path / "be gun")
    (begun / "command.json").write_text(json.dumps({"line": "gcc train --arch pix2pix"}))
    continuation = {"continue the run": f"gcc train --resume '{begun}'"}
    assert steps(begun) == continuation
    (begun / "checkpoints").mkdir()
    save_generators(begun, "teacher", "pix2pix", {"teacher": MEASUREMENTS["teacher"]})
    # A run that failed has saved what it has, and keeps its checkpoints.
    assert list(steps(begun)) == ["continue the run", "compress this teacher"] and steps(begun).items() >= continuation.items()
    (begun / "checkpoints").rmdir()
    assert steps(begun) == {"compress this teacher": f"gcc compress --teacher '{begun / 'teacher'}' --budget 25%"}
    for commands in (pix2pix, cyclegan):
        for command in commands.values():
            understood(shlex.split(command)[1:])


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7384, "2 h 3 min")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_pictures_enlarge_without_scripts(page):
    boxes = [attributes for name, attributes in page.elements if name == "input"]
    assert [box["type"] for box in boxes] == ["checkbox"] * 5 and boxes[0]["aria-label"] == "Enlarge held out"


def test_latencies_that_scatter_are_marked(page, runs):
    assert "latency: a tenth of the passes took at least 2.7 times the median" in page.words
    assert f"`gcc bench {runs[0] / 'student'} --against {runs[0] / 'teacher'}` measures again" in page.words


def test_the_balance_names_the_target_only_if_there_was_one(page, tmp_path):
    assert "of both pairs and the target" in page.words and "There is no target" not in page.words
    run = begun_run(tmp_path / "without")
    append(run, {"phase": "train", "epoch": 1, "step": 1, "student/imbalance/D": 0.4, "active/D.conv1.2": 1.0})
    words = Page(report([run])).words
    assert "There is no target: it needs the teacher's discriminator" in words and "and the target, a moving" not in words


def test_the_pruned_share_of_each_layer_is_shown(page):
    assert re.search(r"down2\s*50%\s*4/8", page.words)
    assert re.search(r"Shares of a generator of width \d+; the teacher has width \d+", page.words)
    widths = [attributes["style"] for name, attributes in page.elements if name == "i" and "width" in attributes.get("style", "")]
    assert "width:50.0%" in widths


def test_an_unfinished_run_shows_what_it_has(runs):
    page = Page(report(runs[2:]))
    assert page.headings == ["begun", "Losses: 1/2 sparse training", "Recipe"]
    assert "not finished: 1/2 sparse training, epoch 1" in page.words


def test_a_teacher_alone_has_no_budget(tmp_path):
    folder = begun_run(tmp_path / "run")
    save_generators(folder, "teacher", "pix2pix", {"teacher": MEASUREMENTS["teacher"]})
    words = Page(report([folder])).words
    assert "19.25 dB" in words and "at most" not in words and "Pruned" not in words


@pytest.mark.parametrize(
    "measurements",
    [{}, {"student": MEASUREMENTS["student"]}, MEASUREMENTS | {"student": MEASUREMENTS["student"] | {"metrics": {}}}],
)
def test_missing_measurements_are_left_out(tmp_path, measurements):
    folder = begun_run(tmp_path / "run")
    save_generators(folder, "student", "pix2pix", measurements)
    assert "Pruned channels" in report([folder])


def test_costs_of_zero_are_accepted(tmp_path):
    zero = {"exact_macs": 0, "paper_macs": 0, "parameters": 0, "latency_ms": 0}
    folder = begun_run(tmp_path / "run")
    save_generators(folder, "student", "pix2pix", {column: values | zero for column, values in MEASUREMENTS.items()})
    assert "Summary" in report([folder])


def test_several_runs_are_side_by_side(runs):
    page = Page(report(runs))
    assert page.headings[:2] == ["3 runs", "Summary"]
    columns = [attributes for name, attributes in page.elements if attributes.get("class") == "runs"]
    assert len(columns) == len(page.headings)
    assert all(page.text.count(name) == len(page.headings) for name in ("streets", "horses", "begun"))
    assert "nothing recorded" in page.words and "Bold where the runs differ." in page.words
    bold = {text for text in re.findall(r"<dd><b>([^<]*)</b>", report(runs))}
    assert {"40%", "40%,60%"} <= bold and "32" not in bold


def test_runs_of_one_name_are_shown_by_their_paths(tmp_path):
    words = Page(report([begun_run(tmp_path / "one" / "run"), begun_run(tmp_path / "two" / "run")])).words
    assert str(tmp_path / "one" / "run") in words and str(tmp_path / "two" / "run") in words


def test_no_run_is_refused():
    with pytest.raises(RunError, match="at least one folder"):
        report([])


def test_the_page_needs_nothing_from_outside(runs):
    text = report(runs)
    page = Page(text)
    assert "script" not in {name for name, _ in page.elements}
    for name, attributes in page.elements:
        for key, value in attributes.items():
            assert not key.startswith("on"), (name, key)
            if key in ("src", "href", "xlink:href", "srcset", "data", "action", "poster", "background"):
                assert value.startswith(("data:image/png;base64,", "#")), (name, key, value[:40])
            assert not re.search(r"url\((?!#)", value), (name, key)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert not re.search(r"url\(|@import|</", style)
    assert "://" not in text
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


def test_names_from_runs_and_users_are_escaped(tmp_path):
    folder = begun_run(tmp_path / HOSTILE.replace("/", "_"))
    recipe = (folder / "recipe.toml").read_text().replace('"slimming"', json.dumps(HOSTILE))
    (folder / "recipe.toml").write_text(recipe.replace('"pix2pix"', json.dumps(HOSTILE)))
    values = {
        f"teacher/{HOSTILE.replace('/', '_')}": 1.0,
        f"active/{HOSTILE}.{HOSTILE}": 0.5,
        f"val/student/{HOSTILE}/{HOSTILE}": 2.0,
        "target/$x^{": 1,
    }
    for step in (1, 2):
        append(folder, {"phase": HOSTILE, "epoch": 1, "step": step, **values})
    page = Page(report([folder]))
    assert not {"script", "img"} & {name for name, _ in page.elements}
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    assert sum(HOSTILE in text for text in page.text) >= 4 and "discriminator $x^{" in page.words


@given(st.text(), st.text())
def test_any_text_comes_back_from_the_page(name, value):
    # A parser takes a carriage return for the end of a line, and refuses NUL.
    name, value = (text.replace("\r", "").replace("\0", "") for text in (name, value))
    curve = Curve(value, value, np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0, (value, name))
    drawing = draw(Panel(name, (curve,), value, "", (0.0, 1.0), (0.0, 1.0)))
    panel = {"title": name, "legend": [{"label": value, "paint": value, "line": "key", "value": ""}], "drawing": drawing}
    section = {"heading": name, "lead": value, "kind": "plots", "cells": [[panel]]}
    values = {"generator": "", "policy": value, "version": ""}
    page = Page(render("gcc.report", "report.html.j2", title=name, runs=[name], about=[[value]], sections=[section], **values))
    assert name in "".join(page.headings) and value in "".join(page.text)
    attributes = [attributes for _, attributes in page.elements]
    assert {"http-equiv": "Content-Security-Policy", "content": value} in attributes
    assert name in [one.get("aria-label") for one in attributes]
    assert {name for name, _ in page.elements} <= set(ELEMENTS.split())


def test_a_page_is_drawn_without_other_packages(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "svg" in {name for name, _ in Page(report(runs[:1])).elements}


class TestSaving:
    def test_the_report_of_one_run_is_in_its_folder(self, runs):
        for _ in range(2):
            assert save_report(runs[2:]) == runs[2] / "report.html"
        assert (runs[2] / "report.html").read_text() == report(runs[2:])
        (runs[2] / "report.html").unlink()

    def test_the_report_of_several_runs_is_in_the_current_folder(self, runs, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert str(save_report([runs[0], runs[2]])) == "report.html"
        assert save_report([runs[2]], tmp_path / "deep" / "mine.html").exists()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "report.html"]

    @pytest.mark.parametrize("text", ["", "<!doctype html><p>mine", "x" * 10_000])
    def test_other_files_are_not_overwritten(self, runs, tmp_path, text):
        (tmp_path / "mine.html").write_text(text)
        with pytest.raises(OutputError, match=r"mine.html exists already, and is not a report: choose another `out`"):
            save_report(runs[2:], tmp_path / "mine.html")
        assert (tmp_path / "mine.html").read_text() == text

    def test_a_path_that_cannot_be_written_is_refused(self, runs, tmp_path):
        with pytest.raises(OutputError, match="is a folder"):
            save_report(runs[2:], tmp_path)
        (tmp_path / "file").write_text("")
        with pytest.raises(GccError, match="cannot write"):
            save_report(runs[2:], tmp_path / "file" / "report.html")
