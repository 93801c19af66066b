"""One tiny setting per family, for every test that runs a family."""

from contextlib import contextmanager

import pytest

TINY = {
    "pix2pix": {"size": 32, "ngf": 4, "ndf": 4, "prune_width": 4, "epochs": 2, "batch_size": 20, "budget": "40%", "lr_alpha": 0.1},
    "cyclegan": {"size": 32, "ngf": 4, "ndf": 4, "prune_width": 4, "n_blocks": 2, "epochs": 2, "batch_size": 20, "budget": "40%,60%"},
    "sagan": {"size": 32, "ngf": 4, "ndf": 4, "prune_width": 4, "epochs": 2, "batch_size": 20, "budget": "60%", "lr_alpha": 0.1},
    "srgan": {"size": 32, "ngf": 4, "ndf": 4, "prune_width": 4, "pretrain_epochs": 1, "epochs": 2, "batch_size": 20, "budget": "40%"},
}

GENERATOR_RUNS = {"pix2pix": 1, "cyclegan": 3, "sagan": 1, "srgan": 1}
"""Passes of each generator per iteration. CycleGAN's run for the fake images, the cycle and the identity."""


@contextmanager
def small_demo_data():
    """Give the demo data so few samples that a run takes two steps per epoch of 20."""
    from gcc.registry import ARCHITECTURES, DATASETS

    with pytest.MonkeyPatch.context() as patch:
        for arch in ARCHITECTURES.names():
            source = DATASETS.load(ARCHITECTURES.load(arch).demo_source)
            patch.setattr(source, "sizes", {"train": 40, "val": 6, "test": 6})
        yield
