"""What a GPU must show: every mode computes the same as the reference mode, how fast each is, and what the tools do there.

    python benchmarks/gpu.py --out gpu.jsonl
    python benchmarks/gpu.py --out gpu.jsonl --parts tiny,published/pix2pix

No part needs a network. Each runs in its own process with a time limit and appends its results to the file at once, so that a part that
fails or hangs costs only itself. A second call goes on with the parts that are not done. `--device cpu --scale tiny` rehearses on a CPU.
With the plugin gcc-esrgan installed, Real-ESRGAN x4plus has parts, too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from full_size import FAMILIES, PLUGIN_FAMILIES, compressor, machine, write_images
from torch import Tensor, nn

from gcc import Compressor, Teacher
from gcc.models.modules import Widths
from gcc.registry import ARCHITECTURES
from gcc.training.checkpoint import Checkpoints
from gcc.training.context import Stream
from gcc.training.loss_tree import leaves
from gcc.training.step_runner import GraphedStep

TINY: Mapping[str, Mapping[str, Any]] = {
    "pix2pix": {"ema_decay": 0.9, "size": 32, "ngf": 8, "ndf": 8, "prune_width": 8, "batch_size": 4, "budget": "40%"},
    "cyclegan": {"size": 32, "ngf": 8, "ndf": 8, "prune_width": 8, "n_blocks": 2, "batch_size": 4, "budget": "40%", "pool_size": 6},
    "sagan": {"size": 32, "ngf": 8, "ndf": 8, "prune_width": 8, "batch_size": 4, "budget": "60%"},
    "srgan": {"size": 32, "ngf": 8, "ndf": 8, "prune_width": 8, "batch_size": 4, "budget": "40%", "pretrain_epochs": 0},
    "real-esrgan": {"size": 32, "ngf": 8, "ndf": 8, "prune_width": 8, "batch_size": 4, "blocks": 2, "budget": "40%", "pretrain_epochs": 0},
}
"""Small recipes, on the families' demo data."""
MODES: Mapping[str, Mapping[str, Any]] = {
    "reference": {"reference": True},
    "float32-eager": {"amp": "off", "eager": True},
    "float32": {"amp": "off"},
    "bf16-eager": {"amp": "bf16", "eager": True},
    "bf16": {"amp": "bf16"},
    "fp16": {"amp": "fp16"},
    "bf16-deterministic-eager": {"amp": "bf16", "deterministic": True, "eager": True},
    "bf16-deterministic": {"amp": "bf16", "deterministic": True},
    "bf16-compiled": {"amp": "bf16", "compile": True},
    "bf16-compiled-graphs": {"amp": "bf16", "compile": True},
    "float32-compiled-graphs": {"amp": "off", "compile": True},
}
"""The options of each mode; float32 is TF32 on a GPU outside of the reference mode. Modes that end with `-graphs`
are captured, although runs with these options are not."""
TOLERANCES = {"float32": 0.15, "bf16": 0.4, "fp16": 0.25}
"""Largest relative error of a network's gradients against the reference mode."""
GRAPH_TOLERANCE = 0.03
"""Largest relative error of a network's gradients with CUDA graphs, against the same precision without them. Two eager steps differ as
much, since some kernels add in any order; deterministic ones must agree in every bit."""
TURNS = 5
"""How often each mode is timed."""
LISTED = 25
"""The longest kernels that are listed."""
Gradients = list[Tensor | None]
Record = Callable[..., None]
"""Appends a result, given as keywords, to the file."""


