import pytest
import torch

from gcc.training.image_pool import ImagePool


def image(value):
    return torch.full((1, 3, 2, 2), float(value))


def test_without_capacity_images_are_returned_as_they_are():
    images = torch.rand(4, 3, 2, 2)
    assert ImagePool(0, seed=0).query(images) is images


def test_a_pool_is_filled_first():
    pool = ImagePool(3, seed=0)
    batch = torch.cat([image(value) for value in range(3)])
    assert torch.equal(pool.query(batch), batch) and len(pool.images) == 3


def test_a_full_pool_exchanges_half_of_the_images_and_loses_none():
    pool = ImagePool(50, seed=1)
    returned = [pool.query(image(value))[0, 0, 0, 0].item() for value in range(2000)]
    stored_values = {stored[0, 0, 0].item() for stored in pool.images}
    assert sorted([*returned[50:], *stored_values]) == [float(value) for value in range(2000)]
    new = sum(value == number for number, value in enumerate(returned[50:], start=50)) / 1950
    assert new == pytest.approx(0.5, abs=0.05)


def test_the_seed_decides():
    def returned(seed):
        pool = ImagePool(2, seed)
        return [pool.query(image(value))[0, 0, 0, 0].item() for value in range(30)]

    assert returned(0) == returned(0) != returned(1)


def test_images_of_another_precision_are_returned_in_the_present_one():
    pool, later = ImagePool(2, seed=0), ImagePool(2, seed=0)
    pool.query(torch.cat([image(1), image(2)]).bfloat16())
    later.load_state_dict(pool.state_dict(), torch.device("cpu"))
    returned = [later.query(image(value)) for value in range(3, 20)]
    assert {images.dtype for images in returned} == {torch.float32}
    assert {1.0, 2.0} <= {images[0, 0, 0, 0].item() for images in returned}
