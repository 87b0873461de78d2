from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from irvis_runtime.thermal.agc import stretch_to_8_bit

Picture = NDArray[Any]


@pytest.mark.parametrize("count", [0, 8000, 65535])
def test_constant_counts_become_middle_grey(count: int) -> None:
    assert (stretch_to_8_bit(np.full((20, 20), count, np.uint16)) == 128).all()


def test_one_hot_pixel_on_constant_counts_is_kept() -> None:
    counts_hw = np.full((40, 40), 8000, np.uint16)
    counts_hw[3, 4] = 8010
    expected = np.zeros((40, 40), np.uint8)
    expected[3, 4] = 255
    np.testing.assert_array_equal(stretch_to_8_bit(counts_hw), expected)


@settings(max_examples=50, deadline=None)
@given(arrays(np.uint16, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_stretch_keeps_order_and_fills_the_range(counts_hw: Picture) -> None:
    stretched_hw = stretch_to_8_bit(counts_hw)
    in_order = stretched_hw.ravel()[np.argsort(counts_hw, axis=None)]
    assert (np.diff(in_order.astype(int)) >= 0).all()
    if counts_hw.min() < counts_hw.max():
        assert (in_order[0], in_order[-1]) == (0, 255)
