"""Optimised networks compute the same."""

from itertools import accumulate

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from gcc import GccError, Teacher, optimize
from gcc.deploy import optimize as inference
from gcc.deploy.optimize import fold
from gcc.deploy.polyphase import PhasedTranspose2d
from gcc.utils.backend import tf32_precision
from tests.helpers.families import TINY


def trained(network, example):
    """Return the network with running statistics that differ from the initial ones."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network


@pytest.mark.parametrize("arch", [*sorted(TINY), "pix2pix resnet", "cyclegan mobile"])
def test_every_family_computes_the_same_without_norms_and_parametrisations(arch):
    arch, _, generator = arch.partition(" ")
    settings = TINY[arch] | ({"generator": generator} if generator else {})
    architecture = Teacher.create(arch).demo_architecture(settings)
    example = torch.randn(2, *architecture.example_input().shape[1:])
    network = trained(architecture.build_generator(architecture.full_widths(8)), example)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    ready = optimize(network, example)
    with torch.no_grad():
        torch.testing.assert_close(ready(example), network.eval()(example), rtol=1e-4, atol=1e-5)
    kinds = [type(module) for module in ready.modules()]
    assert nn.BatchNorm2d not in kinds and not any(map(is_parametrized, ready.modules()))
    assert not ready.training and not any(parameter.requires_grad for parameter in ready.parameters())
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())


def test_transposed_convolutions_become_plain_if_these_are_faster(monkeypatch):
    # Here, all plain ones except the third are faster.
    times = {nn.ConvTranspose2d: {"": 1.0, "0": 2.0, "1": 2.0, "2": 1.0, "3": 2.0}, PhasedTranspose2d: dict.fromkeys("0123", 1.0)}
    monkeypatch.setattr(inference, "seconds_of", lambda network, paths, example: times[type(network[0])])
    torch.manual_seed(0)
    network = nn.Sequential(*(nn.ConvTranspose2d(before, after, 4, 2, 1) for before, after in ((3, 8), (8, 8), (8, 8), (8, 3))))
    example = torch.randn(2, 3, 4, 4)
    assert [type(module) for module in fold(network, example)] == [nn.ConvTranspose2d] * 4
    ready = optimize(network, example)
    assert [type(module) for module in ready] == [PhasedTranspose2d, PhasedTranspose2d, nn.ConvTranspose2d, PhasedTranspose2d]
    with torch.no_grad():
        for other in (example, torch.randn(1, 3, 7, 5)):
            torch.testing.assert_close(ready(other), network(other))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_convolutions_have_the_faster_layout(layout, monkeypatch):
    seconds = lambda network, paths, example: {"": 1.0 if network[0].weight.is_contiguous(memory_format=layout) else 2.0}  # noqa: E731
    monkeypatch.setattr(inference, "seconds_of", seconds)
    network = nn.Sequential(nn.Conv2d(3, 8, 3))
    assert optimize(network, torch.randn(1, 3, 8, 8))[0].weight.is_contiguous(memory_format=layout)
    assert network[0].weight.is_contiguous()


def test_a_layers_time_is_the_least_of_its_passes_and_the_networks_own_path_is_empty(monkeypatch):
    network = nn.Sequential(nn.Identity(), nn.Identity())
    # Each pass reads the clock six times; the third pass is the fastest.
    clock = accumulate(step for step in (3, 2, 1, 2, 3) for _ in range(6))
    monkeypatch.setattr(inference.time, "perf_counter", lambda: next(clock))
    assert inference.seconds_of(network, ["", "0", "1"], torch.zeros(1)) == {"": 5, "0": 1, "1": 1}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


class Shared(nn.Module):
    """Reads a convolution's output outside its batch norm too."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, 1, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        output = self.conv(x)
        return output + self.norm(output)


class Twice(Shared):
    """Uses a convolution twice."""

    def forward(self, x):
        return self.norm(self.conv(torch.relu(self.conv(x))))


class ReadsWeight(Shared):
    """Reads a weight and a statistic outside of their layers."""

    def forward(self, x):
        return self.norm(self.conv(x)) + self.conv.weight.mean() + self.norm.running_mean.mean()


class InPlace(Shared):
    """Changes a convolution's output in place."""

    def forward(self, x):
        return self.norm(self.conv(x).relu_())


class Returned(Shared):
    """Returns a convolution's output too."""

    def forward(self, x):
        output = self.conv(x)
        return {"fake": self.norm(output), "features": [output]}


class ReadsByNumpy(Shared):
    """Reads a convolution's output outside of torch's functions."""

    def forward(self, x):
        output = self.conv(x)
        return self.norm(output) + torch.from_numpy(2 * output.numpy())


