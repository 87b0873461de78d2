"""Frames of two cameras -> the picture that goes out: fused, or one camera's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.context import ContextSmoother, make_context
from irvis_runtime.rig import Rig
from irvis_runtime.sinks.picture import Picture, grey_chroma
from irvis_runtime.stages import NO_TIMES, StageTimes
from irvis_runtime.states import State
from irvis_runtime.thermal.input import ThermalInput
from irvis_runtime.thermal.palettes import PaletteName

from .cut import CutDetector
from .frames import FULL_RANGE, Frame
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

    @property
    def is_passing_through(self) -> bool:
        """Whether what it returned last is the visible picture as it was."""
        ...


@dataclass(frozen=True)
class Composed:
    """A picture, how it came about, how far apart its two frames were, and what it was made of.

    `is_full_range`: of `picture` and `visible`, which is the visible camera's own. `infrared_hw`: the
    registered infrared picture, uint8 (H, W), always full range, that repeats its border where its camera
    sees nothing. `filled_hw`: the same with the visible picture there. None where a camera is missing.
    `palette`: of thermal views.
    """

    picture: Picture
    state: State
    skew_ms: float | None = None
    is_held: bool = False
    is_full_range: bool = True
    visible: Picture | None = None
    infrared_hw: NDArray[np.uint8] | None = None
    filled_hw: NDArray[np.uint8] | None = None
    palette: PaletteName = "white-hot"


class Composer:
    """Makes the picture of each visible frame, or of an infrared one where the visible camera is lost."""

    def __init__(self, fuser: FusesLuma, rig: Rig, times: StageTimes = NO_TIMES) -> None:
        self._fuser, self._times = fuser, times
        self._cuts = CutDetector()
        self.cuts = 0
        """Scene cuts that have been seen; after each the context begins afresh."""
        self._registration = Registration.of_rig(rig.registration)
        self.thermal = ThermalInput(rig.thermal)
        """The infrared camera's gain, shutter (`thermal.is_frozen`) and temperatures."""
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
        """Takes an infrared frame for the pictures to come; a repeat of the last one ages that one."""
        picture = self.thermal.take(frame)
        if picture is not None:
            self._registration.see_infrared(_size(picture.luma_hw))
            self._pairing.add(picture)

    def due_infrared_ns(self, visible: Frame) -> int | None:
        """Returns the time of an infrared frame that is to come and will be nearer to the visible one."""
        return self._pairing.due_ns(visible.time_ns)

    def take_over(self, other: Composer) -> None:
        """Goes on where the composer of another rig leaves off: by itself that is no step in the picture.

        ContractError where the cameras' pictures of now cannot be registered as this one's rig says.
        """
        self._pairing.take_over(other._pairing)
        self.thermal.take_over(other.thermal)
        self._registration.take_over(other._registration)
        self._smoother.take_over(other._smoother)
        self._cuts, self.cuts = other._cuts, other.cuts
        self._last_visible, self._last_fused_ns = other._last_visible, other._last_fused_ns
        if self._last_visible is not None:
            self._registration.cropped(self._last_visible)

    def from_visible(self, frame: Frame) -> Composed:
        """Returns the frame fused with its partner; without one, the frame as it is."""
        stage = self._times.stage
        self._last_visible = frame
        frame = self._registration.cropped(frame)
        with stage("pair"):
            choice = self._pairing.choose(frame.time_ns)
        if choice is None:
            return self.alone(frame)
        with stage("luma range"):
            visible_hw = frame.luma_hw if frame.is_full_range else to_full_range(frame.luma_hw)
        warped_hw = self._infrared_on_visible(choice.frame, _size(visible_hw))
        with stage("fill"):
            infrared_hw = self._registration.fill(warped_hw, visible_hw)
        with stage("context"):
            context = self._context(infrared_hw, visible_hw, frame.time_ns)
        with stage("fuse"):
            fused_hw = self._fuser.fuse(infrared_hw, visible_hw, context)
        with stage("luma range"):
            luma_hw = fused_hw if frame.is_full_range else to_limited_range(fused_hw)
        return Composed(
            _picture(frame, luma_hw),
            self._state(choice.is_held),
            choice.skew_ms,
            choice.is_held,
            frame.is_full_range,
            _picture(frame, frame.luma_hw),
            warped_hw,
            infrared_hw,
            self.thermal.config.palette,
        )

    def alone(self, frame: Frame) -> Composed:
        """Returns the visible frame as it is."""
        self._last_fused_ns = None
        own = _picture(frame, frame.luma_hw)
        return Composed(own, "visible-only", is_full_range=frame.is_full_range, visible=own)

    def _state(self, is_held: bool) -> State:
        """What a fused picture is, by what fused it."""
        if self._fuser.is_passing_through:
            return "visible-only"
        return "holding" if is_held else "fusing"

    def from_infrared(self) -> Composed | None:
        """Returns the newest infrared frame in the rig's palette, laid where the visible one was last."""
        frame, visible = self._pairing.newest(), self._last_visible
        if visible is not None:
            visible = self._registration.cropped(visible)
        self._last_fused_ns = None
        if frame is None:
            return None
        # A frozen camera's picture is held, and shown at the time of the repeats.
        time_ns = self.thermal.seen_ns
        if visible is None:
            infrared_hw, is_full_range, colorimetry = self.thermal.eight_bit(frame), True, FULL_RANGE
        else:
            infrared_hw = self._infrared_on_visible(frame, _size(visible.luma_hw))
            is_full_range, colorimetry = visible.is_full_range, visible.colorimetry
        luma_hw, chroma = self.thermal.colourise(infrared_hw, colorimetry, is_full_range)
        picture = Picture(luma_hw, chroma, time_ns, colorimetry)
        return Composed(picture, "infrared-only", is_full_range=is_full_range, infrared_hw=infrared_hw)

    def _context(
        self, infrared_hw: NDArray[np.uint8], visible_hw: NDArray[np.uint8], time_ns: int
    ) -> NDArray[np.float32]:
        """The pictures' context, smoothed; afresh after an interruption and after a cut."""
        context = make_context(infrared_hw, visible_hw)
        if self._last_fused_ns is None:
            self._smoother.reset()
            self._cuts.reset()
        if self._cuts.is_cut(context):
            self._smoother.reset()
            self.cuts += 1
        elapsed_s = (time_ns - (self._last_fused_ns or time_ns)) / 1e9
        self._last_fused_ns = time_ns
        return self._smoother.update(context, elapsed_s)

    def _infrared_on_visible(self, frame: Frame, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """The registered infrared picture; made once where a slow camera's frame serves several pictures."""
        if self._warped is None or self._warped[:2] != (frame.time_ns, size_hw):
            with self._times.stage("infrared to 8 bit"):
                grey_hw = self.thermal.eight_bit(frame)
            with self._times.stage("register"):
                warped_hw = self._registration.warp(grey_hw, size_hw)
            self._warped = frame.time_ns, size_hw, warped_hw
        return self._warped[2]


def _picture(frame: Frame, luma_hw: NDArray[np.uint8]) -> Picture:
    chroma = grey_chroma(_size(luma_hw)) if frame.chroma is None else frame.chroma
    return Picture(luma_hw, chroma, frame.time_ns, frame.colorimetry)


def _size(picture_hw: NDArray[Any]) -> tuple[int, int]:
    return picture_hw.shape[0], picture_hw.shape[1]
