"""Shared by the tests: the embedded weights, an editor, real files. No test needs a network or an accelerator.

One thread: the tests' networks are small, and several threads on a busy machine wait for each other.
"""

import os
from collections import Counter

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import numpy as np
import pytest
from PIL import Image


def pytest_collection_modifyitems(items):
    """Files with slow tests come first, so that two processes end at the same time."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def model():
    """The model with the weights that ship in the package."""
    from ganime_age.model.model import GanimeAge

    return GanimeAge.from_pretrained()


@pytest.fixture(scope="session")
def editor(model):
    """One editor for the whole run: it holds no state."""
    from ganime_age.editor import FaceEditor

    return FaceEditor(model)


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory):
    """A folder with the config and the weights of a tiny model: readers and a generator. Copy it before harming it."""
    import torch

    from ganime_age.model.model import GanimeAge

    torch.manual_seed(0)
    model = GanimeAge(
        ("readers", "ganimation_age"), 64, edit_size=64,
        readers={"size": 32, "widths": [8, 8, 8, 16], "blocks": [1, 1, 1]},
        ganimation_age={"widths": [8, 8, 16], "blocks": 1},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("small") / "weights"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def small_model(small_weights):
    """The model of `small_weights`, in memory."""
    from ganime_age.model.model import GanimeAge

    return GanimeAge.from_pretrained(small_weights)


@pytest.fixture(scope="session")
def portrait():
    """A photo with one face, uint8 (320,320,3)."""
    data = pytest.importorskip(
        "skimage.data", reason="the photo needs scikit-image: pip install 'ganime_age[demo]'"
    )
    return data.astronaut()[0:320, 60:380].copy()


@pytest.fixture
def portrait_file(tmp_path, portrait):
    path = tmp_path / "portrait.png"
    Image.fromarray(portrait).save(path)
    return path


@pytest.fixture
def two_faces(portrait):
    """A photo with a large face and, to its right, the same face at 60 %."""
    photo = np.full((320, 520, 3), 128, np.uint8)
    photo[:, :320] = portrait
    photo[60:252, 324:516] = np.asarray(
        Image.fromarray(portrait).resize((192, 192), Image.Resampling.LANCZOS)
    )
    return photo


@pytest.fixture
def faceless():
    """A photo without a face: a soft texture."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(90, 160, (8, 8, 3), dtype=np.uint8))
    return np.array(coarse.resize((200, 200), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def face_shards(tmp_path_factory):
    """A face folder with one shard of 24 pictures."""
    from helpers.training import write_faces

    return write_faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture
def few_shown(monkeypatch):
    """Sheets and probes of one child and one old person, one straight face and one smile: every other age goes the same
    way through the same networks."""
    from ganime_age.learning.tasks import age_editing, probes, sheets

    monkeypatch.setattr(age_editing, "SHEET_AGES", (5.0, 76.0))
    monkeypatch.setattr(sheets, "AGES", (5.0, 85.0))
    monkeypatch.setattr(probes, "AGES", (5.0, 80.0))
    monkeypatch.setattr(probes, "SMILES", (0.0, 5.0))


@pytest.fixture(scope="session")
def server():
    """A stand-in for the Hub on loopback."""
    from helpers.fakehub import FakeHub

    with FakeHub() as server:
        yield server


@pytest.fixture
def online(server, monkeypatch, tmp_path):
    """The Hub of this test: empty, reached as the real one is, with an empty cache and no token stored."""
    from huggingface_hub import constants

    from ganime_age.model import hub

    server.repos.clear()
    server.seen.clear()
    server.fault = None
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(hub, "RETRY_WAITS", (0.0, 0.0))
    return server


@pytest.fixture(scope="session")
def people():
    """Four people, neutral and smiling: pictures (8,128,128,3), landmarks (8,68,2), persons and smiles (8,)."""
    from helpers.judges import four_people

    return four_people()


@pytest.fixture(scope="session")
def painted_faces(tmp_path_factory):
    """Eight faces a group; their colours say their age, their smile and who they are."""
    from helpers.painted import paint_faces

    return paint_faces(tmp_path_factory.mktemp("faces"))
