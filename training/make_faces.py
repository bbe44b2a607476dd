"""Make more faces for the recipe `identity`: `python training/make_faces.py KIND FACES OUT --count N`.

KIND is edited (our own edits to other ages and expressions by the prototypes, which stay who they were) or blended
(mixed of two of them, part by part, and bent; the ONNX network --teacher names them). OUT becomes a face folder, of the
training split alone; give it to training/train.py beside FACES.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from ganime_age.learning.engine.requirements import need_train  # noqa: E402

need_train()
import torch  # noqa: E402

from ganime_age.errors import BadInput, GanimeAgeError  # noqa: E402
from ganime_age.learning.data.faces import Faces  # noqa: E402
from ganime_age.learning.external.onnx_models import OnnxIdentity  # noqa: E402
from ganime_age.learning.prepare import made_faces  # noqa: E402
from ganime_age.model.model import GanimeAge  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("edited", "blended"))
    parser.add_argument("faces", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--teacher", type=Path, help="blended: an identity network in ONNX, 128 numbers a face"
    )
    parser.add_argument(
        "--weights", help="edited: a folder or Hub repository instead of the embedded weights"
    )
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.count < 1:
        raise BadInput(f"--count {given.count} must be 1 or more")
    if (given.out / "manifest.parquet").exists():
        raise BadInput(f"{given.out} holds faces already; choose another folder")
    torch.set_num_threads(given.threads)
    faces = Faces(given.faces, 128)
    if given.kind == "edited":
        made = made_faces.edits(GanimeAge.from_pretrained(given.weights), faces, given.count, given.seed)
    elif given.teacher is None:
        raise BadInput("blended needs --teacher FILE.onnx, which says who the blended faces are")
    else:
        teacher = OnnxIdentity(given.teacher, "name an identity network with --teacher")
        made = made_faces.blends(teacher, faces, given.count, given.seed)
    print(f"{made_faces.write(given.out, faces, made, given.kind, given.count)} faces -> {given.out}")


if __name__ == "__main__":
    try:
        main()
    except GanimeAgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
