"""How samples reach training: batches that depend on seed, stream and epoch, and on nothing else."""

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
"""A sample's index and the seed of its augmentation; none for a sample that is not augmented."""


@dataclass(frozen=True)
class _Failure:
    """A `DataError` on its way out of a worker, which would bury the message in its own traceback."""

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
    """The keys of the batches to come; a `DataLoader` reads it afresh for every epoch."""

    batches: Sequence[list[Key]] = field(default_factory=list)

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.batches)


class Loader:
    """Batches of a source for training, the same whatever the number of workers and wherever an epoch is taken up again.

    The order is a permutation drawn from (seed, stream, epoch), each augmentation is drawn from (seed, stream, epoch, index); torch's own
    random state is left alone. Workers, if any, stay for the loader's lifetime.

    Args:
        source: where the samples come from.
        sample_z: draws a sample's random input.
        batch_size: samples in a batch, of all processes together; a last, smaller batch of an epoch is dropped unless it is the only one.
        seed: of the order and the augmentation.
        device: where the batches go.
        workers: processes that read ahead for each stream; 0 reads in this process.
        ranks: the processes that each get their share of every batch.

    Raises:
        DataError: the source has no samples.
        RecipeError: a batch cannot be shared.
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

        Streams are drawn independently of each other and may be read side by side; within one stream a new call ends the one before.

        Raises:
            DataError: a sample cannot be read.
        """
        if stream not in self._streams:
            order = _Order()
            self._streams[stream] = order, _data_loader(_Samples(self.source, self.sample_z), order, self.device, self.workers)
        order, loader = self._streams[stream]
        order.batches = self._keys(epoch, stream)[start:]
        yield from _delivered(loader, self.device)

    def close(self, stream: int) -> None:
        """Let go of a stream that is not read again, and of its workers."""
        self._streams.pop(stream, None)

    def _keys(self, epoch: int, stream: int) -> list[list[Key]]:
        permutation = np.random.default_rng((self.seed, stream, epoch)).permutation(len(self.source))
        keys: list[Key] = [(int(index), (self.seed, stream, epoch, int(index))) for index in permutation]
        return [keys[step * self.batch_size : (step + 1) * self.batch_size][self._share] for step in range(self.steps)]


def add_z(sample: dict[str, Tensor], sample_z: SampleZ, random: np.random.Generator) -> dict[str, Tensor]:
    """Return a sample with the generators' random input `z`; the sample itself if generators take images."""
    z = sample_z(random)
    return sample if z is None else sample | {"z": z}


def reader_died(error: Exception) -> bool:
    """Return whether an error says that a process that reads images has died, which torch raises wherever the run just is."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")


def in_order(
    source: DatasetSource, sample_z: SampleZ, indices: Sequence[int], batch_size: int, device: torch.device, workers: int = 0
) -> Iterator[dict[str, Tensor]]:
    """Yield these samples in order and not augmented, in batches of `batch_size` and a smaller last one.

    Raises:
        DataError: a sample cannot be read.
    """
    keys: list[Key] = [(index, None) for index in indices]
    order = _Order([keys[start : start + batch_size] for start in range(0, len(keys), batch_size)])
    yield from _delivered(_data_loader(_Samples(source, sample_z), order, device, workers), device)


def steps_per_epoch(source: DatasetSource, batch_size: int) -> int:
    """Return the number of batches in an epoch: whole ones, or a single smaller one.

    Raises:
        DataError: the source has no samples.
    """
    if not len(source):
        raise DataError("the data set has no samples")
    return max(1, len(source) // batch_size)


def _data_loader(samples: _Samples, order: _Order, device: torch.device, workers: int) -> DataLoader[dict[str, Tensor] | _Failure]:
    return DataLoader(
        samples,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=_collated,
        pin_memory=device.type == "cuda",
        worker_init_fn=_leave_interrupts_to_the_run,
        persistent_workers=workers > 0,
        # A data loader draws a seed for each epoch; from the global generator that would move the dropout of a resumed run.
        generator=torch.Generator(),
    )


def _leave_interrupts_to_the_run(worker: int) -> None:
    """Take no part in the signals that a terminal, or what has launched a job, sends to every process of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()


def _collated(samples: list[dict[str, Tensor] | _Failure]) -> dict[str, Tensor] | _Failure:
    for sample in samples:
        if isinstance(sample, _Failure):
            return sample
    batch: dict[str, Tensor] = default_collate(samples)
    return batch


def _delivered(loader: DataLoader[dict[str, Tensor] | _Failure], device: torch.device) -> Iterator[dict[str, Tensor]]:
    for batch in loader:
        if isinstance(batch, _Failure):
            raise DataError(batch.message)
        yield {key: value.to(device, non_blocking=True) for key, value in batch.items()}
