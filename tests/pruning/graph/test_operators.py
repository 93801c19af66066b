from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from gcc.errors import GccError
from gcc.pruning.graph.aten_graph import Graph
from gcc.pruning.graph.call import Call, Roles
from gcc.pruning.graph.channel_ids import Atoms, fixed
from gcc.pruning.graph.groups import Selection, find_channels, with_named_parts
from gcc.pruning.graph.masked import Candidate
from gcc.pruning.graph.propagate import ChannelTrace, named_tensors
from gcc.pruning.graph.reset import reset
from gcc.pruning.graph.rules import RULES
from gcc.pruning.graph.slice import cut
from gcc.pruning.graph.verify import require_equal, require_same_graph, with_random_weights
from gcc.pruning.groups import find_groups
from gcc.registry import ARCHITECTURES
from tests.helpers.graph_toys import CONSTRUCTS, Composed, attended, built, conv

# What is left of these channels gives something else than all of them with zeros among them: statistics over channels, widths in formulas.
UNEVEN = {
    "group norm of one group",
    "layer norm",
    "layer norm of images",
    "rms norm",
    "pixel norm",
    "chunk",
    "attention",
    "many heads",
    "heads smaller than they are many",
    "fused heads",
    "own weight",
    "spectral norm",
    "spectral norm, transposed",
    "spectral norm by hooks",
    "weight norm",
    "weight norm by hooks",
}


