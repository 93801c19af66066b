"""How long teachers and students take for one image: as loaded, and made ready for inference.

    python benchmarks/latency.py --arch pix2pix --threads 1

Students are pruned from random weights to shares of the teacher's MACs, since weights change nothing about time. All networks take turns,
a pass each, so that whatever else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from full_size import FAMILIES, machine
from torch import Tensor, nn

from gcc import Teacher, optimize
from gcc.pruning.budget import Budget
from gcc.pruning.cost import cost_of
from gcc.pruning.importance import L1Norm
from gcc.pruning.search import prune

SHARES = (50, 25, 12, 6)
WARM_UP = 2


def taken_in_turns(networks: dict[str, nn.Module], example: Tensor, repeats: int) -> dict[str, list[float]]:
    """Return the milliseconds of every pass by network."""
    times: dict[str, list[float]] = {name: [] for name in networks}
    on_cuda = example.device.type == "cuda"
    with torch.inference_mode():
        for turn in range(WARM_UP + repeats):
            for name, network in networks.items():
                start = time.perf_counter()
                network(example)
                if on_cuda:
                    torch.cuda.synchronize()
                if turn >= WARM_UP:
                    times[name].append(1e3 * (time.perf_counter() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", choices=FAMILIES, default="pix2pix")
    parser.add_argument("--size", type=int, help="height and width of the input; the published one by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--round-to", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    settings = FAMILIES[asked.arch] | ({"size": asked.size} if asked.size else {})
    architecture = Teacher.create(asked.arch).architecture(demo=False, settings=settings)
    base, example = architecture.recipe.ngf, architecture.example_input()
    full = architecture.build_generator(architecture.full_widths(base))
    architecture.initialise(full)
    teacher = cost_of(full, example)
    widths = {"teacher": architecture.full_widths(base)}
    for share in SHARES:
        found = prune(architecture, full, base, L1Norm(), Budget.parse(f"{share}%"), "exact", teacher, round_to=asked.round_to)
        widths[f"student {share} %"] = found.widths
    images = torch.randn(example.shape).to(asked.device)
    networks, macs = {}, {}
    for name, chosen in widths.items():
        loaded = architecture.build_generator(chosen).eval().to(asked.device)
        networks |= {f"{name}, loaded": loaded, f"{name}, optimised": optimize(loaded, images)}
        macs[name] = cost_of(loaded, example).macs
    times = taken_in_turns(networks, images, asked.repeats)
    print(f"{asked.arch}, one input of {'x'.join(map(str, images.shape))}; {machine()}; widths in multiples of {asked.round_to}")
    rows = []
    for name in widths:
        for how in ("loaded", "optimised"):
            own = times[f"{name}, {how}"]
            median, p90 = statistics.median(own), statistics.quantiles(own, n=10, method="inclusive")[-1]
            faster = statistics.median(times[f"teacher, {how}"]) / median
            fewer = macs["teacher"] / macs[name]
            rows.append({"network": name, "how": how, "median_ms": median, "p90_ms": p90, "speed_up": faster, "mac_ratio": fewer})
            ratio = f"{faster:5.2f}x as fast at 1/{fewer:.2f} of the MACs: {faster / fewer:.2f}"
            print(f"{name:13} {how:10} {median:8.1f} ms (p90 {p90:.1f})  {ratio}")
    if asked.json:
        asked.json.write_text(json.dumps({"arch": asked.arch, "machine": machine(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
