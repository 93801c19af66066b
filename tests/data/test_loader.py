import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcc.data.loader import Loader, add_z, in_order, steps_per_epoch
from gcc.errors import DataError
from gcc.registry.dataset import DatasetSource

CPU = torch.device("cpu")


class Numbers(DatasetSource):
    """Its sample is the index, what the generator drew, and the number of threads of the process that read it."""

    samples = "numbers"

    def __init__(self, count, bad=()):
        self.count = count
        self.bad = bad

    @classmethod
    def matches(cls, root):
        return False

    def __len__(self):
        return self.count

    def sample(self, index, random):
        if index in self.bad:
            raise DataError(f"cannot read the image {index}.png: it is truncated")
        return {
            "index": torch.tensor(index),
            "drawn": torch.tensor(0.0 if random is None else random.random()),
            "threads": torch.tensor(torch.get_num_threads()),
        }

    def check(self):
        return [(index, "bad") for index in self.bad]

    def drop(self, bad):
        return self


def no_z(random):
    return None


def draw_z(random):
    return torch.from_numpy(random.standard_normal(3, dtype=np.float32))


def loader(count=11, batch_size=3, seed=1, workers=0, bad=()):
    return Loader(Numbers(count, bad), no_z, batch_size=batch_size, seed=seed, device=CPU, workers=workers)


def read(batches):
    return [(batch["index"].tolist(), batch["drawn"].tolist()) for batch in batches]


@given(count=st.integers(1, 40), batch_size=st.integers(1, 12))
def test_batches_are_whole_unless_there_is_but_one(count, batch_size):
    batches = read(loader(count, batch_size).batches(1, 0))
    assert len(batches) == steps_per_epoch(Numbers(count), batch_size) == max(1, count // batch_size)
    assert {len(indices) for indices, _ in batches} == {min(count, batch_size)}
    all_indices = [index for indices, _ in batches for index in indices]
    assert len(set(all_indices)) == len(all_indices) and set(all_indices) <= set(range(count))


@given(epoch=st.integers(1, 9), stream=st.integers(0, 3), start=st.integers(0, 5))
def test_an_epoch_can_be_taken_up_anywhere(epoch, stream, start):
    assert read(loader().batches(epoch, stream, start)) == read(loader().batches(epoch, stream))[start:]


def test_seed_stream_and_epoch_matter():
    runs = [read(loader(seed=seed).batches(epoch, stream)) for seed in (1, 2) for epoch in (1, 2) for stream in (0, 1)]
    assert all(one != other for number, one in enumerate(runs) for other in runs[:number])


def test_two_streams_run_side_by_side():
    both = loader()
    assert [read([first])[0] + read([second])[0] for first, second in zip(both.batches(1, 0), both.batches(1, 1), strict=True)] == [
        first + second for first, second in zip(read(loader().batches(1, 0)), read(loader().batches(1, 1)), strict=True)
    ]


def test_the_random_state_of_torch_is_left_alone():
    state = torch.get_rng_state()
    read(loader().batches(1, 0))
    assert torch.equal(torch.get_rng_state(), state)


# From Python 3.12 on, a fork of a process with threads warns; the worker processes use none.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_change_nothing_and_use_one_thread():
    alone, helped = loader(), loader(workers=2)
    for epoch in (1, 2):
        for stream in (0, 1):
            assert read(helped.batches(epoch, stream)) == read(alone.batches(epoch, stream))
    abandoned = helped.batches(3, 0)
    next(abandoned)
    batches = list(helped.batches(4, 0, start=1))
    assert read(batches) == read(alone.batches(4, 0, start=1))
    assert all((batch["threads"] == 1).all() for batch in batches)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_sample_surfaces_as_its_one_line(workers):
    with pytest.raises(DataError) as error:
        read(loader(workers=workers, bad={4}).batches(1, 0))
    assert str(error.value) == "cannot read the image 4.png: it is truncated"


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()], ids=["reset", "end"])
def test_a_worker_that_dies_while_it_sends_a_batch(error, monkeypatch):
    class Loader:
        num_workers = 1

        def __iter__(self):
            yield {"index": torch.zeros(1)}
            raise error

    monkeypatch.setattr("gcc.data.loader._data_loader", lambda *arguments: Loader())
    received = in_order(Numbers(2), no_z, [0, 1], 1, CPU, workers=1)
    assert next(received)
    with pytest.raises(DataError, match="a process that reads images was killed"):
        next(received)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_connection_that_a_source_lost_is_not_blamed_on_a_worker(workers):
    class Remote(Numbers):
        def sample(self, index, random):
            raise ConnectionRefusedError("the bucket refused")

    with pytest.raises(ConnectionRefusedError, match="the bucket refused"):
        next(in_order(Remote(1), no_z, [0], 1, CPU, workers=workers))


