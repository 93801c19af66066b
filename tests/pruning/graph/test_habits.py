"""Generators written in ways that are common in published code."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import gcc
from gcc.errors import PruningWarning
from gcc.pruning.graph.graph_form import PrunedGraph
from tests.helpers.assertions import asserted
from tests.helpers.graph_toys import Composed, conv
from tests.pruning.graph.test_operators import Cut

CACHE = {}


def blurred(self, x):
    kernel = self.kernels[0].expand(x.shape[1], 1, 3, 3)
    return functional.conv2d(x, kernel, padding=1, groups=x.shape[1]) * self.numbers["gain"]


def cached(self, x):
    key = tuple(x.shape[2:])
    if key not in CACHE:
        CACHE[key] = torch.linspace(0, 1, x.shape[3])
    return x * CACHE[key]


def sampled(self, x):
    return functional.grid_sample(x, torch.zeros(x.shape[0], *x.shape[2:], 2), align_corners=True) + x


def checkpointed(self, x):
    return checkpoint(lambda features: features.relu() * 2, x, use_reentrant=False)


def without_gradient(self, x):
    with torch.no_grad():
        gain = x.mean((2, 3), keepdim=True).sigmoid()
    return x * gain


def in_full_precision(self, x):
    with torch.autocast("cpu", enabled=False):
        return x.float() * 2


def resized(self, x):
    return functional.interpolate(functional.interpolate(x, scale_factor=0.5), size=(int(x.shape[2] * 1.0), x.shape[3]))


def run_at_two_sizes(self, x):
    return self.inner(x) + functional.interpolate(self.inner(functional.avg_pool2d(x, 2)), scale_factor=2)


def by_name(self, x):
    return self.parallel(self.table["inner"](x))


def styled_once(self, x):
    return x * self.map(self.code)[:, :, None, None]


def gated_by_hand(self, x):
    tokens = x.flatten(2).mT
    state = torch.zeros(x.shape[0], self.hidden.in_features)
    for step in range(3):
        forget, update = (self.input(tokens[:, step]) + self.hidden(state)).chunk(2, -1)
        state = torch.sigmoid(forget) * state + torch.tanh(update)
    return x + self.back(state)[:, :, None, None]


def by_inner(self, x):
    return self.inner(x)


def on_cpu_alone(self, x):
    if x.device.type != "cpu":
        raise RuntimeError("the kernel of other devices is not compiled")
    return x * 2


def asserted_features(self, x):
    asserted(x.sigmoid() + 1)
    return x * 2


class Modulated(nn.Conv2d):
    """A layer with a keyword that torch.export cannot pass."""

    def forward(self, x, *, mod):
        return super().forward(x) * mod


def modulated(self, x):
    return self.inner(x, mod=x.mean((2, 3), keepdim=True).sigmoid())


def scaled_by_a_hook(layer):
    """Return a layer whose weight a hook of one's own computes before every pass."""
    layer.register_parameter("weight_orig", nn.Parameter(layer.weight.data))
    del layer._parameters["weight"]
    layer.register_forward_pre_hook(lambda module, _: setattr(module, "weight", module.weight_orig * 0.5))
    return layer


HABITS = {
    "tensors in lists": (blurred, lambda: {"kernels": [torch.rand(1, 1, 3, 3)], "numbers": {"gain": torch.rand(1)}}),
    "global cache": (cached, dict),
    "tensors without a device": (sampled, dict),
    "checkpoint": (checkpointed, dict),
    "no gradient": (without_gradient, dict),
    "autocast": (in_full_precision, dict),
    "computed size": (resized, dict),
    "two sizes": (run_at_two_sizes, lambda: {"inner": conv(8, 8)}),
    "containers": (by_name, lambda: {"table": nn.ModuleDict({"inner": conv(8, 8)}), "parallel": nn.DataParallel(conv(8, 8))}),
    "batches of two sizes": (styled_once, lambda: {"map": nn.Linear(4, 8), "code": nn.Parameter(torch.randn(1, 4))}),
    "hook of one's own": (by_inner, lambda: {"inner": scaled_by_a_hook(conv(8, 8))}),
    "assertions about values": (asserted_features, dict),
    "one device alone": (on_cpu_alone, dict),
    "keyword of torch's own": (modulated, lambda: {"inner": Modulated(8, 8, 1)}),
    "gated cell": (gated_by_hand, lambda: {"input": nn.Linear(8, 12), "hidden": nn.Linear(6, 12), "back": nn.Linear(6, 8)}),
}


