"""The distillers of a recipe: their names, factors and losses."""

from dataclasses import replace

import pytest
import torch

from gcc import Compressor, Teacher
from gcc.errors import PluginError, RecipeError
from gcc.losses.distillation import Collaborative, distillation_loss
from gcc.losses.distillers import Distillers, parse_factors, reads_teacher_discriminators
from gcc.models.pix2pix import Pix2Pix
from gcc.recipe import Recipe, changed
from gcc.registry import GeneratorView
from tests.helpers.families import TINY

VIEW = GeneratorView({"G": torch.zeros(1, 3, 8, 8)}, {}, {})


def recipe(distillers, **changes):
    return Recipe(size=32, distillers=distillers, **changes)


def test_factors():
    assert parse_factors(" gcc , wavelets * 0.5") == {"gcc": 1.0, "wavelets": 0.5} and parse_factors(" ") == {}
    assert str(Distillers(recipe("gcc,wavelets*0.5"))) == "gcc, wavelets times 0.5"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gcc,", "expected names joined by commas"),
        ("gcc,crd*2,gcc*2", "gcc is given twice"),
        *((f"gcc*{factor}", f"'{factor}' is not a positive number") for factor in ("", "half", "0", "-1", "nan", "inf", "2*3")),
        ("wavelet", "unknown distiller 'wavelet' (did you mean 'wavelets'?)"),
    ],
)
def test_what_cannot_be_read_is_refused_before_any_work(text, says):
    with pytest.raises((RecipeError, PluginError)) as caught:
        Compressor(Teacher.create("pix2pix"), **TINY["pix2pix"], distillers=text)
    assert says in str(caught.value)


def test_the_papers_term_is_the_sum_of_the_networks_distances():
    random = torch.Generator().manual_seed(0)
    features = [{name: {"layer": torch.randn(2, 4, 3, 3, generator=random)} for name in "AB"} for _ in "STST"]
    student, teacher = GeneratorView({}, features[0], features[2]), GeneratorView({}, features[1], features[3])
    settings = recipe("gcc", gamma_m=2.0, gamma_t=30.0, lambda_distill_g=0.5, lambda_distill_d=3.0)
    losses = Collaborative(settings).losses({}, student, teacher, {})
    expected = [sum(distillation_loss(s[n], t[n], 2.0, 30.0) for n in "AB") for s, t in (features[:2], features[2:])]
    assert losses["distill_G"].item() == pytest.approx(0.5 * expected[0].item())
    assert losses["distill_D"].item() == pytest.approx(3 * expected[1].item())
    assert not Collaborative(replace(settings, lambda_distill_g=0.0, lambda_distill_d=0.0)).losses({}, student, teacher, {})


def test_losses_are_multiplied_by_the_factors():
    student = GeneratorView({"G": torch.randn(1, 3, 8, 8)}, {}, {})
    once, twice = (Distillers(recipe(text)).losses({}, student, VIEW, {"wavelets": {}}) for text in ("wavelets", "wavelets*2.5"))
    assert twice["wavelets"].item() == pytest.approx(2.5 * once["wavelets"].item())


def test_losses_of_the_same_name_are_refused():
    distillers = Distillers(recipe("omgd,omgd_vgg19"))
    identity = lambda images: (images, images)  # noqa: E731
    with pytest.raises(PluginError, match="'omgd_vgg19' has a loss 'omgd_SSIM', and so has another one of omgd, omgd_vgg19"):
        distillers.losses({}, VIEW, VIEW, dict.fromkeys(distillers.factors, {"vgg": identity}))


@pytest.mark.parametrize(
    ("settings", "reads"),
    [
        ({}, True),
        ({"lambda_global": 0.0}, True),
        ({"lambda_global": 0.0, "distillers": "crd"}, False),
        ({"distillers": "crd"}, True),
        ({"distillers": "crd", "discriminator": "none"}, False),
        ({"lambda_global": 0.0, "lambda_distill_d": 0.0}, False),
    ],
)
def test_what_reads_the_teachers_discriminators(settings, reads):
    assert reads_teacher_discriminators(changed(Pix2Pix.published(), settings)) is reads


def test_without_a_discriminator_there_must_be_a_distiller():
    with pytest.raises(RecipeError, match="nothing to learn from: set distillers = gcc"):
        recipe("", discriminator="none")
    recipe("crd", discriminator="none", lambda_distill_g=0.0, lambda_distill_d=0.0)
