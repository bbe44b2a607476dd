"""A folder of photos, some of them bad: `python tests/helpers/load_folder.py [--photos 1000]` prints JSON.

Every photo is edited by `ganime-age edit FOLDER --workers 2`. One in twenty is no photo, cut off, empty or without a
face: it has to be named in report.json, and nothing else may be there afterwards but the edits of the others. Memory is
that of all processes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from helpers.memory import Resident  # noqa: E402

BAD = 20
"""One photo in so many is bad."""
EVERY = 2.0
"""Seconds between two looks at the memory."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=1000)
    with TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), parser.parse_args().photos), indent=2))


def measure(folder: Path, count: int) -> dict[str, Any]:
    """Make the photos, edit them all, and look at what is left."""
    photos, out = folder / "photos", folder / "out"
    bad = write(photos, count)
    command = [
        sys.executable,
        "-m",
        "ganime_age.cli",
        "edit",
        str(photos),
        "-o",
        str(out),
        "--age",
        "70",
        "--workers",
        "2",
    ]
    started = time.monotonic()
    paths = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    run = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with Resident(run.pid, EVERY) as memory:
        run.wait()
    seconds = time.monotonic() - started
    report = json.loads((out / "report.json").read_text("utf-8"))
    made = {path.stem for path in out.iterdir() if path.suffix != ".json"}
    return {
        "photos": count,
        "bad": len(bad),
        "edited": len(made),
        "lost": len({path.stem for path in photos.iterdir()} - made - {Path(name).stem for name in bad}),
        "bad_not_named": len(bad - set(report["failed"])),
        "good_named_as_bad": len(set(report["failed"]) - bad),
        "files_left": sum(path.name.startswith(".") or path.suffix == ".part" for path in out.iterdir()),
        "memory_mb": round(max(held for _, held in memory.seen), 1),
        **memory.growth(),
        "minutes": round(seconds / 60, 1),
        "photos_a_second": round(count / seconds, 2),
    }


def write(folder: Path, count: int) -> set[str]:
    """Photos of one portrait at many sizes; returns the names of the bad ones."""
    from skimage import data

    folder.mkdir(parents=True)
    head, rng, bad = Image.fromarray(data.astronaut()[:300, 60:380]), np.random.default_rng(0), set()
    for number in range(count):
        wide = int(rng.integers(200, 700))
        name = f"{number:04d}.jpg"
        content = jpeg(head.resize((wide, wide * 300 // 320)), int(rng.integers(60, 95)))
        if number % BAD == BAD - 1:
            bad.add(name)
            noise = Image.fromarray(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8))
            kinds = (content[: len(content) // 3], b"", b"no photo " * 40, jpeg(noise, 80))
            content = kinds[number // BAD % len(kinds)]
        (folder / name).write_bytes(content)
    return bad


def jpeg(photo: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=quality)
    return file.getvalue()


if __name__ == "__main__":
    main()
