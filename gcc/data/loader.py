"""Batches of samples that depend only on seed, stream and epoch."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from gcc.errors import DataError
from gcc.registry.dataset import DatasetSource
from gcc.utils.distributed import SINGLE_PROCESS, Ranks

SampleZ = Callable[[np.random.Generator], Tensor | None]
"""Draws the random input `z` of one sample, or returns None; see `Architecture.sample_z`."""
Key = tuple[int, tuple[int, ...] | None]
"""A sample's index and the seed of its augmentation; None for a sample that is not augmented."""
READER_KILLED = "a process that reads images was killed: if memory is short, give fewer `workers`"


@dataclass(frozen=True)
class _Failure:
    """The message of a `DataError`, which a worker returns because `DataLoader` would bury the exception in a traceback."""

    message: str


class _Samples(Dataset["dict[str, Tensor] | _Failure"]):
    """The samples of a source by key, with the generators' random input."""

    def __init__(self, source: DatasetSource, sample_z: SampleZ) -> None:
        self.source = source
        self.sample_z = sample_z

    def __getitem__(self, key: Key) -> dict[str, Tensor] | _Failure:
        index, seed = key
        try:
            random = np.random.default_rng(index if seed is None else seed)
            sample = self.source.sample(index, None if seed is None else random)
        except DataError as error:
            return _Failure(str(error))
        return add_z(sample, self.sample_z, random)


@dataclass
class _Order:
    """The keys of the next batches; a `DataLoader` iterates over it again for every epoch."""

    batches: Sequence[list[Key]] = field(default_factory=list)

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.batches)


class Loader:
    """Training batches of a source, independent of the number of workers and of where an epoch is resumed.

    The order is a permutation drawn from (seed, stream, epoch). Augmentation and random input are drawn from (seed, stream, epoch, index),
    those of sample 0 from (seed, stream, epoch, 0, 1).
    Torch's global random state does not change. Workers live as long as the loader.

    Args:
        source: the samples.
        sample_z: draws a sample's random input.
        batch_size: samples in a batch, over all processes. A smaller last batch of an epoch is dropped unless it is the only one.
        seed: seed of the order and the augmentation.
        device: the device of the batches.
        workers: processes that read ahead for each stream. 0 reads in this process.
        ranks: the processes that share every batch.

    Raises:
        DataError: the source has no samples.
        RecipeError: the processes cannot share a batch evenly.
    """

    def __init__(
        self,
        source: DatasetSource,
        sample_z: SampleZ,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        workers: int = 0,
        ranks: Ranks = SINGLE_PROCESS,
    ) -> None:
        self.source = source
        self.sample_z = sample_z
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self.workers = workers
        self.steps = steps_per_epoch(source, batch_size)
        self._share = ranks.shard(min(batch_size, len(source)))
        self._streams: dict[int, tuple[_Order, DataLoader[dict[str, Tensor] | _Failure]]] = {}

    def batches(self, epoch: int, stream: int, start: int = 0) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of `epoch` from number `start` on, each tensor (N, ...), on the device.

        Streams are independent and may be read in parallel. A new call for a stream ends the previous one.

        Raises:
            DataError: a sample cannot be read.
        """
        if stream not in self._streams:
            order = _Order()
            self._streams[stream] = order, _data_loader(_Samples(self.source, self.sample_z), order, self.device, self.workers)
        order, loader = self._streams[stream]
        order.batches = self._keys(epoch, stream)[start:]
        yield from _to_device(loader, self.device)

    def close(self, stream: int) -> None:
        """Close a stream and its workers."""
        self._streams.pop(stream, None)

    def _keys(self, epoch: int, stream: int) -> list[list[Key]]:
        permutation = np.random.default_rng((self.seed, stream, epoch)).permutation(len(self.source))
        keys: list[Key] = [(int(index), self._seed_of_sample(epoch, stream, int(index))) for index in permutation]
        return [keys[step * self.batch_size : (step + 1) * self.batch_size][self._share] for step in range(self.steps)]

    def _seed_of_sample(self, epoch: int, stream: int, index: int) -> tuple[int, ...]:
        # NumPy pads short seeds with zeros: (seed, stream, epoch, 0) would repeat the numbers of the order.
        return (self.seed, stream, epoch, index) if index else (self.seed, stream, epoch, 0, 1)


def add_z(sample: dict[str, Tensor], sample_z: SampleZ, random: np.random.Generator) -> dict[str, Tensor]:
    """Return a sample with the generators' random input `z`; the sample itself if generators take images."""
    z = sample_z(random)
    return sample if z is None else sample | {"z": z}


def reader_died(error: Exception) -> bool:
    """Return whether an error says that a worker has died. A signal handler of torch raises it, at any point of the run."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")


def in_order(
    source: DatasetSource, sample_z: SampleZ, indices: Sequence[int], batch_size: int, device: torch.device, workers: int = 0
) -> Iterator[dict[str, Tensor]]:
    """Yield these samples in order and without augmentation, in batches of `batch_size`; the last may be smaller.

    Raises:
        DataError: a sample cannot be read.
    """
    keys: list[Key] = [(index, None) for index in indices]
    order = _Order([keys[start : start + batch_size] for start in range(0, len(keys), batch_size)])
    yield from _to_device(_data_loader(_Samples(source, sample_z), order, device, workers), device)


def steps_per_epoch(source: DatasetSource, batch_size: int) -> int:
    """Return the number of full batches in an epoch, or 1 if there are fewer samples than in a batch.

    Raises:
        DataError: the source has no samples.
    """
    if not len(source):
        raise DataError("the dataset has no samples")
    return max(1, len(source) // batch_size)


def _data_loader(samples: _Samples, order: _Order, device: torch.device, workers: int) -> DataLoader[dict[str, Tensor] | _Failure]:
    return DataLoader(
        samples,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=device.type == "cuda",
        worker_init_fn=_ignore_interrupts,
        persistent_workers=workers > 0,
        # A data loader draws a seed for each epoch. From the global generator, it would change the dropout of a resumed run.
        generator=torch.Generator(),
    )


def _ignore_interrupts(worker: int) -> None:
    """Ignore the signals that a terminal or a job launcher sends to all processes of a job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()


def _collate(samples: list[dict[str, Tensor] | _Failure]) -> dict[str, Tensor] | _Failure:
    for sample in samples:
        if isinstance(sample, _Failure):
            return sample
    batch: dict[str, Tensor] = default_collate(samples)
    return batch


def _to_device(loader: DataLoader[dict[str, Tensor] | _Failure], device: torch.device) -> Iterator[dict[str, Tensor]]:
    batches = iter(loader)
    while (batch := _next(batches, loader.num_workers)) is not None:
        if isinstance(batch, _Failure):
            raise DataError(batch.message)
        yield {key: value.to(device, non_blocking=True) for key, value in batch.items()}


def _next(batches: Iterator[dict[str, Tensor] | _Failure], workers: int) -> dict[str, Tensor] | _Failure | None:
    """Return the next batch, or None after the last one."""
    try:
        return next(batches, None)
    except (ConnectionError, EOFError) as error:
        # Torch raises a worker's own errors with a text that says so. Without it, a batch was on its way from a worker that has died.
        if workers and "in DataLoader worker" not in str(error):
            raise DataError(READER_KILLED) from error
        raise
