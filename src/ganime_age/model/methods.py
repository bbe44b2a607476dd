"""The table of methods: each published system that edits faces is one row, from which everything else derives.

The parts of the weights, the choices of the command line, the rows and colours of the model card, the labels of the
Space, the rows of Table I and the packing of trained networks all read this table. A new method is its network, its
training task, its recipe, and one row here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

    from ..networks.layers import Edited

MethodName = Literal["ganimation_age", "ganimation", "agetransgan", "ragan", "ganimation_age_published"]
"""The names of the table's rows, which an editor offers. At run time a name or a title does, in any case."""

DEFAULT: MethodName = "ganimation_age"
"""The method that edits when none is named."""


def later(module: str, name: str, **fixed: Any) -> Callable[..., Any]:
    """A function or class of networks/, imported when it is first called: reading the table needs no torch."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        return getattr(import_module(f"..networks.{module}", __package__), name)(
            *arguments, **fixed, **keywords
        )

    return call


@dataclass(frozen=True)
class Part:
    """One network of the weights.

    description: what it is, in the model card. network: builds it from its keywords in config.json, after the modules
    of the parts that it `borrows`; keywords that its tensors' shapes do not tell stand in its `settings` too, for its
    fingerprint. brings: parts that are loaded with it. shipped: whether a model has it unless parts are named.
    """

    description: str
    network: Callable[..., nn.Module]
    borrows: tuple[str, ...] = ()
    brings: tuple[str, ...] = ()
    shipped: bool = True


@dataclass(frozen=True)
class Variant:
    """The same network trained otherwise, which Table I measures in a row of its own."""

    suffix: str
    title: str
    colour: str


@dataclass(frozen=True)
class Method:
    """One published system that edits faces.

    name: as users write it. title: as the system is called. edits: what it can change, of "age" and "action_units".
    part: the part of the weights that holds its network, which `network` builds from its keywords in config.json.
    colour: in charts. edit: (network, faces (B,3,s,s) in [-1,1], source ages (B,), target ages (B,) in years, source
    and target action units (B,17) in 0..5) -> Edited, at the side of the faces given; a network that is a Restorer or a
    FaceUNet is also given the landmarks before and after the prototypes, and a FaceUNet the faces as these moved them.
    reads: whether the prototypes change the face first, for which the readers find its landmarks. shipped: whether a
    model has it unless parts are named. trained_as: the network's name in training, if it differs from the part's.
    """

    name: str
    title: str
    edits: tuple[str, ...]
    part: str
    colour: str
    edit: Callable[..., Edited]
    network: Callable[..., nn.Module]
    reads: bool = True
    shipped: bool = True
    trained_as: str = ""
    variants: tuple[Variant, ...] = ()

    @property
    def label(self) -> str:
        """The title, with what it is limited to where that is not the age."""
        return self.title if "age" in self.edits else f"{self.title} (expression)"

    @property
    def trained_name(self) -> str:
        """The network's name in a run's light folder."""
        return self.trained_as or self.part

    @property
    def packed_as(self) -> str:
        """Its option of training/pack.py: the network's name in training or, as that is one of the default method's,
        the method's own where a model does not have it unless it is named."""
        return self.trained_name if self.shipped else self.name

    @property
    def rows(self) -> dict[str, tuple[str, str]]:
        """Its rows in Table I and in results: name -> title and colour."""
        own = {self.name: (self.title, self.colour)}
        return own | {
            f"{self.name}_{variant.suffix}": (f"{self.title} {variant.title}", variant.colour)
            for variant in self.variants
        }


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "ganimation_age",
            "GANimation-age",
            ("age", "action_units"),
            part="ganimation_age",
            colour="#4a8f4d",
            edit=later("ganimation_age", "edit"),
            network=later("ganimation_age", "network", own_prototypes=False),
            trained_as="generator",
        ),
        Method(
            "ganimation",
            "GANimation",
            ("action_units",),
            part="ganimation",
            colour="#9c6b30",
            edit=later("ganimation", "edit"),
            network=later("ganimation", "Generator"),
            reads=False,
            shipped=False,
            trained_as="generator",
        ),
        Method(
            "agetransgan",
            "AgeTransGAN",
            ("age",),
            part="agetransgan",
            colour="#2a6fb0",
            edit=later("agetransgan", "edit"),
            network=later("agetransgan", "Generator", own_prototypes=False),
            variants=(
                Variant("mi", "with MI", "#0b3d6b"),
                Variant("mi_turned", "with MI, turned faces among those it learnt from", "#5fa8c9"),
            ),
        ),
        Method(
            "ragan",
            "Re-Aging GAN",
            ("age",),
            part="ragan",
            colour="#e08a5c",
            edit=later("ragan", "edit"),
            network=later("ragan", "Generator", own_prototypes=False),
            variants=(Variant("mi", "with MI", "#a83f17"),),
        ),
        Method(
            "ganimation_age_published",
            "GANimation-age as published",
            ("age", "action_units"),
            part="ganimation_age_published",
            colour="#8a6fae",
            edit=later("ganimation_age_published", "edit"),
            network=later("ganimation_age_published", "Generator"),
            reads=False,
            shipped=False,
            trained_as="generator",
        ),
    )
}
"""Name -> row, the default method first."""

