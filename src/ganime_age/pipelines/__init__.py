"""The way of a photo or a clip: load, detect, align, read, generate, paste, read, report.

`FacePipeline` has these eight steps as methods; `FaceEditor` and the animation, reenactment and multi-pose tools are
built of them. `Keyframe` is one moment of an animation.
"""

from typing import TYPE_CHECKING

from .._lazy import exports

if TYPE_CHECKING:
    from .animation import Keyframe
else:
    __getattr__ = exports(
        __name__,
        {
            "Keyframe": ".animation",
        },
    )

__all__ = ["Keyframe"]
