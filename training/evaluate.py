"""Measure the shipped weights and write a results file: `python training/evaluate.py NAME [--faces FOLDER] [...]`.

NAME is readers or edits (need --faces, a folder with a manifest; its test split is read), finder (needs --raw, a
folder of photos with reference.json) or speed (needs nothing). Results go to model_card/results/.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
import numpy  # noqa: E402
import torch  # noqa: E402

from ganime_age.errors import GanimeAgeError  # noqa: E402
from ganime_age.model import GanimeAge  # noqa: E402

FILES = {"edits": "edits-ganimation_age"}
"""Names of results files that are not the measure's own."""


def readers(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.data import Faces
    from ganime_age.learning.measure_readers import measure

    return measure(
        model.readers, Faces(needed(given, "faces"), 128, ("test",)), Faces(given.faces, 128, ("train",))
    )


def edits(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.data import Faces
    from ganime_age.learning.measure_edits import measure

    return measure(model, Faces(needed(given, "faces"), 128, ("test",)))


def finder(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.alignment import EmbeddedFinder
    from ganime_age.learning.measure_finder import measure

    return measure(EmbeddedFinder(model.finder), needed(given, "raw"))


def speed(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.measure_speed import measure

    return measure(model)


def needed(given: argparse.Namespace, name: str) -> Path:
    if getattr(given, name) is None:
        sys.exit(f"error: {given.name} needs --{name} FOLDER")
    return getattr(given, name)


def main() -> None:
    measures = {"readers": readers, "edits": edits, "finder": finder, "speed": speed}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=measures)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--raw", type=Path)
    parser.add_argument("--weights", help="a folder or Hub repository instead of the embedded weights")
    parser.add_argument("--out", type=Path, default=ROOT / "model_card" / "results")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    result = measures[given.name](given, GanimeAge.from_pretrained(given.weights))
    result["made_by"] = {
        "command": f"python training/evaluate.py {given.name}",
        "date": datetime.date.today().isoformat(),
        "seed": 0,
        "threads": given.threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"{FILES.get(given.name, given.name)}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["summary"], indent=2), f"\n-> {path}")


if __name__ == "__main__":
    try:
        main()
    except GanimeAgeError as error:
        sys.exit(f"error: {error}")