@pytest.mark.parametrize("name", HABITS)
def test_common_habits_are_pruned_and_equal_to_the_network_with_zeros(name):
    torch.manual_seed(0)
    run, layers = HABITS[name]
    network = Composed(lambda self, x: self.out(run(self, self.stem(x)).relu()), stem=conv(3, 8), out=conv(8, 3), **layers()).eval()
    example = torch.zeros(2, 3, 8, 8)
    assert gcc.prune(network, example, "l1", "60%").stem.out_channels < 8
    Cut(network, example).compare()


def test_a_layer_with_two_paths_states_its_sizes():
    torch.manual_seed(0)
    backbone = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.utils.parametrizations.spectral_norm(conv(8, 8)))
    network = Composed(lambda self, x: self.out(self.stages(x)), backbone=backbone, stages=nn.Sequential(*backbone), out=conv(8, 3)).eval()
    smaller = gcc.prune(network, torch.zeros(2, 3, 8, 8), "l1", "60%")
    assert smaller.backbone[1] is smaller.stages[1]
    assert smaller.backbone[0].out_channels == smaller.backbone[1].num_features == len(smaller.backbone[1].weight) < 8
    assert smaller.backbone[2].in_channels == smaller.backbone[0].out_channels


def test_a_layer_that_the_output_does_not_depend_on_is_left_out():
    """The last layer of a WaveNet returns a residual that nothing reads."""
    torch.manual_seed(0)

    def skips(self, x):
        self.unread(x) + x
        return self.out(x)

    network = Composed(lambda self, x: skips(self, self.stem(x)), stem=conv(3, 8), unread=conv(8, 8), out=conv(8, 3)).eval()
    with pytest.warns(PruningWarning, match="layer 'unread'"):
        smaller = gcc.prune(network, torch.zeros(2, 3, 8, 8), "l1", "30%")
    width = smaller.stem.out_channels
    plain = nn.Sequential(conv(3, width), conv(width, 3))
    plain.load_state_dict(
        {
            f"{place}.{name}": smaller.state_dict()[f"{layer}.{name}"]
            for place, layer in ((0, "stem"), (1, "out"))
            for name in ("weight", "bias")
        }
    )
    image = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(smaller(image), plain(image))
    assert width < 8


class ModulatedUpscaling(nn.Module):
    """Filters of every sample's own, as in StyleGAN2: the samples of a batch become groups of channels."""

    def __init__(self, width):
        super().__init__()
        self.stem, self.out = conv(3, width), conv(width, 3)
        self.style, self.other_style = nn.Linear(4, width), nn.Linear(4, width)
        self.filters, self.upscaling = nn.Parameter(torch.randn(1, width, width, 3, 3)), nn.Parameter(torch.randn(1, width, width, 2, 2))

    def forward(self, x, code):
        n, _, height, length = x.shape
        filters = self.filters * self.style(code)[:, None, :, None, None]
        filters = (filters / filters.square().sum((2, 3, 4), keepdim=True).sqrt()).flatten(0, 1)
        x = functional.conv2d(self.stem(x).reshape(1, -1, height, length), filters, padding=1, groups=n).relu()
        upscaling = (self.upscaling * self.other_style(code)[:, :, None, None, None]).flatten(0, 1)
        return self.out(functional.conv_transpose2d(x, upscaling, stride=2, groups=n).unflatten(1, (n, -1)).squeeze(0))


def test_samples_may_be_groups_of_channels():
    torch.manual_seed(0)
    network, images, codes = ModulatedUpscaling(8), torch.rand(2, 3, 4, 4), torch.rand(2, 4)
    smaller = gcc.prune(network, (images, codes), "l1", "40%")
    assert max(smaller.filters.shape[1:3]) < 8 and max(smaller.upscaling.shape[1:3]) < 8
    one_by_one = [smaller(images[index : index + 1], codes[index : index + 1]) for index in range(2)]
    torch.testing.assert_close(smaller(images, codes), torch.cat(one_by_one))


class Adaptive(nn.Module):
    """A convolution whose channels get a gain and a bias from a range of a vector, as in AdaIN; `width` says how many."""

    def __init__(self, width):
        super().__init__()
        self.layer, self.width = conv(8, 8), width

    def forward(self, x, numbers):
        gain, bias = numbers[:, : self.width], numbers[:, self.width : 2 * self.width]
        return self.layer(x) * gain[:, :, None, None] + bias[:, :, None, None], numbers[:, 2 * self.width :]


