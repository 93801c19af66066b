"""The contract check passes on every family, and tells where a broken one breaks it."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gcc import testing
from gcc.deploy.formats.torch_files import TorchScript
from gcc.errors import PluginError
from gcc.losses.selectors import All
from gcc.losses.wavelets import Wavelets
from gcc.models.pix2pix import Pix2Pix
from gcc.models.sagan import SAGAN
from gcc.models.srgan import SRGAN
from gcc.models.vgg import DEPTHS, VGGFeatures
from gcc.pruning.importance import L1Norm
from gcc.recipe import changed
from gcc.registry import ARCHITECTURES, DISTILLERS, METRICS, RUNTIMES, SELECTORS, Width, no_gate
from gcc.utils.weights import Weights
from tests.helpers.families import TINY, one_quick_family


@one_quick_family
def test_every_family_fulfils_the_contract(arch, tmp_path):
    testing.check_architecture(arch, tmp_path)


@pytest.mark.parametrize(
    ("arch", "settings"),
    [
        ("pix2pix", {"generator": "resnet"}),
        pytest.param("pix2pix", {"generator": "mobile", "size": 36}, marks=pytest.mark.slow),
        pytest.param("cyclegan", {"generator": "mobile"}, marks=pytest.mark.slow),
        pytest.param("cyclegan", {"norm": "batch"}, marks=pytest.mark.slow),
        pytest.param("sagan", {"size": 64}, marks=pytest.mark.slow),
        pytest.param("srgan", {"scale": 2}, marks=pytest.mark.slow),
        pytest.param("srgan", {"scale": 8}, marks=pytest.mark.slow),
    ],
)
def test_other_generators_of_a_family_fulfil_it_too(arch, settings, tmp_path):
    family = ARCHITECTURES.load(arch)
    testing.check_family(arch, family(changed(family.demo(), {"ngf": 4, "ndf": 4, "prune_width": 4} | settings)), tmp_path, seed=1)


def test_every_built_in_family_is_in_the_table():
    assert set(ARCHITECTURES.names()) == set(TINY)


def tiny(family):
    return family(changed(family.published(), {"size": 32, "ngf": 8, "ndf": 4, "prune_width": 8}))


class WrongShape(Pix2Pix):
    def build_generator(self, widths):
        network = super().build_generator(widths)
        return torch.nn.Sequential(network, torch.nn.AvgPool2d(2)) if widths["down2"] < 16 else network


class Dearer(Pix2Pix):
    def build_generator(self, widths):
        return super().build_generator(widths | {"down1": 64 - widths["down1"]})


class Empty(Pix2Pix):
    def build_generator(self, widths):
        network = super().build_generator(widths)
        network.rest = torch.nn.Conv2d(widths["up2"], 1, 1) if widths["up2"] else torch.nn.ParameterList([torch.zeros(0)])
        return network


class Ungated(Pix2Pix):
    def build_discriminator(self, gate=None):
        return super().build_discriminator()


class Unpaired(Pix2Pix):
    def pairs(self, batch, samples):
        return {}


class Untapped(Pix2Pix):
    def taps(self):
        taps = super().taps()
        return type(taps)((*taps.generator, "down9.act"), taps.discriminator)


class Detached(Pix2Pix):
    def task_losses(self, generators, batch, samples):
        return {"L1": super().task_losses(generators, batch, samples)["L1"].detach()}


class Swayed(Pix2Pix):
    def sample_z(self, random):
        return torch.rand(3, 32, 32)


class Double(Pix2Pix):
    def sample_z(self, random):
        return torch.zeros(3, 32, 32, dtype=torch.float64)


class Forgetful(SAGAN):
    def sample_z(self, random):
        return None


class Elsewhere(Pix2Pix):
    demo_source = "portraits"


class Gated(nn.Module):
    """A gated linear unit whose value and gate are the first and the second half of the channels, or alternate."""

    def __init__(self, width, alternate):
        super().__init__()
        self.both, self.out, self.alternate = nn.Conv2d(3, 2 * width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1), alternate

    def forward(self, image):
        both = self.both(image)
        value, gate = both.unflatten(1, (-1, 2)).unbind(2) if self.alternate else both.chunk(2, 1)
        return self.out(value * gate.sigmoid())


class Halved(Pix2Pix):
    alternate = False

    def widths(self, base):
        return {"only": Width(base)}

    def build_generator(self, widths):
        return Gated(widths["only"], self.alternate)


class Alternating(Halved):
    alternate = True


class Misshapen(Pix2Pix):
    def sample_z(self, random):
        return torch.zeros(5)


class ShortSighted(SRGAN):
    reach = 3


class Coarser(Pix2Pix):
    size_multiple = 2


class Untrained(Pix2Pix):
    def __init__(self, recipe):
        super().__init__(changed(recipe, {"pretrain_epochs": 1}))


@pytest.mark.parametrize(
    ("family", "check", "says"),
    [
        (WrongShape, lambda it: testing.check_widths(it, {**FULL, "down2": 3}), "output shape"),
        (Dearer, testing.check_costs_fall, "down1"),
        (Empty, testing.check_zero_widths, "up2"),
        (Ungated, testing.check_gates, "gate"),
        (Unpaired, testing.check_step, "pairs"),
        (Untapped, testing.check_step, "down9.act"),
        (Detached, testing.check_step, "L1"),
        (Untrained, testing.check_step, "pretraining_losses"),
        (Swayed, testing.check_inputs, "more than its random generator"),
        (Misshapen, testing.check_inputs, "sample_z returns the shape"),
        (Double, testing.check_inputs, "sample_z returns torch.float64: expected torch.float32"),
        (Forgetful, testing.check_inputs, r"take \(1, 128\), which is not an image: expected noise from `sample_z`"),
        (Elsewhere, testing.check_inputs, "demo_source 'portraits' has samples .*, not 'paired'"),
        (Halved, testing.check_groups, "'only': the 2 outputs of both.weight .* not adjacent: read them by `unflatten"),
        (ShortSighted, testing.check_inputs, "beyond its receptive_field_radius of 3"),
        (Coarser, testing.check_inputs, "cannot run at 34x32 pixels, multiples of size_multiple"),
    ],
)
def test_a_broken_family_is_told_where(family, check, says):
    with pytest.raises(PluginError, match=says):
        check(tiny(family))


def test_a_metric_that_cannot_tell_is_no_default(tmp_path):
    with pytest.raises(PluginError, match="metric 'slimming' scores no channel"):
        testing.check_family("pix2pix", tiny(Alternating), tmp_path)


def test_channels_whose_outputs_lie_side_by_side_are_a_group():
    testing.check_groups(tiny(Alternating))


FULL = {name: width.channels for name, width in tiny(Pix2Pix).widths(8).items()}


class GateAfterSomethingElse(SAGAN):
    def build_discriminator(self, gate=no_gate):
        network = super().build_discriminator(gate)
        if gate is not no_gate:
            network.conv2[1].register_forward_pre_hook(lambda module, inputs: (inputs[0] * 1.0,))
        return network


class GateBeforeNorm(SRGAN):
    def build_discriminator(self, gate=no_gate):
        network = super().build_discriminator(gate)
        for block in (network.conv2, network.conv3):
            block[1], block[2] = block[2], block[1]
        return network


class GatedLogits(Pix2Pix):
    def build_discriminator(self, gate=no_gate):
        return nn.Sequential(nn.Conv2d(6, 4, 4, 2, 1), gate(4), nn.ReLU(), nn.Conv2d(4, 1, 4), gate(1))


@pytest.mark.parametrize(
    ("family", "says"),
    [
        (GatedLogits, "gate 4 of .*after the logits"),
        (GateAfterSomethingElse, "conv2.1 of .*directly after a convolution"),
        (GateBeforeNorm, "conv2.1 of .*before a norm"),
    ],
)
def test_gates_in_the_wrong_place_are_told(family, says):
    with pytest.raises(PluginError, match=says):
        testing.check_gates(tiny(family))


@pytest.mark.parametrize("metric", METRICS.names())
def test_every_metric_fulfils_the_contract(metric):
    testing.check_metric(metric)


@pytest.mark.parametrize("selector", SELECTORS.names())
def test_every_selector_fulfils_the_contract(selector):
    testing.check_selector(selector)


@pytest.fixture
def vgg_files(tmp_path):
    """Return untrained weights of both VGGs."""
    files = {name: tmp_path / f"{name}.safetensors" for name in DEPTHS}
    for name, file in files.items():
        save_file(VGGFeatures(DEPTHS[name]).state_dict(), file)
    return Weights(files)


@pytest.mark.slow
@pytest.mark.parametrize("distiller", DISTILLERS.names())
def test_every_distiller_fulfils_the_contract(distiller, vgg_files):
    testing.check_distiller(distiller, vgg_files)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "ncnn", "coreml", "torchscript"])
def test_every_runtime_fulfils_the_contract(runtime, tmp_path):
    testing.check_runtime(runtime, tmp_path)


class Squeezed(TorchScript):
    def read(self, path, network):
        return nn.Sequential(network, nn.Hardtanh(-1e-3, 1e-3))


class Enlarged(TorchScript):
    def read(self, path, network):
        return nn.Sequential(network, nn.Flatten())


class Scattered(TorchScript):
    suffixes = (".pt", ".index")


class Changing(TorchScript):
    def write(self, network, inputs, path, metadata, precision="fp32"):
        super().write(network, inputs, path, metadata, precision)
        for parameter in network.parameters():
            parameter.data.add_(1)


class Silent(TorchScript):
    def read(self, path, network):
        return None


class Unquantized(TorchScript):
    precisions = ("fp32", "int8")


class Unscripted(TorchScript):
    script = "return ("


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Squeezed, "returns other images"),
        (Enlarged, r"returns \(1, "),
        (Scattered, "has not written .index"),
        (Changing, "write has changed .*weight"),
        (Silent, "read returns None, although runs_here"),
        (Unquantized, "precisions has int8 only if the class is a QuantizingRuntime"),
        (Unscripted, "not the Python of a function"),
    ],
)
def test_a_faulty_runtime_is_refused(plugin, message, tmp_path):
    name = plugin.__name__.lower()
    RUNTIMES.register(name, plugin)
    with pytest.raises(PluginError, match=message):
        testing.check_runtime(name, tmp_path)


class Vector(Wavelets):
    def losses(self, batch, student, teacher, auxiliary):
        return {"own": student.fake["G"].mean((1, 2, 3))}


class Constant(Wavelets):
    def losses(self, batch, student, teacher, auxiliary):
        return {"own": teacher.fake["G"].mean()}


class Undefined(Wavelets):
    def losses(self, batch, student, teacher, auxiliary):
        return {"own": student.fake["G"].mean() / 0}


class Steep(Wavelets):
    def losses(self, batch, student, teacher, auxiliary):
        return {"own": (student.fake["G"] * 0).sqrt().mean()}


class Random(Wavelets):
    def losses(self, batch, student, teacher, auxiliary):
        return {"own": student.fake["G"].mean() * torch.rand(())}


@pytest.mark.parametrize(
    ("distiller", "says"),
    [
        (Vector, r"'own' has the shape \(2,\): expected a scalar"),
        (Constant, "'own' has no gradient for the student's generators"),
        (Undefined, "'own' is not finite"),
        (Steep, "a gradient is not finite"),
        (Random, "'own' differs when it is computed again"),
    ],
)
def test_a_broken_distiller_is_told_where(distiller, says):
    with pytest.raises(PluginError, match=says):
        testing.check_distiller_losses(distiller, tiny(Pix2Pix), Weights())


class Graphed(L1Norm):
    def score(self, network, group):
        return network.get_parameter(group.producers[0].parameter).sum() * torch.ones(group.channels)


class Misshaped(L1Norm):
    def score(self, network, group):
        return super().score(network, group)[:-1]


class Infinite(L1Norm):
    def score(self, network, group):
        return super().score(network, group) / 0


class Drawn(L1Norm):
    def score(self, network, group):
        return torch.rand(group.channels)


class Meddling(L1Norm):
    def score(self, network, group):
        network.get_parameter(group.producers[0].parameter).grad.zero_()
        return torch.zeros(group.channels)


class Copying(L1Norm):
    def regularized_parameters(self, network, group):
        return [parameter.detach().clone() for parameter in super().regularized_parameters(network, group)]


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (Graphed, "carries a graph"),
        (Misshaped, r"'down1' has the shape \(7,\): expected \(8,\)"),
        (Infinite, "not finite"),
        (Drawn, "differs when it is computed again"),
        (Meddling, "changes the generator or its gradients"),
        (Copying, "not parameters of the generator"),
    ],
)
def test_a_broken_metric_is_told_where(metric, says):
    with pytest.raises(PluginError, match=says):
        testing.check_scores(metric(), tiny(Pix2Pix))


def test_a_metric_that_never_tells_is_refused(monkeypatch):
    monkeypatch.setitem(METRICS._loaded, "mute", type("Mute", (L1Norm,), {"score": lambda self, network, group: None}))
    with pytest.raises(PluginError, match="no channel of any family"):
        testing.check_metric("mute")


class Nothing(All):
    def select(self, network, example, published):
        return ()


class Absent(All):
    def select(self, network, example, published):
        return ["no.such.module"]


class Twice(All):
    def select(self, network, example, published):
        return [*published, *published]


class Hooked(All):
    def select(self, network, example, published):
        network.get_submodule(published[0]).register_forward_hook(lambda *_: None)
        return published


class Container(All):
    def select(self, network, example, published):
        network.spare = torch.nn.Flatten()
        return ["spare"]


@pytest.mark.parametrize(
    ("selector", "says"),
    [
        (Nothing, "no layer of generator G"),
        (Absent, "no.such.module"),
        (Twice, "chosen twice"),
        (Hooked, "leaves hooks"),
        (Container, "spare returns NoneType"),
    ],
)
def test_a_broken_selector_is_told_where(selector, says, monkeypatch):
    monkeypatch.setitem(SELECTORS._loaded, "all", selector)
    with pytest.raises(PluginError, match=says):
        testing.check_layers(Pix2Pix(changed(tiny(Pix2Pix).recipe, {"selector": "all"})))
