"""What a user may ask of one face, in human words: ages, age groups, FACS action units. No torch modules here."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import BadInput

AU_NAMES = {
    "AU01": "inner brow raiser",
    "AU02": "outer brow raiser",
    "AU04": "brow lowerer",
    "AU05": "upper lid raiser",
    "AU06": "cheek raiser",
    "AU07": "lid tightener",
    "AU09": "nose wrinkler",
    "AU10": "upper lip raiser",
    "AU12": "lip corner puller",
    "AU14": "dimpler",
    "AU15": "lip corner depressor",
    "AU17": "chin raiser",
    "AU20": "lip stretcher",
    "AU23": "lip tightener",
    "AU25": "lips part",
    "AU26": "jaw drop",
    "AU45": "blink",
}
"""OpenFace's 17 action units with their FACS names, in the order of every AU vector of this project."""

AU_CODES = tuple(AU_NAMES)
"""The 17 codes in the order of every vector of action units, which is OpenFace's."""
AU_UNSEEN = ("AU06", "AU09")
"""Action units that the teacher of the shipped readers never sees move: they are read as 0, and pseudo-labels lack
them. Which ones can be edited is said by the weights: `GanimeAge.editable_action_units`."""
LABELLED_AUS = tuple(code for code in AU_CODES if code not in AU_UNSEEN)
"""The action units that pseudo-labels hold."""
NO_SMILE = {"AU12": 0.0, "AU10": 0.0, "AU25": 0.0}
"""What takes a full smile away."""

AU_WORDS = {
    "AU01": "inner brows up",
    "AU02": "outer brows up",
    "AU04": "frown",
    "AU05": "eyes wide",
    "AU06": "cheeks up",
    "AU07": "squint",
    "AU09": "nose wrinkled",
    "AU10": "upper lip up",
    "AU12": "smile",
    "AU14": "dimples",
    "AU15": "mouth corners down",
    "AU17": "chin up",
    "AU20": "lips stretched",
    "AU23": "lips tight",
    "AU25": "lips apart",
    "AU26": "jaw drop",
    "AU45": "eyes closed",
}
"""The action units in everyday words."""

PRESETS = {
    "smile": {"AU12": 3.5, "AU25": 2.0},
    "surprise": NO_SMILE | {"AU01": 3.0, "AU02": 3.0, "AU05": 3.0, "AU25": 3.0, "AU26": 3.0},
    "anger": NO_SMILE | {"AU04": 3.5, "AU05": 2.0, "AU07": 3.0, "AU23": 3.0},
    "sadness": NO_SMILE | {"AU01": 3.0, "AU04": 2.5, "AU15": 3.0},
    "neutral": dict.fromkeys(AU_CODES, 0.0),
}
"""EMFACS's prototypes of the emotions (Ekman & Friesen, 1983), without AU06, which the shipped weights cannot edit, and
with the parted lips that a wide smile and surprise have, and without the smile that a photo may show already."""

AU_MAX = 5.0
AGE_MAX = 100.0
AGE_PARTS = ("shape", "skin", "hair")
"""What an age changes, and what each of which can be left out."""
MOST_TURN = {"yaw": 15.0, "pitch": 10.0, "roll": 10.0}
"""How far a head is turned at most, in degrees to either side: beyond, what the photo does not show is missed."""
AGE_GROUPS = ("0-2", "3-6", "7-9", "10-14", "15-19", "20-29", "30-39", "40-49", "50-69", "70+")
GROUP_STARTS = (0, 3, 7, 10, 15, 20, 30, 40, 50, 70)


def age_group(age: float) -> int:
    """Index 0..9 into AGE_GROUPS (FFHQ-Aging's ten) of an age in years."""
    return sum(age >= start for start in GROUP_STARTS[1:])


