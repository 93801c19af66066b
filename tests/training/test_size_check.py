"""A size of training images that a user's generator does not take is refused before it is trained."""

import pytest
import torch
from torch import nn

import gcc
from gcc.errors import GccError
from gcc.evaluation.split import eval_samples_on_meta
from tests.helpers.custom_toys import Images, Painter, Skipping


class Halved(nn.Sequential):
    """Runs on images of any size, but returns a smaller one if a side is odd."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 6, 2, 2), nn.ReLU(), nn.ConvTranspose2d(6, 3, 2, 2))


def run(generator, data, task="paired", side=16, **settings):
    return gcc.Compressor(
        generator=generator,
        task=task,
        data=data,
        example=torch.zeros(1, 3, side, side),
        **{"ndf": 4, "epochs": 1, "device": "cpu", "evaluators": ""} | settings,
    )


@pytest.mark.parametrize("evaluators", ["", "l1"])
def test_sizes_are_advised_that_the_generator_takes(evaluators):
    with pytest.raises(GccError, match=r"^size = 50: .*: give a `size` such as 48 or 52$"):
        run(Skipping(), Images(A=50, B=50), size=50, evaluators=evaluators).check()
    run(Skipping(), Images(A=52, B=52), size=52, evaluators=evaluators).check()


def test_images_are_returned_in_the_size_of_the_real_ones():
    with pytest.raises(GccError, match="give a `size` such as 32 or 34"):
        run(Halved(), Images(A=33, B=33), size=33).check()


def test_sizes_of_enlarged_images_are_advised():
    enlarging = nn.Sequential(Skipping(), nn.Upsample(scale_factor=2))
    settings = {"task": "super-resolution", "size": 36, "pretrain_epochs": 0}
    with pytest.raises(GccError, match=r"^size = 36: .*: give a `size` such as 32 or 40$"):
        run(enlarging, Images(hr=36, lr=18), **settings).check()


def test_noise_has_the_size_of_the_images_that_the_generator_returns():
    with pytest.raises(GccError, match="give a `size` such as 16$"):
        gcc.Compressor(
            generator=Painter(), task="noise", data=Images(real=32), example=torch.zeros(1, 6, 1, 1), size=32, ndf=4, epochs=1, device="cpu"
        ).check()


def test_evaluated_images_that_the_generator_does_not_take_are_named():
    architecture = run(Skipping(), Images(A=16, B=16), size=16).architecture
    batch = {"A": torch.zeros(1, 3, 18, 18), "B": torch.zeros(1, 3, 18, 18)}
    with pytest.raises(GccError, match=r"does not run on a sample with A \(1, 3, 18, 18\), .*; give images of a size that it takes"):
        eval_samples_on_meta(architecture, batch)
