"""Measuring the prototypes of `networks.prototypes` on labelled faces: weighted least squares, no gradient descent.

Every face is explained by its age (a smooth curve through KNOTS), its action units, and by what is neither: head pose,
the set it comes from, sex. The curves of age and the slopes of the action units are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....networks.layers import enlarge, luma, resize
from ....networks.prototypes import KNOTS, MAPS, NEUTRAL, UNITS, Prototypes, age_basis
from ....networks.skin.texture import BANDS, TEXTURE_SIDE, split_band
from ....networks.warp import canonical_grid
from ...data.faces import Faces, balanced_weights

MALE_SHARE = 0.15
"""The share of male features (beards) in the prototypes: a beard painted on a woman looks worse than none on a man."""


FindHair = Callable[[Tensor], Tensor]
"""Faces (B,3,S,S) in [-1,1] -> hair (B,1,s,s) in 0..1."""


class Known(NamedTuple):
    """What explains each of N faces. rows (N,) into the faces; design (N,P): columns of KNOTS for age, of UNITS, of
    the rest; weight (N,)."""

    rows: np.ndarray
    design: Tensor
    weight: Tensor


def explain(faces: Faces, balance: float = 0.5, most: int | None = None, seed: int = 0) -> Known:
    """The faces with age, landmarks and action units that look ahead, at most `most` of them, rare ages first."""
    labels, table = faces.labels, faces.table
    age, pose = labels["age"], labels["pose"][:, :2] / 30
    has = ~np.isnan(age) & ~np.isnan(labels["landmarks"]).any((1, 2)) & (np.abs(pose) < 0.9).all(1)
    rows = np.flatnonzero(has)
    chance = np.where(has, balanced_weights(age, balance), 0)[rows]
    if most is not None and most < len(rows):
        picked = np.random.default_rng(seed).choice(len(rows), most, replace=False, p=chance / chance.sum())
        rows, chance = rows[picked], np.ones(most)
    sources = table["source"].to_numpy()[rows] if "source" in table else np.full(len(rows), "")
    kinds = [np.float32(sources == kind) for kind in np.unique(sources)[1:]]
    male = np.full(len(rows), 0.5)
    if "gender" in table:
        male = table["gender"].map({"m": 1.0, "f": 0.0}).fillna(0.5).to_numpy(float)[rows]
    knots = age_basis(torch.from_numpy(age[rows]))
    units = np.nan_to_num(labels["action_units"][rows])
    other = np.concatenate([units, pose[rows], pose[rows] ** 2, *[k[:, None] for k in kinds]], 1)
    others = torch.from_numpy((other - other.mean(0)).astype(np.float32))
    by_sex = torch.from_numpy((male - MALE_SHARE).astype(np.float32))[:, None] * knots
    return Known(rows, torch.cat([knots, others, by_sex], 1), torch.from_numpy(chance.astype(np.float32)))


def stiffness(columns: int, ridge: float, bend: float) -> Tensor:
    """(P,P) penalty: a little on everything but the age curve, and on how much that curve and its difference between
    the sexes bend."""
    second = torch.diff(torch.eye(KNOTS), n=2, dim=0)
    curve = bend * second.T @ second
    penalty = ridge * torch.eye(columns)
    penalty[:KNOTS, :KNOTS] += curve - 0.9 * ridge * torch.eye(KNOTS)
    penalty[-KNOTS:, -KNOTS:] += curve
    return penalty


class Curves:
    """Least squares of many outputs at once, each with a weight of its own per face: add batches, then solve."""

    def __init__(self, columns: int, outputs: int, width: int):
        self.gram = torch.zeros(outputs, columns, columns)
        self.moment = torch.zeros(outputs, columns, width)

    def add(self, design: Tensor, values: Tensor, weight: Tensor) -> None:
        """design (n,P), values (n,outputs,width), weight (n,outputs)."""
        self.gram += torch.einsum("no,nk,nl->okl", weight, design, design)
        self.moment += torch.einsum("no,nk,now->okw", weight, design, values)

    def solve(self, ridge: float = 2.0, bend: float = 4.0) -> tuple[Tensor, Tensor]:
        """The age curves (KNOTS, outputs, width) and the slopes of the action units (UNITS, outputs, width)."""
        penalty = stiffness(self.gram.shape[-1], ridge, bend)
        found = (
            torch.linalg.solve((self.gram + penalty).double(), self.moment.double()).float().transpose(0, 1)
        )
        return found[:KNOTS], found[KNOTS : KNOTS + UNITS]


def fit_shape(faces: Faces, prototypes: Prototypes) -> None:
    """Fill mean_shape, both shapes and region from all faces' landmarks."""
    known = explain(faces)
    marks = torch.from_numpy(faces.labels["landmarks"][known.rows]).flatten(1)
    prototypes.mean_shape.copy_(marks.mean(0).view(68, 2))
    curves = Curves(known.design.shape[1], 1, 136)
    weight = known.weight / known.weight.mean()
    curves.add(known.design, marks[:, None], weight[:, None])
    for kind, found in zip(("age", "unit"), curves.solve(), strict=True):
        getattr(prototypes, f"{kind}_shape").copy_(found[:, 0].view(-1, 68, 2))
    prototypes.region.copy_(face_region(prototypes.mean_shape))