class KeepsTraining(Shared):
    """Normalises by the statistics of the batch in each mode."""

    def forward(self, x):
        self.norm.train()
        return self.norm(self.conv(x))


class Scaled(nn.Conv2d):
    """A convolution with a weight that it computes."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.raw = self._parameters.pop("weight")

    @property
    def weight(self):
        return 2 * self.raw


class Doubled(nn.Conv2d):
    """A convolution with code of its own."""

    def forward(self, x):
        return 2 * super().forward(x)


def hooked():
    network = Shared()
    network.conv.register_forward_hook(lambda module, inputs, output: 2 * output)
    return nn.Sequential(network.conv, network.norm)


@pytest.mark.parametrize(
    "build",
    [
        Shared,
        Twice,
        ReadsWeight,
        InPlace,
        Returned,
        ReadsByNumpy,
        KeepsTraining,
        hooked,
        lambda: nn.Sequential(Scaled(3, 3, 1), nn.BatchNorm2d(3)),
        lambda: nn.Sequential(Doubled(3, 3, 1), nn.BatchNorm2d(3)),
        lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)),
    ],
)
def test_a_norm_that_cannot_be_folded_stays(build):
    torch.manual_seed(0)
    example, network = torch.randn(1, 3, 8, 8), build()
    network = network if isinstance(network, nn.Sequential) and network[1].running_mean is None else trained(network, None)
    ready = optimize(network, example)
    assert nn.BatchNorm2d in map(type, ready.modules())
    with torch.no_grad():
        torch.testing.assert_close(ready(example), network.eval()(example))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("norm", [nn.utils.spectral_norm, nn.utils.weight_norm])
def test_norms_of_weights_by_hooks_are_applied(norm):
    network, example = trained(nn.Sequential(norm(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4)), None).eval(), torch.randn(1, 3, 8, 8)
    before = set(network.state_dict())
    ready = optimize(network, example)
    assert set(ready.state_dict()) == {"0.weight", "0.bias"} and set(network.state_dict()) == before
    assert not any(parameter.requires_grad for parameter in ready.parameters())
    with torch.no_grad():
        torch.testing.assert_close(ready(example), network(example), rtol=1e-4, atol=1e-5)


class ReadsProbability(nn.Module):
    """Reads the probability of its dropout layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.dropout = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5)

    def forward(self, x):
        return nn.functional.dropout(self.norm(self.conv(x)), self.dropout.p, self.training) * self.dropout.p


class ReadsRawWeight(nn.Module):
    """Reads the weight to which its convolution applies spectral norm."""

    def __init__(self):
        super().__init__()
        self.conv = nn.utils.spectral_norm(nn.Conv2d(3, 3, 3))

    def forward(self, x):
        return self.conv(x) + self.conv.weight_orig.mean()


def test_code_may_read_dropout_layers_and_no_weight_before_its_spectral_norm():
    network, example = trained(ReadsProbability(), None), torch.randn(1, 3, 8, 8)
    ready = optimize(network, example)
    assert nn.BatchNorm2d not in map(type, ready.modules())
    with torch.no_grad():
        torch.testing.assert_close(ready(example), network.eval()(example))
    with pytest.raises(GccError, match=r"test_optimize.py:\d+ `return .*no attribute 'weight_orig'; expected code that runs with plain"):
        optimize(ReadsRawWeight(), example)


class Random(nn.Module):
    """Returns something else each time."""

    def forward(self, x):
        return torch.rand_like(x)


def test_a_network_that_returns_something_else_each_time_is_refused():
    with pytest.raises(GccError, match="differs by .* expected a network that returns the same for the same input"):
        optimize(Random(), torch.randn(1, 3, 8, 8))


def test_a_norm_without_a_convolution_before_it_stays():
    example = torch.randn(1, 3, 8, 8)
    network = trained(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)), example)
    ready = optimize(network, example)
    assert [type(module) for module in ready] == [nn.BatchNorm2d, nn.Conv2d, nn.ReLU, nn.BatchNorm2d]
    with torch.no_grad():
        torch.testing.assert_close(ready(example), network.eval()(example))


def residual(depth=6):
    """Return a network whose rounding errors add up."""
    torch.manual_seed(1)
    layers = [layer for _ in range(depth) for layer in (nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())]
    return trained(nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), *layers, nn.ConvTranspose2d(8, 3, 4, 2, 1)), None).eval()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("ready", [fold, optimize])
