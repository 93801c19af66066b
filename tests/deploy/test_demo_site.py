"""The site runs the generator in a browser, Debian's Chromium, and shows what `gcc translate` writes."""

import base64
import io
import json
import os
import queue
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from gcc.cli import main
from gcc.deploy.demo_site import ORT, ORT_FILES, write_demo_site
from gcc.deploy.export import export
from gcc.deploy.translate import translate
from gcc.errors import GccError, OutputError
from gcc.utils.files import FOLDER_MODE
from tests.deploy.test_generate import write

SECONDS = 100
PROBE = """<!doctype html><link rel="icon" href="data:,"><body style="margin: 0"><iframe src="index.html?{query}" style="border: 0;
  width: 390px; height: 900px"></iframe><script>
const frame = document.querySelector("iframe");
const until = holds => new Promise(resolve => {{
  const timer = setInterval(() => holds(frame.contentDocument) && (clearInterval(timer), resolve()), 50);
}});
const done = page => Number(page?.body?.dataset.done ?? 0);
const failed = page => /^(This|The generator cannot)/.test(page?.getElementById("status")?.textContent ?? "");
const element = id => frame.contentDocument.getElementById(id);
until(page => done(page) || failed(page)).then(async () => {{
  {action}
  const page = frame.contentDocument;
  const canvas = page.getElementById("output").getBoundingClientRect();
  const split = page.getElementById("split");
  split.value = 25;
  split.dispatchEvent(new Event("input"));
  const texts = [...page.querySelectorAll("p, td, h1, button")].filter(it => it.offsetParent);
  fetch("/result", {{ method: "POST", body: JSON.stringify({{
    status: element("status").textContent,
    hidden: ["view", "save", "split"].filter(id => element(id).hidden),
    note: element("note").offsetParent ? element("note").textContent : "",
    webgpu: element("webgpu").checked,
    done: done(page),
    image: page.getElementById("save").href,
    scrolled: page.documentElement.scrollWidth,
    shown: canvas.width,
    clip: getComputedStyle(page.getElementById("input")).clipPath,
    smallest: Math.min(...texts.map(it => parseFloat(getComputedStyle(it).fontSize))),
  }}) }});
}});</script>"""

TICK = """const first = element("save").href;
  element("webgpu").click();
  await until(page => done(page) > 1 || failed(page));
  if (element("save").href !== first) element("note").textContent = "another image";"""


