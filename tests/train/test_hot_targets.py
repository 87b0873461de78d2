from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from irvis_runtime.pairs import find_dataset_pairs, read_pair
from irvis_train.hot_targets import background_gradient, find_hot_targets, has_targets, target_contrast


def scene(target: float = 0.9) -> torch.Tensor:
    """A dim ramp, with two targets: 6 x 4 and 12 x 8 pixels."""
    picture = torch.linspace(0.2, 0.35, 120).expand(90, 120).clone()[None, None]
    picture[..., 20:26, 30:34] = target
    picture[..., 50:62, 80:88] = target
    return picture


def test_targets_are_found_and_nothing_else() -> None:
    picture = scene()
    expected = picture == 0.9
    found = find_hot_targets(picture)
    # The smoothing moves an edge by one pixel at most.
    assert bool((found | ~expected).float().mean() > 0.99)
    assert int((found & ~expected).sum()) < 0.4 * int(expected.sum())


@pytest.mark.parametrize("picture", [torch.full((1, 1, 40, 50), 0.7), scene(0.3)])
def test_a_picture_without_targets_has_none(picture: torch.Tensor) -> None:
    mask = find_hot_targets(picture)
    assert not bool(has_targets(mask)[0])
    assert torch.isnan(target_contrast(picture, mask)).all()


def test_a_large_warm_area_is_no_target() -> None:
    picture = torch.full((1, 1, 90, 120), 0.2)
    picture[..., 45:, :] = 0.9
    assert float(find_hot_targets(picture).float().mean()) < 0.05


def test_contrast_and_gradient_are_in_grey_levels() -> None:
    mask = torch.zeros(2, 1, 60, 60, dtype=torch.bool)
    mask[..., 25:35, 25:35] = True
    fused = torch.full((2, 1, 60, 60), 0.2)
    fused[0, :, 25:35, 25:35] = 0.6
    fused[1] += torch.arange(60) * (2.0 / 255.0)
    assert target_contrast(fused, mask).tolist() == pytest.approx([0.4 * 255.0, 0.0], abs=0.2)
    assert background_gradient(fused, mask).tolist() == pytest.approx([0.0, 2.0], abs=1e-3)


def test_hot_pixels_of_real_pairs_are_few_and_warm(shared: Path) -> None:
    shares, margins = [], []
    for pair in find_dataset_pairs(shared / "data" / "val" / "MSRS"):
        infrared = torch.from_numpy(read_pair(pair)[0].astype(np.float32) / 255.0)[None, None]
        mask = find_hot_targets(infrared)
        shares.append(float(mask.float().mean()))
        margins.append(float(target_contrast(infrared, mask)))
    assert 0.001 < min(shares) < max(shares) < 0.06
    assert min(margins) > 20.0
