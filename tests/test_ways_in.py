"""What Python users hand in and take out: files, addresses, tensors, many photos, words, and results that travel."""

import io
import os
import re
import warnings
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

import ganime_age
from ganime_age import BadInput, FaceEditor, align, crop, load_photo, paste, verify
from ganime_age.edits import AU_CODES
from ganime_age.images import download
from ganime_age.model.methods import METHODS, MethodName, method_called
from ganime_age.pipelines.notes import looks_swapped
from ganime_age.runtime import best_device, checked_device, working_dtype
from helpers.files import files_no_larger_than
from helpers.web import serving


def as_file(pixels, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file


def planes(pixels):
    """(H,W,3) uint8 -> (3,H,W) in 0..1."""
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


class TestPhotos:
    def test_an_open_file_is_read_from_its_start_and_left_where_it_was(self, portrait, portrait_file):
        file = as_file(portrait)
        assert file.tell() > 0
        place = file.tell()
        assert np.array_equal(load_photo(file), portrait) and file.tell() == place
        with portrait_file.open("rb") as opened:
            assert np.array_equal(load_photo(opened), portrait)

    def test_a_tensor_is_rgb_in_0_to_1_and_keeps_every_byte(self, portrait):
        for tensor in (planes(portrait), planes(portrait)[None], planes(portrait).double().requires_grad_()):
            assert np.array_equal(load_photo(tensor), portrait)
        assert np.array_equal(load_photo(torch.from_numpy(portrait).permute(2, 0, 1)), portrait)
        grey = load_photo(planes(portrait)[:1])
        assert np.array_equal(grey, np.repeat(portrait[..., :1], 3, 2))
        resampled = planes(portrait) * 1.02 - 0.01
        assert load_photo(resampled).max() == 255, "what resampling left beyond 0..1 is clipped"

    @pytest.mark.parametrize(
        "source, sentence",
        [
            (lambda p: planes(p) * 2 - 1, r"values from -1 to .*; give RGB in 0..1, such as \(x \+ 1\) / 2"),
            (lambda p: planes(p) * 255, r"give RGB in 0..1, such as x / 255"),
            (lambda p: torch.from_numpy(p).float() / 255, r"channels to the front with x.permute\(2, 0, 1\)"),
            (
                lambda p: torch.stack([planes(p)] * 2),
                "is a batch of 2; give one photo, or all .* to edit_many",
            ),
            (lambda p: planes(p) * float("nan"), "holds NaN or infinite values"),
            (
                lambda p: torch.from_numpy(p).permute(2, 0, 1).int(),
                "has the type int32; give a tensor of floats",
            ),
            (lambda p: io.StringIO("text"), "is open as text; open it with mode 'rb'"),
            (lambda p: io.BytesIO(), "is an empty file; give a photo"),
            (lambda p: io.BytesIO(b"no photo"), "is not a readable image"),
            (lambda p: "https://example.org/a.jpg", "is a web address, and nothing is fetched unless"),
            (lambda p: "ftp://example.org/a.jpg", "cannot be fetched: only http and https are; download"),
            (lambda p: "https://example.org/a.mp4", "is a web address; download the clip and give its path"),
        ],
    )
    def test_what_cannot_be_used_is_one_sentence(self, portrait, source, sentence):
        with pytest.raises(BadInput, match=sentence) as caught:
            load_photo(source(portrait))
        assert "\n" not in str(caught.value)

    def test_a_closed_file_and_a_text_file_are_named(self, tmp_path):
        path = tmp_path / "photo.jpg"
        path.write_bytes(b"\xff\xd8\xff\xe0")
        with path.open() as text, pytest.raises(BadInput, match="photo.jpg is open as text"):
            load_photo(text)
        with pytest.raises(BadInput, match="photo.jpg cannot be read .*closed"):
            load_photo(text)

    def test_an_array_with_red_and_blue_exchanged_is_warned_of(self, editor, portrait, monkeypatch):
        monkeypatch.setattr(editor.pipeline, "generate", lambda *_, **__: None)
        swapped = np.ascontiguousarray(portrait[..., ::-1])
        for given in (swapped, swapped / 255, planes(swapped), torch.from_numpy(swapped).permute(2, 0, 1)):
            (warning,) = editor.edit(given, age=70).warnings
            assert "give photo[..., ::-1], or of a tensor (C,H,W) photo.flip(-3)" in warning
        for right in (portrait, planes(portrait), planes(swapped).flip(-3), planes(swapped)[None].flip(-3)):
            assert editor.edit(right, age=70).warnings == ()
        assert editor.edit(Image.fromarray(swapped), age=70).warnings == (), "a file says which is which"
        grey = np.repeat(portrait[..., :1], 3, 2)
        assert not looks_swapped(grey)

    def test_reading_such_an_array_gives_pythons_warning(self, editor, portrait):
        swapped = np.ascontiguousarray(portrait[..., ::-1])
        for given in (swapped, planes(swapped)):
            with pytest.warns(UserWarning, match="its channels are BGR") as said:
                editor.read(given)
            assert said[0].filename == __file__, "it names the line that read"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            editor.read(portrait)
            editor.read(Image.fromarray(swapped))


class TestAddresses:
    def test_a_photo_is_fetched_where_that_is_allowed(self, model, portrait, monkeypatch, tmp_path):
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        photo = as_file(portrait).getvalue()
        secret = tmp_path / "secret.png"
        secret.write_bytes(photo)
        answers = {
            "/a.png": (200, {}, photo),
            "/moved": (302, {"Location": "/a.png"}, b""),
            "/local": (302, {"Location": secret.as_uri()}, b""),
        }
        with serving(answers) as address:
            assert np.array_equal(load_photo(f"{address}/a.png", allow_download=True), portrait)
            assert np.array_equal(load_photo(f"{address}/moved", allow_download=True), portrait)
            assert len(FaceEditor(model, allow_download=True).read(f"{address}/a.png")) == 1
            assert not verify(f"{address}/a.png", allow_download=True).edited
            with pytest.raises(BadInput, match=r"/gone cannot be fetched \(HTTP 404"):
                load_photo(f"{address}/gone", allow_download=True)
            with pytest.raises(BadInput, match="/local cannot be fetched"):
                load_photo(f"{address}/local", allow_download=True)
            monkeypatch.setattr(download, "MOST_BYTES", 1000)
            with pytest.raises(BadInput, match="a.png is larger than"):
                load_photo(f"{address}/a.png", allow_download=True)
            monkeypatch.setattr(download, "MOST_BYTES", 10**9)
            monkeypatch.setattr(download, "SECONDS", -1.0)
            monkeypatch.setattr(download.request.OpenerDirector, "open", opened_without_a_limit)
            with pytest.raises(BadInput, match="did not arrive within"):
                load_photo(f"{address}/a.png", allow_download=True)
        with pytest.raises(BadInput, match="cannot be fetched"):
            load_photo(f"{address}/a.png", allow_download=True)

    def test_an_editor_fetches_nothing_by_itself(self, editor, tmp_path):
        with pytest.raises(BadInput, match="download the photo, or set allow_download=True"):
            editor.edit("http://127.0.0.1:9/a.jpg", age=70)
        with pytest.raises(BadInput, match="nothing is fetched unless it is allowed"):
            verify("http://127.0.0.1:9/a.jpg")
        with pytest.raises(BadInput, match="ftp://a/a.jpg cannot be fetched: only http and https are"):
            load_photo("ftp://a/a.jpg", allow_download=True)
        with pytest.raises(BadInput, match="is a web address; download the clip and give its path"):
            editor.edit_video("https://127.0.0.1:9/a.mp4", tmp_path / "out.mp4", age=70)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://a.org/b/my%20photo.jpg?size=3#top", "my photo.jpg"),
        ("https://a.org/..%2f..%2f.ssh", "ssh"),
        ("https://a.org/b/..", "photo"),
        ("https://a.org", "photo"),
        ("https://a.org/a%00b%5Cc.png", "a_b_c.png"),
        ("https://a.org/" + "x" * 300 + ".webp", "x" * 55 + ".webp"),
    ],
)
def test_a_fetched_file_has_a_name_that_leads_nowhere_else(address, name):
    assert download.address_name(address) == name


