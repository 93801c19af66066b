import os
from pathlib import Path

import pytest
import torch

from gcc.errors import GccError
from gcc.utils.device import choose_device, peak_memory

CPU = torch.device("cpu")


def test_peak_memory_is_what_the_kernel_says():
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    assert float(peak_memory(CPU).removesuffix(" GB")) == pytest.approx(kilobytes * 1024 / 1e9, abs=0.02)


def test_choose_device():
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in ("cpu", "cuda")
    for name in ("gpu", "cuda:99", "", "cpu:x"):
        with pytest.raises(GccError) as caught:
            choose_device(name)
        assert repr(name) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(bool(os.environ.get("GCC_TEST_CUDA")), reason="the tests were asked to use the GPU")
def test_the_tests_run_on_the_cpu():
    assert choose_device("auto") == CPU
