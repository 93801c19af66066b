"""A static web site that runs a saved generator in the browser, by ONNX Runtime Web."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from gcc.artifacts.config import Artifact, Factory
from gcc.artifacts.model import read, single_generator
from gcc.deploy.export import export
from gcc.deploy.guide import Guide
from gcc.deploy.tiles import TILE
from gcc.errors import GccError, OutputError
from gcc.registry import RUNTIMES
from gcc.registry.runtime import Precision
from gcc.utils.files import explained, replacing_all, require_empty, write_text
from gcc.utils.templates import render
from gcc.utils.units import shape_text

ORT = "1.30.0"
"""The version of ONNX Runtime Web that the site was tested with."""
ORT_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
"""The builds for WebAssembly and for WebGPU, without source maps."""
GENERATOR = "generator.onnx"
SHOWN = (1, 3)
"""Numbers of channels that a browser reads and shows."""


def write_demo_site(
    student: str | Path,
    out: Path,
    ort_web: Path,
    *,
    precision: Precision = "fp32",
    calibration: Path | None = None,
    max_loss: float | None = None,
    report: Callable[[str], None],
    factory: Factory | None = None,
) -> None:
    """Write a folder that any web server can serve: drop a picture, or draw noise, and see the input and the output.

    Nothing is sent or fetched elsewhere. The page runs WebAssembly in one thread, which every server allows, or WebGPU.

    Args:
        student: folder of the saved generator.
        out: the new folder, or an empty one.
        ort_web: folder of the npm package onnxruntime-web.
        precision: as for `gcc.export`.
        calibration: as for `gcc.export`.
        max_loss: as for `gcc.export`.
        report: called with lines about the export.
        factory: returns the full generator, such as its class, if the generator is your own; see `gcc.load`.

    Raises:
        GccError: the generator cannot be read, exported or shown, the package is another version, or the folder cannot be written.
    """
    out = out.resolve()
    require_empty(out)
    if out == Path.cwd():
        raise OutputError(f"{out} is the current folder, which the site would replace: choose a folder inside it, such as {out / 'site'}")
    _require_package(ort_web)
    artifact = single_generator(read(Path(student), factory=factory))
    _require_shown(artifact)
    with replacing_all([out]) as folder, tempfile.TemporaryDirectory() as exported:
        written = export(
            student,
            Path(exported) / GENERATOR,
            precision=precision,
            calibration=calibration,
            max_loss=max_loss,
            report=report,
            factory=factory,
        )
        if written.loss:
            report(f"{precision}: {written.loss}")
        page = _page(artifact, Guide(artifact, written.inputs, RUNTIMES.load("onnxruntime")()))
        with explained(out):
            site = folder / out.name
            (site / "ort").mkdir(parents=True)
            shutil.copyfile(written.path, site / GENERATOR)
            write_text(site / "index.html", page)
            for script in ("page.js", "worker.js"):
                write_text(site / script, (files("gcc.deploy") / "templates" / "demo" / script).read_text())
            for name in ORT_FILES:
                shutil.copyfile(ort_web / "dist" / name, site / "ort" / name)
        # The export took its time.
        require_empty(out)


def _require_package(folder: Path) -> None:
    """Refuse a folder that does not hold the version of ONNX Runtime Web that the site was tested with."""
    remedy = (
        f"get it with `npm pack onnxruntime-web@{ORT}`, unpack it, and give the folder that it contains as `ort_web`; without it, "
        "`gcc demo` looks in ./package"
    )
    try:
        found = json.loads((folder / "package.json").read_text())
        name, number = found["name"], found["version"]
    except (OSError, ValueError, KeyError, TypeError):
        raise GccError(f"{folder} does not hold the npm package onnxruntime-web: {remedy}") from None
    missing = [file for file in ORT_FILES if not (folder / "dist" / file).is_file()]
    if (name, number) != ("onnxruntime-web", ORT) or missing:
        lacks = f", without {', '.join(missing)}" if missing else ""
        raise GccError(f"{folder} holds {name} {number}{lacks}: expected onnxruntime-web {ORT}; {remedy}")


def _require_shown(artifact: Artifact) -> None:
    """Refuse generators whose inputs or outputs a browser does not show."""
    shape, channels = tuple(artifact.example_input().shape[1:]), artifact.output_channels
    if channels not in SHOWN or (len(shape) != 1 if artifact.architecture.takes_noise else shape[0] not in SHOWN):
        sizes = f"inputs {shape_text(shape)} and {channels} output channels"
        raise GccError(f"a browser shows grey and RGB images, and draws noise vectors: this generator has {sizes}")


def _page(artifact: Artifact, guide: Guide) -> str:
    values = {"title": f"{artifact.arch}: {artifact.role} {artifact.generator}", "version": version("gan-gcc"), "ort": ORT}
    facts = {title: text.replace("`", "") for title, text in guide.facts().items()}
    return render("gcc.deploy", "demo/index.html.j2", config=_config(artifact, guide), facts=facts, **values)


def _config(artifact: Artifact, guide: Guide) -> dict[str, Any]:
    """Return what the page knows about the generator."""
    shape, takes_noise = guide.inputs.shape, guide.takes_noise
    height, width = (0, 0) if takes_noise else guide.size
    return {
        "length": shape[0] if takes_noise else 0,
        "channels": shape[0],
        "multiple": guide.multiple if not takes_noise else None,
        "height": height,
        "width": width,
        "radius": artifact.architecture.receptive_field_radius,
        "tile": TILE,
        "pairs": [] if takes_noise else guide.pair_sizes,
        "side": guide.halves.side,
    }
