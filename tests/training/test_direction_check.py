"""A trained generator that translates in the other direction than the one that was given is told in the plan."""

import pytest
import torch
from torch import nn

import gcc
from gcc.training.teacher_trainer import Trainer
from tests.helpers.custom_toys import Images


class Darker(nn.Module):
    """Halves the brightness of images in [0, 1], which are given in [-1, 1]."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 1, bias=False), nn.Conv2d(6, 3, 1, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(3).repeat(2, 1)[:, :, None, None])
            self.second.weight.copy_(torch.eye(3).repeat(1, 2)[:, :, None, None] / 4)

    def forward(self, image):
        return self.second(self.first(image)) - 0.5


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
