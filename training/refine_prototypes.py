"""Put into weights what the recipe `prototypes` measures since they were made, without training anything anew.

    python training/refine_prototypes.py --regions                 each action unit keeps to its part of the face
    python training/refine_prototypes.py --mouth FACES             a row of teeth in mouths that an edit opens

FACES is a folder that training/prepare_faces.py wrote. The result is what training/recipes/prototypes.toml gives.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from ganime_age.errors import BadInput, GanimeAgeError  # noqa: E402
from ganime_age.learning.data.faces import Faces  # noqa: E402
from ganime_age.learning.prepare.open_mouths import fit_mouth  # noqa: E402
from ganime_age.learning.prepare.unit_regions import confine, is_confined  # noqa: E402
from ganime_age.model.methods import PROTOTYPES  # noqa: E402
from ganime_age.model.model import GanimeAge  # noqa: E402
from ganime_age.model.storage import CONFIG, EMBEDDED, LARGEST, read_config, save  # noqa: E402

SIZE = 128  # pixels of the faces that the recipe measures
MOUTHS = 2500


def with_teeth(folder: Path) -> GanimeAge:
    """The model of a folder whose prototypes can hold a row of teeth; without any yet where it had none."""
    config, _ = read_config(folder / CONFIG)
    state: dict[str, Any] = GanimeAge.from_pretrained(folder).state_dict()
    config[PROTOTYPES] = (config.get(PROTOTYPES) or {}) | {"teeth": True}
    model = GanimeAge(**config)
    old = f"{PROTOTYPES}.mouth.looks"
    if old in state:
        state.pop(old)
        empty = {key: value for key, value in model.state_dict().items() if f"{PROTOTYPES}.mouth." in key}
        state |= empty
    model.load_state_dict(state)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, default=EMBEDDED)
    parser.add_argument("--out", type=Path, help="another folder than the weights' own")
    parser.add_argument("--regions", action="store_true")
    parser.add_argument("--mouth", type=Path, metavar="FACES")
    given = parser.parse_args()
    if not (given.regions or given.mouth):
        raise BadInput("nothing is to be refined; name --regions or --mouth FACES")
    model = with_teeth(given.weights) if given.mouth else GanimeAge.from_pretrained(given.weights)
    model.require(PROTOTYPES)
    if given.regions and not is_confined(model.prototypes):
        confine(model.prototypes)
    if given.mouth:
        fit_mouth(Faces(given.mouth, SIZE), model.prototypes, MOUTHS)
        if not model.prototypes.mouth.known:
            raise BadInput(f"{given.mouth} has too few faces with an open mouth; give more faces")
    files = save(model.half(), given.out or given.weights, largest=LARGEST)
    print(f"{sum(file.stat().st_size for file in files) / 1e6:.1f} MB in half precision -> {files[0].parent}")


if __name__ == "__main__":
    try:
        main()
    except GanimeAgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
