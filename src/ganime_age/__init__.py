"""ganime_age: one face photo in; the same person at another age and with another expression out."""

from ._version import __version__
from .editor import FaceEditor
from .edits import AU_CODES, AU_NAMES, Edit
from .errors import BadInput, GanimeAgeError, MissingModel
from .model.model import GanimeAge
from .pipelines.animation import Keyframe
from .provenance.verify import Verdict, verify
from .results import ClipResult, EditResult, Reading

__all__ = [
    "AU_CODES",
    "AU_NAMES",
    "BadInput",
    "ClipResult",
    "Edit",
    "EditResult",
    "FaceEditor",
    "GanimeAge",
    "GanimeAgeError",
    "Keyframe",
    "MissingModel",
    "Reading",
    "Verdict",
    "__version__",
    "verify",
]
