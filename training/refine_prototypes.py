"""Put into weights what the recipe `prototypes` measures since they were made, without training anything anew.

    python training/refine_prototypes.py --regions                 each action unit keeps to its part of the face
    python training/refine_prototypes.py --mouth FACES             a row of teeth in mouths that an edit opens
    python training/refine_prototypes.py --wrinkles FACES          layouts of creases, as the old faces among them have
    python training/refine_prototypes.py --tones FACES             tones and texture of ages, on skin without hair
    python training/refine_prototypes.py --gains RECIPE.toml       how far ages and creases are exaggerated
    python training/refine_prototypes.py --unit-shape AU12 1.27    an action unit moves landmarks farther by a factor,
                                                                   and by a second one, if given, what leads aside
    python training/refine_prototypes.py --unit-maps AU12 FACES    its tone and texture, in its part of the face, with
                                                                   the gains of --gains or of the recipe prototypes
    python training/refine_prototypes.py --fit-gains FACES         how far ages and creases are exaggerated, fitted on
                                                                   validation faces; the recipe's table is printed, the
                                                                   figures go to a results file

FACES is a folder that training/prepare_faces.py wrote. The result is what training/recipes/prototypes.toml gives; only
the slopes of action units keep the gains that they were packed with, but for that factor and those maps, and hair is
found by the weights' own network and not by its teacher.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from ganime_age.edits import AU_CODES, LABELLED_AUS  # noqa: E402
from ganime_age.errors import BadInput, GanimeAgeError  # noqa: E402
from ganime_age.learning.data.faces import Faces  # noqa: E402
from ganime_age.learning.engine.checkpoints import load_light  # noqa: E402
from ganime_age.learning.engine.recipe import read_recipe  # noqa: E402
from ganime_age.learning.prepare.open_mouths import fit_mouth  # noqa: E402
from ganime_age.learning.prepare.unit_regions import confine, is_confined  # noqa: E402
from ganime_age.learning.prepare.wrinkle_layouts import fit_wrinkles  # noqa: E402
from ganime_age.learning.tasks.prototype_fitting.gain_fit import SOURCE_AGES, Edits, fit_gains  # noqa: E402
from ganime_age.learning.tasks.prototype_fitting.prototype_fit import centre, fit_pixels, set_gains  # noqa: E402
from ganime_age.model.methods import PROTOTYPES  # noqa: E402
from ganime_age.model.model import GanimeAge  # noqa: E402
from ganime_age.model.storage import CONFIG, EMBEDDED, LARGEST, read_config, save  # noqa: E402
from ganime_age.networks.judging.age_judge import AgeJudge  # noqa: E402
from ganime_age.networks.prototypes import Prototypes  # noqa: E402
from ganime_age.networks.skin.wrinkles import DRAWN, SIDE  # noqa: E402

SIZE = 128  # pixels of the faces that the recipe measures
MOUTHS, LAYOUTS, PIXEL_FACES = 2500, 4, 10000
HELD_OUT = {"utkface": "a"}  # as the recipe's wrinkles_hold_out
AGE_JUDGE = ROOT / "training" / "checkpoints" / "age_judge"  # it steers trainings; none that reports is asked
RECIPE = ROOT / "training" / "recipes" / "prototypes.toml"
FITTED = ROOT / "training" / "recipes" / "prototypes_gains.json"


def with_room(folder: Path, **keywords: Any) -> GanimeAge:
    """The model of a folder whose prototypes have these keywords; what they had no room for before is empty."""
    config, _ = read_config(folder / CONFIG)
    state: dict[str, Any] = GanimeAge.from_pretrained(folder).state_dict()
    config[PROTOTYPES] = (config.get(PROTOTYPES) or {}) | keywords
    model = GanimeAge(**config)
    rooms = tuple(f"{PROTOTYPES}.{name}" for name in ("mouth.", "wrinkles.", "age_eyes", "detail_limit"))
    empty = {key: value for key, value in model.state_dict().items() if key.startswith(rooms)}
    lost = {key for key in state if key.startswith(rooms) and key not in empty}
    fits = {key for key, value in empty.items() if key in state and state[key].shape == value.shape}
    model.load_state_dict(
        {key: state[key] for key in state if key not in lost} | {k: empty[k] for k in empty if k not in fits}
    )
    return model.eval()


def toml(gains: dict[str, Any]) -> list[str]:
    """The lines of a recipe's table `gains`; its `inward` and `units` stay as they are."""
    rows = [f"{name} = {row}" for name, row in gains["outward"].items()]
    creases = [f"wrinkles = {gains['wrinkles']}"] if "wrinkles" in gains else []
    return ["[recipe.gains]", *creases, "[recipe.gains.outward]", *rows]


