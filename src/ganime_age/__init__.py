"""ganime_age: one face photo in; the same person at another age and with another expression out."""

from .animation import ClipResult, Keyframe
from .editor import FaceEditor
from .edits import AU_CODES, AU_NAMES, Edit
from .errors import BadInput, GanimeAgeError, MissingModel
from .model import GanimeAge
from .results import EditResult, Reading
from .verdict import Verdict, verify

__version__ = "0.2.0"
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
