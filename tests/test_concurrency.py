"""One editor for many threads, and the same request always gives the same bytes."""

import os
import stat
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ganime_age import GanimeAge
from ganime_age.images.photo import load_photo
from ganime_age.provenance.xmp import read_metadata

SOURCE = Path(__file__).resolve().parents[1] / "src"
REQUESTS = (
    {"age": 70},
    {"age": 10, "action_units": {"AU04": 3}},
    {"action_units": {"AU12": 0}},
    {"age": 40, "action_units": ["AU01=+2"], "strength": 0.7},
)


@pytest.fixture(scope="module")
def photos(portrait):
    return portrait, np.ascontiguousarray(portrait[:, ::-1])


def numbers(result):
    return {key: value for key, value in result.to_dict().items() if key != "seconds"}


def test_eight_threads_give_what_one_by_one_gives(editor, photos):
    jobs = [(photo, request) for photo in photos for request in REQUESTS]
    alone = [editor.edit(photo, **request) for photo, request in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda job: editor.edit(job[0], **job[1]), jobs))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(np.asarray(one.image), np.asarray(other.image))
        assert np.array_equal(np.asarray(one.attention), np.asarray(other.attention))
        assert numbers(one) == numbers(other)
        assert np.array_equal(one.reading.identity, other.reading.identity)


def test_reading_and_a_failing_edit_beside_it_do_not_mix(editor, photos, faceless):
    alone = [reading.to_dict() for reading in editor.read(photos[0])]

    def work(i):
        if i % 2:
            return [reading.to_dict() for reading in editor.read(photos[0])]
        with pytest.raises(ValueError, match="no face was found"):
            editor.edit(faceless, age=70)
        return alone

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [alone] * 8


def test_reading_files_leaves_pythons_warnings_as_they_were(portrait_file):
    """The list of filters is the whole process's: what one thread puts back must not be another's."""
    before = list(warnings.filters)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(load_photo, [portrait_file] * 40))
            list(pool.map(read_metadata, [portrait_file] * 200))
    finally:
        sys.setswitchinterval(interval)
    assert list(warnings.filters) == before


def test_threads_may_save_into_one_folder(small_weights, tmp_path):
    model = GanimeAge.from_pretrained(small_weights)
    mask = os.umask(0o027)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(model.save_pretrained, [tmp_path] * 16))
    finally:
        os.umask(mask)
    names = ("config.json", "model.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    for name in names:
        assert (tmp_path / name).read_bytes() == (small_weights / name).read_bytes()
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640, name


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_the_same_request_gives_the_same_file(tmp_path, editor, portrait, suffix):
    files = [tmp_path / f"{i}.{suffix}" for i in range(2)]
    for file in files:
        editor.edit(portrait, age=60, action_units={"AU04": 2}).save(file)
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(tmp_path, editor, portrait_file):
    out = tmp_path / "fresh.png"
    command = [sys.executable, "-m", "ganime_age.cli", "edit", portrait_file, "-o", out, "--age", "60"]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    subprocess.run(command, check=True, capture_output=True, timeout=300, env=environment)
    result = editor.edit(portrait_file, age=60)
    result.save(tmp_path / "here.png")
    assert out.read_bytes() == (tmp_path / "here.png").read_bytes()


def test_a_result_records_its_weights_and_no_seed(editor, portrait):
    result = editor.edit(portrait, age=60)
    said = result.to_dict()
    assert "seed" not in said and "seed" not in result.record()
    assert said["weights"] == editor.weights == result.record()["weights"]
