"""Whatever a user passes: public functions and commands succeed, or refuse it with a `GccError`, and change nothing of the user's.

`GCC_FUZZ=2000 pytest --timeout 0 tests/test_fuzz_calls.py` runs that many cases of each kind.
"""

import hashlib
import os
import random
import shutil
import typing
import warnings

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn
from torch.nn import functional

from gcc import Compressor, Sweep, Teacher, Trainer, bench, export, load, optimize, prune
from gcc.cli import main
from gcc.cli.commands import Commands
from gcc.errors import GccError
from gcc.training.measure import build_result
from gcc.training.options import RunOptions
from tests.helpers.families import TINY

CASES = int(os.environ.get("GCC_FUZZ", "30"))
TENSOR = torch.rand(1, 3, 16, 16)


class Calls(nn.Module):
    """A network whose forward pass is a function of its layers and its input."""

    def __init__(self, forward, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self._forward = forward

    def forward(self, *inputs, **named):
        return self._forward(self.layers, *inputs, **named)


def chain(layers, x):
    for layer in layers:
        x = layer(x)
    return x


def in_place(layers, x):
    x.mul_(2)
    return chain(layers, x)


def counting(layers, x):
    layers[0].calls = getattr(layers[0], "calls", 0) + 1
    return chain(layers, x) * layers[0].calls


def failing(layers, x):
    raise ValueError("no such style")


def branching(layers, x):
    return layers[0](x) if float(x.sum()) > 0 else layers[1](layers[0](x))


def layer_of(chance, before):
    """Return a layer that takes `before` channels, and the channels that it returns; some layers do not fit on purpose."""
    width = chance.choice([1, 2, 4, 6, 8])
    usual = [
        lambda: (nn.Conv2d(before, width, 3, padding=1), width),
        lambda: (nn.Conv2d(before, width, 1, bias=False), width),
        lambda: (nn.Conv2d(before, before, 3, padding=1, groups=before), before),
        lambda: (nn.ConvTranspose2d(before, width, 4, 2, 1), width),
        lambda: (nn.utils.parametrizations.spectral_norm(nn.Conv2d(before, width, 3, padding=1)), width),
        lambda: (nn.utils.parametrizations.weight_norm(nn.Conv2d(before, width, 3, padding=1)), width),
        lambda: (nn.BatchNorm2d(before), before),
        lambda: (nn.InstanceNorm2d(before, affine=chance.random() < 0.5), before),
        lambda: (nn.GroupNorm(1, before), before),
        lambda: (nn.PReLU(before), before),
        lambda: (nn.Dropout(0.5), before),
        lambda: (chance.choice([nn.ReLU(inplace=True), nn.GELU(), nn.Tanh(), nn.Identity(), nn.Softmax(1)]), before),
        lambda: (nn.Upsample(scale_factor=2), before),
    ]
    unusual = [
        lambda: (nn.PixelUnshuffle(2), 4 * before),
        lambda: (nn.Conv2d(before + 1, width, 3), width),
        lambda: (nn.Linear(16, 16), before),
        lambda: (nn.LazyConv2d(width, 3, padding=1), width),
    ]
    return chance.choice(usual if chance.random() < 0.97 else unusual)()


def network_of(chance):
    """Return a network that may be anything that somebody calls a generator."""
    layers, channels = [nn.Conv2d(3, 8, 3, padding=1)], 8
    for _ in range(chance.randint(0, 6)):
        layer, channels = layer_of(chance, channels)
        layers.append(layer)
    forwards = [chain] * 24 + [in_place, counting, failing, branching]
    forwards += [
        lambda layers, x: {"image": chain(layers, x), "none": None},
        lambda layers, x: (chain(layers, x), [x]),
        lambda layers, x: torch.cat([chain(layers, x), chain(layers, x)], 1),
        lambda layers, x: chain(layers, x) + x.mean(),
        lambda layers, x: functional.interpolate(chain(layers, x), scale_factor=0.5),
        lambda layers, x: chain(layers, x).flatten(1).topk(3).values,
        lambda layers, x: chain(layers, x).view(-1, 8, 16, 16),
        lambda layers, x, scale: chain(layers, x) * scale,
        lambda layers, x: torch.rand_like(chain(layers, x)),
        lambda layers, x: chain(layers, x).detach().numpy(),
        lambda layers: torch.zeros(1),
        lambda layers, x: "an image",
    ]
    network = Calls(chance.choice(forwards), *layers)
    wrap = chance.random()
    if wrap < 0.08:
        network = network.half() if wrap < 0.03 else network.double()
    elif wrap < 0.12:
        network = nn.DataParallel(network)
    elif wrap < 0.16 and layers:
        network = network.to("meta")
    elif wrap < 0.2:
        network = nn.Sequential(network)
    return network.train(chance.random() < 0.5)


def example_of(chance):
    odd = [None, "image.png", 3, [], (), {}, np.zeros((1, 3, 16, 16), np.float32), torch.zeros(0), torch.zeros(3, 16, 16)]
    odd += [torch.zeros(1, 4, 16, 16), torch.zeros(1, 3, 16, 16, dtype=torch.int64), torch.full((1, 3, 16, 16), float("nan"))]
    odd += [(TENSOR.clone(), None), (TENSOR.clone(), 0.5), {"x": TENSOR.clone()}, [TENSOR.clone()], TENSOR.half(), TENSOR.to("meta")]
    return chance.choice([TENSOR.clone()] * 4 * len(odd) + odd)


def arguments_of(chance):
    values = {
        "metric": ["slimming", "l1", "l1_paper", "slim", "", None, 3],
        "budget": ["25%", "90%", "1%", "100%", "0", "-3G", "1k", "50%params", "", "nan%", None, 0.25, "1e400", "5ms@gpu", "٣%"],
        "mac_counter": ["exact", "paper", "both", None],
        "min_keep_ratio": [0.0, 0.5, 1.0, -1, 2, float("nan"), "half"],
        "round_to": [1, 4, 8, 0, -1, 1.5, "8", 10**9],
        "leave": [(), ("layers.0",), ("nowhere",), "layers.0", None, [3]],
        "weights": ["inherited", "fresh", "random", None],
    }
    names = chance.sample(sorted(values), chance.randint(0, 3))
    usual = {"metric": "l1", "budget": chance.choice(["80%", "60%", "90%params"])}
    return usual | ({name: chance.choice(values[name]) for name in names} if chance.random() < 0.4 else {})


def state_of(network, example):
    """Return everything of a user's that a call might change."""
    leaves = [example] if isinstance(example, torch.Tensor) else [*example] if isinstance(example, tuple | list) else []
    tensors = [*network.state_dict().values(), *(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))]
    values = [
        None if isinstance(tensor, nn.UninitializedParameter) or tensor.is_meta else tensor.detach().clone().nan_to_num(7.0)
        for tensor in tensors
    ]
    modes = [(type(module), module.training, sorted(module.__dict__), len(module._forward_hooks)) for module in network.modules()]
    grads = [(parameter.requires_grad, parameter.grad is None) for parameter in network.parameters()]
    return values, modes, grads, torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()


