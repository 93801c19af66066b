"""Saved generators: they are read as they were written, and damaged or unknown files are refused with a reason."""

import dataclasses
import json
import math
import os
import shutil
import struct

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file, save_file

from gcc import Teacher, load
from gcc.artifacts.config import Artifact
from gcc.artifacts.model import environment, read, read_discriminators, save, save_discriminators, single_generator
from gcc.cli import main
from gcc.errors import ArtifactError
from gcc.models.build import build_discriminators, build_generators
from tests.helpers.families import TINY
from tests.helpers.run_folders import full_run

MEASUREMENTS = {
    "resolution": "1x3x32x32",
    "exact_macs": 2,
    "paper_macs": 3,
    "parameters": 4,
    "latency_ms": 5.0,
    "latency_p90_ms": 6.0,
    "latency_on": "cpu",
    "metrics": {"l1": 0.1},
}


@pytest.fixture
def saved(tmp_path):
    return write(tmp_path / "student", "student")


def write(folder, role, arch="pix2pix"):
    architecture = Teacher.create(arch).demo_architecture(TINY[arch])
    widths = architecture.full_widths(4) | {"down3": 5, "up5": 0, "down5": 0}
    (network,) = build_generators(architecture, {"G": widths}, "test").values()
    artifact = Artifact(folder, role, arch, "G", architecture.recipe, widths, {}, environment(torch.device("cpu")))
    save(artifact, network, "# card")
    if role == "teacher":
        save_discriminators(folder, build_discriminators(architecture, "test"))
    return folder


def edit(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | changes))


def test_everything_comes_back(saved):
    artifact = single_generator(read(saved))
    assert (artifact.role, artifact.arch, artifact.generator) == ("student", "pix2pix", "G")
    assert artifact.recipe.to_dict() == Teacher.create("pix2pix").demo_architecture(TINY["pix2pix"]).recipe.to_dict()
    assert artifact.widths["down3"] == 5 and artifact.widths["up5"] == 0
    weights = load_file(saved / "model.safetensors")
    network = load(saved)
    assert not network.training
    assert network.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


def test_a_metric_that_is_not_finite_is_null_in_the_file(tmp_path):
    artifact = single_generator(read(write(tmp_path, "student")))
    columns = {"student": MEASUREMENTS | {"metrics": {"l1": math.nan, "psnr": 20.0}}}
    (tmp_path / "config.json").write_text(dataclasses.replace(artifact, measurements=columns).to_json())
    assert json.loads((tmp_path / "config.json").read_text())["figures"]["student"]["metrics"] == {"l1": None, "psnr": 20.0}
    metrics = single_generator(read(tmp_path)).measurements["student"]["metrics"]
    assert math.isnan(metrics["l1"]) and metrics["psnr"] == 20.0


def test_a_teacher_brings_its_discriminators(tmp_path):
    artifact = single_generator(read(write(tmp_path, "teacher"), role="teacher"))
    saved = load_file(tmp_path / "discriminators.safetensors")
    (network,) = read_discriminators(tmp_path, artifact.architecture).values()
    assert {f"D.{name}" for name in network.state_dict()} == saved.keys()
    assert all(torch.equal(value, saved[f"D.{name}"]) for name, value in network.state_dict().items())


def test_nothing_but_plain_tensors_and_json_is_written(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert {"format", "role", "architecture", "generator", "widths", "figures", "recipe", "environment"} == set(
        json.loads((saved / "config.json").read_text())
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 2}, "format 2 is unknown to this version"),
        ({"format": None}, "format None"),
        ({"role": "king"}, "king"),
        ({"architecture": "pix3pix"}, "pix2pix"),
        ({"architecture": ["pix2pix"]}, "is not installed"),
        ({"architecture": "os.system"}, "install the plugin"),
        (
            {"architecture": "far", "environment": {"architecture": "gan-gcc-far 2.0"}},
            "according to the file, gan-gcc-far 2.0",
        ),
        ({"architecture": "far", "environment": {"architecture": "gan\x1b"}}, "expected a line of text"),
        ({"generator": "H"}, "expected G"),
        ({"generator": []}, "expected G"),
        ({"recipe": {"ngf": "many"}}, "ngf"),
        ({"recipe": {"evil": 1}}, "evil"),
        ({"recipe": {"size": 48}}, "multiple of 32"),
        ({"recipe": [1]}, "not the configuration"),
        ({"recipe": {"ngf": 10**30}}, "ngf"),
        ({"widths": {}}, "widths"),
        ({"widths": "wide"}, "widths"),
        ({"figures": 3}, "figures"),
        ({"figures": {"student": {}}}, "measurements of student"),
        ({"figures": {"student": MEASUREMENTS | {"exact_macs": "6"}}}, "exact_macs"),
        ({"figures": {"student": MEASUREMENTS | {"latency_on": "\x1b[2Jcpu"}}}, "latency_on"),
        ({"figures": {"student": MEASUREMENTS | {"metrics": {"l1": "0.5"}}}}, "l1"),
        ({"figures": {"a\nb": MEASUREMENTS}}, "column of measurements"),
        ({"environment": None}, "environment"),
        ({"environment": {"torch": 2}}, "torch"),
    ],
)
def test_a_damaged_configuration_is_refused_by_field(saved, changes, says):
    edit(saved, **changes)
    with pytest.raises(ArtifactError, match=says) as refusal:
        load(saved)
    assert "config.json" in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("width", [-1, 10**9, 2.5, True, "5", None])
