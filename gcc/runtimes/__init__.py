"""Where generators run once they are trained: file formats of other programs, and the runtimes that read them."""

from __future__ import annotations

from typing import Literal, get_args

Runtime = Literal["cpu", "cuda", "onnxruntime"]
"""Torch on the CPU or on a GPU, and ONNX Runtime on the CPU."""
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
