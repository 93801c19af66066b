import warnings

import pytest
import torch

from gcc.training.loss_tree import StepLosses, averaged, flattened, leaves, nested
from gcc.utils.distributed import SINGLE_PROCESS

TREE = {"teacher": {"G": 1.0}, "student": {"G": 2.0, "imbalance": {"D": 3.0}}}


def test_leaves_keep_their_order_and_a_tree_can_be_built_from_them():
    assert list(flattened(TREE)) == ["teacher/G", "student/G", "student/imbalance/D"]
    assert nested(dict(leaves(TREE))) == TREE


def test_a_single_rank_averages_nothing():
    losses = {"student": {"G": torch.tensor(1.0)}}
    assert averaged(losses, SINGLE_PROCESS) is losses


def test_nested_losses_are_read_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert StepLosses(TREE)["student"]["imbalance"]["D"] == 3.0


def test_a_flat_name_of_version_0_1_still_works_and_names_the_new_form():
    losses = StepLosses(TREE)
    with pytest.warns(FutureWarning, match=r"^losses\['student/imbalance/D'\] is now called losses\['student'\]\['imbalance'\]\['D'\]$"):
        assert losses["student/imbalance/D"] == 3.0


@pytest.mark.parametrize("name", ["other", "student/other", "student/G/other"])
def test_an_unknown_name_is_an_ordinary_key_error(name):
    with pytest.raises(KeyError, match=f"^'{name}'$"):
        StepLosses(TREE)[name]
