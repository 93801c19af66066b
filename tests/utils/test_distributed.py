"""Several processes that train together."""

import json

import pytest
import torch
from safetensors.torch import load_file

from gcc.errors import GccError, RecipeError
from gcc.utils.device import choose_device
from gcc.utils.distributed import SINGLE_PROCESS, Ranks, is_distributed_launch
from tests.helpers.processes import together

FAMILIES = ("pix2pix", "cyclegan", "sagan", "srgan")
APART = {"pix2pix": {"epochs": 1}, "cyclegan": {"epochs": 1, "pool_size": 3}}
"""Families with dropout and pools, of which every process draws its own."""
PLAIN = {"pix2pix": {"epochs": 1, "dropout": 0.0}}


def left(folder, name):
    return load_file(folder / f"{name}.safetensors"), json.loads((folder / f"{name}.json").read_text())


def close(some, others, tolerance):
    """Return whether nested figures agree."""
    if isinstance(some, dict):
        return some.keys() == others.keys() and all(close(some[key], others[key], tolerance) for key in some)
    if isinstance(some, list):
        return len(some) == len(others) and all(close(*pair, tolerance) for pair in zip(some, others, strict=True))
    return some == others if isinstance(some, str) else some == pytest.approx(others, rel=tolerance, abs=tolerance)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return together(1, "families", tmp_path_factory.mktemp("alone"))[0]


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_processes_end_alike_bit_for_bit_and_as_one_with_the_joined_batch(world, alone, tmp_path):
    folders = together(world, "families", tmp_path)
    for arch in FAMILIES:
        parameters, told = left(folders[0], arch)
        for folder in folders[1:]:
            others, told_by_others = left(folder, arch)
            assert told_by_others == told and others.keys() == parameters.keys()
            assert all(torch.equal(others[name], value) for name, value in parameters.items())
        expected, expected_told = left(alone, arch)
        assert told["widths"] == expected_told["widths"] and told["protocols"] == expected_told["protocols"]
        assert close(told["losses"], expected_told["losses"], 2e-6)
        assert close(told["metrics"], expected_told["metrics"], 1e-5)
        assert parameters.keys() == expected.keys()
        assert all(torch.allclose(parameters[name], value, rtol=1e-6, atol=1e-6) for name, value in expected.items())


@pytest.mark.slow
def test_a_resumed_run_of_two_processes_ends_as_one_that_never_stopped(tmp_path):
    whole = together(2, "whole", tmp_path / "whole", settings=APART)
    together(2, "stopped", tmp_path / "stopped", settings=APART, after=3)
    resumed = together(2, "resumed", tmp_path / "resumed", settings=APART, checkpoints=str(tmp_path / "stopped"))
    for arch in APART:
        for straight, stopped in zip(whole, resumed, strict=True):
            parameters, _ = left(straight, arch)
            assert all(torch.equal(value, parameters[name]) for name, value in left(stopped, arch)[0].items())


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes_but_not_with_filled_pools(tmp_path):
    settings = PLAIN | {"cyclegan": APART["cyclegan"]}
    together(2, "stopped", tmp_path / "stopped", settings=settings, after=3)
    straight, _ = left(together(1, "whole", tmp_path / "whole", settings=PLAIN)[0], "pix2pix")
    for world in (1, 4):
        folders = together(world, "resumed", tmp_path / str(world), settings=PLAIN, checkpoints=str(tmp_path / "stopped"))
        resumed, _ = left(folders[0], "pix2pix")
        assert all(torch.allclose(resumed[name], value, rtol=1e-6, atol=1e-6) for name, value in straight.items())
    pooled = {"settings": {"cyclegan": APART["cyclegan"]}, "checkpoints": str(tmp_path / "stopped")}
    with pytest.raises(AssertionError, match="had 2 processes, each with separate image pools, .* give it 2"):
        together(1, "resumed", tmp_path / "pooled", **pooled)