def test_a_source_without_samples():
    with pytest.raises(DataError, match="no samples"):
        loader(count=0)


def test_in_order_gives_every_sample_once_and_not_augmented():
    assert read(in_order(Numbers(5), no_z, range(5), 2, CPU)) == [([0, 1], [0, 0]), ([2, 3], [0, 0]), ([4], [0])]
    with pytest.raises(DataError, match=r"1\.png"):
        read(in_order(Numbers(5, bad={1}), no_z, range(5), 2, CPU))


def seed_of_sample(index):
    """Return the seed of a sample's augmentation for seed 1, stream 1 and epoch 2."""
    return (1, 1, 2, index) if index else (1, 1, 2, 0, 1)


def test_augmentation_is_drawn_for_each_sample():
    ((indices, drawn),) = read(loader(count=4, batch_size=4).batches(2, 1))
    assert drawn == pytest.approx([np.random.default_rng(seed_of_sample(index)).random() for index in indices])


class Draws(Numbers):
    """Its sample is the first numbers that its generator draws."""

    def sample(self, index, random):
        return {"drawn": torch.from_numpy(random.integers(1 << 62, size=2))}


@settings(max_examples=30, deadline=None)
@given(seed=st.one_of(st.integers(0, 9), st.integers(1 << 32, 2**63 - 1)), epoch=st.integers(1, 9))
def test_no_two_random_streams_are_equal(seed, epoch):
    numbers = Loader(Draws(4), no_z, batch_size=4, seed=seed, device=CPU)
    orders = [tuple(np.random.default_rng((seed, stream, epoch)).integers(1 << 62, size=2)) for stream in (0, 1)]
    drawn = [tuple(row) for stream in (0, 1) for batch in numbers.batches(epoch, stream) for row in batch["drawn"].tolist()]
    assert len({*orders, *drawn}) == 10


def test_random_input_is_drawn_after_the_augmentation_by_the_same_generator():
    (batch,) = Loader(Numbers(4), draw_z, batch_size=4, seed=1, device=CPU).batches(2, 1)
    for index, drawn, z in zip(batch["index"].tolist(), batch["drawn"], batch["z"], strict=True):
        random = np.random.default_rng(seed_of_sample(index))
        assert drawn == pytest.approx(random.random()) and torch.equal(z, draw_z(random))


def test_random_input_of_a_sample_that_is_not_augmented_depends_on_its_index():
    (batch,) = in_order(Numbers(5), draw_z, [3, 1], 2, CPU)
    assert all(torch.equal(z, draw_z(np.random.default_rng(index))) for index, z in zip((3, 1), batch["z"], strict=True))
    assert torch.equal(add_z({}, draw_z, np.random.default_rng(3))["z"], batch["z"][0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only for a GPU are batches pinned and copied aside of the step")
def test_batches_reach_the_gpu():
    batches = Loader(Numbers(5), no_z, batch_size=2, seed=0, device=torch.device("cuda")).batches(1, 0)
    assert all(value.device.type == "cuda" for batch in batches for value in batch.values())
