"""What open mouths show, measured for `networks.mouth.OpenMouth`: the mean of many, each aligned with the others first.

A plain mean of mouths is one colour, since no two rows of teeth lie at the same place. Each mouth is therefore shifted
and scaled until it agrees best with the mean so far (congealing; Miller, Matsakis & Viola, CVPR 2000), a few rounds.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...networks.layers import luma
from ...networks.mesh import push_pull
from ...networks.mouth import LOWER, TEETH_PATCH, TEETH_REACH, UPPER, OpenMouth, curve
from ...networks.prototypes import Prototypes
from ...networks.warp import canonical_grid
from ..data.faces import Faces

LEAST_OPEN = 0.065
"""Height of the gap, in frame sides, from which a mouth is measured."""
LEAST_CONTRAST = 0.5
"""Least brightness of the teeth above the dark of the mouth, in units of [-1,1]."""
LEAST_DROP = 0.3
"""Least brightness of the upper half of the gap above the lower half's, as a share of the contrast: where it is less,
lower teeth or a lip fill the gap."""
TURNED = 20.0
"""Degrees of yaw or pitch up to which a mouth is measured."""
SHIFTS = (0.0, 0.06, -0.06, 0.12, -0.12)
"""Shifts that are tried, in halves of a patch."""
SCALES = (1.0, 0.9, 1.1, 0.8, 1.25)
"""Scales that are tried."""
KEPT = 0.5
"""The share of the mouths that agree best, which make the mean."""


class Mouths(NamedTuple):
    """N open mouths as the patches of OpenMouth show them."""

    upper: Tensor
    """(N,3,h,w) from the upper lip down; 0 the darkest and 1 the brightest of the mouth."""
    lower: Tensor
    """(N,3,h,w) up to the lower lip, as `upper`."""
    inside: Tensor
    """(N,2,h,w): 1 where `upper` and `lower` show the gap, else 0."""
    levels: Tensor
    """(N,2): the darkest level and the contrast."""
    drop: Tensor
    """(N,): how much darker the gap's lower half is than its upper half, as a share of the contrast."""
    skin: Tensor
    """(N,3): 1, mean and spread of the skin's brightness."""


