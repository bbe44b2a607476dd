"""Pack a face folder into numbered parts that travel: `python training/pack_faces.py FACES --out PARTS --max-mb 20`.

Every part is a face folder of its own (`PARTS/000`, `PARTS/001`, ...), a fair sample of the whole set with all of its
labels, so any subset of them trains: `training/train.py --faces PARTS/000 PARTS/001 ...`, or `--faces PARTS` for all
that are there. `--side` shrinks larger pictures, `--quality` is WebP's, `--only train val` leaves the test split out
(sample sheets and the collapse monitor look at the split val). Exit code 2: FACES or PARTS cannot be used.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from ganime_age.learning.engine.requirements import need_train  # noqa: E402

need_train()
from ganime_age.errors import GanimeAgeError  # noqa: E402
from ganime_age.learning.data.packed_faces import Settings, pack  # noqa: E402


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faces", type=Path, help="a folder with a manifest (training/prepare_faces.py)")
    parser.add_argument("--out", type=Path, required=True, help="a new folder for the parts")
    parser.add_argument("--max-mb", type=float, default=20.0, help="megabytes of one part at most")
    parser.add_argument("--side", type=int, default=192, help="pixels; larger pictures are shrunk")
    parser.add_argument("--quality", type=int, default=70, help="of WebP, 1..100")
    parser.add_argument("--only", nargs="+", default=["train", "val", "test"], metavar="SPLIT")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    settings = Settings(given.side, given.quality, tuple(given.only))
    parts = pack(given.faces, given.out, given.max_mb, settings)
    sizes = [sum(file.stat().st_size for file in part.iterdir()) / 1e6 for part in parts]
    print(f"{len(parts)} parts, {sum(sizes):.1f} MB, the largest {max(sizes):.1f} MB -> {given.out}")


if __name__ == "__main__":
    try:
        main()
    except GanimeAgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
