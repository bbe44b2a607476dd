"""A photo's way through an edit, one step a method:

    load > detect > align > read > generate > paste > read_again > report

Single edits, animations, reenactments and clips all take these steps; they differ in which they repeat.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..edits import AGE_PARTS, AU_CODES, Edit
from ..errors import BadInput
from ..images.alignment import (
    apply,
    crop,
    invert,
    part_around,
    part_matrix,
    paste,
    paste_change,
    settled_matrix,
    side_in_photo,
)
from ..images.detectors import EmbeddedDetector
from ..images.neck import neck_at, neck_change
from ..images.photo import PhotoLike, is_raw, load_photo, photo_name
from ..images.search import FaceSearch, FoundFace
from ..images.tensors import HALF_RANGE, to_levels, to_tensor
from ..model.fingerprint import fingerprint
from ..model.methods import IDENTITY, METHODS
from ..model.model import GanimeAge
from ..networks.hair.finding import Place
from ..networks.hair.growing import REACH, Growth
from ..networks.layers import Edited, unchanged_share
from ..networks.warp import placed_grid
from ..provenance.watermark import CLIP_STRENGTH, STRENGTH, add_watermark
from ..results import EditResult, Later, Reading, later, unmarked
from ..runtime import checked_device, enough_memory, working_dtype
from .notes import count_faces, reading_of, warnings_of

Detector = Callable[[np.ndarray], list[FoundFace]]
"""A photo (H,W,3) uint8 RGB -> its faces, the largest first."""

Recogniser = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Pictures (B,S,S,3) uint8 RGB and landmarks (B,68,2) in 0..1 of them -> who they show, (B,D) of unit length."""

FINE_SIDE, FINE_STEP = 1024, 64
"""Pixels: the largest side of a frame that is edited at the photo's own size, and what its side is a multiple of."""
HAIR_SIDE = 1024
"""Pixels: the largest side at which hair is changed that lies beyond the frame; a larger change is enlarged."""


class Photo(NamedTuple):
    """A decoded photo. pixels (H,W,3) uint8 RGB, upright; name: what error messages call it. raw: whether it was given
    as numbers, which do not say in which order their channels stand."""

    pixels: np.ndarray
    name: str
    raw: bool = False


@dataclass(frozen=True, eq=False)
class Crop:
    """One aligned face of a photo.

    photo: (H,W,3) uint8. matrix: (2,3), from its pixels to those of the crop. box: (4,), x0 y0 x1 y1 in its pixels.
    face: (S,S,3) uint8, what the frame cuts out.
    """

    photo: np.ndarray
    matrix: np.ndarray
    box: np.ndarray
    face: np.ndarray


@dataclass(frozen=True, eq=False)
class Face(Crop):
    """A crop and what the readers measure on it, ready to be edited. warnings: sentences about this face. others: the
    boxes (4,) of the photo's other faces."""

    reading: Reading
    warnings: tuple[str, ...] = ()
    others: tuple[np.ndarray, ...] = ()


class Again(NamedTuple):
    """A face in its edited photo. photo (H,W,3) uint8, face (S,S,3) uint8, what the frame cuts out of it; read: gives
    what the readers measure on it."""

    photo: np.ndarray
    face: np.ndarray
    read: Callable[[], Reading]


class Generated(NamedTuple):
    """What a generator made of a face: levels (S,S,3) float32 in 0..255, and its attention (S,S) uint8. ground: what it
    was drawn on, where that is not the face itself: a larger cut of the frame, or the photo with its hair grown.
    landmarks: (68,2) in 0..1 of the frame, where the head was turned, as far as that is known without reading them."""

    face: np.ndarray
    attention: np.ndarray
    ground: Crop | None = None
    landmarks: np.ndarray | None = None


class Hair(NamedTuple):
    """Hair in a face's frame, (1,1,S,S) in 0..1 each: where it is, and how much of each pixel its growth has left."""

    matte: Tensor
    kept: Tensor


