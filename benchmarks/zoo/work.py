"""Prune one network with one tool and check the result; every line of output is a part of the result in JSON."""

from __future__ import annotations

import argparse
import json
import resource
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from .calls import evaluated
from .catalogue import ZOO
from .checks import HALF, QUICK, cost, exports, first_line, leaves_original, verdict
from .tools import TOOLS


def allow(seconds: int) -> None:
    """Stop this process when it has used this much more processor time."""
    used = time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + seconds, resource.RLIM_INFINITY))


def report(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def outcome(checks: dict[str, str], share: float) -> str:
    """Name what happened: `pruned`, or what is wrong with it."""
    failed = [name for name, answer in checks.items() if answer.startswith("no:")]
    if failed:
        return f"wrong ({', '.join(failed)})"
    return "pruned" if share <= HALF else "above half"


def work(name: str, tool: str, limit: int, repositories: Path | None, export: bool) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    allow(limit)
    try:
        network, inputs = ZOO[name].build(repositories), ZOO[name].inputs()
        evaluated(network, inputs)
    except Exception as error:
        report(outcome="not run", error=first_line(error))
        return
    state = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    allow(limit)
    start, used = time.perf_counter(), time.process_time()
    try:
        pruned = TOOLS[tool](network, inputs)
    except Exception as error:
        report(outcome=kind_of(error), error=first_line(error), seconds=time.perf_counter() - start, processor=time.process_time() - used)
        return
    report(
        outcome="not checked",
        seconds=time.perf_counter() - start,
        processor=time.process_time() - used,
        form=str(getattr(pruned, "form", "")),
    )
    allow(limit)
    try:
        costs = cost(network, pruned, inputs)
    except Exception as error:
        report(outcome="wrong (runs)", error=first_line(error))
        return
    answers = {key: verdict(check, network, pruned, inputs) for key, check in {**QUICK, "original": leaves_original(state)}.items()}
    report(outcome=outcome(answers, costs["share"]), checks=answers, **costs)
    if export:
        allow(limit)
        answers["export"] = verdict(exports, network, pruned, inputs)
        report(outcome=outcome(answers, costs["share"]), checks=answers)


def kind_of(error: Exception) -> str:
    """Tell a refusal that names its reason from any other exception."""
    from gcc.errors import GccError

    return "refused" if isinstance(error, GccError) else "exception"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo.work", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name")
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("--limit", type=int, default=150)
    parser.add_argument("--repos", type=Path)
    parser.add_argument("--export", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    work(options.name, options.tool, options.limit, options.repos, options.export)


if __name__ == "__main__":
    main()
