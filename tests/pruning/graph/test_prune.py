import warnings
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune as masks
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import gcc
from gcc.deploy.latency import Latency
from gcc.errors import BudgetError, GccError, PluginError, PruningWarning
from gcc.pruning.cost import cost_of
from gcc.pruning.graph.graph_form import PrunedGraph
from tests.helpers.graph_toys import CONSTRUCTS, TOKENS, Composed, built, conv, weight_norm_by_hooks

IMAGE = torch.zeros(1, 3, 8, 8)


def chain():
    torch.manual_seed(0)
    return nn.Sequential(conv(3, 16), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 24), nn.BatchNorm2d(24), nn.ReLU(), conv(24, 3))


@pytest.mark.parametrize(
    ("budget", "measure"), [("40%", "macs"), ("30%params", "parameters"), ("150K", "macs"), ("2Kparams", "parameters")]
)
@pytest.mark.parametrize("metric", ["slimming", "l1"])
def test_every_budget_is_kept_and_used(budget, measure, metric):
    network = chain()
    with torch.no_grad():
        for norm in (network[1], network[4]):
            norm.weight.uniform_(0, 1)
    full, small = cost_of(network, IMAGE), cost_of(gcc.prune(network, IMAGE, metric, budget), IMAGE)
    limit = {"40%": 0.4 * full.macs, "30%params": 0.3 * full.parameters, "150K": 150_000, "2Kparams": 2_000}[budget]
    assert 0.85 * limit <= getattr(small, measure) <= limit


@torch.no_grad()
def test_the_most_important_channels_stay_with_their_weights():
    network = chain()
    scales = torch.randperm(16, generator=torch.Generator().manual_seed(0)) + 10.0
    network[1].weight.copy_(scales)
    network[4].weight.fill_(100.0)
    smaller = gcc.prune(network, IMAGE, "slimming", "70%")
    left = sorted(scales.argsort(descending=True)[: smaller[0].out_channels].tolist())
    assert 1 < len(left) < 16 and smaller[3].out_channels == 24
    for name in ("weight", "bias"):
        assert torch.equal(getattr(smaller[0], name), getattr(network[0], name)[left])
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert torch.equal(getattr(smaller[1], name), getattr(network[1], name)[left])
    assert torch.equal(smaller[3].weight, network[3].weight[:, left])
    assert (smaller[0].out_channels, smaller[1].num_features, smaller[3].in_channels) == (len(left),) * 3


def test_it_trains_and_is_as_the_generator_was():
    network = chain().train()
    network[6].requires_grad_(False)
    smaller = gcc.prune(network, IMAGE)
    assert smaller.training and smaller[1].training and network.training
    assert [p.requires_grad for p in smaller.parameters()] == [p.requires_grad for p in network.parameters()]
    smaller(torch.randn(2, 3, 8, 8)).square().mean().backward()
    assert all((p.grad is not None) == p.requires_grad for p in smaller.parameters())
    assert all(p.grad is None for p in network.parameters())
    assert not {id(p) for p in smaller.parameters()} & {id(p) for p in network.parameters()}


def test_a_share_stays_and_widths_are_round():
    smaller = gcc.prune(chain(), IMAGE, "l1", "45%", min_keep_ratio=0.5, round_to=4)
    widths = [smaller[0].out_channels, smaller[3].out_channels]
    assert widths[0] >= 8 and widths[1] >= 12 and all(width % 4 == 0 for width in widths)
    with pytest.raises(BudgetError, match="between"):
        gcc.prune(chain(), IMAGE, "l1", "10%", min_keep_ratio=0.5)


@pytest.mark.parametrize(("old", "new", "value"), [("keep", "min_keep_ratio", 0.7), ("counter", "mac_counter", "paper")])
def test_keywords_of_version_0_1_still_work_and_name_the_present_ones(old, new, value):
    with pytest.warns(FutureWarning, match=rf"prune\(\): the keyword {old} is now called {new}") as warned:
        smaller = gcc.prune(chain(), IMAGE, "l1", "60%", **{old: value})
    assert warned[0].filename == __file__
    expected = gcc.prune(chain(), IMAGE, "l1", "60%", **{new: value})
    assert smaller.state_dict().keys() == expected.state_dict().keys()
    assert all(torch.equal(tensor, smaller.state_dict()[name]) for name, tensor in expected.state_dict().items())
    with pytest.raises(TypeError, match="both are given"):
        gcc.prune(chain(), IMAGE, "l1", "60%", **{old: value, new: value})


@pytest.mark.slow
def test_the_callers_autocast_changes_nothing():
    # In narrow precision, the outputs of the pruned attention differ from those of the full one.
    torch.manual_seed(0)
    network, example = (
        nn.Sequential(nn.TransformerEncoderLayer(6, 2, 16, batch_first=True), nn.Linear(6, 8), nn.Linear(8, 6)),
        torch.zeros(TOKENS),
    )
    expected = gcc.prune(network, example, "l1", "60%")
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            smaller = gcc.prune(network, example, "l1", "60%")
            assert network.eval()(example).dtype == dtype
        assert all(torch.equal(tensor, smaller.state_dict()[name]) for name, tensor in expected.state_dict().items())


