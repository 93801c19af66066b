"""Recipes: the types and ranges of their fields, and the schedules."""

import dataclasses
import math
import tomllib
from dataclasses import dataclass
from typing import Literal

import pytest

from gcc.errors import RecipeError
from gcc.models.pix2pix import Pix2PixRecipe
from gcc.recipe import Recipe, fields

R = Pix2PixRecipe()


@dataclass(frozen=True, kw_only=True)
class Flagged(Recipe):
    flag: bool = False
    kind: Literal["a", "b"] = "a"


FLAGGED = Flagged(size=8)
FLOATS = [name for name, kind in fields(Pix2PixRecipe).items() if kind in (float, float | None)]
INTS = [name for name, kind in fields(Pix2PixRecipe).items() if kind is int]
TEXTS = [name for name, kind in fields(Pix2PixRecipe).items() if kind is str]


def test_the_kinds_of_fields():
    assert {"lr_g", "tau", "sparsity", "gamma_t", "lambda_L1"} <= set(FLOATS)
    assert {"size", "ngf", "epochs", "seed"} <= set(INTS) and {"metric", "budget", "selector"} <= set(TEXTS)


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", ["1", True, [1.0], math.nan, math.inf, -math.inf, {}, 1j])
def test_a_number_must_be_one_and_finite(name, value):
    with pytest.raises(RecipeError, match=name):
        dataclasses.replace(R, **{name: value})


@pytest.mark.parametrize("name", INTS)
@pytest.mark.parametrize("value", ["1", True, 64.0, 64.5, None, math.nan])
def test_a_whole_number_must_be_one(name, value):
    with pytest.raises(RecipeError, match=name):
        dataclasses.replace(R, **{name: value})


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", [1, True, None, b"x", ["x"]])
def test_a_text_must_be_one(name, value):
    with pytest.raises(RecipeError, match=name):
        dataclasses.replace(R, **{name: value})


@pytest.mark.parametrize("value", ["c", "A", "", 1, None, ["a"]])
def test_a_choice_must_be_among_its_values(value):
    with pytest.raises(RecipeError, match="kind.*a, b"):
        dataclasses.replace(FLAGGED, kind=value)


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_a_flag_must_be_one(value):
    with pytest.raises(RecipeError, match="flag"):
        dataclasses.replace(FLAGGED, flag=value)


@pytest.mark.parametrize(("name", "value"), [
    ("ngf", 0), ("ngf", -1), ("ngf", 4097), ("ndf", 0), ("prune_width", 0), ("batch_size", 0), ("alpha_decay_epochs", 0), ("epochs", 0),
    ("size", 0), ("size", 16385), ("seed", -1), ("seed", 2**63), ("lr_g", -1e-9), ("lr_d", -1.0), ("lambda_d", -0.5),
    ("lambda_gp", -1.0), ("gamma_m", -1.0), ("gamma_t", -1.0), ("lr_alpha", -1.0), ("sparsity", -1e-3), ("tau", -0.01),
    ("tau", 1.01), ("beta1", 1.0), ("beta2", 1.0), ("beta1", -0.1), ("decay_fraction", -0.1), ("decay_fraction", 1.1), ("epochs", 10**10),
])  # fmt: skip
def test_ranges(name, value):
    with pytest.raises(RecipeError, match=name):
        dataclasses.replace(R, **{name: value})


@pytest.mark.parametrize(("name", "value"), [
    ("tau", 0), ("tau", 1), ("beta1", 0), ("seed", 0), ("seed", 2**63 - 1), ("sparsity", 0), ("sparsity", None), ("gamma_m", 0),
    ("lr_alpha", 0), ("ngf", 1), ("ngf", 4096), ("decay_fraction", 0), ("decay_fraction", 1), ("epochs", 1), ("lambda_d", 0),
])  # fmt: skip
def test_ends_of_ranges_are_in_range(name, value):
    assert getattr(dataclasses.replace(R, **{name: value}), name) == value


@pytest.mark.parametrize("name", ["lr_g", "gamma_t", "sparsity", "tau"])
def test_a_whole_number_too_large_for_a_float_is_refused(name):
    with pytest.raises(RecipeError, match=name):
        dataclasses.replace(R, **{name: 10**400})


def test_a_recipe_is_frozen_and_whole_numbers_become_floats():
    recipe = dataclasses.replace(R, gamma_t=3)
    assert recipe.gamma_t == 3.0 and isinstance(recipe.gamma_t, float)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.ngf = 3


@pytest.mark.parametrize("arch", ["pix2pix", "my-gan", 'a"b', "a\\b", "é", "𝔾an"])
def test_toml_names_the_architecture(arch):
    assert tomllib.loads(R.to_toml(arch))["arch"] == arch


def test_to_dict_leaves_out_what_is_none_and_keeps_the_rest():
    values = R.to_dict()
    assert set(values) == {name for name in fields(Pix2PixRecipe) if getattr(R, name) is not None} and "sparsity" not in values
    assert tomllib.loads(R.to_toml("pix2pix")) == {"arch": "pix2pix"} | values


@pytest.mark.parametrize(("constant", "decay"), [(100, 150), (100, 100), (5, 3), (1, 1), (10, 0), (0, 4)])
def test_linear_schedule_is_the_rule_of_pix2pix(constant, decay):
    """pix2pix: `1 - max(0, epoch + epoch_count - n_epochs) / (n_epochs_decay + 1)`, epoch_count = 1, the scheduler's epoch from 0.

    Its scheduler steps at the end of each epoch, so that epoch e, counted from 1, has the scheduler's epoch e - 1.
    """
    recipe = dataclasses.replace(R, epochs=constant + decay, decay_fraction=decay / (constant + decay), schedule="linear")
    assert recipe.decay_epochs == decay
    for scheduler_epoch in range(constant + decay):
        expected = 1.0 - max(0, scheduler_epoch + 1 - constant) / float(decay + 1)
        assert recipe.learning_rate_factor(scheduler_epoch + 1) == pytest.approx(expected)
        assert recipe.learning_rate_factor(scheduler_epoch + 1) > 0


def test_step_schedule_is_a_tenth_from_half():
    # SRGAN: 15 epochs and 15 more at a tenth.
    recipe = dataclasses.replace(R, epochs=30, decay_fraction=0.5, schedule="step")
    assert [recipe.learning_rate_factor(e) for e in (1, 15, 16, 30)] == [1.0, 1.0, 0.1, 0.1]


def test_retention_rate_falls_to_a_tenth_every_hundred_epochs():
    assert [R.alpha_rate_factor(e) for e in (1, 100, 101, 200, 201, 250)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    faster = dataclasses.replace(R, alpha_decay_epochs=2)
    assert [faster.alpha_rate_factor(e) for e in (1, 2, 3, 5)] == pytest.approx([1, 1, 0.1, 0.01])


@pytest.mark.parametrize(("epochs", "search"), [(250, 25), (200, 20), (100, 10), (30, 3), (19, 1), (9, 1), (1, 1)])
def test_the_first_step_takes_a_tenth_of_the_epochs(epochs, search):
    assert dataclasses.replace(R, epochs=epochs).search_epochs == search
