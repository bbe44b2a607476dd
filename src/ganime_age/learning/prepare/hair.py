"""Hair mattes from a teacher network, to learn a small one from: only of frames that the teacher reads well.

The teacher sees each picture with some room around it, and its mirror image. Where the two masks disagree much, or the
hair has the colour of the skin, the picture is left out. Where they disagree otherwise, the mask that finds more counts
where the picture has the colours of the hair that both find, and elsewhere their mean: of a tail or of hair that hangs
behind a neck the teacher often sees only one side's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ...atomic import replacing
from ...images.frames import ramp
from ...images.tensors import to_pictures
from ..data.faces import Faces
from ..external.onnx_models import HairNetwork

NEEDED = "give a hair segmentation network in ONNX, or none to leave hair as it is"
SIDE = 128
"""Side of the mattes."""
ROOM = 0.2
"""Room around a frame in which the teacher sees it, in its sides: it errs less where no head fills the picture."""
AGREEMENT = 0.72
"""Least intersection over union of a mask and the mirrored picture's."""
CONTRAST = 20.0
"""Least distance of the hair's median colour from the skin's, CIELAB with 0..255 a channel: a teacher's mask of a bald
head has the colour of skin."""
LIKE = (1.5, 2.5)
"""Distance of a colour from the hair's mean, in the standard deviations of hair in CIELAB, up to which it is the
hair's, and from which on it is not."""
LEAST_SPREAD = 12.0
"""Least such deviation, with 0..255 a channel."""
FARTHEST = 4
"""Largest offset in pixels of SIDE that a teacher's masks may have."""