REAL_OPEN = download.request.OpenerDirector.open


def opened_without_a_limit(self, request, timeout):
    return REAL_OPEN(self, request, timeout=10)


class TestManyPhotos:
    def test_many_photos_come_back_as_each_alone_in_their_order(self, editor, portrait, faceless):
        mirrored = np.ascontiguousarray(portrait[:, ::-1])
        larger = np.array(Image.fromarray(portrait).resize((400, 400), Image.Resampling.BICUBIC))
        photos, said = [portrait, faceless, mirrored, larger], []
        results = editor.edit_many(
            (photo for photo in photos),
            age=70,
            batch=3,
            errors="return",
            progress=lambda *at: said.append(at),
        )
        first, nobody, second, third = results
        assert isinstance(nobody, BadInput) and "no face was found" in str(nobody)
        for photo, result in ((portrait, first), (mirrored, second), (larger, third)):
            alone = np.asarray(editor.edit(photo, age=70).image).astype(int)
            assert np.abs(np.asarray(result.image) - alone).max() <= 2
            assert (alone != photo).any() and result.mark and result.seconds > 0
        assert [at[:2] for at in said] == [(1, None), (2, None), (3, None), (4, None)]

    def test_a_photo_that_cannot_be_used_stops_it_unless_errors_are_returned(
        self, editor, faceless, portrait
    ):
        with pytest.raises(BadInput, match="no face was found"):
            list(editor.edit_many([faceless, portrait], age=70))

    def test_a_batch_of_tensors_is_many_photos(self, editor, portrait, monkeypatch):
        monkeypatch.setattr(editor.pipeline, "generate_many", lambda faces, *_, **__: [None] * len(faces))
        results = list(editor.edit_many(torch.stack([planes(portrait)] * 2), age=70))
        assert [np.array_equal(np.asarray(result.image), portrait) for result in results] == [True, True]

    @pytest.mark.parametrize(
        "given, sentence",
        [
            (
                {"photos": "one.jpg"},
                "edit_many takes several photos, such as a list of paths; edit takes one",
            ),
            ({"photos": np.zeros((99, 99, 3))}, "edit_many takes several photos"),
            ({"batch": 0}, "batch 0 is out of range; give a whole number between 1 and 256"),
            ({"errors": "ignore"}, "errors 'ignore' is unknown; choose raise or return"),
            ({"method": "magic"}, "unknown method 'magic'; these weights hold"),
            ({"age": 500}, "age 500 is out of range"),
        ],
    )
    def test_a_bad_call_is_refused_at_once(self, editor, given, sentence):
        with pytest.raises(BadInput, match=sentence):
            editor.edit_many(**{"photos": ["a.jpg"], "age": 70} | given)


