"""Every command of the README and of docs/ runs: in order, page by page, with tiny settings, on files laid out as the page says."""

import os
import random
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from gcc.cli import main
from gcc.deploy.latency import measure_optimized
from gcc.evaluation import small_segmenter
from gcc.models.pix2pix import Pix2Pix
from gcc.recipe import changed
from tests.helpers.families import TINY, demo_data
from tests.helpers.foreign_networks import PatchGAN, ResNet, unet
from tests.helpers.hub_server import TOKEN, serving
from tests.helpers.pairs import cityscapes
from tests.test_docs import CONSOLE, FENCED, PAGES, README

NOT_RUN = {
    "pip install": "installs packages; CI installs the package",
    "pytest gcc-sharp": "tests/test_plugins_guide.py runs the tests of plugins that `gcc plugin new` writes",
    "python benchmarks/curve.py": "reads the sweep of the command before",
    "python benchmarks/earth.py": "reads images of packages of 100 MB",
    "gcc ablate --arch pix2pix --direction BtoA --data facades": "needs photographs and published weights",
    "gcc ablate --arch cyclegan --data horse2zebra": "needs photographs and published weights",
    "python benchmarks/figures.py": "reads the runs of the command before",
    "python benchmarks/formats.py": "needs trained students of every family; tests/deploy/test_export.py exports tiny ones",
    "python benchmarks/own_notebook.py": "needs a notebook and photographs",
    "python benchmarks/own_srgan.py": "needs published weights and photographs",
    "python benchmarks/real_esrgan.py": "needs published weights and photographs",
    "gcc compress --generator networks_of_others:": "needs published weights and photographs",
    "gcc train --generator networks_of_others:": "needs photographs",
    "gcc sweep --generator networks_of_others:": "needs published weights and photographs",
    "gcc compress --teacher RealESRGAN_x4plus.safetensors": "needs published weights and photographs",
    "gcc compress --teacher spanx4_ch48.safetensors": "needs published weights and photographs",
    "python benchmarks/prune.py": "needs networks of others",
    "python -m benchmarks.zoo": "needs networks of others; tests/test_zoo.py runs three of them",
    "gcc export runs/pix2pix/student --target litert-gpu": "LiteRT's converter has its own environment: tests/deploy/test_litert_gpu.py",
    "gcc export runs/pix2pix/student --format litert": "LiteRT's converter has an environment of its own: tests/deploy/test_litert.py",
    "npm pack": "tests/deploy/test_demo_site.py does this",
    "tar xf": "unpacks the same package",
    "gcc demo runs/pix2pix/student": "needs a package of npm; tests/deploy/test_demo_site.py has it",
    "python -m http.server": "serves until it is stopped; tests/deploy/test_demo_site.py visits the site",
    "gcc compress --arch cyclegan --steps 60 --metric l1_paper": "the tests state lengths in epochs; other pages have such a run",
    "gcc compress --arch pix2pix --size 256 --set ngf=64": "trains networks of published size",
    "gcc compress --arch srgan --size 64 --set cost_size=64": "trains networks of published size",
    "hf auth login": "asks for a token",
    "gcc compress --arch pix2pix --data datasets/facades --direction BtoA --budget 2ms@cuda --device cuda": "needs a GPU",
    "gcc compress --arch pix2pix --metric sharp": "needs the plugin sharp to be installed; tests/test_plugins_guide.py installs it",
}
"""The beginnings of commands that do not run here, and the reasons."""


def lines(text):
    """Yield the commands of a page: those of its console blocks, continued lines joined, and the `gcc` commands in its sentences."""
    for block in CONSOLE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield from (" ".join(shlex.split(part, comments=True)) for part in line[2:].split(" && "))
    yield from re.findall(r"`(gcc [a-z][^`\n]* [^`\n]*)`", FENCED.sub("", text))


COMMANDS = {page: list(dict.fromkeys(lines(text))) for page, text in (PAGES | {"README.md": README}).items()}


def is_run(line):
    return not line.startswith(tuple(NOT_RUN)) and line != "hash -r"


def test_whatever_does_not_run_is_listed():
    every = [line for page in COMMANDS.values() for line in page]
    for beginning in NOT_RUN:
        assert any(line.startswith(beginning) for line in every), beginning
    assert all(line.startswith(("gcc ", "torchrun ")) for line in every if is_run(line))


def picture(width, height, seed):
    return Image.frombytes("RGB", (width, height), random.Random(seed).randbytes(3 * width * height))


def images(folder, count, width=40, height=40):
    folder.mkdir(parents=True)
    for number in range(count):
        picture(width, height, number).save(folder / f"{number}.png")


def in_folders(counts, width=40, height=40):
    """Return what writes images into folders of a data set."""
    return lambda root: [images(root / name, count, width, height) for name, count in counts.items()]


