"""Plugins that were written for version 0.1 still work, and are shown what to rename."""

import sys
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import gcc.recipe
import gcc.registry.contracts
from gcc import testing
from gcc.cli.errors import warnings_as_lines
from gcc.errors import RecipeError
from gcc.models.pix2pix import Pix2Pix, Pix2PixRecipe
from gcc.pruning.importance import Slimming
from gcc.recipe import Recipe, changed, fields
from gcc.registry import (
    ARCHITECTURES,
    DATASETS,
    EVALUATORS,
    METRICS,
    REGISTRIES,
    Architecture,
    DatasetSource,
    EvalContext,
    EvalSample,
    ImageEvaluator,
    ImportanceMetric,
)
from gcc.registry.renamed import to_rename
from gcc.utils.weights import Weights

FAMILY = '''
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from gcc.recipe import Counter, Recipe
from gcc.registry.contracts import Architecture, Batch, Foreign, Gate, Judged, Networks, Pair, Samples, Taps, Width, no_gate


@dataclass(frozen=True, kw_only=True)
class OldRecipe(Recipe):
    ranges = {**Recipe.ranges, "z_dim": (1, 1000), "keep": (0, 0.5)}

    size: int = 32
    metric: str = "l1"
    decay: float = 0.5
    keep: float = 0.1
    counter: Counter = "paper"
    order: str = "DG"
    z_dim: int = 8


class Generator(nn.Module):
    def __init__(self, widths, z_dim):
        super().__init__()
        before = z_dim
        for level in (1, 2, 3):
            width = widths[f"up{level}"]
            convolution = nn.ConvTranspose2d(before, width, 4, *((2, 1) if level > 1 else (1, 0)), bias=False)
            self.add_module(f"up{level}", nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU()))
            before = width
        self.head = nn.Sequential(nn.ConvTranspose2d(before, 3, 4, 2, 1), nn.Tanh())

    def forward(self, z):
        features = z[:, :, None, None]
        for layer in self.children():
            features = layer(features)
        return features


class Discriminator(nn.Module):
    def __init__(self, ndf, gate):
        super().__init__()
        before = 3
        for level in (1, 2, 3):
            width = ndf << (level - 1)
            convolution = nn.Conv2d(before, width, 4, 2, 1)
            self.add_module(f"conv{level}", nn.Sequential(convolution, nn.Identity(), gate(width), nn.LeakyReLU(0.2)))
            before = width
        self.head = nn.Conv2d(before, 1, 4)

    def forward(self, image):
        for layer in self.children():
            image = layer(image)
        return image


class Old(Architecture[OldRecipe]):
    """A family of version 0.1."""

    samples = "images"
    demo_source = "portraits"
    paired = False

    @classmethod
    def published(cls):
        return OldRecipe()

    @classmethod
    def demo(cls):
        return OldRecipe(ngf=4, ndf=4, prune_width=4, epochs=1, keep=0.2)

    def widths(self, base: int) -> dict[str, Width]:
        return {f"up{level}": Width(base << (3 - level)) for level in (1, 2, 3)}

    def build_generator(self, widths) -> nn.Module:
        return Generator(widths, self.recipe.z_dim)

    def build_discriminator(self, gate: Gate = no_gate) -> nn.Module:
        return Discriminator(self.recipe.ndf, gate)

    @classmethod
    def recognise(cls, tensors) -> Foreign | None:
        return Foreign({"ngf": 4}, {"head.0": "head"}) if "head.weight" in tensors else None

    def example_input(self):
        return torch.zeros(1, self.recipe.z_dim)

    def example_batch(self) -> Batch:
        return {"real": torch.zeros(1, 3, self.recipe.size, self.recipe.size), "z": self.example_input()}

    def latent(self, random: np.random.Generator):
        return torch.from_numpy(random.standard_normal(self.recipe.z_dim, dtype=np.float32))

    def generate(self, generators: Networks, batch: Batch) -> Samples:
        return {"fake": generators["G"](batch["z"])}

    def pairs(self, batch: Batch, samples: Samples) -> dict[str, Pair]:
        return {"D": Pair(batch["real"], samples["fake"])}

    def taps(self) -> Taps:
        return Taps(generator=("up2.2",), discriminator=("conv2.3",))

    def show(self, batch: Batch, made) -> dict:
        return {title: samples["fake"] for title, samples in made.items()} | {"real": batch["real"]}

    def judged(self, batch: Batch, samples: Samples) -> dict[str, Judged]:
        return {"G": Judged(batch, samples["fake"], source="z", target="real")}
'''