class Bench:
    """The second step of Algorithm 1 in one mode, without the loop around it.

    Args:
        run: a run.
        widths: widths of its student.
        closed: the share of closed channels in the student's discriminators.
    """

    def __init__(self, run: Compressor, widths: Mapping[str, Widths], closed: float = 0.0) -> None:
        self.run = run
        with run.context.process_settings():
            run.widths = dict(widths)
            run.reinitialize()
            run.epoch = 1
            for alpha in run.student.alphas:
                alpha.data[: int(closed * len(alpha))] = 0
            streams = (run.context.batches(stream, 1) for stream in (Stream.TRAIN, Stream.ALPHA))
            self.batches = [batches for _, batches in zip(range(3), zip(*streams, strict=True), strict=False)]
            for stream in (Stream.TRAIN, Stream.ALPHA):
                run.context.loader.close(stream)
        self.step = run.context.execution.runner(run.cooperate)
        self.begin(1.0)

    def begin(self, factor: float) -> None:
        """Begin an epoch whose learning rates are `factor` times the recipe's."""
        for pair in self.run.pairs.values():
            for optimizer in pair.optimizers.values():
                optimizer.set_lr_factor(factor)
        self.step.begin_epoch(10**6)
        self.done = 0

    def train(self, steps: int) -> dict[str, float]:
        """Train some steps, and return the last losses by path."""
        losses: Mapping[str, Any] = {}
        with self.run.context.process_settings():
            for _ in range(steps):
                losses = self.step(*self.batches[self.done % len(self.batches)])
                self.done += 1
        return {"/".join(path): float(value) for path, value in leaves(losses)}

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.run.context.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, steps: int) -> float:
        """Return the seconds that a step takes, as the mean of some steps."""
        self.synchronise()
        start = time.perf_counter()
        self.train(steps)
        self.synchronise()
        return (time.perf_counter() - start) / steps

    def fourth_step(self) -> tuple[dict[str, float], dict[str, Gradients]]:
        """Return losses and gradients of the fourth step, from the initial state: learning rates are 0, and nothing is dropped out."""
        stored: dict[str, Gradients] = {}
        dropouts = [module for module in self._modules() if isinstance(module, nn.Dropout)]
        probabilities = [module.p for module in dropouts]
        for module in dropouts:
            module.p = 0.0
        with ExitStack() as stack:
            for role, pair in self.run.pairs.items():
                for name, scoped in pair.optimizers.items():

                    def store(optimizer: Any, arguments: Any, options: Any, key: str = f"{role}/{name}") -> None:
                        scale = getattr(optimizer, "grad_scale", None)
                        gradients = [parameter.grad for group in optimizer.param_groups for parameter in group["params"]]
                        stored[key] = [
                            None if gradient is None else gradient.float() / (1 if scale is None else scale) for gradient in gradients
                        ]

                    stack.callback(scoped.optimizer.register_step_pre_hook(store).remove)
            torch.manual_seed(0)
            self.begin(0.0)
            losses = self.train(4)
            self.synchronise()
            gradients = {name: [None if t is None else t.cpu() for t in tensors] for name, tensors in stored.items()}
        for module, probability in zip(dropouts, probabilities, strict=True):
            module.p = probability
        self.begin(1.0)
        return losses, gradients

    def _modules(self) -> Iterator[nn.Module]:
        for pair in self.run.pairs.values():
            for network in pair.generators.values():
                yield from network.modules()


def built(arch: str, scale: str, folder: Path, device: str, mode: Mapping[str, Any], **recipe: Any) -> Compressor:
    """Return a run at the published size on noise images, or at a tiny size on demo data."""
    fields: dict[str, Any] = {"epochs": 10, "evaluators": "", "device": device, **recipe}
    if scale == "published":
        return compressor(arch, folder, recipe=recipe, device=device, **mode)
    return Compressor(Teacher.create(arch), **{**TINY[arch], **fields, **mode})


def benches(arch: str, scale: str, folder: Path, device: str, modes: Sequence[str], closed: float = 0.0, **recipe: Any) -> dict[str, Bench]:
    """Return a bench for each mode."""
    by_mode: dict[str, Bench] = {}
    widths: Mapping[str, Widths] = {}
    for mode in modes:
        run = built(arch, scale, folder, device, MODES[mode], **recipe)
        widths = widths or run.reachable_widths()
        by_mode[mode] = Bench(run, widths, closed)
        if mode.endswith("-graphs"):
            by_mode[mode].step = GraphedStep(run.cooperate)
    return by_mode


def error(values: Gradients, expected: Gradients) -> float:
    """Return the relative error ||a - b|| / ||b|| over all tensors; NaN if one list lacks a tensor."""
    if [value is None for value in values] != [value is None for value in expected]:
        return float("nan")
    pairs = [(a.double(), b.double()) for a, b in zip(values, expected, strict=True) if a is not None and b is not None]
    distance = sum(float((a - b).square().sum()) for a, b in pairs)
    norm = sum(float(b.square().sum()) for _, b in pairs)
    return float((distance / norm) ** 0.5) if norm else float(distance > 0)


