"""DRN-D-105 against a reconstruction from the facts of fyu/drn, and the protocol of GAN Compression."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from gcc.data.cityscapes import Cityscapes
from gcc.errors import ArtifactError, GccError
from gcc.evaluation.networks.drn import DRND105, CityscapesMIoU
from tests.helpers.evaluators import context, eval_sample, metric
from tests.helpers.pairs import cityscapes, recipe
from tests.helpers.reconstructions import Layers, norm_shapes, random_state, shapes_of

# Index in `base`: bottlenecks, their inner width, stride, dilation.
LEVELS = {3: (3, 64, 2, 1), 4: (4, 128, 2, 1), 5: (23, 256, 1, 2), 6: (3, 512, 1, 4)}
# Index in `base`: channels, kernel, stride, dilation.
PLAIN = {0: (16, 7, 1, 1), 1: (16, 3, 1, 1), 2: (32, 3, 2, 1), 7: (512, 3, 1, 2), 8: (512, 3, 1, 1)}
MEAN = [0.29010095242892997, 0.32808144844279574, 0.28696394422942517]
DEVIATION = [0.1829540508368939, 0.18656561047509476, 0.18447508988480435]


def shapes():
    """Return the names and shapes of the published file."""
    shape_of, before = {}, 3
    for index in range(9):
        if index in PLAIN:
            after, kernel, _, _ = PLAIN[index]
            shape_of[f"base.{index}.0.weight"] = (after, before, kernel, kernel)
            shape_of |= norm_shapes(f"base.{index}.1", after)
            before = after
            continue
        blocks, width, _, _ = LEVELS[index]
        for block in range(blocks):
            path = f"base.{index}.{block}"
            for number, shape in enumerate([(width, before, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)], start=1):
                shape_of[f"{path}.conv{number}.weight"] = shape
                shape_of |= norm_shapes(f"{path}.bn{number}", shape[0])
            if block == 0:
                shape_of[f"{path}.downsample.0.weight"] = (4 * width, before, 1, 1)
                shape_of |= norm_shapes(f"{path}.downsample.1", 4 * width)
            before = 4 * width
    return shape_of | {"seg.weight": (19, 512, 1, 1), "seg.bias": (19,), "up.weight": (19, 1, 16, 16)}


@pytest.fixture(scope="module")
def state():
    # Small scales at the ends of blocks keep 33 residual sums within bounds.
    return {name: tensor * (0.3 if name.endswith("bn3.weight") else 1) for name, tensor in random_state(shapes()).items()}


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("drn") / "drn-d-105_ms_cityscapes.pth"
    torch.save(state, path)
    return path


def naive(state, images):
    """Run the network by its tensors' names; images (N, 3, H, W) in [0, 1]."""
    layers = Layers(state, 1e-5)
    conv, norm = layers.conv, layers.norm
    x = (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(DEVIATION).view(1, 3, 1, 1)
    for index in range(9):
        path = f"base.{index}"
        if index in PLAIN:
            _, _, stride, dilation = PLAIN[index]
            x = norm(conv(x, f"{path}.0", stride, dilation), f"{path}.1").relu()
            continue
        blocks, _, stride, dilation = LEVELS[index]
        for block in range(blocks):
            at, by = f"{path}.{block}", stride if block == 0 else 1
            y = norm(conv(x, f"{at}.conv1"), f"{at}.bn1").relu()
            y = norm(conv(y, f"{at}.conv2", by, dilation), f"{at}.bn2").relu()
            y = norm(conv(y, f"{at}.conv3"), f"{at}.bn3")
            x = (y + (norm(conv(x, f"{at}.downsample.0", by), f"{at}.downsample.1") if block == 0 else x)).relu()
    assert x.shape[-1] == -(-images.shape[-1] // 8)
    x = conv(x, "seg") + state["seg.bias"].view(1, -1, 1, 1)
    return functional.conv_transpose2d(x, state["up.weight"], None, 8, 4, groups=19)


def test_names_shapes_and_the_published_number_of_parameters():
    network = DRND105()
    assert shapes_of(network) == shapes()
    # 54.8 M with ImageNet's 1000 classes in place of Cityscapes' 19 and the enlargement (fyu/drn, README).
    base = sum(parameter.numel() for parameter in network.base.parameters())
    assert round((base + 512 * 1000 + 1000) / 1e6, 1) == 54.8


def test_scores_are_those_of_the_reconstruction_at_any_size(state):
    network = DRND105().eval()
    network.load_state_dict(state)
    for height, width in ((64, 48), (50, 41)):
        images = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            scores, expected = network(images), naive(state, images)
        assert scores.shape == (1, 19, -(-height // 8) * 8, -(-width // 8) * 8)
        torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


def test_classes_are_predicted_as_in_gan_compression(state, file, tmp_path):
    evaluator = CityscapesMIoU(context(Cityscapes(cityscapes(tmp_path), "train", recipe(32)), drn_d_105=file))
    fake = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2.4 - 1.2
    predicted = evaluator.segment(fake, 100, 210)
    pixels = ((fake.clamp(-1, 1) + 1) / 2 * 255).round() / 255
    with torch.no_grad():
        scores = naive(state, pixels).log_softmax(1).numpy()
    for answer, image in zip(predicted, scores, strict=True):
        sized = [np.array(Image.fromarray(channel).resize((210, 100), Image.Resampling.BILINEAR)) for channel in image]
        assert (answer.numpy() == np.stack(sized).argmax(0)).mean() > 0.999
    assert len(predicted.unique()) > 3


def test_the_metric_on_frames_of_cityscapes(file, tmp_path):
    source = Cityscapes(cityscapes(tmp_path), "train", recipe(32))
    evaluator = CityscapesMIoU(context(source, drn_d_105=file))
    sample = {key: value[None] for key, value in source.sample(0, None).items()}
    images = eval_sample(sample["B"], **sample)
    assert evaluator.compare(images).sum() == (sample["labels"] != 255).sum()
    assert 0 <= metric(evaluator, images) < 30 and evaluator.unit == "%"
    perfect = eval_sample(sample["B"], **sample | {"labels": evaluator.segment(sample["B"], 16, 32)})
    assert metric(evaluator, perfect) == 100
    assert "19 classes, scores resized to the labels, DRN-D-105 drn-d-105_ms_cityscapes.pth (sha256 " in evaluator.protocol


def test_missing_weights_and_labels_are_reported_before_any_work(state, file, tmp_path, monkeypatch):
    cityscapes(tmp_path / "data", label_ids=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    source = Cityscapes(tmp_path / "data", "train", recipe(32))
    with pytest.raises(GccError, match=r'drn-d-105 are needed.*`weights=\{"drn-d-105": "FILE"\}`; download .* from http://go\.yf\.io'):
        CityscapesMIoU(context(source))
    with pytest.raises(GccError, match=r"expected the data set 'cityscapes' with gtFine/<split>/<city>/<frame>_gtFine_labelIds\.png"):
        CityscapesMIoU(context(source, drn_d_105=file))
    torch.save({name: tensor for name, tensor in state.items() if name != "base.5.22.conv2.weight"}, tmp_path / "a.pth")
    with pytest.raises(ArtifactError, match=r"does not fit DRN-D-105 for Cityscapes of fyu/drn: .*base\.5\.22\.conv2\.weight is missing"):
        CityscapesMIoU(context(Cityscapes(cityscapes(tmp_path / "all"), "train", recipe(32)), drn_d_105=tmp_path / "a.pth"))
