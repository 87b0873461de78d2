from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from irvis_train.fused_changes import (
    FLAWS,
    PATTERNS,
    change_background,
    change_targets,
    soft_targets,
)
from irvis_train.hot_targets import background_gradient, find_hot_targets, target_contrast

each_flaw = pytest.mark.parametrize("name", list(FLAWS))


def textured(side_px: int = 96) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand((2, 1, 6, 6), generator=generator)
    fine = torch.rand((2, 1, side_px // 2, side_px // 2), generator=generator)
    planes = [
        F.interpolate(plane, (side_px, side_px), mode="bilinear", align_corners=False)
        for plane in (coarse, fine)
    ]
    return 0.25 + 0.4 * planes[0] + 0.12 * (planes[1] - 0.5)


def with_target() -> tuple[Tensor, Tensor]:
    """A fused and an infrared picture with a warm square in each."""
    fused, infrared = textured(), torch.full((2, 1, 96, 96), 0.2)
    infrared[..., 40:52, 44:52] = 0.9
    fused[..., 40:52, 44:52] = 0.75
    return fused, infrared


def test_soft_targets_are_the_hot_targets_with_a_soft_edge() -> None:
    _, infrared = with_target()
    soft = soft_targets(infrared)
    assert soft.shape == infrared.shape
    assert float(soft[..., 46, 47].min()) > 0.95
    assert float(soft[..., :30, :].max()) == 0.0
    for picture in (infrared, F.interpolate(infrared, scale_factor=3.0)):
        found, hard = soft_targets(picture) > 0.5, find_hot_targets(picture)
        assert float((found & hard).sum()) > 0.8 * float((found | hard).sum())


def test_background_follows_its_amount_and_targets_stay() -> None:
    fused, infrared = with_target()
    mask = find_hot_targets(infrared)
    pictures = [change_background(fused, soft_targets(infrared), step / 4) for step in range(-4, 5)]
    gradients = [float(background_gradient(picture, mask).mean()) for picture in pictures]
    assert all(later > 1.05 * earlier for earlier, later in itertools.pairwise(gradients))
    assert gradients[0] < 0.6 * gradients[4]
    assert gradients[8] > 1.4 * gradients[4]
    torch.testing.assert_close(pictures[4], fused)
    contrasts = [float(target_contrast(picture, mask).mean()) for picture in pictures]
    assert all(abs(contrast / contrasts[4] - 1.0) < 0.15 for contrast in contrasts)


def test_targets_follow_their_amount_and_the_background_stays() -> None:
    fused, infrared = with_target()
    mask = find_hot_targets(infrared)
    pictures = [change_targets(fused, soft_targets(infrared), step / 4) for step in range(-4, 5)]
    contrasts = [float(target_contrast(picture, mask).mean()) for picture in pictures]
    assert all(later > earlier for earlier, later in itertools.pairwise(contrasts))
    assert contrasts[0] < 0.4 * contrasts[4]
    assert contrasts[8] > 1.2 * contrasts[4]
    torch.testing.assert_close(pictures[4], fused)
    gradients = [float(background_gradient(picture, mask).mean()) for picture in pictures]
    assert max(gradients) < 1.05 * min(gradients)


@each_flaw
def test_a_flaw_grows_from_nothing(name: str) -> None:
    planes = textured()
    damage = []
    for step in range(7):
        found = FLAWS[name](planes, step / 6, np.random.default_rng(4))
        damage.append(float((found - planes).square().mean()))
    assert damage[0] < 1e-12
    assert all(later > 1.1 * earlier for earlier, later in itertools.pairwise(damage))


@each_flaw
@given(st.floats(0.0, 1.0), st.integers(0, 2**32), st.integers(32, 70))
@settings(max_examples=15, deadline=None)
def test_flawed_pictures_stay_pictures(name: str, severity: float, seed: int, side_px: int) -> None:
    planes = torch.rand((1, 1, side_px, side_px), generator=torch.Generator().manual_seed(seed))
    found = FLAWS[name](planes, severity, np.random.default_rng(seed))
    assert found.shape == planes.shape
    assert 0.0 <= float(found.min()) <= float(found.max()) <= 1.0
    assert torch.equal(found, FLAWS[name](planes, severity, np.random.default_rng(seed)))


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_is_there_at_every_phase_period_and_place(name: str) -> None:
    """A sine whose samples fall on its zeros would be captioned and not be there."""
    grey = torch.full((1, 1, 64, 64), 0.5)
    deviations = [float(FLAWS[name](grey, 0.5, np.random.default_rng(seed)).std()) for seed in range(60)]
    assert min(deviations) > 0.01
    assert max(deviations) < 0.12


@pytest.mark.parametrize("name", ["checkerboard", "stripes"])
def test_patterns_have_the_periods_of_resampling(name: str) -> None:
    grey = torch.full((1, 1, 64, 64), 0.5)
    periods = set()
    for seed in range(60):
        pattern = (FLAWS[name](grey, 0.4, np.random.default_rng(seed)) - 0.5)[0, 0]
        power = torch.fft.rfft2(pattern).abs()
        row, column = np.unravel_index(int(power.argmax()), power.shape)
        periods.add(round(64 / max(min(int(row), 64 - int(row)), int(column), 1)))
    assert {2, 4, 8, 16} <= periods
