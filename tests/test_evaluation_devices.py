"""Networks that are measured may lie on a GPU, faces and findings stay on the CPU: a pretended GPU finds the same."""

import numpy as np
import pytest
import torch

from ganime_age.learning.data.faces import Faces
from ganime_age.learning.engine.devices import beside, device_of
from ganime_age.learning.engine.fake_device import FakeDevice
from ganime_age.learning.evaluation import measure_reenactment
from ganime_age.learning.evaluation.committee import Committee
from ganime_age.learning.evaluation.judges import Places, call
from ganime_age.learning.evaluation.measure_identity import edits, embed, looks_of, shown
from ganime_age.learning.evaluation.measure_readers import read_all
from ganime_age.learning.evaluation.test_faces import Sitters
from ganime_age.model.model import GanimeAge
from ganime_age.networks.judging.age_judge import AgeJudge
from helpers.tiny import TINY, light
from helpers.training import write_people

JUDGE = {"size": 64, "widths": [8, 8, 8]}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return Faces(write_people(tmp_path_factory.mktemp("people") / "faces", 16), 64, ("train",))


def found(model, faces, folder):
    """What the measurements say, as arrays by name."""
    picks = np.arange(6)
    judges = call(f"readers,age=folder:{folder}", Places(model, None, folder))
    with torch.inference_mode():
        sitters = Sitters(model, "ganimation_age", faces, picks)
        after = sitters.edited({"age": judges.age, "who": judges.identity}, age=70.0)
        ones = {name: embed(look, shown(faces, picks)) for name, look in looks_of(None, model).items()}
        (aged, _), *_ = edits(model, faces, picks)
    assert device_of(judges.age.network) == device_of(model)
    return read_all(model.readers, faces) | after | ones | {"edited": aged.numpy()}


def test_a_gpu_finds_what_a_cpu_finds(faces, tmp_path):
    torch.manual_seed(0)
    model = GanimeAge(parts=("readers", "ganimation_age", "identity"), **TINY).eval()
    light(tmp_path, "age_judge", AgeJudge(**JUDGE), JUDGE)
    here = found(model, faces, tmp_path)
    with FakeDevice():
        there = found(model.to("cuda"), faces, tmp_path)
    assert here.keys() == there.keys() >= {"age", "who", "mask", "identity", "readers_head", "edited"}
    for name, values in here.items():
        assert np.allclose(values, there[name], atol=1e-4, equal_nan=True), name


def test_a_committee_reads_on_a_gpu(tmp_path):
    class Judge(torch.nn.Linear):
        def forward(self, frames, landmarks):
            return self.weight.sum() + frames.mean((1, 2, 3)) + landmarks.mean((1, 2))

    frames, marks = torch.rand(3, 3, 8, 8), torch.rand(3, 68, 2)
    judge = Judge(2, 2)
    here = Committee({"one": judge}).read(frames, marks)
    with FakeDevice():
        there = Committee({"one": judge.to("cuda")}).read(frames, marks)
        assert there.device.type == "cpu"
    assert torch.allclose(here, there)


def test_faces_are_moved_on_a_gpu(monkeypatch):
    def moved_there(model, source, driving, learnt):
        assert source.is_cuda and driving.is_cuda and learnt.shape and learnt.face
        return source + driving

    monkeypatch.setattr(measure_reenactment, "moved_there", moved_there)
    with FakeDevice():
        model = torch.nn.Linear(2, 2).to("cuda")
        assert not measure_reenactment.moved(model, torch.ones(2), torch.ones(2)).is_cuda
        assert beside(model, lambda x: (x, 3))(torch.ones(1))[1] == 3
