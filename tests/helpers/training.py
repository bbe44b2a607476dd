"""What the tests of training share: a labelled face folder, a run of tiny readers, a recipe file and a command line."""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ganime_age.learning.data.faces import Faces
from ganime_age.learning.engine.loop import Run
from ganime_age.learning.engine.task import Plan
from ganime_age.learning.tasks import readers as readers_task
from helpers.tiny import READERS

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "training" / "train.py"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def side_by_side(command: list[str], **environment: str) -> list[subprocess.Popen]:
    """Two processes that share a command's work, started as torchrun starts them, without one that watches them."""
    port = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(20_000 + os.getpid() % 20_000)}
    own = ({"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"} for rank in ("0", "1"))
    return [
        subprocess.Popen(
            command, env=ENVIRONMENT | port | one | environment, stderr=subprocess.PIPE, text=True
        )
        for one in own
    ]


def rows(count: int) -> pd.DataFrame:
    chance = np.random.default_rng(0)
    landmarks = [np.clip(chance.normal(0.5, 0.15, 136), 0, 1).astype(np.float32) for _ in range(count)]
    teacher = chance.normal(size=(count, 128)).astype(np.float32)
    return pd.DataFrame(
        {
            "id": [f"face{i}" for i in range(count)],
            "file": [f"faces-00.tar/face{i}.webp" for i in range(count)],
            "split": ["train"] * (count - 8) + ["val"] * 4 + ["test"] * 4,
            "age": [None if i % 5 == 4 else float(chance.integers(1, 90)) for i in range(count)],
            "identity": [f"person{i % 3}" if i % 2 else None for i in range(count)],
            "action_units": [chance.uniform(0, 5, 17).astype(np.float32) for _ in range(count)],
            "landmarks": landmarks,
            "teacher_identity": list(teacher / np.linalg.norm(teacher, axis=1, keepdims=True)),
            "yaw": chance.normal(0, 10, count),
            "pitch": chance.normal(0, 10, count),
            "roll": 0.0,
            "source": ["utkface" if i % 2 else "ffhq" for i in range(count)],
        }
    )


def picture(i: int) -> bytes:
    pixels = np.random.default_rng(i).integers(0, 255, (8, 8, 4), np.uint8)
    pixels[..., 3] = 255
    if i % 3 == 0:
        pixels[:2, :, 3] = 0
    out = io.BytesIO()
    Image.fromarray(pixels).resize((64, 64), Image.NEAREST).save(out, "webp", lossless=True)
    return out.getvalue()


def write_faces(path: Path) -> Path:
    """A face folder with one shard of 24 pictures."""
    table = rows(24)
    with tarfile.open(path / "faces-00.tar", "w") as shard:
        for i in range(len(table)):
            member = tarfile.TarInfo(f"face{i}.webp")
            content = picture(i)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
    table.to_parquet(path / "manifest.parquet")
    return path


def readers_run(folder, out, steps, attack=0.0):
    """Tiny readers before their first step."""
    recipe = readers_task.Recipe(batch=8, network=READERS, attack_radius=attack)
    plan = Plan(steps=steps, warmup=1, schedule="constant", save_every=2, log_every=1)
    torch.manual_seed(0)
    return Run(readers_task.build(recipe, Faces(folder, 32), 0), plan, out)


def recipe(place: Path, steps: int, **changes) -> Path:
    """A recipe of tiny readers whose learning rate does not depend on the number of steps."""
    run = {"steps": steps, "warmup": 1, "schedule": "constant", "log_every": 1} | changes
    lines = ['task = "readers"', "size = 32", "[run]", *(f"{k} = {json.dumps(v)}" for k, v in run.items())]
    lines += ["[recipe]", "batch = 4", "[recipe.network]", *(f"{k} = {v}" for k, v in READERS.items())]
    path = place / "recipe.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def order(faces: Path, out: Path, recipe: Path, *more: str) -> list[str]:
    return ["--recipe", str(recipe), "--faces", str(faces), "--out", str(out), "--tracker", "none", *more]


def write_people(path: Path, count: int = 48) -> Path:
    """A face folder that every recipe can be tried on: noise for pictures, landmarks of heads in the middle of their
    frames, three people, all labels, an eighth of the faces in the split val."""
    from ganime_age.learning.tasks.frozen import load_head
    from ganime_age.networks.head import Head

    head, chance = load_head(""), torch.Generator().manual_seed(0)
    shapes = (0.5 * torch.randn(count, len(b), generator=chance) for b in (head.identity, head.expression))
    pose = 15 * torch.randn(count, 3, generator=chance) * torch.tensor([1.0, 0.5, 0.1])
    placed = torch.full((count,), 0.56), torch.full((count, 2), 0.5)
    landmarks = head.landmarks(Head(*shapes, pose, *placed)).flatten(1).numpy()
    table = rows(count)
    table["file"] = [f"{name}.webp" for name in table["id"]]
    table["split"] = ["val" if i % 8 == 7 else "train" for i in range(count)]
    table["identity"] = [f"person{i % 3}" for i in range(count)]
    table["landmarks"] = list(landmarks)
    table["yaw"], table["pitch"], table["roll"] = pose.T.numpy()
    path.mkdir(parents=True, exist_ok=True)
    for i, file in enumerate(table["file"]):
        (path / file).write_bytes(picture(i))
    table.to_parquet(path / "manifest.parquet")
    return path
