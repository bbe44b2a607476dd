"""Faces on the device, and batches made ahead, are those that a CPU makes at the moment they are wanted."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ganime_age.errors import BadInput
from ganime_age.learning.data import augment, resident
from ganime_age.learning.data.faces import Faces
from ganime_age.learning.data.joined_faces import JoinedFaces
from ganime_age.learning.engine.atomic_files import RowReader
from ganime_age.learning.engine.batches import BatchesAhead, hand_over
from ganime_age.learning.engine.recipe import fill
from ganime_age.learning.engine.task import Plan
from helpers.training import readers_run

CPU = torch.device("cpu")
SIDE = 32


def same(one, other):
    assert list(one) == list(other)
    for name, value in one.items():
        assert value.dtype == other[name].dtype
        assert torch.equal(value.nan_to_num(-7), other[name].nan_to_num(-7)), name


def drawn(faces, count=12):
    rng = np.random.default_rng(0)
    return rng.integers(0, len(faces), count), rng.random(count) < 0.5


@pytest.mark.parametrize("joined", [False, True], ids=["one folder", "two folders"])
def test_batches_of_resident_faces_equal_the_others(face_shards, joined):
    faces = Faces(face_shards, SIDE)
    if joined:
        faces = JoinedFaces([faces, Faces(face_shards, SIDE, ("val",))])
    indices, mirror = drawn(faces)
    plain, unmirrored = faces.batch(indices, mirror), faces.batch(indices)
    assert resident.reside(faces, CPU, True) and mirror.any() and not mirror.all()
    same(faces.batch(indices, mirror), plain)
    same(faces.batch(indices), unmirrored)


def test_a_batch_of_resident_faces_reads_no_file(face_shards, monkeypatch):
    faces = Faces(face_shards, SIDE)
    resident.reside(faces, CPU, True)
    faces.batch(*drawn(faces))
    monkeypatch.setattr(RowReader, "read", lambda *_: pytest.fail("the pictures are read again"))
    faces.batch(*drawn(faces))


def test_auto_leaves_faces_where_they_are_on_a_cpu_and_where_they_do_not_fit(face_shards, monkeypatch):
    faces, gpu = Faces(face_shards, SIDE), torch.device("cuda", 0)
    assert not resident.reside(faces, CPU) and faces.resident is None
    needed = resident.bytes_of(faces)
    assert needed > len(faces) * 4 * SIDE**2
    free = {"bytes": int(needed / resident.SHARE) + 9}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free["bytes"], 0))
    assert resident.reside(faces, gpu)
    free["bytes"] = needed
    assert not resident.reside(faces, gpu, "auto") and resident.reside(faces, gpu, True)
    free["bytes"] -= 1
    with pytest.raises(BadInput, match="GB are free on cuda:0; set run.resident to auto or false"):
        resident.reside(faces, gpu, True)
    assert not resident.reside(faces, gpu, False)


def test_the_setting_is_auto_or_true_or_false():
    assert fill(Plan, {"steps": 1, "resident": True}, "[run] table").resident is True
    with pytest.raises(BadInput, match="resident .* is 'often'; it must be true or false or auto"):
        fill(Plan, {"steps": 1, "resident": "often"}, "[run] table")


@pytest.mark.parametrize("setting", ["resident", "prefetch"])
def test_a_run_ends_the_same_however_its_batches_come(face_shards, tmp_path, setting):
    def trained(out, **settings):
        run = readers_run(face_shards, tmp_path / out, 3)
        run.plan.prefetch = settings.get("prefetch", "auto")
        if "resident" in settings:
            closure = run.task.batch.__closure__
            faces = next(cell.cell_contents for cell in closure if isinstance(cell.cell_contents, Faces))
            assert resident.reside(faces, CPU, True)
        threads = threading.active_count()
        run.train()
        assert threading.active_count() == threads
        return run.task.networks["readers"].state_dict()

    same(trained("one"), trained("other", **{setting: True}))


def test_batches_ahead_are_made_before_they_are_asked_for():
    made = []

    def make(number):
        made.append((number, threading.current_thread().name))
        return {"x": torch.tensor(number)}

    with BatchesAhead(make, iter(range(2, 20)), depth=2) as ahead:
        end = time.monotonic() + 20
        while len(made) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        assert [number for number, _ in made] == [2, 3, 4] and made[0][1] == "batches"
        assert [int(ahead.take(number)["x"]) for number in range(2, 9)] == list(range(2, 9))
    assert not ahead.thread.is_alive() and len(made) < 18


def test_an_error_in_the_thread_comes_to_the_one_who_asks():
    def make(number):
        raise BadInput("no such face")

    with BatchesAhead(make, iter(range(3))) as ahead, pytest.raises(BadInput, match="no such face"):
        ahead.take(0)


def test_a_cut_cache_is_an_error_and_not_noise(face_shards, tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(24, dtype=np.uint8).reshape(6, 4))
    reader = RowReader(np.load(path, mmap_mode="r"))
    assert reader.read(np.array([5, 0, 5])).tolist() == [[20, 21, 22, 23], [0, 1, 2, 3], [20, 21, 22, 23]]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(OSError, match="cut off"):
        reader.read(np.array([5]))


def test_autocast_leaves_a_moved_face_where_it_belongs():
    face = torch.rand(3, 3, 64, 64)

    def moved():
        torch.manual_seed(0)
        return augment.random_affine(face, None, turn=20, zoom=0.2, shift=0.1)[0]

    with torch.autocast("cpu", torch.bfloat16):
        rounded = moved()
    assert torch.equal(moved(), rounded)


def test_a_batch_of_another_stream_is_waited_for_there_and_not_by_the_host(monkeypatch):
    told = []
    stream = SimpleNamespace(wait_event=lambda event: told.append(event))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *_: stream)
    there = SimpleNamespace(is_cuda=True, record_stream=lambda stream: told.append(stream))
    hand_over({"there": there, "here": SimpleNamespace(is_cuda=False)}, "done")
    assert told == ["done", stream]