def arguments() -> argparse.Namespace:
    """What the command is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, default=EMBEDDED)
    parser.add_argument("--out", type=Path, help="another folder than the weights' own")
    parser.add_argument("--regions", action="store_true")
    parser.add_argument("--mouth", type=Path, metavar="FACES")
    parser.add_argument("--wrinkles", type=Path, metavar="FACES")
    parser.add_argument("--tones", type=Path, metavar="FACES")
    parser.add_argument("--gains", type=Path, metavar="RECIPE")
    parser.add_argument("--unit-shape", nargs="+", metavar=("CODE", "FACTOR"))
    parser.add_argument("--unit-maps", nargs=2, metavar=("CODE", "FACES"))
    parser.add_argument("--fit-gains", type=Path, metavar="FACES")
    parser.add_argument("--count", type=int, default=48, help="how many validation faces gains are fitted on")
    parser.add_argument(
        "--source-ages",
        type=float,
        nargs=2,
        default=SOURCE_AGES,
        metavar=("LOW", "HIGH"),
        help="the youngest and the oldest of these faces",
    )
    parser.add_argument("--from-age", type=int, default=0, help="the youngest age whose gains are fitted")
    parser.add_argument("--to-age", type=int, default=100, help="the oldest one")
    parser.add_argument(
        "--sweeps", type=int, default=2, help="how often each age's gains are visited, at most"
    )
    return parser.parse_args()


def unit_and_factors(code: str, *factors: str) -> tuple[int, torch.Tensor]:
    """The place of an action unit, and how much farther it moves landmarks, sideways and down (2,). BadInput for what
    is none."""
    try:
        place, (down, across) = AU_CODES.index(code.upper()), map(float, (*factors, "1")[:2])
    except ValueError:
        down = across = 0.0
    if not (0 < down < 10 and 0 < across < 10 and len(factors) < 3):
        asked = " ".join((code, *factors))
        raise BadInput(
            f"--unit-shape {asked} is no action unit and factor; give one like AU12 1.2 or AU12 1.2 0.8"
        )
    return place, torch.tensor([down * across, down])


def checked_unit(code: str) -> int:
    """The place of an action unit that readers see. BadInput for what is none."""
    if code.upper() not in LABELLED_AUS:
        raise BadInput(f"--unit-maps {code} is no action unit that is labelled; give one like AU12 FACES")
    return AU_CODES.index(code.upper())


def measure_unit(prototypes: Prototypes, place: int, folder: Path, recipe: Path) -> None:
    """Measure the tone and the texture of an action unit on the faces of a folder, with a recipe's gains, in its part
    of the face. BadInput where the faces do not tell."""
    measured = copy.deepcopy(prototypes)
    fit_pixels(Faces(folder, SIZE), measured, PIXEL_FACES, prototypes.find_hair, ("unit",))
    gains = read_recipe(recipe, [])["recipe"]["gains"]["units"]
    set_gains(measured, {"units": {name: gains[name] for name in ("tone", "texture")}})
    confine(measured)
    if not measured.unit_tone[place].any():
        raise BadInput(f"{folder} has no face labelled with {AU_CODES[place]}; give faces with action units")
    for name in ("unit_tone", "unit_texture"):
        getattr(prototypes, name)[place] = getattr(measured, name)[place]


def remember(fit: dict[str, Any]) -> None:
    """Write a fit's gains to FITTED, and its figures after those of earlier fits that saw other ages, too."""
    low, high = fit["ages"]
    known = json.loads(FITTED.read_text()).get("fits", []) if FITTED.is_file() else []
    others = [one for one in known if not low <= one["ages"][0] <= one["ages"][1] <= high]
    figures = {name: value for name, value in fit.items() if name != "gains"}
    FITTED.write_text(json.dumps({"gains": fit["gains"], "fits": [*others, figures]}, indent=1) + "\n")


