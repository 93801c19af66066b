"""Processes that train one run together: each plays its share of every batch, and all of them move alike."""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from safetensors.torch import load, save
from torch import Tensor, distributed, nn

from gcc.errors import GccError, RecipeError
from gcc.utils.state_tree import flatten_state, to_safetensors, unflatten_state

T = TypeVar("T")

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What `torchrun` tells every process that it starts, in its environment."""
BUCKET = 1 << 23
"""Numbers that are sent together."""
PLAIN = "plain"
"""Name of what is no tensor, on its way from one process to another; those of tensors begin with a slash."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a run, and what they do together: every method that sends anything must be called by all of them.

    Tensors on a GPU travel by NCCL, those on the CPU and all else by gloo. Alone, nothing is sent.

    Attributes:
        rank: of this process, counted from 0.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this process is the one that writes and tells."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.world == 1

    def shard(self, samples: int) -> slice:
        """Return this process's part of a batch.

        Raises:
            RecipeError: not all would have as many.
        """
        if samples % self.world:
            raise RecipeError(
                f"batches of {samples} cannot be shared by {self.world} processes: give a --batch-size that is a multiple of {self.world}, "
                "which counts the samples of all processes together"
            )
        each = samples // self.world
        return slice(self.rank * each, (self.rank + 1) * each)

    def shard_items(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's part of a list: consecutive, and as long as the others', or by one longer or shorter."""
        return items[len(items) * self.rank // self.world : len(items) * (self.rank + 1) // self.world]

    def seed_name(self, use: str) -> str:
        """Return the name of a use of the run's seed that no two processes share; alone, or in the first process, the name itself."""
        return use if self.is_main_process else f"{use} {self.rank}"

    def all_reduce_mean(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the means over all processes of scalars without a graph; the device is not waited for."""
        if self.alone or not values:
            return values
        stacked = torch.stack([value.to(torch.get_default_dtype()) for value in values.values()])
        distributed.all_reduce(stacked)
        return dict(zip(values, (stacked / self.world).unbind(), strict=True))

    def differentiable_mean(self, value: Tensor) -> Tensor:
        """Return a tensor's mean over all processes, with the gradient of this process's own.

        Its gradients, once averaged over the processes, are those of any function of the mean.
        """
        if self.alone:
            return value
        mean = value.detach().clone()
        distributed.all_reduce(mean)
        return value + (mean / self.world - value.detach())

    def average_gradients(self, gradients: Iterable[Tensor]) -> None:
        """Put the mean over all processes in every gradient's place."""
        if self.alone:
            return
        sent = []
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.flatten() for gradient in bucket])
            sent.append((bucket, flat, distributed.all_reduce(flat, async_op=True)))
        for bucket, flat, work in sent:
            work.wait()
            parts = torch.split(flat / self.world, [gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view(gradient.shape))

    def broadcast(self, network: nn.Module) -> None:
        """Give a network the first process's parameters and buffers."""
        if not self.alone:
            for tensor in network.state_dict().values():
                whole = tensor.detach().contiguous()
                distributed.broadcast(whole, 0)
                tensor.copy_(whole)

    def broadcast_object(self, value: T) -> T:
        """Return the first process's plain value, such as JSON holds; tuples come back as lists."""
        if self.alone:
            return value
        told = _bytes(json.dumps(value).encode() if self.is_main_process else b"")
        size = torch.tensor(len(told))
        distributed.broadcast(size, 0)
        told = told if self.is_main_process else torch.empty(int(size), dtype=torch.uint8)
        distributed.broadcast(told, 0)
        return cast(T, json.loads(told.numpy().tobytes()))

    def all_reduce_max(self, *numbers: int) -> list[int]:
        """Return the largest that any process gives of each number."""
        if self.alone:
            return list(numbers)
        largest = torch.tensor(numbers)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        found: list[int] = largest.tolist()
        return found

    def gather_object(self, state: Any) -> list[Any]:
        """Return the nested state of every process, in their order, to the first one; to the others none."""
        if self.alone:
            return [state]
        plain, tensors = flatten_state(state)
        sent = _bytes(save({**to_safetensors(tensors), PLAIN: _bytes(json.dumps(plain).encode())}))
        sizes = [torch.tensor(0) for _ in range(self.world)]
        distributed.all_gather(sizes, torch.tensor(len(sent)))
        # All parts must be of one size on their way.
        padded = torch.zeros(int(max(sizes)), dtype=torch.uint8)
        padded[: len(sent)] = sent
        parts = [torch.empty_like(padded) for _ in range(self.world)] if self.is_main_process else None
        distributed.gather(padded, parts)
        return [_unpacked(part[: int(size)]) for part, size in zip(parts or [], sizes, strict=False)]

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Let the first process go through this context before the others, which find what it has left."""
        if not self.is_main_process:
            distributed.barrier()
        yield
        if self.is_main_process and not self.alone:
            distributed.barrier()


SINGLE_PROCESS = Ranks()


def is_distributed_launch() -> bool:
    """Return whether this process was started as one of several, by `torchrun` or in its way."""
    return all(name in os.environ for name in LAUNCHED) and os.environ["WORLD_SIZE"] not in ("", "1")


def init_distributed() -> Ranks:
    """Return the processes that this one was started among, by `torchrun` or in its way; alone where it was not.

    Raises:
        GccError: the others cannot be reached.
    """
    if not is_distributed_launch():
        return SINGLE_PROCESS
    if not distributed.is_initialized():
        # Its functions' default is the group that is there when they are imported, as torch's optimisers do later: the group and its
        # threads would outlive `destroy_process_group`, and now and then abort a process that ends.
        import torch.distributed.nn  # noqa: F401

        try:
            distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        except (RuntimeError, ValueError) as error:
            raise GccError(f"the other processes of this run cannot be reached: {str(error).partition(chr(10))[0]}") from error
        atexit.register(distributed.destroy_process_group)
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def is_peer_lost(error: Exception) -> bool:
    """Return whether an error says that another process of the run has gone."""
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _buckets(gradients: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for gradient in gradients:
        bucket.append(gradient)
        if sum(each.numel() for each in bucket) >= BUCKET:
            yield bucket
            bucket = []
    if bucket:
        yield bucket


def _bytes(content: bytes) -> Tensor:
    # Writable, as torch demands.
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)


def _unpacked(packed: Tensor) -> Any:
    tensors = load(packed.numpy().tobytes())
    plain = tensors.pop(PLAIN).numpy().tobytes()
    return unflatten_state(json.loads(plain), tensors)
