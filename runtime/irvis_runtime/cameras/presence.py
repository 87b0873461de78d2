"""Whether a camera takes part in the picture: it leaves at once and comes back only when it is steady."""

from __future__ import annotations

PATIENCE = 2.5
"""Periods without a frame that a slow camera is waited for, however short `away_s` is."""


class Presence:
    """The hysteresis of one camera.

    Without a frame for `away_s`, or 2.5 of its periods, it is away; from then on its frames count only after
    they have come for `settle_s` without such a pause. The first frames of a run count at once.
    """

    def __init__(self, away_s: float, settle_s: float) -> None:
        self.away_s, self.settle_s = away_s, settle_s
        self._period_s = 0.0
        self._last_s: float | None = None
        self._since_s: float | None = None
        """When the frames began that have come steadily since; None: they count."""

    @property
    def limit_s(self) -> float:
        """How long no frame must come until the camera is away."""
        return max(self.away_s, PATIENCE * self._period_s)

    def take(self, now_s: float, period_s: float = 0.0) -> bool:
        """Takes the arrival of a frame and the camera's period (0: unknown); returns whether it counts."""
        self._period_s = period_s
        if self._last_s is not None and now_s - self._last_s > self.limit_s:
            self._since_s = now_s
        self._last_s = now_s
        if self._since_s is not None and now_s - self._since_s >= self.settle_s:
            self._since_s = None
        return self._since_s is None

    def is_away(self, now_s: float) -> bool:
        """Whether the camera takes no part now; one that has never sent is not away but awaited."""
        if self._last_s is None:
            return False
        return self._since_s is not None or now_s - self._last_s > self.limit_s
