"""ganime_age: one face photo in; the same person at another age and with another expression out."""

from .editor import EditResult, FaceEditor, Reading
from .edits import AU_CODES, AU_NAMES, Edit
from .errors import BadInput, GanimeAgeError, MissingModel
from .model import GanimeAge

__version__ = "0.1.0"
__all__ = [
    "AU_CODES",
    "AU_NAMES",
    "BadInput",
    "Edit",
    "EditResult",
    "FaceEditor",
    "GanimeAge",
    "GanimeAgeError",
    "MissingModel",
    "Reading",
    "__version__",
]
