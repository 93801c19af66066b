"""Fixtures that many suites share."""

import os
import random
import signal

import pytest
import torch
from PIL import Image

from tests.helpers.families import demo_data

if not os.environ.get("GCC_TEST_CUDA"):
    # Tests compare bits, which `--device auto` would compute on a GPU in half precision. Programs that tests start inherit this.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session", autouse=True)
def _one_thread_and_wide_output():
    # Tiny networks gain nothing from a second thread, and suites may run side by side.
    torch.set_num_threads(1)
    # pytest-xdist sets it, and tables would be cut to it.
    os.environ.pop("COLUMNS", None)


@pytest.fixture(scope="module", autouse=True)
def small_demo_data():
    """The demo data has so few samples that an epoch of a tiny run takes two steps."""
    with demo_data():
        yield


@pytest.fixture(scope="session")
def few_pairs(tmp_path_factory):
    """A folder of pairs of images of 32 pixels, which take a process less time to read than the demo data does to be drawn."""
    folder = tmp_path_factory.mktemp("pairs")
    chance = random.Random(1)
    for split, count in {"train": 40, "val": 4, "test": 4}.items():
        (folder / split).mkdir()
        for number in range(count):
            Image.frombytes("RGB", (64, 32), chance.randbytes(64 * 32 * 3)).save(folder / split / f"{number}.png")
    return folder


@pytest.fixture
def gradients_stay(monkeypatch):
    """Let a step's gradients be looked at, which are freed otherwise."""
    from gcc.training.optimizer import ScopedOptimizer

    monkeypatch.setattr(ScopedOptimizer, "zero_grad", lambda self: None)


@pytest.fixture
def handled_signals():
    """Handle Ctrl-C, which background jobs of a shell ignore, and the end of the terminal, which `nohup` ignores; so do new processes."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
