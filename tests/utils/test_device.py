import os
from pathlib import Path

import pytest
import torch

from gcc.errors import GccError, suggestion
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


@pytest.mark.parametrize("name", ["gpu", "GPU", "gpu:0", "nvidia"])
def test_other_words_for_a_gpu_suggest_cuda(name):
    with pytest.raises(GccError, match=rf"^device '{name}' is unknown \(did you mean 'cuda'\?\)$"):
        choose_device(name)
    assert suggestion(name, ("cpu", "cuda", "onnxruntime")) == " (did you mean 'cuda'?)"
    assert "cuda" not in suggestion(name, ("cpu", "onnxruntime"))


def refuse(monkeypatch, name, message, cuda="13.0", count=0):
    """Return the error of a device on a machine with this build of torch and this number of GPUs."""

    def empty(*_, **__):
        raise RuntimeError(message)

    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch, "empty", empty)
    with pytest.raises(GccError) as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_gpu_is_explained_in_one_line(monkeypatch):
    text = refuse(monkeypatch, "cuda", "Torch not compiled with CUDA enabled", cuda=None)
    assert text.startswith("device 'cuda' cannot be used: torch ") and "is built without CUDA; install a build with CUDA" in text
    text = refuse(monkeypatch, "cuda:1", "Found no NVIDIA driver on your system. Please check\nthat")
    assert text == (
        "device 'cuda:1' cannot be used: torch finds no GPU on this machine (Found no NVIDIA driver on your system); "
        "check the GPU's driver, or use cpu"
    )
    assert refuse(monkeypatch, "cuda:2", "invalid device ordinal", count=2).endswith("this machine has 2 GPUs; the last one is cuda:1")
    assert refuse(monkeypatch, "cuda:0", "out of memory\nat", count=1).endswith("cannot be used: out of memory")


@pytest.mark.skipif(bool(os.environ.get("GCC_TEST_CUDA")), reason="the tests were asked to use the GPU")
def test_the_tests_run_on_the_cpu():
    assert choose_device("auto") == CPU
