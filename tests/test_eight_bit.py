"""Weights in eight bits: half the bytes, each value within half a step, stored twice as once, and read as strictly."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ganime_age import BadInput, GanimeAge, MissingModel
from ganime_age.cli import main as cli
from ganime_age.learning.engine.checkpoints import read_network
from ganime_age.model import storage
from ganime_age.model.eight_bit import SMALLEST, quantised, restored, stored, whole
from ganime_age.model.fingerprint import fingerprint, part_fingerprint
from ganime_age.model.shards import files_of
from ganime_age.model.storage import VARIANTS, save
from ganime_age.networks.ganimation_age import Generator
from ganime_age.networks.readers import Readers
from helpers.tiny import READERS, TINY, light, same

PART = "ganimation_age"
GENERATOR = {"widths": [16, 16, 32], "blocks": 1}
PACK = Path(__file__).resolve().parents[1] / "training" / "pack.py"
KEYWORDS = TINY | {"parts": ["readers", PART], PART: GENERATOR}


@pytest.fixture(scope="module")
def first():
    """A model one of whose parts is to be stored in eight bits, before it ever was."""
    torch.manual_seed(0)
    return GanimeAge(**KEYWORDS, eight_bit=[PART]).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def made(first, tmp_path_factory):
    folder = tmp_path_factory.mktemp("eight")
    first.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "weights")


def large(state: dict, part: str = PART) -> list[str]:
    """The tensors of a part that are stored in eight bits."""
    return [
        key
        for key, value in state.items()
        if key.startswith(f"{part}.") and value.is_floating_point() and value.ndim > 1
        if value.numel() >= SMALLEST
    ]


def contents(folder: Path, variant: str = "") -> dict:
    name = f"model.{variant}.safetensors" if variant else "model.safetensors"
    return {key: value for file in files_of(folder / name) for key, value in load_file(file).items()}


def equal(one: dict, other: dict) -> bool:
    """The same names, kinds of numbers and numbers."""
    return one.keys() == other.keys() and all(
        one[key].dtype == other[key].dtype and torch.equal(one[key], other[key]) for key in one
    )


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())


def test_large_tensors_of_the_named_part_are_stored_in_a_byte_each_and_nothing_else_is(first, made):
    state, stored = first.state_dict(), contents(made)
    eight = large(state)
    assert eight and stored.keys() == state.keys() | {f"{key}.scale" for key in eight}
    for key in eight:
        scale = stored[f"{key}.scale"]
        assert stored[key].dtype == torch.int8 and stored[key].shape == state[key].shape
        assert scale.dtype == torch.float32 and scale.shape == state[key].shape[:1]
    rest = state.keys() - set(eight)
    assert large(state, "readers") and all(torch.equal(stored[key], state[key]) for key in rest)
    config = config_of(made)
    assert (config["eight_bit"], config["format_version"]) == ([PART], 4)


def test_each_value_comes_back_within_half_a_step_of_its_channel(first, made):
    loaded = GanimeAge.from_pretrained(made)
    assert loaded.eight_bit == (PART,)
    for key, value in first.state_dict().items():
        step = value.flatten(1).abs().amax(1) / 127 if key in large(first.state_dict()) else torch.zeros(1)
        error = (loaded.state_dict()[key] - value).abs().reshape(step.shape[0], -1).amax(1)
        assert (error <= 0.51 * step).all(), key
    assert not same(loaded, first), "saving rounds what is stored, not the model"


def saved_plainly(model, folder):
    model.save_pretrained(folder)


def saved_in_parts(model, folder):
    assert len(save(model, folder, largest=100_000)) > 2


@pytest.mark.parametrize("write", [saved_plainly, saved_in_parts])
def test_what_was_stored_once_stays_bit_for_bit(made, tmp_path, write):
    once = GanimeAge.from_pretrained(made)
    write(once, tmp_path / "twice")
    twice = GanimeAge.from_pretrained(tmp_path / "twice")
    assert same(twice, once) and fingerprint(twice) == fingerprint(once)
    assert part_fingerprint(twice, PART) == part_fingerprint(once, PART)
    assert equal(contents(tmp_path / "twice"), contents(made))
    assert config_of(tmp_path / "twice") == config_of(made)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_reduced_copy_keeps_the_part_in_eight_bits(made, tmp_path, variant):
    once = GanimeAge.from_pretrained(made)
    once.save_pretrained(tmp_path, variant=variant)
    copy, full = contents(tmp_path, variant), contents(made)
    for key in large(once.state_dict()):
        assert equal({k: copy[k] for k in (key, f"{key}.scale")}, {k: full[k] for k in (key, f"{key}.scale")})
    assert copy["readers.age_head.weight"].dtype == VARIANTS[variant]
    loaded = GanimeAge.from_pretrained(tmp_path, variant=variant)
    assert all(torch.equal(loaded.state_dict()[k], once.state_dict()[k]) for k in large(once.state_dict()))


def test_the_files_own_precision_loses_nothing(made, tmp_path):
    """`dtype="auto"`, by which `ganime-age push` and `convert` read: half precision could not hold the products."""
    once = GanimeAge.from_pretrained(made)
    save(once, tmp_path / "half", dtype=torch.float16)
    kept = GanimeAge.from_pretrained(tmp_path / "half", dtype="auto")
    assert kept.readers.age_head.weight.dtype == torch.float16
    assert {p.dtype for p in getattr(kept, PART).parameters()} == {torch.float32}
    assert all(torch.equal(kept.state_dict()[k], once.state_dict()[k]) for k in large(once.state_dict()))
    assert GanimeAge.from_pretrained(tmp_path / "half", dtype="auto", parts=["readers"]).eight_bit == ()
    assert cli.main(["convert", str(tmp_path / "half"), str(tmp_path / "new")]) == 0
    assert same(GanimeAge.from_pretrained(tmp_path / "new"), GanimeAge.from_pretrained(tmp_path / "half"))
    assert contents(tmp_path / "new")["readers.age_head.weight"].dtype == torch.float16


def test_parts_load_alone_and_are_saved_as_they_are(made, tmp_path):
    readers = GanimeAge.from_pretrained(made, parts=["readers"])
    readers.save_pretrained(tmp_path / "readers")
    assert config_of(tmp_path / "readers")["format_version"] == 3
    drawn = GanimeAge.from_pretrained(made, parts=[PART])
    drawn.save_pretrained(tmp_path / "drawn", config=KEYWORDS | {"parts": [PART]})
    assert config_of(tmp_path / "drawn")["eight_bit"] == [PART]
    assert same(GanimeAge.from_pretrained(tmp_path / "drawn"), drawn)


def test_older_packages_read_weights_without_such_parts_and_refuse_those_with_them(
    made, tmp_path, monkeypatch
):
    GanimeAge(**KEYWORDS).save_pretrained(tmp_path)
    assert "eight_bit" not in config_of(tmp_path)
    monkeypatch.setattr(storage, "FORMAT_VERSION", 3)
    assert GanimeAge.from_pretrained(tmp_path).eight_bit == ()
    with pytest.raises(MissingModel, match="has format version 4, this ganime_age reads up to 3; install"):
        GanimeAge.from_pretrained(made)


def test_whole_numbers_of_the_model_itself_stay_as_they_are(tmp_path):
    keywords = {"prototypes": {"wrinkles": 2, "wrinkle_side": 256}, "parts": ["prototypes"]}
    model = GanimeAge(**keywords, eight_bit=["prototypes"])
    own = {key: value for key, value in model.state_dict().items() if value.dtype == torch.int8}
    assert own, "the prototypes hold int8 maps"
    for value in own.values():
        value.copy_(torch.randint(-128, 128, value.shape))
    model.save_pretrained(tmp_path)
    stored, loaded = contents(tmp_path), GanimeAge.from_pretrained(tmp_path).state_dict()
    assert large(model.state_dict(), "prototypes")
    for key, value in own.items():
        assert torch.equal(stored[key], value) and torch.equal(loaded[key], value)
        assert f"{key}.scale" not in stored


@pytest.mark.parametrize("factor", [1e-37, 1e-6, 1.0, 1e4, 1e37])
@pytest.mark.parametrize("shape", [(40, 16, 3, 3), (1, 5000), (5000, 1)])
def test_rounding_twice_is_rounding_once(shape, factor):
    torch.manual_seed(0)
    weights = factor * torch.randn(shape) * torch.rand(shape[0], *[1] * (len(shape) - 1))
    weights[0] = 0
    numbers, scale = quantised(weights)
    once = restored(numbers, scale)
    again, scale_again = quantised(once)
    assert torch.equal(again, numbers) and torch.equal(scale_again, scale)
    assert torch.equal(restored(again, scale_again), once) and not once[0].any()
    assert (numbers.flatten(1).abs().amax(1)[scale > 0] == 127).all()


@pytest.mark.parametrize("edge", [torch.finfo(torch.float32).max, torch.finfo(torch.float32).tiny])
def test_the_largest_and_the_smallest_numbers_stay_finite(edge):
    weights = torch.tensor([[edge, -edge / 3], [0.0, edge]])
    once = restored(*quantised(weights))
    assert torch.isfinite(once).all() and torch.equal(restored(*quantised(once)), once)


def test_what_could_not_be_loaded_again_is_not_saved(first, tmp_path):
    model = GanimeAge(**KEYWORDS, eight_bit=[PART])
    key = large(model.state_dict())[0]
    model.state_dict()[key].view(-1)[0] = float("inf")
    with pytest.raises(BadInput, match=f"{key} holds NaN or infinite"):
        model.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def tensors(harm):
    """What harms the first large tensor of a file, under its name."""

    def harmed(folder):
        state = load_file(folder / "model.safetensors")
        harm(state, next(key for key, value in state.items() if value.dtype == torch.int8))
        save_file(state, folder / "model.safetensors")

    return harmed


def configured(**changes):
    return lambda folder: (folder / "config.json").write_text(json.dumps(config_of(folder) | changes))


def scaled(index, value):
    return tensors(lambda s, key: s[f"{key}.scale"].__setitem__(index, value))


HARM = {
    "no scale": (tensors(lambda s, key: s.pop(f"{key}.scale")), r"lacks tensor ganimation_age\.\S+\.scale;"),
    "scales too few": (
        tensors(lambda s, key: s.update({f"{key}.scale": s[f"{key}.scale"][1:].clone()})),
        r"\.scale has the shape \(\d+,\), the config asks for \(\d+,\)",
    ),
    "scales are whole": (
        tensors(lambda s, key: s.update({f"{key}.scale": s[f"{key}.scale"].long()})),
        r"\.scale holds I64 numbers, which do not fit there",
    ),
    "scale is no number": (scaled(0, float("nan")), r"\.scale holds numbers that are no scales"),
    "scale is infinite": (scaled(-1, float("inf")), r"\.scale holds numbers that are no scales"),
    "scale is negative": (scaled(1, -0.5), r"\.scale holds numbers that are no scales, below 0"),
    "scale is too large": (scaled(1, 3e38), "holds NaN or infinite numbers"),
    "not in eight bits": (
        tensors(lambda s, key: s.update({key: s[key].half()})),
        "holds F16 numbers, which do not fit there",
    ),
    "misshapen": (
        tensors(lambda s, key: s.update({key: s[key][:, :1].clone()})),
        r"weight has the shape \(.*\), the config asks for \(",
    ),
    "eight bits where the config names none": (
        tensors(lambda s, key: s.update({"readers.age_head.weight": s["readers.age_head.weight"].char()})),
        "readers.age_head.weight holds I8 numbers, which do not fit there",
    ),
    "the config has forgotten": (configured(eight_bit=[]), r"holds the foreign tensor \S+\.scale"),
    "an unknown part": (configured(eight_bit=["magic"]), "describes no model .* the unknown part 'magic'"),
    "a word": (configured(eight_bit=PART), "describes no model .* must be a list of parts"),
    "a number": (configured(eight_bit=8), "describes no model .* must be a list of parts"),
    "a format that had none": (configured(format_version=3), "version 3 and names parts in eight_bit"),
    "format 2": (configured(format_version=2), "version 2 and names parts in eight_bit"),
}


@pytest.mark.parametrize("name", HARM)
def test_weights_that_do_not_fit_are_refused_by_name(folder, name):
    harm, words = HARM[name]
    harm(folder)
    with pytest.raises(MissingModel, match=words) as caught:
        GanimeAge.from_pretrained(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_scales_in_half_precision_are_read(folder):
    tensors(lambda s, key: s.update({f"{key}.scale": s[f"{key}.scale"].half()}))(folder)
    state = contents(folder)
    key = next(key for key, value in state.items() if value.dtype == torch.int8)
    loaded = GanimeAge.from_pretrained(folder)
    assert torch.equal(loaded.state_dict()[key], restored(state[key], state[f"{key}.scale"]))


@pytest.fixture
def pack(monkeypatch):
    """`python training/pack.py` in this process; what is wrong is raised."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", [str(PACK), *map(str, words)])
        runpy.run_path(str(PACK))["main"]()

    return run


