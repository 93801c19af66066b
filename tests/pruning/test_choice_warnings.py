import warnings

import pytest
import torch
from torch import nn

import gcc
from gcc.errors import PruningWarning
from gcc.pruning.choice_warnings import warn_of_narrow_layers, warn_of_ties, warn_of_unranked_layers

IMAGE = torch.zeros(1, 3, 8, 8)


@pytest.mark.parametrize(
    ("widths", "expected"),
    [
        ({"a": 3, "b": 100}, "leaves few channels: a 3 of 32; "),
        ({"a": 4, "b": 0}, "generator G removes the levels b; "),
        ({"a": 1, "b": 0}, "leaves few channels: a 1 of 32, and removes the levels b; "),
        ({"a": 4, "b": 10}, None),
    ],
)
def test_narrow_layers_and_levels_that_vanish_are_reported(recwarn, widths, expected):
    warnings.simplefilter("always", PruningWarning)
    warn_of_narrow_layers({"a": 32, "b": 100}, widths, "generator G")
    assert [expected in str(warning.message) for warning in recwarn] == ([True] if expected else [])
    assert all(warning.filename == __file__ for warning in recwarn)


@pytest.mark.parametrize(
    ("scores", "widths", "ties"),
    [
        ({"a": [1, 1, 1, 1], "b": [1, 1, 1, 1]}, {"a": 1, "b": 4}, "removes 3 channels, 3 of them with the same score"),
        ({"a": [1, 1, 1, 1], "b": [2, 1, 3, 0.5]}, {"a": 1, "b": 2}, "removes 5 channels, 4 of them with the same score"),
        ({"a": [1, 2, 3, 4], "b": [2, 4, 6, 8]}, {"a": 1, "b": 4}, None),
        ({"a": [0, 0, 0, 4], "b": [2, 2, 6, 8]}, {"a": 1, "b": 4}, None),
        ({"a": [1, 1, 1, 1], "b": None}, {"a": 4, "b": 4}, None),
    ],
)
def test_a_choice_among_equal_scores_is_reported(recwarn, scores, widths, ties):
    warnings.simplefilter("always", PruningWarning)
    warn_of_ties({name: None if score is None else torch.tensor(score) for name, score in scores.items()}, widths, "generator G")
    assert [ties in str(warning.message) and "metric l1" in str(warning.message) for warning in recwarn] == ([True] if ties else [])


def test_layers_that_a_metric_cannot_rank_are_reported(recwarn):
    warn_of_unranked_layers({"a": torch.ones(2)}, "generator G")
    assert not recwarn
    with pytest.warns(PruningWarning, match=r"keeps all channels of the layers 0, 1, 2, 3, and 2 more, .*metric l1"):
        warn_of_unranked_layers({str(number): None for number in range(6)}, "generator G")


def test_pruning_reports_both():
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU()), *(nn.Conv2d(8, 8, 1), nn.ReLU()), *(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)),
        nn.Conv2d(8, 3, 1),
    )  # fmt: skip
    with pytest.warns(PruningWarning) as warned:
        gcc.prune(network, IMAGE, "slimming", "60%")
    texts = " ".join(str(warning.message) for warning in warned)
    assert "with the same score" in texts and "of the layers 3," in texts and {warning.filename for warning in warned} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gcc.prune(network, IMAGE, "l1", "60%")
