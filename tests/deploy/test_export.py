"""Exported files compute what the saved generator computes, for every input that it takes."""

import json
import logging
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open
from torch import nn

from gcc import export, load
from gcc.cli import main
from gcc.data.images import read_image, read_rgb, to_tensor
from gcc.deploy.formats.ncnn import NCNN, REDUCED
from gcc.deploy.formats.onnx import ONNX
from gcc.deploy.formats.torch_files import FoldedWeights, TorchScript
from gcc.deploy.generate import generate
from gcc.deploy.runtime_names import FORMATS
from gcc.deploy.runtimes import load_in_runtime
from gcc.deploy.translate import translate
from gcc.errors import DataError, GccError, OutputError, PluginError
from gcc.registry import RUNTIMES, Inputs
from tests.deploy.test_generate import write
from tests.helpers.families import TINY, slow_unless_pix2pix
from tests.helpers.images import save

FORMS = ("onnx", "openvino", "ncnn", "torchscript", "pt2", "safetensors")
"""The formats whose files run here; LiteRT's converter needs an environment of its own (`tests/deploy/test_litert.py`)."""


def runtime(form):
    """Return the runtime of a format, whose packages must be installed."""
    runtime = RUNTIMES.load(FORMATS.get(form, form))()
    runtime.require()
    return runtime


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Every family's tiny generator, with running statistics and scales that differ from the initial ones."""
    folder = tmp_path_factory.mktemp("saved")
    for arch in TINY:
        torch.manual_seed(0)
        write(arch, folder / arch, change=changed, **({"cost_size": 32} if arch == "srgan" else {}))
    return folder


def changed(network):
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)


@pytest.mark.parametrize("form", ["torchscript", "pt2", "safetensors"])
def test_the_callers_autocast_does_not_reach_the_file(saved, tmp_path, form):
    path = tmp_path / f"out{runtime(form).suffixes[0]}"
    with torch.autocast("cpu"):
        compared = export(saved / "srgan", path, format=form).comparison
    assert compared.error <= 1e-4 * compared.reach


def test_folded_weights_have_no_norms(saved, tmp_path):
    from safetensors.torch import load_file

    export(saved / "pix2pix", tmp_path / "out.safetensors", format="safetensors")
    names = load_file(tmp_path / "out.safetensors").keys()
    assert "down2.conv.bias" in names and not any("norm" in name for name in names)


def test_a_file_that_computes_something_else_is_not_written(saved, tmp_path, monkeypatch):
    def wrong(self, path, network):
        return nn.Sequential(network, nn.Hardtanh(-0.01, 0.01))

    monkeypatch.setattr(FoldedWeights, "read", wrong)
    with pytest.raises(GccError, match="differs by .* nothing was written"):
        export(saved / "pix2pix", tmp_path / "out.safetensors", format="safetensors")
    assert not list(tmp_path.iterdir())


def test_a_file_that_returns_nan_is_not_written(saved, tmp_path, monkeypatch):
    class Broken(nn.Module):
        def forward(self, inputs):
            return load(saved / "pix2pix")(inputs) * torch.nan

    monkeypatch.setattr(FoldedWeights, "read", lambda self, path, network: Broken())
    with pytest.raises(GccError, match="the file returns NaN or infinity, and PyTorch does not: nothing was written"):
        export(saved / "pix2pix", tmp_path / "out.safetensors", format="safetensors")
    assert not list(tmp_path.iterdir())


def test_a_broken_plugin_does_not_hide_which_formats_have_a_precision(saved, tmp_path, monkeypatch):
    known = RUNTIMES.load

    def load_or_fail(name):
        if name == "openvino":
            raise PluginError("openvino cannot be loaded")
        return known(name)

    monkeypatch.setattr(RUNTIMES, "load", load_or_fail)
    with pytest.raises(GccError, match='`precision="fp16"` is not available for pt2'):
        export(saved / "pix2pix", tmp_path / "out.pt2", format="pt2", precision="fp16")


def in_run_on_demo_data(folder):
    """Return a Pix2Pix generator in the folder of a run on demo data."""
    write("pix2pix", folder / "student")
    (folder / "command.json").write_text(json.dumps({"command": "compress", "options": {"data": None, "dataset": None}}))
    return folder / "student"