@pytest.mark.parametrize(("samples", "world"), [(4, 1), (4, 2), (12, 3)])
def test_shares_are_equal_and_together_the_batch(samples, world):
    batch = list(range(samples))
    shares = [batch[Ranks(rank, world).shard(samples)] for rank in range(world)]
    assert sum(shares, []) == batch and {len(share) for share in shares} == {samples // world}


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(RecipeError, match="batches of 5 cannot be shared by 2 processes: give a `batch_size` that is a multiple of 2"):
        Ranks(1, 2).shard(5)


@pytest.mark.parametrize(("count", "world"), [(0, 2), (1, 4), (10, 3), (12, 4)])
def test_parts_are_disjoint_complete_and_even(count, world):
    parts = [Ranks(rank, world).shard_items(list(range(count))) for rank in range(world)]
    assert sum(parts, []) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.slow
def test_objects_come_from_the_main_process_and_gather_there(tmp_path):
    for rank, folder in enumerate(together(2, "objects", tmp_path)):
        tensors, received = left(folder, "objects")
        assert received == {"sent": {"rank": 0, "none": None, "list": [0.1]}, "largest": [1, 0]}
        assert {name: len(tensor) for name, tensor in tensors.items()} == ({} if rank else {"0": 1, "1": 2})


@pytest.mark.slow
def test_a_segmenter_trains_in_the_main_process_for_all(tmp_path):
    (alone,) = together(1, "segmenters", tmp_path / "alone")
    expected, facts = left(alone, "segmenter")
    assert facts["trained"] == 1
    for rank, folder in enumerate(together(2, "segmenters", tmp_path / "two")):
        tensors, reported = left(folder, "segmenter")
        assert reported == facts | {"trained": 1 - rank}
        assert tensors.keys() == expected.keys() and all(torch.equal(expected[name], tensor) for name, tensor in tensors.items())


@pytest.mark.slow
def test_the_main_process_alone_measures_latencies(tmp_path):
    main, other = (left(folder, "latencies")[1] for folder in together(2, "latencies", tmp_path / "held", budget="40ms@cpu"))
    assert main["timed"] > 2 and other["timed"] == 0
    assert main["widths"] and main["widths"] == other["widths"]
    assert 30 < main["reported"]["student"] <= 40 and main["reported"] == other["reported"]

    main, other = (left(folder, "latencies")[1] for folder in together(2, "latencies", tmp_path / "refused", budget="0.1ms@cpu"))
    assert main["reported"].startswith("budget 0.1 ms") and other["timed"] == 0
    assert other["reported"].startswith("the main process failed: budget 0.1 ms")


@pytest.mark.slow
def test_a_failure_of_the_main_process_is_raised_in_all_which_then_still_agree(tmp_path):
    main, other = (left(folder, "failures")[1] for folder in together(2, "failures", tmp_path))
    assert main == {"messages": ["ValueError: no room\nat line 3"] * 2, "calls": ["function", "function", "value"], "value": {"rank": 0}}
    assert other == {"messages": ["RunError: the main process failed: no room"] * 2, "calls": [], "value": {"rank": 0}}


def test_a_single_process_computes_and_fails_as_usual():
    assert SINGLE_PROCESS.compute_on_main_process(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        SINGLE_PROCESS.compute_on_main_process(lambda: 1 // 0)


def test_alone_nothing_is_sent():
    state = {"a": torch.ones(2), "b": [1, "c"]}
    assert (
        SINGLE_PROCESS.broadcast_object(state) is state
        and SINGLE_PROCESS.gather_object(state) == [state]
        and SINGLE_PROCESS.all_reduce_max(1, 2) == [1, 2]
    )
    assert (
        SINGLE_PROCESS.all_reduce_mean(state) is state
        and SINGLE_PROCESS.differentiable_mean(state["a"]) is state["a"]
        and SINGLE_PROCESS.seed_name("pool") == "pool"
    )


def test_names_of_uses_are_those_of_a_single_process_in_the_first_one_and_differ_in_the_others():
    names = [Ranks(rank, 4).seed_name("train 1") for rank in range(4)]
    assert names[0] == "train 1" and len(set(names)) == 4


def in_the_way_of_torchrun(monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)


def test_one_gpu_named_for_several_processes_is_refused(monkeypatch):
    in_the_way_of_torchrun(monkeypatch)
    with pytest.raises(GccError, match='each process of a run uses a different GPU: omit `device="cuda:1"`'):
        choose_device("cuda:1")


def test_a_process_knows_whether_it_is_one_of_several(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert not is_distributed_launch()
    in_the_way_of_torchrun(monkeypatch)
    assert is_distributed_launch()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not is_distributed_launch()
