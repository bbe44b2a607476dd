"""Who estimates ages: the package's readers, an InsightFace pack, or an image classifier whose labels are ages.

An estimator is called with pictures (B,S,S,3) uint8 RGB in the FFHQ frame and their landmarks (B,68,2) in 0..1 of the
frame; it gives the age and its spread (standard deviation) in years, (B,) each, NaN where it cannot tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ...errors import MissingModel
from ...images.tensors import to_tensor
from ...model.methods import ATTRIBUTES
from ...model.model import GanimeAge
from ...networks.aligned.attributes import AttributeReader
from ...networks.readers import Readers
from ...runtime import checked_device
from ..engine.checkpoints import load_light
from ..external.insightface_models import pack_judges
from .face_sources import OLDEST_GROUP_AGE

OLDEST = 120
OPEN_WIDTH = 2 * (OLDEST_GROUP_AGE - 70)  # years that an open last group such as "70+" is taken to span
VIEWS = (0.94, 1.0, 1.06)  # sizes at which a pack is shown each face
SHIPPED = "readers"


class Estimator(Protocol):
    name: str

    def __call__(self, pictures: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


def estimator_of(named: str, models: Path | None = None, device: str = "cpu") -> Estimator:
    """The estimator called `readers`, `insightface:PACK` or `hf:MODEL`, or the readers of a folder of weights.

    models: where `models/PACK` is. MissingModel when it, or a package it needs, is not there or gives no ages.
    """
    scheme, _, rest = named.partition(":")
    if scheme == "insightface" and rest:
        return PackAges(rest, models)
    if scheme == "hf" and rest:
        return LabelAges(rest, device)
    return ReaderAges(named, device)


def stored_readers(named: str) -> tuple[Readers, dict[str, Any]]:
    """Readers in eval mode and what they are built from: `readers` are the shipped ones, else a folder of weights, the
    `light` folder of a training run, or a repository of the Hub. BadInput or MissingModel says why there are none."""
    if (Path(named) / "readers.json").is_file():
        light = load_light(Readers, named, "readers")
        return light, light_config(light)
    model = GanimeAge.from_pretrained(None if named == SHIPPED else named, parts=("readers",))
    return model.readers, light_config(model.readers)


def age_model(named: str) -> Readers | GanimeAge:
    """What reads ages as `named`: the shipped weights (`readers`), other weights, a run's light readers, or the shipped
    weights with a run's light reader of attributes."""
    if (Path(named) / "readers.json").is_file():
        return stored_readers(named)[0]
    if (Path(named) / "attributes.json").is_file():
        model = GanimeAge.from_pretrained(parts=("readers", ATTRIBUTES))
        model.attributes = load_light(AttributeReader, named, ATTRIBUTES)
        return model
    return GanimeAge.from_pretrained(None if named == SHIPPED else named)


def light_config(readers: Readers) -> dict[str, Any]:
    """The keywords that build readers of the same form, but for a second look."""
    return {"size": readers.size, "widths": list(readers.widths), "blocks": list(readers.blocks)}