def test_packing_stores_the_named_parts_in_eight_bits_from_then_on(pack, tmp_path, capsys):
    torch.manual_seed(0)
    runs, out = tmp_path / "runs", tmp_path / "weights"
    light(runs, "readers", Readers(**READERS), READERS)
    light(runs, "generator", Generator(**GENERATOR), GENERATOR)
    pack("--readers", runs, "--generator", runs, "--out", out)
    plain = GanimeAge.from_pretrained(out)
    size = (out / "model.safetensors").stat().st_size
    assert config_of(out)["format_version"] == 3
    pack("--eight-bit", PART, "--out", out)
    assert f"MB in half precision, {PART} in eight bits -> {out}" in capsys.readouterr().out
    eight = sum(plain.state_dict()[key].numel() for key in large(plain.state_dict()))
    assert (out / "model.safetensors").stat().st_size < size - 0.9 * eight
    once, stored = GanimeAge.from_pretrained(out), contents(out)
    assert same(once.readers, plain.readers) and once.eight_bit == (PART,)
    assert {v.dtype for k, v in stored.items() if v.is_floating_point() and not k.endswith(".scale")} == {
        torch.float16
    }
    light(runs, "readers", Readers(**READERS), READERS)
    pack("--readers", runs, "--out", out)
    later = GanimeAge.from_pretrained(out)
    assert same(getattr(later, PART), getattr(once, PART)) and not same(later.readers, once.readers)


@pytest.mark.parametrize(
    ("part", "words"),
    [("ragan", "--eight-bit names ragan, and these weights hold readers"), ("magic", "unknown part 'magic'")],
)
def test_a_part_that_is_not_there_is_named(pack, tmp_path, part, words):
    light(tmp_path / "runs", "readers", Readers(**READERS), READERS)
    with pytest.raises(BadInput, match=words):
        pack("--readers", tmp_path / "runs", "--eight-bit", part, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_in_eight_bits_is_read_as_the_weights_that_it_holds(tmp_path):
    weights = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    state = {"layer.weight": weights, "layer.bias": torch.ones(64), "norm.scale": torch.full((3,), 2.0)}
    save_file(stored(state), tmp_path / "net.safetensors")
    found = read_network(tmp_path, "net")
    assert found.keys() == state.keys()
    assert torch.equal(found["norm.scale"], state["norm.scale"]) and torch.equal(
        found["layer.bias"], torch.ones(64)
    )
    most = weights.abs().amax(1, keepdim=True) / 127
    assert ((found["layer.weight"] - weights).abs() <= most).all() and not torch.equal(
        found["layer.weight"], weights
    )
    assert torch.equal(whole(stored(found))["layer.weight"], found["layer.weight"]), "once and for all"
