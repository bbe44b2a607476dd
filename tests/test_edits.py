"""Human words for ages and action units -> checked numbers."""

import pytest

from ganime_age.edits import (
    AU_CODES,
    LABELLED_AUS,
    PRESETS,
    Edit,
    age_group,
    au_code,
    parse_action_units,
)
from ganime_age.errors import BadInput


@pytest.mark.parametrize(
    "age, group", [(0, 0), (2.9, 0), (3, 1), (19.9, 4), (20, 5), (69, 8), (70, 9), (100, 9)]
)
def test_age_groups_are_ffhq_agings_ten(age, group):
    assert age_group(age) == group


@pytest.mark.parametrize("name", ["AU1", "au01", "AU01", " AU001 "])
def test_action_units_are_known_by_any_spelling(name):
    assert au_code(name) == "AU01"


@pytest.mark.parametrize(
    "words, code",
    [("Lip Corner Puller", "AU12"), ("jaw_drop", "AU26"), ("FROWN", "AU04"), ("eyes-closed", "AU45")],
)
def test_action_units_are_known_by_their_names_in_words(words, code):
    assert au_code(words) == code
    assert parse_action_units({words: 2})[code].value == 2
    assert parse_action_units([f"{words}=+1"])[code].relative


def values(given, **options):
    return {code: target.value for code, target in parse_action_units(given, **options).items()}


def test_a_preset_is_a_request_alone_with_an_intensity_and_beside_action_units():
    assert values("Smile") == values(["smile"]) == {"AU12": 3.5, "AU25": 2.0}
    assert values({"SMILE": 1.75}) == values("smile=1.75") == {"AU12": 1.75, "AU25": 1.0}
    assert values("anger, AU05=0.5")["AU05"] == 0.5, "what is named by itself goes first"
    change = parse_action_units("smile=+2")["AU12"]
    assert change.relative and change.reached_from(1.0) == 3.0
    assert values("neutral", editable=LABELLED_AUS) == dict.fromkeys(LABELLED_AUS, 0.0)
    assert all(set(units) <= set(AU_CODES) for units in PRESETS.values())


def test_targets_are_absolute_or_changes_and_kept_in_order():
    targets = parse_action_units(["AU12=3", "AU4=+2", "AU1=-1"])
    assert list(targets) == ["AU01", "AU04", "AU12"]
    assert (targets["AU12"].reached_from(1.0), targets["AU04"].reached_from(1.0)) == (3.0, 3.0)
    assert targets["AU01"].reached_from(0.5) == 0.0
    assert targets["AU04"].reached_from(4.5) == 5.0
    assert parse_action_units({"AU12": 2}, relative=True)["AU12"].reached_from(1.0) == 3.0


def test_what_is_not_named_stays_as_it_is():
    source = [float(i % 5) for i in range(17)]
    assert Edit.of().targets_for(31.5, source) == (31.5, source)
    age, units = Edit.of(age=70, action_units={"AU12": 5}).targets_for(30, source)
    assert age == 70 and units[AU_CODES.index("AU12")] == 5
    assert [u for i, u in enumerate(units) if AU_CODES[i] != "AU12"] == source[:8] + source[9:]


@pytest.mark.parametrize("strength, age, unit", [(0, 30, 1), (0.5, 50, 2), (1, 70, 3), (1.5, 90, 4)])
def test_strength_scales_the_way(strength, age, unit):
    source = [1.0] * 17
    got_age, units = Edit.of(age=70, action_units={"AU12": 3}, strength=strength).targets_for(30, source)
    assert (got_age, units[AU_CODES.index("AU12")]) == (age, unit)


def test_a_turn_goes_as_far_as_strength_and_never_too_far():
    assert Edit.of(turn={"roll": 4}).turned == (0, 0, 4) and Edit.of(turn=None).turned == (0, 0, 0)
    assert Edit.of(turn=(-10, 0, 4), strength=0.5).turned == (-5, 0, 2)
    assert Edit.of(turn=(-15, 0, 0), strength=1.5).turned == (-15, 0, 0)


def test_parts_of_an_age_are_kept_in_order_and_told_only_where_some_are_left_out():
    assert Edit.of(70, parts="hair, Shape").more() == {"parts": ["shape", "hair"]}
    assert Edit.of(70).more() == Edit.of(parts="hair").more() == {}


def test_targets_never_leave_their_range():
    age, units = Edit.of(age=100, action_units={"AU12": 5}, strength=1.5).targets_for(50, [1.0] * 17)
    assert age == 100 and max(units) == 5


BAD = {
    "age 101": ({"age": 101}, "age 101 is out of range; give years between 0 and 100"),
    "age inf": ({"age": float("inf")}, "age inf is out of range"),
    "age list": ({"age": [30]}, r"age \[30\] is not a number; give years"),
    "unknown": ({"action_units": {"smirk": 1}}, "unknown action unit 'smirk'; choose from AU01 AU02"),
    "unknown but near": (
        {"action_units": {"frwon": 1}},
        r"unknown action unit 'frwon'.*; did you mean frown\?",
    ),
    "a preset mistyped": ({"action_units": "smyle"}, r"cannot read .* 'smyle'.*; did you mean smile\?"),
    "a preset too strong": ({"action_units": {"smile": 6}}, "smile=6 is out of range; give an intensity"),
    "neutral with a value": (
        {"action_units": "neutral=2"},
        "neutral takes no intensity; write neutral alone",
    ),
    "presets that share": ({"action_units": ["smile", "surprise"]}, "AU12 is asked for twice"),
    "unseen in words": (
        {"action_units": "Cheek raiser=1", "editable": LABELLED_AUS},
        r"AU06 \(cheek raiser\) cannot be edited",
    ),
    "unseen": (
        {"action_units": {"AU06": 1}, "editable": LABELLED_AUS},
        r"AU06 \(cheek raiser\) cannot be edited",
    ),
    "twice": ({"action_units": ["AU12=1", "AU12=2"]}, "AU12 is asked for twice"),
    "negative": (
        {"action_units": {"AU12": -1}},
        "AU12=-1 is out of range; give an intensity between 0 and 5",
    ),
    "change": ({"action_units": ["AU12=+6"]}, r"AU12=\+6 is out of range; give a change between -5 and \+5"),
    "word": ({"action_units": ["AU12=much"]}, "AU12=much is not a number; give an intensity between 0 and 5"),
    "no value": ({"action_units": ["AU12"]}, "cannot read the action unit 'AU12'; write it as AU12=3"),
    "strength": ({"strength": 2}, "strength 2 is out of range; give a value between 0 and 1.5"),
    "strength nan": ({"strength": float("nan")}, "strength nan is out of range"),
    "turn beyond": ({"turn": (0, 11, 0)}, "pitch 11 is out of range; give degrees from -10 to 10"),
    "turn nan": ({"turn": {"yaw": float("nan")}}, "yaw nan is out of range"),
    "turn word": ({"turn": {"yaw": "left"}}, "yaw 'left' is not a number"),
    "turn name": ({"turn": {"tilt": 3}}, "a head has no angle 'tilt'; choose from yaw, pitch, roll"),
    "turn of two": ({"turn": (3, 4)}, r"turn \(3, 4\) is no turn of a head; give yaw, pitch and roll"),
    "part": ({"parts": "skin, beard"}, "an age has no part 'beard'; choose from shape, skin, hair"),
    "no part": ({"parts": []}, "no part of the age is left to change"),
    "strength word": ({"strength": "full"}, "strength 'full' is not a number"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_request_is_one_sentence(kind):
    given, sentence = BAD[kind]
    with pytest.raises(BadInput, match=sentence):
        Edit.of(**given)
