"""Process-wide switches of torch and of the C library, and the errors that say what a backend cannot do."""

from __future__ import annotations

import ctypes
import os

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""What glibc's mallopt(3) can be told."""
RECOMPILE_LIMIT = 64
"""Ways in which one network's code may be compiled; torch gives up after eight."""


def disable_malloc_trim() -> None:
    """Let this process keep the memory that tensors free, instead of having every large one mapped and zeroed anew.

    For glibc, whose limits are the process's own; elsewhere nothing changes. What is kept is given back when the process ends.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def use_float32() -> None:
    """Let float32 on a GPU be float32 from now on, with the algorithms that its libraries begin with."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


def use_tf32() -> None:
    """Let matrix products and convolutions in float32 use a GPU's TF32 from now on, and the fastest algorithm for each shape."""
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def raise_recompile_limit() -> None:
    """Let torch compile what a game needs: a network once for every set of parameters that move, and graphs that are walked back twice."""
    from torch._dynamo import config as dynamo
    from torch._functorch import config as functorch

    dynamo.recompile_limit = max(dynamo.recompile_limit, RECOMPILE_LIMIT)
    functorch.donated_buffer = False


def use_deterministic_algorithms() -> None:
    """Let torch use from now on only algorithms that give the same bits again; what has none is refused when it is met."""
    # cuBLAS reads it when the first of its handles is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)


def is_nondeterministic_error(error: Exception) -> bool:
    """Return whether an error says that an operation has no algorithm that gives the same bits again."""
    return isinstance(error, RuntimeError) and "does not have a deterministic implementation" in str(error)


def is_compile_error(error: Exception) -> bool:
    """Return whether an error says that a network could not be compiled."""
    return any(kind.__name__ == "TorchDynamoException" for kind in type(error).__mro__)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory could not be had, on the device or here."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
