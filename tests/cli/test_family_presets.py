"""A family's own presets, on the command line."""

import pytest

from gcc.cli.settings import teacher_and_settings
from gcc.errors import RecipeError
from gcc.models.pix2pix import Pix2Pix
from gcc.registry.presets import Preset

OPTIONS = {"recipe": None, "arch": "pix2pix", "size": None, "assignments": (), "teacher": None, "generator": None}


def test_the_presets_of_the_family_are_taken_beside_those_of_all(monkeypatch):
    monkeypatch.setattr(Pix2Pix, "presets", {"small": Preset("a tenth", {"budget": "10%"})})
    assert teacher_and_settings(OPTIONS | {"preset": "small"})[1] == {"budget": "10%"}
    assert teacher_and_settings(OPTIONS | {"preset": "no-global"})[1]["lambda_global"] == 0.0
    with pytest.raises(RecipeError, match=r"unknown preset 'smal' \(did you mean 'small'\?\)"):
        teacher_and_settings(OPTIONS | {"preset": "smal"})
    with pytest.raises(RecipeError, match="unknown preset 'small'"):
        teacher_and_settings(OPTIONS | {"arch": "sagan", "preset": "small"})
