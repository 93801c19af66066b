"""The small segmenter is trained once, reports its score, and distinguishes good images from bad ones."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from gcc.data.demo.streets import Streets
from gcc.data.images import to_bytes
from gcc.errors import DataError, GccError
from gcc.evaluation import small_segmenter
from gcc.evaluation.collection import EvaluatorCollection
from gcc.evaluation.small_segmenter import SegmenterMIoU, SmallUNet
from gcc.registry import EvalSample
from gcc.utils.distributed import Ranks
from tests.helpers.evaluators import context, eval_sample, metric


class Lasting(Streets):
    sizes = {"train": 60, "val": 20, "test": 12}

    @property
    def identity(self):
        return f"streets {self.split}"


def ready(evaluation_context):
    evaluator = SegmenterMIoU(evaluation_context)
    assert evaluator.classes
    return evaluator


def source(split="train", size=32):
    return Lasting(None, split, SimpleNamespace(size=size))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def trained(store):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_segmenter, "STEPS", 80)
        yield ready(context(source(), store))


def held_out():
    samples = [source("test").sample(index, None) for index in range(12)]
    return {key: torch.stack([sample[key] for sample in samples]) for key in ("A", "B")}


def test_real_photographs_score_higher_than_worse_ones(trained):
    batch = held_out()
    noise = torch.randn(batch["B"].shape, generator=torch.Generator().manual_seed(0))
    images = [batch["B"], batch["B"] + 0.5 * noise, batch["B"].flip(0), torch.zeros_like(noise)]
    real, noisy, another, grey = (metric(trained, EvalSample(batch, fake, "A", "B")) for fake in images)
    assert real > 40 and real > 1.2 * noisy and real > 1.5 * another > 0 and noisy > grey
    assert real == pytest.approx(trained.segmenter.score, abs=15)


def test_the_protocol_reports_the_score(trained):
    assert trained.protocol.startswith(
        "segmenter: a small U-Net trained on 54 real pairs, 10 classes; on 6 real photographs held out of the training"
    )
    assert trained.protocol.endswith(f"it reaches {trained.segmenter.score:.1f} %") and trained.classes == 10


def test_the_score_on_held_out_pairs_by_loops(trained):
    intersections, unions = [0] * 10, [0] * 10
    for index in range(0, 60, 10):
        sample = source().sample(index, None)
        predicted = trained.segment(sample["B"][None], 32, 32)[0].flatten().tolist()
        labels = trained.truth(eval_sample(sample["B"][None], A=sample["A"][None]))[0].flatten().tolist()
        for label, answer in zip(labels, predicted, strict=True):
            for one in {label, answer}:
                unions[one] += 1
            intersections[label] += label == answer
    assert trained.segmenter.score == pytest.approx(
        100 * sum(i / t for i, t in zip(intersections, unions, strict=True) if t) / sum(map(bool, unions))
    )


def test_held_out_pairs_are_not_trained_on(monkeypatch):
    photos_trained_on = []
    monkeypatch.setattr(small_segmenter, "_train", lambda network, photos, labels, device: photos_trained_on.extend(photos))
    ready(context(source()))
    held = [to_bytes(source().sample(index, None)["B"]) for index in range(0, 60, 10)]
    assert len(photos_trained_on) == 54 and not any(photo.equal(other) for photo in held for other in photos_trained_on)


def test_it_is_stored_for_later_runs_and_otherwise_trained(trained, store, monkeypatch, capsys):
    (stored,) = store.glob("judge-*.safetensors")
    monkeypatch.setattr(small_segmenter, "STEPS", 80)
    monkeypatch.setattr(small_segmenter, "train_segmenter", lambda *_: pytest.fail("trained again"))
    again = ready(context(source(), store))
    photos = held_out()["B"]
    assert again.protocol == trained.protocol and again.segment(photos, 32, 32).equal(trained.segment(photos, 32, 32))
    assert capsys.readouterr() == ("", "")

    def fresh(*_):
        raise RuntimeError("trains")

    monkeypatch.setattr(small_segmenter, "train_segmenter", fresh)
    monkeypatch.setattr(Streets, "sizes", Lasting.sizes)
    for other in (source("val"), source(size=64), Streets(None, "train", SimpleNamespace(size=32))):
        with pytest.raises(RuntimeError, match="trains"):
            ready(context(other, store))
    with pytest.raises(RuntimeError, match="trains"):
        ready(context(source()))
    assert list(store.iterdir()) == [stored]


def test_training_is_repeatable_says_so_once_and_leaves_random_numbers_alone(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(small_segmenter, "STEPS", 3)
    before = torch.get_rng_state()
    one = ready(context(source(), tmp_path / "a"))
    with torch.no_grad():
        other = ready(context(source(), tmp_path / "b"))
    assert torch.get_rng_state().equal(before)
    assert one.protocol == other.protocol
    for name, tensor in one.segmenter.network.state_dict().items():
        assert tensor.equal(other.segmenter.network.state_dict()[name])
    line = "training a segmenter for miou_small on 54 real pairs, 10 classes, 3 steps\n"
    assert capsys.readouterr() == ("", 2 * line) and not one.segmenter.network.training
    # A source without an identity is not stored.
    ready(context(Streets(None, "val", SimpleNamespace(size=32)), tmp_path / "c"))
    assert not (tmp_path / "c").exists()


class Other(Ranks):
    """A process that gets what another one has computed."""

    def compute_on_main_process(self, function):
        return self.received


def test_a_process_that_is_not_the_main_one_gets_the_segmenter(trained, monkeypatch):
    monkeypatch.setattr(small_segmenter, "train_segmenter", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr(Other, "received", trained.segmenter.to_tensors(), raising=False)
    evaluators = EvaluatorCollection(["miou_small"], context(source()), paired=True)
    evaluators.prepare(Other(1, 2))
    (evaluator,) = evaluators.by_name.values()
    photos = held_out()["B"]
    assert evaluator.protocol == trained.protocol and evaluator.segment(photos, 32, 32).equal(trained.segment(photos, 32, 32))
    monkeypatch.delattr(Other, "received")
    evaluators.prepare(Other(1, 2))


def test_large_images_are_cropped_for_training(monkeypatch):
    shapes = []
    monkeypatch.setattr(small_segmenter, "STEPS", 2)
    monkeypatch.setattr(SmallUNet, "forward", lambda self, x, run=SmallUNet.forward: shapes.append(x.shape) or run(self, x))
    monkeypatch.setattr(Lasting, "sizes", {"train": 11})
    evaluator = ready(context(source(size=96)))
    assert shapes == [(16, 3, 64, 64)] * 2 + [(1, 3, 96, 96)] * 2
    assert evaluator.segment(torch.zeros(1, 3, 70, 51), 70, 51).shape == (1, 70, 51)


def test_the_size_of_the_network():
    assert 110_000 < sum(parameter.numel() for parameter in SmallUNet(17).parameters()) < 125_000


def test_the_other_direction_is_refused(trained):
    batch = held_out()
    with pytest.raises(GccError, match="A contains the label maps here, and the images are generated from B; leave it out, or reverse"):
        trained.compare(EvalSample(batch, batch["A"], "B", "A"))


def test_the_other_direction_is_refused_before_a_segmenter_is_trained(monkeypatch):
    monkeypatch.setattr(small_segmenter, "train_segmenter", lambda *_: pytest.fail("trained"))
    batch = held_out()
    SegmenterMIoU(context(source())).check(EvalSample(batch, batch["B"], "A", "B"), 12, 12)
    with pytest.raises(GccError, match="reverse the direction"):
        SegmenterMIoU(context(source())).check(EvalSample(batch, batch["A"], "B", "A"), 12, 12)


def test_a_damaged_file_is_replaced(trained, store, tmp_path, monkeypatch):
    (stored,) = store.glob("judge-*.safetensors")
    monkeypatch.setattr(small_segmenter, "STEPS", 80)
    tensors = load_file(stored)
    for damage in (lambda file: file.write_bytes(b"no tensors"), lambda file: save_file({"key": tensors["key"]}, file)):
        damage(tmp_path / stored.name)
        again = SegmenterMIoU(context(source(), tmp_path))
        monkeypatch.setattr(small_segmenter, "train_segmenter", lambda *_: trained.segmenter)
        assert again.protocol == trained.protocol
        assert load_file(tmp_path / stored.name).keys() == tensors.keys()


def test_a_single_pair_is_too_few(monkeypatch):
    monkeypatch.setattr(Lasting, "sizes", {"train": 1})
    with pytest.raises(DataError, match="this data has only one pair"):
        ready(context(source()))


def test_a_store_that_cannot_be_written_does_not_stop_the_evaluation(monkeypatch, tmp_path):
    monkeypatch.setattr(small_segmenter, "STEPS", 2)
    (tmp_path / "file").write_text("in the way")
    assert ready(context(source(), tmp_path / "file")).classes
