"""REPORT.md, figures and a contact sheet beside a multi-pose set, from its manifest and report.json alone."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from ...atomic import replacing
from ...edits import AGE_GROUPS
from ..data.manifest import Manifest
from ..data.picture_cache import read_pictures
from .gates import PoseCurve

TILE = 128
PAPER, INK, GREY = "#ffffff", "#1d1d1f", "#6e6e73"
SHORT = [
    "id", "file", "split", "source_id", "source_set", "age", "age_group", "identity", "side", "attempt", "reason",
    "cell_yaw", "cell_pitch", "target_yaw", "target_pitch", "yaw", "pitch", "identity_cosine", "read_age",
    "source_read_age",
]  # fmt: skip


def write_report(out: Path) -> None:
    """REPORT.md and figures/ of a set that `multipose.gather` put together."""
    report = json.loads((out / "report.json").read_text())
    images, rejected = read_tries(out)
    figures = out / "figures"
    figures.mkdir(exist_ok=True)
    by_yaw = per_yaw(images)
    cosine = {f"{yaw:+g}": row["identity cosine"] for yaw, row in by_yaw.iterrows()}
    drift = {f"{yaw:+g}": row["age drift"] for yaw, row in by_yaw.iterrows()}
    bars("identity cosine to the source, mean by target yaw in degrees", cosine).save(
        figures / "identity.png"
    )
    bars("read age minus the source's, mean years by target yaw in degrees", drift).save(
        figures / "age_drift.png"
    )
    contact_sheet(out, images).save(figures / "contact_sheet.jpg", quality=90)
    with replacing(out / "REPORT.md") as part:
        part.write_text(_text(report, images, rejected, by_yaw))


def read_tries(out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images of a set and the tries that were rejected, without their long columns."""
    paths = (out / "manifest.parquet", out / ".parts" / "rejected.parquet")
    images, rejected = (pq.read_table(path, columns=SHORT).to_pandas() for path in paths)
    return images, rejected


def per_yaw(images: pd.DataFrame) -> pd.DataFrame:
    """A row a target yaw: count and means of the identity cosine, the age drift (estimate minus the source's), the age
    error (estimate minus the label) and the errors of the measured yaw and pitch."""
    columns = {
        "images": images["id"],
        "identity cosine": images["identity_cosine"],
        "age drift": images["read_age"] - images["source_read_age"],
        "age error": images["read_age"] - images["age"],
        "yaw error": (images["yaw"] - images["target_yaw"]).abs(),
        "pitch error": (images["pitch"] - images["target_pitch"]).abs(),
    }
    grouped = pd.DataFrame(columns).groupby(images["cell_yaw"])
    return grouped.agg({name: "size" if name == "images" else "mean" for name in columns})


def _text(report: dict[str, Any], images: pd.DataFrame, rejected: pd.DataFrame, by_yaw: pd.DataFrame) -> str:
    tries = pd.concat([images, rejected])
    return "\n\n".join(
        [
            "# Multi-pose faces",
            _what_it_is(report, images),
            "## Images by age group and target yaw",
            _counted(images),
            "## By target yaw",
            *_seen_by_yaw(by_yaw, tries),
            "## Rejected",
            *_turned_away(report, tries),
            _pose_words(report["pose_curves"]),
            "## Contact sheet",
            "A pair is a source and what was made of it; a row an age group, from left to right the target yaw.",
            "![contact sheet](figures/contact_sheet.jpg)",
            "## Made by",
            _made_by(report),
        ]
    )


def _what_it_is(report: dict[str, Any], images: pd.DataFrame) -> str:
    tests = (images["split"] == "test").mean()
    people = images.groupby("split")["identity"].nunique()
    return (
        f"{report['images']:,} images of {report['asked']:,} asked for"
        f"{'' if report['complete'] else ' (not finished; the same command goes on)'}, made by the "
        f"{report['settings']['backend']} backend from {images['source_id'].nunique():,} photos of "
        f"{images['identity'].nunique():,} people. {tests:.1%} are the test split; no person is in both splits "
        f"({', '.join(f'{n:,} in {split}' for split, n in people.items())}). "
        f"{_sides(images)}. Research data: as free as its sources, "
        "never part of a repository."
    )