def test_a_file_in_float32_is_compared_on_images_of_its_run(saved, tmp_path, monkeypatch):
    student, lines = in_run_on_demo_data(tmp_path / "run"), []
    written = export(student, tmp_path / "out.pt", format="torchscript", report=lines.append)
    assert written.loss.samples == "6 test images of demo data (streets, generated)" and written.loss.knows_truth and not lines
    assert 0 <= written.loss.error <= 1e-4 and written.loss.worst > 80 and abs(written.loss.drop) < 1e-4
    assert str(written.loss) in written.guides[0].read_text()
    alone = export(saved / "pix2pix", tmp_path / "alone.pt", format="torchscript", report=lines.append)
    assert alone.loss is None and re.match("compared on noise, not on images: .* is not in the folder of a run", *lines)

    class WrongOnImages(nn.Module):
        """Is another network for pictures with 256 levels or fewer."""

        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, inputs):
            return self.network(inputs) + 0.1 * (inputs.unique().numel() <= 256)

    monkeypatch.setattr(TorchScript, "read", lambda self, path, network: WrongOnImages(network))
    with pytest.raises(GccError, match="differs by 0.1 from PyTorch, .* on 6 test images of demo data .*: nothing was written"):
        export(student, tmp_path / "wrong.pt", format="torchscript")
    assert not list(tmp_path.glob("wrong*"))


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "least", "share"), [("fp16", 50, 0.6), ("int8", 20, 0.45)])
def test_lower_precision_costs_some_quality(saved, tmp_path, precision, least, share):
    pytest.importorskip("onnxruntime")
    images = tmp_path / "images"
    images.mkdir()
    for number in range(6):
        Image.effect_noise((40, 40), 60).convert("RGB").save(images / f"{number}.png")
    exact = export(saved / "cyclegan", tmp_path / "exact.onnx")
    lower = export(saved / "cyclegan", tmp_path / "lower.onnx", precision=precision, calibration=images)
    assert exact.loss is None and exact.exact is None
    assert lower.exact is not None and "ONNX Runtime, fp32" in lower.facts() and "may lose more" in lower.facts()["quality"]
    assert least < lower.loss.worst <= lower.loss.psnr < 100 and "3 images" in lower.loss.samples
    assert weights_of(lower.path) < share * weights_of(exact.path)
    with torch.inference_mode():
        expected, output = (ONNX().read(path, None)(torch.linspace(-1, 1, 3072).view(1, 3, 32, 32)) for path in (exact.path, lower.path))
    assert (expected - output).abs().max() > 0 and lower.comparison.error > exact.comparison.error
    assert logging.root.manager.disable == logging.NOTSET


@pytest.mark.slow
def test_openvino_computes_in_int8_what_onnx_runtime_has_quantised(saved, tmp_path):
    for name in ("onnx", "openvino"):
        runtime(name)
    images = tmp_path / "images"
    images.mkdir()
    for number in range(6):
        Image.effect_noise((40, 40), 60).convert("RGB").save(images / f"{number}.png")
    options = {"precision": "int8", "calibration": images}
    exact = export(saved / "cyclegan", tmp_path / "exact.xml", format="openvino")
    reference = export(saved / "cyclegan", tmp_path / "int8.onnx", **options)
    written = export(saved / "cyclegan", tmp_path / "int8.xml", format="openvino", **options)
    assert {file.name for file in written.files} == {"int8.xml", "int8.bin"}
    assert written.files[1].stat().st_size < 0.45 * exact.files[1].stat().st_size
    assert metadata_of(written.path, "openvino") == metadata_of(exact.path, "openvino")
    assert written.loss.psnr == pytest.approx(reference.loss.psnr, abs=3) and written.loss.psnr < 60
    kept = export(saved / "cyclegan", tmp_path / "kept.xml", format="openvino", max_loss=written.loss.drop / 2, **options)
    assert kept.loss.drop <= written.loss.drop / 2 and kept.in_float32
    assert infer(written.guides[1], images / "0.png", "fake.png").returncode == 0


