"""What stands in the way of a compression: the machine, data, weights, budget, memory and disk, each a finding that says what to do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from gcc.artifacts.run_folder import require_free
from gcc.cli.installation import Finding
from gcc.compressor import Compressor
from gcc.errors import DataError, GccError
from gcc.models.modules import Widths
from gcc.pruning.cost import generator_cost
from gcc.training.checkpoint import USUAL
from gcc.training.precision import Amp, ExecutionConfig
from gcc.training.teacher import Teacher
from gcc.utils.device import choose_device
from gcc.utils.memory import free_memory

DRIVER = "nvidia-smi"
"""The program that comes with a GPU's driver."""
SHOWN = 3
"""Bad images that are named."""
PROCESS = 500e6
"""Bytes of a process that has loaded torch."""
KEPT = 2
"""A process may hold so many times the bytes of its tensors, for kernels need room of their own, and allocators keep what is freed: at the
published sizes 1.4 to 1.7 times were measured on a CPU."""


def found(title: str, look: Callable[..., Finding], *given: Any) -> Finding:
    """Return what a look at `given` finds, or an error where that is refused; such messages say what to do."""
    try:
        return look(*given)
    except GccError as error:
        return Finding(title, "error", str(error))


def machine(name: str, amp: Amp) -> Iterator[Finding]:
    """Yield what is to be said of the device `name`, and of mixed precision on it."""
    yield found("device", device, name)
    yield found("precision", precision, name, amp)


def device(name: str) -> Finding:
    """Return what the device is, and whether a GPU lies idle that torch cannot use."""
    chosen = choose_device(name)
    if chosen.type == "cuda":
        free, total = torch.cuda.mem_get_info(chosen)
        about = f"{torch.cuda.get_device_name(chosen)}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free, CUDA {torch.version.cuda}"
        return Finding("device", "ok", f"{chosen}: {about}")
    count = torch.get_num_threads()
    about = f"cpu, {count} thread{'s' if count > 1 else ''}"
    if shutil.which(DRIVER) and not torch.cuda.is_available():
        built = torch.version.cuda
        remedy = f"update the GPU's driver: it must know CUDA {built}" if built else "install a build of torch with CUDA, see pytorch.org"
        return Finding("device", "warning", f"{about}; {DRIVER} is there, and torch finds no GPU: {remedy}")
    return Finding("device", "ok", about)


def precision(name: str, amp: Amp) -> Finding:
    """Return the type that forward passes run in, after a convolution that has been tried with it, there and back."""
    chosen = choose_device(name)
    execution = ExecutionConfig.choose(amp, chosen)
    weight = torch.ones(4, 4, 3, 3, device=chosen, requires_grad=True)
    try:
        with execution.autocast():
            made = torch.nn.functional.conv2d(torch.ones(1, 4, 8, 8, device=chosen), weight)
        torch.autograd.backward(made.float().sum())
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        return Finding("precision", "error", f"{execution.dtype} does not work on {chosen} ({reason}): take --amp off, or --device cpu")
    return Finding("precision", "ok", f"{str(made.dtype).removeprefix('torch.')} (--amp {amp}), tried on {chosen}")


def prospects(
    teacher: Teacher, settings: Mapping[str, Any], data: Path | None, out: Path | None, *, skip_bad: bool = False, **arguments: Any
) -> Iterator[Finding]:
    """Yield what is to be said of a compression, of which nothing is begun.

    Args:
        teacher: as `Compressor` takes it.
        settings: recipe fields.
        data: folder of the training images; none for demo data.
        out: the run's folder; none for a new one.
        skip_bad: whether the run would leave out what cannot be read.
        arguments: of `Compressor`.
    """
    try:
        recipe = teacher.architecture(demo=data is None, settings=settings).recipe.to_dict()
        run = Compressor(teacher, data, skip_bad=True, **arguments, **recipe)
    except DataError as error:
        yield Finding("data", "error", str(error))
        # Demo data stands in, so that the rest is looked at, too.
        run = Compressor(teacher, **arguments | {"dataset": None}, **recipe)
    except GccError as error:
        yield Finding("run", "error", str(error))
        return
    else:
        yield found("data", images, run, skip_bad)
    yield found("training", training, run)
    yield found("teacher", weights_of_teacher, run)
    yield found("losses", weights_of_losses, run)
    yield found("metrics", metrics, run)
    widths = run.widths_at(run.recipe.prune_width)
    try:
        widths = run.within_budget()
        yield budget(run, widths)
    except GccError as error:
        yield Finding("budget", "error", str(error))
    yield found("memory", memory, run, widths)
    yield found("disk", disk, run, out)


