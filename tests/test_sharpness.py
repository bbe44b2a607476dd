"""What is drawn on a photo is no sharper than the photo."""

import pytest
import torch

from ganime_age.networks.layers import enlarge, resize
from ganime_age.networks.skin.sharpness import COARSEST, no_sharper, sharpness
from ganime_age.networks.skin.texture import octaves


def sharp_photo(side: int) -> torch.Tensor:
    """(1,1,side,side): edges of all sizes, as photos have them."""
    torch.manual_seed(2)
    picture = torch.zeros(1, 1, side, side)
    for cells in (4, 8, 16, 32, 64):
        picture += (torch.rand(1, 1, cells, cells) > 0.6).float().repeat_interleave(
            side // cells, 2
        ).repeat_interleave(side // cells, 3) * (4 / cells) ** 0.5
    return picture / 2 - 0.5


def test_each_photo_of_a_batch_has_its_own_sharpness():
    sharp, everywhere = sharp_photo(256), torch.ones(1, 1, 64, 64)
    blurred = enlarge(resize(sharp, 64), 256)
    both = sharpness(torch.cat([sharp, blurred]), everywhere.expand(2, -1, -1, -1))
    for number, photo in enumerate((sharp, blurred)):
        for share, own in zip(both, sharpness(photo, everywhere), strict=True):
            assert torch.allclose(share[number], own[0], atol=1e-4)


@pytest.mark.parametrize("side", [128, 192, 256, 320, 512])
def test_a_sharp_photo_holds_every_octave_and_an_enlarged_one_lacks_the_finest(side):
    light, all_of_it = sharp_photo(side), torch.ones(1, 1, 64, 64)
    sharp = sharpness(light, all_of_it)
    assert len(sharp) == sum(octave >= COARSEST for octave in octaves(side)[:-1])
    assert all(share.item() > 0.8 for share in sharp)
    blurred = sharpness(enlarge(resize(light, side // 4), side), all_of_it)
    assert blurred[0].item() < 0.75


def test_only_the_part_that_counts_is_looked_at():
    light = sharp_photo(256)
    light[..., 128:] = enlarge(resize(light, 32), 256)[..., 128:]
    left = torch.zeros(1, 1, 64, 64)
    left[..., :30] = 1
    right = left.flip(3)
    assert sharpness(light, left)[0].item() > 0.8 > 0.5 > sharpness(light, right)[0].item()


def test_detail_on_a_sharp_photo_stays_and_on_a_blurred_one_softens():
    torch.manual_seed(0)
    detail, light, everywhere = torch.randn(1, 1, 256, 256), sharp_photo(256), torch.ones(1, 1, 64, 64)
    whole = [torch.ones(1, 1, 1, 1)] * 3
    assert torch.equal(no_sharper(detail, whole), detail)
    softer = no_sharper(detail, sharpness(enlarge(resize(light, 48), 256), everywhere))
    fine = lambda x: (x - enlarge(resize(x, 64), 256)).std()  # noqa: E731
    assert fine(softer) < 0.65 * fine(detail)
    assert torch.allclose(resize(softer, 16), resize(detail, 16), atol=0.05)  # what is broad stays
