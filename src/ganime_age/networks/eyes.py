"""Eyes that are larger or smaller in a face: an eyeball is nearly grown at three years, the face around it is not.

The cornea is 11 to 12 mm wide for life, while the distance of the pupils grows from about 46 mm at one year to 63 mm
(MacLachlan & Howland, Ophthalmic and Physiological Optics 2002; Dodgson, SPIE 5291, 2004). Landmarks of the lids say
little of it. So the iris, and what lies close to it, is magnified about its middle, less and less towards the corners
of the eye and the brow.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .hair.filters import ramp

EYES = (slice(36, 42), slice(42, 48))
"""Landmarks around each eye."""
IRIS, AROUND = 0.08, 0.36
"""Distances from the middle of an eye, in those between both, up to which all is magnified, and from which on
nothing."""
FIELD_SIDE = 64
"""Side of the grid on which the eyes' field is computed."""


def magnification(places: Tensor, landmarks: Tensor, amount: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of each eye of faces with landmarks (B,68,2): places (B,N,2) from its middle, and the log of their magnification
    (B,N,1) where that of the irises is `amount` (B,)."""
    middles = [landmarks[:, eye].mean(1, keepdim=True) for eye in EYES]
    apart = (middles[1] - middles[0]).norm(dim=2, keepdim=True).clamp_min(1e-3)
    found = []
    for middle in middles:
        away = places - middle
        near = 1 - ramp(away.norm(dim=2, keepdim=True) / apart, IRIS, AROUND)
        found.append((away, amount[:, None, None] * near))
    return found


def moved_lids(landmarks: Tensor, amount: Tensor) -> Tensor:
    """How far landmarks (B,68,2) in 0..1 move as eyes grow by the factor exp(amount), (B,): (B,68,2)."""
    parts = [away * (grown.exp() - 1) for away, grown in magnification(landmarks, landmarks, amount)]
    return parts[0] + parts[1]


def eye_field(landmarks: Tensor, amount: Tensor) -> Tensor:
    """The same of all pixels, as the coarse field (B,2,FIELD_SIDE,FIELD_SIDE) that `warp.follow` takes enlarged."""
    line = (torch.arange(FIELD_SIDE, device=landmarks.device, dtype=landmarks.dtype) + 0.5) / FIELD_SIDE
    pixels = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(1, -1, 2)
    # Backward: the pixel at x shows what was at c + (x - c) / m.
    places = pixels.expand(len(landmarks), -1, -1)
    parts = [away * (1 - (-grown).exp()) for away, grown in magnification(places, landmarks, amount)]
    return (parts[0] + parts[1]).mT.reshape(len(landmarks), 2, FIELD_SIDE, FIELD_SIDE)
