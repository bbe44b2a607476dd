"""The page: over HTTP as a program uses it, and in a real browser where Debian's chromium and playwright are there."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio", reason="the page needs gradio: pip install 'ganime_age[space]'")

from gradio_client import Client, handle_file  # noqa: E402

from space import page  # noqa: E402

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
STILL = (0,) * len(page.SHOWN_UNITS)


@pytest.fixture(scope="module")
def address(editor):
    """The page, served on this machine for the tests of this file."""
    blocks = page.build(editor)
    launch = {**page.LAUNCH, "prevent_thread_lock": True, "quiet": True, "server_name": "127.0.0.1"}
    _, url, _ = blocks.launch(**launch)
    yield url
    blocks.close()


@pytest.fixture(scope="module")
def client(address):
    return Client(address, verbose=False)


def ask(client, photo, years=70, change_age=True, units=STILL):
    return client.predict(photo, years, change_age, *units, api_name="/edit")


def test_an_edit_over_http_gives_before_after_and_the_reading(client, portrait_file, portrait):
    (before, after), reading = ask(client, handle_file(portrait_file), 75, units=(-3, 0, 0, 0, 0, 0))
    first, second = (np.asarray(Image.open(path).convert("RGB")).astype(int) for path in (before, after))
    assert first.shape == second.shape == portrait.shape
    assert np.abs(first - second).max() > 8
    assert "| age | 75 |" in reading and "AU12 lip corner puller" in reading and "Identity" in reading


def test_nothing_asked_gives_the_photo_back(client, portrait_file):
    (before, after), _ = ask(client, handle_file(portrait_file), change_age=False)
    assert np.array_equal(np.asarray(Image.open(before)), np.asarray(Image.open(after)))


def refused(client, photo, **given):
    with pytest.raises(Exception) as caught:
        ask(client, photo, **given)
    return str(caught.value)


def test_bad_photos_are_sentences(client, tmp_path, faceless):
    note = tmp_path / "note.png"
    note.write_text("no picture")
    assert "note.png is not a readable image" in refused(client, handle_file(note)).lower()
    empty = tmp_path / "empty.png"
    Image.fromarray(faceless).save(empty)
    assert "no face was found" in refused(client, handle_file(empty)).lower()
    assert "Upload a photo first." in refused(client, None)


def test_the_servers_own_files_and_data_addresses_are_refused(client, portrait_file):
    data = "data:image/png;base64,iVBORw0KGgo="
    for payload in ({"path": str(portrait_file)}, {"path": "", "url": data}, {"path": "x.png", "url": data}):
        with pytest.raises(gr.Error, match="Upload the photo as a file"):
            page.PhotoInput().preprocess(gr.data_classes.ImageData(**payload))


def test_a_bug_does_not_show_its_details(monkeypatch):
    def broken():
        raise RuntimeError("secret path")

    with pytest.raises(gr.Error) as caught:
        page.said_plainly(broken)
    assert "secret" not in str(caught.value)


def test_the_page_and_its_entry_import_no_torch_themselves():
    assert not any(
        "torch" in path.read_text() for path in (ROOT / "space").glob("*.py") if path.name != "page.py"
    )
    source = (ROOT / "space" / "page.py").read_text().replace("never torch", "")
    assert "torch" not in source and "torch" not in (ROOT / "app.py").read_text()


def test_app_py_starts_from_any_folder(tmp_path):
    code = f"import runpy; runpy.run_path({str(ROOT / 'app.py')!r}); print('ready')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "ready", done.stderr


@pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine (apt-get install chromium)")
@pytest.mark.skipif(not importlib.util.find_spec("playwright"), reason="playwright is not installed")
def test_a_visitor_uploads_moves_the_age_and_sees_another_face(address, portrait_file, tmp_path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            visit(browser.new_page(viewport={"width": 1280, "height": 900}), address, portrait_file)
        finally:
            browser.close()


def visit(tab, address, photo):
    """Upload, edit, move the age, and see that the result changed; then a photo that is none."""
    outside = []
    tab.on(
        "request",
        lambda r: outside.append(r.url) if not r.url.startswith((address, "data:", "blob:")) else None,
    )
    tab.goto(address)
    tab.get_by_role("button", name="Edit", exact=True).click()
    tab.get_by_text("Upload a photo first.").first.wait_for()
    tab.locator("#photo input[type=file]").first.set_input_files(photo)
    tab.locator("#photo img").first.wait_for()
    tab.get_by_role("button", name="Edit", exact=True).click()
    tab.locator("#reading table").get_by_text("70", exact=True).wait_for(timeout=30000)
    first = pictures(tab)
    age = tab.locator("#age input[type=range]")
    age.focus()
    for _ in range(3):
        age.press("PageDown")
    age.press("Tab")
    tab.get_by_role("button", name="Edit", exact=True).click()
    tab.wait_for_function(
        "() => !document.querySelector('#reading table').innerText.includes('\\t70\\t')", timeout=30000
    )
    second = pictures(tab)
    assert len(first) == len(second) == 2 and first[1] != second[1]
    assert outside == []


def pictures(tab):
    """Addresses of the before and the after picture."""
    tab.locator("#result img").nth(1).wait_for(timeout=30000)
    return [image.get_attribute("src") for image in tab.locator("#result img").all()]
