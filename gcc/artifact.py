"""A generator on disk: `model.safetensors`, `config.json` and `README.md` (its model card) in one folder.

A family of several generators has one such folder per generator below the folder of its side; a teacher's side also has
`discriminators.safetensors`. Reading trusts nothing: every field is checked, the tensors' names, shapes and types are compared with the
architecture before a byte of them is read, no path is taken from a file, and nothing is unpickled.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gcc.errors import ArtifactError, GccError, near
from gcc.files import replacing, write_text
from gcc.hub import Address, fetch, is_address
from gcc.networks import Widths, on_meta
from gcc.recipe import Recipe, changed
from gcc.registry import ARCHITECTURES, Architecture
from gcc.training.memory import free_memory
from gcc.training.tree import apart

FORMAT = 1
CONFIG = "config.json"
DISCRIMINATORS = "discriminators.safetensors"
SHARED = (CONFIG, "model.safetensors", DISCRIMINATORS, "README.md", "samples.png")
"""What people share of a side, and nothing else."""
ORIGIN = "architecture"
"""What of the environment tells the distribution that the architecture comes from."""
LARGEST_CONFIG = 1 << 20
WIDEST = 1 << 16
DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.bool: "BOOL"}
"""Names of the tensor types in safetensors files."""
FIGURE_TEXTS = ("resolution", "latency_on")
FIGURE_NUMBERS = ("exact_macs", "paper_macs", "parameters", "latency_ms", "latency_p90_ms")
"""What is told of each side beside its metrics."""
PROMISED = {"promised_ms", "promised_on", "ready_ms"}
"""What is told of a latency that was promised."""
FIGURE_EXTRAS = {"epoch", "protocols", *PROMISED}
"""What files of earlier versions do not tell, and what only those of a latency budget do."""
Role = Literal["student", "teacher"]


@dataclass(frozen=True)
class Artifact:
    """What `config.json` says of a saved generator.

    Attributes:
        folder: where it lies.
        role: which side of the game it is.
        arch: name of its architecture.
        generator: which of the architecture's generators it is.
        recipe: of the run that made it.
        widths: its channels by width name.
        figures: by side, the costs with their counters and resolution, latency, and metrics on held-out images.
        environment: versions and device of the run.
    """

    folder: Path
    role: Role
    arch: str
    generator: str
    recipe: Recipe
    widths: Widths
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def architecture(self) -> Architecture[Any]:
        """The architecture, bound to the recipe."""
        return ARCHITECTURES.load(self.arch)(self.recipe)

    def network(self) -> nn.Module:
        """Return the saved generator in eval mode on the CPU.

        Raises:
            ArtifactError: `model.safetensors` is damaged or does not fit the architecture.
        """
        return _restored(self.folder / "model.safetensors", partial(self.architecture.build_generator, self.widths)).eval()

    def to_json(self) -> str:
        """Return the text of `config.json`."""
        return json.dumps(
            {
                "format": FORMAT,
                "role": self.role,
                "architecture": self.arch,
                "generator": self.generator,
                "widths": self.widths,
                "figures": self.figures,
                "recipe": self.recipe.to_dict(),
                "environment": self.environment,
            },
            indent=2,
        )


def load(folder: str | Path) -> nn.Module:
    """Return the generator saved in `folder`, in eval mode on the CPU, bit-equal to the one that was saved.

    Args:
        folder: a folder with `model.safetensors` and `config.json`, such as `runs/pix2pix/student`; or `hf://user/name`, with `@revision`
            where it matters, on the Hugging Face Hub.

    Raises:
        ArtifactError: the folder is missing, damaged, foreign, or holds several generators.
        PluginError: the architecture is not installed.
    """
    return only(read(Path(folder))).network()


def only(artifacts: Mapping[str, Artifact]) -> Artifact:
    """Return the one generator of a folder.

    Raises:
        ArtifactError: there are several.
    """
    if len(artifacts) > 1:
        folder = next(iter(artifacts.values())).folder.parent
        raise ArtifactError(f"{folder} holds the generators {', '.join(artifacts)}: name one, such as {folder / next(iter(artifacts))}")
    return next(iter(artifacts.values()))


def located(place: str | Path) -> Path:
    """Return the folder of a saved generator or side; what is on the Hub is fetched, once its configuration is known to be one of ours.

    Args:
        place: a folder, or an address such as `hf://user/name`.

    Raises:
        GccError: what fetches from the Hub is not installed.
        ArtifactError: nothing of ours is there.
    """
    if not is_address(place):
        return Path(place)
    address = Address.parse(str(place))
    folder = fetch(address, [CONFIG]) / address.folder
    configs = [folder / CONFIG] if (folder / CONFIG).is_file() else sorted(folder.glob(f"*/{CONFIG}"))
    if not configs:
        raise ArtifactError(f"{address} holds no {CONFIG} of a saved model: expected what gcc push has put there")
    for config in configs:
        _read_config(config.parent)
    return fetch(address, SHARED) / address.folder


def read(folder: Path, role: Role | None = None) -> dict[str, Artifact]:
    """Return what is saved in `folder`, by generator; weights are not read yet.

    Args:
        folder: of one generator, or of one side with a folder per generator, here or on the Hugging Face Hub.
        role: what it must be; none accepts both.

    Raises:
        ArtifactError: nothing is saved there, or what is saved is damaged, foreign or of another role.
        PluginError: the architecture is not installed.
    """
    folder = located(folder)
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is no folder: expected one with config.json and model.safetensors, such as runs/pix2pix/student")
    folders = [folder] if (folder / CONFIG).is_file() else sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
    sides = [folder / side for side in ("student", "teacher") if (folder / side).is_dir()]
    if not folders or sides:
        hint = f": give {' or '.join(map(str, sides))}" if sides else ""
        raise ArtifactError(f"{folder} holds no config.json of a saved model{hint}")
    artifacts = [_read_config(path) for path in folders]
    for artifact in artifacts:
        if role is not None and artifact.role != role:
            raise ArtifactError(f"{artifact.folder} holds a {artifact.role}: expected a {role}")
    first = artifacts[0]
    for artifact in artifacts[1:]:
        if (artifact.role, artifact.arch, artifact.recipe) != (first.role, first.arch, first.recipe):
            one, other = first.recipe.to_dict(), artifact.recipe.to_dict()
            differing = ", ".join(name for name in one if one[name] != other.get(name)) or "role or architecture"
            raise ArtifactError(f"{first.folder} and {artifact.folder} differ in {differing}: expected the generators of one run")
    found = {artifact.generator: artifact for artifact in artifacts}
    if len(found) < len(artifacts):
        raise ArtifactError(f"{folder} holds a generator twice: expected a folder for each of {', '.join(found)}")
    return found


def environment(device: torch.device) -> dict[str, str]:
    """Return the versions and the device that a run depends on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "gan-gcc": version("gan-gcc"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": f"{device.type} ({name})",
    }


