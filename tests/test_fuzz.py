"""Untrusted files: however they are corrupted, they load or are refused with one typed error, soon and in little memory.

`GCC_FUZZ=10000 pytest tests/test_fuzz.py` runs that many cases of each kind.
"""

import json
import os
import random
import resource
import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image

from gcc import Compressor, Teacher, load
from gcc.artifacts.model import read
from gcc.data.images import read_image, read_rgb
from gcc.data.tiff import write_tiff
from gcc.errors import GccError
from gcc.recipe import changed, read_toml
from gcc.registry import ARCHITECTURES
from gcc.training.checkpoint import Checkpoints
from tests.helpers.families import TINY

CASES = int(os.environ.get("GCC_FUZZ", "100"))
SECONDS, MEGABYTES = 5.0, 700
"""What one case may take, and what all of a kind together may add to the peak of memory: the largest image that is read takes 540 MB."""
STRANGE = [None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**400, 1e308, -0.0, float("nan"), float("inf")]
STRANGE += ["", "x" * 9999, "\x1b[2J", "../..", "/etc/passwd", "\ud800", "0", "student"]
STRANGE += [[], [[]], {}, {"": {}}, {"$tensor": "a"}, [0] * 999]


def case(number):
    return random.Random(f"fuzz {number}")


def mutated_bytes(data, chance):
    """Return bytes with a few of them flipped, cut, doubled, moved or overwritten."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        if not data:
            break
        place, length = chance.randrange(len(data)), chance.choice([1, 1, 2, 4, 8, 64])
        if chance.random() < 0.5:
            place %= min(len(data), 600)  # headers matter most
        match chance.randrange(6):
            case 0:
                data[place] ^= 1 << chance.randrange(8)
            case 1:
                del data[place:]
            case 2:
                del data[place : place + length]
            case 3:
                data[place:place] = data[place : place + length]
            case 4:
                data[place : place + length] = chance.randbytes(length)
            case 5:
                data[place : place + length] = chance.choice([b"\x00", b"\xff", b"9", b"-", b'"', b"{", b"\n"]) * length
    return bytes(data)


def mutated_tree(tree, chance):
    """Return nested values with one of them replaced, taken away or renamed."""
    tree = json.loads(json.dumps(tree))
    place, way = tree, []
    while isinstance(place, dict | list) and place and chance.random() < 0.85:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        way.append((place, key))
        place = place[key]
    if not way:
        return chance.choice(STRANGE)
    holder, key = way[-1]
    match chance.randrange(4):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[str(chance.choice(STRANGE))] = holder.pop(key)
        case _:
            holder[key] = chance.choice(STRANGE)
    return tree


def survives(count, attempt):
    """Run cases; each must end well or with a `GccError`, soon, and all of them in little memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends = {True: 0, False: 0}
    for number in range(count):
        # Of the processor, which a busy machine gives to others.
        start = time.process_time()
        try:
            attempt(case(number))
            well = True
        except GccError as error:
            assert str(error)
            well = False
        except Exception as error:
            raise AssertionError(f"case {number} ends in {type(error).__name__}: {error}") from error
        ends[well] += 1
        assert time.process_time() - start < SECONDS, f"case {number} hangs"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024
    return ends


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved student, and a checkpoint, of every family."""
    folders = {arch: tmp_path_factory.mktemp(arch) for arch in ARCHITECTURES.names()}
    for arch, folder in folders.items():
        run = Compressor(Teacher.create(arch), **TINY[arch] | {"epochs": 1})
        for step in run.steps():
            Checkpoints(folder, keep=1).save(run.checkpoint(step))
        run.result().save(folder)
    return folders


def one_generator(folder):
    return next(path.parent for path in sorted(folder.glob("student/**/config.json")))


@pytest.mark.parametrize("arch", TINY)
@pytest.mark.parametrize("file", ["config.json", pytest.param("model.safetensors", marks=pytest.mark.slow)])
def test_bytes_of_a_saved_generator(arch, file, saved, tmp_path):
    folder = shutil.copytree(one_generator(saved[arch]), tmp_path / "copy")
    whole = (folder / file).read_bytes()

    def attempt(chance):
        (folder / file).write_bytes(mutated_bytes(whole, chance))
        network = load(folder)
        assert all(isinstance(value, torch.Tensor) for value in network.state_dict().values())

    ends = survives(CASES, attempt)
    assert ends[False] > 0


@pytest.mark.parametrize("arch", TINY)
def test_values_of_a_configuration(arch, saved, tmp_path):
    folder = shutil.copytree(one_generator(saved[arch]), tmp_path / "copy")
    whole = json.loads((folder / "config.json").read_text())

    def attempt(chance):
        (folder / "config.json").write_text(json.dumps(mutated_tree(whole, chance)), encoding="utf-8", errors="surrogatepass")
        for artifact in read(folder).values():
            artifact.network()

    assert survives(CASES, attempt)[False] > CASES / 4


@pytest.mark.parametrize("arch", TINY)
def test_recipes(arch, tmp_path):
    recipe = ARCHITECTURES.load(arch).published()
    whole = recipe.to_toml(arch).encode()

    def attempt(chance):
        (tmp_path / "recipe.toml").write_bytes(mutated_bytes(whole, chance))
        settings = read_toml(tmp_path / "recipe.toml")
        settings.pop("arch", None)
        ARCHITECTURES.load(arch)(changed(recipe, settings))

    assert survives(CASES, attempt)[True] > 0


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "gif", "tiff", "webp"])
def test_images(kind, tmp_path):
    chance = random.Random(kind)
    Image.frombytes("RGB", (24, 16), chance.randbytes(24 * 16 * 3)).save(tmp_path / f"whole.{kind}")
    whole = (tmp_path / f"whole.{kind}").read_bytes()

    def attempt(chance):
        (tmp_path / f"image.{kind}").write_bytes(mutated_bytes(whole, chance))
        image = read_rgb(tmp_path / f"image.{kind}")
        assert image.mode == "RGB"

    assert survives(CASES, attempt)[False] > 0


def test_tiff_files_of_several_bands(tmp_path):
    write_tiff(tmp_path / "whole.tif", np.random.default_rng(0).integers(0, 4096, (5, 16, 24), dtype=np.uint16))
    whole = (tmp_path / "whole.tif").read_bytes()

    def attempt(chance):
        (tmp_path / "image.tif").write_bytes(mutated_bytes(whole, chance))
        assert len(read_image(tmp_path / "image.tif", 5).bands) == 5

    assert survives(CASES, attempt)[False] > 0


@pytest.mark.parametrize("arch", ["pix2pix", "srgan"])
def test_checkpoints(arch, saved, monkeypatch, tmp_path):
    (whole,) = (path.read_bytes() for path in saved[arch].glob("checkpoints/*.safetensors"))
    place = tmp_path / "checkpoints" / "checkpoint-000001.safetensors"
    place.parent.mkdir()

    def attempt(chance):
        place.write_bytes(mutated_bytes(whole, chance))
        found = Checkpoints(tmp_path).newest()
        assert isinstance(found, dict)

    survives(min(CASES, 1000), attempt)
