"""Recipes of tiny families with other channels than RGB."""

from gcc.recipe import changed
from gcc.registry import ARCHITECTURES
from tests.helpers.families import TINY


def recipe_of(arch, **settings):
    return changed(ARCHITECTURES.load(arch).published(), {**TINY[arch], **settings})