def weights(network):
    """Return what saves the weights of an untrained network."""

    def save(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {name: tensor for name, tensor in network().state_dict().items() if not name.endswith("num_batches_tracked")}
        torch.save(state, path)

    return save


def inception():
    from torch_fidelity import feature_extractor_inceptionv3 as library

    from gcc.evaluation.networks.inception import _untrained

    return _untrained(library)


def drn():
    from gcc.evaluation.networks.drn import DRND105

    return DRND105()


def vgg(name):
    """Return what saves the convolutions of a VGG of torchvision."""

    def save(path):
        layers = getattr(torchvision.models, name)(weights=None).features.state_dict()
        state = {f"features.{key}": tensor for key, tensor in layers.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, path) if path.suffix == ".pth" else save_file(state, path)

    return save


def label_maps(root):
    """Write pairs whose image A has few colours."""
    PAIRS(root)
    for path in root.rglob("*.png"):
        image = Image.open(path)
        image.paste((200, 0, 0), (0, 0, 16, 32))
        image.paste((0, 0, 200), (16, 0, 32, 32))
        image.save(path)


def scans(root):
    """Write pairs of grey images with 12 bits."""
    PAIRS(root)
    for path in root.rglob("*.png"):
        values = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 16
        Image.fromarray(values).save(path)


def photographs(root):
    in_folders({"train": 4, "test/Set5": 2, "test/Set14": 2}, 48, 40)(root)
    vgg("vgg16")(root / "vgg16.safetensors")


OWN_CODE = """
from torch import nn

class Generator(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh())
"""
"""The module `my_package.models` of a reader."""


def own_generator():
    names = {}
    exec(OWN_CODE, names)
    return names["Generator"]()


def real_esrgan():
    from spandrel.architectures.ESRGAN import ESRGAN

    return ESRGAN(num_filters=8, num_blocks=1)


PAIRS = in_folders({"train": 6, "val": 2, "test": 2}, 64, 32)
DOMAINS = in_folders({"trainA": 6, "trainB": 5, "testA": 2, "testB": 2})
FILES = {
    "datasets/facades": PAIRS,
    "datasets/horse2zebra": DOMAINS,
    "data/earth": label_maps,
    "data/solar": DOMAINS,
    "data/cells": in_folders({".": 20}),
    "data/photographs": photographs,
    "pairs": PAIRS,
    "outputs": in_folders({"A/train": 10, "B/train": 10}, 40, 40),
    "collected": in_folders({"trainA": 10, "trainB": 10}),
    "scans": scans,
    "cityscapes": cityscapes,
    "CelebA": lambda root: [images(root, 20), images(root / "held-out", 4)],
    "COCO": in_folders({"train2017": 4, "val2017": 2}, 48, 40),
    **dict.fromkeys(("photos", "horses", "painted", "faces", "generated"), in_folders({".": 4}, 32, 32)),
    **dict.fromkeys(("photo.png", "small.png", "painted.png"), lambda path: picture(32, 32, 1).save(path)),
    "photographs": in_folders({"train": 4, "test/Set5": 2}, 64, 64),
    "RealESRGAN_x4plus.pth": weights(real_esrgan),
    "weights.pth": weights(own_generator),
    "FILE.pth": weights(inception),
    "drn-d-105_ms_cityscapes.pth": weights(drn),
    "vgg19-dcbb9e9d.pth": vgg("vgg19"),
    "checkpoints/facades/latest_net_G.pth": weights(lambda: unet(5, 4)),
    "checkpoints/horse2zebra/latest_net_G_A.pth": weights(lambda: ResNet(2, 4)),
    "checkpoints/horse2zebra/latest_net_G_B.pth": weights(lambda: ResNet(2, 4)),
    **{f"checkpoints/horse2zebra/latest_net_D_{side}.pth": weights(lambda: PatchGAN(3, 4, nn.InstanceNorm2d)) for side in "AB"},
}
"""What lies on the disk of a reader, by its path on the pages."""
RUNS = {
    "runs/pix2pix": "--arch pix2pix --data datasets/facades",
    "runs/pix2pix-2": "--arch pix2pix --data datasets/facades",
    "runs/cyclegan": "--arch cyclegan",
    "runs/horse2zebra": "--arch cyclegan --data datasets/horse2zebra",
    "runs/mine": "--arch pix2pix",
    "runs/sagan": "--arch sagan",
    "runs/srgan": "--arch srgan",
}
"""The options of the runs that a reader has, by their folders."""
IN_CACHE = {"fid": "FILE.pth", "srgan": "vgg19-dcbb9e9d.pth"}
"""Trained weights that commands with a word need, by the word."""
TORCH_NAMES = {"FILE.pth": "weights-inception-2015-12-05-6726825d.pth"}
"""The names of files in torch's cache, if they differ."""
PLACEHOLDERS = {
    "--teacher DIR": "--teacher runs/pix2pix/teacher",
    "--data DIR": "--data datasets/facades",
    "--data D": "--data datasets/facades",
    "--arch NAME": "--arch pix2pix",
    "inspect NAME": "inspect pix2pix",
    "plugin new NAME": "plugin new own",
    "translate STUDENT FOLDER OUT": "translate runs/pix2pix/student photos out",
    "evaluate STUDENT": "evaluate runs/pix2pix/student",
}
WIDE = {"ngf": 32, "ndf": 4, "prune_width": 32}
"""The fields of a run whose latencies differ enough from width to width to be measured."""


def reachable(budget):
    """Return a latency budget of three fifths of the time that the generator of `WIDE` takes on this machine."""
    architecture = Pix2Pix(changed(Pix2Pix.published(), {"size": 32} | WIDE))
    runtime = budget.partition("@")[2]
    network = architecture.build_generator(architecture.full_widths(32))
    # On a busy machine, a single measurement may be many times too long.
    full = min(measure_optimized(network, architecture.example_input(), runtime).median_ms for _ in range(3))
    return f"{0.6 * full:.3g}ms@{runtime}"


def tiny(words):
    """Return the words of a command with the settings of the tests in place of its own."""
    options = dict(zip(words, words[1:], strict=False))
    if "--resume" in words and "--epochs" in words:
        return [*words, "--epochs", "3"]
    if words[0] not in ("compress", "train", "ablate", "sweep", "doctor") or "--resume" in words or words == ["doctor"]:
        return words
    arch, budget = options.get("--arch"), options.get("--budget", "")
    if words[0] in ("compress", "doctor", "ablate", "sweep") and not {"--student", "--widths"} & {*words}:
        # A further --budget would not override it: of a sweep, it is a further student.
        words = [word for number, word in enumerate(words) if "--budget" not in words[max(0, number - 1) : number + 1]]
    if {"--teacher", "--generator"} & {*words}:
        # A teacher brings its recipe, and a generator of the reader's own has that of its task.
        fields = {"size": 32, "epochs": 2, "batch_size": 4, "budget": "60%"}
    elif "ms@" in budget:
        fields = TINY[arch] | WIDE | {"budget": reachable(budget)}
    else:
        fields = TINY[arch] | ({"batch_size": 4, "cost_size": 32} if arch == "srgan" else {})
    added = ["--device", "cpu"] + (["--seeds", "1"] if "--seeds" in words else [])
    if words[0] != "train" and not {"--student", "--widths"} & {*words}:
        added += ["--budget", fields["budget"], "--mac-counter", "exact"]
    for name in ("size", "epochs", "batch_size"):
        added += [f"--{name.replace('_', '-')}", str(fields[name])]
    for name in fields.keys() - {"size", "epochs", "batch_size", "budget"}:
        added += ["--set", f"{name}={fields[name]}"]
    return words + added


class Reader:
    """Runs commands in the current folder; whatever they name is written before, if it is not there.

    Attributes:
        shared: a folder in which runs and data are kept for the other pages.
    """

    def __init__(self, shared):
        self.shared = shared

    def run(self, line):
        for placeholder, text in PLACEHOLDERS.items():
            line = re.sub(rf"{placeholder}(?= |$)", text, line)
        words = shlex.split(line)
        words = words[words.index("gcc") + 1 :]
        for option, word in zip(["", *words], words, strict=False):
            if option != "--out":
                self.provide(word.partition("=")[2] or word)
        words = tiny(words)
        ran = CliRunner().invoke(main, words, prog_name="gcc")
        error = "" if ran.exception is None or isinstance(ran.exception, SystemExit) else repr(ran.exception)
        assert ran.exit_code == 0, f"gcc {' '.join(words)}\n{ran.output}\n{error}"
        return ran

    def provide(self, word):
        """Write the file, the data or the run that a word of a command names, or the one it lies in."""
        path = next((name for name in (*FILES, *RUNS) if word == name or word.startswith(f"{name}/")), None)
        if path is None or Path(word).exists():
            return
        ready = self.shared / path
        if not ready.exists():
            ready.parent.mkdir(parents=True, exist_ok=True)
            before = Path.cwd()
            os.chdir(self.shared)
            try:
                FILES[path](ready) if path in FILES else self.run(f"gcc compress {RUNS[path]} --out {path}")
            finally:
                os.chdir(before)
        if Path(path).exists():
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if path in RUNS or ready.is_dir():
            shutil.copytree(ready, path, dirs_exist_ok=True)
        else:
            Path(path).symlink_to(ready)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    with demo_data(train=20, val=4, test=4), pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_segmenter, "STEPS", 10)
        yield Reader(tmp_path_factory.mktemp("reader"))


@pytest.fixture
def hub(tmp_path_factory, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    with serving() as (hub, address):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


RUN = {page: [line for line in commands if is_run(line)] for page, commands in COMMANDS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, commands in RUN.items() if commands])
def test_the_commands_of_a_page_run(page, reader, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Trained weights that the page does not name lie in torch's cache.
    cache = tmp_path / "cache" / "checkpoints"
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(cache.parent))
    cache.mkdir(parents=True)
    for word, name in IN_CACHE.items():
        if any(word in line for line in RUN[page]):
            reader.provide(name)
            (cache / TORCH_NAMES.get(name, name)).symlink_to(tmp_path / name)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "models.py").write_text(OWN_CODE)
    if page == "sharing.md":
        reader.provide("runs/pix2pix/teacher")
        reader.run("gcc push runs/pix2pix/teacher user/teacher")
    for line in RUN[page]:
        reader.run(line)
