"""The way of a photo or a clip: load, detect, align, read, generate, paste, read again, report.

`FacePipeline` has these eight steps as methods; `FaceEditor`, animations, reenactments and clips are built
of them. `Keyframe` is one moment of an animation.
"""

from typing import TYPE_CHECKING

from .._lazy import exports

if TYPE_CHECKING:
    from .animation import Keyframe
    from .face import FacePipeline
    from .progress import Progress
else:
    __getattr__ = exports(
        __name__,
        {
            "FacePipeline": ".face",
            "Keyframe": ".animation",
            "Progress": ".progress",
        },
    )

__all__ = ["FacePipeline", "Keyframe", "Progress"]
