"""The static page: space/web with exported graphs and onnxruntime-web beside it, for any server of files or as a Space
of static files. The photo never leaves the visitor's browser."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from ..card.card import own_folder
from ..errors import BadInput, MissingModel
from ..model.model import GanimeAge
from ..onnx.exporter import export

WEB = Path(__file__).parents[1] / "space" / "web"
RUNTIME = "onnxruntime-web@1.30.0"
"""The package from npm that runs the graphs."""
PIECES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
SIDES = (256, 512)
"""Sides of the faces that the page edits: each is 0.2 MB to fetch, and 512 px take a browser some seconds."""
CARD = """---
title: ganime_age in the browser
emoji: 🙂
colorFrom: green
colorTo: gray
sdk: static
license: other
license_name: ganime-age-research
license_link: LICENSE.md
custom_headers:
  cross-origin-embedder-policy: require-corp
  cross-origin-opener-policy: same-origin
---

Age and expression of one face, edited in the browser: the photo never leaves it. (The headers allow several threads.)
"""


def build(
    model: GanimeAge,
    folder: Path,
    runtime: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Path]:
    """Write the static page into a new folder; returns its files by their names in it.

    runtime: the unpacked package onnxruntime-web; by default npm fetches it. MissingModel where npm cannot.
    """
    if folder.exists():
        raise BadInput(f"{folder} exists; give a new folder")
    shutil.copytree(WEB, folder)
    (folder / "README.md").write_text(CARD, "utf-8")
    shutil.copyfile(own_folder() / "LICENSE.md", folder / "LICENSE.md")
    export(model, folder / "graphs", half=True, sides=SIDES, progress=progress)
    (folder / "ort").mkdir()
    with TemporaryDirectory() as fetched:
        package = runtime or fetch(Path(fetched))
        for name in PIECES:
            if not (package / "dist" / name).is_file():
                raise MissingModel(f"{package} holds no dist/{name}; give the package {RUNTIME}")
            shutil.copyfile(package / "dist" / name, folder / "ort" / name)
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def fetch(folder: Path) -> Path:
    """The package onnxruntime-web, as npm has it; MissingModel where it cannot be had."""
    npm = shutil.which("npm")
    if npm is None:
        raise MissingModel(f"the static page needs {RUNTIME} from npm; install Node.js, which brings npm")
    ran = subprocess.run(
        [npm, "pack", "--silent", RUNTIME], cwd=folder, capture_output=True, text=True, check=False
    )
    archives = list(folder.glob("*.tgz"))
    if ran.returncode or not archives:
        why = (ran.stderr.strip().splitlines() or ["no reason given"])[0]
        raise MissingModel(f"npm could not fetch {RUNTIME} ({why}); check the connection")
    with tarfile.open(archives[0]) as archive:
        for name in PIECES:
            member = archive.getmember(f"package/dist/{name}")
            source = archive.extractfile(member)
            assert source is not None
            target = folder / "package" / "dist" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read())
    return folder / "package"
