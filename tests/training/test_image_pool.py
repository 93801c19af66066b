import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gcc.training.image_pool import ImagePool


def image(value):
    return torch.full((1, 3, 2, 2), float(value))


def value_of(image):
    return image.flatten()[0].item()


def stored_in(pool):
    state = pool.state_dict()
    return state["images"][: int(state["count"])] if state else []


def test_without_capacity_images_are_returned_as_they_are():
    images = torch.rand(4, 3, 2, 2)
    assert ImagePool(0).query(images) is images


def test_a_pool_is_filled_first():
    pool = ImagePool(3)
    batch = torch.cat([image(value) for value in range(3)])
    assert torch.equal(pool.query(batch), batch) and torch.equal(stored_in(pool), batch)


def test_a_full_pool_exchanges_half_of_the_images_and_loses_none():
    torch.manual_seed(0)
    pool = ImagePool(50)
    returned = [value_of(pool.query(image(value))) for value in range(2000)]
    assert sorted([*returned[50:], *map(value_of, stored_in(pool))]) == [float(value) for value in range(2000)]
    new = sum(value == number for number, value in enumerate(returned[50:], start=50)) / 1950
    assert new == pytest.approx(0.5, abs=0.05)


@given(st.integers(1, 4), st.lists(st.integers(1, 5), max_size=6), st.integers(0, 2**31))
def test_a_pool_equals_a_list_that_exchanges_one_image_after_the_other(capacity, batches, seed):
    pool, stored, number = ImagePool(capacity), [], 0
    for size in batches:
        values = [number := number + 1 for _ in range(size)]
        torch.manual_seed(seed)
        returned = [value_of(fake) for fake in pool.query(torch.cat([image(value) for value in values]))]
        torch.manual_seed(seed)
        expected = []
        for value in values:
            is_exchanged, index = float(torch.rand(())) < 0.5, int(torch.randint(capacity, (1,)))
            if len(stored) < capacity:
                stored.append(value)
                expected.append(value)
            elif is_exchanged:
                expected.append(stored[index])
                stored[index] = value
            else:
                expected.append(value)
        assert returned == expected and list(map(value_of, stored_in(pool))) == stored


def test_the_seed_decides():
    def returned(seed):
        torch.manual_seed(seed)
        pool = ImagePool(2)
        return [value_of(pool.query(image(value))) for value in range(30)]

    assert returned(0) == returned(0) != returned(1)


def test_images_of_another_precision_are_returned_in_the_present_one():
    torch.manual_seed(0)
    pool, later = ImagePool(2), ImagePool(2)
    pool.query(torch.cat([image(1), image(2)]).bfloat16())
    later.load_state_dict(pool.state_dict(), torch.device("cpu"))
    returned = [later.query(image(value)) for value in range(3, 20)]
    assert {images.dtype for images in returned} == {torch.float32}
    assert {1.0, 2.0} <= {value_of(images) for images in returned}


def test_a_restored_pool_is_a_copy():
    pool, later = ImagePool(2), ImagePool(2)
    later.load_state_dict(pool.state_dict(), torch.device("cpu"))
    assert not len(stored_in(later))
    pool.query(image(1))
    later.load_state_dict(pool.state_dict(), torch.device("cpu"))
    pool.query(image(2))
    assert len(stored_in(pool)) == 2 and len(stored_in(later)) == 1
