from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

import gcc
from gcc.errors import GccError
from gcc.utils.arguments import checked_arguments, require_kind


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, int),
        (1, float),
        (1.5, float),
        (True, bool),
        ("x", str),
        ("x", str | Path),
        (Path("x"), str | Path | None),
        (None, str | Path | None),
        ("exact", Literal["exact", "paper"]),
        ((), Collection[str]),
        (["a"], Collection[str]),
        ((1, 2), Sequence[int]),
        ({"a": "b"}, Mapping[str, str | Path]),
        ((1, "a"), tuple[int, str]),
        ((), tuple[int, ...]),
        ((1, 2, 3), tuple[int, ...]),
        (nn.ReLU(), nn.Module),
        (object(), Any),
    ],
)
def test_values_that_fit(value, kind):
    require_kind("x", value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("1", int, "x = '1': expected a whole number"),
        (True, int, "x = True: expected a whole number"),
        (1.5, int, "x = 1.5: expected a whole number"),
        (1, bool, "x = 1: expected True or False"),
        (3, str | Path | None, "x = 3: expected a path or None"),
        ("both", Literal["exact", "paper"], "x = 'both': expected 'exact' or 'paper'"),
        (1, Literal[True], "x = 1: expected True"),
        ("layers", Collection[str], "x = 'layers': expected a collection with a string as its items"),
        ([3], Collection[str], "x = [3]: expected a collection with a string as its items"),
        ({"a": 3}, Mapping[str, str], "x = {'a': 3}: expected a mapping with a string and a string as its items"),
        ((1, 2, 3), tuple[int, int], "x = (1, 2, 3): expected a tuple of a whole number and a whole number"),
        ([1], tuple[int, ...], "x = [1]: expected a tuple of a whole number and so on"),
        (3, nn.Module, "x = 3: expected an object of type Module"),
        (
            Fraction,
            Fraction | None,
            "x = <class 'fractions.Fraction'>: expected an object of type Fraction or None; call the class: x = Fraction(...)",
        ),
        (25, str, "x = 25: expected a string"),
        ((0.5,), Sequence[int], "x = (0.5,): expected a sequence with a whole number as its items"),
    ],
)
def test_values_that_do_not(value, kind, message):
    with pytest.raises(GccError) as error:
        require_kind("x", value, kind)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "value", "kind", "meant"),
    [("budget", 0.25, str | None, "25%"), ("budget", 25, str | None, "25%"), ("budgets", [0.1, 0.25], Sequence[str], "10%")],
)
def test_a_number_as_a_budget_suggests_a_share(name, value, kind, meant):
    with pytest.raises(GccError, match=rf"{name} = .*: expected .*string.* \(did you mean '{meant}'\?\)$"):
        require_kind(name, value, kind)


@pytest.mark.parametrize("call", [gcc.load, gcc.export, lambda module: [*gcc.bench("x", module)]])
def test_a_module_in_place_of_its_folder_is_refused_with_what_suits_it(call):
    with pytest.raises(GccError, match=r"expected a path.* of a saved generator; for your own module, `gcc\.prune` returns"):
        call(nn.ReLU())


def test_a_message_has_one_line():
    with pytest.raises(GccError) as error:
        require_kind("x", torch.zeros(3, 3), str)
    assert "\n" not in str(error.value)


def test_a_function_keeps_its_name_and_its_own_errors():
    @checked_arguments
    def half(value: int, *others: int, **options: str) -> float:
        """Return half."""
        return value / 2

    assert half(3, "any", name=3) == 1.5 and half.__name__ == "half" and half.__doc__ == "Return half."
    with pytest.raises(TypeError, match="missing"):
        half()
