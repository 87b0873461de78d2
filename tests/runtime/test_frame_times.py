from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.frame_times import FrameTimes


def positions_of(times: FrameTimes, times_ms: list[float]) -> list[float]:
    positions = []
    for time_ms in times_ms:
        times.add(time_ms)
        positions.append(times.position)
    return positions


@given(st.floats(5.0, 240.0), st.integers(1, 200), st.floats(-1e5, 1e5))
def test_times_in_whole_milliseconds_are_a_constant_rate(fps: float, count: int, start_ms: float) -> None:
    times = FrameTimes(fps)
    rounded = [float(round(start_ms + 1e3 * number / fps)) for number in range(count)]
    assert positions_of(times, rounded) == list(range(count))
    assert not times.is_variable
    assert times.guessed == 0


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=40))
def test_positions_are_finite_and_never_go_back(times_ms: list[float]) -> None:
    positions = positions_of(FrameTimes(30.0), times_ms)
    assert all(math.isfinite(position) for position in positions)
    assert positions == sorted(positions)


def test_without_times_frames_are_evenly_spaced() -> None:
    times = FrameTimes(25.0)
    assert positions_of(times, [0.0] * 5) == [0, 1, 2, 3, 4]
    assert times.has_none
    assert not times.is_variable


def test_one_wrong_time_moves_no_other_frame() -> None:
    times = FrameTimes(25.0)
    assert positions_of(times, [0, 40, 0, 120, 200]) == [0, 1, 2, 3, 5]
    assert (times.guessed, times.has_none, times.is_variable) == (1, False, True)


@pytest.mark.parametrize("jump_ms", [-1000.0, 1e9, 1e12])
def test_a_clock_that_begins_anew_goes_on_from_there(jump_ms: float) -> None:
    times = FrameTimes(25.0)
    anew = [jump_ms, jump_ms + 40, jump_ms + 80, jump_ms + 160]
    positions = positions_of(times, [1000, 1040, 1080, *anew])
    assert positions == [0, 1, 2, 3, 4, 5, 7]
