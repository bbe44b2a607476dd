"""GanimeAge: what is saved comes back, what does not fit is refused by name, nothing is ever random."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from ganime_age.edits import AU_CODES
from ganime_age.errors import BadInput, MissingModel
from ganime_age.model.methods import shipped
from ganime_age.model.model import GanimeAge
from ganime_age.model.storage import EMBEDDED
from helpers.tiny import TINY, same


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
    assert same(first, second)
    assert (tmp_path / "config.json").read_text() == (saved / "config.json").read_text()
    assert json.loads((tmp_path / "config.json").read_text())["readers"]["widths"] == [8, 8, 8, 16]
    assert not first.training and not any(p.requires_grad for p in first.parameters())


def test_its_config_builds_the_same_networks_and_is_the_callers_own():
    model = GanimeAge(**TINY)
    config = model.config
    shapes = lambda one: {key: value.shape for key, value in one.state_dict().items()}  # noqa: E731
    assert config["face_size"] == 64 and shapes(GanimeAge(**config)) == shapes(model)
    config["readers"]["widths"].append(8)
    assert (
        model.config["readers"]
        == TINY["readers"]
        == {"size": 32, "widths": [8, 8, 8, 16], "blocks": [1, 1, 1]}
    )


def test_a_folder_holds_config_and_weights_and_nothing_else(saved, tmp_path):
    assert sorted(p.name for p in saved.iterdir()) == ["config.json", "model.safetensors"]
    state = load_file(saved / "model.safetensors")
    assert all(v.dtype == torch.float32 for v in state.values() if v.is_floating_point())
    assert {key.split(".")[0] for key in state} == set(shipped())
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "config.json").write_text("of another model")
    GanimeAge.from_pretrained(saved).save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert same(GanimeAge.from_pretrained(tmp_path), GanimeAge.from_pretrained(saved))


def test_the_precision_of_file_and_model(saved, tmp_path):
    model = GanimeAge.from_pretrained(saved)
    model.save_pretrained(tmp_path, variant="fp16")
    model.half().save_pretrained(tmp_path)
    for variant in (None, "fp16"):
        assert (
            GanimeAge.from_pretrained(tmp_path, variant=variant).readers.age_head.weight.dtype
            == torch.float32
        )
        kept = GanimeAge.from_pretrained(tmp_path, variant=variant, dtype="auto")
        assert kept.readers.age_head.weight.dtype == torch.float16 and same(kept, model)
    for dtype in (torch.bfloat16, "bfloat16"):
        low = GanimeAge.from_pretrained(saved, dtype=dtype)
        assert all(t.dtype == torch.bfloat16 for t in low.state_dict().values() if t.is_floating_point())
    for dtype in ("int8", torch.int64, "load", 16):
        with pytest.raises(BadInput, match="unknown dtype .* choose from auto, float32, float16"):
            GanimeAge.from_pretrained(saved, dtype=dtype)


def test_a_variant_that_is_not_there_is_named(saved):
    with pytest.raises(MissingModel, match="fp16.safetensors is missing; the folder holds model.safetensors"):
        GanimeAge.from_pretrained(saved, variant="fp16")
    with pytest.raises(BadInput, match="unknown variant 'half'; choose from fp16, bf16, or leave it out"):
        GanimeAge.from_pretrained(saved, variant="half")


@pytest.mark.parametrize("keyword", ["strict", "torch_dtype", "map_location", "config", "face_size"])
def test_unknown_keywords_are_not_swallowed(saved, tmp_path, keyword):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{keyword}'"):
        GanimeAge.from_pretrained(saved, **{keyword: 1})
    if keyword != "config":
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{keyword}'"):
            GanimeAge.from_pretrained(saved).save_pretrained(tmp_path, **{keyword: 1})
    with pytest.raises(TypeError, match="unexpected keyword argument 'magic'"):
        GanimeAge(magic=1)


def test_loading_says_nothing(saved, capfd):
    GanimeAge.from_pretrained(saved)
    assert capfd.readouterr() == ("", "")


def test_parts_load_alone(saved, tmp_path):
    model = GanimeAge.from_pretrained(saved, parts=["readers"])
    assert model.parts == ("readers",) and model.methods == ()
    assert not hasattr(model, "detector") and not hasattr(model, "ganimation_age")
    with pytest.raises(MissingModel, match="hold readers; load weights with ganimation_age"):
        model.edit(torch.zeros(1, 3, 64, 64), *request())
    model.save_pretrained(tmp_path)
    assert GanimeAge.from_pretrained(tmp_path).parts == ("readers",)
    with pytest.raises(MissingModel, match="hold readers, not detector"):
        GanimeAge.from_pretrained(tmp_path, parts=["finder", "readers"])


PEAK = """
import resource, sys
from ganime_age import GanimeAge
GanimeAge.from_pretrained(sys.argv[1], parts=["readers"])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
GanimeAge.from_pretrained(sys.argv[2], parts=["readers"])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_a_part_needs_no_memory_for_the_others(saved, tmp_path):
    GanimeAge(**TINY | {"ganimation_age": {"widths": [8, 8, 1280], "blocks": 2}}).save_pretrained(tmp_path)
    size = (tmp_path / "model.safetensors").stat().st_size / 2**20
    command = [sys.executable, "-c", PEAK, saved, tmp_path]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert size > 220 and float(done.stdout) < size / 4