def face_region(mean_shape: Tensor, side: int = 256) -> Tensor:
    """(1,64,64) in 0..1: the face within its jaw and a forehead as high as the nose is long, with a soft edge."""
    marks = mean_shape.numpy()
    brow = marks[17:27, 1].min()
    left, right = marks[0], marks[16]
    height = brow - 0.85 * (marks[33, 1] - marks[27, 1])
    arc = np.linspace(np.pi, 2 * np.pi, 15)
    middle, half = (left + right) / 2, (right[0] - left[0]) / 2
    forehead = np.stack(
        [middle[0] + 0.95 * half * np.cos(arc), middle[1] + (middle[1] - height) * np.sin(arc)], 1
    )
    outline = cv2.convexHull((np.concatenate([marks[:17], forehead]) * side).astype(np.int32))
    mask: np.ndarray = np.zeros((side, side), np.float32)
    cv2.fillConvexPoly(mask, outline, 1.0)
    mask = cv2.GaussianBlur(cv2.erode(mask, np.ones((9, 9))), (0, 0), 0.022 * side)
    return resize(torch.from_numpy(mask)[None, None], 64)[0]


@torch.no_grad()
def fit_pixels(
    faces: Faces,
    prototypes: Prototypes,
    most: int,
    hair: FindHair | None = None,
    kinds: Sequence[str] = ("age", "unit"),
    batch: int = 50,
) -> None:
    """Fill tones and textures of some kinds from up to `most` faces, each brought to the mean shape. Where hair is
    found a face has no skin to measure; without `hair` the forehead's tone is in part that of fringes."""
    known = explain(faces, most=most)
    columns = known.design.shape[1]
    tone, texture = Curves(columns, 64 * 64, 3), Curves(columns, 32 * 32, BANDS)
    for part in torch.arange(len(known.rows)).split(batch):
        shown = faces.batch(known.rows[part.numpy()])
        real = -F.max_pool2d(-shown["valid"], 9, 1, 4)
        if hair is not None:
            real = real * (1 - 2 * enlarge(hair(shown["face"]), real.shape[-1])).clamp_min(0)
        design = known.design[part]
        colours, weight = canonical_colours(shown["face"], real, shown["landmarks"], prototypes)
        tone.add(design, colours, weight)
        energies, weight = canonical_energies(shown["face"], real, shown["landmarks"], prototypes)
        texture.add(design, energies, weight)
    for kind, of_tone, of_texture in zip(("age", "unit"), tone.solve(), texture.solve(), strict=True):
        if kind not in kinds:
            continue
        getattr(prototypes, f"{kind}_tone").copy_(of_tone.view(-1, 64, 64, 3).permute(0, 3, 1, 2))
        getattr(prototypes, f"{kind}_texture").copy_(of_texture.view(-1, 32, 32, BANDS).permute(0, 3, 1, 2))


def to_mean_shape(maps: Tensor, landmarks: Tensor, prototypes: Prototypes, side: int) -> Tensor:
    """Maps (B,C,h,w) in each face's frame -> (B,C,side,side) in the mean shape's."""
    same = prototypes.mean_shape.expand(len(landmarks), -1, -1)
    grid = canonical_grid(same, landmarks, side)
    return F.grid_sample(maps, grid, padding_mode="zeros", align_corners=False)


def canonical_colours(
    face: Tensor, real: Tensor, landmarks: Tensor, prototypes: Prototypes
) -> tuple[Tensor, Tensor]:
    """Colours relative to the skin's mean, in its standard deviations of brightness: (B,4096,3), weight (B,4096)."""
    maps = to_mean_shape(torch.cat([resize(face, 64), resize(real, 64)], 1), landmarks, prototypes, 64)
    colour, weight = maps[:, :3], (maps[:, 3:] > 0.95).float()
    skin = weight * prototypes.region + 1e-6
    mean = (colour * skin).sum((2, 3), keepdim=True) / skin.sum((2, 3), keepdim=True)
    _, spread = prototypes.brightness(colour, skin)
    relative = (colour - mean) / spread
    return relative.flatten(2).transpose(1, 2), weight.flatten(1)


