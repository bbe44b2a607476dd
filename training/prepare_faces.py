"""Turn aligned, labelled shards into a face folder: `python training/prepare_faces.py SHARDS OUT [--hold-out PHOTOS]`.

SHARDS holds `*.tar` of aligned faces, `labels.parquet` (id, shard, source, split, age, identity, yaw, pitch, roll)
and `arrays.npz` (landmarks68, blendshapes, teacher_identity in the same order). OUT gets `manifest.parquet` and links
to the shards. Action units are pseudo-labels: each is a MediaPipe blendshape score (or the mean of the left and right
one) divided by the score that 0.5 % of the faces exceed, times 5, so that 5 means as strong as one sees it.
`--hold-out` names a folder of photos (`SOURCE_NAME.jpg`) to measure on: their faces, and all of the same clusters, move
to the test split.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from ganime_age.edits import AGE_GROUPS, AU_CODES, age_group  # noqa: E402
from ganime_age.errors import BadInput  # noqa: E402
from ganime_age.learning.blendshapes import action_units_from_blendshapes  # noqa: E402


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
    table = labels[
        ["id", "split", "age", "identity", "yaw", "pitch", "roll", "source", "gender", "cluster"]
    ].copy()
    table["file"] = labels["shard"] + "/" + labels["id"] + ".webp"
    table["age_group"] = [
        None if np.isnan(a) else AGE_GROUPS[age_group(a)] for a in labels["age"].to_numpy(float)
    ]
    table["action_units"] = list(action_units_from_blendshapes(arrays["blendshapes"], names))
    table["landmarks"] = list(arrays["landmarks68"].astype(np.float32).reshape(len(table), -1))
    table["teacher_identity"] = list(arrays["teacher_identity"].astype(np.float32))
    return table


def hold_out(table: pd.DataFrame, names: pd.Series, photos: Path) -> pd.DataFrame:
    """The table with every cluster that shows in one of the photos in the test split. names: SOURCE_NAME a row."""
    shown = {path.stem for path in photos.iterdir()}
    if not shown:
        raise BadInput(f"{photos} holds no photos to hold out")
    clusters = set(table["cluster"][names.map(lambda name: Path(name).stem in shown)])
    table.loc[table["cluster"].isin(clusters), "split"] = "test"
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shards", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--hold-out", type=Path)
    given = parser.parse_args()
    table = manifest(given.shards)
    if given.hold_out:
        labels = pd.read_parquet(given.shards / "labels.parquet")
        table = hold_out(table, labels["source"] + "_" + labels["source_name"], given.hold_out)
    given.out.mkdir(parents=True, exist_ok=True)
    for shard in sorted({file.split("/")[0] for file in table["file"]}):
        link = given.out / shard
        link.unlink(missing_ok=True)
        link.symlink_to((given.shards / shard).resolve())
    table.to_parquet(given.out / "manifest.parquet")
    print(f"{len(table)} faces, {len(AU_CODES)} action units -> {given.out / 'manifest.parquet'}")


if __name__ == "__main__":
    try:
        main()
    except BadInput as error:
        sys.exit(f"error: {error}")
