"""A program of somebody else's works; `.ci/run` type-checks it against the wheel."""

import torch

from gcc import Compressor
from tests.consumer.thumbnails import compressed, progress, teacher, thumbnail, trained
from tests.helpers.families import TINY


def test_it_compresses_loads_and_trains(tmp_path):
    settings = TINY["pix2pix"] | {"epochs": 1}
    metrics = compressed("pix2pix", tmp_path / "run", **settings)
    assert metrics.keys() == {"l1", "psnr"}
    assert thumbnail(tmp_path / "run" / "student", torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)
    assert not trained("pix2pix", **settings).training
    saved = teacher("pix2pix", tmp_path / "run" / "teacher")
    assert [number for number, _ in progress(Compressor(saved, **settings))] == [1, 2]