class Around(NamedTuple):
    """The square of a photo in which the hair of a face is changed. ground: the face. matrix (2,3): from the photo's
    pixels to those of the square, which has `side` of them on each side. grid (1,S,S,2): where it lies under the face's
    frame; frame: where the face's frame lies in it."""

    ground: Crop
    matrix: np.ndarray
    side: int
    grid: Tensor
    frame: Place


class HairPart(NamedTuple):
    """Hair around a face of a photo, found once for any number of ages. picture (1,3,P,P) in [-1,1] and landmarks
    (1,68,2) in 0..1 of it; matte (1,1,P,P) in 0..1; growths: what growing older (True) or younger needs of it, once it
    was asked for."""

    around: Around
    picture: Tensor
    landmarks: Tensor
    matte: Tensor
    growths: dict[bool, Growth]


class GrownHair(NamedTuple):
    """Hair around a face of a photo that has grown. matte (1,1,P,P) in 0..1: where it is; change (1,3,P,P) in [-2,2]:
    what growing adds to the picture."""

    around: Around
    matte: Tensor
    change: Tensor


class Drawing(NamedTuple):
    """What a generator is given for one face: the picture that it draws on, the request as tensors (source and target
    ages (1,), source and target action units (1,17)), the landmarks (1,68,2) in 0..1 of the frame, the parts that an
    age changes, and yaw, pitch and roll in degrees by which the head is turned, where it is. hair: what was grown on
    the ground before. changed (1,3,S,S): the face as prototypes changed it, if they did already."""

    ground: Crop
    request: tuple[Tensor, Tensor, Tensor, Tensor]
    landmarks: Tensor
    parts: tuple[str, ...] = AGE_PARTS
    turn: tuple[float, ...] = ()
    hair: Hair | None = None
    changed: Tensor | None = None

    def kind(self) -> tuple[Any, ...]:
        """Drawings of one kind fit into one batch: sides, and what is asked to change."""
        source_age, age, source_units, units = self.request
        changes = bool(source_age != age), bool((source_units != units).any())
        return (len(self.ground.face), *changes, self.parts, self.turn, self.hair is None)


