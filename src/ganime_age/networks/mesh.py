"""Drawing a photo on another pose of its own surface: a z-buffer, texture from the photo, the hidden side mirrored.

Everything is a batched tensor operation and runs on any device; nothing here has a gradient.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .head import Head, HeadModel
from .rasterizer import Pieces, areas, front, pieces

FINE = 2
"""Outlines are found on a grid this much finer than the picture, so that they are smooth."""
TOLERANCE = 0.02
"""A point of the surface is hidden when another lies nearer to the viewer by more than this, in sides of the frame."""
STRETCH = (1.6, 3.0)
"""How much larger a piece may be drawn than it was seen: believed up to the first, not at all from the second on."""
OUTWARD = 0.3
"""How much less the neighbours outside the face count for a point of its outline: skin may be stretched over what lies
behind it rather than the other way."""
EASED = (1.4, 3.5)
"""Points between triangles that are drawn larger than seen go with their neighbours: not up to the first, most of the
way from the second on."""
SYMMETRIC = 0.7
"""Surface that turns less than this with the head is background, whose other side shows something else."""
MATCH = 0.6
"""How far the colours of the other side are moved at most."""
STILL = 0.3
"""What moves by less, in pixels, shows in the drawing what it shows in the photo, whatever is known of the surface."""


class Drawn(NamedTuple):
    """A drawn picture."""

    face: Tensor
    """(B,3,S,S) in [-1,1]."""
    seen: Tensor
    """(B,1,S,S) in 0..1: 1 where the source photo showed this piece of surface, 0 where it was filled."""


def turned(
    head: Head,
    yaw: Tensor | float | None = None,
    pitch: Tensor | float | None = None,
    roll: Tensor | float | None = None,
) -> Head:
    """The heads at other angles, absolute, in degrees; (B,) or one number for all; what is None stays."""
    angles = [
        old if new is None else torch.as_tensor(new).to(old).expand_as(old)
        for old, new in zip(head.pose.unbind(1), (yaw, pitch, roll), strict=True)
    ]
    return head._replace(pose=torch.stack(angles, 1))


def sample(maps: Tensor, places: Tensor, mode: str = "bicubic") -> Tensor:
    """Maps (B,C,S,S) at places (B,h,w,2) in 0..1 -> (B,C,h,w)."""
    return F.grid_sample(maps, 2 * places - 1, mode=mode, padding_mode="border", align_corners=False)


def spread_out(values: Tensor, weight: Tensor) -> Tensor:
    """Values (B,C,S,S) where weight (B,1,S,S) is 1, continued where it is 0 (push-pull; Gortler et al., 1996)."""
    if values.shape[-1] <= 2:
        return (values * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp_min(
            1e-6
        ) + 0 * values
    amount = F.avg_pool2d(weight, 2, ceil_mode=True)
    coarse = F.avg_pool2d(values * weight, 2, ceil_mode=True) / amount.clamp_min(1e-6)
    coarse = spread_out(coarse, (4 * amount).clamp_max(1))
    coarse = F.interpolate(coarse, size=values.shape[-2:], mode="bilinear", align_corners=False)
    return coarse + weight * (values - coarse)


def looked_up(faces: Tensor, which: Tensor, places: Tensor) -> Tensor:
    """The colours (N,K,3), bilinear, of faces[which] (which (N,)) at places (N,K,2) in 0..1."""
    side = faces.shape[-1]
    at = (places * side - 0.5).clamp(0, side - 1)
    low = at.floor().clamp_max(side - 2)
    x, y = (at - low).unbind(-1)
    column, row = low.long().unbind(-1)
    colours, start = faces.permute(0, 2, 3, 1).reshape(-1, 3), (which[:, None] * side + row) * side + column
    upper = torch.lerp(colours[start], colours[start + 1], x[..., None])
    lower = torch.lerp(colours[start + side], colours[start + side + 1], x[..., None])
    return torch.lerp(upper, lower, y[..., None])


def neighbours(head_model: HeadModel) -> Tensor:
    """(V,V): the shares of its neighbours in each point's mean, the nearer the more; of those outside the face a point
    of the face takes less."""
    face, mean = head_model.turning > 0.99, head_model.mean.float()
    corner = head_model.triangles[:, [0, 1, 2, 1, 2, 0]].flatten()
    end = head_model.triangles[:, [1, 2, 0, 0, 1, 2]].flatten()
    near = 1 / (mean[corner] - mean[end]).norm(dim=1).clamp_min(0.01)
    near = torch.where(face[corner] & ~face[end], OUTWARD * near, near)
    shares = near.new_zeros(len(mean), len(mean))
    shares[corner, end] = near
    return shares / shares.sum(1, keepdim=True).clamp_min(1e-6)


def eased(places: Tensor, target: Tensor, head_model: HeadModel, rounds: int = 8) -> Tensor:
    """Places (B,V,2) in the photo that the points at `target` (B,V,3) show, moved to where they share the stretch.

    A strip that was seen at a grazing angle holds few pixels and an outline that is never met exactly; drawn at full
    width its triangles would show as jags. So points between stretched triangles go towards the mean of their
    neighbours, by as much as they are stretched, and points of the face rather towards the face; all others stay.
    """
    triangles, shares = head_model.triangles, neighbours(head_model)
    stretch = areas(target[:, triangles, :2]).abs() / areas(places[:, triangles]).abs().clamp_min(1e-6)
    stretch = stretch.clamp_max(EASED[1]).T.repeat_interleave(3, 0)  # (3T,B)
    pull = stretch.new_zeros(places.shape[1], len(places)).index_add(0, triangles.flatten(), stretch)
    pull = (pull / triangles.flatten().bincount(minlength=len(pull)).clamp_min(1)[:, None]).T[..., None]
    pull = 0.8 * (1 - falling(pull, *EASED)) * (1 - head_model.pinned.to(target)[:, None])
    out = places
    for _ in range(rounds):
        flat = out.transpose(0, 1).flatten(1)  # one product for the whole batch
        mean = (shares @ flat).view(len(shares), -1, 2).transpose(0, 1)
        out = places + pull * (mean - places)
    return out


class View(NamedTuple):
    """What the photo tells of the places that the pixels of a drawing show, (B,1,S,S) in 0..1 each."""

    shown: Tensor
    """Nothing lies before them."""
    trust: Tensor
    """They are in plain view: not seen at a grazing angle, and not at an outline, where colours mix."""


@torch.no_grad()
def draw(faces: Tensor, source: Tensor, target: Tensor, head_model: HeadModel) -> Drawn:
    """Faces (B,3,S,S) in [-1,1] whose surface lies at `source` (B,V,3), drawn with the surface at `target` (B,V,3).

    What the photo hides is taken from the other side of the face, in the colours of its surroundings; what neither
    side shows is filled smoothly. Where target equals source the picture stays as it is.
    """
    side, triangles, mirror = faces.shape[-1], head_model.triangles, head_model.mirror
    source, target = source.float(), target.float()
    corners, origin = target[:, triangles], source[:, triangles]  # (B,T,3,3)
    other = source[:, mirror[triangles]]
    found = front(corners[..., :2], corners[..., 2], side)
    looks = eased(torch.cat([source, source[:, mirror]])[..., :2], target.repeat(2, 1, 1), head_model).chunk(
        2
    )
    values = torch.cat([*(look[:, triangles] for look in looks), origin, other], -1).flatten(0, 1)
    inside = pieces(corners[..., :2].flatten(0, 1) * side - 0.5, values)
    first = torch.arange(len(faces), device=faces.device)[:, None, None] * len(triangles)
    which = found.clamp_min(0) + first
    x, y = grid(side, faces)
    look, mirror_look, place, mirror_place = inside(which, x, y).split([2, 2, 3, 3], -1)  # (B,S,S,.)
    now, before, across = (areas(c[..., :2]).flatten() for c in (corners, origin, other))
    outline = jumps(look)
    some = torch.zeros_like(now, dtype=torch.bool)
    some[which[outline]] = True
    fine = front(corners[..., :2], corners[..., 2], FINE * side, some)
    face = textured(faces, inside, torch.where(fine < 0, -1, fine + first), which, look, outline)
    depths = depth_map(origin, side // 2)
    own = view(depths, place, now[which], before[which])
    still = ((look * side - 0.5 - torch.stack([x, y], -1)).norm(dim=-1) < STILL).float()[:, None]
    seen = torch.maximum(own.trust, still)
    if bool((seen == 1).all()):
        return Drawn(face, seen)
    mirrored = view(depths, mirror_place, now[which], -across[which])
    head = (head_model.turning[triangles].amin(1) > SYMMETRIC).to(faces).repeat(len(faces))[which][:, None]
    better = (mirrored.trust - seen).clamp_min(0) + (1 - own.shown) * (mirrored.shown - mirrored.trust)
    seen, better = torch.minimum(seen, blurred(seen)), (1 - still) * blurred(head * better.clamp(0, 1))
    shares = (1 - better) * torch.maximum(own.shown, still), better
    return Drawn(filled(face, sample(faces, mirror_look), *shares), seen)


def view(depths: Tensor, at: Tensor, now: Tensor, before: Tensor) -> View:
    """Depths (B,2,S,S) of the photo (see `depth_map`), places at (B,S,S,3) on its surface, signed areas (B,S,S) of
    their triangles as drawn and as seen -> View."""
    nearest, edge = sample(depths, at[..., :2], "bilinear").split(1, 1)
    same_face = (now * before >= 0).float()[:, None]
    shown = same_face * (1 - ((nearest - at[..., 2][:, None]) / TOLERANCE - 1).clamp(0, 1))
    stretch = ((now.abs() + 1e-7) / (before.abs() + 1e-7))[:, None]
    grazing = falling(stretch, *STRETCH)
    clear = 1 - edge * (1 - falling(stretch, 1.1, 1.5))
    return View(shown, shown * grazing * clear)


def falling(values: Tensor, full: float, none: float) -> Tensor:
    """1 up to `full`, 0 from `none` on."""
    return ((none - values) / (none - full)).clamp(0, 1)


def blurred(mask: Tensor) -> Tensor:
    """A mask (B,1,S,S), its mean over a twenty-fifth of the side."""
    reach = mask.shape[-1] // 50 * 2 + 1
    padded = F.pad(mask, [reach // 2] * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(padded, (reach, 1), 1), (1, reach), 1)


def most(maps: Tensor, reach: int) -> Tensor:
    """The largest within `reach` pixels in rows and columns, (B,C,S,S): max_pool2d with stride 1, which shifted copies
    do an order of magnitude faster on a CPU."""
    for axis in (-1, -2):
        side = maps.shape[axis]
        padded = F.pad(maps, [reach, reach] if axis == -1 else [0, 0, reach, reach], value=-torch.inf)
        maps = reduce(torch.maximum, (padded.narrow(axis, i, side) for i in range(2 * reach + 1)))
    return maps


def grid(side: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """x and y (side,side) of the pixels of a picture."""
    line = torch.arange(side, device=like.device, dtype=like.dtype)
    return line.expand(side, -1), line[:, None].expand(-1, side)


def jumps(look: Tensor) -> Tensor:
    """(B,S,S) bool: pixels at, or next to, a step in the places (B,S,S,2) that they show, as along an outline."""
    look = look.permute(0, 3, 1, 2)
    spread = most(look, 1) + most(-look, 1)  # most minus least around
    return (spread > 6 / look.shape[-1]).any(1)


def textured(
    faces: Tensor, inside: Pieces, fine: Tensor, which: Tensor, look: Tensor, outline: Tensor
) -> Tensor:
    """The photo at the places `look` (B,S,S,2) that the pixels show. Where triangles of `fine` (B,FINE*S,FINE*S; -1: as
    in `which` (B,S,S)) meet in a pixel of `outline` (B,S,S) it shows their middle, and where they are apart in the
    photo their mean colour."""
    side = faces.shape[-1]
    picture, row, column = outline.nonzero(as_tuple=True)
    parts = torch.stack(
        [fine[picture, FINE * row + i, FINE * column + j] for i in range(FINE) for j in range(FINE)]
    )
    parts = torch.where(parts < 0, which[picture, row, column], parts)  # (4,N)
    meet = (parts[1:] != parts[:1]).any(0)
    parts, picture, row, column = parts[:, meet], picture[meet], row[meet], column[meet]
    step = (torch.arange(FINE, device=faces.device, dtype=faces.dtype) + 0.5) / FINE - 0.5
    down, right = (d.reshape(-1, 1) for d in torch.meshgrid(step, step, indexing="ij"))
    places = Pieces(*(part[:, :2] for part in inside))(parts, column + right, row + down)
    look = look.clone()
    look[picture, row, column] = places.mean(0)
    face = sample(faces, look)
    apart = ((places[1:] - places[:1]).abs().amax(0) > 2 / side).any(-1)
    picture, row, column, places = picture[apart], row[apart], column[apart], places[:, apart]
    face[picture, :, row, column] = looked_up(faces, picture, places.transpose(0, 1)).mean(1)
    return face


def depth_map(corners: Tensor, side: int) -> Tensor:
    """(B,T,3,3) -> (B,2,S,S): how near the front surface is, the least of it within a pixel's distance; and, in 0..1,
    whether an outline, where one surface ends before another, is within a fiftieth of the side."""
    found = front(corners[..., :2], corners[..., 2], side)
    inside = pieces(corners[..., :2].flatten(0, 1) * side - 0.5, corners[..., 2:].flatten(0, 1))
    first = torch.arange(len(corners), device=corners.device)[:, None, None] * corners.shape[1]
    near = inside(found.clamp_min(0) + first, *grid(side, corners))[..., 0][:, None]
    least = -most(-near, 1)
    outline = (most(near, 1) - least > 3 * TOLERANCE).float()
    return torch.cat([least, most(outline, side // 50)], 1)


def filled(face: Tensor, mirrored: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """The drawn face by its share `own`, its other side by the share `other`, in the colours of its surroundings, and
    a smooth continuation for the rest; pictures (B,3,S,S), shares (B,1,S,S)."""
    sure = ((other < 0.01) * (own > 0.99)).to(face)
    change = continued((face - mirrored).clamp(-MATCH, MATCH), sure)
    mixed, known = own * face + other * (mirrored + change), own + other
    rest = continued(mixed / known.clamp_min(0.5), (known > 0.5).to(face))
    return (mixed + (1 - known) * rest).clamp(-1, 1)


def continued(values: Tensor, weight: Tensor) -> Tensor:
    """`spread_out`, at half the side."""
    amount = F.avg_pool2d(weight, 2)
    half = spread_out(F.avg_pool2d(values * weight, 2) / amount.clamp_min(1e-6), amount)
    return F.interpolate(half, size=values.shape[-2:], mode="bilinear", align_corners=False)
