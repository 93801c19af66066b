"""LiteRT's files compute what the saved generator computes. The converter has an environment of its own, since it requires much."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gcc import export
from gcc.deploy.formats.litert import LiteRT
from gcc.deploy.runtimes import load_in_runtime
from gcc.deploy.translate import translate
from gcc.errors import GccError
from tests.deploy.test_export import saved  # noqa: F401 - a fixture
from tests.helpers.families import TINY


@pytest.mark.parametrize("arch", sorted(TINY))
def test_every_family(saved, tmp_path, arch):  # noqa: F811
    pytest.importorskip("litert_torch")
    written = export(saved / arch, tmp_path / "out.tflite", format="litert")
    assert {*tmp_path.iterdir()} == {written.path, *written.guides}
    assert written.comparison.error <= 1e-4 * written.comparison.reach and written.comparison.reach > 0.01


def test_one_size_is_taken_and_the_script_resizes_to_it(saved, tmp_path):  # noqa: F811
    pytest.importorskip("litert_torch")
    written = export(saved / "cyclegan", tmp_path / "out.tflite", format="litert", size=(64, 48))
    assert str(written.inputs) == "1x3x48x64" and written.feeding["other sizes"].startswith("resize to 64x48")
    Image.effect_noise((64, 48), 90).convert("RGB").save(tmp_path / "photo.png")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, str(written.guides[1]), "photo.png", "fake.png"], cwd=tmp_path, env=clean, check=True, capture_output=True
    )
    (expected,) = translate(saved / "cyclegan", tmp_path / "photo.png", tmp_path / "expected.png", size=None, device="cpu")
    difference = np.asarray(Image.open(expected), np.int64) - np.asarray(Image.open(tmp_path / "fake.png"), np.int64)
    assert abs(difference).max() <= 1


def test_equal_layers_keep_their_own_weights():
    pytest.importorskip("litert_torch")
    torch.manual_seed(0)
    network = nn.Sequential(*(layer for _ in range(12) for layer in (nn.Conv2d(4, 4, 3, padding=1), nn.PReLU()))).eval()
    network.to(memory_format=torch.channels_last)
    example = torch.randn(1, 4, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(load_in_runtime(network, example, "litert")(example), network(example), rtol=1e-4, atol=1e-5)


def test_several_samples_in_a_pass_are_refused():
    pytest.importorskip("litert_torch")
    with pytest.raises(GccError, match="batch size 2: LiteRT takes 1x3x8x8"):
        load_in_runtime(nn.Conv2d(3, 3, 3, padding=1), torch.zeros(2, 3, 8, 8), "litert")


@pytest.mark.parametrize("arch", sorted(TINY))
def test_int8(saved, tmp_path, arch):  # noqa: F811
    pytest.importorskip("litert_torch")
    from ai_edge_litert.interpreter import Interpreter

    torch.manual_seed(0)
    for number in range(8):
        Image.effect_noise((32, 32), 90).convert("RGB").save(tmp_path / f"{number}.png")
    images = {} if arch == "sagan" else {"calibration": tmp_path}
    written = export(saved / arch, tmp_path / "out.tflite", format="litert", precision="int8", **images)
    assert written.in_float32 == [] and written.loss.psnr > 20
    model = Interpreter(str(written.path))
    assert {detail["dtype"] for detail in (*model.get_input_details(), *model.get_output_details())} == {np.float32}
    assert any(detail["dtype"] == np.int8 for detail in model.get_tensor_details())


def test_int8_keeps_costly_layers_in_float32(saved, tmp_path):  # noqa: F811
    pytest.importorskip("litert_torch")
    for number in range(8):
        Image.effect_noise((32, 32), 90).convert("RGB").save(tmp_path / f"{number}.png")
    options = {"format": "litert", "precision": "int8", "calibration": tmp_path}
    everywhere = export(saved / "cyclegan", tmp_path / "all.tflite", **options)
    written = export(saved / "cyclegan", tmp_path / "out.tflite", max_loss=everywhere.loss.drop / 2, **options)
    assert written.loss.drop <= everywhere.loss.drop / 2 and written.in_float32
    export(saved / "cyclegan", tmp_path / "exact.tflite", format="litert")
    assert {*written.in_float32} < {*LiteRT().layers(tmp_path / "exact.tflite")}
