"""The ruler for whole photos: each figure moves when what it measures is changed, and stays when it is not."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ganime_age.card import photos as card_photos
from ganime_age.card.photos import photos as photos_table
from ganime_age.card.results import Results
from ganime_age.errors import BadInput
from ganime_age.images.alignment import apply, frame_matrix, invert
from ganime_age.images.photo import load_photo
from ganime_age.learning.evaluation.metrics import kernel_distance, kernel_distance_error
from ganime_age.learning.evaluation.photos import figures, sizes
from ganime_age.learning.evaluation.photos.age_readers import real_faces
from ganime_age.learning.evaluation.photos.assemble import races_of
from ganime_age.learning.evaluation.photos.blind import (
    ANSWERS,
    check_sheet,
    drawn_request,
    picture,
    read_form,
    write_sheet,
)
from ganime_age.learning.evaluation.photos.editing import aged_photos, opened
from ganime_age.learning.evaluation.photos.expressions import Face, measure_pairs, mouth_error
from ganime_age.learning.evaluation.photos.measure_photos import AGES, Judging, Material, Plan, Run, parts_of
from ganime_age.learning.evaluation.photos.naturalness import KINDS, crops, distance
from ganime_age.learning.evaluation.photos.sizes import measure_sizes
from ganime_age.learning.evaluation.photos.surroundings import BAND, BORDERED, Surroundings, outlines
from ganime_age.learning.evaluation.photos.variants import network_alone, prototypes_alone
from ganime_age.learning.evaluation.photos.whole_photos import (
    Learnt,
    WholePhoto,
    in_turn,
    pairs_of,
    photos_of,
)
from ganime_age.model.fingerprint import fingerprint
from ganime_age.model.methods import METHODS
from ganime_age.networks.ganimation_age import edit
from helpers.painted import blue, named, paint_faces

SIDE, FRAME = 240, 150


@pytest.fixture(scope="module")
def marks(model):
    """Landmarks (68,2) of a face in the middle of a photo of SIDE pixels, whose frame is FRAME wide."""
    inside = model.prototypes.mean_shape.numpy().astype(float)
    return inside * FRAME + (SIDE - FRAME) / 2


@pytest.fixture
def grey():
    """A photo (SIDE,SIDE,3) whose noise tells who it is; its red is 60, which `Reds` reads as 30 years."""
    photo = np.full((SIDE, SIDE, 3), 100, np.uint8)
    photo[..., 2] = np.random.default_rng(0).integers(90, 110, (SIDE, SIDE))
    photo[..., 0] = 60
    return photo


class Reds:
    """Judges that read the age as the frame's red / 2, the second two years older."""

    names = ["one", "two"]

    def read(self, frames, landmarks):
        years = frames[:, 0].mean((1, 2)) * 127.5
        return torch.stack([years, years + 2], 1)


class Painter:
    """An editor that finds a face at `marks` (of photos SIDE wide) and draws what `paint` (photo, age, units) makes."""

    detector = None
    model = SimpleNamespace(editable_action_units=("AU12",), methods=("ganimation_age",))

    def __init__(self, marks, paint):
        self.marks, self.paint, self.weights = marks, paint, str(id(paint))

    def read(self, photo):
        pixels = load_photo(photo)
        if pixels.max() == 0:
            raise BadInput("no face was found")
        units = {"AU12": float(pixels[0, 0, 1]) / 51}
        return [SimpleNamespace(landmarks=self.marks * len(pixels) / SIDE, age=30.0, action_units=units)]

    def progression(self, photo, *, ages, method, mark):
        return [self._result(photo, years, {}) for years in ages]

    def edit(self, photo, *, action_units, method):
        return self._result(photo, None, action_units)

    def _result(self, photo, years, units):
        image = Image.fromarray(self.paint(load_photo(photo), years, units))
        return SimpleNamespace(save=image.save)


