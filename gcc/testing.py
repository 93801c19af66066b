"""Contract checks for authors of plugins; call one in a test of your own.

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
from gcc.deploy.inputs import accepted_inputs, random_input
from gcc.deploy.optimize import TOLERANCE, fold
from gcc.deploy.translate import in_tiles
from gcc.errors import GccError, PluginError
from gcc.losses.distillation import modules_at, tapped
from gcc.losses.layers import build_projections, select_layers
from gcc.models.build import build_discriminators, build_generators, generator_on_meta, generators_on_meta
from gcc.models.gate import ChannelGate, gates
from gcc.models.modules import NORMS, Widths, on_meta, without_autocast
from gcc.pruning.cost import generator_cost
from gcc.pruning.graph.aten_graph import Graph
from gcc.pruning.graph.groups import find_channels
from gcc.pruning.graph.propagate import ChannelTrace
from gcc.pruning.groups import find_groups
from gcc.pruning.importance import random_gradients
from gcc.recipe import changed
from gcc.registry import (
    ARCHITECTURES,
    DATASETS,
    DISTILLERS,
    METRICS,
    RUNTIMES,
    Architecture,
    Batch,
    Distiller,
    GeneratorView,
    Group,
    ImportanceMetric,
    Inputs,
    Networks,
    QuantizingRuntime,
)
from gcc.registry.renamed import AcceptsOldNames, to_rename
from gcc.utils.weights import Weights

TRIALS = 8
"""Number of random widths that are tried."""


def check_architecture(arch: str, folder: Path, seed: int = 0) -> None:
    """Check everything that Algorithm 1 relies on, with the architecture's demo recipe.

    Args:
        arch: registered name of the architecture.
        folder: an empty folder to which the check may write.
        seed: random seed of the widths that are tried.

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
    """Run the same checks with the recipe of `architecture`.

    Raises:
        PluginError: the architecture breaks its contract; the message says where.
    """
    widths = architecture.widths(architecture.recipe.prune_width)
    generator = random.Random(seed)
    check_groups(architecture)
    metric = architecture.recipe.metric
    _require(check_scores(METRICS.load(metric)(), architecture), f"the recipe's metric {metric!r} scores no channel: choose another one")
    for _ in range(TRIALS):
        check_widths(architecture, {name: generator.randint(width.minimum, width.channels) for name, width in widths.items()})
    check_costs_fall(architecture)
    check_zero_widths(architecture)
    check_gates(architecture)
    check_step(architecture)
    check_inputs(architecture)
    check_artifact(arch, architecture, folder)


def check_metric(name: str) -> None:
    """Check an importance metric on the generators of every working family, with random weights and gradients.

    Args:
        name: registered name of the metric.

    Raises:
        PluginError: the metric breaks its contract; the message says where.
    """
    plugin = METRICS.load(name)
    _warn_of_old_names(plugin)
    metric = plugin()
    _require(metric.l1_strength >= 0 and metric.gradient_batches >= 0, "l1_strength and gradient_batches must not be negative")
    scores_any = [check_scores(metric, family(family.demo())) for family in _families()]
    _require(any(scores_any), "no channel of any family is scored")


def check_scores(metric: ImportanceMetric, architecture: Architecture[Any]) -> bool:
    """Check a metric's scores for a family's generators, and return whether there are any.

    Raises:
        PluginError: the metric breaks its contract; the message says where.
    """
    groups = find_groups(architecture, architecture.recipe.prune_width)
    scores_any = False
    for network in build_generators(architecture, _prunable(architecture), "check").values():
        for _ in random_gradients(network):
            before = _values(network)
            for group in groups:
                scores_any |= _check_score(metric, network, group)
                parameters = {id(parameter) for parameter in network.parameters()}
                own = all(id(tensor) in parameters for tensor in metric.regularized_parameters(network, group))
                _require(own, f"regularized_parameters of the width {group.name!r} are not parameters of the generator")
            unchanged = all(torch.equal(value, other) for value, other in zip(before, _values(network), strict=True))
            _require(unchanged, "score or regularized_parameters changes the generator or its gradients")
    return scores_any


def _check_score(metric: ImportanceMetric, network: nn.Module, group: Group) -> bool:
    score, again = metric.score(network, group), metric.score(network, group)
    if score is None or again is None:
        return False
    name = f"the score of the width {group.name!r}"
    _require(score.shape == (group.channels,), f"{name} has the shape {tuple(score.shape)}: expected ({group.channels},)")
    _require(bool(score.isfinite().all()), f"{name} is not finite")
    _require(not score.requires_grad, f"{name} carries a graph: compute it from detached weights")
    _require(torch.equal(score, again), f"{name} differs when it is computed again")
    return True


