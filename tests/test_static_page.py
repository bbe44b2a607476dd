"""The static page in a real browser: the pixels of the same graphs in Python, and no word to another host."""

import functools
import http.server
import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganime_age.cli import main as cli
from ganime_age.cli import static_space
from ganime_age.errors import BadInput, MissingModel
from ganime_age.images import search
from ganime_age.onnx import manifest
from helpers.browser import CHROMIUM, NO_CHROMIUM, PATIENCE

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
ROOT = Path(__file__).parent.parent
RUNTIME = Path(os.environ.get("ONNXRUNTIME_WEB", ROOT / "node_modules" / "onnxruntime-web"))
NO_RUNTIME = f"no onnxruntime-web: npm install {static_space.RUNTIME}, or name its folder in ONNXRUNTIME_WEB"


def test_the_page_looks_for_faces_with_the_packages_numbers():
    text = (Path(static_space.__file__).parents[1] / "space" / "web" / "editor.js").read_text()
    names, values = re.search(r"const \[(ANCHOR[^\]]*)\] = \[([^\]]*)\]", text).groups()
    page = dict(zip(names.split(", "), map(float, values.split(", ")), strict=True))
    assert page["THRESHOLD"] == search.THRESHOLD and page["DOUBTFUL"] == search.DOUBTFUL
    assert page["HOPE"] == search.LEAST_HOPE and page["CANDIDATES"] == search.MOST_CANDIDATES
    assert f"const FORMAT = {manifest.FORMAT};" in text


def test_checks_fetch_the_runtime_that_the_page_is_built_with():
    assert f" {static_space.RUNTIME} " in (ROOT / ".ci" / "run").read_text()


class Files(http.server.SimpleHTTPRequestHandler):
    """Files, with the types that modules need."""

    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, *said):
        pass


@pytest.fixture
def site(model, tmp_path, monkeypatch):
    """The address of the page, and its folder."""
    if not RUNTIME.is_dir():
        pytest.skip(NO_RUNTIME)
    monkeypatch.setattr(static_space, "SIDES", (256,))
    static_space.build(model, tmp_path / "site", RUNTIME)
    handler = functools.partial(Files, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", tmp_path / "site"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
def test_a_visitor_edits_a_photo_that_stays_in_the_browser(site, portrait_file, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    from ganime_age import verify
    from ganime_age.onnx import OnnxEditor

    address, folder = site
    asked, crashes = [], []

    def said(page, text):
        page.wait_for_function(
            "text => document.querySelector('#status').textContent.includes(text)", arg=text, timeout=PATIENCE
        )

    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append((request.method, request.url)))
        page.on("pageerror", lambda error: crashes.append(str(error)))
        page.goto(address)
        said(page, "Ready")
        page.set_input_files("#photo", portrait_file)
        said(page, "The face reads as")
        assert page.is_disabled("#edit"), "nothing is edited before somebody agrees"
        page.check("#consent")
        page.click("#edit")
        said(page, "Nothing is asked for")
        page.fill("#age", "70")
        page.click("text=Smile >> nth=-1")
        page.click("#edit")
        said(page, "Edited in")
        with page.expect_download() as download:
            page.click("#save")
        download.value.save_as(tmp_path / "web.png")
        broken = tmp_path / "broken.jpg"
        broken.write_bytes(b"no photo")
        page.set_input_files("#photo", broken)
        said(page, "broken.jpg is not a photo that this browser reads")
        browser.close()
    here = OnnxEditor(folder / "graphs", threads=1).edit(
        portrait_file, age=70, action_units={"AU12": 3.5, "AU25": 2}
    )
    there = np.array(Image.open(tmp_path / "web.png").convert("RGB")).astype(int)
    assert np.abs(there - np.array(here.image)).max() <= 1
    verdict = verify(tmp_path / "web.png")
    assert verdict.edited and verdict.record["age"] == 70
    assert not crashes
    assert all(method == "GET" and url.startswith((address, "blob:", "data:")) for method, url in asked)


def test_what_the_page_needs_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(static_space.shutil, "which", lambda name: None)
    with pytest.raises(MissingModel, match="needs onnxruntime-web@.* from npm; install Node.js"):
        static_space.fetch(tmp_path)
    with pytest.raises(BadInput, match="exists; give a new folder"):
        static_space.build(None, tmp_path)
    monkeypatch.setattr(static_space, "export", lambda *args, **more: None)
    assert cli.main(["deploy-space", "org/page", "--static", "--runtime", str(tmp_path), "--dry-run"]) == 3
    assert "holds no dist/ort.wasm.bundle.min.mjs" in capsys.readouterr().err
