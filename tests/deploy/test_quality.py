"""What lower precision costs equals a naive calculation."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gcc.artifacts.model import read, single_generator
from gcc.deploy.quality import Loss, QualityMeter, Samples, samples_of
from gcc.deploy.side_by_side import InputHalves
from gcc.errors import GccError
from gcc.registry import Inputs
from tests.deploy.test_generate import write


def naive_psnr(image, other):
    values = [((float(a) + 1) / 2, (float(b) + 1) / 2) for a, b in zip(image.flatten(), other.flatten(), strict=True)]
    return -10 * math.log10(sum((a - b) ** 2 for a, b in values) / len(values))


@pytest.mark.parametrize("knows_truth", [False, True])
def test_the_loss_equals_a_naive_calculation(knows_truth):
    torch.manual_seed(0)
    inputs = [torch.rand(1, 3, 4, 5) * 2 - 1 for _ in range(3)]
    truth = [torch.rand(1, 3, 4, 5) * 2 - 1 for _ in range(3)]
    weaker = nn.Hardtanh(-0.8, 0.8)
    meter = QualityMeter(nn.Identity(), Samples([], inputs, truth if knows_truth else None, "three"))
    loss = meter.measure(weaker)
    assert meter.reach == max(abs(value) for image in inputs for value in image.flatten().tolist())
    assert loss.error == pytest.approx(max(abs(value) - 0.8 for image in inputs for value in image.flatten().tolist()), rel=1e-5)
    own = [naive_psnr(weaker(image), image) for image in inputs]
    assert loss.psnr == pytest.approx(sum(own) / 3, rel=1e-6) and loss.worst == pytest.approx(min(own), rel=1e-6)
    if knows_truth:
        drops = [naive_psnr(image, real) - naive_psnr(weaker(image), real) for image, real in zip(inputs, truth, strict=True)]
    else:
        # The errors of an image 30 dB from the truth and of lower precision add up.
        drops = [10 * math.log10((10 ** (-30 / 10) + 10 ** (-psnr / 10)) / 10 ** (-30 / 10)) for psnr in own]
    assert loss.drop == pytest.approx(sum(drops) / 3, rel=1e-4) and loss.knows_truth is knows_truth
    assert ("to the real images" if knows_truth else "30 dB from the truth") in str(loss) and str(loss).endswith("on three")


@pytest.mark.parametrize(
    ("drop", "words"), [(0.1234, "; 0.123 dB lower to"), (-0.004, "; 0.004 dB higher to"), (0.0, "; 0.000 dB lower to")]
)
def test_the_direction_of_the_loss_is_a_word(drop, words):
    text = str(Loss(50.0, 40.0, 0.1, drop, True, "three"))
    assert words in text and "40.00 dB in the worst image, largest error 13 of 255 levels" in text


def test_images_are_resized_to_the_one_size_that_a_file_accepts(tmp_path):
    write("cyclegan", tmp_path / "student")
    for number in range(4):
        Image.effect_noise((50 + number, 40), 60).convert("RGB").save(tmp_path / f"{number}.png")
    artifact = single_generator(read(tmp_path / "student"))
    fixed = samples_of(artifact, Inputs((3, 48, 64), one_sample=True), tmp_path)
    assert {tuple(sample.shape) for sample in (*fixed.calibration, *fixed.held_out)} == {(1, 3, 48, 64)}
    assert len(fixed.calibration) == len(fixed.held_out) == 2 and fixed.truth is None


def test_images_keep_their_sizes_where_a_file_accepts_them(tmp_path):
    write("cyclegan", tmp_path / "student")
    sizes = ((50, 40), (41, 33), (700, 30), (20, 900))
    for number, size in enumerate(sizes):
        Image.effect_noise(size, 60).convert("RGB").save(tmp_path / f"{number}.png")
    samples = samples_of(single_generator(read(tmp_path / "student")), Inputs((3, 32, 32), 4, 8), tmp_path)
    assert [tuple(sample.shape) for sample in samples.calibration] == [(1, 3, 40, 52), (1, 3, 32, 512)]
    assert [tuple(sample.shape) for sample in samples.held_out] == [(1, 3, 36, 44), (1, 3, 512, 20)]
    # What is measured is what the generator gets in `translate`: the image, and its mirror at the border.
    pixels = np.asarray(Image.open(tmp_path / "0.png"), np.float32).transpose(2, 0, 1) / 127.5 - 1
    first = samples.calibration[0][0].numpy()
    np.testing.assert_allclose(first[:, :, :50], pixels, atol=1e-6)
    np.testing.assert_allclose(first[:, :, 50:], pixels[:, :, [48, 47]], atol=1e-6)
    wide = np.asarray(Image.open(tmp_path / "2.png"), np.float32).transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(samples.calibration[1][0, :, :30].numpy(), wide[:, :, 94:606], atol=1e-6)


def test_the_training_images_are_listed_once(tmp_path, monkeypatch):
    write("pix2pix", tmp_path / "student")
    for number in range(4):
        Image.effect_noise((32, 32), 60).convert("RGB").save(tmp_path / f"{number}.png")
    built = []
    monkeypatch.setattr("gcc.deploy.quality.InputHalves", lambda *settings: built.append(InputHalves(*settings)) or built[-1])
    samples_of(single_generator(read(tmp_path / "student")), Inputs((3, 32, 32)), tmp_path)
    assert len(built) == 1


def test_images_in_subfolders_are_measured(tmp_path):
    write("cyclegan", tmp_path / "student")
    artifact = single_generator(read(tmp_path / "student"))
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(tmp_path / "photos" / "0.png")
    with pytest.raises(GccError, match="photos contains 1 image: expected at least two"):
        samples_of(artifact, Inputs((3, 32, 32)), tmp_path / "photos")
    Image.new("RGB", (32, 32)).save(tmp_path / "photos" / "sub" / "1.png")
    samples = samples_of(artifact, Inputs((3, 32, 32)), tmp_path / "photos")
    assert len(samples.calibration) == len(samples.held_out) == 1 and samples.description.startswith("1 image of ")


def test_an_image_that_is_too_small_is_refused(tmp_path):
    write("cyclegan", tmp_path / "student")
    for name, side in (("a", 40), ("b", 4)):
        Image.effect_noise((side, side), 60).convert("RGB").save(tmp_path / f"{name}.png")
    with pytest.raises(GccError, match=r"b\.png has 4x4 pixels: the generator accepts 8 and more on each side"):
        samples_of(single_generator(read(tmp_path / "student")), Inputs((3, 32, 32), 4, 8), tmp_path)


def in_run_on_demo_data(arch, folder, **settings):
    write(arch, folder / "student", **settings)
    (folder / "command.json").write_text(json.dumps({"command": "compress", "options": {"data": None, "dataset": None}}))
    return single_generator(read(folder / "student"))


def test_a_run_that_was_saved_from_python_has_no_known_data(tmp_path):
    write("pix2pix", tmp_path / "student")
    artifact = single_generator(read(tmp_path / "student"))
    with pytest.raises(GccError, match="student is not in the folder of a run, so its data is unknown: give input images with"):
        samples_of(artifact, Inputs((3, 32, 32)), None)
    (tmp_path / "recipe.toml").touch()
    with pytest.raises(GccError, match="saved from Python, which does not record its data .*: give input images with `calibration`"):
        samples_of(artifact, Inputs((3, 32, 32)), None)


@pytest.mark.parametrize(
    ("arch", "shape", "truth"), [("cyclegan", (64, 64), None), ("pix2pix", (64, 64), (64, 64)), ("srgan", (20, 20), (80, 80))]
)
def test_the_data_of_the_run_is_read_at_the_one_size_that_a_file_accepts(tmp_path, arch, shape, truth):
    samples = samples_of(in_run_on_demo_data(arch, tmp_path / "run"), Inputs((3, *shape), one_sample=True), None, most=2)
    assert {tuple(sample.shape[1:]) for sample in (*samples.calibration, *samples.held_out)} == {(3, *shape)}
    assert truth is None or {tuple(real.shape[1:]) for real in samples.truth} == {(3, *truth)}


def test_data_that_cannot_have_the_size_of_the_file_is_refused(tmp_path):
    artifact = in_run_on_demo_data("srgan", tmp_path / "run")
    with pytest.raises(GccError, match="cannot be read at the size of the file, 1x3x20x24 .*image_width.*: give images with `calibration`"):
        samples_of(artifact, Inputs((3, 20, 24), one_sample=True), None)
    artifact = in_run_on_demo_data("pix2pix", tmp_path / "other")
    with pytest.raises(GccError, match="of the file, 1x3x32x64 .*demo data are squares.*: give images with `calibration`"):
        samples_of(artifact, Inputs((3, 32, 64), one_sample=True), None)
