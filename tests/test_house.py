"""The house: imports run one way, families are reached through the registry alone, and nothing is unpickled."""

import ast
from pathlib import Path

import pytest

import gcc
from gcc.registry import ARCHITECTURES

ROOT = Path(gcc.__file__).parent
MODULES = {
    ".".join(("gcc", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): ast.parse(path.read_text())
    for path in ROOT.rglob("*.py")
}
FLOORS = [
    {"gcc.errors", "gcc.units", "gcc.hub", "gcc.unheeded"},
    {"gcc.recipe", "gcc.files", "gcc.weights", "gcc.presets", "gcc.command", "gcc.installation", "gcc.packages"},
    {"gcc.registry"},
    {
        "gcc.models",
        "gcc.data",
        "gcc.training",
        "gcc.evaluation",
        "gcc.pruning",
        "gcc.losses",
        "gcc.networks",
        "gcc.inference",
        "gcc.runtimes",
    },
    {"gcc.player", "gcc.artifact", "gcc.report", "gcc.checkpoint"},
    {
        "gcc.teacher",
        "gcc.result",
        "gcc.selection",
        "gcc.students",
        "gcc.guard",
        "gcc.testing",
        "gcc.skeletons",
        "gcc.translation",
        "gcc.generation",
        "gcc.exporting",
        "gcc.benchmarking",
        "gcc.inspection",
        "gcc.assessment",
        "gcc.sharing",
    },
    {"gcc.run", "gcc.foreign"},
    {"gcc.conclusion"},
    {"gcc.compressor", "gcc.trainer", "gcc.watch"},
    {"gcc.ablation", "gcc.doctor"},
    {"gcc.cli"},
    {"gcc.__main__", "gcc"},
]


def home(module):
    return module if module == "gcc" else ".".join(module.split(".")[:2])


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "gcc":
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "gcc")


def floor(module):
    (found,) = [number for number, rooms in enumerate(FLOORS) if home(module) in rooms]
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_run_one_way(module):
    for imported in imports(MODULES[module]):
        assert home(imported) == home(module) or floor(imported) <= floor(module), f"{module} imports {imported}"
        if floor(imported) == floor(module) and home(imported) != home(module):
            assert not any(home(back) == home(module) for back in imports(MODULES[imported])), f"{module} and {imported} import each other"


def test_rooms_on_one_floor_do_not_import_each_other_in_circles():
    arrows = {(home(module), home(imported)) for module, tree in MODULES.items() for imported in imports(tree)}
    assert not {(one, other) for one, other in arrows if one < other and (other, one) in arrows and "gcc" not in (one, other)}


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
