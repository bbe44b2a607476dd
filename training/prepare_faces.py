"""Turn photos into a face folder to train from: `python training/prepare_faces.py SOURCE OUT [--kind KIND]`.

SOURCE is one of (--kind auto tells which):

  ffhq      FFHQ's pictures and FFHQ-Aging's CSV of labels (--labels); an age group becomes the age at its middle,
            ages less sure than --label-confidence, and what its authors leave out too, are
            left out; 0 keeps all
  utkface   [age]_[gender]_[race]_[date].jpg(.chip.jpg)
  cacd      [age]_[Name]_[rank].jpg; a name is a person
  celeba    photos, its identity file (--labels) and, with --aus, GANimation's aus.pkl
  openface  photos and OpenFace's CSV files (--aus, or beside the photos): one a photo, or one with a column file
  csv       photos and a table (--labels) with a column file and any of split, identity, gender, source, age,
            age_group, yaw, pitch, roll, AU01 ... AU45
  shards    aligned faces in *.tar with labels.parquet, arrays.npz and blendshape_names.json: these are linked, not
            copied; --hold-out names photos (SOURCE_NAME.jpg) to measure on, whose people move to the test split
  webdataset  aligned faces KEY.webp (png, jpg) with labels KEY.json in tar files, linked: SOURCE is one of these, many
            as faces-{000..009}.tar, or a text file with a path a line

Each photo gives its largest face, aligned to the FFHQ frame; what the photo does not cover is transparent. Action units
come from the set where it has them, else from MediaPipe with --face-landmarker, else from the readers of this package
(column au_source). No person, and no photo twice, is in two splits. Photos that cannot be used are named, counted and
left out; prepared.json counts everything. A run that was stopped goes on when the same command is given again, with any
number of --workers, which look at photos side by side; the faces are the same for any number.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from ganime_age.learning.engine.requirements import need_train  # noqa: E402

need_train()
from ganime_age.errors import BadInput, GanimeAgeError  # noqa: E402
from ganime_age.learning.data.labelled_shards import link_shards  # noqa: E402
from ganime_age.learning.prepare.face_sources import KINDS, kind_of, open_source  # noqa: E402
from ganime_age.learning.prepare.looking import ReaderSettings, side_by_side  # noqa: E402
from ganime_age.learning.prepare.prepare import Settings, check_out, prepare  # noqa: E402
from ganime_age.learning.prepare.shard_list import is_shard_list, link_shard_list  # noqa: E402


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", choices=("auto", *KINDS, "webdataset"), default="auto")
    parser.add_argument(
        "--labels", type=Path, help="FFHQ-Aging's CSV, CelebA's identity file, or a plain CSV"
    )
    parser.add_argument("--aus", type=Path, help="aus.pkl, an OpenFace CSV, or a folder of OpenFace CSVs")
    parser.add_argument(
        "--face-landmarker", type=Path, help="MediaPipe's face_landmarker.task, for action units"
    )
    parser.add_argument(
        "--size", type=int, choices=(128, 256, 512, 1024), default=128, help="side of a face in pixels"
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that look at photos, each with 1 GB of memory or so"
    )
    parser.add_argument("--min-confidence", type=float, default=0.5, help="least score of a found face, 0..1")
    parser.add_argument(
        "--label-confidence",
        type=float,
        default=0.6,
        help="least confidence of a label, 0..1; 0 prunes nothing",
    )
    parser.add_argument("--face", choices=("largest", "central"), default="largest", help="which of several")
    parser.add_argument(
        "--aligned", action="store_true", help="photos are FFHQ frames already; take them whole"
    )
    parser.add_argument("--read-ages", action="store_true", help="read the age where the set has none")
    parser.add_argument("--split", default="0.9/0.05/0.05", help="shares of train/val/test")
    parser.add_argument("--seed", type=int, default=0, help="of the splits")
    parser.add_argument("--format", choices=("webp", "png"), default="webp")
    parser.add_argument("--files", action="store_true", help="plain files instead of tar shards")
    parser.add_argument("--weights", help="a model's folder or Hub name, instead of the embedded one")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--hold-out", type=Path, help="photos to measure on (kind shards)")
    return parser.parse_args()


def settings_of(given: argparse.Namespace) -> Settings:
    try:
        split = tuple(float(share) for share in given.split.split("/"))
    except ValueError:
        raise BadInput(f"cannot read --split {given.split}; write it as 0.9/0.05/0.05") from None
    if given.workers < 1:
        raise BadInput(f"--workers is {given.workers}; it must be at least 1")
    for name in ("min_confidence", "label_confidence"):
        if not 0 <= getattr(given, name) <= 1:
            raise BadInput(f"--{name.replace('_', '-')} {getattr(given, name)} is not within 0..1")
    return Settings(split, given.seed, given.format, not given.files, given.read_ages)


def prepare_photos(given: argparse.Namespace, kind: str) -> str:
    """A raw folder of photos; returns what to tell the user."""
    settings = settings_of(given)
    source = open_source(given.source, kind, given.labels, given.aus, given.label_confidence)
    check_out(given.out, given.source)
    opened = ReaderSettings(
        given.weights,
        given.face_landmarker,
        given.size,
        given.min_confidence,
        given.face,
        given.aligned,
        given.device,
    )
    names = (
        "size",
        "min_confidence",
        "label_confidence",
        "face",
        "aligned",
        "labels",
        "aus",
        "face_landmarker",
        "weights",
    )
    asked = {name: getattr(given, name) for name in names}
    asked = {name: value.name if isinstance(value, Path) else value for name, value in asked.items()}
    with contextlib.ExitStack() as stack:
        reader, looks = stack.enter_context(opened.open()), None
        if given.workers > 1:
            looks = stack.enter_context(side_by_side(given.workers, opened, given.format))
        report = prepare(source, reader, given.out, settings, asked, looks)
    told = [f"{report['faces']} faces of {report['photos']} photos -> {given.out / 'manifest.parquet'}"]
    told += [f"  {count} left out: {why}" for why, count in report["left_out"].items()]
    told += [f"    {named['photo']}: {named['why']}" for named in report["named"]]
    return "\n".join(told)


def main() -> None:
    given = arguments()
    kind = given.kind
    if kind == "auto" and is_shard_list(given.source):
        kind = "webdataset"
    if kind == "auto" and given.source.is_dir():
        kind = kind_of(given.source, None, given.labels, given.aus)
    if kind == "shards":
        count = link_shards(given.source, given.out, given.hold_out)
        print(f"{count} faces -> {given.out / 'manifest.parquet'}")
    elif kind == "webdataset" and not given.hold_out:
        count = link_shard_list(given.source, given.out, settings_of(given))
        print(f"{count} faces -> {given.out / 'manifest.parquet'}")
    elif given.hold_out:
        raise BadInput("--hold-out is for labelled shards; give the shares of the splits with --split")
    else:
        print(prepare_photos(given, kind))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")
    except GanimeAgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
