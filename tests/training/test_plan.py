"""What the plan says of the teacher and of distillation."""

import pytest

from gcc import Compressor, Teacher, Trainer
from gcc.losses.layers import DistillationLayers
from gcc.training.plan import compression_plan
from tests.helpers.custom_toys import CUSTOM, settings_of
from tests.helpers.families import TINY


def teacher_of(run, widths):
    return compression_plan(run.context, widths, run.reachable_widths(), run.distillation_layers, [])["teacher"]


def test_the_plan_of_a_frozen_teacher_says_what_the_first_step_trains(tmp_path):
    settings = TINY["pix2pix"] | {"epochs": 1}
    Trainer(Teacher.create("pix2pix"), **settings).run().save(tmp_path)
    teacher = Teacher.load(tmp_path / "teacher")
    width = teacher.architecture(settings).recipe.ngf
    for prune_width, trained in ((width, "a copy of it"), (width - 1, f"another generator, of width {width - 1},")):
        run = Compressor(teacher, **settings | {"train_teacher": False, "prune_width": prune_width})
        assert run.plan()["teacher"].endswith(f"; stays as it is; the first step trains {trained} to rank channels")
        assert teacher_of(run, run.reachable_widths()).endswith("; stays as it is")
    assert "first step" not in Compressor(teacher, **settings).plan()["teacher"]


@pytest.mark.parametrize("is_trained", [True, False])
def test_the_first_step_trains_a_copy_of_ones_own_generator(is_trained):
    generator, _, data = CUSTOM["paired"]
    settings = {"lambda_distill_d": 0.0, "lambda_global": 0.0, "train_teacher": not is_trained} | settings_of("paired")
    run = Compressor(generator=generator(), task="paired", data=data, device="cpu", **settings)
    assert run.plan()["teacher"].endswith("the first step trains a copy of it to rank channels") == is_trained


def test_the_plan_names_the_layers_that_are_distilled():
    def planned(**settings):
        return Compressor(Teacher.create("pix2pix"), **TINY["pix2pix"] | settings).plan()["distillation"]

    assert planned(selector="down2.act,conv2.3") == "gcc: down2.act of G; conv2.3 of D"
    assert planned(selector="conv2.3") == "gcc: no layer of G; conv2.3 of D"
    assert planned(lambda_distill_d=0.0, selector="down2.act") == "gcc: down2.act of G"
    assert planned(distillers="wavelets") == "wavelets" and planned(distillers="") == "none"


def test_networks_with_the_same_layers_are_named_together():
    layers = DistillationLayers({"A2B": ("0", "3"), "B2A": ("0", "3")}, {"D": ("1",)})
    assert str(layers) == "0, 3 of A2B and B2A; 1 of D"
