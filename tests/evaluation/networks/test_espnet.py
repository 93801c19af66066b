"""ESPNet against a reconstruction by its tensors' names, and its evaluator on label maps in Cityscapes' colours."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from gcc.data.cityscapes import LABELS, TRAIN_IDS
from gcc.data.demo.streets import Streets
from gcc.errors import ArtifactError, GccError
from gcc.evaluation.networks import espnet
from gcc.evaluation.networks.espnet import ESPNet, ESPNetMIoU
from gcc.registry import EvalSample
from tests.helpers.evaluators import context, eval_sample, metric
from tests.helpers.reconstructions import Layers, norm_shapes, random_state, shapes_of

DILATIONS = (1, 2, 4, 8, 16)


def shapes():
    """Return the names and shapes of the published file."""
    shape_of = {}

    def activation(name, channels):
        shape_of.update(norm_shapes(f"{name}.bn", channels))
        shape_of[f"{name}.act.weight"] = (channels,)

    def pyramid(name, before, after, size):
        width = after // 5
        shape_of[f"{name}.c1.conv.weight"] = (width, before, size, size)
        for dilation in DILATIONS:
            shape_of[f"{name}.d{dilation}.conv.weight"] = (after - 4 * width if dilation == 1 else width, width, 3, 3)

    def downsampling(name, before, after):
        pyramid(name, before, after, 3)
        activation(name, after)

    def block(name, before, after):
        pyramid(name, before, after, 1)
        activation(f"{name}.bn", after)

    shape_of["encoder.level1.conv.weight"] = (16, 3, 3, 3)
    for name, channels in {"level1": 16, "b1": 19, "b2": 131, "b3": 256}.items():
        activation(f"encoder.{name}", channels)
    downsampling("encoder.level2_0", 19, 64)
    downsampling("encoder.level3_0", 131, 128)
    for level, channels, blocks in ((2, 64, 2), (3, 128, 8)):
        for number in range(blocks):
            block(f"encoder.level{level}.{number}", channels, channels)
    shape_of |= {"encoder.classifier.conv.weight": (20, 256, 1, 1), "level3_C.conv.weight": (20, 131, 1, 1)}
    shape_of |= {f"{name}.weight": (20, 20, 2, 2) for name in ("up_l3.0", "up_l2.0", "classifier")}
    shape_of["conv.conv.weight"] = (20, 36, 3, 3)
    shape_of |= norm_shapes("br", 20)
    activation("combine_l2_l3.0", 40)
    block("combine_l2_l3.1", 40, 20)
    activation("up_l2.1", 20)
    activation("conv", 20)
    return shape_of


@pytest.fixture(scope="module")
def state():
    return random_state(shapes())


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("espnet") / "espnet_p_2_q_8.safetensors"
    save_file(state, path)
    return path


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(espnet, "HEIGHT", 32)
    monkeypatch.setattr(espnet, "WIDTH", 64)


def naive(state, image):
    """Run the network by its tensors' names."""

    layers = Layers(state, 1e-3)

    def conv(x, name, stride=1, dilation=1):
        return layers.conv(x, f"{name}.conv", stride, dilation)

    def activation(x, name):
        x = layers.norm(x, f"{name}.bn")
        return x.clamp(min=0) + state[f"{name}.act.weight"].view(1, -1, 1, 1) * x.clamp(max=0)

    def pyramid(x, name, stride=1):
        x = conv(x, f"{name}.c1", stride)
        one, two, four, eight, sixteen = (conv(x, f"{name}.d{dilation}", 1, dilation) for dilation in DILATIONS)
        return torch.cat([one, two, two + four, two + four + eight, two + four + eight + sixteen], 1)

    def doubled(x, name):
        return functional.conv_transpose2d(x, state[f"{name}.weight"], stride=2)

    def level(x, name, blocks):
        for number in range(blocks):
            x = activation(x + pyramid(x, f"{name}.{number}"), f"{name}.{number}.bn")
        return x

    half = functional.avg_pool2d(image, 3, 2, 1)
    quarter = functional.avg_pool2d(half, 3, 2, 1)
    first = activation(conv(image, "encoder.level1", 2), "encoder.level1")
    start = activation(pyramid(activation(torch.cat([first, half], 1), "encoder.b1"), "encoder.level2_0", 2), "encoder.level2_0")
    second = activation(torch.cat([level(start, "encoder.level2", 2), start, quarter], 1), "encoder.b2")
    start = activation(pyramid(second, "encoder.level3_0", 2), "encoder.level3_0")
    third = activation(torch.cat([start, level(start, "encoder.level3", 8)], 1), "encoder.b3")
    coarse = doubled(layers.norm(conv(third, "encoder.classifier"), "br"), "up_l3.0")
    merged = activation(torch.cat([conv(second, "level3_C"), coarse], 1), "combine_l2_l3.0")
    merged = activation(pyramid(merged, "combine_l2_l3.1"), "combine_l2_l3.1.bn")
    merged = activation(doubled(merged, "up_l2.0"), "up_l2.1")
    return doubled(activation(conv(torch.cat([merged, first], 1), "conv"), "conv"), "classifier")