def _sides(images: pd.DataFrame) -> str:
    """`60 % are 256 px, 40 % are 128 px`, the largest first."""
    shares = images["side"].value_counts(normalize=True).sort_index(ascending=False)
    return ", ".join(f"{share:.0%} are {side} px" for side, share in shares.items())


def _counted(images: pd.DataFrame) -> str:
    counts = pd.crosstab(images["age_group"], images["cell_yaw"]).reindex(AGE_GROUPS, fill_value=0)
    counts.columns = [f"{yaw:+g}" for yaw in counts.columns]
    counts["all"] = counts.sum(axis=1)
    rows = zip(counts.index, counts.to_numpy(), strict=True)
    return _table({group: list(map(str, row)) for group, row in rows}, list(counts))


def _seen_by_yaw(by_yaw: pd.DataFrame, tries: pd.DataFrame) -> list[str]:
    rows = {
        f"{yaw:+g}": [f"{row['images']:.0f}", *(f"{row[name]:.2f}" for name in by_yaw.columns[1:])]
        for yaw, row in by_yaw.iterrows()
    }
    return [
        _table(rows, list(by_yaw.columns)),
        "Identity cosine, age and pose by the package's own frozen readers. Age drift: estimate on the image minus "
        "estimate on its source, in years; age error: minus the label. Both are of images that passed the gates; "
        f"over all {len(tries):,} tries the drift is {_by(tries, drift_of)} years, the identity cosine "
        f"{_by(tries, lambda of: of['identity_cosine'])}.",
        "![identity](figures/identity.png)\n![age drift](figures/age_drift.png)",
    ]


def _turned_away(report: dict[str, Any], tries: pd.DataFrame) -> list[str]:
    share = 1 - report["images"] / max(report["tries"], 1)
    rows = {
        f"{yaw:+g}": [f"{of.notna().mean():.1%}", *(f"{(of == why).mean():.1%}" for why in REJECTS)]
        for yaw, of in tries.groupby("cell_yaw")["reason"]
    }
    return [
        f"{report['tries'] - report['images']:,} of {report['tries']:,} tries ({share:.1%}) by the first gate that "
        "each failed, and sources given up on: "
        + ", ".join(f"{why} {count:,}" for why, count in report["rejected"].items())
        + f". {max(report['asked'] - report['images'], 0):,} images stayed unmade because the faces gave no "
        "further try. What no source gave in one pose was made in the nearest one. "
        "Gates: " + ", ".join(f"{name} {value:g}" for name, value in report["gates"].items()) + ".",
        _table(rows, ["rejected", *REJECTS]),
    ]


def _made_by(report: dict[str, Any]) -> str:
    settings = report["settings"]
    return (
        f"Seed {settings['wanted']['seed']}; {1 / max(report['images_per_second'], 1e-9):.3f} s an image "
        f"({report['images_per_second']:.1f} images/s with {' or '.join(map(str, report['processes']))} processes, "
        f"rejected tries included). Versions: {_pairs(settings['versions'])}; weights: {settings['weights']}. "
        f"Sources: {settings['sources']['usable']:,} of {settings['sources']['faces']:,} faces could be turned; "
        f"left out: {_pairs(settings['sources']['left out'])}.\n"
    )


REJECTS = ("identity", "age", "no face", "pose")


def drift_of(tries: pd.DataFrame) -> pd.Series:
    return tries["read_age"] - tries["source_read_age"]


def _by(tries: pd.DataFrame, value: Callable[[pd.DataFrame], pd.Series]) -> str:
    means = value(tries).groupby(tries["cell_yaw"]).mean()
    return ", ".join(f"{mean:.2f} at {yaw:+g}" for yaw, mean in means.items())


def _pairs(named: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in named.items())


