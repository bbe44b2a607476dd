"""Every edit says that it is one: metadata, the mark in the face, a signature; and `verify` finds them again."""

import datetime
import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageCms

import ganime_age
from ganime_age import BadInput
from ganime_age.cli import main as cli
from ganime_age.images.alignment import apply, crop, frame_matrix
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.evaluation import measure_provenance
from ganime_age.model.fingerprint import fingerprint
from ganime_age.provenance import watermark
from ganime_age.provenance.metadata import write_edited
from ganime_age.provenance.xmp import SOURCE_TYPE, read_metadata

SUFFIXES = ("png", "jpg", "webp")


@pytest.fixture(scope="module")
def edited(editor, portrait):
    return editor.edit(portrait, age=70, action_units={"AU04": 2})


@pytest.fixture(scope="module")
def unmarked(editor, portrait):
    return editor.edit(portrait, age=70, action_units={"AU04": 2}, mark=False)


@pytest.fixture(scope="module")
def look(editor):
    """verify with the session's finder."""
    return lambda image: ganime_age.verify(image, editor.detector)


def stored(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_saved_edit_says_what_was_asked(tmp_path, edited, look, suffix):
    edited.save(tmp_path / f"out.{suffix}")
    kind, record = read_metadata(tmp_path / f"out.{suffix}")
    assert kind == SOURCE_TYPE
    assert record == edited.record()
    assert record["age"] == 70 and record["action_units"] == {"AU04": 2.0} and "seed" not in record
    assert record["method"] == "ganimation_age" and len(record["weights"]) == 16
    verdict = look(tmp_path / f"out.{suffix}")
    assert verdict.edited and verdict.record == record
    assert verdict.sentence().startswith("edited: metadata of ganime_age (age 70.0, AU04=2.0); watermark ")


def test_the_xmp_is_what_other_tools_read(tmp_path, edited):
    edited.save(tmp_path / "out.jpg")
    xml = pytest.importorskip("xml.etree.ElementTree")
    packet = Image.open(tmp_path / "out.jpg").info["xmp"].decode()
    root = xml.fromstring(packet[packet.index("<x:") : packet.rindex("<?")])
    said = {key.rsplit("}", 1)[-1]: value for node in root.iter() for key, value in node.attrib.items()}
    assert said["DigitalSourceType"] == SOURCE_TYPE and said["CreatorTool"].startswith("ganime_age ")
    assert said["AISystemUsed"] == "ganime_age ganimation_age"
    assert edited.weights in said["AISystemVersionUsed"]
    assert json.loads(said["edit"]) == edited.record()


def secretive(path, portrait):
    """A photo whose file holds a camera's name, a place, a thumbnail, a comment and a profile."""
    exif = Image.Exif()
    exif[0x010F] = "secret camera"
    exif.get_ifd(0x8825)[1] = "N"
    thumbnail = stored(Image.new("RGB", (64, 64), "red"), "JPEG", comment=b"secret thumbnail")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = exif.tobytes() + thumbnail
    Image.fromarray(portrait).save(path, exif=data, icc_profile=profile, xmp=b"<x>secret xmp</x>", quality=95)
    content = path.read_bytes()
    assert all(word in content for word in (b"secret camera", b"secret thumbnail", b"secret xmp", b"ICC"))
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("asked", [{"age": 60}, {}])
def test_nothing_of_the_source_file_passes_into_an_output(tmp_path, editor, portrait, suffix, asked):
    photo = secretive(tmp_path / "photo.jpg", portrait)
    for source in (photo, Image.open(photo)):
        out = tmp_path / f"out.{suffix}"
        editor.edit(source, **asked).save(out)
        content = out.read_bytes()
        assert not any(word in content for word in (b"secret", b"Exif", b"EXIF", b"eXIf", b"ICC", b"iCCP"))
        assert not Image.open(out).getexif()
        assert not {"icc_profile", "exif", "comment"} & set(Image.open(out).info)


def test_a_photo_that_comes_back_as_it_was_is_not_called_edited(tmp_path, editor, portrait, look):
    result = editor.edit(portrait, age=80, strength=0)
    assert not result.edited and not result.to_dict()["marked"]
    assert np.array_equal(np.asarray(result.image), portrait)
    result.save(tmp_path / "same.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "same.png")), portrait)
    verdict = look(tmp_path / "same.png")
    assert not verdict.edited and verdict.record is None and verdict.source_type is None
    assert verdict.sentence() == "not known: no watermark"


def test_without_the_mark_there_is_none(tmp_path, unmarked, look):
    unmarked.save(tmp_path / "plain.png")
    assert b"ganime" not in (tmp_path / "plain.png").read_bytes()
    verdict = look(tmp_path / "plain.png")
    assert unmarked.edited and not unmarked.to_dict()["marked"]
    assert not verdict.edited and max(verdict.watermark) < watermark.THRESHOLD


def test_the_mark_is_faint_and_stays_in_the_face(edited, unmarked):
    marked, plain = (np.asarray(result.image).astype(float) for result in (edited, unmarked))
    error = (marked - plain)[(marked != plain).any(-1)]
    assert 10 * np.log10(255**2 / (error**2).mean()) >= 42
    assert np.abs(error).max() <= 12
    x0, y0, x1, y1 = edited.source_reading.box
    rows, columns = np.nonzero((marked != plain).any(-1))
    reach = max(x1 - x0, y1 - y0)
    assert rows.min() > y0 - reach and rows.max() < y1 + reach
    assert columns.min() > x0 - reach and columns.max() < x1 + reach


def test_the_mark_leaves_an_even_background_as_it_is():
    rows, columns = np.mgrid[:256, :256] / 256
    marks = np.full((68, 2), 0.5)
    turn = np.linspace(0, np.pi, 17)
    marks[:17] = np.stack([0.5 - 0.28 * np.cos(turn), 0.5 + 0.4 * np.sin(turn)], 1)
    marks[17:27] = np.stack([np.linspace(0.28, 0.72, 10), np.full(10, 0.42)], 1)
    marks[48:68, 1] = 0.72
    studio = np.full((256, 256, 3), 200, np.float32)
    change = np.abs(watermark.add_watermark(studio, marks) - studio).mean(2)
    beside = np.hypot((columns - 0.5) / 0.28, (rows - 0.5) / 0.42) > 1.3
    assert change[beside & (rows < 0.9)].mean() < 0.02
    assert change[(np.abs(columns - 0.5) < 0.2) & (np.abs(rows - 0.55) < 0.2)].mean() > 0.7
    pattern = studio + 30 * np.sin(100 * columns)[..., None].astype(np.float32)
    assert np.abs(watermark.add_watermark(pattern, marks, side=128) - pattern)[beside].mean() > 1


def test_the_mark_leaves_what_lies_around_a_large_face_as_it_is(editor, portrait):
    landmarks = editor.read(portrait)[0].landmarks
    matrix = frame_matrix(landmarks, 256)
    frame = crop(np.asarray(portrait), matrix, 256)
    marks = apply(matrix, landmarks) / 256
    head = watermark.head_mask(marks, 256) > 0
    for side, kept in ((256, False), (512, True)):
        change = np.abs(watermark.add_watermark(frame, marks, side=side) - frame).max(2)
        assert (change[~head].max() == 0) == kept
        assert change[head].mean() > 0.7


def test_smooth_skin_of_a_large_face_is_not_mottled():
    skin = np.full((256, 256, 3), 150, np.float32)
    small, large = (watermark.add_watermark(skin, side=side)[..., 0] - skin[..., 0] for side in (128, 512))
    assert np.sqrt((large**2).mean()) < 0.6 < 1.2 < np.sqrt((small**2).mean())
    power = np.abs(np.fft.fft2(large)) ** 2
    rows, columns = np.meshgrid(*[np.abs(np.fft.fftfreq(256, 1 / 256))] * 2, indexing="ij")
    assert power[np.hypot(rows, columns) < 14].sum() < 1e-3 * power.sum(), (
        "wider than a fourteenth of the frame"
    )
    pattern = skin + 40 * np.sin(np.arange(256))[:, None, None].astype(np.float32)
    hidden = watermark.add_watermark(pattern, side=512)[..., 0] - pattern[..., 0]
    assert np.sqrt((hidden**2).mean()) > 1.5, "where the photo hides it"


CHANGES = {
    "as it is": lambda image: image,
    "JPEG 75": lambda image: stored(image, "JPEG", quality=75),
    "WebP 80": lambda image: stored(image, "WEBP", quality=80),
    "smaller, JPEG 75": lambda image: stored(image.resize((240, 240), 3), "JPEG", quality=75),
    "larger": lambda image: image.resize((480, 480), 3),
    "cropped": lambda image: image.crop((17, 9, 300, 310)),
    "turned": lambda image: image.rotate(7, 3),
    "darker": lambda image: image.point(lambda v: v * 0.7),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_mark_lasts(edited, look, change):
    verdict = look(CHANGES[change](edited.image))
    assert verdict.edited and verdict.record is None
    assert verdict.watermark[0] >= watermark.THRESHOLD
    assert "watermark" in verdict.sentence()


def test_the_crop_of_the_face_is_marked_too(edited, look):
    assert look(edited.face).edited
    assert not look(edited.source_face).edited


def test_each_face_has_its_own_score(editor, two_faces, look):
    result = editor.edit(two_faces, age=75, face=1)
    large, small = look(result.image).watermark
    assert large < watermark.THRESHOLD <= small


def test_another_key_finds_nothing(editor, edited):
    photo = np.asarray(edited.image)
    matrix = frame_matrix(editor.detector(photo)[0].landmarks, watermark.SIDE)
    scores = [watermark.score(photo, matrix, b"key %d" % i) for i in range(6)]
    assert max(scores) < watermark.THRESHOLD <= watermark.score(photo, matrix)


def test_an_unmarked_score_has_the_tail_it_promises(monkeypatch):
    """One position of a picture against many keys: mean 0, standard deviation 1, whatever the picture shows."""
    rng = np.random.default_rng(0)
    picture = np.cumsum(rng.normal(size=(160, 160)), 1).astype(np.float32) * 20
    flat = watermark._flattened(picture)
    monkeypatch.setattr(watermark, "SHIFT", 0)
    scores = [watermark._best(flat, [1.0], [0.0], b"%d" % i)[0] for i in range(300)]
    monkeypatch.undo()
    assert abs(np.mean(scores)) < 0.2 and 0.85 < np.std(scores) < 1.15
    assert watermark.false_positive_rate() < 1e-5
    assert watermark.false_positive_rate(3.0) > watermark.false_positive_rate(5.0)


def test_the_noise_is_the_same_picture_at_every_size():
    large, small = watermark.noise(256), watermark.noise(128)
    assert large.std() == pytest.approx(1, abs=1e-4) and abs(large.mean()) < 1e-4
    shrunk = np.asarray(Image.fromarray(large).resize((128, 128), Image.Resampling.BOX))
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.9


def test_a_picture_without_a_face_is_not_known(faceless, look):
    verdict = look(faceless)
    assert verdict.watermark == () and verdict.sentence() == "not known: no face to hold a watermark"
    assert json.loads(json.dumps(verdict.to_dict()))["edited"] is False


def test_another_tools_word_counts(tmp_path, faceless, look):
    told = "http://cv.iptc.org/newscodes/digitalsourcetype/"
    element = "<Iptc4xmpExt:DigitalSourceType>{}</Iptc4xmpExt:DigitalSourceType>"
    for word, expected in (("trainedAlgorithmicMedia", True), ("digitalCapture", False)):
        Image.fromarray(faceless).save(tmp_path / "other.jpg", xmp=element.format(told + word).encode())
        verdict = look(tmp_path / "other.jpg")
        assert verdict.edited is expected and verdict.source_type == told + word


@pytest.mark.parametrize(
    "packet", [b"", b"\xff\xfe", b'ganime_age:edit="{"', b'ganime_age:edit="[1]"', b'ganime_age:edit="NaN"']
)
def test_broken_metadata_counts_as_none(tmp_path, faceless, packet):
    Image.fromarray(faceless).save(tmp_path / "x.jpg", xmp=packet)
    assert read_metadata(tmp_path / "x.jpg") == (None, None)


def test_a_record_of_an_older_version_with_a_seed_is_read(tmp_path, faceless, look):
    record = {"age": 70, "action_units": {"AU12": 3.0}, "method": "ganimation_age", "weights": "0", "seed": 0}
    write_edited(Image.fromarray(faceless), tmp_path / "old.png", record)
    verdict = look(tmp_path / "old.png")
    assert verdict.edited and verdict.record == record
    assert "metadata of ganime_age (age 70, AU12=3.0)" in verdict.sentence()


def test_a_foreign_record_does_not_break_the_sentence(tmp_path, faceless, look):
    for record in ({"action_units": 3}, {"age": [1]}, {}):
        write_edited(Image.fromarray(faceless), tmp_path / "x.png", record)
        assert look(tmp_path / "x.png").sentence().startswith("edited: metadata of ganime_age")


def test_the_fingerprint_names_the_weights(model):
    first = fingerprint(model.readers)
    assert first == fingerprint(model.readers)
    name, tensor = next((n, t) for n, t in model.readers.state_dict().items() if t.is_floating_point())
    kept = tensor.clone()
    try:
        tensor.flatten()[0] += 1
        assert fingerprint(model.readers) != first
    finally:
        tensor.copy_(kept)


def test_a_place_that_cannot_be_written_leaves_nothing(tmp_path, edited):
    (tmp_path / "file").write_text("in the way")
    for target, words in (
        ("file/out.png", "cannot be written"),
        ("out.bmp", "cannot be written as .bmp; choose"),
    ):
        with pytest.raises(BadInput, match=words):
            edited.save(tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


@pytest.fixture
def one_model(monkeypatch, editor):
    monkeypatch.setattr(cli, "_editor", lambda args: editor)


def test_the_command_line_marks_and_verifies(tmp_path, portrait_file, one_model, capsys):
    out, plain = tmp_path / "out.jpg", tmp_path / "plain.jpg"
    assert run("edit", portrait_file, "-o", out, "--age", 70) == 0
    assert capsys.readouterr().err == ""
    assert run("edit", portrait_file, "-o", plain, "--age", 70, "--no-mark") == 0
    said = capsys.readouterr().err
    assert said == "ganime-age: plain.jpg is not marked as edited; say so wherever you show it\n"
    strip = tmp_path / "strip.png"
    assert run("edit", portrait_file, "-o", strip, "--strip", 70, "--no-mark") == 0
    assert capsys.readouterr().err.count("marked") == 1
    clip = tmp_path / "clip.gif"
    assert run("animate", portrait_file, "-o", clip, "--to", "age=70", "--seconds", "0.2", "--no-mark") == 0
    assert run("edit", clip, "-o", tmp_path / "older.gif", "--age", 70, "--no-mark") == 0
    said = capsys.readouterr().err
    assert (
        said.count("marked") == 2 and "clip.gif is not marked" in said and "older.gif is not marked" in said
    )
    assert run("verify", out, plain) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{out}  edited: metadata of ganime_age (age 70.0); watermark ")
    assert second == f"{plain}  not known: no watermark"
    assert run("verify", out, tmp_path / "none.jpg", "--json") == 2
    said = capsys.readouterr()
    (verdict,) = json.loads(said.out)
    assert verdict["edited"] and verdict["file"] == str(out)
    assert verdict["watermark"]["scores"][0] >= verdict["watermark"]["threshold"]
    assert verdict["watermark"]["false_positive_rate"] < 1e-5
    assert said.err == "ganime-age: none.jpg does not exist; check the path\n"


def test_signing_options_must_fit(tmp_path, portrait_file, capsys):
    out = tmp_path / "out.png"
    for options, words in (
        (("--sign", "key.pem"), "give both --sign and --certificate"),
        (("--sign", "key.pem", "--certificate", "c.pem", "--no-mark"), "give one of the two"),
    ):
        assert run("edit", portrait_file, "-o", out, "--age", 70, *options) == 2
        assert words in capsys.readouterr().err
    assert not out.exists()


def test_signing_without_the_package_says_what_to_install(tmp_path, portrait_file, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    command = (
        "edit",
        portrait_file,
        "-o",
        tmp_path / "o.png",
        "--age",
        70,
        "--sign",
        "k",
        "--certificate",
        "c",
    )
    assert run(*command) == 3
    assert "pip install 'ganime_age[c2pa]'" in capsys.readouterr().err


def certified(folder):
    """A signer's key and its chain, made here: a root of our own and a leaf that may sign."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def certificate(name, key, issuer, issuer_key, root):
        now = datetime.datetime.now(datetime.timezone.utc)
        usage = {"digital_signature": not root, "key_cert_sign": root, "crl_sign": root}
        rest = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        never = dict.fromkeys((*rest, "encipher_only", "decipher_only"), False)
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        built = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage, **never), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(issuer_id, critical=False)
        )
        if not root:
            mail = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            built = built.add_extension(mail, critical=False)
        return built.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def named(text):
        organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "a test")
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text), organisation])

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root, leaf = named("test root"), named("test signer")
    chain = certificate(leaf, key, root, root_key, False) + certificate(root, root_key, root, root_key, True)
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "chain.pem").write_bytes(chain)
    (folder / "other.pem").write_bytes(
        root_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return folder / "key.pem", folder / "chain.pem"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_signed_edit_can_be_checked(tmp_path, edited, look, suffix):
    pytest.importorskip("c2pa", reason="signing needs c2pa-python: pip install 'ganime_age[c2pa]'")
    from ganime_age.provenance.c2pa import Signer, read_credentials

    out = tmp_path / f"signed.{suffix}"
    edited.save(out, Signer(*certified(tmp_path)))
    verdict = look(out)
    assert verdict.credentials == {"made_by": "ganime_age", "signed_by": "test signer", "state": "Valid"}
    assert verdict.record == edited.record() and "signed by test signer" in verdict.sentence()
    content = bytearray(out.read_bytes())
    content[content.rfind({"png": b"IDAT", "jpg": b"\xff\xda", "webp": b"VP8 "}[suffix]) + 40] ^= 1
    assert read_credentials(bytes(content), f".{suffix}")["state"] == "Invalid"


def test_what_is_no_edit_or_left_unmarked_is_never_signed(tmp_path, editor, portrait, unmarked, look):
    pytest.importorskip("c2pa", reason="signing needs c2pa-python: pip install 'ganime_age[c2pa]'")
    from ganime_age.provenance.c2pa import Signer

    signer = Signer(*certified(tmp_path))
    with pytest.raises(BadInput, match="an edit that is left unmarked cannot be signed; leave out"):
        unmarked.save(tmp_path / "unmarked.png", signer)
    assert not (tmp_path / "unmarked.png").exists()
    editor.edit(portrait, age=80, strength=0).save(tmp_path / "same.png", signer)
    verdict = look(tmp_path / "same.png")
    assert not verdict.edited and verdict.credentials is None
    assert np.array_equal(np.asarray(Image.open(tmp_path / "same.png")), portrait)


def test_the_command_line_signs(tmp_path, portrait_file, one_model, capsys):
    pytest.importorskip("c2pa", reason="signing needs c2pa-python: pip install 'ganime_age[c2pa]'")
    key, chain = certified(tmp_path)
    out = tmp_path / "out.png"
    sign = ("edit", portrait_file, "-o", out, "--age", 70, "--certificate", chain, "--sign")
    assert run(*sign, key) == 0
    capsys.readouterr()
    assert run(*sign, key, "--overwrite", "--strength", 0) == 0
    assert "nothing was changed, so out.png is not signed" in capsys.readouterr().err
    (tmp_path / "junk.pem").write_text("no key")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for bad, words in (
        (tmp_path / "none.pem", "none.pem cannot be read"),
        (tmp_path / "junk.pem", "junk.pem holds no PEM PRIVATE KEY; give a PEM file that does"),
        (broken, "broken.pem is damaged or has a password; give an unencrypted private key"),
        (tmp_path / "other.pem", "other.pem and chain.pem cannot sign"),
    ):
        assert run(*sign, bad, "--overwrite") == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1


def test_the_page_hands_out_marked_files(tmp_path, edited, portrait):
    pytest.importorskip("gradio", reason="the page needs gradio: pip install 'ganime_age[space]'")
    from ganime_age.space import files

    before = files.shown(Image.fromarray(portrait), tmp_path / "before.jpg")
    after = files.shown(edited.image, tmp_path / "after.jpg", files.record_of(edited))
    assert read_metadata(before) == (None, None)
    assert read_metadata(after) == read_metadata(files.saved(edited, tmp_path, "webp"))
    assert read_metadata(after) == (SOURCE_TYPE, edited.record())


def test_the_measurement_measures(tmp_path, model, portrait, faceless, monkeypatch):
    monkeypatch.setattr(measure_provenance, "WRONG_KEYS", 1)
    few = {name: measure_provenance.CHANGES[name] for name in ("png", "jpeg_75")}
    few["gone"] = lambda pixels: np.zeros_like(pixels)
    monkeypatch.setattr(measure_provenance, "CHANGES", few)
    Image.fromarray(portrait).save(tmp_path / "a.png")
    Image.fromarray(faceless).save(tmp_path / "b.png")
    result = measure_provenance.measure(model, tmp_path, photos=2)
    summary = result["summary"]
    assert result["counts"] == {"photos": 1, "without_a_face": 1}
    assert summary["detected_png"] == summary["detected_jpeg_75"] == 1
    assert result["missed"] and summary["detected_gone"] == 0
    assert summary["psnr_db_least"] >= 42 and summary["false_positives"] == 0
    assert "a.png" not in json.dumps(result), "photos of others are not named"
    assert summary["unmarked_trials"] == 2 + measure_provenance.WRONG_KEYS
    (tmp_path / "none").mkdir()
    with pytest.raises(BadInput, match="holds no photo with a face"):
        measure_provenance.measure(model, tmp_path / "none")


def test_marks_are_looked_for_in_pictures_that_nobody_edited(tmp_path, model, portrait, edited, faceless):
    def split_of(name, *pictures):
        folder = tmp_path / name
        folder.mkdir()
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).resize((256, 256)).save(folder / f"{number}.png")
        names = [f"{number}.png" for number in range(len(pictures))]
        pd.DataFrame({"id": names, "file": names, "split": "test"}).to_parquet(folder / "manifest.parquet")
        return Faces(folder, 256, ("test",))

    clean, marked = split_of("clean", portrait, faceless), split_of("marked", np.asarray(edited.image))
    found = measure_provenance.measure_clean(model, [clean, marked], 4)
    assert found["clean_photos"] == 2 and found["clean_without_a_face"] == 1
    assert found["clean_false_positives"] == 1 and found["clean_score_most"] > 6.5, "a marked one is seen"
    assert measure_provenance.measure_clean(model, [clean])["clean_false_positives"] == 0
    with pytest.raises(BadInput, match="no face was found in the pictures of --faces"):
        measure_provenance.measure_clean(model, [split_of("none", faceless)])
