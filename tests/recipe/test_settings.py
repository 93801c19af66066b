"""Settings of recipes as texts, mappings and TOML files."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcc.errors import RecipeError
from gcc.models.pix2pix import Pix2PixRecipe
from gcc.recipe import Recipe, changed, differences, fields, read_toml, with_new_fields

R = Pix2PixRecipe()


@dataclass(frozen=True, kw_only=True)
class Flagged(Recipe):
    flag: bool = False
    kind: Literal["a", "b"] = "a"


FLAGGED = Flagged(size=8)


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


def test_a_choice_of_numbers_is_read_from_text():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Scaled(Pix2PixRecipe):
        scale: Literal[2, 4, 8] = 4

    assert changed(Scaled(), {"scale": "8"}).scale == 8
    with pytest.raises(RecipeError, match="one of 2, 4, 8"):
        changed(Scaled(), {"scale": "3"})


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


def test_settings_of_an_earlier_version_get_the_defaults_of_new_fields():
    recipe = Pix2PixRecipe(size=256)
    saved = recipe.to_dict()
    del saved["result_epoch"]
    assert differences(with_new_fields(recipe, saved), recipe.to_dict()) == ""
    assert differences(with_new_fields(recipe, saved | {"result_epoch": "last"}), recipe.to_dict()) == "result_epoch was last and is auto"
    assert "sparsity" not in with_new_fields(recipe, saved)
