"""How networks run: the device, the type of their numbers, their layout in memory, and the processes that share the work."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import nn

from gcc.errors import GccError
from gcc.models.layers import runs_channels_last
from gcc.training.joint_norm import synchronised
from gcc.training.ranks import ALONE, Ranks

Amp = Literal["auto", "bf16", "fp16", "off"]

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""What glibc's mallopt(3) can be told."""
COMPILER: Mapping[str, Any] = {"backend": "inductor", "options": {"fallback_random": True}}
"""How networks are compiled: with the random numbers that they draw uncompiled."""
MOST_COMPILED = 64
"""Ways in which one network's code may be compiled; torch gives up after eight."""


@dataclass(frozen=True)
class Execution:
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
    leaves_out_closed: bool = False
    detects_anomalies: bool = False
    compiles: bool = False
    micro_batch: int | None = None
    ranks: Ranks = ALONE

    @classmethod
    def choose(cls, amp: Amp, device: torch.device, *, channels_last: bool = False) -> Execution:
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
        return cls(device, dtype, torch.channels_last if channels_last else torch.contiguous_format, leaves_out_closed=on_cpu)

    def among(self, ranks: Ranks) -> Execution:
        """Return the same execution in several processes."""
        return replace(self, ranks=ranks)

    def place(self, network: nn.Module) -> nn.Module:
        """Return the network on the device, in the layout if that suits it, and the same in all processes."""
        network = network.to(self.device)
        if not self.ranks.alone:
            network = synchronised(network, self.ranks)
            self.ranks.spread(network)
        return network.to(memory_format=self.layout) if runs_channels_last(network) else network

    def compiled(self, network: nn.Module) -> Callable[..., Any]:
        """Return the network as training calls it."""
        return torch.compile(network, dynamic=False, **COMPILER) if self.compiles else network

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context of one forward pass."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self) -> torch.amp.GradScaler:
        """Return a gradient scaler for one optimiser; it does nothing unless float16 is in use."""
        # Table I's texture weights are large: from the usual 65536 every optimiser's first steps would overflow and be skipped.
        return torch.amp.GradScaler(self.device.type, init_scale=2.0**10, enabled=self.dtype == torch.float16)


def keep_memory() -> None:
    """Let this process keep the memory that tensors free, instead of having every large one mapped and zeroed anew.

    For glibc, whose limits are the process's own; elsewhere nothing changes. What is kept is given back when the process ends.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def compute_exactly() -> None:
    """Let float32 on a GPU be float32 from now on, with the algorithms that its libraries begin with."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


def compute_fast() -> None:
    """Let matrix products and convolutions in float32 use a GPU's TF32 from now on, and the fastest algorithm for each shape."""
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def unlimit_compiler() -> None:
    """Let torch compile what a game needs: a network once for every set of parameters that move, and graphs that are walked back twice."""
    from torch._dynamo import config as dynamo
    from torch._functorch import config as functorch

    dynamo.recompile_limit = max(dynamo.recompile_limit, MOST_COMPILED)
    functorch.donated_buffer = False


def repeat_exactly() -> None:
    """Let torch use from now on only algorithms that give the same bits again; what has none is refused when it is met."""
    # cuBLAS reads it when the first of its handles is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)


def not_repeatable(error: Exception) -> bool:
    """Return whether an error says that an operation has no algorithm that gives the same bits again."""
    return isinstance(error, RuntimeError) and "does not have a deterministic implementation" in str(error)


def not_compilable(error: Exception) -> bool:
    """Return whether an error says that a network could not be compiled."""
    return any(kind.__name__ == "TorchDynamoException" for kind in type(error).__mro__)


def out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory could not be had, on the device or here."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
