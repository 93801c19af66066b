"""The selector fulfils its contract, chooses what the paper does, and distils from end to end."""

import torch
from gcc_overhaul import Overhaul
from torch import nn

from gcc import Compressor, Teacher
from gcc.testing import check_selector


def test_contract():
    check_selector("overhaul")


def test_the_last_layer_of_every_resolution_before_its_activation():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1),  # 0: 16x16
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, 1, 1),  # 2, the last at 16x16, and its norm
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1),  # 5: alone at 8x8, without a norm
        nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 4, 2, 1),  # 7: back at 16x16
        nn.InstanceNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 3, 3, 1, 1),  # 10: the image
        nn.Tanh(),
    )
    assert Overhaul().select(network, torch.zeros(1, 3, 16, 16), ()) == ["3", "5", "8"]


def test_a_norm_of_something_else_is_not_taken_for_the_convolutions():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)

        def forward(self, image):
            return self.head(self.norm(self.conv(image) + 1))

    assert Overhaul().select(Shifted(), torch.zeros(2, 3, 4, 4), ()) == ["conv"]


def test_compress():
    settings = {"size": 32, "ngf": 4, "prune_width": 4, "ndf": 4, "epochs": 1, "batch_size": 200, "budget": "40%"}
    steps = []
    Compressor(Teacher.create("pix2pix"), selector="overhaul", **settings).run(steps.append)
    losses = steps[-1].losses["student"]
    assert float(losses["distill_G"]) > 0 and float(losses["distill_D"]) > 0
