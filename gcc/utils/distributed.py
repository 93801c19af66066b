"""Data-parallel training in several processes: each computes its share of every batch, and all take the same steps."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn

from gcc.errors import GccError, RecipeError, RunError, first_line
from gcc.utils.state_tree import flatten_state, to_safetensors, unflatten_state

T = TypeVar("T")

LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that `torchrun` sets for every process that it starts."""
BUCKET = 1 << 23
"""Gradient values that are reduced together."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a run. All of them must call every method that communicates.

    Tensors on a GPU travel by NCCL, tensors on the CPU and objects by gloo. A single process sends nothing.

    Attributes:
        rank: the number of this process, from 0.
        world: the number of processes.
    """

    rank: int = 0
    world: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this is the process that writes files and reports progress."""
        return self.rank == 0

    @property
    def is_distributed(self) -> bool:
        """Whether there are several processes."""
        return self.world > 1

    def shard(self, samples: int) -> slice:
        """Return this process's part of a batch.

        Raises:
            RecipeError: the parts would differ in size.
        """
        if samples % self.world:
            raise RecipeError(
                f"batches of {samples} cannot be shared by {self.world} processes: give a `batch_size` that is a multiple of {self.world}, "
                "which counts the samples of all processes together"
            )
        size = samples // self.world
        return slice(self.rank * size, (self.rank + 1) * size)

    def shard_items(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's part of a list. Parts are consecutive, and their lengths differ by at most one."""
        return items[len(items) * self.rank // self.world : len(items) * (self.rank + 1) // self.world]

    def seed_name(self, use: str) -> str:
        """Return a name for a use of the run's seed that no two processes share. In the main process it is `use` itself."""
        return use if self.is_main_process else f"{use} {self.rank}"

    def all_reduce_mean(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the means of detached scalars over all processes, without waiting for the device."""
        if not (self.is_distributed and values):
            return values
        stacked = torch.stack([value.to(torch.get_default_dtype()) for value in values.values()])
        distributed.all_reduce(stacked)
        return dict(zip(values, (stacked / self.world).unbind(), strict=True))

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes, the same on each of them, without a gradient."""
        mean = value.detach().clone()
        if self.is_distributed:
            distributed.all_reduce(mean)
        return mean / self.world

    def differentiable_mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes, with the gradient of this process's own value.

        Once `average_gradients` has averaged them, the gradients are those of the same function of the mean.
        """
        if not self.is_distributed:
            return value
        return value + (self.mean(value) - value.detach())

    def average_gradients(self, gradients: Iterable[Tensor]) -> None:
        """Replace every gradient by its mean over all processes."""
        if not self.is_distributed:
            return
        pending = []
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            pending.append((bucket, flat, distributed.all_reduce(flat, async_op=True)))
        for bucket, flat, work in pending:
            work.wait()
            means = torch.split(flat / self.world, [gradient.numel() for gradient in bucket])
            for gradient, mean in zip(bucket, means, strict=True):
                gradient.copy_(mean.view(gradient.shape))

    def broadcast(self, network: nn.Module) -> None:
        """Copy the main process's parameters and buffers into a network."""
        if not self.is_distributed:
            return
        for tensor in network.state_dict().values():
            contiguous = tensor.detach().contiguous()
            distributed.broadcast(contiguous, 0)
            tensor.copy_(contiguous)

    def broadcast_object(self, value: T) -> T:
        """Return the main process's value, which must not hold tensors on a GPU."""
        if not self.is_distributed:
            return value
        values = [value]
        distributed.broadcast_object_list(values)
        return values[0]

    def all_reduce_max(self, *numbers: int) -> list[int]:
        """Return the maximum of each number over all processes."""
        if not self.is_distributed:
            return list(numbers)
        maxima = torch.tensor(numbers)
        distributed.all_reduce(maxima, distributed.ReduceOp.MAX)
        return cast(list[int], maxima.tolist())

    def gather_object(self, state: Any) -> list[Any]:
        """Return the nested state of every process by rank, with tensors on the CPU; an empty list outside the main process."""
        if not self.is_distributed:
            return [state]
        plain, tensors = flatten_state(state)
        gathered: list[Any] | None = [None] * self.world if self.is_main_process else None
        distributed.gather_object((plain, to_safetensors(tensors)), gathered)
        return [unflatten_state(plain, tensors) for plain, tensors in gathered or []]

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Let the main process run this context before the others, which then find its files.

        Raises:
            RunError: in the other processes, that the main process raised an error in this context. They do not run it.
        """
        if not self.is_main_process:
            failure = self.broadcast_object("")
            if failure:
                raise RunError(f"the main process failed: {failure}")
            yield
            return
        failure = ""
        try:
            yield
        except BaseException as error:
            failure = first_line(error) or type(error).__name__
            raise
        finally:
            self.broadcast_object(failure)

    def compute_on_main_process(self, function: Callable[[], T]) -> T:
        """Return what a function returns in the main process, the only one that calls it. It must not hold tensors on a GPU.

        Raises:
            RunError: in the other processes, that the function raised an error.
        """
        value: T | None = None
        with self.main_process_first():
            if self.is_main_process:
                value = function()
        return cast(T, self.broadcast_object(value))


SINGLE_PROCESS = Ranks()


def is_distributed_launch() -> bool:
    """Return whether `torchrun`, or a launcher that sets the same variables, started this process as one of several."""
    return all(name in os.environ for name in LAUNCHER_VARIABLES) and os.environ["WORLD_SIZE"] not in ("", "1")


def init_distributed() -> Ranks:
    """Join the processes that were launched together and return them; a process that was launched alone gets `SINGLE_PROCESS`.

    Raises:
        GccError: the other processes cannot be reached.
    """
    if not is_distributed_launch():
        return SINGLE_PROCESS
    if not distributed.is_initialized():
        # This module binds the current process group as a default argument when it is first imported, as torch's optimizers do later. A
        # group that is bound outlives `destroy_process_group` together with its threads, which can abort a process that is ending.
        import torch.distributed.nn  # noqa: F401

        try:
            distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        except (RuntimeError, ValueError) as error:
            raise GccError(f"the other processes of this run cannot be reached: {first_line(error)}") from error
        atexit.register(distributed.destroy_process_group)
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def is_peer_lost(error: Exception) -> bool:
    """Return whether an error says that another process of the run has ended."""
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _buckets(gradients: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for gradient in gradients:
        bucket.append(gradient)
        if sum(member.numel() for member in bucket) >= BUCKET:
            yield bucket
            bucket = []
    if bucket:
        yield bucket
