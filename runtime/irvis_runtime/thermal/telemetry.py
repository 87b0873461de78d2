"""What a Lepton's telemetry tells of its shutter."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

STATUS_WORD = 3
"""Row A, words 3 and 4 are the status bits (datasheet, table 2); the low half comes first (flirpy)."""
FFC_SHIFT, FFC_MASK = 4, 0b11
FFC_IN_PROGRESS = 0b10
"""Status bits 4 and 5: 0 never commanded, 1 imminent, 2 in progress, 3 complete (datasheet, table 3)."""


def is_calibrating(row_a: NDArray[Any]) -> bool:
    """Whether a flat-field correction, behind the closed shutter, is in progress by a Lepton's row A."""
    return (int(row_a[STATUS_WORD]) >> FFC_SHIFT) & FFC_MASK == FFC_IN_PROGRESS
