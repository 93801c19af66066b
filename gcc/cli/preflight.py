"""Checks before a compression: machine, data, weights, budget, memory and disk. Each finding of a problem includes a fix."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from gcc.artifacts.run_folder import require_free
from gcc.cli.installation import Finding
from gcc.compressor import Compressor
from gcc.errors import DataError, GccError, first_line, listed
from gcc.models.modules import Widths
from gcc.pruning.cost import generator_cost
from gcc.recipe import image_size, size_text
from gcc.training.best import EpochRule
from gcc.training.build_pairs import teacher_networks
from gcc.training.checkpoint import DEFAULT_SCHEDULE
from gcc.training.config import Amp
from gcc.training.context import RunContext
from gcc.training.direction_check import direction_warnings
from gcc.training.footprint import bytes_of_checkpoint, bytes_written
from gcc.training.memory_estimate import bytes_of_step
from gcc.training.precision import ExecutionConfig
from gcc.training.range_check import require_right_range
from gcc.training.size_check import require_right_size
from gcc.training.teacher import Teacher
from gcc.utils.device import choose_device
from gcc.utils.memory import free_memory
from gcc.utils.units import counted

DRIVER = "nvidia-smi"
"""The program that every GPU driver of NVIDIA includes."""
PROCESS_BYTES = 500e6
"""Memory of a process that has only imported torch."""
TRIAL = 0.01
"""Share of the epochs and pixels of the published recipe below which a run only tries things out."""
OVERHEAD = 2
"""A process may use this many times the bytes of its tensors: kernels need workspace, and allocators keep freed memory. At the published
sizes, 1.4 to 1.7 times were measured on a CPU."""


def finding_of(title: str, check: Callable[..., Finding], *arguments: Any) -> Finding:
    """Return the finding of a check, or an error if the check raises a `GccError`, whose message includes a fix."""
    try:
        return check(*arguments)
    except GccError as error:
        return Finding(title, "error", str(error))


def machine(name: str, amp: Amp) -> Iterator[Finding]:
    """Yield findings about the device `name`, and about mixed precision on it."""
    yield finding_of("device", device, name)
    yield finding_of("precision", precision, name, amp)


def device(name: str) -> Finding:
    """Describe the device, and warn of a GPU that torch cannot use."""
    chosen = choose_device(name)
    if chosen.type == "cuda":
        free, total = torch.cuda.mem_get_info(chosen)
        description = f"{torch.cuda.get_device_name(chosen)}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free, CUDA {torch.version.cuda}"
        return Finding("device", "ok", f"{chosen}: {description}")
    count = torch.get_num_threads()
    description = f"cpu, {count} thread{'s' if count > 1 else ''}"
    if shutil.which(DRIVER) and not torch.cuda.is_available():
        cuda = torch.version.cuda
        fix = f"update the GPU's driver to one that supports CUDA {cuda}" if cuda else "install a build of torch with CUDA, see pytorch.org"
        return Finding("device", "warning", f"{description}; {DRIVER} is installed, but torch finds no GPU: {fix}")
    return Finding("device", "ok", description)


def precision(name: str, amp: Amp) -> Finding:
    """Run a convolution forward and backward with the precision, and return its dtype."""
    chosen = choose_device(name)
    execution = ExecutionConfig.choose(amp, chosen)
    weight = torch.ones(4, 4, 3, 3, device=chosen, requires_grad=True)
    try:
        with execution.autocast():
            output = torch.nn.functional.conv2d(torch.ones(1, 4, 8, 8, device=chosen), weight)
        torch.autograd.backward(output.float().sum())
    except RuntimeError as error:
        reason = first_line(error)
        return Finding("precision", "error", f"{execution.dtype} does not work on {chosen} ({reason}): use --amp off or --device cpu")
    return Finding("precision", "ok", f"{str(output.dtype).removeprefix('torch.')} (--amp {amp}), tested on {chosen}")


def preflight(
    teacher: Teacher, settings: Mapping[str, Any], data: Path | None, out: Path | None, *, skip_bad: bool = False, **arguments: Any
) -> Iterator[Finding]:
    """Yield findings about a compression, without starting it.

    Args:
        teacher: the teacher, with or without weights.
        settings: recipe fields.
        data: folder of the training images. None means demo data.
        out: the run's folder. None means a new one.
        skip_bad: whether the run leaves out images that cannot be read.
        arguments: other keywords of `Compressor`.
    """
    try:
        recipe = teacher.architecture_for(data, settings).recipe.to_dict()
        if "steps" in recipe:
            del recipe["epochs"]
        run = Compressor(teacher, data, skip_bad=True, **arguments, **recipe)
        findings = [samples(run.context, skip_bad), *images(run.context)]
    except DataError as error:
        yield Finding("data", "error", str(error))
        try:
            run = _on_demo_data(teacher, arguments, recipe)
        except GccError:
            yield Finding(
                "rest", "warning", "not checked: these checks need data, and the demo data do not suit this recipe; solve the above first"
            )
            return
    except GccError as error:
        yield Finding("run", "error", str(error))
        return
    else:
        yield from findings
    context = run.context
    if note := context.architecture.note:
        yield Finding("note", "ok", note)
    if data is None or not context.uses_demo_data:
        yield finding_of("training", training, run)
    yield (of_teacher := finding_of("teacher", weights_of_teacher, context))
    if of_teacher.status != "error" and context.teacher.is_trained and (data is None or not context.uses_demo_data):
        yield finding_of("outputs", outputs_of_teacher, context)
    yield finding_of("losses", weights_of_losses, context)
    yield finding_of("evaluators", evaluators, context)
    widths = context.full_widths(context.recipe.prune_width)
    try:
        widths = run.reachable_widths()
        yield budget(context, widths)
    except GccError as error:
        yield Finding("budget", "error", str(error))
    yield finding_of("memory", memory, run, widths)
    yield finding_of("disk", disk, context, out)


def _on_demo_data(teacher: Teacher, arguments: Mapping[str, Any], recipe: Mapping[str, Any]) -> Compressor:
    """Return the run on demo data, without the options that say how the user's data are read.

    Raises:
        GccError: the demo data do not suit the recipe, such as one for grey images.
    """
    return Compressor(teacher, **{**arguments, "dataset": None, "cache": False}, **{**recipe, "range": None})


def samples(context: RunContext, skip_bad: bool) -> Finding:
    """Count the samples of each split, without bad ones, and name the bad ones, which are an error unless they are skipped."""
    splits = context.data
    text = splits.summary(size_text(context.recipe))["data"] + (f"; {splits.test.note}" if splits.test.note else "")
    if not (bad := splits.left_out):
        return Finding("data", "ok", text)
    reasons = f"cannot be used: {listed(bad)}"
    if not skip_bad:
        return Finding("data", "error", f"{counted(len(bad), 'sample')} {reasons}: repair them, or leave them out with --skip-bad")
    return Finding("data", "warning", f"{text}; {len(bad)} are left out, which {reasons}")


def images(context: RunContext) -> Iterator[Finding]:
    """Yield a finding about what reading the images changes, if it changes anything."""
    if changes := context.data.changes:
        yield Finding("images", "warning" if context.data.is_lossy else "ok", "; ".join(changes))


def training(run: Compressor) -> Finding:
    """Return the length of training, and warn if the hardware or the recipe does not suit it."""
    facts = run.plan()
    warnings = [facts["warning"]] if "warning" in facts else []
    if not warnings and run.context.device.type == "cpu" and run.context.data.store is not None and not _is_trial(run.context):
        warnings.append("on a CPU: the published recipes need a GPU; to try it out, use fewer --epochs or a smaller --size")
    return Finding("training", "warning" if warnings else "ok", "; ".join([facts["training"], *warnings]))


def _is_trial(context: RunContext) -> bool:
    """Return whether a run is much shorter than the published one, so that a CPU is enough for it; own generators have no published one."""
    if context.architecture.has_one_width:
        return True
    recipe, published = context.recipe, type(context.architecture).published()
    return bool(recipe.epochs * math.prod(image_size(recipe)) < TRIAL * published.epochs * math.prod(image_size(published)))


def weights_of_teacher(context: RunContext) -> Finding:
    """Read the teacher's weights, if it has any, and return its width and costs; refuse one that does not take the training images."""
    teacher = context.teacher
    require_right_size(context.architecture)
    teacher_networks(context, context.recipe.ngf, "teacher")
    width = context.recipe.ngf
    network = teacher.describe(width) if context.architecture.has_one_width else f"width {width}"
    text = f"{network}: {context.teacher_cost()}"
    if context.teacher_note:
        return Finding("teacher", "warning", f"{text}; {context.teacher_note}; use a teacher with discriminators if there is one")
    return Finding("teacher", "ok", f"{text}, {teacher.networks.origin}")