@torch.no_grad()
def fit_mouth(faces: Faces, prototypes: Prototypes, most: int = 2500, rounds: int = 6) -> None:
    """Fill `prototypes.mouth` from up to `most` faces whose lips are apart; without any it stays as it is."""
    mouth, rows = prototypes.mouth, open_rows(faces, most)
    if not len(rows) or not isinstance(mouth, OpenMouth):
        return
    parts = (cut(faces, part, prototypes) for part in np.array_split(rows, -(-len(rows) // 100)))
    shown = Mouths(*(torch.cat(values) for values in zip(*parts, strict=True)))
    clear = ((shown.levels[:, 1] >= LEAST_CONTRAST) & (shown.drop >= LEAST_DROP)).nonzero()[:, 0]
    if len(clear) < 2:
        return
    shown = Mouths(*(values[clear] for values in shown))
    places, score = congeal(luma(shown.upper), shown.inside[:, :1], rounds)
    best = score >= score.quantile(1 - KEPT)
    across = places.clone()
    across[:, 1] = torch.tensor([0.0, 1.0, 0.0])  # only the upper teeth's own height was aligned
    for name, grids, layer in (("upper", places, 0), ("lower", across, 1)):
        found = aligned_mean(getattr(shown, name)[best], shown.inside[best, layer, None], grids[best])
        getattr(mouth, name).copy_(found)
    mouth.light.copy_(torch.linalg.lstsq(shown.skin, shown.levels).solution)
    mouth.known.fill_(1.0)


def open_rows(faces: Faces, most: int) -> np.ndarray:
    """Rows of up to `most` faces that look ahead with their lips apart."""
    marks, pose = faces.labels["landmarks"], faces.labels["pose"][:, :2]
    height = np.linalg.norm(marks[:, [67, 66, 65]].mean(1) - marks[:, [61, 62, 63]].mean(1), axis=1)
    rows = np.flatnonzero((height >= LEAST_OPEN) & (np.abs(pose) < TURNED).all(1))
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)] if len(rows) else rows


def cut(faces: Faces, rows: np.ndarray, prototypes: Prototypes) -> Mouths:
    """The mouths of some faces."""
    shown = faces.batch(rows)
    face, marks = shown["face"], shown["landmarks"]
    (upper, _), (lower, _) = both = [lip_patch(marks, lip, way) for lip, way in ((UPPER, 1), (LOWER, -1))]
    patches = [F.grid_sample(face, grid, mode="bicubic", align_corners=False) for grid in (upper, lower)]
    # A patch shows the gap as far as the other lip.
    tall = (both[1][1] - both[0][1])[:, None, None]  # (N,1,1,w)
    down = ((torch.arange(TEETH_PATCH[0]) + 0.5) / TEETH_PATCH[0] * TEETH_REACH)[:, None]
    inside = torch.cat([(down < tall), (down.flip(0) < tall)], 1).float()
    light = luma(patches[0]).masked_fill(inside[:, :1] == 0, torch.nan).flatten(1)
    dark, bright = light.nanquantile(0.08, 1).nan_to_num(), light.nanquantile(0.9, 1).nan_to_num()
    levels = torch.stack([dark, bright - dark], 1)
    scaled = [(x - levels[:, :1, None, None]) / levels[:, 1:, None, None].clamp_min(0.05) for x in patches]
    grid = canonical_grid(marks, prototypes.mean_shape, 64)
    skin = prototypes.warp_to_face(prototypes.region.expand(len(rows), -1, -1, -1), grid)
    mean, spread = (part.flatten(1) for part in prototypes.brightness(face, skin))
    upper, lower = (x.clamp(-0.3, 1.4) for x in scaled)
    high = inside[:, :1] * (down < 0.5 * tall)
    halves = [
        (luma(upper) * m).sum((1, 2, 3)) / m.sum((1, 2, 3)).clamp_min(1) for m in (high, inside[:, :1] - high)
    ]
    skin = torch.cat([torch.ones_like(mean), mean, spread], 1)
    return Mouths(upper, lower, inside, levels, halves[0] - halves[1], skin)


def lip_patch(marks: Tensor, lip: tuple[int, ...], way: int) -> tuple[Tensor, Tensor]:
    """Where a patch of OpenMouth lies in faces with landmarks (N,68,2): a sampling grid (N,h,w,2), and the lip's
    height over the mouth's axis at each column (N,w). way: 1 for down from the upper lip, -1 for up from the lower."""
    height, width = TEETH_PATCH
    axis = F.normalize(marks[:, 64] - marks[:, 60], dim=1)
    down = torch.stack([-axis[:, 1], axis[:, 0]], 1)
    centre = marks[:, 62]
    along, across = ((marks[:, list(lip)] - centre[:, None]) @ way[..., None] for way in (axis, down))
    columns = ((torch.arange(width) + 0.5) / width * 2 - 1) * TEETH_REACH
    edge = curve(torch.cat([along, across], -1), columns.expand(len(marks), 1, -1))[:, 0]
    rows = (torch.arange(height) + 0.5) / height * TEETH_REACH
    rows = rows if way > 0 else -rows.flip(0)
    y = (edge[:, None] + rows[:, None])[..., None]
    places = centre[:, None, None] + columns[:, None] * axis[:, None, None] + y * down[:, None, None]
    return 2 * places - 1, edge


def congeal(light: Tensor, inside: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """Brightness (N,1,h,w) and masks (N,1,h,w) of mouths -> the affine (N,2,3) by which each agrees best with the mean
    of all, and how well it does, (N,)."""
    moves = torch.tensor(
        [
            [[sx, 0, dx], [0, sy, sy - 1 + dy]]
            for dx, dy, sx, sy in product(SHIFTS, SHIFTS[:3], SCALES[:3], SCALES)
        ]
    )  # patches are scaled around the middle of their first row, which lies at the lip
    square = torch.cat([moves, torch.tensor([0.0, 0.0, 1.0]).expand(len(moves), 1, 3)], 1)
    back = torch.linalg.inv(square)[:, :2]
    mask, values = inside.flatten(1), (light * inside).flatten(1)
    squares, places, score = (values * values), moves[:1].expand(len(light), -1, -1), torch.ones(len(light))
    for _ in range(rounds):
        best = score >= score.quantile(1 - KEPT)
        weight = warp_patch(inside[best], places[best])
        mean = (warp_patch((light * inside)[best], places[best])).sum(0) / weight.sum(0).clamp_min(1)
        known = (weight.mean(0) > 0.4).float()
        model = warp_patch(torch.cat([mean * known, known]).expand(len(back), -1, -1, -1), back).flatten(2)
        agreement = correlation(values, squares, mask, model[:, 0], model[:, 1])
        score, chosen = agreement.max(1)
        places = moves[chosen]
    return places, score


def correlation(values: Tensor, squares: Tensor, mask: Tensor, model: Tensor, known: Tensor) -> Tensor:
    """(N,M): how well N pictures agree with M models, (.,P) each where their masks are 1: the correlation where both
    are known, and half the share that both know of what one knows."""
    count = mask @ known.T + 1e-3
    means = values @ known.T / count, mask @ model.T / count
    spreads = squares @ known.T / count - means[0] ** 2, mask @ (model**2).T / count - means[1] ** 2
    shared = values @ model.T / count - means[0] * means[1]
    overlap = count / (mask.sum(1, keepdim=True) + known.sum(1) - count)
    return shared / (spreads[0].clamp_min(1e-4) * spreads[1].clamp_min(1e-4)).sqrt() + 0.5 * overlap


def warp_patch(patches: Tensor, places: Tensor) -> Tensor:
    """Patches (N,C,h,w) moved by affines (N,2,3)."""
    grid = F.affine_grid(places, list(patches.shape), align_corners=False)
    return F.grid_sample(patches, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def aligned_mean(patches: Tensor, inside: Tensor, places: Tensor) -> Tensor:
    """The mean (3,h,w) of patches (N,3,h,w) where their masks (N,1,h,w) are 1, continued smoothly where few are."""
    weight = warp_patch(inside, places)
    total = weight.sum(0, keepdim=True)
    mean = warp_patch(patches * inside, places).sum(0, keepdim=True) / total.clamp_min(1e-3)
    return push_pull(mean, (total > 0.2 * len(patches)).float())[0]
