"""The contract of selectors of distillation layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gcc.losses.distillation import modules_at, tapped
from gcc.losses.layers import build_projections, select_layers
from gcc.models.build import generators_on_meta
from gcc.models.modules import on_meta
from gcc.recipe import changed
from gcc.registry import Architecture
from gcc.testing.common import check_taps, require, working_families


def check_selector(name: str) -> None:
    """Check a selector of the layers to distil on the networks of every working family.

    Args:
        name: registered name of the selector.

    Raises:
        PluginError: the selector breaks its contract; the message says where.
    """
    for family in working_families():
        check_layers(family(changed(family.demo(), {"selector": name})))


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
        require(bool(layers.generators[name]), f"no layer of generator {name} of {type(architecture).__name__} is chosen")
        _check_features(network, layers.generators[name], partial(architecture.generate, teachers, batch))
    for name, network in discriminators.items():
        _check_features(network, layers.discriminators[name], partial(network, pairs[name].fake))
    build_projections(architecture, teachers, students, layers)


def _check_features(network: nn.Module, paths: Sequence[str], run: Callable[[], object]) -> None:
    check_taps(tuple(paths), {type(network).__name__: network})
    require(len(set(paths)) == len(paths), f"a layer is chosen twice: {', '.join(paths)}")
    require(not any(module._forward_hooks for module in network.modules()), "select leaves hooks in the network")
    with torch.device("meta"), torch.no_grad(), tapped({"": modules_at(network, paths)}) as features:
        run()
    for path in paths:
        output = features[""].get(path)
        shape = output.shape if isinstance(output, Tensor) else type(output).__name__
        require(isinstance(output, Tensor) and output.ndim == 4, f"{path} returns {shape}: expected features (N, C, H, W)")
