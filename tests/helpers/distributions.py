"""Distributions that stand on the import path as if pip had installed them."""

import os
import subprocess
import sys
import tomllib


def install(folder, home):
    """Put what pip would know of the distribution in `folder` into `home`."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = home / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def run_tests(folders, home, *options):
    """Run the distributions' own tests together, in a process that finds them installed, and return it."""
    for folder in folders:
        install(folder, home)
    path = os.pathsep.join(map(str, [home, *(folder / "src" for folder in folders), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options, *map(str, folders)]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, cwd=home, capture_output=True, text=True, timeout=300)
