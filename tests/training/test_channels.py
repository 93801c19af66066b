"""Runs with other channels than RGB, from a folder to a saved student and its translations."""

import numpy as np
import pytest
import torch
from PIL import Image

import gcc
from gcc.artifacts.model import read
from gcc.data.splits import DataSplits
from gcc.evaluation.evaluate import evaluate
from tests.helpers.families import TINY


def write(path, *shape):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    np.save(path, values) if path.suffix == ".npy" else Image.fromarray(values).save(path)


def compressed(arch, data, **settings):
    tiny = {**TINY[arch], "epochs": 1, "batch_size": 2, "evaluate_every": 1}
    return gcc.Compressor(gcc.Teacher.create(arch), data, **{**tiny, **settings}, device="cpu").run(progress=False)


def test_grey_pairs_of_four_channels_and_one(tmp_path):
    for split, number in (("train", 0), ("train", 1), ("test", 0)):
        write(tmp_path / f"A/{split}/{number}.png", 32, 32, 4)
        write(tmp_path / f"B/{split}/{number}.png", 32, 32)
    result = compressed("pix2pix", tmp_path, input_nc=4, output_nc=1, evaluators="l1,psnr,ssim,psnr_y")
    result.save(tmp_path / "run")
    student = gcc.load(tmp_path / "run/student")
    assert student(torch.zeros(1, 4, 32, 32)).shape == (1, 1, 32, 32)
    metrics = result.pairs["student"].generators["G"].metrics
    assert set(metrics) == {"l1", "psnr", "ssim", "psnr_y"}
    with Image.open(tmp_path / "run/student/samples.png") as grid:
        assert grid.mode == "RGB"
    again = evaluate(tmp_path / "run/student", tmp_path, evaluators="psnr")
    assert again.metrics["G"]["psnr"].value == pytest.approx(metrics["psnr"], rel=1e-5)


@pytest.mark.slow
def test_domains_of_two_channels_and_one(tmp_path):
    for split, number in (("train", 0), ("train", 1), ("test", 0)):
        write(tmp_path / f"{split}A/{number}.npy", 2, 32, 40)
        write(tmp_path / f"{split}B/{number}.png", 40, 32)
    result = compressed("cyclegan", tmp_path, input_nc=2, output_nc=1, lambda_identity=0.0)
    result.save(tmp_path / "run")
    for name, before, after in (("A2B", 2, 1), ("B2A", 1, 2)):
        artifact = read(tmp_path / "run/student")[name]
        assert artifact.network()(torch.zeros(1, before, 32, 32)).shape == (1, after, 32, 32)
        report = result.pairs["student"].generators[name]
        assert report.cost.parameters == sum(parameter.numel() for parameter in report.network.parameters())
    teacher = gcc.Teacher.load(tmp_path / "run/teacher")
    assert teacher.has_discriminators
    again = gcc.Compressor(teacher, tmp_path, epochs=1, batch_size=2, device="cpu")
    assert again.architecture.recipe.input_nc == 2 and list(again.steps())


@pytest.mark.slow
def test_a_range_is_saved_and_shown(tmp_path):
    for split, number in (("train", 0), ("train", 1), ("test", 0)):
        for side in "AB":
            path = tmp_path / f"{side}/{split}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((32, 32), 4000 + 100 * number, np.uint16)).save(path)
    data = {"input_nc": 1, "output_nc": 1, "range": (0, 4095)}
    splits = DataSplits(gcc.Teacher.create("pix2pix").architecture({**TINY["pix2pix"], **data}), tmp_path, None)
    splits.check()
    assert "the values 0 to 4095 are black to white; 2 of 6 images have values outside of the range" in splits.summary(32)["images"]
    compressed("pix2pix", tmp_path, **data).save(tmp_path / "run")
    assert read(tmp_path / "run/student")["G"].recipe.range == "0..4095"
    assert gcc.Teacher.load(tmp_path / "run/teacher").architecture({}).recipe.range == "0..4095"