class TestTensors:
    def test_a_photo_becomes_tensors_and_a_photo_again(self, model, portrait):
        """The example at the head of `ganime_age.pipelines.aligned`."""
        (matrix,) = align(portrait, model)
        face = crop(portrait, matrix, model.face_size)
        assert face.shape == (1, 3, model.face_size, model.face_size) and -1 <= face.min() < face.max() <= 1
        assert np.array_equal(paste(portrait, face, face, matrix), portrait)
        with torch.inference_mode():
            edited = model(face, age=70)
            read = model.read(face)
            aged = model.edit(
                face, read.age, torch.tensor([70.0]), read.action_units, read.action_units, "GANimation-age"
            )
            same = model(face)
            units = read.action_units.clone()
            units[:, AU_CODES.index("AU12")] = 3.5
            units[:, AU_CODES.index("AU25")] = 2.0
            units[:, AU_CODES.index("AU04")] += 1.5
            smiling = model.edit(face, read.age, read.age, read.action_units, units)
            for words in (
                "smile, frown=+1.5",
                ["smile", "AU04=+1.5"],
                {"AU12": 3.5, "AU25": 2, "brow lowerer": "+1.5"},
                units,
                units.numpy(),
            ):
                assert torch.equal(model(face, action_units=words).face, smiling.face), (
                    "as read, but for these"
                )
            assert torch.equal(model(face, action_units={}).face, face)
            assert not torch.equal(smiling.face, face)
        assert torch.equal(edited.face, aged.face) and torch.equal(same.face, face)
        older = paste(portrait, face, edited.face, matrix)
        changed = (older != portrait).any(2)
        assert changed.any() and not changed.all()

    @pytest.mark.parametrize(
        "call, sentence",
        [
            (lambda m, p: crop(p, np.zeros((3, 3)), 64), "a frame is an affine map .2,3., as from align"),
            (
                lambda m, p: paste(p, torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 9, 9), np.eye(2, 3)),
                "of shapes",
            ),
            (
                lambda m, p: m(torch.zeros(2, 3, 64, 64), age=torch.tensor([1.0, 2.0, 3.0])),
                "2 faces take one age",
            ),
            (lambda m, p: m(torch.zeros(1, 3, 64, 64), action_units="smyle"), "did you mean smile"),
            (lambda m, p: m(torch.zeros(1, 3, 64, 64), action_units={"AU06": 1}), "AU06 .* cannot be edited"),
            (lambda m, p: m(torch.zeros(1, 3, 64, 64), action_units=3), "action units cannot be read from 3"),
            (lambda m, p: m(torch.zeros(1, 3, 64, 64), action_units=torch.zeros(17)), "action units .1,17."),
            (lambda m, p: align(7, m), "a int is not a photo"),
        ],
    )
    def test_what_does_not_fit_is_one_sentence(self, model, portrait, call, sentence):
        with torch.inference_mode(), pytest.raises(BadInput, match=sentence):
            call(model, portrait)

    def test_they_are_public(self):
        assert {"align", "crop", "load_photo", "paste"} <= set(ganime_age.__all__)


