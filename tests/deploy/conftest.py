"""A GPU in software, on which the files for GPUs run."""

import os
from ctypes.util import find_library
from pathlib import Path

import pytest

SOFTWARE_GPU = Path("/usr/lib/chromium/vk_swiftshader_icd.json")
"""The driver for Vulkan of Debian's Chromium. It computes on the CPU."""

# Without the file, no GPU is found, whatever else is installed. ncnn and LiteRT look for GPUs once in a process.
os.environ["VK_ICD_FILENAMES"] = str(SOFTWARE_GPU)


@pytest.fixture
def has_gpu():
    """Whether files for GPUs run on one here."""
    return SOFTWARE_GPU.exists() and find_library("vulkan") is not None
