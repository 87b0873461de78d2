from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_train.checkerboard import PERIODS_PX, checkerboard_db


def scene(size: int = 192, seed: int = 0) -> torch.Tensor:
    """Noise whose spectrum falls with the frequency, as scenes' do."""
    random = torch.Generator().manual_seed(seed)
    spectrum = torch.fft.fft2(torch.randn(size, size, generator=random))
    frequency = torch.fft.fftfreq(size)
    falling = 1.0 / (0.02 + (frequency[:, None].square() + frequency.square()).sqrt())
    picture: torch.Tensor = torch.fft.ifft2(spectrum * falling).real
    return ((picture - picture.mean()) / picture.std() * 0.15 + 0.5).clamp(0.0, 1.0)[None, None]


def pattern(period_px: int, size: int = 192) -> torch.Tensor:
    wave = torch.cos(torch.arange(size) * 2.0 * math.pi / period_px)
    return (wave[:, None] * wave)[None, None]


@pytest.mark.parametrize("seed", range(3))
def test_a_scene_has_no_checkerboard(seed: int) -> None:
    picture = scene(seed=seed)
    assert all(abs(value) < 2.0 for value in checkerboard_db(picture, picture, picture).values())


@pytest.mark.parametrize(("period_px", "amplitude"), [(2, 0.02), (4, 0.05), (8, 0.12)])
def test_a_pattern_shows_at_its_own_period(period_px: int, amplitude: float) -> None:
    picture = scene()
    without = checkerboard_db(picture, picture, picture)
    found = checkerboard_db(picture + amplitude * pattern(period_px), picture, picture)
    assert found[period_px] > without[period_px] + 6.0
    for other in set(PERIODS_PX) - {period_px}:
        assert found[other] == pytest.approx(without[other], abs=0.5)


@settings(max_examples=10, deadline=None)
@given(amplitude=st.floats(0.005, 0.05), period_px=st.sampled_from(PERIODS_PX))
def test_a_stronger_pattern_measures_more(amplitude: float, period_px: int) -> None:
    picture = scene()
    weak, strong = (
        checkerboard_db(picture + factor * amplitude * pattern(period_px), picture, picture)[period_px]
        for factor in (1.0, 2.0)
    )
    assert strong > weak


def test_a_pattern_in_the_flat_part_alone_is_found() -> None:
    picture = scene()
    picture[..., :96, :] = 0.5
    fused = picture.clone()
    fused[..., :96, :] += 0.01 * pattern(2)[..., :96, :]
    assert checkerboard_db(fused, picture, picture)[2] > 20.0


def test_flat_and_small_pictures_have_finite_or_no_numbers() -> None:
    flat = torch.full((1, 1, 64, 80), 0.5)
    assert all(abs(value) < 1.0 for value in checkerboard_db(flat, flat, flat).values())
    small = torch.full((1, 1, 63, 80), 0.5)
    assert all(math.isnan(value) for value in checkerboard_db(small, small, small).values())
