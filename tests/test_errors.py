"""The exception tree and the suggestions."""

import inspect

import pytest

from gcc import errors


def test_every_error_is_a_gcc_error():
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BaseException)]
    found = [kind for kind in classes if not issubclass(kind, Warning)]
    assert len(found) >= 8
    assert all(issubclass(kind, errors.GccError) for kind in found)
    assert not issubclass(errors.GccError, OSError | ValueError)
    assert all(kind.__doc__ for kind in found)


def test_a_suggestion_names_what_is_close():
    assert errors.suggestion("slimmin", ["l1", "slimming"]) == " (did you mean 'slimming'?)"
    assert errors.suggestion("lr_x", ["lr_g", "lr_d", "epochs"]) in (
        " (did you mean 'lr_g' or 'lr_d'?)",
        " (did you mean 'lr_d' or 'lr_g'?)",
    )


def test_a_suggestion_lists_everything_when_nothing_is_close():
    assert errors.suggestion("zzz", ["slimming", "l1"]) == " (known: l1, slimming)"
    assert errors.suggestion("zzz", []) == " (there are none)"
    assert errors.suggestion("tensorrt", ["onnx", "safetensors"]) == " (known: onnx, safetensors)"


def test_a_suggestion_takes_any_iterable_once():
    assert errors.suggestion("slim", iter(["l1", "slimming"])) == " (did you mean 'slimming'?)"


def test_the_old_name_of_suggestion_still_works():
    with pytest.warns(DeprecationWarning, match="gcc.errors.near is now called suggestion"):
        assert errors.near("slim", ["slimming"]) == errors.suggestion("slim", ["slimming"])
    with pytest.raises(AttributeError, match="no attribute 'far'"):
        errors.far  # noqa: B018