@pytest.mark.slow
def test_layers_stay_in_float32_until_the_loss_is_small_enough(saved, tmp_path):
    runtime("onnx")
    images = tmp_path / "images"
    images.mkdir()
    for number in range(6):
        Image.effect_noise((40, 40), 60).convert("RGB").save(images / f"{number}.png")
    command = ["export", str(saved / "cyclegan"), "--out", str(tmp_path / "out.onnx"), "--precision", "int8", "--calibration", str(images)]
    ran = CliRunner().invoke(main, [*command, "--max-loss", "0.1dB"], catch_exceptions=False)
    assert ran.exit_code == 0 and "more than 0.1 dB: measuring each layer" in ran.stderr and "in float32" in ran.stdout
    written = export(saved / "cyclegan", tmp_path / "out.onnx", precision="int8", calibration=images, max_loss=0.1)
    everywhere = export(saved / "cyclegan", tmp_path / "all.onnx", precision="int8", calibration=images)
    assert written.loss.drop <= 0.1 < everywhere.loss.drop and not everywhere.in_float32
    assert 0 < len(written.in_float32) < 14 and weights_of(everywhere.path) < weights_of(written.path)
    with pytest.raises(GccError, match="with any layer in int8 .* allow a larger `max_loss`"):
        export(saved / "cyclegan", tmp_path / "none.onnx", precision="int8", calibration=images, max_loss=1e-5)
    with pytest.raises(GccError, match="fp16 costs .* allow a larger `max_loss`, or use float32"):
        export(saved / "cyclegan", tmp_path / "none.onnx", precision="fp16", calibration=images, max_loss=1e-9)
    assert not list(tmp_path.glob("none*")) and not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_the_images_that_a_run_skipped_measure_no_ranges(saved, few_pairs, tmp_path):
    pytest.importorskip("onnxruntime")
    data = shutil.copytree(few_pairs, tmp_path / "data")
    (data / "test" / "0.png").write_bytes(b"no image")
    write("pix2pix", tmp_path / "run" / "student")
    options = {"data": str(data), "dataset": None, "skip_bad": True}
    (tmp_path / "run" / "command.json").write_text(json.dumps({"command": "compress", "options": options}))
    written = export(tmp_path / "run" / "student", precision="fp16")
    assert written.loss.samples == f"3 test images of {data}" and written.path.name == "student.fp16.onnx"


def weights_of(path):
    import onnx

    return sum(len(tensor.raw_data) for tensor in onnx.load(path).graph.initializer)


@pytest.mark.slow
def test_noise_measures_generators_from_noise(saved, tmp_path):
    pytest.importorskip("onnxruntime")
    assert "inputs of noise" in export(saved / "sagan", tmp_path / "out.onnx", precision="int8").loss.samples
    with pytest.raises(GccError, match="takes noise, not images: leave `calibration` out"):
        export(saved / "sagan", tmp_path / "out.onnx", precision="int8", calibration=tmp_path)