class Cut:
    """A network without a random choice of channels, and what led to it."""

    def __init__(self, network, example, share=0.5, seed=0):
        self.network, self.example = network, example
        self.trace = ChannelTrace(Graph(network, example))
        self.channels = find_channels(self.trace)
        random = np.random.default_rng(seed)
        self.chosen = {
            one.group.name: sorted(random.choice(one.group.channels, max(1, int(share * one.group.channels)), replace=False).tolist())
            for one in self.channels
        }
        self.selection = Selection(self.trace.atoms, self.channels, self.chosen)
        self.smaller = cut(self.trace, network, self.selection)

    def prove(self):
        graph = Graph(self.smaller, self.example)
        require_same_graph(self.trace, self.selection, graph)
        candidate = Candidate(self.network, self.smaller, self.trace, self.selection, graph, (self.example,))
        require_equal(candidate, with_random_weights(candidate))

    @torch.no_grad()
    def zeroed(self):
        """The full network with zeros for every weight of a channel that is cut."""
        network = deepcopy(self.network)
        tensors = named_tensors(network)
        for tensor in self.trace.tensors:
            for dim, axis in enumerate(tensor.layout):
                gone = torch.from_numpy(np.flatnonzero(~self.selection.mask(axis)))
                tensors[tensor.name].index_fill_(dim, gone, 0)
        return network

    @torch.no_grad()
    def compare(self):
        torch.manual_seed(1)
        given = torch.randn(self.example.shape) if self.example.is_floating_point() else self.example
        outputs = []
        for network in (self.smaller, self.zeroed()):
            torch.manual_seed(1)
            outputs.append(network(given))
        torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-4 * float(outputs[1].abs().max()))
        assert outputs[1].abs().max() > 0


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_every_construct_is_cut_as_by_hand(name):
    network, example = built(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    one = Cut(network, example)
    assert {group.group.name: group.group.channels for group in one.channels} == CONSTRUCTS[name][2]
    one.prove()
    if name not in UNEVEN:
        one.compare()
    assert sum(p.numel() for p in one.smaller.parameters()) < sum(p.numel() for p in network.parameters())
    after = network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


@torch.no_grad()
def test_layer_norm_is_that_of_the_channels_that_are_left():
    network, example = built("layer norm")
    one = Cut(network, example)
    left = one.chosen["0"]
    given = torch.randn(example.shape)
    made = functional.linear(given, network[0].weight[left], network[0].bias[left])
    centred = made - made.mean(-1, keepdim=True)
    normed = centred / (made.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt() * network[1].weight[left] + network[1].bias[left]
    wanted = functional.linear(functional.gelu(normed), network[3].weight[:, left], network[3].bias)
    torch.testing.assert_close(one.smaller(given), wanted, rtol=1e-4, atol=1e-5)
    assert one.smaller[1].normalized_shape == (4,)


@torch.no_grad()
def test_attention_divides_by_the_root_of_what_is_left():
    network, example = built("attention")
    one = Cut(network, example)
    stem, inner = one.chosen["stem"], one.chosen["query"]
    assert len(inner) == 2
    small = Composed(attended, stem=conv(3, 4), query=conv(4, 2, 1), key=conv(4, 2, 1), value=conv(4, 4, 1), out=conv(4, 3))
    rows = {"stem": (stem, range(3)), "query": (inner, stem), "key": (inner, stem), "value": (stem, stem), "out": (range(3), stem)}
    for layer, (outputs, inputs) in rows.items():
        full, part = getattr(network, layer), getattr(small, layer)
        part.weight.copy_(full.weight[list(outputs)][:, list(inputs)])
        part.bias.copy_(full.bias[list(outputs)])
    given = torch.randn(example.shape)
    torch.testing.assert_close(one.smaller(given), small(given), rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    "name", ["spectral norm", "spectral norm, transposed", "spectral norm by hooks", "weight norm", "weight norm by hooks"]
)
def test_layers_under_a_norm_go_on_with_the_weights_that_they_had(name):
    network, example = built(name)
    network(example)
    one = Cut(network, example)
    one.smaller(example)
    left = one.chosen["0"]
    for place, dim in ((0, 0), (-1, 1)):
        full, part = network[place].weight, one.smaller[place].weight
        dim = 1 - dim if isinstance(network[place], nn.ConvTranspose2d) else dim
        torch.testing.assert_close(part, full.index_select(dim, torch.tensor(left)), rtol=1e-4, atol=1e-5)
    # In training, spectral norm finds the norm of what is left.
    if name.startswith("spectral"):
        one.smaller.train()
        for _ in range(100):
            one.smaller(torch.randn(example.shape))
        matrix = one.smaller[0].weight.transpose(0, 1 if isinstance(network[0], nn.ConvTranspose2d) else 0).flatten(1)
        assert float(torch.linalg.matrix_norm(matrix, 2)) == pytest.approx(1, rel=1e-2)


def test_attributes_are_those_of_layers_built_so():
    for name, layer, wanted in (
        ("grouped", 1, nn.Conv2d(4, 4, 3, padding=1, groups=2)),
        ("depthwise with a multiplier", 1, nn.Conv2d(4, 8, 3, padding=1, groups=4)),
        ("grouped and transposed", 1, nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2)),
        ("group norm", 1, nn.GroupNorm(2, 4)),
        ("group norm of one group", 1, nn.GroupNorm(1, 4)),
        ("instance norm without scale", 1, nn.InstanceNorm2d(4)),
        ("layer norm of images", 1, nn.LayerNorm([4, 6, 6])),
        ("slopes", 1, nn.PReLU(4)),
        ("linear before images", 0, nn.Linear(7, 16)),
        ("linear before images", 1, nn.Unflatten(1, (4, 2, 2))),
    ):
        assert repr(Cut(*built(name)).smaller[layer]) == repr(wanted), name


@pytest.mark.parametrize("name", ARCHITECTURES.names())
def test_families_have_the_groups_of_their_constructors(name):
    """A width of a constructor is one group of the graph, or several that the constructor alone gives one width."""
    family = ARCHITECTURES.load(name)
    architecture = family(family.demo())
    network = architecture.build_generator(architecture.full_widths(16))
    found = [one.group for one in find_channels(ChannelTrace(Graph(network, architecture.example_input())))]
    spread = 0
    for wanted in find_groups(architecture, 16):
        parts = [group for group in found if set(group.producers) & set(wanted.producers)]
        assert {group.channels for group in parts} == {wanted.channels}
        assert sorted(map(repr, (p for group in parts for p in group.producers))) == sorted(map(repr, wanted.producers))
        assert {scale for group in parts for scale in group.scales} == set(wanted.scales)
        spread += len(parts) - 1
        found = [group for group in found if group not in parts]
    # SRGAN's upscaling has the trunk's width, and its channels are others; SAGAN's queries and keys have a share of their layer's width.
    assert spread == (2 if name == "srgan" else 0)
    assert [[p.parameter for p in group.producers] for group in found] == (
        [["attention3.query.weight", "attention3.key.weight"]] if name == "sagan" else []
    )


def test_parts_of_a_weight_are_read_apart_with_their_gradients():
    network, example = built("gated linear unit")
    channels = find_channels(ChannelTrace(Graph(network, example)))
    network(torch.randn(example.shape)).square().sum().backward()
    (group,) = [one.group for one in channels]
    (producer,) = group.producers
    weight = with_named_parts(network, channels).get_parameter(producer.parameter)
    order = [row for channel in range(8) for row in (channel, channel + 8)]
    assert (producer.dim, producer.ratio) == (0, 2)
    assert torch.equal(weight, network[0].weight[order]) and torch.equal(weight.grad, network[0].weight.grad[order])
    scales = [with_named_parts(network, channels).get_parameter(name) for name in group.scales]
    assert torch.equal(torch.cat(scales), network[1].weight)


def test_a_group_whose_weights_are_whole_names_them_as_they_are():
    (one,) = find_channels(ChannelTrace(Graph(*built("pixel shuffle"))))
    (producer,) = one.group.producers
    assert (producer.parameter, producer.dim, producer.ratio, one.parts) == ("0.weight", 0, 4, ())


@pytest.mark.parametrize("damage", ["weight", "column", "bias"])
def test_a_wrong_cut_is_not_proven(damage):
    one = Cut(*built("residual sum"))
    with torch.no_grad():
        if damage == "weight":
            one.smaller.stem.weight[0] = one.network.stem.weight[next(iter(set(range(8)) - set(one.chosen["stem"])))]
        elif damage == "column":
            one.smaller.out.weight.copy_(one.smaller.out.weight.flip(1))
        else:
            one.smaller.out.bias += 1e-3 * one.smaller(torch.randn(one.example.shape)).abs().max()
    with pytest.raises(GccError, match="differs by"):
        one.prove()


class Ways(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.out = conv(3, 8), conv(8, 3)

    def forward(self, x):
        x = self.stem(x)
        return self.out(torch.relu(x) if x.shape[1] > 6 else torch.tanh(x))


def test_another_way_through_the_code_is_seen():
    with pytest.raises(
        GccError, match=r"test_operators.py:\d+ `return self.out\(torch.relu.*`: with fewer channels the code runs other operators"
    ):
        Cut(Ways(), torch.zeros(1, 3, 6, 6)).prove()


@pytest.mark.parametrize(
    "name",
    ["spectral norm", "spectral norm, transposed", "spectral norm by hooks", "weight norm", "weight norm by hooks", "concatenations"],
)
def test_fresh_weights_are_drawn_as_the_layers_draw_them(name):
    one = Cut(*built(name))
    one.prove()
    before = {key: value.clone() for key, value in one.smaller.state_dict().items()}
    torch.manual_seed(3)
    reset(one.smaller)
    torch.manual_seed(3)
    for module, plain in zip(
        (m for m in one.smaller.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)), _plain(name), strict=True
    ):
        if "weight_orig" in module._parameters:
            weight = module.weight_orig
        elif name.startswith("spectral"):
            weight = module.parametrizations.weight.original
        else:
            weight = module.weight
        torch.testing.assert_close(weight, plain.weight, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(module.bias, plain.bias)
        if name.startswith("spectral"):
            module.eval()(torch.zeros(1, module.in_channels, 8, 8))
            matrix = module.weight.transpose(0, 1) if isinstance(module, nn.ConvTranspose2d) else module.weight
            assert torch.linalg.matrix_norm(matrix.flatten(1), 2).item() == pytest.approx(1, rel=0.1)
    assert all(value.shape == before[key].shape for key, value in one.smaller.state_dict().items())


class Doubled(nn.Sequential):
    """Layers that are drawn in a way of their own."""

    def reset_parameters(self):
        for layer in self:
            layer.weight.data.fill_(2.0)


def test_a_module_that_draws_its_layers_itself_has_the_last_word():
    network = nn.Sequential(Doubled(conv(3, 4)), conv(4, 3))
    reset(network)
    assert (network[0][0].weight == 2).all() and not (network[1].weight == 2).any()


def _plain(name):
    if name == "spectral norm, transposed":
        return nn.ConvTranspose2d(3, 4, 4, 2, 1), nn.ConvTranspose2d(4, 3, 4)
    return (conv(3, 2), conv(5, 3), conv(8, 3)) if name == "concatenations" else (conv(3, 4), conv(4, 3))


def test_a_module_that_is_left_keeps_the_channels_around_it():
    network = nn.Sequential(conv(3, 8), conv(8, 8), nn.ReLU(), conv(8, 6), conv(6, 3))
    example = torch.zeros(1, 3, 4, 4)
    assert [one.group.name for one in find_channels(ChannelTrace(Graph(network, example)))] == ["0", "1", "3"]
    assert [one.group.name for one in find_channels(ChannelTrace(Graph(network, example), leave=["1"]))] == ["3"]


class Random(nn.Module):
    """Layers one after the other, of which each may read the outputs of earlier ones."""

    def __init__(self, steps, seed):
        super().__init__()
        random = np.random.default_rng(seed)
        self.steps, self.layers = [], nn.ModuleList()
        widths = [3]
        for step in steps:
            layer, after, source = self.step(step, widths, random)
            self.layers.append(layer)
            self.steps.append((step, source))
            widths.append(after)
        self.head = conv(widths[-1], 3)

    def step(self, step, widths, random):
        width, source = widths[-1], int(random.integers(len(widths)))
        new = int(random.integers(2, 6)) * 2
        alike = [number for number, one in enumerate(widths) if one == width]
        match step:
            case "convolution":
                return conv(width, new), new, None
            case "transposed":
                return nn.ConvTranspose2d(width, new, 3, 1, 1), new, None
            case "depthwise":
                return conv(width, width, groups=width), width, None
            case "norm":
                return nn.BatchNorm2d(width), width, None
            case "shuffle":
                return nn.Sequential(conv(width, 4 * new), nn.PixelShuffle(2), nn.AvgPool2d(2)), new, None
            case "gated":
                return nn.Sequential(conv(width, 2 * new), nn.GLU(1)), new, None
            case "joined":
                return nn.Sigmoid(), width + widths[source], source
            case "added":
                return nn.PReLU(width), width, alike[int(random.integers(len(alike)))]
        raise AssertionError(step)

    def forward(self, x):
        made = [x]
        for (step, source), layer in zip(self.steps, self.layers, strict=True):
            if step == "joined":
                made.append(layer(torch.cat([made[-1], made[source]], 1)))
            elif step == "added":
                made.append(layer(made[-1] + made[source]))
            else:
                made.append(layer(made[-1]))
        return self.head(made[-1])


STEPS = ("convolution", "transposed", "depthwise", "norm", "shuffle", "gated", "joined", "added")


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(STEPS), min_size=2, max_size=8), st.integers(0, 2**16), st.floats(0.1, 0.9))
def test_random_generators_are_cut_and_proven(steps, seed, share):
    torch.manual_seed(seed)
    network = Random(["convolution", *steps], seed).eval()
    one = Cut(network, torch.zeros(1, 3, 4, 4), share, seed)
    one.prove()
    one.compare()


