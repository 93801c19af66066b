"""The page in a browser, Debian's Chromium, at the widths of a desktop and a phone."""

import json
import re
import shutil
import subprocess

import pytest
from markupsafe import escape

from gcc.report.html import POLICY, report
from tests.helpers.run_folders import full_run

PROBE = """<script>addEventListener("load", () => {
  const root = document.documentElement;
  const drawn = [...document.querySelectorAll("svg text")];
  const letters = text => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a;
  const leaves = [...document.querySelectorAll("body *")].filter(it => !it.closest("svg") && it.textContent.trim() && !it.children.length);
  const measured = {
    width: innerWidth,
    scrolled: root.scrollWidth,
    images: [...document.images].map(image => [image.complete, image.naturalWidth, image.getBoundingClientRect().width]),
    drawings: [...document.querySelectorAll("svg")].map(drawing => drawing.getBoundingClientRect().width),
    smallest_drawn: Math.min(...drawn.map(letters)),
    smallest_text: Math.min(...leaves.map(leaf => parseFloat(getComputedStyle(leaf).fontSize))),
    cut: [...document.querySelectorAll("body *")].filter(it => !it.closest("svg") && it.scrollWidth > it.clientWidth + 1 && it.clientWidth)
      .map(it => `${it.tagName}.${it.className} ${it.scrollWidth} > ${it.clientWidth}`),
    enlarged: (() => {
      const image = document.images[1];
      image.click();
      const box = image.getBoundingClientRect();
      image.click();
      return [box.left, box.top, box.width, image.getBoundingClientRect().width];
    })(),
    right: Math.max(...drawn.map(text => text.getBoundingClientRect().right)),
    left: Math.min(...drawn.map(text => text.getBoundingClientRect().left)),
    strokes: [...new Set([...document.querySelectorAll("svg path")].map(path => getComputedStyle(path).stroke))],
    columns: [...document.querySelectorAll("main .runs > div:nth-child(2)")].map(it => it.offsetLeft > it.parentElement.offsetLeft),
  };
  parent.postMessage(JSON.stringify(measured), "*");
});</script>"""
# A window cannot be as narrow as a phone; a frame in it can.
FRAME = """<!doctype html><body style="margin: 0"><script>addEventListener("message", message => {{
  const shown = document.createElement("pre");
  shown.id = "probe";
  shown.textContent = message.data;
  document.body.append(shown);
}});</script><iframe src="{page}" style="border: 0; width: {width}px; height: 900px"></iframe>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of one complete run and the page of two runs, each with a script that measures it, which its policy has to allow."""
    folder = tmp_path_factory.mktemp("pages")
    runs = [full_run(folder / "horses", "cyclegan"), full_run(folder / ("street" * 12))]
    for name, text in (("one", report(runs[:1])), ("two", report(runs))):
        allowed = text.replace(escape(POLICY), f"{POLICY}; script-src 'unsafe-inline'")
        assert allowed != text
        (folder / f"{name}.html").write_text(allowed.replace("</body>", f"{PROBE}</body>"))
    return folder


def measure(page, width, folder):
    """Return the measurements of a page at a width, and the messages on the browser's console."""
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(page=page.as_uri(), width=width))
    browser = shutil.which("chromium")
    if browser is None:
        pytest.fail("this test needs a browser, and there is no `chromium` on PATH: apt-get install chromium")
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--enable-logging=stderr",
        "--virtual-time-budget=3000",
    ]
    options += [f"--user-data-dir={folder / 'profile'}", "--window-size=1300,900", "--dump-dom"]
    done = subprocess.run([browser, *options, frame.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    (measured,) = re.findall(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(measured), re.findall(r".*CONSOLE.*", done.stderr)


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_is_readable(pages, tmp_path, name, width):
    measured, messages = measure(pages / f"{name}.html", width, tmp_path)
    assert messages == []
    assert measured["width"] == width and measured["scrolled"] <= width
    assert measured["images"] and all(complete and natural and 60 < shown <= width for complete, natural, shown in measured["images"])
    assert measured["drawings"] and all(200 < drawing <= width for drawing in measured["drawings"])
    if width == 390:
        assert measured["cut"] == []
    left, top, enlarged, shown = measured["enlarged"]
    assert (left, top, enlarged) == (0, 0, width) and shown < width
    assert measured["smallest_drawn"] >= 9 and measured["smallest_text"] >= 12
    assert 0 <= measured["left"] and measured["right"] <= width
    # Teacher, student, target, the layers and the lines: the drawings have the page's colours.
    assert len(measured["strokes"]) >= 8
    assert measured["columns"] == ([width > 600] * len(measured["columns"]) if name == "two" else [])
