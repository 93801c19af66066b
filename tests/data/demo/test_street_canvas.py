import numpy as np
import pytest

from gcc.data.demo.streets.canvas import EYE, FOCAL, Canvas
from gcc.data.demo.streets.scene import draw_scene


def test_points_appear_where_they_lie():
    scene = draw_scene(np.random.default_rng(0))
    canvas = Canvas(scene, 400)
    where, x, y = canvas.upright(1.0, 10.0, -0.5, 0.5, 2.0)
    assert abs(x).max() < 0.5 + 0.03 and y.min() > -0.03 and y.max() < 2.03
    assert canvas.v[where[0]][-1] == pytest.approx(FOCAL * EYE / 10, abs=2 / 400)
    assert canvas.upright(99.0, 10.0, -0.5, 0.5, 2.0) is None
