"""Files of trained weights, from this and other programs: tensors by name."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping
from hashlib import file_digest, sha256
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import torch
from safetensors.torch import load_file
from torch import Tensor

from gcc.errors import ArtifactError, GccError, abridged, suggestion

PARALLEL = "module."
"""Prefix that torch's DataParallel adds to every name."""
COMPILED = "_orig_mod."
"""Part that `torch.compile` adds to the names of a module, wherever that is."""
MAX_DEPTH = 4
"""How deep state_dicts may lie in a checkpoint."""
GIT_LFS = b"version https://git-lfs"
"""The start of the text that Git LFS leaves in place of a file that it has not fetched."""
COUNTER = "num_batches_tracked"
EXTRA_STATE = "_extra_state"
"""The end of the names under which a state_dict holds values of modules other than tensors."""


class Weights:
    """Finds the trained weights of networks: in files that the user names, else in torch's cache.

    Args:
        files: the files by the name of their network, such as `vgg19`.

    Attributes:
        asked: names of the networks that were looked up.
    """

    def __init__(self, files: Mapping[str, str | Path] | None = None) -> None:
        self.files = {name: Path(path) for name, path in (files or {}).items()}
        self.asked: set[str] = set()

    def find(self, name: str, cached: str, remedy: str) -> Path:
        """Return the file of a network's weights.

        Args:
            name: the network.
            cached: glob pattern of the file's name in torch's cache.
            remedy: where to get the file, or how to do without it.

        Raises:
            GccError: there is no such file.
        """
        self.asked.add(name)
        if name in self.files:
            return self.files[name]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        matches = sorted(folder.glob(cached))
        if not matches:
            others = sorted(self.files.keys() - self.asked)
            named = f", and `weights` gives those of {', '.join(others)}" if others else ""
            raise GccError(
                f"the weights of {name} are needed, and {folder} has none ({cached}){named}: name a file with "
                f'`weights={{"{name}": "FILE"}}`; {remedy}'
            )
        return matches[-1]

    def require_asked(self) -> None:
        """Refuse files of networks that nothing has looked up.

        Raises:
            GccError: nothing in this run reads one of the named networks.
        """
        for name in sorted(self.files.keys() - self.asked):
            known = f"of that name reads weights{suggestion(name, self.asked)}" if self.asked else "reads weights here"
            raise GccError(f'`weights={{"{name}": "{self.files[name]}"}}`: no network {known}')


def short_sha256(path: Path) -> str:
    """Return the first 12 hex digits of a file's SHA-256, which identify the weights in a protocol."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()[:12]


def digest_of_tensors(tensors: Mapping[str, object]) -> str:
    """Return the first 12 hex digits of a SHA-256 of the tensors of a state_dict: names, dtypes, shapes and values.

    >>> digest_of_tensors({"weight": torch.zeros(2)}) == digest_of_tensors({"weight": torch.ones(2)})
    False
    """
    digest = sha256()
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            values = tensor.detach().cpu().to_dense().resolve_conj().flatten().contiguous()
            digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()[:12]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.safetensors` file or of the only state_dict in a file saved by torch; other objects are refused.

    Raises:
        ArtifactError: the file is missing or damaged, contains something other than tensors, or several state_dicts.
    """
    state_dicts = read_state_dicts(path)
    if len(state_dicts) > 1:
        raise ArtifactError(
            f"{path} contains several state_dicts, {', '.join(map(repr, state_dicts))}: save the one to read in a file of its own"
        )
    return next(iter(state_dicts.values()))