def hair_masks(
    file: str | Path, faces: Faces, count: int, seed: int = 0, sources: tuple[str, ...] | list[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Indices (N,) of up to `count` faces whose whole frame is real, and mattes of them (N,128,128) uint8.

    file: the teacher in ONNX, see HairNetwork. sources: of which sets the faces come; all where none is named or there.
    The mattes stay beside the faces (`mattes-joined-COUNT-128.npz`) and are found there the next time, as long as the
    same faces stand in the same places.
    """
    cache, names = faces.folder / f"mattes-joined-{count}-{SIDE}.npz", faces.table["id"].to_numpy(str)
    if cache.is_file():
        with np.load(cache) as kept:
            index = kept["index"]
            if (index < len(names)).all() and np.array_equal(names[index], kept["id"]):
                return index, kept["mask"]
    index, mask = read_hair(HairNetwork(Path(file), NEEDED), faces, count, seed, sources)
    with replacing(cache) as part, part.open("wb") as written:
        np.savez(written, index=index, mask=mask, id=names[index])
    return index, mask


def hair_finder(file: str | Path) -> Callable[[Tensor], Tensor]:
    """The teacher as a function: faces (B,3,S,S) in [-1,1] -> how likely there is hair (B,1,128,128) in 0..1."""
    teacher = HairNetwork(Path(file), NEEDED)
    return lambda faces: torch.from_numpy(teacher.chances(to_pictures(faces), SIDE))[:, None].float()


def read_hair(
    teacher: HairNetwork, faces: Faces, count: int, seed: int, sources: tuple[str, ...] | list[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Faces in random order until `count` of them have a matte."""
    order = np.random.default_rng(seed).permutation(len(faces))
    if sources and "source" in faces.table:
        named = faces.table["source"].isin(sources).to_numpy()
        order = order[named[order]] if named.any() else order
    kept, masks, shift = [np.zeros(0, int)], [np.zeros((0, SIDE, SIDE), np.uint8)], None
    with tqdm(total=count, desc="hair of the teacher", unit="face") as bar:
        for part in np.array_split(order, max(1, len(order) // 16)):
            batch = faces.batch(part)
            whole = (batch["valid"].mean((1, 2, 3)) > 0.97) & ~batch["landmarks"].isnan().any(2).any(1)
            if whole.any():
                pictures = to_pictures(batch["face"][whole])
                seen = with_room(teacher, pictures)
                mirrored = with_room(teacher, np.ascontiguousarray(pictures[:, :, ::-1]))[:, :, ::-1]
                shift = offset(seen, mirrored) if shift is None else shift
                marks = batch["landmarks"][whole].numpy()
                found = mattes(pictures, marks, moved(seen, -shift), moved(mirrored, shift, -shift))
                good = [matte for matte in found if matte is not None]
                kept.append(part[whole.numpy()][[matte is not None for matte in found]])
                masks.append(np.stack(good) if good else masks[0])
                bar.update(len(good))
            if bar.n >= count:
                break
    return np.concatenate(kept), np.concatenate(masks)


def with_room(teacher: HairNetwork, pictures: np.ndarray) -> np.ndarray:
    """The teacher's chances (B,128,128) in 0..1 on pictures (B,S,S,3) uint8, shown with ROOM around them."""
    side = pictures.shape[1]
    around = round(ROOM * side)
    wide, inner = (around, around), round(SIDE * around / side)
    found = teacher.chances(np.pad(pictures, ((0, 0), wide, wide, (0, 0)), mode="edge"), SIDE + 2 * inner)
    return found[:, inner : inner + SIDE, inner : inner + SIDE]


def offset(seen: np.ndarray, mirrored: np.ndarray) -> int:
    """By how many pixels a teacher's masks (B,128,128) lie too far right, from those of mirrored pictures.

    A network with strides may draw beside what it saw, by as much down as right: masks of a picture and of its mirror
    image, brought back, then differ by twice the offset."""
    tries = range(-FARTHEST, FARTHEST + 1)
    apart = [np.abs(moved(seen, -by, 0) - moved(mirrored, by, 0)).mean() for by in tries]
    return tries[int(np.argmin(apart))]


def moved(masks: np.ndarray, right: int, down: int | None = None) -> np.ndarray:
    """Masks (B,S,S) moved by whole pixels, by default as many down as right; the border is repeated."""
    down, side = right if down is None else down, masks.shape[1]
    rows, columns = (np.clip(np.arange(side) - by, 0, side - 1) for by in (down, right))
    return masks[:, rows][:, :, columns]


def mattes(
    pictures: np.ndarray, landmarks: np.ndarray, seen: np.ndarray, mirrored: np.ndarray
) -> list[np.ndarray | None]:
    """Mattes (128,128) uint8 of pictures (B,S,S,3) uint8 with landmarks (B,68,2) in 0..1, from the masks (B,128,128) of
    them and of their mirror images; None where these are not to be trusted."""
    out: list[np.ndarray | None] = []
    for picture, marks, one, other in zip(pictures, landmarks, seen, mirrored, strict=True):
        small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        mean = (one + other) / 2
        agree = overlap(one > 0.5, other > 0.5) >= AGREEMENT
        good = agree and differs_from_skin(small, mean > 0.5, marks)
        matte = mean + (np.maximum(one, other) - mean) * coloured_as(small, np.minimum(one, other) > 0.5)
        out.append((matte * 255).round().astype(np.uint8) if good else None)
    return out


def coloured_as(picture: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """How much each pixel of a picture (128,128,3) uint8 has the colours of what is surely hair, (128,128) bool:
    (128,128) in 0..1, 0 everywhere where there is none."""
    colours = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    if not hair.any():
        return np.zeros(hair.shape, np.float32)
    spread = np.maximum(colours[hair].std(0), LEAST_SPREAD)
    far = np.sqrt(np.square((colours - colours[hair].mean(0)) / spread).mean(2))
    return np.asarray(1 - ramp(far, *LIKE), np.float32)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks; a few pixels more or less of a tiny one do not count."""
    return float(((one & other).sum() + 20) / ((one | other).sum() + 20))


def differs_from_skin(picture: np.ndarray, hair: np.ndarray, landmarks: np.ndarray) -> bool:
    """Whether the hair's median colour is another than the skin's; picture (128,128,3) uint8, hair (128,128) bool."""
    colours = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    face = hull(landmarks[2:15]) > 0
    if hair.sum() < 30 or not face.any():
        return False
    return bool(np.linalg.norm(np.median(colours[hair], 0) - np.median(colours[face], 0)) >= CONTRAST)


def hull(landmarks: np.ndarray) -> np.ndarray:
    """The convex hull of landmarks (N,2) in 0..1, (128,128) uint8 of 0 and 1."""
    mask: np.ndarray = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull((landmarks * SIDE).astype(np.int32)), 1)
    return mask
