"""A fingerprint names what decides a network's results: its numbers, and the keywords that no tensor shows."""

import inspect

import pytest
import torch

from ganime_age.card.card import check_current, fingerprints
from ganime_age.card.results import Results
from ganime_age.errors import BadInput
from ganime_age.model.fingerprint import fingerprint, settings
from ganime_age.model.methods import parts
from ganime_age.model.model import GanimeAge
from ganime_age.networks.restoring.restorer import Restorer
from helpers.tiny import TINY, same

RESTORER = {"kind": "restorer", "widths": [8, 8, 8], "deep": 1}
OTHERS = {
    "detector": [{"seek_width": 8}, {"mark_width": 8}, {"crop_side": 112}],
    "readers": [
        {"size": 100}, {"widths": [8, 8, 8, 16]}, {"blocks": [1, 1, 1]}, {"local": {"widths": [8, 8, 8]}},
        {"mirrored": True},
    ],
    "head": [{"points": 70}, {"triangles": 9}, {"identity": 2}, {"expression": 2}],
    "prototypes": [
        {"hair_width": 4}, {"hair": {"widths": [4, 8, 8]}}, {"teeth": True}, {"wrinkles": 2}, {"youth": True},
        {"wrinkles": 2, "wrinkle_side": 512},
    ],
    "ganimation_age": [
        {"kind": "restorer"}, {"widths": [8, 8, 8]}, {"blocks": 1},
        {"kind": "restorer", "widths": [8, 8, 8]}, {"kind": "restorer", "deep": 1},
        {"kind": "restorer", "draws": ["skin"]}, {"kind": "restorer", "share": 0.5},
        {"kind": "restorer", "outward": True}, {"kind": "restorer", "finer": 3.0},
        {"kind": "denoiser"}, {"kind": "denoiser", "widths": [8, 8, 8, 8]},
        {"kind": "denoiser", "blocks": [1, 1, 1, 1]}, {"kind": "denoiser", "sources": 2},
        {"kind": "denoiser", "share": 0.5},
        {"kind": "distilled"}, {"kind": "distilled", "widths": [8, 8, 8, 8]},
        {"kind": "distilled", "blocks": [1, 1, 1, 1]}, {"kind": "distilled", "share": 0.5},
    ],
    "ganimation": [{"conditions": 5}, {"width": 8}, {"blocks": 1}],
    "agetransgan": [
        {"size": 64}, {"width": 0.5}, {"style": 8}, {"layers": 2}, {"direct": True},
    ],
    "ragan": [{"widths": [8, 8]}, {"blocks": 1}, {"order": 1}],
    "ganimation_age_published": [{"style": 8}, {"width": 8}, {"blocks": 1}],
    "dual_generator": [{"shape_hidden": 8}, {"widths": [8, 8, 8]}, {"blocks": 1}, {"style": 8}],
    "identity": [{"widths": [8, 8, 8]}, {"blocks": [1, 1, 1]}, {"squeeze": 4}],
    "attributes": [{"widths": [8, 8, 8]}, {"blocks": [1, 1, 1]}, {"squeeze": 4}],
    "aifd": [{"squeeze": 4}, {"hidden": 8}],
}  # fmt: skip
"""Part -> another value of each of its keywords, the least telling one where there are several."""
NOT_OF_WEIGHTS = {"dropout", "own_prototypes"}
"""Keywords that change nothing of what a trained network gives, or that a model itself sets."""


def seen(part: str, keywords: dict) -> tuple:
    """What a fingerprint sees of a network but its numbers."""
    row = parts()[part]
    with torch.device("meta"):
        network = row.network(*(parts()[other].network() for other in row.borrows), **keywords)
    return network, ({key: value.shape for key, value in network.state_dict().items()}, settings(network))


@pytest.mark.parametrize("part", parts())
def test_every_keyword_of_every_part_shows_in_shapes_or_settings(part):
    built = [seen(part, keywords) for keywords in ({}, *OTHERS[part])]
    known = (
        {key for others in OTHERS[part] for key in others} | NOT_OF_WEIGHTS | {"self", *parts()[part].borrows}
    )
    for network, _ in built:
        assert set(inspect.signature(type(network).__init__).parameters) <= known, (
            "name the new keyword in OTHERS"
        )
    whole = [one for _, one in built]
    assert whole[0][1] == {}, "weights with the default keywords keep the fingerprint that they had"
    assert all(one not in whole[:i] for i, one in enumerate(whole))


@pytest.fixture
def pair():
    """Two models of the same numbers; the second's generator lays half of what it draws."""
    keywords = TINY | {"parts": ["readers", "ganimation_age"]}
    one = GanimeAge(**keywords | {"ganimation_age": RESTORER})
    other = GanimeAge(**keywords | {"ganimation_age": RESTORER | {"share": 0.5}})
    other.load_state_dict(one.state_dict())
    assert same(one, other)
    return one, other


def test_another_share_of_the_same_drawing_is_another_fingerprint(pair):
    one, other = pair
    assert fingerprint(one) != fingerprint(other)
    digits = [fingerprints(model) for model in pair]
    assert {part for part in one.parts if digits[0][part] != digits[1][part]} == {"ganimation_age"}
    other.ganimation_age.share = 1.0  # it follows what the network does now
    assert fingerprint(one) == fingerprint(other) and fingerprints(other) == digits[0]


def test_results_of_the_same_numbers_with_another_share_are_refused(pair, tmp_path):
    one, other = pair
    results = Results(
        tmp_path / "photos.json", {"made_by": {"weights": fingerprints(one), "command": "measure"}}
    )
    check_current({"edits-ganimation_age": results}, one)
    with pytest.raises(BadInput, match="measured on other weights of ganimation_age"):
        check_current({"edits-ganimation_age": results}, other)


def test_the_order_and_the_kind_of_a_list_of_parts_do_not_count():
    names = [
        settings(Restorer([8, 8, 8], draws=draws))
        for draws in (("skin", "lids"), ["skin", "lids"], ["lids", "skin"])
    ]
    assert names[0] == names[1] == names[2] == {"draws": ["skin", "lids"]}


def test_the_sizes_of_a_models_faces_count_for_all_of_it(pair):
    one = pair[0]
    config = one.config | {"edit_size": 72}
    other = GanimeAge(**config)
    other.load_state_dict(one.state_dict())
    assert fingerprint(one) != fingerprint(other)
    assert all(fingerprints(one)[part] != digits for part, digits in fingerprints(other).items())