def equality(runs: Mapping[str, Bench], record: Record) -> None:
    """Compare losses and gradients of one step with the reference mode, and with the same precision without CUDA graphs."""
    results = {}
    for mode, bench in runs.items():
        start = time.perf_counter()
        results[mode] = bench.fourth_step()
        record(check="first steps", mode=mode, seconds=time.perf_counter() - start)
    for mode, (losses, gradients) in results.items():
        against = {"reference": TOLERANCES[mode.partition("-")[0]]} if mode != "reference" else {}
        if f"{mode}-eager" in results:
            against[f"{mode}-eager"] = 0.0 if mode.endswith("deterministic") else GRAPH_TOLERANCE
        for other, tolerance in against.items():
            expected_losses, expected = results[other]
            errors = {name: error(tensors, expected[name]) for name, tensors in gradients.items()}
            of_losses = {name: abs(value - expected_losses[name]) / max(abs(expected_losses[name]), 1e-3) for name, value in losses.items()}
            worst = max(of_losses, key=lambda name: of_losses[name])
            ok = all(value <= tolerance for value in errors.values())
            record(check="equality", mode=mode, against=other, gradients=errors, worst_loss={worst: of_losses[worst]}, ok=ok)


def hundred_steps(runs: Mapping[str, Bench], record: Record) -> None:
    """Train 100 steps in every precision: losses stay finite and gates move."""
    for mode, bench in runs.items():
        losses = bench.train(100)
        alphas = torch.cat([alpha.detach().flatten() for alpha in bench.run.student.alphas])
        is_finite = all(math.isfinite(value) for value in losses.values())
        moved, closed = float((alphas - 1).abs().max()), float((alphas < bench.run.recipe.tau).float().mean())
        ok = is_finite and moved > 0
        record(check="hundred steps", mode=mode, finite=is_finite, moved=moved, closed=closed, G=losses["student/G"], ok=ok)


def resumed(arch: str, folder: Path, device: str, record: Record) -> None:
    """Stop in the middle of an epoch, go on from the checkpoint, and compare every tensor bit by bit."""

    def run() -> Compressor:
        new = built(arch, "tiny", folder, device, {"deterministic": True, "on_collapse": "rollback"}, epochs=2, seed=1)
        new.fixed_widths = dict(new.reachable_widths())
        return new

    def tensors(state: Any) -> dict[str, Tensor]:
        return {"/".join(map(str, path)): value.detach().cpu() for path, value in leaves(state) if isinstance(value, Tensor)}

    first = run()
    middle = first.context.loader.steps + first.context.loader.steps // 2
    for step in first.steps():
        if step.phase == "train" and step.number == middle:
            Checkpoints(folder / arch).save(first.checkpoint(step))
    straight = tensors(first.state_dict())
    second = run()
    second.resume(Checkpoints(folder / arch).newest())
    for _ in second.steps():
        pass
    again = tensors(second.state_dict())
    different = [name for name, value in straight.items() if not torch.equal(value, again[name])]
    record(check="resume", steps=first.context.loader.steps, different=len(different), first=different[:3], ok=not different)


def tiny(arch: str, folder: Path, device: str, record: Record) -> None:
    """Correctness at a tiny size."""
    graphed = ["float32", "bf16", *["fp16"] * (device != "cpu")]
    eager = ["reference", "float32-eager", "bf16-eager", "bf16-deterministic-eager"]
    equality(benches(arch, "tiny", folder, device, [*eager, *graphed, "bf16-deterministic"], closed=0.3), record)
    hundred_steps(benches(arch, "tiny", folder, device, graphed, lr_alpha=0.01), record)
    resumed(arch, folder, device, record)


def published(arch: str, folder: Path, device: str, record: Record, scale: str = "published") -> None:
    """Equality, seconds per iteration in turns, peak memory, and the kernels of the fastest mode."""
    modes = ["reference", "float32", "bf16-eager", "bf16", *["fp16"] * (device != "cpu")]
    runs = benches(arch, scale, folder, device, modes)
    equality(runs, record)
    speed(runs, record)
    if device == "cuda":
        for mode in ("reference", "bf16"):
            kernels(runs[mode], mode, record)
    hundred_steps({mode: bench for mode, bench in runs.items() if "-" not in mode and mode != "reference"}, record)