def test_the_warning_of_narrow_layers_names_the_callers_line():
    network = chain()
    torch.nn.init.uniform_(network[4].weight, 0, 0.1)
    with pytest.warns(PruningWarning, match="leaves few channels") as warned:
        gcc.prune(network, IMAGE, "slimming", "5%")
    assert warned[0].filename == __file__


def test_fresh_weights_are_drawn_and_inherited_ones_are_not():
    network = chain()
    torch.manual_seed(1)
    fresh = gcc.prune(network, IMAGE, "l1", "50%", weights="fresh")
    inherited = gcc.prune(network, IMAGE, "l1", "50%")
    assert fresh[0].weight.shape == inherited[0].weight.shape
    assert not set(fresh[0].weight.flatten().tolist()) & set(network[0].weight.flatten().tolist())
    assert set(inherited[0].weight.flatten().tolist()) <= set(network[0].weight.flatten().tolist())


def test_what_belongs_to_no_layer_is_inherited_by_fresh_weights():
    network, example = built("learned constant")
    with pytest.warns(PruningWarning, match="'constant'. To draw them anew, define reset_parameters in "):
        smaller = gcc.prune(network, example, "l1", "60%", weights="fresh")
    assert torch.equal(smaller.constant, network.constant) and smaller.first.out_channels < 8


def test_latencies_are_measured(monkeypatch):
    timed = []

    def measured(network, example, runtime):
        timed.append(network)
        milliseconds = sum(p.numel() for p in network.parameters()) / 1000
        return Latency(milliseconds, milliseconds, runtime, 1)

    monkeypatch.setattr("gcc.pruning.graph.prune.measure_optimized", measured)
    smaller = gcc.prune(chain(), IMAGE, "l1", "2ms@cpu")
    assert 1_500 < sum(p.numel() for p in smaller.parameters()) <= 2_000 and all(not p.is_meta for p in timed[0].parameters())


def test_a_metric_that_reads_gradients_gets_them(monkeypatch):
    class Steep(gcc.registry.ImportanceMetric):
        l1_strength = 0.0
        gradient_batches = 2

        def score(self, network, group):
            (producer,) = group.producers
            return network.get_parameter(producer.parameter).grad.transpose(0, producer.dim).reshape(group.channels, -1).abs().sum(1)

        def regularized_parameters(self, network, group):
            return []

    monkeypatch.setattr("gcc.pruning.graph.prune.METRICS.load", lambda name: Steep)
    network, example = built("gated linear unit")
    with pytest.raises(GccError, match=r"'steep' reads gradients.*backward"):
        gcc.prune(network, example, "steep", "50%")
    network(torch.randn(example.shape)).square().sum().backward()
    slopes = network[0].weight.grad.abs().flatten(1).sum(1)
    smaller = gcc.prune(network, example, "steep", "50%")
    left = sorted((slopes[:8] + slopes[8:]).argsort(descending=True)[: smaller[3].in_channels].tolist())
    assert torch.equal(smaller[3].weight, network[3].weight[:, left])


@pytest.mark.parametrize("name", ["concatenations", "many heads", "grouped", "linear after flatten", "spectral norm", "chunk", "noise"])
def test_constructs_are_pruned_within_the_budget(name):
    network, example = built(name)
    smaller = gcc.prune(network, example, "l1", "70%params")
    share = sum(p.numel() for p in smaller.parameters()) / sum(p.numel() for p in network.parameters())
    assert 0.3 < share <= 0.7
    assert smaller(example).shape == network(example).shape and set(CONSTRUCTS[name][2]) <= {*dict(network.named_modules())}


class Conditional(nn.Module):
    """Images of noise and a class, whose embedding scales and shifts the features."""

    def __init__(self):
        super().__init__()
        self.up, self.table, self.norm, self.out = nn.Linear(7, 32), nn.Embedding(5, 16), nn.BatchNorm2d(8, affine=False), conv(8, 3)

    def forward(self, z, label):
        scale, shift = self.table(label)[:, :, None, None].chunk(2, 1)
        return self.out(torch.relu(self.norm(self.up(z).view(z.shape[0], -1, 2, 2)) * scale + shift))


def test_a_generator_of_several_inputs_is_pruned():
    inputs = (torch.zeros(2, 7), torch.tensor([0, 4]))
    network = Conditional()
    smaller = gcc.prune(network, inputs, "l1", "50%")
    width = smaller.out.in_channels
    assert 1 < width < 8 and (smaller.up.out_features, smaller.table.embedding_dim, smaller.norm.num_features) == (
        4 * width,
        2 * width,
        width,
    )
    assert smaller(*inputs).shape == (2, 3, 2, 2)
    assert cost_of(smaller, *inputs).macs <= 0.5 * cost_of(network, *inputs).macs
    assert cost_of(smaller, *inputs).resolution == "2x7 and 2"


