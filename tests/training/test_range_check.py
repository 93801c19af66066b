"""A generator with images in another range than the one that was given is refused before it is trained."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import gcc
from gcc.errors import GccError
from tests.helpers.custom_toys import Images


class Clipped(nn.Module):
    """Enlarges images in [0, 1]; other values are cut off."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 1, bias=False), nn.Conv2d(6, 3, 1, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(3).repeat(2, 1)[:, :, None, None])
            self.second.weight.copy_(torch.eye(3).repeat(1, 2)[:, :, None, None] / 2)

    def forward(self, image):
        return functional.interpolate(self.second(self.first(image.clamp(0, 1))), scale_factor=2)


class Enlarged(Images):
    """Large images that repeat the pixels of small ones."""

    def __getitem__(self, index):
        lr = super().__getitem__(index)["lr"]
        return {"hr": functional.interpolate(lr[None], scale_factor=2)[0], "lr": lr}


def run(**settings):
    return gcc.Compressor(
        generator=Clipped(),
        task="super-resolution",
        data=Enlarged(lr=16),
        size=32,
        cost_size=16,
        ndf=4,
        epochs=1,
        pretrain_epochs=0,
        device="cpu",
        **settings,
    )


def test_the_range_of_values_is_checked_on_real_images():
    with pytest.raises(GccError, match=r'value_range = -1..1, and by .* with 0..1: give `value_range="0..1"`'):
        run().check()
    run(value_range="0..1").check()


def test_a_network_that_nobody_has_trained_may_be_far_from_the_images(monkeypatch):
    compressor = run()
    monkeypatch.setattr(type(compressor.context.teacher), "is_trained", False)
    compressor.check()
