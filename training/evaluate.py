"""Measure the shipped weights and write a results file: `python training/evaluate.py NAME [--faces FOLDER] [...]`.

NAME is readers, edits, reenactment, table1 or estimator (need --faces, a folder with a manifest; its test split is
read; readers takes --races, a face folder with age ranges and races, and --photos of people, neutral and smiling, too),
finder or provenance (need --raw, a folder of photos; finder's holds reference.json; provenance looks for marks in the
test pictures of --faces and --races too, which nobody edited), speed, training, fuzz or load (need nothing). Results go
to model_card/results/.

speed also measures how many images a second training/augment_multipose.py makes where --faces names a face folder, in
one process of two threads; without --faces that figure is left out, for it depends on how many images of real people
the gates let pass. Alone on the machine, minutes.

training measures images/s of the default training step beside GANimation's, on noise (--parts steps), and takes three
steps of every recipe on a pretended GPU, counts how often the host waits for it, and measures images/s of the recipe as
it stands (--parts recipes); alone on the machine, minutes. A part that is left out keeps the figures of the file.

--device cuda, or auto, lets readers, judges and methods compute on a GPU. ONNX networks and MediaPipe stay on the CPU,
and so do speed, training, fuzz and load.

finder (--raw) measures the detector on the photos as they are (--parts photos) and made harder (--parts conditions),
there beside YuNet and InsightFace where --models and their packages hold them. YuNet is also asked about faces that the
reference lacks: without it all of them count as false. A part that is left out keeps its figures.

fuzz reads 2,000 damaged pictures and 2,000 damaged folders of weights (tests/helpers/fuzz.py): how many were refused,
the slowest one's seconds of computing, the memory they took.

load lets five visitors use the page for 30 minutes (--parts space) and edits a folder of 6,000 photos, one in twenty of
them bad (--parts folder): what was lost, what was left, and how memory grew. Linux; nothing else should run.

identity (--faces; --split, --identity, a light folder of the recipe of that name) tells photos of one person from
photos of two by that network or else the weights', by the readers' own head and by --judges' identity judge, on real
faces and on --count of them edited to other ages. It prints everything, and writes a file only where --out is given.

edits judges the edits of --method. The default judges are face_reid_0095.onnx, face_landmarker.task and
hair_prismanet_256.onnx of the folder --models, and the age judge in training/checkpoints/age_judge. --judges names
others, comma-separated, as JUDGE (for all that it can judge) or KIND=JUDGE: `default`, `readers` (the package's own),
`insightface:PACK` (in --models or ~/.insightface), `onnx:FILE` (an identity network), `folder:DIR` (an age judge that
training/train.py made); KIND is identity, age, expression or hair. What the list does not name is not measured, so
`--judges default,identity=insightface:buffalo_l` changes one and `--judges insightface:buffalo_l` leaves the rest out.

table1 (--faces, --models) holds agetransgan and ragan, without and with MI (agetransgan_mi, ragan_mi), and
ganimation_age side by side in AgeTransGAN's Table I, beside the prototypes that they draw on and beside doing nothing.
--runs ROW=FOLDER ... names weights or a run's light folder for a row, or `own` for the measured weights themselves;
these also fill the rows of their methods for which --runs names nothing. With --earlier only the rows that --runs
names are measured; the others, and the seeds, stay as the results file has them, with the day of their measuring.

reenactment (--faces, --models and, for whole photos NAME_neutral_ID and NAME_smile_ID, --raw) lets faces drive each
other, by the same judges; of expression and pose only MediaPipe's can. Rows mesh_alone, mesh_with_shape and
mesh_with_face leave trained networks out; age_then_move and move_then_age are both orders of an age by --method,
other_methods those of the others.

estimator (--faces, a multi-pose set, and --real, one or more folders of the usual faces) compares the readers of
--before and --after (as --estimator of relabel_ages.py: `readers`, weights or a light folder) on turned heads.
real_turned is their error on turned photos of CelebA, FairFace and UTKFace in all of --real; without --faces it alone
is measured, also of --before alone, and added to the results that are there.

photos (--photos, folders of whole photos; --faces and --models) edits photos from file to file, as a user does, and has
them read by the committee of age judges (--committee), the matcher face_reid_0095.onnx and, where --models holds their
files, judges of hair and expression. --ages is a CSV with the columns file and age or source, --headwear one with file
and outline (x y x y ... in 0..1 of the photo), --races a face folder with the race of each face. --count is how many
photos, --parts what of ages, faces, races, rows, expressions and sizes is measured. --blind FOLDER writes a page of
edits and real photos to be told apart instead; --blind-read FORM adds what was answered to the results, and
--blind-by WHO by whom.

natural (--photos, --faces, --models, --blind FOLDER) writes such a page of --count pictures with the edits of --method,
the ages and expressions that it can change; with --blind-read FORM it adds what was answered to the results.

judges (--faces; --races, a face folder with age ranges and races) reads test faces by the committee (--committee), at
most --count of each source; --fit first calibrates it on the validation split and writes its committee.json.

multipose (--faces, a set that augment_multipose.py made) counts the set; with --real and --after it compares the same
readers on real turned heads.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
import numpy  # noqa: E402
import torch  # noqa: E402

from ganime_age.card.card import check_current, fingerprints  # noqa: E402
from ganime_age.card.results import Results  # noqa: E402
from ganime_age.errors import BadInput, GanimeAgeError  # noqa: E402
from ganime_age.learning.engine.requirements import need_train  # noqa: E402
from ganime_age.model.fingerprint import part_fingerprint  # noqa: E402
from ganime_age.model.methods import METHODS, method_called  # noqa: E402
from ganime_age.model.model import GanimeAge, check_method_edits, method_row  # noqa: E402
from ganime_age.runtime import best_device, checked_device  # noqa: E402


def readers(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.editor import FaceEditor
    from ganime_age.learning.data.faces import Faces
    from ganime_age.learning.evaluation.measure_readers import measure
    from ganime_age.learning.evaluation.measure_steadiness import recut, smiles
    from ganime_age.learning.evaluation.photos.assemble import races_of
    from ganime_age.learning.evaluation.photos.whole_photos import pairs_of, photos_of

    test, train = (Faces(needed(given, "faces"), 128, (split,)) for split in ("test", "train"))
    races = Faces(given.races, 128, ("test",)) if given.races else None
    pairs = pairs_of(photos_of(given.photos)) if given.photos else []
    if given.photos and not pairs:
        raise BadInput(
            "--photos of readers are pairs of one person, NAME_neutral_ID and NAME_smile_ID; none is there"
        )
    found = measure(model, test, train, races and (races, races_of(races)))
    found["recut"] = recut(model, test)
    found["summary"]["recut_years_apart"] = found["recut"]["years_apart"]
    return found | ({"smiles": smiles(FaceEditor(model), pairs)} if pairs else {})


def identity(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.data.faces import Faces
    from ganime_age.learning.engine.checkpoints import load_light
    from ganime_age.learning.evaluation.measure_identity import looks_of, measure
    from ganime_age.networks.aligned.identity import IdentityReader

    faces = Faces(needed(given, "faces"), 128, (given.split,))
    network = load_light(IdentityReader, given.identity, "identity") if given.identity else None
    judges = given.judges.replace("default", "") and judged(given, model, given.judges)[0].identity
    looks = looks_of(network and network.to(given.device), model, judges or None)
    return measure(looks, faces, model, 20 if given.quick else given.count)


def edits(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.data.faces import Faces
    from ganime_age.learning.evaluation.measure_edits import measure

    if given.method not in model.methods:
        raise BadInput(
            f"--method {given.method}: these weights have {', '.join(model.methods) or 'no method'}"
        )
    folder = needed(given, "faces")
    judges, plan = judged(given, model, given.judges)
    return measure(model, Faces(folder, 128, ("test",)), judges, plan, given.method)


def judged(given: argparse.Namespace, model: GanimeAge, judges: str) -> tuple:
    """The named judges, and how many faces they see."""
    from ganime_age.learning.evaluation.judges import Places, call
    from ganime_age.learning.evaluation.measure_edits import Plan

    if given.count < 1:
        raise BadInput(f"--count {given.count} must be 1 or more")
    places = Places(model, given.models, ROOT / "training" / "checkpoints" / "age_judge")
    return call(judges, places), Plan.of(20 if given.quick else given.count)


def table1(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.data.faces import Faces
    from ganime_age.learning.evaluation.measure_table1 import measure, models_of, seeds_of

    folder, models = needed(given, "faces"), models_of(model, given.runs, given.earlier)
    named, seeds = given.judges, seeds_of(model, given.seeds)
    named = "identity=default,age=default" if named == "default" else named
    earlier = dict(Results.read(results_path(given)).values) if given.earlier else None
    return measure(models, Faces(folder, 128, ("test",)), *judged(given, model, named), seeds, earlier)


def estimator(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.data.faces import Faces
    from ganime_age.learning.evaluation.measure_estimator import measure, with_real_turned
    from ganime_age.learning.prepare.age_estimators import age_model

    path, limit = results_path(given), 200 if given.quick else None
    alone = given.real and not given.faces and path.is_file()
    folder = None if alone else needed(given, "faces")
    names = {"before": given.before, "after": given.after if alone else needed(given, "after")}
    readers = {when: age_model(named).to(given.device) for when, named in names.items() if named}
    real = [Faces(one, 128, ("test",), limit) for one in given.real or ()]
    if folder:
        return measure(**readers, multipose=Faces(folder, 128, ("test",), limit), real=real)
    result = dict(Results.read(path).values)  # what is not measured anew keeps its figures
    with_real_turned(result, readers, real)
    result["real_turned"]["date"] = datetime.date.today().isoformat()
    return result


def multipose(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.data.faces import Faces
    from ganime_age.learning.evaluation.measure_multipose import measure
    from ganime_age.learning.prepare.age_estimators import age_model

    folder = needed(given, "faces")
    if not given.real:
        return measure(folder)
    if len(given.real) > 1:
        raise BadInput("multipose is compared on one folder; give one after --real")
    names = {"before": given.before, "after": given.after}
    compared = {when: age_model(named).to(given.device) for when, named in names.items() if named}
    return measure(folder, Faces(given.real[0], 128, ("test",)), **compared)


def reenactment(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.data.faces import Faces
    from ganime_age.learning.evaluation.measure_reenactment import Plan, measure

    model.require("dual_generator")
    check_method_edits(method_row(given.method), age=True, expression=False)
    folder = needed(given, "faces")
    named = "identity=default,age=default,expression=default" if given.judges == "default" else given.judges
    judges, _ = judged(given, model, named)
    plan = Plan.of(16 if given.quick else given.count)
    others = [name for name in model.methods_for("age") if name != given.method]
    return measure(model, Faces(folder, 128, (given.split,)), judges, given.raw, plan, given.method, others)


def finder(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.images.detectors import EmbeddedDetector
    from ganime_age.learning.evaluation.detection import measure_conditions, measure_finder

    wanted, result = parts_of(given, "photos", "conditions"), measured_before(given)
    detector, raw = EmbeddedDetector(model.detector), needed(given, "raw")
    if "photos" in wanted:
        witness = measure_conditions.yunet_of(given.models)
        result |= measure_finder.measure(detector, raw, witness) | {"made_by": None}
    elif result["summary"]:
        check_current({"finder": Results(results_path(given), result)}, model)
    if "conditions" in wanted:
        finders = {"ganime_age": detector} | measure_conditions.other_finders(given.models)
        count = 20 if given.quick else measure_conditions.COUNT
        result["conditions"] = measure_conditions.measure(finders, raw, count)
    return result


def photos(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.evaluation.photos import assemble
    from ganime_age.learning.evaluation.photos.blind import COUNT
    from ganime_age.learning.evaluation.photos.measure_photos import Plan, measure, parts_of

    if given.blind_read:
        return answered(given)
    folders, faces, wanted = needed(given, "photos"), needed(given, "faces"), parts_of(given.parts)
    count = 6 if given.quick else given.count if "--count" in sys.argv else Plan.photos
    if count < 1:
        raise BadInput(f"--count {count} must be 1 or more")
    material = assemble.material_of(folders, given.ages, given.headwear, faces, given.races)
    judging = assemble.judging_of(model, given.models, given.committee, faces)
    if given.blind:
        count = given.count if "--count" in sys.argv else COUNT
        made = assemble.blind_sheet(model, material, judging, given.blind, count)
        return {"summary": {"pictures": made}, "page": str(given.blind / "index.html")}
    save = assemble.partial_file(results_path(given))
    return measure(model, material, judging, Plan.of(count), wanted, save, given.keep)


def answered(given: argparse.Namespace) -> dict:
    """The results of photos, with what a viewer of the blind sheet answered."""
    from ganime_age.learning.evaluation.photos.blind import read_form

    result = dict(Results.read(results_path(given)).values)
    found = read_form(given.blind_read, given.blind)
    result["blind"] = found | {"by": given.blind_by}
    result["summary"] |= {f"blind_natural_{kind}": row["share"] for kind, row in found.items()}
    return result


def natural(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.evaluation.photos import assemble
    from ganime_age.learning.evaluation.photos.blind import check_sheet, read_form

    name = method_called(given.method)
    if name not in METHODS:
        raise BadInput(f"there is no method {given.method}; choose one of {', '.join(METHODS)}")
    folder = needed(given, "blind")
    if not given.blind_read:
        folders, faces = needed(given, "photos"), needed(given, "faces")
        material = assemble.material_of(folders, given.ages, None, faces, None)
        judging = assemble.judging_of(model, given.models, given.committee, faces)
        made = assemble.blind_sheet(model, material, judging, folder, given.count, name)
        return {"summary": {"pictures": made}, "page": str(folder / "index.html")}
    model.require(METHODS[name].part)
    check_sheet(folder, name)
    path = results_path(given)
    before = dict(Results.read(path).values) if path.is_file() else {"summary": {}, "methods": {}}
    found = read_form(given.blind_read, folder)
    told = {"by": given.blind_by, "weights": part_fingerprint(model, METHODS[name].part)}
    methods = before["methods"] | {name: found | told | {"date": datetime.date.today().isoformat()}}
    shares = {f"{name}_{kind}": row["share"] for kind, row in found.items()}
    return {"summary": before["summary"] | shares, "methods": methods}


def judges(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.data.faces import Faces
    from ganime_age.learning.evaluation.committee import Committee, write_curves
    from ganime_age.learning.evaluation.measure_judges import fit, measure, sample
    from ganime_age.learning.external.onnx_models import AgeNetwork

    folders = [folder for folder in (needed(given, "faces"), given.races) if folder]
    count = 20 if given.quick else given.count

    def samples(split: str) -> list:
        return [sample(Faces(folder, 160, (split,)), count) for folder in folders]

    if given.fit:
        write_curves(given.committee, fit(Committee.load(given.committee, given.device), samples("val")))
    watching = AgeNetwork(ROOT / "training" / "checkpoints" / "age_judge", given.device)
    committee = Committee.load(given.committee, given.device)
    return measure(committee, samples("test"), {"age_judge": watching.network})


def speed(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.evaluation.measure_speed import NOTES, THREADS, measure

    key = "multipose_images_per_second"
    made = {key: multipose_speed(given, THREADS)} if given.faces else {}
    found = measure(model)
    found["summary"] |= made
    found["notes"] |= {name: NOTES[name] for name in made}
    return found


def multipose_speed(given: argparse.Namespace, threads: int) -> float:
    """Images a second of a small multi-pose set of --faces, made by one process of so many threads: what
    training/augment_multipose.py reports. BadInput with what it says where it makes none."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "set")
        words = ["--faces", given.faces, "--out", out, "--count", 40 if given.quick else 400]
        words += ["--weights", given.weights] if given.weights else []
        script = ROOT / "training" / "augment_multipose.py"
        done = subprocess.run(
            [sys.executable, script, *map(str, words)],
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            said = [
                line.removeprefix("error: ")
                for line in done.stderr.splitlines()
                if line.startswith("error: ")
            ]
            why = said[-1] if said else f"{script.name} ended with {done.returncode}"
            raise BadInput(f"no multi-pose set could be made of {given.faces}: {why}")
        return round(json.loads((out / "report.json").read_text())["images_per_second"], 2)


def training(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.engine.recipe import read_recipe
    from ganime_age.learning.evaluation.measure_training import measure
    from ganime_age.learning.tasks import task_module
    from ganime_age.learning.tasks.rehearsal import rehearse

    wanted, result = parts_of(given, "steps", "recipes"), measured_before(given)
    if "steps" in wanted:
        found = measure(ROOT, task_module, repeats=1 if given.quick else 3)
        result = result | found | {"summary": result["summary"] | found["summary"], "made_by": None}
    if "recipes" in wanted:
        files = sorted((ROOT / "training" / "recipes").glob("*.toml"))
        seconds = 1.0 if given.quick else rehearse.MOST_SECONDS
        rows = rehearse.rehearsed([file for file in files if "task" in read_recipe(file, [])], seconds)
        made = {"date": datetime.date.today().isoformat(), "torch": torch.__version__, "seconds": seconds}
        result["summary"] = result["summary"] | rehearse.summary(rows)
        result["recipes"] = made | {"rows": rows}
    return result


def provenance(given: argparse.Namespace, model: GanimeAge) -> dict:
    from ganime_age.learning.evaluation.measure_provenance import measure, measure_clean

    wanted, folders = parts_of(given, "marks", "clean"), [one for one in (given.faces, given.races) if one]
    if "marks" in wanted:
        result = measure(model, needed(given, "raw"))
    else:
        needed(given, "faces")
        result = measured_before(given)
        check_current({"provenance": Results(results_path(given), result)}, model)
    if "clean" in wanted and folders:
        from ganime_age.learning.data.faces import Faces

        faces = [Faces(one, 128, ("test",)) for one in folders]
        result["summary"] |= measure_clean(model, faces, 40 if given.quick else 2000)
    return result


def fuzz(given: argparse.Namespace, model: GanimeAge) -> dict:
    """What became of damaged pictures and weights, each kind in a process of its own."""
    runs, script = 100 if given.quick else 2000, ROOT / "tests" / "helpers" / "fuzz.py"
    found = {}
    for kind in ("pictures", "weights"):
        tried = subprocess.run([sys.executable, script, kind, str(runs)], check=True, stdout=subprocess.PIPE)
        found |= {f"{kind}_{name}": value for name, value in json.loads(tried.stdout).items()}
    return {"summary": found}


def load(given: argparse.Namespace, model: GanimeAge) -> dict:
    """What became of half an hour of visitors on the page, and of a folder of 6,000 photos, some of them bad."""
    minutes, photos = ("0.5", "40") if given.quick else ("30", "6000")
    tries = {
        "space": ("load_space.py", "--minutes", minutes),
        "folder": ("load_folder.py", "--photos", photos),
    }
    wanted, result = parts_of(given, *tries), measured_before(given)
    for name in wanted:
        script, *words = tries[name]
        command = [sys.executable, ROOT / "tests" / "helpers" / script, *words]
        tried = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        found = {f"{name}_{key}": value for key, value in json.loads(tried.stdout).items()}
        result |= {"summary": result["summary"] | found, "made_by": None}
    return result


def parts_of(given: argparse.Namespace, *names: str) -> list[str]:
    """The parts of a measurement that --parts names, by default all."""
    wanted = given.parts.split(",") if given.parts else list(names)
    if not set(wanted) <= set(names):
        raise BadInput(f"--parts {given.parts}: {given.name} has the parts {' and '.join(names)}")
    return wanted


def measured_before(given: argparse.Namespace) -> dict:
    """What the results file holds: a part that is not measured anew keeps its figures."""
    path = results_path(given)
    return dict(Results.read(path).values) if path.is_file() else {"summary": {}}


def results_name(given: argparse.Namespace) -> str:
    """The results file's name: the measure's own, and for edits the method's; a quick try has its own."""
    names = {"edits": f"edits-{given.method}", "estimator": "age_estimator"}
    name = names.get(given.name, given.name)
    return f"{name}-quick" if given.quick else name


def results_path(given: argparse.Namespace) -> Path:
    """Where the results go: --out, a folder or a file NAME.json, or model_card/results."""
    out = given.out or ROOT / "model_card" / "results"
    return out if out.suffix == ".json" else out / f"{results_name(given)}.json"


def lines(result: dict) -> str:
    """The text of a results file. The innermost dictionaries and lists, such as the rows of a table, stand on one line
    each; a line break in a string is written as \\n, so that none is taken for one."""
    text = json.dumps(result, indent=2)
    inner = re.compile(r"([{\[])\n\s+([^{}\[\]]+?)\n\s*([}\]])")
    return inner.sub(lambda row: row[1] + re.sub(r",\n\s+", ", ", row[2]) + row[3], text)


def needed(given: argparse.Namespace, name: str) -> Path:
    if getattr(given, name) is None:
        raise BadInput(f"{given.name} needs --{name} FOLDER")
    return getattr(given, name)


def told(words: list[str]) -> list[str]:
    """The command's words, with the places on this machine as the names of their options, as in --faces FACES."""
    places = (
        "--faces", "--raw", "--models", "--weights", "--real", "--before", "--after", "--identity",
        "--photos", "--ages", "--headwear", "--races", "--committee", "--blind", "--blind-read",
        "--blind-by", "--keep")  # fmt: skip
    shown, option = [], ""
    for word in words:
        option = word if word.startswith("--") else option
        shown.append(option[2:].upper() if option in places and word != option else word)
    runs = re.compile(r"^(\w*(?:gan|_mi|_turned|_age))=(?!own$).+")
    shown = [
        runs.sub(lambda m: f"{m[1]}={','.join(['RUN'] * (m[0].count(',') + 1))}", word) for word in shown
    ]
    shown = [re.sub(r"onnx:[^,]+", "onnx:FILE", word) for word in shown]
    kept = [i for i, word in enumerate(shown) if "--out" not in (word, shown[i - 1] if i else "")]
    return [shown[i] for i in kept]


MEASURES = {
    "readers": readers,
    "identity": identity,
    "edits": edits,
    "table1": table1,
    "estimator": estimator,
    "reenactment": reenactment,
    "multipose": multipose,
    "photos": photos,
    "natural": natural,
    "judges": judges,
    "finder": finder,
    "speed": speed,
    "training": training,
    "provenance": provenance,
    "fuzz": fuzz,
    "load": load,
}
"""What the command line can name -> the function that measures it."""
NEED_TRAIN = (
    "readers", "identity", "edits", "reenactment", "table1", "estimator", "multipose", "training",
    "photos", "natural", "judges",
)  # fmt: skip
"""Those of them that need the packages of the extra `train`."""
ON_CPU = ("speed", "training", "fuzz", "load")
"""Those whose figures are of a CPU; training measures a GPU beside it where there is one."""


def photo_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that photos alone takes."""
    group = parser.add_argument_group("photos")
    committee = ROOT / "training" / "checkpoints" / "judges"
    single = ROOT / "training" / "checkpoints" / "age_judge"
    group.add_argument("--photos", type=Path, nargs="+", metavar="FOLDER", help="folders of whole photos")
    group.add_argument("--ages", type=Path, metavar="CSV", help="file and age or source of photos")
    group.add_argument("--headwear", type=Path, metavar="CSV", help="file and outline of headwear")
    group.add_argument("--races", type=Path, metavar="FACES", help="a face folder with the race of each face")
    group.add_argument(
        "--committee",
        type=Path,
        metavar="DIR",
        default=committee if committee.is_dir() else single,
        help="the age judges",
    )
    group.add_argument("--blind", type=Path, metavar="FOLDER", help="write a blind sheet of edits and photos")
    group.add_argument("--blind-read", type=Path, metavar="FORM", help="add the answers of a sheet's form")
    group.add_argument(
        "--blind-by", default="a viewer", metavar="WHO", help="who answered, and how, for the card"
    )
    group.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the edits: a stopped run goes on")
    group.add_argument("--fit", action="store_true", help="judges: calibrate the committee first")
    group.add_argument("--parts", default="", metavar="A,B", help="ages,faces,races,rows,expressions,sizes")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=MEASURES)
    parser.add_argument("--faces", type=Path)
    parser.add_argument("--raw", type=Path)
    photo_arguments(parser)
    parser.add_argument(
        "--method", default="ganimation_age", help="edits, reenactment, natural: the method that edits"
    )
    parser.add_argument(
        "--models", type=Path, help="the folder of the judges' files; finder: of other detectors"
    )
    parser.add_argument("--judges", default="default", help="edits: who judges, see above")
    parser.add_argument("--count", type=int, default=200, help="how many faces are edited, moved")
    parser.add_argument("--split", default="test", help="reenactment: which faces; val to choose by")
    parser.add_argument(
        "--runs", nargs="+", default=[], metavar="ROW=FOLDER", help="table1: weights of its rows"
    )
    parser.add_argument("--earlier", action="store_true", help="table1: keep rows of runs that are gone")
    parser.add_argument(
        "--seeds", nargs="+", default=[], metavar="ROW=FOLDER,FOLDER", help="table1: several runs of a row"
    )
    parser.add_argument(
        "--real",
        type=Path,
        nargs="+",
        metavar="FACES",
        help="estimator, multipose: the usual faces, to test on",
    )
    parser.add_argument("--before", default="readers", help="estimator, multipose: the readers to start from")
    parser.add_argument("--after", help="estimator, multipose: the readers that were trained further")
    parser.add_argument("--identity", type=Path, metavar="DIR", help="identity: a light folder of its reader")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a try: 20 faces; training: one repeat; fuzz: 100; load: 40 photos",
    )
    parser.add_argument("--weights", help="a folder or Hub repository instead of the embedded weights")
    parser.add_argument("--out", type=Path, help="model_card/results, but identity then writes nothing")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--device", default="cpu", help="where readers, judges and methods compute: cpu, cuda, or auto"
    )
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.name in NEED_TRAIN:
        need_train()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    if given.device == "auto":
        given.device = "cpu" if given.name in ON_CPU else best_device()
    given.device = str(checked_device(given.device))
    if given.device != "cpu" and given.name in ON_CPU:
        raise BadInput(f"{given.name} is measured on the CPU; leave --device out")
    model = GanimeAge.from_pretrained(given.weights, device=given.device)
    result = MEASURES[given.name](given, model)
    if "page" in result:  # a sheet to look at is no result
        print(f"{result['summary']['pictures']} pictures -> {result['page']}")
        return
    made_before = result.get("made_by")  # answers are added to figures that keep their origin
    result["made_by"] = made_before or {
        "command": f"python training/evaluate.py {' '.join(told(sys.argv[1:]))}",
        "date": datetime.date.today().isoformat(),
        "seed": 0,
        "threads": given.threads,
        **({} if given.device == "cpu" else {"device": given.device}),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "weights": fingerprints(model),
    }
    if given.name == "identity" and not given.out:  # a reader on trial belongs in no card
        print(json.dumps(result, indent=2))
        return
    path = results_path(given)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines(result) + "\n")
    print(json.dumps(result["summary"], indent=2), f"\n-> {path}")


if __name__ == "__main__":
    try:
        main()
    except GanimeAgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
