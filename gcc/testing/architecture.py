"""The contract of GAN families."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gcc.artifacts.config import Artifact
from gcc.artifacts.model import environment, load, save
from gcc.deploy.tiles import in_tiles
from gcc.errors import PluginError
from gcc.models.build import build_discriminators, build_generators
from gcc.models.modules import without_autocast
from gcc.registry import ARCHITECTURES, DATASETS, METRICS, Architecture
from gcc.testing.common import check_taps, prunable_widths, random_batch, require, warn_of_old_names
from gcc.testing.gates import check_gates
from gcc.testing.metric import check_scores
from gcc.testing.widths import check_costs_fall, check_groups, check_widths, check_zero_widths
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
    warn_of_old_names(family)
    check_family(arch, family(family.demo()), folder, seed)


def check_family(arch: str, architecture: Architecture[Any], folder: Path, seed: int = 0) -> None:
    """Run the same checks with the recipe of `architecture`.

    Raises:
        PluginError: the architecture breaks its contract; the message says where.
    """
    widths = architecture.widths(architecture.recipe.prune_width)
    generator = random.Random(seed)
    check_groups(architecture)
    metric = architecture.recipe.metric
    require(check_scores(METRICS.load(metric)(), architecture), f"the recipe's metric {metric!r} scores no channel: choose another one")
    for _ in range(TRIALS):
        check_widths(architecture, {name: generator.randint(width.minimum, width.channels) for name, width in widths.items()})
    check_costs_fall(architecture)
    check_zero_widths(architecture)
    check_gates(architecture)
    check_step(architecture)
    check_inputs(architecture)
    check_artifact(arch, architecture, folder)


def check_step(architecture: Architecture[Any]) -> None:
    """Check that samples, pairs, losses, taps, visuals and the evaluators' input fit together."""
    generators = build_generators(architecture, prunable_widths(architecture), "check")
    discriminators = build_discriminators(architecture, "check")
    batch = random_batch(architecture)
    samples = architecture.generate(generators, batch)
    pairs = architecture.pairs(batch, samples)
    require(pairs.keys() == discriminators.keys(), f"pairs are {sorted(pairs)}: expected one for each of {sorted(discriminators)}")
    for name, pair in pairs.items():
        require(pair.real.shape == pair.fake.shape, f"pair {name}: real is {tuple(pair.real.shape)}, fake {tuple(pair.fake.shape)}")
    auxiliary = architecture.build_auxiliary(Weights())
    networks, prepared = {**generators, **auxiliary}, architecture.prepare(batch, auxiliary)
    losses = architecture.task_losses(networks, prepared, samples) | architecture.data_losses(networks, prepared)
    pretraining = architecture.pretraining_losses(batch, samples)
    require(bool(pretraining) or not architecture.recipe.pretrain_epochs, "pretrain_epochs is set, but pretraining_losses returns none")
    for term, loss in (losses | pretraining).items():
        require(loss.ndim == 0 and loss.requires_grad, f"the loss {term!r} is not a scalar with a gradient for the generators")
    check_taps(architecture.taps().generator, generators)
    check_taps(architecture.taps().discriminator, discriminators)
    columns = architecture.visuals(batch, {"teacher": samples, "student": samples})
    are_images = all(column.ndim == 4 for column in columns.values())
    require(are_images, "visuals returns columns that are not (N, C, H, W)")
    eval_samples = architecture.eval_samples(batch, samples)
    require(
        eval_samples.keys() == generators.keys(), f"eval_samples has {sorted(eval_samples)}: expected the generators {sorted(generators)}"
    )
    for name, sample in eval_samples.items():
        for key in (sample.source, sample.target):
            require(key in sample.batch, f"eval_samples {name}: {key!r} is not a key of the batch")
        shapes = tuple(sample.fake.shape), tuple(sample.real.shape)
        require(shapes[0] == shapes[1], f"eval_samples {name}: fake is {shapes[0]}, real {shapes[1]}")


def check_inputs(architecture: Architecture[Any]) -> None:
    """Check that the demo data, the noise and users' images fit the generators."""
    kind = DATASETS.load(architecture.demo_source).samples
    require(kind == architecture.samples, f"demo_source {architecture.demo_source!r} has samples {kind!r}, not {architecture.samples!r}")
    example = architecture.example_input()
    z, again = (architecture.sample_z(np.random.default_rng(0)) for _ in range(2))
    if z is not None and again is not None:
        require(z.shape == example.shape[1:], f"sample_z returns the shape {tuple(z.shape)}: expected {tuple(example.shape[1:])}")
        require(z.dtype == example.dtype, f"sample_z returns {z.dtype}: expected {example.dtype}, as in example_input")
        require(torch.equal(z, again), "sample_z depends on more than its random generator")
        return
    require(example.ndim == 4, f"the generators take {tuple(example.shape)}, which is not an image: expected noise from `sample_z`")
    radius = architecture.receptive_field_radius
    height, width = architecture.input_size(20, 50 if radius is None else 3 * radius + 1)
    image = torch.rand(1, example.shape[1], height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    multiple, size = architecture.size_multiple, architecture.recipe.size
    larger = torch.zeros(1, example.shape[1], _next_multiple(size, multiple or 1), _next_multiple(size + 1, multiple or 1)).double()
    for name, network in build_generators(architecture, prunable_widths(architecture), "check").items():
        with torch.no_grad(), without_autocast():
            fake = network.double().eval()(image)
            if multiple is not None:
                _require_image_at(network, name, larger)
            require(fake.ndim == 4, f"generator {name} returns no image for {width}x{height} pixels, as `input_size` returns")
            if radius is not None:
                seamless = torch.allclose(in_tiles(network, image, radius, tile=max(1, radius)), fake)
                require(seamless, f"generator {name} depends on pixels beyond its receptive_field_radius of {radius}")


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
    require(tuple(fake.shape[2:]) == (scale * height, scale * width), f"generator {name} returns {tuple(fake.shape)} for {size}")


def check_artifact(arch: str, architecture: Architecture[Any], folder: Path) -> None:
    """Check that a saved generator is loaded bit-equal."""
    for name, network in build_generators(architecture, prunable_widths(architecture), "check").items():
        widths = architecture.full_widths(architecture.recipe.prune_width)
        artifact = Artifact(folder / name, "student", arch, name, architecture.recipe, widths, {}, environment(torch.device("cpu")))
        save(artifact, network, "")
        loaded = load(artifact.folder).state_dict()
        for path, tensor in network.state_dict().items():
            require(torch.equal(tensor, loaded[path]), f"generator {name}: {path} changes when it is saved and loaded")
