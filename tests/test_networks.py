"""What a user of the networks may rely on."""

import pytest
import torch

from ganime_age.edits import AU_CODES, AU_UNSEEN
from ganime_age.networks.ganimation_age import Discriminator, Generator
from ganime_age.networks.readers import Readers


def conditions(batch: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    return (
        torch.rand(batch) * 90,
        torch.rand(batch) * 90,
        torch.rand(batch, 17) * 5,
        torch.rand(batch, 17) * 5,
    )


def awake(generator: Generator) -> Generator:
    """A generator as after training: nothing that starts at zero is zero any more."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return generator


@pytest.fixture
def generator() -> Generator:
    return awake(Generator(widths=(8, 16, 16), blocks=1))


def test_no_change_asked_is_exactly_no_change(generator):
    face, (age, _, aus, _) = torch.rand(2, 3, 64, 64) * 2 - 1, conditions(2)
    edited = generator(face, age, age, aus, aus)
    assert torch.equal(edited.face, face)
    assert edited.attention.max() == 0


@pytest.mark.parametrize("what", ["age", "action units"])
def test_each_condition_moves_the_picture(generator, what):
    face, (age, other_age, aus, other_aus) = torch.rand(2, 3, 64, 64) * 2 - 1, conditions(2)
    wanted = (other_age, aus) if what == "age" else (age, other_aus)
    again = (other_age * 0.5, aus) if what == "age" else (age, other_aus * 0.5)
    first = generator(face, age, wanted[0], aus, wanted[1])
    second = generator(face, age, again[0], aus, again[1])
    assert (first.face - face).abs().mean() > 1e-3
    assert (first.face - second.face).abs().mean() > 1e-4


@pytest.mark.parametrize("side", [128, 256, 512])
def test_generator_is_fully_convolutional(generator, side):
    edited = generator(torch.zeros(1, 3, side, side), *conditions(1))
    assert edited.face.shape == (1, 3, side, side) and edited.attention.shape == (1, 1, side, side)
    assert edited.face.abs().max() <= 1 and 0 <= edited.attention.min() <= edited.attention.max() <= 1


def test_the_default_generator_starts_as_a_copy():
    face = torch.rand(1, 3, 64, 64) * 2 - 1
    assert torch.allclose(Generator()(face, *conditions(1)).face, face, atol=1e-6)


def test_every_generator_parameter_learns(generator):
    generator(torch.rand(2, 3, 64, 64), *conditions(2)).face.square().mean().backward()
    learning = [(name, p) for name, p in generator.named_parameters() if p.requires_grad]
    dead = [name for name, p in learning if p.grad is None or not p.grad.abs().sum()]
    assert not dead


def test_every_discriminator_parameter_learns_and_hidden_pixels_do_not_count():
    torch.manual_seed(0)
    d = Discriminator(widths=(8, 8, 16))
    face, valid, (age, _, aus, _) = torch.rand(2, 3, 64, 64), torch.ones(2, 1, 64, 64), conditions(2)
    features = d.features(face, valid)
    read_age, read_aus = d.readings(features)
    (d.score(features, age, aus).mean() + read_age.mean() + read_aus.mean()).backward()
    assert not [name for name, p in d.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    valid[..., :32] = 0
    other = torch.where(valid > 0, face, torch.rand_like(face))
    assert torch.equal(d.features(face, valid), d.features(other, valid))


def test_readings_have_their_ranges_and_every_parameter_learns():
    torch.manual_seed(0)
    readers = Readers(size=32, widths=(8, 8, 16, 16), blocks=(1, 1, 1))
    read = readers(torch.rand(4, 3, 128, 128) * 2 - 1)
    assert (
        read.age.shape == (4,)
        and 0 <= read.age.min() <= read.age.max() <= 100
        and (read.age_spread > 0).all()
    )
    assert read.action_units.shape == (4, 17) and 0 <= read.action_units.min() <= read.action_units.max() <= 5
    assert read.landmarks.shape == (4, 68, 2) and read.pose.shape == (4, 3)
    assert torch.allclose(read.identity.norm(dim=1), torch.ones(4), atol=1e-5)
    assert 0 <= read.attention.min() <= read.attention.max() <= 1
    unseen = [AU_CODES.index(code) for code in AU_UNSEEN]
    assert (read.action_units[:, unseen] == 0).all()
    total = (
        read.age.sum()
        + read.action_units.sum()
        + read.landmarks.square().sum()
        + read.pose.sum()
        + read.identity[:, ::2].sum()
    )
    total.backward()
    assert not [name for name, p in readers.named_parameters() if p.grad is None]


def test_readers_take_any_face_size():
    torch.manual_seed(0)
    readers = Readers(size=32, widths=(8, 8, 16, 16), blocks=(1, 1, 1)).eval()
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 6), size=256, mode="bicubic")
    small = torch.nn.functional.interpolate(smooth, size=128, mode="bilinear", antialias=True)
    assert (readers(smooth).age - readers(small).age).abs() < 1


def test_aifd_attention_splits_the_features_without_loss():
    torch.manual_seed(0)
    readers = Readers(size=32, widths=(8, 8, 16, 16), blocks=(1, 1, 1)).eval()
    x = torch.randn(2, 16, 2, 2)
    s = readers.attention(x)
    assert ((s > 0) & (s < 1)).all() and torch.allclose(x * s + x * (1 - s), x, atol=1e-6)
