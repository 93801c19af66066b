"""Published weights give the published networks' outputs."""

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import conv2d, interpolate, leaky_relu, pixel_shuffle, pixel_unshuffle, prelu

from gcc import load
from gcc.errors import ArtifactError
from gcc.training.import_teacher import import_generator

BASIC = ("conv_first", "body.{}.rdb{}.conv{}", "conv_body", ["conv_up1", "conv_up2"], "conv_hr", "conv_last")
LATER = ("conv_first", "RRDB_trunk.{}.RDB{}.conv{}", "trunk_conv", ["upconv1", "upconv2"], "HRconv", "conv_last")
FIRST = ("model.0", "model.1.sub.{}.RDB{}.conv{}.0", "model.1.sub.2", ["model.3", "model.6"], "model.8", "model.10")
FIRST_BY_2 = ("model.0", "model.1.sub.{}.RDB{}.conv{}.0", "model.1.sub.2", ["model.3"], "model.5", "model.7")
BLOCKS = 2


def random_tensors(shapes):
    """Return random weights and biases of convolutions by path."""
    tensors = {}
    for path, (before, width) in shapes.items():
        tensors[f"{path}.weight"] = torch.randn(width, before, 3, 3) * (2 / (9 * before)) ** 0.5
        tensors[f"{path}.bias"] = torch.randn(width) * 0.1
    return tensors


def rrdb_tensors(names, trunk=6, growth=3):
    stem, dense, joint, ups, last, head = names
    shapes = dict.fromkeys([joint, *ups, last], (trunk, trunk)) | {stem: (3, trunk), head: (trunk, 3)}
    for block in range(BLOCKS):
        for number in (1, 2, 3):
            shapes |= {dense.format(block, number, conv): (trunk + (conv - 1) * growth, growth) for conv in (1, 2, 3, 4)}
            shapes[dense.format(block, number, 5)] = (trunk + 4 * growth, trunk)
    return random_tensors(shapes)


def rrdb_output(names, tensors, image):
    """Return the published RRDBNet's output for an image in [0, 1], or for one whose pixels are channels."""
    stem, dense, joint, ups, last, head = names

    def convolved(path, features):
        return conv2d(features, tensors[f"{path}.weight"], tensors[f"{path}.bias"], padding=1)

    first = features = convolved(stem, image)
    for block in range(BLOCKS):
        before_block = features
        for number in (1, 2, 3):
            before = features
            for conv in (1, 2, 3, 4):
                grown = leaky_relu(convolved(dense.format(block, number, conv), features), 0.2)
                features = torch.cat([features, grown], 1)
            features = before + 0.2 * convolved(dense.format(block, number, 5), features)
        features = before_block + 0.2 * features
    features = first + convolved(joint, features)
    for up in ups:
        features = leaky_relu(convolved(up, interpolate(features, scale_factor=2, mode="nearest")), 0.2)
    return convolved(head, leaky_relu(convolved(last, features), 0.2))


def compact_tensors(scale, width=5, convolutions=3):
    shapes = {"body.0": (3, width), f"body.{2 * convolutions + 2}": (width, 3 * scale**2)}
    shapes |= {f"body.{2 * number}": (width, width) for number in range(1, convolutions + 1)}
    return random_tensors(shapes) | {f"body.{2 * number + 1}.weight": torch.rand(width) for number in range(convolutions + 1)}


def compact_output(scale, tensors, image, convolutions=3):
    """Return the published SRVGGNetCompact's output for an image in [0, 1]."""
    features = image
    for number in range(convolutions + 1):
        features = conv2d(features, tensors[f"body.{2 * number}.weight"], tensors[f"body.{2 * number}.bias"], padding=1)
        features = prelu(features, tensors[f"body.{2 * number + 1}.weight"])
    path = f"body.{2 * convolutions + 2}"
    pixels = conv2d(features, tensors[f"{path}.weight"], tensors[f"{path}.bias"], padding=1)
    return pixel_shuffle(pixels, scale) + interpolate(image, scale_factor=scale, mode="nearest")


def imported(arch, tensors, folder):
    save_file(tensors, folder / "weights.safetensors")
    return import_generator(arch, folder / "weights.safetensors", folder / "teacher", generator=None, settings={}, force=False)


def assert_same_output(folder, expected, image):
    with torch.no_grad():
        output = load(folder / "teacher")(2 * image - 1)
    torch.testing.assert_close((output + 1) / 2, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("names", [BASIC, LATER, FIRST, FIRST_BY_2], ids=["basicsr", "testing", "first", "first by 2"])
def test_dense_blocks(names, tmp_path):
    torch.manual_seed(0)
    tensors, image = rrdb_tensors(names), torch.rand(1, 3, 7, 9)
    recipe = imported("esrgan", tensors, tmp_path).architecture.recipe
    assert (recipe.generator, recipe.blocks, recipe.ngf, recipe.scale) == ("rrdb", BLOCKS, 6, 2 ** len(names[3]))
    assert_same_output(tmp_path, rrdb_output(names, tensors, image), image)


@pytest.mark.parametrize("scale", [2, 4])
def test_compact(scale, tmp_path):
    torch.manual_seed(0)
    tensors, image = compact_tensors(scale), torch.rand(1, 3, 7, 9)
    recipe = imported("real-esrgan", tensors, tmp_path).architecture.recipe
    assert (recipe.generator, recipe.convolutions, recipe.ngf, recipe.scale) == ("compact", 3, 5, scale)
    assert_same_output(tmp_path, compact_output(scale, tensors, image), image)


def test_other_networks_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match="expected ESRGAN's or Real-ESRGAN's RRDBNet"):
        imported("esrgan", random_tensors({"conv_first": (3, 4), "conv_last": (4, 3)}), tmp_path)


def test_the_pixels_of_the_input_become_channels(tmp_path):
    # As in RealESRGAN_x2plus; inputs of odd sizes are padded.
    torch.manual_seed(0)
    tensors, image = rrdb_tensors(BASIC) | random_tensors({"conv_first": (12, 6)}), torch.rand(1, 3, 7, 10)
    recipe = imported("real-esrgan", tensors, tmp_path).architecture.recipe
    assert (recipe.scale, recipe.unshuffle) == (2, 2)
    padded = torch.cat([image, image[:, :, -1:]], 2)
    assert_same_output(tmp_path, rrdb_output(BASIC, tensors, pixel_unshuffle(padded, 2))[:, :, :14], image)
