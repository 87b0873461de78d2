"""A checkerboard's mark in the spectrum: energy at the periods of up-sampling, over that beside them.

A network that up-samples by 2 three times can write patterns of 2, 4 and 8 pixels into a picture. They lie on
the pixel grid, so their energy stands in single lines of the spectrum, where a scene's own energy is smooth.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

PERIODS_PX = (2, 4, 8)
TILE_PX = 64
STRIDE_PX = 32
FLATTEST = 0.25
"""Share of a picture's tiles that is looked at: a pattern is seen in skies and roads, not in foliage."""
BESIDE = (-4, -3, 3, 4)
"""Lines of the spectrum to compare with: beyond the window's main lobe, half way to the next period's."""
FLOOR = (0.05 / 255.0) ** 2
"""Variance that nobody sees, spread over the spectrum; keeps the ratio finite in pictures without noise."""


def checkerboard_db(fused_n1hw: Tensor, infrared_n1hw: Tensor, visible_n1hw: Tensor) -> dict[int, float]:
    """Energy at each period relative to the lines beside, in dB, by period in pixels; near 0 without pattern.

    From the tiles in which the sources are flattest, over all pictures of the batch. Pictures of less than a
    tile a side give NaN.
    """
    if min(fused_n1hw.shape[-2:]) < TILE_PX:
        return dict.fromkeys(PERIODS_PX, math.nan)
    activity = torch.maximum(_activity(_tiles(infrared_n1hw)), _activity(_tiles(visible_n1hw)))
    count = max(1, round(FLATTEST * activity.shape[1]))
    flattest = activity.argsort(dim=1)[:, :count]
    tiles = _tiles(fused_n1hw)
    chosen = torch.gather(tiles, 1, flattest[..., None, None].expand(-1, -1, TILE_PX, TILE_PX))
    power = _power(chosen.reshape(-1, TILE_PX, TILE_PX))
    return {period_px: _ratio_db(power, period_px) for period_px in PERIODS_PX}


def _tiles(picture_n1hw: Tensor) -> Tensor:
    """(N, T, TILE, TILE); each begins at a multiple of the longest period."""
    tiles = picture_n1hw[:, 0].unfold(1, TILE_PX, STRIDE_PX).unfold(2, TILE_PX, STRIDE_PX)
    return tiles.reshape(len(tiles), -1, TILE_PX, TILE_PX)


def _activity(tiles: Tensor) -> Tensor:
    """(N, T) mean absolute difference of neighbours."""
    return tiles.diff(dim=-1).abs().mean(dim=(-1, -2)) + tiles.diff(dim=-2).abs().mean(dim=(-1, -2))


def _power(tiles_thw: Tensor) -> Tensor:
    """Mean power spectrum (TILE, TILE) of tiles, Hann-windowed."""
    window = torch.hann_window(TILE_PX, dtype=torch.float64, device=tiles_thw.device)
    centred = tiles_thw.double() - tiles_thw.double().mean(dim=(-1, -2), keepdim=True)
    window_hw = window[:, None] * window[None]
    power: Tensor = torch.fft.fft2(centred * window_hw).abs().square().mean(dim=0)
    return power + FLOOR * window_hw.square().sum()


def _ratio_db(power: Tensor, period_px: int) -> float:
    """Mean over the lines that have this period and no shorter one, as in a pattern of i/p, j/p cycles."""
    unit = TILE_PX // period_px
    ratios = []
    for row in range(0, TILE_PX, unit):
        for column in range(0, TILE_PX, unit):
            if row % (2 * unit) == 0 and column % (2 * unit) == 0:
                continue
            ratios.append(power[row, column] / _beside(power, row, column))
    return 10.0 * math.log10(float(torch.stack(ratios).mean()))


def _beside(power: Tensor, row: int, column: int) -> Tensor:
    """Geometric mean of the lines beside; on an axis, where scenes have most energy, those along it."""
    rows = [row] if row == 0 else [(row + offset) % TILE_PX for offset in BESIDE]
    columns = [column] if column == 0 else [(column + offset) % TILE_PX for offset in BESIDE]
    return power[rows][:, columns].log().mean().exp()
