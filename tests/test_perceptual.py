"""The perceptual loss: files as others write them are read or refused, and the distance behaves like one."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ganime_age.errors import BadInput
from ganime_age.networks.perceptual import perceptual_from, squeezenet, vgg19
from ganime_age.networks.readers import Readers

SHARED = (
    Path(__file__).resolve().parents[2] / "shared" / "models" / "squeezenet1_1_caffe_features_tv_layout.pth"
)


def torchvision_layout(network: nn.Module) -> dict[str, torch.Tensor]:
    """As torchvision saves a classifier: the features by their prefix, then a head."""
    state = {f"features.{k}": v for k, v in network.state_dict().items()}
    return state | {"classifier.1.weight": torch.zeros(2, 2)}


def small_change(perceptual) -> tuple[float, float, float]:
    """The distance of a face to itself, to itself under a little noise, and to another; gradients reach the face."""
    torch.manual_seed(0)
    face, other = torch.rand(2, 2, 3, 64, 64) * 2 - 1
    near = (face + 0.05 * torch.randn_like(face)).clamp(-1, 1).requires_grad_()
    distance = perceptual(near, face)
    distance.backward()
    assert near.grad.abs().sum() > 0 and not any(p.requires_grad for p in perceptual.parameters())
    return perceptual(face, face).item(), distance.item(), perceptual(face, other).item()


@pytest.fixture(scope="module")
def squeezed(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(torchvision_layout(squeezenet()), path)
    return path


def test_vgg19_in_torchvision_layout_is_recognised_and_measures(tmp_path):
    torch.manual_seed(0)
    state = torchvision_layout(vgg19())
    indices = [int(k.split(".")[1]) for k in state if k.startswith("features") and k.endswith("weight")]
    assert indices == [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    assert sum(v.numel() for k, v in state.items() if k.startswith("features")) == 20_024_384
    save_file({k: v.half() for k, v in state.items()}, tmp_path / "vgg19.safetensors")
    perceptual = perceptual_from(str(tmp_path / "vgg19.safetensors"), "rgb", None)
    assert perceptual.name == "VGG19, vgg19.safetensors, RGB, ImageNet means and spreads"
    same, near, far = small_change(perceptual)
    assert same == pytest.approx(0, abs=1e-5) and 0 < near < far < 2


def test_squeezenet_is_recognised_and_its_input_is_what_was_said(squeezed):
    rgb, bgr, unit = (perceptual_from(str(squeezed), way, None) for way in ("rgb", "bgr", "bgr_unit"))
    assert rgb.name == "SqueezeNet 1.1, squeezenet.pth, RGB, ImageNet means and spreads"
    assert bgr.name.endswith("BGR 0..255, Caffe means") and unit.name.endswith("BGR 0..1, Caffe means")
    same, near, far = small_change(rgb)
    assert same == pytest.approx(0, abs=1e-5) and 0 < near < far < 2
    assert sum(v.numel() for v in rgb.layers.parameters()) == 722_496
    seen = []
    for perceptual in (rgb, bgr, unit):
        perceptual.layers[0].register_forward_pre_hook(lambda _, x: seen.append(x[0][0, :, 0, 0].tolist()))
        perceptual.features(torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 64, 64))
    assert seen[0] == pytest.approx([(1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, -0.406 / 0.225])
    assert seen[1] == pytest.approx([-104.0, 127.5 - 117, 255 - 123], abs=1e-3)
    assert seen[2] == pytest.approx([v / 255 for v in seen[1]], abs=1e-5)


@pytest.mark.skipif(not SHARED.is_file(), reason="needs the SqueezeNet weights of ../shared")
def test_real_squeezenet_weights_see_more_in_a_structure_than_in_a_shade(portrait):
    """Trained features: a face moved by two pixels is nearer to itself than noise of the same L2 makes it."""
    perceptual = perceptual_from(str(SHARED), "bgr_unit", None)
    face = torch.from_numpy(portrait).permute(2, 0, 1)[None].float() / 127.5 - 1
    face = torch.nn.functional.interpolate(face, 128, mode="bilinear", antialias=True)
    darker, moved = 0.85 * face - 0.15, face.roll(2, -1)
    torch.manual_seed(0)
    noise = torch.randn_like(face)
    noisy = face + noise * (moved - face).norm() / noise.norm()
    assert perceptual(face, face).item() == pytest.approx(0, abs=1e-5)
    assert perceptual(darker, face) < perceptual(noisy, face)
    assert perceptual(moved, face) < perceptual(noisy, face)
    assert small_change(perceptual)[0] == pytest.approx(0, abs=1e-5)


def test_without_a_file_the_readers_are_compared():
    torch.manual_seed(0)
    readers = Readers(size=32, widths=(8, 8, 16, 16), blocks=(1, 1, 1)).eval()
    perceptual = perceptual_from("", "rgb", readers)
    assert perceptual.name == "identity reader's backbone"
    same, near, far = small_change(perceptual)
    assert same == pytest.approx(0, abs=1e-5) and 0 < near < far
    face = torch.rand(1, 3, 64, 64) * 2 - 1
    torch.testing.assert_close(perceptual.features(face)[-1], readers.backbone(readers.window(face)))
    assert not perceptual.train().layers.training


def broken(state: dict[str, torch.Tensor], **changed) -> dict[str, torch.Tensor]:
    return {k: v for k, v in (state | changed).items() if v is not None}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features.12.squeeze.bias": None}, r"features\.12\.squeeze\.bias is missing"),
        ({"features.0.weight": torch.zeros(96, 3, 7, 7)}, r"features\.0\.weight is \(96, 3, 7, 7\), not"),
        ({"features.0.bias": torch.full((64,), torch.nan)}, "not finite"),
        ({"features.3.squeeze.weight": None}, "holds neither VGG19 nor SqueezeNet 1.1 weights"),
    ],
)
def test_wrong_weights_are_refused_in_one_sentence(tmp_path, changes, words):
    path = tmp_path / "w.safetensors"
    save_file(broken(torchvision_layout(squeezenet()), **changes), path)
    with pytest.raises(BadInput, match=words) as refused:
        perceptual_from(str(path), "rgb", None)
    assert "\n" not in str(refused.value) and str(path) in str(refused.value)


def test_files_that_are_no_weights_are_refused_in_one_sentence(tmp_path, squeezed):
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    torch.save(squeezenet(), tmp_path / "pickled.pth")
    for name in ("text.pth", "text.safetensors", "other.pth", "pickled.pth", "absent.pth"):
        with pytest.raises(BadInput, match=f"perceptual weights .*{name}") as refused:
            perceptual_from(str(tmp_path / name), "rgb", None)
        assert "\n" not in str(refused.value)
    with pytest.raises(BadInput, match="choose one of rgb, bgr, bgr_unit"):
        perceptual_from(str(squeezed), "gbr", None)
    with pytest.raises(BadInput, match="needs a file"):
        perceptual_from("", "rgb", None)
