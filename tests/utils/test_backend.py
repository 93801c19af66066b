import ctypes
import os
from types import SimpleNamespace

import pytest
import torch
from torch._dynamo import config as dynamo
from torch._functorch import config as functorch

from gcc.utils import backend


def precision():
    cudnn, matmul = torch.backends.cudnn, torch.get_float32_matmul_precision()
    operators = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul, cudnn.conv, cudnn.rnn)
    return matmul, cudnn.allow_tf32, cudnn.benchmark, *(operator.fp32_precision for operator in operators)


def determinism():
    enabled, warn_only = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    return enabled, warn_only, torch.backends.cudnn.benchmark, os.environ.get(backend.CUBLAS_WORKSPACE)


def limits():
    return dynamo.recompile_limit, functorch.donated_buffer


@pytest.mark.parametrize(
    ("context", "state", "inside"),
    [
        (backend.float32_precision, precision, ("highest", False, False)),
        (backend.tf32_precision, precision, ("high", True, True)),
        (backend.deterministic_algorithms, determinism, (True, False, False, ":4096:8")),
        (backend.compiler_limits, limits, (backend.RECOMPILE_LIMIT, False)),
    ],
)
def test_a_switch_holds_in_its_context_and_leaves_everything_as_it_was(context, state, inside, monkeypatch):
    monkeypatch.delenv(backend.CUBLAS_WORKSPACE, raising=False)
    before = state()
    with pytest.raises(ZeroDivisionError), context():
        assert state()[: len(inside)] == inside
        raise ZeroDivisionError
    assert state() == before


def test_float32_on_a_gpu_is_exact_or_fast():
    def settings():
        return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark

    with backend.tf32_precision():
        assert settings() == ("tf32", True, True)
    with backend.float32_precision():
        assert settings() == ("ieee", False, False)


def test_what_a_caller_had_set_comes_back(monkeypatch):
    monkeypatch.setenv(backend.CUBLAS_WORKSPACE, ":16:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with backend.deterministic_algorithms():
            assert determinism() == (True, False, False, ":16:8")
        assert determinism()[:2] == (True, True) and determinism()[3] == ":16:8"
    finally:
        torch.use_deterministic_algorithms(False)
    with backend.tf32_precision():
        outer = precision()
        with backend.float32_precision():
            assert precision() != outer
        assert precision() == outer


def test_operators_that_a_caller_set_one_by_one_come_back():
    conv, before = torch.backends.cudnn.conv, precision()
    conv.fp32_precision = "ieee"
    try:
        with backend.tf32_precision():
            assert conv.fp32_precision == "tf32"
        assert conv.fp32_precision == "ieee"
    finally:
        torch.backends.cudnn.allow_tf32 = before[1]
    assert precision() == before


def test_malloc_keeps_freed_memory_only_in_its_context(monkeypatch):
    calls = []
    libc = SimpleNamespace(mallopt=lambda parameter, value: calls.append((parameter, value)))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: libc)
    with backend.malloc_without_trim():
        assert calls == [(backend.M_MMAP_MAX, 0), (backend.M_TRIM_THRESHOLD, 2**31 - 1)]
    assert calls[2:] == [(backend.M_MMAP_MAX, 65536), (backend.M_TRIM_THRESHOLD, 128 * 1024)]


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    with backend.malloc_without_trim():
        pass
