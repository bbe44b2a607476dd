"""How well a finder finds: recall, false faces, landmark error and time on ordinary photos with a reference.

The reference of a folder is `reference.json`: photo name -> {"size": [w, h], "faces": [{"box": [l, t, r, b],
"landmarks68": 68 x,y or null}]}, all in photo pixels. A detector made it, which misses faces; a found face that it
lacks is a false one unless a third detector, the witness, finds it as well.
"""

import json
import platform
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image

from ....errors import BadInput
from ....images.boxes import box_overlap
from ....images.search import FoundFace
from ...external.insightface_models import group_photo
from ...external.onnx_models import five_points

LEAST_OVERLAP = 0.5
SIZE_BINS = (0, 64, 128, 256, 1 << 16)  # side of a reference box in photo pixels
Finder = Callable[[np.ndarray], list[FoundFace]]


class Outcome(NamedTuple):
    """One photo: which reference face met which found one."""

    photo: str
    reference: list[dict[str, Any]]
    found: list[FoundFace]
    pairs: list[tuple[int, int]]  # (reference, found)


def measure(finder: Finder, raw_folder: str | Path, witness: Finder | None = None) -> dict[str, Any]:
    """Run a finder over every photo of the reference; plain numbers in `summary`, the rest beside it. witness: see
    above; without one every face that the reference lacks counts as false.

    BadInput when the folder has no reference.json or lacks one of its photos.
    """
    folder = Path(raw_folder)
    outcomes = [
        outcome(finder, folder, name, entry["faces"]) for name, entry in read_reference(folder).items()
    ]
    times = timing(finder, folder, [o.photo for o in outcomes])
    errors = [e for o in outcomes for e in landmark_errors(o)]
    faces = sum(len(o.reference) for o in outcomes)
    beyond = [(o, face) for o in outcomes for face in beyond_reference(o)]
    seen = [witness is not None and finds(witness, folder, *one) for one in beyond]
    false = [one for one, is_seen in zip(beyond, seen, strict=True) if not is_seen]
    unlisted = [one for one, is_seen in zip(beyond, seen, strict=True) if is_seen]
    return {
        "summary": {
            "recall": round(sum(len(o.pairs) for o in outcomes) / max(faces, 1), 4),
            "false_per_photo": round(len(false) / max(len(outcomes), 1), 4),
            "landmark_error_percent": round(float(np.mean(errors)), 3) if errors else None,
            "seconds_1024": times["median"],
        },
        "counts": {"photos": len(outcomes), "reference_faces": faces, "false": len(false),
                   "beyond_reference": len(beyond), "with_landmarks": len(errors)},
        "landmark_error_percentiles": percentiles(errors),
        "seconds_1024": times,
        "recall_by_source": recall_by(outcomes, lambda o, face: o.photo.split("_")[0]),
        "recall_by_box_side": recall_by(outcomes, lambda o, face: size_bin(face["box"])),
        "missed": [{"photo": o.photo, "box": f["box"]} for o in outcomes for f in missed(o)],
        "false": [row_of(*one) for one in false],
        "unlisted": [row_of(*one) for one in unlisted],
        "insightface_t1_faces_found": faces_in_t1(finder),
        "settings": settings(finder) | {"witness": None if witness is None else type(witness).__name__},
        "versions": versions(),
    }  # fmt: skip


def read_reference(folder: Path) -> dict[str, dict[str, Any]]:
    """The reference of a folder; BadInput when it cannot be read or names no photo."""
    try:
        reference = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder / 'reference.json'} cannot be read: {error}") from None
    if not reference:
        raise BadInput(f"{folder / 'reference.json'} names no photo")
    return reference


