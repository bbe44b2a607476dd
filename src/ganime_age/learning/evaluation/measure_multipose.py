"""What a multi-pose set came to, and what readers that learnt from it read on real turned faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...errors import BadInput
from ..data.faces import Faces
from ..multipose.report import per_yaw, read_tries
from .measure_estimator import TURNED, turned_error
from .measure_readers import Reader

NOTES = {
    "identity_cosine": "between an accepted image and its source, by the package's frozen readers",
    "age_drift": "estimate on the image minus the estimate on its source, years, by the same readers",
    "rejected_share": "of all tries, by any gate; a rejected try is repeated with another seed, then another source",
    "images_per_second": "of all processes together, rejected tries, reading and writing included",
    "reader_mae_yaw20": f"mean absolute age error in years on real held-out faces with |yaw| > {TURNED:.0f} degrees",
}


def measure(
    folder: Path, real: Faces | None = None, before: Reader | None = None, after: Reader | None = None
) -> dict[str, Any]:
    """The results file of a set that training/augment_multipose.py made. real: the usual faces' test split, on which
    readers from before and after training on the set are compared. BadInput when there is no such set."""
    try:
        report = json.loads((folder / "report.json").read_text())
        images, _ = read_tries(folder)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{folder} holds no multi-pose set ({error}); make one with augment_multipose.py"
        ) from None
    by_yaw = per_yaw(images)
    out = {
        "summary": {
            "images": len(images),
            "test_share": float((images["split"] == "test").mean()),
            "identity_cosine_mean": float(images["identity_cosine"].mean()),
            "age_drift_years": float((images["read_age"] - images["source_read_age"]).mean()),
            "rejected_share": 1 - report["images"] / report["tries"],
            "images_per_second": report["images_per_second"],
            "reader_mae_yaw20_before": None,
            "reader_mae_yaw20_after": None,
        },
        "complete": report["complete"],
        "backend": report["settings"]["backend"],
        "versions": report["settings"]["versions"],
        "by_yaw": {
            f"{yaw:+g}": {name.replace(" ", "_"): round(float(row[name]), 3) for name in by_yaw.columns}
            for yaw, row in by_yaw.iterrows()
        },
        "by_group": images["age_group"].value_counts().to_dict(),
        "rejected": report["rejected"],
        "gates": report["gates"],
        "processes": report["processes"],
        "notes": NOTES,
    }
    for when, readers in (("before", before), ("after", after)):
        if readers is not None and real is not None:
            found = turned_error(readers, real)
            out["summary"][f"reader_mae_yaw20_{when}"] = found["mae"]
            out.setdefault("real_by_yaw", {})[when] = found["by_yaw"]
            out["real_turned_faces"] = found["faces"]
    return out