@pytest.fixture(scope="session")
def ort_web(tmp_path_factory):
    """The npm package, in the folder that ORT_WEB names or fresh from the registry."""
    if "ORT_WEB" in os.environ:
        return Path(os.environ["ORT_WEB"])
    if shutil.which("npm") is None:
        pytest.fail("this test needs npm, or a folder of the npm package onnxruntime-web in the environment variable ORT_WEB")
    folder = tmp_path_factory.mktemp("npm")
    subprocess.run(["npm", "pack", f"onnxruntime-web@{ORT}"], cwd=folder, check=True, capture_output=True)
    (archive,) = folder.glob("*.tgz")
    shutil.unpack_archive(archive, folder, filter="data")
    return folder / "package"


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder as `python -m http.server` does, and takes the result of the probe."""

    def __init__(self, *settings, results, **named):
        self.results = results
        super().__init__(*settings, **named)

    def do_POST(self):
        self.results.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *message):
        pass


NO_GPU = ("--disable-gpu",)
SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")


def visit(site, query, profile, action="", gpu=NO_GPU):
    """Open a site in a browser, in a frame as narrow as a phone, and return what its page shows and what its console has.

    `action` is JavaScript that is done after the first image or error, and `gpu` the browser's options for its graphics.
    """
    browser = shutil.which("chromium")
    if browser is None:
        pytest.fail("this test needs a browser, and there is no `chromium` on PATH: apt-get install chromium")
    (site / "probe.html").write_text(PROBE.format(query=query, action=action))
    results = queue.Queue()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=site, results=results))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = ["--headless=new", "--no-sandbox", *gpu, "--enable-logging=stderr", f"--user-data-dir={profile}"]
    address = f"http://127.0.0.1:{server.server_port}/probe.html"
    with (profile.parent / "console.txt").open("wb") as log:
        running = subprocess.Popen([browser, *options, address], stdout=log, stderr=log)
        try:
            result = results.get(timeout=SECONDS)
        finally:
            running.terminate()
            running.wait()
            server.shutdown()
            server.server_close()
    console = (profile.parent / "console.txt").read_text(errors="replace")
    return result, [line for line in console.splitlines() if "CONSOLE" in line]


def image_of(result):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(result["image"].partition(",")[2]))).convert("RGB"), np.int64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "size", "note"),
    [
        # Fewer pixels than a tile, more than one, a size that is padded, and both halves of a training pair.
        ("srgan", (45, 39), "180x156 in"),
        ("srgan", (530, 20), "2 tiles"),
        ("cyclegan", (46, 39), "46x39 in"),
        ("pix2pix", (64, 32), "the left half"),
    ],
)
def test_the_page_shows_what_translate_writes(ort_web, tmp_path, arch, size, note):
    write(arch, tmp_path / "student", **({"cost_size": 32} if arch == "srgan" else {}))
    site = tmp_path / "site"
    command = ["demo", str(tmp_path / "student"), "--out", str(site), "--ort-web", str(ort_web)]
    lacking = CliRunner().invoke(main, command[:-2])
    assert "package does not hold the npm package onnxruntime-web: get it with `npm pack onnxruntime-web@" in lacking.stderr
    assert "give the folder that it contains as --ort-web; without it, `gcc demo` looks in ./package" in lacking.stderr
    assert CliRunner().invoke(main, command, catch_exceptions=False).exit_code == 0
    Image.effect_noise(size, 90).convert("RGB").save(site / "photo.png")
    result, console = visit(site, "image=photo.png", tmp_path / "profile")
    assert console == [] and note in result["status"] and " ms" in result["status"]
    (expected,) = translate(tmp_path / "student", site / "photo.png", tmp_path / "expected.png", size=None, device="cpu")
    difference = image_of(result) - np.asarray(Image.open(expected).convert("RGB"), np.int64)
    assert abs(difference).max() <= 1
    assert result["scrolled"] <= 390 and 300 < result["shown"] <= 390 and "75%" in result["clip"] and result["smallest"] >= 14


@pytest.mark.slow
def test_noise_becomes_an_image(ort_web, tmp_path):
    write("sagan", tmp_path / "student")
    write_demo_site(tmp_path / "student", tmp_path / "site", ort_web, report=print)
    result, console = visit(tmp_path / "site", "generate", tmp_path / "profile")
    assert console == [] and result["status"].startswith("32x32 in ")
    assert image_of(result).std() > 0


@pytest.mark.slow
def test_a_picture_that_cannot_be_read_is_reported(ort_web, tmp_path):
    write("cyclegan", tmp_path / "student")
    write_demo_site(tmp_path / "student", tmp_path / "site", ort_web, report=print)
    (tmp_path / "site" / "photo.png").write_bytes(b"no image")
    result, _ = visit(tmp_path / "site", "image=photo.png", tmp_path / "profile")
    assert result["status"].startswith("This does not work: ")


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "query"), [("cyclegan", "image=photo.png"), ("sagan", "generate")])
def test_without_a_gpu_webassembly_shows_the_same_again(ort_web, tmp_path, arch, query):
    write(arch, tmp_path / "student")
    write_demo_site(tmp_path / "student", tmp_path / "site", ort_web, report=print)
    Image.effect_noise((40, 40), 90).convert("RGB").save(tmp_path / "site" / "photo.png")
    before, _ = visit(tmp_path / "site", query, tmp_path / "profile")
    assert (before["done"], before["note"]) == (1, "")
    result, _ = visit(tmp_path / "site", query, tmp_path / "profile", TICK)
    assert result["done"] == 2 and result["webgpu"] is False and result["hidden"] == (["split"] if arch == "sagan" else [])
    assert result["note"].startswith("WebGPU does not work in this browser, so the generator runs in WebAssembly: ")


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["pix2pix", "cyclegan", "srgan"])
def test_webgpu_shows_what_translate_writes(ort_web, tmp_path, arch):
    write(arch, tmp_path / "student", **({"cost_size": 32} if arch == "srgan" else {}))
    write_demo_site(tmp_path / "student", tmp_path / "site", ort_web, report=print)
    photo = tmp_path / "site" / "photo.png"
    Image.effect_noise((46, 39), 90).convert("RGB").save(photo)
    tick = 'element("webgpu").click(); await until(page => done(page) > 1 || failed(page));'
    result, _ = visit(tmp_path / "site", "image=photo.png", tmp_path / "profile", tick, SOFTWARE_GPU)
    assert (result["done"], result["webgpu"], result["note"]) == (2, True, "")
    (expected,) = translate(tmp_path / "student", photo, tmp_path / "expected.png", size=None, device="cpu")
    difference = image_of(result) - np.asarray(Image.open(expected).convert("RGB"), np.int64)
    assert abs(difference).max() <= 1


@pytest.mark.slow
def test_if_webgpu_fails_on_a_picture_webassembly_translates_it(ort_web, tmp_path):
    write("cyclegan", tmp_path / "student")
    write_demo_site(tmp_path / "student", tmp_path / "site", ort_web, report=print)
    Image.effect_noise((40, 40), 90).convert("RGB").save(tmp_path / "site" / "photo.png")
    loads_and_fails = """export const env = { wasm: {} };
      export class Tensor {}
      export const InferenceSession = { create: async () => ({ run: async () => { throw new Error("out of memory"); } }) };"""
    (tmp_path / "site/ort/ort.webgpu.min.mjs").write_text(loads_and_fails)
    result, _ = visit(tmp_path / "site", "image=photo.png", tmp_path / "profile", TICK)
    assert result["done"] == 2 and result["webgpu"] is False and result["hidden"] == []
    assert result["note"].endswith("so the generator runs in WebAssembly: out of memory")


@pytest.mark.slow
def test_a_change_of_the_build_interrupts_what_is_loading(ort_web, tmp_path):
    write("cyclegan", tmp_path / "student")
    write_demo_site(tmp_path / "student", tmp_path / "site", ort_web, report=print)
    Image.effect_noise((40, 40), 90).convert("RGB").save(tmp_path / "site" / "photo.png")
    twice = 'element("webgpu").click(); element("webgpu").click(); await until(page => done(page) > 1);'
    result, _ = visit(tmp_path / "site", "image=photo.png", tmp_path / "profile", twice)
    assert result["done"] == 2 and result["webgpu"] is False and result["note"] == "" and result["status"].startswith("40x40 in ")


@pytest.mark.slow
def test_no_image_stays_beside_an_error(ort_web, tmp_path):
    write("cyclegan", tmp_path / "student")
    write_demo_site(tmp_path / "student", tmp_path / "site", ort_web, report=print)
    Image.effect_noise((40, 40), 90).convert("RGB").save(tmp_path / "site" / "photo.png")
    choose = """const transfer = new DataTransfer();
      transfer.items.add(new File(["no image"], "bad.png"));
      element("file").files = transfer.files;
      element("file").dispatchEvent(new Event("change"));
      await until(failed);"""
    result, _ = visit(tmp_path / "site", "image=photo.png", tmp_path / "profile", choose)
    assert result["status"].startswith("This does not work: ") and result["hidden"] == ["view", "save", "split"]


def package(folder, version=ORT, files=ORT_FILES):
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": "onnxruntime-web", "version": version}))
    for name in files:
        (folder / "dist" / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (
            None,
            "does not hold the npm package onnxruntime-web: get it with `npm pack .*; without it, `gcc demo` looks in ./package",
        ),
        ({"version": "1.2.0"}, f"holds onnxruntime-web 1.2.0: expected onnxruntime-web {ORT}"),
        ({"files": ORT_FILES[1:]}, "without ort.wasm.min.mjs"),
    ],
)
def test_other_packages_are_refused(tmp_path, contents, message):
    folder = tmp_path / "package" if contents is None else package(tmp_path / "package", **contents)
    with pytest.raises(GccError, match=message):
        write_demo_site(tmp_path / "student", tmp_path / "site", folder, report=print)
    assert not (tmp_path / "site").exists()


def test_a_folder_with_files_is_refused(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "own.html").write_text("")
    with pytest.raises(OutputError, match="is not empty"):
        write_demo_site(tmp_path / "student", tmp_path / "site", package(tmp_path / "package"), report=print)


def test_the_current_folder_is_not_replaced(tmp_path, monkeypatch):
    npm = package(tmp_path / "package")
    (tmp_path / "site").mkdir()
    monkeypatch.chdir(tmp_path / "site")
    with pytest.raises(OutputError, match="is the current folder"):
        write_demo_site(tmp_path / "student", Path(), npm, report=print)


@pytest.mark.slow
def test_what_appears_in_the_folder_during_the_export_stays(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    write("cyclegan", tmp_path / "student")
    site = tmp_path / "sites" / "site"
    site.mkdir(parents=True)

    def slow_export(*args, **kwargs):
        (site / "CNAME").write_text("example.org")
        return export(*args, **kwargs)

    monkeypatch.setattr("gcc.deploy.demo_site.export", slow_export)
    with pytest.raises(OutputError, match="is not empty"):
        write_demo_site(tmp_path / "student", site, package(tmp_path / "package"), report=print)
    assert [path.name for path in site.iterdir()] == ["CNAME"] and [*site.parent.iterdir()] == [site]


def test_images_that_a_browser_cannot_show_are_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    write("pix2pix", tmp_path / "student", input_nc=4)
    with pytest.raises(GccError, match="this generator has inputs 4x32x32 and 3 output channels"):
        write_demo_site(tmp_path / "student", tmp_path / "site", package(tmp_path / "package"), report=print)
    assert not list(tmp_path.glob("*site*"))


@pytest.mark.slow
def test_a_file_of_the_package_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    write("cyclegan", tmp_path / "student")
    npm = package(tmp_path / "npm" / "package")

    def copyfile(source, target):
        if Path(source).is_relative_to(npm):
            raise PermissionError(13, "Permission denied", str(source))

    monkeypatch.setattr("gcc.deploy.demo_site.shutil.copyfile", copyfile)
    (tmp_path / "sites").mkdir()
    with pytest.raises(OutputError, match=rf"site: Permission denied: {npm}/dist/ort\.wasm\.min\.mjs; check this file's permissions"):
        write_demo_site(tmp_path / "student", tmp_path / "sites" / "site", npm, report=print)
    assert not list((tmp_path / "sites").iterdir())


def test_an_error_of_the_export_is_its_own(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    write("cyclegan", tmp_path / "student")

    def export(*settings, **named):
        raise FileNotFoundError(2, "No such file or directory", "program")

    monkeypatch.setattr("gcc.deploy.demo_site.export", export)
    with pytest.raises(FileNotFoundError, match="program"):
        write_demo_site(tmp_path / "student", tmp_path / "site", package(tmp_path / "package"), report=print)


@pytest.mark.slow
def test_the_site_replaces_an_empty_folder_and_anyone_may_read_it(tmp_path):
    pytest.importorskip("onnxruntime")
    write("cyclegan", tmp_path / "student")
    site = tmp_path / "site"
    site.mkdir(mode=0o700)
    write_demo_site(tmp_path / "student", site, package(tmp_path / "package"), report=print)
    assert {path.name for path in site.iterdir()} == {"generator.onnx", "index.html", "page.js", "worker.js", "ort"}
    assert {path.name for path in (site / "ort").iterdir()} == set(ORT_FILES) and site.stat().st_mode & 0o777 == FOLDER_MODE
