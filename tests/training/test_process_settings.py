"""A run changes switches of the whole process only while it trains."""

import os

import pytest
import torch
from torch._dynamo import config as dynamo
from torch._functorch import config as functorch

from gcc import Compressor, Teacher
from gcc.training import precision
from gcc.utils.backend import CUBLAS_WORKSPACE, RECOMPILE_LIMIT
from tests.helpers.families import TINY


def switches():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "float32 matmul": (torch.get_float32_matmul_precision(), matmul.fp32_precision),
        "cudnn": (cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic, cudnn.conv.fp32_precision),
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        "workspace": os.environ.get(CUBLAS_WORKSPACE),
        "compiler": (dynamo.recompile_limit, functorch.donated_buffer),
        "guards": getattr(dynamo, "skip_tensor_guards_with_matching_dict_tags", None),
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
    }


# torch.compile reads the gradients of all inputs.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("options", [{}, {"reference": True}, {"deterministic": True, "compile": True}], ids=str)
def test_switches_change_only_while_steps_run(options, monkeypatch):
    monkeypatch.delenv(CUBLAS_WORKSPACE, raising=False)
    monkeypatch.setattr(precision, "COMPILER", {"backend": "eager"})
    before = switches()
    run = Compressor(Teacher.create("pix2pix"), **options, **TINY["pix2pix"])
    run.check()
    assert switches() == before
    steps = run.steps()
    assert switches() == before
    next(steps)
    if "compile" in options:
        during = switches()
        assert during["deterministic"] == (True, False) and during["compiler"] == (RECOMPILE_LIMIT, False)
    steps.close()
    assert switches() == before


def test_switches_come_back_after_a_failed_step(monkeypatch):
    before = switches()
    run = Compressor(Teacher.create("pix2pix"), deterministic=True, **TINY["pix2pix"])

    def fail(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(run, "cooperate", fail)
    with pytest.raises(ZeroDivisionError):
        for _ in run.steps():
            pass
    assert switches() == before
