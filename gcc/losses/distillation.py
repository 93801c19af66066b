r"""Online collaborative distillation (Li et al. 2021, Eq. 9 and 10, and Eq. I)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gcc.losses.adversarial import total
from gcc.registry import Batch, Distiller, GeneratorView, Networks

Features = Mapping[str, Tensor]
"""The outputs of a network's tapped layers by module path, each (N, C, H, W)."""

EPSILON = 1e-12
"""Added under each square root, whose slope is infinite at 0."""


def modules_at(network: nn.Module, paths: Sequence[str]) -> dict[str, nn.Module]:
    """Return the modules at `paths`, without paths that the network lacks: a pruned student may lack that level."""
    modules = dict(network.named_modules())
    return {path: modules[path] for path in paths if path in modules}


class FeatureHooks:
    """Hooks on layers of a network that store the layers' outputs on demand.

    The hooks are permanent, since a compiled network does not notice hooks that are added or removed later.

    Args:
        layers: the layers by module path.

    Attributes:
        features: the dictionary in which outputs are stored, by module path; None if they are not stored.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self.features: dict[str, Tensor] | None = None
        self._hooks = [module.register_forward_hook(partial(self._store, path)) for path, module in layers.items()]

    def _store(self, path: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        if self.features is not None:
            self.features[path] = output

    @contextmanager
    def storing(self, features: dict[str, Tensor] | None) -> Iterator[None]:
        """Store the layers' outputs in `features` within this context; a later forward pass replaces an earlier one."""
        before, self.features = self.features, features
        try:
            yield
        finally:
            self.features = before

    def remove(self) -> None:
        """Remove the hooks from the layers."""
        for hook in self._hooks:
            hook.remove()


@contextmanager
def stored_features(hooks: Mapping[str, FeatureHooks]) -> Iterator[dict[str, dict[str, Tensor]]]:
    """Store the outputs of hooked layers within this context, by network and module path; a later pass replaces an earlier one."""
    features: dict[str, dict[str, Tensor]] = {name: {} for name in hooks}
    with ExitStack() as stack:
        for name, of_network in hooks.items():
            stack.enter_context(of_network.storing(features[name]))
        yield features


@contextmanager
def tapped(taps: Mapping[str, Mapping[str, nn.Module]]) -> Iterator[dict[str, dict[str, Tensor]]]:
    """Store the outputs of the layers `taps`, by network and module path, with hooks that exist only within this context."""
    hooks = {name: FeatureHooks(layers) for name, layers in taps.items()}
    try:
        with stored_features(hooks) as features:
            yield features
    finally:
        for of_network in hooks.values():
            of_network.remove()


def gram(features: Tensor) -> Tensor:
    """Return the channels' inner products averaged over positions: (N, C, ...) to (N, C, C), in float32."""
    flat = features.float().flatten(2)
    with torch.autocast(flat.device.type, enabled=False):
        return flat @ flat.mT / flat.shape[2]


def content(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the root of the mean squared difference of features (N, C, H, W) per sample, averaged over the batch (Eq. 10)."""
    squared = (student.float() - teacher.float()).square().flatten(1).mean(1)
    return (squared + EPSILON).sqrt().mean()


def texture(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Return `||Gram(student) - Gram(teacher)||_F / c^2` per sample, averaged over the batch (Eq. I).

    Inner products are averaged over the h w positions; the gamma_t of Table I refer to this scale.
    """
    squared = (gram(student) - gram(teacher)).square().sum((1, 2))
    return (squared + EPSILON).sqrt().mean() / student.shape[1] ** 2


def distillation_loss(student: Features, teacher: Features, gamma_m: float, gamma_t: float) -> Tensor:
    """Return `sum over l of gamma_m content + gamma_t texture` over the layers l of `student` (Eq. 10); a scalar in float32.

    The teacher's features are constants here: no gradient reaches them.
    """
    losses = []
    for path, features in student.items():
        target = teacher[path].detach()
        losses.append(gamma_m * content(features, target) + gamma_t * texture(features, target))
    return torch.stack(losses).sum()


class Projections(nn.Module):
    """The maps f_l of Eq. 9: a trained, bias-free 1x1 convolution per tapped layer, from the student's channels to the teacher's.

    Args:
        student: channels of the student's features by module path.
        teacher: channels of the teacher's features by module path.
    """

    def __init__(self, student: Mapping[str, int], teacher: Mapping[str, int]) -> None:
        super().__init__()
        self.paths = tuple(path for path in teacher if path in student)
        self.maps = nn.ModuleList(nn.Conv2d(student[path], teacher[path], 1, bias=False) for path in self.paths)

    def forward(self, features: Features) -> dict[str, Tensor]:
        """Map the student's features, each (N, C, H, W), to the teacher's channels."""
        return {path: convolution(features[path]) for path, convolution in zip(self.paths, self.maps, strict=True)}

    @torch.no_grad()
    def fit(self, student: Features, teacher: Features, mean: Callable[[Tensor], Tensor]) -> None:
        """Set each map to the one whose result is closest to the teacher's features at the same positions, by least squares.

        Args:
            student: the student's features, each (N, C, H, W).
            teacher: the teacher's, with the same H and W.
            mean: averages a tensor over all ranks.
        """
        for path, weight in zip(self.paths, self.parameters(), strict=True):
            own, wanted = (features[path].double().movedim(1, -1).flatten(0, -2) for features in (student, teacher))
            moments = (mean(own.mT @ values / len(own)).cpu() for values in (own, wanted))
            # The driver allows features that depend on each other linearly, such as a channel that is always 0.
            solution = torch.linalg.lstsq(*moments, driver="gelsd").solution
            weight.copy_(solution.mT[:, :, None, None])


class Collaborative(Distiller):
    """The paper's term (Li et al. 2021, Eq. 9 and 10): features of the generators and of the teacher's discriminators."""

    @property
    def reads_generators(self) -> bool:
        return bool(self.recipe.lambda_distill_g)

    @property
    def reads_discriminators(self) -> bool:
        return bool(self.recipe.lambda_distill_d)

    def losses(self, batch: Batch, student: GeneratorView, teacher: GeneratorView, auxiliary: Networks) -> dict[str, Tensor]:
        losses = {}
        for term, weight, of_student, of_teacher in (
            ("distill_G", self.recipe.lambda_distill_g, student.features, teacher.features),
            ("distill_D", self.recipe.lambda_distill_d, student.discriminated, teacher.discriminated),
        ):
            distances = [
                distillation_loss(features, of_teacher[name], self.recipe.gamma_m, self.recipe.gamma_t)
                for name, features in of_student.items()
                if features
            ]
            if weight and distances:
                losses[term] = weight * total(distances)
        return losses
