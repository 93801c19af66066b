"""Imports teachers that other programs trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from gcc.artifacts.card import CARD
from gcc.artifacts.config import CONFIG, WEIGHTS
from gcc.artifacts.model import DISCRIMINATORS, environment
from gcc.deploy.latency import measure_latency
from gcc.errors import ArtifactError, GccError, OutputError, abridged, suggestion
from gcc.recipe import changed, renamed
from gcc.registry import ARCHITECTURES, StateDictMapping
from gcc.training.save_result import PairToSave, save_pair
from gcc.training.trained_pair import GeneratorReport, TrainedPair
from gcc.utils.files import set_aside
from gcc.utils.weights import below_prefix, matching, state_dicts_by_level

FILES = (CONFIG, WEIGHTS, CARD)


@dataclass(frozen=True)
class _Source:
    """The state dict of a network of another program.

    Attributes:
        file: where it was found.
        tensors: the state dict.
        mapping: how our names follow from its names.
    """

    file: Path
    tensors: Mapping[str, Tensor]
    mapping: StateDictMapping

    def load_into(self, network: nn.Module, what: str) -> None:
        """Load the tensors into a network of ours, which messages call `what`.

        Raises:
            ArtifactError: they do not fit it.
        """
        modules, ignored = self.mapping.modules, self.mapping.ignored
        network.load_state_dict(matching(self.file, self.tensors, network.state_dict(), what, modules=modules, ignored=ignored))


def import_generator(
    arch: str,
    file: Path,
    out: Path,
    *,
    generator: str | None,
    settings: Mapping[str, Any],
    force: bool,
    key: str = "",
    discriminators: Mapping[str, Path] = MappingProxyType({}),
) -> TrainedPair:
    """Turn a state dict that another program saved into a teacher, and write it to `out`.

    Every tensor of the file must match a parameter of the same shape, and every parameter a tensor.

    Args:
        arch: name of the architecture.
        file: the state dict, as `.pth` or `.safetensors`, or a checkpoint that contains it.
        out: the teacher's folder. If the family has several generators, each has a folder below it.
        generator: name of the generator in the file. None means the first.
        settings: recipe fields that the file does not determine.
        force: move the contents of `out` aside.
        key: where the state dict is in the file, such as `params_ema` or `state_dict.generator`. Empty takes the only one that fits.
        discriminators: the files of the discriminators, by name: of all or of none.

    Raises:
        GccError: the family has no such generator, or some of its discriminators have no file.
        ArtifactError: a file cannot be read, or does not fit the family, or files do not fit each other.
        OutputError: `out` cannot be written, or contains that generator already.
    """
    family = ARCHITECTURES.load(arch)
    name = family.generators[0] if generator is None else generator
    if name not in family.generators:
        raise GccError(f"{arch} has no generator {name!r}{suggestion(name, family.generators)}")
    if discriminators and set(discriminators) != set(family.discriminators):
        missing = ", ".join(f'"{label}": "FILE"' for label in family.discriminators if label not in discriminators)
        names = ", ".join(family.discriminators)
        raise GccError(f"{arch} has the discriminators {names}: give a file for each, here `discriminators={{{missing}}}`")
    source = _find(file, arch, "generator", family.map_state_dict, key)
    others = {label: _find(path, arch, "discriminator", family.map_discriminator_state_dict) for label, path in discriminators.items()}
    # The settings are those of this generator, which may see the recipe's channels the other way round.
    published, given = family.published(), renamed({**_joined_settings([source, *others.values()]), **settings})
    own = family(changed(published, {**published.implied(given), **given}))
    architecture = own.for_network(name)
    widths = own.full_widths(own.recipe.ngf)
    network = own.build_generator(widths)
    source.load_into(network, f"the generator {name} of {arch}")
    trained = {label: architecture.for_network(label).build_discriminator().eval() for label in others}
    for label, other in others.items():
        other.load_into(trained[label], f"the discriminator {label} of {arch}")
    report = GeneratorReport.of(own, network, widths, measure_latency(network, own.example_input()))
    teacher = TrainedPair("teacher", arch, architecture, {name: report}, trained, environment(torch.device("cpu")))
    _make_room(teacher, out, name, force=force)
    save_pair(PairToSave(teacher, out, {name: {"teacher": report.measurements()}}))
    return teacher


def _joined_settings(sources: Iterable[_Source]) -> dict[str, Any]:
    """Return the recipe fields that follow from several networks, each in a file; one file may have several.

    Raises:
        ArtifactError: two networks differ in a field.
    """
    settings: dict[str, Any] = {}
    files: dict[str, Path] = {}
    for source in sources:
        for field, value in source.mapping.settings.items():
            if settings.setdefault(field, value) != value:
                other = f"{files[field]} has {settings[field]}"
                raise ArtifactError(f"{source.file} has {field} = {value}, and {other}: these are different runs")
            files.setdefault(field, source.file)
    return settings


def _find(
    file: Path, arch: str, kind: str, mapping_of: Callable[[Mapping[str, Tensor]], StateDictMapping | None], key: str = ""
) -> _Source:
    """Return the state dict of a file at a key, or the only one of a kind of network of the family.

    Args:
        file: the file.
        arch: name of the architecture.
        kind: of the network, `generator` or `discriminator`.
        mapping_of: returns the mapping of a state dict of that kind, and None for others.
        key: where the state dict is in the file. Empty takes the only one that fits.

    Raises:
        ArtifactError: there is none at the key, none of the family, or several.
    """
    whole, parts = levels = state_dicts_by_level(file)
    if key:
        known = {**parts, **whole}
        joined = {f"{name}.{tensor}".lstrip("."): value for name, tensors in whole.items() for tensor, value in tensors.items()}
        chosen = known.get(key) or below_prefix(joined, key)
        if not chosen:
            raise ArtifactError(f"{file} has no state dict at the key {key!r}{suggestion(key, filter(None, known))}")
        levels = [{key: chosen}]
    for state_dicts in levels:
        mappings = {name: mapping for name, tensors in state_dicts.items() if (mapping := mapping_of(tensors)) is not None}
        if len(mappings) > 1:
            remedy = "choose one of {} with `key`" if kind == "generator" else "save one of {} in a file of its own"
            raise ArtifactError(f"{file} contains several {kind}s of {arch}: {remedy.format(abridged(mappings))}")
        if mappings:
            ((name, mapping),) = mappings.items()
            return _Source(file, state_dicts[name], mapping)
    name, tensors = next(iter(levels[0].items()))
    keys = f"; it contains {abridged(whole)}" if len(whole) > 1 else ""
    readable = ARCHITECTURES.load(arch).importable.get(kind)
    expected = f"expected {readable}" if readable else f"{arch} reads no {kind} of other programs"
    first = f"{f'in {name}, ' if name else ''}its first tensors are {abridged(tensors)}{keys}"
    raise ArtifactError(f"{file} is not a {kind} that {arch} knows: {first}; {expected}")


def _make_room(teacher: TrainedPair, out: Path, name: str, *, force: bool) -> None:
    """Refuse a folder that contains another model. With `force`, move the files that this one replaces aside.

    Raises:
        OutputError: `out` contains another model, or files that would be replaced, and `force` is not given.
    """
    own = {teacher.path(out, generator) for generator in teacher.architecture.generators}
    folders = [config.parent for config in (out / CONFIG, *out.glob(f"*/{CONFIG}")) if config.exists()]
    for folder in folders:
        if folder not in own and not folder.name.startswith("replaced"):
            raise OutputError(f"{folder} contains another model: choose another folder")
    path = teacher.path(out, name)
    # Discriminators in the folder belong to its generators: to the one that is replaced, or to others that were imported before.
    replaces = bool(teacher.discriminators) or any((path / file).exists() for file in FILES)
    for folder, names in ((path, FILES), (out, (DISCRIMINATORS,) if replaces else ())):
        existing = [file for file in names if (folder / file).exists()]
        if existing and not force:
            raise OutputError(f"{folder} already contains {', '.join(existing)}: choose another folder, or move it aside with `force`")
        set_aside(folder, existing)
