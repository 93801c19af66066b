"""The house: imports run one way, families are reached through the registry alone, and nothing is unpickled."""

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import pytest

import gcc
from gcc.deploy.demo_site import write_demo_site
from gcc.deploy.translate import translate
from gcc.evaluation.evaluate import evaluate
from gcc.recipe import fields
from gcc.registry import ARCHITECTURES, Architecture
from gcc.training.config import RunConfig
from gcc.training.import_teacher import import_generator

ROOT = Path(gcc.__file__).parent
MODULES = {
    ".".join(("gcc", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): ast.parse(path.read_text())
    for path in ROOT.rglob("*.py")
}
ORDER = """errors utils recipe registry models losses data artifacts evaluation deploy pruning custom report training compressor experiments
testing cli""".split()
"""Every room imports only from itself and from those before it."""
DOORS = {"gcc", "gcc.__main__"}
"""What others import, and nothing here does."""
OTHER_NAMES = {"VALUE", "chunk", "input", "output"}
"""What messages name in backticks apart from keywords: values, a function of torch, and the tensors of exported files."""


def room(module):
    return module.split(".")[1]


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "gcc":
            names = [node.module] if node.module != "gcc" else [f"gcc.{alias.name}" for alias in node.names]
            yield from names
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "gcc")


def test_every_name_at_the_top_is_a_room():
    assert {room(module) for module in MODULES if module not in DOORS} == set(ORDER)


@pytest.mark.parametrize("module", sorted(MODULES.keys() - DOORS))
def test_imports_run_one_way(module):
    for imported in imports(MODULES[module]):
        assert ORDER.index(room(imported)) <= ORDER.index(room(module)), f"{module} imports {imported}"


def imported_modules(tree):
    """The modules that a module imports, whether as modules or for their names, and for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


def test_modules_import_each_other_in_no_circle():
    waiting = {module: set(imported_modules(tree)) - {module} for module, tree in MODULES.items()}
    while ready := {module for module, needed in waiting.items() if not needed & waiting.keys()}:
        waiting = {module: needed for module, needed in waiting.items() if module not in ready}
    assert not waiting, f"among these modules, some import each other: {sorted(waiting)}"


def test_families_are_reached_through_the_registry_alone():
    families = {ARCHITECTURES.load(name).__module__ for name in ARCHITECTURES.names()}
    for module, tree in MODULES.items():
        assert not families & set(imports(tree)), f"{module} imports a family"


def test_no_family_is_named_outside_its_own_file():
    names = set(ARCHITECTURES.names())
    for module, tree in MODULES.items():
        if not module.startswith("gcc.models."):
            texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
            assert not texts & names, f"{module} names {texts & names}"


def texts(tree):
    """Yield the texts of a module apart from its docstrings; the values in a formatted one are left out."""
    within = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.Expr | ast.JoinedStr) for part in ast.walk(node) if part is not node
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "VALUE" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within:
            yield node.value


def test_messages_of_the_library_name_keywords_and_whole_commands_but_no_flags():
    for module, tree in MODULES.items():
        if room(f"{module}.") not in ("cli", "report"):
            flags = [text for text in texts(tree) if re.search(r"(?<!\S)\(?--[a-z]", re.sub("`gcc [^`]*`", "", text))]
            assert not flags, f"{module}: the command line turns `keyword=value` into a flag: {flags}"


def test_messages_of_the_library_name_keywords_that_exist():
    functions = {getattr(gcc, name) for name in gcc.__all__} - {gcc.GccError} | {evaluate, translate, import_generator, write_demo_site}
    parameters = {name for function in functions for name in inspect.signature(function).parameters}
    options = {field.name for field in dataclasses.fields(RunConfig)}
    recipes = {field for name in ARCHITECTURES.names() for field in fields(type(ARCHITECTURES.load(name).published()))}
    known = parameters | options | recipes | set(dir(Architecture)) | OTHER_NAMES
    for module, tree in MODULES.items():
        if room(f"{module}.") not in ("cli", "report"):
            names = {name for text in texts(tree) for name in re.findall(r"`([A-Za-z_]\w*)(?:=[^`]*)?`", text)}
            assert names <= known, f"{module}: no public function has {', '.join(names - known)}"


def test_nothing_is_pickled():
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}, module
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load")):
                    safe = {keyword.arg: keyword.value for keyword in node.keywords}.get("weights_only")
                    assert isinstance(safe, ast.Constant) and safe.value is True, module
                case ast.Attribute(value=ast.Name(id="torch"), attr="save"):
                    pytest.fail(module)
