"""Files that are written whole or not at all, and pictures that become tensors and come back unchanged."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from ganime_age.atomic import new_folder, replacing
from ganime_age.images.tensors import to_levels, to_pictures, to_tensor, to_unit


def test_a_file_is_replaced_only_when_the_block_ends_well(tmp_path):
    target = tmp_path / "note.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="half-way"), replacing(target) as part:
        part.write_text("half")
        assert target.read_text() == "old"
        raise RuntimeError("half-way")
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]
    with replacing(target) as part:
        part.write_text("new")
    assert target.read_text() == "new" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("stop", [OSError, KeyboardInterrupt])
def test_folders_that_were_made_for_a_file_go_with_it(tmp_path, stop):
    with pytest.raises(stop), replacing(tmp_path / "a" / "b" / "c.txt", make_folders=True):
        raise stop
    assert list(tmp_path.iterdir()) == []
    with replacing(tmp_path / "a" / "b" / "c.txt", make_folders=True) as part:
        part.write_text("there")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "there"


def test_a_file_is_as_readable_as_any_new_one_and_may_have_the_longest_name(tmp_path):
    mask = os.umask(0o027)
    try:
        with replacing(tmp_path / ("x" * 251 + ".txt")) as part:
            part.unlink()
            part.write_text("as a writer does that makes its own file")
            part.chmod(0o600)
    finally:
        os.umask(mask)
    (written,) = tmp_path.iterdir()
    assert stat.S_IMODE(written.stat().st_mode) == 0o640


def test_threads_that_write_one_file_never_mix(tmp_path):
    def work(i):
        with replacing(tmp_path / "one") as part:
            part.write_text(str(i) * 10_000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(10)))
    (written,) = tmp_path.iterdir()
    assert len(set(written.read_text())) == 1 and len(written.read_text()) == 10_000


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(ValueError, match="no"), new_folder(tmp_path / "made") as part:
        (part / "file").touch()
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "made") as part:
        (part / "file").touch()
        assert not (tmp_path / "made").exists()
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["file"]


def test_every_level_survives_the_way_to_a_tensor_and_back():
    pictures = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    pictures = np.concatenate([pictures, pictures[:, ::-1]])
    faces = to_tensor(pictures)
    assert faces.shape == (2, 3, 16, 16) and faces.dtype == torch.float32
    assert faces.min() == -1 and faces.max() == 1
    assert np.array_equal(to_pictures(faces), pictures)
    assert torch.equal(to_tensor(pictures[0]), faces[:1])
    assert torch.equal(to_unit(to_levels(faces).round()), faces)


def test_what_lies_outside_is_clipped_and_half_precision_is_taken():
    faces = torch.tensor([-3.0, -1, 0, 1, 7]).half()
    assert to_levels(faces).tolist() == [0, 0, 127.5, 255, 255]