def images(run: Compressor, skip_bad: bool) -> Finding:
    """Return how many images there are of each split, after every one has been read, and which are bad: an error unless skipped."""
    splits = run.data
    splits.check()
    note = f"; {splits.test.note}" if splits.test.note else ""
    if bad := splits.left_out:
        more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        text = f"{len(bad)} samples cannot be used: {'; '.join(bad[:SHOWN])}{more}"
        if not skip_bad:
            return Finding("data", "error", f"{text}: mend them, or leave them out with --skip-bad")
        note += f"; {text}, and are left out"
    return Finding("data", "warning" if bad else "ok", splits.facts(run.recipe.size)["data"] + note)


def training(run: Compressor) -> Finding:
    """Return how long the run trains, and whether that makes sense."""
    facts = run.plan()
    warnings = [facts["warning"]] if "warning" in facts else []
    if run.device.type == "cpu" and run.data.store is not None:
        warnings.append("on a CPU: the published recipes are jobs for a GPU; take fewer --epochs, or a smaller --size, to try it out")
    return Finding("training", "warning" if warnings else "ok", "; ".join([facts["training"], *warnings]))


def weights_of_teacher(run: Compressor) -> Finding:
    """Return what the teacher is, after the weights that it brings along, if any, have been read."""
    run.teacher_networks(run.recipe.ngf, "teacher")
    text = f"width {run.recipe.ngf}: {run.teacher_cost()}"
    if run.teacher_source.note:
        return Finding("teacher", "warning", f"{text}; {run.teacher_source.note}; give a teacher with discriminators if there is one")
    return Finding("teacher", "ok", f"{text}, {'from ' + str(run.teacher_source.folder) if run.teacher_source.pretrained else 'fresh'}")


def weights_of_losses(run: Compressor) -> Finding:
    """Return which trained networks the task losses read, after their weights have been read."""
    return Finding("losses", "ok", f"weights of {', '.join(run.auxiliary)}" if run.auxiliary else "no trained weights needed")


def metrics(run: Compressor) -> Finding:
    """Return the evaluators, after their weights have been read and they have seen the sizes of the held-out images."""
    if not run.evaluators.by_name:
        remedy = "name some with --evaluators, see gcc list"
        return Finding("metrics", "warning", f"none: nothing tells the best epoch, or how good the student is; {remedy}")
    run.test.check()
    run.auxiliary  # noqa: B018 - asks for its weights
    run.weights.require_asked()
    chosen = (
        f"; {next(iter(run.evaluators.by_name))} chooses the best epoch"
        if run.best_checkpoint
        else "; no validation images choose an epoch"
    )
    return Finding("metrics", "ok", ", ".join(run.evaluators.by_name) + chosen)


def budget(run: Compressor, widths: Mapping[str, Widths]) -> Finding:
    """Return what students within the budget cost."""
    costs = (f"{name}: {generator_cost(run.architecture, chosen)}" for name, chosen in widths.items())
    return Finding("budget", "ok", f"{run.recipe.budget} can be reached, {'; '.join(costs)}")


def memory(run: Compressor, widths: dict[str, Widths]) -> Finding:
    """Return how much memory the tensors of an iteration take, beside what is free."""
    try:
        needs = run.bytes_of_iteration(widths)
    except GccError:
        return Finding("memory", "warning", "told once there is what is missing above")
    except Exception as error:  # Other people's families may look at values, of which there are none.
        return Finding("memory", "warning", f"cannot be told ({type(error).__name__}): try a run of few --epochs")
    free = free_memory(run.device)
    told = f"tensors of an iteration take {needs / 1e9:.2f} GB at the most"
    if free is None:
        return Finding("memory", "warning", f"{told}; this system does not tell what is free: see that there is twice as much")
    beside = f"{told}, {free / 1e9:.1f} GB are free on {run.device}"
    remedy = "take a smaller --batch-size, --micro-batch or --size, or more memory"
    if needs > free:
        return Finding("memory", "error", f"{beside}: {remedy}")
    if PROCESS + KEPT * needs > free:
        return Finding("memory", "warning", f"{beside}, and a process may need twice as much: {remedy}")
    return Finding("memory", "ok", beside)


def disk(run: Compressor, out: Path | None) -> Finding:
    """Return whether the run's folder is there to be had, with room for what will be written."""
    folder = out or Path("runs")
    if out is not None:
        require_free(out, force=False, inputs=[])
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not os.access(place, os.W_OK):
        return Finding("disk", "error", f"{place} cannot be written: choose another --out, or change its permissions")
    needs, free = run.bytes_written() + USUAL.keep * run.bytes_of_snapshot(), shutil.disk_usage(place).free
    told = f"about {needs / 1e6:.0f} MB will be written to {folder}, {free / 1e6:.0f} MB are free"
    return Finding("disk", "ok", told) if needs < free else Finding("disk", "error", f"{told}: make room, or choose another --out")
