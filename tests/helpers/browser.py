"""Visitors of the page in a real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import io
import re
import shutil
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NO_CHROMIUM = "no chromium was found; on Debian or Ubuntu, as root: apt-get install chromium"
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
PATIENCE = 90_000
"""Milliseconds until a step that does not come is given up; a step is waited for, never slept for."""

NAMES = "window.gradio_config.dependencies.map(one => [one.id, one.api_name])"
SAID = "text => (document.querySelector('#status p')?.innerText ?? '').includes(text)"
AFTER = """old => {
  const after = document.querySelector('#result img.after:not([hidden])'), sketch = document.querySelector('.sketch');
  return after?.src && !after.src.startsWith('data:') && after.src != old && sketch.hidden
    && document.querySelector('#result .stage').dataset.key;
}"""

FAINT = """() => {
  const parts = text => { const all = text.match(/[\\d.]+/g).map(Number); return all.length < 4 ? [...all, 1] : all; };
  const linear = v => v <= 10.3 ? v / 3295 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map(linear).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
  const found = [];
  for (const part of document.querySelectorAll('.gradio-container *')) {
    const own = [...part.childNodes].filter(n => n.nodeType === 3).map(n => n.data).join('').trim();
    const words = part.matches('input[type=number], input[type=text], textarea') ? part.value : own;
    if (!words || !part.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const box = part.getBoundingClientRect();
    if (box.width < 2 || box.height < 2 || part.closest('[disabled], .faces, :has(> :disabled)')) continue;
    const grounds = [];
    let up = part;
    for (; up; up = up.parentElement) {
      const ground = parts(getComputedStyle(up).backgroundColor);
      if (ground[3]) grounds.push(ground);
      if (ground[3] === 1) break;
    }
    const ground = grounds.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
    const style = getComputedStyle(part), text = over(parts(style.color), ground);
    const [dark, bright] = [light(text), light(ground)].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dark + 0.05), large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) found.push(`${words.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""
"""Texts whose contrast to what lies under them is below that of WCAG's level AA, with the contrast."""


NARROW = """() => [...document.querySelectorAll('button, input, a, summary, [role=tab]')].filter(part => {
  if (part.type === 'range' || part.disabled) return false;
  if (!part.checkVisibility({visibilityProperty: true, opacityProperty: true})) return false;
  const box = (part.matches('input') && part.closest('label') || part).getBoundingClientRect();
  return box.width > 1 && !part.closest('p') && (box.width < 23.5 || box.height < 23.5);
}).map(part => part.outerHTML.slice(0, 90))"""
"""What can be pressed and is smaller than the 24 pixels of WCAG 2.2 (links within a text may be, and sliders,
beside which a number says the same)."""

AXE = Path(__file__).resolve().parents[2] / "node_modules" / "axe-core" / "axe.min.js"
"""The accessibility checker, where `npm install --no-save axe-core` has brought it."""
VIOLATIONS = """async () => (await axe.run(document, {
  runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
})).violations.map(found => `${found.id}: ${found.nodes.map(node => node.html.slice(0, 90)).join('; ')}`)"""


class Gate:
    """A finder of faces that holds the jobs which come to it while it is shut."""

    def __init__(self, finder):
        self.finder, self.way, self.held = finder, threading.Event(), threading.Event()
        self.way.set()

    def __call__(self, photo):
        self.held.set()
        assert self.way.wait(PATIENCE / 1000)
        return self.finder(photo)

    def shut(self):
        self.held.clear()
        self.way.clear()


class Visitor:
    """One browser with its own memory. `outside`: requests to other hosts; `crashes`: errors of the page's scripts."""

    def __init__(self, browser, address, width=1280, height=900, **kind):
        self.context = browser.new_context(viewport={"width": width, "height": height}, **kind)
        self.context.set_default_timeout(PATIENCE)
        self.address, self.asked, self.crashes = address, [], []
        self.jobs, self.under_way = [], set()
        self.tab = self.context.new_page()
        self.tab.on("request", self._start)
        for end in ("requestfinished", "requestfailed"):
            self.tab.on(end, lambda request: self.under_way.discard(request))
        self.tab.on("pageerror", lambda error: self.crashes.append(str(error)))

    def _start(self, request):
        self.asked.append(request.url)
        if request.url.startswith(self.address) and re.search("/(queue|run)/", request.url):
            self.under_way.add(request)
        if "/queue/join" in request.url:
            self.jobs.append(request.post_data_json["fn_index"])

    @property
    def outside(self):
        return [url for url in self.asked if not url.startswith((self.address, "data:", "blob:"))]

    @property
    def joined(self):
        """The requests with which the page started jobs."""
        return [url for url in self.asked if "/queue/join" in url]

    def open(self):
        self.tab.goto(self.address)
        self.button("Edit").wait_for()
        self.tab.locator("#photo input[type=file]").first.wait_for(state="attached")
        self.tab.wait_for_function("document.querySelector('#status')?.getAttribute('role') == 'status'")
        return self

    def arrive(self, photo):
        """Open the page, give a photo, tick the box, and wait until the faces are found."""
        self.open().give(photo)
        self.told("Tick the box")
        self.rest().tab.locator("#consent input").check()
        self.told("found")
        self.tab.locator("#result img.before:not([hidden])").wait_for()
        return self.rest()

    def rest(self):
        """Wait until nothing is under way, and every look for faces was followed by what was asked of them. Requests
        are only heard of while the browser is asked for something."""
        names = dict(self.tab.evaluate(NAMES))
        end = time.monotonic() + PATIENCE / 1000
        while True:
            done = [re.sub(r"_\d+$", "", names[job]) for job in self.jobs]
            if not self.under_way and done.count("edit_new") >= done.count("look"):
                return self
            left = sorted(request.url for request in self.under_way)
            assert time.monotonic() < end, f"never at rest after {done}: {left}"
            self.tab.wait_for_timeout(20)

    def give(self, photo, where="#photo"):
        self.tab.locator(f"{where} input[type=file]").first.set_input_files(photo)

    def button(self, name, within="body"):
        return self.tab.locator(within).get_by_role("button", name=name, exact=True)

    def told(self, words):
        """The sentence in the status line, once it has these words."""
        self.tab.wait_for_function(SAID, arg=words)
        return self.tab.locator("#status p").inner_text()

    def edited(self, press):
        """Press something that leads to an edit; the report's rows by name, once the edit has another picture. What
        was asked before is waited for first."""
        return self.rest().changed(press)

    def changed(self, press):
        """The same, whatever is still under way."""
        shown = self.tab.locator("#result img.after:not([hidden])")
        old = shown.evaluate("image => image.src") if shown.count() else ""
        press()
        self.tab.wait_for_function(AFTER, arg=old)
        return self.report()

    def older(self):
        """Press the oldest age group, which asks for 75 years."""
        return self.edited(self.button("70+", "#age_groups").click)

    def report(self):
        """The rows of the table in the report: {name: [asked, before, after]}."""
        rows = self.tab.locator("#report tbody tr").all()
        cells = [row.locator("th, td").all_text_contents() for row in rows]
        return {name: values for name, *values in cells}

    def addresses(self):
        """Where the pictures before and after come from."""
        seen = self.tab.locator("#result img:not([hidden])").all()
        return [image.evaluate("image => image.src") for image in seen]

    def pictures(self):
        """The pictures before and after, int (H,W,3)."""
        return [pixels(self.context.request.get(address).body()) for address in self.addresses()]

    def downloaded(self, folder: Path) -> Path:
        """What the download button gives."""
        with self.tab.expect_download() as coming:
            self.button("Download", "#saving").click()
        coming.value.save_as(folder / coming.value.suggested_filename)
        return folder / coming.value.suggested_filename

    def editor(self, name, fold=None):
        """Open the tab of an editor, and unfold a group in it."""
        self.tab.locator("#editors").get_by_role("tab", name=name, exact=True).click()
        if fold:
            self.tab.get_by_role("button", name=fold).click()
        return self

    def slider(self, code):
        """Where the slider of an action unit of the mouth stands."""
        self.editor("Expression")
        return float(self.tab.locator(f"#{code} input[type=range]").input_value())

    def walk_to(self, where, steps=80):
        """Press Tab until what has the focus is within `where`; how often that was."""
        inside = f"() => !!document.activeElement.closest({where!r})"
        for step in range(steps):
            self.tab.keyboard.press("Tab")
            if self.tab.evaluate(inside):
                return step + 1
        raise AssertionError(f"{where} is not reached with the Tab key")

    def is_given(self, address):
        """Does the server give this file? An answer breaks off when the file is deleted just then."""
        from playwright.sync_api import Error

        try:
            return self.context.request.get(address).ok
        except Error:
            return False

    def leave(self):
        self.context.close()


def until(true) -> None:
    """Wait for what the server does on its own, such as to notice that somebody left."""
    end = time.monotonic() + PATIENCE / 1000
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def pixels(file) -> np.ndarray:
    """A picture's bytes or path as int (H,W,3)."""
    return np.asarray(Image.open(io.BytesIO(file) if isinstance(file, bytes) else file).convert("RGB"), int)


def folder_of(address: str) -> str:
    """The folder on the server that a picture's address names."""
    return re.fullmatch(r".*/file=(/.+)/[^/]+", address)[1]
