"""Generators measured on every held-out sample."""

import dataclasses

import pytest
import torch
from torch import nn

from gcc.evaluation.held_out import evaluate, sampling, shown
from gcc.models.pix2pix import Pix2Pix
from gcc.registry import SampleSource


class Numbered(SampleSource):
    """Sample i is an image of the value i / 10, whose true image is i / 5."""

    samples = "paired"

    def __init__(self, count):
        self.count, self.asked = count, []

    @classmethod
    def recognises(cls, root):
        return False

    def __len__(self):
        return self.count

    def sample(self, index, random):
        assert random is None
        self.asked.append(index)
        return {"A": torch.full((3, 32, 32), index / 10), "B": torch.full((3, 32, 32), index / 5)}

    def check(self):
        return []

    def without(self, bad):
        return self


class Same(nn.Module):
    def __init__(self):
        super().__init__()
        self.modes = []
        self.weight = nn.Parameter(torch.ones(1))
        self.drop = nn.Dropout(0.5)

    def forward(self, image):
        self.modes.append((self.training, torch.is_grad_enabled()))
        return self.drop(image * self.weight)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 9])
def test_every_sample_counts_once(batch_size):
    architecture = Pix2Pix(dataclasses.replace(Pix2Pix.published(), size=32))
    source, network = Numbered(5), Same()
    figures = evaluate(architecture, {"G": network}, source, batch_size, torch.device("cpu"))
    assert source.asked == [0, 1, 2, 3, 4]
    # |i/10 - i/5| / 2 in [0, 1]
    assert figures["G"]["l1"] == pytest.approx(sum(i / 20 for i in range(5)) / 5, rel=1e-5)
    assert set(network.modes) == {(False, False)} and network.training and network.drop.training


def test_sampling_restores_each_networks_mode_even_after_an_error():
    first, second = Same().train(), Same().eval()
    with pytest.raises(ZeroDivisionError), sampling({"a": first, "b": second}):
        assert not first.training and not torch.is_grad_enabled()
        raise ZeroDivisionError
    assert first.training and not second.training and torch.is_grad_enabled()


def test_sampled_stacks_in_order():
    batch = shown(Numbered(4), [2, 0], torch.device("cpu"))
    assert batch["A"].shape == (2, 3, 32, 32) and batch["A"][:, 0, 0, 0].tolist() == pytest.approx([0.2, 0.0])


def test_parts_are_evaluated_apart_and_images_of_several_sizes_one_by_one():
    class Sized(Numbered):
        uniform = False

        def sample(self, index, random):
            return {key: value[:, : 32 - 8 * (index % 2)] for key, value in super().sample(index, random).items()}

        def part(self, index):
            return "odd" if index % 2 else "even"

    architecture = Pix2Pix(dataclasses.replace(Pix2Pix.published(), size=32))
    figures = evaluate(architecture, {"G": Same()}, Sized(5), 4, torch.device("cpu"))["G"]
    assert figures.keys() == {"l1 (even)", "psnr (even)", "l1 (odd)", "psnr (odd)"}
    assert figures["l1 (even)"] == pytest.approx((0 + 0.1 + 0.2) / 3) and figures["l1 (odd)"] == pytest.approx((0.05 + 0.15) / 2)