def test_a_network_of_another_precision_keeps_it(ready, dtype):
    exact = residual()
    example = torch.randn(2, 3, 12, 12)
    faster = ready(residual().to(dtype), example.to(dtype))
    assert nn.BatchNorm2d not in map(type, faster.modules())
    assert {parameter.dtype for parameter in faster.parameters()} == {dtype}
    with torch.no_grad():
        expected, output = exact(example), faster(example.to(dtype)).float()
    # Weights and features are rounded, to three significant digits at worst.
    assert (output - expected).abs().max() < 16 * torch.finfo(dtype).eps * expected.abs().max() + 1e-5


def tf32(tensor):
    """Round a tensor as a GPU rounds operands in TF32: 10 bits of mantissa."""
    bits = tensor.detach().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def test_a_sound_network_is_not_refused_where_operands_are_rounded(monkeypatch):
    forward = nn.Conv2d._conv_forward

    def rounded(self, image, weight, bias):
        is_tf32 = torch.backends.cudnn.allow_tf32 or torch.is_autocast_enabled("cpu")
        return forward(self, tf32(image), tf32(weight), bias) if is_tf32 else forward(self, image, weight, bias)

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", rounded)
    monkeypatch.setattr(inference, "TOLERANCE", 2e-5)
    with tf32_precision():
        fold(residual(12), torch.randn(1, 3, 12, 12))
    with torch.autocast("cpu"):
        fold(residual(12), torch.randn(1, 3, 12, 12))


class Several(nn.Module):
    """Reads an image, which it changes in place, and a label, and returns two tensors."""

    def __init__(self, kind):
        super().__init__()
        self.stem, self.norm, self.head, self.mask = nn.Conv2d(5, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 3, 1), nn.Conv2d(8, 1, 1)
        self.kind = kind
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, image, label, share=1.0, extra=None):
        self.passes += 1
        image *= 2
        label = label[:, :, None, None].expand(-1, -1, *image.shape[2:])
        features = torch.relu(self.norm(self.stem(torch.cat([image, label], 1)))) * share
        fake, mask = self.head(features), self.mask(features) > 0
        return (fake, mask) if self.kind is tuple else {"fake": fake, "mask": mask, "extra": extra}


@pytest.mark.parametrize("kind", [tuple, dict])
@pytest.mark.parametrize("wrapped", [nn.Sequential, nn.DataParallel])
def test_inputs_and_outputs_may_be_several(kind, wrapped):
    example = (torch.rand(2, 3, 8, 8), torch.rand(2, 2), 0.5, None)
    network = trained(Several(kind), example).eval()
    before = [tensor.clone() for tensor in example[:2]]
    ready = optimize(network if wrapped is nn.Sequential else wrapped(network), example)
    assert all(tensor.equal(old) for tensor, old in zip(example, before, strict=False)) and network.passes == 0
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ready.modules())
    with torch.no_grad():
        image, label, *rest = example
        output, expected = (candidate(image.clone(), label, *rest) for candidate in (ready, network))
    key = 0 if kind is tuple else "fake"
    torch.testing.assert_close(output[key], expected[key], rtol=1e-4, atol=1e-5)
    assert type(output) is type(expected)


@pytest.mark.parametrize("ready", [optimize, fold])
def test_an_example_that_does_not_fit_is_refused_by_the_layer(ready):
    with pytest.raises(GccError, match=r"^the network \(Several\).*'label'; expected a network that runs on \(1, 3, 8, 8\)"):
        ready(Several(tuple), torch.rand(1, 3, 8, 8))
    with pytest.raises(GccError, match=r"layer 'stem' \(Conv2d\) in test_optimize.py:\d+ `features = torch.relu"):
        ready(Several(tuple), (torch.rand(1, 4, 8, 8), torch.rand(1, 2)))


def test_code_that_views_features_as_contiguous_keeps_the_layout():
    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)

        def forward(self, image):
            return self.conv(image).view(len(image), 8, 4, -1)

    network, image = Viewing().eval(), torch.randn(2, 3, 8, 8)
    assert torch.allclose(optimize(network, image)(image), network(image), atol=1e-5)


@pytest.mark.parametrize(
    ("network", "example", "message"),
    [
        (nn.LazyConv2d(4, 3), torch.zeros(1, 3, 8, 8), "weight has no values"),
        (nn.Conv2d(3, 4, 3, device="meta"), torch.zeros(1, 3, 8, 8), "weight has no values"),
        (nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8, device="meta"), "the example input is on the meta device"),
        ("a network", torch.zeros(1, 3, 8, 8), "network = 'a network': expected an object of type Module"),
    ],
)
def test_what_has_no_values_is_refused(network, example, message):
    with pytest.raises(GccError, match=message):
        optimize(network, example)
