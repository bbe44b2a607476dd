"""Old .pth files: what matches is converted exactly, what does not is named, and no code in them runs."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from ganime_age import FaceEditor
from ganime_age.cli import main as cli
from ganime_age.errors import BadInput
from ganime_age.model.convert import convert
from ganime_age.model.model import GanimeAge

WIDTH, UNITS = 8, 17


def block(width: int, affine: bool) -> nn.Sequential:
    """The inside of a residual block of the published generators."""
    bias = not affine
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=bias),
        nn.InstanceNorm2d(width, affine=affine),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=bias),
        nn.InstanceNorm2d(width, affine=affine),
    )


class Residual(nn.Module):
    def __init__(self, name: str, width: int, affine: bool):
        super().__init__()
        self.name = name
        self.add_module(name, block(width, affine))

    def forward(self, x):
        return x + getattr(self, self.name)(x)


class Published(nn.Module):
    """GANimation's generator as two public implementations have it: (trunk, block, colour, attention) are its names.

    affine: instance normalisation with a learnt scale and shift, and convolutions without bias; or the reverse.
    """

    def __init__(self, names: tuple[str, str, str, str], affine: bool, units: int = UNITS, blocks: int = 2):
        super().__init__()
        self.names, layers, width = names, [], WIDTH
        steps = [(nn.Conv2d, 3 + units, WIDTH, 7, 1, 3)]
        steps += [(nn.Conv2d, width * 2**i, width * 2 ** (i + 1), 4, 2, 1) for i in range(2)]
        rises = [(nn.ConvTranspose2d, width * 2 ** (i + 1), width * 2**i, 4, 2, 1) for i in (1, 0)]
        residuals = [Residual(names[1], width * 4, affine) for _ in range(blocks)]
        for part, before in ((steps, []), (rises, residuals)):
            layers += before
            for kind, inputs, outputs, *rest in part:
                norm = nn.InstanceNorm2d(outputs, affine=affine)
                layers += [kind(inputs, outputs, *rest, bias=not affine), norm, nn.ReLU()]
        self.add_module(names[0], nn.Sequential(*layers))
        self.add_module(names[2], nn.Sequential(nn.Conv2d(width, 3, 7, padding=3, bias=False), nn.Tanh()))
        self.add_module(names[3], nn.Sequential(nn.Conv2d(width, 1, 7, padding=3, bias=False), nn.Sigmoid()))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3)

    def forward(self, face, units):
        trunk, _, colour, attention = (getattr(self, name, None) for name in self.names)
        planes = units[:, :, None, None].expand(-1, -1, *face.shape[-2:])
        features = trunk(torch.cat([face, planes], 1))
        copied = attention(features)
        return (1 - copied) * colour(features) + copied * face


LAYOUTS = {
    "main": (("main", "main", "img_reg", "attetion_reg"), True),
    "model": (("model", "conv_block", "color_top", "au_top"), False),
}


@pytest.fixture(params=LAYOUTS)
def published(request):
    torch.manual_seed(0)
    return Published(*LAYOUTS[request.param]).eval()


WRAPPED = {
    "plain": lambda state: state,
    "data parallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "inside a checkpoint": lambda state: {"epoch": 3, "state_dict": state},
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_both_published_layouts_give_the_same_pictures(published, wrap, tmp_path, capsys):
    torch.save(WRAPPED[wrap](published.state_dict()), tmp_path / "old.pth")
    assert cli.main(["convert", str(tmp_path / "old.pth"), str(tmp_path / "new")]) == 0
    assert (
        capsys.readouterr().out
        == f"{tmp_path / 'new'}  detector, readers, ganimation, identity, attributes\n"
    )
    model = GanimeAge.from_pretrained(tmp_path / "new", parts=["ganimation"])
    face, units = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, UNITS)
    with torch.no_grad():
        edited, wanted = model.ganimation(face, units).face, published(face, units)
    assert (edited - wanted).abs().max() < 1e-4 and (wanted - face).abs().mean() > 0.1


def test_the_readers_beside_it_are_the_embedded_ones(tmp_path):
    readers = GanimeAge.from_pretrained(parts=["readers", "attributes"])
    torch.save(Published(*LAYOUTS["main"]).state_dict(), tmp_path / "old.pth")
    converted = convert(tmp_path / "old.pth", tmp_path / "new", method="ganimation")
    face = torch.rand(1, 3, 64, 64) * 2 - 1
    assert torch.equal(converted.read(face).age, readers.read(face).age)


def test_converted_weights_edit_the_units_that_the_embedded_ones_were_never_taught(tmp_path, portrait):
    """AU06 and AU09 have no label in our training data; GANimation was published with labels for both."""
    torch.manual_seed(0)
    torch.save(Published(*LAYOUTS["main"]).state_dict(), tmp_path / "old.pth")
    convert(tmp_path / "old.pth", tmp_path / "new")
    with pytest.raises(BadInput, match="AU06"):
        FaceEditor(GanimeAge.from_pretrained()).edit(portrait, action_units={"AU06": 3})
    editor = FaceEditor(GanimeAge.from_pretrained(tmp_path / "new"))
    still, raised = (
        editor.edit(portrait, action_units=units, method="ganimation", mark=False)
        for units in ({"AU12": 3}, {"AU12": 3, "AU06": 3})
    )
    assert (np.asarray(still.face) != np.asarray(raised.face)).any()


def changed(state: dict, **changes) -> dict:
    state = dict(state)
    for key, value in changes.items():
        state[key.replace("__", ".")] = value
    return {key: value for key, value in state.items() if value is not None}


class Payload:
    def __reduce__(self):
        return (open, (Payload.target, "w"))


def state_dict(name: str = "main", **keywords) -> dict:
    return Published(*LAYOUTS[name], **keywords).state_dict()


AGETRANSGAN = {f"{name}.0.weight": torch.zeros(1) for name in ("style.1", "convs_e", "convs_ei", "convs_es")}

REFUSED = {
    "AgeTransGAN": (
        lambda: AGETRANSGAN,
        "holds an AgeTransGAN of another form than this ganime_age's",
    ),
    "AgeTransGAN in a checkpoint": (lambda: {"g_ema": AGETRANSGAN}, "holds an AgeTransGAN"),
    "another network": (
        lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).state_dict(),
        "no network that can be converted; it begins with 0.weight, 0.bias, 1.weight and 1 more",
    ),
    "a missing tensor": (
        lambda: changed(state_dict(), main__9__main__0__weight=None),
        "does not match the published GANimation generator at main.9.main.0.weight",
    ),
    "a foreign tensor": (
        lambda: changed(state_dict(), extra__weight=torch.zeros(1)),
        "does not match the published GANimation generator at extra.weight",
    ),
    "a misshapen tensor": (
        lambda: changed(state_dict(), img_reg__0__weight=torch.zeros(3, 3)),
        "does not match the published GANimation generator at img_reg.0.weight",
    ),
    "batch normalisation": (
        lambda: changed(state_dict("model"), model__1__running_mean=torch.zeros(WIDTH)),
        "generator at model.1.running_mean",
    ),
    "other conditions": (lambda: state_dict(units=5), "for 5 conditions; only those for the 17 action units"),
    "not finite": (
        lambda: changed(state_dict(), img_reg__0__weight=torch.full((3, WIDTH, 7, 7), float("nan"))),
        "ganimation.colour.weight holds NaN",
    ),
    "no state dict": (lambda: {"epoch": 3}, "holds no state dict"),
    "a list": (lambda: [torch.zeros(1)], "holds no state dict"),
    "nothing": (dict, "holds no state dict"),
    "code": (lambda: {"main.0.weight": Payload()}, "holds code or objects beside its tensors"),
    "a whole module": (lambda: nn.Linear(2, 2), "holds code or objects beside its tensors"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_match_is_named_and_nothing_is_written_or_run(name, tmp_path, capsys):
    make, words = REFUSED[name]
    Payload.target = str(tmp_path / "it ran")
    torch.save(make(), tmp_path / "old.pth")
    assert cli.main(["convert", str(tmp_path / "old.pth"), str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["old.pth"]


def test_a_bare_pickle_with_code_does_not_run(tmp_path):
    Payload.target = str(tmp_path / "it ran")
    (tmp_path / "old.pkl").write_bytes(pickle.dumps(Payload(), protocol=2))
    with pytest.raises(BadInput, match="holds code or objects|is not a file that torch.save wrote"):
        convert(tmp_path / "old.pkl", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["old.pkl"]
    pickle.loads((tmp_path / "old.pkl").read_bytes())
    assert (tmp_path / "it ran").exists(), "the payload of this test does nothing"


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"---\ntitle: a page", b"PK\x03\x04broken", b"\x80\x02}q\x00."]
)
def test_a_file_that_torch_did_not_write_is_named(content, tmp_path):
    (tmp_path / "old.pth").write_bytes(content)
    with pytest.raises(BadInput, match="old.pth (is not a file that torch.save wrote|holds no state dict)"):
        convert(tmp_path / "old.pth", tmp_path / "new")


def test_missing_files_full_folders_and_unknown_methods_are_named(tmp_path):
    torch.save(state_dict(), tmp_path / "old.pth")
    with pytest.raises(BadInput, match="none.pth does not exist"):
        convert(tmp_path / "none.pth", tmp_path / "new")
    with pytest.raises(BadInput, match="method 'magic'; choose from ganimation"):
        convert(tmp_path / "old.pth", tmp_path / "new", method="magic")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.json").write_text("{}")
    with pytest.raises(BadInput, match="already holds weights; give a new folder"):
        convert(tmp_path / "old.pth", tmp_path / "new")
