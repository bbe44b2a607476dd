"""What the settings of the page ask of a photo, and how a request's settings are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...edits import AGE_PARTS, check_age, check_parts
from ...errors import BadInput
from .. import expression, jobs
from ..jobs import Asked
from ..loader import is_ours
from .visit import NO_CONSENT, Parts, Seen, usable


class Asking:
    """The jobs of one editor, the components of one page, and the request that is made of what these hold."""

    def __init__(self, work: jobs.Jobs, parts: Parts):
        self.work, self.on = work, parts

    def controls(self) -> tuple:
        """The controls that a former result sets back."""
        on = self.on
        age = (on.age.change, on.age.years, on.age.own, on.age.parts, on.age.method)
        return (*age, on.strength, *on.head, *on.expression.units)

    def _asked(self, given: dict, photo_needed: bool = True) -> Asked:
        """The one request that all editors make together; BadInput says what it lacks."""
        on = self.on
        if given[on.photo] is None and photo_needed:
            raise BadInput("upload a photo first")
        photo = usable(given[on.photo]) if photo_needed else None
        driving, clip = given[on.reenact.photo], None if photo_needed else usable(given[on.reenact.clip])
        driving = None if driving is None else usable(driving)
        if not self._agreed(given, photo, driving, clip):
            raise BadInput(NO_CONSENT)
        asked = self._wanted(given, None if photo is None else np.asarray(photo))
        driving = None if driving is None else np.asarray(driving)
        asked = asked._replace(motion=given[on.reenact.motion], multiplier=given[on.reenact.multiplier])
        return asked._replace(driving=driving, every=given[on.every], name=getattr(photo, "name", "photo"))

    def _wanted(self, given: dict, photo: Any) -> Asked:
        """What the settings ask of a face of a photo."""
        on = self.on
        age = given[on.age.years] if given[on.age.change] else None
        wanted = Asked(photo, age, self._units(given), None, given[on.age.method], self._seen(given).face)
        turn, parts = tuple(given[slider] for slider in on.head), check_parts(given[on.age.parts])
        wanted = wanted._replace(turn=turn if any(turn) else None, insight=given[on.insight] is True)
        wanted = wanted._replace(parts=None if age is None or parts == AGE_PARTS else parts)
        own = str(given[on.age.own] or "").strip()
        return wanted._replace(strength=given[on.strength], own_age=check_age(own) if own else None)

    def _agreed(self, given: dict, *pictures: Any) -> bool:
        """Whether the box is ticked, or all that is shown is the page's own."""
        own = (
            getattr(p, "ours", False) or isinstance(p, Path) and is_ours(p) for p in pictures if p is not None
        )
        return given[self.on.consent] is True or all(own)

    def _units(self, given: dict) -> dict[str, float]:
        """The action units whose sliders were moved away from what the face shows."""
        values = tuple(given[slider] for slider in self.on.expression.units)
        return expression.asked(self._seen(given).rest, values, self.work.editable)

    def _seen(self, given: dict) -> Seen:
        return Seen(**given[self.on.seen])

    def _sliders(self, seen: Seen, targets: dict[str, float]) -> dict:
        return dict(
            zip(
                self.on.expression.units,
                expression.at(seen.rest, targets, self.work.editable),
                strict=True,
            )
        )
