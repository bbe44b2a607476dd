"""Weights in several files beside an index."""

import json

import pytest
import torch

from ganime_age.errors import MissingModel
from ganime_age.model.model import GanimeAge
from ganime_age.model.shards import files_of
from ganime_age.model.storage import EMBEDDED, save, stored_dtype

LARGEST = 16_000_000
"""Bytes that a file of the package may have."""


@pytest.fixture
def parted(small_weights, tmp_path):
    """The same weights in one file, and a folder of them in several."""
    model = GanimeAge.from_pretrained(small_weights)
    size = (small_weights / "model.safetensors").stat().st_size
    files = save(model, tmp_path, largest=size // 3)
    return model, tmp_path, files


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_weights_in_parts_are_the_same_weights(parted):
    model, folder, files = parted
    assert len(files) > 2 and names(folder) == sorted(
        ["config.json", "model.safetensors.index.json", *(f.name for f in files)]
    )
    again = GanimeAge.from_pretrained(folder)
    assert again.parts == model.parts
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
    one = GanimeAge.from_pretrained(folder, parts=["readers"]).readers
    assert torch.equal(one.age_head.weight, model.readers.age_head.weight)
    assert stored_dtype(folder / "model.safetensors") == torch.float32


def test_saving_otherwise_leaves_nothing_of_before(parted):
    model, folder, _ = parted
    save(model, folder, largest=10**9)
    assert names(folder) == ["config.json", "model.safetensors"]
    assert len(save(model, folder, largest=100_000)) > len(save(model, folder, largest=200_000))
    assert "model.safetensors" not in names(folder) and GanimeAge.from_pretrained(folder).parts == model.parts


def test_one_file_goes_before_parts(parted):
    model, folder, _ = parted
    with torch.no_grad():
        model.readers.requires_grad_(False).age_head.bias.add_(1.0)
    model.save_pretrained(folder)
    assert torch.equal(GanimeAge.from_pretrained(folder).readers.age_head.bias, model.readers.age_head.bias)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda f, files: files[1].unlink(), r"model-00002-of-\d+.safetensors is missing"),
        (lambda f, files: files[0].write_bytes(b"cut"), r"model-00001-of-\d+.safetensors is damaged"),
        (lambda f, files: index(f).write_text("{"), "index.json is damaged; save or download"),
        (lambda f, files: index(f).write_text("{}"), "index.json is damaged; save or download"),
        (lambda f, files: index(f).write_text('{"weight_map": {"a": "../b"}}'), "index.json is damaged"),
        (lambda f, files: index(f).write_text('{"weight_map": {"a": 3}}'), "index.json is damaged"),
        (lambda f, files: leave_out(f, files[0].name), "model.safetensors lacks tensor"),
    ],
)
def test_parts_that_cannot_be_read_are_one_sentence(parted, harm, words):
    _, folder, files = parted
    harm(folder, files)
    with pytest.raises(MissingModel, match=words) as caught:
        GanimeAge.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def index(folder):
    return folder / "model.safetensors.index.json"


def leave_out(folder, name):
    """The index without one of its files."""
    held = json.loads(index(folder).read_text())
    held["weight_map"] = {key: file for key, file in held["weight_map"].items() if file != name}
    index(folder).write_text(json.dumps(held))


def test_no_file_of_the_embedded_weights_is_large():
    files = files_of(EMBEDDED / "model.safetensors")
    assert all(file.stat().st_size < LARGEST for file in files) and {f.name for f in files} <= set(
        names(EMBEDDED)
    )
