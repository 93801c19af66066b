"""Tiny generators with known channel groups; they have the part of an architecture that pruning uses."""

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from gcc.registry.types import Width


class Toy:
    """The part of an architecture that pruning uses: widths, generator and example."""

    shape = (1, 3, 8, 8)

    def __init__(self, build, **widths):
        self.build = build
        self.named = widths

    def widths(self, base):
        return {name: Width(channels, 1) for name, channels in self.named.items()}

    def full_widths(self, base):
        return dict(self.named)

    has_one_width = False

    def groups(self, base):
        return None

    def readable(self, generator):
        return generator

    def build_generator(self, widths):
        return self.build(widths)

    def example_input(self):
        return torch.zeros(self.shape)


class Skip(nn.Module):
    """Concatenates `a` and `b`, which follows `a`."""

    def __init__(self, w):
        super().__init__()
        self.a = nn.Conv2d(3, w["a"], 3, padding=1)
        self.b = nn.Conv2d(w["a"], w["b"], 3, padding=1)
        self.norm = nn.BatchNorm2d(w["a"] + w["b"])
        self.out = nn.Conv2d(w["a"] + w["b"], 3, 1)

    def forward(self, x):
        a = self.a(x)
        return self.out(self.norm(torch.cat([a, self.b(a)], 1)))


class Residual(nn.Module):
    """A trunk that a head and two blocks are summed into, and an inner width of each block."""

    def __init__(self, w):
        super().__init__()
        self.head = nn.Conv2d(3, w["trunk"], 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(w["trunk"], w[f"inner{k}"], 3, padding=1),
                nn.BatchNorm2d(w[f"inner{k}"]),
                nn.ReLU(),
                nn.Conv2d(w[f"inner{k}"], w["trunk"], 3, padding=1),
                nn.BatchNorm2d(w["trunk"]),
            )
            for k in range(2)
        )
        self.out = nn.Conv2d(w["trunk"], 3, 1)

    def forward(self, x):
        x = self.head(x)
        for block in self.blocks:
            x = x + block(x)
        return self.out(x)


class Attention(nn.Module):
    """Self-attention with queries of c // 8 channels, all convolutions under spectral norm."""

    def __init__(self, w):
        super().__init__()
        c = w["c"]
        self.head = spectral_norm(nn.Conv2d(3, c, 3, padding=1))
        self.query = spectral_norm(nn.Conv2d(c, c // 8, 1))
        self.key = spectral_norm(nn.Conv2d(c, c // 8, 1))
        self.value = spectral_norm(nn.Conv2d(c, c, 1))
        self.out = nn.Conv2d(c, 3, 1)

    def forward(self, x):
        x = self.head(x)
        n, c, h, w = x.shape
        query, key, value = (layer(x).view(n, -1, h * w) for layer in (self.query, self.key, self.value))
        weights = torch.softmax(torch.bmm(query.permute(0, 2, 1), key), -1)
        return self.out(x + torch.bmm(value, weights.permute(0, 2, 1)).view(n, c, h, w))


def chain(w):
    return nn.Sequential(nn.Conv2d(3, w["a"], 3), nn.BatchNorm2d(w["a"]), nn.ReLU(), nn.Conv2d(w["a"], w["b"], 3), nn.Conv2d(w["b"], 3, 3))


def transposed(w):
    return nn.Sequential(
        nn.ConvTranspose2d(3, w["a"], 4, 2, 1), nn.InstanceNorm2d(w["a"], affine=True), nn.ConvTranspose2d(w["a"], 3, 4, 2, 1)
    )


def separable(w):
    return nn.Sequential(
        nn.Conv2d(3, w["a"], 3),
        nn.Conv2d(w["a"], w["a"], 3, groups=w["a"]),
        nn.BatchNorm2d(w["a"]),
        nn.Conv2d(w["a"], w["b"], 1),
        nn.Conv2d(w["b"], 3, 1),
    )


def shuffled(w):
    return nn.Sequential(nn.Conv2d(3, 4 * w["a"], 3), nn.PixelShuffle(2), nn.PReLU(), nn.Conv2d(w["a"], 3, 3))


def linear(w):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(192, 4 * w["a"]), nn.Unflatten(1, (w["a"], 2, 2)), nn.BatchNorm2d(w["a"]), nn.Conv2d(w["a"], 3, 1)
    )


def grouped(w):
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, w["a"], 3, groups=2), nn.GroupNorm(2, w["a"]), nn.Conv2d(w["a"], 3, 1))


TOYS = {
    "chain": Toy(chain, a=16, b=24),
    "transposed": Toy(transposed, a=16),
    "separable": Toy(separable, a=16, b=16),
    "shuffled": Toy(shuffled, a=16),
    "linear": Toy(linear, a=16),
    "grouped": Toy(grouped, a=16),
    "skip": Toy(Skip, a=16, b=16),
    "residual": Toy(Residual, trunk=16, inner0=16, inner1=24),
    "attention": Toy(Attention, c=16),
}
