"""One face photo in; the same person at another age, with another expression, or moving like someone else, out.

    from ganime_age import FaceEditor, GanimeAge

    editor = FaceEditor(GanimeAge.from_pretrained())
    editor.edit("portrait.jpg", age=70, action_units={"AU12": 3.0}).save("older.png")

`FaceEditor` takes photos and clips, `GanimeAge` tensors; `align`, `crop` and `paste` lead from a photo to tensors and
back (see `ganime_age.pipelines.aligned`). `verify` looks for the mark that every edit carries. Ages are
years, 0 to 100; action units are FACS codes with intensities 0 to 5. A photo or request that cannot be used raises
`BadInput`, missing or damaged weights `MissingModel`; both are a `GanimeAgeError` with one sentence.

The rooms, from what a user asks down to what computes:

- `ganime_age.cli`: the command line, its commands and exit codes
- `ganime_age.card`: model cards and contact sheets, rendered from results files
- `ganime_age.onnx`: the same edits as graphs for onnxruntime, without torch
- `ganime_age.pipelines`: the way of a photo or a clip, step by step
- `ganime_age.provenance`: the marks of an edited picture, and the search for them
- `ganime_age.images`: photos, clips, face detectors and the aligned frame
- `ganime_age.model`: the networks under one roof, the table of methods, their files, the Hub
- `ganime_age.edits`: what may be asked of one face, in human words

Names are imported on first use: `import ganime_age` and `ganime_age.edits` need no torch.
"""

from typing import TYPE_CHECKING

from ._lazy import exports
from ._version import __version__

if TYPE_CHECKING:
    from .editor import FaceEditor
    from .edits import AU_CODES, AU_NAMES, Edit
    from .errors import BadInput, GanimeAgeError, MissingModel
    from .images.photo import load_photo
    from .model.model import GanimeAge
    from .pipelines.aligned import align, crop, paste
    from .pipelines.animation import Keyframe
    from .provenance.verify import Verdict, verify
    from .results import ClipResult, EditResult, Reading
else:
    __getattr__ = exports(
        __name__,
        {
            "AU_CODES": ".edits",
            "AU_NAMES": ".edits",
            "BadInput": ".errors",
            "ClipResult": ".results",
            "Edit": ".edits",
            "EditResult": ".results",
            "FaceEditor": ".editor",
            "GanimeAge": ".model.model",
            "GanimeAgeError": ".errors",
            "Keyframe": ".pipelines.animation",
            "MissingModel": ".errors",
            "Reading": ".results",
            "Verdict": ".provenance.verify",
            "align": ".pipelines.aligned",
            "crop": ".pipelines.aligned",
            "load_photo": ".images.photo",
            "paste": ".pipelines.aligned",
            "verify": ".provenance.verify",
        },
    )

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
    "align",
    "crop",
    "load_photo",
    "paste",
    "verify",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