def streets(size=32):
    source = Streets(None, "train", SimpleNamespace(size=size))
    return {key: torch.stack([source.sample(index, None)[key] for index in range(2)]) for key in ("A", "B")}


def test_names_shapes_and_scores_are_those_of_the_reconstruction(state):
    network = ESPNet().eval()
    assert shapes_of(network) == shapes() and sum(parameter.numel() for parameter in network.parameters()) == 364_569
    network.load_state_dict(state)
    image = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        scores, expected = network(image), naive(state, image)
    assert scores.shape == (1, 20, 32, 48)
    torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


def test_classes_have_the_highest_score_of_blue_first_images_without_void(state, file, small):
    fake = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(2)) * 2.4 - 1.2
    levels = (127.5 * (fake.clamp(-1, 1) + 1)).round()
    mean, deviation = (72.39, 82.91, 73.16), (45.32, 46.15, 44.91)
    channels = [(levels[:, 2 - place] - mean[place]) / deviation[place] / 255 for place in range(3)]
    with torch.no_grad():
        expected = naive(state, torch.stack(channels, 1))[:, :19].argmax(1)
        predicted = ESPNetMIoU(context(espnet=file)).segment(fake, 32, 64)
    assert len(predicted.unique()) > 3 and (predicted == expected).double().mean() > 0.99


def test_the_labels_of_coloured_maps(file, small):
    batch = streets()
    evaluator = ESPNetMIoU(context(espnet=file))
    noisy = batch["A"] + 0.08 * (torch.rand(batch["A"].shape, generator=torch.Generator().manual_seed(3)) - 0.5)
    truth = evaluator.truth(eval_sample(batch["B"], A=noisy))
    colours = [LABELS[number][1] for number in TRAIN_IDS]
    pixels = (127.5 * (batch["A"] + 1)).round().int().permute(0, 2, 3, 1)
    for image, row, column in ((0, 0, 0), (0, 20, 7), (1, 31, 16), (1, 12, 30)):
        colour = tuple(pixels[image, row, column].tolist())
        assert truth[image, row, column] == (colours.index(colour) if colour in colours else 255)
    images = eval_sample(batch["B"], A=batch["A"])
    evaluator.check(images, 2, 2)
    assert 0 <= metric(evaluator, images) < 50
    perfect = eval_sample(batch["B"], labels=evaluator.segment(batch["B"], 16, 32))
    assert metric(evaluator, perfect) == 100 and evaluator.reports_real
    assert "ESPNet espnet_p_2_q_8.safetensors (sha256 " in evaluator.protocol and "not comparable with DRN-D-105" in evaluator.protocol


def test_what_cannot_be_evaluated_is_refused(state, file, small, tmp_path, monkeypatch):
    batch = streets(64)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(
        GccError, match=r'espnet are needed.*`weights=\{"espnet": "FILE"\}`; download pretrained/decoder/espnet_p_2_q_8\.pth'
    ):
        ESPNetMIoU(context())
    evaluator = ESPNetMIoU(context(espnet=file))
    for sample in (EvalSample(batch, batch["A"], "B", "A"), EvalSample({"real": batch["B"]}, batch["B"], "fake", "real")):
        with pytest.raises(GccError, match="miou_espnet evaluates photographs .* generated from (B|fake), which has others; reverse"):
            evaluator.check(sample, 2, 2)
    save_file({name: tensor for name, tensor in state.items() if name != "br.bias"}, tmp_path / "a.safetensors")
    with pytest.raises(ArtifactError, match=r"does not fit ESPNet .*br\.bias is missing"):
        ESPNetMIoU(context(espnet=tmp_path / "a.safetensors"))
