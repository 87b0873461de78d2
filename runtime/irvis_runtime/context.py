"""The `context` input: thumbnails that tell the network about the whole picture, smoothed over time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .contract import CONTEXT, CONTEXT_SHAPE
from .errors import ContractError
from .kernels.library import MAX_PIXELS, MAX_ROWS, kernels

THUMBNAIL_SIDE = CONTEXT_SHAPE[-1]
ROW_BAND, COLUMN_BAND = 4, 8
"""Thumbnail lines averaged at once; of 2 to 16 each the fastest at 640x480 and 1280x720."""
DEFAULT_CONTEXT_S = 2.0
STAGE_TIMES = 2.146193
"""Time constants of one stage until two in series let 63 % through: (1 + x) exp(-x) = exp(-1)."""


def make_context(infrared_hw: NDArray[np.uint8], visible_hw: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns area-averaged thumbnails, float32 (1, 2, 64, 64) in 0..255, infrared first.

    Each thumbnail pixel is the mean of the picture's area under it, fractions of pixels included; the pixels
    of a picture smaller than the thumbnail are repeated. Takes (H, W) uint8 of equal size.
    """
    shapes, dtypes = {infrared_hw.shape, visible_hw.shape}, {infrared_hw.dtype, visible_hw.dtype}
    if infrared_hw.ndim != 2 or len(shapes) != 1 or dtypes != {np.dtype(np.uint8)} or infrared_hw.size == 0:
        raise ContractError(
            f"{CONTEXT}: expected two uint8 pictures (H, W) of equal size, got {infrared_hw.dtype} "
            f"{infrared_hw.shape} and {visible_hw.dtype} {visible_hw.shape}; "
            "register the infrared picture onto the visible one"
        )
    context = np.empty(CONTEXT_SHAPE, np.float32)
    is_small = infrared_hw.size <= MAX_PIXELS and infrared_hw.shape[0] <= MAX_ROWS
    compiled = kernels() if is_small else None
    for thumbnail, picture_hw in zip(context[0], (infrared_hw, visible_hw), strict=True):
        if compiled is None:
            _average_columns(_average_rows(picture_hw), thumbnail)
        else:
            compiled.area_means(picture_hw, thumbnail)
    return context


def _average_rows(picture_hw: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W) -> (64, W): the area averages along the first axis.

    In bands of a few results and the lines that their weights touch: a sixteenth of the arithmetic, and each
    product is too small for BLAS to wake its threads, whose spinning costs far more than it saves beside an
    inference engine. Only a band at a time becomes floats: the whole picture's, 1.2 MB, were half of the time
    when the caches were cold.
    """
    height, width = picture_hw.shape
    weights = area_weights(height)
    rows = np.empty((THUMBNAIL_SIDE, width), np.float32)
    for band, pixels in _bands(height, ROW_BAND):
        np.matmul(weights[band, pixels], picture_hw[pixels].astype(np.float32), out=rows[band])
    return rows


def _average_columns(rows: NDArray[np.float32], thumbnail: NDArray[np.float32]) -> None:
    """(64, W) -> the thumbnail (64, 64): the area averages along the second axis."""
    weights = area_weights(rows.shape[1]).T
    for band, pixels in _bands(rows.shape[1], COLUMN_BAND):
        np.matmul(rows[:, pixels], weights[pixels, band], out=thumbnail[:, band])


def _bands(length_px: int, band: int) -> Iterator[tuple[slice, slice]]:
    """Slices of the thumbnail's lines, and of the pixels under each."""
    for first in range(0, THUMBNAIL_SIDE, band):
        start = first * length_px // THUMBNAIL_SIDE
        stop = -(-(first + band) * length_px // THUMBNAIL_SIDE)
        yield slice(first, first + band), slice(start, stop)


@lru_cache(maxsize=16)
def area_weights(length_px: int) -> NDArray[np.float32]:
    """Returns the matrix (64, length) whose row i averages the i-th of 64 equal parts of a line of pixels."""
    edges = np.arange(THUMBNAIL_SIDE + 1) * (length_px / THUMBNAIL_SIDE)
    pixels = np.arange(length_px)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    shares = np.maximum(overlap, 0.0) * (THUMBNAIL_SIDE / length_px)
    weights: NDArray[np.float32] = shares.astype(np.float32)
    weights.setflags(write=False)
    return weights


class ContextSmoother:
    """Follows the context of a video with a time constant: a lamp in one corner cannot make the rest jump.

    Two equal exponential stages in series (critically damped): 63 % of a change have come through after
    `time_constant_s` seconds, whatever the frame rate, 90 % after 1.8 times as long. One stage alone would
    take its largest step at once, in the first frame; two begin softly.
    """

    def __init__(self, time_constant_s: float = DEFAULT_CONTEXT_S) -> None:
        if not (math.isfinite(time_constant_s) and time_constant_s >= 0.0):
            raise ContractError(f"context time constant: expected 0 s or more, got {time_constant_s}")
        self.time_constant_s = time_constant_s
        self._stages: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    def update(self, context: NDArray[np.float32], dt_s: float) -> NDArray[np.float32]:
        """Takes a frame's own context and the seconds since the last frame; returns the smoothed one."""
        if self._stages is None or self.time_constant_s == 0.0:
            self._stages = (context, context)
        else:
            # The exact answer to an input that is constant over dt_s: many small steps equal a large one.
            elapsed = max(dt_s, 0.0) * STAGE_TIMES / self.time_constant_s
            left = math.exp(-elapsed)
            compiled = kernels()
            if compiled is not None:
                self._stages = compiled.follow(context, *self._stages, elapsed, left)
            else:
                first, second = (stage - context for stage in self._stages)
                carried = second + np.float32(elapsed) * first
                self._stages = (context + np.float32(left) * first, context + np.float32(left) * carried)
        return self._stages[1]

    def take_over(self, other: ContextSmoother) -> None:
        """Goes on from another's past with this one's time constant."""
        self._stages = other._stages

    def reset(self) -> None:
        """Forgets the past: the next frame's context is taken as it is (after a cut or a camera's return)."""
        self._stages = None
