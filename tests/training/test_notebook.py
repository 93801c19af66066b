"""What a user of Python and of notebooks sees: signatures, progress, short texts, tables and the report."""

import inspect
import io
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version

import pytest
from rich.console import Console

import gcc
from gcc import Compressor, Teacher, Trainer
from gcc.errors import CollapseWarning, OutputError, OutputWarning, RunError
from gcc.report.html import save_report
from gcc.training.display import ProgressDisplay, console_for
from gcc.training.options import RunOptions
from gcc.training.session import Session
from tests.helpers.families import TINY


def compressor(**options):
    return Compressor(Teacher.create("pix2pix"), device="cpu", **TINY["pix2pix"], **options)


@pytest.fixture(scope="module")
def finished():
    steps = []
    run = compressor()
    return run, run.run(steps.append, progress=False), steps


@pytest.mark.parametrize("kind", [Compressor, Trainer])
def test_signatures_show_every_keyword(kind):
    parameters = inspect.signature(kind).parameters
    assert [*parameters][:2] == ["teacher", "data"] and {*RunOptions.__annotations__} == {*parameters} - {"teacher", "data", "options"}
    assert parameters["device"].default == "auto" and repr(parameters["epochs"].default) == "<recipe>"
    assert parameters["epochs"].annotation is int


def test_the_version_is_that_of_the_package():
    assert gcc.__version__ == version("gan-gcc") and "__version__" in dir(gcc)


def test_texts_are_short_and_tables_are_complete(finished):
    run, result, steps = finished
    for value in (run, result, run.context.teacher, steps[-1], result.pairs["student"], result.pairs["student"].generators["G"]):
        assert len(repr(value).splitlines()) <= 5 and max(map(len, repr(value).splitlines())) < 400
    assert "student" in repr(result) and "pix2pix" in repr(result) and "MACs" in repr(result)
    assert "pix2pix" in repr(run) and TINY["pix2pix"]["budget"] in repr(run) and "demo data" in repr(run)
    assert repr(steps[-1]) == f"Step(train, epoch 2/2, step {len(steps) - 2}/4)"
    assert result._repr_html_().count("<tr>") > 4 and "student" in result._repr_html_()
    assert "<td>" in run._repr_html_() and "pix2pix" in run.context.teacher._repr_html_()


def test_tables_escape_their_texts():
    teacher = Teacher.create("pix2pix", selector="<script>")
    assert "&lt;script&gt;" in teacher._repr_html_() and "<script>" not in teacher._repr_html_()


def test_the_history_is_that_of_the_steps(finished):
    _, result, steps = finished
    assert [(line["phase"], line["step"]) for line in result.history if "student/G" in line] == [
        (step.phase, step.number) for step in steps if step.phase == "train" and step.ends_epoch
    ]
    assert steps[-1].values()["student/G"] == float(steps[-1].losses["student"]["G"])


def test_a_result_is_reported(finished, tmp_path, monkeypatch):
    _, result, _ = finished
    monkeypatch.chdir(tmp_path)
    page = result.report()
    assert page.path.name == "report.html" and page.path.read_text() == page.html and "report.html" in repr(page)
    assert "Losses: 2/2 joint training" in page.html and "&lt;" in page._repr_html_() and "<iframe" in page._repr_html_()
    result.report()
    (tmp_path / "notes.html").write_text("mine")
    with pytest.raises(OutputError, match="is not a report"):
        result.report("notes.html")


def test_the_report_of_a_result_that_is_not_saved_writes_no_weights_and_names_no_folder(finished, tmp_path, monkeypatch):
    result = replace(finished[1])
    monkeypatch.setattr("gcc.training.save_result.save_pair", None)
    html = result.report(tmp_path / "report.html").html
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert "Next steps" not in html and tempfile.gettempdir() not in html and str(tmp_path) not in html
    monkeypatch.undo()
    result.save(tmp_path / "pix2pix")
    saved = result.report(tmp_path / "report.html").html
    assert saved == save_report([tmp_path / "pix2pix"]).read_text() and f"gcc evaluate {tmp_path / 'pix2pix' / 'student'}" in saved
    same = re.sub(r"<section[^>]*>\s*<h2>Next steps</h2>.*?</section>\s*", "", saved, flags=re.DOTALL)
    # Times that scatter are noted with the command that measures again, which names the folders.
    assert same.replace(f"{tmp_path / 'pix2pix'}/", "") == html
    shutil.rmtree(tmp_path / "pix2pix")
    assert result.report(tmp_path / "report.html").html == html