@pytest.mark.slow
def test_the_data_of_the_run_measures_its_generators(saved, tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(GccError, match="is not in the folder of a run"):
        export(saved / "pix2pix", tmp_path / "out.onnx", precision="int8")
    written = export(in_run_on_demo_data(tmp_path / "run"), precision="int8")
    assert written.path == tmp_path / "run" / "student.int8.onnx"
    assert written.loss.samples == "6 test images of demo data (streets, generated)" and written.loss.psnr > 20


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"format": "tflite"}, GccError, "format 'tflite' is unknown"),
        (
            {"format": "pt2", "precision": "fp16"},
            GccError,
            r'`precision="fp16"` is not available for pt2: use a format that has it \(coreml, ncnn, ncnn-vulkan, onnx',
        ),
        ({"format": "coreml", "precision": "fp16", "max_loss": 0.2}, GccError, "coreml files do not run on this system"),
        ({"out": "out.v2.xml"}, OutputError, 'expected a file such as .*out.v2.onnx, or `format="openvino"`'),
        ({"max_loss": 0.2}, GccError, "`max_loss=0.2` limits what lower precision costs: give `precision"),
        ({"precision": "int8", "max_loss": 0.0}, GccError, "`max_loss=0.0`: expected a number of dB above 0"),
        ({"out": "out.bin"}, OutputError, "expected a file such as .*out.onnx$"),
        ({"out": "out.pt2"}, OutputError, 'expected a file such as .*out.onnx, or `format="pt2"`'),
        ({"precision": "int8", "calibration": "nowhere"}, DataError, "nowhere is not a folder: expected one with input images"),
    ],
)
def test_invalid_options_are_refused(saved, tmp_path, monkeypatch, options, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        export(saved / "pix2pix", **({"out": tmp_path / "out.onnx"} | options))
    assert not list(tmp_path.iterdir())


def test_a_saved_generator_is_not_overwritten(tmp_path):
    write("pix2pix", tmp_path / "student")
    write("pix2pix", tmp_path / "teacher")
    for folder in ("student", "teacher"):
        with pytest.raises(OutputError, match="part of a saved generator"):
            export(tmp_path / "student", tmp_path / folder / "model.safetensors", format="safetensors")
        load(tmp_path / folder)


def test_what_no_export_has_written_is_not_replaced(saved, tmp_path):
    (tmp_path / "out.bin").write_bytes(b"another program's")
    with pytest.raises(OutputError, match="out.bin exists without out.xml, so it may be another program's"):
        export(saved / "sagan", tmp_path / "out.xml", format="openvino")
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "folder.pt" / "Manifest.json").write_text("own")
    with pytest.raises(OutputError, match="folder.pt is a folder: choose another"):
        export(saved / "sagan", tmp_path / "folder.pt", format="torchscript")
    (tmp_path / "file.mlpackage").write_text("own")
    with pytest.raises(OutputError, match="file.mlpackage is a file: choose another"):
        export(saved / "sagan", tmp_path / "file.mlpackage", format="coreml")
    assert (tmp_path / "folder.pt" / "Manifest.json").read_text() == "own"


class Failing(TorchScript):
    def read(self, path, network):
        raise RuntimeError("no such\noperator")


