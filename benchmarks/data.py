"""How many images per second reach training, decoded from JPEG each time or once (`--cache`), and how many a training step needs.

    python benchmarks/data.py --arch srgan --step 1.71

The images have the spectrum of photographs: pairs of 256x256 side by side for Pix2Pix, 640x480 for SRGAN's crops. Each way of reading goes
through one epoch at a time; the ways take turns, so that whatever else the machine does meets all of them. The first turn, in which workers
start, is not counted. Algorithm 1 reads two batches per iteration.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from full_size import machine
from PIL import Image

from gcc import Teacher
from gcc.data.loader import Loader
from gcc.data.splits import DataSplits

SIZES: Mapping[str, tuple[int, int]] = {"pix2pix": (256, 512), "srgan": (480, 640)}
"""Height and width of the images."""
STREAMS = 2
"""Batches that an iteration reads."""


def write_photographs(folder: Path, count: int, height: int, width: int) -> None:
    """Write JPEGs with the spectrum of photographs."""
    random = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    folder.mkdir(parents=True)
    for number in range(count):
        waves = random.standard_normal((3, *frequency.shape)) + 1j * random.standard_normal((3, *frequency.shape))
        image = np.fft.irfft2(waves / frequency**1.2, s=(height, width)).transpose(1, 2, 0)
        pixels = np.clip(128 + 50 * image / image.std(), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=90)


def seconds_of(step: str) -> dict[str, float]:
    """Return the seconds of an iteration by mode: a number, or the file that benchmarks/step.py wrote."""
    try:
        return {"step": float(step)}
    except ValueError:
        return {mode: row["median_s"] for mode, row in json.loads(Path(step).read_text())["modes"].items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", choices=SIZES, default="pix2pix")
    parser.add_argument("--images", type=int, default=192, help="number of training images")
    parser.add_argument("--workers", default="0,1,2", help="numbers of workers, joined by commas")
    parser.add_argument("--repeats", type=int, default=7, help="measured epochs of each way of reading")
    parser.add_argument("--step", help="seconds of an iteration, or the --json file of step.py")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    torch.set_num_threads(1)
    architecture = Teacher.create(options.arch).architecture({})
    batch = architecture.recipe.batch_size
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_photographs(root / "train", options.images, *SIZES[options.arch])
        write_photographs(root / "test", 1, *SIZES[options.arch])
        uncached, cached = (DataSplits(architecture, root, None) for _ in range(2))
        start = time.perf_counter()
        cached.cache()
        decoded = time.perf_counter() - start
        start = time.perf_counter()
        cached.cache()
        checked = time.perf_counter() - start
        loaders = {
            (title, workers): Loader(
                splits.train, architecture.sample_z, batch_size=batch, seed=0, device=torch.device("cpu"), workers=workers
            )
            for title, splits in (("decoded each time", uncached), ("decoded once", cached))
            for workers in map(int, options.workers.split(","))
        }
        rates: dict[tuple[str, int], list[float]] = {way: [] for way in loaders}
        for turn in range(1 + options.repeats):
            for way, loader in loaders.items():
                start = time.perf_counter()
                for _ in loader.batches(turn, 0):
                    pass
                if turn:
                    rates[way].append(loader.steps * batch / (time.perf_counter() - start))
        size = cached.summary(architecture.recipe.size)["cache"].partition(" of")[0]
        jpegs = sum(path.stat().st_size for path in root.glob("*/*.jpg"))
        print(
            f"{options.arch}, {options.images} JPEGs of {SIZES[options.arch][1]}x{SIZES[options.arch][0]}, batches of {batch}; {machine()}"
        )
        print(f"{jpegs / 1e6:.1f} MB of JPEG, {size} decoded: cached in {decoded:.2f} s, reused after {checked:.3f} s")
    needed = {mode: STREAMS * batch / seconds for mode, seconds in seconds_of(options.step).items()} if options.step else {}
    for mode, rate in needed.items():
        print(f"{mode:8} needs {rate:.1f} images per second")
    rows = []
    for (title, workers), measured in rates.items():
        median = statistics.median(measured)
        times = "".join(f"  {median / rate:.1f} times what {mode} needs" for mode, rate in needed.items())
        print(f"{title:17}  {workers} workers  {median:7.0f} images/s ({min(measured):.0f} to {max(measured):.0f}){times}")
        rows.append({"way": title, "workers": workers, "median": median, "least": min(measured), "most": max(measured)})
    if options.json:
        measurements = {
            "arch": options.arch,
            "machine": machine(),
            "decode_s": decoded,
            "reuse_s": checked,
            "needed": needed,
            "images_per_second": rows,
        }
        options.json.write_text(json.dumps(measurements, indent=2) + "\n")


if __name__ == "__main__":
    main()