def test_the_result_of_a_session_reports_on_its_folder(tmp_path):
    session = Session(Compressor(Teacher.create("pix2pix"), device="cpu", **TINY["pix2pix"]), tmp_path / "run")
    (tmp_path / "run").mkdir()
    result = session.train(Console(file=io.StringIO()))
    assert not result.history
    result.save(tmp_path / "copy")
    html = result.report(tmp_path / "report.html").html
    assert html == save_report([tmp_path / "run"]).read_text() and "Losses: 2/2 joint training" in html
    without = replace(result).report(tmp_path / "report.html").html
    assert "Summary" in without and "Samples" in without and "Losses" not in without


def test_a_saved_result_is_the_folder_of_a_run(finished, tmp_path):
    _, result, _ = finished
    result.save(tmp_path / "mine")
    page = save_report([tmp_path / "mine"])
    assert "Losses: 2/2 joint training" in page.read_text() and "finished" in page.read_text()
    for name in ("student-evaluation.json", "student.onnx"):
        (tmp_path / "mine" / name).write_text("of the earlier student")
    with pytest.warns(OutputWarning, match="mine contained an earlier run") as warned:
        result.save(tmp_path / "mine")
    assert warned[0].filename == __file__
    assert save_report([tmp_path / "mine"]).read_text() == page.read_text()
    assert {"report.html", "student-evaluation.json", "student.onnx"} <= {file.name for file in (tmp_path / "mine" / "replaced").iterdir()}
    assert not list((tmp_path / "mine").glob("student?*"))


def test_files_that_are_no_run_stay_where_a_result_is_saved(finished, tmp_path):
    _, result, _ = finished
    for name in ("checkpoints/mine.pt", "samples/mine.png", "report.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    result.save(tmp_path)
    assert all((tmp_path / name).read_text() == "mine" for name in ("checkpoints/mine.pt", "samples/mine.png", "report.html"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "metrics.jsonl").touch()
    with pytest.raises(OutputError, match="contains metrics.jsonl, but no run"):
        result.save(tmp_path / "other")
    assert not (tmp_path / "other" / "student").exists()


def test_a_result_that_cannot_be_saved_leaves_nothing(finished, tmp_path):
    _, result, _ = finished
    thesis = tmp_path / "student" / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("mine")
    for _ in range(2):
        with pytest.raises(OutputError, match="student is not empty"):
            result.save(tmp_path)
        assert thesis.read_text() == "mine" and list(tmp_path.iterdir()) == [thesis.parent]


def test_a_result_does_not_replace_a_run_that_trains(finished, tmp_path):
    _, result, _ = finished
    (tmp_path / "recipe.toml").touch()
    hold = """import pathlib, sys
from gcc.utils.files import FolderLock
lock = FolderLock(pathlib.Path(sys.argv[1]))
print(lock.acquire(), flush=True)
input()"""
    with subprocess.Popen([sys.executable, "-c", hold, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        holder.stdout.readline()
        with pytest.raises(RunError, match="another process trains in"):
            result.save(tmp_path)
        holder.communicate("\n")


def test_progress_is_quiet_outside_terminals_and_notebooks(finished, capsys, monkeypatch):
    assert console_for(None).quiet and console_for(False).quiet and not console_for(True).quiet
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert not console_for(None).quiet
    monkeypatch.undo()
    _, result, steps = finished
    with ProgressDisplay(console_for(True)) as display:
        for step in steps:
            display.update(step, {"student/G": 1.5})
    printed = capsys.readouterr()
    assert not printed.out and re.search(r"2/2 joint training: epoch 2/2, step 4/4, [\d.]+ (it/s|s/it)  student G 1.5", printed.err)


def test_a_bar_has_epoch_and_speed(finished):
    _, _, steps = finished
    text = io.StringIO()
    with ProgressDisplay(Console(file=text, force_terminal=True, width=120)) as display:
        for step in steps:
            display.update(step, {"student/G": 1.5})
    assert re.search(r"epoch 2/2.* it/s.*student G 1.5", text.getvalue())


def test_without_progress_signs_of_collapse_are_warnings_at_the_users_line(finished):
    _, _, steps = finished
    sign = replace(steps[-1], warnings={"student": "images are alike"})
    with pytest.warns(CollapseWarning, match="student, epoch 2, step 4: images are alike") as warned:
        ProgressDisplay(console_for(False)).warn(sign, None)
    assert warned[0].filename == __file__
