"""The names of the runtimes that generators are timed in. Budgets contain them, so this module must not import torch."""

from __future__ import annotations

from typing import Literal, get_args

Runtime = Literal["cpu", "cuda", "onnxruntime"]
"""Torch on the CPU or on a GPU, and ONNX Runtime on the CPU."""
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
