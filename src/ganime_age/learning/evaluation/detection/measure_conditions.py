"""How well detectors find the faces of photos that are made harder, ours and those of others side by side."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ....errors import MissingModel
from ....images.detectors import InsightFaceDetector
from ....images.search import FoundFace, largest_first
from .conditions import HOW, Shown, conditions
from .measure_finder import Finder, Outcome, landmark_errors, match, open_photo, read_reference

YUNET = "face_detection_yunet_2023mar.onnx"
COUNT = 48


def measure(finders: Mapping[str, Finder], raw_folder: str | Path, count: int = COUNT) -> dict[str, Any]:
    """Every condition on at most `count` photos of a reference that show one face with landmarks, evenly spaced in its
    order: condition -> name of the finder -> its row, and what one must know to read them.

    BadInput when the folder has no reference.json or lacks one of its photos.
    """
    photos, rows = photos_of(Path(raw_folder), count), {}
    for name, made in conditions().items():
        outcomes: dict[str, list[Outcome]] = {who: [] for who in finders}
        for photo in photos:  # one at a time: a large one takes 70 MB
            shown = made(photo)
            face = {"box": shown.box.tolist(), "landmarks68": shown.landmarks}
            for who, finder in finders.items():
                found = finder(shown.photo)
                outcomes[who].append(Outcome(name, [face], found, match([face["box"]], found)))
        rows[name] = {who: row_of(of) for who, of in outcomes.items()}
    made_with = {"date": time.strftime("%Y-%m-%d"), "opencv": cv2.__version__}
    return {"photos": len(photos), "how": HOW, **made_with, "by_condition": rows}


def photos_of(folder: Path, count: int) -> list[Shown]:
    """At most `count` photos of a reference that show one face with landmarks, evenly spaced in its order."""
    single = [
        (name, entry["faces"][0])
        for name, entry in read_reference(folder).items()
        if len(entry["faces"]) == 1 and entry["faces"][0].get("landmarks68") is not None
    ]
    chosen = np.unique(np.linspace(0, len(single) - 1, min(count, len(single))).round().astype(int))
    return [
        Shown(
            open_photo(folder / single[i][0]),
            np.array(single[i][1]["box"], float),
            np.array(single[i][1]["landmarks68"], float),
            number,
        )
        for number, i in enumerate(chosen)
    ]


def row_of(outcomes: Sequence[Outcome]) -> dict[str, float | None]:
    """Recall; false faces a photo; of the faces found the mean score, and the mean error of the five points and of the
    68 landmarks in % of the distance of the outer eye corners (None where a finder gives no 68)."""
    pairs = [(o, j) for o in outcomes for _, j in o.pairs]
    scores = [o.found[j].score for o, j in pairs]
    all68 = [o for o in outcomes if all(len(face.landmarks) == 68 for face in o.found)]
    errors = {
        "five_points": [e for o in outcomes for e in landmark_errors(o, five=True)],
        "landmarks": [e for o in all68 for e in landmark_errors(o)],
    }
    return {
        "recall": round(len(pairs) / max(len(outcomes), 1), 3),
        "false": round((sum(len(o.found) for o in outcomes) - len(pairs)) / max(len(outcomes), 1), 3),
        "score": round(float(np.mean(scores)), 3) if scores else None,
    } | {name: round(float(np.mean(of)), 2) for name, of in errors.items() if of}


class YuNet:
    """OpenCV's YuNet (Wu et al., 2023) with five points a face, on photos of at most max_side pixels. MissingModel when
    the file is not there."""

    def __init__(self, file: Path, threshold: float = 0.6, max_side: int = 1024):
        if not file.is_file():
            raise MissingModel(f"{file} is missing; it comes with OpenCV's model zoo")
        self.network = cv2.FaceDetectorYN.create(str(file), "", (320, 320), threshold)
        self.max_side = max_side

    def __call__(self, photo: np.ndarray) -> list[FoundFace]:
        """Every face of a photo (H,W,3) uint8 RGB, the largest box first; its landmarks are five points (5,2)."""
        scale = min(1.0, self.max_side / max(photo.shape[:2]))
        small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        self.network.setInputSize(small.shape[1::-1])
        _, rows = self.network.detect(np.ascontiguousarray(small[..., ::-1]))
        found = []
        for row in rows if rows is not None else []:
            left, top, width, height = row[:4]
            box = np.array([left, top, left + width, top + height], np.float32) / np.float32(scale)
            found.append(FoundFace(box, float(row[14]), row[4:14].reshape(5, 2) / scale))
        return largest_first(found)


def other_finders(models: Path | None) -> dict[str, Finder]:
    """The detectors of others that are there, each with five points: YuNet in the folder of models, and InsightFace
    with the first pack of `insightface/models` within it, where its package is installed."""
    found: dict[str, Finder] = {}
    if models is None:
        return found
    root = models / "insightface"
    for pack in sorted({file.parent.name for file in (root / "models").glob("*/*.onnx")})[:1]:
        try:
            found["insightface"] = InsightFaceDetector(root, pack, lambda _, box, points: points)
        except MissingModel:  # the package is not there
            pass
    yunet = yunet_of(models)
    return found if yunet is None else found | {"yunet": yunet}


def yunet_of(models: Path | None) -> YuNet | None:
    """YuNet, where it is in the folder of models."""
    return YuNet(models / YUNET) if models is not None and (models / YUNET).is_file() else None
