"""Tiny generators without widths, one for each construct that pruning follows, with their channel groups written by hand."""

import math
import warnings

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations


class Composed(nn.Module):
    """A module of named layers and the function that runs them."""

    def __init__(self, run, **layers):
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.run(self, x)


def conv(before, after, kernel=3, **settings):
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, **settings)


def between(*layers, inner=8):
    """Return layers between a convolution with `inner` output channels and one that reads them."""
    return nn.Sequential(conv(3, inner), *layers, conv(inner, 3))


def attended(self, x):
    x = self.stem(x)
    query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
    weights = torch.softmax(query.mT @ key / math.sqrt(query.shape[1]), -1)
    return self.out(x + (value @ weights.mT).view_as(x))


def many_heads(self, x):
    n, length, _ = x.shape
    query, key, value = (layer(x).view(n, length, 2, -1).transpose(1, 2) for layer in (self.query, self.key, self.value))
    made = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(n, length, -1)
    return self.out(made)


def small_heads(self, x):
    n, length, _ = x.shape
    heads = [layer(x).view(n, length, 4, layer.out_features // 4).transpose(1, 2) for layer in (self.query, self.key, self.value)]
    return self.out(functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


def fused_heads(self, x):
    n, length, _ = x.shape
    query, key, value = self.qkv(x).reshape(n, length, 3, 2, -1).permute(2, 0, 3, 1, 4).unbind(0)
    weights = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(-1)
    return self.out((weights @ value).transpose(1, 2).flatten(2))


def transposed_attention(self, x):
    n, _, h, w = x.shape
    query, key, value = self.qkv(x).flatten(2).chunk(3, 1)
    weights = torch.softmax(functional.normalize(query, dim=-1) @ functional.normalize(key, dim=-1).mT, -1)
    return self.out((weights @ value).unflatten(2, (h, w)))


def squeezed(self, x):
    x = self.stem(x)
    return self.out(x * torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3))))))[:, :, None, None])


def styled(self, x):
    scale, shift = self.style(x.mean((2, 3))).chunk(2, 1)
    return self.out(self.norm(self.stem(x)) * (1 + scale[..., None, None]) + shift[..., None, None])


def pixel_normed(self, x):
    x = torch.nn.functional.leaky_relu(self.stem(x), 0.2)
    return self.out(x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8))


def noisy(self, x):
    x = self.stem(x)
    return self.out(x + self.strength * torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device))


def in_place(self, x):
    x = self.stem(x)
    with torch.no_grad():
        level = self.level(x).sigmoid_()
    x += level
    return self.out(x.mul_(2).sigmoid_())


def constant(self, x):
    return self.out(self.first(self.constant.expand(x.shape[0], -1, -1, -1)) * self.map(x)[:, :, None, None])


def dense(self, x):
    one = self.one(x)
    two = self.two(torch.cat([x, one], 1))
    return self.out(self.norm(torch.cat([x, one, two], 1)))


def every_other(self, x):
    return self.out(self.both(x)[:, ::2])


