"""Training on images that are not squares: `--size WxH`."""

import random

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from gcc import Compressor, Teacher, load
from gcc.cli import main
from gcc.errors import DataError, RecipeError
from gcc.models.cyclegan import CycleGAN
from gcc.models.pix2pix import Pix2Pix
from gcc.recipe import changed
from gcc.registry import ARCHITECTURES
from tests.helpers.families import TINY


def pairs(root, width, height, count=4):
    for split in ("train", "val", "test"):
        (root / split).mkdir(parents=True)
        for number in range(count):
            pixels = random.Random(number).randbytes(6 * width * height)
            Image.frombytes("RGB", (2 * width, height), pixels).save(root / split / f"{number}.png")
    return root


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="gcc")


def flags(arch, names=("epochs", "batch_size", "budget")):
    settings = [word for name, value in TINY[arch].items() if name not in (*names, "size") for word in ("--set", f"{name}={value}")]
    return [*settings, *(word for name in names for word in (f"--{name.replace('_', '-')}", TINY[arch][name]))]


@pytest.mark.slow
def test_a_run_on_rectangles_keeps_their_proportions(tmp_path):
    data = pairs(tmp_path / "data", 64, 32)
    out = tmp_path / "run"
    ran = invoke("compress", "--arch", "pix2pix", "--data", data, "--size", "64x32", "--device", "cpu", "--out", out, *flags("pix2pix"))
    assert ran.exit_code == 0, ran.output
    assert "64x32 pixels" in ran.output and "proportions" not in ran.output and "1x3x32x64" in ran.output
    assert "image_width = 64" in (out / "recipe.toml").read_text()
    assert load(out / "student")(torch.zeros(1, 3, 32, 64)).shape == (1, 3, 32, 64)
    assert invoke("evaluate", out / "student", "--evaluators", "l1").exit_code == 0
    assert invoke("translate", out / "student", data / "test", tmp_path / "fake").exit_code == 0
    with Image.open(tmp_path / "fake" / "0.png") as fake:
        assert fake.size == (64, 32)
    resumed = invoke("compress", "--resume", out)
    assert resumed.exit_code == 0 and "finished" in resumed.output


@pytest.mark.parametrize("size", ["32x32", "32"])
def test_squares_stay_squares(size, tmp_path):
    data = pairs(tmp_path / "data", 32, 32)
    ran = invoke("compress", "--arch", "pix2pix", "--data", data, "--size", size, "--dry-run", *flags("pix2pix"))
    assert ran.exit_code == 0 and "image_width" not in ran.output and "32 pixels" in ran.output


def test_batches_have_the_recipes_size(tmp_path):
    data = pairs(tmp_path / "data", 48, 40)
    settings = TINY["pix2pix"] | {"size": 32, "image_width": 96, "batch_size": 2}
    run = Compressor(Teacher.create("pix2pix"), data, device="cpu", **settings)
    batch = next(run.context.loader.batches(1, 0))
    assert batch["A"].shape == batch["B"].shape == (2, 3, 32, 96)
    assert batch["A"].shape[1:] == run.architecture.example_batch()["A"].shape[1:]
    run.check()
    assert "of other proportions and resized to 96x32" in run.plan()["images"]


def test_a_new_square_size_replaces_a_rectangle():
    teacher = Teacher.create("pix2pix", size=64, image_width=128)
    assert teacher.architecture({}).recipe.image_width == 128
    assert teacher.architecture({"size": 32, "image_width": None}).recipe.image_width is None


@pytest.mark.parametrize("family", [Pix2Pix, CycleGAN])
def test_sizes_fit_the_networks(family):
    architecture = family(changed(family.demo(), {"size": 64, "image_width": 96}))
    assert 96 % architecture.size_multiple == 64 % architecture.size_multiple == 0
    network = architecture.build_generator(architecture.full_widths(4))
    assert network(architecture.example_input()).shape == (1, 3, 64, 96)
    with pytest.raises(RecipeError, match="size = 50"):
        family(changed(family.demo(), {"size": 64, "image_width": 50}))


@pytest.mark.parametrize("size", ["96x64", (96, 64), [96, 64]])
def test_python_takes_a_width_and_a_height(size):
    wide = {"size": 64, "image_width": 96}
    assert changed(Pix2Pix.demo(), {"size": size}) == changed(Pix2Pix.demo(), wide)
    settings = {name: value for name, value in TINY["pix2pix"].items() if name != "size"}
    expected = Teacher.create("pix2pix", **wide).architecture(settings).recipe
    assert Teacher.create("pix2pix", size=size).architecture(settings).recipe == expected
    replaced = Teacher.create("pix2pix", size=size).architecture({"size": "32x32"}).recipe
    assert (replaced.size, replaced.image_width) == (32, None)


@pytest.mark.parametrize("size", ["64x", "a", (64,) * 3, (), None, True, 64.5])
def test_python_refuses_what_is_no_size(size):
    with pytest.raises(RecipeError, match="size = .*expected a whole number, or a width and a height such as 640x480"):
        Teacher.create("pix2pix").architecture({"size": size})


@pytest.mark.parametrize(
    ("arch", "settings", "message"),
    [
        ("pix2pix", {"size": "100x64"}, "size = 100x64: .* multiples of 32, such as 96x64 or 128x64$"),
        ("pix2pix", {"size": 300, "depth": 7}, "a multiple of 128, such as 256 or 384$"),
        ("pix2pix", {"size": 50, "generator": "resnet"}, "multiples of 4 from 32 up, such as 48 or 52$"),
        ("cyclegan", {"size": "30x66"}, "size = 30x66: .* such as 32x64 or 32x68$"),
        ("srgan", {"size": 50}, "from 16 up, such as 48 or 52$"),
        ("sagan", {"size": 100}, "from 32 up, such as 64 or 128$"),
    ],
)
def test_a_size_that_does_not_fit_names_the_nearest_that_do(arch, settings, message):
    with pytest.raises(RecipeError, match=message):
        Teacher.create(arch).architecture(settings)


@pytest.mark.parametrize("arch", ["sagan", "srgan"])
def test_other_families_train_on_squares(arch):
    ran = invoke("compress", "--arch", arch, "--size", "64x32", "--dry-run")
    assert ran.exit_code == 2 and f"{arch} trains on squares: give --size N instead of a width and a height" in ran.stderr


def test_demo_data_are_squares():
    with pytest.raises(DataError, match="demo data are squares: give `data`, or `size=32`"):
        Compressor(Teacher.create("pix2pix"), device="cpu", image_width=64, **TINY["pix2pix"])


@pytest.mark.parametrize("size", ["64x", "x64", "axb", "0x32", "64x32x16", "1e9"])
def test_other_texts_are_no_sizes(size):
    ran = invoke("compress", "--arch", "pix2pix", "--size", size, "--dry-run")
    assert ran.exit_code == 2 and len(ran.stderr.splitlines()) == 2 and "'--size'" in ran.stderr


def test_recipes_without_the_field_are_squares():
    for arch in ARCHITECTURES.names():
        if arch in TINY:
            assert getattr(ARCHITECTURES.load(arch).published(), "image_width", None) is None
