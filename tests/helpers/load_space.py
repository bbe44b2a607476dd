"""Visitors who all use the page: `python tests/helpers/load_space.py [--visitors 5] [--minutes 30]` prints JSON.

Each visitor has a photo whose background nobody else's has, and asks in turn for another age, an expression, three ages
at once, a reading and the movement of another photo; now and then a file that is no photo is sent. A job is lost when
nothing comes back, and mixed when it is another visitor's: a background that an edit never touches is not the own one.
Memory is the server's.
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
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from gradio_client import Client, handle_file
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from helpers.memory import Resident  # noqa: E402

MARGIN = 48
"""Pixels of the photo's own background on each side; further from the face than an edit reaches."""
EVERY = 10.0
"""Seconds between two looks at the server's memory."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--visitors", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=30.0)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), given.visitors, given.minutes), indent=2))


def measure(folder: Path, visitors: int, minutes: float) -> dict[str, Any]:
    """Start the page, let every visitor ask for one job after the other until the time is over, and count."""
    photos = [photo_of(i, folder / f"{i}.png") for i in range(visitors)]
    bad = folder / "bad.png"
    bad.write_bytes(b"no photo " * 50)
    (scratch := folder / "scratch").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1", "TMPDIR": str(scratch)}
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
        aged(clients[0], photos[0], 70.0)
        first = time.monotonic() - started
        with Resident(server.pid, EVERY) as memory:
            found, seconds = all_at_once(clients, photos, bad, 60 * minutes)
        left = [path for path in scratch.rglob("*") if path.is_file()]
    finally:
        server.terminate()
        server.wait(60)
    return {
        "visitors": visitors,
        "jobs": sum(found.values()),
        "lost": found["lost"],
        "mixed": found["mixed"],
        "refused": found["refused"],
        "memory_mb": round(memory.seen[-1][1], 1),
        **memory.growth(),
        "files_left": len(left),
        "seconds_from_start_to_first_edit": round(first, 2),
        "minutes": round(seconds / 60, 1),
        "seconds_a_job": round(seconds / max(sum(found.values()), 1), 3),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def photo_of(visitor: int, path: Path) -> Path:
    """The portrait on a background of noise that is the visitor's own."""
    from skimage import data

    rng = np.random.default_rng(visitor)
    face = data.astronaut()[0:320, 60:380]
    photo = rng.integers(0, 256, (320, 320 + 2 * MARGIN, 3), dtype=np.uint8)
    photo[:, MARGIN:-MARGIN] = face
    Image.fromarray(photo).save(path)
    return path


def all_at_once(
    clients: list[Client], photos: list[Path], bad: Path, seconds: float
) -> tuple[Counter[str], float]:
    """How many jobs ended as "good", "lost", "mixed" or, rightly, "refused"; and how long it took."""
    found: list[str] = []
    ready = threading.Barrier(len(clients) + 1)
    started = [0.0]

    def visit(visitor: int, client: Client, photo: Path) -> None:
        ready.wait()
        number = visitor
        while time.monotonic() - started[0] < seconds:
            found.append(job(client, photo, photos[visitor - 1], bad, number))
            number += 1

    threads = [
        threading.Thread(target=visit, args=(i, *pair))
        for i, pair in enumerate(zip(clients, photos, strict=True))
    ]
    started[0] = time.monotonic()
    for thread in threads:
        thread.start()
    ready.wait()
    for thread in threads:
        thread.join()
    return Counter(found), time.monotonic() - started[0]


def job(client: Client, photo: Path, other: Path, bad: Path, number: int) -> str:
    """One of a visitor's jobs, and what became of it."""
    years = float(5 + 7 * number % 85)
    kinds: list[Callable[[], str]] = [
        lambda: aged(client, photo, years),
        lambda: smiling(client, photo),
        lambda: at_three_ages(client, photo, years),
        lambda: moved(client, photo, other),
        lambda: known(client, photo),
    ]
    try:
        return refused(client, bad) if number % 12 == 11 else kinds[number % len(kinds)]()
    except Exception as error:
        print(f"lost: {error}", file=sys.stderr)
        return "lost"


def aged(client: Client, photo: Path, years: float) -> str:
    path, said = client.predict(handle_file(photo), age=years, consent=True, api_name="/edit")
    return "good" if own(photo, path) and said["asked"]["age"] == years else "mixed"


def smiling(client: Client, photo: Path) -> str:
    units = {"AU12": 3.0, "AU25": 1.0}
    path, _ = client.predict(handle_file(photo), action_units=units, consent=True, api_name="/edit")
    return "good" if own(photo, path) else "mixed"


def at_three_ages(client: Client, photo: Path, years: float) -> str:
    wanted = [years, years / 2, 80.0]
    paths, said = client.predict(handle_file(photo), ages=wanted, consent=True, api_name="/progression")
    right = [one["asked"]["age"] for one in said] == wanted
    return "good" if right and all(own(photo, path) for path in paths) else "mixed"


def moved(client: Client, photo: Path, driving: Path) -> str:
    found = client.predict(handle_file(photo), handle_file(driving), consent=True, api_name="/reenact")
    return "good" if own(photo, found[0]) else "mixed"


def known(client: Client, photo: Path) -> str:
    said = client.predict(handle_file(photo), consent=True, api_name="/read")
    return "good" if said else "lost"


def refused(client: Client, bad: Path) -> str:
    try:
        client.predict(handle_file(bad), age=50.0, consent=True, api_name="/edit")
    except Exception as error:
        return "refused" if f"{bad.name} is not a readable image" in str(error) else "lost"
    return "mixed"


def own(photo: Path, given: Any) -> bool:
    """Is it the photo, changed, on its own background?"""
    path = given["path"] if isinstance(given, dict) else given
    mine, got = (np.asarray(Image.open(file).convert("RGB")) for file in (photo, path))
    sides = [np.array_equal(mine[:, part], got[:, part]) for part in (np.s_[:MARGIN], np.s_[-MARGIN:])]
    return all(sides) and not np.array_equal(mine, got)


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