def main() -> None:
    given = arguments()
    asked = (given.regions, given.mouth, given.wrinkles, given.tones, given.gains, given.fit_gains)
    if not any((*asked, given.unit_shape, given.unit_maps)):
        raise BadInput(
            "nothing is to be refined; name --regions, --mouth FACES, --wrinkles FACES, --tones FACES, "
            "--gains RECIPE, --unit-shape CODE FACTOR, --unit-maps CODE FACES or --fit-gains FACES"
        )
    farther = None if given.unit_shape is None else unit_and_factors(*given.unit_shape)
    unit = None if given.unit_maps is None else checked_unit(given.unit_maps[0])
    room: dict[str, Any] = {"teeth": True} if given.mouth else {}
    if given.wrinkles:
        room |= {"wrinkles": LAYOUTS, "wrinkle_side": DRAWN}
    if given.gains:
        room["youth"] = True
    model = with_room(given.weights, **room)
    model.require(PROTOTYPES)
    if given.regions and not is_confined(model.prototypes):
        confine(model.prototypes)
    if given.mouth:
        fit_mouth(Faces(given.mouth, SIZE), model.prototypes, MOUTHS)
        if not model.prototypes.mouth.known:
            raise BadInput(f"{given.mouth} has too few faces with an open mouth; give more faces")
    if given.wrinkles:
        fit_wrinkles(Faces(given.wrinkles, SIDE, hold_out=HELD_OUT), model.prototypes)
        if not model.prototypes.wrinkles.layouts.any():
            raise BadInput(f"{given.wrinkles} has too few old faces that look ahead; give more faces")
    if given.tones:
        fit_pixels(
            Faces(given.tones, SIZE), model.prototypes, PIXEL_FACES, model.prototypes.find_hair, ("age",)
        )
        centre(model.prototypes)
    if given.gains:
        gains = read_recipe(given.gains, [])["recipe"]["gains"]
        set_gains(model.prototypes, {name: gains[name] for name in gains if name != "units"})
    if farther:
        model.prototypes.unit_shape[farther[0]] *= farther[1]
    if unit is not None:
        measure_unit(model.prototypes, unit, Path(given.unit_maps[1]), given.gains or RECIPE)
    if given.fit_gains:
        faces = Faces(given.fit_gains, SIDE, splits=("val",), hold_out=HELD_OUT)
        judge, sources = load_light(AgeJudge, AGE_JUDGE, "age_judge"), tuple(given.source_ages)
        edits = Edits(faces, model, judge, given.count, source_ages=sources)
        found = fit_gains(model, edits, given.sweeps, given.from_age, given.to_age)
        options = f"--from-age {given.from_age} --to-age {given.to_age} --count {given.count}"
        options += f" --source-ages {sources[0]:g} {sources[1]:g} --sweeps {given.sweeps}"
        command = f"python training/refine_prototypes.py --fit-gains FACES {options}"
        made_by = {"command": command, "date": datetime.date.today().isoformat()}
        remember(found | {"made_by": made_by})
        print(*toml(found["gains"]), sep="\n")
    if given.wrinkles and not model.prototypes.wrinkles.onset.any():
        raise BadInput(
            "these weights do not say how deep creases are; add --gains training/recipes/prototypes.toml"
        )
    files = save(model, given.out or given.weights, largest=LARGEST, dtype=torch.float16)
    print(f"{sum(file.stat().st_size for file in files) / 1e6:.1f} MB in half precision -> {files[0].parent}")


if __name__ == "__main__":
    try:
        main()
    except GanimeAgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
