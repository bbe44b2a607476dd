"""Estimate the ages of a face folder anew: `python training/relabel_ages.py --faces FOLDER --out NEW|--in-place`.

--estimator is `readers` (those of this package, the default), a folder of weights, a training run's light folder or a
Hub repository with readers of ours, `insightface:PACK` (a pack with a genderage network, a folder or a name in --models
or ~/.insightface), or `hf:MODEL` (a transformers image classifier whose labels are ages, a folder or on the Hub).

The manifest gets age, age_group, age_spread (standard deviation in years) and age_estimator; what it said before stays
in age_label and age_group_label. --out makes a folder with links to the pictures; --in-place replaces the manifest.
Faces that the estimator cannot tell keep their age. A stopped run leaves everything as it was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from ganime_age.learning.engine.requirements import need_train  # noqa: E402

need_train()
from ganime_age.errors import GanimeAgeError  # noqa: E402
from ganime_age.learning.data.manifest import Manifest  # noqa: E402
from ganime_age.learning.prepare.age_estimators import SHIPPED, estimator_of  # noqa: E402
from ganime_age.learning.prepare.relabel import check_free, relabel  # noqa: E402


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faces", type=Path, required=True, help="a folder with a manifest")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, help="a new folder for the manifest and links to the pictures")
    where.add_argument("--in-place", action="store_true", help="replace the manifest")
    parser.add_argument("--estimator", default=SHIPPED, help="who estimates, see above")
    parser.add_argument("--models", type=Path, help="the folder that holds models/PACK")
    parser.add_argument("--size", type=int, default=128, help="side in pixels at which faces are shown")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    manifest = Manifest(given.faces)  # before time is spent on an estimator
    if given.out:
        check_free(given.out)
    estimator = estimator_of(given.estimator, given.models, given.device)
    told = relabel(given.faces, estimator, given.out, given.size)
    target = given.out / manifest.path.name if given.out else manifest.path
    print(f"{told['estimated']} of {told['faces']} ages estimated by {estimator.name} -> {target}")
    for key, words in (
        ("spread_mean", "mean spread"),
        ("distance_mean", "mean distance from the old labels"),
    ):
        if told[key] is not None:
            print(f"  {words}: {told[key]:.1f} years")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; nothing was changed")
    except GanimeAgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
