"""Results as tables in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

CHECKS = {
    "runs": "runs",
    "batch": "another batch",
    "size": "another size",
    "masked": "equals masked",
    "trains": "trains",
    "export": "ONNX",
    "attributes": "sizes agree",
}


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return a summary by tool, and one row for each network."""
    tools = list(dict.fromkeys(result["tool"] for result in results))
    head = [
        "tool",
        "networks",
        "pruned to half",
        "above half",
        "wrong",
        "refused",
        "exception",
        "not run",
        "mostly untouched",
        "median s",
    ]
    rows = [_row(head), _row(["---"] * len(head))]
    rows += [_row(_summary(tool, [result for result in results if result["tool"] == tool])) for tool in tools]
    head = ["network", "tool", "outcome", "MACs left", "untouched", *CHECKS.values(), "s", "reason"]
    rows += ["", _row(head), _row(["---"] * len(head))]
    rows += [_row(_details(result)) for result in sorted(results, key=lambda result: (result["name"].lower(), tools.index(result["tool"])))]
    return "\n".join(rows) + "\n"


def outcome(result: dict[str, Any]) -> str:
    return str(result.get("outcome", "stopped"))


def _summary(tool: str, results: Sequence[dict[str, Any]]) -> list[str]:
    outcomes = [outcome(result) for result in results]
    untouched = sum(result.get("untouched") is not None and result["untouched"] > 0.5 for result in results if outcome(result) == "pruned")
    times = [result["seconds"] for result in results if outcome(result) == "pruned"]
    counts = [len(results), outcomes.count("pruned"), outcomes.count("above half"), sum(text.startswith("wrong") for text in outcomes)]
    counts += [outcomes.count("refused"), outcomes.count("exception")]
    rest = sum(text in ("stopped", "not run", "not checked") for text in outcomes)
    return [tool, *map(str, counts), str(rest), str(untouched), f"{statistics.median(times):.1f}" if times else ""]


def _details(result: dict[str, Any]) -> list[str]:
    checks = result.get("checks", {})
    reasons = [f"{name}: {answer.removeprefix('no: ')}" for name, answer in checks.items() if answer.startswith("no:")]
    reason = result.get("error") or "; ".join(reasons) or result.get("stopped", "")
    answers = [checks.get(name, "").partition(":")[0] for name in CHECKS]
    seconds = f"{result['seconds']:.1f}" if "seconds" in result else ""
    shares = [f"{result[key]:.2f}" if result.get(key) is not None else "" for key in ("share", "untouched")]
    return [result["name"], result["tool"], outcome(result), *shares, *answers, seconds, reason.replace("|", "\\|")[:300]]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
