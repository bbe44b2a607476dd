"""What a user sees of an edit: whole photos through FaceEditor, from file to file, by judges that took no part.

A photo is edited to the middle of nine age groups. Every result is read back from the file that the editor wrote, and
looked at in the FFHQ frame of landmarks that the edit cannot move.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ....editor import FaceEditor
from ....errors import BadInput
from ....model.methods import DEFAULT
from ....model.model import GanimeAge
from ...data.faces import Faces
from ...engine.devices import device_of
from ..judges import Judge
from ..measure_edits import TARGETS, rounded
from ..reference_statistics import verification
from ..test_faces import frontal, spread
from . import figures
from .age_readers import AgeReaders, RealFaces, read_ages, real_faces
from .editing import Opened, aged_photos, opened
from .expressions import Expressions, measure_pairs
from .figures import Followed, Yard
from .frames import HairChances
from .naturalness import Features, looked_at
from .sizes import measure_sizes
from .surroundings import Surroundings
from .variants import variants
from .whole_photos import Learnt, WholePhoto, evenly, in_turn, pairs_of, stored_photos

AGES = tuple(TARGETS.values())
OLD = 75.0
"""The age at which the change of the surroundings is also measured without the watermark."""
GREY = (60.0, 75.0)
"""Ages at which a change of headwear is looked for."""
REAL_CROPS = 25
"""Real faces of each age group whose crops edited ones are compared with."""
PARTS = ("ages", "faces", "races", "rows", "expressions", "sizes")
"""What can be measured: whole photos, stored test faces, faces by race, the method's parts and the other methods, real
pairs of expressions, one photo at several sizes."""
NOTES = {
    "who": "photos through FaceEditor.edit, from file to file at their own size, with the default options; edited from "
    "what the package's readers see",
    "age": "age_error: distance of the judges' mean on edited photos from their mean on real test faces of the group, "
    "by source, then the mean of the sources; single_error: that of single photos; slope: years read per year asked",
    "identity": "verified when the matcher's cosine to the unedited photo exceeds the threshold that accepts 1 in "
    "1,000 pairs of different people; both aligned by the landmarks of the unedited photo",
    "surroundings": "levels of 255 between the photo and the edited file, watermark included, within 1.2 frames around "
    "the face, outside face (with forehead), neck (0.6 frames down, clothes included) and hair (by its judge, grown "
    "by 6 of 256 pixels). That judge taught the mask by which hair is greyed: a spill that both share goes unseen",
    "headwear": "mean change within the outlines that the user drew around hats, without the face, asked for 60 and "
    "75 years",
    "border_step": "mean over 64 pieces of the frame's border of |mean change within 0.1 frames inside - outside|; "
    "border_step_alike: the same, but hair (by its judge) is compared with hair and the rest with the rest",
    "naturalness": "unbiased squared MMD with the kernel (x.y/D + 1)^3 of crops of a frame of 256 pixels to those of "
    "real test faces of the group asked, with its jackknife standard error, in inner layers of the identity matcher, "
    "from which no network of ours learnt; real faces are stored at 128 to 256 pixels: finer detail does not count",
    "sizes": "one photo with its longer side scaled down, edited to the same age: largest less smallest reading, mean",
}


@dataclass(frozen=True)
class Plan:
    """How many: photos of the folders, stored faces, faces by race, photos for the rows of parts and methods, pairs,
    photos at several sizes, real faces of each age group, faces of each source for the matcher's threshold."""

    photos: int = 48
    faces: int = 18
    races: int = 21
    rows: int = 8
    pairs: int = 51
    sizes: int = 6
    per_group: int = 40
    per_source: int = 150

    @classmethod
    def of(cls, count: int) -> Plan:
        """In proportion to `count` photos, a few of each at least; real faces do not get fewer."""
        share = count / cls.photos

        def some(least: int, usual: int) -> int:
            return max(least, round(share * usual))

        pairs = min(some(4, cls.pairs), cls.pairs)
        return cls(count, some(6, 18), some(7, 21), some(3, 8), pairs, some(2, 6))


@dataclass(frozen=True, eq=False)
class Judging:
    """The networks that judge. matcher: identity, (B,D) unit length. hair, features, expression: None where that is not
    measured."""

    readers: AgeReaders
    matcher: Judge
    hair: HairChances | None = None
    features: Features | None = None
    expression: Expressions | None = None
    learnt: Learnt = field(default_factory=lambda: Learnt(np.zeros((0, 1)), None))


