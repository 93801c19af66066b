"""Student pairs that lack a part of the method."""

import copy

import pytest
import torch
from safetensors.torch import save_file

from gcc import Compressor, Teacher
from gcc.errors import RecipeError
from gcc.losses.coordination import SmoothedTarget
from gcc.models.gate import gates
from gcc.models.vgg import DEPTHS, VGGFeatures
from gcc.recipe import Recipe, fields
from gcc.registry.presets import PRESETS, preset
from gcc.training.context import Stream
from gcc.training.loss_tree import leaves
from gcc.training.memory_estimate import bytes_of_step
from gcc.training.width_search import search_channels
from tests.helpers.families import TINY

TERMS = {
    "pruned-only": {"G", "L1", "D_real", "D_fake"},
    "full-discriminator": {"G", "L1", "D_real", "D_fake", "distill_G", "distill_D"},
    "no-discriminator": {"L1", "distill_G", "distill_D"},
    "no-selective-activation": {"G", "L1", "D_real", "D_fake", "distill_G", "distill_D", "arch"},
    "no-global": {"G", "L1", "D_real", "D_fake", "distill_G", "distill_D", "arch"},
    "no-discriminator-distillation": {"G", "L1", "D_real", "D_fake", "distill_G", "arch"},
    "gcc": {"G", "L1", "D_real", "D_fake", "distill_G", "distill_D", "arch"},
}


def before_second_step(name, arch="pix2pix", **settings):
    """Return a compressor before the first iteration of the second step."""
    run = Compressor(Teacher.create(arch), **TINY[arch] | dict(PRESETS[name].settings) | settings)
    for step in run.steps():
        if step.phase == "search" and step.number == step.total:
            run.widths = {name: one.widths for name, one in search_channels(run.context, run.metric, run.pairs["search"]).items()}
            run.reinitialize()
            return run
    raise AssertionError


def losses_of_iteration(run):
    run.epoch = 1
    for pair in run.pairs.values():
        pair.begin(1)
    first, second = (next(run.context.batches(stream, 1)) for stream in (Stream.TRAIN, Stream.ALPHA))
    return run.cooperate(first, second)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_minimises_its_terms_and_no_others(name):
    losses = losses_of_iteration(before_second_step(name))
    assert losses["student"].keys() - {"imbalance"} == TERMS[name]
    assert all(torch.isfinite(loss) for _, loss in leaves(losses))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["no-discriminator", "no-selective-activation", "pruned-only"])
@pytest.mark.parametrize("arch", ["cyclegan", "sagan", "srgan"])
def test_every_family_trains_without_these_parts(name, arch):
    assert all(torch.isfinite(loss) for _, loss in leaves(losses_of_iteration(before_second_step(name, arch))))


def test_presets_remove_parts_of_the_method_and_the_last_is_the_whole_method():
    for chosen in PRESETS.values():
        weights = {name: value for name, value in chosen.settings.items() if name not in ("discriminator", "distillers")}
        assert chosen.settings.keys() <= fields(Recipe).keys() and not any(weights.values())
    defaults = Recipe(size=32)
    assert list(PRESETS)[-1] == "gcc" and all(getattr(defaults, name) == value for name, value in PRESETS["gcc"].settings.items())
    assert len({tuple(chosen.settings.items()) for chosen in PRESETS.values()}) == len(PRESETS) == len(TERMS)
    with pytest.raises(RecipeError, match="unknown preset 'no-globel'; did you mean no-global|unknown preset 'no-globel' "):
        preset("no-globel")


@pytest.mark.usefixtures("gradients_stay")
def test_a_full_discriminator_has_no_gates_and_l_global_trains_its_weights():
    run = before_second_step("no-selective-activation", lambda_global=0.7)
    student, data = run.student, next(run.context.batches(Stream.ALPHA, 1))
    network = student.discriminators["D"]
    assert not gates(network) and not student.alphas
    target = SmoothedTarget()
    target.update(torch.tensor(0.2), 1, 10)
    copied = copy.deepcopy(network).requires_grad_(True)
    with torch.no_grad():
        fake = student.generate(data)
    logits = copied(fake.pairs["D"].fake)
    loss = 0.7 * abs(abs(-logits.mean() - torch.relu(1 + logits).mean()) - 0.2)
    loss.backward()
    loss_arch = student.step_alpha(fake, {"D": target})["arch"]
    assert loss_arch.item() == pytest.approx(loss.item(), rel=1e-4)
    for expected, actual in zip(copied.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(actual.grad, expected.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("arch", TINY)
def test_every_family_learns_from_every_distiller(arch, tmp_path):
    save_file(VGGFeatures(DEPTHS["vgg16"]).state_dict(), tmp_path / "vgg16.safetensors")
    settings = {"batch_size": 4, "distillers": "gcc,omgd*0.5,crd*0.1,wavelets", "weights": {"vgg16": tmp_path / "vgg16.safetensors"}}
    terms = {f"omgd_{term}" for term in ("SSIM", "style", "feature", "TV")} | {f"crd_{parts}" for parts in ("rows", "columns", "patches")}
    for size in (None, 2):
        run = Compressor(Teacher.create(arch), **TINY[arch] | settings, micro_batch=size)
        run.widths = run.reachable_widths()
        run.reinitialize()
        losses = losses_of_iteration(run)
        assert terms | {"distill_G", "distill_D", "wavelets"} <= losses["student"].keys()
        assert all(torch.isfinite(loss) for _, loss in leaves(losses))
    assert run.plan()["distillation"].startswith("gcc, omgd times 0.5, crd times 0.1, wavelets: ")
    # Nothing depends on the values of tensors.
    plain = Compressor(Teacher.create(arch), **TINY[arch] | {"batch_size": 4}, micro_batch=2)
    assert bytes_of_step(run, run.widths) > bytes_of_step(plain, run.widths)


def test_pruned_only_distils_nothing_whatever_the_distillers():
    run = Compressor(Teacher.create("pix2pix"), **TINY["pix2pix"], **{"distillers": "crd"} | dict(PRESETS["pruned-only"].settings))
    assert not (run.context.distillers.reads_generators or run.context.distillers.reads_discriminators)
    assert run.recipe.distillers == "gcc"


def test_weights_of_the_terms_are_factors():
    losses = [losses_of_iteration(before_second_step("gcc", lambda_distill_g=g, lambda_distill_d=d)) for g, d in ((1.0, 1.0), (0.5, 3.0))]
    assert float(losses[1]["student"]["distill_G"]) == pytest.approx(0.5 * float(losses[0]["student"]["distill_G"]), rel=1e-4)
    assert float(losses[1]["student"]["distill_D"]) == pytest.approx(3 * float(losses[0]["student"]["distill_D"]), rel=1e-4)


def test_no_discriminator_and_no_distillation_is_refused():
    with pytest.raises(RecipeError, match="leaves a student nothing to learn from"):
        Recipe(size=32, discriminator="none", lambda_distill_g=0, lambda_distill_d=0)
