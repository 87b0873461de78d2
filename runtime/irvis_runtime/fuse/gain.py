"""`--agc` and `--range`: how 16-bit infrared pictures become 8 bits, and which of them were such."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.errors import ContractError
from irvis_runtime.thermal.agc import (
    FARTHEST_COUNT,
    LEAST_SPAN,
    Agc,
    FixedAgc,
    PlateauAgc,
    StretchAgc,
)
from irvis_runtime.thermal.config import DEFAULT_PLATEAU_PERCENT


def asked_gain(kind: str | None, black_white: Sequence[float] | None) -> Agc | None:
    """What --agc and --range ask for; None where neither was given."""
    if black_white is not None:
        return _fixed_gain(kind, *black_white)
    if kind is None:
        return None
    return PlateauAgc(DEFAULT_PLATEAU_PERCENT, max_gain=255.0) if kind == "plateau" else StretchAgc()


def _fixed_gain(kind: str | None, black: float, white: float) -> FixedAgc:
    got = f"got {black:g} {white:g}"
    if kind is not None:
        raise ContractError(f"--range: expected no --agc beside it, got --agc {kind}; leave out one of them")
    if not (math.isfinite(black) and math.isfinite(white)):
        raise ContractError(f"--range: expected two finite counts, {got}; name counts from 0 to 65535")
    if not white - black >= LEAST_SPAN:
        raise ContractError(
            f"--range: expected BLACK below WHITE, by {LEAST_SPAN:g} counts at least, {got}; correct them"
        )
    if max(abs(black), abs(white)) > FARTHEST_COUNT:
        raise ContractError(
            f"--range: expected counts within {FARTHEST_COUNT:g} of 0, {got}; name counts from 0 to 65535"
        )
    return FixedAgc(black, white)


class CountingAgc:
    """Another gain control, and the number of 16-bit pictures that came to it."""

    def __init__(self, agc: Agc) -> None:
        """Passes everything on to `agc`."""
        self._agc = agc
        self.pictures = 0

    def curve(self, counts: NDArray[np.uint16]) -> NDArray[np.float32]:
        """The other one's curve."""
        self.pictures += 1
        return self._agc.curve(counts)
