"""Weights of format 2: they load as before, convert tensor by tensor, and keep their fingerprints."""

import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from ganime_age import GanimeAge, MissingModel
from ganime_age.card.card import fingerprints, own_folder
from ganime_age.cli import main as cli
from ganime_age.edits import LABELLED_AUS
from ganime_age.model.fingerprint import fingerprint
from ganime_age.model.format2 import WITH_PROTOTYPES
from ganime_age.model.thresholds import FORMAT_2_THRESHOLDS, thresholds_of
from helpers.tiny import TINY, same

PARTS = ("detector", "readers", "ganimation_age", "ragan")
RAGAN = {"widths": [8, 8], "blocks": 1}
DETECTOR = {"seek_width": 8, "mark_width": 8}
READERS = {"widths": [8, 8, 8, 16], "blocks": [1, 1, 1]}
SIZES = {"face_size": 256, "edit_size": 128}


@pytest.fixture(scope="module")
def present():
    """A small model with numbers in every tensor."""
    torch.manual_seed(0)
    model = GanimeAge(
        **TINY | SIZES | {"parts": PARTS, "ragan": RAGAN, "detector": DETECTOR, "readers": READERS}
    )
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(0.05 * torch.rand_like(value))
    return model.eval()


@pytest.fixture(scope="module")
def made(present, tmp_path_factory):
    """The same model as ganime_age 0.2 wrote it: flat keywords, `finder`, a copy of the prototypes in each method."""
    folder = tmp_path_factory.mktemp("format2")
    state = {}
    for key, value in present.state_dict().items():
        part, _, rest = key.partition(".")
        holders = [name for name in WITH_PROTOTYPES if name in PARTS]
        if part == "prototypes":
            state |= {f"{holder}.{key}": value.clone() for holder in holders}
        else:
            state[f"finder.{rest}" if part == "detector" else key] = value
    save_file(state, folder / "model.safetensors")
    generator = TINY["ganimation_age"]
    config = SIZES | {
        "parts": ["finder", "readers", "ganimation_age", "ragan"], "crop_scale": 1.0, "finder": DETECTOR,
        "ragan": RAGAN, "ganimation": None, "head": None, "dual_generator": None, "agetransgan": None,
        "reader_local": None, "format_version": 2, "ganime_age_version": "0.2.0",
    }  # fmt: skip
    config |= {f"reader_{key}": value for key, value in READERS.items()}
    config |= {f"generator_{key}": value for key, value in generator.items()}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "old")


def harmed(folder, harm):
    state = load_file(folder / "model.safetensors")
    harm(state)
    save_file(state, folder / "model.safetensors")


def test_it_loads_as_the_same_model(folder, present):
    loaded = GanimeAge.from_pretrained(folder)
    assert loaded.parts == ("detector", "readers", "prototypes", "ganimation_age", "ragan")
    assert same(loaded, present)
    assert loaded.editable_action_units == LABELLED_AUS and loaded.identity_thresholds == FORMAT_2_THRESHOLDS


@pytest.mark.parametrize("named", [("finder",), ("readers",), ("ragan",), ("finder", "ganimation_age")])
def test_its_parts_load_alone_under_their_old_names(folder, present, named):
    loaded = GanimeAge.from_pretrained(folder, parts=named)
    own, all_of_it = loaded.state_dict(), present.state_dict()
    assert own and all(torch.equal(value, all_of_it[key]) for key, value in own.items())
    assert ("prototypes" in loaded.parts) == bool({"ragan", "ganimation_age"} & set(named))


def test_it_is_converted_on_the_command_line(folder, present, tmp_path, capsys):
    GanimeAge.from_pretrained(folder).save_pretrained(tmp_path / "half", variant="fp16")
    assert cli.main(["convert", str(folder), str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out.endswith("new  detector, readers, prototypes, ganimation_age, ragan\n")
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    assert config["format_version"] == 3 and config["readers"] == READERS | {"size": 96, "local": None}
    assert same(GanimeAge.from_pretrained(tmp_path / "new"), present)
    size = lambda place: (place / "model.safetensors").stat().st_size  # noqa: E731
    assert size(tmp_path / "new") < size(folder)


def test_fingerprints_are_those_of_format_2(folder, present):
    old = load_file(folder / "model.safetensors")

    def former(state) -> str:
        """As ganime_age 0.2 computed it."""
        digest = hashlib.sha256()
        for key, value in sorted(state.items()):
            digest.update(f"{key}{tuple(value.shape)}".encode())
            digest.update((value.float() if value.is_floating_point() else value).contiguous().numpy())
        return digest.hexdigest()[:16]

    assert fingerprint(present) == former(old)
    for part, digits in fingerprints(present).items():
        prefix = {"detector": "finder.", "prototypes": "ragan.prototypes."}.get(part, f"{part}.")
        assert digits == former({k.removeprefix(prefix): v for k, v in old.items() if k.startswith(prefix)})


def test_prototypes_that_differ_are_named_and_each_method_still_loads(folder):
    harmed(folder, lambda state: state["ragan.prototypes.age_tone"].add_(1))
    with pytest.raises(
        MissingModel, match="ganimation_age.prototypes.age_tone and ragan.prototypes.age_tone differ"
    ):
        GanimeAge.from_pretrained(folder)
    assert GanimeAge.from_pretrained(folder, parts=("readers", "ragan")).methods == ("ragan",)


def test_a_prototype_that_is_missing_is_named(folder):
    harmed(folder, lambda state: state.pop("ragan.prototypes.age_tone"))
    with pytest.raises(
        MissingModel, match="lacks tensor ragan.prototypes.age_tone; the file does not belong"
    ):
        GanimeAge.from_pretrained(folder)


def test_the_shipped_thresholds_are_the_measured_ones(model):
    results = json.loads((own_folder() / "results" / "readers.json").read_text())
    assert model.identity_thresholds == thresholds_of(results)


def test_a_fingerprint_follows_every_way_of_changing_a_tensor(present):
    weight = present.readers.age_head.weight
    before = fingerprint(present.readers)
    kept = weight.detach().clone()
    weight.data[0] += 1
    changed = fingerprint(present.readers)
    weight.detach().numpy()[:] = kept.flip(0).numpy()
    assert len({before, changed, fingerprint(present.readers)}) == 3
    weight.data.copy_(kept)
    assert fingerprint(present.readers) == before
