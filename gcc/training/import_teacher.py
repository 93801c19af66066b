"""Imports teachers that other programs have trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gcc.artifacts.card import CARD
from gcc.artifacts.config import CONFIG, WEIGHTS
from gcc.artifacts.model import DISCRIMINATORS, environment
from gcc.errors import ArtifactError, GccError, OutputError, near
from gcc.recipe import changed
from gcc.registry import ARCHITECTURES, StateDictMapping
from gcc.training.result import GeneratorReport, TrainedPair
from gcc.utils.files import set_aside
from gcc.utils.weights import read_tensors

FILES = (CONFIG, WEIGHTS, CARD)
SHOWN = 4
"""Names that a message lists."""


def import_generator(arch: str, file: Path, out: Path, *, generator: str | None, settings: Mapping[str, Any], force: bool) -> TrainedPair:
    """Turn a state dict that another program saved into a teacher, and write it to `out`.

    Every tensor of the file must match a parameter of the same shape, and every parameter a tensor. There are no discriminators.

    Args:
        arch: name of the architecture.
        file: the state dict, as `.pth` or `.safetensors`.
        out: folder of the teacher. If the family has several generators, each has a folder of its own below it.
        generator: which of them the file holds. None takes the first.
        settings: recipe fields that the file does not determine.
        force: move what `out` holds aside.

    Raises:
        ArtifactError: the file cannot be read, or does not fit.
        OutputError: `out` cannot be written, or holds that generator already.
    """
    family = ARCHITECTURES.load(arch)
    name = family.generators[0] if generator is None else generator
    if name not in family.generators:
        raise GccError(f"{arch} has no generator {name!r}{near(name, family.generators)}")
    tensors = read_tensors(file)
    mapping = family.map_state_dict(tensors)
    if mapping is None:
        raise ArtifactError(f"{file} is not a generator that {arch} knows: its first tensors are {_some(tensors)}")
    architecture = family(changed(family.published(), {**mapping.settings, **settings}))
    widths = architecture.full_widths(architecture.recipe.ngf)
    network = architecture.build_generator(widths)
    network.load_state_dict(_placed(file, mapping, tensors, network.state_dict()))
    cpu = torch.device("cpu")
    report = GeneratorReport.measure(architecture, network, widths, cpu)
    teacher = TrainedPair("teacher", arch, architecture, {name: report}, {}, environment(cpu))
    _make_room(teacher, out, name, force=force)
    teacher.save(out, {name: {"teacher": report.measurements()}}, None)
    return teacher


def _make_room(teacher: TrainedPair, out: Path, name: str, *, force: bool) -> None:
    """Refuse a folder that holds another model. With `force`, move what this one replaces aside."""
    own = {teacher.path(out, generator) for generator in teacher.architecture.generators}
    folders = [config.parent for config in (out / CONFIG, *out.glob(f"*/{CONFIG}")) if config.exists()]
    for folder in folders:
        if folder not in own and not folder.name.startswith("replaced"):
            raise OutputError(f"{folder} holds another model: choose another folder")
    for folder, names in ((teacher.path(out, name), FILES), (out, (DISCRIMINATORS,))):
        existing = [file for file in names if (folder / file).exists()]
        if existing and not force:
            raise OutputError(f"{folder} already holds {', '.join(existing)}: choose another folder, or move it aside with --force")
        set_aside(folder, existing)


def _placed(file: Path, mapping: StateDictMapping, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the file's tensors by our names, complete for the state dict `wanted`."""
    placed, used, differences = {}, set(mapping.ignored), []
    for name, tensor in wanted.items():
        module, _, leaf = name.rpartition(".")
        theirs = f"{mapping.modules.get(module, module)}.{leaf}"
        used.add(theirs)
        # Files of torch before 0.4.1 do not count batches.
        given = tensor if leaf == "num_batches_tracked" and theirs not in tensors else tensors.get(theirs)
        if given is None:
            differences.append(f"{theirs} is missing")
        elif given.shape != tensor.shape:
            differences.append(f"{theirs} is {tuple(given.shape)}, expected {tuple(tensor.shape)}")
        elif given.is_floating_point() != tensor.is_floating_point():
            differences.append(f"{theirs} is {given.dtype}, expected {tensor.dtype}")
        elif not given.isfinite().all():
            differences.append(f"{theirs} is not finite")
        else:
            placed[name] = given
    differences += [f"{theirs} has no place" for theirs in tensors if theirs not in used]
    if differences:
        raise ArtifactError(f"{file} does not fit, in {len(differences)} tensors: {_some(differences)}")
    return placed


def _some(texts: Iterable[str]) -> str:
    """Return the first texts, and how many more there are."""
    texts = list(texts)
    return ", ".join(texts[:SHOWN]) + (f", and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")
