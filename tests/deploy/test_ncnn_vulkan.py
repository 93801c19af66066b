"""ncnn's files for GPUs compute what the saved generator computes, on a GPU where there is one."""

import subprocess
import sys

import pytest
import torch
from PIL import Image
from torch import nn

from gcc import export, load
from gcc.deploy.bench import bench
from gcc.deploy.formats.ncnn import NCNN
from gcc.deploy.formats.ncnn_vulkan import NCNNVulkan
from gcc.deploy.optimize import fold
from gcc.deploy.runtimes import load_in_runtime
from gcc.errors import GccError
from gcc.registry.runtime import Inputs
from tests.deploy.test_export import saved  # noqa: F401 - a fixture
from tests.helpers.families import TINY


@pytest.mark.slow
@pytest.mark.parametrize("arch", sorted(TINY))
def test_every_family(saved, tmp_path, arch, has_gpu):  # noqa: F811
    written = export(saved / arch, tmp_path / "out.ncnn.param", format="ncnn-vulkan")
    assert written.comparison.error <= 1e-4 * written.comparison.reach and written.comparison.reach > 0.01
    assert (written.after is not None) == has_gpu == ("on SwiftShader" in written.facts()["ncnn on a GPU"])
    assert "not timed on this system" in written.facts()["ncnn on a GPU"] or has_gpu


def test_every_layer_of_attention_is_for_gpus(saved, tmp_path):  # noqa: F811
    network, inputs = fold(load(saved / "sagan"), torch.zeros(1, 128)), Inputs((128,), one_sample=True)
    for program in (NCNN(), NCNNVulkan()):
        program.write(network, inputs, tmp_path / f"{program.title}.ncnn.param", {})
    before, after = ((tmp_path / f"{program.title}.ncnn.param").read_text() for program in (NCNN, NCNNVulkan))
    assert before.count("\nMatMul ") == 2 and after.count("\nGemm ") == 2 and "MatMul" not in after
    z = torch.randn(1, 128)
    with torch.inference_mode():
        # On the CPU, ncnn multiplies with both layers.
        fake = NCNN().read(tmp_path / f"{NCNNVulkan.title}.ncnn.param", network)(z)
        torch.testing.assert_close(fake, network(z), rtol=1e-4, atol=1e-5)


class Attention(nn.Module):
    """Attention with several heads, whose queries and keys have n features."""

    def __init__(self, heads):
        super().__init__()
        self.heads, self.layer = heads, nn.Conv2d(3, 12, 1)

    def forward(self, images):
        query, key, value = self.layer(images).flatten(2).reshape(1, 3 * self.heads, -1, images.shape[2] * images.shape[3]).chunk(3, 1)
        attention = (query.transpose(2, 3) @ key).softmax(-1)
        return (value @ attention.transpose(2, 3)).reshape(1, 4, *images.shape[2:])


def test_stacks_of_matrices_are_named(tmp_path):
    torch.manual_seed(0)
    network, inputs = Attention(2).eval(), Inputs((3, 8, 8), one_sample=True)
    with pytest.raises(GccError, match="ncnn has no MatMul for GPUs"):
        NCNNVulkan().write(network, inputs, tmp_path / "out.ncnn.param", {})
    NCNN().write(network, inputs, tmp_path / "out.ncnn.param", {})
    example = torch.randn(1, 3, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(NCNN().read(tmp_path / "out.ncnn.param", network)(example), network(example), rtol=1e-4, atol=1e-5)


def test_layers_that_gpus_lack_are_named(tmp_path):
    class Folded(nn.Module):
        def forward(self, images):
            return nn.functional.fold(nn.functional.unfold(images, 2, stride=2), images.shape[2:], 2, stride=2)

    with pytest.raises(GccError, match='ncnn has no Fold for GPUs: choose `format="ncnn"`, which runs on the CPU'):
        NCNNVulkan().write(Folded(), Inputs((3, 8, 8), one_sample=True), tmp_path / "out.ncnn.param", {})


def test_it_is_refused_for_times_without_a_gpu(monkeypatch):
    monkeypatch.setattr(NCNNVulkan, "gpu", None)
    with pytest.raises(GccError, match="ncnn-vulkan finds no GPU on this system: choose another runtime"):
        load_in_runtime(nn.Conv2d(3, 3, 3), torch.zeros(1, 3, 8, 8), "ncnn-vulkan")


@pytest.mark.slow
def test_without_a_gpu_images_are_compared_on_the_cpu(saved, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(NCNNVulkan, "gpu", None)
    for number in range(4):
        Image.effect_noise((32, 32), 90).convert("RGB").save(tmp_path / f"{number}.png")
    options = {"format": "ncnn-vulkan", "calibration": tmp_path, "precision": "fp16", "max_loss": 0.2}
    written = export(saved / "cyclegan", tmp_path / "out.ncnn.param", **options)
    assert written.loss.psnr > 40 and written.after is None and "not timed on this system" in written.facts()["ncnn on a GPU"]


@pytest.mark.slow
def test_rows_name_the_gpu(saved, has_gpu):  # noqa: F811
    if has_gpu:
        (timing,) = bench(saved / "cyclegan", runtimes=["ncnn-vulkan"])
        assert timing.device.startswith("ncnn-vulkan (SwiftShader") and timing.device.endswith(", in software)")


@pytest.mark.slow
def test_readme_and_script_use_the_gpu(saved, tmp_path):  # noqa: F811
    written = export(saved / "cyclegan", tmp_path / "out.ncnn.param", format="ncnn-vulkan")
    readme, script = written.guides
    assert "net.opt.use_vulkan_compute = true;" in readme.read_text() and "net.opt.use_vulkan_compute = True\n" in script.read_text()
    Image.effect_noise((32, 32), 90).convert("RGB").save(tmp_path / "photo.png")
    subprocess.run([sys.executable, str(script), "photo.png", "fake.png"], cwd=tmp_path, check=True, capture_output=True)
    photo = (
        torch.frombuffer(bytearray(Image.open(tmp_path / "photo.png").tobytes()), dtype=torch.uint8)
        .reshape(1, 32, 32, 3)
        .permute(0, 3, 1, 2)
    )
    with torch.inference_mode():
        expected = ((load(saved / "cyclegan")(photo / 127.5 - 1) + 1) * 127.5).round()
    fake = torch.frombuffer(bytearray(Image.open(tmp_path / "fake.png").tobytes()), dtype=torch.uint8).reshape(1, 32, 32, 3)
    assert (fake.permute(0, 3, 1, 2) - expected).abs().max() <= 1
