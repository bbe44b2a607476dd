"""Visitors who all edit at once: `python tests/helpers/load_space.py [--visitors 5] [--edits 50]` prints JSON.

Each visitor has a photo whose background nobody else's has. An edit is lost when no photo comes back, and mixed when
the background that comes back, which an edit never touches, is another one. Memory is the server's, before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from gradio_client import Client, handle_file
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
MARGIN = 48
"""Pixels of the photo's own background on each side; further from the face than an edit reaches."""
WARM_UP = 6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--visitors", type=int, default=5)
    parser.add_argument("--edits", type=int, default=50, help="of all visitors together")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), given.visitors, given.edits), indent=2))


def measure(folder: Path, visitors: int, edits: int) -> dict:
    """Start the page, let every visitor make their share of the edits, and count."""
    photos = [photo_of(i, folder / f"{i}.png") for i in range(visitors)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    places = {"GRADIO_TEMP_DIR": str(folder / "served"), "GRADIO_ANALYTICS_ENABLED": "False"}
    started = time.monotonic()
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py")], env=os.environ | given | places, stdout=subprocess.DEVNULL
    )
    try:
        address = f"http://127.0.0.1:{port}/"
        wait_for(address, server)
        patient = {"verbose": False, "httpx_kwargs": {"timeout": 300}}
        clients = [
            Client(address, **patient, download_files=str(folder / f"got{i}")) for i in range(visitors)
        ]
        edit(clients[0], photos[0], 70)
        first = time.monotonic() - started
        for i in range(WARM_UP):
            edit(clients[i % visitors], photos[i % visitors], 20 + 10 * i)
        before = memory(server.pid)
        found, seconds = all_at_once(clients, photos, edits // visitors)
        return {
            "visitors": visitors,
            "edits": len(found),
            "lost": found.count("lost"),
            "mixed": found.count("mixed"),
            "memory_growth_mb": round(memory(server.pid) - before, 1),
            "memory_mb": round(before, 1),
            "seconds_from_start_to_first_edit": round(first, 2),
            "seconds": round(seconds, 1),
            "seconds_an_edit": round(seconds / len(found), 3),
            "cores": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 1),
        }
    finally:
        server.terminate()
        server.wait(60)


def photo_of(visitor: int, path: Path) -> Path:
    """The portrait on a background of noise that is the visitor's own."""
    from skimage import data

    rng = np.random.default_rng(visitor)
    face = data.astronaut()[0:320, 60:380]
    photo = rng.integers(0, 256, (320, 320 + 2 * MARGIN, 3), dtype=np.uint8)
    photo[:, MARGIN:-MARGIN] = face
    Image.fromarray(photo).save(path)
    return path


def all_at_once(clients: list[Client], photos: list[Path], each: int) -> tuple[list[str], float]:
    """What became of every edit: "good", "lost" or "mixed"; and how long all took."""
    found: list[str] = []
    ready = threading.Barrier(len(clients) + 1)

    def visit(client: Client, photo: Path) -> None:
        ready.wait()
        for i in range(each):
            found.append(edit(client, photo, 5 + i * 80 // each))

    threads = [threading.Thread(target=visit, args=pair) for pair in zip(clients, photos, strict=True)]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.monotonic()
    for thread in threads:
        thread.join()
    return found, time.monotonic() - started


def edit(client: Client, photo: Path, age: int) -> str:
    """One edit over HTTP, and whether what comes back is this visitor's photo at the age that was asked."""
    try:
        path, said = client.predict(handle_file(photo), age=age, consent=True, api_name="/edit")
    except Exception as error:
        print(f"lost: {error}", file=sys.stderr)
        return "lost"
    mine, got = (np.asarray(Image.open(file).convert("RGB")) for file in (photo, path))
    sides = [np.array_equal(mine[:, part], got[:, part]) for part in (np.s_[:MARGIN], np.s_[-MARGIN:])]
    changed = not np.array_equal(mine, got)
    return "good" if all(sides) and changed and said["asked"]["age"] == age else "mixed"


def memory(process: int) -> float:
    """Resident memory of a process in MB, once it has had a moment to give some back."""
    time.sleep(1)
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def wait_for(address: str, server: subprocess.Popen) -> None:
    end = time.monotonic() + 300
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=30).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the page did not start")


if __name__ == "__main__":
    main()
