"""Write the shipped weights' model card: `python training/render_card.py [--figures | --check]`.

It goes to model_card/README.md, from model_card/results/*.json and facts.json; --figures draws model_card/figures/
again, with the shipped weights, and README's moving pictures. --check writes nothing and exits 1 when the card does
not show what the files hold.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from ganime_age.card.card import render, write_card  # noqa: E402
from ganime_age.card.moving import draw_moving  # noqa: E402
from ganime_age.editor import FaceEditor  # noqa: E402
from ganime_age.errors import GanimeAgeError  # noqa: E402
from ganime_age.model.model import GanimeAge  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--figures", action="store_true")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    folder, model = ROOT / "model_card", GanimeAge.from_pretrained()
    where = {"results": folder / "results", "facts": folder / "facts.json"}
    if given.figures:
        write_card(folder, model, **where)
        draw_moving(FaceEditor(model), folder / "figures")
        return 0
    path, text = folder / "README.md", render(model, **where)
    if not given.check:
        path.write_text(text, encoding="utf-8")
        return 0
    current = path.exists() and path.read_text(encoding="utf-8") == text
    if not current:
        print("model_card/README.md is stale; run python training/render_card.py", file=sys.stderr)
    return int(not current)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GanimeAgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
