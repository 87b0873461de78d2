"""Keeps transposed convolutions from drawing a checkerboard.

A kernel of 5 with stride 2 gives even and odd output pixels 9, 6, 6 or 4 of its taps. Where these four parts
have different sums, an even input becomes a pattern of 2 px, and behind two more such layers of 4 and 8 px
(Odena et al. 2016, doi:10.23915/distill.00003; the condition of equal sums: Kinoshita and Kiya 2020,
arXiv:2002.02117).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def balance_kernels(network: nn.Module) -> None:
    """Makes the sums of each transposed convolution's interleaved parts equal, by a small change of weights.

    The mean response to an even input stays what it was.
    """
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d):
            parts = _parts(module)
            mean = torch.stack([part.sum(dim=(-1, -2)) for part in parts]).mean(dim=0)
            for part in parts:
                missing = mean - part.sum(dim=(-1, -2))
                part += (missing / part[0, 0].numel())[..., None, None]


def imbalance(network: nn.Module) -> float:
    """Largest difference of the parts' sums in any kernel; 0 where none can draw a pattern."""
    largest = 0.0
    for module in network.modules():
        if isinstance(module, nn.ConvTranspose2d):
            sums = torch.stack([part.detach().sum(dim=(-1, -2)) for part in _parts(module)])
            largest = max(largest, float((sums.amax(dim=0) - sums.amin(dim=0)).max()))
    return largest


def _parts(module: nn.ConvTranspose2d) -> list[Tensor]:
    """Views of the taps (in, out, h, w) that reach the same output pixels, modulo the stride."""
    rows, columns = module.stride
    return [module.weight[:, :, i::rows, j::columns] for i in range(rows) for j in range(columns)]
