"""Random changes of face batches that leave their labels true, on the tensors themselves.

Random numbers are drawn where the faces lie, so that a GPU neither waits for the host's nor lets it wait.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def random_affine(
    face: Tensor, landmarks: Tensor | None, turn: float, zoom: float, shift: float
) -> tuple[Tensor, Tensor | None]:
    """Turn by up to `turn` degrees, scale by up to `zoom`, shift by up to `shift` of the side, each face its own.

    face (B,C,S,S); landmarks (B,68,2) in 0..1 or None. Returns both; what comes in from outside repeats the border.
    """
    b, device = len(face), face.device
    angle = (torch.rand(b, device=device) * 2 - 1) * turn * torch.pi / 180
    scale = 1 + (torch.rand(b, device=device) * 2 - 1) * zoom
    move = (torch.rand(b, 2, device=device) * 2 - 1) * shift * 2
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrix = torch.stack([cos, -sin, sin, cos], 1).view(b, 2, 2)  # output -> input, in -1..1
    moves = torch.cat([matrix, move[:, :, None]], 2)
    with torch.autocast(device.type, enabled=False):  # a grid in bfloat16 would be off by half a pixel
        grid = F.affine_grid(moves, list(face.shape), align_corners=False)
    face = F.grid_sample(face, grid, padding_mode="border", align_corners=False)
    if landmarks is not None:
        back = torch.linalg.inv_ex(matrix).inverse.to(landmarks)  # inv would let the host wait
        centred = landmarks * 2 - 1 - move.to(landmarks)[:, None]
        landmarks = (
            (back[:, None] * centred[:, :, None]).sum(-1) + 1
        ) / 2  # no matmul: autocast would round it
    return face, landmarks


def moved_alike(*images: Tensor) -> list[Tensor]:
    """DiffAugment's translation (Zhao et al. 2020) with rotation and scale, the same for all pictures of a face.

    images (B,C_i,S,S): a face, its edit, their masks. A discriminator that sees real and generated faces moved alike
    cannot tell them apart by the move.
    """
    moved, _ = random_affine(torch.cat(images, 1), None, turn=5, zoom=0.08, shift=0.06)
    return list(moved.split([image.shape[1] for image in images], 1))


def random_colour(face: Tensor, strength: float = 0.3, grey: float = 0.1) -> Tensor:
    """Brightness, contrast, saturation and colour cast, each face its own; each loses all colour with
    probability `grey`."""
    b, device = len(face), face.device

    def draw() -> Tensor:
        return (torch.rand(b, 1, 1, 1, device=device) * 2 - 1) * strength

    mean = face.mean((1, 2, 3), keepdim=True)
    luma = face.mean(1, keepdim=True)
    keep = (torch.rand(b, 1, 1, 1, device=device) >= grey) * (1 + draw())
    face = luma + (face - luma) * keep
    face = (face - mean) * (1 + draw()) + mean + draw()
    cast = (torch.rand(b, 3, 1, 1, device=device) * 2 - 1) * strength / 3
    return (face + cast).clamp(-1, 1)


def random_quality(face: Tensor, probability: float = 0.3) -> Tensor:
    """Some faces shrunk and enlarged again, and some noisy, as in small or bad photos."""
    b, side, device = len(face), face.shape[-1], face.device
    small = F.interpolate(
        face, size=int(side * (0.3 + 0.5 * torch.rand(()).item())), mode="bilinear", antialias=True
    )
    blurred = F.interpolate(small, size=side, mode="bilinear", align_corners=False)
    face = torch.where(torch.rand(b, 1, 1, 1, device=device) < probability, blurred, face)
    noise = torch.randn_like(face) * 0.08 * torch.rand(b, 1, 1, 1, device=device)
    noisy = torch.rand(b, 1, 1, 1, device=device) < probability
    return torch.where(noisy, (face + noise).clamp(-1, 1), face)


def random_erase(face: Tensor, probability: float = 0.3) -> Tensor:
    """A random rectangle of some faces becomes one grey value."""
    (b, _, h, w), device = face.shape, face.device
    size, centre = torch.rand(b, 2, device=device) * 0.3 + 0.1, torch.rand(b, 2, device=device)
    y = torch.arange(h, device=device)[None, :, None] / h
    x = torch.arange(w, device=device)[None, None, :] / w
    inside = ((y - centre[:, :1, None]).abs() < size[:, :1, None] / 2) & (
        (x - centre[:, 1:, None]).abs() < size[:, 1:, None] / 2
    )
    inside = (inside & (torch.rand(b, 1, 1, device=device) < probability))[:, None]
    return torch.where(inside, torch.rand(b, 1, 1, 1, device=device) * 2 - 1, face)
