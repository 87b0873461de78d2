"""The gain of a 16-bit camera over time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from irvis_runtime.thermal.gain import SmoothGain

SECOND = 1_000_000_000


def ramp(low: int, high: int) -> NDArray[np.uint16]:
    return np.linspace(low, high, 128 * 160).reshape(128, 160).astype(np.uint16)


def test_a_ramp_uses_the_whole_range() -> None:
    grey_hw = SmoothGain(1.0).apply(ramp(30_000, 31_000), 0)
    assert grey_hw.dtype == np.uint8
    assert (grey_hw[0, 0], grey_hw[-1, -1]) == (0, 255)
    assert (np.diff(grey_hw.reshape(-1).astype(int)) >= 0).all()


def test_a_scene_of_one_count_is_mid_grey() -> None:
    assert (SmoothGain(1.0).apply(np.full((16, 16), 7, np.uint16), 0) == 128).all()


@pytest.mark.parametrize("frames", [10, 30])
def test_a_hot_thing_comes_through_with_the_time_constant_whatever_the_frame_rate(frames: int) -> None:
    """After one time constant 63 % of the change of the upper limit has come."""
    gain, step_ns = SmoothGain(1.0), SECOND // frames
    gain.apply(ramp(1000, 2000), 0)
    for index in range(1, frames + 1):
        grey_hw = gain.apply(ramp(1000, 4000), index * step_ns)
    share = 1 - math.exp(-1)
    expected = 255 * (2000 - 1000) / (1000 + share * 2000)
    at_2000 = grey_hw.reshape(-1)[np.searchsorted(ramp(1000, 4000).reshape(-1), 2000)]
    assert at_2000 == pytest.approx(expected, abs=3)


def test_zero_time_constant_follows_at_once() -> None:
    gain = SmoothGain(0.0)
    gain.apply(ramp(0, 100), 0)
    again_hw = gain.apply(ramp(40_000, 60_000), 1)
    assert np.array_equal(again_hw, SmoothGain(0.0).apply(ramp(40_000, 60_000), 0))


@settings(max_examples=30)
@given(st.integers(0, 65_535), st.integers(0, 65_535), st.integers(0, 2**31), st.integers(-SECOND, SECOND))
def test_any_counts_and_clocks_give_grey_levels(low: int, high: int, seed: int, step_ns: int) -> None:
    rng = np.random.default_rng(seed)
    gain = SmoothGain(0.5)
    for index in range(3):
        counts_hw = rng.integers(min(low, high), max(low, high) + 1, (17, 19)).astype(np.uint16)
        grey_hw = gain.apply(counts_hw, index * step_ns)
        assert grey_hw.shape == (17, 19)
        order = np.argsort(counts_hw, axis=None)
        assert (np.diff(grey_hw.reshape(-1)[order].astype(int)) >= 0).all()
