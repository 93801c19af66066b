"""Networks whose code contains widths as constants are pruned as graphs; independent networks of the smaller widths are the reference."""

import copy
import random
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

import gcc
from gcc.errors import GccError, PruningWarning
from gcc.pruning.cost import cost_of
from gcc.pruning.graph.graph_form import OtherSizesError, PrunedGraph


class Constants(nn.Module):
    """A network with batch norm and dropout; `width` stands as a number in every line of a generator with widths as constants."""

    def __init__(self, width, per_channel=None):
        super().__init__()
        self.width = (width, "which is not an attribute that can be followed") if per_channel is None else (per_channel, "")
        self.inner = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.Dropout(0.5))
        self.scale = nn.Parameter(torch.rand(width) + 0.5)
        self.head = nn.Conv2d(width // 2 + width, 3, 1)

    def forward(self, image):
        width = int(f"{self.width[0]}")
        batch, _, height, columns = image.shape
        features = (
            self.inner(image).reshape(1, batch * width, height, columns).reshape(batch, width, -1).view(batch, width, height, columns)
        )
        features = features * self.scale.view(1, width, 1, 1)
        low, high = torch.split(features, [width // 2, width // 2], 1)
        return self.head(torch.cat([low * high, features.narrow(1, 0, width)], 1))


EXAMPLE = torch.rand(1, 3, 12, 8)


@pytest.fixture(scope="module")
def pruned():
    torch.manual_seed(0)
    network = Constants(16)
    network.inner[1].running_mean.uniform_(-1, 1)
    with pytest.warns(PruningWarning, match="runs its graph"):
        return network, gcc.prune(network, EXAMPLE, metric="l1", budget="60%")


@pytest.fixture
def reference(pruned):
    """The same code with the smaller width."""
    _, smaller = pruned
    width = smaller.inner[0].out_channels
    network = Constants(width)
    network.load_state_dict(smaller.state_dict())
    assert 0 < width < 16
    return network


@pytest.mark.parametrize("shape", [(1, 3, 12, 8), (3, 3, 12, 8), (1, 3, 6, 20), (2, 3, 7, 5)])
def test_runs_on_the_sizes_that_the_code_runs_on(pruned, reference, shape):
    image = torch.randn(shape)
    torch.testing.assert_close(pruned[1].eval()(image), reference.eval()(image))


def test_trains_like_the_code(pruned, reference):
    smaller, image = copy.deepcopy(pruned[1]).train(), torch.randn(2, 3, 12, 8)
    for network in (smaller, reference.train()):
        torch.manual_seed(1)
        network(image).square().sum().backward()
    for one, other in zip(smaller.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    torch.testing.assert_close(smaller.inner[1].running_var, reference.inner[1].running_var)
    assert smaller.inner[1].num_batches_tracked == 1 and pruned[1].inner[1].num_batches_tracked == 0


def test_has_the_names_of_the_network_and_is_saved_like_it(pruned, tmp_path):
    network, smaller = pruned
    assert isinstance(smaller, PrunedGraph) and "torch.ops.aten.conv2d" in smaller.code
    assert list(smaller.state_dict()) == list(network.state_dict())
    save_file(smaller.state_dict(), tmp_path / "smaller.safetensors")
    other = copy.deepcopy(smaller)
    for parameter in other.parameters():
        parameter.data.zero_()
    other.load_state_dict(load_file(tmp_path / "smaller.safetensors"))
    assert torch.equal(other.eval()(EXAMPLE), smaller.eval()(EXAMPLE))


def test_can_be_exported_and_pruned_again(pruned):
    smaller = pruned[1].eval()
    dims = {0: torch.export.Dim("n"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    program = torch.export.export(smaller, (torch.cat([EXAMPLE, EXAMPLE]),), dynamic_shapes=((dims,),))
    other = torch.rand(3, 3, 20, 10)
    torch.testing.assert_close(program.module()(other), smaller(other))
    with pytest.warns(PruningWarning, match="runs its graph"):
        smallest = gcc.prune(smaller, EXAMPLE, metric="l1", budget="60%")
    assert smallest.inner[0].weight.shape[0] < smaller.inner[0].weight.shape[0]


class Between(nn.Module):
    """A function of the features between two convolutions."""

    def __init__(self, function, after=8):
        super().__init__()
        self.before, self.after = nn.Conv2d(3, 8, 1), nn.Conv2d(after, 3, 1)
        self.weight = nn.Parameter(torch.rand(8, 1, 3, 3))
        self._function = function

    def forward(self, image):
        return self.after(self._function(self, self.before(image)))


FUNCTIONS = {
    "constant of a device": lambda net, x: x.view(-1, 8, x.shape[2], x.shape[3]) * torch.tensor(2, device="cpu").to("cpu", torch.int64),
    "unflatten": lambda net, x: x.unflatten(1, (8, 1)).flatten(1, 2),
    "expand": lambda net, x: x + x.mean((2, 3), keepdim=True).expand(-1, 8, x.shape[2], x.shape[3]),
    "repeat": lambda net, x: x * x.mean(1, keepdim=True).repeat(1, 8, 1, 1),
    "split": lambda net, x: torch.cat(torch.split(x, 4, 1), 1),
    "slice": lambda net, x: torch.cat([x[:, :3] * 2, x[:, 3:8]], 1),
    "negative slice": lambda net, x: torch.cat([x[:, :-5], x[:, -5:] * 2], 1),
    "in place": lambda net, x: torch.cat([x[:, :4].mul_(2), x.narrow(1, 4, 4)], 1),
    "layer norm": lambda net, x: functional.layer_norm(x.movedim(1, -1), (8,)).movedim(-1, 1),
    "depthwise": lambda net, x: functional.conv2d(x, net.weight, padding=1, groups=8),
    "group norm": lambda net, x: functional.group_norm(x, 4),
    "zeros": lambda net, x: x + torch.zeros(1, 8, 1, 1),
    "new zeros": lambda net, x: torch.maximum(x, x.new_full((8, 1, 1), 0.1)),
    "noise": lambda net, x: x + 0.1 * torch.ones(1, 8, x.shape[2], x.shape[3]),
    "window": lambda net, x: x.view(-1, 8, x.shape[2] // 2, 2, x.shape[3] // 2, 2).mean((3, 5)),
    "padding and cropping": lambda net, x: functional.pad(
        x.view(-1, 8, x.shape[2], x.shape[3]), (0, -x.shape[3] % 2, 0, -x.shape[2] % 2), "replicate"
    )[:, :, : x.shape[2], : x.shape[3]],
    "tokens": lambda net, x: (
        x.reshape(x.shape[0], 8, -1).transpose(1, 2).reshape(x.shape[0], -1, 2, 4).flatten(2).transpose(1, 2)[..., None]
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.filterwarnings("ignore::gcc.errors.PruningWarning")
def test_every_constant_size_follows(name):
    torch.manual_seed(0)
    network = Between(FUNCTIONS[name])
    smaller = gcc.prune(network, torch.rand(1, 3, 4, 6), metric="l1", budget="70%")
    assert smaller.before.weight.shape[0] < 8
    kept = [int((network.before.weight == row).flatten(1).all(1).nonzero()[0, 0]) for row in smaller.before.weight]
    masked = copy.deepcopy(network)
    removed = [channel for channel in range(8) if channel not in kept]
    if name in ("depthwise", "layer norm", "repeat", "group norm"):
        return  # Zeros at the removed channels are not the same as their absence; the proof has compared these.
    with torch.no_grad():
        masked.after.weight[:, removed] = 0
    image = torch.randn(2, 3, 8, 6)
    torch.testing.assert_close(smaller(image), masked(image))


def test_says_which_sizes_it_takes():
    def only_even(net, x):
        return x.view(-1, 8, x.shape[2] // 2, 2, x.shape[3]).mean(3) if x.shape[2] % 2 == 0 else x * 2

    with pytest.warns(PruningWarning, match="view"):
        smaller = gcc.prune(Between(only_even), torch.rand(1, 3, 4, 6), metric="l1", budget="70%")
    assert smaller(torch.rand(5, 3, 8, 6)).shape == (5, 3, 4, 6)
    with pytest.raises(OtherSizesError, match="does not run on these inputs"):
        smaller(torch.rand(1, 3, 5, 6))


def alike(net, x):
    """Depend on the number of samples where it makes no difference."""
    return x.view(-1, 8, *x.shape[2:]) * (2.0 if x.shape[0] > 1 else 2.0)


def equally_alike(net, x):
    return x.view(-1, 8, *x.shape[2:]) * (2.0 if x.shape[0] != 1 else 2.0)


def centred(net, x):
    """Compute otherwise for a single sample."""
    x = x.view(-1, 8, *x.shape[2:])
    return x - (x.mean(0) if x.shape[0] > 1 else x.mean((2, 3), keepdim=True))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("run", [alike, equally_alike, centred])
def test_a_batch_of_one_runs_or_is_refused(run, batch):
    torch.manual_seed(0)
    network = Between(run).eval()
    with pytest.warns(PruningWarning, match="view"):
        smaller = gcc.prune(network, torch.rand(batch, 3, 4, 6), metric="l1", budget="70%")
    removed = [not any(torch.equal(row, kept) for kept in smaller.before.weight) for row in network.before.weight]
    assert 0 < sum(removed) < 8
    with torch.no_grad():
        network.before.weight[removed] = network.before.bias[removed] = 0
    for samples in (1, 2, 5):
        images = torch.rand(samples, 3, 4, 6)
        # The example decides about a single sample, and so about the branch that is followed.
        if (samples > 1) == (batch > 1) or (run is not centred and batch == 1):
            torch.testing.assert_close(smaller(images), network(images))
        else:
            with pytest.raises(OtherSizesError):
                smaller(images)


class Masked(nn.Module):
    """A constant width, and a mask of one channel that is broadcast."""

    def __init__(self):
        super().__init__()
        self.before, self.after = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 3, 1)

    def forward(self, image, mask):
        return self.after(self.before(image).view(-1, 8, *image.shape[2:]) * mask)


def test_an_input_that_is_broadcast_leaves_other_sizes_variable():
    with pytest.warns(PruningWarning, match="view"):
        smaller = gcc.prune(Masked(), (torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)), metric="l1", budget="70%")
    for batch, size in ((4, 8), (3, 16)):
        assert smaller(torch.rand(batch, 3, size, size), torch.rand(batch, 1, size, size)).shape == (batch, 3, size, size)


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.round()

    @staticmethod
    def backward(context, gradient):
        return gradient


TRAINED_OTHERWISE = {
    "own gradients": lambda net, x: StraightThrough.apply(x.view(-1, 8, x.shape[2], x.shape[3])),
    "random numbers of Python": lambda net, x: x.view(-1, 8, x.shape[2], x.shape[3]) * random.random(),
}


@pytest.mark.parametrize("name", TRAINED_OTHERWISE)
def test_code_that_its_graph_does_not_train_like_is_refused(name):
    with pytest.raises(GccError, match="cannot be used in its place: its outputs or gradients are not those of the code"):
        gcc.prune(Between(TRAINED_OTHERWISE[name]), torch.rand(1, 3, 4, 6), metric="l1", budget="70%")


def test_random_numbers_may_be_drawn_in_the_precision_of_the_features():
    def stochastic_depth(net, x):
        x = x.view(-1, 8, x.shape[2], x.shape[3])
        return x * (0.5 + torch.rand(x.shape[0], 1, 1, 1, dtype=x.dtype)) if net.training else x

    with pytest.warns(PruningWarning, match="view"):
        smaller = gcc.prune(Between(stochastic_depth), torch.rand(1, 3, 4, 6), metric="l1", budget="70%")
    image = torch.rand(2, 3, 4, 6)
    assert not torch.equal(smaller(image), smaller(image))
    assert torch.equal(smaller.eval()(image), smaller(image))


class NormedByHand(nn.Conv2d):
    """A spectral norm whose power iteration has no gradient and changes a buffer in training."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.register_buffer("u", torch.randn(1, self.out_channels))

    def forward(self, x):
        matrix = self.weight.view(self.weight.shape[0], -1)
        with torch.no_grad():
            v = nn.functional.normalize(self.u @ matrix)
            u = nn.functional.normalize(v @ matrix.mT)
            if self.training:
                self.u[:] = u
        return nn.functional.conv2d(x, self.weight / (v @ matrix.mT @ u.mT).squeeze(), self.bias, padding=1)


def test_blocks_without_gradients_stay_blocks_without_gradients():
    torch.manual_seed(0)
    network = Between(lambda net, x: net.inner(x.view(-1, 8, x.shape[2], x.shape[3])))
    network.inner = NormedByHand(8, 8, 3)
    with pytest.warns(PruningWarning, match="view"):
        smaller = gcc.prune(network, torch.rand(1, 3, 4, 6), metric="l1", budget="70%")
    before = {name: tensor.clone() for name, tensor in smaller.state_dict().items()}
    layer, image = smaller.inner, torch.rand(2, 3, 4, 6)
    smaller.train()(image).square().sum().backward()

    expected = NormedByHand(layer.in_channels, layer.out_channels, 3).train()
    expected.load_state_dict({name.removeprefix("inner."): value for name, value in before.items() if name.startswith("inner.")})
    smaller.after(expected(smaller.before(image))).square().sum().backward()
    torch.testing.assert_close(layer.u, expected.u)
    assert not layer.u.requires_grad
    torch.testing.assert_close(layer.weight.grad, expected.weight.grad)


@pytest.mark.parametrize("scale", [1, 255])
def test_small_gradients_are_compared_beside_large_ones(scale):
    class Amplified(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x * 1

        @staticmethod
        def backward(context, gradient):
            return 5 * gradient

    def run(net, x):
        return scale * x.view(-1, 8, x.shape[2], x.shape[3]) + Amplified.apply(1e-4 * net.weight.flatten()[:8].sum())

    with pytest.raises(GccError, match="its outputs or gradients are not those of the code"):
        gcc.prune(Between(run), torch.rand(1, 3, 4, 6), metric="l1", budget="70%")


def test_arguments_are_those_of_the_example(pruned):
    with pytest.raises(GccError, match="takes arguments like those of the example"):
        pruned[1](image=EXAMPLE)


def test_the_papers_counter_is_refused():
    with pytest.raises(GccError, match="mac_counter='exact'"):
        gcc.prune(Between(FUNCTIONS["expand"]), torch.rand(1, 3, 4, 6), metric="l1", budget="70%", mac_counter="paper")


def test_a_network_without_values_is_refused():
    with pytest.raises(GccError, match="weight has no values"):
        gcc.prune(Between(FUNCTIONS["expand"]).to("meta"), torch.rand(1, 3, 4, 6), metric="l1")


def test_costs_what_the_code_of_this_width_costs(pruned, reference):
    assert cost_of(pruned[1], EXAMPLE).macs == cost_of(reference, EXAMPLE).macs


class Overwriting(nn.Module):
    """A residual block of a U-Net: its first layer overwrites the input, which the sum reads, too."""

    def __init__(self, width):
        super().__init__()
        self.model = nn.Sequential(nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))

    def forward(self, x):
        return x + self.model(x)


class Tapped(nn.Module):
    """A network of one width, which stands as a number in its code."""

    def __init__(self, width):
        super().__init__()
        self.numbers = [f"{width}"]
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(inplace=True), nn.GroupNorm(1, width))
        self.blocks = nn.Sequential(Overwriting(width), Overwriting(width), nn.Dropout(0.2))
        self.shared, self.sigmoid = nn.Sequential(nn.Conv2d(width, width, 1), nn.InstanceNorm2d(width, affine=True)), nn.Sigmoid()
        self.head = nn.Conv2d(width, 3, 1)

    def forward(self, image):
        x = self.blocks(self.stem(image)).view(-1, int(self.numbers[0]), *image.shape[2:])
        x = x + self.shared(self.sigmoid(self.shared(x)))
        return self.head(x)


@pytest.fixture(scope="module", params=["60%", "100%"])
def tapped_pair(request):
    """A pruned graph, and a network of its width with the same weights."""
    torch.manual_seed(0)
    with pytest.warns(PruningWarning, match="runs its graph"):
        smaller = gcc.prune(Tapped(12), torch.rand(2, 3, 8, 8), metric="l1", budget=request.param)
    width = smaller.head.weight.shape[1]
    assert isinstance(smaller, PrunedGraph) and (width == 12) == (request.param == "100%")
    reference = Tapped(width)
    reference.load_state_dict(smaller.state_dict())
    return smaller, reference


@pytest.fixture
def tapped(tapped_pair):
    return copy.deepcopy(tapped_pair)


IMAGE = torch.rand(3, 3, 10, 6)


def recorded(network, image=IMAGE):
    """Return what forward hooks of all layers of the code get in one pass, and the output."""
    calls, layers = [], [(path, network.get_submodule(path)) for path, _ in Tapped(1).named_modules() if path]

    def record(path, layer, inputs, output):
        calls.append((path, layer is network.get_submodule(path), [value.clone() for value in inputs], output.clone()))

    hooks = [layer.register_forward_hook(partial(record, path)) for path, layer in layers]
    torch.manual_seed(0)
    output = network(image)
    for hook in hooks:
        hook.remove()
    return calls, output


@pytest.mark.parametrize("training", [False, True])
def test_forward_hooks_get_what_they_get_in_the_code(tapped, training):
    (calls, output), (expected, expected_output) = (recorded(network.train(training)) for network in tapped)
    assert [path for path, *_ in calls] == [path for path, *_ in expected] and all(is_layer for _, is_layer, *_ in calls)
    assert sum(path == "shared.1" for path, *_ in calls) == 2
    for one, other in zip(calls, expected, strict=True):
        torch.testing.assert_close(one[2:], other[2:], rtol=0, atol=0)
    assert torch.equal(output, expected_output)


@pytest.mark.parametrize("training", [False, True])
def test_gradients_flow_through_what_forward_hooks_get(tapped, training):
    for network in tapped:
        calls, _ = recorded(network.train(training))
        torch.stack([output.square().mean() for *_, output in calls]).sum().backward()
    smaller, reference = tapped
    for one, other in zip(smaller.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("path", ["stem.0", "stem.1", "stem", "blocks.0", "blocks.1.model", "blocks.1.model.2", "blocks", "shared", "head"])
def test_what_forward_hooks_return_replaces_the_output(tapped, path):
    image = torch.rand(1, 3, 10, 6)
    plain = tapped[0].eval()(image)
    for network in tapped:
        layer = network.eval().get_submodule(path)
        layer.register_forward_hook(lambda layer, inputs, output: output * 2)
        layer.register_forward_hook(lambda layer, inputs, keywords, output: output + 1, with_kwargs=True)
    smaller, reference = tapped
    assert not torch.equal(smaller(image), plain)
    assert torch.equal(smaller(image), reference(image))
    program = torch.export.export(smaller, (image,))
    torch.testing.assert_close(program.module()(image), reference(image))


def test_without_forward_hooks_nothing_changes(tapped):
    smaller, reference = (network.eval() for network in tapped)
    assert torch.equal(smaller(IMAGE), reference(IMAGE))
    recorded(smaller)
    assert torch.equal(smaller(IMAGE), reference(IMAGE))


@pytest.mark.slow
def test_forward_hooks_of_the_full_network_run_once():
    torch.manual_seed(0)
    network = Tapped(12)
    network.stem.register_forward_hook(lambda layer, inputs, output: output * 3)
    with pytest.warns(PruningWarning, match="runs its graph"):
        smaller = gcc.prune(network, torch.rand(2, 3, 8, 8), metric="l1", budget="60%").eval()
    reference = Tapped(smaller.head.weight.shape[1]).eval()
    reference.load_state_dict(smaller.state_dict())
    reference.stem.register_forward_hook(lambda layer, inputs, output: output * 3)
    assert torch.equal(smaller(IMAGE), reference(IMAGE))
    assert network.stem._forward_hooks


@pytest.mark.slow
def test_forward_hooks_run_after_another_pruning(tapped):
    image = torch.rand(2, 3, 8, 8)
    with pytest.warns(PruningWarning, match="runs its graph"):
        smaller = gcc.prune(tapped[0], image, metric="l1", budget="60%").eval()
    width = smaller.blocks[0].model[1].out_channels
    reference = Tapped(width).eval()
    reference.load_state_dict(smaller.state_dict())
    assert width < tapped[1].head.weight.shape[1]
    (calls, _), (expected, _) = (recorded(network, image) for network in (smaller, reference))
    assert [path for path, *_ in calls] == [path for path, *_ in expected]
    for one, other in zip(calls, expected, strict=True):
        torch.testing.assert_close(one[2:], other[2:])
