"""Process-wide switches of torch and of the C library as context managers, and the errors that say what a backend cannot do."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

T = TypeVar("T")

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt(3)."""
TRIM_THRESHOLD, MMAP_MAX = 128 * 1024, 65536
"""Their values at the start of a process."""
RECOMPILE_LIMIT = 64
"""Number of ways in which torch may compile one network; the default limit is eight."""
CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""Environment variable that cuBLAS reads when it creates its first handle."""


@contextmanager
def float32_precision() -> Iterator[None]:
    """Compute float32 on a GPU in full precision, with the default algorithms of its libraries."""
    with _restored_precision():
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        yield


@contextmanager
def tf32_precision() -> Iterator[None]:
    """Compute float32 matrix products and convolutions on a GPU in TF32, with the fastest algorithm for each shape."""
    with _restored_precision():
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
        yield


@contextmanager
def without_benchmark() -> Iterator[None]:
    """Let cuDNN choose algorithms by rule, instead of timing all of them anew for every shape."""
    benchmark = torch.backends.cudnn.benchmark
    try:
        torch.backends.cudnn.benchmark = False
        yield
    finally:
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def deterministic_algorithms() -> Iterator[None]:
    """Allow only algorithms that give the same bits in every run; an operation that has none raises `RuntimeError`."""
    enabled, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, workspace = torch.backends.cudnn.benchmark, os.environ.get(CUBLAS_WORKSPACE)
    try:
        os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        if workspace is None:
            os.environ.pop(CUBLAS_WORKSPACE, None)


@contextmanager
def malloc_without_trim() -> Iterator[None]:
    """Keep the memory that tensors free in this process, instead of mapping and zeroing every large tensor anew.

    Only glibc has these limits. They cannot be read, so leaving the context sets the defaults of a fresh process.
    """
    try:
        _set_malloc(mmap_max=0, trim_threshold=2**31 - 1)
        yield
    finally:
        _set_malloc(mmap_max=MMAP_MAX, trim_threshold=TRIM_THRESHOLD)


@contextmanager
def compiler_limits() -> Iterator[None]:
    """Let torch compile a network once for each set of trainable parameters, and run backward twice through one graph."""
    from torch._dynamo import config as dynamo
    from torch._functorch import config as functorch

    # Before torch 2.13 these guards do not see that `requires_grad` has changed: a graph compiled for the discriminator's weights would
    # serve the retention factors, which then get no gradient.
    guards = "skip_tensor_guards_with_matching_dict_tags"
    limits: list[tuple[Any, str, Any]] = [
        (dynamo, "recompile_limit", max(dynamo.recompile_limit, RECOMPILE_LIMIT)),
        (functorch, "donated_buffer", False),
        # Without these guards, a graph compiled for a network without hooks would serve one of the same class whose hooks store features.
        (dynamo, "skip_nnmodule_hook_guards", False),
        *([(dynamo, guards, False)] if hasattr(dynamo, guards) else []),
    ]
    before = [getattr(module, name) for module, name, _ in limits]
    try:
        for module, name, value in limits:
            setattr(module, name, value)
        yield
    finally:
        for (module, name, _), value in zip(limits, before, strict=True):
            setattr(module, name, value)


def is_nondeterministic_error(error: Exception) -> bool:
    """Return whether an error says that an operation has no deterministic algorithm."""
    return isinstance(error, RuntimeError) and "does not have a deterministic implementation" in str(error)


def is_compile_error(error: Exception) -> bool:
    """Return whether an error says that a network could not be compiled."""
    return any(kind.__name__ == "TorchDynamoException" for kind in type(error).__mro__)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory ran out, on the device or on the CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


@contextmanager
def _restored_precision() -> Iterator[None]:
    # torch adds attributes to these modules at run time.
    cudnn: Any = torch.backends.cudnn
    mkldnn: Any = torch.backends.mkldnn
    operators = (torch.backends.cuda.matmul, mkldnn.matmul, cudnn.conv, cudnn.rnn)
    matmul, tf32 = _read_legacy(torch.get_float32_matmul_precision), _read_legacy(lambda: bool(cudnn.allow_tf32))
    precisions, benchmark = [operator.fp32_precision for operator in operators], cudnn.benchmark
    try:
        yield
    finally:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if tf32 is not None:
            cudnn.allow_tf32 = tf32
        # The switches above set these too, but not always to the value that was there.
        for operator, precision in zip(operators, precisions, strict=True):
            operator.fp32_precision = precision
        cudnn.benchmark = benchmark


def _read_legacy(read: Callable[[], T]) -> T | None:
    """Return a switch of torch's older precision API; None if the caller has set operators one by one, which that API cannot express."""
    try:
        return read()
    except RuntimeError:
        return None


def _set_malloc(*, mmap_max: int, trim_threshold: int) -> None:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, mmap_max)
    mallopt(M_TRIM_THRESHOLD, trim_threshold)
