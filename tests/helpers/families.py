"""One tiny setting per family, for every test that runs a family."""

from contextlib import contextmanager

import pytest

from gcc.registry import ARCHITECTURES, DATASETS

SHARED = {"size": 32, "ngf": 4, "ndf": 4, "prune_width": 4, "epochs": 2, "batch_size": 8}
TINY = {
    "pix2pix": SHARED | {"budget": "40%", "lr_alpha": 0.1},
    "cyclegan": SHARED | {"budget": "40%,60%", "n_blocks": 2},
    "sagan": SHARED | {"budget": "60%", "lr_alpha": 0.1},
    "srgan": SHARED | {"budget": "40%", "n_blocks": 4, "pretrain_epochs": 1},
}


def slow_unless_pix2pix(arch):
    """Return the mark of a test that takes seconds for every family: one family runs in the quick tests."""
    return () if arch == "pix2pix" else pytest.mark.slow


one_quick_family = pytest.mark.parametrize("arch", [pytest.param(arch, marks=slow_unless_pix2pix(arch)) for arch in TINY])
"""Runs a test for every family; only Pix2Pix runs in the quick tests."""

GENERATOR_RUNS = {"pix2pix": 1, "cyclegan": 3, "sagan": 1, "srgan": 1}
"""Passes of each generator per iteration. CycleGAN's run for the fake images, the cycle and the identity."""


@contextmanager
def demo_data(train=16, val=6, test=6):
    """Give the demo data of every family this many samples."""
    with pytest.MonkeyPatch.context() as patch:
        for arch in ARCHITECTURES.names():
            source = DATASETS.load(ARCHITECTURES.load(arch).demo_source)
            patch.setattr(source, "sizes", {"train": train, "val": val, "test": test})
        yield
