"""Pixels in, pixels out: photos, clips, face detectors and the aligned frame.

`load_photo` reads any photo as RGB (H,W,3) uint8, upright and within limits. A detector maps such a photo to its faces,
the largest first. `frame_matrix`, `crop` and `paste` go between a photo and the FFHQ frame of one face.
"""

from typing import TYPE_CHECKING

from .._lazy import exports

if TYPE_CHECKING:
    from .alignment import crop, frame_matrix, paste
    from .detectors import EmbeddedDetector, InsightFaceDetector
    from .photo import PhotoLike, load_photo
    from .search import FoundFace
    from .video_reader import Clip
else:
    __getattr__ = exports(
        __name__,
        {
            "Clip": ".video_reader",
            "EmbeddedDetector": ".detectors",
            "FoundFace": ".search",
            "InsightFaceDetector": ".detectors",
            "PhotoLike": ".photo",
            "crop": ".alignment",
            "frame_matrix": ".alignment",
            "load_photo": ".photo",
            "paste": ".alignment",
        },
    )

__all__ = [
    "Clip",
    "EmbeddedDetector",
    "FoundFace",
    "InsightFaceDetector",
    "PhotoLike",
    "crop",
    "frame_matrix",
    "load_photo",
    "paste",
]