class FacePipeline:
    """The steps of an edit with one model on one device. It holds no state between calls, so threads may share it.

    model: a GanimeAge, which is never changed. It is shared where it already is on `device`, in float32 and in eval
    mode; otherwise the pipeline works on a copy. (Half precision is too coarse for ages and positions.)
    detector: finds faces; by default the model's own. weights: the model's fingerprint. dtype: float16 or bfloat16 lets
    a CUDA device multiply in half precision (torch.autocast); the weights, ages and positions stay float32.
    allow_download: whether a photo may be a web address. recogniser: tells who somebody is, instead of the model.
    beyond, an attribute: whether hair and neck change beyond the face's frame too, as they do unless that is set to
    False.
    """

    def __init__(
        self,
        model: GanimeAge,
        device: str | torch.device = "cpu",
        detector: Detector | None = None,
        dtype: torch.dtype | str | None = None,
        allow_download: bool = False,
        recogniser: Recogniser | None = None,
    ):
        self.recogniser = recogniser
        self.device = checked_device(device)
        self.dtype = working_dtype(dtype, self.device)
        self.allow_download = allow_download
        self.beyond = True
        self.model = model if _is_ready(model, self.device) else _ready_copy(model, self.device)
        self.detector: Detector = detector or self._embedded_detector()
        self.weights = fingerprint(self.model)

    def load(self, source: PhotoLike | Photo, nameless: str = "the photo") -> Photo:
        """Decode anything `load_photo` takes. nameless: what messages call a photo that is no file."""
        if isinstance(source, Photo):
            return source
        pixels = load_photo(source, self.allow_download)
        return Photo(pixels, photo_name(source, nameless), raw=is_raw(source))

    def detect(self, pixels: np.ndarray) -> list[FoundFace]:
        """The faces of a photo (H,W,3) uint8, the largest first; an empty list where there is none."""
        with torch.inference_mode():
            return self.detector(pixels)

    def detect_again(self, pixels: np.ndarray, landmarks: np.ndarray) -> FoundFace | None:
        """A face in the next frame of a clip (H,W,3) uint8, looked for where it was, at landmarks (68,2) in pixels.
        None where it is there no more, or where the detector knows whole pictures alone."""
        return self.detector.again(pixels, landmarks) if isinstance(self.detector, FaceSearch) else None

    def align(self, pixels: np.ndarray, landmarks: np.ndarray, box: np.ndarray) -> Crop:
        """Cut one face out of a photo (H,W,3) uint8, in the FFHQ frame of its landmarks (68,2) in photo pixels."""
        matrix = settled_matrix(landmarks, self.model.face_size, self.model.crop_scale)
        return Crop(pixels, matrix, box, crop(pixels, matrix, self.model.face_size))

    def read(self, crops: Sequence[Crop], identity: bool = True) -> list[Face]:
        """Measure age, action units, landmarks, pose and identity of N >= 1 faces in one batch. identity: whether
        anybody asks who it is; see `GanimeAge.read`."""
        asked_later = identity and (self.recogniser is not None or IDENTITY in self.model.parts)
        with torch.inference_mode(), self._precision():
            faces = torch.cat([to_tensor(one.face, self.device) for one in crops])
            batch = self.model.read(faces, identity and not asked_later)
        rows = zip(*(part.float().cpu().numpy() for part in batch[:7]), strict=True)
        readings = [
            reading_of(row, one.matrix, len(one.face), one.box) for row, one in zip(rows, crops, strict=True)
        ]
        if asked_later:
            # Pictures wait for somebody to look, not tensors: results that are kept must not fill a GPU.
            pictures, marks = [one.face for one in crops], batch.landmarks.float().cpu().numpy()
            codes = Later(lambda: self.recognise(pictures, marks))
            readings = [
                replace(one, identity=later(partial(_item, codes, i))) for i, one in enumerate(readings)
            ]
        return [
            Face(one.photo, one.matrix, one.box, one.face, reading)
            for one, reading in zip(crops, readings, strict=True)
        ]

    def recognise(self, pictures: Sequence[np.ndarray], landmarks: np.ndarray) -> np.ndarray:
        """Who faces, (S,S,3) uint8 each, with landmarks (B,68,2) float32 in 0..1 are, by the recogniser or else the
        part `identity`: (B,D) of unit length."""
        if self.recogniser is not None:
            return self.recogniser(np.stack(pictures), landmarks)
        with enough_memory(self.device), torch.inference_mode(), self._precision():
            faces = torch.cat([to_tensor(one, self.device) for one in pictures])
            codes = self.model.identity(faces, torch.from_numpy(landmarks).to(self.device))
            return np.asarray(codes.float().cpu().numpy())

    def generate(
        self, face: Face, edit: Edit, method: str, fine: bool = False, found: HairPart | None = None
    ) -> Generated | None:
        """The edited face, or None when the edit asks for what the face already shows.

        fine: work on the frame at the photo's own size, up to FINE_SIDE pixels, rather than at the model's face_size.
        found: the face's hair, where it is known.
        """
        drawing = self.prepare(face, edit, method, fine, found)
        return None if drawing is None else self.draw_batch([drawing], method)[0]

    def generate_many(
        self, faces: Sequence[Face], edit: Edit, method: str, fine: bool = False
    ) -> list[Generated | None]:
        """`generate` of several faces, those of one kind in one batch. What a face becomes may differ by a level or two
        of 255 from what it becomes alone: sums of a batch are rounded in another order."""
        drawings = [self.prepare(face, edit, method, fine) for face in faces]
        kinds: dict[tuple[Any, ...], list[int]] = {}
        for i, drawing in enumerate(drawings):
            if drawing is not None:
                kinds.setdefault(drawing.kind(), []).append(i)
        done: list[Generated | None] = [None] * len(faces)
        for places in kinds.values():
            batch = [drawing for i in places if (drawing := drawings[i]) is not None]
            for i, generated in zip(places, self.draw_batch(batch, method), strict=True):
                done[i] = generated
        return done

    def prepare(
        self,
        face: Face,
        edit: Edit,
        method: str,
        fine: bool = False,
        found: HairPart | GrownHair | None = None,
    ) -> Drawing | None:
        """What the generator is given for an edit, or None when the edit asks for what the face already shows. found:
        the face's hair, where it was found before, and is not to be looked for in every edit (`find_hair`), or where it
        has grown already (`grow_hair`)."""
        source, source_units, age, units = _asked(face, edit)
        turn = edit.turned if any(edit.turned) else ()
        if age == source.age and units == source_units and not turn:
            return None
        before, wanted, units_before, units_wanted = (
            torch.tensor([v], dtype=torch.float32, device=self.device)
            for v in (source.age, age, source_units, units)
        )
        ground = self.enlarged(face) if fine else face
        marks = face.reading.landmarks
        request, hair = (before, wanted, units_before, units_wanted), None
        if self.grows_hair(face, edit, method):
            found = found or self.find_hair(ground, face.reading.landmarks)
            ground, hair = self.lay_hair(
                self.grow_hair(found, face, edit) if isinstance(found, HairPart) else found
            )
        elif found is not None and (age == source.age or "hair" not in edit.parts):
            hair = self.still_hair(found)
        if self.acts_beyond(face, edit, method) and "shape" in edit.parts:
            ground, hair, marks = with_neck(ground, hair, face, age)
        places = places_of(face, marks)[None]
        landmarks = torch.tensor(places, dtype=torch.float32, device=self.device)
        return Drawing(ground, request, landmarks, edit.parts, turn, hair)

    def grows_hair(self, face: Face, edit: Edit, method: str) -> bool:
        """Does an edit change a face's hair?"""
        return "hair" in edit.parts and self.acts_beyond(face, edit, method)

    def acts_beyond(self, face: Face, edit: Edit, method: str) -> bool:
        """Does an edit change the photo beyond the face's frame?"""
        source, _, age, _ = _asked(face, edit)
        return self.beyond and age != source.age and self.model.draws_on_prototypes(METHODS[method])

    def around(self, ground: Crop) -> Around:
        """Where hair is changed around a face. It runs beyond the frame: as far as REACH, at the frame's scale up to
        HAIR_SIDE."""
        size = len(ground.face)
        corner, span = part_around(ground.matrix, size, ground.photo.shape, REACH)
        side = min(math.ceil(span * size / 16) * 16, max(HAIR_SIDE, size))
        matrix = part_matrix(ground.matrix, size, corner, span, side)
        left, top = (-corner / span).tolist()
        # The frame's place in the part, for a grid of samples in -1..1.
        x, y = (2 * (0.5 - corner) / span - 1).tolist()
        with torch.inference_mode():
            grid = placed_grid(size, 1 / span, (x, y), torch.empty(0, device=self.device))
        return Around(ground, matrix, side, grid, Place(left, top, 1 / span))

    def find_hair(self, ground: Crop, landmarks: np.ndarray, matte: Tensor | None = None) -> HairPart:
        """Where hair is around a face with landmarks (68,2) in photo pixels. matte (1,1,P,P): where it is known."""
        around = self.around(ground)
        part = crop(ground.photo, around.matrix, around.side)
        places = apply(around.matrix, landmarks.astype(np.float64)) / around.side
        with torch.inference_mode(), self._precision():
            picture = to_tensor(part, self.device, apart=True)
            marks = torch.tensor(places[None], dtype=torch.float32, device=self.device)
            matte = self.model.find_hair(picture, around.frame) if matte is None else matte
        return HairPart(around, picture, marks, matte, {})

    def grow_hair(self, found: HairPart, face: Face, edit: Edit) -> GrownHair:
        """A face's hair at the age that an edit asks for."""
        source, _, age, _ = _asked(face, edit)
        before, after = (torch.tensor([years], device=self.device) for years in (source.age, age))
        with torch.inference_mode(), self._precision():
            if (older := age > source.age) not in found.growths:
                found.growths[older] = self.model.hair_to_grow(
                    found.picture, found.landmarks, found.matte, after > before
                )
            grown = self.model.grow_ready_hair(found.growths[older], before, after)
            return GrownHair(found.around, found.matte, grown.clamp(-1, 1) - found.picture)

    def still_on(self, grown: GrownHair, ground: Crop) -> GrownHair:
        """Hair that has grown in a frame of a clip, on the same face in another, in which the head rests: what was
        grown lies at the same place of the face's frame, so that nothing need be drawn anew."""
        frame, side = grown.around.frame, grown.around.side
        span = 1 / frame.side
        corner = -span * np.array([frame.left, frame.top])
        matrix = part_matrix(ground.matrix, len(ground.face), corner, span, side)
        return grown._replace(around=grown.around._replace(ground=ground, matrix=matrix))

    def carry_hair(self, grown: GrownHair, ground: Crop) -> GrownHair:
        """Hair that has grown in a frame of a clip, as it lies in the square of another (`around`), where it has moved
        with the face."""
        now, then = self.around(ground), grown.around.frame
        # A place u of the part, in 0..1, is the place f = (u - left) / side of the frame; there it was at
        # left' + f side'.
        scale = then.side / now.frame.side
        x, y = (
            2 * was + scale - 2 * scale * at - 1
            for was, at in ((then.left, now.frame.left), (then.top, now.frame.top))
        )
        with torch.inference_mode():
            grid = placed_grid(now.side, scale, (x, y), grown.matte)
            both = torch.cat([grown.matte, grown.change], 1)
            moved = F.grid_sample(both, grid, padding_mode="border", align_corners=False)
        return GrownHair(now, *moved.split([1, 3], 1))

    def lay_hair(self, grown: GrownHair) -> tuple[Crop, Hair]:
        """A face in its photo with the hair that it has grown."""
        ground, matrix, _, grid, _ = grown.around
        with torch.inference_mode():
            maps = torch.cat([grown.matte, unchanged_share(grown.change)], 1)
            maps = F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
            levels = (grown.change[0] * HALF_RANGE).permute(1, 2, 0).cpu().numpy()
        photo = paste_change(ground.photo, levels, matrix)
        now = Crop(photo, ground.matrix, ground.box, crop(photo, ground.matrix, len(ground.face)))
        return now, Hair(*maps.split(1, 1))

    def still_hair(self, found: HairPart | GrownHair) -> Hair:
        """Where hair is in a face's frame, when it stays as it is."""
        with torch.inference_mode():
            matte = F.grid_sample(found.matte, found.around.grid, padding_mode="border", align_corners=False)
        return Hair(matte, torch.ones_like(matte))

    def change_first(self, drawing: Drawing, method: str) -> Drawing:
        """A drawing of which the prototypes' part is done, so that the next one's can be while this one is drawn."""
        face = to_tensor(drawing.ground.face, self.device, apart=True)
        hair = None if drawing.hair is None else drawing.hair.matte
        with torch.inference_mode(), self._precision():
            changed = self.model.change_by_prototypes(
                face, drawing.request, method, drawing.landmarks, drawing.parts, hair
            )
        return drawing._replace(changed=changed)

    def draw_batch(self, drawings: Sequence[Drawing], method: str) -> list[Generated]:
        """What the generator makes of N >= 1 drawings of one kind."""
        before, wanted, units_before, units_wanted = (
            _joined([one.request[i] for one in drawings]) for i in range(4)
        )
        faces = _joined([to_tensor(one.ground.face, self.device, apart=True) for one in drawings])
        landmarks = _joined([one.landmarks for one in drawings])
        parts, turn = drawings[0].parts, drawings[0].turn  # the same in all of one kind
        hair, moved = [one.hair for one in drawings if one.hair is not None], None
        changed = [one.changed for one in drawings if one.changed is not None]
        with torch.inference_mode(), self._precision():
            edited = self.model.edit(
                faces,
                before,
                wanted,
                units_before,
                units_wanted,
                method,
                landmarks,
                parts=parts,
                hair=_joined([one.matte for one in hair]) if hair else None,
                changed=_joined(changed) if len(changed) == len(drawings) else None,
            )
            if turn:
                degrees = torch.tensor([turn], device=self.device).expand(len(faces), -1)
                request = (before, wanted, units_before, units_wanted)
                places = self.model.moved_landmarks(landmarks, request, method, parts)
                moved = self.model.turn(edited.face, places, degrees)
                edited = Edited(moved.face, 1 - unchanged_share(moved.face - faces))
            if hair:
                kept = _joined([one.kept for one in hair])
                edited = edited._replace(attention=1 - (1 - edited.attention) * kept)
        each = (Edited(*(part[i : i + 1] for part in edited)) for i in range(len(drawings)))
        now = [None] * len(drawings) if moved is None else list(moved.landmarks.double().cpu().numpy())
        return [
            to_generated(one)._replace(ground=drawing.ground, landmarks=marks)
            for one, drawing, marks in zip(each, drawings, now, strict=True)
        ]

    def enlarged(self, face: Crop) -> Crop:
        """The same frame at the photo's own size, if that is larger: a multiple of FINE_STEP up to FINE_SIDE."""
        size = len(face.face)
        own = side_in_photo(face.matrix, size)
        side = min(math.ceil(own / FINE_STEP) * FINE_STEP, FINE_SIDE)
        if side <= size:
            return face
        matrix = face.matrix * (side / size)
        return Crop(face.photo, matrix, face.box, crop(face.photo, matrix, side))

    def paste(self, face: Face, generated: Generated | None, mark: bool, clip: bool = False) -> np.ndarray:
        """The whole photo (H,W,3) uint8 with the generated face in it, watermarked or not. None gives the photo. clip:
        it is a frame of a clip, which is compressed so much that it is marked more, and beside the head, too."""
        if generated is None:
            return face.photo
        places = places_of(face) if generated.landmarks is None else generated.landmarks
        ground = generated.ground or face
        side = None if clip else side_in_photo(ground.matrix, len(ground.face))
        strength = CLIP_STRENGTH if clip else STRENGTH
        after = add_watermark(generated.face, places, strength, side) if mark else generated.face
        return paste(ground.photo, ground.face, after, ground.matrix)

    def read_again(self, face: Face, photo: np.ndarray) -> Face:
        """The face as another state of its photo (H,W,3) uint8 shows it: cut out in the same frame and measured."""
        return self.read_all_again([face], [photo])[0]

    def read_all_again(
        self,
        faces: Sequence[Face],
        photos: Sequence[np.ndarray],
        made: Sequence[Generated | None] | None = None,
    ) -> list[Face]:
        """`read_again` of several faces in one batch. made: what was generated of each; a head that was turned is
        aligned anew, as its frame has moved."""
        after = list(faces)
        changed = [i for i, face in enumerate(faces) if photos[i] is not face.photo]
        if changed:
            crops = [self.recrop(faces[i], photos[i], made[i] if made else None) for i in changed]
            for i, again in zip(changed, self.read(crops), strict=True):
                after[i] = replace(again, warnings=faces[i].warnings)
        return after

    def read_later(
        self,
        faces: Sequence[Face],
        photos: Sequence[np.ndarray],
        made: Sequence[Generated | None],
    ) -> list[Again]:
        """`read_all_again`, but measured in one batch when somebody first looks at one of them."""
        crops = [
            face if photo is face.photo else self.recrop(face, photo, one)
            for face, photo, one in zip(faces, photos, made, strict=True)
        ]
        changed = {i: replace(one, photo=one.face) for i, one in enumerate(crops) if one is not faces[i]}

        def measure() -> dict[int, Reading]:
            with enough_memory(self.device):
                read = self.read(list(changed.values())) if changed else []
            return {i: face.reading for i, face in zip(changed, read, strict=True)}

        readings = Later(measure)
        return [
            Again(photo, one.face, partial(_item, readings, i) if i in changed else partial(_own, faces[i]))
            for i, (one, photo) in enumerate(zip(crops, photos, strict=True))
        ]

    def recrop(self, face: Crop, photo: np.ndarray, made: Generated | None = None) -> Crop:
        """The same frame of another state of the photo (H,W,3) uint8, or that of a head which was turned."""
        if made is not None and made.landmarks is not None:
            points = apply(invert(face.matrix), made.landmarks * len(face.face))
            return self.align(photo, points.astype(np.float32), face.box)
        return Crop(photo, face.matrix, face.box, crop(photo, face.matrix, self.model.face_size))

    def report(
        self,
        before: Face,
        after: Face | Again,
        attention: np.ndarray | None,
        *,
        edit: Edit,
        method: str,
        mark: bool,
        seconds: float,
        edited: bool = True,
        driving: Face | None = None,
        age_method: str | None = None,
    ) -> EditResult:
        """A face before and after an edit as a result. after: read already, or to be read when somebody looks.
        attention: (s,s) uint8 of any side, None for no change."""
        size = len(before.face)
        shown = Image.fromarray(np.zeros((size, size), np.uint8) if attention is None else attention)
        of_driving = () if driving is None else driving.warnings
        seen = Later(after.read if isinstance(after, Again) else partial(_own, after))
        return EditResult(
            image=Image.fromarray(after.photo),
            face=Image.fromarray(after.face),
            source_face=Image.fromarray(before.face),
            attention=shown if shown.width == size else shown.resize((size, size), Image.Resampling.BILINEAR),
            reading=later(seen),
            source_reading=before.reading,
            identity=later(partial(_likeness, seen, before.reading)),
            edit=edit,
            method=method,
            warnings=(
                *before.warnings,
                *(f"in the driving photo, {text}" for text in of_driving),
                *unmarked(edited, mark),
            ),
            seconds=seconds,
            weights=self.weights,
            edited=edited,
            mark=mark,
            driving_reading=None if driving is None else driving.reading,
            age_method=age_method,
        )

    def find_faces(self, photo: Photo) -> list[FoundFace]:
        """As `detect`; BadInput when there is no face."""
        found = self.detect(photo.pixels)
        if not found:
            raise BadInput(
                f"no face was found in {photo.name}; give a photo with a face that looks at the camera"
            )
        return found

    def read_face(
        self, photo: Photo, found: list[FoundFace], index: int = 0, role: str = "is edited"
    ) -> Face:
        """Align and read one of the faces found, with its warnings. role: what it is for, in a warning."""
        return self.read_faces([(photo, found, index)], role)[0]

    def read_faces(
        self, chosen: Sequence[tuple[Photo, list[FoundFace], int]], role: str = "is edited"
    ) -> list[Face]:
        """`read_face` of several photos, each with the faces found in it and which one is meant, in one batch."""
        crops = [self.align_one(*one) for one in chosen]
        return [
            replace(
                face,
                warnings=_warnings(photo, found, index, face, role),
                others=tuple(one.box for i, one in enumerate(found) if i != index),
            )
            for face, (photo, found, index) in zip(self.read(crops), chosen, strict=True)
        ]

    def align_one(self, photo: Photo, found: list[FoundFace], index: int) -> Crop:
        """`align` of one of the faces found; BadInput when there are not so many."""
        if index not in range(len(found)):
            raise BadInput(
                f"face {index} does not exist; {photo.name} has {count_faces(found)}, numbered from 0"
            )
        return self.align(photo.pixels, found[index].landmarks, found[index].box)

    def check_method(self, method: str) -> None:
        """BadInput when there is no such edit method, MissingModel when the model does not hold it."""
        if method in METHODS:
            self.model.require(METHODS[method].part)
        elif method not in self.model.methods:
            raise BadInput(
                f"unknown method {method!r}; these weights hold {' '.join(self.model.methods) or 'none'}"
            )

    def _precision(self) -> AbstractContextManager[Any]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def _embedded_detector(self) -> EmbeddedDetector:
        self.model.require("detector")
        return EmbeddedDetector(self.model.detector)