@st.composite
def reshapes(draw):
    """A shape, another of as many numbers, and which dimensions have channels."""
    factors = draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=5))
    shapes = []
    for _ in range(2):
        shape = [1] * draw(st.integers(1, 4))
        for factor in draw(st.permutations(factors)) if draw(st.booleans()) else factors:
            shape[draw(st.integers(0, len(shape) - 1))] *= factor
        shapes.append(shape)
    return *shapes, draw(st.lists(st.booleans(), min_size=len(shapes[0]), max_size=len(shapes[0])))


@given(reshapes())
def test_every_number_of_a_reshaped_tensor_belongs_to_the_same_channels(case):
    before, after, prunable = case
    atoms = Atoms()
    # A single channel is never cut, and need not be followed.
    free = [some and size > 1 for size, some in zip(before, prunable, strict=True)]
    layout = tuple(atoms.fresh([size])[0] if some else fixed([size])[0] for size, some in zip(before, free, strict=True))
    made = RULES["reshape"](Call("reshape", {"self": layout, "shape": after}, [after], atoms, Roles()))

    def channels(axes):
        grid = np.meshgrid(*(atoms.roots(axis) for axis in axes), indexing="ij")
        return [set(roots) - {0} for roots in np.stack(grid, -1).reshape(-1, len(axes)).tolist()]

    assert [len(axis) for axis in made] == after
    assert channels(layout) == channels(made)


