"""Words in the picture: the state in its corner, and the slate where no camera sees anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.image import opencv
from irvis_runtime.sinks.picture import Picture, grey_chroma
from irvis_runtime.states import State

SHOWN: dict[State, str] = {
    "starting": "STARTING",
    "fusing": "FUSED",
    "visible-only": "VISIBLE ONLY",
    "infrared-only": "THERMAL ONLY",
    "holding": "THERMAL HELD",
    "no-cameras": "NO CAMERA",
    "stopped": "STOPPED",
}
# Limited and full range both show these as dark and light.
DARK, LIGHT = 16, 235
SLATE_GREY = 48
MARGIN_PX = 2


def with_corner(picture: Picture, state: State, count: int) -> Picture:
    """Returns the picture with its state and number at the top left; its own luma is left as it is.

    The number is the picture's, not a clock's: over a frozen picture it stands still.
    """
    luma_hw = picture.luma_hw.copy()
    _write(luma_hw, f"{SHOWN[state]} {_number(count)}", 0, 0)
    return replace(picture, luma_hw=luma_hw)


def slate(like: Picture, time_ns: int, count: int) -> Picture:
    """Returns a grey picture that says that there is no camera, in the size and colorimetry of another."""
    height, width = like.luma_hw.shape
    luma_hw = np.full((height, width), SLATE_GREY, np.uint8)
    _write(luma_hw, SHOWN["no-cameras"], height // 3, width // 8, scale=2)
    _write(luma_hw, _number(count), 2 * height // 3, width // 8)
    return Picture(luma_hw, grey_chroma((height, width)), time_ns, like.colorimetry)


def _number(count: int) -> str:
    return f"{count % 1_000_000:06d}"


def _write(luma_hw: NDArray[np.uint8], text: str, top: int, left: int, scale: float = 1) -> None:
    """Writes light letters on dark, a thirtieth of the picture high times `scale`, narrower where they must.

    OpenCV's letters are 22 pixels high at scale 1.
    """
    cv2 = opencv()
    height, width = luma_hw.shape
    font = cv2.FONT_HERSHEY_SIMPLEX
    (full_px, _), _ = cv2.getTextSize(text, font, 1.0, 1)
    scale = min(max(scale * height / 30 / 22, 0.4), (width - left - 2 * MARGIN_PX) / full_px)
    if scale <= 0:
        return
    weight = max(1, round(2 * scale))
    (text_px, above_px), below_px = cv2.getTextSize(text, font, scale, weight)
    right, bottom = left + text_px + 2 * MARGIN_PX, top + above_px + below_px + 2 * MARGIN_PX
    luma_hw[top:bottom, left:right] = DARK
    cv2.putText(luma_hw, text, (left + MARGIN_PX, top + MARGIN_PX + above_px), font, scale, LIGHT, weight)
