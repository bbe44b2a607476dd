"""What a controlnet run would download and how long a GPU would take, and its control pictures, drawn.

Nothing is downloaded and no network runs: neither diffusers nor a GPU is needed.
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ...atomic import replacing
from ...errors import BadInput
from ...images.tensors import to_pictures, to_tensor
from ...model.hub import split_revision
from ...networks.head import HeadModel
from ..data.faces import Faces
from .controlnet_backend import drawing_style, person
from .controlnet_models import (
    NotHere,
    Source,
    check_pair,
    config_of,
    family_of,
    source_of,
)
from .controlnet_scenes import Recipe, Scenes
from .plan import Request, Slot, SourceRules, source_labels
from .sources import SourcePictures

FOLDER = "dry_run"
TILE, ROW_LENGTH, MOST_TILES = 160, 4, 48
GIGABYTES = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": 2.1,
    "CrucibleAI/ControlNetMediaPipeFace/diffusion_sd15": 0.72,
    "lllyasviel/control_v11p_sd15_openpose": 0.72,
    "stabilityai/stable-diffusion-xl-base-1.0": 7.0,
    "xinsir/controlnet-openpose-sdxl-1.0": 2.5,
}
"""Half-precision weights by the repositories' pages, without a safety checker; training/README.md has the sums."""
NAMED = {"stable-diffusion-v1-5/stable-diffusion-v1-5": 768, "stabilityai/stable-diffusion-xl-base-1.0": 2048}
"""Text features of bases that need not be looked at."""


class Speed(NamedTuple):
    """side: pixels that a family was trained at. steps: of one image a second at that side."""

    side: int
    steps: float


SPEEDS = {768: Speed(512, 31.4), 2048: Speed(1024, 8.4)}
"""By text features: fal-ai's stable-diffusion-benchmarks (diffusers, half precision, one A100 80 GB, no ControlNet)."""
UNSEEN_SIDE = 512
"""Pixels of the control pictures where the base's own side is not known here."""


@dataclass(frozen=True)
class DryRun:
    """What can be said of a run without a network. side: of the painted pictures in pixels, None: not known here.
    features: the base's text features, None: not known here. style: of the control pictures."""

    base: Source
    controlnet: Source
    recipe: Recipe
    style: str
    side: int | None
    features: int | None

    def lines(self, images: int, seconds_per_step: float | None = None) -> list[str]:
        """The downloads, the images and the time that a GPU takes for them, a line each.

        seconds_per_step: of one image on the GPU that will be used; else the published floor of the family.
        """
        side = f"{self.side} px" if self.side else "px unknown until the base's configuration is here"
        return [
            f"base: {self.download(self.base, checked=self.features != 2048)}",
            f"controlnet: {self.download(self.controlnet)}",
            f"images: {images:,} of {side}, {self.steps} steps each",
            f"GPU time: {self.time(images, seconds_per_step)}",
        ]

    @property
    def steps(self) -> int:
        """Of one image: the share of the schedule that image to image goes through, as diffusers counts it."""
        return int(self.recipe.steps * self.recipe.strength)

    def download(self, source: Source, checked: bool = False) -> str:
        """What would be downloaded of one model. checked: a base that may hold a safety checker beside."""
        if source.commit is None and Path(source.place).is_dir():
            return f"{source.given} is a folder; nothing to download"
        name = split_revision(source.given)[0]
        known = GIGABYTES.get(name) if self.recipe.gpu_dtype != "float32" else None
        size = "size unknown" if known is None else f"{known:g} GB in half precision by its page"
        if checked and not self.recipe.unchecked_because:
            size += "; where it has one, a safety checker, size unknown"
        return f"{source.given} from the Hub, {size}; less what the local cache holds"

    def time(self, images: int, seconds_per_step: float | None) -> str:
        """An estimate in words, and where it comes from."""
        rest = "ControlNet's share, decoding, rejected images and their retries come on top"
        speed = SPEEDS.get(self.features or 0)
        if seconds_per_step is not None:
            origin = f"{seconds_per_step:g} s a step as given; rejected images and their retries come on top"
        elif speed is None or self.side != speed.side:
            return "unknown for this family and side; measure a step of one image and give --seconds-per-step"
        else:
            seconds_per_step = 1 / speed.steps
            origin = (
                f"an estimate, not measured here: {speed.steps:g} steps a second by fal-ai's "
                f"stable-diffusion-benchmarks on an A100 without a ControlNet; the {rest}"
            )
        return f"at least {_duration(images * self.steps * seconds_per_step)} ({origin})"


