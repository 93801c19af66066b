"""The memory that a training step would take."""

import numpy as np
import pytest
import torch
from PIL import Image

from gcc import Compressor, Teacher, Trainer
from gcc.training.context import Stream
from gcc.training.memory_estimate import MemoryTracker, bytes_of_step, fake_tensors
from gcc.training.precision import ExecutionConfig
from tests.helpers.custom_toys import CUSTOM, Critic, Translator, settings_of
from tests.helpers.families import TINY, one_quick_family


def test_tensors_that_are_alive_at_the_same_time_are_counted_once():
    with fake_tensors() as tracker:
        first = torch.zeros(1000)
        views = first.view(10, 100).t()
        assert tracker.now == 4000
        second = first + 1
        assert tracker.now == tracker.peak == 8000
        del first, views
        assert tracker.now == 4000
        second.double()
    assert tracker.peak == 4000 + 8000


def test_tensors_that_backward_passes_need_are_counted():
    weight = torch.ones(50, 50, requires_grad=True)
    with fake_tensors() as tracker:
        # The product saves its other factor, and each sigmoid its result.
        values = torch.ones(50, 50) @ weight
        for _ in range(3):
            values = values.sigmoid()
    assert tracker.now == 4 * 50 * 50 * 4


def test_nothing_is_computed():
    with fake_tensors() as tracker:
        torch.ones(1 << 20, 1 << 20)
    assert tracker.peak == 4 << 40


def bytes_of_real_step(run, widths):
    """Return the most bytes that the tensors of a step hold, measured."""
    run.widths, run.context.execution, run.epoch = widths, ExecutionConfig(torch.device("cpu")), 1
    with MemoryTracker() as tracker:
        run.reinitialize()
        for _ in range(2):
            first, second = (next(run.context.batches(stream, 1)) for stream in (Stream.TRAIN, Stream.ALPHA))
            run.cooperate(first, second)
    return tracker.peak


@one_quick_family
def test_the_estimate_of_a_step_is_what_a_real_step_takes(arch):
    run = Compressor(Teacher.create(arch), reference=True, **TINY[arch])
    widths = run.reachable_widths()
    estimate = bytes_of_step(run, widths)
    assert not run.pairs
    measured = bytes_of_real_step(run, widths)
    assert estimate == pytest.approx(measured, rel=0.1)
    weights = sum(
        p.numel()
        for pair in run.pairs.values()
        for net in (*pair.generators.values(), *pair.discriminators.values())
        for p in net.parameters()
    )
    assert estimate > 3 * 4 * weights  # with Adam's moments


@pytest.mark.slow
@pytest.mark.parametrize(("task", "discriminator"), [*((task, None) for task in CUSTOM), ("paired", Critic())])
def test_networks_of_ones_own_are_estimated_too(task, discriminator):
    generator, _, data = CUSTOM[task]
    own = {} if discriminator is None else {"discriminator": discriminator}
    run = Compressor(generator=generator(), task=task, data=data, reference=True, **own, **settings_of(task))
    widths = run.reachable_widths()
    estimate = bytes_of_step(run, widths)
    assert estimate == pytest.approx(bytes_of_real_step(run, widths), rel=0.1)


@pytest.mark.slow
def test_a_saved_teacher_of_ones_own_code_is_estimated_too(tmp_path):
    settings = settings_of("paired")
    Trainer(generator=Translator(), task="paired", **settings).run().save(tmp_path)
    run = Compressor(Teacher.load(tmp_path / "teacher", Translator), reference=True, **settings)
    widths = run.reachable_widths()
    estimate = bytes_of_step(run, widths)
    assert estimate == pytest.approx(bytes_of_real_step(run, widths), rel=0.1)


@pytest.mark.slow
def test_the_estimate_does_not_depend_on_the_size_of_photographs_that_are_cropped(tmp_path):
    random = np.random.default_rng(0)
    estimates = []
    for height in (64, 256):
        folder = tmp_path / str(height) / "train"
        folder.mkdir(parents=True)
        for number in range(10):
            Image.fromarray(random.integers(256, size=(height, height, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        run = Compressor(Teacher.create("srgan"), folder.parent, **TINY["srgan"], perceptual="pixel")
        estimates.append(bytes_of_step(run, run.reachable_widths()))
    assert estimates[0] == estimates[1]


class Writing(Translator):
    """Writes a weight in evaluation mode, as networks do that merge their convolutions."""

    def forward(self, image):
        if not self.training:
            self.tail.weight.data = self.tail.weight.data.clone()
        return super().forward(image)


@pytest.mark.slow
def test_networks_that_write_their_weights_take_what_others_take():
    def estimate(network):
        run = Compressor(generator=network, task="paired", data=CUSTOM["paired"][2], device="cpu", **settings_of("paired"))
        return bytes_of_step(run, run.reachable_widths())

    assert estimate(Writing()) == pytest.approx(estimate(Translator()), rel=0.01)
