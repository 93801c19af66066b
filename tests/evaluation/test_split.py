"""Generators measured on every held-out sample."""

import dataclasses

import pytest
import torch
from PIL import Image
from torch import nn

from gcc import Compressor, Teacher
from gcc.errors import GccError
from gcc.evaluation.collection import EvaluatorCollection
from gcc.evaluation.split import SplitEvaluation, evaluating_generators, load_samples
from gcc.models.pix2pix import Pix2Pix
from gcc.registry import DatasetSource, EvalContext, Extractor, SetEvaluator
from gcc.utils.weights import Weights
from tests.helpers.families import TINY


class Numbered(DatasetSource):
    """Sample i is an image of the value i / 10, whose true image is i / 5."""

    samples = "paired"

    def __init__(self, count):
        self.count, self.asked = count, []

    @classmethod
    def matches(cls, root):
        return False

    def __len__(self):
        return self.count

    def sample(self, index, random):
        assert random is None
        self.asked.append(index)
        return {"A": torch.full((3, 32, 32), index / 10), "B": torch.full((3, 32, 32), index / 5)}

    def check(self):
        return []

    def drop(self, bad):
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


CPU = torch.device("cpu")


def surroundings(store=None):
    return EvalContext(Weights(), CPU, lambda: None, store)


def held_out(source, *names, batch_size=4, store=None):
    # A generator of images of any size that 4 divides.
    architecture = Pix2Pix(dataclasses.replace(Pix2Pix.published(), size=32, generator="resnet"))
    return SplitEvaluation(EvaluatorCollection(names, surroundings(store), paired=True), architecture, source, batch_size, CPU, store)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 9])
def test_every_sample_counts_once(batch_size):
    source, network = Numbered(5), Same()
    judge = held_out(source, "l1", "psnr", batch_size=batch_size)
    figures = judge.measurements({"G": network})
    assert source.asked == [0, *range(5)]  # The first also tells which images there are.
    # |i/10 - i/5| / 2 in [0, 1]
    assert figures["G"]["l1"] == pytest.approx(sum(i / 20 for i in range(5)) / 5, rel=1e-5)
    assert judge.protocols["G"]["l1"] == "5 images, 32x32 pixels"
    assert set(network.modes) == {(False, False)} and network.training and network.drop.training


def test_sampling_restores_each_networks_mode_even_after_an_error():
    first, second = Same().train(), Same().eval()
    with pytest.raises(ZeroDivisionError), evaluating_generators({"a": first, "b": second}):
        assert not first.training and not torch.is_grad_enabled()
        raise ZeroDivisionError
    assert first.training and not second.training and torch.is_grad_enabled()


def test_sampled_stacks_in_order():
    batch = load_samples(Numbered(4), [2, 0], torch.device("cpu"))
    assert batch["A"].shape == (2, 3, 32, 32) and batch["A"][:, 0, 0, 0].tolist() == pytest.approx([0.2, 0.0])


def test_parts_are_evaluated_apart_and_images_of_several_sizes_one_by_one():
    class Sized(Numbered):
        uniform = False

        def sample(self, index, random):
            return {key: value[:, : 32 - 8 * (index % 2)] for key, value in super().sample(index, random).items()}

        def subset(self, index):
            return "odd" if index % 2 else "even"

    figures = held_out(Sized(5), "l1", "psnr").measurements({"G": Same()})["G"]
    assert figures.keys() == {"l1 (even)", "psnr (even)", "l1 (odd)", "psnr (odd)"}
    assert figures["l1 (even)"] == pytest.approx((0 + 0.1 + 0.2) / 3) and figures["l1 (odd)"] == pytest.approx((0.05 + 0.15) / 2)


class Mean(Extractor):
    """The mean colour of an image."""

    name = "mean"
    protocol = "as they are"

    def __init__(self, context):
        self.seen = []

    def __call__(self, images):
        assert images.dtype == torch.uint8
        self.seen.append(len(images))
        return images.double().mean((2, 3))


