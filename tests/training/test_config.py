"""The options of a run: their values, what excludes what, and the keywords that type checkers know."""

import dataclasses
import typing
from pathlib import Path

import pytest
from torch import nn

from gcc.errors import GccError
from gcc.recipe import Recipe, fields
from gcc.training.config import RunConfig, choices_of
from gcc.training.options import NetworkOptions, RecipeOptions, RunOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": True, "amp": "bf16"}, 'leave out `reference` or `amp="bf16"`'),
        ({"reference": True, "amp": "fp16"}, 'leave out `reference` or `amp="fp16"`'),
        ({"compile": True, "reference": True}, "leave out `compile` or `reference`$"),
        ({"compile": True, "micro_batch": 2}, "leave out `compile` or `micro_batch`$"),
        ({"compile": True, "detect_anomaly": True}, "leave out `compile` or `detect_anomaly`$"),
        ({"compile": True, "reference": True, "micro_batch": 1}, "leave out `compile` or `reference` and `micro_batch`$"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options, message):
    with pytest.raises(GccError, match=message):
        RunConfig(**options)


@pytest.mark.parametrize("options", [{"reference": True, "amp": "off"}, {"reference": True, "micro_batch": 2, "detect_anomaly": True}])
def test_other_options_combine(options):
    RunConfig(**options)


@pytest.mark.parametrize(
    ("name", "value", "choices", "expected"),
    [
        ("amp", "fp32", ("auto", "bf16", "fp16", "off"), "'auto', 'bf16', 'fp16' or 'off'"),
        ("on_collapse", "ignore", ("warn", "stop", "rollback"), "'warn', 'stop' or 'rollback'"),
        ("on_nan", "warn", ("stop", "rollback"), "'stop' or 'rollback'"),
    ],
)
def test_a_choice_names_its_values(name, value, choices, expected):
    with pytest.raises(GccError, match=f"^{name} = '{value}': expected {expected}$"):
        RunConfig(**{name: value})
    assert choices_of(name) == choices and choices_of("device") == ()


@pytest.mark.parametrize(("name", "value", "minimum"), [("micro_batch", 0, 1), ("workers", -1, 0)])
def test_a_number_has_a_minimum(name, value, minimum):
    with pytest.raises(GccError, match=f"^{name} = {value}: expected a whole number from {minimum} up$"):
        RunConfig(**{name: value})


def test_paths_may_be_text():
    config = RunConfig(data="images", widths="student")
    assert (config.data, config.widths, config.weights) == (Path("images"), Path("student"), {})


def test_the_options_of_a_run_are_split_from_recipe_fields():
    assert RunConfig.split({"workers": 2, "epochs": 3}) == (RunConfig(workers=2), {"epochs": 3})


def test_the_old_name_of_the_reference_mode_still_works():
    with pytest.warns(FutureWarning, match="the option plain is now called reference"):
        config, settings = RunConfig.split({"plain": True, "workers": 2})
    assert config == RunConfig(reference=True, workers=2) and settings == {}


def test_recipe_options_are_the_fields_of_every_recipe():
    # Sizes and ranges may have several forms, and a discriminator of one's own takes the place of the field.
    others = {"size": int | str | tuple[int, int], "range": str | tuple[float, float] | None}
    others["discriminator"] = fields(Recipe)["discriminator"] | nn.Module
    assert typing.get_type_hints(RecipeOptions) == fields(Recipe) | others


def test_run_options_are_the_fields_of_a_run_except_its_data():
    own = {
        name: hint
        for name, hint in typing.get_type_hints(RunOptions).items()
        if name not in fields(Recipe) | NetworkOptions.__annotations__
    }
    expected = typing.get_type_hints(RunConfig)
    assert own.keys() == {option.name for option in dataclasses.fields(RunConfig)} - {"data"}
    # Paths may be given as text.
    for name in ("widths", "student"):
        assert own.pop(name) == str | expected[name]
    assert own == {name: expected[name] for name in own}