def with_neck(
    ground: Crop, hair: Hair | None, face: Face, age: float
) -> tuple[Crop, Hair | None, np.ndarray]:
    """A face in its photo with the neck and the jaw of another age, its hair as it lies then, and its landmarks (68,2)
    in the photo's pixels."""
    marks, ages = face.reading.landmarks, (face.reading.age, age)
    change = neck_change(ground.photo.shape, marks, ground.matrix, ages, face.others)
    if change is None:
        return ground, hair, marks
    photo, moved_marks = change.drawn(ground.photo), change.moved(marks)
    now = Crop(photo, ground.matrix, ground.box, crop(photo, ground.matrix, len(ground.face)))
    if hair is None:
        return now, None, moved_marks
    maps = torch.cat(hair, 1)[0].permute(1, 2, 0).float().cpu().numpy()
    places = apply(ground.matrix, marks.astype(np.float64))
    maps = neck_at(np.ascontiguousarray(maps), places, np.eye(2, 3), ages).clip(0, 1)
    matte, kept = torch.from_numpy(maps).permute(2, 0, 1)[:, None, None].to(hair.matte)
    moved = to_tensor(now.face, hair.matte.device) - to_tensor(ground.face, hair.matte.device)
    return now, Hair(matte, kept * unchanged_share(moved)), moved_marks


