"""Automatic mixed precision."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from gcc.errors import GccError

Amp = Literal["auto", "bf16", "fp16", "off"]


@dataclass(frozen=True)
class Precision:
    """The type in which networks run forward; parameters, losses and Gram matrices stay in float32.

    Attributes:
        device: where the networks run.
        dtype: bfloat16 or float16 under autocast, or float32 for none.
    """

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def choose(cls, amp: Amp, device: torch.device) -> Precision:
        """Return the precision that `amp` asks for: `auto` is bf16 on a GPU that has it, else fp16, and float32 on a CPU.

        Raises:
            GccError: there is no such precision, or float16 was asked for on a CPU.
        """
        if amp not in get_args(Amp):
            raise GccError(f"amp {amp!r}: expected {', '.join(get_args(Amp))}")
        if amp == "fp16" and device.type == "cpu":
            raise GccError("--amp fp16 needs a GPU: on the CPU use bf16 or off")
        if amp == "auto":
            amp = "off" if device.type == "cpu" else "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        return cls(device, {"bf16": torch.bfloat16, "fp16": torch.float16, "off": torch.float32}[amp])

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context of one forward pass."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self) -> torch.amp.GradScaler:
        """Return a gradient scaler for one optimiser; it does nothing unless float16 is in use."""
        # Table I's texture weights are large: from the usual 65536 every optimiser's first steps would overflow and be skipped.
        return torch.amp.GradScaler(self.device.type, init_scale=2.0**10, enabled=self.dtype == torch.float16)
