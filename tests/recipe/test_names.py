import pytest

import gcc.recipe


@pytest.mark.parametrize(("old", "new"), gcc.recipe.RENAMED_CONSTANTS.items())
def test_constants_are_found_by_their_old_names(old, new):
    with pytest.warns(DeprecationWarning, match=f"gcc.recipe.{old} is now called {new}"):
        assert getattr(gcc.recipe, old) is getattr(gcc.recipe, new)
