"""Entry of the Hugging Face Space; on your own machine: `python app.py`, then open the address it prints."""

import os
import sys
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from ganime_age import FaceEditor, GanimeAge  # noqa: E402
from space.page import LAUNCH, build  # noqa: E402

if __name__ == "__main__":
    build(FaceEditor(GanimeAge.from_pretrained())).launch(**LAUNCH)