METRIC = '''
import torch

from gcc.registry import Group, ImportanceMetric


class OldTaylor(ImportanceMetric):
    """A metric of version 0.1."""

    strength = 0.5
    batches = 3

    def score(self, network, group: Group):
        scores = []
        for producer in group.producers:
            weight = network.get_parameter(producer.parameter)
            gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
            changes = (gradient * weight.detach()).float().square()
            scores.append(changes.transpose(0, producer.dim).reshape(group.channels, -1).sum(1))
        return torch.stack(scores).sum(0)

    def sparsified(self, network, group: Group):
        return [network.get_parameter(producer.parameter) for producer in group.producers]
'''

DATASET = '''
import torch

from gcc.registry import SampleSource


class OldSource(SampleSource):
    """A dataset of version 0.1."""

    samples = "images"

    def __init__(self, root, split, recipe):
        self.size, self.numbers = recipe.size, list(range(6))

    @classmethod
    def recognises(cls, root):
        return root.name == "old"

    def __len__(self):
        return len(self.numbers)

    def sample(self, index, random):
        return {"real": torch.full((3, self.size, self.size), self.numbers[index] / 10)}

    def part(self, index):
        return "even" if self.numbers[index] % 2 == 0 else "odd"

    def distinct(self, key):
        return 5

    def shown(self, index):
        return {key: -value for key, value in self.sample(index, None).items()}

    def check(self):
        return [(2, "broken")]

    def without(self, bad):
        self.numbers = [number for index, number in enumerate(self.numbers) if index not in bad]
        return self
'''

EVALUATOR = '''
from gcc.registry import ImageEvaluator, Judged, Surroundings


class OldError(ImageEvaluator):
    """An evaluator of version 0.1."""

    larger_is_better = False

    def __init__(self, around: Surroundings):
        self.device = around.device

    def compare(self, judged: Judged):
        return (judged.made - judged.real).abs().flatten(1).mean(1)

    def figure(self, observations):
        return float(observations.max())
'''

PLUGINS = {
    "architectures": ("old_family", "Old", FAMILY),
    "metrics": ("old_metric", "OldTaylor", METRIC),
    "datasets": ("old_dataset", "OldSource", DATASET),
    "evaluators": ("old_evaluator", "OldError", EVALUATOR),
}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install the plugins of version 0.1, each under the name `old`, in a distribution on the import path."""

    def forget():
        for registry in REGISTRIES:
            registry.__dict__.pop("_claims", None)
            registry._loaded.pop("old", None)

    home = tmp_path / "home"
    info = home / "gan_old-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gan-old\nVersion: 0.1\n")
    lines = [line for group, (module, name, _) in PLUGINS.items() for line in (f"[gcc.{group}]", f"old = {module}:{name}")]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, _, source in PLUGINS.values():
        (home / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(str(home))
    forget()
    yield
    forget()
    for module, _, _ in PLUGINS.values():
        sys.modules.pop(module, None)


def load(registry):
    """Load the plugin `old`, and return it with the texts of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plugin = registry.load("old")
    assert {warning.category for warning in caught} <= {DeprecationWarning}
    return plugin, {str(warning.message) for warning in caught}


