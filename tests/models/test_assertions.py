"""Assertions about tensors without values."""

import pytest
import torch

from gcc.models.assertions import PassedAssertions
from tests.helpers.assertions import asserted, branch_after, branch_before


def test_assertions_pass():
    with PassedAssertions():
        assert asserted(torch.empty(1, 2, 3, 4, device="meta")) == "passed"


@pytest.mark.parametrize("code", [branch_after, branch_before])
def test_branches_are_not_decided(code):
    with PassedAssertions(), pytest.raises(RuntimeError, match="item"):
        code(torch.empty(1, 2, 3, 4, device="meta"))


def test_an_assertion_that_fails_for_its_shape_fails():
    with PassedAssertions(), pytest.raises(AssertionError):
        asserted(torch.empty(2, device="meta"))
