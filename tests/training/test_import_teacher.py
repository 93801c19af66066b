"""Importing generators of pytorch-CycleGAN-and-pix2pix: the imported one returns what the original returns."""

from functools import partial
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from gcc import Compressor, Teacher, Trainer, load
from gcc.artifacts.model import has_discriminators, read, read_discriminators
from gcc.cli import main
from gcc.errors import ArtifactError, GccError, OutputError, RecipeError
from gcc.training.import_teacher import import_generator
from tests.helpers.families import TINY
from tests.helpers.foreign_networks import PatchGAN, ResNet, unet

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
        ("pix2pix", unet(7, 4), 128, {"generator": "unet", "depth": 7, "size": 128, "ngf": 4, "norm": "batch"}),
        ("pix2pix", unet(7, 4, nn.InstanceNorm2d, True), 128, {"generator": "unet", "norm": "instance"}),
        (
            "pix2pix",
            ResNet(6, 4, nn.BatchNorm2d, False, False),
            64,
            {"generator": "resnet", "n_blocks": 6, "norm": "batch", "dropout": 0.0},
        ),
        ("pix2pix", ResNet(9, 4, nn.BatchNorm2d, True, False), 64, {"generator": "resnet", "n_blocks": 9, "norm": "batch", "dropout": 0.5}),
        ("cyclegan", ResNet(9, 4), 64, {"generator": "resnet", "n_blocks": 9, "ngf": 4, "norm": "instance", "dropout": 0.0}),
        ("cyclegan", ResNet(6, 8), 64, {"generator": "resnet", "n_blocks": 6, "ngf": 8, "metric": "l1"}),
        ("cyclegan", ResNet(6, 4, dropout=True), 64, {"n_blocks": 6, "dropout": 0.5}),
        ("cyclegan", ResNet(9, 4, old_instance_norm), 64, {"norm": "instance"}),
        ("pix2pix", unet(7, 4, channels=(1, 4)), 128, {"input_nc": 1, "output_nc": 4}),
        ("pix2pix", ResNet(6, 4, nn.BatchNorm2d, False, False, channels=(4, 1)), 64, {"input_nc": 4, "output_nc": 1}),
        ("cyclegan", ResNet(6, 4, channels=(2, 1)), 64, {"input_nc": 2, "output_nc": 1, "lambda_identity": 0.0}),
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
    image = torch.rand(1, artifact.recipe.input_nc, size, size) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(load(artifact.folder)(image), network(image), rtol=1e-4, atol=1e-5)


def test_a_key_may_be_a_prefix_of_the_tensors_names(tmp_path):
    saved(unet(7, 4), tmp_path / "G.pth")
    state = torch.load(tmp_path / "G.pth")
    torch.save({"state_dict": {f"model.netG.module.{name}": tensor for name, tensor in state.items()}, "epoch": 3}, tmp_path / "all.ckpt")
    take = partial(import_generator, "pix2pix", tmp_path / "all.ckpt", tmp_path / "teacher", generator=None, settings={}, force=False)
    with pytest.raises(ArtifactError, match=r"no state dict at the key 'model\.netG'"):
        take(key="model.netG")
    take(key="state_dict.model.netG")


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
    assert Teacher.load(tmp_path / "teacher").generators().keys() == {"A2B", "B2A"}


def test_the_directions_of_domains_with_other_channels_are_one_teacher(tmp_path):
    saved(ResNet(2, 4, channels=(2, 1)), tmp_path / "A2B.pth")
    back = saved(ResNet(2, 4, channels=(1, 2)), tmp_path / "B2A.pth")
    for name in ("A2B", "B2A"):
        imported("cyclegan", tmp_path / f"{name}.pth", tmp_path / "teacher", generator=name)
    teacher = Teacher.load(tmp_path / "teacher")
    assert {(artifact.recipe.input_nc, artifact.recipe.output_nc) for artifact in teacher.networks.artifacts.values()} == {(2, 1)}
    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(teacher.generators()["B2A"](image), back(image), rtol=1e-4, atol=1e-5)


