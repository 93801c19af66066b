"""Measures the latency of a network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from gcc.deploy.inputs import random_input
from gcc.deploy.runtime_names import TORCH
from gcc.deploy.runtimes import device_of, load_in_runtime
from gcc.models.modules import evaluating
from gcc.registry import RUNTIMES

MAX_SECONDS = 1.0
"""Time after which no further pass is timed."""
WARM_UP_PASSES = 3
MIN_PASSES = 3
"""The fewest passes that are timed, however long they take."""


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass in milliseconds.

    Attributes:
        median_ms: median of the passes.
        p90_ms: 90th percentile of the passes.
        device: name of the device.
        threads: number of threads that torch may use on the CPU.
    """

    median_ms: float
    p90_ms: float
    device: str
    threads: int

    @property
    def where(self) -> str:
        """The device; for the CPU with the number of threads."""
        return f"cpu, {self.threads} thread{'s' if self.threads > 1 else ''}" if self.device == "cpu" else self.device


def where_in(runtime: str, latency: Latency) -> str:
    """Return what a runtime computed on, such as `cpu, 1 thread` or the name of a GPU."""
    gpu = None if runtime in TORCH else RUNTIMES.load(runtime)().gpu
    return gpu or latency.where


def measure_optimized(network: nn.Module, example: Tensor, runtime: str) -> Latency:
    """Return the latency of `network`, optimised for inference in a runtime, for inputs like `example`, (1, ...).

    Raises:
        GccError: this machine lacks the device or the packages.
    """
    (latency,) = measure_optimized_in_turns([network], example, runtime)
    return latency


def measure_optimized_in_turns(networks: Sequence[nn.Module], example: Tensor, runtime: str) -> list[Latency]:
    """Return the latency of every network in turns, each optimised for inference in a runtime, for inputs like `example`, (1, ...).

    Raises:
        GccError: this machine lacks the device or the packages.
    """
    ready = [load_in_runtime(network, example, runtime) for network in networks]
    return measure_in_turns(ready, random_input(example.shape).to(device_of(runtime)))


def measure_latency(network: nn.Module, example: Tensor, *, repeats: int = 30) -> Latency:
    """Return the latency of `network`; see `measure_in_turns`."""
    (latency,) = measure_in_turns([network], example, repeats=repeats)
    return latency


def measure_in_turns(networks: Sequence[nn.Module], example: Tensor, *, repeats: int = 30) -> list[Latency]:
    """Return the latency of every network for `example`, (N, ...), on its device, in evaluation mode and without gradients.

    The networks alternate pass by pass, so that a busy or hot machine slows all of them alike. Times at most `repeats` passes of each after
    a warm-up, but stops after about a second for each network once there are three. CUDA passes are timed on the device, between events.
    """
    on_cuda = example.device.type == "cuda"
    time_pass = _cuda_pass_ms if on_cuda else _cpu_pass_ms
    times: list[list[float]] = [[] for _ in networks]
    with torch.inference_mode(), ExitStack() as stack:
        for network in networks:
            stack.enter_context(evaluating(network))
        passes = [partial(network, example) for network in networks]
        end = time.perf_counter() + MAX_SECONDS * len(networks)
        for _ in range(WARM_UP_PASSES):
            for forward in passes:
                time_pass(forward)
        while len(times[0]) < MIN_PASSES or (len(times[0]) < repeats and time.perf_counter() < end):
            for of_network, forward in zip(times, passes, strict=True):
                of_network.append(time_pass(forward))
    device = torch.cuda.get_device_name(example.device) if on_cuda else example.device.type
    return [_latency(of_network, device) for of_network in times]


def _latency(times: Sequence[float], device: str) -> Latency:
    p90 = statistics.quantiles(times, n=10, method="inclusive")[-1]
    return Latency(statistics.median(times), p90, device, torch.get_num_threads())


def _cpu_pass_ms(forward: Callable[[], object]) -> float:
    start = time.perf_counter()
    forward()
    return 1e3 * (time.perf_counter() - start)


def _cuda_pass_ms(forward: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    forward()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))
