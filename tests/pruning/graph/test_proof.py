"""Wrong cuts that a comparison with the given weights, at the example's shape and in evaluation mode, does not find."""

import pytest
import torch
from torch import nn

import gcc
from gcc.errors import GccError, PruningWarning
from gcc.pruning.graph.aten_graph import Graph
from gcc.pruning.graph.graph_form import OtherSizesError, PrunedGraph
from gcc.pruning.graph.layer_rules import first
from gcc.pruning.graph.masked import Candidate
from gcc.pruning.graph.rules import RULES
from gcc.pruning.graph.training import require_same_training
from gcc.pruning.graph.verify import with_random_weights
from tests.helpers.graph_toys import Composed, conv
from tests.pruning.graph.test_operators import Cut

IMAGE = torch.zeros(1, 3, 8, 8)


def zeroed(layer):
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def gained(gain):
    """Return a network with a branch that swaps its channels, multiplied by a gain."""

    def run(self, x):
        features = self.stem(x)
        branch = torch.flip(torch.tanh(self.branch(features)), [1])
        return self.out(features + self.layers[0] * self.last(branch))

    network = Composed(run, stem=conv(3, 8), branch=conv(8, 6), last=conv(6, 8), out=conv(8, 3))
    network.layers = nn.ParameterList([torch.full((8, 1, 1), gain)])
    return network