def _values(network: nn.Module) -> list[Tensor]:
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return [tensor.detach().clone() for tensor in (*network.state_dict().values(), *gradients)]


def check_selector(name: str) -> None:
    """Check a selector of the layers to distil on the networks of every working family.

    Args:
        name: registered name of the selector.

    Raises:
        PluginError: the selector breaks its contract; the message says where.
    """
    for family in _families():
        check_layers(family(changed(family.demo(), {"selector": name})))


def check_distiller(name: str, weights: Weights | None = None) -> None:
    """Check a distiller on the images and features of every working family, with random weights.

    Args:
        name: registered name of the distiller.
        weights: finds the trained weights of its networks. None finds them in torch's cache.

    Raises:
        PluginError: the distiller breaks its contract; the message says where.
        GccError: weights are missing.
    """
    for family in _families():
        check_distiller_losses(DISTILLERS.load(name), family(family.demo()), weights or Weights())


def check_distiller_losses(plugin: type[Distiller], architecture: Architecture[Any], weights: Weights) -> None:
    """Check a distiller's losses with a family's networks.

    Raises:
        PluginError: the distiller breaks its contract; the message says where.
    """
    distiller = plugin(architecture.recipe)
    auxiliary = {name: network.eval().requires_grad_(False) for name, network in distiller.build_auxiliary(weights).items()}
    batch, discriminators = _random_batch(architecture), build_discriminators(architecture, "check")
    student, teacher = (_view(distiller, architecture, batch, role, discriminators) for role in ("student", "teacher"))
    losses, again = (distiller.losses(batch, student, teacher, auxiliary) for _ in range(2))
    _require(bool(losses), "losses returns none")
    for term, loss in losses.items():
        _require(loss.ndim == 0, f"the loss {term!r} has the shape {tuple(loss.shape)}: expected a scalar")
        _require(loss.requires_grad, f"the loss {term!r} has no gradient for the student's generators")
        _require(bool(loss.isfinite()), f"the loss {term!r} is not finite")
        _require(torch.equal(loss, again[term]), f"the loss {term!r} differs when it is computed again")
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), list(student.fake.values()), allow_unused=True)
    _require(all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients), "a gradient is not finite")


def _view(distiller: Distiller, architecture: Architecture[Any], batch: Batch, role: str, discriminators: Networks) -> GeneratorView:
    """Return what a distiller sees of new generators; only the student's have gradients."""
    generators, taps = build_generators(architecture, _prunable(architecture), role), architecture.taps()
    paths = taps.generator if distiller.reads_generators else (), taps.discriminator if distiller.reads_discriminators else ()
    layers, layers_D = (
        {name: modules_at(network, own) for name, network in networks.items()}
        for own, networks in zip(paths, (generators, discriminators), strict=True)
    )
    with torch.set_grad_enabled(role == "student"):
        with tapped(layers) as features:
            samples = architecture.generate(generators, batch)
        pairs = architecture.pairs(batch, samples)
        with tapped(layers_D) as discriminated:
            for name, network in discriminators.items():
                network(pairs[name].fake)
    fake = {name: sample.fake for name, sample in architecture.eval_samples(batch, samples).items()}
    return GeneratorView(fake, features, discriminated)


