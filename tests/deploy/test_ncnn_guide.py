"""The C++ code beside ncnn's files, compiled against a stand-in for ncnn whose network returns its input."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gcc.deploy.formats.ncnn import NCNN
from gcc.registry.runtime import Inputs

STAND_IN = Path(__file__).parents[1] / "helpers" / "ncnn"
FILES = "student.ncnn.param", "student.ncnn.bin"
IMAGES = """
#include <cstdio>
#include <cstdlib>
int main(int, char** sizes)
{
    const int width = std::atoi(sizes[1]), height = std::atoi(sizes[2]), channels = std::atoi(sizes[3]);
    std::vector<unsigned char> pixels(width * height * channels);
    std::fread(pixels.data(), 1, pixels.size(), stdin);
    ncnn::Net net;
    if (load(net, "student.ncnn.bin", "student.ncnn.param") || !load(net, "student.ncnn.param", "student.ncnn.bin"))
        return 1;
    const std::vector<unsigned char> image = translate(net, input(pixels.data(), width, height));
    std::fwrite(image.data(), 1, image.size(), stdout);
}
"""
NOISE = """
#include <cstdio>
int main()
{
    ncnn::Net net;
    const std::vector<unsigned char> image = generate(net, noise(1)), other = generate(net, noise(2));
    std::fwrite(image.data(), 1, image.size(), stdout);
    return image == other;
}
"""


def program(folder, shape, step, multiple, channels, main):
    """Compile the code of a guide with a main function, and return the program."""
    if shutil.which("g++") is None:
        pytest.fail("this test needs a C++ compiler, and there is no `g++` on PATH")
    text = NCNN().example(FILES, Inputs(shape, step), multiple, channels)
    (code,) = re.findall(r"```cpp\n(.*?)```", text, flags=re.S)
    (folder / "main.cpp").write_text(code + main)
    command = ["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-result", "-I", STAND_IN, "main.cpp", "-o", "main"]
    subprocess.run([*map(str, command)], cwd=folder, check=True)
    return folder / "main"


@pytest.mark.parametrize(("channels", "multiple"), [(1, 1), (3, 1), (4, 1), (3, 16), (1, 4), (3, None)])
def test_images_pass_the_code_as_they_are(channels, multiple, tmp_path):
    compiled = program(tmp_path, (channels, 32, 32), multiple, multiple, channels, IMAGES)
    # Sizes that are multiples, that are padded by mirroring, and that are smaller than the padding.
    for width, height in ((32, 32), (45, 39), (5, 33)) if multiple else ((32, 32),):
        pixels = np.random.default_rng(0).integers(256, size=(height, width, channels), dtype=np.uint8)
        ran = subprocess.run([compiled, str(width), str(height), str(channels)], input=pixels.tobytes(), capture_output=True, check=True)
        assert np.array_equal(np.frombuffer(ran.stdout, np.uint8).reshape(pixels.shape), pixels)


def test_noise_is_normal_and_drawn_by_its_seed(tmp_path):
    compiled = program(tmp_path, (10_000,), None, None, 1, NOISE)
    ran = subprocess.run([compiled], capture_output=True, check=True)
    again = subprocess.run([compiled], capture_output=True, check=True)
    values = np.frombuffer(ran.stdout, np.uint8)
    assert ran.stdout == again.stdout and len(values) == 10_000
    # The network returns the noise, which becomes levels of 255 that are cut off at one standard deviation.
    assert 0.14 < (values == 0).mean() < 0.18 and 0.14 < (values == 255).mean() < 0.18 and abs(values.mean() - 127.5) < 3