def test_nothing_is_overwritten(tmp_path):
    out = tmp_path / "teacher"
    saved(ResNet(2, 4), tmp_path / "G.pth")
    (out / "A2B").mkdir(parents=True)
    (out / "A2B" / "README.md").write_text("mine")
    (out / "discriminators.safetensors").write_text("of other generators")
    with pytest.raises(OutputError, match=r"already contains README\.md: .*`force`"):
        imported("cyclegan", tmp_path / "G.pth", out)
    imported("cyclegan", tmp_path / "G.pth", out, force=True)
    assert (out / "A2B" / "replaced" / "README.md").read_text() == "mine"
    assert (out / "replaced" / "discriminators.safetensors").read_text() == "of other generators"
    assert not has_discriminators(out)
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
        (
            lambda tensors: tensors.pop("model.4.bias"),
            r"does not fit the generator A2B of cyclegan: model\.4\.bias is missing, expected \(8,\)$",
        ),
        (lambda tensors: tensors.update({"model.30.weight": torch.zeros(1)}), r"model\.30\.weight matches no parameter"),
        (
            lambda tensors: tensors.update({"model.1.weight": torch.zeros(4, 3, 5, 5)}),
            r"model\.1\.weight is \(4, 3, 5, 5\), expected \(4, 3, 7, 7\)",
        ),
        (lambda tensors: tensors.update({"model.1.weight": torch.zeros(8, 3, 7, 7)}), "and .* more"),
        (lambda tensors: tensors.update({"model.4.bias": torch.full((8,), torch.nan)}), r"model\.4\.bias is not finite"),
        (
            lambda tensors: tensors.update({"model.4.bias": torch.zeros(8, dtype=torch.int64)}),
            r"is torch\.int64, expected torch\.float32",
        ),
        (lambda tensors: tensors.update({"model.1.weight": torch.zeros(())}), "not a generator that cyclegan knows"),
        (
            lambda tensors: tensors.pop("model.1.weight"),
            "not a generator that cyclegan knows: .*; expected the ResNet .* with model.1.weight",
        ),
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
    with pytest.raises(ArtifactError, match="not a generator that sagan knows: .*; sagan reads no generator of other programs"):
        imported("sagan", tmp_path / "G.pth", tmp_path / "teacher")


def run_import(*arguments):
    return CliRunner().invoke(main, ["import", *map(str, arguments)])


def saved_pix2pix(folder, norm=nn.BatchNorm2d):
    """Save a generator and a discriminator of Pix2Pix, and return the discriminator and the arguments of `gcc import`."""
    saved(unet(5, 4, norm, norm is not nn.BatchNorm2d), folder / "G.pth")
    network = saved(PatchGAN(6, 3, norm), folder / "D.pth")
    return network, ["--arch", "pix2pix", folder / "G.pth", folder / "teacher", "--discriminator", folder / "D.pth"]


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.InstanceNorm2d])
def test_the_imported_discriminator_returns_what_the_original_returns(norm, tmp_path):
    network, arguments = saved_pix2pix(tmp_path, norm)
    result = run_import(*arguments)
    assert result.exit_code == 0, result.output
    artifact = read(tmp_path / "teacher")["G"]
    assert artifact.recipe.ndf == 3
    own = read_discriminators(tmp_path / "teacher", artifact.architecture)["D"]
    pair = torch.rand(2, 6, 64, 64) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(own.eval()(pair), network(pair), rtol=1e-4, atol=1e-5)


def test_generator_and_discriminator_may_be_in_one_file(tmp_path):
    generator, discriminator = unet(7, 4), PatchGAN(6, 3, nn.BatchNorm2d)
    torch.save({"netG": generator.state_dict(), "netD": discriminator.state_dict()}, tmp_path / "both.pth")
    import_generator(
        "pix2pix",
        tmp_path / "both.pth",
        tmp_path / "teacher",
        generator=None,
        settings={},
        force=False,
        discriminators={"D": tmp_path / "both.pth"},
    )
    artifact = read(tmp_path / "teacher")["G"]
    assert (artifact.recipe.ngf, artifact.recipe.ndf, artifact.recipe.size) == (4, 3, 128)
    assert has_discriminators(tmp_path / "teacher")