HIDDEN = {
    "a gain of zero": ("flip", first, lambda: gained(0.0)),
    "a layer scale of a millionth": ("flip", first, lambda: gained(1e-6)),
    "a head of zeros": (
        "flip",
        first,
        lambda: Composed(lambda self, x: self.out(torch.flip(self.stem(x), [1])), stem=conv(3, 8), out=zeroed(conv(8, 3))),
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_wrong_rule_does_not_hide_behind_the_given_weights(name, monkeypatch):
    operator, rule, build = HIDDEN[name]
    torch.manual_seed(0)
    network = build()
    assert gcc.prune(network, IMAGE, "l1", "60%")(IMAGE).shape[1] == 3
    monkeypatch.setitem(RULES, operator, rule)
    with pytest.raises(GccError, match="with random weights, the pruned generator differs"):
        gcc.prune(network, IMAGE, "l1", "60%")


def by_batch(self, x):
    features = self.stem(x)
    levels = features.mean((2, 3))
    levels = levels.view(-1, 8).softmax(-1).view(x.shape[0], -1) if x.shape[0] > 1 else levels.softmax(-1)
    return self.out(features * levels[..., None, None])


def by_size(self, x):
    features = self.stem(x)
    if x.shape[2] > 8:
        features = features + features[:, :4].mean(1, keepdim=True)
    return self.out(features)


def by_a_layer_for_large_images(self, x):
    features = self.stem(x)
    return self.out(self.large(features) if x.shape[2] > 8 else features)


def by_area(self, x):
    features = self.stem(x)
    return self.out(features.roll(int(x.shape[2] > 8), 1)) if x.shape[2] > 8 else self.out(features)


ELSEWHERE = {"batch": by_batch, "size": by_size, "layer": by_a_layer_for_large_images, "order": by_area}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_constant_that_matters_at_another_shape_is_found(name):
    """The code is not proven; its graph is, for the sizes on which it runs the same operators."""
    torch.manual_seed(0)
    network = Composed(ELSEWHERE[name], stem=conv(3, 8), large=conv(8, 8), out=conv(8, 3))
    with pytest.warns(PruningWarning, match=r"on inputs of .*\(\d+, 3, \d+, 8\)"):
        smaller = gcc.prune(network, IMAGE, "l1", "60%")
    with pytest.raises(OtherSizesError):
        smaller(torch.rand((2, 3, 8, 8) if name == "batch" else (1, 3, 16, 8)))


class InTraining(nn.Module):
    """Does something else in training mode."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.stem, self.norm, self.out = kind, conv(3, 8), nn.BatchNorm2d(8), conv(8, 3)
        self.register_buffer("shift", torch.arange(8.0)[:, None, None])

    def forward(self, x):
        features = self.norm(self.stem(x))
        if self.training and self.kind == "buffer":
            features = features + self.shift[: features.shape[1]]
        if self.training and self.kind == "noise":
            features = features + 0.05 * torch.randn_like(features)
        if self.training and self.kind == "order":
            features = features + features.roll(1, 1)
        return self.out(features)


def test_what_training_alone_does_to_channels_is_compared():
    with pytest.raises(GccError, match="in training mode, the pruned generator"):
        gcc.prune(InTraining("order"), IMAGE, "l1", "60%")


@pytest.mark.parametrize("value", [float("-inf"), float("nan"), 1e30])
def test_buffers_with_any_values_do_not_hide_what_training_does(value):
    network = InTraining("order")
    network.register_buffer("mask", torch.full((4, 4), value).triu(1))
    with pytest.raises(GccError, match="in training mode, the pruned generator"):
        gcc.prune(network, IMAGE, "l1", "60%")


@pytest.mark.parametrize("batches", [0, 10**8])
def test_noise_of_training_is_not_compared_however_long_a_network_was_trained(batches):
    network = InTraining("noise")
    network.norm.num_batches_tracked.fill_(batches)
    assert gcc.prune(network, IMAGE, "l1", "60%").stem.out_channels < 8


def test_a_buffer_that_training_alone_reads_is_pruned_with_its_channels():
    torch.manual_seed(0)
    network = InTraining("buffer")
    with pytest.warns(PruningWarning, match="in training mode, the pruned generator"):
        smaller = gcc.prune(network, IMAGE, "l1", "60%")
    kept = [int((network.stem.weight == row).flatten(1).all(1).nonzero()) for row in smaller.stem.weight]
    assert smaller.shift.flatten().tolist() == kept != list(range(len(kept)))


class Frozen(Composed):
    """A network whose batch norm keeps its statistics in training mode too."""

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self


def normalised(self, x):
    return self.out(torch.relu(self.norm(self.stem(x))))


@pytest.mark.parametrize(("kind", "momentum"), [(Frozen, 0.1), (Composed, None)])
def test_modes_and_statistics_that_code_sets_itself(kind, momentum):
    network = kind(normalised, stem=conv(3, 8), norm=nn.BatchNorm2d(8, momentum=momentum), out=conv(8, 3))
    nn.init.uniform_(network.norm.running_var, 0.5, 2)
    assert gcc.prune(network, IMAGE, metric="l1", budget="60%").stem.out_channels < 8


def test_layers_that_only_other_methods_apply_are_named():
    network = Composed(normalised, stem=conv(3, 8), norm=nn.BatchNorm2d(8), out=conv(8, 3), project=conv(8, 2))
    with pytest.warns(PruningWarning, match="the forward pass does not use these layers, .*: 'project'. If another method"):
        gcc.prune(network, IMAGE, metric="l1", budget="60%")
    gcc.prune(network, IMAGE, metric="l1", budget="60%", leave=["project"])


def test_weights_that_are_not_finite_are_named_by_their_layer():
    network = nn.Sequential(nn.utils.parametrizations.weight_norm(conv(3, 8)), conv(8, 3))
    nn.init.zeros_(network[0].parametrizations.weight.original1)  # The norm divides by zero.
    with pytest.raises(GccError, match="the importance of the channels of '0' is not finite: expected finite weights"):
        gcc.prune(network, IMAGE, metric="l1", budget="60%")


def test_the_operator_that_keeps_every_channel_is_named():
    network = Composed(lambda self, x: self.out(self.drop(self.stem(x))), stem=conv(3, 8), drop=nn.FeatureAlphaDropout(), out=conv(8, 3))
    with pytest.raises(GccError, match=r"no channel .* can be pruned: pruning has no rule for layer 'drop' \(FeatureAlphaDropout\)"):
        gcc.prune(network, IMAGE, metric="l1", budget="60%")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("call", [gcc.prune, gcc.optimize])
def test_a_torchscript_program_is_called_by_its_name(call):
    with pytest.raises(GccError, match="the network is a TorchScript program"):
        call(torch.jit.script(conv(3, 3)), IMAGE)


class Freezing(nn.Sequential):
    """Keeps its norms in evaluation mode, and forgets to return itself."""

    def train(self, mode=True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.training = False


def test_a_network_whose_train_returns_nothing_is_refused():
    network = Freezing(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 3))
    with pytest.raises(GccError, match=r"Freezing.train returns nothing: end it with `return self`"):
        gcc.prune(network, IMAGE, metric="l1", budget="60%")
    assert network.training and network[0].training and network[1].training


class Detached(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight.detach(), self.bias)


def detach(network):
    network[3].__class__ = Detached


def forget(network):
    network[1].momentum = 0.5


@pytest.mark.parametrize(("damage", "told"), [(detach, "3.weight .* has no gradient"), (forget, "1.running_mean .* changes differently")])
def test_gradients_and_statistics_are_those_of_the_full_network(damage, told):
    one = Cut(nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 3)), IMAGE)
    candidate = Candidate(one.network, one.smaller, one.trace, one.selection, Graph(one.smaller, IMAGE), (IMAGE,))
    require_same_training(candidate, with_random_weights(candidate))
    damage(one.smaller)
    with pytest.raises(GccError, match=told):
        require_same_training(candidate, with_random_weights(candidate))


def test_random_weights_that_amplify_rounding_errors_prove_nothing():
    """A sine of large numbers, for the given weights of small ones."""

    class Sine(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(8, 1, 1))

        def forward(self, x):
            return torch.sin(x.float() * 1e6 * self.scale + x.float())

    network = nn.Sequential(conv(3, 8), Sine(), conv(8, 3))
    smaller = gcc.prune(network, IMAGE, "l1", "60%")
    candidate = Cut(network, IMAGE)
    graph = Graph(candidate.smaller, IMAGE)
    candidate = Candidate(network, candidate.smaller, candidate.trace, candidate.selection, graph, (IMAGE,))
    assert smaller[0].out_channels < 8 and with_random_weights(candidate) is candidate


def blind(scale):
    return Composed(lambda self, x: self.out(self.stem(x).relu()) * scale, stem=conv(3, 8), out=conv(8, 3))


@pytest.mark.parametrize("scale", [0.0, float("nan")])
def test_an_output_that_shows_nothing_proves_nothing(scale):
    with pytest.raises(GccError, match="cannot be proven: an output is not finite, or is the same"):
        gcc.prune(blind(scale), IMAGE, "l1", "60%")


def test_an_output_may_depend_little_on_the_removed_channels():
    """A degree that a network estimates beside its image, near one half."""

    def estimated(self, x):
        features = self.stem(x).relu()
        return self.out(features), torch.sigmoid(1e-5 * self.degree(features))

    network = Composed(estimated, stem=conv(3, 8), out=conv(8, 3), degree=conv(8, 1))
    assert gcc.prune(network, IMAGE, "l1", "60%").stem.out_channels < 8


@pytest.mark.parametrize("scale", [1e-12, 1e18])
def test_outputs_may_be_small_or_large(scale):
    assert gcc.prune(blind(scale), IMAGE, "l1", "60%").stem.out_channels < 8


@pytest.mark.parametrize("form", ["code", "graph"])
def test_rounding_that_code_amplifies_is_no_difference_whatever_precision_the_graph_has_as_a_constant(form):
    """In float64 the code computes its positions in float64, while its graph names float32."""

    def waves(self, x):
        positions = torch.arange(x.shape[1]).type(x.type())[:, None] / 7
        features = self.stem(x)
        return torch.sin(1e4 * (self.out(features if form == "code" else features.view(-1, 8, 64)) + positions))

    torch.manual_seed(0)
    smaller = gcc.prune(Composed(waves, stem=nn.Linear(3, 64), out=nn.Linear(64, 3)), torch.zeros(1, 8, 3), "l1", "60%")
    assert isinstance(smaller, PrunedGraph) == (form == "graph")


def test_rounding_that_depends_on_the_batch_does_not_mix_samples():
    def rounded(self, x):
        features = self.stem(x).relu()
        offset = 0.0 if features.shape[1] == 8 else 1e6 * len(x)
        return self.out(features) + offset - offset

    torch.manual_seed(0)
    with pytest.warns(PruningWarning, match=r"0 becomes 1e\+06"):
        smaller = gcc.prune(Composed(rounded, stem=conv(3, 8), out=conv(8, 3)), IMAGE, "l1", "60%")
    assert type(smaller) is Composed and smaller.stem.out_channels < 8


class Scaled(nn.Module):
    """Adds a small share of features that are divided by the number of pixels."""

    def __init__(self, share):
        super().__init__()
        self.share = share
        self.inner, self.outer = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, image):
        features = torch.relu(self.inner(image))
        features = features * (features.sum((2, 3), keepdim=True) / (features.shape[2] * features.shape[3]))
        return image + self.share * self.outer(features)


class Located(Scaled):
    """Adds the position of the largest value, from a table with as many entries as there are pixels."""

    def forward(self, image):
        positions = torch.arange(image.shape[2] * image.shape[3]).float()
        image = self.outer(torch.relu(self.inner(image)))
        return image + positions[image.flatten(2).argmax(-1)][:, :, None, None]


@pytest.mark.parametrize("network", [Scaled(1e-3), Scaled(1e-4), Located(1)], ids=["small", "smaller", "table"])
def test_sizes_of_the_example_in_the_graph_do_not_matter_for_code(network):
    assert type(gcc.prune(network, torch.zeros(1, 3, 8, 8), metric="l1", budget="50%")) is type(network)
