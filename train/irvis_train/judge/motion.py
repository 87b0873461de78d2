"""How a clip moves: dense optical flow, and which pixels were in sight in both frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.image import opencv

from .contenders import Frame, Picture

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

DISAGREEMENT_PX = 1.0
"""Where the flow there and back ends further from its start than this, something was hidden."""
BORDER_PX = 0.5
"""Flow that leads further out of the picture than this comes from what was not in it."""
HIDDEN_MARGIN_PX = 15
"""Width by which what is hidden is widened: a fused picture has halos around what moves."""
FLOW_LEVELS, FLOW_WINDOW_PX, FLOW_STEPS = 4, 21, 3


@dataclass(frozen=True)
class Motion:
    """For each frame but the first: where each pixel was in the frame before."""

    maps: list[tuple[Plane, Plane]]
    """Columns and rows, (H, W) each."""
    kept: list[Mask]
    """Pixels that were in sight in both frames."""

    def changes(self, pictures: Sequence[Picture] | Sequence[Plane]) -> list[Plane]:
        """Each picture minus the one before it moved to its place, in grey levels."""
        cv2 = opencv()
        planes = [np.asarray(picture, np.float32) for picture in pictures]
        return [
            now - cv2.remap(before, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for before, now, (columns, rows) in zip(planes[:-1], planes[1:], self.maps, strict=True)
        ]


def find_motion(frames: Sequence[Frame]) -> Motion:
    """Flow of the mean of both pictures (Farneback 2003, doi:10.1007/3-540-45103-X_50)."""
    cv2 = opencv()
    greys = [cv2.addWeighted(infrared, 0.5, visible, 0.5, 0.0) for infrared, visible in frames]
    maps, kept = [], []
    for before, now in pairwise(greys):
        back, forth = _flow(now, before), _flow(before, now)
        rows, columns = np.mgrid[: now.shape[0], : now.shape[1]].astype(np.float32)
        from_columns, from_rows = columns + back[..., 0], rows + back[..., 1]
        forth_there = cv2.remap(forth, from_columns, from_rows, cv2.INTER_LINEAR)
        is_hidden = np.linalg.norm(back + forth_there, axis=2) > DISAGREEMENT_PX
        for places, side in ((from_columns, now.shape[1]), (from_rows, now.shape[0])):
            is_hidden |= (places < -BORDER_PX) | (places > side - 1 + BORDER_PX)
        maps.append((from_columns, from_rows))
        kept.append(_widened(is_hidden) == 0)
    return Motion(maps, kept)


def stand_still(frames: Sequence[Frame]) -> Motion:
    """The motion of a scene in which nothing moves."""
    height, width = frames[0][1].shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    count = len(frames) - 1
    return Motion([(columns, rows)] * count, [np.ones((height, width), bool)] * count)


def _flow(start: Picture, end: Picture) -> Plane:
    flow: Plane = opencv().calcOpticalFlowFarneback(
        start, end, None, 0.5, FLOW_LEVELS, FLOW_WINDOW_PX, FLOW_STEPS, 7, 1.5, 0
    )
    return flow


def _widened(mask: Mask) -> Picture:
    cv2 = opencv()
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (HIDDEN_MARGIN_PX, HIDDEN_MARGIN_PX))
    widened: Picture = cv2.dilate(mask.astype(np.uint8), disc)
    return widened
