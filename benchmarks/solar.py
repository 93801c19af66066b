"""Prepare "solar": electroluminescence images of two kinds of solar cells, in CycleGAN's layout.

The real counterpart of horse2zebra: A are 1,074 monocrystalline cells, B 1,550 polycrystalline ones (elpv-dataset, Buerhop-Lutz et al.
2018; CC BY-NC-SA 4.0, for measurements only). They come in a registry package:

    pip install --no-deps elpv-dataset==1.0.0.post1
    python benchmarks/solar.py data/solar

writes `trainA/`, `trainB/`, `testA/` and `testB/`; every tenth cell is for testing.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from earth import package_file

DOMAINS = {"mono": "A", "poly": "B"}


def prepare(out: Path) -> None:
    listing = package_file("elpv_dataset", "data/labels.csv", "elpv-dataset==1.0.0.post1")
    counts = dict.fromkeys(DOMAINS, 0)
    for line in listing.read_text().splitlines():
        name, _, kind = line.split()
        split = "test" if counts[kind] % 10 == 0 else "train"
        counts[kind] += 1
        target = out / f"{split}{DOMAINS[kind]}" / Path(name).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(listing.parent / name, target)
    print(f"{out}: {counts['mono']} monocrystalline cells (A), {counts['poly']} polycrystalline ones (B)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    prepare(parser.parse_args().out)
