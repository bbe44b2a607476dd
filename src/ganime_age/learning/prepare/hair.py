"""Hair masks from a teacher network, to learn a small one from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...atomic import replacing
from ...images.tensors import to_pictures
from ..data.faces import Faces
from ..external.onnx_models import HairNetwork

NEEDED = "give a hair segmentation network in ONNX, or none to leave hair as it is"


def hair_masks(file: str | Path, faces: Faces, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Indices (N,) of up to `count` faces whose whole frame is real, and the teacher's masks of them (N,64,64) uint8.

    file: the teacher in ONNX, see HairNetwork. The masks stay beside the faces (`hair-COUNT.npz`) and are found there
    the next time, as long as the same faces stand in the same places.
    """
    cache, names = faces.folder / f"hair-{count}.npz", faces.table["id"].to_numpy(str)
    if cache.is_file():
        with np.load(cache) as kept:
            index = kept["index"]
            if (index < len(names)).all() and np.array_equal(names[index], kept["id"]):
                return index, kept["mask"]
    index, mask = read_hair(HairNetwork(Path(file), NEEDED), faces, count, seed)
    with replacing(cache) as part, part.open("wb") as written:
        np.savez(written, index=index, mask=mask, id=names[index])
    return index, mask


def read_hair(teacher: HairNetwork, faces: Faces, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces in random order until `count` of them have a mask."""
    order = np.random.default_rng(seed).permutation(len(faces))
    kept, masks = [], []
    with tqdm(total=count, desc="hair of the teacher", unit="face") as bar:
        for part in np.array_split(order, max(1, len(order) // 16)):
            batch = faces.batch(part)
            whole = batch["valid"].mean((1, 2, 3)) > 0.97
            if whole.any():
                pictures = to_pictures(batch["face"][whole])
                masks.append((255 * teacher.chances(pictures, 64).clip(0, 1)).astype(np.uint8))
                kept.append(part[whole.numpy()])
                bar.update(int(whole.sum()))
            if bar.n >= count:
                break
    if not kept:
        return np.zeros(0, int), np.zeros((0, 64, 64), np.uint8)
    return np.concatenate(kept), np.concatenate(masks)