def test_the_embedded_weights_load_without_a_network_and_are_small(model):
    assert model.parts == shipped()
    assert sum(p.numel() for p in model.detector.parameters()) < 500_000
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
    with pytest.raises(BadInput, match="unknown device 'toaster'"):
        GanimeAge.from_pretrained(saved, device="toaster")


def harmed_tensor(folder, harm):
    state = load_file(folder / "model.safetensors")
    harm(state)
    save_file(state, folder / "model.safetensors")


def harmed_config(folder, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    inner = {key: config[key] | value for key, value in changes.items() if isinstance(value, dict)}
    path.write_text(json.dumps(config | changes | inner))


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def only_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


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
    "whole numbers": (
        lambda f: harmed_tensor(
            f, lambda s: s.update({"readers.age_head.bias": torch.zeros(101, dtype=torch.int64)})
        ),
        "readers.age_head.bias holds I64 numbers",
    ),
    "not a number": (
        lambda f: harmed_tensor(f, lambda s: s["readers.age_head.bias"].fill_(float("nan"))),
        "readers.age_head.bias holds NaN",
    ),
    "beyond float32": (
        lambda f: harmed_tensor(
            f, lambda s: s.update({"readers.age_head.bias": torch.full((101,), 1e300, dtype=torch.float64)})
        ),
        "readers.age_head.bias holds NaN or infinite",
    ),
    "truncated file": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:1000]),
        "model.safetensors is damaged .*force_download=True",
    ),
    "empty file": (write("model.safetensors", b""), "model.safetensors is damaged"),
    "a web page": (write("model.safetensors", b"<html>" * 99), "model.safetensors is damaged"),
    "git-lfs pointer": (
        write("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        "is a git-lfs pointer, not the weights; run `git lfs pull`",
    ),
    "no file": (
        lambda f: (f / "model.safetensors").unlink(),
        "model.safetensors is missing; save the weights",
    ),
    "a pickle instead": (
        only_pickle,
        "pytorch_model.bin is a pickle .* convert it with `ganime-age convert`",
    ),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "config is empty": (write("config.json", b""), "config.json cannot be read"),
    "config is no JSON": (write("config.json", b"{"), "config.json cannot be read"),
    "config is no text": (write("config.json", b"\xff\xfe\x00"), "config.json cannot be read"),
    "config is deep": (write("config.json", b"[" * 99_000), "config.json cannot be read"),
    "config is huge": (write("config.json", b" " * 200_000 + b"{}"), "config.json is larger than 100 kB"),
    "config is a list": (write("config.json", b"[1]"), "config.json holds a list, not the keywords"),
    "a name of two lines": (lambda f: harmed_config(f, **{"a\nb": 1}), r"does not know: 'a\\nb'"),
    "unknown keyword": (lambda f: harmed_config(f, magic=1), "does not know: magic"),
    "unknown part": (
        lambda f: harmed_config(f, parts=["magic"]),
        "describes no model .* unknown part 'magic'",
    ),
    "words for numbers": (lambda f: harmed_config(f, readers={"widths": "wide"}), "describes no model"),
    "negative width": (
        lambda f: harmed_config(f, ganimation_age={"widths": [8, -8, 16]}),
        "describes no model",
    ),
    "size that cannot be": (
        lambda f: harmed_config(f, face_size=100),
        "describes no model .* multiples of 8",
    ),
    "other widths": (lambda f: harmed_config(f, ganimation_age={"widths": [8, 16, 16]}), "has the shape"),
    "ten terabytes": (
        lambda f: harmed_config(f, ganimation_age={"widths": [8, 8, 4096]}),
        "has the shape|lacks",
    ),
    "huge width": (
        lambda f: harmed_config(f, ganimation_age={"widths": [8, 8, 10**9]}),
        "ganimation_age.widths holds 1000000000, which is beyond 4096",
    ),
    "endless blocks": (
        lambda f: harmed_config(f, ganimation_age={"blocks": 4000}),
        "ganimation_age.blocks holds 4000, which is beyond 64",
    ),
    "not finite": (lambda f: harmed_config(f, crop_scale=float("inf")), "crop_scale holds inf"),
    "newer format": (
        lambda f: harmed_config(f, format_version=99, magic=1, ganime_age_version="7.1.0"),
        "format version 99, this ganime_age reads up to 4; install ganime_age 7.1.0 or newer",
    ),
    "newer format of nobody": (
        lambda f: harmed_config(f, format_version=99, ganime_age_version="; rm"),
        "install a newer ganime_age",
    ),
    "older format": (lambda f: harmed_config(f, format_version=1), "has the old format version 1"),
    "format that is no number": (lambda f: harmed_config(f, format_version="3"), "format_version '3'"),
}


