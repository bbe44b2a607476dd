"""Layouts of creases for `networks.skin.wrinkles.Wrinkles`, drawn by what many old faces have in common.

A mean of many old faces has no creases, for no two lie at the same place. What is alike in them is which way creases
run and how much there is of them: across the forehead, upright between the brows, around the eyes and out of their
corners, from the nose down. Both are measured in the mean shape's frame, as the structure tensor (Förstner & Gülch
1987) of a few bands of brightness, mean of old faces less that of young ones; so nothing of one person's is kept.
Layouts are noise that is averaged along these directions (line integral convolution, Cabral & Leedom, SIGGRAPH 1993),
of which only the dark lines stay: skin lies in valleys between smooth ridges.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...edits import AU_CODES
from ...networks.layers import enlarge, luma, resize
from ...networks.prototypes import Prototypes
from ...networks.skin.wrinkles import DEEPEST, DRAWN, SIDE, WINDOW, blur
from ...networks.warp import canonical_grid
from ..data.faces import Faces

OLD, YOUNG = (62.0, 100.0), (20.0, 30.0)
"""Years of the faces whose creases are measured, and of those whose skin counts as smooth."""
MOST_FACES = 1500
"""How many faces of either kind are measured."""
TURNED = 15.0
"""Degrees of yaw or pitch up to which a face is measured."""
STILL = 1.5
"""Largest smile and opening (AU12 and AU25, in 0..5) of a face that is measured."""
BARE, SHARP = 0.8, 0.6
"""Shares of the faces that are measured: those with the least detail between the inner corners of the eyes, where
glasses have their bridge, and of them those with the most of the finest detail."""
BROAD = 5.0
"""Standard deviation, in pixels of SIDE, of what is shading and no crease."""
LEAST_SPREAD = 0.08
"""Least standard deviation of the skin's brightness, in units of [-1,1], that details are measured in."""
BANDS = ((1.4, 2.8), (0.7, 1.4), (0.0, 0.8))
"""Standard deviations, in pixels of SIDE, of the Gaussians between which each band of brightness lies."""
MAP_SIDE = 64
"""Side of the maps that are measured."""
SMOOTH = (1.5, 1.2)
"""Standard deviations, in pixels of MAP_SIDE, by which directions and strengths are smoothed."""
OWN = 0.15
"""How much the directions of old faces count beside what they have more than young ones."""
STROKES = ((1.5, 3.0, 26.0), (0.8, 1.6, 16.0), (0.42, 0.85, 10.0))
"""Of each band: standard deviations of the Gaussians between which its noise lies, and how far to either side it is
averaged along a line, in pixels of SIDE."""
KEPT = (0.6, 1.0, 1.0)
"""Share of each band that layouts keep: broad folds are in the tones of the ages, too, at the same place in every face.
"""
VALLEY = 0.5
"""Standard deviations below the mean from which on a line is dark."""
SHOULDERS = 2.2
"""Width of the bright ridges beside it, in the coarser of its standard deviations."""
CLEAR = 0.1
"""How far one direction prevails where lines are half as deep as where all run alike."""
WANDERS = (0.16, 14.0)
"""Radians by which lines leave their direction, and the standard deviation, in pixels of SIDE, over which they do."""
UNEVEN = (0.5, 16.0)
"""The same of the logarithm of how deep lines are."""
EYES, BROWS, NOSE = (slice(36, 42), slice(42, 48)), (slice(17, 22), slice(22, 27)), 27


class Grain(NamedTuple):
    """What creases have in common, in the mean shape's frame."""

    across: Tensor
    """(3,64,64): the structure tensor xx, xy, yy of brightness, whose main direction lies across creases."""
    strength: Tensor
    """(BANDS,64,64): standard deviation of each band, in that of the skin's brightness."""


