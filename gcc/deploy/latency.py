"""How long a network takes on the device at hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gcc.deploy.inputs import random_input
from gcc.deploy.runtimes import Runtime, device_of, load_in_runtime
from gcc.models.modules import evaluating

CAP_SECONDS = 1.0
WARM_UP = 3
FEWEST = 3


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass in milliseconds.

    Attributes:
        median_ms: half of the passes took no longer.
        p90_ms: nine in ten passes took no longer.
        device: the device's name.
        threads: threads that torch may use on the CPU.
    """

    median_ms: float
    p90_ms: float
    device: str
    threads: int

    @property
    def where(self) -> str:
        """The device, on the CPU with its threads."""
        return f"cpu, {self.threads} thread{'s' if self.threads > 1 else ''}" if self.device == "cpu" else self.device


def measure_ready(network: nn.Module, example: Tensor, runtime: Runtime) -> Latency:
    """Return how long `network` takes for inputs like `example`, (1, ...), made ready for inference in a runtime.

    Raises:
        GccError: this machine lacks the device or the packages.
    """
    return measure_latency(load_in_runtime(network, example, runtime), random_input(example.shape).to(device_of(runtime)))


def measure_latency(network: nn.Module, example: Tensor, *, repeats: int = 30) -> Latency:
    """Return how long `network` takes for `example`, (N, ...), on its device, in evaluation mode and without gradients.

    At most `repeats` passes are timed after a warm-up; on a slow device fewer, down to three, so that it takes about a second. CUDA
    passes are timed on the device, between events.
    """
    on_cuda = example.device.type == "cuda"
    time_pass = _cuda_pass_ms if on_cuda else _cpu_pass_ms
    with torch.inference_mode(), evaluating(network):
        end = time.perf_counter() + CAP_SECONDS
        for _ in range(WARM_UP):
            time_pass(lambda: network(example))
        times: list[float] = []
        while len(times) < FEWEST or (len(times) < repeats and time.perf_counter() < end):
            times.append(time_pass(lambda: network(example)))
    device = torch.cuda.get_device_name(example.device) if on_cuda else example.device.type
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
