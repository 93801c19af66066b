import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcc.data.demo.painting import band, noise, soft_noise, stripes


@given(start=st.floats(0, 3), width=st.floats(0.1, 2), footprint=st.floats(0.05, 9), shift=st.floats(-4, 4))
def test_stripes_are_the_mean_over_a_pixel(start, width, footprint, shift):
    period = 3.0
    fine = np.linspace(shift - footprint / 2, shift + footprint / 2, 20001)
    expected = (((fine - start) / period) % 1 < width / period).mean()
    assert stripes(np.array([shift]), period, start, width, footprint)[0] == pytest.approx(expected, abs=2e-3)


def test_a_band_covers_parts_of_pixels():
    assert band(np.array([0.0, 0.9, 1.0, 1.1, 2.0]), 1.0, 1.5, 0.4) == pytest.approx([0, 0.25, 0.5, 0.75, 0])


def test_noise_has_mean_0_and_deviation_1_and_repeats():
    x, y = np.arange(256.0)[None], np.arange(256.0)[:, None]
    whole = noise(x, y, 12345)
    assert abs(whole.mean()) < 1e-3 and whole.std() == pytest.approx(1, abs=1e-3)
    assert np.array_equal(noise(x + 256, y - 256, 12345), whole)
    assert soft_noise(x, y, 5) == pytest.approx(noise(x, y, 5))
