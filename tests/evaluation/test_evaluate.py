"""Judging what was made before."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from gcc import Compressor, Teacher
from gcc.artifacts.model import read
from gcc.errors import DataError, GccError, OutputError
from gcc.evaluation.evaluate import Evaluation, Figure, evaluate, evaluation_path, free_path, save_evaluation
from tests.helpers.families import TINY

pytestmark = pytest.mark.usefixtures("small_worlds")


@pytest.fixture
def saved(tmp_path):
    Compressor(Teacher.create("pix2pix"), **TINY["pix2pix"]).run().save(tmp_path / "run")
    return tmp_path / "run"


def images(folder, count, seed, names=None, size=24):
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{names[number] if names else number}.png")
    return folder


def test_a_student_is_judged_as_its_run_judged_it(saved, tmp_path):
    for role in ("student", "teacher"):
        found = evaluate(saved / role).metrics["G"]
        told = read(saved / role)["G"].metrics[role]["metrics"]
        assert {title: figure.value for title, figure in found.items()} == pytest.approx(told)
        assert found["psnr"].unit == "dB" and found["psnr"].protocol == "6 images, 32x32 pixels"
    assert evaluate(saved / "student", split="val").metrics != evaluate(saved / "student").metrics
    save_evaluation(tmp_path / "e.json", evaluate(saved / "student", evaluators="psnr"))
    told = json.loads((tmp_path / "e.json").read_text())
    assert list(told["figures"]["G"]) == ["psnr"] and told["split"] == "test" and "torch" in told["environment"]


def test_images_of_the_same_names_are_compared_one_by_one(tmp_path):
    made, real = images(tmp_path / "made", 3, 0), images(tmp_path / "real", 4, 1)
    (made / "grid.png").write_bytes((made / "0.png").read_bytes())
    found = evaluate(made, real, evaluators="l1").metrics["made"]["l1"]
    pairs = [[np.asarray(Image.open(folder / f"{n}.png")) / 255.0 for folder in (made, real)] for n in range(3)]
    assert found.value == pytest.approx(sum(abs(a - b).mean() for a, b in pairs) / 3, rel=1e-5)
    assert found.protocol == "3 images, 24x24 pixels"


def test_sets_of_images_need_no_names_in_common(tmp_path):
    made, real = images(tmp_path / "made", 3, 0), images(tmp_path / "real", 5, 1, names="abcde")
    found = evaluate(made, real, evaluators="fd_effnetlite0").metrics["made"]["fd_effnetlite0"]
    assert found.value > 0 and found.protocol.startswith("3 made against 5 real images")


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda t: evaluate(t / "made", evaluators="l1"), "give the folder of the real ones with --data"),
        (lambda t: evaluate(t / "made", t / "empty", evaluators="l1"), "holds no images"),
        (lambda t: evaluate(t / "made", t / "real"), "no metrics"),
        (lambda t: evaluate(t / "made", t / "other", evaluators="l1"), "has no image of the name of .*0.png"),
        (lambda t: evaluate(t / "made", t / "large", evaluators="l1"), "differ in size"),
        (lambda t: evaluate(t / "made", t / "real", evaluators="miou_judge"), "one of these learns from training images"),
        (lambda t: evaluate(t / "made", t / "real", evaluators="l1", weights={"vgg": "x"}), "nothing here reads weights of that name"),
        (lambda t: evaluate(t / "made", t / "real", evaluators="l1", split="val"), "leave --dataset and --split out"),
        (lambda t: evaluate(t / "made", t / "twice", evaluators="l1"), "0.jpg and 0.png have one name"),
        (lambda t: evaluate(t / "single", t / "real", evaluators="fd_effnetlite0"), "expected 2 or more of each, got 1 made and 2 real"),
        (lambda t: evaluate(t / "nowhere"), "is no folder"),
    ],
)
def test_what_cannot_be_judged_is_told(ask, says, tmp_path):
    images(tmp_path / "made", 2, 0)
    images(tmp_path / "real", 2, 1)
    images(tmp_path / "large", 2, 1, size=30)
    images(tmp_path / "other", 2, 1, names="ab")
    images(tmp_path / "single", 1, 0)
    images(tmp_path / "twice", 2, 1)
    Image.new("RGB", (24, 24)).save(tmp_path / "twice" / "0.jpg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(GccError, match=says):
        ask(tmp_path)


def test_images_that_cannot_be_read_are_left_out_with_their_counterparts(tmp_path):
    made, real = images(tmp_path / "made", 4, 0), images(tmp_path / "real", 4, 1)
    (made / "0.png").write_bytes(b"no image")
    (real / "2.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot read the image"):
        evaluate(made, real, evaluators="l1")
    assert evaluate(made, real, evaluators="l1", skip_bad=True).metrics["made"]["l1"].protocol.startswith("2 images")


def test_a_figure_that_is_no_number_is_null_and_what_is_no_evaluation_stays(tmp_path):
    figures = {"G": {"l1": Figure(float("nan"), "", "")}}
    save_evaluation(tmp_path / "e.json", Evaluation("s", "d", "test", figures, {}))
    assert json.loads((tmp_path / "e.json").read_text())["figures"]["G"]["l1"]["value"] is None
    assert evaluation_path(tmp_path / "s", "val", None).name == "s-evaluation-val.json"
    assert evaluation_path(tmp_path / "s", "test", tmp_path / "e.json") == tmp_path / "e.json"
    (tmp_path / "notes.json").write_text("[]")
    with pytest.raises(OutputError, match="holds no figures"):
        evaluation_path(tmp_path / "s", "test", tmp_path / "notes.json")


def test_half_of_a_family_is_no_side(tmp_path):
    Compressor(Teacher.create("cyclegan"), **TINY["cyclegan"]).run().save(tmp_path)
    with pytest.raises(GccError, match="lacks the generator B2A: give the folder of the whole side"):
        evaluate(tmp_path / "student" / "A2B", evaluators="fd_effnetlite0")
    with pytest.raises(GccError, match="no metrics"):
        evaluate(tmp_path / "student")
    with pytest.raises(GccError, match="psnr compares each made image with its true one"):
        evaluate(tmp_path / "student", evaluators="psnr")
    found = evaluate(tmp_path / "student", evaluators="fd_effnetlite0").metrics
    assert found.keys() == {"A2B", "B2A"}


def test_no_validation_images_are_told(saved, tmp_path):
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (64, 32), (number, 0, 0)).save(folder / f"{number}.png")
    with pytest.raises(DataError, match="no validation images beside those of its test split"):
        evaluate(saved / "student", tmp_path / "data", split="val")


def test_a_generator_that_makes_no_numbers_has_none_for_a_figure(saved):
    broken = saved / "student" / "model.safetensors"
    save_file(
        {name: torch.full_like(value, torch.nan) if value.is_floating_point() else value for name, value in load_file(broken).items()},
        broken,
    )
    found = evaluate(saved / "student", evaluators="l1,psnr_y,ssim_y,fd_effnetlite0").metrics["G"]
    assert len(found) == 4 and all(math.isnan(figure.value) for figure in found.values())


def test_both_sizes_are_told_where_they_differ(tmp_path):
    made, real = images(tmp_path / "made", 3, 0), images(tmp_path / "real", 3, 1, size=32)
    assert (
        ", 24x24 pixels against 32x32 pixels, "
        in evaluate(made, real, evaluators="fd_effnetlite0").metrics["made"]["fd_effnetlite0"].protocol
    )


def test_what_is_left_out_is_told(tmp_path):
    made, real = images(tmp_path / "made", 3, 0), images(tmp_path / "real", 3, 1)
    (made / "1.png").write_bytes(b"")
    (reason,) = evaluate(made, real, evaluators="l1", skip_bad=True).left_out
    assert "1.png: the file is empty" in reason


def test_other_figures_of_the_same_generator_are_kept_apart(tmp_path):
    def figures(data, *titles):
        return Evaluation("student", data, "test", {"G": {title: Figure(1.0, "", "") for title in titles}}, {})

    place = tmp_path / "student-evaluation.json"
    for evaluation, name in (
        (figures("a", "l1"), "student-evaluation.json"),
        (figures("a", "l1", "fid"), "student-evaluation-2.json"),
        (figures("b", "l1"), "student-evaluation-3.json"),
        (figures("a", "l1"), "student-evaluation.json"),
        (figures("a", "fid", "l1"), "student-evaluation-2.json"),
    ):
        assert free_path(place, evaluation).name == name
        save_evaluation(free_path(place, evaluation), evaluation)


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file is a file, so that .* cannot be written"):
        evaluation_path(tmp_path, "test", tmp_path / "file" / "new" / "x.json")
    assert evaluation_path(tmp_path, "test", tmp_path / "new" / "x.json").name == "x.json"