def read_state_dicts(path: Path) -> dict[str, dict[str, Tensor]]:
    """Return the state_dicts of a file by the keys that lead to them, joined by dots; empty for one that is the whole file.

    A checkpoint may hold them beside other values, such as `netG` beside an optimizer's state. Names lose the prefixes that torch adds.

    Raises:
        ArtifactError: the file is missing or damaged, or contains no state_dict, or objects other than tensors and plain values.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} is a folder, not a file" if path.is_dir() else f"there is no file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # `weights_only` allows tensors and plain containers, and no code.
            state = load_file(path) if _is_safetensors(path) else torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # Damaged files raise exceptions of every type.
        raise ArtifactError(f"{path} {_reason(path, error)}") from error
    state_dicts = dict(_state_dicts(state))
    if not state_dicts:
        raise ArtifactError(f"{path} is not a state_dict: expected tensors by name{_contents(state)}")
    return state_dicts


def state_dicts_by_level(path: Path) -> list[dict[str, dict[str, Tensor]]]:
    """Return the state_dicts of a file by key: those that `read_state_dicts` returns, then their parts by the first part of the names.

    Parts count only if no whole one fits: a checkpoint may join the state_dicts of several networks.

    Raises:
        ArtifactError: as for `read_state_dicts`.
    """
    whole = read_state_dicts(path)
    parts = {f"{name}.{prefix}".lstrip("."): group for name, tensors in whole.items() for prefix, group in by_prefix(tensors).items()}
    return [whole, parts]


def read_fitting(path: Path, expected: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Return the tensors of the only state_dict in a file that has all names of a network, if they are those of the network.

    Args:
        path: the file.
        expected: the network's state_dict.
        what: the network in messages.

    Raises:
        ArtifactError: the file cannot be read, or contains another network, or several that fit.
    """
    shapes = {name: tensor.shape for name, tensor in expected.items() if name.rpartition(".")[2] != COUNTER}
    for level in state_dicts_by_level(path):
        named = {key: tensors for key, tensors in level.items() if tensors.keys() >= shapes.keys()}
        equal = {key: tensors for key, tensors in named.items() if all(tensors[name].shape == shapes[name] for name in shapes)}
        # If no shapes agree, the differences are named.
        fitting = equal or named
        if len(fitting) > 1:
            raise ArtifactError(
                f"{path} contains several state_dicts of {what}, {abridged(fitting)}: save the one to read in a file of its own"
            )
        for tensors in fitting.values():
            return matching(path, tensors, expected, what)
    return matching(path, read_tensors(path), expected, what)


def by_prefix(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return tensors in groups by the first part of their names, which they lose, as a state_dict of several networks has them.

    >>> by_prefix({"G.a.weight": torch.ones(1), "D.b": torch.ones(1), "step": torch.ones(1)})
    {'G': {'a.weight': tensor([1.])}, 'D': {'b': tensor([1.])}}
    """
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        prefix, dot, rest = name.partition(".")
        if dot:
            groups.setdefault(prefix, {})[rest] = tensor
    return {prefix: _without_wrappers(group) for prefix, group in groups.items()}


def below_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors with names that begin with a path, which they lose.

    >>> below_prefix({"model.netG.a.weight": torch.ones(1), "model.netD.b": torch.ones(1)}, "model.netG")
    {'a.weight': tensor([1.])}
    """
    start = f"{prefix}."
    return _without_wrappers({name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)})


def _state_dicts(state: object, key: str = "", depth: int = 0, in_list: bool = False) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the mappings from names to tensors inside `state`, with their keys. States of optimizers are by number, not by name.

    Values such as the epoch and further state_dicts may lie beside parameters, if at least one parameter has a dot in its name; tensors
    beside values are losses otherwise. So are mappings without such a parameter in a list.
    """
    if isinstance(state, list | tuple):
        state, in_list = {str(number): value for number, value in enumerate(state) if not isinstance(value, Tensor)}, True
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        return
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    # Losses may have dots in their names, but they have no dimension.
    has_parameter = any("." in name and tensor.ndim for name, tensor in tensors.items())
    if has_parameter or (tensors and len(tensors) == len(state) and not in_list):
        yield key, _without_wrappers(tensors)
    for name, value in state.items() if depth < MAX_DEPTH else ():
        if not name.endswith(EXTRA_STATE):
            yield from _state_dicts(value, f"{key}.{name}" if key else name, depth + 1, in_list)


def _without_wrappers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out of the names what torch's wrappers of modules add to them."""
    tensors = {name.replace(COMPILED, ""): tensor for name, tensor in tensors.items()}
    while tensors and all(name.startswith(PARALLEL) for name in tensors):
        tensors = {name.removeprefix(PARALLEL): tensor for name, tensor in tensors.items()}
    return tensors


def _contents(state: object) -> str:
    """Return the first keys of what a file contains, for a message."""
    keys = [*map(str, state)][:MAX_DEPTH] if isinstance(state, Mapping) else []
    return f", found {', '.join(keys)}" if keys else f", found {type(state).__name__}"


