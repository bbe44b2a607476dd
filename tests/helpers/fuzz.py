"""Damaged files by the thousand: only our own errors may come out, quickly and in little memory.

`python tests/helpers/fuzz.py pictures 2000` (or `weights 2000`) tries that many, in a process of its own, and prints
what came of them as JSON. Case i is always the same one. A case that ends in any other way ends the run with exit
code 1.
"""

from __future__ import annotations

import faulthandler
import io
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
from ganime_age import BadInput, GanimeAge, GanimeAgeError  # noqa: E402
from ganime_age.images.photo import MAX_PIXELS, load_photo  # noqa: E402
from ganime_age.provenance.xmp import read_metadata, xmp  # noqa: E402

HANGS = 300
"""Seconds by the clock after which a case counts as hanging, whatever it waits for, on a machine however busy."""

Case = Callable[[random.Random], bool]
"""Makes one damaged file and reads it: True when it could be read, False when it was refused."""


def damaged(rng: random.Random, content: bytes) -> bytes:
    """One to four harms: bytes changed, cut out, doubled, swapped for extreme numbers, or the end lost."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 8, 64, 512))
        match rng.randrange(7):
            case 0:
                for _ in range(rng.randint(1, 30)):
                    if data:
                        data[rng.randrange(len(data))] = rng.randrange(256)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length] * rng.choice((1, 2, 50))
            case 3:
                data[at : at + 4] = rng.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\xff\xff")
                )
            case 4:
                del data[at:]
            case 5:
                data[at:at] = rng.randbytes(length)
            case 6:  # headers decide most
                head = rng.randrange(min(len(data), 64) + 1)
                data[head : head + 1] = bytes([rng.randrange(256)])
    return bytes(data)


def pictures() -> dict[str, bytes]:
    """Small valid files of every format and kind that the loader takes, with all kinds of metadata."""
    x, y = np.meshgrid(np.linspace(0, 255, 96), np.linspace(0, 255, 80))
    colour = Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    exif.get_ifd(0x8825)[1] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    packet = xmp({"age": 70, "method": "m"}).encode()
    more = {"exif": exif.tobytes(), "icc_profile": profile}
    deep = Image.fromarray((x * 257).astype(np.uint16))
    made = {
        "png": (colour, "PNG", more),
        "png palette": (colour.convert("P"), "PNG", {"transparency": 3}),
        "png 16": (deep, "PNG", {}),
        "png alpha": (colour.convert("RGBA"), "PNG", {}),
        "jpeg": (colour, "JPEG", {**more, "xmp": packet, "progressive": True}),
        "jpeg inks": (colour.convert("CMYK"), "JPEG", {}),
        "webp": (colour, "WEBP", {**more, "xmp": packet}),
        "webp lossless": (colour.convert("RGBA"), "WEBP", {"lossless": True}),
        "bmp": (colour, "BMP", {}),
        "gif": (colour.convert("P"), "GIF", {}),
        "tiff": (colour, "TIFF", {"compression": "tiff_lzw", "icc_profile": profile}),
        "tiff float": (Image.fromarray((x / 255).astype(np.float32)), "TIFF", {}),
        "mpo": (colour, "MPO", {"save_all": True, "append_images": [colour]}),
    }
    if "AVIF" in Image.SAVE or Image.init() and "AVIF" in Image.SAVE:
        made["avif"] = (colour, "AVIF", {**more, "speed": 10})
    return {name: _saved(*how) for name, how in made.items()}


def _saved(image: Image.Image, kind: str, options: dict) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture_cases() -> Iterator[Case]:
    """One after the other of every kind of picture, harmed."""
    originals = list(pictures().values())
    for content in originals:
        load_photo(content)

    def case(content: bytes, rng: random.Random) -> bool:
        content = damaged(rng, content)
        kind, record = read_metadata(content)
        assert (kind is None or isinstance(kind, str)) and (record is None or isinstance(record, dict))
        try:
            pixels = load_photo(content)
        except BadInput as error:
            assert "\n" not in str(error)
            return False
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
        assert pixels.size <= 3 * MAX_PIXELS
        return True

    for content in cycle(originals):
        yield partial(case, content)


def header_harmed(rng: random.Random, content: bytes) -> bytes:
    """Valid JSON with a wrong number, name or kind somewhere in the header of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    key = rng.choice(sorted(set(header) - {"__metadata__"}))
    entry = header[key]
    match rng.randrange(6):
        case 0:
            entry["dtype"] = rng.choice(("F64", "I8", "BOOL", "F8_E4M3", "X", 7))
        case 1:
            entry["shape"] = rng.choice(([], [0], [-1], [2**62, 4], [1] * 99, entry["shape"][::-1], "shape"))
        case 2:
            entry["data_offsets"] = rng.choice(([0, 0], [-8, 8], [5, 2**63], [0, 2**40], [0], "all"))
        case 3:
            header[rng.choice(("readers", key + "x", "", "finder.a", "é" * 300))] = header.pop(key)
        case 4:
            header.pop(key)
        case 5:
            header["__metadata__"] = rng.choice(({"a": "b" * 9999}, {"a": 1}, [], None))
    changed = json.dumps(header).encode()
    return len(changed).to_bytes(8, "little") + changed + content[8 + length :]