class Attention(nn.Module):
    """Heads as wide as their share of the features, as vision transformers write it."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv, self.join = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, length, width = x.shape
        query, key, value = self.qkv(x).reshape(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        weights = (query @ key.mT * (width // self.heads) ** -0.5).softmax(-1)
        return self.join((weights @ value).transpose(1, 2).reshape(n, length, width))


def test_heads_that_are_a_share_of_the_features_shrink_with_them():
    torch.manual_seed(0)
    attention, wide = (
        Attention(12, 2),
        Composed(lambda self, x: x + self.down(torch.relu(self.up(x))), up=nn.Linear(12, 24), down=nn.Linear(24, 12)),
    )
    network = nn.Sequential(nn.Linear(5, 12), nn.LayerNorm(12), attention, wide, nn.Linear(12, 3))
    smaller = gcc.prune(network, torch.zeros(2, 4, 5), "l1", "40%params")
    width = smaller[0].out_features
    assert width % 2 == 0 and 2 <= width < 12
    assert [smaller[2].qkv.in_features, smaller[2].qkv.out_features, smaller[2].join.in_features] == [width, 3 * width, width]
    assert smaller[3].up.out_features < 24 and smaller[1].normalized_shape == (width,)


class Fixed(nn.Module):
    """Sizes written as constants."""

    def __init__(self):
        super().__init__()
        self.up, self.out = nn.Linear(7, 8 * 4), conv(8, 3)

    def forward(self, z):
        return self.out(self.up(z).view(-1, 8, 2, 2))


class Swallowed(Fixed):
    """A constant that fits, whatever the width."""

    def forward(self, z):
        features = self.up(z).view(z.shape[0], -1, 2, 2)
        return self.out(features) + features[:, :4].mean(1, keepdim=True)


class Undecided(Fixed):
    """A way that depends on values."""

    def forward(self, z):
        features = self.up(z).view(z.shape[0], -1, 2, 2)
        return self.out(features * 2 if features.mean() > 0 else features)


class Named(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.body = inner

    def forward(self, z):
        return self.body(z)


def test_what_cannot_be_followed_is_refused_by_name_and_nothing_is_touched():
    network = Named(Undecided()).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(GccError, match=r"layer 'body' \(Undecided\) in test_prune.py:\d+ `return self.out\(features \* 2 if.*torch.export"):
        gcc.prune(network, torch.zeros(2, 7), "l1", "80%")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training and network.body.up.out_features == 32


@pytest.mark.parametrize(
    ("inner", "line"),
    [
        (Fixed, r"layer 'body' \(Fixed\) in test_prune.py:\d+ `return self.out\(self.up\(z\).view\(-1, 8, 2, 2\)\)`.*-1"),
        (Swallowed, r"layer 'body' \(Swallowed\), slice in .*:\d+ `return .*: with fewer channels this returns \[\[2, 4, 2, 2\]\]"),
    ],
)
def test_a_warning_names_the_constant_for_which_a_graph_is_made(inner, line):
    network = Named(inner())
    with pytest.warns(PruningWarning, match=line):
        smaller = gcc.prune(network, torch.zeros(2, 7), "l1", "80%")
    assert isinstance(smaller, PrunedGraph) and smaller.body.up.out_features < 32 == network.body.up.out_features


def test_channels_that_enter_an_operator_without_a_rule_are_kept_and_a_warning_names_it():
    network = nn.Sequential(
        nn.Linear(6, 8), nn.GRU(8, 8, batch_first=True), Composed(lambda self, x: self.out(x[0]), out=nn.Linear(8, 16)), nn.Linear(16, 2)
    )
    example = torch.zeros(2, 4, 6)
    with pytest.warns(PruningWarning, match=r"are kept, because pruning has no rule for them: layer '1' \(GRU\), gru\. ") as warned:
        smaller = gcc.prune(network, example, "l1", "92%params")
    assert smaller[0].out_features == 8 and smaller[2].out.out_features < 16 and warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gcc.prune(network, example, "l1", "92%params", leave=["1"])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"budget": "lots"}, "budget 'lots'"),
        ({"budget": "0.1%"}, "between"),
        ({"min_keep_ratio": 1.5}, "min_keep_ratio = 1.5"),
        ({"round_to": 0}, "round_to = 0"),
        ({"weights": "none"}, "'inherited' or 'fresh'"),
        ({"leave": ["7"]}, "'7'"),
        ({"leave": "0"}, "leave = '0': expected a collection with a string as its items"),
        ({"mac_counter": "flops"}, "mac_counter = 'flops': expected 'exact' or 'paper'"),
        ({"budget": 0.5}, "budget = 0.5: expected a string"),
        ({"example_input": IMAGE[:0]}, "empty"),
        ({"generator": nn.Sequential(conv(3, 8), conv(8, 3)).half()}, "0.weight is float16: expected .* float32"),
        ({"metric": "slimmings"}, "slimming"),
        ({"example_input": [None, 3]}, "no tensor: list; expected a tensor"),
        ({"example_input": (IMAGE, object())}, "a value of another type: object; expected a tensor"),
        ({"example_input": (IMAGE, IMAGE)}, "^the network "),
        ({"example_input": (IMAGE, IMAGE), "budget": "8ms@cpu"}, "one input, not for 2"),
        ({"example_input": torch.zeros(1, 4, 8, 8)}, r"layer '0' \(Conv2d\).*\(1, 4, 8, 8\)"),
        ({"generator": nn.Conv2d(3, 3, 3)}, "no channel"),
    ],
)
def test_what_cannot_be_used_is_refused(settings, told):
    with pytest.raises(GccError, match=told):
        gcc.prune(**{"generator": chain(), "example_input": IMAGE, "metric": "l1"} | settings)


def test_slimming_needs_scales():
    with pytest.raises(PluginError, match="l1"):
        gcc.prune(nn.Sequential(conv(3, 8), conv(8, 3)), IMAGE)


def test_a_generator_that_has_just_trained_is_pruned():
    network = CONSTRUCTS["spectral norm by hooks"][0]().train()
    network(IMAGE).mean().backward()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    smaller = gcc.prune(network, IMAGE, "l1", "50%")
    assert smaller[0].out_channels == 4
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Gated(nn.Module):
    """A gated unit under weight norm; each of its channels has two outputs that are not consecutive."""

    def __init__(self):
        super().__init__()
        self.body, self.last = weight_norm(conv(3, 16)), conv(8, 3)

    def forward(self, x):
        value, gate = self.body(x).chunk(2, 1)
        return self.last(value * gate.sigmoid())


def test_rescaled_storage_prunes_the_same_channels():
    torch.manual_seed(0)
    network = Gated().eval()
    with torch.no_grad():
        network.body.bias.zero_()
        dead = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]).repeat(2)
        network.body.parametrizations.weight.original0.mul_(dead.view(16, 1, 1, 1).clamp(min=1e-6))
        # The stored directions are the larger, the less their channels do.
        network.body.parametrizations.weight.original1.div_(dead.view(16, 1, 1, 1) + 0.1)
    smaller = gcc.prune(network, IMAGE, "l1", "51%params")
    assert smaller.last.in_channels == 4
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(smaller(x), network(x), rtol=1e-4, atol=1e-5)


class ScaledConvolution(nn.Conv2d):
    """A convolution whose code multiplies its weight by learned gains, in either order."""

    def __init__(self, inputs, outputs, gain_first):
        super().__init__(inputs, outputs, 3, padding=1)
        self.gain, self.gain_first = nn.Parameter(torch.rand(outputs, 1, 1, 1) + 0.01), gain_first

    def forward(self, x):
        weight = self.gain * self.weight if self.gain_first else self.weight * self.gain
        return nn.functional.conv2d(x, weight, self.bias, padding=1)


def masked(layer):
    with torch.no_grad():
        return masks.random_unstructured(layer, "weight", amount=0.5)


@pytest.mark.parametrize(
    ("layer", "computed"),
    [
        (lambda: ScaledConvolution(3, 16, True), lambda layer: layer.gain * layer.weight),
        (lambda: ScaledConvolution(3, 16, False), lambda layer: layer.gain * layer.weight),
        (lambda: masked(conv(3, 16)), lambda layer: layer.weight_orig * layer.weight_mask),
        (lambda: spectral_norm(conv(3, 16), dim=1), lambda layer: layer.weight),
        (lambda: weight_norm(conv(3, 16), dim=None), lambda layer: layer.weight),
    ],
    ids=["gain first", "gain last", "pruning mask", "spectral norm of the inputs", "one norm for all"],
)
def test_a_weight_that_is_computed_ranks_by_its_value_and_stays(layer, computed):
    torch.manual_seed(0)
    network = nn.Sequential(layer(), nn.ReLU(), conv(16, 3)).eval()
    # A later layer under the same kind of norm must not be read as one that produces these channels.
    network[2] = spectral_norm(network[2], dim=1).eval()
    weight = computed(network[0]).detach()
    kept = weight.abs().sum((1, 2, 3)).topk(8).indices.sort().values
    smaller = gcc.prune(network, IMAGE, "l1", "50%")
    assert torch.equal(smaller[0].bias, network[0].bias[kept])
    smaller(IMAGE)
    torch.testing.assert_close(computed(smaller[0]), weight[kept], rtol=1e-4, atol=1e-6)


class Shared(nn.Module):
    """A layer with two names, and two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.stem, self.one, self.other, self.out = conv(3, 8), conv(8, 8), conv(8, 8), conv(8, 3)
        self.again, self.other.weight = self.one, self.one.weight

    def forward(self, x):
        return self.out(self.again(torch.relu(self.other(torch.relu(self.one(self.stem(x)))))))


