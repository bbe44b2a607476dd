"""One model in parts: what its prototypes do alone, and what its generator does alone."""

from __future__ import annotations

from copy import copy, deepcopy

import torch
from torch import nn

from ....model.methods import DEFAULT, METHODS
from ....model.model import GanimeAge
from ....networks.denoising.unet import FaceUNet
from ....networks.restoring.restorer import Restorer

PROTOTYPES, NETWORK = "prototypes alone", "network alone"


def prototypes_alone(model: GanimeAge) -> GanimeAge:
    """A model whose default generator paints nothing, so that its prototypes alone edit; the rest is shared."""
    part = METHODS[DEFAULT].part
    network = getattr(model, part)
    # Zero weights of the last layer leave the face as it is, and other weights have a fingerprint of their own, by
    # which kept edits are told apart. What a restorer would erase, such as lids, is not erased, and nothing drawn anew.
    quiet = silenced(network, ("head.weight", "head.bias"))
    if isinstance(quiet, Restorer):
        quiet.draws = ()
    if isinstance(quiet, FaceUNet):
        quiet.share = 0.0
    return with_part(model, part, quiet)


def network_alone(model: GanimeAge) -> GanimeAge:
    """A model whose prototypes change nothing with age, so that its generator alone edits; the rest is shared."""
    ageing = ("outward", "inward", "wrinkles.onset", "age_eyes", "detail_limit")
    return with_part(model, "prototypes", silenced(model.prototypes, ageing))


def silenced(network: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """A copy of a network with those of some tensors zero that it has."""
    quiet = deepcopy(network)
    held = quiet.state_dict()
    with torch.no_grad():
        for name in held.keys() & set(names):
            held[name].zero_()
    return quiet


def with_part(model: GanimeAge, part: str, network: nn.Module) -> GanimeAge:
    """A model that shares everything with another but for one part."""
    changed = copy(model)
    vars(changed)["_modules"] = dict(model.named_children()) | {part: network}
    return changed


def variants(model: GanimeAge) -> dict[str, tuple[GanimeAge, str]]:
    """Title -> model and method: what the default method is made of, and every other method that edits ages."""
    found = {}
    if METHODS[DEFAULT].part in model.parts:
        found[PROTOTYPES] = (prototypes_alone(model), DEFAULT)
        found[NETWORK] = (network_alone(model), DEFAULT)
    others = [name for name in model.methods_for("age") if name != DEFAULT]
    return found | {METHODS[name].title: (model, name) for name in others}
