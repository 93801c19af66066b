"""A run's folder is read as far as the run has come; damaged files are named."""

import numpy as np
import pytest

from gcc.errors import ArtifactError, GccError, RecipeError, RunError
from gcc.report.run_record import read_run
from tests.helpers.run_folders import begun_run, full_run, grid, save_generators


def test_a_full_run_is_read(tmp_path):
    record = read_run(full_run(tmp_path / "run"))
    assert (record.name, record.arch, record.recipe["budget"], record.state) == ("run", "pix2pix", "40%", "finished")
    assert list(record.phases) == ["search", "train"]
    series = record.phases["train"].losses["student"]["G"]
    np.testing.assert_allclose(series.values, 1 / np.arange(1, 401))
    assert series.steps[-1] == 400 and series.epochs[-1] == 3
    assert record.phases["train"].metrics["G"]["psnr"]["student"].epochs.tolist() == [1, 2, 3]
    assert set(record.students) == set(record.teachers) == {"G"}
    assert record.samples.title == "held out" and (record.samples.width, record.samples.height) == (404, 300)
    assert [shown.title for shown in record.progress] == [f"2/2 joint training, epoch {epoch}" for epoch in (1, 4, 7, 10)]


def test_every_generator_of_a_family_is_read(tmp_path):
    assert set(read_run(full_run(tmp_path / "run", "cyclegan")).students) == {"A2B", "B2A"}


def test_an_unfinished_run_is_read(tmp_path):
    folder = begun_run(tmp_path / "run")
    (folder / "checkpoints").mkdir()
    # A student that is being saved: its configuration comes last.
    grid(folder / "student" / "samples.png")
    record = read_run(folder)
    assert record.state == "not finished: 1/2 sparse training, epoch 1"
    assert (record.students, record.teachers, record.samples, record.progress) == ({}, {}, None, ())
    grid(folder / "samples" / "train_epoch_0002.png")
    assert read_run(folder).samples.title == "2/2 joint training, epoch 2"
    (folder / "metrics.jsonl").unlink()
    assert read_run(folder).phases == {} and read_run(folder).state == "not started yet"


def test_a_run_that_failed_is_not_finished_although_its_generators_are_saved(tmp_path):
    folder = full_run(tmp_path / "run")
    (folder / "checkpoints").mkdir()
    record = read_run(folder)
    assert record.students and not record.is_finished and record.state == "stopped before its end: 2/2 joint training, epoch 3"


def test_a_teacher_alone_is_read(tmp_path):
    folder = begun_run(tmp_path / "run")
    save_generators(folder, "teacher", "pix2pix")
    assert list(read_run(folder).saved) == ["G"] and read_run(folder).state == "finished"


@pytest.mark.parametrize("torn", ['{"phase": "train", "ep', "{", "\x00\x00", '{"phase": "train", "epoch": 1, "step": 6, "teacher/G": 1.0}'])
def test_a_last_line_without_an_end_is_skipped(tmp_path, torn):
    folder = begun_run(tmp_path / "run")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(torn)
    assert len(read_run(folder).phases["search"].losses["teacher"]["G"].steps) == 5


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "3",
        '"text"',
        "{}",
        '{"phase": "train", "ep',
        '{"phase": 1, "epoch": 1, "step": 1}',
        '{"phase": "train", "epoch": "1", "step": 1}',
        '{"phase": "train", "epoch": 1, "step": true}',
        '{"phase": "train", "epoch": NaN, "step": 1}',
        '{"phase": "train", "epoch": 1, "step": Infinity}',
        '{"phase": "train", "epoch": 1, "step": 1, "G": "high"}',
        '{"phase": "train", "epoch": 1, "step": 1, "G": [1]}',
        '{"phase": "train", "epoch": 1, "step": 1' + "0" * 400 + "}",
        '{"phase": "train", "epoch": 1, "step": ' + "1" * 5000 + "}",
        "[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_damaged_line_is_named(tmp_path, line):
    folder = begun_run(tmp_path / "run")
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write((line if isinstance(line, bytes) else line.encode()) + b"\n")
    with pytest.raises(RunError, match="metrics.jsonl, line 6 is damaged.*take the line out"):
        read_run(folder)


def test_a_folder_without_a_run_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match="has no recipe.toml.*runs/pix2pix"):
            read_run(folder)
    (tmp_path / "gcc" / "seed-0").mkdir(parents=True)
    (tmp_path / "gcc" / "seed-0" / "recipe.toml").touch()
    with pytest.raises(RunError, match="such as .*/gcc/seed-0"):
        read_run(tmp_path)
    with pytest.raises(RunError, match=r"seed-0/student is a part of the run in .*/gcc/seed-0: name that folder"):
        read_run(tmp_path / "gcc" / "seed-0" / "student")


@pytest.mark.parametrize(
    ("text", "error"), [("size = 32", RunError), ("arch = 3", RunError), ("arch = ", RecipeError), ("[a]\nb=1", RecipeError)]
)
def test_a_damaged_recipe_is_refused(tmp_path, text, error):
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(error, match="recipe.toml"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["student/config.json", "student/samples.png", "samples/train_epoch_0001.png"])
@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: b"<svg onload='alert(1)'/>"])
def test_a_damaged_file_is_named(tmp_path, name, damage):
    folder = full_run(tmp_path / "run")
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    with pytest.raises(ArtifactError if name.endswith("json") else RunError, match=name.rpartition("/")[2]):
        read_run(folder)


def test_a_metrics_file_that_is_a_folder_is_refused(tmp_path):
    folder = begun_run(tmp_path / "run")
    (folder / "metrics.jsonl").unlink()
    (folder / "metrics.jsonl").mkdir()
    with pytest.raises(GccError, match=r"cannot read .*metrics.jsonl"):
        read_run(folder)