def check_age(age: float | str) -> float:
    """Return `age` as a float, or raise BadInput when it is not a number of years within 0..100."""
    try:
        years = float(age)
    except (TypeError, ValueError):
        raise BadInput(f"age {age!r} is not a number; give years between 0 and {AGE_MAX:.0f}") from None
    if not math.isfinite(years) or not 0 <= years <= AGE_MAX:
        raise BadInput(f"age {age} is out of range; give years between 0 and {AGE_MAX:.0f}")
    return years


def check_parts(given: str | Iterable[str] | None) -> tuple[str, ...]:
    """`"skin, hair"`, `["skin"]` or None for all -> those of AGE_PARTS, in their order; BadInput for others or none."""
    if given is None:
        return AGE_PARTS
    words = [plain(word) for word in (given.split(",") if isinstance(given, str) else given)]
    for word in words:
        if word not in AGE_PARTS:
            raise BadInput(f"an age has no part {word!r}; choose from {', '.join(AGE_PARTS)}")
    if not words:
        raise BadInput(f"no part of the age is left to change; give one or more of {', '.join(AGE_PARTS)}")
    return tuple(part for part in AGE_PARTS if part in words)


def check_turn(
    given: Mapping[str, Any] | Iterable[Any] | None,
) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees, as three numbers or by name, such as {"yaw": 15} -> three floats; BadInput beyond
    MOST_TURN. None turns nothing."""
    if given is None:
        return 0.0, 0.0, 0.0
    if isinstance(given, Mapping):
        strange = [name for name in given if name not in MOST_TURN]
        if strange:
            raise BadInput(f"a head has no angle {strange[0]!r}; choose from {', '.join(MOST_TURN)}")
        angles: list[float | str] = [given.get(name, 0.0) for name in MOST_TURN]
    else:
        angles = [] if isinstance(given, (str, bytes)) else list(given)
    if len(angles) != len(MOST_TURN):
        raise BadInput(
            f"turn {given!r} is no turn of a head; give yaw, pitch and roll in degrees: (15, 0, 0)"
        )
    yaw, pitch, roll = (_angle(name, value) for name, value in zip(MOST_TURN, angles, strict=True))
    return yaw, pitch, roll


def _angle(name: str, value: float | str) -> float:
    most = MOST_TURN[name]
    try:
        degrees = float(value)
    except (TypeError, ValueError):
        raise BadInput(f"{name} {value!r} is not a number; give degrees from {-most:g} to {most:g}") from None
    if not abs(degrees) <= most:
        raise BadInput(f"{name} {value} is out of range; give degrees from {-most:g} to {most:g}")
    return degrees


def au_code(name: str) -> str:
    """`AU1`, `au01`, `AU01` -> `AU01`, and `jaw drop`, `Frown` -> their codes; BadInput for none of the 17."""
    match = re.fullmatch(r"AU0*(\d{1,2})", str(name).strip().upper())
    code = f"AU{int(match[1]):02d}" if match else _BY_WORDS.get(plain(name))
    if code not in AU_NAMES:
        words = f"or in words {', '.join(PRESETS)}{meant(name)}"
        raise BadInput(f"unknown action unit {name!r}; choose from {' '.join(AU_CODES)}, {words}")
    return code


def plain(name: object) -> str:
    """A name in small letters, its words one blank apart: `Jaw_Drop` -> `jaw drop`."""
    return " ".join(re.split(r"[\s_-]+", str(name).strip().lower()))


def meant(name: object) -> str:
    """`; did you mean smile?` where a word is near one that action units and presets have, else nothing."""
    near = difflib.get_close_matches(plain(name), [*PRESETS, *_BY_WORDS], n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""


_BY_WORDS = {plain(word): code for table in (AU_NAMES, AU_WORDS) for code, word in table.items()}


def check_editable(codes: Iterable[str], editable: Collection[str]) -> None:
    """BadInput names the first action unit for which weights that can edit `editable` have no label."""
    for code in codes:
        if code not in editable:
            raise BadInput(
                f"{code} ({AU_NAMES[code]}) cannot be edited: these weights were trained without a label for it"
            )


@dataclass(frozen=True)
class AUTarget:
    """One action unit's target: an intensity within 0..5, or a change within -5..5 to what is there."""

    value: float
    relative: bool = False

    def reached_from(self, source: float) -> float:
        """Absolute intensity 0..5 that is asked of a face that shows `source`."""
        return min(max(source + self.value, 0.0), AU_MAX) if self.relative else self.value


