from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from irvis_runtime.errors import ContractError
from irvis_train.patches import PatchRanges, random_patches, target_salience

STILL = PatchRanges(min_share=1.0, max_share=1.0, angle_deg=0.0, shear_deg=0.0, max_scale=1.0, shift=0.0)


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coordinates(height: int, width: int, count: int = 1) -> tuple[Tensor, Tensor]:
    """Pictures whose values are their pixels' x and y: a patch of them tells where it was sampled."""
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return columns.repeat(count, 1, 1, 1).contiguous(), rows.repeat(count, 1, 1, 1).contiguous()


def test_one_draw_serves_all_pictures_and_each_pair_has_its_own() -> None:
    picture = torch.rand(2, 1, 40, 56, generator=seeded())
    same = picture[:1].repeat(2, 1, 1, 1)
    first, second, third = random_patches((picture, picture.clone(), same), 5, 24, seeded())
    assert first.shape == (10, 1, 24, 24)
    assert torch.equal(first, second)
    # Crop-major: rows 0 and 1 are two pictures' first crops, of the same picture here but not of one draw.
    assert torch.equal(third[0], first[0])
    assert not torch.equal(third[0], third[1])
    assert not torch.equal(third[0], third[2])


def test_equal_generators_give_equal_patches() -> None:
    picture = torch.rand(2, 1, 40, 40)
    (once,) = random_patches((picture,), 4, 16, seeded(7))
    (again,) = random_patches((picture,), 4, 16, seeded(7))
    (other,) = random_patches((picture,), 4, 16, seeded(8))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_without_chance_a_patch_is_the_picture() -> None:
    picture = torch.rand(2, 1, 32, 32)
    (patches,) = random_patches((picture,), 1, 32, seeded(), STILL)
    assert torch.allclose(patches, picture, atol=1e-5)
    (larger,) = random_patches((picture,), 1, 48, seeded(), STILL)
    resized = F.interpolate(picture, (48, 48), mode="bilinear", align_corners=False)
    assert torch.allclose(larger, resized, atol=1e-5)


def test_crops_have_the_sides_angles_and_places_that_were_asked_for() -> None:
    height, width, count, size = 200, 300, 400, 33
    x, y = random_patches(coordinates(height, width), count, size, seeded())
    inner = slice(10, 23)
    # Steps of one patch pixel, in picture pixels, in the middle of the patch, where nothing is mirrored.
    step_x = torch.stack([part[:, 0, inner, inner].diff(dim=2).mean((1, 2)) for part in (x, y)], dim=-1)
    step_y = torch.stack([part[:, 0, inner, inner].diff(dim=1).mean((1, 2)) for part in (x, y)], dim=-1)
    sides = step_x.norm(dim=-1) * size / height
    assert 0.5 / 1.5 < float(sides.min()) < 0.5 / 1.5 + 0.05
    assert 0.7 < float(sides.max()) < 0.801
    angles = torch.atan2(step_x[:, 1], step_x[:, 0]).rad2deg()
    assert 4.5 < float(angles.abs().max()) <= 5.01
    # A shear inclines the other axis by up to 5 degrees more, to either side.
    leaning = torch.atan2(-step_y[:, 0], step_y[:, 1]).rad2deg() - angles
    assert 4.0 < float(leaning.abs().max()) <= 5.2
    centres = torch.stack([x[:, 0, size // 2, size // 2], y[:, 0, size // 2, size // 2]], dim=-1)
    assert float(centres[:, 0].min()) < 0.4 * height
    assert float(centres[:, 0].max()) > width - 0.4 * height
    assert float(centres[:, 1].max() - centres[:, 1].min()) > 0.5 * height


def test_gradients_reach_the_pictures_and_only_where_patches_looked() -> None:
    picture = torch.rand(2, 1, 20, 20, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: random_patches((x,), 2, 6, seeded())[0], picture)
    (patches,) = random_patches((picture, picture.detach()), 1, 8, seeded())[:1]
    patches[0].sum().backward()  # type: ignore[no-untyped-call]
    assert picture.grad is not None
    assert float(picture.grad[0].abs().sum()) > 0.0
    assert float(picture.grad[1].abs().sum()) == 0.0


def test_large_pictures_are_reduced_without_aliases() -> None:
    rows, columns = torch.meshgrid(torch.arange(512), torch.arange(512), indexing="ij")
    stripes = ((rows // 2 + columns // 2) % 2).float()[None, None]
    (patches,) = random_patches((stripes,), 6, 16, seeded())
    assert float((patches - 0.5).abs().max()) < 0.1


def test_salient_patches_are_centred_on_hot_targets() -> None:
    infrared = torch.full((2, 1, 96, 128), 0.3)
    infrared[0, 0, 20:26, 100:106] = 1.0
    infrared[1, 0, 70:76, 20:26] = 1.0
    salience = target_salience(infrared)
    assert salience.shape == (2, 16, 16)
    small = PatchRanges(min_share=0.3, max_share=0.3)
    x, y = random_patches(coordinates(96, 128, 2), 8, 17, seeded(), small, salience, 0.75)
    middle = torch.stack([x[:, 0, 8, 8], y[:, 0, 8, 8]], dim=-1).view(8, 2, 2)
    for picture, target in enumerate(((103.0, 23.0), (23.0, 73.0))):
        distance = (middle[:, picture] - torch.tensor(target)).norm(dim=-1)
        assert float(distance[:6].max()) < math.hypot(128 / 16, 96 / 16) + 3.0
        assert float(distance[6:].max()) > 15.0


def test_salience_of_a_flat_picture_draws_anywhere() -> None:
    salience = target_salience(torch.full((1, 1, 64, 64), 0.5))
    assert float(salience.max()) < 1e-6
    x, _ = random_patches(coordinates(64, 64), 60, 5, seeded(), PatchRanges(0.2, 0.2), salience, 1.0)
    assert float(x[:, 0, 2, 2].max() - x[:, 0, 2, 2].min()) > 40.0


def test_pictures_of_different_size_are_refused() -> None:
    with pytest.raises(ContractError, match="all of one size"):
        random_patches((torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 9)), 1, 4, seeded())
    with pytest.raises(ContractError, match=r"expected \(N, 1, H, W\)"):
        random_patches((torch.zeros(1, 3, 8, 8),), 1, 4, seeded())
