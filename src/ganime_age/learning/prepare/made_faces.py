"""More faces for the identity reader: our own edits of known faces, and faces between two, named by a teacher.

An edit keeps the person: it has the source's `teacher_identity` and, by `source_id`, its identity. A face between two
is nobody's: a teacher network says who it is. Both make a face folder that training takes beside the faces they came
from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ...atomic import replacing
from ...edits import AU_MAX
from ...images.tensors import to_pictures
from ...model.model import GanimeAge
from ..data.faces import Faces
from ..data.joined_faces import sources_of
from ..data.picture_store import encoded, picture_store
from ..external.onnx_models import five_points, similarity

BATCH = 16
AGES = (2.0, 85.0)
"""Years that edits go to, evenly drawn."""
CANDIDATES = 64
"""Faces of which a face is blended with the one whose landmarks are most like its own."""
PARTS = (np.r_[17:22, 36:42], np.r_[22:27, 42:48], np.r_[27:36], np.r_[48:68])
"""Landmarks of the parts of a face that blend apart from the rest: an eye with its brow, the other, nose, mouth."""
SEAM = 0.03
"""How softly a part ends, a share of the side."""
BENDING = 0.024
"""How far a blended face is bent at most, a share of the side (standard deviation)."""
Teacher = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Pictures (B,S,S,3) uint8, landmarks (B,68,2) in 0..1 -> embeddings (B,128) of unit length."""


class Made(NamedTuple):
    """B made faces. pictures (B,S,S,3) uint8, landmarks (B,68,2), teacher (B,128), sources (B,) rows they are of, and
    whether they are those persons still."""

    pictures: np.ndarray
    landmarks: np.ndarray
    teacher: np.ndarray
    sources: np.ndarray
    same_person: bool


def edits(model: GanimeAge, faces: Faces, count: int, seed: int) -> Iterator[Made]:
    """Faces at another age, half of them with another's expression too, by the prototypes. Every second one is of a
    person with a name, where there are any."""
    chance = np.random.default_rng(seed)
    named, prototypes = np.flatnonzero(faces.labels["person"] >= 0), model.prototypes
    for start in range(0, count, BATCH):
        picks = chance.choice(len(faces), min(BATCH, count - start))
        if len(named):
            picks[::2] = chance.choice(named, len(picks[::2]))
        batch = faces.batch(picks)
        with torch.inference_mode():
            read = model.read(batch["face"])
            units = torch.where(batch["action_units"].isnan(), read.action_units, batch["action_units"])
            wanted = units.clone()
            wanted[::4], wanted[1::4] = units.flip(0)[::4], units.roll(1, 0)[1::4]
            wanted = wanted.clamp(0, AU_MAX)
            years = torch.from_numpy(chance.uniform(*AGES, len(picks)).astype(np.float32))
            shown = prototypes(batch["face"], batch["landmarks"], read.age, years, units, wanted)
            moved = prototypes.moved_landmarks(batch["landmarks"], (read.age, years), (units, wanted))
        teacher = faces.labels["teacher"][picks]
        yield Made(to_pictures(shown), moved.numpy(), teacher, picks, True)


def blends(teacher: Teacher, faces: Faces, count: int, seed: int) -> Iterator[Made]:
    """Faces between two that look the same way: the second, moved onto the first's five points, is laid over it, part
    by part, and the outcome is bent. Every second one is of a person with a name, where there are any."""
    chance = np.random.default_rng(seed)
    landmarks_of, named = np.array(faces.labels["landmarks"]), np.flatnonzero(faces.labels["person"] >= 0)
    shapes = np.stack([centred(points) for points in landmarks_of])
    for start in range(0, count, BATCH):
        first = chance.choice(len(faces), min(BATCH, count - start))
        if len(named):
            first[::2] = chance.choice(named, len(first[::2]))
        others = chance.choice(len(faces), (len(first), CANDIDATES))
        apart = np.abs(shapes[others] - shapes[first][:, None]).sum((2, 3)) + 1e9 * (others == first[:, None])
        second = others[np.arange(len(first)), apart.argmin(1)]
        frames = faces.pixels(np.concatenate([first, second]))[:, :3].transpose(0, 2, 3, 1)
        pairs = [
            bent(
                *blended(frames[i], frames[i + len(first)], landmarks_of[a], landmarks_of[b], chance), chance
            )
            for i, (a, b) in enumerate(zip(first, second, strict=True))
        ]
        pictures, landmarks = (np.stack(part) for part in zip(*pairs, strict=True))
        yield Made(pictures, landmarks, teacher(pictures, landmarks), first, False)