ODD = (
    None,
    True,
    -1,
    0,
    3,
    10**9,
    10**30,
    1e308,
    "x",
    [],
    {},
    [[]],
    [None],
    [-5, 0],
    [10**9] * 3,
    ["readers"] * 99,
)


def config_harmed(rng: random.Random, content: bytes) -> bytes:
    """Valid JSON with an odd value, a key more or a key less."""
    config = json.loads(content)
    key = rng.choice(sorted(config))
    match rng.randrange(4):
        case 0 | 1:
            config[key] = rng.choice(ODD)
        case 2:
            config.pop(key)
        case 3:
            config[rng.choice(("more", "self", "__class__", "device", "finder"))] = rng.choice(ODD)
    return json.dumps(config).encode()


TINY = {
    "parts": ("readers", "ganimation_age"), "face_size": 64, "edit_size": 64,
    "readers": {"size": 32, "widths": [8, 8, 8, 16], "blocks": [1, 1, 1]},
    "ganimation_age": {"widths": [8, 8, 16], "blocks": 1},
}  # fmt: skip


def weights_cases() -> Iterator[Case]:
    """By turns a harmed config and a harmed file of weights, of a tiny model."""
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as harmed:
        torch.manual_seed(0)
        GanimeAge(**TINY).save_pretrained(whole)
        files = {path.name: path.read_bytes() for path in sorted(Path(whole).iterdir())}
        harms = {"config.json": (damaged, config_harmed), "model.safetensors": (damaged, header_harmed)}
        GanimeAge.from_pretrained(whole)

        def case(name: str, rng: random.Random) -> bool:
            for other, content in files.items():
                (Path(harmed) / other).write_bytes(content)
            (Path(harmed) / name).write_bytes(rng.choice(harms[name])(rng, files[name]))
            try:
                model = GanimeAge.from_pretrained(harmed)
            except GanimeAgeError as error:
                assert str(error) and "\n" not in str(error)
                return False
            assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
            return True

        for name in cycle(files):
            yield partial(case, name)


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    """Ends the process, with every thread's traceback, when what is within takes longer: it may sleep, wait for a lock
    or compute outside Python."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def most_memory() -> int:
    """The most bytes that this process ever held. Linux hands ru_maxrss on to child processes, so there it is read
    from /proc."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


CASES = {"pictures": picture_cases, "weights": weights_cases}


def fuzz(kind: str, runs: int) -> dict[str, float]:
    """How many cases were read and how many refused, the slowest one's seconds of computing, the memory they took."""
    read, slowest, before = 0, 0.0, 0
    for i, case in zip(range(runs), CASES[kind](), strict=False):
        before = before or most_memory()
        started = time.process_time()
        try:
            with no_longer_than(HANGS):
                read += case(random.Random(i))
        except Exception as error:
            raise AssertionError(f"case {i} of {kind}") from error
        slowest = max(slowest, time.process_time() - started)
    added = (most_memory() - before) / 1e6
    return {
        "cases": runs,
        "read": read,
        "refused": runs - read,
        "slowest_cpu_seconds": round(slowest, 3),
        "peak_added_mb": round(added, 1),
    }


if __name__ == "__main__":
    print(json.dumps(fuzz(sys.argv[1], int(sys.argv[2]))))