def check_runtime(name: str, folder: Path) -> None:
    """Check that a runtime's files compute what PyTorch computes, for a small generator of every working family and all inputs it accepts.

    Args:
        name: registered name of the runtime.
        folder: an empty folder to which the check may write.

    Raises:
        PluginError: the runtime breaks its contract; the message says where.
        GccError: its packages are missing, or it lacks an operator.
    """
    runtime = RUNTIMES.load(name)()
    runtime.require()
    quantizes = isinstance(runtime, QuantizingRuntime)
    _require(quantizes == ("int8" in runtime.precisions), "precisions has int8 only if the class is a QuantizingRuntime, and then it must")
    script = "\n".join(("def load():", *(f"    {line}" for line in runtime.script.splitlines())))
    _require(not runtime.package or _compiles(f"{runtime.imports}\n{script}"), "imports and script are not the Python of a function")
    for family in _families():
        architecture = family(family.demo())
        generator, network = next(iter(build_generators(architecture, _prunable(architecture), "check").items()))
        example = architecture.for_network(generator).example_input()
        inputs = runtime.accepts(accepted_inputs(network.eval(), example))
        folded = fold(network, random_input(example.shape))
        before = {key: tensor.clone() for key, tensor in folded.state_dict().items()}
        for precision in ("fp32", "fp16") if "fp16" in runtime.precisions else ("fp32",):
            stem = f"{family.__name__}-{precision}"
            runtime.write(folded, inputs, folder / f"{stem}{runtime.suffixes[0]}", {"arch": family.__name__}, precision)
            missing = [suffix for suffix in runtime.suffixes if not (folder / f"{stem}{suffix}").exists()]
            _require(not missing, f"write has not written {', '.join(missing)}")
        changed_tensors = [key for key, tensor in folded.state_dict().items() if not torch.equal(tensor, before[key])]
        _require(not changed_tensors, f"write has changed {', '.join(changed_tensors)} of the generator")
        exported = runtime.read(folder / f"{family.__name__}-fp32{runtime.suffixes[0]}", folded)
        _require(exported is not None or not runtime.is_timed, "read returns None, although is_timed says that the program runs here")
        if exported is not None:
            _check_outputs(f"the file of {family.__name__}", network, exported, inputs)


def _compiles(source: str) -> bool:
    try:
        compile(source, "script", "exec")
    except SyntaxError:
        return False
    return True


@torch.inference_mode()
def _check_outputs(title: str, network: nn.Module, exported: nn.Module, inputs: Inputs) -> None:
    """Check that a file's outputs equal the generator's for all kinds of inputs that it accepts."""
    for shape in inputs.probe_shapes():
        expected, fake = network(random_input(shape)), exported(random_input(shape))
        wrong = f"for inputs {shape} {title} returns"
        _require(fake.shape == expected.shape, f"{wrong} {tuple(fake.shape)}: expected {tuple(expected.shape)}")
        close = bool((fake - expected).abs().max() <= TOLERANCE * expected.abs().max())
        _require(close, f"{wrong} other images than the generator")


