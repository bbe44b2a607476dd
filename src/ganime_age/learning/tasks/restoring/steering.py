"""Steering an edit by readers of whole faces: how old it looks, and whether it is still the same person.

The age is read by a reader that withstands attacks (attributes_robust.toml): its gradient points at what people see as
old, where a plain reader's points at noise that nobody sees. A second one may have half of the say.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....networks.aligned.attributes import AttributeReader
from ....networks.aligned.identity import IdentityReader
from ....networks.layers import precise
from ....networks.readers import Readers
from ...data.augment import random_affine, random_colour
from ...data.faces import Faces
from ...engine.checkpoints import load_light
from ..aligned.attributes import read_all
from ..frozen import Calibration, load_readers, on_fastest
from ..readers import attack

BETA = 8.0
"""Years of error up to which the error of an age counts by its square."""


class Line(NamedTuple):
    """What a reader says on the mean of real faces: intercept + slope * age, in years."""

    intercept: float
    slope: float


class SecondReader(nn.Module):
    """Robust readers (readers_robust.toml), which see the whole frame at 64 px where the reader of attributes sees the
    face. What they see is neither attacked nor given noise."""

    def __init__(self, readers: Readers, calibration: Calibration):
        super().__init__()
        self.readers, self.calibration = readers, calibration

    def error(self, picture: Tensor, age: Tensor, aged: Tensor, source: Tensor) -> Tensor:
        """The term `age` of `Steering.terms` by these readers, a scalar: edited and unedited pictures (B,3,S,S) in
        [-1,1], ages asked (B,) in years, whether the age was edited (B,) bool."""
        with torch.no_grad():
            before = self.readers(source, identity=False).age
        wanted = torch.where(aged, self.calibration.age(age), before)
        seen, _ = random_affine(picture, None, turn=6, zoom=0.1, shift=0.03)
        return F.smooth_l1_loss(
            self.readers(random_colour(seen, 0.2, grey=0.2), identity=False).age, wanted, beta=BETA
        )


class Steering(nn.Module):
    """Readers that an edit must satisfy. line: see `line_of`; radius: of the attacks on what the reader of
    attributes sees, L2 in units of [-1,1]; noise: standard deviation of white noise there. second: a further reader of
    the age, or None; the term `age` is then the mean of both."""

    def __init__(
        self,
        attributes: AttributeReader,
        identity: IdentityReader,
        line: Line,
        radius: float,
        noise: float,
        second: SecondReader | None = None,
    ):
        super().__init__()
        self.attributes, self.identity, self.second = attributes, identity, second
        self.line, self.radius, self.noise = line, radius, noise

    def terms(
        self, picture: Tensor, landmarks: Tensor, age: Tensor, aged: Tensor, source: tuple[Tensor, Tensor]
    ) -> dict[str, Tensor]:
        """How far edited faces (B,3,S,S) with landmarks (B,68,2) are from what is read on real faces of their ages (B,)
        in years, or, where `aged` (B,) bool is false, on their source, smooth L1; and 1 - cosine of their identity to
        the source's: its picture and landmarks."""
        with torch.no_grad():
            known, before = self.identity(*source), self.attributes(*source).age
        wanted = torch.where(aged, self.line.intercept + self.line.slope * age, before)
        crop = self.attributes.crop(picture, landmarks)
        crop, _ = random_affine(crop, None, turn=6, zoom=0.12, shift=0.04)
        crop = random_colour(crop, 0.2, grey=0.2)
        crop = crop + self.noise * torch.randn_like(crop)

        def error(seen: Tensor) -> Tensor:
            read = self.attributes.attributes(self.attributes.last(seen)).age
            return F.smooth_l1_loss(read, wanted, beta=BETA)

        # The attack pulls the reading back towards where the face was: only what withstands it counts.
        if self.radius:
            with precise(crop):
                shift = attack(error, crop.detach(), self.radius * float(torch.rand(())), 1) - crop.detach()
            crop = crop + shift
        likeness = F.cosine_similarity(self.identity(picture, landmarks), known)
        off = error(crop)
        if self.second is not None:
            off = (off + self.second.error(picture, age, aged, source[0])) / 2
        return {"age": off, "identity": (1 - likeness).mean()}


def line_of(reader: AttributeReader, faces: Faces, most: int = 1500) -> Line:
    """The least-squares line of what a reader says of some real faces over their ages."""
    has = np.isfinite(faces.labels["age"]) & np.isfinite(faces.labels["landmarks"]).all((1, 2))
    picks = np.flatnonzero(has)
    picks = picks[:: max(1, len(picks) // most)]
    with on_fastest(reader):
        read = read_all(reader, faces, picks)["age"]
    slope, intercept = np.polyfit(faces.labels["age"][picks], read, 1)
    return Line(float(intercept), float(slope))


def second_reader(folder: str, faces: Faces) -> SecondReader | None:
    """The robust readers of a run's light folder, with what they say of real faces; None where no folder is named."""
    if not folder:
        return None
    readers = load_readers(folder)
    readers.local = None  # an age does not need the second look at mouth and eyes
    return SecondReader(readers, Calibration.measure(readers, faces))


def load(
    attributes: str,
    identity: str,
    faces: Faces,
    radius: float,
    noise: float,
    second: SecondReader | None = None,
) -> Steering:
    """Readers of a run's light folder and of weights, which are not trained on; faces: real ones for the line."""
    reader = load_light(AttributeReader, attributes, "attributes").eval()
    who = load_light(IdentityReader, identity, "identity").eval()
    steering = Steering(reader, who, line_of(reader, faces), radius, noise, second)
    return steering.requires_grad_(False).eval()
