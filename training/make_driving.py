"""Make the driving clips of the page (src/ganime_age/space/pictures/drive-*.mp4) from the portrait of its examples.

python training/make_driving.py [--out FOLDER]
"""

import argparse
from pathlib import Path

import av
import numpy as np
from PIL import Image

from ganime_age import FaceEditor, GanimeAge
from ganime_age.edits import NO_SMILE, PRESETS
from ganime_age.pipelines.synthetic_driving import MOVES, driving_frames
from ganime_age.space.examples import PORTRAIT
from ganime_age.space.loader import PICTURES

SIDE, RATE, FRAMES = 160, 10, 24
SMALL = {"crf": "27", "preset": "veryslow"}
"""x264's settings: about 10 kB a clip."""
AROUND = 1.5
"""Side of what is shown, in sides of the face's box."""
CLIPS = {
    "nod": ("nod", NO_SMILE),
    "shake": ("shake", NO_SMILE),
    "smile": ("back", NO_SMILE),
    "surprise": ("there", PRESETS["surprise"] | {"AU25": 4.0, "AU26": 4.0}),
}
"""What each clip shows: one of MOVES, and the expression that it leads to or comes from."""
SMILING = ("smile",)
"""Clips that start from the portrait as it is, which smiles; all others from a face at rest."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=PICTURES, help="default: where the page looks for them")
    folder = parser.parse_args().out
    editor = FaceEditor(GanimeAge.from_pretrained())
    whole = Image.open(PICTURES / PORTRAIT).convert("RGB")
    box = editor.read(whole)[0].box
    middle, half = (box[:2] + box[2:]) / 2, AROUND * max(box[2:] - box[:2]) / 2
    smiling = whole.crop([round(edge) for edge in (*(middle - half), *(middle + half))])
    still = editor.edit(smiling, action_units=NO_SMILE, mark=False).image
    for name, (move, units) in CLIPS.items():
        photo = np.asarray(smiling if name in SMILING else still)
        with av.open(str(folder / f"drive-{name}.mp4"), "w") as clip:
            clip.metadata["comment"] = "A face in this video was edited by AI (ganime_age)."
            stream = clip.add_stream("libx264", rate=RATE, options=SMALL)
            stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
            pictures = driving_frames(editor.pipeline, photo, FRAMES + 1, units, move=MOVES[move])
            for _, picture in zip(range(FRAMES), pictures, strict=False):  # the last is the first again
                small = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                clip.mux(stream.encode(av.VideoFrame.from_image(small)))
            clip.mux(stream.encode(None))


if __name__ == "__main__":
    main()
