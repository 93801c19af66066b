import numpy as np
import torch

from gcc.data.noise import WithNoise
from tests.data.test_image_files import Words


def draw(random):
    return torch.from_numpy(random.standard_normal(3, dtype=np.float32))


def test_noise_is_drawn_with_the_sample_and_for_a_held_out_one_from_its_index():
    source = WithNoise(Words("one", "two"), draw)
    held_out = source.sample(1, None)
    assert held_out["word"] == "two" and torch.equal(held_out["z"], draw(np.random.default_rng(1)))
    assert torch.equal(source.preview(1)["z"], held_out["z"]) and not torch.equal(source.sample(0, None)["z"], held_out["z"])
    assert torch.equal(source.sample(0, np.random.default_rng(7))["z"], draw(np.random.default_rng(7)))


def test_nothing_is_added_where_generators_take_images():
    assert WithNoise(Words("one"), lambda random: None).sample(0, None) == {"word": "one"}


def test_all_else_is_the_source_s():
    source = WithNoise(Words("bad", "one"), draw)
    assert (len(source), source.note, source.uniform, source.subset(0)) == (2, "val serves as test", True, "")
    (fault,) = source.check()
    assert fault[0] == 0 and source.drop({0}).preview(0)["word"] == "one"