def _pose_words(curves: dict[str, Any]) -> str:
    words = (
        "Measured pose: the mean of two, the source's labelled pose plus the change that the readers see, and the head "
        "fitted to the finder's landmarks"
    )
    if not curves["readers"]["faces"]:
        return f"{words}, taken as they say it: the folder has too few turned faces to calibrate them."
    poses = np.array([[15, 0], [30, 0], [45, 0], [0, 15], [45, 15]])
    told = []
    for name, curve in curves.items():
        said = PoseCurve(**curve).said(poses)
        yaws = ", ".join(f"{yaw:.0f} for {pose[0]}" for yaw, pose in zip(said[:3, 0], poses[:3], strict=True))
        told.append(
            f"{name} ({curve['faces']:,} faces): a yaw of {yaws}; a pitch of {said[3, 1]:.0f} for 15 on a straight "
            f"face, {said[4, 1]:.0f} on one turned by 45 degrees"
        )
    return (
        f"{words}, by their mean answers to real faces that the readers never learnt from, which lie towards the "
        "middle. "
        f"{'. '.join(told)}. An image that is read as faces in the target pose are has that pose."
    )


def _table(rows: dict[str, list[str]], columns: list[str]) -> str:
    lines = [["", *map(str, columns)], ["---"] * (len(columns) + 1)]
    lines += [[name, *values] for name, values in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bars(title: str, values: dict[str, float]) -> Image.Image:
    """A bar chart, RGB: a bar a name, its value on it; zero is the ground line."""
    width, height, left = 110 * max(len(values), 5) + 40, 360, 30
    low, high = min(0.0, *values.values()), max(0.0, *values.values(), 1e-6)
    scale = 190 / max(high - low, 1e-6)
    ground = round(100 + high * scale)
    chart = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(chart)
    draw.text((left, 18), title, INK, ImageFont.load_default(17))
    for i, (name, value) in enumerate(values.items()):
        x, top = left + i * 110, round(ground - value * scale)
        draw.rectangle((x, min(top, ground), x + 70, max(top, ground)), "#4a6fa5")
        above = min(top, ground) - 24 if value >= 0 else max(top, ground) + 4
        draw.text((x + 35, above), f"{value:.2f}", INK, ImageFont.load_default(16), anchor="ma")
        draw.text((x + 35, height - 32), name, GREY, ImageFont.load_default(16), anchor="ma")
    draw.line((left - 8, ground, width - 20, ground), GREY)
    return chart


def contact_sheet(out: Path, images: pd.DataFrame) -> Image.Image:
    """A row an age group, for each target yaw a pair: source and image. RGB."""
    first = images.drop_duplicates(["age_group", "cell_yaw"])
    yaws, groups = (
        sorted(first["cell_yaw"].unique()),
        [g for g in AGE_GROUPS if (first["age_group"] == g).any()],
    )
    pairs = (
        _pictures(out, first["file"]),
        _pictures(_faces_folder(out), _source_files(out, first["source_id"])),
    )
    label, gap = 70, 10
    size = label + len(yaws) * (2 * TILE + gap), 40 + len(groups) * (TILE + gap)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, yaw in enumerate(yaws):
        draw.text(
            (label + i * (2 * TILE + gap) + TILE, 10),
            f"{yaw:+g}°",
            INK,
            ImageFont.load_default(18),
            anchor="ma",
        )
    for j, group in enumerate(groups):
        draw.text((8, 40 + j * (TILE + gap) + TILE // 2), group, INK, ImageFont.load_default(18))
    for at, (group, yaw) in enumerate(zip(first["age_group"], first["cell_yaw"], strict=True)):
        x, y = label + yaws.index(yaw) * (2 * TILE + gap), 40 + groups.index(group) * (TILE + gap)
        for k, pictures in enumerate(reversed(pairs)):
            if at in pictures:
                sheet.paste(pictures[at], (x + k * TILE, y))
    return sheet


def _pictures(folder: Path, files: pd.Series) -> dict[int, Image.Image]:
    """The pictures of a folder that can be read, by their place in `files`."""
    found = {}
    for at, content in read_pictures(folder, files):
        if isinstance(content, bytes):
            found[at] = (
                Image.open(io.BytesIO(content)).convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS)
            )
    return found


def _faces_folder(out: Path) -> Path:
    return Path((out / ".parts" / "faces").read_text())


def _source_files(out: Path, ids: pd.Series) -> pd.Series:
    table = Manifest(_faces_folder(out)).table()
    return ids.map(table.drop_duplicates("id").set_index("id")["file"]).reset_index(drop=True)
