"""What the plan says of the teacher."""

import pytest

from gcc import Compressor, Teacher, Trainer
from gcc.training.plan import compression_plan
from tests.helpers.custom_toys import CUSTOM, settings_of
from tests.helpers.families import TINY


def teacher_of(run, widths):
    return compression_plan(run.context, widths, run.reachable_widths(), [])["teacher"]


def test_the_plan_of_a_frozen_teacher_says_what_the_first_step_trains(small_worlds, tmp_path):
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
