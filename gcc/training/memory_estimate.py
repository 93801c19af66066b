"""How much memory training takes, counted on tensors without values."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gcc.data.loader import Loader
from gcc.models.data_access import DataAccess, keep
from gcc.models.modules import Widths
from gcc.registry import Architecture, Batch, Gate, Networks, no_gate
from gcc.training.context import RunContext, Stream
from gcc.training.loss_tree import LossTree
from gcc.training.precision import ExecutionConfig
from gcc.training.teacher import Teacher
from gcc.training.teacher_networks import TeacherNetworks, Untrained


class Cooperation(Protocol):
    """The part of the interface of `gcc.compressor.Compressor` that the estimate needs."""

    context: RunContext
    widths: dict[str, Widths]
    epoch: int

    def reinitialize(self) -> None:
        """Build the pairs."""

    def cooperate(self, first: Batch, second: Batch) -> LossTree:
        """Train both pairs on two batches."""


C = TypeVar("C", bound=Cooperation)


def bytes_of_step(compressor: C, widths: dict[str, Widths]) -> int:
    """Return the most bytes that the tensors of a step of Algorithm 1's second step hold at the same time. Nothing is computed.

    Memory that kernels need for themselves, and that the allocator keeps, is not counted.

    Args:
        compressor: the compression; it stays as it is.
        widths: of the student's generators.
    """
    trial = copy(compressor)
    trial.context, trial.widths, trial.epoch = _fake_context(compressor.context), widths, 1
    loader = Loader(
        trial.context.data.train,
        trial.context.architecture.sample_z,
        batch_size=trial.context.recipe.batch_size,
        seed=trial.context.recipe.seed,
        device=trial.context.device,
        ranks=trial.context.ranks,
    )
    batch = next(loader.batches(1, Stream.TRAIN))
    with fake_tensors() as tracker:
        trial.reinitialize()
        # In the first step Adam has no moments yet.
        for _ in range(2):
            first, second = (_prepared(trial.context, batch) for _ in range(2))
            trial.cooperate(first, second)
    frozen = chain(trial.context.auxiliary.values(), *(networks.values() for networks in trial.context.distiller_networks.values()))
    weights = chain.from_iterable(network.parameters() for network in frozen)
    return tracker.peak + sum(parameter.numel() * parameter.element_size() for parameter in weights)


def _fake_context(context: RunContext) -> RunContext:
    """Return a copy of a context whose networks have no values."""
    cpu, dtype = torch.device("cpu"), context.execution.dtype
    fake = copy(context)
    fake.device, fake.architecture = cpu, _without_values(context.architecture)
    fake.teacher = Teacher(context.arch, context.teacher.settings, Unloaded(context.arch, context.teacher.networks))
    # A gradient scaler looks at values. bfloat16 takes as much memory as float16, and needs none.
    fake.execution = FakeExecution(cpu, torch.bfloat16 if dtype == torch.float16 else dtype, micro_batch=context.execution.micro_batch)
    fake.auxiliary = _on_cpu(context.auxiliary)
    fake.distiller_networks = {name: _on_cpu(networks) for name, networks in context.distiller_networks.items()}
    return fake


def _without_values(architecture: Architecture[Any]) -> Architecture[Any]:
    """Return a family whose networks, if they are built among fake tensors, are fake too."""

    class WithoutValues(type(architecture)):  # type: ignore[misc]
        def build_generator(self, widths: Mapping[str, int]) -> nn.Module:
            return _built_without_values(partial(super().build_generator, widths))

        def build_discriminator(self, gate: Gate = no_gate) -> nn.Module:
            return _built_without_values(partial(super().build_discriminator, gate))

    return WithoutValues(architecture.recipe)


def _built_without_values(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a network of fake tensors, or on the meta device if that is the default."""
    # A generator that a user brings is copied, and fake tensors cannot be.
    with unset_fake_temporarily(), torch.device("meta"):
        network = build()
    return network if torch.get_default_device().type == "meta" else network.to_empty(device="cpu")


def _on_cpu(networks: Networks) -> Networks:
    return {name: deepcopy(network).to("cpu") for name, network in networks.items()}


def _prepared(context: RunContext, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return context.architecture.prepare({key: value.clone() for key, value in batch.items()}, context.auxiliary)


class MemoryTracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that are created in its context and alive.

    Attributes:
        now: bytes that are alive.
        peak: the most bytes that were alive at the same time.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            # Views share a storage, which counts once.
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage()) not in self._known:
                self._known.add(storage)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return result

    def _add(self, count: int) -> None:
        self.now += count
        self.peak = max(self.peak, self.now)


@dataclass(frozen=True)
class Unloaded(Untrained):
    """The networks of a teacher, whose weights are not loaded.

    Attributes:
        given: the networks.
    """

    given: TeacherNetworks

    @property
    def family(self) -> type[Architecture[Any]]:
        return self.given.family

    @property
    def has_discriminators(self) -> bool:
        return self.given.has_discriminators


class FakeExecution(ExecutionConfig):
    """The execution of networks on fake tensors, which are on no device."""

    def to_device(self, network: nn.Module) -> nn.Module:
        return network


@contextmanager
def fake_tensors() -> Iterator[MemoryTracker]:
    """Compute nothing in this context: tensors have shapes and types without values, and are counted as if they had them."""
    with FakeTensorMode(allow_non_fake_inputs=True), DataAccess(write=keep), MemoryTracker() as tracker:
        yield tracker
