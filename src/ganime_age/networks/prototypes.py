"""Prototypes: what an age and an action unit change in a face's shape, tone, texture and hair, measured on many faces.

A prototype is the mean of aligned faces of a kind; a face is changed by what lies between the prototype of what it is
and of what is asked. Shape and colour follow Rowland & Perrett (IEEE CG&A 1995), the strength of each band of detail
follows Tiddeman, Burt & Perrett (IEEE CG&A 2001), so that a face gets more or less of its *own* texture. Everything
works at any size and keeps the photo's detail. What a mean cannot know is left to a generator.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection
from functools import partial, reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..edits import AU_CODES
from .eyes import FIELD_SIDE, eye_field, moved_lids
from .hair.beard import BEARDLESS, SHAVEN, smooth_chin
from .hair.filters import ramp
from .hair.finding import MATTE_SIDE, HairMask, HairMatte, Place, hanging_together, matte_side, refined
from .hair.growing import Growth
from .hair.on_head import FRAME_FADE
from .layers import (
    Edited,
    bicubic,
    choose,
    constant,
    dilate,
    enlarge,
    gaussian_basis,
    luma,
    may_ask,
    not_full,
    places,
    planes_apart,
    precise,
    relit,
    resize,
    window_of,
    within_window,
)
from .lids import close_lids, to_close
from .mouth import Mouth, MouthInterior, OpenMouth, close_lips, closing
from .skin.glasses import dark_frames
from .skin.sharpness import no_sharper, sharpness
from .skin.skin_map import BROWS, EYES, NOSE, skin_map
from .skin.texture import BANDS, Limit, scale_texture
from .skin.tone import TEETH, USUAL, in_light, laid, match_colour, mouth_inside
from .skin.wrinkles import SIDE, Skin, Wrinkles, wrinkles_like
from .warp import canonical_grid, coarse_displacement, enlarge_field, follow

KNOTS = 12
"""Age knots: ages at which a prototype is measured, evenly spaced on the scale of `age_basis`."""
UNITS = len(AU_CODES)
"""Action units, in the order of AU_CODES."""
NEUTRAL = 25.0
"""The age, in years, that age prototypes are differences from; gains change there from `inward` to `outward`."""
AGE_SOFTNESS = 12.0
"""Years over which the age scale changes from linear to logarithmic: a year counts 9 times as much at 0 as at 100."""
MAPS = ("shape", "tone", "texture", "hair")
"""What a prototype holds; the rows of `outward` and `inward`."""
PARTS = {"shape": ("shape",), "skin": ("tone", "texture"), "hair": ("hair",)}
"""What a user calls the parts of an age (`edits.AGE_PARTS`), as rows of MAPS."""
MAP_SIDE = 64
"""Side of tones, masks and of what is measured on a face."""
DRAWN_SIDE = 256
"""Largest side at which maps are warped onto a face; a larger face gets them enlarged, as they hold no finer detail."""
MARGIN = 4
"""Pixels of MAP_SIDE around the face's region that move with it: 6 % of the frame. An even number."""
SKIN_CHROMA = 0.1
"""Mean distance of skin from grey, in units of [-1,1], below which a photo counts as desaturated."""
LEAST_SPREAD = 0.05
"""Least standard deviation of the skin's brightness, in units of [-1,1], so that a flat face is still changed."""
CROWN = 1.1
"""Height of a head above the brows, in distances from the brows to the mouth."""
DIRECTIONS = 32
"""Directions in which the outline of a head is measured."""
FLAT = 0.05
"""Width of that outline, in sides of the frame, below which it is none."""
BEYOND = 0.03
"""Sides of the frame outside that outline from which on nothing belongs to the face."""
REACH = {"age": 0.07, "unit": 0.035}
"""Standard deviation, in frame sides, of a landmark's pull on the pixels around it, for ages and for action units."""
YEARS_BACK = 10.0
"""Years on the way back after which all but 1/e of what exceeds `detail_limit` is gone."""
FOREHEAD = 1.2
"""Height of the forehead, in lengths of the nose, whose detail is limited; hair never is."""
FRAMES, THIN_FRAMES = 1.2, 0.6
"""How far glasses reach from the height of the eyes, in distances to the brows; and how much less fine detail is
limited there, for frames that are too thin to be found."""
FIRST_GREY = (38.0, 50.0)
"""Years up to which hair counts as not grey, whatever it looks like, and from which on what is grey has turned."""
LEAVING = 0.9
"""Share of a unit's tone and texture that is taken back when it relaxes: a face's own creases lie elsewhere than the
mean's."""
CHIN = 8
"""The landmark of the chin."""
LOWER = (0.5, 0.5, 0.25) + (0.0,) * (KNOTS - 3)
"""How far a face lies lower on its head at each age knot, in what its chin lies higher: at 0, 3 and 6 years, for a high
forehead on a face of ten looked older, not younger."""


