"""Contract checks for the authors of plugins: call one in a test of your own.

```python
from gcc.testing import check_architecture

def test_contract(tmp_path):
    check_architecture("my-gan", tmp_path)
```
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gcc.artifacts.config import Artifact
from gcc.artifacts.model import environment, load, save
from gcc.deploy.translate import in_tiles
from gcc.errors import GccError, PluginError
from gcc.losses.distillation import modules_at, tapped
from gcc.losses.layers import build_projections, select_layers
from gcc.models.build import build_discriminators, build_generators, generator_on_meta
from gcc.models.gate import ChannelGate, gates
from gcc.models.modules import NORMS, Widths, on_meta
from gcc.pruning.cost import generator_cost
from gcc.pruning.graph.export import Graph
from gcc.pruning.graph.groups import find_channels
from gcc.pruning.graph.propagate import ChannelTrace
from gcc.pruning.groups import find_groups
from gcc.pruning.importance import random_gradients
from gcc.recipe import changed
from gcc.registry import ARCHITECTURES, DATASETS, METRICS, Architecture, Group, ImportanceMetric, Networks
from gcc.registry.renamed import AcceptsOldNames, to_rename
from gcc.utils.weights import Weights

DRAWS = 8
"""Random widths that are tried."""


def check_architecture(arch: str, folder: Path, seed: int = 0) -> None:
    """Check everything that Algorithm 1 relies on, at the architecture's demo recipe.

    Args:
        arch: name under which the architecture is registered.
        folder: an empty folder that the check may write to.
        seed: of the random widths.

    Raises:
        PluginError: the architecture breaks its contract; the message says where.
    """
    family = ARCHITECTURES.load(arch)
    _warn_of_old_names(family)
    check_family(arch, family(family.demo()), folder, seed)


def _warn_of_old_names(plugin: type[AcceptsOldNames]) -> None:
    """Warn of every member that the plugin defines under the name it had in version 0.1, which this version still accepts."""
    for old, new in to_rename(plugin).items():
        warnings.warn(f"{plugin.__name__}.{old} is now called {new}: rename it", DeprecationWarning, stacklevel=3)


def check_family(arch: str, architecture: Architecture[Any], folder: Path, seed: int = 0) -> None:
    """Check the same at the recipe of `architecture`.

    Raises:
        PluginError: the architecture breaks its contract; the message says where.
    """
    widths = architecture.widths(architecture.recipe.prune_width)
    draw = random.Random(seed)
    check_groups(architecture)
    metric = architecture.recipe.metric
    _require(check_scores(METRICS.load(metric)(), architecture), f"the recipe's metric {metric!r} scores no channel: name another there")
    for _ in range(DRAWS):
        check_widths(architecture, {name: draw.randint(width.minimum, width.channels) for name, width in widths.items()})
    check_costs_fall(architecture)
    check_zero_widths(architecture)
    check_gates(architecture)
    check_game(architecture)
    check_inputs(architecture)
    check_artifact(arch, architecture, folder)


def check_metric(name: str) -> None:
    """Check an importance metric on the generators of every family that works, with random weights and gradients.

    Args:
        name: under which the metric is registered.

    Raises:
        PluginError: the metric breaks its contract; the message says where.
    """
    plugin = METRICS.load(name)
    _warn_of_old_names(plugin)
    metric = plugin()
    _require(metric.l1_strength >= 0 and metric.gradient_batches >= 0, "strength and batches must not be negative")
    tells = [check_scores(metric, family(family.demo())) for family in _families()]
    _require(any(tells), "no channel of any family is scored")


def check_scores(metric: ImportanceMetric, architecture: Architecture[Any]) -> bool:
    """Check what a metric says of a family's generators, and return whether it can tell anything.

    Raises:
        PluginError: the metric breaks its contract; the message says where.
    """
    groups = find_groups(architecture, architecture.recipe.prune_width)
    tells = False
    for network in build_generators(architecture, _prunable(architecture), "check").values():
        for _ in random_gradients(network):
            before = _values(network)
            for group in groups:
                tells |= _check_score(metric, network, group)
                parameters = {id(parameter) for parameter in network.parameters()}
                own = all(id(tensor) in parameters for tensor in metric.regularized_parameters(network, group))
                _require(own, f"sparsified gives, for the width {group.name!r}, what is no parameter of the generator")
            same = all(torch.equal(one, other) for one, other in zip(before, _values(network), strict=True))
            _require(same, "score or sparsified changes the generator or its gradients")
    return tells


def _check_score(metric: ImportanceMetric, network: nn.Module, group: Group) -> bool:
    score, again = metric.score(network, group), metric.score(network, group)
    if score is None or again is None:
        return False
    of = f"the score of the width {group.name!r}"
    _require(score.shape == (group.channels,), f"{of} has the shape {tuple(score.shape)}: expected ({group.channels},)")
    _require(bool(score.isfinite().all()), f"{of} is not finite")
    _require(not score.requires_grad, f"{of} carries a graph: take it from detached weights")
    _require(torch.equal(score, again), f"{of} differs when it is asked for again")
    return True


def _values(network: nn.Module) -> list[Tensor]:
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return [tensor.detach().clone() for tensor in (*network.state_dict().values(), *gradients)]


def check_selector(name: str) -> None:
    """Check a selector of distillation layers on the networks of every family that works.

    Args:
        name: under which the selector is registered.

    Raises:
        PluginError: the selector breaks its contract; the message says where.
    """
    for family in _families():
        check_positions(family(changed(family.demo(), {"selector": name})))


def check_positions(architecture: Architecture[Any]) -> None:
    """Check that what the recipe's selector chooses are layers whose features a student's can be compared with.

    Raises:
        PluginError: they are not; the message says where.
    """
    full = architecture.full_widths(architecture.recipe.ngf)
    halves = {name: max(1, channels // 2) for name, channels in full.items()}
    teachers = {name: generator_on_meta(architecture, full) for name in architecture.generators}
    students = {name: generator_on_meta(architecture, halves) for name in architecture.generators}
    discriminators = {name: on_meta(architecture.build_discriminator) for name in architecture.discriminators}
    found = select_layers(architecture, teachers, discriminators)
    with torch.device("meta"), torch.no_grad():
        batch = architecture.example_batch()
        pairs = architecture.pairs(batch, architecture.generate(teachers, batch))
    for name, network in teachers.items():
        _require(bool(found.generators[name]), f"no layer of generator {name} of {type(architecture).__name__} is chosen")
        _check_features(network, found.generators[name], partial(architecture.generate, teachers, batch))
    for name, network in discriminators.items():
        _check_features(network, found.discriminators[name], partial(network, pairs[name].fake))
    build_projections(architecture, teachers, students, found)


def _check_features(network: nn.Module, paths: Sequence[str], run: Callable[[], object]) -> None:
    _check_taps(tuple(paths), {type(network).__name__: network})
    _require(len(set(paths)) == len(paths), f"a layer is chosen twice: {', '.join(paths)}")
    _require(not any(module._forward_hooks for module in network.modules()), "select leaves hooks in the network")
    with torch.device("meta"), torch.no_grad(), tapped({"": modules_at(network, paths)}) as features:
        run()
    for path in paths:
        given = features[""].get(path)
        shape = given.shape if isinstance(given, Tensor) else type(given).__name__
        _require(isinstance(given, Tensor) and given.ndim == 4, f"{path} gives {shape}: expected features (N, C, H, W)")


def check_groups(architecture: Architecture[Any]) -> None:
    """Check that a layer makes the channels of every width, and that what belongs to a channel lies side by side in its weights."""
    groups = find_groups(architecture, architecture.recipe.prune_width)
    several = [(group, producer) for group in groups for producer in group.producers if producer.ratio > 1]
    if not several:
        return
    network = next(iter(build_generators(architecture, _prunable(architecture), "check").values()))
    try:
        found = find_channels(ChannelTrace(Graph(network, architecture.example_input())))
    except GccError:
        return  # A constructor may build what cannot be read off a graph.
    known = {producer for channels in found for producer in channels.group.producers}
    for group, producer in several:
        _require(
            producer in known,
            f"width {group.name!r}: the {producer.ratio} outputs of {producer.parameter} that are one channel do not lie side by side: "
            f"read them by `unflatten(1, (-1, {producer.ratio})).unbind(2)`, not by `chunk`",
        )


def check_widths(architecture: Architecture[Any], widths: Widths) -> None:
    """Check that a generator of these widths builds, runs, and gives what the full one gives, in shape."""
    full = architecture.full_widths(architecture.recipe.prune_width)
    with torch.device("meta"), torch.no_grad():
        expected = architecture.build_generator(full).eval()(architecture.example_input()).shape
        given = architecture.build_generator(widths).eval()(architecture.example_input()).shape
    _require(given == expected, f"widths {widths} give the output shape {tuple(given)}: expected {tuple(expected)}")


def check_costs_fall(architecture: Architecture[Any]) -> None:
    """Check that no cost rises as one width falls, down to its minimum."""
    widths = architecture.widths(architecture.recipe.prune_width)
    full = architecture.full_widths(architecture.recipe.prune_width)
    for name, width in widths.items():
        falling = (width.channels, max(width.channels // 2, width.minimum, 1), width.minimum)
        costs = [generator_cost(architecture, full | {name: channels}) for channels in falling]
        for more, less in zip(costs, costs[1:], strict=False):
            fell = less.macs <= more.macs and less.paper_macs <= more.paper_macs and less.parameters <= more.parameters
            _require(fell, f"a smaller width {name!r} costs more: {less} after {more}")


def check_zero_widths(architecture: Architecture[Any]) -> None:
    """Check that a width of 0, where it is allowed, leaves no empty layer behind."""
    full = architecture.full_widths(architecture.recipe.prune_width)
    for name, width in architecture.widths(architecture.recipe.prune_width).items():
        if width.minimum == 0:
            network = generator_on_meta(architecture, full | {name: 0})
            empty = [path for path, parameter in network.named_parameters() if parameter.numel() == 0]
            _require(not empty, f"width {name!r} of 0 leaves empty parameters: {', '.join(empty)}")


def check_gates(architecture: Architecture[Any]) -> None:
    """Check that gates with every channel on change nothing, and leave the module paths as they are."""
    tau = architecture.recipe.tau
    plain = build_discriminators(architecture, "check")
    gated = build_discriminators(architecture, "check", lambda channels: ChannelGate(channels, tau))
    batch = _random_batch(architecture)
    generators = build_generators(architecture, _prunable(architecture), "check")
    with torch.no_grad():
        pairs = architecture.pairs(batch, architecture.generate(generators, batch))
        for name, network in plain.items():
            names = {path for path, _ in network.named_parameters()}
            _require(names <= {path for path, _ in gated[name].named_parameters()}, f"gates rename parameters of discriminator {name}")
            _require(bool(gates(gated[name])), f"discriminator {name} calls no gate")
            same = torch.equal(network(pairs[name].fake), gated[name](pairs[name].fake))
            _require(same, f"gates with every channel on change what discriminator {name} says")
            _check_places(name, gated[name], pairs[name].fake)


def _check_places(name: str, network: nn.Module, image: Tensor) -> None:
    """Check that every gate takes what a convolution or its norm gives, and that no norm comes after it."""
    takes: dict[nn.Module, Tensor] = {}
    gives: dict[nn.Module, Tensor] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        takes[module], gives[module] = inputs[0], output

    # A convolution under spectral norm has the norm's modules below it.
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d) or not list(module.children())]
    handles = [layer.register_forward_hook(note) for layer in layers]
    logits = network(image)
    for handle in handles:
        handle.remove()
    makers = [module for module in gives if isinstance(module, (nn.Conv2d, *NORMS))]
    for path, gate in gates(network).items():
        made = any(gives[maker] is takes[gate] for maker in makers)
        _require(made, f"gate {path} of discriminator {name} does not stand directly after a convolution or its norm")
        normed = any(isinstance(module, NORMS) and takes[module] is gives[gate] for module in takes)
        _require(not normed, f"gate {path} of discriminator {name} stands before a norm: expected it after that")
        _require(gives[gate] is not logits, f"gate {path} of discriminator {name} stands after the logits: expected none there")


def check_game(architecture: Architecture[Any]) -> None:
    """Check that pairs, samples, taps, task losses and figures belong together."""
    generators = build_generators(architecture, _prunable(architecture), "check")
    discriminators = build_discriminators(architecture, "check")
    batch = _random_batch(architecture)
    samples = architecture.generate(generators, batch)
    pairs = architecture.pairs(batch, samples)
    _require(pairs.keys() == discriminators.keys(), f"pairs are {sorted(pairs)}: expected one for each of {sorted(discriminators)}")
    for name, pair in pairs.items():
        _require(pair.real.shape == pair.fake.shape, f"pair {name}: real is {tuple(pair.real.shape)}, fake {tuple(pair.fake.shape)}")
    auxiliary = architecture.build_auxiliary(Weights())
    networks, prepared = {**generators, **auxiliary}, architecture.prepare(batch, auxiliary)
    losses = architecture.task_losses(networks, prepared, samples) | architecture.data_losses(networks, prepared)
    before = architecture.pretraining_losses(batch, samples)
    _require(bool(before) or not architecture.recipe.pretrain_epochs, "pretrain_epochs is set, and there are no pretraining_losses")
    for term, loss in (losses | before).items():
        _require(loss.ndim == 0 and loss.requires_grad, f"the loss {term!r} is no scalar that leads to the generators")
    _check_taps(architecture.taps().generator, generators)
    _check_taps(architecture.taps().discriminator, discriminators)
    columns = architecture.visuals(batch, {"teacher": samples, "student": samples})
    _require(all(column.ndim == 4 and column.shape[1] == 3 for column in columns.values()), "show gives columns that are not (N, 3, H, W)")
    judged = architecture.eval_samples(batch, samples)
    _require(judged.keys() == generators.keys(), f"judged names {sorted(judged)}: expected the generators {sorted(generators)}")
    for name, seen in judged.items():
        for key in (seen.source, seen.target):
            _require(key in seen.batch, f"judged {name}: {key!r} is no key of the batch")
        _require(seen.fake.shape == seen.real.shape, f"judged {name}: made is {tuple(seen.fake.shape)}, real {tuple(seen.real.shape)}")


def check_inputs(architecture: Architecture[Any]) -> None:
    """Check that the demo data, and noise and images of a user's own, fit the generators."""
    kind = DATASETS.load(architecture.demo_source).samples
    _require(kind == architecture.samples, f"demo_source {architecture.demo_source!r} gives samples {kind!r}, not {architecture.samples!r}")
    example = architecture.example_input()
    z, again = (architecture.sample_z(np.random.default_rng(0)) for _ in range(2))
    if z is not None and again is not None:
        _require(z.shape == example.shape[1:], f"latent gives the shape {tuple(z.shape)}: expected {tuple(example.shape[1:])}")
        _require(z.dtype == example.dtype, f"latent gives {z.dtype}: expected {example.dtype}, as example_input does")
        _require(torch.equal(z, again), "latent depends on more than the random generator that it is given")
        return
    _require(example.ndim == 4, f"the generators take {tuple(example.shape)}, which is no image: expected `sample_z` to give such noise")
    reach = architecture.receptive_field_radius
    height, width = architecture.input_size(20, 50 if reach is None else 3 * reach + 1)
    image = torch.rand(1, example.shape[1], height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for name, network in build_generators(architecture, _prunable(architecture), "check").items():
        with torch.no_grad():
            made = network.double().eval()(image)
            _require(made.ndim == 4, f"generator {name} makes no image of one of {width}x{height} pixels, which `input_size` gives")
            if reach is not None:
                seamless = torch.allclose(in_tiles(network, image, reach, tile=max(1, reach)), made)
                _require(seamless, f"generator {name} depends on pixels beyond its reach of {reach}")


def check_artifact(arch: str, architecture: Architecture[Any], folder: Path) -> None:
    """Check that a saved generator comes back bit-equal."""
    for name, network in build_generators(architecture, _prunable(architecture), "check").items():
        widths = architecture.full_widths(architecture.recipe.prune_width)
        artifact = Artifact(folder / name, "student", arch, name, architecture.recipe, widths, {}, environment(torch.device("cpu")))
        save(artifact, network, "")
        loaded = load(artifact.folder).state_dict()
        for path, tensor in network.state_dict().items():
            _require(torch.equal(tensor, loaded[path]), f"generator {name}: {path} changes when it is saved and loaded")


def _families() -> Iterator[type[Architecture[Any]]]:
    """Yield the families that work."""
    for listing in ARCHITECTURES.listings():
        if listing.fault is None:
            yield ARCHITECTURES.load(listing.name)


def _check_taps(paths: tuple[str, ...], networks: Networks) -> None:
    for name, network in networks.items():
        missing = set(paths) - {path for path, _ in network.named_modules()}
        _require(not missing, f"taps {sorted(missing)} are no modules of {name}")


def _prunable(architecture: Architecture[Any]) -> Mapping[str, Widths]:
    return {name: architecture.full_widths(architecture.recipe.prune_width) for name in architecture.generators}


def _random_batch(architecture: Architecture[Any]) -> dict[str, Tensor]:
    random_numbers = torch.Generator().manual_seed(0)
    batch = architecture.example_batch()
    return {
        key: torch.rand(2, *value.shape[1:], generator=random_numbers) * 2 - 1 if value.is_floating_point() else value
        for key, value in batch.items()
    }


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise PluginError(message)