def canonical_energies(
    face: Tensor, real: Tensor, landmarks: Tensor, prototypes: Prototypes
) -> tuple[Tensor, Tensor]:
    """Log energies of the bands of brightness: (B,1024,BANDS), weight (B,1024)."""
    light, energies = resize(luma(face), TEXTURE_SIDE), []
    for _ in range(BANDS):
        detail, light = split_band(light)
        energies.append(F.adaptive_avg_pool2d(detail.square(), 32))
    maps = torch.cat([*energies, F.adaptive_avg_pool2d(real, 32)], 1)
    maps = to_mean_shape(maps, landmarks, prototypes, 32)
    logs = maps[:, :BANDS].clamp_min(1e-6).log()
    return logs.flatten(2).transpose(1, 2), (maps[:, BANDS] > 0.97).float().flatten(1)


@torch.no_grad()
def fit_hair(
    faces: Faces, prototypes: Prototypes, rows: np.ndarray, masks: np.ndarray, batch: int = 50
) -> None:
    """Fill age_hair from faces `rows` with hair masks (N,S,S) uint8: brightness relative to the skin's, and log
    saturation."""
    known = explain(faces)
    place = {row: i for i, row in enumerate(known.rows)}
    pairs = [(place[row], i) for i, row in enumerate(rows) if row in place]
    curves = Curves(known.design.shape[1], 1, 2)
    for part in np.array_split(np.array(pairs, int).reshape(-1, 2), max(1, len(pairs) // batch)):
        shown = faces.batch(known.rows[part[:, 0]])
        hair = torch.from_numpy(masks[part[:, 1]]).float()[:, None] / 255
        values, weight = hair_colour(shown["face"], hair, shown["landmarks"], prototypes)
        curves.add(known.design[torch.from_numpy(part[:, 0])], values[:, None], weight[:, None])
    prototypes.age_hair.copy_(curves.solve(bend=30.0)[0][:, 0])


def hair_colour(
    face: Tensor, hair: Tensor, landmarks: Tensor, prototypes: Prototypes
) -> tuple[Tensor, Tensor]:
    """(B,2): hair's brightness over the skin's, both from black, and the log of its saturation; weight (B,): 1 where
    there is hair to measure."""
    face, hair = resize(face, 64), resize(hair, 64)
    skin = prototypes.warp_to_face(
        prototypes.region.expand(len(face), -1, -1, -1), canonical_grid(landmarks, prototypes.mean_shape, 64)
    ) * (1 - hair)
    centre, _ = prototypes.brightness(face, skin)
    strong = (hair > 0.9).float()
    amount = strong.sum((2, 3)).clamp_min(1)
    light = luma(face)
    bright = ((light + 1) * strong).sum((2, 3)) / amount / (centre.flatten(1) + 1).clamp_min(0.2)
    chroma = ((face - light).abs().mean(1, keepdim=True) * strong).sum((2, 3)) / amount
    saturation = (
        (chroma / ((light + 1) * strong).sum((2, 3)).div(amount).clamp_min(0.02)).clamp_min(1e-3).log()
    )
    return torch.cat([bright, saturation], 1), (strong.mean((1, 2, 3)) > 0.02).float()


def set_gains(prototypes: Prototypes, gains: dict[str, Any]) -> None:
    """Means of many faces are duller than any of them, and noisy labels make slopes too small. gains: `outward` and
    `inward` hold a number, or one an age knot, for shape, tone, texture and hair; `units` a number, or one an action
    unit, that multiplies the measured slopes, as `across` those of the shape that lead aside; `wrinkles` one an age
    knot, `Wrinkles.onset`; `eyes` one an age knot, how large they are in a face; `detail_limit` is that of
    `Prototypes`."""
    for way in ("outward", "inward"):
        for name, gain in gains.get(way, {}).items():
            getattr(prototypes, way)[MAPS.index(name)] = torch.as_tensor(gain, dtype=torch.float32)
    if prototypes.wrinkles is not None and "wrinkles" in gains:
        prototypes.wrinkles.onset.copy_(torch.as_tensor(gains["wrinkles"], dtype=torch.float32))
    if prototypes.age_eyes is not None and "eyes" in gains:
        prototypes.age_eyes.copy_(torch.as_tensor(gains["eyes"], dtype=torch.float32).log())
    if prototypes.detail_limit is not None and "detail_limit" in gains:
        prototypes.detail_limit.fill_(gains["detail_limit"])
    for name, gain in gains.get("units", {}).items():
        found = prototypes.unit_shape[..., 0] if name == "across" else getattr(prototypes, f"unit_{name}")
        factor = torch.as_tensor(gain, dtype=torch.float32).expand(UNITS)
        found.mul_(factor.view(-1, *[1] * (found.dim() - 1)))


def centre(prototypes: Prototypes) -> None:
    """Make the age prototypes differences from the one of NEUTRAL years."""
    at = age_basis(torch.tensor([NEUTRAL]))[0]
    for name in MAPS:
        found = getattr(prototypes, f"age_{name}")
        found.sub_(torch.einsum("k,k...->...", at, found))
