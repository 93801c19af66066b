"""The L1 subgradient of the first step, which separates important channels from others (Li et al. 2021, Algorithm 1, line 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from gcc.pruning.importance import as_it_is
from gcc.registry.importance import ImportanceMetric
from gcc.registry.stored_weights import effective_weight, stored_parameters
from gcc.registry.types import Group


class L1Subgradient:
    """Adds the subgradient of `strength * sum |w|` over everything that a metric regularises to the gradients.

    For a layer under spectral norm or weight norm, `w` is its effective weight. A weight of which groups name parts counts as a whole.

    Args:
        networks: the generators.
        groups: their channel groups.
        metric: names the parameters.
        strength: factor on the subgradient.
        readable: returns a network as metrics read it; see `Architecture.readable`.
    """

    def __init__(
        self,
        networks: Iterable[nn.Module],
        groups: Sequence[Group],
        metric: ImportanceMetric,
        strength: float,
        readable: Callable[[nn.Module], nn.Module] = as_it_is,
    ) -> None:
        self.strength = strength
        self.plain: list[Tensor] = []
        self.computed: list[tuple[nn.Module, str]] = []
        """Network and parameter name of every effective weight that is not stored as it is."""
        for network in networks:
            view = readable(network)
            # Parts of a weight are named after it.
            names = {id(parameter): name.partition("[")[0] for name, parameter in view.named_parameters()}
            listed: set[int] = set()
            for name in dict.fromkeys(names[id(parameter)] for parameter in regularized(view, groups, metric)):
                parameter = network.get_parameter(name)
                if effective_weight(network, name) is parameter:
                    self.plain.append(parameter)
                elif id(parameter) not in listed:
                    self.computed.append((network, name))
                    listed |= {id(stored) for stored in stored_parameters(network, name)}

    def __call__(self) -> None:
        """Add the subgradient; call it between the backward pass and the optimizer's step."""
        add_subgradient(self.plain, self.strength)
        for network, name in self.computed:
            stored = [parameter for parameter in stored_parameters(network, name) if parameter.grad is not None]
            if stored:
                with torch.enable_grad():
                    weight = effective_weight(network, name)
                gradients = torch.autograd.grad(weight, stored, weight.detach().sign())
                torch._foreach_add_([parameter.grad for parameter in stored if parameter.grad is not None], gradients, alpha=self.strength)


def regularized(network: nn.Module, groups: Sequence[Group], metric: ImportanceMetric) -> list[Tensor]:
    """Return the parameters that `metric` regularises, each once even if several groups share it."""
    named = {id(parameter): parameter for group in groups for parameter in metric.regularized_parameters(network, group)}
    return list(named.values())


@torch.no_grad()
def add_subgradient(parameters: Sequence[Tensor], strength: float) -> None:
    """Add the subgradient of `strength * sum |p|` to the gradients: `grad += strength * sign(p)`, with sign(0) = 0.

    Call it after the backward pass, once the gradients are unscaled, and before the optimiser's step. A parameter without a gradient is
    skipped. The host does not wait for the device.
    """
    updated = [parameter for parameter in parameters if parameter.grad is not None]
    grads = [parameter.grad for parameter in updated if parameter.grad is not None]
    if updated:
        torch._foreach_add_(grads, torch._foreach_sign(updated), alpha=strength)
