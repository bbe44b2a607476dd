"""The loader: every kind of file comes out as a viewer shows it, every bad one as a sentence."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from ganime_age.errors import BadInput
from ganime_age.images.photo import load_photo


def gradient(width=80, height=72):
    """A colourful test picture, uint8 (H,W,3)."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([x, y, 255 - x], -1).round().astype(np.uint8)


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def test_a_png_comes_back_exactly_and_every_kind_of_source_agrees(tmp_path):
    pixels = gradient()
    path = saved(tmp_path, Image.fromarray(pixels), "a photo ü.png")
    for source in (path, str(path), path.read_bytes(), Image.open(path), pixels, pixels / 255.0):
        assert np.array_equal(load_photo(source), pixels)


def test_the_result_is_a_copy():
    pixels = gradient()
    load_photo(pixels)[:] = 0
    assert pixels.any()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = gradient()
    turn = {1: 0, 3: 2, 6: 1, 8: 3, 2: 0, 4: 0, 5: 0, 7: 0}[orientation]
    stored = np.rot90(upright, turn)
    if orientation in (2, 4):
        stored = stored[:, ::-1] if orientation == 2 else stored[::-1]
    if orientation in (5, 7):
        stored = stored.transpose(1, 0, 2) if orientation == 5 else np.rot90(stored, 2).transpose(1, 0, 2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(np.ascontiguousarray(stored)), "turned.png", exif=exif)
    assert np.array_equal(load_photo(path), upright)


@pytest.mark.parametrize(
    "mode, tolerance", [("L", 1), ("1", 1), ("P", 1), ("CMYK", 2), ("LA", 1), ("I;16", 1), ("F", 1)]
)
def test_other_modes_show_the_same_picture(tmp_path, mode, tolerance):
    colour = Image.fromarray(gradient())
    grey = np.asarray(colour.convert("L"))
    if mode == "I;16":
        image, expected = Image.fromarray(grey.astype(np.uint16) * 257), grey
    elif mode == "F":
        image, expected = Image.fromarray(grey.astype(np.float32) / 255), grey
    else:
        image = colour.convert(mode)
        expected = np.asarray(image.convert("RGB"))
    name = {"CMYK": "x.jpg", "F": "x.tif"}.get(mode, "x.png")
    read = load_photo(saved(tmp_path, image, name)).astype(float)
    assert read.shape == (72, 80, 3)
    assert abs(read.mean() - expected.mean()) <= tolerance


def test_transparent_parts_are_white(tmp_path):
    pixels = np.dstack([gradient(), np.zeros((72, 80), np.uint8)])
    path = saved(tmp_path, Image.fromarray(pixels, "RGBA"), "clear.png")
    assert (load_photo(path) == 255).all()
    assert (load_photo(pixels) == 255).all()


def test_an_embedded_colour_profile_is_applied(tmp_path):
    from PIL import ImageCms

    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = saved(tmp_path, Image.fromarray(gradient()), "srgb.png", icc_profile=lab)
    assert np.abs(load_photo(path).astype(int) - gradient()).max() <= 1
    broken = saved(tmp_path, Image.fromarray(gradient()), "broken.png", icc_profile=b"no profile")
    assert np.array_equal(load_photo(broken), gradient())


def test_a_phone_photo_with_a_second_picture_inside_is_one_photo(tmp_path):
    first = Image.fromarray(gradient())
    path = tmp_path / "phone.jpg"
    first.save(path, "MPO", save_all=True, append_images=[Image.new("RGB", (80, 72))], quality=95)
    assert abs(load_photo(path).mean() - gradient().mean()) < 2


def _truncated(tmp_path):
    path = saved(tmp_path, Image.fromarray(gradient()), "cut.jpg")
    path.write_bytes(path.read_bytes()[:-300])
    return path


def _file(name, content):
    def make(tmp_path):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return make


def _moving(tmp_path):
    frames = [Image.new("RGB", (80, 80), colour) for colour in ("red", "blue")]
    return saved(tmp_path, frames[0], "moving.gif", save_all=True, append_images=frames[1:])


UNREADABLE = "is not a readable image (JPEG, PNG, WebP, AVIF, BMP or TIFF)"
BAD_PHOTOS = {
    "text": (_file("note.png", b"this is no picture"), f"note.png {UNREADABLE}"),
    "html": (_file("page.jpg", b"<html><body>404</body></html>"), f"page.jpg {UNREADABLE}"),
    "svg": (_file("v.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), f"v.svg {UNREADABLE}"),
    "empty": (_file("empty.jpg", b""), "empty.jpg is an empty file; give a photo"),
    "truncated": (_truncated, "cut.jpg is damaged or cut off; give the whole file"),
    "missing": (lambda tmp_path: tmp_path / "none.jpg", "none.jpg does not exist; check the path"),
    "folder": (lambda tmp_path: tmp_path, "is a folder; give one photo"),
    "moving": (_moving, "moving.gif is a moving picture; give one photo"),
    "tiny": (
        lambda t: saved(t, Image.new("RGB", (63, 200)), "s.png"),
        "s.png is 63x200; both sides must be at least 64",
    ),
    "huge": (
        lambda t: saved(t, Image.new("1", (8000, 8000)), "h.png"),
        "h.png is 8000x8000; the limit is 40 megapixels",
    ),
    "bomb": (
        lambda t: saved(t, Image.new("1", (20000, 20000)), "b.png"),
        "b.png is far too large; the limit is 40",
    ),
}


@pytest.mark.parametrize("kind", BAD_PHOTOS)
def test_a_bad_photo_is_one_sentence(tmp_path, kind):
    make, sentence = BAD_PHOTOS[kind]
    with pytest.raises(BadInput) as caught:
        load_photo(make(tmp_path))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "source, sentence",
    [
        (None, "a NoneType is not a photo; give a path"),
        (np.zeros((80, 80, 2), np.uint8), "the photo has shape (80, 80, 2)"),
        (np.zeros((2, 80, 80, 3), np.uint8), "the photo has shape (2, 80, 80, 3)"),
        (np.full((80, 80, 3), np.nan), "the photo holds NaN or infinite values; give numbers"),
        (b"", "the photo is not a readable image"),
    ],
)
def test_a_bad_object_is_one_sentence(source, sentence):
    with pytest.raises(BadInput, match=sentence.replace("(", r"\(").replace(")", r"\)")):
        load_photo(source)


def test_no_damaged_file_raises_anything_but_bad_input():
    rng, read, refused = random.Random(0), set(), set()
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"):
        file = io.BytesIO()
        Image.fromarray(gradient()).save(file, kind)
        for _ in range(30):
            damaged = bytearray(file.getvalue())
            for _ in range(rng.randint(1, 20)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            try:
                pixels = load_photo(bytes(damaged))
            except BadInput as error:
                assert "\n" not in str(error) and len(str(error)) < 300
                refused.add(kind)
            else:
                assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
                read.add(kind)
    assert read and len(refused) == 6, "the harm must neither spare nor break everything"
