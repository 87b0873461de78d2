"""Frames of two cameras -> the picture that goes out: fused, or one camera's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.context import ContextSmoother, make_context
from irvis_runtime.rig import Rig
from irvis_runtime.sinks.picture import Picture, grey_chroma
from irvis_runtime.states import State

from .frames import FULL_RANGE, Frame
from .gain import SmoothGain
from .luma_range import to_full_range, to_limited_range
from .pairing import Pairing
from .registration import Registration


class FusesLuma(Protocol):
    """What is needed of a Fuser."""

    def fuse(
        self,
        infrared_hw: NDArray[np.uint8],
        visible_hw: NDArray[np.uint8],
        context: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Returns the fused luma of two registered pictures."""
        ...


@dataclass(frozen=True)
class Composed:
    """A picture, how it came about, and how far apart its two frames were."""

    picture: Picture
    state: State
    skew_ms: float | None = None
    is_held: bool = False


class Composer:
    """Makes the picture of each visible frame, or of an infrared one where the visible camera is lost."""

    def __init__(self, fuser: FusesLuma, rig: Rig) -> None:
        self._fuser = fuser
        self._registration = Registration.of_rig(rig.registration)
        self._gain = SmoothGain(rig.limits.agc_s)
        self._smoother = ContextSmoother(rig.fusion.context_s)
        self._pairing: Pairing[Frame] = Pairing(rig.limits.max_skew_ms, rig.limits.hold_ms)
        self._last_fused_ns: int | None = None
        self._last_visible: Frame | None = None
        self._warped: tuple[int, tuple[int, int], NDArray[np.uint8]] | None = None

    @property
    def unused(self) -> int:
        """Infrared frames that no picture was made with."""
        return self._pairing.unused

    def add_infrared(self, frame: Frame) -> None:
        """Takes an infrared frame for the pictures to come."""
        self._registration.see_infrared(_size(frame.luma_hw))
        self._pairing.add(frame)

    def from_visible(self, frame: Frame) -> Composed:
        """Returns the frame fused with its partner; without one, the frame as it is."""
        frame = self._registration.cropped(frame)
        self._last_visible = frame
        choice = self._pairing.choose(frame.time_ns)
        if choice is None:
            self._last_fused_ns = None
            return Composed(_picture(frame, frame.luma_hw), "visible-only")
        visible_hw = frame.luma_hw if frame.is_full_range else to_full_range(frame.luma_hw)
        warped_hw = self._infrared_on_visible(choice.frame, _size(visible_hw))
        infrared_hw = self._registration.fill(warped_hw, visible_hw)
        fused_hw = self._fuser.fuse(
            infrared_hw, visible_hw, self._context(infrared_hw, visible_hw, frame.time_ns)
        )
        return Composed(
            _picture(frame, fused_hw if frame.is_full_range else to_limited_range(fused_hw)),
            "fusing",
            choice.skew_ms,
            choice.is_held,
        )

    def from_infrared(self) -> Composed | None:
        """Returns the newest infrared frame as a grey picture, laid where the visible one was last."""
        frame, visible = self._pairing.newest(), self._last_visible
        self._last_fused_ns = None
        if frame is None:
            return None
        if visible is None:
            luma_hw = self._eight_bit(frame)
            return Composed(
                Picture(luma_hw, grey_chroma(_size(luma_hw)), frame.time_ns, FULL_RANGE), "infrared-only"
            )
        luma_hw = self._infrared_on_visible(frame, _size(visible.luma_hw))
        if not visible.is_full_range:
            luma_hw = to_limited_range(luma_hw)
        picture = Picture(luma_hw, grey_chroma(_size(luma_hw)), frame.time_ns, visible.colorimetry)
        return Composed(picture, "infrared-only")

    def _context(
        self, infrared_hw: NDArray[np.uint8], visible_hw: NDArray[np.uint8], time_ns: int
    ) -> NDArray[np.float32]:
        """The pictures' context, smoothed; afresh after an interruption."""
        if self._last_fused_ns is None:
            self._smoother.reset()
        elapsed_s = (time_ns - (self._last_fused_ns or time_ns)) / 1e9
        self._last_fused_ns = time_ns
        return self._smoother.update(make_context(infrared_hw, visible_hw), elapsed_s)

    def _infrared_on_visible(self, frame: Frame, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """The registered infrared picture; made once where a slow camera's frame serves several pictures."""
        if self._warped is None or self._warped[:2] != (frame.time_ns, size_hw):
            warped_hw = self._registration.warp(self._eight_bit(frame), size_hw)
            self._warped = frame.time_ns, size_hw, warped_hw
        return self._warped[2]

    def _eight_bit(self, frame: Frame) -> NDArray[np.uint8]:
        if frame.luma_hw.dtype == np.uint16:
            return self._gain.apply(frame.luma_hw, frame.time_ns)
        return frame.luma_hw if frame.is_full_range else to_full_range(frame.luma_hw)


def _picture(frame: Frame, luma_hw: NDArray[np.uint8]) -> Picture:
    chroma = grey_chroma(_size(luma_hw)) if frame.chroma is None else frame.chroma
    return Picture(luma_hw, chroma, frame.time_ns, frame.colorimetry)


def _size(picture_hw: NDArray[Any]) -> tuple[int, int]:
    return picture_hw.shape[0], picture_hw.shape[1]