def test_a_family_of_version_0_1_fulfils_the_contract_and_is_shown_what_to_rename(installed, tmp_path):
    family, texts = load(ARCHITECTURES)
    assert texts >= {
        "gcc.recipe.Counter is now called MacCounter",
        "gcc.registry.contracts.Judged is now gcc.registry.EvalSample",
        "gcc.registry.contracts.Foreign is now gcc.registry.StateDictMapping",
        "gcc.registry.contracts.Taps is now gcc.registry.Taps",
        *(f"OldRecipe.{old} is now called {gcc.recipe.RENAMED[old]}: rename it" for old in ("counter", "decay", "keep", "order")),
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        testing.check_architecture("old", tmp_path / "saved")
    assert {str(warning.message) for warning in caught} == {
        "Old.judged is now called eval_samples: rename it",
        "Old.latent is now called sample_z: rename it",
        "Old.recognise is now called map_state_dict: rename it",
        "Old.show is now called visuals: rename it",
        "the recipe field keep is now called min_keep_ratio",
    }
    assert any(warning.filename == __file__ for warning in caught)
    assert family.map_state_dict({"head.weight": None}).modules == {"head.0": "head"} and family.map_state_dict({}) is None
    recipe = family.published()
    assert (recipe.decay_fraction, recipe.min_keep_ratio, recipe.mac_counter, recipe.update_order) == (0.5, 0.1, "paper", "DG")
    with pytest.raises(RecipeError, match=r"min_keep_ratio = 0.9: expected a value from 0 to 0.5"):
        changed(recipe, {"min_keep_ratio": 0.9})


def test_a_metric_of_version_0_1_fulfils_the_contract_and_is_shown_what_to_rename(installed):
    metric, texts = load(METRICS)
    assert not texts and (metric.l1_strength, metric.gradient_batches) == (0.5, 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        testing.check_metric("old")
    # The check tries every family, the old one included.
    assert {text for warning in caught if (text := str(warning.message)).startswith("OldTaylor")} == {
        "OldTaylor.batches is now called gradient_batches: rename it",
        "OldTaylor.sparsified is now called regularized_parameters: rename it",
        "OldTaylor.strength is now called l1_strength: rename it",
    }


def test_a_data_set_of_version_0_1_is_read_under_the_present_names(installed, tmp_path):
    kind, texts = load(DATASETS)
    assert texts == {"gcc.registry.SampleSource is now called DatasetSource"}
    assert kind.matches(tmp_path / "old") and not kind.matches(tmp_path / "new")
    source = kind(None, "train", Pix2PixRecipe(size=32))
    assert (source.num_unique("real"), source.subset(1), source.cache_path) == (5, "odd", None)
    assert torch.equal(source.preview(3)["real"], -source.sample(3, np.random.default_rng())["real"])
    assert len(source.drop({number for number, _ in source.check()})) == 5 and issubclass(kind, DatasetSource)


def test_an_evaluator_of_version_0_1_judges(installed):
    kind, texts = load(EVALUATORS)
    assert texts == {"gcc.registry.Judged is now called EvalSample", "gcc.registry.Surroundings is now called EvalContext"}
    evaluator = kind(EvalContext(Weights(), torch.device("cpu"), lambda: None))
    sample = EvalSample({"A": torch.zeros(2, 3, 4, 4)}, torch.arange(2.0).view(2, 1, 1, 1).expand(2, 3, 4, 4), source="A", target="A")
    evaluator.check(sample, 2, 2)
    assert evaluator.compare(sample).tolist() == [0, 1] and evaluator.aggregate(evaluator.compare(sample)) == 1
    assert issubclass(kind, ImageEvaluator)


def test_members_are_extended_and_read_under_either_name():
    class Mine(Slimming):
        strength = 2 * Slimming.strength

        def sparsified(self, network, group):
            return [*super().sparsified(network, group), *super().regularized_parameters(network, group)]

    class Present(Mine):
        l1_strength = 3.0

    class Family(Pix2Pix):
        def show(self, batch, made):
            return super().show(batch, made) | {"more": batch["A"]}

    assert Mine.l1_strength == 2 * Slimming.l1_strength and Mine().strength == Mine.l1_strength
    assert (Present.l1_strength, Present.strength) == (3.0, 3.0)
    assert to_rename(Present) == {"sparsified": "regularized_parameters", "strength": "l1_strength"} and to_rename(Slimming) == {}
    group = gcc.registry.Group("a", 4, 1, (), ("0.weight",))
    assert len(Mine().regularized_parameters(nn.Sequential(nn.BatchNorm2d(4)), group)) == 2
    family = Family(Pix2PixRecipe(size=32))
    batch = family.example_batch()
    assert set(family.visuals(batch, {"student": {"fake": batch["A"]}})) == {"input", "student", "real", "more"}
    assert family.fitted(50, 60) == family.input_size(50, 60) and family.reach is None


@pytest.mark.parametrize("contract", [Architecture, DatasetSource, ImageEvaluator, ImportanceMetric])
def test_no_contract_asks_for_an_old_name(contract):
    assert not contract.renamed.keys() & contract.__abstractmethods__ and to_rename(contract) == {}


def test_a_recipe_of_version_0_1_is_declared_made_changed_and_read_by_its_old_names():
    def warned(text):
        return pytest.warns(DeprecationWarning, match=text)

    with warned("Old.metrics is now called evaluators"):

        class Old(Recipe):
            metrics: str = "ssim"

    with warned("Late.alpha_decay is now called alpha_decay_epochs"):

        @dataclass(frozen=True, kw_only=True)
        class Late(Recipe):
            alpha_decay: int = 7
            size: int = 8

    assert Old.evaluators == "ssim" and list(fields(Late)) == list(fields(Recipe))
    with warned("the recipe field metrics is now called evaluators"):
        recipe = Late(metrics="l1")
    assert (recipe.alpha_decay_epochs, recipe.evaluators) == (7, "l1")
    with pytest.warns(FutureWarning, match="the recipe field decay is now called decay_fraction"):
        recipe = changed(recipe, {"decay": "0.25"})
    assert recipe.decay_fraction == 0.25
    with warned("the recipe field alpha_decay is now called alpha_decay_epochs"):
        assert recipe.alpha_decay == 7
    with pytest.raises(AttributeError, match="'Late' object has no attribute 'decoy'"):
        recipe.decoy  # noqa: B018 - the read is the test
    with warned("keep"), pytest.raises(RecipeError, match="keep is now called min_keep_ratio, and both are given"):
        Late(keep=0.1, min_keep_ratio=0.2)


def test_a_sample_is_made_by_its_old_keyword():
    image = torch.zeros(1, 3, 2, 2)
    with pytest.warns(DeprecationWarning, match=r"EvalSample\(\): the keyword made is now called fake"):
        sample = EvalSample({"A": image}, made=image, source="A", target="A")
    assert sample.fake is image and sample.made is image
    with pytest.raises(TypeError, match="both are given"):
        EvalSample({"A": image}, image, "A", "A", made=image, fake=image)


@pytest.mark.parametrize("name", ["Unknown", "__path__", "_private"])
def test_what_never_was_is_not_there(name):
    with pytest.raises(AttributeError):
        getattr(gcc.registry.contracts, name)
    if name != "__path__":
        with pytest.raises(AttributeError):
            getattr(gcc.registry, name)


def test_notices_of_the_command_line_name_the_distribution_of_the_plugin(installed, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with warnings_as_lines():
            ARCHITECTURES.load("old")
            warnings.warn("a is now called b", FutureWarning, stacklevel=1)
    lines = capsys.readouterr().err.splitlines()
    assert "gcc: OldRecipe.decay is now called decay_fraction: rename it (in the plugin gan-old 0.1)" in lines
    assert "gcc: gcc.recipe.Counter is now called MacCounter (in the plugin gan-old 0.1)" in lines
    assert lines[-1] == "gcc: a is now called b" and all(line.endswith("(in the plugin gan-old 0.1)") for line in lines[:-1])
