"""Two videos read in step, by the time of each frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.video import VideoReader

Frame = NDArray[np.uint8]
TIE_S = 1e-6


@dataclass(frozen=True)
class FramePair:
    """A visible frame and the infrared one nearest to it in time, each (H, W, 3 BGR) uint8."""

    infrared_hw3: Frame
    visible_hw3: Frame
    dt_s: float
    """Since the visible frame before; of the first one, one frame."""
    shown_frames: int
    """For how many frames of the output's constant rate it is seen."""


class VideoPair:
    """Two videos read in step: every visible frame with the infrared frame nearest to it in time.

    Both are taken to start together. Where the visible one's rate varies, its frames go onto the even grid of
    `fps`: one that is seen for longer is repeated, one whose place is taken is left out. Ends with the
    shorter one; `notices` then holds what the user should know.
    """

    def __init__(self, infrared: VideoReader, visible: VideoReader) -> None:
        """Takes two videos of which no frame has been read."""
        self._infrared, self._visible = _Nearest(infrared), visible
        self._infrared_per_visible = infrared.fps / visible.fps
        self.fps = visible.fps
        self.announced_frames = min(
            visible.announced_frames, math.ceil(infrared.announced_frames / self._infrared_per_visible)
        )
        self.notices: list[str] = []
        self._repeated = self._left_out = 0

    def __iter__(self) -> Iterator[FramePair]:
        """Yields the pairs in order."""
        if not math.isclose(self._infrared_per_visible, 1.0, rel_tol=1e-3):
            self.notices.append(
                f"the infrared video has {self._infrared.reader.fps:g} frames a second and the visible one "
                f"{self._visible.fps:g}; frames are matched by time"
            )
        last: FramePair | None = None
        last_position, slot = -1.0, -1
        while True:
            visible_hw3 = self._visible.read()
            times = self._visible.times
            position = times.position if visible_hw3 is not None else times.position + 1.0
            infrared_hw3 = self._infrared.at(position / self.fps)
            if visible_hw3 is None or infrared_hw3 is None:
                break
            if last is not None and round(position) <= slot:
                self._left_out += 1
                continue
            if last is not None:
                shown = round(position) - slot
                self._repeated += shown - 1
                yield replace(last, shown_frames=shown)
            last = FramePair(infrared_hw3, visible_hw3, (position - last_position) / self.fps, 1)
            last_position, slot = position, round(position)
        if last is not None:
            yield last
        self._note_times()
        self._note_end(visible_hw3 is None, infrared_hw3 is None, slot + 1)

    def _note_times(self) -> None:
        for name, reader in (("infrared", self._infrared.reader), ("visible", self._visible)):
            times = reader.times
            if times.has_none:
                self.notices.append(
                    f"the {name} video gives its frames no times; "
                    f"they are taken to be evenly {reader.fps:g} a second"
                )
            elif times.guessed:
                self.notices.append(
                    f"the {name} video gives {times.guessed} of {times.frames} frames no time or a wrong "
                    "one; each was taken to follow the one before at once"
                )
            if times.is_variable:
                done = "frames are matched by time"
                if reader is self._visible:
                    done = (
                        f"on the even grid of {self.fps:g} a second "
                        f"{self._repeated} frames are repeats and {self._left_out} were left out"
                    )
                self.notices.append(
                    f"the {name} video has a variable frame rate, "
                    f"{times.frames} frames in {(times.position + 1) / reader.fps:.2f} s; {done}"
                )

    def _note_end(self, visible_ended: bool, infrared_ended: bool, frames: int) -> None:
        if visible_ended != infrared_ended:
            ended = "visible" if visible_ended else "infrared"
            self.notices.append(
                f"the {ended} video is the shorter one; the fused one ends there, at frame {frames}"
            )
        for reader, has_ended in ((self._infrared.reader, infrared_ended), (self._visible, visible_ended)):
            if has_ended and reader.is_cut:
                self.notices.append(
                    f"{reader.path} announces {reader.announced_frames} frames and gives {reader.frames_read}"
                )


class _Nearest:
    """The frames of a video by time; one is read ahead, to know which is nearer."""

    def __init__(self, reader: VideoReader) -> None:
        self.reader = reader
        self._frame: Frame | None = None
        self._time_s = -math.inf
        self._next: Frame | None = None
        self._next_s = 0.0
        self._advance()
        self._advance()

    def at(self, time_s: float) -> Frame | None:
        """The frame nearest to that time, which never goes back; None where the end of the video is nearer.

        Of two that are equally near, the one of even number, as `round` has it.
        """
        while self._frame is not None:
            nearer_s = (time_s - self._time_s) - (self._next_s - time_s)
            is_tie = abs(nearer_s) <= TIE_S
            if nearer_s < 0 and not is_tie:
                break
            if is_tie and self._next_number % 2:
                break
            self._advance()
        return self._frame

    @property
    def _next_number(self) -> int:
        return self.reader.frames_read - (self._next is not None)

    def _advance(self) -> None:
        self._frame, self._time_s = self._next, self._next_s
        if self._frame is None and self.reader.frames_read:
            return
        self._next = self.reader.read()
        position = self.reader.times.position
        self._next_s = (position if self._next is not None else position + 1.0) / self.reader.fps