def au_target(code: str, value: float | str, relative: bool = False) -> AUTarget:
    """Check one intensity; a string with a sign (`"+2"`) is relative. BadInput outside the range."""
    text = str(value).strip()
    relative = relative or (isinstance(value, str) and text[:1] in "+-")
    try:
        number = float(text)
    except ValueError:
        raise BadInput(
            f"{code}={value} is not a number; give an intensity between 0 and 5, or a change such as +2"
        ) from None
    low = -AU_MAX if relative else 0.0
    if not math.isfinite(number) or not low <= number <= AU_MAX:
        wanted = "a change between -5 and +5" if relative else "an intensity between 0 and 5"
        raise BadInput(f"{code}={value} is out of range; give {wanted}")
    return AUTarget(number, relative)


def parse_action_units(
    given: Mapping[str, float | str] | Iterable[str],
    relative: bool = False,
    editable: Collection[str] = AU_CODES,
) -> dict[str, AUTarget]:
    """`{"AU12": 3}`, `["AU12=3", "frown=+2"]`, `"smile"` or `"smile, AU04=+2"` -> checked targets by code, in the
    project's AU order.

    A name is a code, its FACS name, its everyday word (AU_WORDS) or a preset, in any case. A preset alone stands for
    its own intensities; with a value its strongest action unit gets that value and the others in proportion. What is
    named by itself goes before what a preset says of it. editable: the action units that the weights can edit; BadInput
    names another one. A mapping may be what a reading holds: the zero of an action unit that is never seen asks for
    nothing.
    """
    if not isinstance(given, Iterable):
        raise BadInput(
            f"action units cannot be read from {given!r}; write {{'AU12': 3}}, ['AU12=+2'] or 'smile'"
        )
    mapping = isinstance(given, Mapping)
    pairs: Iterable[tuple[str, float | str | None]]
    if isinstance(given, Mapping):
        pairs = given.items()
    else:
        items = given.split(",") if isinstance(given, str) and given else given
        pairs = [_split(item) for item in items]
    of_presets: dict[str, AUTarget] = {}
    named: dict[str, AUTarget] = {}
    for name, value in pairs:
        if mapping and name in AU_CODES and name not in editable and value == 0:
            continue
        if plain(name) in PRESETS:
            _add(of_presets, preset_targets(plain(name), value, relative, editable))
            continue
        code = au_code(name)
        check_editable((code,), editable)
        _add(named, {code: au_target(code, str(value) if value is None else value, relative)})
    targets = of_presets | named
    return {code: targets[code] for code in AU_CODES if code in targets}


def preset_targets(
    name: str, value: float | str | None = None, relative: bool = False, editable: Collection[str] = AU_CODES
) -> dict[str, AUTarget]:
    """The targets of one of PRESETS, of those that can be edited. value: of its strongest action unit, 0..5, or a
    change such as "+2"; the others follow in proportion. None: as the preset stands."""
    units = {code: level for code, level in PRESETS[name].items() if code in editable}
    if value is None:
        return {code: AUTarget(level, relative) for code, level in units.items()}
    most = max(units.values(), default=0.0)
    if not most:
        raise BadInput(f"{name} takes no intensity; write {name} alone")
    wanted = au_target(name, value, relative)
    return {code: AUTarget(wanted.value * level / most, wanted.relative) for code, level in units.items()}


def _add(targets: dict[str, AUTarget], more: Mapping[str, AUTarget]) -> None:
    for code, target in more.items():
        if code in targets:
            raise BadInput(f"{code} is asked for twice; give each action unit once")
        targets[code] = target


