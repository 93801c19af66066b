"""Folders of runs, written without training."""

import json

from PIL import Image

from gcc.artifacts.comparison import ROLES
from gcc.artifacts.config import Artifact
from gcc.recipe import changed
from gcc.registry import ARCHITECTURES
from tests.helpers.families import TINY

ENVIRONMENT = {"gan-gcc": "0.1.0", "torch": "2.9.0", "python": "3.11.7", "device": "cpu (x86_64)"}
COSTS = {"resolution": "1x3x32x32", "latency_p90_ms": 2.0, "latency_on": "cpu, 1 thread"}
TEACHER = COSTS | {"exact_macs": 1_000_000, "paper_macs": 2_000_000, "parameters": 300_000, "latency_ms": 1.5}
STUDENT = COSTS | {"exact_macs": 390_000, "paper_macs": 800_000, "parameters": 60_000, "latency_ms": 0.75}
PSNR = {"protocols": {"psnr": "40 images, 32x32 pixels"}, "epoch": 2}
MEASUREMENTS = {
    "teacher": TEACHER | {"metrics": {"psnr": 19.25}} | PSNR,
    "student": STUDENT | {"metrics": {"psnr": 18.5}} | PSNR,
    "student (last)": STUDENT | {"metrics": {"psnr": 18.25}} | PSNR | {"epoch": 3},
}
INFO = {"started": "2026-11-27T01:47:01+00:00", "finished": "2026-11-27T03:50:05+00:00", "seconds": 7384.0, "machine": "Some CPU, 2 CPUs"}
STEPS = 400


def full_run(folder, arch="pix2pix"):
    """Write the folder of a finished compression, with everything that a run can write."""
    begun_run(folder, arch)
    for step in range(1, STEPS + 1):
        append(folder, {"phase": "train", "epoch": 1 + step // 150, "step": step, **losses(arch, step)})
    for epoch, value in enumerate((17.0, 18.0, 18.5), start=1):
        generators = ARCHITECTURES.load(arch).generators
        metrics = {f"val/{role}/{name}/psnr": value for role in ROLES for name in generators}
        append(folder, {"phase": "train", "epoch": epoch, "step": 130 * epoch, **metrics})
    for epoch in range(1, 11):
        grid(folder / "samples" / f"train_epoch_{epoch:04d}.png", epoch)
    for role in ROLES:
        save_generators(folder, role, arch)
    (folder / "run.json").write_text(json.dumps(INFO))
    (folder / "command.json").write_text(json.dumps({"command": "compress", "line": f"gcc compress --arch {arch}", "options": {}}))
    return folder


def begun_run(folder, arch="pix2pix"):
    """Write the folder of a run that has begun its first phase."""
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(architecture(arch).recipe.to_toml(arch))
    for step in range(1, 6):
        append(folder, {"phase": "search", "epoch": 1, "step": step, "teacher/G": 1 / step, "teacher/D_real": 0.5, "teacher/D_fake": 0.5})
    return folder


def architecture(arch):
    family = ARCHITECTURES.load(arch)
    return family(changed(family.published(), TINY[arch] | {"mac_counter": "exact"}))


def losses(arch, step):
    values = {f"{role}/{term}": 1 / step for role in ROLES for term in ("G", "D_real", "D_fake", "own_loss")}
    values |= {"student/distill_G": 2.0, "student/distill_D": 1.0, "student/arch": 0.5 + 0.001 * step}
    for name in ARCHITECTURES.load(arch).discriminators:
        values |= {f"{role}/imbalance/{name}": 0.4 + 0.1 * (step % 3) for role in ROLES}
        values |= {f"target/{name}": 0.45} | {f"active/{name}.conv{layer}.2": 1 - 0.2 * layer * step / STEPS for layer in range(1, 5)}
    return values


def append(folder, line):
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def grid(path, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (404, 300), (200, 20 * shade, 90)).save(path)


def save_generators(folder, role, arch, measurements=MEASUREMENTS):
    family = architecture(arch)
    full = family.full_widths(family.recipe.prune_width)
    widths = {name: max(1, channels // 2) for name, channels in full.items()} if role == "student" else full
    for name in family.generators:
        path = folder / role / name if len(family.generators) > 1 else folder / role
        grid(path / "samples.png")
        artifact = Artifact(path, role, arch, name, family.recipe, widths, measurements, ENVIRONMENT)
        (path / "config.json").write_text(artifact.to_json())