def outputs_of_teacher(context: RunContext) -> Finding:
    """Refuse a teacher whose outputs are near the test images in another range of values, and warn of another direction."""
    generators, _ = teacher_networks(context, context.recipe.ngf, "teacher")
    require_right_range(context.architecture, generators, context.data.test, context.data.level_hints)
    warnings = direction_warnings(context.architecture, generators, context.data.test)
    return Finding("outputs", "warning" if warnings else "ok", "; ".join(warnings) or "no sign of another range of values or direction")


def weights_of_losses(context: RunContext) -> Finding:
    """Read the weights of the networks that task losses and distillers use, and name these networks."""
    networks = [*context.auxiliary, *(f"{name} of {owner}" for owner, built in context.distiller_networks.items() for name in built)]
    return Finding("losses", "ok", f"weights of {', '.join(networks)}" if networks else "no trained weights needed")


def evaluators(context: RunContext) -> Finding:
    """Read the evaluators' weights, check them against the held-out images, and name the evaluators."""
    if not context.evaluators.by_name:
        text = "none: the student's quality will not be known; choose --evaluators, see gcc list"
        return Finding("evaluators", "warning", text)
    context.test.check()
    context.auxiliary, context.distiller_networks  # noqa: B018 - requests their weights
    context.weights.require_asked()
    return Finding("evaluators", "ok", f"{', '.join(context.evaluators.by_name)}; the result is {EpochRule.of(context)}")


