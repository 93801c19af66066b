"""The pages of docs/: commands parse, links lead somewhere, the navigation has every page, and the recipes are those of the code."""

import ast
import dataclasses
import inspect
import json
import re
import shlex
import textwrap
import tomllib
from pathlib import Path

import click
import pytest
from PIL import Image

from gcc.cli import main
from gcc.cli.options import RENAMED_FLAGS
from gcc.cli.pix2pix_flags import COUNTERPARTS, FIELDS
from gcc.data.aligned import Aligned
from gcc.recipe import RENAMED, Recipe, changed
from gcc.registry import ARCHITECTURES, EVALUATORS, METRICS, SELECTORS, TASKS, Architecture, DatasetSource, ImageEvaluator, ImportanceMetric
from gcc.registry import RENAMED as RENAMED_TYPES
from gcc.registry.presets import PRESETS
from tests.helpers.custom_toys import CUSTOM
from tests.helpers.families import TINY

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {str(page.relative_to(DOCS)): page.read_text() for page in sorted(DOCS.rglob("*.md"))}
README = (ROOT / "README.md").read_text()
FAMILIES = tuple(TINY)
CONSOLE = re.compile(r"```console\n(.*?)```", flags=re.DOTALL)
FENCED = re.compile(r"```.*?```", flags=re.DOTALL)
NOTEBOOK = DOCS / "demo.ipynb"


def commands(text):
    """Yield the `gcc` commands of a page as words: those of its console blocks, continued lines joined, and those in its sentences."""
    for block in CONSOLE.findall(text):
        lines = (line for line in block.replace("\\\n", " ").splitlines() if line.startswith("$ "))
        for words in (shlex.split(part, comments=True) for line in lines for part in line[2:].split(" && ")):
            start = words.index("gcc") if "gcc" in words else None
            if start == 0 or (start and words[start - 1] == "-m"):
                yield words[start + 1 :]
    for span in re.findall(r"`gcc ([a-z][^`\n]* [^`\n]*)`", FENCED.sub("", text)):
        yield shlex.split(span)


COMMANDS = [(page, tuple(words)) for page, text in (PAGES | {"README.md": README}).items() for words in commands(text)]


def understood(words):
    """Return the settings of a command line, which must parse; what lies on a disk need not be there."""
    command, rest = main, [*words]
    while isinstance(command, click.Group):
        assert rest and rest[0] in command.commands, f"{' '.join(words)}: no such command"
        command = command.commands[rest.pop(0)]
    return command.make_context(command.name, rest).params


def test_the_flags_that_messages_translate_are_those_of_the_migration_page():
    page = set(re.findall(r"--\w+", PAGES["migration.md"]))
    assert COUNTERPARTS.keys() <= page and {f"--{field}" for field in FIELDS} <= page


def test_every_extra_exists():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    groups = [group for text in (*PAGES.values(), README) for group in re.findall(r"\[([a-z,]+)\]'", text)]
    assert groups and {name for group in groups for name in group.split(",")} <= extras.keys()


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{page}: {' '.join(words)[:60]}" for page, words in COMMANDS])
def test_every_command_parses(page, words):
    settings = understood(words)
    assignments = dict(assignment.split("=", 1) for assignment in settings.get("assignments") or ())
    if settings.get("arch") in FAMILIES:
        changed(ARCHITECTURES.load(settings["arch"]).published(), assignments)


@pytest.mark.parametrize("line", ["compres", "compress --budgett 25%", "translate student --count 3", "plugin new a --kind color"])
def test_what_does_not_parse_is_seen(line):
    with pytest.raises((AssertionError, click.ClickException)):
        understood(line.split())


