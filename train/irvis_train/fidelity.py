"""Terms that hold a fused picture to its sources; the language loss of a small CLIP needs them.

As in SeAFusion (Tang et al. 2022, doi:10.1016/j.inffus.2021.12.004): the larger gradient and the larger
intensity of the two sources. Pictures are (N, 1, H, W) in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def gradient_term(fused_n1hw: Tensor, infrared_n1hw: Tensor, visible_n1hw: Tensor) -> Tensor:
    """Mean absolute difference of the fused gradient's magnitude and the larger of the sources'."""
    wanted = torch.maximum(sobel(infrared_n1hw), sobel(visible_n1hw))
    return F.l1_loss(sobel(fused_n1hw), wanted)


def intensity_term(fused_n1hw: Tensor, infrared_n1hw: Tensor, visible_n1hw: Tensor) -> Tensor:
    """Mean absolute difference of the fused picture and the larger of the sources, pixel by pixel."""
    return F.l1_loss(fused_n1hw, torch.maximum(infrared_n1hw, visible_n1hw))


def sobel(picture_n1hw: Tensor) -> Tensor:
    """|gx| + |gy| by Sobel's operator, of the picture's size; its edge is repeated."""
    horizontal = picture_n1hw.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = torch.stack([horizontal, horizontal.T])[:, None]
    padded = F.pad(picture_n1hw, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernels).abs().sum(dim=1, keepdim=True)