def budget(context: RunContext, widths: Mapping[str, Widths]) -> Finding:
    """Return the costs of students within the budget; for a latency, they are an estimate."""
    costs = (f"{name}: {generator_cost(context.architecture.for_network(name), of_generator)}" for name, of_generator in widths.items())
    return Finding("budget", "ok", f"{context.recipe.budget} can be reached, {'; '.join(costs)}")


def memory(run: Compressor, widths: dict[str, Widths]) -> Finding:
    """Compare the memory that the tensors of a step need with the free memory."""
    try:
        require_right_size(run.context.architecture)
        needs = bytes_of_step(run, widths)
    except GccError:
        return Finding("memory", "warning", "unknown until the problems above are solved")
    except Exception as error:  # Families of plugins may read values, which fake tensors do not have.
        return Finding("memory", "warning", f"unknown ({type(error).__name__}): try a run of few --epochs")
    free = free_memory(run.context.device)
    text = f"the tensors of a step need up to {needs / 1e9:.2f} GB"
    if free is None:
        return Finding("memory", "warning", f"{text}; this system does not report free memory: make sure that there is twice as much")
    text += f", {free / 1e9:.1f} GB are free on {run.context.device}"
    fix = "use a smaller --batch-size, --micro-batch or --size, or more memory"
    if needs > free:
        return Finding("memory", "error", f"{text}: {fix}")
    if PROCESS_BYTES + OVERHEAD * needs > free:
        return Finding("memory", "warning", f"{text}, and a process may need twice as much: {fix}")
    return Finding("memory", "ok", text)


def disk(context: RunContext, out: Path | None) -> Finding:
    """Check that the run's folder can be written, and that the disk has room for its files."""
    folder = out or Path("runs")
    if out is not None:
        require_free(out, force=False, inputs=[])
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError:
        return Finding("disk", "error", f"{existing} cannot be written: choose another --out, or change its permissions")
    needs, free = bytes_written(context) + DEFAULT_SCHEDULE.keep * bytes_of_checkpoint(context), shutil.disk_usage(existing).free
    text = f"the run will write about {needs / 1e6:.0f} MB to {folder}, {free / 1e6:.0f} MB are free"
    return Finding("disk", "ok", text) if needs < free else Finding("disk", "error", f"{text}: make room, or choose another --out")
