"""Recipes: types, ranges, text, TOML, and the schedules."""

import dataclasses
import math
import tomllib
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gcc.recipe
from gcc.errors import RecipeError
from gcc.models.pix2pix import Pix2PixRecipe
from gcc.recipe import Recipe, changed, differences, fields, parse_range, read_toml, with_new_fields

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


@pytest.mark.parametrize(("text", "name", "value"), [
    ("32", "ngf", 32), ("1e-3", "lr_g", 1e-3), ("5", "gamma_m", 5.0), ("none", "sparsity", None), ("None", "sparsity", None),
    ("0.01", "sparsity", 0.01), ("l1", "metric", "l1"), ("true", "flag", True), ("False", "flag", False), ("b", "kind", "b"),
    ("none", "metric", "none"), ("2.5Mparams", "budget", "2.5Mparams"), ("1", "budget", "1"), ("wgangp", "gan_mode", "wgangp"),
])  # fmt: skip
def test_text_is_read_as_the_fields_type(text, name, value):
    got = getattr(changed(FLAGGED, {name: text}), name)
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(("name", "text"), [
    ("ngf", "32.5"), ("ngf", "x"), ("ngf", ""), ("ngf", "none"), ("lr_g", "fast"), ("lr_g", "nan"), ("lr_g", "inf"), ("lr_g", "-inf"),
    ("lr_g", "1e999"), ("flag", "yes"), ("flag", "1"), ("flag", ""), ("kind", "c"), ("sparsity", "some"), ("epochs", "1e2"),
    ("ngf", "9" * 5000), ("gan_mode", "Hinge"),
])  # fmt: skip
def test_text_that_does_not_fit_is_refused_with_name_and_value(name, text):
    with pytest.raises(RecipeError) as caught:
        changed(FLAGGED, {name: text})
    assert name in str(caught.value)


@pytest.mark.parametrize(("name", "suggested"), [
    ("lr_q", "lr_g"), ("gama_m", "gamma_m"), ("epoch", "epochs"), ("lambda_l1", "lambda_L1"), ("batchsize", "batch_size"),
])  # fmt: skip
def test_unknown_fields_name_near_ones(name, suggested):
    with pytest.raises(RecipeError) as caught:
        changed(R, {name: 1})
    assert repr(name) in str(caught.value) and repr(suggested) in str(caught.value)


def test_changed_leaves_the_given_recipe_and_the_other_fields():
    before = dataclasses.asdict(R)
    got = changed(R, {"ngf": "8", "tau": 0.25})
    assert dataclasses.asdict(R) == before
    assert dataclasses.asdict(got) == before | {"ngf": 8, "tau": 0.25}
    assert type(got) is Pix2PixRecipe and changed(R, {}) == R


# Any text that a file in UTF-8 can hold, control characters included.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['"', "\\", "'''", '"""', "a\nb", "\r\n", "\t", "\x00", "\x1f", "\x7f", "\u0085", "\u2028", "é", "日本", "𝔾", "#", "= 1", "[x]"]
)
positive = st.floats(0, 1e9)
KINDS = {
    "size": st.sampled_from([32, 64, 256, 16384]), "ngf": st.integers(1, 4096), "seed": st.integers(0, 2**63 - 1),
    "metric": text, "selector": text, "budget": text, "sparsity": st.none() | positive, "lr_g": positive, "gamma_t": positive,
    "tau": st.floats(0, 1), "beta1": st.floats(0, 0.999), "decay_fraction": st.floats(0, 1), "epochs": st.integers(1, 10**9),
    "lambda_L1": positive, "dropout": st.floats(0, 0.99), "gan_mode": st.sampled_from(["hinge", "lsgan", "vanilla", "wgangp"]),
    "update_order": st.sampled_from(["GD", "DG"]), "norm": st.sampled_from(["batch", "instance"]),
}  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({}, optional=KINDS))
def test_toml_round_trip(tmp_path, values):
    recipe = dataclasses.replace(R, **values)
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml("pix2pix"), encoding="utf-8", newline="")
    read = read_toml(path)
    assert read.pop("arch") == "pix2pix"
    again = changed(R, {"sparsity": None} | read)
    assert again == recipe
    assert all(type(getattr(again, name)) is type(getattr(recipe, name)) for name in fields(Pix2PixRecipe))


@pytest.mark.parametrize("arch", ["pix2pix", "my-gan", 'a"b', "a\\b", "é", "𝔾an"])
def test_toml_names_the_architecture(arch):
    assert tomllib.loads(R.to_toml(arch))["arch"] == arch


def test_to_dict_leaves_out_what_is_none_and_keeps_the_rest():
    values = R.to_dict()
    assert set(values) == {name for name in fields(Pix2PixRecipe) if getattr(R, name) is not None} and "sparsity" not in values
    assert tomllib.loads(R.to_toml("pix2pix")) == {"arch": "pix2pix"} | values


@pytest.mark.parametrize("content", [
    "ngf =", "ngf = 1\nngf = 2", "[table]\nx = 1", "betas = [0.5, 0.9]", "when = 2020-01-01", "a.b = 1", "\x00", "ngf = " + "9" * 5000,
])  # fmt: skip
def test_files_that_are_no_recipe_are_refused_by_name(tmp_path, content):
    path = tmp_path / "bad.toml"
    path.write_text(content)
    with pytest.raises(RecipeError, match="bad.toml"):
        read_toml(path)


def test_unreadable_files_are_refused_by_name(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b"metric = '\xff'")
    for name in ("latin.toml", "missing.toml", "."):
        with pytest.raises(RecipeError):
            read_toml(tmp_path / name)


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


def test_a_choice_of_numbers_is_read_from_text():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Scaled(Pix2PixRecipe):
        scale: Literal[2, 4, 8] = 4

    assert changed(Scaled(), {"scale": "8"}).scale == 8
    with pytest.raises(RecipeError, match="one of 2, 4, 8"):
        changed(Scaled(), {"scale": "3"})


@pytest.mark.parametrize(("old", "new"), gcc.recipe.RENAMED_CONSTANTS.items())
def test_constants_are_found_by_their_old_names(old, new):
    with pytest.warns(DeprecationWarning, match=f"gcc.recipe.{old} is now called {new}"):
        assert getattr(gcc.recipe, old) is getattr(gcc.recipe, new)


def test_settings_of_an_earlier_version_get_the_defaults_of_new_fields():
    recipe = Pix2PixRecipe(size=256)
    saved = recipe.to_dict()
    del saved["result_epoch"]
    assert differences(with_new_fields(recipe, saved), recipe.to_dict()) == ""
    assert differences(with_new_fields(recipe, saved | {"result_epoch": "last"}), recipe.to_dict()) == "result_epoch was last and is auto"
    assert "sparsity" not in with_new_fields(recipe, saved)


@pytest.mark.parametrize("text", ["0...4095", "0..", "..1", "1..0", "0..1..2", "0.5.1"])
def test_texts_that_are_not_ranges_are_refused(text):
    with pytest.raises(RecipeError, match="range = .*such as 0..4095"):
        parse_range(text)
