"""How long teachers and students take for one image: as loaded, optimised for inference, compiled and exported.

    python benchmarks/latency.py --arch pix2pix --threads 1,2

Students are pruned from random weights to shares of the teacher's MACs, since weights do not affect the time. All networks take turns,
a pass each, so that whatever else the machine does meets all of them. `loaded` runs eagerly; compiled and exported networks start from the
optimised ones. Networks are compiled only if there is a C++ compiler.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from full_size import FAMILIES, machine
from torch import Tensor, nn

from gcc import Teacher, optimize
from gcc.deploy.optimize import seconds_of
from gcc.pruning.budget import Budget
from gcc.pruning.cost import cost_of
from gcc.pruning.importance import L1Norm
from gcc.pruning.search import prune_family

SHARES = (50, 25, 12, 6)
WARM_UP = 2
Run = Callable[[Tensor], Tensor]


def compiled(network: nn.Module, example: Tensor) -> Run:
    return torch.compile(optimize(network, example), dynamic=False, fullgraph=True)


def exported(network: nn.Module, example: Tensor) -> Run:
    return torch.export.export(optimize(network, example), (example,)).module()


MODES: Mapping[str, Callable[[nn.Module, Tensor], Run]] = {
    "loaded": lambda network, example: network,
    "optimised": optimize,
    "compiled": compiled,
    "exported": exported,
}


def taken_in_turns(networks: Mapping[tuple[str, str], Run], example: Tensor, repeats: int) -> dict[tuple[str, str], list[float]]:
    """Return the milliseconds of every pass, by network."""
    times: dict[tuple[str, str], list[float]] = {name: [] for name in networks}
    with torch.no_grad():
        for turn in range(WARM_UP + repeats):
            for name, network in networks.items():
                start = time.perf_counter()
                network(example)
                if example.is_cuda:
                    torch.cuda.synchronize()
                if turn >= WARM_UP:
                    times[name].append(1e3 * (time.perf_counter() - start))
    return times


def by_kind(network: nn.Module, example: Tensor) -> Counter[str]:
    """Return the milliseconds that a network's layers take, by kind of layer."""
    layers = {path: module for path, module in network.named_modules() if not list(module.children())}
    spent: Counter[str] = Counter()
    for path, seconds in seconds_of(network, list(layers), example).items():
        kernel = "x".join(map(str, getattr(layers[path], "kernel_size", ())))
        spent[f"{type(layers[path]).__name__} {kernel}".strip()] += 1e3 * seconds
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", choices=FAMILIES, default="pix2pix")
    parser.add_argument("--size", type=int, help="height and width of the input; the published one by default")
    parser.add_argument("--modes", default=",".join(MODES), help="joined by commas")
    parser.add_argument("--threads", default="1", help="numbers, joined by commas")
    parser.add_argument("--round-to", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layers", action="store_true", help="also print how long the layers of each optimised network take; CPU only")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    modes = options.modes.split(",")
    if "compiled" in modes and options.device == "cpu" and not shutil.which("c++"):
        print("compiled is left out: there is no C++ compiler")
        modes.remove("compiled")
    torch.manual_seed(0)
    settings = FAMILIES[options.arch] | ({"size": options.size} if options.size else {})
    architecture = Teacher.create(options.arch).architecture(settings)
    base, example = architecture.recipe.ngf, architecture.example_input()
    full = architecture.build_generator(architecture.full_widths(base))
    architecture.initialise(full)
    teacher = cost_of(full, example)
    widths = {"teacher": architecture.full_widths(base)}
    for share in SHARES:
        limit = Budget.parse(f"{share}%").resolve(teacher, "exact")
        pruned = prune_family(architecture, full, base, L1Norm(), limit, round_to=options.round_to)
        widths[f"student {share} %"] = pruned.widths
    images = torch.randn(example.shape).to(options.device)
    loaded = {name: architecture.build_generator(chosen).eval().requires_grad_(False) for name, chosen in widths.items()}
    macs = {name: cost_of(network, example).macs for name, network in loaded.items()}
    rows = []
    for threads in map(int, options.threads.split(",")):
        torch.set_num_threads(threads)
        # Compiled code is specific to the number of threads.
        torch.compiler.reset()
        networks = {(name, mode): MODES[mode](network.to(options.device), images) for name, network in loaded.items() for mode in modes}
        times = taken_in_turns(networks, images, options.repeats)
        print(f"{options.arch}, one input of {'x'.join(map(str, images.shape))}; {machine()}; widths in multiples of {options.round_to}")
        for (name, mode), own in times.items():
            median, p90 = statistics.median(own), statistics.quantiles(own, n=10, method="inclusive")[-1]
            faster, fewer = statistics.median(times["teacher", mode]) / median, macs["teacher"] / macs[name]
            row = {"network": name, "how": mode, "threads": threads, "median_ms": median, "p90_ms": p90}
            rows.append(row | {"speed_up": faster, "mac_ratio": fewer})
            ratio = f"{faster:5.2f}x as fast at 1/{fewer:.2f} of the MACs: {faster / fewer:.2f}"
            print(f"{name:13} {mode:10} {median:8.1f} ms (p90 {p90:.1f})  {ratio}")
        for name, network in loaded.items() if options.layers else ():
            spent = by_kind(optimize(network, images), images).most_common(5)
            print(f"{name:13} {', '.join(f'{kind} {spent_ms:.1f} ms' for kind, spent_ms in spent)}")
    if options.json:
        options.json.write_text(json.dumps({"arch": options.arch, "machine": machine(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
