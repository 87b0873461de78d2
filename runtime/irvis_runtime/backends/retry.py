"""When something that failed in flight is tried again."""

from __future__ import annotations

import math
import time

FIRST_S = 60.0
"""Long enough for memory to come free after a start, short beside a flight."""
LONGEST_S = 1800.0
"""A try costs a build of minutes beside the live picture: two an hour are bearable for good."""


class Retry:
    """The moment from which on something may be tried again, `wait_s` from now; None takes the first wait."""

    def __init__(self, wait_s: float | None = None) -> None:
        self.wait_s = FIRST_S if wait_s is None else wait_s
        self._due_s = time.monotonic() + self.wait_s

    @property
    def is_due(self) -> bool:
        """Whether the moment has come."""
        return time.monotonic() >= self._due_s

    @property
    def text(self) -> str:
        """The wait in words, for the end of a line."""
        if math.isinf(self.wait_s):
            return "not tried again"
        is_short = self.wait_s < 120
        return (
            f"tried again in {self.wait_s:.0f} s"
            if is_short
            else f"tried again in {self.wait_s / 60:.0f} min"
        )


def after_failure(previous: Retry | None, is_final: bool = False) -> Retry:
    """Returns when to try again: after a minute, then after twice as long each time, at most half an hour.

    `previous`: of the failure before this one. `is_final`: another try could end no other way.
    """
    if is_final:
        return Retry(math.inf)
    return Retry() if previous is None else Retry(min(2 * previous.wait_s, LONGEST_S))