def test_a_width_must_be_a_sane_whole_number(saved, width):
    edit(saved, widths=single_generator(read(saved)).widths | {"down3": width})
    with pytest.raises(ArtifactError, match="width down3"):
        load(saved)


def test_huge_widths_are_refused_before_memory_is_allocated(saved):
    edit(saved, widths={name: 1 << 16 for name in single_generator(read(saved)).widths})
    with pytest.raises(ArtifactError, match="does not fit its config.json"):
        load(saved)


@pytest.mark.parametrize("arch", ["pix2pix", "cyclegan", "sagan", "srgan"])
def test_an_absurd_size_is_refused_before_memory_is_allocated(arch, tmp_path, monkeypatch):
    folder = full_run(tmp_path / "run", arch) / "student"
    folder = next(folder.glob("**/config.json")).parent
    field = "cost_size" if arch == "srgan" else "size"
    config = json.loads((folder / "config.json").read_text())
    # A size of SAGAN that has other levels has other weights.
    absurd = config["recipe"][field] if arch == "sagan" else 16384
    # The first or the last layer alone has three channels of float32 at this size.
    free = 3 * 4 * absurd**2
    monkeypatch.setattr("gcc.artifacts.config.free_memory", lambda device: free)
    edit(folder, recipe=config["recipe"] | {field: absurd} | ({"depth": 5} if arch == "pix2pix" else {}))
    with pytest.raises(ArtifactError, match=rf"config\.json: recipe: {field} = {absurd}: a layer of the generator takes .* GB") as refusal:
        read(folder)
    assert "\n" not in str(refusal.value)
    monkeypatch.setattr("gcc.artifacts.config.free_memory", lambda device: None)
    assert read(folder)


def test_every_command_refuses_an_absurd_size(saved, tmp_path, monkeypatch):
    recipe = json.loads((saved / "config.json").read_text())["recipe"]
    edit(saved, recipe=recipe | {"size": 16384, "depth": 5})
    monkeypatch.setattr("gcc.artifacts.config.free_memory", lambda device: 2**30)
    Image.new("RGB", (8, 8)).save(tmp_path / "in.png")
    for command in (
        ("inspect", saved),
        ("evaluate", saved, "--data", tmp_path),
        ("export", saved),
        ("bench", saved),
        ("translate", saved, tmp_path / "in.png", tmp_path / "out.png"),
        ("compress", "--arch", "pix2pix", "--student", saved),
    ):
        result = CliRunner().invoke(main, [*map(str, command)])
        assert result.exit_code == 2 and "config.json: recipe: size = 16384: " in result.stderr, command


def test_weights_that_do_not_fit_into_memory_are_refused_before_they_are_read(saved, monkeypatch):
    needs = 2 * sum(value.numel() * value.element_size() for value in load(saved).state_dict().values())
    monkeypatch.setattr("gcc.artifacts.tensors.free_memory", lambda device: needs - 1)
    with pytest.raises(ArtifactError, match="GB are free: load it on a larger machine"):
        load(saved)
    monkeypatch.setattr("gcc.artifacts.tensors.free_memory", lambda device: needs)
    load(saved)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_a_pipe_or_device_does_not_block(name, put, saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "horses" / "G")
    (folder / name).unlink()
    put(folder / name)
    for path in (folder, folder.parent):
        with pytest.raises(ArtifactError, match=name):
            load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"x"', "[" * 100_000, "\udcff"])
def test_an_invalid_configuration_is_refused(saved, text):
    (saved / "config.json").write_text(text, errors="surrogateescape")
    with pytest.raises(ArtifactError, match="config.json"):
        load(saved)


def test_a_configuration_is_never_large(saved):
    (saved / "config.json").write_text(" " * (1 << 21))
    with pytest.raises(ArtifactError, match="larger"):
        load(saved)