def check_layers(architecture: Architecture[Any]) -> None:
    """Check that the recipe's selector chooses layers whose features can be compared with those of a student.

    Raises:
        PluginError: it does not; the message says where.
    """
    full = architecture.full_widths(architecture.recipe.ngf)
    halves = {name: max(1, channels // 2) for name, channels in full.items()}
    teachers, students = (generators_on_meta(architecture, dict.fromkeys(architecture.generators, widths)) for widths in (full, halves))
    discriminators = {name: on_meta(architecture.for_network(name).build_discriminator) for name in architecture.discriminators}
    layers = select_layers(architecture, teachers, discriminators)
    with torch.device("meta"), torch.no_grad():
        batch = architecture.example_batch()
        pairs = architecture.pairs(batch, architecture.generate(teachers, batch))
    for name, network in teachers.items():
        _require(bool(layers.generators[name]), f"no layer of generator {name} of {type(architecture).__name__} is chosen")
        _check_features(network, layers.generators[name], partial(architecture.generate, teachers, batch))
    for name, network in discriminators.items():
        _check_features(network, layers.discriminators[name], partial(network, pairs[name].fake))
    build_projections(architecture, teachers, students, layers)


def _check_features(network: nn.Module, paths: Sequence[str], run: Callable[[], object]) -> None:
    _check_taps(tuple(paths), {type(network).__name__: network})
    _require(len(set(paths)) == len(paths), f"a layer is chosen twice: {', '.join(paths)}")
    _require(not any(module._forward_hooks for module in network.modules()), "select leaves hooks in the network")
    with torch.device("meta"), torch.no_grad(), tapped({"": modules_at(network, paths)}) as features:
        run()
    for path in paths:
        output = features[""].get(path)
        shape = output.shape if isinstance(output, Tensor) else type(output).__name__
        _require(isinstance(output, Tensor) and output.ndim == 4, f"{path} returns {shape}: expected features (N, C, H, W)")


def check_groups(architecture: Architecture[Any]) -> None:
    """Check that every width has a layer that produces its channels, and that the outputs of each channel are adjacent in its weight."""
    groups = find_groups(architecture, architecture.recipe.prune_width)
    with_several_outputs = [(group, producer) for group in groups for producer in group.producers if producer.ratio > 1]
    if not with_several_outputs:
        return
    network = next(iter(build_generators(architecture, _prunable(architecture), "check").values()))
    try:
        groups_of_graph = find_channels(ChannelTrace(Graph(network, architecture.example_input())))
    except GccError:
        return  # A constructor may build networks whose graph cannot be followed.
    known = {producer for channels in groups_of_graph for producer in channels.group.producers}
    for group, producer in with_several_outputs:
        _require(
            producer in known,
            f"width {group.name!r}: the {producer.ratio} outputs of {producer.parameter} that are one channel are not adjacent: "
            f"read them by `unflatten(1, (-1, {producer.ratio})).unbind(2)`, not by `chunk`",
        )


def check_widths(architecture: Architecture[Any], widths: Widths) -> None:
    """Check that a generator of these widths can be built and run, and that its output has the shape of the full one's."""
    full = architecture.full_widths(architecture.recipe.prune_width)
    with torch.device("meta"), torch.no_grad():
        expected = architecture.build_generator(full).eval()(architecture.example_input()).shape
        shape = architecture.build_generator(widths).eval()(architecture.example_input()).shape
    _require(shape == expected, f"widths {widths} give the output shape {tuple(shape)}: expected {tuple(expected)}")


def check_costs_fall(architecture: Architecture[Any]) -> None:
    """Check that no cost rises when a width falls, down to its minimum."""
    widths = architecture.widths(architecture.recipe.prune_width)
    full = architecture.full_widths(architecture.recipe.prune_width)
    for name, width in widths.items():
        falling = (width.channels, max(width.channels // 2, width.minimum, 1), width.minimum)
        costs = [generator_cost(architecture, full | {name: channels}) for channels in falling]
        for more, less in zip(costs, costs[1:], strict=False):
            falls = less.macs <= more.macs and less.paper_macs <= more.paper_macs and less.parameters <= more.parameters
            _require(falls, f"a smaller width {name!r} costs more: {less} after {more}")


def check_zero_widths(architecture: Architecture[Any]) -> None:
    """Check that a width of 0, if allowed, leaves no empty layer."""
    full = architecture.full_widths(architecture.recipe.prune_width)
    for name, width in architecture.widths(architecture.recipe.prune_width).items():
        if width.minimum == 0:
            network = generator_on_meta(architecture, full | {name: 0})
            empty = [path for path, parameter in network.named_parameters() if parameter.numel() == 0]
            _require(not empty, f"width {name!r} of 0 leaves empty parameters: {', '.join(empty)}")


def check_gates(architecture: Architecture[Any]) -> None:
    """Check that gates with every channel on change neither outputs nor module paths."""
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
            unchanged = torch.equal(network(pairs[name].fake), gated[name](pairs[name].fake))
            _require(unchanged, f"gates with every channel on change the logits of discriminator {name}")
            _check_gate_positions(name, gated[name], pairs[name].fake)


def _check_gate_positions(name: str, network: nn.Module, image: Tensor) -> None:
    """Check that the input of every gate is the output of a convolution or its norm, and that no norm follows it."""
    inputs_of: dict[nn.Module, Tensor] = {}
    outputs_of: dict[nn.Module, Tensor] = {}

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        inputs_of[module], outputs_of[module] = inputs[0], output

    # A convolution under spectral norm has the norm's modules as children.
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d) or not list(module.children())]
    handles = [layer.register_forward_hook(record) for layer in layers]
    logits = network(image)
    for handle in handles:
        handle.remove()
    layers = [module for module in outputs_of if isinstance(module, (nn.Conv2d, *NORMS))]
    for path, gate in gates(network).items():
        follows_layer = any(outputs_of[layer] is inputs_of[gate] for layer in layers)
        _require(follows_layer, f"gate {path} of discriminator {name} is not directly after a convolution or its norm")
        before_norm = any(isinstance(module, NORMS) and inputs_of[module] is outputs_of[gate] for module in inputs_of)
        _require(not before_norm, f"gate {path} of discriminator {name} is before a norm: expected it after the norm")
        _require(outputs_of[gate] is not logits, f"gate {path} of discriminator {name} is after the logits: expected no gate there")


def check_step(architecture: Architecture[Any]) -> None:
    """Check that samples, pairs, losses, taps, visuals and the evaluators' input fit together."""
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
    pretraining = architecture.pretraining_losses(batch, samples)
    _require(bool(pretraining) or not architecture.recipe.pretrain_epochs, "pretrain_epochs is set, but pretraining_losses returns none")
    for term, loss in (losses | pretraining).items():
        _require(loss.ndim == 0 and loss.requires_grad, f"the loss {term!r} is not a scalar with a gradient for the generators")
    _check_taps(architecture.taps().generator, generators)
    _check_taps(architecture.taps().discriminator, discriminators)
    columns = architecture.visuals(batch, {"teacher": samples, "student": samples})
    are_images = all(column.ndim == 4 for column in columns.values())
    _require(are_images, "visuals returns columns that are not (N, C, H, W)")
    eval_samples = architecture.eval_samples(batch, samples)
    _require(
        eval_samples.keys() == generators.keys(), f"eval_samples has {sorted(eval_samples)}: expected the generators {sorted(generators)}"
    )
    for name, sample in eval_samples.items():
        for key in (sample.source, sample.target):
            _require(key in sample.batch, f"eval_samples {name}: {key!r} is not a key of the batch")
        shapes = tuple(sample.fake.shape), tuple(sample.real.shape)
        _require(shapes[0] == shapes[1], f"eval_samples {name}: fake is {shapes[0]}, real {shapes[1]}")


def check_inputs(architecture: Architecture[Any]) -> None:
    """Check that the demo data, the noise and users' images fit the generators."""
    kind = DATASETS.load(architecture.demo_source).samples
    _require(kind == architecture.samples, f"demo_source {architecture.demo_source!r} has samples {kind!r}, not {architecture.samples!r}")
    example = architecture.example_input()
    z, again = (architecture.sample_z(np.random.default_rng(0)) for _ in range(2))
    if z is not None and again is not None:
        _require(z.shape == example.shape[1:], f"sample_z returns the shape {tuple(z.shape)}: expected {tuple(example.shape[1:])}")
        _require(z.dtype == example.dtype, f"sample_z returns {z.dtype}: expected {example.dtype}, as in example_input")
        _require(torch.equal(z, again), "sample_z depends on more than its random generator")
        return
    _require(example.ndim == 4, f"the generators take {tuple(example.shape)}, which is not an image: expected noise from `sample_z`")
    radius = architecture.receptive_field_radius
    height, width = architecture.input_size(20, 50 if radius is None else 3 * radius + 1)
    image = torch.rand(1, example.shape[1], height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    multiple, size = architecture.size_multiple, architecture.recipe.size
    larger = torch.zeros(1, example.shape[1], _next_multiple(size, multiple or 1), _next_multiple(size + 1, multiple or 1)).double()
    for name, network in build_generators(architecture, _prunable(architecture), "check").items():
        with torch.no_grad(), without_autocast():
            fake = network.double().eval()(image)
            if multiple is not None:
                _require_image_at(network, name, larger)
            _require(fake.ndim == 4, f"generator {name} returns no image for {width}x{height} pixels, as `input_size` returns")
            if radius is not None:
                seamless = torch.allclose(in_tiles(network, image, radius, tile=max(1, radius)), fake)
                _require(seamless, f"generator {name} depends on pixels beyond its receptive_field_radius of {radius}")


def _next_multiple(size: int, multiple: int) -> int:
    return size + -size % multiple


def _require_image_at(network: nn.Module, name: str, image: Tensor) -> None:
    """Require that a generator returns an image of the shape of `image`, or enlarges both sides by one factor."""
    height, width = image.shape[2:]
    size = f"{width}x{height} pixels, multiples of size_multiple"
    try:
        fake = network(image)
    except RuntimeError as error:
        raise PluginError(f"generator {name} cannot run at {size}: {error}") from error
    scale = fake.shape[2] // height
    _require(tuple(fake.shape[2:]) == (scale * height, scale * width), f"generator {name} returns {tuple(fake.shape)} for {size}")


def check_artifact(arch: str, architecture: Architecture[Any], folder: Path) -> None:
    """Check that a saved generator is loaded bit-equal."""
    for name, network in build_generators(architecture, _prunable(architecture), "check").items():
        widths = architecture.full_widths(architecture.recipe.prune_width)
        artifact = Artifact(folder / name, "student", arch, name, architecture.recipe, widths, {}, environment(torch.device("cpu")))
        save(artifact, network, "")
        loaded = load(artifact.folder).state_dict()
        for path, tensor in network.state_dict().items():
            _require(torch.equal(tensor, loaded[path]), f"generator {name}: {path} changes when it is saved and loaded")


def _families() -> Iterator[type[Architecture[Any]]]:
    """Yield the working families."""
    for listing in ARCHITECTURES.listings():
        if listing.fault is None:
            yield ARCHITECTURES.load(listing.name)


def _check_taps(paths: tuple[str, ...], networks: Networks) -> None:
    for name, network in networks.items():
        missing = set(paths) - {path for path, _ in network.named_modules()}
        _require(not missing, f"taps {sorted(missing)} are not modules of {name}")


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
