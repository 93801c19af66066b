"""The page as a browser shows it: Debian's Chromium, on a desktop's and a phone's width."""

import json
import re
import shutil
import subprocess

import pytest

from gcc.report.html import POLICY, report
from tests.helpers.run_folders import full_run

PROBE = """<script>addEventListener("load", () => {
  const root = document.documentElement;
  const drawn = [...document.querySelectorAll("svg text")];
  const letters = text => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a;
  const leaves = [...document.querySelectorAll("body *")].filter(it => !it.closest("svg") && it.textContent.trim() && !it.children.length);
  const told = {
    width: innerWidth,
    scrolled: root.scrollWidth,
    images: [...document.images].map(image => [image.complete, image.naturalWidth, image.getBoundingClientRect().width]),
    drawings: [...document.querySelectorAll("svg")].map(drawing => drawing.getBoundingClientRect().width),
    smallest_drawn: Math.min(...drawn.map(letters)),
    smallest_text: Math.min(...leaves.map(leaf => parseFloat(getComputedStyle(leaf).fontSize))),
    right: Math.max(...drawn.map(text => text.getBoundingClientRect().right)),
    left: Math.min(...drawn.map(text => text.getBoundingClientRect().left)),
    strokes: [...new Set([...document.querySelectorAll("svg path")].map(path => getComputedStyle(path).stroke))],
    columns: [...document.querySelectorAll("main .runs > div:nth-child(2)")].map(it => it.offsetLeft > it.parentElement.offsetLeft),
  };
  parent.postMessage(JSON.stringify(told), "*");
});</script>"""
# A window has a least width, which is a phone's no more; a frame in it has not.
FRAME = """<!doctype html><body style="margin: 0"><script>addEventListener("message", message => {{
  const shown = document.createElement("pre");
  shown.id = "probe";
  shown.textContent = message.data;
  document.body.append(shown);
}});</script><iframe src="{page}" style="border: 0; width: {width}px; height: 900px"></iframe>"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of one run with everything, and that of two runs; each with a script that looks at it, which its policy has to let in."""
    folder = tmp_path_factory.mktemp("pages")
    runs = [full_run(folder / "horses", "cyclegan"), full_run(folder / ("street" * 12))]
    for name, text in (("one", report(runs[:1])), ("two", report(runs))):
        let_in = text.replace(POLICY.replace("'", "&#x27;"), f"{POLICY}; script-src 'unsafe-inline'")
        assert let_in != text
        (folder / f"{name}.html").write_text(let_in.replace("</body>", f"{PROBE}</body>"))
    return folder


def looked_at(page, width, folder):
    """Return what the browser tells of a page at a width, and what it complains of."""
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(page=page.as_uri(), width=width))
    browser = shutil.which("chromium")
    if browser is None:
        pytest.fail("the report is looked at in a browser, and there is no `chromium` on PATH: apt-get install chromium")
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
    (told,) = re.findall(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(told), re.findall(r".*CONSOLE.*", done.stderr)


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_is_readable(pages, tmp_path, name, width):
    told, complaints = looked_at(pages / f"{name}.html", width, tmp_path)
    assert complaints == []
    assert told["width"] == width and told["scrolled"] <= width
    assert told["images"] and all(complete and natural and 60 < shown <= width for complete, natural, shown in told["images"])
    assert told["drawings"] and all(200 < drawing <= width for drawing in told["drawings"])
    assert told["smallest_drawn"] >= 9 and told["smallest_text"] >= 12
    assert 0 <= told["left"] and told["right"] <= width
    # Teacher, student, target, the layers and the lines: the page's colours have reached the drawings.
    assert len(told["strokes"]) >= 8
    assert told["columns"] == ([width > 600] * len(told["columns"]) if name == "two" else [])
