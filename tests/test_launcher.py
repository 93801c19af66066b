"""The command `gcc`: ours for our commands, and the C compiler's for everything else."""

import ctypes.util
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gcc.cli import main

SCRIPT = Path(__file__).parents[1] / "scripts" / "gcc"
SYSTEM = "/usr/bin:/bin"


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def says(path, name):
    """Write a program that prints its name and each argument on a line of its own."""
    return executable(path, f'#!/bin/sh\nprintf "%s\\n" "{name}" "$@"\n')


def environment(folder):
    """Make an environment's bin folder with our script and a gancc that tells what it was given."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(SCRIPT, folder / "gcc")
    says(folder / "gancc", f"gancc-of-{folder.name}")
    return folder


def call(*arguments, path, command="gcc", cwd=None):
    program = shutil.which(command, path=path) if "/" not in str(command) else str(command)
    return subprocess.run(
        [program, *arguments], env={"PATH": path}, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )


@pytest.fixture
def bin_folder(tmp_path):
    return environment(tmp_path / "ours")


@pytest.fixture
def path(bin_folder, tmp_path):
    says(tmp_path / "compilers" / "gcc", "compiler")
    return f"{bin_folder}:{tmp_path / 'compilers'}:{SYSTEM}"


def test_the_scripts_commands_are_the_programs():
    (line,) = [line for line in SCRIPT.read_text().splitlines() if line.endswith('run_gancc "$@" ;;') and "compress" in line]
    assert sorted(line.partition(")")[0].replace("|", " ").split()) == sorted(main.commands)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], *([name] for name in main.commands), ["compress", "a b", "*", "--set=x=1"]])
def test_our_commands_come_to_us(path, arguments):
    assert call(*arguments, path=path).stdout.splitlines() == ["gancc-of-ours", *arguments]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["-v"],
        ["-c", "m.c"],
        ["@file"],
        ["-"],
        ["--help", "-v"],
        ["--help=common"],
        ["compress.c"],
        ["-o", "compress"],
        ["Compress"],
        [""],
        ["", "compress"],
        ["a b.c", "-DX='1 2'", '"', "*", "$HOME", "-Wl,-t", "\\"],
    ],
)
def test_everything_else_goes_to_the_compiler_as_it_is(path, arguments):
    result = call(*arguments, path=path)
    assert result.stdout.splitlines() == ["compiler", *arguments]
    assert (result.stderr, result.returncode) == ("", 0)


def test_the_compilers_exit_code_and_input_pass_through(bin_folder, tmp_path):
    executable(tmp_path / "compilers" / "gcc", "#!/bin/sh\ncat\nexit 7\n")
    path = f"{bin_folder}:{tmp_path / 'compilers'}:{SYSTEM}"
    result = subprocess.run([bin_folder / "gcc", "-"], env={"PATH": path}, input="int x;", capture_output=True, text=True)
    assert (result.stdout, result.returncode) == ("int x;", 7)


def test_the_real_compiler_answers():
    result = call("--version", path=f"{SCRIPT.parent}:{os.environ['PATH']}", command=SCRIPT)
    assert result.returncode == 0 and "Free Software Foundation" in result.stdout


def test_a_folder_of_path_may_hold_spaces_and_be_empty(tmp_path):
    ours = environment(tmp_path / "our own tools")
    says(tmp_path / "the compilers" / "gcc", "compiler")
    result = call("-c", path=f":{ours}::{tmp_path / 'the compilers'}:{SYSTEM}", command=ours / "gcc", cwd=ours)
    assert result.stdout.splitlines() == ["compiler", "-c"]
    assert call("version", path=f"{ours}:{SYSTEM}").stdout.splitlines() == ["gancc-of-our own tools", "version"]


def test_links_and_copies_of_the_script_are_passed_over(path, bin_folder, tmp_path):
    for folder, make in (("links", os.symlink), ("copies", shutil.copy)):
        (tmp_path / folder).mkdir()
        make(bin_folder / "gcc", tmp_path / folder / "gcc")
    everywhere = f"{tmp_path / 'links'}:{tmp_path / 'copies'}:{path}"
    for command in (tmp_path / "links" / "gcc", tmp_path / "copies" / "gcc", bin_folder / "gcc"):
        assert call("-c", path=everywhere, command=command).stdout.splitlines() == ["compiler", "-c"]


def test_a_link_finds_its_own_environment(path, bin_folder, tmp_path):
    (tmp_path / "home" / "bin").mkdir(parents=True)
    (tmp_path / "home" / "bin" / "gcc").symlink_to("../link")
    (tmp_path / "home" / "link").symlink_to(bin_folder / "gcc")
    assert call("version", path=path, command=tmp_path / "home" / "bin" / "gcc").stdout.splitlines() == ["gancc-of-ours", "version"]


def test_two_environments_on_path(tmp_path):
    one, two = environment(tmp_path / "one"), environment(tmp_path / "two")
    says(tmp_path / "compilers" / "gcc", "compiler")
    path = f"{one}:{two}:{tmp_path / 'compilers'}:{SYSTEM}"
    assert call("-c", path=path).stdout.splitlines() == ["compiler", "-c"]
    assert call("list", path=path).stdout.splitlines() == ["gancc-of-one", "list"]
    assert call("list", path=path, command=two / "gcc").stdout.splitlines() == ["gancc-of-two", "list"]


@pytest.mark.parametrize("fallback", ["cc", "clang"])
def test_other_compilers_serve_where_there_is_no_gcc(bin_folder, tmp_path, fallback):
    tools = tmp_path / "tools"
    says(tools / fallback, fallback)
    (tools / "gcc").symlink_to(bin_folder / "gcc")
    if fallback == "clang":
        (tools / "cc").symlink_to(bin_folder / "gcc")
    assert call("-c", path=f"{bin_folder}:{tools}").stdout.splitlines() == [fallback, "-c"]


def test_folders_and_plain_files_are_no_compilers(path, bin_folder, tmp_path):
    (tmp_path / "decoys" / "gcc").mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "gcc").write_text("not executable")
    assert call("-c", path=f"{bin_folder}:{tmp_path / 'decoys'}:{tmp_path / 'plain'}:{path}").stdout.splitlines() == ["compiler", "-c"]


def test_no_compiler_is_one_clear_line(bin_folder, tmp_path):
    result = call("-c", "m.c", path=str(bin_folder))
    assert result.returncode == 127 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert "no C compiler on PATH" in line


def test_a_lost_gancc_is_one_clear_line(tmp_path):
    (tmp_path / "lone").mkdir()
    shutil.copy(SCRIPT, tmp_path / "lone" / "gcc")
    result = call("version", path=f"{tmp_path / 'lone'}:{SYSTEM}")
    assert result.returncode == 127
    (line,) = result.stderr.splitlines()
    assert "install gan-gcc again" in line
    elsewhere = says(tmp_path / "elsewhere" / "gancc", "gancc").parent
    assert call("version", path=f"{tmp_path / 'lone'}:{elsewhere}:{SYSTEM}").stdout.splitlines() == ["gancc", "version"]


def test_ctypes_still_finds_libraries(bin_folder, monkeypatch):
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    assert "libm" in (ctypes.util._findLib_gcc("m") or "")


def test_a_c_extension_builds_in_isolation_with_our_script_first_on_path(bin_folder, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text('[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n')
    (project / "setup.py").write_text(
        "from setuptools import Extension, setup\n"
        "setup(name='answer', version='1', py_modules=[], ext_modules=[Extension('answer', ['answer.c'])])\n"
    )
    (project / "answer.c").write_text(
        "#include <Python.h>\n"
        'static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "answer", NULL, -1, NULL};\n'
        "PyMODINIT_FUNC PyInit_answer(void)\n"
        '{ PyObject *m = PyModule_Create(&module); PyModule_AddIntConstant(m, "value", 42); return m; }\n'
    )
    calls = tmp_path / "calls"
    compiler = shutil.which("gcc", path=SYSTEM)
    executable(tmp_path / "spy" / "gcc", f'#!/bin/sh\necho "$@" >>"{calls}"\nexec {compiler} "$@"\n')
    path = f"{bin_folder}:{tmp_path / 'spy'}:{os.environ['PATH']}"
    target = tmp_path / "installed"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", target, project],
        env={**os.environ, "PATH": path, "CC": "gcc"},
        check=True,
        capture_output=True,
        text=True,
    )
    found = subprocess.run(
        [sys.executable, "-c", "import answer; print(answer.value)"], env={"PYTHONPATH": str(target)}, capture_output=True, text=True
    )
    assert found.stdout == "42\n", found.stderr
    assert "answer.c" in calls.read_text()


def test_tritons_build_helper_reaches_the_compiler(bin_folder, tmp_path, monkeypatch):
    build = pytest.importorskip("triton.runtime.build")
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    monkeypatch.delenv("CC", raising=False)
    source = tmp_path / "main.c"
    source.write_text("int answer(void) { return 42; }\n")
    # Folders, libraries and flags; how many lists there are depends on Triton's version.
    lists = [[]] * (len(inspect.signature(build._build).parameters) - 3)
    library = build._build("answer", str(source), str(tmp_path), *lists)
    assert ctypes.CDLL(library).answer() == 42
