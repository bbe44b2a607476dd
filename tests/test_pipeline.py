"""The promises that all methods of the editor share: their options, their progress, and the caller's model."""

import gc
import inspect
import io
import weakref
from copy import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from ganime_age import BadInput, Edit, FaceEditor, GanimeAge
from ganime_age.pipelines.face import FacePipeline
from helpers.clips import make_clip

METHODS = (
    "edit", "edit_many", "progression", "compare", "animate", "animate_video", "edit_video", "reenact",
    "reenact_frames", "reenact_video", "read",
)  # fmt: skip
PLACES = ("photo", "photos", "source", "driving", "target")
ORDER = (
    "age", "ages", "action_units", "turn", "keyframes", "relative", "strength", "parts", "motion",
    "multiplier", "source_age", "frames",
    "seconds", "fps", "there_and_back", "steady", "method", "face", "driving_face", "mark", "batch", "errors",
    "progress",
)  # fmt: skip


@pytest.fixture(scope="module")
def small(portrait):
    """The portrait at 160x160."""
    return np.asarray(Image.fromarray(portrait).resize((160, 160), Image.Resampling.LANCZOS))


@pytest.fixture(scope="module")
def clip(small, tmp_path_factory):
    """Three frames."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make_clip(path, [np.roll(small, step, 1) for step in range(3)])


def test_every_public_method_is_held_to_the_order_of_options():
    public = {name for name, _ in inspect.getmembers(FaceEditor, inspect.isfunction) if name[0] != "_"}
    assert public == {*METHODS, "check_method"}


@pytest.mark.parametrize("name", METHODS)
def test_options_are_keyword_only_and_in_one_order(name):
    parameters = list(inspect.signature(getattr(FaceEditor, name)).parameters.values())[1:]
    places = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    options = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert places + options == [p.name for p in parameters] and places and set(places) <= set(PLACES)
    assert [ORDER.index(option) for option in options] == sorted(ORDER.index(option) for option in options)
    assert options[-1] == "progress"


def test_one_option_has_one_default_everywhere():
    seen = {}
    for name in METHODS:
        for option in inspect.signature(getattr(FaceEditor, name)).parameters.values():
            if option.kind is option.KEYWORD_ONLY and option.name != "relative":
                assert seen.setdefault(option.name, option.default) == option.default, (name, option.name)


def calls(editor, small, clip, folder):
    """A call of every method, by its name."""
    keys = [{"age": 70}]
    return {
        "edit": lambda **how: editor.edit(small, age=70, **how),
        "edit_many": lambda **how: list(editor.edit_many([small] * 3, age=70, batch=2, **how)),
        "progression": lambda **how: editor.progression(small, ages=(20, 70), **how),
        "compare": lambda **how: editor.compare(small, age=70, **how),
        "animate": lambda **how: list(editor.animate(small, keyframes=keys, frames=3, **how)),
        "animate_video": lambda **how: editor.animate_video(
            small, folder / "a.mp4", keyframes=keys, seconds=0.3, fps=10, **how
        ),
        "edit_video": lambda **how: editor.edit_video(clip, folder / "b.mp4", age=70, **how),
        "reenact": lambda **how: editor.reenact(small, small, **how),
        "reenact_frames": lambda **how: list(editor.reenact_frames(small, [small] * 3, **how)),
        "reenact_video": lambda **how: editor.reenact_video(small, clip, folder / "c.mp4", **how),
        "read": lambda **how: editor.read(small, **how),
    }


@pytest.mark.parametrize("name", METHODS)
def test_progress_rises_up_to_the_total(name, editor, small, clip, tmp_path):
    told = []
    calls(editor, small, clip, tmp_path)[name](progress=lambda *step: told.append(step))
    done = [step[0] for step in told]
    assert len(told) >= 3 and all(before < after for before, after in pairwise(done))
    assert {total for _, total, _ in told} == {done[-1]}
    assert all(isinstance(note, str) and note for _, _, note in told)


@pytest.mark.parametrize("name", METHODS)
def test_what_progress_raises_stops_the_work_and_leaves_no_file(name, editor, small, clip, tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total, note):
        raise Stop

    with pytest.raises(Stop):
        calls(editor, small, clip, tmp_path)[name](progress=stop)
    assert list(tmp_path.iterdir()) == []


def state(model):
    """All that an editor could change of a model."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    kept = {name: (t.data_ptr(), t.dtype, t.device, t.requires_grad) for name, t in tensors.items()}
    return kept, [module.training for module in model.modules()]


@pytest.mark.parametrize("kind", ["as loaded", "in training", "trainable", "bfloat16", "part in training"])
def test_the_callers_model_is_never_changed(kind, small):
    parts = ("finder", "readers", "ganimation_age")
    model = GanimeAge.from_pretrained(parts=parts, dtype="bfloat16" if kind == "bfloat16" else None)
    if kind == "in training":
        model.train()
    elif kind == "part in training":
        model.readers.train()
    elif kind == "trainable":
        model.requires_grad_(True)
    before = state(model)
    editor = FaceEditor(model)
    assert editor.edit(small, age=70).edited
    assert state(model) == before
    shares = kind in ("as loaded", "trainable")
    assert (editor.model is model) == shares
    assert not editor.model.training and next(editor.model.parameters()).dtype == torch.float32