def look(base: str, controlnet: str, recipe: Recipe) -> DryRun:
    """What is known of two models here: by their folders, the local cache, or the names that training/README.md lists.

    BadInput and MissingModel where the run itself would refuse for what lies on this machine.
    """
    with contextlib.suppress(NotHere):
        check_pair(base, controlnet, recipe.repaint != "all", download=False)
    unet = _here(base, "unet/config.json", "a diffusers pipeline with a U-Net")
    features = family_of(unet)[0] if unet else NAMED.get(split_revision(base)[0])
    side = recipe.side or (_own_side(base, unet) if unet else None)
    if not side and features in SPEEDS:
        side = SPEEDS[features].side
    style = drawing_style(recipe.drawing, controlnet)
    return DryRun(source_of(base), source_of(controlnet), recipe, style, side, features)


def _here(given: str, name: str, what: str) -> dict[str, object]:
    """A configuration on this machine; {} where it would have to be downloaded."""
    try:
        return config_of(given, name, what, download=False)[1]
    except NotHere:
        return {}


def _own_side(base: str, unet: dict[str, object]) -> int | None:
    """Pixels that a base was trained at: its latents' side times what its autoencoder shrinks a picture by."""
    vae = _here(base, "vae/config.json", "a diffusers pipeline with an autoencoder")
    sample, widths = unet.get("sample_size"), vae.get("block_out_channels")
    sample = sample[0] if isinstance(sample, list) else sample
    if not isinstance(sample, int) or not isinstance(widths, list):
        return None
    return int(sample * 2 ** (len(widths) - 1))


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{max(seconds / 60, 0.1):.1f} minutes"


class Drawn(NamedTuple):
    """One picture of a dry run: the source, what painting starts from and the control picture, uint8 (H,W,3) each."""

    request: Request
    source: np.ndarray
    first: np.ndarray
    control: np.ndarray


def draw(
    job: DryRun, faces: Faces, slots: list[Slot], rules: SourceRules, head: HeadModel, seed: int
) -> Iterator[Drawn]:
    """The first try of each slot, as the run would draw it. A source that cannot be read gives its place to the next;
    a slot without one is left out."""
    scenes = Scenes(head, job.recipe, job.style, job.side or UNSEEN_SIDE)
    pictures = SourcePictures(faces, {row for slot in slots for row in slot.sources}, rules.large, rules.huge)
    names = faces.table["id"].to_numpy(str)
    for slot in slots:
        for request in slot.requests(names, seed, 0.0):
            try:
                source = pictures(request.row)
            except BadInput:
                continue
            yield _drawn(scenes, faces, request, source)
            break


@torch.inference_mode()
def _drawn(scenes: Scenes, faces: Faces, request: Request, source: np.ndarray) -> Drawn:
    landmarks = torch.from_numpy(faces.labels["landmarks"][[request.row]].copy())
    labels = [source_labels(faces, request.row)]
    scene = scenes.scene(to_tensor(source), landmarks, labels, [request])
    first, control = (to_pictures(2 * picture - 1)[0] for picture in (scene.first, scene.control))
    return Drawn(request, source, first, control)


def write(out: Path, job: DryRun, faces: Faces, drawn: Iterator[Drawn]) -> int:
    """OUT/dry_run: control/000000.png and on, requests.csv with each picture's source, pose, seed and prompt, and
    sheet.png of the first ones. Returns how many; BadInput when there is none."""
    folder = out / FOLDER
    (folder / "control").mkdir(parents=True, exist_ok=True)
    rows: list[list[object]] = []
    tiles: list[Image.Image] = []
    for number, one in enumerate(drawn):
        name, row = f"control/{number:06d}.png", one.request.row
        with replacing(folder / name) as part:
            Image.fromarray(one.control).save(part, "png")
        prompt = job.recipe.prompt.format(person=person(source_labels(faces, row)))
        pose = [one.request.yaw, one.request.pitch]
        rows.append([name, faces.table["id"].iloc[row], *pose, one.request.seed, prompt])
        tiles += [_tile(one)] if len(tiles) < MOST_TILES else []
    if not rows:
        raise BadInput(f"none of the pictures that the first images need can be read in {faces.folder}")
    with replacing(folder / "requests.csv") as part, part.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerows([["control", "source_id", "yaw", "pitch", "seed", "prompt"], *rows])
    with replacing(folder / "sheet.png") as part:
        _sheet(tiles).save(part, "png")
    return len(rows)


def _tile(one: Drawn) -> Image.Image:
    """Source, first picture and control picture side by side, and the pose."""
    tile = Image.new("RGB", (3 * TILE, TILE + 22), "white")
    for i, picture in enumerate((one.source, one.first, one.control)):
        small = Image.fromarray(picture).resize((TILE, TILE), Image.Resampling.LANCZOS)
        tile.paste(small, (i * TILE, 0))
    words = f"yaw {one.request.yaw:+g}°, pitch {one.request.pitch:+g}°"
    ImageDraw.Draw(tile).text((4, TILE + 2), words, "#1d1d1f", ImageFont.load_default(14))
    return tile


def _sheet(tiles: list[Image.Image]) -> Image.Image:
    width, height = tiles[0].width + 12, tiles[0].height + 8
    columns = min(ROW_LENGTH, len(tiles))
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % columns * width, i // columns * height))
    return sheet
