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

SAID = "text => (document.querySelector('#status p')?.innerText ?? '').includes(text)"
AFTER = "old => { const seen = [...document.querySelectorAll('#result img')]; return seen[1] && seen[1].src != old }"


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
        self.tab = self.context.new_page()
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.on("pageerror", lambda error: self.crashes.append(str(error)))

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
        self.tab.locator("#consent input").check()
        self.told("found")
        return self

    def give(self, photo, where="#photo"):
        self.tab.locator(f"{where} input[type=file]").first.set_input_files(photo)

    def button(self, name, within="body"):
        return self.tab.locator(within).get_by_role("button", name=name, exact=True)

    def told(self, words):
        """The sentence in the status line, once it has these words."""
        self.tab.wait_for_function(SAID, arg=words)
        return self.tab.locator("#status p").inner_text()

    def edited(self, press):
        """Press something that leads to an edit; the report's rows by name, once the edit has another picture."""
        shown = self.tab.locator("#result img")
        old = shown.nth(1).get_attribute("src") if shown.count() == 2 else ""
        press()
        self.tab.wait_for_function(AFTER, arg=old)
        return self.report()

    def older(self):
        """Press the oldest age group, which asks for 75 years."""
        return self.edited(self.button("70+", "#age_groups").click)

    def report(self):
        """The rows of the table in the report: {name: [asked, before, after]}."""
        rows = self.tab.locator("#report tbody tr").all()
        cells = [row.locator("th, td").all_inner_texts() for row in rows]
        return {name: values for name, *values in cells}

    def addresses(self):
        """Where the pictures before and after come from."""
        return [image.get_attribute("src") for image in self.tab.locator("#result img").all()]

    def pictures(self):
        """The pictures before and after, int (H,W,3)."""
        return [pixels(self.context.request.get(address).body()) for address in self.addresses()]

    def downloaded(self, folder: Path) -> Path:
        """What the download button gives."""
        with self.tab.expect_download() as coming:
            self.button("Download at full size").click()
        coming.value.save_as(folder / coming.value.suggested_filename)
        return folder / coming.value.suggested_filename

    def slider(self, code):
        """Where the slider of an action unit stands."""
        return float(self.tab.locator(f"#{code} input[type=range]").input_value())

    def walk_to(self, where, steps=80):
        """Press Tab until what has the focus is within `where`."""
        inside = f"() => !!document.activeElement.closest({where!r})"
        for _ in range(steps):
            self.tab.keyboard.press("Tab")
            if self.tab.evaluate(inside):
                return
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
