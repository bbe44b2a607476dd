"""What happens on the page when a visitor does something. Each handler takes the values by component, as `given`, and
gives back the components that change; what goes wrong is one sentence in the status line, and the rest stays."""

from __future__ import annotations

from .films import ClipHandlers
from .photos import PhotoHandlers
from .series import SeriesHandlers
from .visit import Parts, Seen, answering

__all__ = ["Handlers", "Parts", "Seen", "answering"]


class Handlers(PhotoHandlers, SeriesHandlers, ClipHandlers):
    """The handlers of one page over the jobs of one editor."""
