"""Fixtures that many suites share."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    # Tiny networks gain nothing from a second thread, and suites may run side by side.
    torch.set_num_threads(1)


@pytest.fixture
def small_worlds(monkeypatch):
    """Demo data of so few samples that a run takes two steps per epoch of 20."""
    from gcc.registry import ARCHITECTURES, DATASETS

    for arch in ARCHITECTURES.names():
        source = DATASETS.load(ARCHITECTURES.load(arch).demo_source)
        monkeypatch.setattr(source, "sizes", {"train": 40, "val": 6, "test": 6})


@pytest.fixture
def gradients_stay(monkeypatch):
    """Let a step's gradients be looked at, which are freed otherwise."""
    from gcc.training.mover import Mover

    monkeypatch.setattr(Mover, "release", lambda self: None)