def damaged(data):
    header = struct.unpack("<Q", data[:8])[0]
    yield b""
    yield b"PK\x03\x04 a pickle, perhaps"
    yield data[: len(data) // 2]
    yield struct.pack("<Q", 1 << 60) + data[8:]
    yield data[:8] + b"{" * header + data[8 + header :]
    yield data + b"more"


def test_a_damaged_weights_file_is_refused(saved):
    path = saved / "model.safetensors"
    whole = path.read_bytes()
    for data in damaged(whole):
        path.write_bytes(data)
        with pytest.raises(ArtifactError, match="damaged or not a safetensors file"):
            load(saved)
    path.unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        load(saved)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensors: tensors.pop("up1.conv.bias"), "lacks tensor 'up1.conv.bias'"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "unknown tensor 'extra'"),
        (lambda tensors: tensors.update({"up1.conv.bias": torch.zeros(4)}), "shape"),
        (lambda tensors: tensors.update({"up1.conv.bias": torch.zeros(3, dtype=torch.float64)}), "F64"),
    ],
)
def test_unknown_tensors_are_refused_by_name(saved, change, says):
    tensors = load_file(saved / "model.safetensors")
    change(tensors)
    save_file(tensors, saved / "model.safetensors")
    with pytest.raises(ArtifactError, match=says):
        load(saved)


def test_a_path_that_is_too_long_is_reported():
    with pytest.raises(ArtifactError, match=r"cannot read x+: File name too long"):
        load("x" * 300)


def test_a_missing_generator_is_reported(tmp_path):
    with pytest.raises(ArtifactError, match="not a folder"):
        load(tmp_path / "nothing")
    weights = tmp_path / "latest_net_G.pth"
    weights.touch()
    with pytest.raises(ArtifactError, match=r"latest_net_G.pth is a file: .*`gcc import --arch NAME .*latest_net_G.pth TEACHER`"):
        Teacher.load(weights)
    with pytest.raises(ArtifactError, match=r"contains no config\.json"):
        load(tmp_path)
    begun = tmp_path / "begun"
    (begun / "checkpoints").mkdir(parents=True)
    (begun / "command.json").write_text('{"command": "compress"}')
    for path in (begun, begun / "student"):
        with pytest.raises(ArtifactError, match=f"the run in {begun} has .*: continue it with `gcc compress --resume {begun}`"):
            load(path)
    shutil.rmtree(begun)
    for role in ("teacher", "student"):
        (tmp_path / "recipe.toml").write_text("")
        with pytest.raises(ArtifactError, match=f"the run in .* has saved no {role}: expected a finished run that has one"):
            read(tmp_path, role=role)
        (tmp_path / "recipe.toml").unlink()
        write(tmp_path / role, role)
    assert single_generator(read(tmp_path)).role == "student" and Teacher.load(tmp_path).folder == tmp_path / "teacher"
    shutil.rmtree(tmp_path / "student")
    assert single_generator(read(tmp_path)).role == "teacher"
    write(tmp_path / "student", "student")
    with pytest.raises(ArtifactError, match="contains a student: expected a teacher; give this student as `student`"):
        Teacher.load(tmp_path / "student")


def test_generators_of_two_runs_are_refused(tmp_path):
    write(tmp_path / "one", "student")
    write(tmp_path / "two", "student")
    with pytest.raises(ArtifactError, match="contains a generator twice"):
        read(tmp_path)
    edit(tmp_path / "two", role="teacher")
    with pytest.raises(ArtifactError, match="differ in"):
        read(tmp_path)


def test_loading_leaves_random_numbers_alone(saved):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(saved)
    assert torch.equal(torch.rand(3), expected)


def test_measurements_come_back(saved):
    edit(saved, figures={"student": MEASUREMENTS})
    assert single_generator(read(saved)).measurements == {"student": MEASUREMENTS}


def test_tensors_that_share_memory_or_are_not_contiguous_are_written_whole(saved):
    artifact = single_generator(read(saved))
    network = artifact.network()
    shared = torch.arange(64.0)
    first, second, *_ = (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d))
    with torch.no_grad():
        network.down2.conv.weight.set_(network.down2.conv.weight.detach().clone().to(memory_format=torch.channels_last))
        first.weight.set_(shared[::2][: first.num_features])
        second.weight.set_(shared[: second.num_features])
    expected = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    save(artifact, network, "# card")
    loaded = load(saved).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in expected.items())
    assert len({tensor.untyped_storage().data_ptr() for tensor in load_file(saved / "model.safetensors").values()}) == len(loaded)
