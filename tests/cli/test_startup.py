"""Starting up: nothing heavy is imported before it is needed."""

import subprocess
import sys

import pytest

CODE = """
import sys
{code}
heavy = {{"torch", "torchvision", "numpy", "PIL", "safetensors", "rich", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "code",
    [
        "import gcc",
        "import gcc.cli",
        'from gcc.cli import main; main(["compress", "--help"], standalone_mode=False)',
        "import gcc.registry",
        "import gcc.cli.installation",
    ],
)
def test_torch_is_not_imported(code):
    subprocess.run([sys.executable, "-c", CODE.format(code=code)], check=True, capture_output=True, text=True)


def test_public_names_are_there():
    import gcc

    assert set(gcc.__all__) <= set(dir(gcc))
    assert all(getattr(gcc, name) for name in gcc.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = gcc.nothing


def test_python_m_gcc_is_the_program():
    result = subprocess.run([sys.executable, "-m", "gcc", "version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("gan-gcc ")
