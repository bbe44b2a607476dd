"""Measure the shipped weights and write a results file: `python training/evaluate.py NAME [--faces FOLDER] [...]`.

NAME is readers or edits (need --faces, a folder with a manifest; its test split is read), finder or provenance (need
--raw, a folder of photos; finder's holds reference.json), speed, training or fuzz (need nothing). Results go to
model_card/results/.

training measures images/s of the default training step beside GANimation's, on noise; alone on the machine, minutes.

fuzz reads 2,000 damaged pictures and 2,000 damaged folders of weights (tests/fuzz.py): how many were refused, the
slowest one's seconds of computing, the memory they took.

edits judges the edits of --method. The default judges are face_reid_0095.onnx, face_landmarker.task and
hair_prismanet_256.onnx of the folder --models, and the age judge in training/checkpoints/age_judge. --judges names
others, comma-separated, as JUDGE (for all that it can judge) or KIND=JUDGE: `default`, `readers` (the package's own),
`insightface:PACK` (in --models or ~/.insightface), `onnx:FILE` (an identity network), `folder:DIR` (an age judge that
training/train.py made); KIND is identity, age, expression or hair. What the list does not name is not measured, so
`--judges default,identity=insightface:buffalo_l` changes one and `--judges insightface:buffalo_l` leaves the rest out.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
import numpy  # noqa: E402
import torch  # noqa: E402

from ganime_age.card import fingerprints  # noqa: E402
from ganime_age.errors import BadInput, GanimeAgeError  # noqa: E402
from ganime_age.learning.extras import need_train  # noqa: E402
from ganime_age.model import GanimeAge  # noqa: E402


def readers(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.data import Faces
    from ganime_age.learning.measure_readers import measure

    return measure(
        model.readers, Faces(needed(given, "faces"), 128, ("test",)), Faces(given.faces, 128, ("train",))
    )


def edits(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.data import Faces
    from ganime_age.learning.judges import Places, call
    from ganime_age.learning.measure_edits import Plan, measure

    if given.method not in model.methods:
        raise BadInput(
            f"--method {given.method}: these weights have {', '.join(model.methods) or 'no method'}"
        )
    if given.count < 1:
        raise BadInput(f"--count {given.count} must be 1 or more")
    folder = needed(given, "faces")
    judges = call(given.judges, Places(model, given.models, ROOT / "training" / "checkpoints" / "age_judge"))
    plan = Plan.of(20 if given.quick else given.count)
    return measure(model, Faces(folder, 128, ("test",)), judges, plan, given.method)


def finder(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.alignment import EmbeddedFinder
    from ganime_age.learning.measure_finder import measure

    return measure(EmbeddedFinder(model.finder), needed(given, "raw"))


def speed(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.measure_speed import measure

    return measure(model)


def training(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.measure_training import measure

    return measure(ROOT, repeats=1 if given.quick else 3)


def provenance(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.measure_provenance import measure

    return measure(model, needed(given, "raw"))


def fuzz(given: argparse.Namespace, model: GanimeAge) -> dict:
    """What became of damaged pictures and weights, each kind in a process of its own."""
    runs, script = 100 if given.quick else 2000, ROOT / "tests" / "fuzz.py"
    found = {}
    for kind in ("pictures", "weights"):
        tried = subprocess.run([sys.executable, script, kind, str(runs)], check=True, stdout=subprocess.PIPE)
        found |= {f"{kind}_{name}": value for name, value in json.loads(tried.stdout).items()}
    return {"summary": found}


def results_name(given: argparse.Namespace) -> str:
    """The results file's name: the measure's own, and for edits the method's; a quick try has its own."""
    name = f"edits-{given.method}" if given.name == "edits" else given.name
    return f"{name}-quick" if given.quick else name


def needed(given: argparse.Namespace, name: str) -> Path:
    if getattr(given, name) is None:
        raise BadInput(f"{given.name} needs --{name} FOLDER")
    return getattr(given, name)


def told(words: list[str]) -> list[str]:
    """The command's words, with the places on this machine as the names of their options, as in --faces FACES."""
    places = ("--faces", "--raw", "--models", "--weights")
    pairs = zip(["", *words], words, strict=False)
    shown = [before[2:].upper() if before in places else word for before, word in pairs]
    kept = [i for i, word in enumerate(shown) if "--out" not in (word, shown[i - 1] if i else "")]
    return [shown[i] for i in kept]


def main() -> None:
    measures = {
        "readers": readers,
        "edits": edits,
        "finder": finder,
        "speed": speed,
        "training": training,
        "provenance": provenance,
        "fuzz": fuzz,
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=measures)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--raw", type=Path)
    parser.add_argument("--method", default="ganimation_age", help="edits: the method that is measured")
    parser.add_argument("--models", type=Path, help="edits: the folder of the judges' files")
    parser.add_argument("--judges", default="default", help="edits: who judges, see above")
    parser.add_argument("--count", type=int, default=200, help="edits: how many faces are edited")
    parser.add_argument(
        "--quick", action="store_true", help="edits: 20 faces; training: one repeat; fuzz: 100; to see it run"
    )
    parser.add_argument("--weights", help="a folder or Hub repository instead of the embedded weights")
    parser.add_argument("--out", type=Path, default=ROOT / "model_card" / "results")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    if given.name in ("readers", "edits", "training"):
        need_train()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    model = GanimeAge.from_pretrained(given.weights)
    result = measures[given.name](given, model)
    result["made_by"] = {
        "command": f"python training/evaluate.py {' '.join(told(sys.argv[1:]))}",
        "date": datetime.date.today().isoformat(),
        "seed": 0,
        "threads": given.threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "weights": fingerprints(model),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / f"{results_name(given)}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["summary"], indent=2), f"\n-> {path}")


if __name__ == "__main__":
    try:
        main()
    except GanimeAgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