def _split(item: str) -> tuple[str, str | None]:
    name, equals, value = str(item).partition("=")
    if equals:
        return name, value
    if plain(item) in PRESETS:
        return name, None
    raise BadInput(f"cannot read the action unit {item!r}; write it as AU12=3 or AU12=+2{meant(item)}")


@dataclass(frozen=True)
class Edit:
    """What is asked of one face. What is not named stays as it is.

    Attributes:
        age: target in years, 0..100, or None.
        action_units: checked targets by AU code.
        strength: 0..1.5, scales how far the way from the source to the target is gone (1 = all of it).
        parts: those of AGE_PARTS that the age changes.
        turn: yaw, pitch, roll in degrees by which the head is turned, signs as in a reading: to the right of the
            picture, down, clockwise.
    """

    age: float | None = None
    action_units: dict[str, AUTarget] = field(default_factory=dict)
    strength: float = 1.0
    parts: tuple[str, ...] = AGE_PARTS
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def of(
        cls,
        age: float | str | None = None,
        action_units: Mapping[str, float | str] | Iterable[str] | None = None,
        relative: bool = False,
        strength: float | str = 1.0,
        editable: Collection[str] = AU_CODES,
        parts: str | Iterable[str] | None = None,
        turn: Mapping[str, Any] | Iterable[Any] | None = None,
    ) -> Edit:
        """Check human words into an Edit.

        Args:
            age: target in years, 0..100, or None.
            action_units: intensities 0..5 by name, changes or a preset, in the words of `parse_action_units`.
            relative: whether action units are changes to what is there.
            strength: 0..1.5, how far to go from the source to the target.
            editable: the action units that the weights can edit; see `parse_action_units`.
            parts: what the age changes, as "skin, hair" or ["skin"], of AGE_PARTS; None for all.
            turn: yaw, pitch and roll in degrees, as (15, 0, 0) or {"yaw": 15}, each within MOST_TURN.

        Returns:
            The request; action units under their FACS codes.

        Raises:
            BadInput: names what is wrong.
        """
        try:
            power = float(strength)
        except (TypeError, ValueError):
            raise BadInput(f"strength {strength!r} is not a number; give a value between 0 and 1.5") from None
        if not 0 <= power <= 1.5:
            raise BadInput(f"strength {strength} is out of range; give a value between 0 and 1.5")
        years = None if age is None else check_age(age)
        asked = {} if action_units is None else action_units
        units = parse_action_units(asked, relative, editable)
        return cls(years, units, power, check_parts(parts), check_turn(turn))

    @property
    def turned(self) -> tuple[float, ...]:
        """`turn` as far as `strength` goes, within MOST_TURN."""
        limits = zip(self.turn, MOST_TURN.values(), strict=True)
        return tuple(min(max(self.strength * angle, -most), most) for angle, most in limits)

    def more(self) -> dict[str, Any]:
        """What is asked beside age, action units and strength, JSON-native; nothing where it is the usual."""
        parts = {"parts": list(self.parts)} if self.age is not None and self.parts != AGE_PARTS else {}
        turn = {"turn": dict(zip(MOST_TURN, self.turn, strict=True))} if any(self.turn) else {}
        return {**parts, **turn}

    def targets_for(self, source_age: float, source_aus: Iterable[float]) -> tuple[float, list[float]]:
        """What an edit asks of a face that reads so.

        Args:
            source_age: years.
            source_aus: the 17 intensities, 0..5.

        Returns:
            Target age in years and the 17 target intensities.
        """
        age = source_age if self.age is None else source_age + self.strength * (self.age - source_age)
        aus = list(source_aus)
        for code, target in self.action_units.items():
            i = AU_CODES.index(code)
            aus[i] = min(max(aus[i] + self.strength * (target.reached_from(aus[i]) - aus[i]), 0.0), AU_MAX)
        return min(max(age, 0.0), AGE_MAX), aus