def fill(network: nn.Module, saved: nn.Module, folder: Path) -> None:
    """Put the weights of a network that is saved in `folder` into one of the same shape.

    Raises:
        ArtifactError: the networks are of different shapes.
    """
    given, wanted = saved.state_dict(), network.state_dict()
    for name in (*wanted, *given):
        theirs, ours = (tuple(tensors[name].shape) if name in tensors else "missing" for tensors in (given, wanted))
        if theirs != ours:
            raise ArtifactError(f"the teacher in {folder} does not fit this run's recipe: its {name} is {theirs}, expected {ours}")
    network.load_state_dict(given)


def read_discriminators(folder: Path, architecture: Architecture[Any]) -> dict[str, nn.Module]:
    """Return the discriminators by name that are saved in the folder of a teacher's side; none where there are none.

    Raises:
        ArtifactError: `discriminators.safetensors` is damaged or does not fit the architecture.
    """

    def build() -> nn.ModuleDict:
        return nn.ModuleDict({name: architecture.build_discriminator() for name in architecture.discriminators})

    return dict(_restored(folder / DISCRIMINATORS, build).named_children()) if has_discriminators(folder) else {}


def has_discriminators(folder: Path) -> bool:
    """Return whether the folder of a teacher's side holds discriminators."""
    return (folder / DISCRIMINATORS).exists()


