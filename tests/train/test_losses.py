from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irvis_train.losses import distillation_loss, gradient_difference, psnr_db, structural_similarity


def pictures(count: int = 2, height: int = 24, width: int = 31, seed: int = 0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    a, b = torch.rand(2, count, 1, height, width)
    return a, b


def test_the_loss_of_the_target_itself_is_zero() -> None:
    target, _ = pictures()
    loss, parts = distillation_loss(target, target, 1.0, 0.15)
    assert float(loss) == pytest.approx(0.0, abs=1e-6)
    assert parts.keys() == {"l1", "gradient", "ssim"}
    assert all(float(part) == pytest.approx(0.0, abs=1e-6) for part in parts.values())


@settings(deadline=None)
@given(
    gradient_weight=st.floats(0, 5),
    ssim_weight=st.floats(0, 5),
    coarse_weight=st.floats(0, 5, exclude_min=True),
)
def test_the_loss_is_the_weighted_sum_of_its_parts(
    gradient_weight: float, ssim_weight: float, coarse_weight: float
) -> None:
    fine, parts = distillation_loss(*pictures(1, 32, 48), gradient_weight, ssim_weight)
    expected = parts["l1"] + gradient_weight * parts["gradient"] + ssim_weight * parts["ssim"]
    torch.testing.assert_close(fine, expected)
    assert float(parts["l1"]) > 0
    loss, parts = distillation_loss(*pictures(1, 32, 48), gradient_weight, ssim_weight, coarse_weight)
    torch.testing.assert_close(loss, fine + coarse_weight * parts["coarse"])
    assert not any(part.requires_grad for part in parts.values())


def test_the_psnr_part_is_the_mean_of_each_pictures_own() -> None:
    target = torch.rand(2, 1, 16, 16)
    fused = target + torch.tensor([0.1, 0.01])[:, None, None, None]
    without, _ = distillation_loss(fused, target, 1.0, 0.15)
    loss, parts = distillation_loss(fused, target, 1.0, 0.15, psnr_weight=0.5)
    # 20 dB and 40 dB; the floor of 1e-6 takes 0.04 dB of the second.
    assert float(parts["psnr"]) == pytest.approx(-30.0, abs=0.05)
    torch.testing.assert_close(loss, without + 0.5 * parts["psnr"])
    assert not parts["psnr"].requires_grad
    perfect, parts = distillation_loss(target, target, 1.0, 0.15, psnr_weight=0.5)
    assert float(parts["psnr"]) == pytest.approx(-60.0, abs=0.01)
    assert torch.isfinite(perfect)


def test_the_coarse_part_sees_the_brightness_of_regions_alone() -> None:
    target = torch.rand(1, 1, 32, 48)
    region = target.clone()
    region[..., :16, 16:32] += 0.5
    _, parts = distillation_loss(region, target, 1.0, 0.15, 1.0)
    assert float(parts["coarse"]) == pytest.approx(0.5 / 6, rel=1e-4)
    stripes = target + 0.5 * (torch.arange(48) % 2 - 0.5)
    _, parts = distillation_loss(stripes, target, 1.0, 0.15, 1.0)
    assert float(parts["coarse"]) < 1e-6


@pytest.mark.parametrize(
    ("gradient_weight", "ssim_weight"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 0.15)]
)
def test_every_pixel_has_a_gradient_that_leads_downhill(gradient_weight: float, ssim_weight: float) -> None:
    fused, target = pictures()
    fused.requires_grad_()
    loss, _ = distillation_loss(fused, target, gradient_weight, ssim_weight)
    (gradient,) = torch.autograd.grad(loss, fused)
    assert torch.isfinite(gradient).all()
    assert float((gradient != 0).float().mean()) > 0.9
    lower, _ = distillation_loss(fused - 0.1 * gradient, target, gradient_weight, ssim_weight)
    assert lower.item() < loss.item()


def test_flat_pictures_give_a_finite_loss_and_gradient() -> None:
    fused = torch.zeros(1, 1, 16, 16, requires_grad=True)
    loss, _ = distillation_loss(fused, torch.zeros(1, 1, 16, 16), 1.0, 0.15)
    (gradient,) = torch.autograd.grad(loss, fused)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(gradient).all()


def test_gradient_difference_counts_neighbours_and_not_levels() -> None:
    a, _ = pictures()
    assert float(gradient_difference(a, a * 0.5 + (a * 0.5 + 0.25))) == pytest.approx(0.0, abs=1e-6)
    step = torch.zeros(1, 1, 4, 5)
    step[..., 2:] = 1.0
    # One of four horizontal neighbour pairs differs in each row, no vertical one.
    assert float(gradient_difference(step, torch.zeros_like(step))) == pytest.approx(0.25)
    assert float(gradient_difference(step.mT, torch.zeros_like(step.mT))) == pytest.approx(0.25)


def test_ssim_is_the_mean_over_box_windows_two_pixels_apart() -> None:
    """Against Wang's formula written down window by window in float64."""
    a, b = pictures(1, 15, 18)
    b = 0.6 * a + 0.4 * b
    values = []
    for top in range(0, 15 - 6, 2):
        for left in range(0, 18 - 6, 2):
            x, y = (p[0, 0, top : top + 7, left : left + 7].double().numpy() for p in (a, b))
            covariance = ((x - x.mean()) * (y - y.mean())).mean()
            luminance = (2 * x.mean() * y.mean() + 1e-4) / (x.mean() ** 2 + y.mean() ** 2 + 1e-4)
            values.append(luminance * (2 * covariance + 9e-4) / (x.var() + y.var() + 9e-4))
    assert float(structural_similarity(a, b)) == pytest.approx(np.mean(values), abs=1e-5)
    assert 0.1 < np.mean(values) < 0.99


@given(seed=st.integers(0, 1000))
def test_ssim_is_symmetric_and_at_most_one(seed: int) -> None:
    a, b = pictures(1, 16, 16, seed)
    value = float(structural_similarity(a, b))
    assert value == pytest.approx(float(structural_similarity(b, a)), abs=1e-6)
    assert -1.0 <= value < 1.0


@pytest.mark.parametrize(
    ("difference", "expected"), [(1.0, 0.0), (0.1, 20.0), (0.01, 40.0), (0.0, 100.0), (1e-6, 100.0)]
)
def test_psnr_of_a_constant_difference(difference: float, expected: float) -> None:
    a = torch.full((1, 1, 8, 8), 0.25, dtype=torch.float64)
    assert psnr_db(a + difference, a) == pytest.approx(expected, abs=1e-6)


@given(difference=st.floats(1e-4, 1.0))
def test_psnr_falls_by_20_db_a_decade(difference: float) -> None:
    a = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    assert psnr_db(a + difference, a) == pytest.approx(-20.0 * math.log10(difference), abs=1e-6)
    assert psnr_db(a, a + difference) == psnr_db(a + difference, a)
