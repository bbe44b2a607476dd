"""Real edits by networks small enough for a test, in processes that are killed in the middle of them."""

import io
import os
import signal
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

FATAL = {"generate": "shard/b.png", "write": "shard/d.png"}
"""What a process is killed in, and of which photo, the first time each."""


def tiny_editor_weights(model, folder: Path) -> Path:
    """A folder of weights that find faces as the embedded ones do, and edit them by a tiny generator."""
    from ganime_age.model.model import GanimeAge

    torch.manual_seed(0)
    tiny = GanimeAge(
        ("detector", "readers", "ganimation_age"), 64, edit_size=64,
        readers={"size": 32, "widths": [8, 8, 8, 16], "blocks": [1, 1, 1]},
        ganimation_age={"widths": [8, 8, 16], "blocks": 1},
    )  # fmt: skip
    tiny.detector.load_state_dict(model.detector.state_dict())
    tiny.save_pretrained(folder)
    return folder


def shard_of(portrait: np.ndarray, path: Path, names: str) -> Path:
    """A tar file of one face on grounds of different colours, so that no two edits are alike."""
    with tarfile.open(path, "w") as archive:
        for number, name in enumerate(names):
            photo = np.full((352, 352, 3), 20 * number, np.uint8)
            photo[16:336, 16:336] = portrait
            packed = io.BytesIO()
            Image.fromarray(photo).save(packed, "PNG")
            member = tarfile.TarInfo(f"{name}.png")
            member.size = len(packed.getvalue())
            archive.addfile(member, io.BytesIO(packed.getvalue()))
    return path


def mortal(log: Path, args, source, output):
    """The command line's own worker. It notes every photo that it begins, and dies as FATAL says."""
    from ganime_age.cli import main as cli
    from ganime_age.pipelines.face import FacePipeline
    from ganime_age.provenance import metadata

    work, generate, write = cli._worker(args, source, output), FacePipeline.generate, metadata.save_edited
    now = []

    def dies(within):
        name = FATAL[within]
        return now[-1] == name and log.read_text().split().count(name) == 1

    def generating(*given, **options):
        if dies("generate"):
            os.kill(os.getpid(), signal.SIGKILL)
        return generate(*given, **options)

    def writing(image, file, *how):
        if dies("write"):
            file.write(b"half a photo")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        write(image, file, *how)

    def noted(photo):
        now.append(photo.name)
        with log.open("a") as file:
            file.write(f"{photo.name}\n")
        return work(photo)

    FacePipeline.generate, metadata.save_edited = generating, writing
    return noted


def check_survived(log: Path, out: Path, plain: Path, names: str) -> None:
    """All photos are written, as a run without deaths writes them, and no process began one more than it had to."""
    begun = sorted([f"shard/{name}.png" for name in names] + list(FATAL.values()))
    assert sorted(log.read_text().split()) == begun
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == sorted(
        ["report.json", *(f"shard/{name}.png" for name in names)]
    )
    for name in names:
        one, other = (np.array(Image.open(place / "shard" / f"{name}.png")) for place in (out, plain))
        assert np.array_equal(one, other), name
