"""`gcc doctor`: findings about a compression."""

import shutil
from collections import namedtuple
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from spandrel.architectures.Compact import Compact

from gcc import Compressor, Teacher
from gcc.cli import main
from gcc.cli import preflight as doctor
from gcc.cli.preflight import machine, preflight
from tests.helpers.custom_toys import Skipping, Translator
from tests.helpers.families import TINY


@pytest.fixture
def data(tmp_path):
    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        (tmp_path / "data" / split).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (64, 32), (number, 100, 200)).save(tmp_path / "data" / split / f"{number}.png")
    return tmp_path / "data"


@pytest.fixture
def known_memory(monkeypatch):
    """Replace the estimate of the memory, which takes seconds, by a constant; return it, in bytes."""
    monkeypatch.setattr(doctor, "bytes_of_step", lambda run, widths: 1 << 20)
    return 1 << 20


def examine(arch="pix2pix", data=None, out=None, dataset=None, weights=MappingProxyType({}), **settings):
    findings = preflight(Teacher.create(arch), TINY[arch] | settings, data, out, dataset=dataset, weights=weights, device="cpu", amp="auto")
    return {finding.title: finding for finding in findings}


def check(findings, title, status, *texts):
    assert findings[title].status == status, findings[title]
    for text in texts:
        assert text in findings[title].text, findings[title]


@pytest.mark.usefixtures("known_memory")
@pytest.mark.parametrize("arch", TINY)
def test_a_run_on_demo_data_can_begin(arch):
    findings = examine(arch)
    note = [] if arch in ("cyclegan", "sagan") else ["note"]
    assert [*findings] == ["data", *note, "training", "teacher", "losses", "evaluators", "budget", "memory", "disk"]
    assert "error" not in {finding.status for finding in findings.values()}
    check(findings, "data", "ok", "16 samples to train, 6 held out, 6 to choose the best epoch")
    check(findings, "budget", "ok", TINY[arch]["budget"])
    check(findings, "memory", "ok", "GB are free on cpu")


def test_images_are_counted_and_bad_ones_named(data):
    def look():
        run = Compressor(Teacher.create("pix2pix"), data, skip_bad=True, **TINY["pix2pix"])
        return {"data": doctor.samples(run.context, False), "skipping": doctor.samples(run.context, True)}

    check(look(), "data", "ok", "5 samples to train, 3 held out, 2 to choose the best epoch")
    for number in range(4):
        (data / "train" / f"{number}.png").write_bytes(b"no image")
    findings = look()
    check(findings, "data", "error", "4 samples cannot be used", "0.png", "1.png", "2.png", "3.png", "--skip-bad")
    check(findings, "skipping", "warning", "1 samples to train", "4 are left out, which cannot be used", "3.png")


@pytest.mark.usefixtures("known_memory")
@pytest.mark.parametrize(("direction", "text"), [("AtoB", "A (left) is the input"), ("BtoA", "B (right) is the input")])
def test_the_direction_of_pairs_is_named(data, direction, text):
    check(examine(data=data, direction=direction), "note", "ok", f"direction {direction}: of each pair, {text}")


def test_the_advice_about_the_length_does_not_contradict_itself(data):
    def advice(**settings):
        return doctor.training(Compressor(Teacher.create("pix2pix"), data, **TINY["pix2pix"] | settings)).text

    assert "on a CPU: the published recipes need a GPU" in advice(size=256, epochs=100)
    for short in ({"epochs": 2}, {"epochs": 2, "lr_alpha": 1e-9}, {"size": 256, "epochs": 100, "lr_alpha": 1e-9}):
        assert "fewer --epochs" not in advice(**short)
    assert "train longer" in advice(epochs=2, lr_alpha=1e-9)


@pytest.mark.usefixtures("known_memory")
def test_depth_channels_and_proportions_that_are_lost_are_findings(data):
    def images():
        return {finding.title: finding for finding in preflight(Teacher.create("pix2pix"), TINY["pix2pix"], data, None)}

    run = Compressor(Teacher.create("pix2pix"), data, **TINY["pix2pix"])
    assert "images" not in run.plan() and "images" not in images()
    Image.new("RGB", (70, 32)).save(data / "train" / "0.png")
    run.check()
    check(images(), "images", "ok", "1 of 10 images is not square")
    assert run.plan()["images"] == "each half (A or B) of 1 of 10 images is not square and resized to 32x32, which changes the proportions"
    pixels = np.full((32, 64), 4095, dtype=np.uint16)
    Image.fromarray(pixels).save(data / "test" / "0.png")
    Image.new("RGBA", (64, 32)).save(data / "val" / "0.png")
    (data / "test" / "1.png").write_bytes(b"no image")
    (data / "train" / "clip.gif").touch()
    findings = images()
    check(
        findings,
        "images",
        "warning",
        "1 of 9 images has more than 8 bits",
        "multiply the pixels by 16 first",
        "alpha",
        "one channel",
        "1 .gif",
    )
    check(findings, "data", "error", "1.png")


