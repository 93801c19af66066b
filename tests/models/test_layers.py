"""Layers that several families share."""

import pytest
import torch
from torch import nn

from gcc.models.layers import reflected


@pytest.mark.parametrize(("before", "after"), [(1, 1), (3, 3), (0, 2), (2, 0), (4, 1)])
def test_padding_of_parts_is_torchs_with_the_same_gradient(before, after):
    image = torch.rand(2, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    pad = nn.ReflectionPad2d((before, after, before, after))
    whole = reflected(reflected(image, before, after, dim=3), before, after, dim=2)
    assert torch.equal(whole, pad(image))
    weights = torch.rand_like(whole)
    torch.testing.assert_close(*(torch.autograd.grad((made * weights).sum(), image)[0] for made in (whole, pad(image))))