def test_what_layers_share_is_shared_afterwards_and_the_generator_stays_as_it_is():
    network = Shared()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    smaller = gcc.prune(network, IMAGE, "l1", "50%")
    assert smaller.again is smaller.one and smaller.other.weight is smaller.one.weight and 1 < smaller.one.in_channels < 8
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_by_hooks_stay_where_they_are():
    network, example = built("weight norm by hooks")
    gcc.prune(network, example, "l1", "50%")
    assert not network[0].weight.is_meta


class Counting(nn.Module):
    """Counts its passes, those in evaluation mode, too, and grows brighter with each."""

    def __init__(self):
        super().__init__()
        self.stem, self.out = conv(3, 8), conv(8, 3)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        self.passes += 1
        return self.out(torch.relu(self.stem(x))) * self.passes


def test_what_passes_change_stays_as_it_was():
    network = Counting()
    smaller = gcc.prune(network, IMAGE, "l1", "50%")
    assert smaller.stem.out_channels < 8 and (network.passes, smaller.passes) == (0, 0)


class Supervised(nn.Module):
    """A head that runs in training mode only, as in deep supervision; `resized` computes a size from a constant."""

    def __init__(self, resized=False):
        super().__init__()
        self.stem, self.norm, self.head, self.early = conv(3, 16), nn.BatchNorm2d(16), conv(16, 3), conv(16, 3, 1)
        self.resized = resized

    def forward(self, x):
        features = torch.relu(self.norm(self.stem(x)))
        if not self.training:
            return self.head(features)
        return self.head(features), self.early(features.view(x.shape[0], 16, -1, 1) if self.resized else features)


