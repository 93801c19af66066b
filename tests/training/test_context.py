"""The context of a run: its data is prepared before anything counts or reads it."""

import pytest
from PIL import Image

from gcc import Compressor, Teacher
from gcc.data.splits import STORE
from gcc.errors import DataError
from gcc.training.checkpoint import Checkpoints
from gcc.training.session import Session
from gcc.training.teacher_trainer import Trainer
from tests.helpers.families import TINY

SETTINGS = TINY["pix2pix"] | {"batch_size": 2, "epochs": 2, "evaluators": "l1"}


@pytest.fixture
def data(tmp_path):
    """Five training images, of which one is bad, and two test images."""
    for split, count in {"train": 5, "test": 2}.items():
        (tmp_path / "data" / split).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (64, 32), (40 * number, 9, 9)).save(tmp_path / "data" / split / f"{number}.png")
    (tmp_path / "data" / "train" / "1.png").write_bytes(b"no image")
    return tmp_path / "data"


def new_run(data, kind=Compressor, **arguments):
    return kind(Teacher.create("pix2pix"), data, **arguments, **SETTINGS)


@pytest.mark.parametrize("kind", [Compressor, Trainer])
def test_bad_images_are_left_out_without_a_check(data, kind):
    run = new_run(data, kind, skip_bad=True)
    for step in run.steps():
        assert step.total == step.epochs * 2
    assert len(run.context.data.train) == 4
    assert run.context.data.left_out[0].count("1.png") == 1


def test_without_skip_bad_a_bad_image_is_an_error(data):
    with pytest.raises(DataError, match="1.png"):
        new_run(data).check()
    with pytest.raises(DataError, match=r"1\.png.*`skip_bad=True`"):
        new_run(data, cache=True).check()


def test_workers_read_evaluated_images_too(data):
    assert new_run(data, skip_bad=True, workers=2).context.test.workers == 2


def test_images_are_cached_without_a_check(data):
    run = new_run(data, skip_bad=True, cache=True)
    next(run.steps())
    assert any((data / STORE).iterdir())
    assert run.context.data.train.cache_path.parent == data / STORE


def test_a_check_changes_nothing(data):
    run = new_run(data, skip_bad=True)
    prepared = run.context.data
    sources = prepared.train, prepared.test
    run.check()
    run.check()
    assert run.context.data is prepared and (prepared.train, prepared.test) == sources and len(prepared.left_out) == 1


@pytest.mark.parametrize("arguments", [{"skip_bad": True}, {"skip_bad": True, "cache": True}])
def test_a_run_without_its_bad_images_can_be_resumed(data, tmp_path, arguments):
    run = new_run(data, **arguments)
    for number, step in enumerate(run.steps(), 1):
        if number == 3:
            Checkpoints(tmp_path / "run").save(run.checkpoint(step))
            break
    resumed = new_run(data, **arguments)
    assert Session(resumed, tmp_path / "run").resume()
    resumed.check()
    assert resumed.checkpoint(step)["samples"] == 4
    assert next(iter(resumed.steps())).number == step.number + 1