@dataclass(frozen=True, eq=False)
class Material:
    """What is edited. photos: of the user's folders. faces: a test split. fair: test faces with the race of each (N,),
    or None. hats: file name -> outline of headwear."""

    photos: list[WholePhoto]
    faces: Faces
    fair: tuple[Faces, np.ndarray] | None = None
    hats: dict[str, np.ndarray] = field(default_factory=dict)


def measure(
    model: GanimeAge,
    material: Material,
    judging: Judging,
    plan: Plan | None = None,
    wanted: Sequence[str] = PARTS,
    save: Callable[[dict[str, Any]], None] = lambda part: None,
    keep: Path | None = None,
) -> dict[str, Any]:
    """The results file of `evaluate.py photos`. wanted: of PARTS. save: called with what is measured so far. keep: a
    folder in which the edits stay, so that a stopped run goes on, and other judges need no new ones; edits of changed
    code are told from older ones by their folder alone.

    BadInput when no photo of the folders shows a face that can be measured.
    """
    plan = plan or Plan()
    editor = FaceEditor(model, device=device_of(model))
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        place = keep or Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        run = Run(editor, material, judging, plan, place)
        out = run.begin()
        steps: dict[str, Callable[[dict[str, Any]], None]] = {
            "ages": run.photos, "faces": run.faces, "races": run.races, "rows": run.rows,
            "expressions": run.expressions, "sizes": run.sizes,
        }  # fmt: skip
        for name in wanted:
            steps[name](out)
            save(rounded(out))
    return rounded(out)


