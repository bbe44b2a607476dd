"""Who judges an edit: a judge a kind, by name. A judge takes no part in training what it measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from ...errors import BadInput, MissingModel
from ...model.model import GanimeAge
from ..engine.devices import device_of
from ..external.insightface_models import pack_judges
from ..external.onnx_models import AgeNetwork, Blendshapes, HairNetwork, OnnxIdentity, OwnReaders

Judge = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Pictures (B,S,S,3) uint8 RGB in the FFHQ frame, the source's landmarks (B,68,2) in 0..1 -> its findings; has a
`name`. An age judge may have `features` of the same form."""

FILES: dict[str, tuple[str, Callable[[Path, str], Judge]]] = {
    "identity": ("face_reid_0095.onnx", OnnxIdentity),
    "expression": ("face_landmarker.task", Blendshapes),
    "hair": ("hair_prismanet_256.onnx", HairNetwork),
}
READINGS = {"identity": "identity", "age": "age", "expression": "action_units"}
"""What the package's own readers can judge, and the reading that does it."""


@dataclass
class Judges:
    """One judge a kind, or None where that is not measured.

    identity: (B,D) unit length. age: (B,) years. expression: (B,17) intensities 0..5, NaN where not seen. hair: (B,S,S)
    bool.
    """

    identity: Judge | None = None
    age: Judge | None = None
    expression: Judge | None = None
    hair: Judge | None = None

    def names(self) -> dict[str, str]:
        """Who judges what."""
        return {kind: getattr(self, kind).name for kind in KINDS if getattr(self, kind)}


KINDS = tuple(field.name for field in fields(Judges))


@dataclass
class Places:
    """Where the named judges' files are, and where those that are PyTorch networks compute: where the model is.
    models: --models. age_judge: the folder of the trained age judge."""

    model: GanimeAge
    models: Path | None
    age_judge: Path

    @property
    def device(self) -> torch.device:
        return device_of(self.model)


def call(named: str, places: Places) -> Judges:
    """Judges from a comma-separated list of `JUDGE` (all kinds that it can do) and `KIND=JUDGE`; later ones win.

    JUDGE is `default`, `readers`, `insightface:PACK`, `onnx:FILE` (identity) or `folder:DIR` (a trained age judge). A
    kind that the list does not name is not measured. BadInput names what cannot be read, MissingModel the file.
    """
    chosen: dict[str, Judge] = {}
    for item in filter(None, (part.strip() for part in reversed(named.split(",")))):
        kinds, judge = asked_of(item)
        wanted = tuple(kind for kind in kinds if kind not in chosen)
        able = one(judge, wanted, places)
        if len(wanted) == 1 and kinds == wanted and not able:
            raise BadInput(f"--judges {item}: {judge} cannot judge {wanted[0]}")
        chosen |= able
    if not chosen:
        raise BadInput("--judges names no judge; leave it out for the default ones")
    return Judges(**chosen)


def asked_of(item: str) -> tuple[tuple[str, ...], str]:
    """`age=readers` -> the one kind, and the judge's name; `readers` -> all kinds, and the name."""
    kind, equals, judge = item.partition("=")
    if not equals or ":" in kind:  # an equals sign in a path
        return KINDS, item
    if kind not in KINDS:
        raise BadInput(f"--judges {item}: {kind!r} is no kind of judge; choose from {', '.join(KINDS)}")
    return (kind,), judge


def one(judge: str, kinds: tuple[str, ...], places: Places) -> dict[str, Judge]:
    """What one named judge can do of the kinds asked."""
    scheme, _, rest = judge.partition(":")
    if judge == "default":
        return {kind: default(kind, places) for kind in kinds}
    if judge == "readers":
        return {kind: OwnReaders(places.model, READINGS[kind]) for kind in kinds if kind in READINGS}
    if scheme == "insightface" and rest:
        return {k: found for k, found in pack_judges(rest, places.models).items() if k in kinds}
    if scheme == "onnx" and rest:
        return {"identity": OnnxIdentity(Path(rest))} if "identity" in kinds else {}
    if scheme == "folder" and rest:
        return {"age": AgeNetwork(Path(rest), places.device)} if "age" in kinds else {}
    raise BadInput(
        f"--judges {judge}: choose default, readers, insightface:PACK, onnx:FILE or folder:DIR of an age judge"
    )


def default(kind: str, places: Places) -> Judge:
    """The project's judge of a kind."""
    if kind == "age":
        return AgeNetwork(places.age_judge, places.device)
    file, build = FILES[kind]
    if places.models is None:
        raise MissingModel(
            f"the default judges need --models FOLDER with {', '.join(f for f, _ in FILES.values())}; "
            "or name others with --judges"
        )
    return build(
        places.models / file, f"give the folder that holds it with --models, or leave {kind} out of --judges"
    )
