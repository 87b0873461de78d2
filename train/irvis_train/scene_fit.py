"""Fits a modulation to what is wanted of it in known scenes, in closed form: ridge regression."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .modulation import LEAVE_STEP, Modulation, context_statistics

RIDGE = 0.05
"""Of the number of scenes, for features in deviations: three times as much costs 0.3 dB on data/val."""
FLAT = 1e-3
"""A feature that varies by less tells nothing."""


def fit_modulation(
    modulation: Modulation, contexts_n2hw: Tensor, wanted: Mapping[str, tuple[Tensor, Tensor]]
) -> None:
    """Sets the rows of the layers in `wanted` so that they are nearest to it; the other rows stay.

    `wanted`: by name the logarithms of a layer's scales and its offsets, (N, C) each, for the N contexts
    (N, 2, 64, 64) in 0..255. The hidden layer's columns become zero.
    """
    with torch.no_grad():
        features = modulation.features(contexts_n2hw, *context_statistics(contexts_n2hw))
        modulation.centre.copy_(features.mean(dim=0, keepdim=True))
        spread = (features - modulation.centre).square().mean(dim=0, keepdim=True).sqrt()
        modulation.inverse.copy_(torch.where(spread > FLAT, 1.0 / spread.clamp(min=FLAT), 0.0))
        standard = modulation.standardised(contexts_n2hw, *context_statistics(contexts_n2hw)).flatten(1)
        count = standard.shape[1]
        leave_weight, leave_bias = modulation.leave.parameters()
        for name, (logarithms, offsets) in wanted.items():
            for rows, values in (
                (modulation.scale_rows(name), logarithms),
                (modulation.offset_rows(name), offsets),
            ):
                if rows.stop > rows.start:
                    weight, usual = _ridge(standard.double(), values.double())
                    leave_weight[rows].zero_()
                    leave_weight[rows, :count, 0, 0] = weight.to(standard) / LEAVE_STEP
                    leave_bias[rows] = usual.to(standard)


def _ridge(features_nk: Tensor, values_nc: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (C, K) and constant (C,) with the least squared error plus RIDGE N times the squared weight."""
    mean_k, mean_c = features_nk.mean(dim=0), values_nc.mean(dim=0)
    centred = features_nk - mean_k
    gram = centred.T @ centred
    gram += RIDGE * len(features_nk) * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    weight = torch.linalg.solve(gram, centred.T @ (values_nc - mean_c)).T
    return weight, mean_c - weight @ mean_k