class Run:
    """One measurement on its way: what was opened and seen so far."""

    def __init__(self, editor: FaceEditor, material: Material, judging: Judging, plan: Plan, scratch: Path):
        self.editor, self.material, self.judging = editor, material, judging
        self.plan, self.scratch = plan, scratch
        self.seen: list[Followed] = []
        self.opened: list[Opened] = []
        self.left_out = {"learnt_from": 0, "no_face_or_another": 0}

    def begin(self) -> dict[str, Any]:
        """The yard, and a results file without figures."""
        faces, judging = self.material.faces, self.judging
        real = real_faces(faces, judging.readers, self.plan.per_group)
        yard = verification(faces, judging.matcher, self.plan.per_source)
        self.yard = Yard(real, yard["threshold"], list(judging.readers.names))
        self.real_crops = self._real_crops(real)
        named = {"age": ", ".join(judging.readers.names), "identity": _name(judging.matcher)}
        named |= {
            kind: _name(getattr(judging, kind))
            for kind in ("hair", "features", "expression")
            if getattr(judging, kind)
        }
        return {"summary": {}, "judged_by": named, "faces": {}, "notes": NOTES, "identity": yard}

    def _real_crops(self, real: RealFaces) -> dict[int, list[dict[str, np.ndarray]]]:
        found: dict[int, list[dict[str, np.ndarray]]] = {}
        if self.judging.features:
            for group, frame in zip(real.groups, real.frames, strict=True):
                own = found.setdefault(int(group), [])
                if len(own) < REAL_CROPS:
                    own.append(looked_at(self.judging.features, *frame))
        return found

    def photos(self, out: dict[str, Any]) -> None:
        """Whole photos of the user's folders."""
        few = self.calm()
        chosen = self.usable(in_turn(few), self.plan.photos)
        for one in tqdm(chosen, total=min(self.plan.photos, len(few)), desc="photos", unit="photo"):
            self.opened.append(one)
            self.seen.append(self.follow(self.editor, one, DEFAULT, surroundings=True))
        if not self.seen:
            raise BadInput(
                "no photo of the folders shows a face that can be measured: "
                f"{self.left_out['learnt_from']} are training pictures, in {self.left_out['no_face_or_another']} no "
                "face was found; give other photos with --photos"
            )
        self.settle(out)
        out["mark"] = self.without_mark()
        self.headwear(out)

    def headwear(self, out: dict[str, Any]) -> None:
        """The photos whose headwear is outlined, edited to the ages that grey hair."""
        named = [p for p in self.material.photos if p.path.name in self.material.hats]
        rows = []
        for one in self.usable(named, len(named)):
            outline = self.material.hats[one.photo.path.name]
            around = Surroundings.of(one.pixels, one.landmarks, self.judging.hair, outline)
            rows += [
                around.change(one.pixels, after)["headwear"]
                for _, after in aged_photos(self.editor, one, GREY, self.scratch)
            ]
        if rows:
            out["headwear"] = {"photos": len(rows) // len(GREY), "ages": list(GREY)}
            out["summary"] |= {
                "headwear_change_mean": float(np.nanmean(rows)),
                "nothing_headwear_change_mean": 0.0,
            }

    def calm(self) -> list[WholePhoto]:
        """The photos without the smiling ones of pairs, so that nobody counts twice."""
        smiling = {photo.path for _, photo in pairs_of(self.material.photos)}
        return [photo for photo in self.material.photos if photo.path not in smiling]

    def usable(self, photos: Sequence[WholePhoto], count: int) -> Iterator[Opened]:
        """At most `count` of the photos, opened; those that cannot be measured are counted in `left_out`."""
        given = 0
        for photo in photos:
            if given == count:
                return
            one = opened(self.editor, photo)
            if one is None:
                self.left_out["no_face_or_another"] += 1
            elif self.judging.learnt.holds(one.pixels, one.landmarks):
                self.left_out["learnt_from"] += 1
            else:
                given += 1
                yield one

    def settle(self, out: dict[str, Any]) -> None:
        """Every figure of the photos seen so far."""
        seen, yard = self.seen, self.yard
        out["summary"] |= figures.summary(seen, yard)
        out["faces"] = {name: len(own) for name, own in _by(seen).items()} | {"left_out": dict(self.left_out)}
        out["training_pictures_checked"] = self.judging.learnt.checked
        out["groups"] = figures.group_rows(seen, yard)
        out["judges"] = figures.judge_rows(seen, yard)
        for column, name in (("source", "by_source"), ("race", "by_race"), ("age", "by_known_age")):
            out[name] = {key: figures.part_row(own, yard) for key, own in figures.parts(seen, column).items()}
        if self.real_crops:
            out["naturalness"] = figures.natural(seen, self.real_crops)

    def follow(
        self,
        editor: FaceEditor,
        one: Opened,
        method: str,
        surroundings: bool = False,
        ages: Sequence[float] = AGES,
    ) -> Followed:
        """One photo edited to all ages, as the judges see it."""
        judging, hat = self.judging, self.material.hats.get(one.photo.path.name)
        around = Surroundings.of(one.pixels, one.landmarks, judging.hair, hat) if surroundings else None
        frame, points = one.frame()
        shown, changed, crops = [], [], []
        for _, after in aged_photos(editor, one, ages, self.scratch, method):
            shown.append(one.frame(after)[0])
            if around:
                changed.append(around.change(one.pixels, after))
            if judging.features:
                crops.append(looked_at(judging.features, shown[-1], points))
        pictures, marks = [frame, *shown], [points] * (len(shown) + 1)
        read = read_ages(judging.readers, pictures, marks)
        known = judging.matcher(np.stack(pictures), np.stack(marks))
        return Followed(
            one.photo.source,
            one.photo.race,
            one.photo.age,
            np.array(ages),
            read[1:],
            read[0],
            known[1:] @ known[0],
            changed,
            crops,
            looked_at(judging.features, frame, points) if judging.features else {},
        )

    def without_mark(self) -> dict[str, Any]:
        """How much of the change of the surroundings at one age is the watermark."""
        marked: list[dict[str, float]] = []
        plain: list[dict[str, float]] = []
        for one in spread_out(self.opened, max(2, self.plan.photos // 3)):
            hat = self.material.hats.get(one.photo.path.name)
            around = Surroundings.of(one.pixels, one.landmarks, self.judging.hair, hat)
            for mark, rows in ((True, marked), (False, plain)):
                ((_, after),) = aged_photos(self.editor, one, (OLD,), self.scratch, mark=mark)
                rows.append(around.change(one.pixels, after))
        return {
            "asked": OLD,
            "photos": len(plain),
            **{
                name: {key: float(np.nanmean([row[key] for row in rows])) for key in ("outside", "border")}
                for name, rows in (("with", marked), ("without", plain))
            },
        }

    def faces(self, out: dict[str, Any]) -> None:
        """Stored test faces at the size they are stored at."""
        faces = self.material.faces
        fits = frontal(faces) & ~np.isnan(faces.labels["age"])
        picks = evenly(faces, fits, self.plan.faces)
        self._stored(stored_photos(faces, picks, "test faces", self.scratch), "test faces")
        self.settle(out)

    def races(self, out: dict[str, Any]) -> None:
        """Faces of a set with the race of each, as many of each."""
        if self.material.fair is None:
            return
        faces, race = self.material.fair
        each = max(1, self.plan.races // len(np.unique(race)))
        fits = frontal(faces)
        picks = np.concatenate(
            [spread(np.flatnonzero(fits & (race == name)), each) for name in np.unique(race)]
        )
        named = race[picks]
        self._stored(stored_photos(faces, picks, "faces by race", self.scratch, named), "faces by race")
        self.settle(out)

    def _stored(self, photos: Iterator[WholePhoto], what: str) -> None:
        for photo in tqdm(list(photos), desc=what, unit="face"):
            one = opened(self.editor, photo)
            if one is None:
                self.left_out["no_face_or_another"] += 1
            else:
                self.seen.append(self.follow(self.editor, one, DEFAULT))

    def rows(self, out: dict[str, Any]) -> None:
        """The default method, its parts alone, and every other method, on the same photos."""
        few = spread_out(self.opened, self.plan.rows)
        found = {}
        tried = {"GANimation-age": (self.editor.model, DEFAULT)} | variants(self.editor.model)
        for title, (model, method) in tqdm(tried.items(), desc="methods", unit="method"):
            editor = FaceEditor(model, device=device_of(model), detector=self.editor.detector)
            seen = [self.follow(editor, one, method, surroundings=True) for one in few]
            everything = [replace(one, source="all") for one in seen]
            found[title] = figures.part_row(everything, self.yard) | figures.around(everything)
        idle = next(iter(found.values()))
        found["doing nothing"] = {
            "photos": idle["photos"],
            "age_error_mean": idle["nothing_age_error_mean"],
            "slope": 0.0,
            "verification": 1.0,
            "outside_change_mean": 0.0,
            "border_step": 0.0,
            "border_step_alike": 0.0,
        }
        out["methods"] = found

    def expressions(self, out: dict[str, Any]) -> None:
        """Real pairs: what one photo of a person shows is asked of the other."""
        pairs = pairs_of(self.material.photos)
        if pairs:
            few = spread_out(pairs, self.plan.pairs)
            summary, details = measure_pairs(self.editor, few, self.judging.expression, self.scratch)
            out["summary"] |= summary
            out["expressions"] = details

    def sizes(self, out: dict[str, Any]) -> None:
        """One photo at several sizes."""
        largest = sorted(self.opened, key=lambda one: -max(one.pixels.shape))[: self.plan.sizes]
        found = measure_sizes(self.editor, largest, self.judging.readers, self.scratch)
        if found:
            out["summary"] |= {key: found[key] for key in ("size_spread_years", "nothing_size_spread_years")}
            out["sizes"] = found


def parts_of(text: str) -> tuple[str, ...]:
    """`ages,sizes` -> the parts to measure, in their order; all for an empty text. BadInput for an unknown name, or
    parts without the photos of `ages`, which the others build on."""
    if not text:
        return PARTS
    named = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [part for part in named if part not in PARTS]
    if unknown:
        raise BadInput(f"--parts {unknown[0]} is not known; choose from {', '.join(PARTS)}")
    if "ages" not in named and {"rows", "sizes"} & set(named):
        raise BadInput("--parts rows and sizes need ages, whose photos they edit")
    return tuple(part for part in PARTS if part in named)


def spread_out(items: list[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly spread."""
    return [items[i] for i in spread(np.arange(len(items)), count)] if items else []


def _by(seen: Sequence[Followed]) -> dict[str, list[Followed]]:
    found: dict[str, list[Followed]] = {}
    for one in seen:
        found.setdefault(one.source, []).append(one)
    return found


def _name(judge: Any) -> str:
    owner = getattr(judge, "__self__", judge)  # a bound method, such as HairNetwork.chances
    return str(getattr(owner, "name", type(owner).__name__))
