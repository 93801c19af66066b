"""The contract of distillers."""

from __future__ import annotations

from typing import Any

import torch

from gcc.losses.distillation import modules_at, tapped
from gcc.models.build import build_discriminators, build_generators
from gcc.registry import DISTILLERS, Architecture, Batch, Distiller, GeneratorView, Networks
from gcc.testing.common import prunable_widths, random_batch, require, working_families
from gcc.utils.weights import Weights


def check_distiller(name: str, weights: Weights | None = None) -> None:
    """Check a distiller on the images and features of every working family, with random weights.

    Args:
        name: registered name of the distiller.
        weights: finds the trained weights of its networks. None finds them in torch's cache.

    Raises:
        PluginError: the distiller breaks its contract; the message says where.
        GccError: weights are missing.
    """
    for family in working_families():
        check_distiller_losses(DISTILLERS.load(name), family(family.demo()), weights or Weights())


def check_distiller_losses(plugin: type[Distiller], architecture: Architecture[Any], weights: Weights) -> None:
    """Check a distiller's losses with a family's networks.

    Raises:
        PluginError: the distiller breaks its contract; the message says where.
    """
    distiller = plugin(architecture.recipe)
    auxiliary = {name: network.eval().requires_grad_(False) for name, network in distiller.build_auxiliary(weights).items()}
    batch, discriminators = random_batch(architecture), build_discriminators(architecture, "check")
    student, teacher = (_view(distiller, architecture, batch, role, discriminators) for role in ("student", "teacher"))
    losses, again = (distiller.losses(batch, student, teacher, auxiliary) for _ in range(2))
    require(bool(losses), "losses returns none")
    for term, loss in losses.items():
        require(loss.ndim == 0, f"the loss {term!r} has the shape {tuple(loss.shape)}: expected a scalar")
        require(loss.requires_grad, f"the loss {term!r} has no gradient for the student's generators")
        require(bool(loss.isfinite()), f"the loss {term!r} is not finite")
        require(torch.equal(loss, again[term]), f"the loss {term!r} differs when it is computed again")
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), list(student.fake.values()), allow_unused=True)
    require(all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients), "a gradient is not finite")


def _view(distiller: Distiller, architecture: Architecture[Any], batch: Batch, role: str, discriminators: Networks) -> GeneratorView:
    """Return what a distiller sees of new generators; only the student's have gradients."""
    generators, taps = build_generators(architecture, prunable_widths(architecture), role), architecture.taps()
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
