"""A driving clip of our own, so that none from outside is needed: one photo sways its head and changes its face."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from PIL import Image

from ..edits import NO_SMILE, Edit
from ..networks.mesh import turned
from .face import FacePipeline
from .reenactment import CLIP_SIDE, EXPRESSION_METHOD, Mover, action_of, check_reenactment, edit_face

SWAY = (20.0, 8.0, 6.0)
"""Largest yaw, pitch and roll of the head in degrees."""


def driving_frames(
    pipeline: FacePipeline,
    photo: Any,
    frames: int = 60,
    action_units: Mapping[str, float] | None = None,
    mark: bool = True,
) -> Iterator[Image.Image]:
    """One photo as a clip of `frames` whole photos, RGB. It starts and ends as it is; in between the head turns to
    either side, nods and tilts (SWAY), and half-way it shows `action_units` (NO_SMILE when None).

    BadInput for a photo that cannot be used, MissingModel when the weights cannot reenact.
    """
    check_reenactment(pipeline, Edit())
    loaded = pipeline.load(photo)
    given = pipeline.read_face(loaded, pipeline.find_faces(loaded))
    mover = Mover(pipeline, given, Edit(), mark, CLIP_SIDE)
    head, own = pipeline.model.head, mover.action
    wish = Edit.of(None, NO_SMILE if action_units is None else action_units)
    other = action_of(edit_face(pipeline, given, wish, EXPRESSION_METHOD))
    with torch.inference_mode():
        start, end = (head.fit(mover.to_tensor(action.landmarks)) for action in (own, other))
        first = head.landmarks(start)
    for i in range(frames):
        way = 2 * math.pi * i / max(frames - 1, 1)
        much = (1 - math.cos(way)) / 2
        angles = [
            start.pose[:, k] + most * math.sin((k + 1) * way) for k, most in enumerate(SWAY)
        ]  # yaw once, pitch twice, roll three times back and forth
        with torch.inference_mode():
            posed = turned(
                start._replace(expression=torch.lerp(start.expression, end.expression, much)), *angles
            )
            change = (head.landmarks(posed) - first)[0].double().cpu().numpy()
        yield Image.fromarray(
            mover.paint(own.landmarks + change, own.units + much * (other.units - own.units))[0]
        )