def _asked(face: Face, edit: Edit) -> tuple[Reading, list[float], float, list[float]]:
    """A face's reading and its action units, and the age and action units that an edit asks of it."""
    source = face.reading
    units = [source.action_units[code] for code in AU_CODES]
    return source, units, *edit.targets_for(source.age, units)


def _item(made: Callable[[], Any], i: int) -> Any:
    return made()[i]


def _own(face: Face) -> Reading:
    return face.reading


def _likeness(after: Callable[[], Reading], before: Reading) -> float:
    return float(np.dot(after().identity, before.identity))


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """A batch. One alone stays as it is: with other strides convolutions would round otherwise."""
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def to_generated(edited: Edited) -> Generated:
    """One face that a network drew, (1,3,S,S) in [-1,1] with attention (1,1,S,S) in 0..1, as arrays."""
    face = to_levels(edited.face[0]).permute(1, 2, 0)
    attention = edited.attention[0, 0].float().clamp(0, 1) * 255
    return Generated(face.cpu().numpy(), attention.round().byte().cpu().numpy())


def places_of(face: Face, landmarks: np.ndarray | None = None) -> np.ndarray:
    """The landmarks (68,2) of a face, or others in the photo's pixels, in 0..1 of its frame."""
    marks = face.reading.landmarks if landmarks is None else landmarks
    return apply(face.matrix, marks.astype(np.float64)) / len(face.face)


def _is_ready(model: GanimeAge, device: torch.device) -> bool:
    """Whether a model can be used as it is: in eval mode, on the device, all its floats in float32."""
    here = torch.empty(0, device=device).device  # "cuda" names the current one of several
    tensors = chain(model.parameters(), model.buffers())
    fits = all(t.device == here and (not t.is_floating_point() or t.dtype == torch.float32) for t in tensors)
    return fits and not any(module.training for module in model.modules())


def _ready_copy(model: GanimeAge, device: torch.device) -> GanimeAge:
    return deepcopy(model).to(device, torch.float32).eval()


def _warnings(photo: Photo, found: list[FoundFace], index: int, face: Face, role: str) -> tuple[str, ...]:
    height, width = photo.pixels.shape[:2]
    return warnings_of((width, height), found, index, face.reading, face.face if photo.raw else None, role)