def test_a_head_that_runs_in_training_only_is_pruned_along():
    torch.manual_seed(0)
    network = Supervised()
    smaller = gcc.prune(network, IMAGE, "l1", "50%")
    width = smaller.stem.out_channels
    assert width < 16 and (smaller.early.in_channels, tuple(smaller.early.weight.shape)) == (width, (3, width, 1, 1))
    # The head reads the same channels of the same features as before.
    chosen = [int((network.stem.weight == row).flatten(1).all(1).nonzero()) for row in smaller.stem.weight]
    torch.testing.assert_close(smaller.early.weight, network.early.weight[:, chosen])
    assert [output.shape for output in smaller.train()(IMAGE)] == [output.shape for output in network.train()(IMAGE)]


def test_a_head_for_training_with_constants_makes_a_graph():
    with pytest.warns(PruningWarning, match=r"in training mode, layer 'early' .* in test_prune.py:\d+ `return .*self.early\(features.view"):
        smaller = gcc.prune(Supervised(resized=True), IMAGE, "l1", "50%")
    assert smaller.early.weight.shape[1] == smaller.stem.weight.shape[0] < 16
    assert len(smaller.train()(IMAGE)) == 2 and smaller.eval()(IMAGE).shape == IMAGE.shape


def test_a_head_for_training_that_cannot_be_followed_is_refused_by_its_name():
    with pytest.raises(GccError, match=r"in training mode, the pruned generator fails: layer 'early' \(Conv2d\)"):
        gcc.prune(Chosen(), IMAGE, "l1", "50%")


class Chosen(Supervised):
    """Chooses its way in training by a value, so that it cannot be exported."""

    def forward(self, x):
        features = torch.relu(self.norm(self.stem(x)))
        if self.training and features.sum() > -1:
            return self.head(features), self.early(features)
        return self.head(features)


class Returning(Supervised):
    """Returns its features in training mode."""

    def forward(self, x):
        features = self.stem(x)
        made = self.head(torch.relu(self.early(features)))
        return (made, features) if self.training else made


def test_features_that_are_an_output_in_training_stay():
    network = Returning()
    network.early, network.head = conv(16, 16), conv(16, 3)
    smaller = gcc.prune(network, IMAGE, "l1", "80%")
    assert smaller.stem.out_channels == 16 and smaller.early.out_channels < 16


class HandWrittenNorm(nn.Module):
    """Spectral norm with a power iteration that writes `.data`."""

    def __init__(self, layer):
        super().__init__()
        self.layer, weight = layer, layer.weight
        del layer._parameters["weight"]
        layer.bar = nn.Parameter(weight.data)
        layer.u = nn.Parameter(functional.normalize(torch.randn(weight.shape[0]), dim=0), requires_grad=False)

    def forward(self, x):
        rows = self.layer.bar.view(self.layer.bar.shape[0], -1)
        v = functional.normalize(torch.mv(rows.t().data, self.layer.u.data), dim=0)
        self.layer.u.data = functional.normalize(torch.mv(rows.data, v), dim=0)
        self.layer.weight = self.layer.bar / torch.dot(self.layer.u, torch.mv(rows, v))
        return self.layer(x)


def test_code_that_writes_data_is_followed_and_the_generators_vectors_stay():
    network = nn.Sequential(HandWrittenNorm(conv(3, 16)), nn.ReLU(), HandWrittenNorm(conv(16, 3)))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    smaller = gcc.prune(network, IMAGE, "l1", "50%")
    assert smaller[0].layer.bar.shape == (8, 3, 3, 3) and smaller[0].layer.u.shape == (8,)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not hasattr(network[0].layer, "weight")


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 3))

    def forward(self, x, label=None, alpha=1.0, *others):
        x *= 255
        return torch.lerp(x, self.body(x), alpha) / 255


@pytest.mark.parametrize("more", [(), (None,), (None, 0.5), (None, 1.0, {"names": ["a", "b"], "sizes": (3, True)})])
@pytest.mark.parametrize("kind", [tuple, list])
def test_inputs_may_be_changed_in_place_and_have_constants_among_them(more, kind):
    example = torch.rand(1, 3, 8, 8)
    before = example.clone()
    assert gcc.prune(InPlace(), kind([example, *more]), "l1", "50%").body[0].out_channels == 8
    assert torch.equal(example, before)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("wrapped", [nn.DataParallel, lambda network: torch.compile(nn.DataParallel(network)), torch.compile])