def save_discriminators(folder: Path, discriminators: Mapping[str, nn.Module]) -> None:
    """Write a teacher's discriminators to the folder of its side.

    Raises:
        OutputError: the folder cannot be written.
    """
    _write_tensors(folder / DISCRIMINATORS, nn.ModuleDict(discriminators))


def save(artifact: Artifact, network: nn.Module, card: str) -> None:
    """Write a generator to `artifact.folder`; every file is written atomically, the configuration last.

    Args:
        artifact: what `config.json` is to say.
        network: the generator.
        card: the text of `README.md`.

    Raises:
        OutputError: the folder cannot be written.
    """
    _write_tensors(artifact.folder / "model.safetensors", network)
    write_text(artifact.folder / "README.md", card)
    write_text(artifact.folder / CONFIG, artifact.to_json())


def _write_tensors(path: Path, network: nn.Module) -> None:
    tensors = apart(network.state_dict())
    with replacing(path) as fresh:
        try:
            save_file(tensors, fresh, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def _restored(path: Path, build: Callable[[], nn.Module]) -> nn.Module:
    """Return the network that `build` makes with the tensors of a file; no memory is taken before the file is known to fit."""
    tensors = _read_tensors(path, on_meta(build))
    # The weights that a constructor draws are overwritten: the caller's random numbers are left alone.
    with torch.random.fork_rng(devices=[]):
        network = build()
    network.load_state_dict(tensors)
    return network


def _read_tensors(path: Path, expected: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, whose header must have the names, shapes and types of `expected`, a network on meta."""
    wanted = {name: (list(tensor.shape), tensor.dtype) for name, tensor in expected.state_dict().items()}
    # Not a pipe, which would be waited for.
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: copy the whole folder")
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            for name in sorted(names ^ set(wanted)):
                raise ArtifactError(
                    f"{path} does not fit its config.json: {'lacks' if name in wanted else 'has an unknown'} tensor {name!r}"
                )
            for name, (shape, dtype) in wanted.items():
                given = file.get_slice(name)
                if given.get_shape() != shape:
                    raise ArtifactError(
                        f"{path} does not fit its config.json: {name!r} has the shape {given.get_shape()}, expected {shape}"
                    )
                if given.get_dtype() != DTYPES.get(dtype):
                    raise ArtifactError(f"{path} does not fit its config.json: {name!r} is {given.get_dtype()}, expected {dtype}")
            _require_memory(path, expected)
            tensors = {name: file.get_tensor(name) for name in wanted}
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} is damaged or no safetensors file: {error}") from error
    return tensors


def _require_memory(path: Path, network: nn.Module) -> None:
    """Refuse a network, on meta, that memory does not hold beside the tensors of its file, which may be as large as they like on a disk."""
    needs = 2 * sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    free = free_memory(torch.device("cpu"))
    if free is not None and needs > free:
        raise ArtifactError(f"{path} takes {needs / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: load it on a larger machine")


def _read_config(folder: Path) -> Artifact:
    path = folder / CONFIG
    if not path.is_file():
        raise ArtifactError(f"{path} is no file")
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ArtifactError(f"{path} is larger than any configuration: expected at most {LARGEST_CONFIG} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"cannot read {path}: {error}") from error
    try:
        return _parse(folder, config)
    except KeyError as error:
        raise ArtifactError(f"{path} is no configuration of a saved model: it lacks {error}") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise ArtifactError(f"{path} is no configuration of a saved model: {type(error).__name__} {error}") from error
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error


def _parse(folder: Path, config: Any) -> Artifact:
    if config["format"] != FORMAT:
        raise ArtifactError(f"format {config['format']!r} is unknown to this version, which reads {FORMAT}: update gan-gcc")
    if config["role"] not in ("student", "teacher"):
        raise ArtifactError(f"role {config['role']!r}: expected student or teacher")
    told = {name: _parse_text(name, value) for name, value in _parse_mapping("environment", config["environment"]).items()}
    if config["architecture"] not in ARCHITECTURES.names():
        origin = f", which it says is {told[ORIGIN]}, if you trust where that comes from" if ORIGIN in told else ""
        raise ArtifactError(
            f"architecture {config['architecture']!r} is not installed{near(str(config['architecture']), ARCHITECTURES.names())}: "
            f"install the plugin that provides it{origin}"
        )
    family = ARCHITECTURES.load(config["architecture"])
    try:
        architecture = family(changed(family.published(), dict(config["recipe"])))
    except GccError as error:
        raise ArtifactError(f"recipe: {error}") from error
    if config["generator"] not in family.generators:
        raise ArtifactError(f"generator {config['generator']!r}: expected {' or '.join(family.generators)}")
    return Artifact(
        folder,
        config["role"],
        config["architecture"],
        config["generator"],
        architecture.recipe,
        _parse_widths(architecture, config["widths"]),
        {
            _parse_text("side", side): _parse_figures(side, figures)
            for side, figures in _parse_mapping("figures", config["figures"]).items()
        },
        told,
    )


def _parse_widths(architecture: Architecture[Any], widths: Any) -> Widths:
    known = architecture.widths(architecture.recipe.ngf)
    if not isinstance(widths, dict) or widths.keys() != known.keys():
        raise ArtifactError(f"widths: expected exactly {', '.join(known)}")
    for name, width in widths.items():
        if isinstance(width, bool) or not isinstance(width, int) or not known[name].minimum <= width <= WIDEST:
            raise ArtifactError(f"width {name} = {width!r}: expected a whole number from {known[name].minimum} to {WIDEST}")
    return widths


def _parse_mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ArtifactError(f"{name} = {value!r}: expected a table")
    return value


def _parse_figures(side: str, value: Any) -> dict[str, Any]:
    figures = _parse_mapping(f"figures of {side}", value)
    if figures.keys() - FIGURE_EXTRAS != {*FIGURE_TEXTS, *FIGURE_NUMBERS, "metrics"}:
        raise ArtifactError(f"figures of {side}: expected exactly {', '.join((*FIGURE_TEXTS, *FIGURE_NUMBERS, 'metrics'))}")
    for name in FIGURE_TEXTS:
        _parse_text(name, figures[name])
    for name in FIGURE_NUMBERS:
        _parse_number(name, figures[name])
    for metric, figure in _parse_mapping("metrics", figures["metrics"]).items():
        _parse_number(_parse_text("metric", metric), figure)
    for name in ("epoch", "promised_ms", "ready_ms"):
        _parse_number(name, figures.get(name, 0))
    _parse_text("promised_on", figures.get("promised_on", ""))
    if (promised := figures.keys() & PROMISED) and promised != PROMISED:
        raise ArtifactError(f"figures of {side}: expected all of {', '.join(sorted(PROMISED))}, or none")
    for metric, protocol in _parse_mapping("protocols", figures.get("protocols", {})).items():
        _parse_text(metric, protocol)
    return figures


def _parse_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArtifactError(f"{name} = {value!r}: expected a number")


def _parse_text(name: str, value: Any) -> str:
    # A terminal obeys control characters.
    if not isinstance(value, str) or not value.isprintable():
        raise ArtifactError(f"{name} = {value!r}: expected a line of text")
    return value
