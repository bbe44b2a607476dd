"""Was this picture or clip edited? Looks for the marks of ganime_age: metadata, a signature, the watermark of faces."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput
from ..images.alignment import frame_matrix
from ..images.detectors import EmbeddedDetector
from ..images.download import fetched, is_address
from ..images.photo import content, is_file, load_photo, photo_name
from ..images.search import FoundFace
from ..images.video_reader import is_clip
from ..model.model import GanimeAge
from ..runtime import enough_memory
from .c2pa import read_credentials
from .clips import clip_packet, clip_scores
from .metadata import WRITERS
from .watermark import SIDE, THRESHOLD, false_positive_rate, score
from .xmp import MADE_BY_MODEL, read_metadata, read_packet

Detector = Callable[[np.ndarray], list[FoundFace]]
MOST_FACES = 8


@dataclass(frozen=True)
class Verdict:
    """The evidence of one picture.

    Attributes:
        edited: False means not known: marks can be lost, so it is no proof.
        source_type: the IPTC digital source type in the metadata, by any tool.
        record: ganime_age's own, with the edit's numbers.
        credentials: made_by, signed_by and state of a C2PA signature.
        watermark: score of each face, the largest face first, in standard deviations; from THRESHOLD on it is the mark.
            Of a clip, the score of each frame that was looked at and shows a face.
    """

    edited: bool
    source_type: str | None
    record: dict[str, Any] | None
    credentials: dict[str, str] | None
    watermark: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-native, with the threshold and the chance that unmarked faces reach it."""
        return {
            "edited": self.edited,
            "source_type": self.source_type,
            "record": self.record,
            "credentials": self.credentials,
            "watermark": {
                "scores": list(self.watermark),
                "threshold": THRESHOLD,
                "false_positive_rate": false_positive_rate(faces=len(self.watermark)),
            },
        }

    def sentence(self) -> str:
        """The answer and its evidence in one line."""
        found = []
        if self.record is not None:
            found.append(f"metadata of {_asked(self.record)}")
        elif self.source_type:
            found.append(f"metadata says {self.source_type.rsplit('/', 1)[-1]}")
        if self.credentials:
            found.append("signed by {signed_by} with {made_by}, {state}".format(**self.credentials))
        seen = [f"{s:.1f}" for s in self.watermark if s >= THRESHOLD]
        if seen:
            found.append(f"watermark {', '.join(seen)} (from {THRESHOLD:g})")
        else:
            found.append("no watermark" if self.watermark else "no face to hold a watermark")
        return f"{'edited' if self.edited else 'not known'}: {'; '.join(found)}"


def verify(image: Any, detector: Detector | None = None, *, allow_download: bool = False) -> Verdict:
    """Look for the marks of an edit in a picture or in a clip.

    Args:
        image: a picture (anything `load_photo` takes), or a clip (a path). Metadata is read from files, bytes and PIL
            images, a C2PA signature only from a file whose name ends as a PNG, a JPEG or a WebP.
        detector: photo (H,W,3) uint8 -> faces; by default the one that ships with the package. Of at most 8 faces the
            mark is looked for.
        allow_download: whether the picture may be a web address; without it nothing is fetched.

    Returns:
        What was found.

    Raises:
        BadInput: what is no picture.
        MissingModel: memory runs out, or a clip is given and PyAV is not installed.
    """
    with enough_memory("cpu"):
        if is_address(image):
            image = fetched(image, allow_download)
        if is_clip(image):
            kind, record = read_packet(clip_packet(image))
            scores = clip_scores(image, detector or _embedded_detector(), MOST_FACES)
            return _verdict(kind, record, None, scores)
        pixels = load_photo(image)
        kind, record = read_metadata(image)
        credentials = _credentials(image)
        faces = (detector or _embedded_detector())(pixels)[:MOST_FACES]
        scores = tuple(round(score(pixels, frame_matrix(face.landmarks, SIDE)), 2) for face in faces)
    return _verdict(kind, record, credentials, scores)


def _verdict(
    kind: str | None,
    record: dict[str, Any] | None,
    credentials: dict[str, str] | None,
    scores: tuple[float, ...],
) -> Verdict:
    stated = record is not None or (kind or "").rsplit("/", 1)[-1] in MADE_BY_MODEL
    signed = credentials is not None and credentials["made_by"] == "ganime_age"
    marked = any(s >= THRESHOLD for s in scores)
    return Verdict(stated or signed or marked, kind, record, credentials, scores)


@lru_cache(maxsize=1)
def _embedded_detector() -> Detector:
    return EmbeddedDetector(GanimeAge.from_pretrained(parts=("detector",)).detector)


def _credentials(image: Any) -> dict[str, str] | None:
    """The C2PA signature of a file; None where there is none, or no file."""
    if not (isinstance(image, (str, os.PathLike)) or is_file(image)):
        return None
    name = photo_name(image)
    if (suffix := Path(name).suffix.lower()) not in WRITERS:
        return None
    try:
        data = content(image, name) if is_file(image) else Path(image).read_bytes()
    except OSError as error:
        raise BadInput(f"{name} cannot be read ({error.strerror or error}); check the file") from None
    return read_credentials(data, suffix)


def _asked(record: dict[str, Any]) -> str:
    """The record in words; a foreign record may lack anything."""
    units = record.get("action_units")
    parts = [] if record.get("age") is None else [f"age {record['age']}"]
    parts += ["an animation"] if "keyframes" in record else []
    parts += ["moved by another face"] if record.get("driven") else []
    parts += [f"{code}={value}" for code, value in units.items()] if isinstance(units, dict) else []
    return f"ganime_age ({', '.join(parts) or 'no numbers'})"