def test_what_wraps_a_generator_is_taken_off(wrapped):
    inner = nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 8), conv(8, 3))
    smaller = gcc.prune(wrapped(inner), IMAGE, "l1", "80%", leave=["0"])
    assert type(smaller) is nn.Sequential and smaller[0].out_channels == 16 and smaller[2].out_channels < 8


def test_layers_may_be_left_by_the_names_of_what_wraps_them():
    inner = nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 8), conv(8, 3))
    by_long_name = gcc.prune(nn.DataParallel(inner), IMAGE, "l1", "80%", leave=["module.0"])
    assert by_long_name[0].out_channels == 16


class ByKeywords(nn.Module):
    """Calls functions by keywords, as StyleGAN2's code does."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Parameter(torch.randn(16, 3, 3, 3)), nn.Parameter(torch.randn(3, 19, 3, 3))

    def forward(self, x):
        features = functional.conv2d(input=x, weight=self.one, padding=1)
        return functional.conv2d(weight=self.two, input=torch.cat(tensors=[x, features], dim=1), padding=1)


def test_functions_may_be_called_by_keywords():
    smaller = gcc.prune(ByKeywords(), IMAGE, "l1", "50%")
    width = smaller.one.shape[0]
    assert width < 16 and smaller.two.shape == (3, 3 + width, 3, 3)


class Unembed(nn.Module):
    """Takes a size from an attribute, as SwinIR's `PatchUnEmbed` does."""

    def __init__(self, width):
        super().__init__()
        self.width = self.steps = width

    def forward(self, x, size):
        return x.transpose(1, 2).view(x.shape[0], self.width, *size)


class Windowed(nn.Module):
    """Two obstacles: heads that shrink with the features, and a size that a module stores."""

    def __init__(self, unembed, width=24):
        super().__init__()
        self.stem, self.norm, self.attention = conv(3, width), nn.LayerNorm(width), Attention(width, 2)
        self.unembed, self.out = unembed, conv(width, 3)

    def forward(self, x):
        features = self.stem(x)
        tokens = features.flatten(2).transpose(1, 2)
        return self.out(features + self.unembed(tokens + self.attention(self.norm(tokens)), x.shape[2:]))


def test_a_size_that_a_module_stores_is_followed():
    network = Windowed(Unembed(24))
    smaller = gcc.prune(network, IMAGE, "l1", "50%")
    assert smaller.unembed.width == smaller.stem.out_channels < 24 and network.unembed.width == 24
    assert smaller.unembed.steps == 24


class Chained(nn.Module):
    """Layers of one width, some of which share a module that stores it."""

    def __init__(self, storing):
        super().__init__()
        self.layers, self.out = nn.ModuleList([conv(3, 12), conv(12, 12), conv(12, 12)]), conv(12, 3)
        self.storing, self.unembed = storing, Unembed(12)

    def forward(self, x):
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number in self.storing:
                x = self.unembed(x.flatten(2).transpose(1, 2), x.shape[2:])
        return self.out(x)


@pytest.mark.parametrize("storing", [(0, 1), (0, 2), (1, 2)])
def test_a_size_that_two_widths_equal_by_chance_makes_a_graph(storing):
    with pytest.warns(PruningWarning, match=r"layer 'unembed' \(Unembed\)"):
        smaller = gcc.prune(Chained(storing), IMAGE, "l1", "50%")
    assert isinstance(smaller, PrunedGraph)


def test_sizes_of_many_groups_are_followed_in_few_trials(monkeypatch):
    trials = []
    monkeypatch.setattr(
        "gcc.pruning.graph.ways.cost_of_shapes", lambda network, *inputs: trials.append(network) or cost_of(network, *inputs)
    )
    torch.manual_seed(0)
    network = nn.Sequential(conv(3, 12), *(conv(12, 12) for _ in range(12)), Chained((0,)))
    network[-1].layers[0] = conv(12, 12)
    smaller = gcc.prune(network, IMAGE, "l1", "80%")
    assert smaller[-1].unembed.width < 12 and len(trials) < 18


class Literal(nn.Module):
    def forward(self, x, size):
        return x.transpose(1, 2).view(x.shape[0], 24, *size)


def test_of_two_obstacles_the_one_that_stands_in_the_way_is_named():
    with pytest.warns(
        PruningWarning, match=r"layer 'unembed' \(Literal\) in test_prune.py:\d+ `return x.transpose\(1, 2\).view\(x.shape\[0\], 24"
    ):
        gcc.prune(Windowed(Literal()), IMAGE, "l1", "50%")


def test_attention_with_one_channel_per_head_is_pruned():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), Attention(4, 4), nn.Linear(4, 64), nn.GELU(), nn.Linear(64, 3))
    smaller = gcc.prune(network, torch.rand(2, 6, 5), "l1", "80%params")
    assert smaller[3].out_features < 64 and smaller(torch.rand(2, 6, 5)).shape == (2, 6, 3)


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, weight_norm_by_hooks])
def test_weight_norm_may_have_gains_and_directions_of_zero(norm):
    torch.manual_seed(0)
    network = nn.Sequential(norm(conv(3, 8)), nn.ReLU(), norm(conv(8, 8)), nn.ReLU(), conv(8, 3))
    tensors = dict(network.named_parameters())
    gains, directions = ([tensor for name, tensor in tensors.items() if end in name] for end in ("original0", "original1"))
    if not gains:
        gains, directions = ([tensor for name, tensor in tensors.items() if end in name] for end in ("weight_g", "weight_v"))
    with torch.no_grad():
        gains[0][5:] = 0
        gains[1][:2] = 0
        # This output reads nothing but inputs that are removed.
        directions[1][3, :5] = 0
    smaller = gcc.prune(network, IMAGE, "l1", "60%")
    assert smaller(IMAGE).isfinite().all()


