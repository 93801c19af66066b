"""Generators measured on every held-out sample."""

import dataclasses
import json

import pytest
import torch
from PIL import Image
from torch import nn

from gcc import Compressor, Teacher
from gcc.errors import GccError
from gcc.evaluation.collection import EvaluatorCollection
from gcc.evaluation.split import SplitEvaluation, evaluating_generators, load_samples
from gcc.models.pix2pix import Pix2Pix
from gcc.registry import DatasetSource, EvalContext, Extractor, ImageEvaluator, MetricKey, SetEvaluator
from gcc.utils.distributed import Ranks
from gcc.utils.weights import Weights
from tests.helpers.families import TINY


class Numbered(DatasetSource):
    """Sample i is an image of the value i / 10 with a real counterpart of the value i / 5."""

    samples = "paired"

    def __init__(self, count):
        self.count, self.read = count, []

    @classmethod
    def matches(cls, root):
        return False

    def __len__(self):
        return self.count

    def sample(self, index, random):
        assert random is None
        self.read.append(index)
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


def context(store=None):
    return EvalContext(Weights(), CPU, lambda: None, store)


def split_evaluation(source, *names, batch_size=4, store=None, **options):
    # A generator for images of any size that is a multiple of 4.
    architecture = Pix2Pix(dataclasses.replace(Pix2Pix.published(), size=32, generator="resnet"))
    return SplitEvaluation(EvaluatorCollection(names, context(store), paired=True), architecture, source, batch_size, **options)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 9])
def test_every_sample_counts_once(batch_size):
    source, network = Numbered(5), Same()
    evaluation = split_evaluation(source, "l1", "psnr", batch_size=batch_size)
    metrics = evaluation.evaluate({"G": network})
    assert source.read == [0, *range(5)]  # The first one is also read for its keys.
    # |i/10 - i/5| / 2 in [0, 1]
    assert metrics["G"]["l1"] == pytest.approx(sum(i / 20 for i in range(5)) / 5, rel=1e-5)
    assert evaluation.protocols["G"]["l1"] == "5 images, 32x32 pixels"
    assert set(network.modes) == {(False, False)} and network.training and network.drop.training


def test_workers_read_the_same_samples():
    source = Numbered(5)
    evaluation = split_evaluation(source, "l1", batch_size=2, workers=2)
    assert evaluation.evaluate({"G": Same()}) == split_evaluation(Numbered(5), "l1", batch_size=2).evaluate({"G": Same()})
    assert source.read == [0]  # In this process, the first one is read for its keys.


class JsonRanks(Ranks):
    """A single process that receives its own broadcasts as JSON, as the other processes of a run do."""

    def broadcast_object(self, value):
        return json.loads(json.dumps(value))


def test_metrics_of_other_processes_have_keys_too():
    evaluation = split_evaluation(Numbered(5), "psnr", ranks=JsonRanks())
    (key,) = evaluation.evaluate({"G": Same()})["G"]
    (same,) = evaluation.protocols["G"]
    assert key == same == "psnr" and key.evaluator == same.evaluator == "psnr"


def test_evaluating_generators_restores_each_networks_mode_even_after_an_error():
    first, second = Same().train(), Same().eval()
    with pytest.raises(ZeroDivisionError), evaluating_generators({"a": first, "b": second}):
        assert not first.training and not torch.is_grad_enabled()
        raise ZeroDivisionError
    assert first.training and not second.training and torch.is_grad_enabled()


def test_samples_are_stacked_in_order():
    batch = load_samples(Numbered(4), lambda random: None, [2, 0], CPU)
    assert batch["A"].shape == (2, 3, 32, 32) and batch["A"][:, 0, 0, 0].tolist() == pytest.approx([0.2, 0.0])


def test_subsets_are_evaluated_separately_and_images_of_several_sizes_one_by_one():
    class Sized(Numbered):
        uniform = False

        def sample(self, index, random):
            return {key: value[:, : 32 - 8 * (index % 2)] for key, value in super().sample(index, random).items()}

        def subset(self, index):
            return "odd" if index % 2 else "even"

    evaluation = split_evaluation(Sized(5), "l1", "psnr")
    metrics = evaluation.evaluate({"G": Same()})["G"]
    assert {(key.evaluator, key.subset) for key in metrics} == {(name, subset) for name in ("l1", "psnr") for subset in ("even", "odd")}
    assert evaluation.protocols["G"][MetricKey("l1", "odd")] == "2 images, 32x24 pixels"
    assert metrics.keys() == {"l1 (even)", "psnr (even)", "l1 (odd)", "psnr (odd)"}
    assert metrics["l1 (even)"] == pytest.approx((0 + 0.1 + 0.2) / 3) and metrics["l1 (odd)"] == pytest.approx((0.05 + 0.15) / 2)


class Mean(Extractor):
    """The mean colour of an image."""

    name = "mean"
    protocol = "as they are"

    def __init__(self, context):
        self.batches = []

    def __call__(self, images):
        assert images.dtype == torch.uint8
        self.batches.append(len(images))
        return images.double().mean((2, 3))


class MeanDistance(SetEvaluator):
    """The distance of the means, plus the numbers of images."""

    larger_is_better = False
    extractor = Mean

    def distance(self, fake, real):
        return float((fake.mean(0) - real.mean(0)).abs().sum()) + 1000 * len(fake) + 100_000 * len(real)


class Identified(Numbered):
    """Samples with fewer real images than inputs, with an identity."""

    identity = "numbers"

    def num_unique(self, key):
        return 5 if key == "A" else 3