def test_a_model_in_training_mode_edits_as_in_eval_mode(editor, small):
    trained = FaceEditor(GanimeAge.from_pretrained().train())
    assert np.array_equal(
        np.asarray(trained.edit(small, age=70).image), np.asarray(editor.edit(small, age=70).image)
    )


def test_the_steps_of_a_pipeline_make_the_editors_edit(editor, model, small):
    pipeline, edit = FacePipeline(model), Edit.of(70, {"AU12": 1})
    photo = pipeline.load(small)
    found = pipeline.detect(photo.pixels)
    (face,) = pipeline.read([pipeline.align(photo.pixels, found[0].landmarks, found[0].box)])
    generated = pipeline.generate(face, edit, "ganimation_age")
    after = pipeline.read_again(face, pipeline.paste(face, generated, mark=True))
    result = pipeline.report(
        face, after, generated.attention, edit=edit, method="ganimation_age", mark=True, seconds=1.0
    )
    whole = editor.edit(small, age=70, action_units={"AU12": 1})
    assert np.array_equal(np.asarray(result.image), np.asarray(whole.image))
    assert result.record() == whole.record() and result.reading.to_dict() == whole.reading.to_dict()
    assert result.identity == whole.identity and whole.warnings and not result.warnings


def test_a_result_is_read_when_somebody_looks_at_it(editor, small, monkeypatch):
    """Saving an edit reads no face a second time and asks nobody who it is; a copy holds what was measured."""
    asked, read, recognise = [], editor.pipeline.read, editor.pipeline.recognise
    monkeypatch.setattr(
        editor.pipeline, "read", lambda crops, *more: asked.append("read") or read(crops, *more)
    )
    monkeypatch.setattr(
        editor.pipeline, "recognise", lambda *faces: asked.append("recognise") or recognise(*faces)
    )
    result = editor.edit(small, age=80)
    result.save(io.BytesIO())
    assert asked == ["read"]
    assert result.reading.age > result.source_reading.age + 15 and asked == ["read", "read"]
    assert result.identity == float(result.reading.identity @ result.source_reading.identity)
    assert result.identity < 1 and sorted(asked) == ["read", "read", "recognise", "recognise"]
    sent = copy(editor.edit(small, age=80))
    assert sent.to_dict() | {"seconds": 0} == result.to_dict() | {"seconds": 0}
    with pytest.raises(AttributeError, match="no attribute 'readings'"):
        _ = result.readings


def test_readings_that_wait_for_somebody_to_look_hold_no_tensors(editor, small, monkeypatch):
    """Thousands of results may be kept; on a GPU each would hold some of its memory."""
    given, read = [], editor.model.read

    def noted(faces, *more):
        given.append(weakref.ref(faces))
        return read(faces, *more)

    monkeypatch.setattr(editor.model, "read", noted)
    (found,) = editor.read(small)
    gc.collect()
    assert len(given) == 1 and given[0]() is None
    assert np.linalg.norm(found.identity) == pytest.approx(1, abs=1e-4)


def test_a_large_photo_is_edited_at_its_own_size_and_a_grey_one_stays_grey(editor, small):
    """A photo enlarged without new detail gets the edit of the small one, in the frame's own pixels."""
    pipeline, edit = editor.pipeline, Edit.of(action_units={"AU12": 3, "AU26": 3})
    grey = np.asarray(
        Image.fromarray(small).convert("L").convert("RGB").resize((640, 640), Image.Resampling.LANCZOS)
    )
    photo = pipeline.load(grey)
    face = pipeline.read_face(photo, pipeline.find_faces(photo))
    fine, coarse = (pipeline.generate(face, edit, "ganimation_age", fine=f) for f in (True, False))
    assert len(coarse.face) == 256 < len(fine.face) <= 640 and len(fine.face) % 64 == 0
    made = [pipeline.paste(face, one, mark=True).astype(int) for one in (fine, coarse)]
    assert all((one.max(2) == one.min(2)).all() for one in made)
    change = [np.abs(one - grey).mean() for one in made]
    assert np.abs(made[0] - made[1]).mean() < 0.35 * change[1] and change[0] > 0.3


def test_a_request_for_what_the_face_shows_generates_nothing(model, small):
    pipeline = FacePipeline(model)
    photo = pipeline.load(small)
    face = pipeline.read_face(photo, pipeline.find_faces(photo))
    assert pipeline.generate(face, Edit(), "ganimation_age") is None
    assert pipeline.paste(face, None, mark=True) is face.photo
    assert pipeline.read_again(face, face.photo) is face


def test_a_clip_given_for_a_photo_and_the_other_way_round_is_one_sentence(editor, small, clip):
    with pytest.raises(BadInput, match="use reenact_frames or reenact_video"):
        editor.reenact(small, clip)
    with pytest.raises(BadInput, match="use reenact_frames or reenact_video"):
        editor.reenact(small, [small, small])
    with pytest.raises(BadInput, match="one driving photo gives no frames; use reenact"):
        editor.reenact_frames(small, small)