class Equalised(nn.Module):
    """A convolution with an equalised learning rate: its gain follows from its fan-in in every pass."""

    def __init__(self, before, after):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(after, before, 3, 3)), nn.Parameter(torch.randn(after))

    def forward(self, x):
        return functional.conv2d(x, self.weight * (self.weight[0].numel() ** -0.5), self.bias, padding=1)


def test_gains_from_a_width_are_folded_into_inherited_weights():
    torch.manual_seed(0)
    network = nn.Sequential(Equalised(3, 16), nn.ReLU(), Equalised(16, 3))
    with torch.no_grad():
        # Half of the channels are dead.
        network[0].weight[8:], network[0].bias[8:] = 0, 0
    example = torch.randn(1, 3, 8, 8)
    smaller = gcc.prune(network, example, "l1", "50%")
    assert smaller[0].weight.shape[0] == 8
    torch.testing.assert_close(smaller(example), network(example), rtol=1e-4, atol=1e-5)
    # Fresh weights are drawn for their own gain; a module without `reset_parameters` inherits its tensors as they are.
    fresh = gcc.prune(network, example, "l1", "50%", weights="fresh")
    torch.testing.assert_close(fresh[2].weight, network[2].weight[:, :8])


class Scaled(nn.Module):
    """Divides its features by the square root of their number."""

    def __init__(self):
        super().__init__()
        self.stem, self.out = conv(3, 16), conv(16, 3)

    def forward(self, x):
        features = self.stem(x).relu()
        return self.out(features / features.shape[1] ** 0.5)


def changed_numbers_of(network, example, **settings):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        smaller = gcc.prune(network, example, "l1", **settings)
    return smaller, [warning for warning in caught if "other numbers" in str(warning.message)]


def test_numbers_from_a_width_that_no_weight_absorbs_are_reported():
    network = Scaled()
    smaller, (warning,) = changed_numbers_of(network, IMAGE, budget="25%")
    assert smaller.stem.out_channels == 4 and warning.category is PruningWarning and warning.filename == __file__
    assert ": 4 becomes 2 at the network (Scaled), div in test_prune.py:" in str(warning.message)
    # Nothing of this size changes, or no weight is inherited.
    assert not changed_numbers_of(Scaled(), IMAGE, budget="25%", weights="fresh")[1]
    for unchanged in (chain(), nn.Sequential(Equalised(3, 16), nn.ReLU(), Equalised(16, 3))):
        assert not changed_numbers_of(unchanged, IMAGE, budget="50%")[1]


@pytest.mark.parametrize(("name", "numbers"), [("attention", "2 becomes 1.414"), ("many heads", "0.5 becomes 0.7071")])
def test_the_scale_of_attention_is_reported(name, numbers):
    network, example = built(name)
    _, (warning,) = changed_numbers_of(network, example, budget="50%")
    assert numbers in str(warning.message)


def branch(self, x):
    features = self.stem(x)
    if features.sum() > 0:
        features = features * 2
    return self.out(features)


def number(self, x):
    features = self.stem(x)
    return self.out(features * float(features.max()))


def count(self, x):
    return self.out(self.stem(x)) * len(torch.nonzero(x))


@pytest.mark.parametrize("run", [branch, number, count])
def test_code_that_depends_on_values_is_refused_in_one_line(run, capfd):
    with pytest.raises(GccError) as caught:
        gcc.prune(Composed(run, stem=conv(3, 8), out=conv(8, 3)), IMAGE, "l1", "50%")
    text = str(caught.value)
    assert "\n" not in text and "what this code does depends on the values of a tensor; expected code that" in text
    assert "test_prune.py:" in text or "graph_toys.py:" in text
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "settings",
    [
        *({"budget": budget} for budget in ("0.1%", "1", "200%", "8ms@gpu", "-5%", "1Gparams", "10%")),
        {"generator": nn.Sequential(conv(3, 8), conv(8, 3)), "metric": "slimming"},
        {"metric": "slimmin"},
    ],
)
def test_messages_name_no_options_of_the_command_line_and_no_teacher(settings):
    with pytest.raises(GccError) as caught:
        gcc.prune(**{"generator": chain(), "example_input": IMAGE, "metric": "l1", "budget": "50%", "min_keep_ratio": 0.9} | settings)
    assert "--" not in str(caught.value) and "teacher" not in str(caught.value)