def same(before, after):
    (values, *rest), (others, *other_rest) = before, after
    equal = all((a is None) == (b is None) and (a is None or torch.equal(a, b)) for a, b in zip(values, others, strict=True))
    return equal and rest == other_rest


@pytest.mark.parametrize("kind", ["prune", "optimize"])
def test_functions_take_any_network(kind):
    outcomes = {True: 0, False: 0}
    for number in range(CASES):
        chance = random.Random(f"{kind} {number}")
        torch.manual_seed(number)
        network, example = network_of(chance), example_of(chance)
        before = state_of(network, example)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if kind == "prune":
                    prune(network, example, **arguments_of(chance))
                else:
                    optimize(network, example)
                outcomes[True] += 1
            except GccError as error:
                outcomes[False] += 1
                assert str(error).strip() and "\n" not in str(error), (kind, number, str(error))
            except Exception as error:
                raise AssertionError(f"{kind} {number}: {type(error).__name__}: {error}") from error
        assert same(before, state_of(network, example)), (kind, number)
    assert min(outcomes.values()) >= CASES / 20, outcomes


STRANGE = [
    None,
    True,
    -1,
    0,
    1.5,
    10**12,
    float("nan"),
    "",
    "x" * 300,
    "../..",
    "/dev/null",
    "\x00",
    b"x",
    [],
    {},
    object(),
    torch.zeros(2),
]


def sweep_of(teacher, **options):
    options.setdefault("budgets", [options.pop("budget")])
    return Sweep(teacher, "runs", **options).first