def open_photo(path: Path) -> np.ndarray:
    """A photo as uint8 RGB (H,W,3); BadInput names one that cannot be read."""
    try:
        return np.array(Image.open(path).convert("RGB"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error}") from None


def outcome(finder: Finder, folder: Path, photo: str, reference: list[dict[str, Any]]) -> Outcome:
    found = finder(open_photo(folder / photo))
    return Outcome(photo, reference, found, match([f["box"] for f in reference], found))


def match(boxes: list[list[float]], found: list[FoundFace]) -> list[tuple[int, int]]:
    """One-to-one pairs (reference, found): best score first, each takes the free reference box it overlaps most,
    if by at least LEAST_OVERLAP."""
    pairs, free = [], dict(enumerate(np.array(b, np.float32) for b in boxes))
    for j in sorted(range(len(found)), key=lambda j: -found[j].score):
        overlaps = {i: box_overlap(box, found[j].box) for i, box in free.items()}
        best = max(overlaps, key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] >= LEAST_OVERLAP:
            pairs.append((best, j))
            del free[best]
    return pairs


def landmark_errors(o: Outcome, five: bool = False) -> list[float]:
    """Mean distance over the 68 points, percent of the distance of the outer eye corners (points 36 and 45). five: over
    eyes, nose tip and mouth corners instead, which a finder may give alone, as landmarks (5,2)."""
    errors = []
    for i, j in o.pairs:
        if o.reference[i].get("landmarks68") is None:
            continue
        true = np.array(o.reference[i]["landmarks68"])
        off = o.found[j].landmarks - true if not five else _five(o.found[j].landmarks) - five_points(true)
        distance = np.linalg.norm(off, axis=1).mean()
        errors.append(float(100 * distance / np.linalg.norm(true[36] - true[45])))
    return errors


def _five(landmarks: np.ndarray) -> np.ndarray:
    """Five points of landmarks (68,2), or (5,2) as they are."""
    return landmarks if len(landmarks) == 5 else five_points(landmarks)


def percentiles(errors: list[float]) -> dict[str, float]:
    return (
        {str(q): round(float(np.percentile(errors, q)), 3) for q in (5, 25, 50, 75, 95, 99)} if errors else {}
    )


def size_bin(box: list[float]) -> str:
    side = float(np.sqrt((box[2] - box[0]) * (box[3] - box[1])))
    low, high = next((a, b) for a, b in pairwise(SIZE_BINS) if a <= side < b)
    return f"{low}-{high} px" if high != SIZE_BINS[-1] else f"{low} px and more"


def recall_by(
    outcomes: list[Outcome], group: Callable[[Outcome, dict[str, Any]], str]
) -> dict[str, dict[str, Any]]:
    """Faces, faces found and recall of every group of reference faces."""
    counts: dict[str, list[int]] = {}
    for o in outcomes:
        hit = {i for i, _ in o.pairs}
        for i, face in enumerate(o.reference):
            entry = counts.setdefault(group(o, face), [0, 0])
            entry[0] += 1
            entry[1] += i in hit
    return {k: {"faces": n, "found": m, "recall": round(m / n, 4)} for k, (n, m) in sorted(counts.items())}


def missed(o: Outcome) -> list[dict[str, Any]]:
    hit = {i for i, _ in o.pairs}
    return [face for i, face in enumerate(o.reference) if i not in hit]


def beyond_reference(o: Outcome) -> list[FoundFace]:
    """The found faces that the reference lacks."""
    hit = {j for _, j in o.pairs}
    return [face for j, face in enumerate(o.found) if j not in hit]


def finds(witness: Finder, folder: Path, o: Outcome, face: FoundFace) -> bool:
    """Whether another finder finds this face too, and no face of the reference, by LEAST_OVERLAP."""
    listed = [np.array(one["box"], np.float32) for one in o.reference]
    return any(
        box_overlap(one.box, face.box) >= LEAST_OVERLAP
        and all(box_overlap(box, one.box) < LEAST_OVERLAP for box in listed)
        for one in witness(open_photo(folder / o.photo))
    )


def row_of(o: Outcome, face: FoundFace) -> dict[str, Any]:
    return {"photo": o.photo, "box": face.box.round(1).tolist(), "score": round(face.score, 3)}


def timing(finder: Finder, folder: Path, photos: list[str], count: int = 9) -> dict[str, float]:
    """Seconds for one photo whose longer side is 1024 px, after a warm-up, on the threads that torch has now: median
    and best by the clock, and median of the processor time, which a busy machine changes less."""
    clock, processor = [], []
    for name in (photos * count)[: count + 1]:
        photo = open_photo(folder / name)
        scale = 1024 / max(photo.shape[:2])
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=method)
        start, worked = time.perf_counter(), time.process_time()
        finder(photo)
        clock.append(time.perf_counter() - start)
        processor.append(time.process_time() - worked)
    seconds = {"median": median(clock[1:]), "best": min(clock[1:]), "processor": median(processor[1:])}
    return {name: round(value, 4) for name, value in seconds.items()}


def faces_in_t1(finder: Finder) -> int | None:
    """Faces found in the group photo that InsightFace ships (six people); null where it is not installed."""
    photo = group_photo()
    return None if photo is None else len(finder(photo))


def settings(finder: Finder) -> dict[str, Any]:
    named = {name: getattr(finder, name) for name in ("threshold", "max_side") if hasattr(finder, name)}
    rule = f"one-to-one, best score first, intersection over union >= {LEAST_OVERLAP}"
    return named | {"matching": rule, "landmark_norm": "outer eye corners (points 36 and 45)"}


def versions() -> dict[str, Any]:
    cpu = {"threads": torch.get_num_threads(), "machine": platform.machine()}
    packages = {"python": platform.python_version(), "torch": torch.__version__, "opencv": cv2.__version__}
    return cpu | packages | {"numpy": np.__version__, "date": time.strftime("%Y-%m-%d")}
