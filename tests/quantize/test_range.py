from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from irvis_quantize.range import Range
from irvis_runtime.errors import ContractError

bounds = st.floats(-1e4, 1e4, width=32)


@given(bounds, bounds)
def test_range_holds_zero_and_its_ends(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    scale, zero_point = Range(low, high).scale_and_zero_point()
    assert scale > 0
    assert 0 <= zero_point <= 255
    assert isinstance(scale, np.float32)
    # Zero is a level, exactly; both ends are within a step of one.
    ends = (0 - zero_point) * float(scale), (255 - zero_point) * float(scale)
    assert ends[0] <= 0.0 <= ends[1]
    assert ends[0] <= min(low, 0.0) + float(scale)
    assert ends[1] >= max(high, 0.0) - float(scale)


@given(bounds, bounds, st.floats(0, 1))
def test_values_in_the_range_come_back_within_a_step(a: float, b: float, share: float) -> None:
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    assume(high - low > 1e-3)
    value = low + share * (high - low)
    scale, zero_point = Range(low, high).scale_and_zero_point()
    level = np.clip(np.rint(value / scale) + zero_point, 0, 255)
    assert abs((level - zero_point) * float(scale) - value) <= 1.01 * float(scale)


@pytest.mark.parametrize(
    ("low", "high"), [(math.nan, 1.0), (0.0, math.nan), (-math.inf, 0.0), (0.0, math.inf), (2.0, 1.0)]
)
def test_range_refuses_what_no_levels_span(low: float, high: float) -> None:
    with pytest.raises(ContractError, match="expected finite bounds, the lower one first, got"):
        Range(low, high)


def test_a_flat_range_still_has_steps() -> None:
    scale, zero_point = Range(0.0, 0.0).scale_and_zero_point()
    assert scale > 0
    assert zero_point == 0
