"""The gates of discriminators."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gcc.models.build import build_discriminators, build_generators
from gcc.models.gate import ChannelGate, gates
from gcc.models.modules import NORMS
from gcc.registry import Architecture
from gcc.testing.common import prunable_widths, random_batch, require


def check_gates(architecture: Architecture[Any]) -> None:
    """Check that gates with every channel on change neither outputs nor module paths."""
    tau = architecture.recipe.tau
    plain = build_discriminators(architecture, "check")
    gated = build_discriminators(architecture, "check", lambda channels: ChannelGate(channels, tau))
    batch = random_batch(architecture)
    generators = build_generators(architecture, prunable_widths(architecture), "check")
    with torch.no_grad():
        pairs = architecture.pairs(batch, architecture.generate(generators, batch))
        for name, network in plain.items():
            names = {path for path, _ in network.named_parameters()}
            require(names <= {path for path, _ in gated[name].named_parameters()}, f"gates rename parameters of discriminator {name}")
            require(bool(gates(gated[name])), f"discriminator {name} calls no gate")
            unchanged = torch.equal(network(pairs[name].fake), gated[name](pairs[name].fake))
            require(unchanged, f"gates with every channel on change the logits of discriminator {name}")
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
        require(follows_layer, f"gate {path} of discriminator {name} is not directly after a convolution or its norm")
        before_norm = any(isinstance(module, NORMS) and inputs_of[module] is outputs_of[gate] for module in inputs_of)
        require(not before_norm, f"gate {path} of discriminator {name} is before a norm: expected it after the norm")
        require(outputs_of[gate] is not logits, f"gate {path} of discriminator {name} is after the logits: expected no gate there")