def test_names_of_plugins_and_presets_are_known():
    known = {"evaluators": EVALUATORS, "metric": METRICS, "selector": SELECTORS, "preset": PRESETS, "presets": PRESETS}
    known = {option: set(names if isinstance(names, dict) else names.names()) for option, names in known.items()}
    # Those that pages invent, and those of the plugins of this repository.
    known["metric"] |= {"sharp", "fpgm", "taylor"}
    known["selector"] |= {"overhaul"}
    for page, words in COMMANDS:
        for option, value in understood(words).items():
            if option in known and value and not (option == "selector" and "." in value):
                assert set(value.split(",")) <= known[option], f"{page}: {' '.join(words)}"


def test_every_page_is_in_the_navigation():
    listed = re.findall(r"^ +- (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert sorted(listed) == sorted(PAGES)


def anchors(text):
    """Return the anchors of a page's headings, and of what it shows of the code."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", PAGES[page])):
        if link.startswith("https://"):
            continue
        place, _, anchor = link.partition("#")
        target = (DOCS / page).parent / place if place else DOCS / page
        assert target.exists(), f"{page}: {link}"
        # What mkdocstrings shows of the code has anchors of its own, which `mkdocs build --strict` looks for.
        if anchor and not anchor.startswith("gcc."):
            assert anchor in anchors(target.read_text()), f"{page}: {link}"


def test_the_api_has_all_that_is_exported():
    import gcc

    assert {f"gcc.{name}" for name in gcc.__all__} <= set(re.findall(r"^::: (\S+)$", PAGES["api.md"], flags=re.MULTILINE))


def test_every_family_has_a_page():
    assert {f"families/{arch}.md" for arch in FAMILIES} == {page for page in PAGES if page.startswith("families/")}
    assert set(FAMILIES) <= set(ARCHITECTURES.names())


def renamed(heading):
    """Return the present names in a table of docs/migration.md, by those of version 0.1."""
    section = PAGES["migration.md"].partition("## From 0.1")[2].partition(f"### {heading}\n")[2].partition("\n###")[0]
    return dict(re.findall(r"\| `([^`]+)` \| `([^`]+)` \|(?:[^`|\n]*\|)?$", section, flags=re.MULTILINE))


def test_renamed_flags_are_those_of_the_commands():
    known = {opt for parameter in main.commands["compress"].params for opt in parameter.opts}
    assert renamed("Flags") == {old: new for old, new in RENAMED_FLAGS.items() if new in known}


def test_renamed_fields_are_those_of_the_recipe():
    assert renamed("Recipe fields") == dict(RENAMED)


def test_renamed_members_are_those_of_the_contracts():
    contracts = (Architecture, DatasetSource, ImageEvaluator, ImportanceMetric)
    members = {old: new for contract in contracts for old, new in contract.renamed.items()}
    listed = renamed("Contracts of plugins")
    assert listed == members | {"made": "fake"}
    for old, new in RENAMED_TYPES.items():
        assert f"`{new}` (was `{old}`)" in PAGES["migration.md"]


def described(recipe):
    """Return the text below each field that a recipe class has beside those of all recipes, or that all recipes have."""
    tasks = [base for base in recipe.__mro__[:0:-1] if issubclass(base, Recipe) and base is not Recipe]
    return {field: text for part in (*tasks, recipe) for field, text in described_in(part).items()}


def described_in(recipe):
    """Return the text below each field that a recipe class defines."""
    (body,) = (node.body for node in ast.parse(textwrap.dedent(inspect.getsource(recipe))).body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in zip(body, body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def shown(value):
    return "none" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != "" else ""


def table(*rows):
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def recipe_tables():
    """Return the tables of docs/recipes.md, in order, and the lines on the demos by family, as the code has them."""
    families = {arch: ARCHITECTURES.load(arch) for arch in FAMILIES}
    published = {arch: family.published() for arch, family in families.items()}
    shared = described(Recipe)
    rows = [(f"`{field}`", *(shown(getattr(recipe, field)) for recipe in published.values()), text) for field, text in shared.items()]
    tables = [table(("field", *FAMILIES, "what it is"), ("---",) * (len(FAMILIES) + 2), *rows)]
    for recipe in published.values():
        own = [(f"`{field}`", shown(getattr(recipe, field)), text) for field, text in described(type(recipe)).items()]
        tables.append(table(("field", "published", "what it is"), ("---",) * 3, *own))
    tasks = {name: TASKS.load(name).published() for name in CUSTOM}
    names = dict.fromkeys(field.name for recipe in tasks.values() for field in dataclasses.fields(recipe))
    rows = [(f"`{name}`", *(shown(getattr(recipe, name)) if hasattr(recipe, name) else "-" for recipe in tasks.values())) for name in names]
    tables.append(table(("field", *tasks), ("---",) * (len(tasks) + 1), *rows))
    presets = ((f"`{name}`", preset.summary) for name, preset in PRESETS.items())
    tables.append(table(("preset", "what it is"), ("---",) * 2, *presets))
    demos = {}
    for arch, family in families.items():
        demo = family.demo()
        fields = [field.name for field in dataclasses.fields(demo)]
        differing = [name for name in fields if getattr(demo, name) != getattr(published[arch], name)]
        demos[arch] = f"`{arch}`: {', '.join(f'{name} = {shown(getattr(demo, name))}' for name in differing)}."
    return tables, demos


def with_current_tables(page):
    """Return docs/recipes.md with its tables, and its lines on the demos, as the code has them."""
    tables, demos = recipe_tables()
    pieces = re.split(r"((?:^\|.*\n)+)", page, flags=re.MULTILINE)
    assert len(pieces) == 2 * len(tables) + 1
    pieces[1::2] = tables
    page = "".join(pieces)
    for arch, line in demos.items():
        wrapped = textwrap.fill(line, 150, break_long_words=False, break_on_hyphens=False)
        page = re.sub(rf"^`{arch}`: .*?\.$(?=\n\n)", lambda _, wrapped=wrapped: wrapped, page, flags=re.MULTILINE | re.DOTALL)
    return page


def test_the_recipes_and_presets_are_those_of_the_code():
    assert PAGES["recipes.md"] == with_current_tables(PAGES["recipes.md"]), "run `python -m tests.test_docs`, which rewrites the tables"


def test_every_field_is_in_the_tables():
    for arch in FAMILIES:
        recipe = type(ARCHITECTURES.load(arch).published())
        assert {field.name for field in dataclasses.fields(recipe)} == {*described(Recipe), *described(recipe)}


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    names = {}
    for number, cell in enumerate(cells, 1):
        exec(compile("".join(cell["source"]), f"demo.ipynb, cell {number}", "exec"), names)
        if "parameters" in cell["metadata"].get("tags", ()):
            names["settings"] = TINY["pix2pix"]
    printed = capsys.readouterr().out
    assert "search 1/1" in printed and "train 2/2" in printed and "student" in printed
    assert (tmp_path / "demo" / "student" / "model.safetensors").is_file()


def test_the_notebook_shows_what_it_made():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert kinds == {"stream", "execute_result"}
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]


def test_the_tutorial_makes_pairs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(5):
        Image.linear_gradient("L").resize((300 + number, 280)).save(tmp_path / "photos" / f"{number}.jpg")
    (script,) = re.findall(r"```python\n(.*?)```", PAGES["tutorial.md"], flags=re.DOTALL)
    exec(compile(script, "tutorial.md", "exec"), {})
    recipe = ARCHITECTURES.load("pix2pix").demo()
    splits = {split: Aligned(tmp_path / "pairs", split, recipe) for split in ("train", "test")}
    assert {split: len(source) for split, source in splits.items()} == {"train": 16, "test": 4}
    painted, photo = (splits["test"].sample(0, None)[side] for side in "AB")
    assert 0 < len(painted.unique()) < len(photo.unique())


if __name__ == "__main__":
    (DOCS / "recipes.md").write_text(with_current_tables(PAGES["recipes.md"]))
