"""The language-driven loss as pure functions of embeddings, after LDFusion's published trainer.

Wang et al., "Infrared and visible image fusion with language-driven loss in CLIP embedding space", ACM MM
2025, arXiv:2402.16267; regularisation and patch filtering: its extension, TNNLS 2026,
doi:10.1109/TNNLS.2026.3688448.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from irvis_runtime.errors import ContractError

ENTROPY_BINS = 256
SHORTEST = 1e-4
"""Of a difference of unit vectors: where two embeddings coincide, the gradient stays below 1 / SHORTEST."""


def language_loss(
    fused: Tensor,
    visible: Tensor,
    infrared: Tensor,
    text_fused: Tensor,
    text_visible: Tensor,
    text_infrared: Tensor,
    keep: Tensor | None = None,
) -> Tensor:
    """Returns how far fusion moves pictures off the direction in which the texts differ: 0 (along it) to 2.

    The mean over pictures of 0.5 (1 - cos(f - v, t_f - t_v)) + 0.5 (1 - cos(f - i, t_f - t_i)), where every
    letter is an embedding of length 1 (arXiv:2402.16267, the direction loss).

    `visible`, `infrared`: (N, D), raw embeddings of whole pictures. `fused`: (N, D) of whole pictures, or
    (K * N, D) of patches, crop-major: row k belongs to picture k % N. Texts: (D,) for all, or (N, D), one a
    picture. `keep`: a row's factor, 1 for a patch that passed the filter and 0 for one that did not, which
    stays in the mean's denominator, as published. ContractError for shapes that do not fit.
    """
    rows, pictures = fused.shape[0], visible.shape[0]
    _check_shapes(fused, visible, infrared, keep)
    fused, visible, infrared = (F.normalize(embeddings, dim=-1) for embeddings in (fused, visible, infrared))
    text_fused, text_visible, text_infrared = (
        F.normalize(text, dim=-1).expand(pictures, -1) for text in (text_fused, text_visible, text_infrared)
    )
    to_visible = _cosine_of_moves(fused, visible, text_fused - text_visible)
    to_infrared = _cosine_of_moves(fused, infrared, text_fused - text_infrared)
    losses = 0.5 * (1.0 - to_visible) + 0.5 * (1.0 - to_infrared)
    return losses.sum() / rows if keep is None else (losses * keep.to(losses.dtype)).sum() / rows


def regularisation(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Returns how far fused pictures lie from their sources: 0.5 (1 - cos(f, v)) + 0.5 (1 - cos(f, i)), mean.

    All are (N, D), raw embeddings of whole pictures: the journal extension's angles theta_vs and theta_ir.
    """
    _check_shapes(fused, visible, infrared, None)
    to_visible = F.cosine_similarity(fused, visible, dim=-1)
    to_infrared = F.cosine_similarity(fused, infrared, dim=-1)
    return (0.5 * (1.0 - to_visible) + 0.5 * (1.0 - to_infrared)).mean()


@torch.no_grad()
def patch_entropy(patches_n1hw: Tensor) -> Tensor:
    """Returns the entropy in bits, (N,) float64, of each patch's histogram of 256 bins over [0, 1].

    Bin k holds [k / 256, (k + 1) / 256), the last one 1 too; values beyond count in the outermost bins.
    """
    patches = patches_n1hw.flatten(1)
    if patches.numel() == 0:
        raise ContractError(f"patches: expected (N, 1, H, W), not empty, got {tuple(patches_n1hw.shape)}")
    bins = (patches * ENTROPY_BINS).floor().clamp(0, ENTROPY_BINS - 1).long()
    count = patches.shape[0]
    bins += ENTROPY_BINS * torch.arange(count, device=bins.device)[:, None]
    histograms = torch.bincount(bins.flatten(), minlength=ENTROPY_BINS * count).view(count, ENTROPY_BINS)
    share = histograms.double() / patches.shape[1]
    entropy_nats: Tensor = -torch.special.xlogy(share, share).sum(dim=1)
    return entropy_nats / math.log(2.0)


def _cosine_of_moves(fused: Tensor, source: Tensor, text_move: Tensor) -> Tensor:
    """Cosines, (K * N,), between fused - source and the texts' move; all embeddings are of length 1."""
    crops = fused.shape[0] // source.shape[0]
    move = F.normalize(fused - source.repeat(crops, 1), dim=-1, eps=SHORTEST)
    wanted = F.normalize(text_move, dim=-1, eps=SHORTEST).repeat(crops, 1)
    return (move * wanted).sum(dim=-1)


def _check_shapes(fused: Tensor, visible: Tensor, infrared: Tensor, keep: Tensor | None) -> None:
    shapes = [tuple(embeddings.shape) for embeddings in (fused, visible, infrared)]
    same_sources = shapes[1] == shapes[2] and len(shapes[1]) == 2 and shapes[1][0] > 0
    if not same_sources or len(shapes[0]) != 2 or shapes[0][0] == 0 or shapes[0][0] % shapes[1][0]:
        raise ContractError(
            "embeddings: expected visible and infrared (N, D) and fused (K * N, D), "
            f"got fused {shapes[0]}, visible {shapes[1]}, infrared {shapes[2]}"
        )
    if keep is not None and tuple(keep.shape) != shapes[0][:1]:
        raise ContractError(
            f"keep: expected one factor for each of {shapes[0][0]} rows, got {tuple(keep.shape)}"
        )
