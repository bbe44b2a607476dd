"""What a hair network should have seen: hats, scarves and bald heads drawn onto faces, tails and free strands of hair,
dyed and shining hair, other clothes and backgrounds, and faces in larger pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...networks.hair.filters import weighted_mean
from ...networks.layers import luma

SCALES = (0.7, 1.35)
"""Least and largest scale of a frame in a larger picture."""
STRANGER, MIRROR = 0.25, 0.75
"""Of the larger pictures, up to the first share show another picture around the frame, up to the second the frame's
mirror image, and the others its border, repeated."""
DOUBT = 0.3
"""What a pixel counts that mirrors the frame: hair and background go on as in it, more or less."""


def in_larger(
    pictures: Tensor, landmarks: Tensor, side: int, turn: float = 15.0, shift: float = 0.3
) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (B,C,S,S) of frames, some 0.7 to 1.35 times as large, turned by up to `turn` degrees and moved by up to
    `shift` sides, in larger ones (B,C,side,side); how much each pixel of these counts, (B,1,side,side) in 0..1; and
    where the landmarks (B,68,2), in 0..1 of the frames, lie in 0..1 of the larger ones.

    Of strangers around a frame the first three channels are shown and the others are 0: their hair is not asked for."""
    count, own, device = len(pictures), pictures.shape[-1], pictures.device
    angle = (torch.rand(count, device=device) * 2 - 1) * turn * torch.pi / 180
    low, high = SCALES
    scale = side / own / (low + (high - low) * torch.rand(count, device=device))
    move = (torch.rand(count, 2, device=device) * 2 - 1) * shift * 2
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrix = torch.stack([cos, -sin, move[:, 0], sin, cos, move[:, 1]], 1).view(count, 2, 3)
    grid = F.affine_grid(matrix, [count, 1, side, side], align_corners=False)
    mirrored, repeated = (
        F.grid_sample(pictures, grid, padding_mode=how, align_corners=False)
        for how in ("reflection", "border")
    )
    inside = (grid.abs().amax(3) < 1)[:, None].to(pictures)
    halves = pictures.roll((1, own // 2), (0, 3))  # heads to the left and right
    strange = F.interpolate(halves, size=(side, side), mode="bilinear", align_corners=False)
    strange = torch.cat([strange[:, :3], torch.zeros_like(strange[:, 3:])], 1)
    kind = torch.rand(count, 1, 1, 1, device=device)
    around = torch.where(kind < STRANGER, strange, torch.where(kind < MIRROR, mirrored, repeated))
    counts = torch.where(kind < STRANGER, 1.0, torch.where(kind < MIRROR, DOUBT, 0.0))
    # The grid's matrix is a turn and a scale: its transpose by the square of the scale undoes it.
    linear = matrix[:, :, :2] / scale.square()[:, None, None]
    places = ((2 * landmarks - 1 - move[:, None]) @ linear + 1) / 2
    shown = torch.lerp(around, repeated, inside)
    return shown, torch.lerp(counts.expand_as(inside), torch.ones_like(inside), inside), places


def dye(faces: Tensor, hair: Tensor, chance: float = 0.15) -> Tensor:
    """Some of faces (B,3,S,S) in [-1,1] with their hair (B,1,S,S) in another colour: a random one with the
    brightness they have."""
    count, device = len(faces), faces.device
    chroma = torch.rand(count, 3, 1, 1, device=device) * 1.2 - 0.6
    chroma = chroma - luma(chroma)
    light = luma(faces)
    shown = (light + 1) / 2  # the darker, the less colour
    dyed = light + chroma * (0.4 + shown)
    chosen = torch.rand(count, 1, 1, 1, device=device) < chance
    return torch.where(chosen, torch.lerp(faces, dyed, hair), faces).clamp(-1, 1)


def shine(faces: Tensor, hair: Tensor, chance: float = 0.2) -> Tensor:
    """Some of faces (B,3,S,S) in [-1,1] with gloss on their hair (B,1,S,S): broad patches up to three and a
    half times as bright, in the colour of a lamp, as where light falls through hair."""
    count, side, device = len(faces), faces.shape[-1], faces.device
    noise = torch.randn(count, 1, 5, 5, device=device)
    patch = F.interpolate(noise, size=(side, side), mode="bicubic", align_corners=False)
    patch = (1.2 * patch - 0.3).clamp(0, 1)
    lamp = 1 + (torch.rand(count, 3, 1, 1, device=device) - 0.5) * 0.7
    gain = 0.3 + 1.7 * torch.rand(count, 1, 1, 1, device=device)
    lit = ((faces + 1) * (1 + gain * patch * lamp) - 1).clamp(-1, 1)
    chosen = torch.rand(count, 1, 1, 1, device=device) < chance
    return torch.where(chosen, torch.lerp(faces, lit, hair), faces)


def surround(faces: Tensor, hair: Tensor, landmarks: Tensor, chance: float = 0.25) -> Tensor:
    """Some of faces (B,3,S,S) in [-1,1] with landmarks (B,68,2) in 0..1 get another background, as many another
    garment; of both, half have nearly the colour of the hair (B,1,S,S)."""
    count, side, device = len(faces), faces.shape[-1], faces.device
    line = (torch.arange(side, device=device) + 0.5) / side
    y, x = line[:, None], line[None, :]
    left, right = landmarks[:, 0], landmarks[:, 16]
    half = ((right[:, 0] - left[:, 0]) / 2).clamp_min(0.05).view(-1, 1, 1)
    middle, ears = ((left + right) / 2).view(-1, 2, 1, 1).unbind(1)
    chin = landmarks[:, 8, 1].view(-1, 1, 1)
    off = ((x - middle).square() + ((y - ears) / 1.25).square()).sqrt() / half
    behind = ((off - 1.2) / 0.1).clamp(0, 1) * ((chin - y) / 0.05).clamp(0, 1)
    below = ((y - chin) / half / 0.3 - 0.7).clamp(0, 1)
    tone = weighted_mean(faces, hair)
    for place in (behind, below):
        cloth = fabric(faces)
        alike = tone + 0.3 * (cloth - cloth.mean((2, 3), keepdim=True)) + 0.2 * torch.randn_like(tone)
        cloth = torch.where(torch.rand(count, 1, 1, 1, device=device) < 0.5, alike.clamp(-1, 1), cloth)
        chosen = torch.rand(count, 1, 1, 1, device=device) < chance
        faces = torch.lerp(faces, cloth, chosen * place[:, None] * (1 - hair))
    return faces


def wear(faces: Tensor, hair: Tensor, landmarks: Tensor, chance: float = 0.25) -> tuple[Tensor, Tensor]:
    """Some of faces (B,3,S,S) in [-1,1] with landmarks (B,68,2) in 0..1 get a hat, a scarf or a bald head; it covers
    their hair (B,1,S,S). Cloth is `fabric`, and all of it is darker to the sides, as round things are."""
    count, side = len(faces), faces.shape[-1]
    line = (torch.arange(side, device=faces.device) + 0.5) / side
    y, x = line[:, None], line[None, :]
    left, right = landmarks[:, 0, 0], landmarks[:, 16, 0]
    half = ((right - left) / 2).clamp_min(0.05).view(-1, 1, 1)
    middle = ((left + right) / 2).view(-1, 1, 1)
    brow = landmarks[:, 17:27, 1].mean(1).view(-1, 1, 1)
    draw = torch.rand(count, 4, 1, 1, device=faces.device)
    # A dome over the brow: its lower edge `low` is bent, and it is wider than the head by 5 to 60 %.
    low = brow - half * (0.1 + 0.5 * draw[:, 0]) + (draw[:, 1] - 0.5) * 0.3 * (x - middle).square() / half
    across = (x - middle) / (half * (1.05 + 0.55 * draw[:, 2]))
    top = brow - half * (1.1 + 0.9 * draw[:, 3])
    dome = (y < low) & (across.abs() < 1) & (y > top + half * 0.6 * across.square())
    # A scarf leaves the oval of the face and hides the rest of the head, down to the chest.
    chin = landmarks[:, 8, 1].view(-1, 1, 1)
    tall = (chin - top).clamp_min(0.1) / 2
    oval = ((x - middle) / (half * 0.95)).square() + ((y - (chin + brow - half) / 2) / tall).square() < 1
    wide = ((x - middle) / (half * 1.6)).square() + ((y - chin) / (2.2 * tall)).square() < 1
    kind = torch.rand(count, 1, 1, device=faces.device)
    # Some hats have a brim, a flat ellipse around the lower edge.
    span = 1.1 + 1.2 * torch.rand(count, 1, 1, device=faces.device)
    thick = 0.1 + 0.25 * torch.rand(count, 1, 1, device=faces.device)
    flat = ((x - middle) / (half * span)).square() + ((y - low + thick * half) / (half * thick)).square()
    dome = dome | ((flat < 1) & (kind > 0.3) & (kind < 0.6))
    shape = torch.where(kind < 0.3, wide & ~oval, dome)
    cover = (shape & (torch.rand(count, 1, 1, device=faces.device) < chance))[:, None].float()
    cover = F.avg_pool2d(cover, 3, 1, 1)
    # It is round, darker to the sides, and some have a cuff, lighter or darker than the crown.
    bend, edge, cuffed = torch.rand(3, count, 1, 1, device=faces.device)
    cuff = (y > low - half * 0.35) & (kind > 0.3) & (kind < 0.7) & (cuffed < 0.5)
    light = (1 - 0.6 * bend * across.square().clamp(max=1)) * torch.where(cuff, 0.7 + 0.6 * edge, 1.0)
    cloth = torch.where((kind < 0.85)[:, None], fabric(faces), skin(faces, landmarks))
    cloth = ((cloth + 1) * light[:, None] - 1).clamp(-1, 1)
    return faces + cover * (cloth - faces), hair * (1 - cover)


def hang(faces: Tensor, hair: Tensor, landmarks: Tensor, chance: float = 0.25) -> tuple[Tensor, Tensor]:
    """Some of faces (B,3,S,S) in [-1,1] with landmarks (B,68,2) in 0..1 get hair that hangs down behind the face: a
    tail that comes out behind an ear, hair on both shoulders, or a few free strands -> faces and hair (B,1,S,S) anew.
    Half of it has a drawn pattern, the other half the look of their own hair where enough of that is seen."""
    count, side, device = len(faces), faces.shape[-1], faces.device
    line = (torch.arange(side, device=device) + 0.5) / side
    y, x = line[:, None], line[None, :]
    left, right, chin = landmarks[:, 0], landmarks[:, 16], landmarks[:, 8]
    half = ((right - left)[:, 0] / 2).clamp_min(0.05).view(-1, 1, 1)
    middle, ears = ((left + right) / 2).view(-1, 2, 1, 1).unbind(1)
    draw = torch.rand(12, count, 1, 1, device=device)
    tail = draw[0] < 0.75
    turned = torch.where(draw[1] < 0.5, -1.0, 1.0)
    aside = torch.where(draw[9] < 0.45, (x - middle).abs(), turned * (x - middle)) / half
    # From the root down it bends outwards or in: x = root + bend t + curl t^2, t the way down in half widths of a face.
    down = (y + 0 * x - ears) / half - 0.4 * draw[2]
    length = 0.8 + 2.4 * draw[3]
    bend, curl = (draw[5] - 0.4) * 0.5, (draw[6] - 0.5) * 0.2
    off = aside - (0.8 + 0.3 * draw[4] + bend * down + curl * down.square())
    # It widens, and ends in a blunt or a thin tip; its outline and its strands are noise, drawn out along it.
    way = (down / length).clamp(0, 1)
    wide = torch.where(tail, 0.12 + 0.4 * draw[7], 0.06 + 0.16 * draw[7])
    wide = wide * (0.25 + 2 * way).clamp(max=1) * (1 - way).pow(0.15 + 0.8 * draw[11])
    coarse, fine = (noise_along(off, down, pitch) for pitch in (3.0, 14.0))
    shape = ((wide * (1 + 0.4 * coarse) - off.abs() + 0.04 * fine) * half * side).clamp(0, 1)
    shape = shape * (down > 0) * (way < 1)
    few = torch.where(tail, 1.0, ((fine - 0.2) * 3).clamp(0, 1))
    # The face lies before it, and of some the neck.
    top, low = ears - 0.6 * half, chin[:, 1].view(-1, 1, 1)
    across = (x - (middle + chin[:, 0].view(-1, 1, 1)) / 2) / (0.95 * half)
    head = across.square() + ((y - (top + low) / 2) / ((low - top) / 2).clamp_min(0.02)).square() < 1
    neck = (across.abs() < 0.6) & (y > ears) & (draw[8] < 0.6)
    shape = shape * (~(head | neck)).to(shape)
    mean = weighted_mean(faces, hair)
    varied = (weighted_mean((faces - mean).square(), hair) + 1e-4).sqrt()
    light = 2 * draw[2] - 1.3 + 0.6 * fine + 0.6 * torch.sin(2 * down + 6 * draw[8])
    own = mean + varied * (light[:, None] + 0.25 * torch.randn_like(faces[:, :1]))
    real, seen = look(faces, hair, half, off, down)
    real = real + varied * (draw[2][:, None] - 0.6)
    own = torch.where((draw[10] < 0.5)[:, None] & seen, real, own)
    has = (hair.mean((2, 3)) / half[:, 0].square() > 0.4)[..., None, None]
    chosen = has & (torch.rand(count, 1, 1, 1, device=device) < chance)
    cover = (shape * few)[:, None] * chosen
    return torch.lerp(faces, own.clamp(-1, 1), cover), torch.maximum(hair, cover)


def noise_along(off: Tensor, down: Tensor, pitch: float) -> Tensor:
    """Noise (B,S,S) of about -1 to 1 that changes `pitch` times in half a face's width across hair, and an eighth as
    often along it; see `look`."""
    noise = torch.rand(len(off), 1, 64, 64, device=off.device) * 2 - 1
    grid = torch.stack([back_and_forth(z * pitch / 32) for z in (off, down / 8)], 3)
    return F.grid_sample(noise, grid, padding_mode="border", align_corners=False)[:, 0]


def look(faces: Tensor, hair: Tensor, half: Tensor, off: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Pieces of the hair (B,1,S,S) of faces (B,3,S,S), laid along other hair, (B,3,S,S); and whether there is a place
    that is large enough, (B,1,1,1) bool. half (B,1,1): half a face's width in sides of the picture; off, down (B,S,S):
    how far aside and down each pixel lies along the other hair, in such halves."""
    count, side = hair.shape[0], hair.shape[-1]
    reach = side // 16 // 2 * 2 + 1
    whole, place = F.avg_pool2d(hair, reach, 1, reach // 2).flatten(1).max(1)
    centre = torch.stack([place % side, place // side], 1).view(count, 1, 1, 2) + 0.5
    angle = torch.rand(count, 1, 1, device=faces.device) * 2 * torch.pi
    around = reach / 2 / (half * side)  # in half widths of a face
    across, along = (around * back_and_forth(z / around) for z in (off, 0.4 * down))
    moved = torch.stack(
        [across * angle.cos() - along * angle.sin(), across * angle.sin() + along * angle.cos()], 3
    )
    grid = 2 * (centre / side + moved * half[..., None]) - 1
    piece = F.grid_sample(faces, grid, padding_mode="border", align_corners=False)
    return piece, (whole > 0.95)[:, None, None, None]


def back_and_forth(z: Tensor) -> Tensor:
    """A triangle wave of slope 1 between -1 and 1."""
    return 1 - ((z + 1) % 4 - 2).abs()


def fabric(faces: Tensor) -> Tensor:
    """Cloth (B,3,S,S): an enlarged corner of another picture, one colour, stripes, wool or the folds of a curtain,
    shaded from the top."""
    count, side = len(faces), faces.shape[-1]
    corner = faces.roll(1, 0)[:, :, side // 2 :, : side // 2]
    piece = F.interpolate(corner, size=(side, side), mode="bilinear", align_corners=False)
    colours = torch.rand(2, count, 3, 1, 1, device=faces.device) * 1.8 - 1
    waves = torch.sin(
        torch.arange(side, device=faces.device) * (0.15 + torch.rand(count, 1, device=faces.device) * 1.2)
    )[:, None, :, None]
    striped = torch.where(waves > 0, colours[0], colours[1])
    kind = torch.rand(count, 1, 1, 1, device=faces.device)
    cloth = torch.where(kind < 0.2, piece, torch.where(kind < 0.4, colours[0].expand_as(piece), striped))
    cloth = torch.where(kind < 0.55, cloth, wool(count, side, faces))
    cloth = torch.where(kind < 0.85, cloth, folds(count, side, faces))
    shade = (
        0.3
        * (torch.rand(count, 1, 1, 1, device=faces.device) - 0.5)
        * torch.linspace(-1, 1, side, device=faces.device)[:, None]
    )
    grain = (
        0.1
        * torch.rand(count, 1, 1, 1, device=faces.device)
        * torch.randn(count, 1, side, side, device=faces.device)
    )
    return (cloth + shade + grain).clamp(-1, 1)


def wool(count: int, side: int, like: Tensor) -> Tensor:
    """Knitted and woven wool (B,3,S,S) in the colours of hair and muted others: noise, drawn out along one direction,
    in ribs or zigzags."""
    device = like.device
    noise = torch.randn(count, 1, side, side, device=device)
    long = torch.rand(count, 1, 1, 1, device=device)
    flat = F.avg_pool2d(noise, (1, 5), 1, (0, 2)) * 5**0.5
    tall = F.avg_pool2d(noise, (5, 1), 1, (2, 0)) * 5**0.5
    grain = torch.where(long < 0.3, flat, torch.where(long < 0.6, tall, F.avg_pool2d(noise, 3, 1, 1) * 3))
    line = torch.arange(side, device=device)
    pitch = 0.5 + 1.3 * torch.rand(count, 1, 1, device=device)  # radians a pixel
    zigzag = 3 * ((line / 6.0) % 2 - 1).abs()
    along = line[None, :, None] + zigzag[None, None, :] * (torch.rand(count, 1, 1, device=device) < 0.5)
    across = line[None, None, :] + 0 * line[None, :, None]
    ribs = torch.sin(pitch * torch.where(torch.rand(count, 1, 1, device=device) < 0.5, along, across))[
        :, None
    ]
    grey = torch.rand(count, 1, 1, 1, device=device) * 1.6 - 1
    tint = (torch.rand(count, 3, 1, 1, device=device) - 0.5) * 0.3
    fine = torch.rand(2, count, 1, 1, 1, device=device)
    return (grey + tint + 0.2 * fine[0] * grain + 0.25 * fine[1] * ribs).clamp(-1, 1)


def folds(count: int, side: int, like: Tensor) -> Tensor:
    """A curtain (B,3,S,S) in muted colours, often dark: upright folds that widen and bend a little, as hair does."""
    device = like.device
    draw = torch.rand(6, count, 1, 1, 1, device=device)
    line = (torch.arange(side, device=device) + 0.5) / side
    y, x = line[:, None], line[None, :]
    across = x + 0.1 * (draw[0] - 0.5) * y + 0.02 * draw[1] * torch.sin(6 * y + 6 * draw[2])
    waves = torch.zeros(count, 1, side, side, device=device)
    for pitch in (5.0, 13.0, 31.0):
        phase, own = (torch.rand(count, 1, 1, 1, device=device) for _ in range(2))
        waves = waves + own * torch.sin(6.28 * pitch * (0.6 + 0.8 * draw[3]) * across + 6.28 * phase)
    grey = 1.6 * draw[4].square() - 0.95
    tint = (torch.rand(count, 3, 1, 1, device=device) - 0.5) * 0.3
    light = 1 + 0.35 * draw[5] * waves
    return ((grey + tint + 1).clamp_min(0.02) * light - 1).clamp(-1, 1)


def skin(faces: Tensor, landmarks: Tensor) -> Tensor:
    """A scalp (B,3,S,S): the colour of the brow's middle, lighter towards the top."""
    place = (landmarks[:, 21] + landmarks[:, 22]) / 2
    colour = F.grid_sample(faces, 2 * place[:, None, None] - 1, align_corners=False)  # (B,3,1,1)
    glow = 0.15 * torch.linspace(1, -1, faces.shape[-1], device=faces.device)[:, None]
    return (colour + glow).clamp(-1, 1).expand_as(faces)