def test_a_layer_whose_weight_other_code_uses_stores_its_sizes():
    torch.manual_seed(0)
    network = Composed(
        lambda self, x: self.out(functional.conv2d(functional.conv2d(x, self.first.weight), self.second.weight, padding=1)),
        first=conv(3, 12, 1),
        second=nn.Conv2d(12, 8, 3),
        out=conv(8, 3),
    )
    smaller = gcc.prune(network, IMAGE, "l1", "50%")
    for layer in (smaller.first, smaller.second):
        assert (layer.out_channels, layer.in_channels) == layer.weight.shape[:2] and smaller.first.out_channels < 12


class Unlabelled(nn.Sequential):
    """A generator with an input for labels, of which there are none."""

    def forward(self, x, labels):
        return super().forward(x)


def test_an_input_without_values_beside_the_image_is_taken():
    network = Unlabelled(conv(3, 12), conv(12, 3))
    assert gcc.prune(network, (IMAGE, torch.zeros(1, 0)), "l1", "50%")[0].out_channels < 12
    with pytest.raises(GccError, match="example_input is empty"):
        gcc.prune(network, (IMAGE[:0], torch.zeros(1, 0)), "l1", "50%")


class Projected(nn.Module):
    """A generator whose code contains the number of channels that a linear layer returns."""

    def __init__(self, *inner):
        super().__init__()
        self.project, self.inner, self.out = nn.Linear(16, 128), nn.Sequential(*inner, conv(8, 16)), conv(16, 3)

    def forward(self, noise):
        return self.out(self.inner(self.project(noise).view(-1, 8, 4, 4)).relu())


def test_layers_whose_width_is_a_constant_of_the_code_are_named():
    with pytest.warns(PruningWarning, match="contains the number of channels of these layers as a constant, so they keep all: 'project'"):
        smaller = gcc.prune(Projected(), torch.randn(2, 16), "l1", "50%")
    assert type(smaller) is Projected and smaller.project.out_features == 128 and smaller.inner[-1].out_channels < 16


class Doubled(nn.Conv2d):
    """A residual convolution."""

    def __init__(self):
        super().__init__(8, 8, 3, padding=1)

    def forward(self, x):
        return x + super().forward(x)


@pytest.mark.parametrize(("inner", "budget"), [((), "8%"), ((Doubled(), Doubled(), Doubled()), "50%"), ((), "25%")])
def test_the_graph_is_pruned_if_constants_keep_more_than_half_of_the_budget(inner, budget):
    with pytest.warns(PruningWarning, match="its code, which contains sizes as constants: the number of channels of 'p"):
        smaller = gcc.prune(Projected(*inner), torch.randn(2, 16), "l1", budget)
    assert type(smaller).__name__ == "PrunedGraph" and smaller.project.out_features < 128
    assert smaller.project.out_features == 16 * smaller.inner[-1].in_channels


class Attended(nn.Module):
    """Multi-head attention between two linear layers."""

    def __init__(self):
        super().__init__()
        self.embed, self.attention, self.out = nn.Linear(6, 16), nn.MultiheadAttention(16, 4, batch_first=True), nn.Linear(16, 6)

    def forward(self, tokens):
        features = self.embed(tokens)
        return self.out(features + self.attention(features, features, features, need_weights=False)[0])


@torch.no_grad()
def test_multi_head_attention_loses_channels_of_its_features_and_of_every_head():
    torch.manual_seed(0)
    network = Attended().double()
    with pytest.warns(PruningWarning, match=r"runs its graph, .* \(MultiheadAttention\)"):
        smaller = gcc.prune(network, torch.zeros(TOKENS).double(), "l1", "40%")
    weights = dict(smaller.named_parameters())
    width, inner = weights["embed.weight"].shape[0], weights["attention.out_proj.weight"].shape[1]
    assert width < 16 and inner < 16 and inner % 4 == 0 and weights["attention.in_proj_weight"].shape == (3 * inner, width)
    tokens = torch.randn(TOKENS, dtype=torch.float64)
    features = tokens @ weights["embed.weight"].T + weights["embed.bias"]
    query, key, value = (features @ weights["attention.in_proj_weight"].T + weights["attention.in_proj_bias"]).split(inner, dim=-1)
    size = inner // 4
    attended = torch.zeros_like(value)
    for sample, start in product(range(len(tokens)), range(0, inner, size)):
        q, k, v = (part[sample, :, start : start + size] for part in (query, key, value))
        for row in range(len(q)):
            shares = torch.stack([(q[row] * other).sum() / size**0.5 for other in k]).softmax(0)
            attended[sample, row, start : start + size] = sum(share * other for share, other in zip(shares, v, strict=True))
    features += attended @ weights["attention.out_proj.weight"].T + weights["attention.out_proj.bias"]
    torch.testing.assert_close(smaller.eval()(tokens), features @ weights["out.weight"].T + weights["out.bias"])


def test_a_table_that_code_reads_states_its_size():
    class Coded(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.codes, self.out = conv(3, 8), nn.Embedding(5, 8), conv(8, 3)

        def forward(self, image):
            features = self.stem(image)
            return self.out(features + self.codes.weight[2][:, None, None])

    smaller = gcc.prune(Coded(), IMAGE, "l1", "50%")
    assert smaller.codes.embedding_dim == smaller.codes.weight.shape[1] == smaller.stem.out_channels < 8