def _reason(path: Path, error: Exception) -> str:
    """Return why a file cannot be loaded, and the remedy."""
    if not path.stat().st_size:
        return "is empty"
    if _starts_with(path, GIT_LFS):
        return "is a pointer of Git LFS, not the weights: fetch them with git lfs pull"
    if _is_torchscript(path):
        return (
            "is a TorchScript program, not a state_dict: save its weights with "
            f'torch.save(torch.jit.load("{path}").state_dict(), "weights.pth")'
        )
    kinds = _classes(path, error)
    if any(kind.startswith("torch.nn.modules.") for kind in kinds):
        return (
            "is a pickled module, and only tensors are loaded: if you trust it, save its weights with "
            f'torch.save(torch.load("{path}", weights_only=False).state_dict(), "weights.pth")'
        )
    if kinds:
        return (
            f"contains objects other than tensors, which are not loaded for security reasons ({kinds[0]}): "
            "save the weights alone, in the program that wrote it, with "
            'torch.save(network.state_dict(), "weights.pth")'
        )
    return "cannot be read: it is damaged, or contains objects other than tensors, which are not loaded for security reasons"


def _is_safetensors(path: Path) -> bool:
    """Return whether a file is in the format of safetensors, by its first bytes: the length of a header, and the header."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _starts_with(path: Path, text: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(text)) == text


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return any(PurePosixPath(name).name == "constants.pkl" for name in file.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False


def _classes(path: Path, error: Exception) -> list[str]:
    """Return the names of the classes and functions that a file refers to and that are not loaded. No code of the file runs."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception:  # Damaged files raise exceptions of every type, and files of old versions are not understood.
        return re.findall(r"GLOBAL ([\w.]+)", str(error))


def read_matching(path: Path, expected: Mapping[str, Tensor], what: str, ignored_prefixes: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Return the tensors of a file as `read_tensors` reads it, if they are those of a network; see `matching`.

    Args:
        path: the file.
        expected: the network's state_dict.
        what: the network in messages, such as "vgg19 of torchvision".
        ignored_prefixes: prefixes of the names of further tensors that such files may contain.

    Raises:
        ArtifactError: the file cannot be read, or contains another network.
    """
    tensors = read_tensors(path)
    return matching(path, tensors, expected, what, ignored={name for name in tensors if name.startswith(ignored_prefixes)})


def matching(
    source: Path | str,
    tensors: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    what: str,
    *,
    modules: Mapping[str, str] = MappingProxyType({}),
    ignored: Collection[str] = (),
) -> dict[str, Tensor]:
    """Return tensors by the names that a network's state_dict has for them, if they fit it one to one.

    Batch counters of batch norms may be missing: files of torch before 0.4.1 have none. The result then has none either.

    Args:
        source: where the tensors come from, in messages.
        tensors: the tensors by name.
        expected: the network's state_dict; only shapes and kinds of numbers matter.
        what: the network in messages.
        modules: the module paths in the names of `tensors`, by the network's module path, where they differ.
        ignored: names of tensors that the network need not have.

    Raises:
        ArtifactError: the tensors belong to another network, or are not finite.
    """
    matches, used, differences = {}, set(ignored), []
    for name, tensor in expected.items():
        module, _, leaf = name.rpartition(".")
        theirs = f"{modules.get(module, module)}.{leaf}".lstrip(".")
        used.add(theirs)
        if theirs in tensors:
            matches[name] = tensors[theirs]
            differences += [f"{theirs} is {difference}" for difference in _difference(tensors[theirs], tensor)]
        elif leaf != COUNTER:
            differences.append(f"{theirs} is missing, expected {tuple(tensor.shape)}")
    if not matches and expected:
        raise ArtifactError(f"{source} does not fit {what}: expected {abridged(expected)}, but its tensors are {abridged(tensors)}")
    differences += [f"{theirs} matches no parameter" for theirs in tensors if theirs not in used]
    if differences:
        raise ArtifactError(f"{source} does not fit {what}: {abridged(differences, separator='; ')}")
    return matches


def _difference(tensor: Tensor, expected: Tensor) -> Iterator[str]:
    """Yield why a tensor cannot take the place of another, if it cannot."""
    if tensor.shape != expected.shape:
        yield f"{tuple(tensor.shape)}, expected {tuple(expected.shape)}"
    elif tensor.is_floating_point() != expected.is_floating_point():
        yield f"{tensor.dtype}, expected {expected.dtype}"
    elif not tensor.isfinite().all():
        yield "not finite"
