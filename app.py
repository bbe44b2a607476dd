"""Entry of the Hugging Face Space; on your own machine: `python app.py`, then open the address it prints."""

import os
import sys
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "src")]

from ganime_age.space.page import LAUNCH, build, on_best_device

if __name__ == "__main__":
    from ganime_age import GanimeAge

    build(on_best_device(GanimeAge.from_pretrained())).launch(**LAUNCH)
