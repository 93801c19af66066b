import numpy as np
import pytest

from gcc.data.demo.portraits.blobs import Blob, Picture, Pose, render

BLACK, WHITE = np.zeros(3, dtype=np.float32), np.ones(3, dtype=np.float32)


def painted(blob, size=128, pose=None):
    """Return what a white blob covers of a black picture, (size, size) in [0, 1]."""
    return render(Picture(BLACK, BLACK, [], [blob], pose or Pose(), (0.0, 0.0)), size)[..., 0] / 255


@pytest.mark.parametrize("size", [16, 63, 200])
def test_blobs_cover_their_area_wherever_they_are_turned(size):
    blob = Blob(0.1, -0.2, 0.5, 0.2, WHITE, below=0.4, turn=0.7)
    for pose, zoom in ((Pose(), 1.0), (Pose(1.3, -0.4, 0.1, 0.05), 1.3)):
        assert painted(blob, size, pose).mean() * 4 == pytest.approx(np.pi * 0.5 * 0.3 * zoom**2, rel=0.02)


def test_blobs_lie_where_they_are_put_and_bend_downwards():
    rows, columns = np.nonzero(painted(Blob(0.5, -0.5, 0.2, 0.1, WHITE)) > 0.5)
    assert (columns.mean() + 0.5) / 64 - 1 == pytest.approx(0.5, abs=0.01) and (rows.mean() + 0.5) / 64 - 1 == pytest.approx(-0.5, abs=0.01)
    smile = painted(Blob(0.0, 0.0, 0.5, 0.05, WHITE, bend=1.0))
    assert smile[64, 64] == 1 and smile[64, 38] == 0 and smile[64 - 10, 64 - 26] == 1


def test_blobs_are_cut_to_others():
    left, whole = Blob(-0.5, 0.0, 0.5, 1.0, WHITE, power=5.0), Blob(0.0, 0.0, 0.5, 0.5, WHITE)
    inside, outside = (painted(Blob(0.0, 0.0, 0.5, 0.5, WHITE, **{key: (left,)})) for key in ("within", "without"))
    assert inside[:, 65:].max() == outside[:, :63].max() == 0 and np.allclose(inside + outside, painted(whole), atol=0.01)


def test_the_lit_side_of_a_round_blob_is_brighter():
    blob = Blob(0.0, 0.0, 0.5, 0.5, WHITE / 2, relief=0.5)
    lit = render(Picture(BLACK, BLACK, [], [blob], Pose(), (0.5, 0.0)), 64)[32].astype(int)
    assert (lit[42] > lit[32]).all() and (lit[32] > lit[22]).all()


def test_the_backdrop_is_a_gradient():
    image = render(Picture(BLACK, WHITE, [], [], Pose(), (0.0, 0.0)), 100)
    assert np.abs(image - (np.arange(100)[:, None, None] + 0.5) * 2.55).max() <= 0.51
