"""Evaluation of saved generators and of folders of images."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file, save_file

from gcc import Compressor, Teacher, Trainer
from gcc.artifacts.model import read
from gcc.cli.evaluate import command
from gcc.data.loader import in_order
from gcc.errors import DataError, GccError
from gcc.evaluation.evaluate import evaluate
from gcc.evaluation.evaluation_file import save_evaluation
from tests.helpers.families import TINY
from tests.helpers.images import save


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    Compressor(Teacher.create("pix2pix"), **TINY["pix2pix"]).run().save(folder)
    return folder


@pytest.fixture
def saved(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "run")


def images(folder, count, seed, names=None, size=24):
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{names[number] if names else number}.png")
    return folder


def test_a_saved_generator_has_the_metrics_of_its_run(saved, tmp_path):
    for role in ("student", "teacher"):
        metrics = evaluate(saved / role).metrics["G"]
        of_run = read(saved / role)["G"].measurements[role]["metrics"]
        assert {key: metric.value for key, metric in metrics.items()} == pytest.approx(of_run)
        assert metrics["psnr"].unit == "dB" and metrics["psnr"].protocol == "6 images, 32x32 pixels"
    assert evaluate(saved / "student", split="val").metrics != evaluate(saved / "student").metrics
    save_evaluation(tmp_path / "e.json", evaluate(saved / "student", evaluators="psnr"))
    saved_json = json.loads((tmp_path / "e.json").read_text())
    assert list(saved_json["metrics"]["G"]) == ["psnr"] and saved_json["split"] == "test" and "torch" in saved_json["environment"]


def test_the_batch_size_in_a_file_is_bounded_and_that_of_the_user_is_not(saved, monkeypatch):
    config = next((saved / "student").glob("**/config.json"))
    contents = json.loads(config.read_text())
    contents["recipe"]["batch_size"] = 10**9
    config.write_text(json.dumps(contents))
    sizes = []
    monkeypatch.setattr("gcc.evaluation.split.in_order", lambda *given: sizes.append(given[3]) or in_order(*given))
    for batch_size, expected in ((None, 64), (100, 100)):
        evaluate(saved / "student", evaluators="l1", batch_size=batch_size)
        assert sizes[-1] == expected


def test_images_of_the_same_names_are_compared_one_by_one(tmp_path):
    fake, real = images(tmp_path / "fake", 3, 0), images(tmp_path / "real", 4, 1)
    (fake / "grid.png").write_bytes((fake / "0.png").read_bytes())
    metric = evaluate(fake, real, evaluators="l1").metrics["fake"]["l1"]
    pairs = [[np.asarray(Image.open(folder / f"{n}.png")) / 255.0 for folder in (fake, real)] for n in range(3)]
    assert metric.value == pytest.approx(sum(abs(a - b).mean() for a, b in pairs) / 3, rel=1e-5)
    assert metric.protocol == "3 images, 24x24 pixels"


def test_configurations_of_other_programs_are_ignored(tmp_path):
    fake, real = images(tmp_path / "fake", 3, 0), images(tmp_path / "real", 3, 1)
    (fake / "meta").mkdir()
    (fake / "meta" / "config.json").write_text("{}")
    assert evaluate(fake, real, evaluators="l1").metrics["fake"]["l1"].protocol == "3 images, 24x24 pixels"


def test_sets_of_images_need_no_names_in_common(tmp_path):
    fake, real = images(tmp_path / "fake", 3, 0), images(tmp_path / "real", 5, 1, names="abcde")
    metric = evaluate(fake, real, evaluators="fd_effnetlite0").metrics["fake"]["fd_effnetlite0"]
    assert metric.value > 0 and metric.protocol.startswith("3 fake against 5 real images")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: evaluate(t / "fake", evaluators="l1"), "give the folder of the real ones with `data`"),
        (lambda t: evaluate(t / "fake", t / "empty", evaluators="l1"), "contains no images"),
        (lambda t: evaluate(t / "fake", t / "shapes", evaluators="l1"), "; give a folder inside it, such as .*shapes.test$"),
        (lambda t: evaluate(t / "fake", t / "real"), "no evaluators"),
        (lambda t: evaluate(t / "fake", t / "other", evaluators="l1"), "has no image with the name of .*0.png"),
        (lambda t: evaluate(t / "fake", t / "large", evaluators="l1"), "differ in size: expected images of one size$"),
        (lambda t: evaluate(t / "fake", t / "pairs", evaluators="l1"), "seems to hold A and B side by side"),
        (lambda t: evaluate(t / "fake", t / "real", evaluators="miou_small"), "one of these trains on training images"),
        (lambda t: evaluate(t / "fake", t / "real", evaluators="l1", weights={"vgg": "x"}), "no network reads weights here"),
        (lambda t: evaluate(t / "fake", t / "real", evaluators="l1", split="val"), "leave `dataset` and `split` out"),
        (lambda t: evaluate(t / "fake", t / "twice", evaluators="l1"), "0.jpg and 0.png have the same name"),
        (lambda t: evaluate(t / "single", t / "real", evaluators="fd_effnetlite0"), "expected 2 or more of each, got 1 fake and 2 real"),
        (lambda t: evaluate(t / "nowhere"), "expected one with config.json"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(call, message, tmp_path):
    images(tmp_path / "fake", 2, 0)
    images(tmp_path / "real", 2, 1)
    images(tmp_path / "large", 2, 1, size=30)
    images(tmp_path / "other", 2, 1, names="ab")
    images(tmp_path / "single", 1, 0)
    images(tmp_path / "twice", 2, 1)
    Image.new("RGB", (24, 24)).save(tmp_path / "twice" / "0.jpg")
    (tmp_path / "pairs").mkdir()
    for number in range(2):
        Image.new("RGB", (48, 24)).save(tmp_path / "pairs" / f"{number}.png")
    (tmp_path / "empty").mkdir()
    images(tmp_path / "shapes" / "a", 2, 1)
    images(tmp_path / "shapes" / "test", 2, 1)
    with pytest.raises(GccError, match=message):
        call(tmp_path)


def test_images_that_cannot_be_read_are_left_out_with_their_counterparts(tmp_path):
    fake, real = images(tmp_path / "fake", 4, 0), images(tmp_path / "real", 4, 1)
    (fake / "0.png").write_bytes(b"no image")
    (real / "2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2 images cannot be used: .*fake.0\.png.*real.2\.png"):
        evaluate(fake, real, evaluators="l1")
    assert evaluate(fake, real, evaluators="l1", skip_bad=True).metrics["fake"]["l1"].protocol.startswith("2 images")


@pytest.mark.slow
def test_all_generators_of_a_family_are_needed(tmp_path):
    Compressor(Teacher.create("cyclegan"), **TINY["cyclegan"] | {"epochs": 1}).run().save(tmp_path)
    with pytest.raises(GccError, match="lacks the generator B2A: give the folder of all generators"):
        evaluate(tmp_path / "student" / "A2B", evaluators="fd_effnetlite0")
    with pytest.raises(GccError, match="no evaluators: name some with `evaluators`, of fd_effnetlite0, .*kid") as error:
        evaluate(tmp_path / "student")
    assert "psnr" not in str(error.value) and "l1" not in str(error.value)
    with pytest.raises(GccError, match="psnr compares each fake image with its real counterpart"):
        evaluate(tmp_path / "student", evaluators="psnr")
    metrics = evaluate(tmp_path / "student", evaluators="fd_effnetlite0").metrics
    assert metrics.keys() == {"A2B", "B2A"}


def test_missing_validation_images_are_reported(saved, tmp_path):
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (64, 32), (number, 0, 0)).save(folder / f"{number}.png")
    with pytest.raises(DataError, match="no validation images apart from those of its test split"):
        evaluate(saved / "student", tmp_path / "data", split="val")


def test_the_metrics_of_output_that_is_not_finite_are_nan(saved):
    broken = saved / "student" / "model.safetensors"
    save_file(
        {name: torch.full_like(value, torch.nan) if value.is_floating_point() else value for name, value in load_file(broken).items()},
        broken,
    )
    metrics = evaluate(saved / "student", evaluators="l1,psnr_y,ssim_y,fd_effnetlite0").metrics["G"]
    assert len(metrics) == 4 and all(math.isnan(metric.value) for metric in metrics.values())


def test_the_protocol_reports_both_sizes_if_they_differ(tmp_path):
    fake, real = images(tmp_path / "fake", 3, 0), images(tmp_path / "real", 3, 1, size=32)
    assert (
        ", 24x24 pixels against 32x32 pixels, "
        in evaluate(fake, real, evaluators="fd_effnetlite0").metrics["fake"]["fd_effnetlite0"].protocol
    )


def test_images_that_are_left_out_are_reported(tmp_path):
    fake, real = images(tmp_path / "fake", 3, 0), images(tmp_path / "real", 3, 1)
    (fake / "1.png").write_bytes(b"")
    (reason,) = evaluate(fake, real, evaluators="l1", skip_bad=True).left_out
    assert "1.png: the file is empty" in reason


def command_of(run, data, **options):
    options = {"data": data and str(data), "dataset": None} | options
    (run / "command.json").write_text(json.dumps({"command": "compress", "options": options}))


def test_a_generator_is_evaluated_on_the_data_of_its_run(saved, few_pairs, tmp_path):
    on_demo = evaluate(saved / "student", evaluators="l1")
    command_of(saved, few_pairs)
    for subject in (saved / "student", saved / "teacher"):
        evaluation, given = evaluate(subject, evaluators="l1"), evaluate(subject, few_pairs, evaluators="l1")
        assert evaluation.data == str(few_pairs) and evaluation.metrics == given.metrics
        assert evaluation.metrics["G"]["l1"].protocol.startswith("4 images")
    command_of(saved, None)
    demo = evaluate(saved / "student", evaluators="l1")
    assert demo.data == on_demo.data == "demo data (streets, generated)" and demo.metrics == on_demo.metrics
    command_of(saved, tmp_path / "moved")
    with pytest.raises(DataError, match="moved, the data of the run of .*student, does not exist: if it has moved, name it with `data`"):
        evaluate(saved / "student", evaluators="l1")


def test_images_that_are_not_read_are_named(tmp_path):
    fake, real = images(tmp_path / "fake", 3, 0), images(tmp_path / "real", 3, 1)
    assert evaluate(fake, real, evaluators="l1").left_out == []
    images(fake / "more", 2, 2)
    (real / "a.gif").touch()
    below, other = evaluate(fake, real, evaluators="l1").left_out
    assert below == f"2 images in subfolders of {fake}, which are not searched"
    assert other.startswith(f"in {real}, other formats are not read (1 .gif)")


def test_what_is_left_out_is_said_before_the_metrics(tmp_path):
    fake, real = images(tmp_path / "fake", 3, 0), images(tmp_path / "real", 3, 1)
    images(fake / "more", 2, 2)
    output = CliRunner().invoke(command, [str(fake), "--data", str(real), "--evaluators", "l1"], catch_exceptions=False).output
    assert 0 <= output.index("left out: 2 images in subfolders") < output.index("data:")


def test_real_images_that_seem_to_be_pairs_are_named(tmp_path):
    fake, real, pairs = images(tmp_path / "fake", 3, 0), images(tmp_path / "real", 3, 1), tmp_path / "pairs"
    pairs.mkdir()
    for number in range(3):
        Image.new("RGB", (48, 24), (number, 0, 0)).save(pairs / f"{number}.png")
    (text,) = evaluate(fake, pairs, evaluators="fd_effnetlite0").changes
    assert text.startswith(f"{pairs} holds images of 48x24 pixels, twice as wide as the generated ones, and they are compared whole")
    assert evaluate(fake, real, evaluators="fd_effnetlite0").changes == []
    Image.new("RGB", (40, 24)).save(pairs / "other.png")
    assert evaluate(fake, pairs, evaluators="fd_effnetlite0").changes == []


def test_a_range_reads_all_bits_of_folders_and_is_said(tmp_path):
    deep = {name: np.random.default_rng(seed).integers(0, 4096, (9, 9, 3), dtype=np.uint16) for seed, name in enumerate(("fake", "real"))}
    for name, values in deep.items():
        save(tmp_path / name / "0.png", values)
    fake, real = tmp_path / "fake", tmp_path / "real"
    output = CliRunner().invoke(command, [str(fake), "--data", str(real), "--evaluators", "l1", "--range", "0..4095"]).output
    assert "2 of 2 images have more than 8 bits per channel, of which the values 0 to 4095 are black to white" in output
    (saved_in,) = tmp_path.glob("*.json")
    saved = json.loads(saved_in.read_text())
    expected = abs(deep["fake"].astype(float) - deep["real"]).mean() / 4095
    assert saved["range"] == "0..4095" and saved["metrics"]["fake"]["l1"]["value"] == pytest.approx(expected, rel=1e-5)
    assert "of which the upper 8 are read" in evaluate(fake, real, evaluators="l1").changes[0]
    save(tmp_path / "floats" / "0.npy", deep["real"].astype(np.float32))
    with pytest.raises(DataError, match="types float32, uint16: expected integers or floating-point numbers alone"):
        evaluate(fake, tmp_path / "floats", evaluators="l1", range=(0, 4095))


def test_a_generator_has_the_range_of_its_training(saved):
    with pytest.raises(GccError, match="evaluated in the range of its training: leave `range` out"):
        evaluate(saved / "student", evaluators="l1", range="0..4095")


def test_a_run_that_skipped_bad_images_is_evaluated_without_them(saved, few_pairs, tmp_path):
    data = shutil.copytree(few_pairs, tmp_path / "data")
    (data / "test" / "0.png").write_bytes(b"no image")
    command_of(saved, data)
    with pytest.raises(DataError, match=r"0\.png.*`skip_bad=True`"):
        evaluate(saved / "student", evaluators="l1")
    command_of(saved, data, skip_bad=True)
    evaluation = evaluate(saved / "student", evaluators="l1")
    assert evaluation.metrics["G"]["l1"].protocol.startswith("3 images") and "0.png" in evaluation.left_out[0]
    with pytest.raises(DataError, match=r"0\.png.*`skip_bad=True`"):
        evaluate(saved / "student", data, evaluators="l1")


def test_demo_data_evaluates_generators_of_demo_runs_only(few_pairs, tmp_path):
    run = tmp_path / "run"
    Trainer(Teacher.create("pix2pix"), few_pairs, **TINY["pix2pix"]).run().save(run)
    with pytest.raises(
        GccError, match=r"teacher is of a run that was saved from Python, which does not record its data \(.*\): give `data`$"
    ):
        evaluate(run / "teacher", evaluators="l1")
    shutil.copytree(run / "teacher", tmp_path / "copy")
    with pytest.raises(GccError, match="copy is not in the folder of a run, so its data is unknown: give `data`$"):
        evaluate(tmp_path / "copy", evaluators="l1")
    assert evaluate(run / "teacher", dataset="streets", evaluators="l1").data == "demo data (streets, generated)"


def test_the_data_is_named_above_the_table(saved, few_pairs, tmp_path):
    command_of(saved, few_pairs)
    output = CliRunner().invoke(command, [str(saved / "student"), "--evaluators", "l1"], catch_exceptions=False).output
    assert f"data: {few_pairs}, test split\n" in output
    fake, real = images(tmp_path / "fake", 3, 0), images(tmp_path / "real", 3, 1)
    output = CliRunner().invoke(command, [str(fake), "--data", str(real), "--evaluators", "l1"], catch_exceptions=False).output
    assert f"data: {real}\n" in output


def test_only_the_split_that_is_evaluated_is_read(saved, few_pairs, tmp_path):
    whole, partial = shutil.copytree(few_pairs, tmp_path / "whole"), tmp_path / "partial"
    expected = {split: evaluate(saved / "student", whole, split=split, evaluators="l1").metrics for split in ("test", "val")}
    for split in ("test", "val"):
        shutil.copytree(whole / split, partial / split)
        assert evaluate(saved / "student", partial, split=split, evaluators="l1").metrics == expected[split]
        shutil.rmtree(partial)
    for path in [*(whole / "train").iterdir(), *(whole / "val").iterdir()]:
        path.write_bytes(b"no image")
    evaluation = evaluate(saved / "student", whole, evaluators="l1", skip_bad=True)
    assert evaluate(saved / "student", whole, evaluators="l1").metrics == expected["test"] == evaluation.metrics
    assert evaluation.left_out == []
    with pytest.raises(DataError, match="cannot read the image"):
        evaluate(saved / "student", whole, evaluators="miou_small")
