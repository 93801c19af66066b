"""LiteRT's files for its GPU delegate. The converter has an environment of its own, since it requires much."""

import subprocess
import sys

import pytest
import torch
from PIL import Image
from torch import nn

from gcc import export
from gcc.deploy.bench import bench, rows
from gcc.deploy.formats.litert_gpu import LiteRTGPU
from gcc.deploy.runtimes import load_in_runtime
from gcc.errors import GccError
from gcc.registry.runtime import Inputs
from tests.deploy.test_export import saved  # noqa: F401 - a fixture
from tests.helpers.families import TINY


@pytest.fixture(autouse=True)
def _converter():
    pytest.importorskip("litert_torch")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("arch", sorted(TINY))
def test_every_family(saved, tmp_path, arch, precision, has_gpu):  # noqa: F811
    torch.manual_seed(0)
    for number in range(4):
        Image.effect_noise((32, 32), 90).convert("RGB").save(tmp_path / f"{number}.png")
    images = {} if arch == "sagan" or precision == "fp32" else {"calibration": tmp_path}
    written = export(saved / arch, tmp_path / "out.tflite", format="litert-gpu", precision=precision, **images)
    if precision == "fp32":
        assert written.comparison.error <= 1e-4 * written.comparison.reach and written.comparison.reach > 0.01
    else:
        assert written.loss.psnr > 20
    assert (written.after is not None) == has_gpu
    assert "not timed on this system" in written.facts()["LiteRT on a GPU"] or has_gpu


def test_the_gpu_computes(saved, has_gpu):  # noqa: F811
    if not has_gpu:
        with pytest.raises(GccError, match="litert-gpu finds no GPU on this system: choose another runtime"):
            next(bench(saved / "cyclegan", runtimes=["litert-gpu"]))
        return
    timings = rows(list(bench(saved / "cyclegan", runtimes=["litert", "litert-gpu"])))
    assert [row["device"] for row in timings] == ["litert (cpu, 1 thread)", "litert-gpu (GPU)"]
    torch.manual_seed(0)
    network, example = nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8), nn.LeakyReLU(0.2)).eval(), torch.randn(1, 3, 16, 16)
    ready = load_in_runtime(network, example, "litert-gpu")
    with torch.inference_mode():
        for scale in (1, 100):
            torch.testing.assert_close(ready(scale * example), network(scale * example), rtol=1e-4, atol=1e-4)


def test_a_program_ends_quietly(saved, tmp_path):  # noqa: F811
    command = [sys.executable, "-m", "gcc", "export", str(saved / "sagan"), "--target", "litert-gpu", "--out", str(tmp_path / "out.tflite")]
    ran = subprocess.run(command, capture_output=True, text=True)
    # LiteRT itself frees its accelerators when the process ends, and says so.
    lines = [line for line in ran.stderr.splitlines() if "DestroyAccelerator" not in line]
    assert ran.returncode == 0 and lines == [] and "LiteRT on a GPU" in ran.stdout


def test_a_model_without_buffers_is_refused(tmp_path, monkeypatch):
    from ai_edge_litert.compiled_model import CompiledModel

    def failing(self, signature):
        raise RuntimeError("out of memory")

    LiteRTGPU().write(nn.Conv2d(3, 3, 3), Inputs((3, 8, 8), one_sample=True), tmp_path / "out.tflite", {})
    monkeypatch.setattr(CompiledModel, "create_input_buffers", failing)
    monkeypatch.setattr(LiteRTGPU, "gpu", "GPU")
    with pytest.raises(GccError, match="LiteRT cannot run this generator on the GPU of this system"):
        LiteRTGPU().read(tmp_path / "out.tflite", nn.Identity())


class Sorted(nn.Module):
    """Sorts channels."""

    def forward(self, images):
        return images.sort(1).values


class Shuffled(nn.Module):
    """Moves pixels into channels by tensors of six dimensions."""

    def forward(self, images):
        n, c, h, w = images.shape
        return images.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)


@pytest.mark.parametrize(("network", "lacking"), [(Sorted(), "STABLEHLO_COMPARE, STABLEHLO_SORT"), (Shuffled(), "tensors of 6 dimensions")])
def test_what_the_delegate_lacks_is_named(network, lacking, tmp_path):
    with pytest.raises(GccError, match=f'the GPU delegate of LiteRT lacks {lacking}: choose `format="litert"`, which runs on the CPU'):
        LiteRTGPU().write(network, Inputs((3, 8, 8), one_sample=True), tmp_path / "out.tflite", {})
