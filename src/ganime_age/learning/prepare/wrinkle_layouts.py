"""Layouts of creases, measured for `networks.skin.wrinkles.Wrinkles`: patterns of old people, each rebuilt from others.

A mean of many old faces has no creases, for no two lie at the same place. So one person's pattern says where creases
lie, and for every patch of it the patches of other people that match it best, shifted and mirrored as they fit, are
averaged: non-local means (Buades, Coll & Morel, CVPR 2005) across people, without the person's own patches. What many
people share is kept sharp; pores, moles, shadows and JPEG blocks of one photo go.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...edits import AU_CODES
from ...networks.layers import luma, resize
from ...networks.prototypes import Prototypes
from ...networks.skin.wrinkles import DEEPEST, SIDE, WINDOW, blur, height_zones
from ...networks.warp import canonical_grid
from ..data.faces import Faces

OLD, YOUNG = 50.0, (18.0, 30.0)
"""Years from which a face lends its patches, and between which the mean face has no creases."""
YOUNG_FACES = 600
"""How many young faces are measured."""
PATTERN_AGE = 60.0
"""Years from which a person's pattern may become a layout."""
TURNED = 22.0
"""Degrees of yaw or pitch up to which a face is measured."""
BROAD = 5.0
"""Standard deviation, in pixels of SIDE, of what is shading and no crease."""
CREASED = 0.55
"""The share of the old faces, those with the deepest creases, that lend patches."""
COVERED = (0.6, 0.95)
"""Least share of the measured skin that a photo shows of a face that lends patches, and of one that lends a pattern."""
GLASSES = 0.045
"""Energy of creases between the inner corners of the eyes from which a face is taken to wear glasses."""
LOPSIDED = 0.6
"""The share of the faces, those whose halves are most alike, of which one may lend its pattern: light from one side
would be a crease."""
SAME = 0.5
"""Correlation from which two patterns count as one."""
STILL = 1.5
"""Largest smile and opening (AU12 and AU25, in 0..5) of a face that lends its pattern."""
PATCH, STEP, SHIFT = 32, 8, 4
"""Side of a patch, distance of two patches, and largest shift to either side, in pixels of SIDE."""
CANDIDATES, KEPT = 48, 20
"""How many patches are compared at full size, and how many of them are averaged."""
RESTORED = 2.0
"""Largest factor that gives a mean of patches the energy of the pattern."""
UNSHARP = 3.0
"""Standard deviation, in pixels of SIDE, of the blur that an unsharp mask takes away."""
FOLDED, FOLDS = 3.0, 0.65
"""Standard deviation, in pixels of SIDE, from which on creases are folds, and the share of these that a layout keeps:
the tone of the ages draws the rest, at the same place in every face."""
LEVELLED = 2.0
"""Largest factor that makes a shallow zone of a layout as deep as others."""
EYES, BROWS, NOSE = (slice(36, 42), slice(42, 48)), (slice(17, 22), slice(22, 27)), 27


class Creases(NamedTuple):
    """Creases of N old faces in WINDOW of the mean shape's frame."""

    detail: Tensor
    """(N,192,160) float16: brightness without shading, in standard deviations of the skin's."""
    seen: Tensor
    """(N,48,40): which of it the photo shows, 0..1."""
    age: Tensor
    """(N,) years."""
    still: Tensor
    """(N,) bool: neither smiles nor has an open mouth."""

    def of(self, rows: Tensor) -> Creases:
        """Those of some faces."""
        return Creases(*(values[rows] for values in self))


class Weighed(NamedTuple):
    """Patches (..,n) of n weighed pixels, for correlations that shadows and hard light do not change."""

    pixels: Tensor
    mean: Tensor
    """(..)."""
    energy: Tensor
    """(..): weighed sum of squares about the mean."""