@pytest.mark.usefixtures("known_memory")
def test_the_rest_is_checked_if_the_layout_of_the_data_is_unknown(tmp_path):
    (tmp_path / "notes.txt").touch()
    findings = examine(data=tmp_path, budget="1%", evaluators="fid")
    check(findings, "data", "error", "no dataset of paired samples fits")
    check(findings, "budget", "error", "can be pruned to between")
    check(findings, "evaluators", "error", '`weights={"inception": "FILE"}`')
    check(findings, "memory", "ok")


@pytest.mark.usefixtures("known_memory")
def test_the_rest_is_checked_whatever_says_how_missing_data_are_read(tmp_path):
    settings = TINY["pix2pix"] | {"range": "0..4095"}
    findings = preflight(Teacher.create("pix2pix"), settings, tmp_path / "nowhere", None, cache=True, device="cpu")
    assert [finding.title for finding in findings] == ["data", "note", "teacher", "losses", "evaluators", "budget", "memory", "disk"]


def test_a_line_says_so_if_the_rest_cannot_be_checked_without_the_data(tmp_path):
    findings = examine(data=tmp_path / "nowhere", input_nc=1, output_nc=1)
    assert [*findings] == ["data", "rest"]
    check(findings, "data", "error", "there is no folder")
    check(findings, "rest", "warning", "the demo data do not suit this recipe")


def test_missing_and_unused_weights_are_errors(tmp_path, monkeypatch):
    def context(arch, **arguments):
        return Compressor(Teacher.create(arch), **TINY[arch] | arguments).context

    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    lacking = doctor.finding_of("losses", doctor.weights_of_losses, context("srgan", perceptual="vgg19"))
    assert lacking.status == "error" and "the weights of vgg19 are needed" in lacking.text and '`weights={"vgg19": "FILE"}`' in lacking.text
    assert doctor.weights_of_losses(context("srgan")).status == "ok"
    unread = doctor.finding_of("evaluators", doctor.evaluators, context("pix2pix", weights={"vgg": "x.pth"}))
    assert unread.status == "error" and "no network reads weights here" in unread.text
    assert doctor.evaluators(context("pix2pix", evaluators="")).status == "warning"
    assert doctor.evaluators(context("pix2pix")).text.startswith("l1, psnr; the result is the last epoch of each pair")


def test_an_invalid_recipe_is_the_only_finding():
    findings = examine(size=100)
    assert [*findings] == ["run"]
    check(findings, "run", "error", "multiple of 32")


@pytest.mark.usefixtures("known_memory")
def test_a_teacher_without_discriminators_is_a_warning(tmp_path):
    result = Compressor(Teacher.create("pix2pix"), **TINY["pix2pix"]).run()
    result.save(tmp_path)

    def look():
        arguments = {"dataset": None, "device": "cpu", "amp": "auto"}
        findings = preflight(Teacher.load(tmp_path / "teacher"), {}, None, None, **arguments)
        return {finding.title: finding for finding in findings}

    check(look(), "teacher", "ok", f"pretrained in {tmp_path / 'teacher'}")
    check(look(), "memory", "ok")
    (tmp_path / "teacher" / "discriminators.safetensors").unlink()
    check(look(), "teacher", "warning", "has no discriminators")


@pytest.mark.parametrize(("free", "status"), [(1, "error"), (1.5, "warning"), (1000, "ok")])
def test_needed_memory_is_compared_with_free_memory(free, status, known_memory, monkeypatch):
    run = Compressor(Teacher.create("pix2pix"), **TINY["pix2pix"])
    widths = run.reachable_widths()
    monkeypatch.setattr(doctor, "free_memory", lambda device: int(free * known_memory) - 1)
    finding = doctor.memory(run, widths)
    assert finding.status == status and ("--batch-size" in finding.text) == (status != "ok")
    monkeypatch.setattr(doctor, "free_memory", lambda device: None)
    assert doctor.memory(run, widths).status == "warning"


def test_memory_is_unknown_for_a_family_that_reads_values(monkeypatch):
    run = Compressor(Teacher.create("pix2pix"), **TINY["pix2pix"])
    monkeypatch.setattr(type(run.architecture), "task_losses", lambda self, networks, batch, samples: {"x": samples["fake"].max().item()})
    check({"memory": doctor.memory(run, run.reachable_widths())}, "memory", "warning", "unknown (")


