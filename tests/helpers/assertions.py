"""Code with assertions, in a module whose `assert` statements pytest does not rewrite."""

import torch


def asserted(x):
    assert x.sum() > 0
    assert not torch.isnan(x).any(), "not a number"
    assert (
        x.abs().max() < 100
    ), "large"  # fmt: skip
    assert(x.max() < 100)  # fmt: skip
    assert x.ndim == 4 and (x >= 0).all()
    assert not (x < 0).any() and not (x > 5).all(), f"{x.shape}"
    assert x.ndim == 3 or (x > 1).all()
    assert (x > 7).all() or not (x > 6).all()
    return "passed"


def branch_after(x):
    assert x.ndim == 4; return 1 if x.mean() > 0 else 2  # fmt: skip  # noqa: E702


def branch_before(x):
    if x.mean() > 0:
        assert x.ndim == 4, "four dimensions"
