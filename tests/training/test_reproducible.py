"""The same seed gives the same run, dropout included, whatever was drawn before it."""

import pytest
import torch

from gcc import Teacher, Trainer
from gcc.training.loss_tree import leaves

# 64 pixels are the fewest at which the U-Net has a level with dropout.
TINY = dict(size=64, ngf=2, ndf=2, prune_width=2, epochs=1, batch_size=2, budget="50%")


def losses_of_second_step(seed, drawn_before):
    torch.manual_seed(drawn_before)
    trainer = Trainer(Teacher.create("pix2pix"), device="cpu", seed=seed, **TINY)
    steps = trainer.steps()
    next(steps)
    return {path: loss.item() for path, loss in leaves(next(steps).losses)}


@pytest.fixture(autouse=True)
def _restored():
    with torch.random.fork_rng(devices=[]):
        yield


def test_a_run_does_not_depend_on_what_was_drawn_before_it():
    assert losses_of_second_step(3, drawn_before=1) == losses_of_second_step(3, drawn_before=2)


def test_another_seed_gives_another_run():
    assert losses_of_second_step(3, drawn_before=1) != losses_of_second_step(4, drawn_before=1)