def test_a_generator_of_ones_own_is_named_and_its_memory_is_estimated():
    run = Compressor(generator=Translator(), task="paired", size=32, budget="50%", device="cpu")
    text = doctor.weights_of_teacher(run.context).text
    assert text.startswith("tests.helpers.custom_toys.Translator, paired: ") and text.endswith("parameters, as given")
    check({"memory": doctor.memory(run, run.reachable_widths())}, "memory", "ok", "the tensors of a step need up to 0.")


@pytest.mark.slow
def test_the_memory_of_a_restoration_network_is_estimated(tmp_path):
    network = Compact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2, upscale=2)
    torch.save(network.state_dict(), tmp_path / "network.pth")
    run = Compressor(Teacher.of_file(tmp_path / "network.pth"), size=32, batch_size=4, budget="50%", device="cpu")
    check({"memory": doctor.memory(run, run.reachable_widths())}, "memory", "ok")


@pytest.mark.usefixtures("known_memory")
def test_free_disk_space_is_compared_with_what_the_run_writes(tmp_path, monkeypatch):
    out = tmp_path / "a" / "run"
    check(examine(out=out), "disk", "ok", str(out))
    assert not out.parent.exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda place: namedtuple("usage", "free")(100))
    check(examine(out=out), "disk", "error", "make room")
    out.mkdir(parents=True)
    (out / "recipe.toml").touch()
    check(examine(out=out), "disk", "error", "already contains a run")


@pytest.mark.usefixtures("known_memory")
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="Linux's /proc takes no files, even of root")
def test_a_folder_that_cannot_be_written_is_named():
    check(examine(out=Path("/proc/run")), "disk", "error", "/proc cannot be written: choose another --out")


def test_the_device_and_its_precision_are_tried(monkeypatch):
    device, precision = machine("cpu", "bf16")
    assert (device.status, precision.status) == ("ok", "ok") and precision.text.startswith("bfloat16")
    device, precision = machine("toaster", "auto")
    assert device.status == precision.status == "error" and "toaster" in device.text
    assert next(iter(machine("cpu", "fp16"))).status == "ok" and "needs a GPU" in [*machine("cpu", "fp16")][1].text
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for built, remedy in ((None, "build of torch with CUDA"), ("13.0", "driver to one that supports CUDA 13.0")):
        monkeypatch.setattr(torch.version, "cuda", built)
        assert doctor.device("cpu").status == "warning" and remedy in doctor.device("cpu").text


@pytest.mark.usefixtures("known_memory")
def test_the_command_ends_with_1_if_it_finds_an_error(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(main, ["doctor", *map(str, arguments)])

    alone = run()
    assert alone.exit_code == 0 and [line.split()[1] for line in alone.stdout.splitlines()][-2:] == ["device", "precision"]
    settings = [f"--set={key}={value}" for key, value in TINY["pix2pix"].items()]
    assert run("--arch", "pix2pix", *settings, "--out", tmp_path / "out").exit_code == 0
    assert not (tmp_path / "out").exists()
    failed = run("--arch", "pix2pix", *settings, "--budget", "1%")
    assert failed.exit_code == 1 and "error    budget" in failed.stdout
    assert run("--data", tmp_path).exit_code == 2


def test_a_size_that_the_generator_does_not_take_is_an_error_among_other_findings(data):
    teacher = Teacher.of(Skipping(), "paired", example=torch.zeros(1, 3, 32, 32), epochs=1, ndf=4)
    findings = {finding.title: finding for finding in preflight(teacher, {"size": 50}, data, None, device="cpu")}
    check(findings, "teacher", "error", "size = 50", "give a `size` such as 48 or 52")
    check(findings, "evaluators", "error", "does not run on a sample with A (1, 3, 50, 50)")
    check(findings, "memory", "warning", "until the problems above are solved")
    check(findings, "disk", "ok")


class InZeroToOne(torch.nn.Sequential):
    """A generator that returns its input if that is in [0, 1]."""

    def __init__(self):
        super().__init__(torch.nn.Conv2d(3, 8, 1, bias=False), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 1, bias=False))
        for layer in (self[0], self[2]):
            torch.nn.init.dirac_(layer.weight)


@pytest.mark.usefixtures("known_memory")
def test_outputs_in_another_range_of_values_are_an_error(tmp_path):
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for number in range(6):
            pixels = random.integers(40, 95, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(np.concatenate([pixels, pixels], 1)).save(tmp_path / split / f"{number}.png")
    for value_range, status, text in (("-1..1", "error", "0..1"), ("0..1", "ok", "no sign of another range")):
        teacher = Teacher.of(InZeroToOne(), "paired", value_range=value_range, size=32)
        findings = preflight(teacher, {"size": 32, "budget": "50%", "steps": 5, "batch_size": 2}, tmp_path, None, device="cpu", amp="auto")
        findings = {finding.title: finding for finding in findings}
        check(findings, "outputs", status, text)
        assert "published recipes" not in findings["training"].text
