"""Faces, a model and judges whose every number is known: colours stand for age, smile and person."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ganime_age.edits import AU_CODES
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.evaluation.measure_edits import TARGETS
from ganime_age.networks.layers import Edited

AU12 = AU_CODES.index("AU12")
SIDE = 32


def paint_faces(folder: Path) -> Faces:
    """Eight faces a group. A face's red is its age x 2, its green its smile x 40, its blue says who it is."""
    rows = []
    middles = {**TARGETS, 5: 25.0}
    for i in range(80):
        age, smile = middles[i % 10] + i % 3 - 1, (i % 4) / 2
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        pixels[..., 0], pixels[..., 1] = 2 * age, 40 * smile
        pixels[..., 2] = np.random.default_rng(i // 2).integers(0, 255, (SIDE, SIDE))
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append({"id": str(i), "file": f"{i}.png", "split": "test", "age": age, "identity": f"p{i // 2}"})
    points = np.random.default_rng(0).uniform(0.3, 0.7, 136).astype(np.float32)
    table = pd.DataFrame(rows).assign(
        source="drawn", yaw=0.0, pitch=0.0, roll=0.0, landmarks=[points] * len(rows)
    )
    table.to_parquet(folder / "manifest.parquet")
    return Faces(folder, SIDE, ("test",))


class Painter:
    """A model that reads and edits what the faces above show, and moves the age by 1.5 years a unit of smile."""

    methods = ("painter",)

    def read(self, face):
        units = torch.zeros(len(face), 17)
        units[:, AU12] = (face[:, 1].mean((1, 2)) + 1) * 127.5 / 40
        return SimpleNamespace(age=(face[:, 0].mean((1, 2)) + 1) * 127.5 / 2, action_units=units)

    def edit(self, face, source_age, target_age, source_units, target_units, method):
        smile = target_units[:, AU12] - source_units[:, AU12]
        older = target_age - source_age + 1.5 * smile
        out = face.clone()
        out[:, 0] += (older * 2 / 127.5)[:, None, None]
        out[:, 1] += (0.5 * smile * 40 / 127.5)[:, None, None]
        return Edited(out, torch.full((len(face), 1, SIDE, SIDE), 0.25))


def named(function, **more):
    function.name = function.__name__
    for name, value in more.items():
        setattr(function, name, value)
    return function


def blue(pictures, landmarks):
    flat = pictures[..., 2].reshape(len(pictures), -1).astype(float)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def red(pictures, landmarks):
    return pictures[..., 0].mean((1, 2)) / 2