def adapted(self, x):
    """Modulate the inner features, which can lose channels, and the outer ones, which are added to the input and cannot."""
    inner, rest = self.inner(x, self.map(self.latent))
    outer, _ = self.outer(inner.relu(), rest)
    return self.out(x + outer)


def counted_once(self, x):
    """Modulate with constant ranges."""
    numbers = self.map(self.latent)[:, :, None, None]
    inner = (self.inner(x) * numbers[:, 0:8] + numbers[:, 8:16]).relu()
    return self.out(x + self.outer(inner) * numbers[:, 16:24] + numbers[:, 24:32])


@pytest.mark.parametrize(
    ("run", "layer", "form"),
    [(adapted, lambda: Adaptive(8), Composed), (counted_once, lambda: conv(8, 8), PrunedGraph)],
)
def test_ranges_of_one_vector_lose_different_channels(run, layer, form):
    torch.manual_seed(0)
    network = Composed(
        run, inner=layer(), outer=layer(), map=nn.Linear(4, 32), latent=nn.Parameter(torch.randn(1, 4)), out=conv(8, 3)
    ).eval()
    example = torch.randn(2, 8, 8, 8)
    with pytest.warns(PruningWarning) if form is not Composed else nullcontext():
        smaller = gcc.prune(network, example, "l1", "70%")
    assert isinstance(smaller, form)
    parameters, kept_parameters = dict(network.named_parameters()), dict(smaller.named_parameters())
    name = "inner.layer.weight" if form is Composed else "inner.weight"
    kept = [any(torch.equal(row, other) for other in kept_parameters[name]) for row in parameters[name]]
    assert 1 < sum(kept) == len(kept_parameters[name]) < 8
    assert len(kept_parameters[name.replace("inner", "outer")]) == 8 and len(kept_parameters["map.weight"]) == 16 + 2 * sum(kept)
    removed = torch.tensor(kept).logical_not()
    with torch.no_grad():
        for tensor in (parameters[name], parameters[name.replace("weight", "bias")]):
            tensor[removed] = 0
        for tensor in (network.map.weight, network.map.bias):
            tensor[:16][removed.repeat(2)] = 0
        torch.testing.assert_close(smaller(example), network(example))


def by_halves(self, x):
    half = x.shape[1] // 2
    return torch.cat([x[:, half:].relu(), x[:, :half].tanh()], 1)


def rest_of(self, x):
    """Skip channels; that another number equals those that are left is chance."""
    rest = self.rest(x[:, self.skip :])
    return rest / self.steps + self.first(x[:, : self.skip])


def test_code_that_halves_its_channels_keeps_running():
    torch.manual_seed(0)
    network = Composed(lambda self, x: self.out(by_halves(self, self.stem(x))), stem=conv(3, 16), out=conv(16, 3)).eval()
    with torch.no_grad():
        network.stem.weight[8:] *= 5
    smaller = gcc.prune(network, torch.zeros(1, 3, 8, 8), "l1", "60%")
    assert type(smaller) is Composed and smaller.stem.out_channels % 2 == 0


def test_numbers_that_equal_the_rest_of_a_range_by_chance_stay():
    torch.manual_seed(0)
    network = Composed(
        lambda self, x: self.out(rest_of(self, self.stem(x))), stem=conv(3, 16), first=conv(4, 6), rest=conv(12, 6), out=conv(6, 3)
    ).eval()
    network.skip, network.steps = 4, 12
    smaller = gcc.prune(network, torch.randn(1, 3, 8, 8), "l1", "50%")
    # A graph has no such attributes.
    assert smaller.stem.out_channels < 16 and getattr(smaller, "steps", 12) == 12


def test_a_range_without_an_end_is_followed():
    torch.manual_seed(0)
    network = Composed(
        lambda self, x: self.out(self.rest(torch.ops.aten.slice.Tensor(self.stem(x), 1, 4, None)).relu()),
        stem=conv(3, 16),
        rest=conv(12, 8),
        out=conv(8, 3),
    ).eval()
    with pytest.warns(PruningWarning):
        assert gcc.prune(network, torch.randn(1, 3, 8, 8), "l1", "60%").stem.out_channels < 16