class ReaderAges:
    """Our own reading of an age: mean and standard deviation of a distribution over the years."""

    def __init__(self, named: str = SHIPPED, device: str = "cpu"):
        self.device = checked_device(device)
        self.reader = age_model(named).to(self.device)
        self.name = "ganime_age readers" if named == SHIPPED else f"readers of {Path(named).name}"

    def __call__(self, pictures: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        faces = to_tensor(pictures, self.device)
        reader = self.reader
        read = reader.read(faces, False) if isinstance(reader, GanimeAge) else reader(faces, False)
        return read.age.cpu().numpy(), read.age_spread.cpu().numpy()


class PackAges:
    """The genderage network of an InsightFace pack, which says one number: shown each face at three sizes, it gives
    their mean and standard deviation. Faces without landmarks are not told."""

    def __init__(self, pack: str, root: Path | None = None):
        judge = pack_judges(pack, root).get("age")
        if judge is None:
            raise MissingModel(f"the InsightFace pack {pack} holds no genderage model; name another")
        self.judge, self.name = judge, judge.name

    def __call__(self, pictures: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = np.full((len(VIEWS), len(pictures)), np.nan, np.float32)
        known = ~np.isnan(landmarks).any((1, 2))
        if known.any():
            middle = landmarks[known].mean(1, keepdims=True)
            for view, size in zip(found, VIEWS, strict=True):
                view[known] = self.judge(pictures[known], middle + size * (landmarks[known] - middle))
        return found.mean(0), found.std(0)


class LabelAges:
    """An image classifier of transformers whose labels are ages or age ranges, from a folder or the Hub.

    The age is the expectation over the softmax of the labels' middles, the spread its standard deviation, with the
    width of the ranges in it. It is shown the whole frame. Weights are read as safetensors only.
    """

    def __init__(self, source: str, device: str = "cpu"):
        try:
            from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification
        except ImportError:
            raise MissingModel("transformers is not installed; pip install transformers") from None
        self.device, self.name = checked_device(device), f"hf:{Path(source).name}"
        try:
            labels = AutoConfig.from_pretrained(source).id2label
            self.processor = AutoImageProcessor.from_pretrained(source)  # type: ignore[no-untyped-call]
            network, found = AutoModelForImageClassification.from_pretrained(
                source, use_safetensors=True, output_loading_info=True
            )
        except Exception as error:  # whatever transformers, the Hub or safetensors raise
            why = str(error).strip().partition("\n")[0]
            raise MissingModel(f"{source} cannot be loaded as an image classifier: {why}") from None
        if found["missing_keys"]:
            raise MissingModel(
                f"the weights of {source} lack {min(found['missing_keys'])}; name a whole model"
            )
        ranges = torch.tensor(ages_of(source, [labels[i] for i in range(len(labels))]), device=self.device)
        self.middle, self.variance = ranges.mean(1), (ranges[:, 1] - ranges[:, 0]) ** 2 / 12
        self.network = network.to(self.device).eval()

    def __call__(self, pictures: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shown = self.processor(images=list(pictures), return_tensors="pt").to(self.device)
        chance = self.network(**shown).logits.float().softmax(1)
        age = chance @ self.middle
        variance = (chance * ((self.middle - age[:, None]) ** 2 + self.variance)).sum(1)
        return age.cpu().numpy(), variance.sqrt().cpu().numpy()


def ages_of(source: str, labels: Iterable[str]) -> list[tuple[float, float]]:
    """The range in years of every label; MissingModel when one is no age, or all are the same."""
    named = list(labels)
    ranges = [age_range(label) for label in named]
    strange = [label for label, years in zip(named, ranges, strict=True) if years is None]
    if strange:
        shown = ", ".join(map(repr, strange[:3]))
        raise MissingModel(
            f"{source} has the labels {shown}, which are no ages; name a model that tells ages"
        )
    told = [years for years in ranges if years is not None]
    if len(set(told)) < 2:
        raise MissingModel(f"{source} knows one age only; name a model that tells ages")
    return told


def age_range(label: str) -> tuple[float, float] | None:
    """From when to when a label means, in years, as "20-29" (20, 30), "(25, 32)", "age_4_6", "70+", "more than 70",
    "under 3", "20s" or "7" (7, 7); None when it is no age."""
    text = re.sub(
        r"^\d+\s*[:.)]\s*(?=\D*\d)", "", str(label).strip().lower()
    )  # "03: 20-29" counts its labels
    years = [int(number) for number in re.findall(r"\d+", text)]
    if not 1 <= len(years) <= 2 or max(years) > OLDEST or re.match(r"(label|class)", text):
        return None
    first, last = years[0], years[-1]
    if len(years) == 2:
        return (float(first), last + 1.0) if first <= last else None
    if re.search(r"\+|>|more|over|above|older|plus|\bup\b", text):
        return float(first), first + OPEN_WIDTH
    if re.search(r"<|less|under|below|younger", text):
        return 0.0, float(first)
    return (float(first), first + 10.0) if re.search(r"\ds\b", text) else (float(first), float(first))
