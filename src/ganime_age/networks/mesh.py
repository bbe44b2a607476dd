r"""Re-rendering a photo with its own surface in another pose: z-buffer, texture from the photo, mirrored hidden side.

    photo + source surface            target surface                  result
      .------.                          .------.
     /  o  o  \    rasterise the       /    o o \    visible in the photo: the photo's pixels
    |    >     |   target, look up    |       >  |   hidden there: the mirrored point of the face
     \   --   /    each pixel's        \     -- /    hidden on both sides: a smooth continuation
      '------'     place in the photo   '------'

Everything is a batched tensor operation and runs on any device; nothing here has a gradient.

Where the mesh's outline lies beside the face's, such a drawing tears. Within `edits.MOST_TURN` little is uncovered, so
`turn` bends a photo by a smooth warp instead, which follows the same points; the background stretches a little.
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .head import Head, HeadModel
from .layers import dilate, precise
from .rasterizer import PlaneEquations, plane_equations, rasterize, signed_areas
from .warp import coarse_displacement, enlarge_field, follow, regress

FINE = 2
"""Supersampling along outlines: sub-pixels per pixel and axis."""
TOLERANCE = 0.02
"""Depth, in sides of the frame, by which another surface must lie nearer to the viewer to hide a point."""
STRETCH = (1.6, 3.0)
"""Stretch ratios (drawn area / source area) between which the photo's texture is trusted less and less: fully up to
1.6, not at all from 3.0 on."""
EDGE_STRETCH = (1.1, 1.5)
"""The same for texture beside an outline of the photo, where a pixel mixes the colours of two surfaces."""
OUTWARD = 0.3
"""Weight of neighbours outside the face for a vertex of its outline in the Laplacian, relative to those inside: skin
may be stretched over what lies behind it rather than the other way."""
SMOOTHING_STRETCH = (1.4, 3.5)
"""Stretch ratios (drawn area / source area) between which texture coordinates are Laplacian-smoothed: not below 1.4,
by SMOOTHING towards the neighbours' mean above 3.5."""
SMOOTHING = 0.8
"""Largest step towards the neighbours' mean; below 1 the iteration converges."""
SYMMETRIC = 0.7
"""Least `HeadModel.turning` of surface that may be mirrored: below it lies background, whose other side differs."""
MATCH = 0.6
"""Largest colour correction of mirrored pixels, in units of [-1,1]."""
STILL = 0.3
"""Pixels displaced by less than this (in pixels) are copied from the photo and count as visible."""
DISCONTINUITY = 6
"""Texture coordinates that differ by more than this many pixels within a 3 x 3 neighbourhood mark an outline."""
APART = 2
"""Sub-pixels whose texture coordinates differ by more than this many pixels show different surfaces."""
OUTLINE_STEP = 3 * TOLERANCE
"""Depth step between neighbouring pixels of the photo that counts as an outline."""
OUTLINE_REACH = 50
"""Outlines of the photo are widened by side / 50 pixels, and masks blurred over twice that."""
TINY_AREA = 1e-7
"""Added to areas so that the stretch of a degenerate triangle stays finite."""
HEAD_REACH, FACE_REACH = 0.08, 0.03
"""Standard deviation, in frame sides, of a point's pull on the pixels around it: of all points, so that hair and
background bend smoothly, and of what the face's own points still lack then. These lie about 0.03 apart."""
FACE = 0.9
"""Least `HeadModel.turning` of a point of the face."""
BORDER = 0.22
"""Width in frame sides over which the warp fades to nothing at the frame's border, so that it meets the photo."""


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
    """The heads at other absolute angles in degrees, (B,) or one number for all; None keeps an angle."""
    angles = [
        old if new is None else torch.as_tensor(new).to(old).expand_as(old)
        for old, new in zip(head.pose.unbind(1), (yaw, pitch, roll), strict=True)
    ]
    return head._replace(pose=torch.stack(angles, 1))


class Turned(NamedTuple):
    """Turned heads."""

    face: Tensor
    """(B,3,S,S) in [-1,1]."""
    landmarks: Tensor
    """(B,68,2) in 0..1 of the same frame, where they are now."""