@torch.no_grad()
def fit_wrinkles(faces: Faces, prototypes: Prototypes) -> None:
    """Fill the layouts of `prototypes.wrinkles` from the old faces among some of 256 pixels, as many as it has room
    for; where there are fewer patterns they repeat. Without any the layouts are empty."""
    wrinkles = prototypes.wrinkles
    rows = rows_between(faces, OLD, 100)
    if wrinkles is None or not len(rows):
        return
    skin = crease_mask(prototypes)
    found = measure(faces, rows, prototypes)
    found = found._replace(detail=found.detail - smooth_face(faces, prototypes))
    wrinkles.layouts.zero_()
    patterns = choose_patterns(found, prototypes, skin, len(wrinkles.layouts))
    if not len(patterns):
        return
    lending = lenders(found, skin, patterns)
    layouts = rebuild(found.detail[patterns].float(), patterns, found.of(lending), lending, skin)
    layouts = lighter_folds(equally_deep(crisp(layouts), height_zones(prototypes.mean_shape)))
    stored = (layouts / DEEPEST * 127).round().clamp(-127, 127).to(torch.int8)
    wrinkles.layouts.copy_(stored[torch.arange(len(wrinkles.layouts)) % len(stored)])


def rows_between(faces: Faces, youngest: float, oldest: float) -> np.ndarray:
    """Rows of the faces of these ages that look ahead."""
    labels = faces.labels
    ahead = (np.abs(labels["pose"][:, :2]) < TURNED).all(1)
    known = ~np.isnan(labels["landmarks"]).any((1, 2))
    return np.flatnonzero(ahead & known & (labels["age"] >= youngest) & (labels["age"] <= oldest))


def smooth_face(faces: Faces, prototypes: Prototypes) -> Tensor:
    """What stands in `Creases.detail` of a face without creases, the mean of young ones and their mirror images:
    (192,160) float16."""
    rows = rows_between(faces, *YOUNG)
    if not len(rows):
        return torch.zeros(WINDOW[1] - WINDOW[0], WINDOW[3] - WINDOW[2], dtype=torch.float16)
    rows = rows[np.linspace(0, len(rows) - 1, min(YOUNG_FACES, len(rows))).astype(int)]
    mean = measure(faces, rows, prototypes).detail.float().mean(0)
    return ((mean + mean.flip(1)) / 2).half()


