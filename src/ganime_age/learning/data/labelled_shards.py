"""A folder of aligned, labelled shards as a face folder: its labels in our columns, links instead of copies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from ...atomic import replacing
from ...edits import AGE_GROUPS, age_group
from ...errors import BadInput
from ..external.mediapipe_face import action_units_from_blendshapes

OPTIONAL = ("age_low", "age_high", "race")
"""Columns of labels that a manifest takes over where a set has them, such as FairFace's age ranges."""


def link_shards(shards: Path, out: Path, photos: Path | None = None) -> int:
    """Write `manifest.parquet` and links to the shards into `out`; returns how many faces they hold.

    shards: holds `*.tar` of aligned faces, `labels.parquet` (id, shard, source, split, age, identity, yaw, pitch,
    roll, gender; cluster and OPTIONAL where known), `arrays.npz` (landmarks68, blendshapes, teacher_identity in the
    same order) and `blendshape_names.json`.
    photos: see hold_out. BadInput names what is missing.
    """
    table = manifest(shards)
    if photos:
        labels = pd.read_parquet(shards / "labels.parquet")
        table = hold_out(table, labels["source"] + "_" + labels["source_name"], photos)
    out.mkdir(parents=True, exist_ok=True)
    for shard in sorted({file.split("/")[0] for file in table["file"]}):
        link = out / shard
        link.unlink(missing_ok=True)
        link.symlink_to((shards / shard).resolve())
    with replacing(out / "manifest.parquet") as part:
        table.to_parquet(part, row_group_size=4096)
    return len(table)


def manifest(shards: Path) -> pd.DataFrame:
    """The manifest's table (see ganime_age.learning.data) of a folder of labelled shards."""
    for name in ("labels.parquet", "arrays.npz", "blendshape_names.json"):
        if not (shards / name).is_file():
            raise BadInput(f"{shards / name} is missing; give the folder that holds the labelled shards")
    labels, arrays = pd.read_parquet(shards / "labels.parquet"), np.load(shards / "arrays.npz")
    if not (arrays["id"] == labels["id"].to_numpy(str)).all():
        raise BadInput(
            f"{shards / 'arrays.npz'} and labels.parquet do not list the same faces in the same order"
        )
    names = json.loads((shards / "blendshape_names.json").read_text())
    table = labels[["id", "split", "age", "identity", "yaw", "pitch", "roll", "source", "gender"]].copy()
    table["cluster"] = labels["cluster"] if "cluster" in labels else labels["id"]  # else each face is alone
    for column in OPTIONAL:
        if column in labels:
            table[column] = labels[column]
    table["file"] = labels["shard"] + "/" + labels["id"] + ".webp"
    table["age_group"] = [
        None if np.isnan(a) else AGE_GROUPS[age_group(a)] for a in labels["age"].to_numpy(float)
    ]
    table["action_units"] = list(action_units_from_blendshapes(arrays["blendshapes"], names))
    table["au_source"] = "mediapipe"
    table["landmarks"] = list(arrays["landmarks68"].astype(np.float32).reshape(len(table), -1))
    table["teacher_identity"] = list(arrays["teacher_identity"].astype(np.float32))
    return table


def hold_out(table: pd.DataFrame, names: pd.Series, photos: Path) -> pd.DataFrame:
    """The table with every cluster that shows in one of the photos in the test split. names: SOURCE_NAME a row."""
    shown = {path.stem for path in photos.iterdir()} if photos.is_dir() else set()
    if not shown:
        raise BadInput(f"{photos} holds no photos to hold out")
    clusters = set(table["cluster"][names.map(lambda name: Path(name).stem in shown)])
    table.loc[table["cluster"].isin(clusters), "split"] = "test"
    return table