@torch.no_grad()
def fit_wrinkles(faces: Faces, prototypes: Prototypes) -> None:
    """Fill the layouts of `prototypes.wrinkles`, measured on the old and the young faces among some of 256 pixels.
    Without any the layouts are empty."""
    wrinkles = prototypes.wrinkles
    if wrinkles is None:
        return
    wrinkles.layouts.zero_()
    rows = [rows_between(faces, *ages) for ages in (OLD, YOUNG)]
    if not len(rows[0]):
        return
    grain = grain_of(*(measure(faces, some, prototypes) for some in rows))
    skin = enlarge(crease_mask(prototypes)[None, None], DRAWN)[0, 0]
    top, bottom, left, right = (edge * DRAWN // SIDE for edge in WINDOW)
    for number, layout in enumerate(wrinkles.layouts):
        drawn = (draw(grain, number) * skin)[top:bottom, left:right]
        layout.copy_((drawn / DEEPEST * 127).round().clamp(-127, 127).to(torch.int8))


def rows_between(faces: Faces, youngest: float, oldest: float) -> np.ndarray:
    """Rows of still faces of these ages that look ahead, MOST_FACES at most."""
    labels = faces.labels
    ahead = (np.abs(labels["pose"][:, :2]) < TURNED).all(1)
    known = ~np.isnan(labels["landmarks"]).any((1, 2))
    units = np.nan_to_num(labels["action_units"][:, [AU_CODES.index("AU12"), AU_CODES.index("AU25")]])
    fit = ahead & known & (units < STILL).all(1)
    rows = np.flatnonzero(fit & (labels["age"] >= youngest) & (labels["age"] <= oldest))
    return rows[np.linspace(0, len(rows) - 1, min(MOST_FACES, len(rows))).astype(int)]


def measure(faces: Faces, rows: np.ndarray, prototypes: Prototypes, batch: int = 16) -> Tensor:
    """Means over those of some faces that wear no glasses and are sharp, (BANDS,4,64,64): the structure tensor of each
    band of brightness, xx, xy and yy, and its energy. 0 without faces."""
    maps, shares, bridges = [], [], []
    for part in np.array_split(rows, -(-len(rows) // batch)) if len(rows) else ():
        shown = faces.batch(part)
        light, seen = canonical_light(shown["face"], shown["valid"], shown["landmarks"], prototypes)
        details = [(blur(light, low) if low else light) - blur(light, high) for low, high in BANDS]
        found = torch.stack([structure(detail.clamp(-1, 1)) for detail in details], 1)
        maps.append((found * seen[:, None, None]).half())
        shares.append(seen)
        bridges.append(bridge_energy(light, prototypes))
    if not maps:
        return torch.zeros(len(BANDS), 4, MAP_SIDE, MAP_SIDE)
    found, seen, bridge = torch.cat(maps), torch.cat(shares), torch.cat(bridges)
    finest = found[:, -1, 3].float().sum((1, 2)) / seen.sum((1, 2)).clamp_min(1)
    bare = bridge <= bridge.quantile(BARE)
    kept = bare & (finest >= finest[bare].quantile(1 - SHARP))
    return found[kept].float().sum(0) / seen[kept].sum(0).clamp_min(1)


def canonical_light(
    face: Tensor, real: Tensor, landmarks: Tensor, prototypes: Prototypes
) -> tuple[Tensor, Tensor]:
    """Faces (B,3,S,S) with their valid area (B,1,S,S) and landmarks (B,68,2) -> their brightness in the mean shape's
    frame (B,1,256,256), in standard deviations of the skin's, and where it is all skin, (B,64,64) of 0 and 1."""
    face, real = resize(face, SIDE), (resize(real, SIDE) > 0.98).float()
    seen = real * (1 - prototypes.find_hair(face))
    skin = prototypes.face_region(landmarks, SIDE) * seen
    mean, spread = prototypes.brightness(face, skin)
    light = torch.where(seen > 0.5, luma(face), mean)  # what is no skin casts no crease
    marks = prototypes.mean_shape.expand(len(face), -1, -1)
    grid = canonical_grid(marks, landmarks, SIDE)
    maps = torch.cat([light, seen], 1)
    light, seen = F.grid_sample(maps, grid, mode="bicubic", padding_mode="border", align_corners=False).split(
        1, 1
    )
    sure = F.avg_pool2d(-F.max_pool2d(-seen, 9, 1, 4), SIDE // MAP_SIDE) > 0.9
    return light / spread.clamp_min(LEAST_SPREAD), sure[:, 0].float()


def bridge_energy(light: Tensor, prototypes: Prototypes) -> Tensor:
    """Brightness (B,1,256,256) in the mean shape's frame -> (B,): detail where glasses have their bridge."""
    marks = prototypes.mean_shape * SIDE
    x, y = int(marks[NOSE, 0]), int(marks[36:48, 1].mean())
    bridge = (light - blur(light, BROAD))[..., max(y - 6, 0) : y + 4, max(x - 9, 0) : x + 9]
    return bridge.square().mean((1, 2, 3))


def structure(detail: Tensor) -> Tensor:
    """Details (B,1,256,256) -> (B,4,64,64), see `measure`."""
    across = F.pad(detail[..., 2:] - detail[..., :-2], (1, 1)) / 2
    down = F.pad(detail[..., 2:, :] - detail[..., :-2, :], (0, 0, 1, 1)) / 2
    parts = torch.cat([across.square(), across * down, down.square(), detail.square()], 1)
    return F.avg_pool2d(parts, SIDE // MAP_SIDE)


def grain_of(old: Tensor, young: Tensor) -> Grain:
    """What old faces have more than young ones, (BANDS,4,64,64) each, the same on both sides of the face."""
    both = [
        (maps + maps.flip(3) * maps.new_tensor([1, -1, 1, 1])[:, None, None]) / 2 for maps in (old, young)
    ]
    more = both[0] - both[1]
    share = (more + OWN * both[0])[:, :3] / (both[0][:, :1] + both[0][:, 2:3]).clamp_min(1e-6)
    across = blur(share.sum(0)[:, None], SMOOTH[0])[:, 0]
    return Grain(across, blur(more[:, 3:].clamp_min(0).sqrt(), SMOOTH[1])[:, 0])


def crease_mask(prototypes: Prototypes) -> Tensor:
    """(256,256) in 0..1: skin on which creases are drawn, without eyes, brows, lips and nose."""
    marks = (prototypes.mean_shape.numpy() * SIDE).astype(np.float32)
    drawn = np.ones((SIDE, SIDE), np.float32)
    nose = np.concatenate([marks[NOSE : NOSE + 9], marks[[39, 42]] * 0.3 + marks[NOSE] * 0.7])
    organs = [(marks[part], 3) for part in EYES] + [(marks[part], 4) for part in BROWS]
    for points, grown in [*organs, (marks[48:60], 3), (nose, 5)]:
        filled = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillConvexPoly(filled, cv2.convexHull(points.astype(np.int32)), 1)
        ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grown + 1, 2 * grown + 1))
        drawn[cv2.dilate(filled, ellipse) > 0] = 0
    soft = torch.from_numpy(cv2.GaussianBlur(drawn, (0, 0), 2.5))
    face = (2 * resize(prototypes.region[None], SIDE)[0, 0] - 0.9).clamp(0, 1)  # well within jaw and hair
    return soft * face


def draw(grain: Grain, seed: int) -> Tensor:
    """Creases (512,512) of a grain, in standard deviations of the skin's brightness; other ones for each seed."""
    generator = torch.Generator().manual_seed(seed)
    scale = DRAWN / SIDE
    turned = WANDERS[0] * slow_noise(generator, WANDERS[1] * scale)
    double, clear = directions(grain.across, turned)
    total = torch.zeros(DRAWN, DRAWN)
    for (low, high, reach), kept, strength in zip(STROKES, KEPT, grain.strength, strict=True):
        noise = torch.randn(1, 1, DRAWN, DRAWN, generator=generator)
        noise = normal(blur(noise, low * scale) - blur(noise, high * scale))
        brushed = integrate(noise, double, round(reach * scale))
        # Averaging along a line that bends blurs across it, too.
        brushed = normal(blur(brushed, 0.7 * low * scale) - blur(brushed, 1.3 * high * scale))
        valleys = (brushed + VALLEY).clamp_max(0) * (
            UNEVEN[0] * slow_noise(generator, UNEVEN[1] * scale)
        ).exp()
        valleys = normal(valleys - blur(valleys, SHOULDERS * high * scale))
        total += (valleys * clear)[0, 0] * enlarge(kept * strength[None, None], DRAWN)[0, 0]
    return total


def normal(x: Tensor) -> Tensor:
    """The same with a standard deviation of 1."""
    return x / x.std().clamp_min(1e-6)


def slow_noise(generator: torch.Generator, spread: float) -> Tensor:
    """(1,1,512,512), standard normal, that changes over `spread` pixels."""
    small = torch.randn(1, 1, DRAWN // 8, DRAWN // 8, generator=generator)
    return normal(enlarge(blur(small, spread / 8), DRAWN))


def directions(across: Tensor, turned: Tensor) -> tuple[Tensor, Tensor]:
    """A structure tensor (3,64,64) -> the direction of the lines, turned by radians (1,1,512,512), as the cosine and
    the sine of twice its angle, (1,2,512,512); and how clear it is, (1,1,512,512) in 0..1."""
    xx, xy, yy = enlarge(across[None], DRAWN).split(1, 1)
    angle = torch.atan2(2 * xy, xx - yy) + torch.pi + 2 * turned
    prevails = ((xx - yy).square() + 4 * xy.square()).sqrt()
    return torch.cat([angle.cos(), angle.sin()], 1), prevails / (prevails + CLEAR)


def integrate(noise: Tensor, double: Tensor, reach: int) -> Tensor:
    """Noise (1,1,s,s) averaged along the lines of `directions` (1,2,s,s), `reach` pixels to either side, less of it far
    away: line integral convolution."""
    side = noise.shape[-1]
    line = (torch.arange(side) + 0.5) * (2 / side) - 1
    start = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)[None]
    maps, total = torch.cat([noise, double], 1), noise.clone()
    for sign in (1, -1):
        place, way = start, sign * half_angle(double)
        for step in range(reach):
            place = place + way * (2 / side)
            seen = F.grid_sample(maps, place, padding_mode="reflection", align_corners=False)
            there = half_angle(seen[:, 1:])
            # A line has no sense of direction: go on, not back.
            way = torch.where((there * way).sum(-1, keepdim=True) < 0, -there, there)
            total += (0.5 + 0.5 * np.cos(np.pi * (step + 1) / (reach + 1))) * seen[:, :1]
    return total


def half_angle(double: Tensor) -> Tensor:
    """Cosine and sine of twice an angle (1,2,s,s) -> the unit vector of the angle, (1,s,s,2)."""
    angle = torch.atan2(double[:, 1], double[:, 0]) / 2
    return torch.stack([angle.cos(), angle.sin()], -1)
