"""How networks run: the device, the type of their numbers, their layout in memory, and the processes that share the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import nn

from gcc.errors import GccError
from gcc.models.layers import runs_channels_last
from gcc.training.sync_batchnorm import synchronised
from gcc.utils.distributed import SINGLE_PROCESS, Ranks

Amp = Literal["auto", "bf16", "fp16", "off"]
COMPILER: Mapping[str, Any] = {"backend": "inductor", "options": {"fallback_random": True}}
"""How networks are compiled: with the random numbers that they draw uncompiled."""


@dataclass(frozen=True)
class ExecutionConfig:
    """How networks run; parameters, losses and Gram matrices stay in float32.

    By default plainly: in one type, the layout that torch starts with, and every operation of the mathematics as it is written.

    Attributes:
        device: where.
        dtype: of the forward passes: bfloat16 or float16 under autocast, or float32 for none.
        layout: of convolutions' weights, which their activations take on.
        leaves_out_closed: whether what the student's discriminators have switched off is not computed where nothing depends on it.
        detects_anomalies: whether every layer that is trained is looked at, and the first with values that are not finite ends the run.
        compiles: whether networks are compiled by `torch.compile` where training calls them.
        micro_batch: samples that a network is run on at once; none for whole batches.
        ranks: the processes that play the run together.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    layout: torch.memory_format = torch.contiguous_format
    skip_closed_channels: bool = False
    detect_anomaly: bool = False
    compile: bool = False
    micro_batch: int | None = None
    ranks: Ranks = SINGLE_PROCESS

    @classmethod
    def choose(cls, amp: Amp, device: torch.device, *, channels_last: bool = False) -> ExecutionConfig:
        """Return the fastest execution with the precision that `amp` asks for.

        Args:
            amp: `auto` is bf16 on a GPU that has it, else fp16, and float32 on a CPU.
            device: where.
            channels_last: whether float32 runs faster with channels last on a CPU, too, as narrower types and GPUs always do.

        Raises:
            GccError: there is no such precision, or float16 was asked for on a CPU.
        """
        if amp not in get_args(Amp):
            raise GccError(f"amp {amp!r}: expected {', '.join(get_args(Amp))}")
        on_cpu = device.type == "cpu"
        if amp == "fp16" and on_cpu:
            raise GccError("--amp fp16 needs a GPU: on the CPU use bf16 or off")
        if amp == "auto":
            amp = "off" if on_cpu else "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "off": torch.float32}[amp]
        channels_last = channels_last or not on_cpu or dtype != torch.float32
        # Which channels are open is known on the device, and a GPU would have to be waited for in every step.
        return cls(device, dtype, torch.channels_last if channels_last else torch.contiguous_format, skip_closed_channels=on_cpu)

    def with_ranks(self, ranks: Ranks) -> ExecutionConfig:
        """Return the same execution in several processes."""
        return replace(self, ranks=ranks)

    def to_device(self, network: nn.Module) -> nn.Module:
        """Return the network on the device, in the layout if that suits it, and the same in all processes."""
        network = network.to(self.device)
        if not self.ranks.alone:
            network = synchronised(network, self.ranks)
            self.ranks.broadcast(network)
        return network.to(memory_format=self.layout) if runs_channels_last(network) else network

    def compiled(self, network: nn.Module) -> Callable[..., Any]:
        """Return the network as training calls it."""
        return torch.compile(network, dynamic=False, **COMPILER) if self.compile else network

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context of one forward pass."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self) -> torch.amp.GradScaler:
        """Return a gradient scaler for one optimiser; it does nothing unless float16 is in use."""
        # Table I's texture weights are large: from the usual 65536 every optimiser's first steps would overflow and be skipped.
        return torch.amp.GradScaler(self.device.type, init_scale=2.0**10, enabled=self.dtype == torch.float16)