PROTOTYPES = "prototypes"
"""The part with the mean change of each age and action unit, on which most methods draw."""
REENACTMENT = "dual_generator"
"""The part that moves a face like another; it takes a driving face instead of an age or action units."""
REENACTMENT_LABEL = "Dual generator (reenactment)"
IDENTITY = "identity"
"""The part that tells who somebody is. Weights without it, as all were once, leave that to a head of the readers."""
ATTRIBUTES = "attributes"
"""The part that reads age and action units. Weights without it leave that to heads of the readers, too."""
E_A = "aifd"
"""The part that tells who somebody is apart from how old, which the MI loss asks in training. No edit needs it."""


_BEFORE = {
    "detector": Part("a face detector", later("detector", "FaceDetector")),
    "readers": Part("readers that measure a face", later("readers", "Readers")),
    "head": Part("a 3-D head", later("head", "HeadModel")),
    PROTOTYPES: Part("prototypes of ages and expressions", later("prototypes", "measured_prototypes")),
}
_AFTER = {
    REENACTMENT: Part(
        "a dual generator that moves a face like another",
        later("dual_generator", "DualGenerator"),
        borrows=("head",),
    ),
    IDENTITY: Part("a reader of identity", later("aligned.identity", "IdentityReader")),
    ATTRIBUTES: Part("a reader of age and action units", later("aligned.attributes", "AttributeReader")),
    E_A: Part(
        "AIFD, the identity encoder E_A of the MI loss",
        later("aligned.aifd", "AIFD"),
        borrows=(IDENTITY,),
        brings=(IDENTITY,),
    ),
}


def parts() -> dict[str, Part]:
    """Every part that weights may hold, by its name, in the order in which a model builds them."""
    networks = {
        row.part: Part(
            f"the generator {row.title}",
            row.network,
            brings=(PROTOTYPES,) if row.reads else (),
            shipped=row.shipped,
        )
        for row in METHODS.values()
    }
    return _BEFORE | networks | _AFTER


def how_to_get(part: str) -> str:
    """What MissingModel adds for a part that no model has unless it is named: where its weights come from."""
    rows = [row for row in METHODS.values() if row.part == part and not row.shipped]
    if not rows:
        return ""
    name = rows[0].name
    recipe = f"training/recipes/{name}.toml"
    return f"; they are not shipped: train {recipe}, then training/pack.py --{rows[0].packed_as} RUN/light --out FOLDER"


def shipped() -> tuple[str, ...]:
    """The parts of a model for which none are named."""
    return tuple(name for name, part in parts().items() if part.shipped)


def with_companions(names: Iterable[str]) -> tuple[str, ...]:
    """Known names of parts and of those that they bring along, each once, in the order of `parts()`."""
    known = parts()
    given = set(names)
    return tuple(name for name in known if name in given.union(*(known[one].brings for one in given)))


def method_called(words: str) -> str:
    """The name of the method that is called so: `AgeTransGAN`, `Re-Aging GAN` and `GANIMATION-AGE` -> `agetransgan`,
    `ragan` and `ganimation_age`. Words that no method has stay as they are."""
    names = {_letters(word): row.name for row in METHODS.values() for word in (row.title, row.name)}
    return names.get(_letters(words), words)


def _letters(words: str) -> str:
    return "".join(letter for letter in str(words).lower() if letter.isalnum())


def methods_that_edit(*asked: str) -> tuple[str, ...]:
    """The methods that can change all of what is asked: any of "age", "action_units"."""
    return tuple(name for name, row in METHODS.items() if set(asked) <= set(row.edits))


def label(name: str) -> str:
    """What a user reads for a method, or for the reenactment; a name that is unknown stays as it is."""
    return REENACTMENT_LABEL if name == REENACTMENT else METHODS[name].label if name in METHODS else name


def table1_rows() -> dict[str, str]:
    """Rows of Table I -> the method that edits; systems that edit ages alone come first."""
    able = sorted((row for row in METHODS.values() if "age" in row.edits), key=lambda row: len(row.edits))
    return {name: row.name for row in able for name in row.rows}


def row_titles() -> dict[str, tuple[str, str]]:
    """Rows of results -> title and colour, those of Table I in its order."""
    return {name: METHODS[method].rows[name] for name, method in table1_rows().items()}