PAIRS = st.tuples(st.integers(0, 9), st.integers(0, 9))


@given(st.lists(st.lists(PAIRS, min_size=1, max_size=8), max_size=6))
def test_tied_atoms_are_one(dimensions):
    atoms, sets = Atoms(), [{number} for number in range(10)]
    atoms.fresh([9])
    for pairs in dimensions:
        atoms.tie(*np.array(pairs).T)
        for one, other in pairs:
            joined = next(s for s in sets if one in s) | next(s for s in sets if other in s)
            sets = [s for s in sets if not s & joined] + [joined]
    assert atoms.roots(np.arange(10)).tolist() == [min(next(s for s in sets if number in s)) for number in range(10)]


def test_scales_of_one_norm_over_several_groups_are_read_apart():
    network, example = built("concatenations")
    channels = find_channels(ChannelTrace(Graph(network, example)))
    named = with_named_parts(network, channels)
    scales = {one.group.name: [named.get_parameter(name).tolist() for name in one.group.scales] for one in channels}
    assert scales == {"one": [network.norm.weight[3:7].tolist()], "two": [network.norm.weight[7:].tolist()]}


def written(x):
    x = x.clone()
    x[:, :, torch.tensor([0, 3])] = 0
    x[:, :, :, torch.tensor([1, 2])] *= 2
    x[:, :, 0] = 1.0
    x[x < 0] = 0
    return x