def age_basis(age: Tensor) -> Tensor:
    """Years (B,) -> (B,KNOTS) weights that sum to 1, denser in childhood, where faces change faster."""
    # place(age) = 100 log(1 + age / 12) / log(1 + 100 / 12): 0..100 on a scale that is stretched in childhood. Then
    # w_k = g(place - knot_k) / sum_j g(place - knot_j), Gaussian kernel regression on the knots.
    place = 100 * torch.log1p(age.clamp(0, 100) / AGE_SOFTNESS) / math.log1p(100 / AGE_SOFTNESS)
    weight = gaussian_basis(place, 0.0, 100.0, KNOTS)
    return weight / weight.sum(1, keepdim=True)


class Prototypes(nn.Module):
    """Age and action-unit prototypes, buffers of `learning.tasks.prototype_fitting`; zero ones change nothing.

    mean_shape (68,2) in 0..1 of the frame. Of each age knot (K), against the age NEUTRAL, and of one unit of each
    action unit's intensity (17): shape (..,68,2), landmarks; tone (..,3,64,64), colour relative to the skin's mean in
    standard deviations of its brightness; texture (..,BANDS,32,32), log energy of each band of brightness. age_hair
    (K,2): brightness of hair relative to the skin's, and the log of its saturation. age_eyes (K,): log of how large the
    eyes are (eyes.py). detail_limit (1,): to how many standard deviations of its grain the detail of a face that grows
    younger is held (texture.py); 0: any. outward, inward (4,K): how much
    shape, tone, texture and hair are exaggerated on the way from NEUTRAL and on the way to it, for a mean of many faces
    is duller than any of them. region (1,64,64): what belongs to the face. All maps lie in the frame of mean_shape.
    hair: keywords of the hair network HairMatte; without them it is HairMask with hair_width, as in older weights.
    teeth: whether an opened mouth shows a row of teeth (OpenMouth), or mean colours as in older weights. wrinkles: how
    many layouts of creases there are (Wrinkles), 0 in older weights; wrinkle_side: pixels of the frame they lie in.
    youth: whether there are age_eyes and a detail_limit; not in older weights.
    """

    age_shape: Tensor
    unit_shape: Tensor
    unit_tone: Tensor
    unit_texture: Tensor
    age_hair: Tensor
    age_eyes: Tensor | None
    detail_limit: Tensor | None
    outward: Tensor
    inward: Tensor
    region: Tensor
    mean_shape: Tensor

    def __init__(
        self,
        hair_width: int = 16,
        hair: dict[str, Any] | None = None,
        teeth: bool = False,
        wrinkles: int = 0,
        wrinkle_side: int = SIDE,
        youth: bool = False,
    ):
        super().__init__()
        self.hair: HairMask | HairMatte = HairMask(hair_width) if hair is None else HairMatte(**hair)
        self.mouth: Mouth = OpenMouth() if teeth else MouthInterior()
        self.wrinkles = Wrinkles(wrinkles, KNOTS, wrinkle_side) if wrinkles else None
        for kind, count in (("age", KNOTS), ("unit", UNITS)):
            self.register_buffer(f"{kind}_shape", torch.zeros(count, 68, 2))
            self.register_buffer(f"{kind}_tone", torch.zeros(count, 3, 64, 64))
            self.register_buffer(f"{kind}_texture", torch.zeros(count, BANDS, 32, 32))
        self.register_buffer("age_hair", torch.zeros(KNOTS, 2))
        self.register_buffer("age_eyes", torch.zeros(KNOTS) if youth else None)
        self.register_buffer("detail_limit", torch.zeros(1) if youth else None)
        self.register_buffer("outward", torch.ones(len(MAPS), KNOTS))
        self.register_buffer("inward", torch.ones(len(MAPS), KNOTS))
        self.register_buffer("region", torch.zeros(1, 64, 64))
        self.register_buffer("mean_shape", torch.full((68, 2), 0.5))
        self.register_load_state_dict_pre_hook(_fit_hair_network)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_fit_mouth)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_fit_wrinkles)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_fit_youth)  # type: ignore[no-untyped-call]

    def only(self, parts: Collection[str]) -> Prototypes:
        """The same prototypes, of whose ages those of PARTS alone change something: the gains of others are 0, without
        skin no creases are drawn and no detail is limited, and without shape eyes do not grow."""
        kept = {name for part in parts for name in PARTS[part]}
        gain = torch.tensor([[float(name in kept)] for name in MAPS]).to(self.outward)
        some = self.without_wrinkles() if "tone" not in kept else copy.copy(self)
        # It shares every tensor but the gains, so nothing that threads share is changed.
        some._buffers = {
            **self._buffers,
            "outward": self.outward * gain,
            "inward": self.inward * gain,
            "age_eyes": self.age_eyes if "shape" in kept else None,
            "detail_limit": self.detail_limit if "texture" in kept else None,
        }
        return some

    def without_wrinkles(self) -> Prototypes:
        """The same prototypes, sharing every tensor, that draw no creases."""
        some = copy.copy(self)
        some._modules = {**self._modules, "wrinkles": None}
        return some

    def forward(
        self,
        face: Tensor,
        landmarks: Tensor,
        source_age: Tensor,
        target_age: Tensor,
        source_aus: Tensor,
        target_aus: Tensor,
        hair: Tensor | None = None,
    ) -> Tensor:
        """face (B,3,S,S) in [-1,1], landmarks (B,68,2) in 0..1, ages (B,) in years, action units (B,17) in 0..5 ->
        the changed face. One of which nothing is asked, or without landmarks (NaN), comes back exactly. hair (B,1,S,S)
        in 0..1: where it is, if it has its new age already (`grow_hair`); else it is found and grown here."""
        units = target_aus - source_aus
        asked = (source_age != target_age) | (units != 0).any(1)
        asked &= ~landmarks.flatten(1).isnan().any(1)
        if may_ask(asked) and not asked.any():
            return face
        marks = landmarks.nan_to_num(0.5)
        with precise(face):
            out = self.change(face, marks, (source_age, target_age), units, target_aus, hair)
        if may_ask(asked) and asked.all():
            return out
        return torch.where(asked[:, None, None, None], out, face)

    def change(
        self,
        face: Tensor,
        landmarks: Tensor,
        ages: tuple[Tensor, Tensor],
        units: Tensor,
        target_aus: Tensor,
        hair: Tensor | None = None,
    ) -> Tensor:
        """`forward` for faces with landmarks; ages: source and target (B,) each; units: what changes, (B,17)."""
        # With differences d = target - source of the prototypes, everything on the face's own landmarks:
        #
        #   1. shape     landmarks += d_shape, lower on the head in childhood, the pixels follow
        #                                                                 (Rowland & Perrett 1995)
        #   2. mouth     a newly opened gap shows the mean open mouth, closing lips cover the teeth (mouth.py), and
        #                closing lids the eyes (lids.py)
        #   3. hair      turns grey strand by strand, lighter by d on the mean, and brows with it (hair/growing.py);
        #                a child has no stubble (hair/beard.py)
        #   4. texture   each band L_b *= exp(d_b / 2) on the skin, and less of what stands out of it on the way to a
        #                younger age (texture.py)                        (Tiddeman et al. 2001)
        #   5. tone      + skin * std * d_tone, of ages less in the dark and no great lights, a shadow in the skin's own
        #                colour; half of its std is that of most photos (tone.py)
        #                                                                 (Rowland & Perrett 1995)
        #   6. wrinkles  + skin * contrast * light * d_onset * the layout that suits the face, no sharper than it
        #                (wrinkles.py, sharpness.py)
        #
        # skin and hair are masks of the moved face, std the skin's standard deviation of brightness: a tone measured
        # in these units suits flat and contrasted light alike.
        years = self.knot_changes(*ages)
        amounts = {name: {"age": years[name], "unit": units} for name in MAPS}
        for name in ("tone", "texture"):
            amounts[name]["unit"] = units.clamp_min(0) + LEAVING * units.clamp_max(0)
        face = planes_apart(face)
        given = face if hair is None else torch.cat([face, hair], 1)
        moved, points, shown = self.warp_shape(given, landmarks, amounts["shape"], self.eye_growth(*ages))
        grown = hair is not None
        known = moved[:, 3:].clamp(0, 1) if grown else None
        moved = moved[:, :3]
        grid = self.map_grid(points, face.shape[-1])
        skin, matte = self.masks(moved, points, grid, known)
        seen = [resize(part, min(part.shape[-1], DRAWN_SIDE)) for part in (moved, skin)]
        light, colour = (
            self.brightness(*seen),
            self.colourfulness(*seen),
        )  # light: mean and standard deviation
        moved, covered = self.open_and_close(
            moved, (landmarks, points, shown), units, target_aus, (light, colour)
        )
        skin = skin * (1 - covered)
        out = moved
        if not grown:
            out = choose(
                ages[0] != ages[1], lambda: self.grow_hair(moved, matte, points, ages), lambda: moved
            )
        out = self.beardless(out, points, ages)
        texture = reduce(torch.add, self.totals("texture", amounts["texture"]))
        texture = self.warp_to_face(texture, grid)
        out = self.change_texture(out, Skin(moved, skin, points, grid, light), texture, ages)
        out = self.change_tone(out, Skin(moved, skin, points, grid, light), amounts["tone"], colour, ages)
        return self.deepen(out, Skin(moved, skin, points, grid, light), ages).clamp(-1, 1)

    def change_tone(
        self,
        face: Tensor,
        skin: Skin,
        amounts: dict[str, Tensor],
        colour: Tensor,
        ages: tuple[Tensor, Tensor],
    ) -> Tensor:
        """A face (B,3,S,S) with the tone that knots (B,K) and units (B,17) change from the first to the second of two
        ages (B,). colour: see `colourfulness`."""
        whole, acted = self.totals("tone", amounts)
        aged = laid(whole, ages, self.mean_shape, self.region)
        mean, spread = skin.light
        tones = self.warp_to_face(torch.cat([aged, acted], 1), skin.grid).chunk(2, 1)
        aged, acted = (match_colour(tone, colour) for tone in tones)
        contrast = (spread * USUAL * (mean + 1).clamp_min(0.1)).sqrt()
        aged = aged * contrast * (1 - TEETH * mouth_inside(skin.landmarks, aged.shape[-1]))
        aged = in_light(aged, skin.face, mean, ages[1] <= ages[0])
        tone = aged + in_light(acted * contrast, skin.face, mean)
        light = luma(tone)
        # Where red is full a photo does not tell the skin's colour.
        seen = not_full(resize(face[:, :1], aged.shape[-1]))
        maps = enlarge(torch.cat([tone - light, light, seen], 1), face.shape[-1])
        return within_window(toned, window_of(skin.mask), face, skin.mask, maps)

    def change_texture(self, face: Tensor, skin: Skin, change: Tensor, ages: tuple[Tensor, Tensor]) -> Tensor:
        """`scale_texture` from the first to the second of two ages (B,), held within the limit on the way back."""
        most = self.detail_limit
        if most is None:
            return scale_texture(face, skin.mask, change)
        return choose(
            ages[0] > ages[1],
            lambda: scale_texture(face, skin.mask, change, self.limit_of(most, skin, ages)),
            lambda: scale_texture(face, skin.mask, change),
        )

    def limit_of(self, most: Tensor, skin: Skin, ages: tuple[Tensor, Tensor]) -> Limit:
        """How the detail of faces on their way back from the first to the second of two ages (B,) is limited."""
        plain = skin_map(self.mean_shape, FOREHEAD)
        rows = (torch.arange(plain.shape[-2], device=plain.device) + 0.5) / plain.shape[-2]
        brows, eyes, nose = (self.mean_shape[places(ids, rows), 1].mean() for ids in (BROWS, EYES, (NOSE,)))
        above = plain * (rows < nose)[:, None]
        # As far above the eyes as the brows are, and as far below.
        framed = plain * ((rows - eyes).abs() < FRAMES * (eyes - brows))[:, None]
        maps = torch.cat([plain, above, framed], 1).expand(len(skin.mask), -1, -1, -1)
        maps = self.warp_to_face(maps, skin.grid)
        plain, above, framed = (maps * resize(skin.mask, maps.shape[-1])).split(1, 1)
        frames = dark_frames(skin.face, skin.landmarks)[:, None, None, None]
        share = 1 - torch.exp((ages[1] - ages[0]).clamp(max=0) / YEARS_BACK)
        share = torch.where(most > 0, share, torch.zeros_like(share))[:, None, None, None]
        plain, above = (part - frames * torch.minimum(part, framed) for part in (plain, above))
        fine = plain - THIN_FRAMES * torch.minimum(plain, framed)
        return Limit(plain, fine, above, most.view(1, 1, 1, 1), share)

    def open_and_close(
        self,
        face: Tensor,
        landmarks: tuple[Tensor, Tensor, Tensor],
        units: Tensor,
        target_aus: Tensor,
        seen: tuple[tuple[Tensor, Tensor], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """A moved face (B,3,S,S) whose mouth is filled where it opened, and whose lips and lids are closed as action
        units that change by `units` (B,17) to target_aus ask; and what of it is no skin any more, (B,1,S,S) in 0..1.

        landmarks: before, as asked, and where the picture shows them; seen: its skin's light and colourfulness."""
        before, points, shown = landmarks
        face, filled = self.mouth(face, before, points, target_aus, *seen)
        still, skin = torch.zeros_like(filled), 1 - filled
        for close, share in (
            (close_lips, closing(target_aus - units, target_aus)),
            (close_lids, to_close(target_aus - units, target_aus)),
        ):
            face, covered = choose(
                share > 0, partial(_closed, close, face, shown, share), partial(torch.cat, [face, still], 1)
            ).split([3, 1], 1)
            skin = skin * (1 - covered)
        return face, 1 - skin

    def deepen(self, face: Tensor, skin: Skin, ages: tuple[Tensor, Tensor]) -> Tensor:
        """A face (B,3,S,S) with the creases that it gets on the way from the source to the target ages (B,). None on
        the way back: what a face has of its own is smoothed with its texture."""
        wrinkles = self.wrinkles
        if wrinkles is None:
            return face
        before, after = ((age_basis(age) * wrinkles.onset).sum(1) for age in ages)

        def deepened() -> Tensor:
            creases = wrinkles(skin, self.mean_shape, (after - before).clamp_min(0))
            creases = no_sharper(creases, sharpness(luma(skin.face), skin.mask))
            return within_window(creased, window_of(skin.mask), face, skin.mask, creases)

        return choose(after > before, deepened, lambda: face)

    def map_grid(self, landmarks: Tensor, side: int) -> Tensor:
        """`canonical_grid` of faces of `side` pixels with these landmarks, at DRAWN_SIDE at most."""
        return canonical_grid(landmarks, self.mean_shape, min(side, DRAWN_SIDE))

    def limit(
        self, faces: Tensor, edited: Edited, landmarks: Tensor, request: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> Edited:
        """What a generator drew on faces (B,3,s,s), kept within the face as a request (source and target ages, source
        and target action units, as in `forward`) has moved it, and without colour on a photo that has none."""
        points = self.moved_landmarks(landmarks.nan_to_num(0.5), request[:2], request[2:])
        skin = self.face_region(points, faces.shape[-1])
        change = match_colour(edited.face - faces, self.colourfulness(faces, skin))
        return Edited(faces + skin * change, skin * edited.attention)

    def knot_changes(self, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Ages (B,) -> the weight with which each knot's prototype is added, (B,K) for each of MAPS."""
        #   source      turn            target          turn: the age on the way that is nearest to NEUTRAL
        #     |--inward-->|---outward----->|
        #
        # d = inward * (w(turn) - w(source)) + outward * (w(target) - w(turn)). A mean of many faces is duller than
        # any of them, so what is added beyond NEUTRAL is exaggerated; what is taken away before it need not be.
        older, younger = torch.maximum(source, target), torch.minimum(source, target)
        turn = torch.maximum(older.clamp(max=NEUTRAL), younger)
        inward = age_basis(turn) - age_basis(source)
        outward = age_basis(target) - age_basis(turn)
        return {name: inward * self.inward[i] + outward * self.outward[i] for i, name in enumerate(MAPS)}

    def eye_growth(self, source: Tensor, target: Tensor) -> Tensor:
        """Ages (B,) -> the log of the factor by which eyes grow in a face, (B,)."""
        if self.age_eyes is None:
            return torch.zeros_like(source)
        return ((age_basis(target) - age_basis(source)) * self.age_eyes).sum(1)

    def warp_shape(
        self, face: Tensor, landmarks: Tensor, change: dict[str, Tensor], eyes: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The face warped with its landmarks, the moved landmarks (B,68,2), and where the picture shows them then: a
        smooth warp does not reach places where neighbours pull against each other. What surrounds a face moves less
        and less, and is not crossfaded with what did not move: edges would show twice. eyes: see `eye_growth`."""
        # The field is smooth: it is computed coarsely and enlarged, so the photo's own pixels move at any size.
        pulls = self.pulls(**change)
        points = landmarks + reduce(torch.add, pulls.values())
        fields = (coarse_displacement(points, pull, REACH[kind]) for kind, pull in pulls.items())
        field = bicubic(reduce(torch.add, fields), FIELD_SIDE) + eye_field(points, eyes)
        points = points + moved_lids(points, eyes)
        field = field * self.surroundings(points, FIELD_SIDE)
        reached = F.grid_sample(field, 2 * points[:, None] - 1, padding_mode="border", align_corners=False)
        shown = landmarks + reached[:, :, 0].mT
        return follow(face, enlarge_field(field, face.shape[-1])), points, shown

    def moved_landmarks(
        self, landmarks: Tensor, ages: tuple[Tensor, Tensor], aus: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Where an edit moves the landmarks (B,68,2): ages (B,) and action units (B,17), source and target each."""
        pulls = self.pulls(self.knot_changes(*ages)["shape"], aus[1] - aus[0])
        points = landmarks + reduce(torch.add, pulls.values())
        return points + moved_lids(points, self.eye_growth(*ages))

    def moved_face(
        self, face: Tensor, landmarks: Tensor, request: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> Tensor:
        """Faces (B,3,S,S) with landmarks (B,68,2), their pixels moved as `forward` does for source and target ages and
        action units, and nothing else changed."""
        ages = request[:2]
        change = {"age": self.knot_changes(*ages)["shape"], "unit": request[3] - request[2]}
        return self.warp_shape(face, landmarks.nan_to_num(0.5), change, self.eye_growth(*ages))[0]

    def pulls(self, age: Tensor, unit: Tensor) -> dict[str, Tensor]:
        """How far knots (B,K) and units (B,17) move each landmark, (B,68,2) each."""
        # Measured in frames in which the eyes lie still. Of a small child's head the skull is nearly grown and the face
        # is not (Enlow & Hans, Essentials of Facial Growth, 1996): on a head of the photo's size its eyes lie low.
        down = -(age * constant(LOWER, age) * self.age_shape[:, CHIN, 1]).sum(1)
        pull = self.combine("shape", "age", age) + F.pad(down[:, None, None], (1, 0))
        return {"age": pull, "unit": self.combine("shape", "unit", unit)}

    def combine(self, name: str, kind: str, amount: Tensor) -> Tensor:
        """The linear combination (B,...) of the prototypes of a kind ("age", "unit") by amounts (B,n)."""
        return torch.einsum("bn,n...->b...", amount, getattr(self, f"{kind}_{name}"))

    def totals(self, name: str, change: dict[str, Tensor]) -> list[Tensor]:
        """The maps of ages and of action units, (B,C,h,w) each, in the mean shape's frame."""
        return [self.combine(name, kind, change[kind]) for kind in ("age", "unit")]

    def regained(self, source: Tensor, target: Tensor) -> Tensor:
        """Ages (B,) -> how much of the grey that hair has at the first it has lost at the second, (B,1,1,1) in 0..1."""
        neutral = torch.full_like(source, NEUTRAL)
        # Nobody is grey at FIRST_GREY: what is pale there is light on the hair.
        greyness = [
            (self.knot_changes(neutral, age)["hair"] * self.age_hair[:, 0]).sum(1).clamp_min(0)
            for age in (source, target.clamp_min(NEUTRAL))
        ]
        share = (1 - greyness[1] / greyness[0].clamp_min(1e-4)).clamp(0, 1) * ramp(source, *FIRST_GREY)
        return share[:, None, None, None]

    @staticmethod
    def colourfulness(face: Tensor, skin: Tensor) -> Tensor:
        """How much colour the skin of faces has, (B,1,1,1) in 0..1: 0 on black-and-white photos, 1 from SKIN_CHROMA."""
        face, weight = resize(face, MAP_SIDE), resize(skin, MAP_SIDE) + 1e-6  # never all zero
        chroma = (face - luma(face)).abs().mean(1, keepdim=True)
        amount = (chroma * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True)
        return (amount / SKIN_CHROMA).clamp(max=1)

    def find_hair(self, picture: Tensor, frame: Place | None = None) -> Tensor:
        """Hair in pictures (B,3,S,S) in [-1,1] of a face's frame, or of more around the frame: (B,1,S,S) in 0..1."""
        side = MATTE_SIDE if frame is None else matte_side(frame.side)
        if isinstance(self.hair, HairMatte):
            # Reduced once for network and matte. What the network misses in a picture it seldom misses in the mirror.
            small = resize(picture, side)
            own, mirrored = self.hair(torch.cat([small, small.flip(3)]), side).chunk(2)
            matte = (own + mirrored.flip(3)) / 2
        else:  # that of older weights has a side of its own
            small, matte = picture, self.hair(picture, side)
        return refined(matte if frame is None else hanging_together(matte, frame), picture, small)

    def masks(
        self, face: Tensor, landmarks: Tensor, grid: Tensor, hair: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Skin and hair, (B,1,S,S) in 0..1 each, of faces with landmarks (B,68,2) and their grid. hair: where it is
        known already."""
        hair = self.find_hair(face) if hair is None else hair
        return self.region_on(landmarks, grid, face.shape[-1]) * (1 - hair), hair

    def face_region(self, landmarks: Tensor, side: int) -> Tensor:
        """(B,1,side,side) in 0..1: what belongs to faces with these landmarks (B,68,2), with a soft edge."""
        return self.region_on(landmarks, self.map_grid(landmarks, side), side)

    def region_on(self, landmarks: Tensor, grid: Tensor, side: int) -> Tensor:
        """`face_region`, by the grid (B,s,s,2) of these landmarks."""
        region = self.warp_to_face(self.region.expand(len(landmarks), -1, -1, -1), grid)
        # Of a face turned to its profile the far half is squeezed to a line, and what lies beyond it in the mean
        # shape is spread wide over the background.
        near = ramp(outline_slack(landmarks, MAP_SIDE), -BEYOND, 0.0)
        return enlarge(region, side) * enlarge(near, side)

    def surroundings(self, landmarks: Tensor, side: int) -> Tensor:
        """(B,68,2) in 0..1 -> (B,1,side,side) in 0..1: the face and what moves with it, with a soft edge; elsewhere a
        change of a face would be one of its background. 1 without landmarks (NaN)."""
        known = ~landmarks.flatten(1).isnan().any(1)[:, None, None, None]
        grid = canonical_grid(landmarks.nan_to_num(0.5), self.mean_shape, MAP_SIDE)
        region = self.warp_to_face(self.region.expand(len(landmarks), -1, -1, -1), grid)
        wide = dilate(region, MARGIN, MARGIN)
        soft = F.avg_pool2d(wide, MARGIN + 1, 1, MARGIN // 2, count_include_pad=False)
        soft = torch.where(known, soft, torch.ones_like(soft))
        return enlarge(soft, side)

    @staticmethod
    def warp_to_face(maps: Tensor, grid: Tensor) -> Tensor:
        """Maps (B,C,h,w) of the mean shape's frame, warped onto each face by grid (B,S,S,2): (B,C,S,S)."""
        return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)

    @staticmethod
    def brightness(face: Tensor, skin: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the brightness of the skin, (B,1,1,1) each."""
        light, weight = resize(luma(face), MAP_SIDE), resize(skin, MAP_SIDE) + 1e-6
        total = weight.sum((2, 3), keepdim=True)
        mean = (light * weight).sum((2, 3), keepdim=True) / total
        variance = ((light - mean).square() * weight).sum((2, 3), keepdim=True) / total
        return mean, variance.sqrt().clamp_min(LEAST_SPREAD)

    def grow_hair(
        self,
        picture: Tensor,
        hair: Tensor,
        landmarks: Tensor,
        ages: tuple[Tensor, Tensor],
        fade: tuple[float, float, float] = FRAME_FADE,
    ) -> Tensor:
        """Pictures (B,3,S,S) in [-1,1] with hair (B,1,S,S) in 0..1 and landmarks (B,68,2) in 0..1, their hair from the
        source to the target ages (B,): it turns grey strand by strand, or gets colour back. Hair may run beyond the
        picture, so fewer and fewer strands change towards its border (`fade`), and none at it."""
        older = ages[1] > ages[0]
        return self.grow(Growth.of(picture, hair, landmarks, older, fade), ages)

    def beardless(self, face: Tensor, landmarks: Tensor, ages: tuple[Tensor, Tensor]) -> Tensor:
        """Faces (B,3,S,S) with landmarks (B,68,2) whose stubble goes as far as beards do from the first to the second
        of two ages (B,). It belongs to the hair: without what that changes it stays."""
        before, after = (ramp(age, *BEARDLESS) for age in ages)
        grown = (self.knot_changes(*ages)["hair"] != 0).any(1)
        gone = (before - after).clamp_min(0) * grown
        return choose(gone > 0, lambda: smooth_chin(face, landmarks, gone), lambda: face)

    def grow(self, growth: Growth, ages: tuple[Tensor, Tensor]) -> Tensor:
        """`grow_hair` from the source to the target ages (B,), in the direction that the growth was made ready for."""
        # Brightness is measured as (hair + 1) / (skin + 1), so its change counts in the skin's brightness above black;
        # colour as a log of the saturation.
        years = self.knot_changes(*ages)["hair"]
        lighter, colour = (years @ self.age_hair)[:, :, None, None, None].unbind(1)
        greys = (ages[1] > ages[0]) & (lighter > 0).flatten()
        bare = SHAVEN * (1 - ramp(ages[1], *BEARDLESS)) * ((ages[1] < ages[0]) & (years != 0).any(1))
        return choose(
            greys,
            lambda: growth.grey(lighter, colour),
            lambda: growth.young(bare[:, None, None, None], lighter, colour, self.regained(*ages)),
        )


def outline_slack(landmarks: Tensor, side: int) -> Tensor:
    """How far inside the outline of heads with landmarks (B,68,2) in 0..1 each pixel lies, in sides of the frame:
    (B,1,side,side), negative outside. The outline is the convex hull of all of them and of a crown above the brows.
    Landmarks that collapse to a line outline nothing: 1 everywhere."""
    brows, mouth = landmarks[:, 17:27], landmarks[:, 48:68].mean(1, keepdim=True)
    crown = brows + CROWN * (brows.mean(1, keepdim=True) - mouth)
    points = torch.cat([landmarks, crown], 1)
    # A convex set is where x.u <= max_p p.u for every direction u (its support function, Rockafellar 1970, 13).
    turns = torch.arange(DIRECTIONS, device=points.device, dtype=points.dtype) * (2 * math.pi / DIRECTIONS)
    ways = torch.stack([turns.cos(), turns.sin()])
    line = (torch.arange(side, device=points.device, dtype=points.dtype) + 0.5) / side
    pixels = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
    along = points @ ways
    width = (along.amax(1) - along.amin(1)).amin(-1)[:, None, None]  # the least, (B,1,1)
    slack = (along.amax(1)[:, None, None] - pixels @ ways).amin(-1)
    return torch.where(width < FLAT, torch.ones_like(slack), slack)[:, None]


def toned(face: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
    """Faces (B,3,H,W) with a tone on what a mask (B,1,H,W) shows; maps (B,5,H,W): its colour, its brightness, and how
    much of its colour a photo can show."""
    tint, light, seen = maps.split([3, 1, 1], 1)
    return torch.addcmul(face, mask * seen, tint) + relit(face, mask * light)


def creased(face: Tensor, mask: Tensor, creases: Tensor) -> Tensor:
    """Faces (B,3,H,W) with a change of brightness (B,1,H,W) on what a mask (B,1,H,W) shows."""
    return torch.addcmul(face, mask, relit(face, creases))


def _closed(
    close: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
    face: Tensor,
    shown: Tensor,
    share: Tensor,
) -> Tensor:
    return torch.cat(close(face, shown, share), 1)


def _fit_hair_network(prototypes: Prototypes, state: dict[str, Tensor], prefix: str, *others: object) -> None:
    """Before tensors are loaded: a hair network of another kind or size becomes the one that they are of. Files of a
    trained generator hold its prototypes without their keywords."""
    widths: list[int] = []
    while (weight := state.get(f"{prefix}hair.encode.{len(widths)}.weight")) is not None:
        widths.append(len(weight))
    mask = state.get(f"{prefix}hair.down.0.weight")
    found: HairMask | HairMatte
    if widths:
        found = HairMatte(widths, f"{prefix}hair.deepen.0.weight" in state)
    elif mask is not None:
        found = HairMask(len(mask))
    else:
        return
    shapes = [
        {key: value.shape for key, value in one.state_dict().items()} for one in (found, prototypes.hair)
    ]
    if shapes[0] != shapes[1]:
        learns = any(one.requires_grad for one in prototypes.hair.parameters())
        prototypes.hair = found.to(prototypes.mean_shape).requires_grad_(learns)


def _fit_mouth(prototypes: Prototypes, state: dict[str, Tensor], prefix: str, *others: object) -> None:
    """Before tensors are loaded: a mouth of another kind becomes the one that they are of, as with hair."""
    for key, kind in (("looks", MouthInterior), ("upper", OpenMouth)):
        if f"{prefix}mouth.{key}" in state and not isinstance(prototypes.mouth, kind):
            prototypes.mouth = kind().to(prototypes.mean_shape)


def _fit_wrinkles(prototypes: Prototypes, state: dict[str, Tensor], prefix: str, *others: object) -> None:
    """Before tensors are loaded: as many layouts of creases as they hold and as large, as with hair."""
    layouts = state.get(f"{prefix}wrinkles.layouts")
    own = None if prototypes.wrinkles is None else prototypes.wrinkles.layouts.shape
    if f"{prefix}mean_shape" in state and own != (None if layouts is None else layouts.shape):
        fitting = None if layouts is None else wrinkles_like(layouts, KNOTS)
        prototypes.wrinkles = fitting and fitting.to(prototypes.mean_shape.device)


def _fit_youth(prototypes: Prototypes, state: dict[str, Tensor], prefix: str, *others: object) -> None:
    """Before tensors are loaded: eyes grow and detail is limited where they say so, as with hair."""
    if f"{prefix}mean_shape" in state:
        for name, shape in (("age_eyes", (KNOTS,)), ("detail_limit", (1,))):
            if (f"{prefix}{name}" in state) != (getattr(prototypes, name) is not None):
                here = f"{prefix}{name}" in state
                setattr(prototypes, name, prototypes.mean_shape.new_zeros(shape) if here else None)


def measured_prototypes(**keywords: Any) -> Prototypes:
    """Prototypes as a part of a model: they are measured on faces, so no gradient changes them."""
    return Prototypes(**keywords).requires_grad_(False)