def test_runs_take_any_option():
    names = sorted({*typing.get_type_hints(RunOptions), "data", "budgets", "nothing"})
    for number in range(CASES):
        chance = random.Random(f"option {number}")
        chosen = {name: chance.choice(STRANGE) for name in chance.sample(names, 2)}
        kind = chance.choice([Compressor, Trainer, sweep_of])
        try:
            kind(Teacher.create("pix2pix"), **{**TINY["pix2pix"], "device": "cpu", **chosen})
        except GccError as error:
            assert "\n" not in str(error), (number, chosen, str(error))
        except Exception as error:
            raise AssertionError(f"{number}, {kind.__name__} with {chosen}: {type(error).__name__}: {error}") from error


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with two tiny saved students, an image and some other files."""
    folder = tmp_path_factory.mktemp("saved")
    for arch in ("pix2pix", "sagan"):
        run = Compressor(Teacher.create(arch), **TINY[arch], device="cpu")
        run.widths = dict(run.reachable_widths())
        run.reinitialize()
        build_result(run.trained).save(folder / arch)
    Image.new("RGB", (40, 30)).save(folder / "image.png")
    Image.new("I;16", (8, 8)).save(folder / "deep.png")
    (folder / "empty").mkdir()
    (folder / "text.txt").write_text("a text")
    (folder / "bytes.safetensors").write_bytes(bytes(range(256)))
    (folder / "torch.pth").write_bytes(b"PK\x03\x04 no zip")
    (folder / "recipe.toml").write_text("epochs = 'three'\n")
    return folder


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_commands_take_any_arguments(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved, tmp_path / "in")
    before = contents(tmp_path / "in")
    values = [
        "in/pix2pix/student",
        "in/sagan/student",
        "in/pix2pix",
        "in/image.png",
        "in/deep.png",
        "in/empty",
        "in/text.txt",
        "in",
        "nowhere",
    ]
    values += [
        "in/bytes.safetensors",
        "in/torch.pth",
        "in/recipe.toml",
        "",
        "-1",
        "0",
        "1",
        "2",
        "1.5",
        "nan",
        "x",
        "25%",
        "pix2pix",
        "sagan",
    ]
    values += ["l1", "cpu", "out", "out.png", "a=b", "size=32", "hf://nobody/nothing", "é", "onnx", "pt2", "32x48", "1,2", "*"]
    commands = Commands()
    for number in range(CASES):
        chance = random.Random(f"command {number}")
        name = chance.choice(sorted({*commands} - {"plugin", "pull", "push"}))
        command = commands[name]
        arguments = [name]
        for parameter in command.params:
            if parameter.param_type_name == "argument" and chance.random() < 0.9:
                arguments.append(chance.choice(values[:9] if chance.random() < 0.8 else values))
        options = [parameter for parameter in command.params if parameter.param_type_name == "option" and "--help" not in parameter.opts]
        for option in chance.sample(options, min(len(options), chance.randint(0, 3))):
            arguments.append(chance.choice(option.opts))
            if not option.is_flag:
                arguments.append(chance.choice(values))
        if name in ("compress", "train", "ablate", "sweep"):
            arguments.append("--dry-run")
        result = CliRunner().invoke(main, arguments)
        failure = result.exception if not isinstance(result.exception, SystemExit) else None
        assert failure is None, (number, arguments, repr(failure))
        assert result.exit_code in (0, 1, 2), (number, arguments, result.exit_code)
        assert "Traceback" not in result.output, (number, arguments)
        assert contents(tmp_path / "in").items() >= before.items(), (number, arguments)


def test_functions_take_any_folder(saved, tmp_path):
    paths = [path for path in sorted(saved.rglob("*"))] + [tmp_path / "nowhere", "", None, 3, b"x", "hf://", "\x00"]
    before = contents(saved)
    for number in range(CASES):
        chance = random.Random(f"folder {number}")
        path = chance.choice(paths)
        calls = {
            "load": lambda path=path: load(path),
            "Teacher.load": lambda path=path: Teacher.load(path),
            "bench": lambda path=path, chance=chance: list(
                bench(path, batch_sizes=(chance.choice([1, 0, -1, "x"]),), sizes=(chance.choice([32, 7, 0]),))
            ),
            "export": lambda path=path, chance=chance: export(
                path, tmp_path / "out.pt2", format=chance.choice(["pt2", "x", "safetensors"])
            ),
        }
        name = chance.choice(sorted(calls))
        try:
            calls[name]()
        except GccError as error:
            assert "\n" not in str(error), (number, name, path, str(error))
        except Exception as error:
            raise AssertionError(f"{number}: {name}({path!r}): {type(error).__name__}: {error}") from error
    assert contents(saved) == before
