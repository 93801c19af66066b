"""The fewest layers stay in float32 that keep the loss of int8 small."""

import json
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcc.deploy.mixed_precision import quantize_within
from gcc.deploy.quality import Loss, Samples
from gcc.errors import GccError


class Additive:
    """A runtime in whose files every layer in int8 costs a known number of dB."""

    def __init__(self, costs):
        self.costs = costs

    def layers(self, exact):
        return list(self.costs)

    def quantize(self, exact, path, samples, keep):
        path.write_text(json.dumps([layer for layer in self.costs if layer not in keep]))

    def measure(self, path):
        return Loss(0.0, 0.0, 0.0, float(sum(self.costs[layer] for layer in json.loads(path.read_text()))), True, "")


def kept_by(costs, path, max_loss):
    runtime, lines = Additive(costs), []
    kept = quantize_within(runtime, path / "exact", path / "out", Samples([], [], None, ""), runtime.measure, max_loss, lines.append)
    return kept, runtime.measure(path / "out").drop, lines


@given(st.lists(st.integers(1, 50), min_size=2, max_size=6), st.integers(1, 100))
def test_the_fewest_layers_are_kept(tmp_path_factory, numbers, max_loss):
    costs = {f"layer{index}": cost for index, cost in enumerate(numbers)}
    enough = [
        len(kept)
        for size in range(len(costs))
        for kept in combinations(costs, size)
        if sum(cost for layer, cost in costs.items() if layer not in kept) <= max_loss
    ]
    if not enough:
        with pytest.raises(GccError, match=rf"with any layer in int8 \({min(numbers)}.000 dB at least\)"):
            kept_by(costs, tmp_path_factory.mktemp("run"), max_loss)
    else:
        kept, loss, _ = kept_by(costs, tmp_path_factory.mktemp("run"), max_loss)
        assert len(kept) == min(enough) and loss <= max_loss


def test_without_a_limit_nothing_is_searched(tmp_path):
    assert kept_by({"a": 5.0, "b": 7.0}, tmp_path, None) == ([], 12.0, [])


def test_every_measurement_is_reported(tmp_path):
    kept, _, lines = kept_by({"first": 0.1, "last": 0.4}, tmp_path, 0.2)
    assert kept == ["last"]
    assert lines[0] == "int8 in all 2 layers costs 0.500 dB, more than 0.2 dB: measuring each layer"
    assert "2 of 2: last alone costs 0.400 dB" in lines and lines[-1] == "with 1 layer in float32 it costs 0.100 dB"
