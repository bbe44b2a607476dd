"""GanimeAge: what is saved comes back, what does not fit is refused by name, nothing is ever random."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from ganime_age.edits import AU_CODES
from ganime_age.errors import BadInput, MissingModel
from ganime_age.model import GanimeAge

TINY = {
    "face_size": 64,
    "edit_size": 64,
    "finder": {"seek_width": 8, "mark_width": 8, "crop_side": 32},
    "reader_size": 32,
    "reader_widths": [8, 8, 8, 16],
    "reader_blocks": [1, 1, 1],
    "generator_widths": [8, 8, 16],
    "generator_blocks": 1,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder that save_pretrained wrote, with numbers in every tensor."""
    torch.manual_seed(0)
    model = GanimeAge(**TINY)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("weights")
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "weights")


def request(batch: int = 1):
    torch.manual_seed(0)
    units = torch.rand(batch, len(AU_CODES)) * 5
    return torch.full((batch,), 30.0), torch.full((batch,), 70.0), units, units.flip(1)


def test_a_saved_model_comes_back_the_same(saved, tmp_path):
    first = GanimeAge.from_pretrained(saved)
    first.save_pretrained(tmp_path)
    second = GanimeAge.from_pretrained(tmp_path)
    face = torch.rand(1, 3, 64, 64) * 2 - 1
    assert torch.equal(first.edit(face, *request()).face, second.edit(face, *request()).face)
    assert torch.equal(first.read(face).age, second.read(face).age)
    assert json.loads((tmp_path / "config.json").read_text())["reader_widths"] == [8, 8, 8, 16]
    assert not first.training and not any(p.requires_grad for p in first.parameters())


def test_files_hold_half_precision_and_no_pickle(saved):
    assert {p.suffix for p in saved.iterdir()} <= {".json", ".safetensors", ".md"}
    state = load_file(saved / "model.safetensors")
    assert all(v.dtype == torch.float16 for v in state.values() if v.is_floating_point())
    assert {key.split(".")[0] for key in state} == {"finder", "readers", "ganimation_age"}


def test_parts_load_alone(saved):
    model = GanimeAge.from_pretrained(saved, parts=["readers"])
    assert model.parts == ("readers",) and model.methods == ()
    assert not hasattr(model, "finder") and not hasattr(model, "ganimation_age")
    with pytest.raises(MissingModel, match="hold readers; load weights with ganimation_age"):
        model.edit(torch.zeros(1, 3, 64, 64), *request())


def test_the_embedded_weights_load_without_a_network_and_are_small(model):
    assert model.parts == ("finder", "readers", "ganimation_age")
    assert sum(p.numel() for p in model.finder.parameters()) < 500_000
    from ganime_age.model import EMBEDDED

    assert sum(p.stat().st_size for p in EMBEDDED.iterdir()) < 25e6


def test_an_edit_at_another_size_keeps_the_face_where_nothing_is_asked(model):
    face = torch.rand(1, 3, 200, 200) * 2 - 1
    age, _, units, _ = request()
    edited = model.edit(face, age, age, units, units)
    assert torch.equal(edited.face, face) and edited.attention.shape == (1, 1, 200, 200)


def test_unknown_methods_and_parts_are_named(saved):
    with pytest.raises(BadInput, match="unknown method 'magic'; choose from ganimation_age"):
        GanimeAge.from_pretrained(saved).edit(torch.zeros(1, 3, 64, 64), *request(), method="magic")
    with pytest.raises(BadInput, match="unknown part 'magic'"):
        GanimeAge.from_pretrained(saved, parts=["magic"])


def harmed_tensor(folder, harm):
    state = load_file(folder / "model.safetensors")
    harm(state)
    save_file(state, folder / "model.safetensors")


def harmed_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


HARM = {
    "missing tensor": (
        lambda f: harmed_tensor(f, lambda s: s.pop("readers.age_head.weight")),
        "lacks tensor readers.age_head.weight",
    ),
    "foreign tensor": (
        lambda f: harmed_tensor(f, lambda s: s.update({"stranger.weight": torch.zeros(1)})),
        "holds the foreign tensor stranger.weight",
    ),
    "foreign tensor in a part": (
        lambda f: harmed_tensor(f, lambda s: s.update({"readers.extra": torch.zeros(1)})),
        "holds the foreign tensor readers.extra",
    ),
    "misshapen tensor": (
        lambda f: harmed_tensor(f, lambda s: s.update({"readers.age_head.bias": torch.zeros(3)})),
        r"readers.age_head.bias has the shape \(3,\)",
    ),
    "not a number": (
        lambda f: harmed_tensor(f, lambda s: s["readers.age_head.bias"].fill_(float("nan"))),
        "readers.age_head.bias holds NaN",
    ),
    "truncated file": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:1000]),
        "model.safetensors is missing or damaged",
    ),
    "no file": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing or damaged"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{"), "config.json cannot be read"),
    "config is a list": (lambda f: (f / "config.json").write_text("[1]"), "does not know: list"),
    "unknown keyword": (lambda f: harmed_config(f, magic=1), "does not know: magic"),
    "newer format": (lambda f: harmed_config(f, format_version=99), "install a newer ganime_age"),
}


@pytest.mark.parametrize("name", HARM)
def test_weights_that_do_not_fit_are_refused_by_name(copied, name):
    harm, words = HARM[name]
    harm(copied)
    with pytest.raises(MissingModel, match=words):
        GanimeAge.from_pretrained(copied)


@pytest.mark.parametrize("keywords", [{"face_size": 100}, {"edit_size": 8}, {"crop_scale": 9}, {"parts": []}])
def test_numbers_that_cannot_be_are_refused(keywords):
    with pytest.raises(BadInput):
        GanimeAge(**TINY | keywords)


@pytest.mark.parametrize("source", ["./nowhere", "a/b/c", "justaname"])
def test_what_is_neither_a_folder_nor_a_repository_is_said_so(source):
    with pytest.raises(MissingModel, match="is not a folder with weights"):
        GanimeAge.from_pretrained(source)


def test_a_repository_that_is_not_cached_is_one_sentence_offline():
    with pytest.raises(MissingModel, match="not in the local cache"):
        GanimeAge.from_pretrained("nobody/nothing", local_files_only=True)


def test_importing_the_package_stays_light():
    heavy = "gradio diffusers insightface accelerate mediapipe"
    code = f"import sys, ganime_age; print([m for m in {heavy.split()} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
