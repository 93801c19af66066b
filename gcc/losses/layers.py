"""The layers that are distilled, as a selector chooses them, and the maps f_l between the two generators' channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gcc.errors import RecipeError, listed, suggestion
from gcc.losses.distillation import Projections, modules_at, tapped
from gcc.losses.selectors import Named, distillable
from gcc.registry import SELECTORS, Architecture, LayerSelector, Networks


@dataclass(frozen=True)
class DistillationLayers:
    """Module paths of the distilled layers, by generator and by discriminator."""

    generators: Mapping[str, tuple[str, ...]]
    discriminators: Mapping[str, tuple[str, ...]]

    def to_json(self) -> dict[str, dict[str, list[str]]]:
        """Return the layers as plain JSON values."""
        return {kind: {name: list(paths) for name, paths in layers.items()} for kind, layers in vars(self).items()}

    def __str__(self) -> str:
        """The layers of each network; networks with the same ones are named together."""
        names: dict[tuple[str, ...], list[str]] = {}
        for name, paths in (*self.generators.items(), *self.discriminators.items()):
            names.setdefault(paths, []).append(name)
        return "; ".join(f"{', '.join(paths) or 'no layer'} of {' and '.join(named)}" for paths, named in names.items())


NO_LAYERS = DistillationLayers({}, {})
"""No layer is distilled."""


def choose_selector(name: str) -> LayerSelector:
    """Return the registered selector `name`, or a selector of the module names that `name` lists, joined by commas.

    Raises:
        RecipeError: a module name is empty.
    """
    if name in SELECTORS.names():
        return SELECTORS.load(name)()
    paths = [path.strip() for path in name.split(",")]
    if not all(paths):
        raise RecipeError(f"selector {name!r}: expected {', '.join(SELECTORS.names())}, or module names joined by commas")
    return Named(paths)


def select_layers(architecture: Architecture[Any], generators: Networks, discriminators: Networks) -> DistillationLayers:
    """Return the layers that the recipe's selector chooses in the teacher's networks, which are on the meta device.

    Raises:
        RecipeError: none of the networks has a module that the user named, or that module cannot be distilled.
    """
    selector = choose_selector(architecture.recipe.selector)
    published = architecture.taps()
    with torch.device("meta"), torch.no_grad():
        batch = architecture.example_batch()
        pairs = architecture.pairs(batch, architecture.generate(generators, batch))
        examples = {name: architecture.for_network(name).example_input() for name in generators}
    layers = DistillationLayers(
        {name: tuple(selector.select(network, examples[name], published.generator)) for name, network in generators.items()},
        {name: tuple(selector.select(network, pairs[name].fake, published.discriminator)) for name, network in discriminators.items()},
    )
    if isinstance(selector, Named):
        _require_selected(selector, layers, (*generators.values(), *discriminators.values()))
        with torch.device("meta"):
            for name, paths in layers.generators.items():
                _require_images(generators[name], paths, examples[name])
            for name, paths in layers.discriminators.items():
                _require_images(discriminators[name], paths, pairs[name].fake)
    return layers


def build_projections(
    architecture: Architecture[Any], teachers: Networks, students: Networks, layers: DistillationLayers
) -> dict[str, Projections]:
    """Return the maps f_l of every generator; one forward pass of teacher and student on the meta device gives their sizes."""
    teacher, student = _channels(architecture, teachers, layers), _channels(architecture, students, layers)
    return {name: Projections(student[name], teacher[name]) for name in layers.generators}


def _channels(architecture: Architecture[Any], generators: Networks, layers: DistillationLayers) -> dict[str, dict[str, int]]:
    taps = {name: modules_at(generators[name], paths) for name, paths in layers.generators.items()}
    with torch.device("meta"), torch.no_grad(), tapped(taps) as features:
        architecture.generate(generators, architecture.example_batch())
    return {name: {path: output.shape[1] for path, output in outputs.items()} for name, outputs in features.items()}


def _require_selected(selector: Named, layers: DistillationLayers, networks: tuple[nn.Module, ...]) -> None:
    chosen = {path for paths in (*layers.generators.values(), *layers.discriminators.values()) for path in paths}
    modules = [path for network in networks for path, _ in network.named_modules() if path]
    for path in selector.paths:
        if path not in chosen:
            near = suggestion(path, [*SELECTORS.names(), *modules])
            known = near if "did you mean" in near else f" ({', '.join(SELECTORS.names())}, or a module such as {listed(modules)})"
            raise RecipeError(f"selector {path!r} is neither a selector nor a module of the networks{known}")


def _require_images(network: nn.Module, paths: tuple[str, ...], example: torch.Tensor) -> None:
    images = distillable(network, paths, example)
    for path in paths:
        if path not in images:
            raise RecipeError(
                f"selector {path!r}: expected a module that returns features (N, C, H, W) and that the network calls in training and in "
                "evaluation mode"
            )