def halves(self, x):
    x = self.both(x)
    return self.out(torch.tanh(x[:, : x.shape[1] // 2]) * torch.sigmoid(x[:, x.shape[1] // 2 :]))


def split_sizes(self, x):
    one, two = self.both(x).split([self.one.in_channels, self.two.in_channels], 1)
    return self.one(one) + self.two(two)


def by_hand_shuffled(self, x):
    n, _, h, w = x.shape
    x = self.stem(x).view(n, -1, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, -1, 2 * h, 2 * w)
    return self.out(x)


def mixed(self, x):
    return self.out(torch.einsum("nchw,nchw,c->nchw", self.one(x), self.two(x), self.scale))


def repeated(self, x):
    x = self.stem(x)
    return self.out(torch.cat([x.flip(-1), x.repeat(1, 1, 1, 1)], 1).repeat_interleave(2, 1))


def spread(self, x):
    x = self.stem(x)
    mean = x.mean((2, 3), keepdim=True)
    return self.out(torch.stack([x, mean.expand_as(x)]).amax(0))


def stated(self, x):
    x = self.stem(x)
    state = torch.zeros(x.shape[0], x.shape[1], 1, 1, device=x.device)
    return self.out(torch.where(x > 0, x, state) + state.new_ones(x.shape[1:]).unsqueeze(0))


def patches(self, x):
    x = self.stem(x)
    columns = torch.roll(functional.unfold(x, 2, stride=2), 1, -1)
    return self.out(x + functional.fold(torch.relu(columns), x.shape[2:], 2, stride=2)) + self.last(columns).flatten(1)[:, :3, None, None]


def looked_up(self, x):
    x = self.stem(x)
    order = torch.tensor([1, 0, 3, 2, 5, 4])
    return self.out(x[:, :, order[:, None], order] + x[:, :, order].index_select(3, order) + self.table[order][:, :, None].mT)


def named(self, labels):
    return self.out(self.table(labels).transpose(1, 2))


def twice(self, x):
    x = self.stem(x)
    for _ in range(2):
        x = x + self.shared(torch.relu(x))
    return self.out(x)


def weight_norm_by_hooks(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer)


class Weighted(nn.Module):
    """A convolution with a weight of its own, scaled by its fan-in, without an attribute that stores its size."""

    def __init__(self, before, after):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, 3, 3))
        self.scale = nn.Parameter(torch.ones(after, 1, 1, 1))

    def forward(self, x):
        return functional.conv2d(x, self.weight * self.scale / math.sqrt(self.weight[0].numel()), padding=1)


IMAGE = (2, 3, 6, 6)
TOKENS = (2, 5, 6)
NOISE = (2, 7)

# name: builder, shape of the example, channels by the layer that produces them
CONSTRUCTS = {
    "batch norm": (lambda: between(nn.BatchNorm2d(8), nn.ReLU()), IMAGE, {"0": 8}),
    "instance norm": (lambda: between(nn.InstanceNorm2d(8, affine=True)), IMAGE, {"0": 8}),
    "instance norm without scale": (lambda: between(nn.InstanceNorm2d(8), nn.Tanh()), IMAGE, {"0": 8}),
    "instance norm with statistics": (lambda: between(nn.InstanceNorm2d(8, track_running_stats=True)), IMAGE, {"0": 8}),
    "group norm": (lambda: between(nn.GroupNorm(4, 8)), IMAGE, {"0": 4}),
    "group norm of one group": (lambda: between(nn.GroupNorm(1, 8), nn.GELU()), IMAGE, {"0": 8}),
    "layer norm": (lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 4)), TOKENS, {"0": 8}),
    "layer norm of images": (lambda: between(nn.LayerNorm([8, 6, 6])), IMAGE, {"0": 8}),
    "rms norm": (lambda: nn.Sequential(nn.Linear(6, 8), nn.RMSNorm(8), nn.Linear(8, 4)), TOKENS, {"0": 8}),
    "pixel norm": (lambda: Composed(pixel_normed, stem=conv(3, 8), out=conv(8, 3)), IMAGE, {"stem": 8}),
    "one slope": (lambda: between(nn.PReLU()), IMAGE, {"0": 8}),
    "slopes": (lambda: between(nn.PReLU(8)), IMAGE, {"0": 8}),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(3, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1)), IMAGE, {"0": 8}),
    "one dimension": (lambda: nn.Sequential(nn.Conv1d(5, 8, 3), nn.BatchNorm1d(8), nn.ConvTranspose1d(8, 2, 3)), TOKENS, {"0": 8}),
    "three dimensions": (lambda: nn.Sequential(nn.Conv3d(1, 6, 1), nn.ConvTranspose3d(6, 2, 3)), (1, 1, 3, 4, 4), {"0": 6}),
    "grouped": (lambda: between(conv(8, 8, groups=4), nn.ReLU()), IMAGE, {"0": 4}),
    "grouped and transposed": (
        lambda: nn.Sequential(conv(3, 8), nn.ConvTranspose2d(8, 12, 4, 2, 1, groups=4), conv(12, 3)),
        IMAGE,
        {"0": 4},
    ),
    "depthwise": (lambda: between(conv(8, 8, groups=8, bias=False), nn.BatchNorm2d(8)), IMAGE, {"0": 8}),
    "depthwise with a multiplier": (lambda: nn.Sequential(conv(3, 8), conv(8, 16, groups=8), conv(16, 3)), IMAGE, {"0": 8}),
    "padding and scaling": (
        lambda: between(nn.ReflectionPad2d(1), nn.Upsample(scale_factor=2, mode="bilinear"), nn.AvgPool2d(2), nn.ZeroPad2d(1)),
        IMAGE,
        {"0": 8},
    ),
    "padding mode": (lambda: nn.Sequential(conv(3, 8, padding_mode="reflect"), conv(8, 3, padding_mode="circular")), IMAGE, {"0": 8}),
    "pixel shuffle": (lambda: nn.Sequential(conv(3, 24), nn.PixelShuffle(2), nn.PReLU(6), conv(6, 3)), IMAGE, {"0": 6}),
    "pixel unshuffle": (lambda: nn.Sequential(conv(3, 6), nn.PixelUnshuffle(2), conv(24, 3)), IMAGE, {"0": 6}),
    "pixel shuffle by hand": (lambda: Composed(by_hand_shuffled, stem=conv(3, 24), out=conv(6, 3)), IMAGE, {"stem": 6}),
    "channel shuffle": (lambda: between(nn.ChannelShuffle(2)), IMAGE, {"0": 4}),
    "concatenations": (
        lambda: Composed(dense, one=conv(3, 4), two=conv(7, 6), norm=nn.BatchNorm2d(13), out=conv(13, 3)),
        IMAGE,
        {"one": 4, "two": 6},
    ),
    "residual sum": (lambda: Composed(twice, stem=conv(3, 8), shared=conv(8, 8), out=conv(8, 3)), IMAGE, {"stem": 8}),
    "spectral norm": (
        lambda: nn.Sequential(parametrizations.spectral_norm(conv(3, 8)), parametrizations.spectral_norm(conv(8, 3))),
        IMAGE,
        {"0": 8},
    ),
    "spectral norm, transposed": (
        lambda: nn.Sequential(
            parametrizations.spectral_norm(nn.ConvTranspose2d(3, 8, 4, 2, 1)), parametrizations.spectral_norm(nn.ConvTranspose2d(8, 3, 4))
        ),
        IMAGE,
        {"0": 8},
    ),
    "spectral norm by hooks": (
        lambda: nn.Sequential(nn.utils.spectral_norm(conv(3, 8)), nn.ReLU(), nn.utils.spectral_norm(conv(8, 3))),
        IMAGE,
        {"0": 8},
    ),
    "weight norm": (
        lambda: nn.Sequential(parametrizations.weight_norm(conv(3, 8)), nn.ReLU(), parametrizations.weight_norm(conv(8, 3))),
        IMAGE,
        {"0": 8},
    ),
    "weight norm by hooks": (
        lambda: nn.Sequential(weight_norm_by_hooks(conv(3, 8)), nn.ReLU(), weight_norm_by_hooks(conv(8, 3))),
        IMAGE,
        {"0": 8},
    ),
    "linear after flatten": (lambda: nn.Sequential(conv(3, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5)), IMAGE, {"0": 8}),
    "linear before images": (
        lambda: nn.Sequential(nn.Linear(7, 8 * 4), nn.Unflatten(1, (8, 2, 2)), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 3)),
        NOISE,
        {"0": 8},
    ),
    "chunk": (lambda: Composed(transposed_attention, qkv=conv(3, 24, 1), out=conv(8, 3)), IMAGE, {"qkv": 8}),
    "gated linear unit": (lambda: nn.Sequential(conv(3, 16), nn.BatchNorm2d(16), nn.GLU(1), conv(8, 3)), IMAGE, {"0": 8}),
    "halves": (lambda: Composed(halves, both=conv(3, 16), out=conv(8, 3)), IMAGE, {"both": 8}),
    "every other channel": (lambda: Composed(every_other, both=conv(3, 16), out=conv(8, 3)), IMAGE, {"both": 8}),
    "unequal parts": (lambda: Composed(split_sizes, both=conv(3, 10), one=conv(4, 3), two=conv(6, 3)), IMAGE, {"both": 4, "both[1]": 6}),
    "attention": (
        lambda: Composed(attended, stem=conv(3, 8), query=conv(8, 4, 1), key=conv(8, 4, 1), value=conv(8, 8, 1), out=conv(8, 3)),
        IMAGE,
        {"stem": 8, "query": 4},
    ),
    "many heads": (
        lambda: Composed(many_heads, query=nn.Linear(6, 8), key=nn.Linear(6, 8), value=nn.Linear(6, 12), out=nn.Linear(12, 6)),
        TOKENS,
        {"query": 4, "value": 6},
    ),
    "heads smaller than they are many": (
        lambda: Composed(small_heads, query=nn.Linear(6, 8), key=nn.Linear(6, 8), value=nn.Linear(6, 12), out=nn.Linear(12, 6)),
        TOKENS,
        {"query": 2, "value": 3},
    ),
    "fused heads": (lambda: Composed(fused_heads, qkv=nn.Linear(6, 24), out=nn.Linear(8, 6)), TOKENS, {"qkv": 4}),
    "squeeze and excitation": (
        lambda: Composed(squeezed, stem=conv(3, 8), down=nn.Linear(8, 4), up=nn.Linear(4, 8), out=conv(8, 3)),
        IMAGE,
        {"stem": 8, "down": 4},
    ),
    "adaptive instance norm": (
        lambda: Composed(styled, stem=conv(3, 8), norm=nn.InstanceNorm2d(8), style=nn.Linear(3, 16), out=conv(8, 3)),
        IMAGE,
        {"stem": 8},
    ),
    "noise": (lambda: Composed(noisy, stem=conv(3, 8), strength=nn.Parameter(torch.ones(1, 8, 1, 1)), out=conv(8, 3)), IMAGE, {"stem": 8}),
    "in place": (lambda: Composed(in_place, stem=conv(3, 8), level=conv(8, 8, 1), out=conv(8, 3)), IMAGE, {"stem": 8}),
    "learned constant": (
        lambda: Composed(constant, constant=nn.Parameter(torch.randn(1, 5, 4, 4)), first=conv(5, 8), map=nn.Linear(7, 8), out=conv(8, 3)),
        NOISE,
        {"first": 8},
    ),
    "einsum": (
        lambda: Composed(mixed, one=conv(3, 8), two=conv(3, 8), scale=nn.Parameter(torch.randn(8)), out=conv(8, 3)),
        IMAGE,
        {"one": 8},
    ),
    "repetition": (lambda: Composed(repeated, stem=conv(3, 8), out=conv(32, 3)), IMAGE, {"stem": 8}),
    "stack and expand": (lambda: Composed(spread, stem=conv(3, 8), out=conv(8, 3)), IMAGE, {"stem": 8}),
    "state": (lambda: Composed(stated, stem=conv(3, 8), out=conv(8, 3)), IMAGE, {"stem": 8}),
    "patches": (lambda: Composed(patches, stem=conv(3, 8), out=conv(8, 3), last=nn.Conv1d(32, 1, 1)), IMAGE, {"stem": 8}),
    "numbers of positions": (
        lambda: Composed(looked_up, stem=conv(3, 8), table=nn.Parameter(torch.randn(6, 8, 6)), out=conv(8, 3)),
        (1, 3, 6, 6),
        {"stem": 8},
    ),
    "own weight": (lambda: nn.Sequential(Weighted(3, 8), nn.ReLU(), Weighted(8, 3)), IMAGE, {"0": 8}),
    "embedding": (lambda: Composed(named, table=nn.Embedding(9, 8), out=nn.Conv1d(8, 3, 1)), (2, 4), {"table": 8}),
}


def example_of(name):
    shape = CONSTRUCTS[name][1]
    return torch.randint(9, shape) if name == "embedding" else torch.zeros(shape)


def built(name):
    """Return a construct and its example; its random weights make a wrong cut visible."""
    torch.manual_seed(0)
    network = CONSTRUCTS[name][0]().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape) if parameter.ndim != 1 else 0.5 + torch.rand(parameter.shape))
        for buffer in network.buffers():
            if buffer.is_floating_point():
                buffer.copy_(0.5 + torch.rand(buffer.shape))
    return network, example_of(name)
