"""What the student is held to: its picture against the teacher's. Pictures are (N, 1, H, W) in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

COARSE_PX = 16
"""Two fifths of a student's squared error were seen to be coarser than this."""
PSNR_FLOOR = 1e-6
"""Mean squared error below which a picture is good enough to pull no more: 60 dB."""
SSIM_WINDOW_PX = 7
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2


def distillation_loss(
    fused_n1hw: Tensor,
    target_n1hw: Tensor,
    gradient_weight: float,
    ssim_weight: float,
    coarse_weight: float = 0.0,
    psnr_weight: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L1 + gradient_weight * gradients' L1 + ssim_weight * (1 - SSIM) + coarse and PSNR terms, and parts.

    The coarse term is the L1 of means over COARSE_PX squares, the PSNR term the mean over pictures of each
    one's negative PSNR in dB (Chen et al. 2021, arXiv 2105.06086). Parts by name, detached.
    """
    parts = {
        "l1": F.l1_loss(fused_n1hw, target_n1hw),
        "gradient": gradient_difference(fused_n1hw, target_n1hw),
        "ssim": 1.0 - structural_similarity(fused_n1hw, target_n1hw),
    }
    loss = parts["l1"] + gradient_weight * parts["gradient"] + ssim_weight * parts["ssim"]
    if coarse_weight:
        parts["coarse"] = F.l1_loss(F.avg_pool2d(fused_n1hw, COARSE_PX), F.avg_pool2d(target_n1hw, COARSE_PX))
        loss = loss + coarse_weight * parts["coarse"]
    if psnr_weight:
        error_n = (fused_n1hw - target_n1hw).square().mean(dim=(1, 2, 3))
        parts["psnr"] = 10.0 * torch.log10(error_n + PSNR_FLOOR).mean()
        loss = loss + psnr_weight * parts["psnr"]
    return loss, {name: part.detach() for name, part in parts.items()}


def gradient_difference(a_n1hw: Tensor, b_n1hw: Tensor) -> Tensor:
    """Mean absolute difference of horizontal and vertical neighbour differences."""
    difference = a_n1hw - b_n1hw
    horizontal = (difference[..., :, 1:] - difference[..., :, :-1]).abs().mean()
    vertical = (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean()
    return horizontal + vertical


def structural_similarity(a_n1hw: Tensor, b_n1hw: Tensor) -> Tensor:
    """Mean SSIM over 7x7 box windows two pixels apart: cheaper than the Gaussian form, for training only.

    Wang et al. 2004, doi:10.1109/TIP.2003.819861; the reported SSIM is irvis_runtime.metrics'.
    """
    products = torch.cat([a_n1hw, b_n1hw, a_n1hw * a_n1hw, b_n1hw * b_n1hw, a_n1hw * b_n1hw], dim=1)
    mean_a, mean_b, square_a, square_b, product = F.avg_pool2d(products, SSIM_WINDOW_PX, stride=2).chunk(
        5, dim=1
    )
    variance_a, variance_b = square_a - mean_a * mean_a, square_b - mean_b * mean_b
    covariance = product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a * mean_a + mean_b * mean_b + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variance_a + variance_b + SSIM_C2)
    return (luminance * structure).mean()


def psnr_db(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in [0, 1]; 100 dB at most."""
    error = float((a - b).double().square().mean())
    return 100.0 if error <= 1e-10 else -10.0 * float(torch.log10(torch.tensor(error, dtype=torch.float64)))