@pytest.mark.slow
def test_each_discriminator_of_a_cyclegan_is_named(tmp_path):
    for name in "AB":
        saved(ResNet(2, 4), tmp_path / f"G_{name}.pth")
        saved(PatchGAN(3, 4, nn.InstanceNorm2d), tmp_path / f"D_{name}.pth")
    out, first = tmp_path / "teacher", ["--arch", "cyclegan", tmp_path / "G_A.pth", tmp_path / "teacher"]
    both = [f"--discriminator=B={tmp_path / 'D_A.pth'}", f"--discriminator=A={tmp_path / 'D_B.pth'}"]
    assert (
        "cyclegan has several, so name it, such as --discriminator A=" in run_import(*first, "--discriminator", tmp_path / "D_A.pth").stderr
    )
    assert "give a file for each, here --discriminator A=FILE" in run_import(*first, both[0]).stderr
    with pytest.raises(GccError, match='here `discriminators={"A": "FILE", "B": "FILE"}`'):
        import_generator("cyclegan", Path("G"), out, generator=None, settings={}, force=False, discriminators={"C": Path("D")})
    assert "is given twice" in run_import(*first, both[0], both[0]).stderr
    assert run_import(*first, *both).exit_code == 0
    second = ["--arch", "cyclegan", "--generator", "B2A", tmp_path / "G_B.pth", out, "--set", "ndf=4"]
    assert run_import(*second).exit_code == 0
    assert Teacher.load(out).has_discriminators and set(Teacher.load(out).generators()) == {"A2B", "B2A"}
    assert "already contains" in run_import(*second, *both).stderr
    assert run_import(*second, *both, "--force").exit_code == 0 and (out / "replaced" / "discriminators.safetensors").exists()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (PatchGAN(6, 4, layers=4), "is not a discriminator that pix2pix knows"),
        (unet(5, 4), "is not a discriminator that pix2pix knows"),
        (PatchGAN(3, 4), r"model\.0\.weight is \(4, 3, 4, 4\), expected \(4, 6, 4, 4\)"),
        (PatchGAN(6, 4, nn.InstanceNorm2d), r"D\.pth has norm = instance, and .*G\.pth has batch: these are different runs"),
    ],
)
def test_a_discriminator_that_does_not_fit_is_refused(network, message, tmp_path):
    saved(unet(5, 4), tmp_path / "G.pth")
    saved(network, tmp_path / "D.pth")
    files = {"D": tmp_path / "D.pth"}
    with pytest.raises(ArtifactError, match=message):
        import_generator("pix2pix", tmp_path / "G.pth", tmp_path / "out", generator=None, settings={}, force=False, discriminators=files)
    assert not (tmp_path / "out").exists()


def test_a_narrow_teacher_is_pruned_from_no_larger_width_than_its_own(tmp_path):
    saved(unet(5, 4), tmp_path / "G.pth")
    imported("pix2pix", tmp_path / "G.pth", tmp_path / "teacher")
    recipe = Teacher.load(tmp_path / "teacher").architecture({}).recipe
    assert recipe.ngf == 4 and recipe.prune_width <= 4 and recipe.budget == "16.52%"
    assert Teacher.load(tmp_path / "teacher").architecture({"prune_width": 8}).recipe.prune_width == 8


FROZEN = TINY["pix2pix"] | {"train_teacher": False, "epochs": 1}
"""A run with a frozen teacher of the tiny width."""