def test_errors_of_programs_are_explained(saved, tmp_path):
    RUNTIMES.register("failing", Failing)
    with pytest.raises(GccError, match=r"TorchScript cannot express this generator \(no such operator\): choose another format"):
        export(saved / "sagan", tmp_path / "out.pt", format="failing")
    with pytest.raises(GccError, match=r"TorchScript cannot express this generator \(no such operator\)"):
        load_in_runtime(load(saved / "sagan"), torch.zeros(1, 128), "failing")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_odd_names_leave_the_script_and_the_readme_whole(saved, tmp_path):
    readme, script = export(saved / "cyclegan", tmp_path / 'a \\N """.pt', format="torchscript").guides
    picture = tmp_path / "photo.png"
    Image.effect_noise((32, 32), 90).convert("RGB").save(picture)
    (command,) = re.findall(r"^\$ (python .*) IMAGE OUT.png$", readme.read_text(), re.MULTILINE)
    assert shlex.split(command) == ["python", script.name]
    ran = subprocess.run([sys.executable, script, picture, tmp_path / "fake.png"], capture_output=True)
    assert ran.returncode == 0 and pixels(tmp_path / "fake.png").shape == (32, 32, 3)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_packages_are_named(saved, tmp_path, monkeypatch, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(GccError, match=r"ONNX needs onnx, onnxscript and onnxruntime: pip install 'gan-gcc\[export\]'"):
        export(saved / "sagan", tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_prints_error_and_speed(saved, tmp_path):
    arguments = ["export", str(saved / "sagan"), "--format", "pt2", "--out", str(tmp_path / "out.pt2")]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    for part in ("out.pt2", "Nx128", "largest error", "PyTorch", "torch.export"):
        assert part in result.stdout
    assert re.search("x as fast|the machine was busy", " ".join(result.stdout.split()))


def slow_unless_onnx(form):
    """Return the mark of a form whose script starts torch."""
    return () if form == "onnx" else pytest.mark.slow


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image, dtype=np.int64)


def test_ncnn_reads_inputs_whose_values_are_in_another_order(saved, tmp_path):
    """They are copied, and memory that is freed too early crashes the process."""
    written = export(saved / "cyclegan", tmp_path / "out.ncnn.param", format="ncnn")
    network = load(saved / "cyclegan")
    image = (2 * torch.rand(1, 384, 512, 3) - 1).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = network(image)
    script = runpy.run_path(str(written.guides[1]))
    torch.testing.assert_close(runtime("ncnn").read(written.path, network)(image), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(torch.from_numpy(script["load"]()(image.numpy())), expected, rtol=1e-3, atol=1e-4)


def metadata_of(path, form):
    if form == "onnx":
        import onnx

        return {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    if form == "openvino":
        import openvino

        return openvino.Core().read_model(path).get_rt_info("gcc").value
    if form == "safetensors":
        with safe_open(path, "pt") as file:
            return file.metadata()
    files = {"gcc.json": ""}
    if form == "pt2":
        torch.export.load(path, extra_files=files)
    else:
        torch.jit.load(path, _extra_files=files)
    return json.loads(files["gcc.json"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The given buffer:UserWarning", "ignore:.torch.jit.load:FutureWarning")
@pytest.mark.parametrize(
    ("arch", "form"),
    [pytest.param(arch, form, marks=slow_unless_onnx(form) or slow_unless_pix2pix(arch)) for arch in sorted(TINY) for form in FORMS],
)
def test_every_family_in_every_format(saved, tmp_path, arch, form):
    program = runtime(form)
    path = tmp_path / f"out{program.suffixes[0]}"
    written = export(saved / arch, path, format=form)
    assert written.path == path and {*tmp_path.iterdir()} == {*written.files, *written.guides}
    assert written.comparison.error <= 1e-4 * written.comparison.reach and written.comparison.reach > 0.01
    if form != "safetensors":
        require_equal_outputs(program.read(path, load(saved / arch)), load(saved / arch), written.comparison.trials)
    require_description(written, metadata_of(path, form) if program.holds_metadata else None, arch)
    _, *scripts = written.guides
    assert len(scripts) == (form != "safetensors")
    for script in scripts:
        require_same_image(saved / arch, script, program.package)


def require_equal_outputs(exported, network, shapes):
    for shape in shapes:
        example = torch.randn(shape)
        with torch.inference_mode():
            torch.testing.assert_close(exported(example), network(example), rtol=1e-3, atol=1e-4)


def require_description(written, metadata, arch):
    """Check that the README, the file's metadata and the printed facts say how to feed it."""
    readme, facts = written.guides[0], written.facts()
    assert readme.name == f"{written.path.name}.README.md"
    for title, text in written.feeding.items():
        plain = text.replace("`", "")
        assert text in readme.read_text() and facts[title] == plain
        assert metadata is None or metadata[title.replace(" ", "_")] == plain
    assert facts["largest error"] in readme.read_text() and "from -1 to 1" in facts["output values"]
    assert metadata is None or metadata["arch"] == arch
    if written.path.suffix == ".onnx":
        assert metadata["input"].startswith("input: N") and re.match(r"output: Nx3x(HxW|4Hx4W|32x32), float32", metadata["output"])


def require_same_image(student, script, package):
    """Check that the script writes the image that `translate` or `generate` writes."""
    folder, takes_noise = script.parent, student.name == "sagan"
    picture = Image.effect_noise((45, 39), 90).convert("RGB")
    picture.save(folder / "photo.png")
    arguments = [str(script), *([] if takes_noise else [str(folder / "photo.png")]), "fake.png"]
    # Neither this package nor, in another program, torch may be needed.
    missing = ["gcc", *(["torch"] if package != "torch" else [])]
    hide = f"import runpy, sys; sys.modules |= dict.fromkeys({missing}); sys.argv[:] = sys.argv[1:]"
    command = [sys.executable, "-W", "ignore", "-c", f"{hide}; runpy.run_path(sys.argv[0], run_name='__main__')", *arguments]
    ran = subprocess.run(command, cwd=folder, env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, check=True)
    assert ran.returncode == 0
    if takes_noise:
        expected = folder / "generated" / "0000.png"
        list(generate(student, folder / "generated", count=1, seed=0, device="cpu"))
    else:
        (expected,) = translate(student, folder / "photo.png", folder / "expected.png", size=None, device="cpu")
    assert pixels(expected).shape == pixels(folder / "fake.png").shape
    assert abs(pixels(expected) - pixels(folder / "fake.png")).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("direction", "start"), [("AtoB", 0), ("BtoA", 32)])
def test_the_script_translates_the_half_that_translate_takes(tmp_path, direction, start):
    pytest.importorskip("onnxruntime")
    write("pix2pix", tmp_path / "student", direction=direction)
    written = export(tmp_path / "student", tmp_path / "out.onnx")
    assert written.feeding["pairs"].startswith("an image of 64x32 pixels holds A and B side by side")
    pair = tmp_path / "pair.png"
    Image.effect_noise((64, 32), 90).convert("RGB").save(pair)
    script = runpy.run_path(str(written.guides[1]))
    half = Image.open(pair).crop((start, 0, start + 32, 32))
    assert np.array_equal(script["read"](pair, None), script["read"](pair, True))
    assert np.array_equal(script["read"](pair, None)[0].transpose(1, 2, 0), np.asarray(half, np.float32) / 127.5 - 1)
    assert script["read"](pair, False).shape == (1, 3, 32, 64)
    (expected,) = translate(tmp_path / "student", pair, tmp_path / "expected.png", size=None, device="cpu")
    ran = subprocess.run([sys.executable, str(written.guides[1]), str(pair), str(tmp_path / "fake.png")], capture_output=True, text=True)
    assert ran.returncode == 0 and f"half, {direction[0]}, is translated" in ran.stderr
    assert abs(pixels(expected) - pixels(tmp_path / "fake.png")).max() <= 1


@pytest.mark.parametrize("mode", ["I;16", "I", "L", "LA", "P", "RGBA", "CMYK"])
def test_the_script_reads_pixels_as_translate_does(mode, saved, tmp_path):
    *_, script = export(saved / "cyclegan", tmp_path / "out.pt", format="torchscript").guides
    grey = np.arange(32 * 32).reshape(32, 32) * 63 if mode.startswith("I") else np.arange(32 * 32).reshape(32, 32) % 256
    image = Image.fromarray(grey.astype(np.uint16)) if mode.startswith("I") else Image.fromarray(grey.astype(np.uint8)).convert(mode)
    path = tmp_path / ("image.tif" if mode in ("I", "CMYK") else "image.png")
    (image.convert("I") if mode == "I" else image).save(path)
    expected = np.asarray(read_rgb(path), np.float32) / 127.5 - 1
    np.testing.assert_array_equal(runpy.run_path(str(script))["read"](path)[0].transpose(1, 2, 0), expected)


@pytest.mark.parametrize(
    ("mode", "value_range"),
    [
        ("I;16", None),
        ("RGB", None),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("I;16", (9000, 40000)), ("L", None), ("RGBA", None))),
    ],
)
def test_the_script_reads_and_writes_other_channels_as_translate_does(mode, value_range, tmp_path):
    channels = {"RGBA": 4}.get(mode, 1)
    write("pix2pix", tmp_path / "student", input_nc=channels, output_nc=5 - channels, range=value_range)
    *_, script = export(tmp_path / "student", tmp_path / "out.pt", format="torchscript").guides
    values = np.random.default_rng(0).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    image = Image.fromarray(values[..., 0].astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(values).convert(mode)
    if mode == "RGBA":
        image = Image.fromarray(values)
    image.save(tmp_path / "image.png")
    module = runpy.run_path(str(script))
    np.testing.assert_allclose(
        module["read"](tmp_path / "image.png", None)[0], to_tensor(read_image(tmp_path / "image.png", channels, value_range)), atol=1e-6
    )
    (expected,) = translate(tmp_path / "student", tmp_path / "image.png", tmp_path / "expected.png", size=None, device="cpu")
    ran = subprocess.run([sys.executable, str(script), str(tmp_path / "image.png"), str(tmp_path / "fake.png")], capture_output=True)
    assert ran.returncode == 0
    # The script writes 8 bits; `translate` writes 16 for an image of 16 bits, in the stated range.
    images = (to_tensor(read_image(path, 5 - channels, own)) for path, own in ((expected, value_range), (tmp_path / "fake.png", None)))
    np.testing.assert_allclose(*images, atol=1.01 / 127.5)
    if value_range:
        with pytest.raises(ValueError, match=r"colours\.png has 16-bit colours, .*: expected 8 bits or 16-bit grey"):
            module["read"](save(tmp_path / "colours.png", np.zeros((32, 32, 3), np.uint16)), None)


def test_the_script_refuses_floating_point_images_and_makes_the_folder(saved, tmp_path):
    *_, script = export(saved / "cyclegan", tmp_path / "out.pt", format="torchscript").guides
    Image.fromarray(np.zeros((32, 32), np.float32)).save(tmp_path / "float.tif")
    module = runpy.run_path(str(script))
    with pytest.raises(ValueError, match=r"\.tif has floating-point pixels, .*: expected 8 bits or 16-bit grey; save it so"):
        module["read"](tmp_path / "float.tif")
    module["write"](tmp_path / "new" / "out.png", np.zeros((1, 3, 8, 8)))
    assert pixels(tmp_path / "new" / "out.png").shape == (8, 8, 3)


class OneSize(TorchScript):
    """Traces for one sample of one size, as other programs have them."""

    def accepts(self, inputs):
        return Inputs(inputs.shape, one_sample=True)


@pytest.mark.slow
def test_a_file_for_one_size_takes_images_of_that_size_as_they_are(tmp_path):
    RUNTIMES.register("one-size", OneSize)
    write("pix2pix", tmp_path / "student")
    written = export(tmp_path / "student", tmp_path / "out.pt", format="one-size", size=(64, 32))
    # Images of 64x32 pixels would otherwise hold a pair.
    assert "pairs" not in written.feeding and written.feeding["output"] == "1x3x32x64, float32"
    Image.effect_noise((64, 32), 90).convert("RGB").save(tmp_path / "own.png")
    Image.effect_noise((40, 40), 90).convert("RGB").save(tmp_path / "other.png")
    ran = [
        subprocess.run([sys.executable, written.guides[1], tmp_path / f"{name}.png", tmp_path / "fake.png"], capture_output=True, text=True)
        for name in ("own", "other")
    ]
    assert all(run.returncode == 0 for run in ran) and pixels(tmp_path / "fake.png").shape == (32, 64, 3)
    assert "resized" not in ran[0].stderr and "other.png has 40x40 pixels and is resized to 64x32" in ran[1].stderr


@pytest.mark.slow
def test_the_script_says_what_it_lacks_and_how_to_call_it(saved, tmp_path):
    script = export(saved / "sagan", tmp_path / "out.pt", format="torchscript").guides[1]
    lacking = f"import runpy, sys; sys.modules['torch'] = None; runpy.run_path({str(script)!r}, run_name='__main__')"
    ran = subprocess.run([sys.executable, "-c", lacking], capture_output=True, text=True)
    assert ran.returncode == 1 and "pip install numpy pillow torch" in ran.stderr and "Traceback" not in ran.stderr
    ran = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)
    assert ran.returncode == 0 and "python out.pt.infer.py OUT.png [SEED]" in ran.stdout
    ran = subprocess.run([sys.executable, script, "3", "out.png"], capture_output=True, text=True)
    assert ran.returncode == 1 and "OUT.png [SEED]" in ran.stderr and "Traceback" not in ran.stderr


@pytest.mark.slow
def test_files_of_lower_precision_say_how_to_feed_them(saved, tmp_path):
    pytest.importorskip("onnxruntime")
    for precision in ("fp16", "int8"):
        written = export(saved / "sagan", tmp_path / f"{precision}.onnx", precision=precision)
        assert metadata_of(written.path, "onnx")["input_values"] == "standard normal noise"


@pytest.mark.slow
def test_an_incomplete_call_of_the_script_says_how_to_call_it(saved, tmp_path):
    *_, script = export(saved / "pix2pix", tmp_path / "out.pt", format="torchscript").guides
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert ran.returncode == 1 and "python out.pt.infer.py IMAGE OUT.png" in ran.stderr


def infer(script, *arguments):
    """Run a script that lies beside a file, and return how it ended."""
    command = [sys.executable, "-W", "ignore", script, *arguments]
    return subprocess.run([*map(str, command)], cwd=script.parent, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("form", [pytest.param(form, marks=slow_unless_onnx(form)) for form in FORMS if form != "safetensors"])
def test_the_script_names_files_that_are_missing_or_cut_short(saved, tmp_path, form):
    written = export(saved / "sagan", tmp_path / f"out{runtime(form).suffixes[0]}", format=form)
    for file in written.files:
        whole = file.read_bytes()
        for length in (None, 0, len(whole) // 2):
            file.unlink()
            found = "is missing" if length is None else f"has {length} bytes"
            if length is not None:
                file.write_bytes(whole[:length])
            ran = infer(written.guides[1], "out.png")
            assert ran.returncode == 1 and "Traceback" not in ran.stderr and not (tmp_path / "out.png").exists()
            line = ran.stderr.splitlines()[-1]
            for part in ("cannot load the generator (", f"{file.name} {found}", f"{file.name} with {len(whole)} bytes"):
                assert part in line
            file.write_bytes(whole)
    assert infer(written.guides[1], "out.png").returncode == 0


def test_a_graph_without_its_output_does_not_run_in_ncnn(saved, tmp_path):
    written = export(saved / "srgan", tmp_path / "out.ncnn.param", format="ncnn")
    written.path.write_text(written.path.read_text().replace("out0", "out1"))
    Image.effect_noise((8, 8), 90).convert("RGB").save(tmp_path / "photo.png")
    ran = infer(written.guides[1], "photo.png", "fake.png")
    assert ran.returncode == 1
    assert "ncnn cannot run the generator on an input of 1x3x8x8: extract returned -1" in ran.stderr.splitlines()[-1]
    with pytest.raises(GccError, match=r"ncnn cannot run this generator on \(1, 3, 8, 8\)"):
        runtime("ncnn").read(written.path, None)(torch.zeros(1, 3, 8, 8))


@pytest.mark.slow
def test_the_script_names_an_output_that_cannot_be_written(saved, tmp_path):
    script = export(saved / "sagan", tmp_path / "out.pt", format="torchscript").guides[1]
    ran = infer(script, "fake.unknown")
    assert ran.returncode == 1 and "fake.unknown: unknown file extension" in ran.stderr and "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("arch", "settings", "parts"),
    [
        ("sagan", {}, ["ncnn::Mat in(128);", "`w` = 128"]),
        ("cyclegan", {}, ["PIXEL_RGB,", "multiple = 4;", "mean[] = {127.5f, 127.5f, 127.5f};", "BORDER_REFLECT : ncnn::BORDER_REPLICATE"]),
        ("pix2pix", {"input_nc": 1}, ["PIXEL_GRAY,", "mean[] = {127.5f};", "`c` = 1:", "/** Return the input for an image of GRAY pixels"]),
        ("srgan", {"cost_size": 32}, ["PIXEL_RGB,", "columns = out.w, rows = out.h;"]),
    ],
)
def test_the_readme_of_ncnn_shows_cpp_with_what_the_files_have(tmp_path, arch, settings, parts):
    write(arch, tmp_path / "student", **settings)
    written = export(tmp_path / "student", tmp_path / "out.ncnn.param", format="ncnn")
    readme = written.guides[0].read_text()
    for part in (*parts, "`out.ncnn.param` and `out.ncnn.bin`", *(f"net.opt.{option} = false;" for option in REDUCED)):
        assert part in readme
    # A line of the graph has a layer's kind and name, the numbers of its inputs and outputs, and their names.
    layers = [line.split() for line in written.path.read_text().splitlines()[2:]]
    blobs = {name for kind, _, taken, returned, *names in layers for name in names[: int(taken) + int(returned)]}
    used = set(re.findall(r'extractor\.(?:input|extract)\("(\w+)"', readme))
    assert used == {"in0", "out0"} <= blobs
    assert ("copy_make_border" in readme) == (arch in ("cyclegan", "pix2pix"))


def test_other_formats_have_no_cpp(saved, tmp_path):
    readme = export(saved / "sagan", tmp_path / "out.pt", format="torchscript").guides[0].read_text()
    assert "C++" not in readme and readme.endswith("OUT.png\n```\n")


def test_cpp_for_one_size_resizes_other_images():
    section = NCNN().example(["a.ncnn.param", "a.ncnn.bin"], Inputs((3, 32, 64), one_sample=True), None, 1)
    assert "Resize other images to 64x32 pixels" in section and "copy_make_border" not in section and "`c` = 1, values" in section