class Apart(SetEvaluator):
    """How far the means lie apart, and the numbers of images."""

    larger_is_better = False
    extractor = Mean

    def distance(self, made, real):
        return float((made.mean(0) - real.mean(0)).abs().sum()) + 1000 * len(made) + 100_000 * len(real)


class Told(Numbered):
    """Samples of which the second side has fewer, in files that are known."""

    identity = "told"

    def num_unique(self, key):
        return 5 if key == "A" else 3


@pytest.fixture
def apart(monkeypatch):
    monkeypatch.setattr("gcc.evaluation.collection.EVALUATORS.load", {"apart": Apart}.get)


def test_sets_are_compared_by_what_differs_and_real_features_are_computed_once(apart, tmp_path):
    def bytes_of(value):
        return round((min(value, 1) + 1) * 127.5)

    made, real = ([bytes_of(i / n) for i in range(count)] for n, count in ((10, 5), (5, 3)))
    expected = 3 * abs(sum(made) / 5 - sum(real) / 3) + 5_000 + 300_000
    judge = held_out(Told(5), "apart", store=tmp_path)
    seen = judge.evaluators.extractors["mean"].seen
    assert judge.measurements({"G": Same()})["G"]["apart"] == pytest.approx(expected)
    assert sum(seen) == 10
    assert judge.measurements({"G": Same()})["G"]["apart"] == pytest.approx(expected) and sum(seen) == 15
    assert "5 made against 3 real images, 32x32 pixels, as they are, fewer than 2,048" in judge.protocols["G"]["apart"]

    again = held_out(Told(5), "apart", store=tmp_path)
    assert again.measurements({"G": Same()})["G"]["apart"] == pytest.approx(expected)
    assert sum(again.context.evaluators.extractors["mean"].seen) == 5, "the features of real images lie in the store"
    (stored,) = tmp_path.iterdir()
    stored.write_bytes(b"damaged")
    assert held_out(Told(5), "apart", store=tmp_path).measurements({"G": Same()})["G"]["apart"] == pytest.approx(expected)


def test_nothing_is_stored_of_what_cannot_be_told_from_other_data(apart, tmp_path):
    held_out(Numbered(5), "apart", store=tmp_path).measurements({"G": Same()})
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_written_is_done_without(apart, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert held_out(Told(5), "apart", store=tmp_path / "file").measurements({"G": Same()})["G"]


def test_families_without_true_images_refuse_what_compares_with_them():
    with pytest.raises(GccError, match="psnr compares each made image with its true one, and here there is none"):
        EvaluatorCollection(["psnr"], surroundings(), paired=False)


def test_true_images_are_tried_out_one_of_each_size_before_a_run_needs_them():
    class Small(Numbered):
        uniform = False

        def sample(self, index, random):
            return {key: value[:, : 32 - 16 * (index % 2)] for key, value in super().sample(index, random).items()}

    held_out(Numbered(3), "l1", "ssim_y").check()
    with pytest.raises(GccError, match="32x16 pixels is too small for PSNR and SSIM"):
        held_out(Small(3), "l1", "ssim_y").check()
    held_out(Small(3), "l1").check()


def test_every_part_must_have_enough_images_for_its_evaluators():
    class Parted(Numbered):
        def subset(self, index):
            return "one" if index == 0 else "rest"

    held_out(Numbered(3), "fd_effnetlite0").check()
    with pytest.raises(GccError, match="fd_effnetlite0 compares sets of images: expected 2 or more of each, got 1 made and 1 real"):
        held_out(Parted(3), "fd_effnetlite0").check()


def test_validation_images_are_checked_before_the_run(tmp_path):
    for split, size in (("train", 64), ("test", 64), ("val", 8)):
        (tmp_path / split).mkdir()
        for number in range(3):
            Image.new("RGB", (size, size), (number, 0, 0)).save(tmp_path / split / f"{number}.png")
    run = Compressor(Teacher.create("srgan"), tmp_path, **TINY["srgan"] | {"evaluators": "ssim_y", "size": 32, "perceptual": "none"})
    with pytest.raises(GccError, match="too small for PSNR and SSIM"):
        run.check()
