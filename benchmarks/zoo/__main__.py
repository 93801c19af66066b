"""Prune the catalogue's networks to half their multiply-accumulates, and check the results.

    python -m benchmarks.zoo --names ci --table zoo.md
    python -m benchmarks.zoo --repos repositories --tools ours,torch-pruning --out zoo.jsonl --table zoo.md

Every network runs in a process of its own, on one thread, and has a limit of processor time for pruning and again for each stage of checks.
Results are appended to a file; a later call goes on with what it lacks. A network that was not run counts as failed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .catalogue import ZOO, chosen
from .table import table
from .tools import TOOLS

PATIENCE = 8
"""A process is stopped after this many times its limit, whatever it waits for."""


def run(name: str, tool: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return a network's result, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.zoo.work", name, tool, "--limit", str(options.limit)]
    command += ["--repos", str(options.repos)] if options.repos else []
    command += [] if options.export else ["--no-export"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    result: dict[str, Any] = {"name": name, "tool": tool, "source": ZOO[name].origin}
    try:
        process = subprocess.run(command, env=one_thread, capture_output=True, text=True, timeout=PATIENCE * options.limit)
        output, errors, code = process.stdout, process.stderr, process.returncode
    except subprocess.TimeoutExpired as stopped:
        output, errors, code = (stopped.stdout or b"").decode(), "", -signal.SIGALRM
    for line in output.splitlines():
        if line.startswith("{"):
            result |= json.loads(line)
    if code < 0:
        result["stopped"] = f"stopped after {options.limit} s" if -code in (signal.SIGXCPU, signal.SIGALRM) else f"signal {-code}"
    elif code > 0:
        result["stopped"] = errors.strip().splitlines()[-1] if errors.strip() else f"exit code {code}"
    return result


def stored(file: Path | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file and file.exists() else []


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--names", default="", help="networks or sources, joined by commas, or `ci`; all by default")
    parser.add_argument("--tools", default="ours", help=f"of {', '.join(TOOLS)}, joined by commas")
    parser.add_argument("--repos", type=Path, help="folder of public repositories, each as OWNER+NAME at the commit of the catalogue")
    parser.add_argument("--out", type=Path, help="file of results, JSON lines; what it has is not run again")
    parser.add_argument("--table", type=Path, help="file for a table in Markdown")
    parser.add_argument("--jobs", type=int, default=1, help="networks at the same time")
    parser.add_argument("--limit", type=int, default=150, help="seconds of processor time for pruning, and for each stage of checks")
    parser.add_argument("--export", action=argparse.BooleanOptionalAction, default=True, help="also export to ONNX")
    options = parser.parse_args(arguments)
    names = [network.name for network in chosen([name for name in options.names.split(",") if name])]
    tools = options.tools.split(",")
    results = {(result["name"], result["tool"]): result for result in stored(options.out)}
    missing = [(name, tool) for tool in tools for name in names if (name, tool) not in results]

    def work(pair: tuple[str, str]) -> dict[str, Any]:
        return run(*pair, options)

    with ThreadPoolExecutor(options.jobs) as pool:
        for pair, result in zip(missing, pool.map(work, missing), strict=True):
            results[pair] = result
            print(f"{pair[1]}  {pair[0]}: {result.get('error') or result.get('stopped') or result.get('outcome')}", flush=True)
            if options.out:
                with options.out.open("a") as lines:
                    lines.write(json.dumps(result) + "\n")
    text = table([results[name, tool] for tool in tools for name in names])
    if options.table:
        options.table.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
