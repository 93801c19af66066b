"""A generator with images in another range than the one that was given is refused before it is trained."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import gcc
from gcc.errors import GccError
from tests.helpers.custom_toys import Images, Scaling


class Clipped(Scaling):
    """Enlarges images in [0, 1]; other values are cut off."""

    def __init__(self):
        super().__init__(1)

    def forward(self, image):
        return functional.interpolate(super().forward(image.clamp(0, 1)), scale_factor=2)


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


class Negative(nn.Module):
    """Returns the negatives of images whose black and white are two values; other values are cut off."""

    def __init__(self, low, high):
        super().__init__()
        self.first, self.second, self.low, self.high = nn.Conv2d(3, 6, 1, bias=False), nn.Conv2d(6, 3, 1, bias=False), low, high
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(3).repeat(2, 1)[:, :, None, None])
            self.second.weight.copy_(torch.eye(3).repeat(1, 2)[:, :, None, None] / 2)

    def forward(self, image):
        return self.low + self.high - self.second(self.first(image.clamp(self.low, self.high)))


class Bright(nn.Module):
    """Returns images in [-1, 1] of all brightnesses, whatever the brightness of the input."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.InstanceNorm2d(6), nn.Conv2d(6, 3, 1)

    def forward(self, image):
        return torch.tanh(self.second(self.norm(self.first(image))))


class Dark(Images):
    """Images that use a sixteenth of their values."""

    def __getitem__(self, index):
        return {key: (image + 1) / 16 - 1 for key, image in super().__getitem__(index).items()}


def translating(generator, data, **settings):
    return gcc.Compressor(generator=generator, task="paired", data=data, size=32, ndf=4, epochs=1, device="cpu", **settings)


@pytest.mark.parametrize("value_range", ["0..1", "-1..1"])
def test_dark_images_do_not_make_a_wider_range_right(value_range):
    torch.manual_seed(0)
    translating(Bright(), Dark(A=32, B=32), value_range=value_range).check()


class Negatives(Images):
    """Pairs of an image and its negative."""

    def __getitem__(self, index):
        image = super().__getitem__(index)["A"]
        return {"A": image, "B": -image}


@pytest.mark.parametrize(
    ("bounds", "given", "right"), [((0, 255), "-1..1", "0..255"), ((-1, 1), "0..255", "-1..1"), ((-1, 1), "0..1", "-1..1")]
)
def test_the_range_of_each_kind_of_network_is_found(bounds, given, right):
    with pytest.raises(GccError, match=f'give `value_range="{right}"`'):
        translating(Negative(*bounds), Negatives(A=32), value_range=given).check()


def test_the_message_has_what_is_known_of_the_levels_of_the_images(monkeypatch):
    monkeypatch.setattr("gcc.data.splits.describe_unused_levels", lambda images: ["that leaves 10 of 256 grey levels"])
    with pytest.raises(GccError, match=r"instead \(that leaves 10 of 256 grey levels\)$"):
        translating(Negative(0, 1), Negatives(A=32)).check()