def turn(face: Tensor, landmarks: Tensor, degrees: Tensor, head_model: HeadModel) -> Turned:
    """face (B,3,S,S) in [-1,1] with landmarks (B,68,2) in 0..1, its head turned by yaw, pitch and roll (B,3): to the
    right of the picture, down, clockwise. Without landmarks (NaN), or without a turn, it comes back exactly."""
    asked = (degrees != 0).any(1) & ~landmarks.flatten(1).isnan().any(1)
    with precise(face):
        head = head_model.fit(landmarks.nan_to_num(0.5))
        other = turned(head, *(head.pose + degrees.to(head.pose)).unbind(1))
        before, after = (head_model.points(one)[..., :2] for one in (head, other))
        marks = landmarks + head_model.landmarks(other) - head_model.landmarks(head)
        field = enlarge_field(bend(after, after - before, head_model.turning > FACE), face.shape[-1])
        out = follow(face, away_from_border(face.shape[-1], field) * field)
    asked = asked[:, None, None]
    return Turned(torch.where(asked[..., None], out, face), torch.where(asked, marks, landmarks))


def bend(points: Tensor, pull: Tensor, face: Tensor) -> Tensor:
    """Pulls (B,V,2) at points (B,V,2) as a smooth coarse field (B,2,GRID,GRID). face: (V,) bool, points of the face."""
    # Regression in two levels, from wide to narrow kernels, the second of what the first has left (compare the
    # multilevel B-splines of Lee, Wolberg & Shin, TVCG 1997).
    near, own = points[:, face], pull[:, face]
    rest = own - regress(near, points, pull, HEAD_REACH)
    wide = coarse_displacement(points, pull, HEAD_REACH)
    return wide + coarse_displacement(near, rest, FACE_REACH)


def away_from_border(side: int, like: Tensor) -> Tensor:
    """(side,side,1): 0 at the border of a picture, 1 from BORDER on, smooth between (a cubic)."""
    line = (torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) / side
    share = (torch.minimum(line, 1 - line) / BORDER).clamp(max=1)
    share = share.square() * (3 - 2 * share)
    return (share[:, None] * share)[..., None]


class Corners(NamedTuple):
    """The triangles' corners on three surfaces, (B,T,3,3) each: x, y in 0..1 of the frame, z nearer is larger."""

    target: Tensor
    """As drawn."""
    source: Tensor
    """As the photo shows them."""
    mirrored: Tensor
    """Where the photo shows the mirror images of the corners."""

    @staticmethod
    def of(source: Tensor, target: Tensor, head_model: HeadModel) -> Corners:
        """From surfaces (B,V,3)."""
        triangles, mirror = head_model.triangles, head_model.mirror
        return Corners(target[:, triangles], source[:, triangles], source[:, mirror[triangles]])


class Surface(NamedTuple):
    """The target surface as the pixels of the drawing show it."""

    triangle: Tensor
    """(B,S,S) int64, index into the B*T triangles."""
    texture: Tensor
    """(B,S,S,2) place in the photo whose colour the pixel takes, 0..1."""
    mirror_texture: Tensor
    """(B,S,S,2) the same on the other side of the face."""
    place: Tensor
    """(B,S,S,3) the pixel's point on the source surface."""
    mirror_place: Tensor
    """(B,S,S,3) its mirror image on the source surface."""
    planes: PlaneEquations
    """All of the above inside each triangle, the texture coordinates first."""


