"""The command `gcc`: our commands reach gancc, everything else reaches the C compiler as if we were not there."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from functools import cache
from os import environ
from pathlib import Path
from string import ascii_letters

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcc.cli import main

SCRIPT = Path(__file__).parents[2] / "scripts" / "gcc"
COMMANDS = re.search(r"^commands='(.+)'$", SCRIPT.read_text(), re.MULTILINE)[1].split()
COMPILER = shutil.which("cc")
"""The real compiler, by its name that differs from ours."""
AWKWARD = ["two words", "", "*", "'", '"', "$HOME", "back\\slash\\n", "line\nbreak", "-", "--", "-DX='a b'", "@file", "[a-z]?", "~", "`id`"]

EXTENSION = {
    "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
    "setup.py": "from setuptools import Extension, setup\nsetup(name='six', version='7.0', ext_modules=[Extension('six', ['six.c'])])\n",
    "six.c": """
        #include <Python.h>
        static PyObject *product(PyObject *self, PyObject *none) { return PyLong_FromLong(6 * 7); }
        static PyMethodDef methods[] = {{"product", product, METH_NOARGS, 0}, {0}};
        static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "six", 0, -1, methods};
        PyMODINIT_FUNC PyInit_six(void) { return PyModule_Create(&module); }
    """,
}

# Behind the name, the source and its folder come lists of folders, libraries and flags; how many depends on Triton's version.
TRITON = """
import ctypes, inspect
from triton.runtime.build import _build
required = [p for p in inspect.signature(_build).parameters.values() if p.default is p.empty]
print(ctypes.CDLL(_build("m", "m.c", ".", *([] for _ in required[3:]))).product())
"""


def program(path, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def fake(path):
    """Write a program that prints its own path and every argument, NUL-terminated."""
    return program(path, r"""printf '%s\0' "$0" "$@" """)


def environment(folder):
    """Create the bin folder of an environment, with our script and a fake gancc."""
    fake(folder / "gancc")
    shutil.copy(SCRIPT, folder / "gcc")
    return folder


def run(*arguments, path, command=None, **options):
    command = command or path[0] / "gcc"
    search = ":".join(map(str, path))
    return subprocess.run([command, *arguments], env={"PATH": search}, capture_output=True, text=True, timeout=60, **options)


def output(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300, **options).stdout


def called(*arguments, path, **options):
    """Return the program that a run reaches, and its arguments."""
    done = run(*arguments, path=path, **options)
    assert (done.returncode, done.stderr) == (0, "")
    name, *seen = done.stdout.removesuffix("\0").split("\0")
    return Path(name), seen


@pytest.fixture
def ours(tmp_path):
    return environment(tmp_path / "env" / "bin")


@pytest.fixture
def theirs(tmp_path):
    return fake(tmp_path / "usr" / "gcc").parent


def test_the_script_knows_every_command():
    assert sorted(main.commands) == COMMANDS


def test_the_installed_command_is_the_script_untouched():
    installed = Path(sysconfig.get_path("scripts"), "gcc")
    assert installed.read_bytes() == SCRIPT.read_bytes(), "install the project again: pip install -e '.[dev]'"
    assert installed.stat().st_mode & 0o111 == 0o111


@pytest.mark.parametrize("arguments", [*map(str.split, ["", "--help", "-h", *COMMANDS, "list --help"]), ["compress", *AWKWARD]])
def test_our_commands_reach_gancc(ours, theirs, arguments):
    assert called(*arguments, path=[ours, theirs]) == (ours / "gancc", arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        *map(
            str.split,
            ["--version", "-v", "-c m.c", "@file", "-", "--help=common", "--help -v", "-h m.c", "-c train", "list.c", "main_", "kernel"],
        ),
        *([word] for word in ("", "*", "compress list", "compress | list", "2:compress", "compress2", "./trai", "träin", "compress" * 99)),
        AWKWARD,
    ],
)
def test_everything_else_reaches_the_compiler(ours, theirs, arguments):
    assert called(*arguments, path=[ours, theirs]) == (theirs / "gcc", arguments)


@cache
def distance(one, other):
    """Return the Levenshtein distance of two words, by its recursive definition."""
    if not one or not other:
        return len(one) + len(other)
    if one[-1] == other[-1]:
        return distance(one[:-1], other[:-1])
    return 1 + min(distance(one[:-1], other), distance(one, other[:-1]), distance(one[:-1], other[:-1]))


WORDS = st.text(ascii_letters, min_size=1, max_size=12)


@st.composite
def mistyped(draw):
    """Return a command with up to three edits."""
    word = draw(st.sampled_from(COMMANDS))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(word)))
        word = word[:place] + draw(st.sampled_from(["", *"abelrstE"])) + word[place + draw(st.integers(0, 1)) :]
    return word or "x"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(word=st.one_of(mistyped(), WORDS), rest=st.lists(st.sampled_from(["--arch", "m.c", "-c"]), max_size=2))
def test_a_mistyped_command_gets_one_line_and_other_words_reach_the_compiler(ours, theirs, word, rest):
    if word in COMMANDS:
        assert called(word, *rest, path=[ours, theirs])[0] == ours / "gancc"
        return
    least = min(distance(word, command) for command in COMMANDS)
    if least > 2:
        assert called(word, *rest, path=[ours, theirs]) == (theirs / "gcc", [word, *rest])
        return
    done = run(word, *rest, path=[ours, theirs])
    assert (done.returncode, done.stdout) == (2, "")
    match = re.fullmatch(rf"gcc: '{word}' is neither a command of gan-gcc nor a file: did you mean 'gcc (\w+)'\?\n", done.stderr)
    assert distance(word, match[1]) == least


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_a_file_with_the_name_of_nearly_a_command_reaches_the_compiler(ours, theirs, make):
    make(theirs / "compres")
    assert called("compres", "-o", "x", path=[ours, theirs], cwd=theirs) == (theirs / "gcc", ["compres", "-o", "x"])


def test_the_compiler_keeps_its_exit_code_for_other_words(ours, tmp_path):
    program(tmp_path / "usr" / "gcc", "exit 4")
    for word in ("kernel", "nosuchfile", "main.c", "compres.c"):
        assert run(word, path=[ours, tmp_path / "usr"]).returncode == 4


def test_help_and_version_of_gancc():
    def shown(*arguments):
        result = CliRunner().invoke(main, arguments)
        return result.exit_code, result.output

    assert shown("help") == shown("--help") and "compress" in shown("help")[1]
    for name in ("compress", "import", "help"):
        assert shown("help", name) == shown(name, "--help")
    assert shown("--version") == shown("version") and shown("version")[1].startswith("gan-gcc ")
    for arguments in (["help", "compres"], ["compres"]):
        code, text = shown(*arguments)
        assert code == 2 and text.count("\n") == 1 and "there is no command 'compres' (did you mean 'compress'" in text


def test_the_compiler_takes_the_place_of_the_script(ours, tmp_path):
    program(tmp_path / "usr" / "gcc", 'echo "$$"; cat; echo trouble >&2; exit 7')
    arguments = {"env": {"PATH": f"{ours}:{tmp_path}/usr:/usr/bin:/bin"}, "text": True}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([ours / "gcc", "-"], **arguments, **pipes) as process:
        out, err = process.communicate("int x;")
    assert (out, err, process.returncode) == (f"{process.pid}\nint x;", "trouble\n", 7)


def test_it_never_runs_itself(ours, theirs, tmp_path):
    other = environment(tmp_path / "other" / "bin")
    # A copy is known by its second line, so this one, which would fail, is not even tried.
    broken = program(tmp_path / "broken" / "gcc", f"{SCRIPT.read_text().splitlines()[1]}\nexit 99").parent
    link, relative, chain = (tmp_path / name / "gcc" for name in ("link", "relative", "chain"))
    for link_path, target in [(link, ours / "gcc"), (relative, "../env/bin/gcc"), (chain, link)]:
        link_path.parent.mkdir()
        link_path.symlink_to(target)
    path = [ours, other, broken, link.parent, relative.parent, chain.parent, ours, theirs]
    for start in (ours, other, link.parent, relative.parent, chain.parent):
        assert called("-v", path=path, command=start / "gcc") == (theirs / "gcc", ["-v"])
    assert called("-v", path=[theirs, ours], command=ours / "gcc") == (theirs / "gcc", ["-v"])


@pytest.mark.parametrize("order", [["gcc", "cc", "clang"], ["clang", "cc", "gcc"]])
def test_cc_and_then_clang_stand_in_for_gcc(ours, tmp_path, order):
    # `cc` and `clang` lead back to us at first, as an alternatives link may.
    for name in ("cc", "clang"):
        (ours / name).symlink_to("gcc")
    folders = {name: fake(tmp_path / f"has {name}" / name).parent for name in order}
    for name in ("gcc", "cc", "clang"):
        assert called("-v", path=[ours, *folders.values()]) == (folders.pop(name) / name, ["-v"])


def test_a_missing_compiler_costs_one_line(ours, tmp_path):
    (ours / "cc").symlink_to("gcc")
    (tmp_path / "no" / "gcc").mkdir(parents=True)
    fake(tmp_path / "plain" / "gcc").chmod(0o644)
    done = run("-c", "m.c", path=[ours, tmp_path / "no", tmp_path / "plain", tmp_path / "missing"])
    assert (done.returncode, done.stdout) == (127, "")
    assert re.fullmatch(r"gcc: no C compiler on PATH .*: install one; .*gancc --help\n", done.stderr)


@pytest.mark.parametrize("name", ["two words", " ", "star *", "quo'te", 'quo"te', "$HOME", "back\\slash"])
def test_any_folder_name_on_path_works(tmp_path, name):
    ours = environment(tmp_path / name / "env")
    theirs = fake(tmp_path / name / "usr" / "gcc").parent
    assert called("-v", path=[ours, theirs]) == (theirs / "gcc", ["-v"])
    assert called("list", path=[ours, theirs]) == (ours / "gancc", ["list"])


@pytest.mark.parametrize("path", ["{ours}:", "{ours}::/missing", ":{ours}", "{ours}:.", "{ours}:../usr", "../env/bin:"])
def test_an_empty_or_relative_entry_of_path_starts_here(ours, theirs, path):
    program, seen = called("-v", path=[path.format(ours=ours)], command=ours / "gcc", cwd=theirs)
    assert program.is_absolute()
    assert (program.resolve(), seen) == (theirs / "gcc", ["-v"])


def test_a_compiler_cache_that_looks_for_gcc_gets_the_compiler_behind_it(ours, theirs, tmp_path):
    # As ccache does: it calls the first gcc on PATH that is not ccache, which is ours.
    cache = program(tmp_path / "cache" / "gcc", f'exec "{ours}/gcc" "$@"').parent
    assert called("-c", "m.c", path=[ours, cache, theirs]) == (theirs / "gcc", ["-c", "m.c"])
    assert called("-c", "m.c", path=[cache, ours, theirs]) == (theirs / "gcc", ["-c", "m.c"])


def test_gancc_is_found_through_symbolic_links(ours, theirs, tmp_path):
    far = tmp_path / "home" / "bin"
    far.mkdir(parents=True)
    (far / "gcc").symlink_to("../../middle")
    (tmp_path / "middle").symlink_to(ours / "gcc")
    fake(far / "gancc")
    program, seen = called("version", path=[far, theirs, Path("/usr/bin"), Path("/bin")])
    assert (program, seen) == (ours / "gancc", ["version"])


def test_gancc_is_found_if_a_shell_runs_the_script(ours, theirs):
    program, seen = called("gcc", "list", path=[theirs], command="/bin/sh", cwd=ours)
    assert (ours / program, seen) == (ours / "./gancc", ["list"])


def test_gancc_is_searched_on_path_last(ours, theirs):
    (ours / "gancc").rename(theirs / "gancc")
    assert called("train", path=[ours, theirs]) == (theirs / "gancc", ["train"])
    (theirs / "gancc").unlink()
    done = run("train", path=[ours, theirs])
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == f"gcc: gancc is neither in {ours} nor on PATH: install gan-gcc again\n"


class TestRealCompiler:
    """Real tools that look `gcc` up, with ours first on PATH and a note of what reaches the compiler behind it."""

    @pytest.fixture(autouse=True)
    def note(self, ours, tmp_path, monkeypatch):
        note = tmp_path / "note"
        noting = program(tmp_path / "noting" / "gcc", f'echo "$*" >>"{note}"\nexec "{COMPILER}" "$@"').parent
        monkeypatch.setenv("PATH", f"{ours}:{noting}:{environ['PATH']}")
        monkeypatch.delenv("CC", raising=False)
        return note

    def test_version(self):
        assert output("gcc", "--version").split()[1:] == output(COMPILER, "--version").split()[1:]

    def test_standard_input_and_response_file(self, tmp_path):
        (tmp_path / "file").write_text("-DSTATUS=0 -x c - -o made")
        output("gcc", "@file", input="int main(void) { return STATUS; }", cwd=tmp_path)
        output(tmp_path / "made")

    @pytest.mark.slow
    def test_extension_from_an_sdist_with_build_isolation(self, tmp_path, note, monkeypatch):
        # Some Pythons were built by a compiler of another name, which setuptools would call.
        monkeypatch.setenv("CC", "gcc")
        with tarfile.open(tmp_path / "six-7.0.tar.gz", "w:gz") as sdist:
            for name, text in EXTENSION.items():
                (tmp_path / name).write_text(text)
                sdist.add(tmp_path / name, f"six-7.0/{name}")
        pip = (sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-deps")
        output(*pip, "--target", tmp_path / "made", tmp_path / "six-7.0.tar.gz")
        assert output(sys.executable, "-c", "import six; print(six.product())", cwd=tmp_path / "made") == "42\n"
        assert "six.c" in note.read_text()

    def test_ctypes(self, note):
        library = output(sys.executable, "-c", "from ctypes.util import _findLib_gcc; print(_findLib_gcc('c'))")
        assert re.search(r"/libc\.so", library)
        assert "-Wl,-t" in note.read_text()

    def test_triton(self, tmp_path, note):
        pytest.importorskip("triton", reason="triton's build helper is tried where triton is installed")
        (tmp_path / "m.c").write_text("int product(void) { return 6 * 7; }\n")
        assert output(sys.executable, "-c", TRITON, cwd=tmp_path) == "42\n"
        assert "m.c" in note.read_text()
