"""What an output can show of a fused pair: each view is made once, when the first output asks for it.

Every view has the size of the fused picture, so that a switch neither begins a new recording nor makes a
receiver start again; whoever wants both cameras in full size gives each an [[output]] of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.cameras.luma_range import BLACK, to_limited_range
from irvis_runtime.image import opencv
from irvis_runtime.rig import View
from irvis_runtime.sinks.picture import Picture, grey_chroma
from irvis_runtime.thermal.palettes import colourise

if TYPE_CHECKING:
    from irvis_runtime.cameras.compose import Composed

Box = tuple[int, int, int, int]
"""Top, left, height and width in pixels, all even."""

INSET_SHARE = 3
"""The inset's side is a third of the picture's."""
BORDER_PX = 2


class Views:
    """The views of one composed picture, shared by all outputs.

    Where a camera is missing, every view is the picture that remains, whole. `mark` is done to each view that
    is made, as drawing the state into a corner.
    """

    def __init__(self, composed: Composed, mark: Callable[[Picture], Picture] | None = None) -> None:
        self._composed, self._mark = composed, mark
        self._made: dict[View, Picture] = {}

    def picture(self, view: View) -> Picture:
        """Returns the view."""
        if view not in self._made:
            made = self._make(view)
            self._made[view] = made if self._mark is None else self._mark(made)
        return self._made[view]

    def _make(self, view: View) -> Picture:
        composed = self._composed
        is_pair = composed.visible is not None and composed.infrared_hw is not None
        return _MAKE[view](composed) if is_pair or view in ("visible", "thermal") else composed.picture


def _fused(composed: Composed) -> Picture:
    return composed.picture


def _visible(composed: Composed) -> Picture:
    return composed.picture if composed.visible is None else composed.visible


def _thermal(composed: Composed) -> Picture:
    """The registered infrared picture in the rig's palette."""
    if composed.visible is None or composed.infrared_hw is None:
        return composed.picture
    planes = colourise(
        composed.infrared_hw, composed.palette, composed.picture.colorimetry, composed.is_full_range
    )
    return _as_picture(composed, *planes)


def _side_by_side(composed: Composed) -> Picture:
    """Visible left, thermal right, each at half its sides, between bars of black."""
    height, width = _size(composed.picture)
    half_width = _even(width / 2)
    half_height = _even(height * half_width / width)
    top = _even((height - half_height) / 2)
    canvas = _as_picture(
        composed,
        np.full((height, width), 0 if composed.is_full_range else BLACK, np.uint8),
        grey_chroma((height, width)),
    )
    _lay(canvas, _visible(composed), (top, 0, half_height, half_width))
    _lay(canvas, _thermal(composed), (top, half_width, half_height, half_width))
    return canvas


def _picture_in_picture(composed: Composed) -> Picture:
    """The visible picture with the thermal one, framed in black, in its lower right corner."""
    visible = _visible(composed)
    canvas = _as_picture(composed, visible.luma_hw.copy(), visible.chroma.copy())
    height, width = _size(canvas)
    inset_height, inset_width = _even(height / INSET_SHARE), _even(width / INSET_SHARE)
    margin = _even(width / 40)
    top, left = _even(height - inset_height - margin), _even(width - inset_width - margin)
    frame = np.s_[
        max(top - BORDER_PX, 0) : top + inset_height + BORDER_PX,
        max(left - BORDER_PX, 0) : left + inset_width + BORDER_PX,
    ]
    canvas.luma_hw[frame] = 0 if composed.is_full_range else BLACK
    _lay(canvas, _thermal(composed), (top, left, inset_height, inset_width))
    return canvas


def _blend(composed: Composed) -> Picture:
    """The mean of both lumas in the visible picture's colours; where infrared sees nothing, visible alone."""
    visible = _visible(composed)
    if composed.filled_hw is None:
        return visible
    infrared_hw = _in_range(composed, composed.filled_hw)
    luma_hw = opencv().addWeighted(visible.luma_hw, 0.5, infrared_hw, 0.5, 0.0)
    return _as_picture(composed, luma_hw, visible.chroma)


_MAKE: dict[View, Callable[[Composed], Picture]] = {
    "fused": _fused,
    "visible": _visible,
    "thermal": _thermal,
    "side-by-side": _side_by_side,
    "picture-in-picture": _picture_in_picture,
    "blend": _blend,
}


def _as_picture(composed: Composed, luma_hw: NDArray[np.uint8], chroma: NDArray[np.uint8]) -> Picture:
    """A picture with the time, range and colorimetry of the fused one."""
    return Picture(luma_hw, chroma, composed.picture.time_ns, composed.picture.colorimetry)


def _in_range(composed: Composed, full_hw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return full_hw if composed.is_full_range else to_limited_range(full_hw)


def _lay(canvas: Picture, picture: Picture, box: Box) -> None:
    """Shrinks the picture into the box of the canvas, both planes by area."""
    top, left, height, width = box
    canvas.luma_hw[top : top + height, left : left + width] = _shrunk(picture.luma_hw, (height, width))
    target = _pairs(canvas.chroma)[top // 2 : (top + height) // 2, left // 2 : (left + width) // 2]
    target[:] = _shrunk(_pairs(picture.chroma), (height // 2, width // 2))


def _shrunk(plane: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[Any]:
    """Means of whole blocks; the few last rows and columns that fill none are left out.

    At a third of 1280x720 cv2 took 10 ms for blocks of fractions of pixels and 3 ms for whole ones.
    """
    cv2 = opencv()
    height, width = size_hw
    whole = plane[: plane.shape[0] // height * height, : plane.shape[1] // width * width]
    shrunk: NDArray[Any] = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    return shrunk


def _pairs(chroma: NDArray[np.uint8]) -> NDArray[Any]:
    """NV12's second plane as (rows, columns, U and V), the same memory."""
    return chroma.reshape(chroma.shape[0], -1, 2)


def _size(picture: Picture) -> tuple[int, int]:
    return picture.luma_hw.shape[0], picture.luma_hw.shape[1]


def _even(length_px: float) -> int:
    """The even number at or below, at least 2."""
    return max(2 * int(length_px / 2), 2)