@torch.no_grad()
def draw(faces: Tensor, source: Tensor, target: Tensor, head_model: HeadModel) -> Drawn:
    """Faces (B,3,S,S) in [-1,1] whose surface lies at `source` (B,V,3), drawn with the surface at `target` (B,V,3).

    What the photo hides is taken from the other side of the face, in the colours of its surroundings; what neither
    side shows is filled smoothly. Where target equals source the picture stays as it is.
    """
    source, target = source.float(), target.float()
    side = faces.shape[-1]
    corners = Corners.of(source, target, head_model)
    surface = project(corners, source, target, head_model, side)
    face = antialiased_texture(faces, corners.target, surface)
    still = unmoved(surface.texture)
    # Signed areas of the triangles on the three surfaces; a mirror image has the opposite orientation.
    drawn_area, source_area, mirror_area = (signed_areas(part[..., :2]).flatten() for part in corners)
    depths = depth_map(corners.source, side // 2)
    own = visibility(depths, surface.place, surface.triangle, drawn_area, source_area)
    seen = torch.maximum(own.trust, still)
    if bool(seen.amin() == 1):
        return Drawn(face, seen)
    mirrored = visibility(depths, surface.mirror_place, surface.triangle, drawn_area, -mirror_area)
    symmetric = (head_model.turning[head_model.triangles].amin(1) > SYMMETRIC).to(faces)
    symmetric = at_pixels(symmetric.repeat(len(faces)), surface.triangle)
    # The mirror image is taken where it is trusted more, and where only it is visible at all.
    better = (mirrored.trust - seen).clamp_min(0) + (1 - own.shown) * (mirrored.shown - mirrored.trust)
    seen = torch.minimum(seen, blur_mask(seen))
    better = (1 - still) * blur_mask(symmetric * better.clamp(0, 1))
    own_weight = (1 - better) * torch.maximum(own.shown, still)
    other_side = sample(faces, surface.mirror_texture)
    return Drawn(compose(face, other_side, own_weight, better), seen)


def project(corners: Corners, source: Tensor, target: Tensor, head_model: HeadModel, side: int) -> Surface:
    """Rasterise the target and interpolate, at every pixel, where its point lies in the photo."""
    triangles, mirror = head_model.triangles, head_model.mirror
    # Own and mirrored texture coordinates, (B,2,V,2).
    both = torch.stack([source, source[:, mirror]], 1)[..., :2]
    textures = smooth_texture_coordinates(both, target, head_model).unbind(1)
    values = torch.cat([*(t[:, triangles] for t in textures), corners.source, corners.mirrored], -1)
    planes = plane_equations(corners.target[..., :2].flatten(0, 1) * side - 0.5, values.flatten(0, 1))
    found = rasterize(corners.target[..., :2], corners.target[..., 2], side)
    triangle = found.clamp_min(0) + first_triangles(
        corners.target
    )  # a pixel without a triangle shows the first
    inside = planes(triangle, *pixel_grid(side, corners.target))
    texture, mirror_texture, place, mirror_place = inside.split([2, 2, 3, 3], -1)
    return Surface(triangle, texture, mirror_texture, place, mirror_place, planes)


def first_triangles(corners: Tensor) -> Tensor:
    """(B,1,1): the number of each picture's first triangle among all B*T, corners being (B,T,3,.)."""
    return torch.arange(len(corners), device=corners.device)[:, None, None] * corners.shape[1]


def antialiased_texture(faces: Tensor, corners: Tensor, surface: Surface) -> Tensor:
    """The photo's colours at the pixels of the surface (B,3,S,S), supersampled where outlines cross a pixel."""
    outline = discontinuities(surface.texture).nonzero(as_tuple=True)
    # Only triangles at outlines are rasterised again on the finer grid: a few per cent of all.
    used = torch.zeros(corners.shape[0] * corners.shape[1], dtype=torch.bool, device=corners.device)
    used[surface.triangle[outline]] = True
    fine = rasterize(corners[..., :2], corners[..., 2], FINE * faces.shape[-1], used)
    return sample_texture(faces, surface, fine, outline)


def sample(maps: Tensor, places: Tensor, mode: str = "bicubic") -> Tensor:
    """Maps (B,C,S,S) at places (B,h,w,2) in 0..1 -> (B,C,h,w)."""
    return F.grid_sample(maps, 2 * places - 1, mode=mode, padding_mode="border", align_corners=False)


def unmoved(texture: Tensor) -> Tensor:
    """(B,1,S,S): 1 where a pixel shows the place of the photo (B,S,S,2) that it shows in the photo, else 0."""
    side = texture.shape[1]
    x, y = pixel_grid(side, texture)
    right, down = (texture * side - 0.5).unbind(-1)
    moved = (right - x).square_() + (down - y).square_()
    return (moved < STILL**2).float()[:, None]


def push_pull(values: Tensor, weight: Tensor) -> Tensor:
    """Values (B,C,S,S) where weight (B,1,S,S) is 1, continued smoothly where it is 0.

    Push-pull (Gortler et al., The Lumigraph, SIGGRAPH 1996): weighted means go down an image pyramid
    until the holes are closed, and each finer level takes from the coarser one what it lacks.
    """
    if values.shape[-1] <= 2:
        total = weight.sum((2, 3), keepdim=True).clamp_min(1e-6)
        return (values * weight).sum((2, 3), keepdim=True) / total + 0 * values
    amount = halved(weight)
    coarse = halved(values * weight) / amount.clamp_min(1e-6)
    coarse = push_pull(
        coarse, (4 * amount).clamp_max(1)
    )  # one known pixel of four makes the coarse one known
    coarse = F.interpolate(coarse, size=values.shape[-2:], mode="bilinear", align_corners=False)
    return coarse + weight * (values - coarse)


def halved(maps: Tensor) -> Tensor:
    """Maps (B,C,H,W) at half their sides, rounded up: the means of 2 x 2 pixels, or of what an odd side leaves."""
    if maps.shape[-1] % 2 or maps.shape[-2] % 2:
        return F.avg_pool2d(maps, 2, ceil_mode=True)
    upper, lower = maps[..., ::2, :], maps[..., 1::2, :]  # avg_pool2d takes four times as long on a CPU
    return (upper[..., ::2] + upper[..., 1::2] + lower[..., ::2] + lower[..., 1::2]) / 4


def sample_colours(faces: Tensor, picture: Tensor, places: Tensor) -> Tensor:
    """The colours (N,K,3), bilinear, of faces[picture] (picture (N,)) at places (N,K,2) in 0..1."""
    side = faces.shape[-1]
    at = (places * side - 0.5).clamp(0, side - 1)
    low = at.floor().clamp_max(side - 2)
    x, y = (at - low).unbind(-1)
    column, row = low.long().unbind(-1)
    colours = faces.permute(0, 2, 3, 1).reshape(-1, 3)
    start = (picture[:, None] * side + row) * side + column
    upper = torch.lerp(colours[start], colours[start + 1], x[..., None])
    lower = torch.lerp(colours[start + side], colours[start + side + 1], x[..., None])
    return torch.lerp(upper, lower, y[..., None])


def laplacian_weights(head_model: HeadModel) -> Tensor:
    """(V,V): weights of its neighbours in each vertex's mean, rows of sum 1, inverse to the distance; neighbours
    outside the face count OUTWARD for a vertex of the face."""
    face, mean = head_model.turning > 0.99, head_model.mean.float()
    corner = head_model.triangles[:, [0, 1, 2, 1, 2, 0]].flatten()  # each edge in both directions
    end = head_model.triangles[:, [1, 2, 0, 0, 1, 2]].flatten()
    near = 1 / (mean[corner] - mean[end]).norm(dim=1).clamp_min(0.01)
    near = torch.where(face[corner] & ~face[end], OUTWARD * near, near)
    weights = near.new_zeros(len(mean), len(mean))
    weights[corner, end] = near
    weights[corner, end] = near / weights.sum(1).clamp_min(1e-6)[corner]
    return weights


def smooth_texture_coordinates(
    places: Tensor, target: Tensor, head_model: HeadModel, rounds: int = 8
) -> Tensor:
    """K texture coordinates (B,K,V,2) of the vertices at `target` (B,V,3), Laplacian-smoothed where they are stretched.

    A strip seen at a grazing angle holds few pixels, and an outline is never met exactly; drawn at full width its
    triangles would show as jags. Vertices between stretched triangles move towards the mean of their neighbours, in
    proportion to the stretch, vertices of the face rather towards the face; all others stay.
    """
    triangles, weights = head_model.triangles, laplacian_weights(head_model)
    drawn_area = signed_areas(target[:, None, triangles, :2]).abs()
    stretch = drawn_area / signed_areas(places[:, :, triangles]).abs().clamp_min(1e-6)
    # A vertex's stretch is the mean of its triangles': sums are scattered to the corners, then divided by counts.
    corners = triangles.flatten()
    stretch = stretch.clamp_max(SMOOTHING_STRETCH[1]).flatten(0, 1).T.repeat_interleave(3, 0)
    pull = stretch.new_zeros(len(weights), stretch.shape[1]).index_add(0, corners, stretch)
    pull = (pull / corners.bincount(minlength=len(pull)).clamp_min(1)[:, None]).T.reshape(
        *places.shape[:3], 1
    )
    pull = SMOOTHING * (1 - ramp_down(pull, *SMOOTHING_STRETCH)) * (1 - head_model.pinned.to(target)[:, None])
    # Jacobi iterations of u = u0 + pull * (W u - u0): a screened Laplace equation, each vertex tied to its own place.
    # Every picture is a product of its own, so that it rounds the same in a batch of any size.
    out, every = places, weights.expand(len(places), -1, -1)
    for _ in range(rounds):
        mean = torch.bmm(every, out.transpose(1, 2).flatten(2))
        out = places + pull * (mean.unflatten(2, (-1, 2)).transpose(1, 2) - places)
    return out


class Visibility(NamedTuple):
    """How the photo shows the points that the pixels of a drawing show, (B,1,S,S) in 0..1 each."""

    shown: Tensor
    """1: no other surface lies before them."""
    trust: Tensor
    """1: in plain view, neither at a grazing angle nor at an outline, where colours mix."""


def visibility(
    depths: Tensor, at: Tensor, triangle: Tensor, drawn_area: Tensor, source_area: Tensor
) -> Visibility:
    """Depths (B,2,S,S) of the photo (see `depth_map`), places at (B,S,S,3) on its surface and their triangles
    (B,S,S), signed areas (B*T,) of the triangles as drawn and in the photo -> Visibility."""
    nearest, edge = sample(depths, at[..., :2], "bilinear").split(1, 1)
    # Equal orientation: the photo sees the same face of the triangle, not its back.
    same_face = at_pixels((drawn_area * source_area >= 0).float(), triangle)
    # Shadow-map test (Williams, SIGGRAPH 1978) with a soft edge: 1 within TOLERANCE of the front surface, 0 beyond two.
    shown = same_face * (1 - ((nearest - at[..., 2][:, None]) / TOLERANCE - 1).clamp(0, 1))
    stretch = (drawn_area.abs() + TINY_AREA) / (source_area.abs() + TINY_AREA)
    grazing = at_pixels(ramp_down(stretch, *STRETCH), triangle)
    clear = 1 - edge * at_pixels(1 - ramp_down(stretch, *EDGE_STRETCH), triangle)
    return Visibility(shown, shown * grazing * clear)


def at_pixels(values: Tensor, triangle: Tensor) -> Tensor:
    """Values (B*T,) of triangles at the pixels (B,S,S) that show them: (B,1,S,S)."""
    return values.index_select(0, triangle.flatten()).view(triangle.shape)[:, None]


def ramp_down(values: Tensor, full: float, none: float) -> Tensor:
    """1 up to `full`, falling linearly to 0 at `none`."""
    return ((none - values) / (none - full)).clamp(0, 1)


def blur_mask(mask: Tensor) -> Tensor:
    """A mask (B,1,S,S), its mean over a twenty-fifth of the side."""
    side, width = mask.shape[-1], mask.shape[-1] // OUTLINE_REACH * 2 + 1
    mask = F.pad(mask, [width // 2] * 4, mode="replicate")
    for axis in (-2, -1):  # a separable box filter; the sum of shifted copies is the fastest on a CPU
        mask = reduce(torch.add, (mask.narrow(axis, i, side) for i in range(width))) / width
    return mask


def pixel_grid(side: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """x and y (side,side) of the pixels of a picture."""
    line = torch.arange(side, device=like.device, dtype=like.dtype)
    return line.expand(side, -1), line[:, None].expand(-1, side)


def discontinuities(texture: Tensor) -> Tensor:
    """(B,S,S) bool: pixels at, or next to, a step in the texture coordinates (B,S,S,2), as along an outline."""
    texture = texture.permute(0, 3, 1, 2).contiguous()
    difference = dilate(texture, 1, 1) + dilate(-texture, 1, 1)  # largest minus smallest around
    return (difference > DISCONTINUITY / texture.shape[-1]).any(1)


def sample_texture(faces: Tensor, surface: Surface, fine: Tensor, outline: tuple[Tensor, ...]) -> Tensor:
    """The photo at the surface's texture coordinates, (B,3,S,S).

    fine: (B,FINE*S,FINE*S) triangles 0..T-1 of the sub-pixels, -1: the pixel's own. Where several triangles meet in a
    pixel of `outline` (pictures, rows, columns) it shows the mean of their texture coordinates; where these lie apart
    in the photo, such as nose and cheek, the mean of their colours.
    """
    side = faces.shape[-1]
    picture, row, column = outline
    parts = torch.stack(
        [fine[picture, FINE * row + i, FINE * column + j] for i in range(FINE) for j in range(FINE)]
    )
    first = picture * (len(surface.planes.at) // len(faces))
    parts = torch.where(parts < 0, surface.triangle[outline], parts + first)
    meet = (parts[1:] != parts[:1]).any(0)
    parts, picture, row, column = parts[:, meet], picture[meet], row[meet], column[meet]
    step = (
        torch.arange(FINE, device=faces.device, dtype=faces.dtype) + 0.5
    ) / FINE - 0.5  # sub-pixel centres
    down, right = (d.reshape(-1, 1) for d in torch.meshgrid(step, step, indexing="ij"))
    planes = PlaneEquations(*(part[:, :2] for part in surface.planes))  # the texture coordinates alone
    places = planes(parts, column + right, row + down)
    texture = surface.texture.clone()
    texture[picture, row, column] = places.mean(0)
    face = sample(faces, texture)
    apart = ((places[1:] - places[:1]).abs().amax(0) > APART / side).any(-1)
    picture, row, column, places = picture[apart], row[apart], column[apart], places[:, apart]
    face[picture, :, row, column] = sample_colours(faces, picture, places.transpose(0, 1)).mean(1)
    return face


def depth_map(corners: Tensor, side: int) -> Tensor:
    """Corners (B,T,3,3) of the photo's surface -> (B,2,side,side): the depth of its front, the least within a pixel;
    and, in 0..1, whether an outline, where one surface ends before another, is within a fiftieth of the side."""
    found = rasterize(corners[..., :2], corners[..., 2], side)
    planes = plane_equations(corners[..., :2].flatten(0, 1) * side - 0.5, corners[..., 2:].flatten(0, 1))
    near = planes(found.clamp_min(0) + first_triangles(corners), *pixel_grid(side, corners))[..., 0][:, None]
    # The farther of two surfaces, so that a point beside an outline does not hide itself.
    least = -dilate(-near, 1, 1)
    outline = (dilate(near, 1, 1) - least > OUTLINE_STEP).float()
    reach = side // OUTLINE_REACH
    return torch.cat([least, dilate(outline, reach, reach)], 1)


def compose(face: Tensor, mirrored: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """The drawn face by its weight `own`, its mirror image by the weight `other`, in the colours of its surroundings,
    and a smooth continuation for the rest; pictures (B,3,S,S), weights (B,1,S,S)."""
    # The two sides are lit differently. Their difference is known where the face itself is visible; its continuation
    # recolours the mirrored pixels (a coarse membrane, as in Poisson image editing, Perez et al., SIGGRAPH 2003).
    sure = ((other < 0.01) * (own > 0.99)).to(face)
    change = half_push_pull((face - mirrored).clamp_(-MATCH, MATCH), sure)
    mixed, known = change.add_(mirrored).mul_(other).add_(own * face), own + other
    rest = half_push_pull(mixed / known.clamp_min(0.5), (known > 0.5).to(face))
    return rest.mul_(1 - known).add_(mixed).clamp_(-1, 1)


def half_push_pull(values: Tensor, weight: Tensor) -> Tensor:
    """`push_pull` at half the side, which is enough for what is smooth anyway."""
    amount = halved(weight)
    half = push_pull(halved(values * weight) / amount.clamp_min(1e-6), amount)
    return F.interpolate(half, size=values.shape[-2:], mode="bilinear", align_corners=False)