def test_an_imported_teacher_with_discriminators_may_stay_frozen(tmp_path):
    _, arguments = saved_pix2pix(tmp_path)
    assert run_import(*arguments).exit_code == 0
    run = Compressor(Teacher.load(tmp_path / "teacher"), **FROZEN | {"ndf": 3})
    losses = [step.losses for step in run.steps() if step.phase == "train"]
    assert all("distill_D" in step["student"] and step["target"].keys() == {"D"} for step in losses)
    with pytest.raises(ArtifactError, match="does not fit this run's recipe"):
        Compressor(Teacher.load(tmp_path / "teacher"), **FROZEN | {"ndf": 4}).check()


@pytest.mark.parametrize(
    ("settings", "is_possible"),
    [
        ({}, False),
        ({"lambda_distill_d": 0.0}, False),
        ({"lambda_global": 0.0}, False),
        ({"lambda_distill_d": 0.0, "discriminator": "full"}, False),
        ({"lambda_distill_d": 0.0, "lambda_global": 0.0}, True),
        ({"lambda_distill_d": 0.0, "lambda_global": 0.0, "discriminator": "full"}, True),
        ({"lambda_distill_d": 0.0, "discriminator": "none"}, True),
        ({"discriminator": "none"}, False),
    ],
)
def test_a_teacher_without_discriminators_stays_frozen_where_no_loss_reads_them(settings, is_possible, tmp_path):
    saved(unet(5, 4), tmp_path / "G.pth")
    imported("pix2pix", tmp_path / "G.pth", tmp_path / "teacher")
    teacher = Teacher.load(tmp_path / "teacher")
    if not is_possible:
        with pytest.raises(RecipeError, match=r"has none: import them with `gcc import --discriminator`, or use no loss"):
            Compressor(teacher, **FROZEN | settings)
        return
    run = Compressor(teacher, **FROZEN | settings)
    assert "no discriminators" not in run.plan().get("note", "")
    run.run().save(tmp_path / "run")
    assert not (tmp_path / "run" / "teacher" / "discriminators.safetensors").exists()
    saved_teacher = teacher.generators()["G"].state_dict()
    assert all(torch.equal(value, saved_teacher[key]) for key, value in run.teacher.generators["G"].state_dict().items())


def test_a_frozen_teacher_without_discriminators_gives_the_losses_of_one_with_them(tmp_path):
    """Nothing that the student trains on reads them."""
    _, arguments = saved_pix2pix(tmp_path)
    assert run_import(*arguments).exit_code == 0
    assert run_import(*arguments[:3], tmp_path / "bare").exit_code == 0
    settings = FROZEN | {"ndf": 3, "lambda_distill_d": 0.0, "lambda_global": 0.0}
    students = []
    for folder in ("teacher", "bare"):
        run = Compressor(Teacher.load(tmp_path / folder), **settings)
        for _ in run.steps():
            pass
        students.append(run.student.generators["G"].state_dict() | run.student.discriminators["D"].state_dict())
    assert all(torch.equal(value, students[1][key]) for key, value in students[0].items())


def test_an_imported_u_net_keeps_its_depth_at_other_sizes(tmp_path):
    network = saved(unet(5, 4), tmp_path / "G.pth")
    imported("pix2pix", tmp_path / "G.pth", tmp_path / "teacher")
    teacher = Teacher.load(tmp_path / "teacher")
    recipe = teacher.architecture({"size": 96}).recipe
    assert (recipe.depth, recipe.size) == (5, 96)
    assert teacher.architecture({"size": 64}).recipe.depth == 5
    image = torch.rand(1, 3, 96, 64) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(load(tmp_path / "teacher")(image), network(image), rtol=1e-4, atol=1e-5)


def test_a_trained_teacher_keeps_its_depth_at_another_size(tmp_path):
    Trainer(Teacher.create("pix2pix"), **TINY["pix2pix"] | {"epochs": 1}).run().save(tmp_path)
    teacher = Teacher.load(tmp_path / "teacher")
    assert teacher.demo_architecture({}).recipe.depth is None
    Compressor(teacher, size=64).check()
    with pytest.raises(RecipeError, match="U-Net of 5 levels expects a multiple of 32"):
        Compressor(teacher, size=80)
