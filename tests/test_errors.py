"""The exception tree and the suggestions."""

import inspect

from gcc import errors


def test_every_error_is_a_gcc_error():
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BaseException)]
    assert len(found) >= 8
    assert all(issubclass(kind, errors.GccError) for kind in found)
    assert not issubclass(errors.GccError, OSError | ValueError)
    assert all(kind.__doc__ for kind in found)


def test_near_suggests_what_is_close():
    assert errors.near("slimmin", ["l1", "slimming"]) == " (did you mean 'slimming'?)"
    assert errors.near("lr_x", ["lr_g", "lr_d", "epochs"]) in (" (did you mean 'lr_g' or 'lr_d'?)", " (did you mean 'lr_d' or 'lr_g'?)")


def test_near_lists_everything_when_nothing_is_close():
    assert errors.near("zzz", ["slimming", "l1"]) == " (known: l1, slimming)"
    assert errors.near("zzz", []) == " (there are none)"


def test_near_takes_any_iterable_once():
    assert errors.near("slim", iter(["l1", "slimming"])) == " (did you mean 'slimming'?)"