def aged(photo, years, units):
    """The perfect edit of a face whose red is its age: the whole frame, and nothing beyond."""
    out = photo.copy()
    edge = (len(photo) - FRAME * len(photo) // SIDE) // 2
    out[edge:-edge, edge:-edge, 0] = 60 if years is None else 2 * years
    return out


def face_at(path, photo, marks, **more):
    Image.fromarray(photo).save(path)
    return WholePhoto(path, more.pop("source", "mine"), marks, **more)


def frame_box(marks):
    """Left, top, right, bottom of the frame in the photo."""
    corners = apply(invert(frame_matrix(marks, 100)), np.array([[0.0, 0], [100, 100]]))
    return corners.round().astype(int).ravel()


def test_a_change_beside_the_face_counts_and_one_of_the_face_does_not(grey, marks):
    parts = Surroundings.of(grey, marks, lambda frames, side: np.zeros((1, side, side)), None)
    left, top, right, bottom = frame_box(marks)
    still = parts.change(grey, grey)
    assert (still["outside"], still["outside_999"], still["border"]) == (0, 0, 0)
    face, beside = grey.copy(), grey.copy()
    nose = marks[30].astype(int)
    face[nose[1] - 12 : nose[1] + 12, nose[0] - 12 : nose[0] + 12] += 50
    assert parts.change(grey, face)["outside"] == 0
    beside[top : top + 10, left:right] += 50
    changed = parts.change(grey, beside)
    assert changed["outside"] > 2 and changed["outside_999"] == 50
    far = grey.copy()
    far[:8] += 50  # nobody edits there, so it dilutes nothing
    assert parts.change(grey, far)["outside"] == 0


def test_what_the_judge_of_hair_calls_hair_does_not_count(grey, marks):
    hairy = Surroundings.of(grey, marks, lambda frames, side: np.ones((1, side, side)), None)
    left, top, right, _ = frame_box(marks)
    greyed = grey.copy()
    greyed[top : top + 10, left:right] += 50
    assert np.isnan(hairy.change(grey, greyed)["outside"])


def test_a_veil_that_ends_at_the_frame_is_a_step_and_noise_is_none(grey, marks):
    parts = Surroundings.of(grey, marks, None, None)
    left, top, right, bottom = frame_box(marks)
    veiled, all_over = grey.copy(), grey + 10
    veiled[top:bottom, left:right] += 10
    assert parts.change(grey, veiled)["border"] == pytest.approx(10, abs=1)
    assert parts.change(grey, all_over.astype(np.uint8))["border"] == pytest.approx(0, abs=0.05)
    noisy = grey.copy().astype(int)
    chance = np.random.default_rng(1).integers(-3, 4, (bottom - top, right - left, 1))
    noisy[top:bottom, left:right] += chance
    assert parts.change(grey, noisy.astype(np.uint8))["border"] < 0.3


def test_grey_hair_that_crosses_the_border_is_no_step_and_a_veil_over_it_is(grey, marks):
    left, top, right, bottom = frame_box(marks)
    edge = round(2 * BAND * 256)

    def chances(pictures, side):
        out = np.zeros((len(pictures), side, side))
        if side == BORDERED:
            out[:, edge - 5 :, : side // 2] = 1.0  # most of the hair lies below the upper border
        return out

    parts = Surroundings.of(grey, marks, chances, None)
    hair = np.zeros(grey.shape[:2], bool)
    pixel = (right - left) / 256
    hair[round(top - 5 * pixel) :, : (left + right) // 2] = True
    greyed = grey.copy()
    greyed[hair] += 40
    change = parts.change(grey, greyed)
    assert change["border"] > 3 and change["border_alike"] < 0.25 * change["border"]
    veiled = greyed.copy()
    veiled[top:bottom, left:right] += 10
    assert parts.change(grey, veiled)["border_alike"] > 6


def test_headwear_is_where_the_user_outlined_it(grey, marks, tmp_path):
    (tmp_path / "hats.csv").write_text("file,outline\na.png,.3 .2 .7 .2 .7 .3 .3 .3\n")
    photo = face_at(tmp_path / "a.png", grey, marks)
    hat = outlines(tmp_path / "hats.csv", [photo])["a.png"]
    parts = Surroundings.of(grey, marks, None, hat)
    greyed = grey.copy()
    greyed[round(0.2 * SIDE) : round(0.3 * SIDE)] += 8
    assert parts.change(grey, greyed)["headwear"] == pytest.approx(8, abs=0.5)
    assert np.isnan(Surroundings.of(grey, marks, None, None).change(grey, greyed)["headwear"])
    for text, why in (
        ("b.png,.1 .1 .2 .2 .1 .3", "no photo"),
        ("a.png,.1 .1 .2 .2", "three or more"),
        ("a.png,x", "three"),
    ):
        (tmp_path / "hats.csv").write_text(f"file,outline\n{text}\n")
        with pytest.raises(BadInput, match=why):
            outlines(tmp_path / "hats.csv", [photo])


def run_of(tmp_path, marks, photos, paint=aged, learnt=None):
    """A measurement of an editor that paints, with judges whose every answer is known."""
    (tmp_path / "faces").mkdir()
    faces = paint_faces(tmp_path / "faces")
    judging = Judging(Reds(), named(blue), learnt=learnt or Learnt(np.zeros((0, 1)), None))
    plan = Plan(photos=len(photos), faces=4, sizes=2, per_group=8, per_source=20)
    return Run(Painter(marks, paint), Material(photos, faces), judging, plan, tmp_path)


@pytest.fixture
def three(tmp_path, grey, marks):
    return [face_at(tmp_path / f"a_{i}.png", grey + i, marks, age=30.0) for i in range(3)]


def test_a_perfect_edit_reads_as_real_faces_do_and_one_that_falls_short_does_not(tmp_path, marks, three):
    run = run_of(tmp_path, marks, three)
    out = run.begin()
    run.photos(out)
    summary = out["summary"]
    assert summary["age_error_mean"] < 1.5 and summary["age_slope"] == pytest.approx(1, abs=0.02)
    assert summary["nothing_age_error_mean"] > 15 and summary["verification_mean"] == 1
    assert summary["age_spread"] < 0.01 and out["by_source"]["mine"]["own_age_error"] == pytest.approx(
        2, abs=1.1
    )
    assert [row["asked"] for row in out["groups"]] == list(AGES)
    assert set(out["judges"]) == {"one", "two", "mean of the judges"}
    assert out["groups"][0]["judges"]["two"] == pytest.approx(out["groups"][0]["judges"]["one"] + 2)
    kept = figures_as_json(out)
    text = photos_table(Results(tmp_path / "photos.json", kept))
    assert "3 mine; left out: 0 that" in text and f"| {kept['summary']['age_error_mean']:.3g} years |" in text
    assert "| one |" in text and "By source" in text and "By race" not in text
    run.editor.paint = lambda photo, years, units: aged(photo, 30 + (years - 30) / 2, units)
    run.editor.weights, run.seen, run.opened = "worse", [], []
    run.photos(out)
    assert (
        out["summary"]["age_slope"] == pytest.approx(0.5, abs=0.02) and out["summary"]["age_error_mean"] > 8
    )
    assert {"outside", "border"} <= set(out["mark"]["with"])


def test_another_person_is_not_verified(tmp_path, marks, three):
    run = run_of(tmp_path, marks, three, lambda photo, years, units: photo[::-1] if years > 40 else photo)
    run.begin()
    seen = run.follow(run.editor, opened(run.editor, three[0]), "ganimation_age")
    assert ((seen.cosine > run.yard.threshold) == (seen.asked <= 40)).all()


def figures_as_json(out):
    from ganime_age.learning.evaluation.measure_edits import rounded

    return json.loads(json.dumps(rounded(out)))


def test_training_pictures_and_photos_without_a_face_are_left_out_and_counted(tmp_path, marks, grey, three):
    noise = np.random.default_rng(3).standard_normal((2, 8))
    embed = lambda pixels, points: noise[0] if pixels[0, 0, 2] == (grey + 1)[0, 0, 2] else noise[1]  # noqa: E731
    learnt = Learnt(noise[:1], embed)
    black = face_at(tmp_path / "a_9.png", np.zeros((100, 100, 3), np.uint8), None)
    elsewhere = face_at(tmp_path / "b_1.png", grey, marks / 3)
    run = run_of(tmp_path, marks, [*three, black, elsewhere], learnt=learnt)
    run.photos(run.begin())
    assert len(run.seen) == 2 and run.left_out == {"learnt_from": 1, "no_face_or_another": 2}
    alone = run_of_nobody(run, [three[1]])
    with pytest.raises(
        BadInput, match=r"no photo of the folders shows a face that can be measured: 1 are training"
    ):
        alone.photos({"summary": {}})


def run_of_nobody(run, photos):
    again = Run(run.editor, Material(photos, run.material.faces), run.judging, run.plan, run.scratch)
    again.yard, again.real_crops = run.yard, {}
    return again


def test_an_error_of_one_source_does_not_hide_that_of_another(tmp_path):
    faces = real_faces(paint_faces(tmp_path), Reds(), 8)
    yard = figures.Yard(faces, 0.5, ["one", "two"])

    def seen(source, off):
        asked = np.array(AGES)
        read = np.stack([yard.aim(years) for years in asked]) + off
        return figures.Followed(source, None, None, asked, read, np.array([30.0, 32]), np.ones(len(asked)))

    both = [seen("a", 5)] * 3 + [seen("b", -5)] * 3
    assert figures.summary(both, yard)["age_error_mean"] == pytest.approx(5)
    assert figures.part_row(both, yard)["age_error_mean"] == pytest.approx(0, abs=1e-6)
    assert figures.part_row(both, yard)["single_error"] == pytest.approx(5)
    assert figures.part_row(both, yard)["spread"] == pytest.approx(5)


def test_crops_of_other_skin_are_farther_from_real_ones(grey, marks):
    inside = (marks - (SIDE - FRAME) / 2) / FRAME
    cut = crops(grey[45:195, 45:195], inside)
    assert set(cut) == set(KINDS) and all(part.shape[1:] == (128, 128, 3) for part in cut.values())
    chance = np.random.default_rng(0)
    real, same, other = (chance.normal(shift, 1, (40, 6)) for shift in (1, 1, 2))
    near, far = (distance([part], [real]) for part in (same, other))
    assert (
        abs(near["distance"]) < 3 * near["standard_error"] and far["distance"] > 10 * near["standard_error"]
    )
    assert distance([same[:4]], [real]) is None
    whole, _ = kernel_distance_error(same, real)
    assert whole == pytest.approx(kernel_distance(same, real, 40, 1)[0])


def test_a_mouth_that_comes_nearer_leaves_less_of_the_error(tmp_path, marks, grey):
    smiling = marks.copy()
    smiling[48:68] += (0, 12)
    assert mouth_error(marks, marks) == pytest.approx(0, abs=1e-9)
    turned = apply(np.array([[0.8, -0.6, 30.0], [0.6, 0.8, 5]]), marks)
    assert mouth_error(turned, marks) == pytest.approx(0, abs=1e-9)
    whole = mouth_error(smiling, marks)
    assert mouth_error((marks + smiling) / 2, marks) == pytest.approx(whole / 2, rel=0.02)

    class Sees:  # green says how far a face smiles
        name = "green"

        def see(self, frame):
            share = (float(frame[..., 1].mean()) - 100) / 40
            return Face(marks + share * (smiling - marks), np.array([share]))

    calm = face_at(tmp_path / "p_neutral_1.png", grey, marks)
    glad_pixels = grey.copy()
    glad_pixels[..., 1] = 140
    glad = face_at(tmp_path / "p_smile_1.png", glad_pixels, marks)
    assert pairs_of([glad, calm]) == [(calm, glad)]

    def half(photo, years, units):
        out = photo.copy()
        out[..., 1] = (photo[..., 1].astype(float) + 51 * units["AU12"]) / 2
        return out

    summary, details = measure_pairs(Painter(marks, half), [(calm, glad)], Sees(), tmp_path)
    assert summary["smile_points_left"] == pytest.approx(0.5, abs=0.03)
    assert summary["smile_blendshapes_left"] == pytest.approx(0.5, abs=0.03) and summary["smile_nearer"] == 1
    assert details["people"] == 1 and details["to_neutral"]["edits"] == 1


def test_an_edit_that_depends_on_the_size_spreads(tmp_path, marks, grey, monkeypatch):
    monkeypatch.setattr(sizes, "SIZES", (128, 256, 512))
    large = np.asarray(Image.fromarray(grey).resize((512, 512)))
    one = opened(Painter(marks, aged), face_at(tmp_path / "large.png", large, marks * 512 / SIDE))
    found = measure_sizes(Painter(marks, aged), [one], Reds(), tmp_path)
    assert found["size_spread_years"] < 0.6 and list(found["by_size"]) == ["128", "256", "512"]
    shy = lambda photo, years, units: aged(photo, years + (10 if len(photo) > 150 else 0), units)  # noqa: E731
    assert measure_sizes(Painter(marks, shy), [one], Reds(), tmp_path)["size_spread_years"] == pytest.approx(
        10, abs=1
    )


def test_the_model_in_parts_adds_nothing_of_the_other_part(model):
    noise = torch.rand(1, 3, 64, 64) * 2 - 1
    # Of a smooth face, for a warp of nothing rounds at edges.
    face = torch.nn.functional.interpolate(noise, size=(256, 256), mode="bilinear")
    request = (torch.tensor([30.0]), torch.tensor([70.0]), torch.zeros(1, 17), torch.full((1, 17), 5.0))
    network, marks = model.ganimation_age, model.prototypes.mean_shape[None]
    alone, moved = prototypes_alone(model), face.flip(3)
    still, drawn = (
        edit(one, face, *request, landmarks=(marks, marks), moved=lambda: moved).face
        for one in (alone.ganimation_age, network)
    )
    assert torch.allclose(still, face, atol=1e-6)
    assert not torch.allclose(drawn, face, atol=1e-3)
    assert alone.prototypes is model.prototypes and model.ganimation_age is network
    assert fingerprint(alone) != fingerprint(model), "kept edits are told apart by it"
    shown = model.prototypes(face, marks, *request)
    assert torch.allclose(alone.edit(face, *request, landmarks=marks).face, shown, atol=1e-6)
    changes = network_alone(model).prototypes.knot_changes(*request[:2])
    assert all((change == 0).all() for change in changes.values())
    ages, units = request[:2], torch.zeros(1, 17)
    aged = [
        one(face, marks, *ages, units, units) for one in (network_alone(model).prototypes, model.prototypes)
    ]
    assert torch.allclose(aged[0], face, atol=1e-5) and not torch.allclose(aged[1], face, atol=0.1)


def test_folders_and_tables_that_do_not_fit_are_one_sentence(tmp_path, grey, marks):
    with pytest.raises(BadInput, match="holds no photos"):
        photos_of([tmp_path])
    face_at(tmp_path / "x_1.png", grey, None)
    seen = {"x_1.png": {"faces": [{"box": [0, 0, 9, 9], "landmarks68": marks.tolist()}]}}
    (tmp_path / "reference.json").write_text(json.dumps(seen))
    table = tmp_path / "ages.csv"
    for text, why in (
        ("file,age\nnone.png,3", "no photo of the folders"),
        ("file,age\nx_1.png,130", "out of range"),
        ("file,age\nx_1.png,old", "not a number"),
        ("name,age\nx_1.png,3", "lacks the column file"),
    ):
        table.write_text(text)
        with pytest.raises(BadInput, match=why):
            photos_of([tmp_path], table)
    table.write_text("file,age,source\nx_1.png,31,scan\n")
    (photo,) = photos_of([tmp_path], table)
    assert (photo.age, photo.source) == (31, "scan") and np.allclose(photo.landmarks, marks)
    assert photos_of([tmp_path])[0].source == "x"
    with pytest.raises(BadInput, match="--parts hair is not known"):
        parts_of("ages,hair")
    with pytest.raises(BadInput, match="need ages"):
        parts_of("rows")
    (tmp_path / "faces").mkdir()
    with pytest.raises(BadInput, match="says no race"):
        races_of(paint_faces(tmp_path / "faces"))


def test_sources_come_in_turn():
    photos = [WholePhoto(Path(f"{s}{i}"), s) for s, n in (("a", 5), ("b", 2)) for i in range(n)]
    assert [photo.source for photo in in_turn(photos)] == ["a", "b", "a", "b", "a", "a", "a"]
    assert len({photo.path for photo in in_turn(photos)}) == 7


def test_a_blind_sheet_hides_what_is_edited_and_its_form_counts(tmp_path, marks, three):
    editor, sheet = Painter(marks, aged), tmp_path / "sheet"
    photos = [one for one in (opened(editor, photo) for photo in three) if one]
    assert write_sheet(editor, photos, sheet, tmp_path, 10) == 3
    page, key = (sheet / "index.html").read_text(), json.loads((sheet / "key.json").read_text())
    assert sorted(row["edited"] for row in key.values()) == [False, True, True]
    assert len({row["photo"] for row in key.values()}) == 3 and "http" not in page and "a_0" not in page
    assert all(f'name="{name}" value="{answer}"' in page for name in key for answer in ANSWERS)
    assert all(not Image.open(sheet / f"{name}.jpg").getexif() for name in key)
    assert {row.get("method") for row in key.values() if row["edited"]} == {"ganimation_age"}
    check_sheet(sheet, "ganimation_age")
    with pytest.raises(BadInput, match="are by ganimation_age; give that --method"):
        check_sheet(sheet, "ganimation")
    form = sheet / "form.csv"
    natural = next(name for name in key if key[name]["edited"])
    lines = [
        f"{name},{'natural' if name == natural or not row['edited'] else 'made'}" for name, row in key.items()
    ]
    form.write_text("\n".join(["picture,answer", *lines]))
    found = read_form(form)
    assert (
        found["edits"] == {"answered": 2, "natural": 1, "share": 0.5} and found["real_photos"]["share"] == 1
    )
    shown = card_photos.blind(Results(form, {"blind": found | {"by": "a friend"}}))
    assert "1 of 2 edits and 1 of 1 real photos looked natural to a friend." in shown
    counts = {
        "methods": {"ganimation": found | {"by": "a friend", "weights": "0123456789", "date": "2026-01-02"}}
    }
    shown = card_photos.natural(Results(form, counts))
    assert "- GANimation, weights 01234567, 2026-01-02: 1 of 2 edits and 1 of 1 real photos looked" in shown
    for text, why in (("009,made", "no picture"), ("001,yes", "no answer"), ("001,made\n001,made", "twice")):
        form.write_text(f"picture,answer\n{text}\n")
        with pytest.raises(BadInput, match=why):
            read_form(form)
    shutil.copy(form, tmp_path / "form.csv")
    with pytest.raises(BadInput, match="name its folder with --blind"):
        read_form(tmp_path / "form.csv")
    with pytest.raises(BadInput, match="two or more photos"):
        write_sheet(editor, photos[:1], sheet, tmp_path)


def test_a_sheet_asks_of_a_method_what_it_can_change():
    chance = np.random.default_rng(0)
    asked = {name: [drawn_request(chance, name) for _ in range(40)] for name in METHODS}
    kinds = {name: {next(iter(one)) for one in own} for name, own in asked.items()}
    assert kinds["ganimation"] == {"action_units"} and kinds["agetransgan"] == {"age"}
    assert kinds["ganimation_age"] == {"age", "action_units"}


@pytest.mark.parametrize(("own", "shown"), [(100, 320), (400, 520), (900, 640)])
def test_a_picture_of_the_sheet_is_as_large_as_it_is_within_limits(marks, own, shown):
    photo = np.zeros((2 * own, 2 * own, 3), np.uint8)
    one = picture(photo, (marks - (SIDE - FRAME) / 2) / FRAME * own + own / 2)
    assert max(one.size) == pytest.approx(shown, abs=10)


def test_edits_that_are_kept_are_not_made_again(tmp_path, marks, grey):
    asked = []

    def counting(photo, years, units):
        asked.append(years)
        return aged(photo, years, units)

    editor = Painter(marks, counting)
    one = opened(editor, face_at(tmp_path / "a_1.png", grey, marks))
    first = dict(aged_photos(editor, one, (5.0, 60.0), tmp_path))
    again = dict(aged_photos(editor, one, (5.0, 60.0, 75.0), tmp_path))
    assert asked == [5, 60, 75] and all((first[years] == again[years]).all() for years in first)
    dict(aged_photos(editor, one, (5.0,), tmp_path, mark=False))
    editor.weights = "others"
    dict(aged_photos(editor, one, (5.0,), tmp_path))
    assert asked == [5, 60, 75, 5, 5]


def test_the_readme_shows_whole_photos_once_all_its_figures_are_measured(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "training"))
    import render_readme

    groups = [
        {"group": name, "asked": 45.0, "age": 30.0, "real_age": 44.0, "age_error": error, "verification": 0.5}
        for name, error in (("40-49", 14.0), ("50-69", 24.0), ("70+", 31.0))
    ]
    summary = {"age_error_mean": 23.0, "verification_mean": 0.5, "smile_points_left": 0.7}
    values = {"summary": summary, "groups": groups, "judged_by": {"age": "one, two"}, "by_source": {}}
    photos = Results(Path("photos.json"), values)
    assert render_readme.measured_on_photos({"photos": photos})
    assert "edited photos are read by the age judges (one, two) as 30, 30, 30" in render_readme.short(photos)
    assert render_readme.weakest(photos, "age_error_mean") == "31 towards 70+"
    partial = Results(Path("photos.json"), values | {"summary": summary | {"smile_points_left": None}})
    assert not render_readme.measured_on_photos({"photos": partial}) and not render_readme.measured_on_photos(
        {}
    )
