"""Which infrared frame belongs to a visible one: the nearest in time, or the last for a while, or none."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median_low
from typing import Generic, Protocol, TypeVar

KEPT_NS = 1_000_000_000
"""How much later than its infrared frame a visible one may come, as of a network camera with `latency_ms`."""
KEPT_FRAMES = 64
INTERVALS = 7
"""So many give the infrared camera's middle interval, which a lost or late frame leaves as it is."""


class Timed(Protocol):
    """Anything with a capture time."""

    @property
    def time_ns(self) -> int:
        """Capture time, in nanoseconds of one clock for both cameras."""
        ...


F = TypeVar("F", bound=Timed)


@dataclass(frozen=True)
class Choice(Generic[F]):
    """The partner of a visible frame.

    `skew_ms`: infrared time less visible time. `is_held`: it lies further away than a pair may, and is fused
    on while the infrared camera is silent.
    """

    frame: F
    skew_ms: float
    is_held: bool


class Pairing(Generic[F]):
    """Holds the infrared frames that a visible one may still ask for; the visible camera is the master.

    A frame nearer than `max_skew_ms` makes a pair. Without one the newest earlier frame is held for up to
    `hold_ms`. Visible frames are expected in the order of their times: what is older than the partner of one
    leaves.
    """

    def __init__(self, max_skew_ms: float, hold_ms: float) -> None:
        self.max_skew_ms, self.hold_ms = max_skew_ms, hold_ms
        self.unused = 0
        """Infrared frames that left without having been chosen."""
        self._frames: deque[F] = deque()
        self._intervals_ns: deque[int] = deque(maxlen=INTERVALS)
        self._chosen_ns: set[int] = set()

    def add(self, frame: F) -> None:
        """Takes the next infrared frame; one that is not later than the last drops those before it."""
        if self._frames:
            interval_ns = frame.time_ns - self._frames[-1].time_ns
            if interval_ns > 0:
                self._intervals_ns.append(interval_ns)
            else:
                self._drop_before(None)
                self._intervals_ns.clear()
        self._frames.append(frame)
        while len(self._frames) > KEPT_FRAMES or (
            len(self._frames) > 2 and frame.time_ns - self._frames[0].time_ns > KEPT_NS
        ):
            self._drop_oldest()

    def take_over(self, other: Pairing[F]) -> None:
        """Goes on with the frames and counts of another pairing, whose limits were others."""
        self._frames, self._intervals_ns = other._frames, other._intervals_ns
        self._chosen_ns, self.unused = other._chosen_ns, other.unused

    def choose(self, visible_time_ns: int) -> Choice[F] | None:
        """Returns the partner of the visible frame of this time, or None: then the visible one goes alone."""
        if not self._frames:
            return None
        nearest = min(self._frames, key=lambda frame: abs(frame.time_ns - visible_time_ns))
        skew_ms = (nearest.time_ns - visible_time_ns) / 1e6
        is_held = abs(skew_ms) > self.max_skew_ms
        if is_held and not -self.hold_ms <= skew_ms <= 0:
            return None
        self._drop_before(nearest)
        self._chosen_ns.add(nearest.time_ns)
        return Choice(nearest, skew_ms, is_held)

    def due_ns(self, visible_time_ns: int) -> int | None:
        """Returns the time of the infrared frame to come where it will be nearer than all that are here.

        It is expected a middle interval after the last; None where the last is nearer, or no interval known.
        """
        if not self._frames or not self._intervals_ns:
            return None
        last_ns, interval_ns = self._frames[-1].time_ns, median_low(self._intervals_ns)
        return last_ns + interval_ns if 2 * (visible_time_ns - last_ns) > interval_ns else None

    def newest(self) -> F | None:
        """Returns the last infrared frame, for the time when it is the only picture."""
        if not self._frames:
            return None
        self._chosen_ns.add(self._frames[-1].time_ns)
        return self._frames[-1]

    def _drop_before(self, frame: F | None) -> None:
        while self._frames and self._frames[0] is not frame:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        time_ns = self._frames.popleft().time_ns
        if time_ns in self._chosen_ns:
            self._chosen_ns.remove(time_ns)
        else:
            self.unused += 1