def speed(runs: Mapping[str, Bench], record: Record) -> None:
    """Measure the modes in turns."""
    memory = {mode: peak_of(bench) for mode, bench in runs.items()}
    first = next(iter(runs))
    steps = max(1, min(20, int(0.3 / runs[first].seconds(2))))
    seconds: dict[str, list[float]] = {mode: [] for mode in runs}
    for _ in range(TURNS):
        for mode, bench in runs.items():
            seconds[mode].append(bench.seconds(steps))
    medians = {mode: statistics.median(values) for mode, values in seconds.items()}
    for mode, median in medians.items():
        spread = {"least": min(seconds[mode]), "most": max(seconds[mode])}
        record(check="speed", mode=mode, seconds=median, **spread, ratio=medians[first] / median, activations_gb=memory[mode])


def peak_of(bench: Bench) -> float | None:
    """Return the memory in GB that an eager step, or a capture and its graph, takes in addition to the weights; None on a CPU."""
    if bench.run.context.device.type != "cuda":
        bench.train(4)
        return None
    bench.begin(1.0)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    bench.train(4)
    bench.synchronise()
    return (torch.cuda.max_memory_allocated() - before) / 1e9


def kernels(bench: Bench, mode: str, record: Record) -> None:
    """Profile three iterations: kernels, their share of the wall time without the profiler, and the longest."""
    wall = bench.seconds(5)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA], acc_events=True) as profile:
        bench.train(3)
        bench.synchronise()
    events = [event for event in profile.key_averages() if event.self_device_time_total > 0]
    total = sum(event.self_device_time_total for event in events) / 3e6
    longest = sorted(events, key=lambda event: -event.self_device_time_total)[:LISTED]
    record(
        check="kernels",
        mode=mode,
        wall=wall,
        kernel_seconds=total,
        share=total / wall,
        count=sum(event.count for event in events) / 3,
        longest=[(event.key[:110], event.count / 3, round(event.self_device_time_total / 3e3, 3)) for event in longest],
    )


def compiled(arch: str, folder: Path, device: str, record: Record, scale: str = "published") -> None:
    """Compiled networks: equal, and how fast."""
    # Dropout off and on would be two programs.
    fields = {"dropout": 0.0} if arch == "pix2pix" else {}
    runs = benches(
        arch,
        scale,
        folder,
        device,
        ["reference", "bf16", "bf16-compiled", *["bf16-compiled-graphs", "float32-compiled-graphs"] * (device != "cpu")],
        **fields,
    )
    equality(runs, record)
    speed(runs, record)
    if device == "cuda":
        kernels(runs["bf16-compiled-graphs"], "bf16-compiled-graphs", record)


def loading(folder: Path, device: str, record: Record) -> None:
    """Iterations per second of the whole loop, images from disk included, by the number of workers."""
    settings = {"size": 32, "ngf": 8, "ndf": 8, "prune_width": 8} if device == "cpu" else {}
    data = write_images("pix2pix", folder, settings, batches=20 if device == "cpu" else 400)
    for workers in (0, 2, 4, 8):
        run = Compressor(Teacher.create("pix2pix"), data, device=device, workers=workers, epochs=1, evaluators="", **settings)
        run.fixed_widths = dict(run.reachable_widths())
        steps = run.steps()
        first = next(step for step in steps if step.number == 5)
        start = time.perf_counter()
        last = max(step.number for step in steps)
        record(check="loading", workers=workers, iterations_per_second=(last - first.number) / (time.perf_counter() - start))


def tools(folder: Path, device: str, record: Record) -> None:
    """The commands on a tiny student: compress, optimize, bench, export, a latency budget, and `gcc` as Triton's C compiler."""

    def command(name: str, *arguments: object) -> None:
        start = time.perf_counter()
        process = subprocess.run(["gancc", *map(str, arguments)], capture_output=True, text=True, cwd=folder)
        text = (process.stdout + process.stderr)[-1500:]
        record(check=name, seconds=time.perf_counter() - start, ok=process.returncode == 0, text=text)

    small = ["--arch", "pix2pix", "--size", 32, "--epochs", 2, "--batch-size", 10, "--device", device, "--out"]
    command("compress", "compress", *small, "runs/tiny")
    command("evaluate", "evaluate", "runs/tiny/student", "--evaluators", "l1,psnr")
    command("bench", "bench", "runs/tiny/student", "--against", "runs/tiny/teacher", "--device", device)
    for form in ("pt2", "onnx", "safetensors"):
        command(f"export {form}", "export", "runs/tiny/student", "--format", form)
    command("latency budget", "compress", *small, "runs/latency", "--budget", f"0.4ms@{device}")
    command("deterministic", "compress", *small, "runs/deterministic", "--deterministic")
    command("micro-batches", "compress", *small, "runs/micro", "--micro-batch", 4)


