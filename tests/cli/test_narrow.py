"""Terminals of few columns: nothing is cut."""

import io
import re

import pytest
from rich.console import Console

from gcc.artifacts.config import parse_measurements
from gcc.cli.tables import comparison_table, pruning_bars, timings_table
from gcc.cli.wrapping import NARROW, wrapped
from tests.helpers.run_folders import MEASUREMENTS

TIMING = {"generator": "runs/pix2pix/student", "device": "cpu, 1 thread", "input": [1, 3, 256, 256], "median_ms": 12.3, "p90_ms": 14.5,
          "samples_per_second": 81.3, "memory": 731_800_000, "speed_up": 1.23}  # fmt: skip
TABLES = {
    "timings": lambda: timings_table([TIMING, TIMING | {"generator": "runs/pix2pix/teacher", "speed_up": None}]),
    "comparison": lambda: comparison_table(
        "pix2pix G", {title: parse_measurements(title, values) for title, values in MEASUREMENTS.items()}
    ),
    "bars": lambda: pruning_bars({"attention3": 1, "up1": 4}, {"attention3": 16, "up1": 8}, "of a generator of width 6"),
}


def printed(renderable, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


def words(text):
    return set(re.sub(r"[^\w.,%/()@-]", " ", text).split())


@pytest.mark.parametrize("width", [30, 40, 50, 59, 60, 80])
@pytest.mark.parametrize("name", TABLES)
def test_no_value_is_cut(name, width):
    text, whole = printed(TABLES[name](), width), printed(TABLES[name](), 300)
    assert "\u2026" not in text and max(map(len, text.splitlines())) <= width
    if width < NARROW:
        assert words(whole) - words(text) <= {"generator", "layer"}  # The heading of the first column.


def test_a_narrow_terminal_has_lines():
    text = printed(TABLES["timings"](), 40)
    assert re.search(r"runs/pix2pix/student\n  device +cpu, 1 thread *\n  input +1x3x256x256 *\n  median +12.30 ms *\n", text), text
    assert "1.23x as fast" in text and "\u2503" not in text and "\u2503" in printed(TABLES["timings"](), 300)


def test_findings_wrap():
    text = "the tensors of a step need up to 0.83 GB, 21.2 GB are free on cpu"
    assert wrapped(text, None) == wrapped(text, 200) == f" {text}"
    for width in (40, 59, 60, 80):
        first, *rest = wrapped(text, width).splitlines()
        assert " ".join([first, *rest]).split() == text.split()
        assert all(len(line) <= width for line in rest) and len(first) <= width - 21
        assert (first == "") == (width < 60) and all(line.startswith(" " * (2 if width < 60 else 22)) for line in rest)
