"""Memory that work would take."""

import numpy as np
import pytest
import torch
from PIL import Image

from gcc import Compressor, Teacher
from gcc.training.context import Stream
from gcc.training.memory_estimate import MemoryTracker, bytes_of_step, fake_tensors
from gcc.training.precision import ExecutionConfig
from gcc.utils.memory import _free_in_container, free_memory
from tests.helpers.families import TINY


def test_what_lives_at_the_same_time_is_counted_once():
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


def test_what_backward_passes_need_is_counted():
    weight = torch.ones(50, 50, requires_grad=True)
    with fake_tensors() as tracker:
        # The product keeps what the weight is multiplied with, and each sigmoid its result.
        made = torch.ones(50, 50) @ weight
        for _ in range(3):
            made = made.sigmoid()
    assert tracker.now == 4 * 50 * 50 * 4


def test_nothing_is_computed():
    with fake_tensors() as tracker:
        torch.ones(1 << 20, 1 << 20)
    assert tracker.peak == 4 << 40


@pytest.mark.parametrize("arch", TINY)
def test_an_imagined_iteration_takes_what_a_real_one_takes(arch, small_worlds):
    run = Compressor(Teacher.create(arch), reference=True, **TINY[arch])
    widths = run.reachable_widths()
    told = bytes_of_step(run, widths)
    assert not run.pairs
    run.widths, run.context.execution = widths, ExecutionConfig(torch.device("cpu"))
    run.epoch = 1
    with MemoryTracker() as tracker:
        run.reinitialize()
        for _ in range(2):
            first, second = (next(run.context.batches(stream, 1)) for stream in (Stream.TRAIN, Stream.ALPHA))
            run.cooperate(first, second)
    assert told == pytest.approx(tracker.peak, rel=0.1)
    weights = sum(
        p.numel()
        for side in run.pairs.values()
        for net in (*side.generators.values(), *side.discriminators.values())
        for p in net.parameters()
    )
    assert told > 3 * 4 * weights  # with Adam's moments


def test_crops_of_large_photographs_take_what_crops_take(tmp_path):
    random = np.random.default_rng(0)
    told = []
    for side in (64, 256):
        folder = tmp_path / str(side) / "train"
        folder.mkdir(parents=True)
        for number in range(10):
            Image.fromarray(random.integers(256, size=(side, side, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        run = Compressor(Teacher.create("srgan"), folder.parent, **TINY["srgan"], perceptual="pixel")
        told.append(bytes_of_step(run, run.reachable_widths()))
    assert told[0] == told[1]


def test_a_container_has_what_is_left_of_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("gcc.utils.memory.CONTROL_GROUP", tmp_path)
    assert _free_in_container() is None
    (tmp_path / "memory.current").write_text("300\n")
    (tmp_path / "memory.stat").write_text("anon 60\nfile 240\ninactive_file 20\nactive_file 5\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert _free_in_container() is None
    (tmp_path / "memory.max").write_text("1000\n")
    assert _free_in_container() == free_memory(torch.device("cpu")) == 725
