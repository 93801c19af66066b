"""What the check of a contract tells of a class."""

import pytest
import torch

from gcc.errors import PluginError
from gcc.registry import (
    Architecture,
    DatasetSource,
    Evaluator,
    ImageEvaluator,
    ImportanceMetric,
    LayerSelector,
    SetEvaluator,
    implements,
    no_gate,
)

CONTRACTS = [Architecture, ImageEvaluator, SetEvaluator, ImportanceMetric, LayerSelector, DatasetSource]


def complete(contract, **members):
    body = {name: (lambda *_: None) for name in contract.__abstractmethods__}
    declared = {"samples": "x", "demo_source": "y", "larger_is_better": True, "extractor": object, "l1_strength": 1.0}
    return type("Plugin", (contract,), body | declared | members)


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_complete_class_passes(contract):
    assert implements(contract)(complete(contract)) is None


@pytest.mark.parametrize("name", ["sample_z", "latent"])
def test_a_family_that_draws_random_input_takes_noise_whatever_it_calls_the_method(name):
    assert complete(Architecture, **{name: lambda self, random: torch.zeros(3)})(None).takes_noise
    assert not complete(Architecture)(None).takes_noise


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_missing_method_is_named(contract):
    class Bare(contract):
        pass

    with pytest.raises(PluginError) as caught:
        implements(contract)(Bare)
    assert contract.__abstractmethods__
    assert all(name in str(caught.value) for name in contract.__abstractmethods__)
    assert "Bare" in str(caught.value) and contract.__name__ in str(caught.value)


@pytest.mark.parametrize(
    ("contract", "attribute"),
    [
        (Architecture, "samples"),
        (Architecture, "demo_source"),
        (ImportanceMetric, "l1_strength"),
        (ImageEvaluator, "larger_is_better"),
        (SetEvaluator, "larger_is_better"),
        (SetEvaluator, "extractor"),
        (DatasetSource, "samples"),
    ],
)
def test_every_missing_attribute_is_named(contract, attribute):
    plugin = complete(contract)
    delattr(plugin, attribute)
    with pytest.raises(PluginError, match=attribute):
        implements(contract)(plugin)


def test_attributes_with_a_default_may_be_left_out():
    assert complete(Architecture).generators == ("G",)
    implements(Architecture)(complete(Architecture))


@pytest.mark.parametrize("thing", [3, None, "Architecture", dict, object(), lambda: None])
def test_what_is_no_subclass_is_refused_by_its_full_name(thing):
    with pytest.raises(PluginError, match="gcc.registry.architecture.Architecture"):
        implements(Architecture)(thing)


def test_one_of_several_contracts_is_enough_and_none_is_too_little():
    check = implements(ImageEvaluator, SetEvaluator)
    check(complete(ImageEvaluator))
    check(complete(SetEvaluator))
    with pytest.raises(PluginError, match="ImageEvaluator or gcc.registry.evaluator.SetEvaluator"):
        check(complete(Evaluator))


def test_an_instance_is_no_plugin():
    with pytest.raises(PluginError):
        implements(LayerSelector)(complete(LayerSelector)())


def test_no_gate_is_an_identity_without_weights():
    gate = no_gate(3)
    features = torch.randn(1, 3, 2, 2)
    assert gate(features) is features and not list(gate.parameters())


def test_an_architecture_has_no_task_losses_by_default():
    assert Architecture.task_losses(None, {}, {}, {}) == Architecture.data_losses(None, {}, {}) == {}