def measure(faces: Faces, rows: np.ndarray, prototypes: Prototypes, batch: int = 32) -> Creases:
    """The creases of some faces."""
    parts = []
    for part in np.array_split(rows, -(-len(rows) // batch)):
        shown = faces.batch(part)
        units = shown["action_units"].nan_to_num(0)[:, [AU_CODES.index("AU12"), AU_CODES.index("AU25")]]
        detail, seen = canonical_creases(shown["face"], shown["valid"], shown["landmarks"], prototypes)
        parts.append(Creases(detail.half(), seen, shown["age"], (units < STILL).all(1)))
    return Creases(*(torch.cat(values) for values in zip(*parts, strict=True)))


def canonical_creases(
    face: Tensor, real: Tensor, landmarks: Tensor, prototypes: Prototypes
) -> tuple[Tensor, Tensor]:
    """Faces (B,3,S,S) with their valid area (B,1,S,S) and landmarks (B,68,2) -> Creases.detail and Creases.seen."""
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
    detail = ((light - blur(light, BROAD)) / spread).clamp(-DEEPEST, DEEPEST)
    sure = F.avg_pool2d(-F.max_pool2d(-seen, 9, 1, 4), 4).clamp(0, 1)
    top, bottom, left, right = WINDOW
    return detail[:, 0, top:bottom, left:right], sure[:, 0, top // 4 : bottom // 4, left // 4 : right // 4]


def crease_mask(prototypes: Prototypes) -> Tensor:
    """(192,160) in 0..1: skin on which creases are drawn, without eyes, brows, lips and nose."""
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
    top, bottom, left, right = WINDOW
    return (soft * face)[top:bottom, left:right]


def energies(detail: Tensor, weight: Tensor, batch: int = 256) -> Tensor:
    """Details (N,192,160) -> their mean squares where weight (192,160) is 1, (N,)."""
    sums = [(part.float().square() * weight).sum((1, 2)) for part in detail.split(batch)]
    return torch.cat(sums) / weight.sum().clamp_min(1e-6)


def coverage(found: Creases, skin: Tensor) -> Tensor:
    """(N,): the share of the measured skin that each photo shows."""
    coarse = F.avg_pool2d(skin[None, None], 4)[0, 0]
    return (found.seen * coarse).sum((1, 2)) / coarse.sum()


def choose_patterns(found: Creases, prototypes: Prototypes, skin: Tensor, count: int) -> Tensor:
    """Rows of up to `count` still faces that show all their skin, wear no glasses, and have deep creases on forehead,
    temples and cheeks and fine skin on lip and chin, where a beard would be."""
    marks = (prototypes.mean_shape * SIDE) - torch.tensor([WINDOW[2], WINDOW[0]])
    places = face_boxes(marks)
    deep = {name: energies(found.detail, box * skin) for name, box in places.items() if name != "bridge"}
    bridge = energies(found.detail, places["bridge"])
    mirrored = torch.cat([(part.float() - part.float().flip(2)).half() for part in found.detail.split(256)])
    ranks = {name: values.argsort().argsort() / len(values) for name, values in deep.items()}
    lopsided = energies(mirrored, skin) / energies(found.detail, skin).clamp_min(1e-6)
    score = ranks["forehead"] + ranks["temples"] + ranks["cheeks"] - 1.2 * (ranks["chin"] + ranks["lip"])
    fit = found.still & (found.age >= PATTERN_AGE) & (bridge < GLASSES)
    fit &= (coverage(found, skin) > COVERED[1]) & (lopsided.argsort().argsort() < LOPSIDED * len(lopsided))
    order = score.masked_fill(~fit, -torch.inf).argsort(descending=True)[: int(fit.sum())]
    return order[distinct(found.detail[order[: 4 * count]].float() * skin)[:count]]


def distinct(patterns: Tensor) -> Tensor:
    """Rows of patterns (K,192,160), in their order, without those that are nearly an earlier one: photos of the same
    person, or the same photo twice."""
    flat = F.normalize((patterns - patterns.mean((1, 2), keepdim=True)).flatten(1))
    alike = (flat @ flat.T) > SAME
    kept: list[int] = []
    for row in range(len(patterns)):
        if not alike[row, kept].any():
            kept.append(row)
    return torch.tensor(kept, dtype=torch.long)


def face_boxes(marks: Tensor) -> dict[str, Tensor]:
    """Parts of WINDOW, (192,160) of 0 and 1 each. marks (68,2): the mean shape's landmarks in its pixels."""
    brow = min(marks[19, 1], marks[24, 1])
    eyes, lips, chin = marks[36:48, 1].mean(), marks[48:60], marks[8, 1]
    corners: dict[str, list[tuple[Any, ...]]] = {
        "forehead": [(marks[18, 0], 8, marks[25, 0], brow - 6)],
        "bridge": [(marks[27, 0] - 9, eyes - 6, marks[27, 0] + 9, eyes + 4)],
        "temples": [
            (marks[36, 0] - 24, eyes - 12, marks[36, 0] - 4, eyes + 18),
            (marks[45, 0] + 4, eyes - 12, marks[45, 0] + 24, eyes + 18),
        ],
        "cheeks": [
            (lips[0, 0] - 30, marks[31, 1] - 4, lips[0, 0], lips[0, 1] + 10),
            (lips[6, 0], marks[35, 1] - 4, lips[6, 0] + 30, lips[6, 1] + 10),
        ],
        "lip": [(lips[0, 0] + 4, marks[33, 1] + 5, lips[6, 0] - 4, lips[3, 1] - 3)],
        "chin": [(marks[8, 0] - 26, lips[9, 1] + 5, marks[8, 0] + 26, chin - 3)],
    }
    rows = torch.arange(WINDOW[1] - WINDOW[0])[:, None]
    columns = torch.arange(WINDOW[3] - WINDOW[2])[None]
    boxes = {}
    for name, parts in corners.items():
        inside: list[Tensor] = [
            (columns >= x0) & (columns < x1) & (rows >= y0) & (rows < y1) for x0, y0, x1, y1 in parts
        ]
        boxes[name] = torch.stack(inside).any(0).float()
    return boxes


def lenders(found: Creases, skin: Tensor, patterns: Tensor) -> Tensor:
    """Rows of the faces that lend patches: those with the deepest creases, and the patterns' own."""
    smooth = torch.cat([blur(part[:, None].float(), 1.0)[:, 0].half() for part in found.detail.split(256)])
    energy, shown = energies(smooth, skin), coverage(found, skin) > COVERED[0]
    deep = energy >= energy[shown].quantile(1 - CREASED) if shown.any() else shown
    lends = shown & deep
    lends[patterns] = True
    return lends.nonzero()[:, 0]


def rebuild(patterns: Tensor, owners: Tensor, found: Creases, people: Tensor, skin: Tensor) -> Tensor:
    """Patterns (K,192,160) of people (K,) -> layouts (K,192,160), the means of patches of others.

    found: who lends patches; people (N,): which person each of them is, numbered like `owners`.
    """
    pool = torch.cat([found.detail, found.detail.flip(2)])  # everybody, then everybody mirrored
    small = torch.cat([F.avg_pool2d(part[:, None].float(), 2)[:, 0] for part in pool.split(256)])
    seen, people = torch.cat([found.seen, found.seen.flip(2)]), torch.cat([people, people])
    small_patterns = F.avg_pool2d(patterns[:, None], 2)[:, 0]
    window = hann(PATCH)
    total, weight = torch.zeros_like(patterns), torch.zeros_like(skin)
    own = people[:, None] == owners  # (2N,K)
    for top in range(0, skin.shape[0] - PATCH + 1, STEP):
        for left in range(0, skin.shape[1] - PATCH + 1, STEP):
            place = (slice(top, top + PATCH), slice(left, left + PATCH))
            if skin[place].mean() < 0.15:
                continue
            match = coarse_match(small, small_patterns, skin, (top, left))
            whole = seen[:, top // 4 : (top + PATCH) // 4, left // 4 : (left + PATCH) // 4].mean((1, 2)) > 0.9
            match[own | ~whole[:, None]] = -1
            agreement, order = match.topk(min(CANDIDATES, len(match)), 0)
            for k, pattern in enumerate(patterns):
                near = order[agreement[:, k] > -1, k]
                if len(near):
                    total[k][place] += window * mean_patch(pool[near], pattern, skin, (top, left))
            weight[place] += window
    rebuilt = total / weight.clamp_min(1e-3)
    lost = local_energy(patterns * skin) / local_energy(rebuilt * skin).clamp_min(1e-5)
    return rebuilt * lost.sqrt().clamp(1, RESTORED) * skin


def crisp(layouts: Tensor) -> Tensor:
    """Layouts (K,192,160) after an unsharp mask, of the energy that they had: averaging blurs lines first."""
    sharper = 2 * layouts - blur(layouts[:, None], UNSHARP)[:, 0]
    return sharper * (layouts.square().mean() / sharper.square().mean().clamp_min(1e-9)).sqrt()


def equally_deep(layouts: Tensor, zones: Tensor) -> Tensor:
    """Layouts (K,192,160) whose creases are as deep in each zone (Z,192) as in the fourth part of them that is deepest
    there, up to LEVELLED times deeper: the zone's layout is chosen by its place, and age alone says how deep it is."""
    energy = torch.einsum("khw,zh->kz", layouts.square(), zones)
    gain = (energy.quantile(0.75, dim=0) / energy.clamp_min(1e-9)).sqrt().clamp(1, LEVELLED)
    return layouts * (gain @ zones)[:, :, None]


def lighter_folds(layouts: Tensor) -> Tensor:
    """Layouts (K,192,160) with FOLDS of what is broader than a line."""
    return layouts - (1 - FOLDS) * blur(layouts[:, None], FOLDED)[:, 0]


def hann(side: int) -> Tensor:
    """(side,side): a window that never is 0."""
    line = torch.hann_window(side + 2, periodic=False)[1:-1]
    return torch.outer(line, line)


def weighed(pixels: Tensor, weight: Tensor) -> Weighed:
    """Patches (..,n) with weights (n,) of their pixels."""
    mean = pixels @ weight / weight.sum()
    return Weighed(pixels, mean, (pixels.square() @ weight - mean.square() * weight.sum()).clamp_min(1e-4))


def coarse_match(pool: Tensor, patterns: Tensor, skin: Tensor, corner: tuple[int, int]) -> Tensor:
    """How well the patch of everybody in `pool` (N,96,80) matches that of each pattern (K,96,80) at a corner (top, left
    in full size), over all shifts: the largest correlation (N,K)."""
    top, left, side = corner[0] // 2, corner[1] // 2, PATCH // 2
    here = (slice(top, top + side), slice(left, left + side))
    weight = (F.avg_pool2d(skin[None, None], 2)[0, 0][here] * hann(side)).flatten()
    wanted = weighed(patterns[:, here[0], here[1]].flatten(1), weight)
    centred = (wanted.pixels - wanted.mean[:, None]) * weight
    best = torch.full((len(pool), len(patterns)), -1.0)
    for y, x in shifts(SHIFT // 2, (top, left), side, pool.shape[1:]):
        there = weighed(pool[:, y : y + side, x : x + side].flatten(1), weight)
        norm = (there.energy[:, None] * wanted.energy).sqrt()
        best = torch.maximum(best, there.pixels @ centred.T / norm)
    return best


def mean_patch(near: Tensor, pattern: Tensor, skin: Tensor, corner: tuple[int, int]) -> Tensor:
    """The mean (PATCH,PATCH) of the best patches of some faces (n,192,160), each shifted to match the patch of a
    pattern (192,160) at a corner, and of that patch's energy."""
    top, left = corner
    here = (slice(top, top + PATCH), slice(left, left + PATCH))
    weight = skin[here] * hann(PATCH)
    wanted = weighed(pattern[here].flatten(), weight.flatten())
    centred = (pattern[here] - wanted.mean) * weight
    places = shifts(SHIFT, corner, PATCH, skin.shape)
    (y0, x0), (y1, x1) = places[0], places[-1]
    around = near[:, None, y0 : y1 + PATCH, x0 : x1 + PATCH].float()
    # Over all shifts at once: sums of w f, w t f and w f^2 are correlations with the kernels w, w t and w.
    sums, products = (
        F.conv2d(around, torch.stack([weight, centred])[:, None]).flatten(2).unbind(1)
    )  # (n,shifts)
    squares = F.conv2d(around.square(), weight[None, None]).flatten(1)
    mean = sums / weight.sum()
    energy = (squares - mean.square() * weight.sum()).clamp_min(1e-4)
    score, shift = (products / (energy * wanted.energy).sqrt()).max(1)
    score, best = score.clamp_min(1e-3).topk(min(KEPT, len(score)))
    total = torch.zeros_like(weight)
    for i, agreement in zip(best.tolist(), score.tolist(), strict=True):
        y, x = places[int(shift[i])]
        factor = agreement * (wanted.energy / energy[i, shift[i]]).sqrt()
        shown = around[i, 0, y - y0 : y - y0 + PATCH, x - x0 : x - x0 + PATCH]
        total += factor * (shown - mean[i, shift[i]])
    return total / score.sum()


def shifts(
    reach: int, corner: tuple[int, int], side: int, shape: tuple[int, ...] | torch.Size
) -> list[tuple[int, int]]:
    """The corners (top, left) up to `reach` pixels around one, of patches that lie in a picture of a shape."""
    tops, lefts = (
        range(max(0, at - reach), min(length - side, at + reach) + 1)
        for at, length in zip(corner, shape, strict=True)
    )
    return [(top, left) for top in tops for left in lefts]


def local_energy(maps: Tensor) -> Tensor:
    """Maps (K,H,W) -> their mean squares nearby, (K,H,W)."""
    return blur(maps.square()[:, None], 8.0)[:, 0]
