"""Starting up: nothing heavy is imported before it is needed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import gcc

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
        'from gcc.cli import main; main(["--help"], standalone_mode=False)',
        'from gcc.cli import main; main(["compress", "--help"], standalone_mode=False)',
        'from gcc.cli import main; main(["version"], standalone_mode=False)',
        "from gcc.cli import main; list(main.commands.values())",
        "import gcc.training.config",
        "import gcc.registry",
        "import gcc.cli.installation",
    ],
)
def test_torch_is_not_imported(code):
    subprocess.run([sys.executable, "-c", CODE.format(code=code)], check=True, capture_output=True, text=True)


def test_public_names_are_there():
    for_type_checkers = re.findall(r"^    from (\S+) import (\S+) as \2$", Path(gcc.__file__).read_text(), re.MULTILINE)
    assert {name: module for module, name in for_type_checkers} == gcc._MODULES
    assert set(gcc.__all__) <= set(dir(gcc))
    assert all(getattr(gcc, name) for name in gcc.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = gcc.nothing


def test_only_the_module_of_a_command_is_imported():
    code = 'from gcc.cli import main; main(["version"], standalone_mode=False); import sys; assert "gcc.cli.compress" not in sys.modules'
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_python_m_gcc_is_the_program():
    result = subprocess.run([sys.executable, "-m", "gcc", "version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("gan-gcc ")
