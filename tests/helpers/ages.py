"""What the tests of the age methods share: a face folder and the light copies that training reads."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ganime_age.learning.engine.checkpoints import write_light
from ganime_age.model.model import GanimeAge
from ganime_age.networks.judging.age_judge import AgeJudge
from ganime_age.networks.prototypes import Prototypes
from ganime_age.networks.readers import Readers
from helpers.tiny import READERS, TINY

JUDGE = {"size": 64, "widths": [8, 8, 8]}


def without_gradient(network: torch.nn.Module) -> list[str]:
    """Parameters that are to learn and got no gradient."""
    learning = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    return [name for name, p in learning if p.grad is None or not p.grad.abs().sum()]


def tiny_readers() -> dict[str, object]:
    """Keywords of GanimeAge for READERS."""
    return {"readers": READERS}


def aifd_folder(path: Path) -> str:
    """Weights with an untrained AIFD, which the MI loss may ask."""
    torch.manual_seed(1)
    GanimeAge(("identity", "aifd"), 64, identity=TINY["identity"]).save_pretrained(path)
    return str(path)


def face_folder(path: Path, ages: bool = True, identities: bool = False) -> Path:
    """12 training faces of 64 px and three to look at, of two sources; identities: with names and embeddings."""
    path.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(0)
    for i in range(15):
        pixels = chance.integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(path / f"{i}.png")
    table = pd.DataFrame({"id": range(15), "file": [f"{i}.png" for i in range(15)]})
    table["split"] = ["train"] * 12 + ["val"] * 3
    table["age"] = chance.uniform(1, 90, 15) if ages else np.nan
    table["source"] = ["guessed", "known", "guessed"] * 5
    table["landmarks"] = [chance.uniform(0.3, 0.7, 136).astype(np.float32) for _ in range(15)]
    table["yaw"] = table["pitch"] = table["roll"] = 0.0
    if identities:
        table["identity"] = [f"person {i % 4}" for i in range(15)]
        table["teacher_identity"] = [one / np.linalg.norm(one) for one in chance.normal(size=(15, 128))]
    table.to_parquet(path / "manifest.parquet")
    return path


def light_copies(path: Path) -> dict[str, str]:
    """Folders of untrained readers, prototypes that move every face, and an age judge, by the recipe's keywords."""
    torch.manual_seed(0)
    prototypes = Prototypes()
    prototypes.age_tone.normal_(std=0.3)
    prototypes.region.fill_(1.0)
    networks = {"readers": Readers(**READERS), "prototypes": prototypes, "age_judge": AgeJudge(**JUDGE)}
    configs = {"readers": READERS, "prototypes": {}, "age_judge": JUDGE}
    path.mkdir(parents=True, exist_ok=True)
    write_light(networks, configs, path)
    return {"readers": str(path), "prototypes": str(path), "judge": str(path)}