def ranks(folder: Path, device: str, record: Record) -> None:
    """Two processes that share a device, over gloo. NCCL refuses two processes on one GPU."""
    # Each process takes the GPU of its LOCAL_RANK, and an existing process group.
    program = """
import os, sys, torch.distributed.nn
os.environ["LOCAL_RANK"] = "0"
torch.distributed.init_process_group("gloo")
from gcc.cli import main
sys.exit(main())
"""
    (folder / "shared.py").write_text(program)
    start = time.perf_counter()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, folder / "shared.py", "compress"]
    command += ["--arch", "pix2pix", "--size", 32, "--epochs", 1, "--batch-size", 10, "--device", device, "--out", folder / "run"]
    process = subprocess.run([*map(str, command)], capture_output=True, text=True)
    text = (process.stdout + process.stderr)[-1500:]
    record(check="two processes", seconds=time.perf_counter() - start, ok=process.returncode == 0, text=text)


INSTALLED = [*FAMILIES, *PLUGIN_FAMILIES.keys() & set(ARCHITECTURES.names())]
PARTS: Mapping[str, tuple[Callable[..., None], int]] = {
    **{f"tiny/{arch}": (tiny, 150) for arch in INSTALLED},
    **{f"published/{arch}": (published, 240) for arch in INSTALLED},
    "loading": (loading, 60),
    "tools": (tools, 200),
    "ranks": (ranks, 90),
    **{f"compiled/{arch}": (compiled, 400) for arch in INSTALLED},
}
"""The parts in their order, each with its time limit in seconds."""


def work(part: str, out: Path, device: str, scale: str) -> None:
    """Run one part when a line arrives on standard input."""
    sys.stdin.readline()

    def record(**values: Any) -> None:
        append(out, {"part": part, **values})

    kind, _, arch = part.partition("/")
    with tempfile.TemporaryDirectory() as folder:
        arguments: dict[str, Any] = {"folder": Path(folder), "device": device, "record": record}
        if arch:
            arguments["arch"] = arch
        if kind in ("published", "compiled"):
            arguments["scale"] = scale
        PARTS[part][0](**arguments)


def append(out: Path, values: Mapping[str, Any]) -> None:
    """Append one result to the file, and print it."""
    line = json.dumps(values, default=str)
    with out.open("a") as file:
        file.write(line + "\n")
    print(line, flush=True)


def lines_of(out: Path) -> list[dict[str, Any]]:
    """Return the results in the file."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"), help="file of JSON lines; a later call goes on from it")
    parser.add_argument("--parts", default="", help=f"of {', '.join(PARTS)}, or the word before the slash, joined by commas")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--scale", default="published", choices=("published", "tiny"))
    parser.add_argument("--work", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.out, options.device, options.scale)
        return
    wanted = [name for name in options.parts.split(",") if name]
    chosen = [part for part in PARTS if not wanted or part in wanted or part.partition("/")[0] in wanted]
    done = {line["part"] for line in lines_of(options.out) if line.get("status") == "done"}
    chosen = [part for part in chosen if part not in done]
    before = len(lines_of(options.out))
    append(options.out, {"part": "machine", "machine": machine(), "cores": os.cpu_count(), "python": sys.version.split()[0]})
    shared = ["--out", str(options.out), "--device", options.device, "--scale", options.scale]

    def start(part: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, __file__, *shared, "--work", part], stdin=subprocess.PIPE, text=True)

    # The next process imports torch while the present one measures.
    waiting = start(chosen[0]) if chosen else None
    for number, part in enumerate(chosen):
        process = waiting
        assert process is not None
        waiting = start(chosen[number + 1]) if number + 1 < len(chosen) else None
        begun = time.perf_counter()
        try:
            process.communicate("\n", timeout=PARTS[part][1])
            status = "done" if process.returncode == 0 else "failed"
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            status = "too slow"
        append(options.out, {"part": part, "status": status, "seconds": round(time.perf_counter() - begun, 1)})
    bad = [line for line in lines_of(options.out)[before:] if line.get("status", "done") != "done" or not line.get("ok", True)]
    sys.exit(f"{len(bad)} results are not as they should be" if bad else 0)


if __name__ == "__main__":
    main()