class TestWords:
    def test_methods_are_known_by_name_and_title_in_any_case(self):
        assert set(get_args(MethodName)) == set(METHODS)
        for row in METHODS.values():
            assert {method_called(word) for word in (row.name.upper(), row.title)} == {row.name}
        assert method_called("magic") == "magic"

    def test_an_editor_takes_words(self, editor, portrait, monkeypatch):
        asked = []
        monkeypatch.setattr(
            editor.pipeline, "generate", lambda face, edit, method, **_: asked.append((edit, method))
        )
        result = editor(portrait, action_units="Smile", method="GANIMATION-AGE")
        ((edit, method),) = asked
        assert method == result.method == "ganimation_age"
        assert {code: target.value for code, target in edit.action_units.items()} == {
            "AU12": 3.5,
            "AU25": 2.0,
        }
        assert editor.compare(portrait, age=70)[1].method == "agetransgan"

    def test_the_device_auto_is_the_fastest(self, model):
        assert checked_device("auto").type == best_device()
        assert FaceEditor(model, device="auto").device.type == best_device()
        with pytest.raises(BadInput, match="unknown device None; choose cpu, cuda or mps, or auto"):
            FaceEditor(model, device=None)

    @pytest.mark.parametrize("dtype", ["float16", torch.bfloat16, "float64"])
    def test_a_dtype_that_the_device_cannot_use_is_refused(self, model, dtype):
        with pytest.raises(BadInput, match="works in float32, not in .*; leave out dtype, or choose float16"):
            FaceEditor(model, dtype=dtype)
        assert FaceEditor(model, dtype="float32").pipeline.dtype == torch.float32

    def test_half_precision_reaches_what_multiplies(self, model, portrait, monkeypatch):
        """The CPU stands in for a CUDA device, which alone is let through."""
        monkeypatch.setattr("ganime_age.pipelines.face.working_dtype", lambda *_: torch.bfloat16)
        half, whole = (
            FaceEditor(model, dtype="bfloat16"),
            model.read(crop(portrait, align(portrait, model)[0], 256)),
        )
        seen = []
        hook = model.readers.register_forward_pre_hook(
            lambda *_: seen.append(torch.is_autocast_enabled("cpu"))
        )
        (reading,) = half.read(portrait)
        hook.remove()
        assert seen[0] and abs(reading.age - float(whole.age)) < 5

    def test_a_device_without_bfloat16_says_so(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
        with pytest.raises(BadInput, match="has no bfloat16; choose float16"):
            working_dtype("bfloat16", torch.device("cuda"))
        assert working_dtype("float16", torch.device("cuda")) == torch.float16


@pytest.fixture(scope="module")
def result(editor, portrait):
    return editor(portrait, age=70)


class TestResults:
    def test_a_result_travels_as_a_file_in_memory_with_its_record(self, result, portrait):
        file = io.BytesIO()
        result.save(file)
        assert Image.open(file).format == "PNG"
        assert np.array_equal(load_photo(file), np.asarray(result.image))
        assert verify(file).record["age"] == 70
        shown = Image.open(io.BytesIO(result._repr_png_()))
        assert shown.size == result.image.size and b"compositeWithTrained" in result._repr_png_()

    def test_format_and_quality(self, result, tmp_path):
        sizes = []
        for quality in (30, 95, None):
            file = io.BytesIO()
            result.save(file, format="JPEG", quality=quality)
            assert Image.open(file).format == "JPEG"
            sizes.append(len(file.getvalue()))
        assert sizes[0] < sizes[1] == sizes[2]
        result.save(tmp_path / "small.webp", quality=20)
        result.save(tmp_path / "large.webp")
        assert (tmp_path / "small.webp").stat().st_size < (tmp_path / "large.webp").stat().st_size
        with (tmp_path / "named.jpg").open("wb") as named:
            result.save(named)
        assert Image.open(tmp_path / "named.jpg").format == "JPEG", "as the file's name ends"

    @pytest.mark.parametrize(
        "call, sentence",
        [
            (lambda r, t: r.save(t / "a.png", quality=50), "a PNG keeps every pixel and has no quality"),
            (lambda r, t: r.save(t / "a.jpg", quality=0), "quality 0 is out of range; give a whole number"),
            (lambda r, t: r.save(io.BytesIO(), format="tiff"), "cannot be written as 'tiff'; choose .png"),
            (lambda r, t: r.save(t / "a.jpg", format="png"), "a.jpg does not end as the format png"),
            (lambda r, t: r.save(io.StringIO()), "the file cannot be written .*; open it with mode 'wb'"),
            (lambda r, t: r.save(7), "a int is no place to write to; give a path or an open binary file"),
        ],
    )
    def test_what_cannot_be_written_is_one_sentence(self, result, tmp_path, call, sentence):
        with pytest.raises(BadInput, match=sentence):
            call(result, tmp_path)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
    @pytest.mark.parametrize("there", [False, True], ids=["new", "replaced"])
    def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(self, result, tmp_path, ending, there):
        path = tmp_path / "new" / f"older.{ending}"
        if there:
            path.parent.mkdir()
            path.write_bytes(b"mine")
        before = sorted(tmp_path.rglob("*"))
        sentence = f"older.{ending} cannot be written .File too large.; choose another place"
        with files_no_larger_than(9_000), pytest.raises(BadInput, match=sentence) as caught:
            result.save(path)
        assert "\n" not in str(caught.value) and sorted(tmp_path.rglob("*")) == before
        assert not there or path.read_bytes() == b"mine"

    @pytest.mark.parametrize("buffering", [-1, 0])
    def test_an_open_file_that_is_full_is_one_sentence_too(self, result, tmp_path, buffering):
        with (tmp_path / "older.png").open("wb", buffering=buffering) as file:
            with (
                files_no_larger_than(9_000),
                pytest.raises(BadInput, match=r"written \(File too large\); choose"),
            ):
                result.save(file)

    def test_an_open_file_may_take_a_part_at_a_time(self, result, tmp_path):
        class Slow(io.BytesIO):
            def write(self, data):
                return super().write(data[:5000])

        slow, fast = Slow(), io.BytesIO()
        result.save(slow)
        result.save(fast)
        assert slow.getvalue() == fast.getvalue()

    def test_a_result_is_a_tensor_and_a_photo_again(self, result):
        tensor = result.tensor()
        assert tensor.shape == (3, *result.image.size[::-1]) and 0 <= tensor.min() < tensor.max() <= 1
        assert np.array_equal(load_photo(tensor), np.asarray(result.image))

    def test_a_result_and_a_reading_are_one_line_that_measures_nothing(self, editor, portrait, monkeypatch):
        made = editor.edit(
            portrait, age=70, action_units=["smile", "AU04=+1", "AU01=1"], parts="skin", strength=0.5
        )
        monkeypatch.setattr(editor.pipeline, "read", None)
        before = made.source_reading
        asked = f"age {before.age:.0f} to 70, AU01=1, AU04=+1, AU12=3.5, 1 more, skin only, strength 0.5"
        assert repr(made) == f"<EditResult 320x320, {asked}, by ganimation_age>"
        assert re.fullmatch(r"<Reading age \d+ ± \d+, yaw -?\d+, (AU\d\d \d\.\d ?)+>", repr(before))

    def test_an_unchanged_and_a_warned_result_say_so(self, editor, two_faces, tmp_path):
        same = editor.edit(two_faces)
        assert repr(same) == "<EditResult 520x320, as it was, by ganimation_age, 1 warning>"
        clip = editor.animate_video(
            two_faces, tmp_path / "a.gif", keyframes=[{"age": 60}], seconds=0.2, fps=10
        )
        assert repr(clip) == "<ClipResult 520x320, 2 frames at 10 a second, 2 edited>"

    def test_an_edit_that_is_left_unmarked_says_so(self, editor, portrait, tmp_path):
        warning = ("the result is not marked as edited; say so wherever you show it",)
        made = editor.edit(portrait, age=70, mark=False)
        assert made.warnings == warning and made.to_dict()["warnings"] == list(warning)
        assert editor.edit(portrait, mark=False).warnings == (), "what comes back as it was is no edit"
        clip, asked = tmp_path / "a.gif", {"keyframes": [{"age": 60}], "seconds": 0.2, "fps": 10}
        assert editor.animate_video(portrait, clip, **asked).warnings == ()
        assert editor.animate_video(portrait, clip, **asked, mark=False).warnings == warning
        assert editor.edit_video(clip, tmp_path / "b.gif", age=70, mark=False).warnings == warning
        assert editor.reenact_video(portrait, clip, tmp_path / "c.gif", mark=False).warnings == warning

    def test_show_draws_in_a_notebook_and_else_in_a_viewer(self, result, monkeypatch):
        shown = []
        monkeypatch.setattr(Image.Image, "show", lambda image: shown.append("viewer"))
        monkeypatch.setitem(__import__("sys").modules, "IPython", None)
        result.show()
        notebook = type(os)("IPython")
        notebook.get_ipython = lambda: type("Shell", (), {"kernel": 1})()
        notebook.display = type("", (), {"display": shown.append})
        monkeypatch.setitem(__import__("sys").modules, "IPython", notebook)
        result.show()
        assert shown == ["viewer", result]

    def test_face_all_edits_every_face(self, editor, two_faces):
        both = editor.edit(two_faces, age=75, face="all")
        (other,) = both.others
        assert both.warnings == other.warnings == () and other.image.tobytes() == both.image.tobytes()
        left, right = both.source_reading.box, other.source_reading.box
        assert left[2] - left[0] > right[2] - right[0]
        after = np.asarray(both.image)
        assert (after[:, :240] != two_faces[:, :240]).any() and (after[:, 400:] != two_faces[:, 400:]).any()
        assert len(both.to_dict()["others"]) == 1 and "others" not in other.to_dict()
        one = np.asarray(editor.edit(two_faces, age=75).image)
        apart = np.abs(after[:, :240].astype(int) - one[:, :240]).max()
        assert apart <= 1, (
            "the first face is edited as it is alone, but for rounding where the second one's hair ends"
        )