@pytest.fixture
def mean_distance(monkeypatch):
    monkeypatch.setattr("gcc.evaluation.collection.EVALUATORS.load", {"mean_distance": MeanDistance}.get)


def test_sets_are_compared_by_their_unique_images_and_real_features_are_computed_once(mean_distance, tmp_path):
    def bytes_of(value):
        return round((min(value, 1) + 1) * 127.5)

    fake, real = ([bytes_of(i / n) for i in range(count)] for n, count in ((10, 5), (5, 3)))
    expected = 3 * abs(sum(fake) / 5 - sum(real) / 3) + 5_000 + 300_000
    evaluation = split_evaluation(Identified(5), "mean_distance", store=tmp_path)
    batches = evaluation.evaluators.extractors["mean"].batches
    assert evaluation.evaluate({"G": Same()})["G"]["mean_distance"] == pytest.approx(expected)
    assert sum(batches) == 10
    assert evaluation.evaluate({"G": Same()})["G"]["mean_distance"] == pytest.approx(expected) and sum(batches) == 15
    assert "5 fake against 3 real images, 32x32 pixels, as they are, fewer than 2,048" in evaluation.protocols["G"]["mean_distance"]

    again = split_evaluation(Identified(5), "mean_distance", store=tmp_path)
    assert again.evaluate({"G": Same()})["G"]["mean_distance"] == pytest.approx(expected)
    assert sum(again.evaluators.extractors["mean"].batches) == 5, "the features of real images come from the store"
    (stored,) = tmp_path.iterdir()
    stored.write_bytes(b"damaged")
    assert split_evaluation(Identified(5), "mean_distance", store=tmp_path).evaluate({"G": Same()})["G"]["mean_distance"] == pytest.approx(
        expected
    )


class Brightness(ImageEvaluator):
    """The mean of the images, in percent of white."""

    larger_is_better = True
    reports_real = True
    unit = "%"
    protocol = "brightness"

    def __init__(self, context):
        self.images = []

    def compare(self, sample):
        self.images.append(len(sample.fake))
        return 50 * (sample.fake + 1).mean((1, 2, 3))


def test_the_metric_of_real_images_is_computed_once_and_reported(monkeypatch, tmp_path):
    monkeypatch.setattr("gcc.evaluation.collection.EVALUATORS.load", {"brightness": Brightness}.get)
    for images in (5 + 5, 5):
        evaluation = split_evaluation(Identified(5), "brightness", store=tmp_path)
        assert evaluation.evaluate({"G": Same()})["G"]["brightness"] == pytest.approx(60)
        # Three of the five real images are different: 0, 0.2 and 0.4.
        assert evaluation.protocols["G"]["brightness"] == "5 images, 32x32 pixels, brightness, the real images reach 60.0 %"
        assert sum(evaluation.evaluators.by_name["brightness"].images) == images


def test_nothing_is_stored_for_data_without_an_identity(mean_distance, tmp_path):
    split_evaluation(Numbered(5), "mean_distance", store=tmp_path).evaluate({"G": Same()})
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_written_does_not_stop_the_evaluation(mean_distance, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert split_evaluation(Identified(5), "mean_distance", store=tmp_path / "file").evaluate({"G": Same()})["G"]


def test_families_without_counterparts_refuse_evaluators_of_image_pairs():
    with pytest.raises(GccError, match="psnr compares each fake image with its real counterpart, and this family has none"):
        EvaluatorCollection(["psnr"], context(), paired=False)


def test_one_real_image_of_each_size_is_checked_before_the_run():
    class Small(Numbered):
        uniform = False

        def sample(self, index, random):
            return {key: value[:, : 32 - 16 * (index % 2)] for key, value in super().sample(index, random).items()}

    split_evaluation(Numbered(3), "l1", "ssim_y").check()
    with pytest.raises(GccError, match="32x16 pixels is too small for PSNR and SSIM"):
        split_evaluation(Small(3), "l1", "ssim_y").check()
    split_evaluation(Small(3), "l1").check()


def test_every_subset_must_have_enough_images_for_its_evaluators():
    class Split(Numbered):
        def subset(self, index):
            return "one" if index == 0 else "rest"

    split_evaluation(Numbered(3), "fd_effnetlite0").check()
    with pytest.raises(GccError, match="fd_effnetlite0 compares sets of images: expected 2 or more of each, got 1 fake and 1 real"):
        split_evaluation(Split(3), "fd_effnetlite0").check()


def test_validation_images_are_checked_before_the_run(tmp_path):
    for split, size in (("train", 64), ("test", 64), ("val", 8)):
        (tmp_path / split).mkdir()
        for number in range(3):
            Image.new("RGB", (size, size), (number, 0, 0)).save(tmp_path / split / f"{number}.png")
    run = Compressor(Teacher.create("srgan"), tmp_path, **TINY["srgan"] | {"evaluators": "ssim_y", "size": 32, "perceptual": "none"})
    with pytest.raises(GccError, match="too small for PSNR and SSIM"):
        run.check()


def test_generators_are_evaluated_in_their_precision_whatever_the_caller_has_enabled():
    image = torch.randn(1, 3, 4, 4)
    convolution = nn.Conv2d(3, 3, 1)
    with torch.autocast("cpu", torch.bfloat16), evaluating_generators({"generator": convolution}):
        assert convolution(image).dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16):
            assert convolution(image).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        with evaluating_generators({}):
            pass
        assert convolution(image).dtype == torch.bfloat16


def test_cudnn_is_not_tuned_to_every_size_that_is_evaluated(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with evaluating_generators({}):
        assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark
