"""Importing generators of pytorch-CycleGAN-and-pix2pix: the imported one returns what the original returns."""

from functools import partial

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from gcc import Compressor, Teacher, load
from gcc.artifacts.model import read
from gcc.cli import main
from gcc.errors import ArtifactError, GccError, OutputError, RecipeError
from gcc.training.import_teacher import import_generator
from tests.helpers.foreign_networks import ResNet, unet

old_instance_norm = partial(nn.InstanceNorm2d, track_running_stats=True)


def saved(network, path, without=()):
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0.1 if parameter.ndim == 1 else 0, 0.1)
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            nn.init.uniform_(buffer, 0.5, 2)
    torch.save({name: tensor for name, tensor in network.state_dict().items() if not name.endswith(tuple(without))}, path)
    return network.eval()


def imported(arch, file, out, generator=None, force=False, **settings):
    return import_generator(arch, file, out, generator=generator, settings=settings, force=force)


@pytest.mark.parametrize(
    ("arch", "network", "size", "recipe"),
    [
        ("pix2pix", unet(8, 4), 256, {"generator": "unet", "size": 256, "ngf": 4, "norm": "batch"}),
        ("pix2pix", unet(7, 4), 128, {"generator": "unet", "size": 128, "ngf": 4, "norm": "batch"}),
        ("pix2pix", unet(7, 4, nn.InstanceNorm2d, True), 128, {"generator": "unet", "norm": "instance"}),
        (
            "pix2pix",
            ResNet(6, 4, nn.BatchNorm2d, False, False),
            64,
            {"generator": "resnet", "n_blocks": 6, "norm": "batch", "dropout": 0.0},
        ),
        ("pix2pix", ResNet(9, 4, nn.BatchNorm2d, True, False), 64, {"generator": "resnet", "n_blocks": 9, "norm": "batch", "dropout": 0.5}),
        ("cyclegan", ResNet(9, 4), 64, {"generator": "resnet", "n_blocks": 9, "ngf": 4, "norm": "instance", "dropout": 0.0}),
        ("cyclegan", ResNet(6, 8), 64, {"generator": "resnet", "n_blocks": 6, "ngf": 8}),
        ("cyclegan", ResNet(6, 4, dropout=True), 64, {"n_blocks": 6, "dropout": 0.5}),
        ("cyclegan", ResNet(9, 4, old_instance_norm), 64, {"norm": "instance"}),
    ],
)
def test_the_imported_generator_returns_what_the_original_returns(arch, network, size, recipe, tmp_path):
    network = saved(network, tmp_path / "latest_net_G.pth")
    # Instance norms of old versions kept statistics that evaluation did not use.
    for module in network.modules():
        if isinstance(module, nn.InstanceNorm2d):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
    teacher = imported(arch, tmp_path / "latest_net_G.pth", tmp_path / "teacher")
    (name,) = teacher.generators
    artifact = next(iter(read(tmp_path / "teacher", role="teacher").values()))
    assert artifact.generator == name and {field: getattr(artifact.recipe, field) for field in recipe} == recipe
    image = torch.rand(1, 3, size, size) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(load(artifact.folder)(image), network(image), rtol=1e-4, atol=1e-5)


def test_files_without_counters_of_batches_are_imported(tmp_path):
    saved(unet(7, 4), tmp_path / "G.pth", without=["num_batches_tracked"])
    imported("pix2pix", tmp_path / "G.pth", tmp_path / "teacher")


def test_an_imported_teacher_can_be_compressed(tmp_path):
    saved(unet(7, 4), tmp_path / "G.pth")
    imported("pix2pix", tmp_path / "G.pth", tmp_path / "teacher", size=128)
    run = Compressor(Teacher.load(tmp_path / "teacher"), ndf=4, prune_width=4, epochs=1, batch_size=400, budget="50%")
    assert "no discriminators" in run.plan()["note"]
    run.check()
    with pytest.raises(RecipeError, match="train_teacher = false needs a teacher with trained discriminators, and .* has none"):
        Compressor(Teacher.load(tmp_path / "teacher"), train_teacher=False)


def test_both_directions_together_are_a_teacher(tmp_path):
    saved(ResNet(2, 4), tmp_path / "latest_net_G_A.pth")
    imported("cyclegan", tmp_path / "latest_net_G_A.pth", tmp_path / "teacher")
    with pytest.raises(ArtifactError, match="lacks the generator B2A"):
        Teacher.load(tmp_path / "teacher")
    imported("cyclegan", tmp_path / "latest_net_G_A.pth", tmp_path / "teacher", generator="B2A")
    assert Teacher.load(tmp_path / "teacher").pretrained.keys() == {"A2B", "B2A"}


def test_nothing_is_overwritten(tmp_path):
    out = tmp_path / "teacher"
    saved(ResNet(2, 4), tmp_path / "G.pth")
    (out / "A2B").mkdir(parents=True)
    (out / "A2B" / "README.md").write_text("mine")
    (out / "discriminators.safetensors").write_text("of other generators")
    with pytest.raises(OutputError, match=r"already contains README\.md: .*--force"):
        imported("cyclegan", tmp_path / "G.pth", out)
    imported("cyclegan", tmp_path / "G.pth", out, force=True)
    assert (out / "A2B" / "replaced" / "README.md").read_text() == "mine"
    assert (out / "replaced" / "discriminators.safetensors").read_text() == "of other generators"
    assert not Teacher("cyclegan", folder=out).has_discriminators
    with pytest.raises(OutputError, match="contains another model"):
        imported("pix2pix", tmp_path / "G.pth", out)