@pytest.mark.parametrize("name", HARM)
def test_weights_that_do_not_fit_are_refused_by_name(copied, name):
    harm, words = HARM[name]
    harm(copied)
    with pytest.raises(MissingModel, match=words) as caught:
        GanimeAge.from_pretrained(copied)
    assert "\n" not in str(caught.value) and str(copied) in str(caught.value)


def test_a_part_that_is_not_asked_for_may_be_of_another_version(copied):
    """So that a folder can be repacked after one of its networks has changed."""
    harmed_tensor(copied, lambda s: s.pop("ganimation_age.head.weight"))
    assert GanimeAge.from_pretrained(copied, parts=["finder", "readers"]).parts == ("detector", "readers")
    with pytest.raises(MissingModel, match="lacks tensor ganimation_age.head.weight"):
        GanimeAge.from_pretrained(copied)


def test_a_byte_order_mark_is_no_harm(copied):
    (copied / "config.json").write_bytes(b"\xef\xbb\xbf" + (copied / "config.json").read_bytes())
    assert GanimeAge.from_pretrained(copied).parts == shipped()


def spoilt(model, value: float):
    with torch.no_grad():
        model.readers.age_head.bias[0] = value
    return model


@pytest.mark.parametrize(
    ("change", "variant", "words"),
    [
        (lambda m: spoilt(m, float("nan")), None, "readers.age_head.bias holds NaN"),
        (
            lambda m: spoilt(m, 1e6),
            "fp16",
            "readers.age_head.bias holds NaN or infinite numbers in torch.float16",
        ),
        (lambda m: setattr(m.readers, "extra", torch.nn.Linear(2, 2)), None, "changed after it was built"),
    ],
)
def test_what_could_not_be_loaded_again_is_not_saved(saved, tmp_path, change, variant, words):
    model = GanimeAge.from_pretrained(saved)
    change(model)
    with pytest.raises(BadInput, match=words):
        model.save_pretrained(tmp_path / "new", variant=variant)
    assert not (tmp_path / "new").exists()


def test_a_config_is_never_dropped(tmp_path):
    parts = (part for part in ["readers"])  # no JSON could hold a generator
    small = {"readers": {"size": 32, "widths": (8, 8, 8, 16), "blocks": (1, 1, 1)}}
    GanimeAge(parts, 128, **small).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["parts"], config["face_size"], config["readers"]["widths"]) == (
        ["readers"],
        128,
        [8, 8, 8, 16],
    )
    assert GanimeAge.from_pretrained(tmp_path).face_size == 128


def test_a_folder_that_cannot_be_written_is_one_sentence(saved, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "new"):
        with pytest.raises(BadInput, match="cannot be written .* choose another place"):
            GanimeAge.from_pretrained(saved).save_pretrained(folder)


@pytest.mark.parametrize("keywords", [{"face_size": 100}, {"edit_size": 8}, {"crop_scale": 9}, {"parts": []}])
def test_numbers_that_cannot_be_are_refused(keywords):
    with pytest.raises(BadInput):
        GanimeAge(**TINY | keywords)


@pytest.mark.parametrize(
    "source", ["./nowhere", "a/b/c", "justaname", "", "a b/c", "https://x/y", "a--b/c", "x" * 5000]
)
def test_what_is_neither_a_folder_nor_a_repository_is_said_so(source):
    with pytest.raises(MissingModel, match="is not a folder with weights; give a folder or a Hub repository"):
        GanimeAge.from_pretrained(source)


@pytest.mark.parametrize(
    ("name", "words"),
    [("old.pth", "is a pickle, .* `ganime-age convert"), ("model.safetensors", "is a file; give the folder")],
)
def test_a_file_instead_of_a_folder_is_named(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(MissingModel, match=words):
        GanimeAge.from_pretrained(tmp_path / name)


def test_a_repository_that_is_not_cached_is_one_sentence_offline(tmp_path, monkeypatch):
    with pytest.raises(MissingModel, match="not in the local cache and local_files_only forbids"):
        GanimeAge.from_pretrained("nobody/nothing", local_files_only=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingModel, match="not in the local cache and HF_HUB_OFFLINE forbids"):
        GanimeAge.from_pretrained("nobody/nothing", cache_dir=tmp_path)
