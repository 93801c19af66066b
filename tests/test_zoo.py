"""The catalogue of networks that others wrote: the subset that needs no further package is pruned to half and checked."""

import json

import pytest

from benchmarks.zoo.__main__ import main
from benchmarks.zoo.vision import CI


@pytest.mark.slow
def test_networks_of_others_are_pruned_to_half_and_proven(tmp_path):
    main(["--names", "ci", "--out", str(tmp_path / "results.jsonl"), "--table", str(tmp_path / "table.md")])
    results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [(result["name"], result["outcome"]) for result in results] == [(name, "pruned") for name in CI]
    for result in results:
        assert {name for name, answer in result["checks"].items() if answer == "yes"} >= {"runs", "masked", "trains", "original", "export"}
    assert "| ours | 3 | 3 | 0 | 0 |" in (tmp_path / "table.md").read_text()
