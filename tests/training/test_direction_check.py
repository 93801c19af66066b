"""A trained generator that translates in the other direction than the one that was given is told in the plan."""

import pytest

import gcc
from gcc.training.teacher_trainer import Trainer
from tests.helpers.custom_toys import Images, Scaling


class Darker(Scaling):
    """Halves the brightness of images in [0, 1], which are given in [-1, 1]."""

    def __init__(self):
        super().__init__(0.5)

    def forward(self, image):
        return super().forward(image) - 0.5


class Pairs(Images):
    """Pairs of an image and a darker one."""

    def __getitem__(self, index):
        image = super().__getitem__(index)["A"]
        return {"A": image, "B": image / 2 - 0.5}


@pytest.mark.parametrize("kind", [gcc.Compressor, Trainer])
def test_the_other_direction_is_named_if_the_generator_was_trained_in_it(kind):
    def warning(direction):
        settings = {"size": 32, "ndf": 4, "epochs": 1, "device": "cpu", "direction": direction}
        run = kind(generator=Darker(), task="paired", data=Pairs(A=32), **settings)
        run.check()
        return run.plan().get("warning", "")

    assert 'in the direction BtoA, and by 0 in the other: give `direction="AtoB"`' in warning("BtoA")
    assert "direction" not in warning("AtoB")