def edited(edit):
    network = ResNet(2, 4)
    tensors = network.state_dict()
    edit(tensors)
    return tensors


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda tensors: tensors.pop("model.4.bias"), r"in 1 tensors: model\.4\.bias is missing"),
        (lambda tensors: tensors.update({"model.30.weight": torch.zeros(1)}), r"model\.30\.weight matches no parameter"),
        (
            lambda tensors: tensors.update({"model.1.weight": torch.zeros(4, 1, 7, 7)}),
            r"model\.1\.weight is \(4, 1, 7, 7\), expected \(4, 3, 7, 7\)",
        ),
        (lambda tensors: tensors.update({"model.1.weight": torch.zeros(8, 3, 7, 7)}), "and .* more"),
        (lambda tensors: tensors.update({"model.4.bias": torch.full((8,), torch.nan)}), r"model\.4\.bias is not finite"),
        (
            lambda tensors: tensors.update({"model.4.bias": torch.zeros(8, dtype=torch.int64)}),
            r"is torch\.int64, expected torch\.float32",
        ),
        (lambda tensors: tensors.update({"model.1.weight": torch.zeros(())}), "not a generator that cyclegan knows"),
        (lambda tensors: tensors.pop("model.1.weight"), "not a generator that cyclegan knows: its first tensors are model"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_its_keys(edit, message, tmp_path):
    torch.save(edited(edit), tmp_path / "G.pth")
    with pytest.raises(ArtifactError, match=message):
        imported("cyclegan", tmp_path / "G.pth", tmp_path / "teacher")
    assert not (tmp_path / "teacher").exists()


def checkpoints(state):
    """Return checkpoints as other programs write them, by a name."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))]).state_dict()
    other = {"main.0.weight": torch.zeros(4, 6, 4, 4)}
    wrapped = {
        prefix: {prefix + name: tensor for name, tensor in state.items()} for prefix in ("_orig_mod.", "module._orig_mod.", "generator.")
    }
    return {
        "compiled": wrapped["_orig_mod."],
        "compiled in DDP": wrapped["module._orig_mod."],
        "averaged": {"n_averaged": torch.tensor(3)} | {f"module.{name}": tensor for name, tensor in state.items()},
        "BasicSR": {"params_ema": state},
        "own loop": {"netG": state, "netD": other, "optimizer": optimizer, "epoch": 7},
        "Lightning": {
            "state_dict": wrapped["generator."] | {f"discriminator.{name}": tensor for name, tensor in other.items()},
            "epoch": 3,
        },
        "compiled in Lightning": {"state_dict": {f"generator._orig_mod.{name}": tensor for name, tensor in state.items()}, "epoch": 3},
    }


@pytest.mark.parametrize("name", checkpoints({"a": torch.ones(1)}))
def test_the_generator_of_a_checkpoint_is_imported(name, tmp_path):
    network = saved(unet(5, 4), tmp_path / "G.pth")
    torch.save(checkpoints(network.state_dict())[name], tmp_path / "checkpoint.pth")
    for file in ("G.pth", "checkpoint.pth"):
        imported("pix2pix", tmp_path / file, tmp_path / file.partition(".")[0], size=32)
    plain, found = (load(tmp_path / folder).state_dict() for folder in ("G", "checkpoint"))
    assert all(torch.equal(tensor, found[key]) for key, tensor in plain.items())


def test_one_of_several_generators_is_chosen_by_its_key(tmp_path):
    network = saved(unet(5, 4), tmp_path / "G.pth")
    state = network.state_dict()
    averaged = {name: tensor + 1 for name, tensor in state.items()}
    file, out = tmp_path / "G.pth", tmp_path / "out"
    torch.save({"params": state, "params_ema": averaged}, file)

    def run(*arguments):
        return CliRunner().invoke(main, ["import", "--arch", "pix2pix", "--set", "size=32", str(file), str(out), *arguments])

    assert "several generators of pix2pix: choose one of params, params_ema with --key" in run().stderr
    assert "no state dict at the key 'param_ema' (did you mean 'params_ema'" in run("--key", "param_ema").stderr
    assert run("--key", "params_ema").exit_code == 0
    assert torch.equal(load(out).state_dict()["down1.conv.weight"], averaged["model.model.0.weight"])
    torch.save({"state_dict": {f"{name}.{key}": tensor for name in "AB" for key, tensor in state.items()}}, file)
    assert "choose one of state_dict.A, state_dict.B with --key" in run("--force").stderr
    assert run("--key", "state_dict.B", "--force").exit_code == 0


def test_unknown_names(tmp_path):
    saved(ResNet(2, 4), tmp_path / "G.pth")
    with pytest.raises(GccError, match="no generator 'A2C'.*A2B"):
        imported("cyclegan", tmp_path / "G.pth", tmp_path / "teacher", generator="A2C")
    with pytest.raises(ArtifactError, match=r"block1\.1\.depthwise\.weight is missing"):
        settings = {"generator": "mobile"}
        import_generator("cyclegan", tmp_path / "G.pth", tmp_path / "teacher", generator=None, settings=settings, force=False)
    with pytest.raises(ArtifactError, match="not a generator that sagan knows"):
        imported("sagan", tmp_path / "G.pth", tmp_path / "teacher")