def spectra(x):
    window = torch.hann_window(16)
    signals = x.flatten(2)[0]
    spectrum = torch.stft(signals, 16, window=window, return_complex=True)
    return x + spectrum.abs().mean((1, 2))[:, None, None] + torch.istft(spectrum, 16, window=window)[:, :1, None]


# What runs between two convolutions; channels pass, and only the positions are combined.
POSITIONS = {
    "real fft": lambda x: torch.fft.irfft2(torch.fft.rfft2(x) * 0.5, s=x.shape[-2:]),
    "fft": lambda x: torch.fft.fft2(x).real + torch.fft.fftn(x, dim=(2, 3)).abs() + torch.fft.fftshift(x, dim=3),
    "phase and amplitude": lambda x: torch.polar(torch.fft.fft2(x).abs(), torch.fft.fft2(x).angle()).real,
    "complex numbers": lambda x: torch.view_as_complex(torch.view_as_real(torch.complex(x, x)).contiguous()).imag,
    "stft": spectra,
    "cumulative": lambda x: x.cumsum(2) + x.cumsum(1) + x.cumprod(-1) + x.cummax(2).values,
    "topk": lambda x: x * x.topk(2, -1).values.sum(-1, keepdim=True),
    "sort": lambda x: x.sort(2)[0] + x.argsort(3) * 0.1,
    "argmax": lambda x: x * x.flatten(2).argmax(-1)[..., None, None] + x.argmin(2, keepdim=True),
    "gather": lambda x: x.gather(2, x.argsort(2)) + x.take_along_dim(x.argsort(3), 3),
    "scatter": lambda x: torch.zeros_like(x).scatter_(3, x.argsort(3), x) + x.scatter_add(2, x.argsort(2), x),
    "index add": lambda x: x.index_add(2, torch.tensor([0, 4]), x[:, :, 1:3]),
    "index put": written,
    "roll": lambda x: x.roll((1, 2), (2, 3)) + x.rot90(1, (2, 3)),
    "windows": lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2)),
    "buckets": lambda x: torch.bucketize(x, torch.tensor([0.0, 1.0])) * x,
    "triangles": lambda x: x.tril() + x.triu(1) * 2,
    "inverse": lambda x: torch.linalg.inv(x + 90 * torch.eye(6)) * 90,
    "distances": lambda x: x + torch.cdist(x.flatten(2).mT, x.flatten(2).mT).mean((1, 2))[:, None, None, None],
    "cosine": lambda x: x * functional.cosine_similarity(x, x.flip(2), dim=1)[:, None],
    "diagonals": lambda x: x + torch.diag_embed(x.diagonal(dim1=2, dim2=3)),
    "ellipsis": lambda x: torch.einsum("...chw,...cHw->...chw", x, x) + torch.einsum("ncii->nc", x)[..., None, None],
    "norms": lambda x: x / x.norm(dim=1, keepdim=True) + torch.linalg.norm(x, dim=(2, 3))[..., None, None],
    "one hot": lambda x: x + functional.one_hot((x > 0).long(), 2).float().sum(-1),
    "mesh": lambda x: x + torch.meshgrid(torch.arange(6.0), torch.arange(6.0), indexing="ij")[0],
    "outer product": lambda x: x + torch.outer(x.mean((0, 2, 3)), torch.ones(6))[None, :, :, None],
    "joined": lambda x: torch.hstack([x, x])[:, : x.shape[1]],
}


@pytest.mark.parametrize("name", POSITIONS)
def test_operators_over_positions_let_channels_pass(name):
    torch.manual_seed(0)
    middle = POSITIONS[name]
    network = Composed(lambda self, x: self.out(middle(self.stem(x))), stem=conv(3, 8), out=conv(8, 3)).eval()
    one = Cut(network, torch.zeros(2, 3, 6, 6))
    assert {group.group.name: group.group.channels for group in one.channels} == {"stem": 8} and not one.trace.walls
    one.prove()
    if name not in ("sort", "argmax", "inverse"):
        one.compare()


@pytest.mark.parametrize("wall", [lambda x: torch.fft.fft(x, dim=1).real, lambda x: x[:, :1] + x.as_strided(x.shape, x.stride())])
def test_channels_that_are_combined_with_each_other_are_kept(wall):
    network = Composed(
        lambda self, x: self.out(wall(self.inner(self.stem(x)))), stem=conv(3, 8), inner=nn.Conv2d(8, 6, 1), out=conv(6, 3)
    ).eval()
    one = Cut(network, torch.zeros(1, 3, 6, 6))
    assert {group.group.name: group.group.channels for group in one.channels} == {"stem": 8}
    one.prove()
    one.compare()