def centred(points: np.ndarray) -> np.ndarray:
    """Landmarks (68,2) without place and size."""
    out = points - points.mean(0)
    return out / np.sqrt((out**2).sum())


def blended(
    first: np.ndarray, second: np.ndarray, points: np.ndarray, others: np.ndarray, chance: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures (S,S,3) in one, the second moved so that its five points fit the first's and in the first's mean
    colour; eyes, nose, mouth and the rest have each a share of their own. Also the landmarks (68,2), mixed alike."""
    side = len(first)
    move = similarity(five_points(others * side), five_points(points * side))
    moved = cv2.warpAffine(np.ascontiguousarray(second), move, (side, side), borderMode=cv2.BORDER_REPLICATE)
    there = ((others * side) @ move[:, :2].T + move[:, 2]) / side
    share, own = np.full((side, side), chance.random(), np.float32), np.full(len(points), chance.random())
    for part in PARTS:
        amount = chance.random()
        hull = cv2.convexHull((points[part] * side).round().astype(np.int32))
        cv2.fillConvexPoly(share, hull, amount)
        own[part] = amount
    soft = cv2.GaussianBlur(share, (0, 0), SEAM * side)[..., None]
    shift = mean_colour(first, points) - mean_colour(moved, points)
    both = soft * first + (1 - soft) * (moved + shift)
    return both.clip(0, 255).astype(np.uint8), own[:, None] * points + (1 - own[:, None]) * there


def mean_colour(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The mean (3,) of a picture (S,S,3) over the box of landmarks in it."""
    side = len(picture)
    left, top = (points.min(0) * side).astype(int).clip(0, side - 1)
    right, bottom = (points.max(0) * side).astype(int).clip((left + 1, top + 1), side)
    mean: np.ndarray = picture[top:bottom, left:right].mean((0, 1))
    return mean


def bent(
    picture: np.ndarray, points: np.ndarray, chance: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A picture (S,S,3) bent smoothly at random, so that its face has other proportions, and its landmarks (68,2)."""
    side = len(picture)
    coarse = (chance.normal(size=(5, 5, 2)) * BENDING * chance.random()).astype(np.float32)
    offset = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)  # shares of the side
    rows, columns = np.indices((side, side), np.float32)
    shown = cv2.remap(
        picture,
        columns + offset[..., 0] * side,
        rows + offset[..., 1] * side,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    moved = points
    for _ in range(3):  # what is shown at p was at p + offset(p)
        x, y = (moved * side).round().astype(int).clip(0, side - 1).T
        moved = points - offset[y, x]
    return shown, moved.astype(np.float32)


def write(folder: Path, faces: Faces, made: Iterator[Made], kind: str, total: int) -> int:
    """A face folder of the made faces, all in the split of `faces`; returns how many. kind: their `source`, and the
    name of their shard."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    ids, split, origins = faces.table["id"].to_numpy(str), faces.table["split"], sources_of(faces)
    with picture_store(folder, f"{kind}-00", True) as store, tqdm(total=total, unit="face") as progress:
        for part in made:
            for i, source in enumerate(part.sources):
                name = f"{kind}_{len(rows):06d}"
                file = store.add(f"{name}.webp", encoded(part.pictures[i], "webp"))
                rows.append(
                    {
                        "id": name,
                        "file": file,
                        "split": split[source],
                        "source": kind,
                        "source_id": ids[source] if part.same_person else None,
                        "source_set": origins[source],
                        "landmarks": part.landmarks[i].astype(np.float32).ravel(),
                        "teacher_identity": part.teacher[i].astype(np.float32),
                    }
                )
            progress.update(len(part.sources))
    with replacing(folder / "manifest.parquet") as path:
        pd.DataFrame(rows).to_parquet(path, row_group_size=4096)
    return len(rows)
