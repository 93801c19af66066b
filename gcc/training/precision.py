"""How networks run: device, precision, memory layout, and the ranks that share the work."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
from torch import nn

from gcc.errors import GccError
from gcc.models.layers import runs_channels_last
from gcc.training.config import Amp, RunConfig
from gcc.training.step_runner import EagerStep, GraphedStep, StepRunner, TrainingStep
from gcc.training.sync_batchnorm import synchronised
from gcc.utils import backend
from gcc.utils.distributed import SINGLE_PROCESS, Ranks

COMPILER: Mapping[str, Any] = {"backend": "inductor", "options": {"fallback_random": True}}
"""Arguments of `torch.compile`: compiled networks draw the same random numbers as uncompiled ones."""


@dataclass(frozen=True)
class ExecutionConfig:
    """How networks run. Parameters, losses and Gram matrices stay in float32.

    The defaults are the reference mode: float32, contiguous layout, no skipped channels. Slower; used to validate the faster modes.

    Attributes:
        device: where networks run.
        dtype: precision of forward passes: bfloat16 or float16 under autocast, or float32 without it.
        layout: memory format of convolution weights, which their activations take on.
        skip_closed_channels: whether closed channels of the student's discriminators are skipped where nothing depends on them.
        detect_anomaly: whether every trained layer is checked, and the first output that is not finite ends the run.
        compile: whether `torch.compile` compiles networks.
        micro_batch: samples per forward pass. None runs whole batches.
        cuda_graphs: whether training steps are replayed as CUDA graphs.
        ranks: the processes that train together.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    layout: torch.memory_format = torch.contiguous_format
    skip_closed_channels: bool = False
    detect_anomaly: bool = False
    compile: bool = False
    micro_batch: int | None = None
    cuda_graphs: bool = False
    ranks: Ranks = SINGLE_PROCESS

    @classmethod
    def of(
        cls, config: RunConfig, device: torch.device, ranks: Ranks, *, channels_last: bool, supports_cuda_graphs: bool = True
    ) -> ExecutionConfig:
        """Return the execution that a run's options ask for.

        Args:
            config: the options.
            device: where networks run.
            ranks: the processes that train together.
            channels_last: see `choose`.
            supports_cuda_graphs: whether the architecture's training step may be a CUDA graph.

        Raises:
            GccError: the precision is not available on the device, or the options exclude several processes.
        """
        if config.compile and ranks.is_distributed:
            raise GccError(f"`compile` works in one process, and this run has {ranks.world}: leave it out")
        fastest = cls.choose(config.amp, device, channels_last=channels_last)
        execution = replace(cls(device) if config.reference else fastest, ranks=ranks)
        is_observed = config.micro_batch is not None or config.detect_anomaly
        if config.eager or config.compile or ranks.is_distributed or is_observed or not supports_cuda_graphs:
            # A graph cannot contain a collective over the CPU, the recomputation of micro-batches, or a check of values. Graphs of compiled
            # networks have not been compared with the reference mode.
            execution = replace(execution, cuda_graphs=False)
        if not is_observed and not config.compile:
            return execution
        return replace(
            execution,
            skip_closed_channels=False,
            micro_batch=config.micro_batch,
            detect_anomaly=config.detect_anomaly,
            compile=config.compile,
        )

    @classmethod
    def choose(cls, amp: Amp, device: torch.device, *, channels_last: bool = False) -> ExecutionConfig:
        """Return the fastest execution in the precision `amp`.

        Args:
            amp: `auto` is bf16 on a GPU that supports it, else fp16, and float32 on a CPU.
            device: where networks run.
            channels_last: whether float32 on a CPU is faster in channels-last layout. Narrower types and GPUs always are.

        Raises:
            GccError: the precision is unknown, or float16 was asked for on a CPU.
        """
        if amp not in get_args(Amp):
            raise GccError(f"amp {amp!r}: expected {', '.join(get_args(Amp))}")
        on_cpu = device.type == "cpu"
        if amp == "fp16" and on_cpu:
            raise GccError('`amp="fp16"` needs a GPU: on the CPU use bf16 or off')
        if amp == "auto":
            amp = "off" if on_cpu else "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "off": torch.float32}[amp]
        channels_last = channels_last or not on_cpu or dtype != torch.float32
        # Only the device knows which channels are open; on a GPU, skipping them would synchronise in every step.
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return cls(device, dtype, layout, skip_closed_channels=on_cpu, cuda_graphs=device.type == "cuda")

    def to_device(self, network: nn.Module) -> nn.Module:
        """Return the network on the device, in the layout if it suits the network, with the same weights on all ranks."""
        network = network.to(self.device)
        if self.ranks.is_distributed:
            network = synchronised(network, self.ranks)
            self.ranks.broadcast(network)
        return network.to(memory_format=self.layout) if runs_channels_last(network) else network

    def compiled(self, network: nn.Module) -> Callable[..., Any]:
        """Return the network as training calls it."""
        if not self.compile:
            return network
        with warnings.catch_warnings():
            # The compiler of torch 2.11 imports modules of torch that use TorchScript, which is deprecated.
            warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
            return torch.compile(network, dynamic=False, **COMPILER)

    def runner(self, step: TrainingStep) -> StepRunner:
        """Return how the loop runs a training step."""
        return GraphedStep(step) if self.cuda_graphs else EagerStep(step)

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context of a forward pass."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self) -> torch.amp.GradScaler:
        """Return a gradient scaler for one optimizer. It is active only in float16."""
        # Table I's texture weights are large: with the usual 65536 the first steps of every optimizer would overflow and be skipped.
        return torch.amp.GradScaler(self.device.type, init_scale=2.0**10, enabled=self.dtype == torch.float16)


@contextmanager
def process_settings(config: RunConfig, device: torch.device) -> Iterator[None]:
    """Set the process-wide switches of a run in this context, and leave them as they were afterwards."""
    with ExitStack() as stack:
        if config.compile:
            stack.enter_context(backend.compiler_limits())
        if device.type != "cpu":
            stack.enter_context(backend.float32_precision() if config.reference else backend.tf32_precision())
        elif not config.reference:
            stack.enter_context(backend.malloc_without_trim())
        if config.deterministic:
            stack.enter_context(backend.deterministic_algorithms())
        yield
