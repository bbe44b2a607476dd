"""`verify` of clips: what `edit_video` and an animation mark is found again, in the file and in its frames."""

import shutil

import numpy as np
import pytest
from PIL import Image

import ganime_age
from ganime_age import BadInput
from ganime_age.cli import main as cli
from ganime_age.provenance import clips
from ganime_age.provenance.watermark import THRESHOLD
from helpers.clips import make_clip

pytest.importorskip("av", reason="clips need PyAV: pip install 'ganime_age[video]'")


@pytest.fixture(scope="module")
def plain(portrait, tmp_path_factory):
    """A clip of four frames that nobody edited."""
    return make_clip(tmp_path_factory.mktemp("clips") / "plain.mp4", [portrait] * 4)


@pytest.fixture(scope="module")
def older(plain, editor):
    target = plain.with_name("older.mp4")
    editor.edit_video(plain, target, age=70)
    return target


def test_an_edited_clip_is_told_by_its_metadata_and_its_frames(plain, older, editor, capsys):
    verdict = ganime_age.verify(older, editor.detector)
    assert verdict.edited and verdict.record["age"] == 70 and verdict.source_type.endswith("AlgorithmicMedia")
    assert len(verdict.watermark) == 4 and min(verdict.watermark) >= THRESHOLD
    assert verdict.sentence().startswith("edited: metadata of ganime_age (age 70.0); watermark ")
    untouched = ganime_age.verify(str(plain), editor.detector)
    assert not untouched.edited and untouched.record is None and max(untouched.watermark) < THRESHOLD
    assert cli.main(["verify", str(older), str(plain.with_name("gone.mp4"))]) == 2
    said = capsys.readouterr()
    assert said.out.startswith(f"{older}  edited: ") and "gone.mp4 does not exist" in said.err


def test_metadata_is_found_where_the_container_has_it_and_its_loss_is_no_proof(older, editor, tmp_path):
    stripped = tmp_path / "stripped.mp4"
    data = older.read_bytes()
    stripped.write_bytes(data[: data.rindex(clips.XMP_BOX) - 8])
    verdict = ganime_age.verify(stripped, editor.detector)
    assert verdict.record is None and verdict.edited, "the watermark is in the frames"
    renamed = tmp_path / "renamed.mov"
    shutil.copy(older, renamed)
    assert '"age": 70' in clips.clip_packet(renamed).replace("&quot;", '"')
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(b"\x00\x00\x00\x02uuid" + b"\x00" * 40)
    assert clips.clip_packet(cut) == ""
    with pytest.raises(BadInput, match="cut.mp4 is not a readable video"):
        ganime_age.verify(cut, editor.detector)


def test_a_long_clip_is_looked_at_in_a_few_frames(tmp_path, portrait):
    small = np.asarray(Image.fromarray(portrait).resize((64, 64)))
    clip = make_clip(tmp_path / "long.mp4", [small] * 60, fps=12)
    seen = []
    assert clips.clip_scores(clip, lambda pixels: seen.append(pixels.shape) or [], 8) == ()
    assert 4 <= len(seen) <= clips.MOST_FRAMES and set(seen) == {(64, 64, 3)}


def test_an_animated_gif_is_a_clip(tmp_path, editor, portrait):
    small = np.asarray(Image.fromarray(portrait).resize((200, 200), Image.Resampling.LANCZOS))
    target = tmp_path / "aged.gif"
    editor.animate_video(small, target, keyframes=[{"age": 75}], seconds=0.2, fps=10)
    verdict = ganime_age.verify(target, editor.detector)
    assert verdict.edited and "an animation" in verdict.sentence()
