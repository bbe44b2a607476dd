"""A driving clip of our own, so that none from outside is needed: one photo sways its head and changes its face."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
from PIL import Image

from ..edits import NO_SMILE, Edit
from ..networks.mesh import turned
from .face import FacePipeline
from .reenactment import EXPRESSION_METHOD, Mover, action_of, check_reenactment, edit_face

SWAY = (20.0, 8.0, 6.0)
"""Largest yaw, pitch and roll of the head in degrees."""

Moment: TypeAlias = tuple[tuple[float, float, float], float]
"""By how many degrees of yaw, pitch and roll a head is turned, and how far its face is on the way to another, 0..1."""


def sway(way: float) -> Moment:
    """Yaw once, pitch twice and roll three times back and forth, and half-way the other face; way: 0..2 pi."""
    turn = [most * math.sin((k + 1) * way) for k, most in enumerate(SWAY)]
    return (turn[0], turn[1], turn[2]), _there_and_back(way)


MOVES: dict[str, Callable[[float], Moment]] = {
    "nod": lambda way: ((0.0, 14 * math.sin(2 * way) * math.sin(way / 2), 0.0), 0.0),
    "shake": lambda way: ((20 * math.sin(2 * way) * math.sin(way / 2), 0.0, 0.0), 0.0),
    "there": lambda way: ((0.0, 0.0, 0.0), min(1.0, 1.35 * _there_and_back(way))),
    "back": lambda way: ((0.0, 0.0, 0.0), max(0.0, 1 - 1.35 * _there_and_back(way))),
}
"""What a driving face can do beside `sway`: nod, shake its head, go to the other expression and back, or come back from
it and go there again."""


def _there_and_back(way: float) -> float:
    return (1 - math.cos(way)) / 2


def driving_frames(
    pipeline: FacePipeline,
    photo: Any,
    frames: int = 60,
    action_units: Mapping[str, float] | None = None,
    mark: bool = True,
    move: Callable[[float], Moment] = sway,
) -> Iterator[Image.Image]:
    """One photo as a clip of `frames` whole photos, RGB. It starts and ends as it is; in between the head turns to
    either side, nods and tilts (SWAY), and half-way it shows `action_units` (NO_SMILE when None). move: another one,
    such as one of MOVES.

    BadInput for a photo that cannot be used, MissingModel when the weights cannot reenact.
    """
    check_reenactment(pipeline, Edit())
    loaded = pipeline.load(photo)
    given = pipeline.read_face(loaded, pipeline.find_faces(loaded))
    mover = Mover(pipeline, given, Edit(), mark, clip=True)
    head, own = pipeline.model.head, mover.action
    wish = Edit.of(None, NO_SMILE if action_units is None else action_units)
    other = action_of(edit_face(pipeline, given, wish, EXPRESSION_METHOD))
    with torch.inference_mode():
        start, end = (head.fit(mover.to_tensor(action.landmarks)) for action in (own, other))
        first = head.landmarks(start)
    for i in range(frames):
        turn, much = move(2 * math.pi * i / max(frames - 1, 1))
        angles = [start.pose[:, k] + degrees for k, degrees in enumerate(turn)]
        with torch.inference_mode():
            posed = turned(
                start._replace(expression=torch.lerp(start.expression, end.expression, much)), *angles
            )
            change = (head.landmarks(posed) - first)[0].double().cpu().numpy()
        yield Image.fromarray(
            mover.paint(own.landmarks + change, own.units + much * (other.units - own.units))[0]
        )
