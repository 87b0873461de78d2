"""The compiled warp against bilinear interpolation in float64, and which warps it refuses.

The bound: a position is rounded to 1/64 of a pixel, by 1/128 at most each way. A row's share of a pixel is
rounded to a sixteenth of a level, and two rows have one: 2 x 1/32. Their sum is rounded to a level: 1/2. So a
pixel lies within 9/16 of the interpolation at the rounded position; from there to the exact one is at most
1/128 of the steepest step between neighbours, each way.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from irvis_runtime.errors import ContractError
from irvis_runtime.kernels.library import Kernels
from irvis_runtime.kernels.warp import BLOCK, FRACTIONS, MAX_START, ROWS, SPAN_PX, plan_warp

from .views import LAYOUTS, laid_out

Positions = tuple[NDArray[np.float32], NDArray[np.float32]]
ROUNDING = 9 / 16

source_sizes = st.tuples(st.integers(ROWS, 80), st.integers(SPAN_PX, 100))
target_sizes = st.tuples(st.integers(1, 60), st.integers(BLOCK, 90))
seeds = st.integers(0, 2**32)


def bilinear(
    picture_hw: NDArray[np.uint8], x_hw: NDArray[np.float64], y_hw: NDArray[np.float64]
) -> NDArray[np.float64]:
    rows, columns = picture_hw.shape
    left, top = np.floor(x_hw).astype(int), np.floor(y_hw).astype(int)
    right, below = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    x, y, levels = x_hw - left, y_hw - top, picture_hw.astype(np.float64)
    upper = (1 - x) * levels[top, left] + x * levels[top, right]
    lower = (1 - x) * levels[below, left] + x * levels[below, right]
    return np.asarray((1 - y) * upper + y * lower)


def in_whole_numbers(
    picture_hw: NDArray[np.uint8], x_64: NDArray[np.int64], y_64: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Bilinear interpolation at 64ths of pixels, each row rounded to a 16th of a level, then their sum."""
    rows, columns = picture_hw.shape
    left, top = x_64 // FRACTIONS, y_64 // FRACTIONS
    x, y, levels = x_64 % FRACTIONS, y_64 % FRACTIONS, picture_hw.astype(np.int64)
    sum_16 = np.zeros_like(x)
    for row, share in ((top, FRACTIONS - y), (np.minimum(top + 1, rows - 1), y)):
        across_64 = (FRACTIONS - x) * levels[row, left] + x * levels[row, np.minimum(left + 1, columns - 1)]
        sum_16 += (across_64 * share + 128) // 256
    return np.asarray((sum_16 + 8) // 16)


def steepest(picture_hw: NDArray[np.uint8]) -> int:
    """The largest step between neighbours in a row and the largest in a column, added."""
    levels = picture_hw.astype(int)
    return int(np.abs(np.diff(levels, axis=0)).max() + np.abs(np.diff(levels, axis=1)).max())


@st.composite
def positions(draw: st.DrawFn, source_hw: tuple[int, int], target_hw: tuple[int, int]) -> Positions:
    """Where a homography takes each pixel from, clamped to the source: zoom, turn, shift and perspective."""
    zoom, turn = draw(st.floats(0.4, 2.5)), draw(st.floats(-0.2, 0.2))
    shift_x, shift_y = draw(st.floats(-10, source_hw[1] / 2)), draw(st.floats(-10, source_hw[0] / 2))
    tilt_x, tilt_y = (draw(st.just(0.0) | st.floats(-1e-3, 1e-3)) for _ in range(2))
    y, x = np.mgrid[0 : target_hw[0], 0 : target_hw[1]].astype(np.float64)
    depth = 1 + tilt_x * x + tilt_y * y
    x_hw = (zoom * (np.cos(turn) * x - np.sin(turn) * y) + shift_x) / depth
    y_hw = (zoom * (np.sin(turn) * x + np.cos(turn) * y) + shift_y) / depth
    return (
        np.clip(x_hw, 0, source_hw[1] - 1).astype(np.float32),
        np.clip(y_hw, 0, source_hw[0] - 1).astype(np.float32),
    )


def fits(x_hw: NDArray[np.float32], y_hw: NDArray[np.float32], source_hw: tuple[int, int]) -> bool:
    """Whether some 3 x 16 pixels hold what each eight pixels take, the last eight of a row too."""
    width = x_hw.shape[1]
    for first in (*range(0, width - BLOCK + 1, BLOCK), width - BLOCK):
        for hw, side, span in ((x_hw, source_hw[1], SPAN_PX), (y_hw, source_hw[0], ROWS)):
            taken = np.rint(hw[:, first : first + BLOCK].astype(np.float64) * FRACTIONS)
            # The first window that reaches the last position, if it has not left the first one behind.
            start = np.maximum(np.ceil(taken.max(axis=1) / FRACTIONS) - (span - 1), 0)
            if (start * FRACTIONS > taken.min(axis=1)).any() or (start > side - span).any():
                return False
    return True


@settings(max_examples=300, deadline=None)
@given(st.data(), source_sizes, target_sizes, st.sampled_from(LAYOUTS), seeds)
def test_is_bilinear_interpolation(
    compiled: Kernels,
    data: st.DataObject,
    source_hw: tuple[int, int],
    target_hw: tuple[int, int],
    layout: str,
    seed: int,
) -> None:
    x_hw, y_hw = data.draw(positions(source_hw, target_hw))
    warp = plan_warp(compiled, x_hw, y_hw, source_hw)
    event(f"planned: {warp is not None}")
    assert (warp is not None) == fits(x_hw, y_hw, source_hw)
    assume(warp is not None)
    assert warp is not None
    picture_hw = laid_out(layout, source_hw, seed)
    warped_hw = warp(picture_hw)
    x_64, y_64 = (np.rint(hw.astype(np.float64) * FRACTIONS).astype(np.int64) for hw in (x_hw, y_hw))
    np.testing.assert_array_equal(warped_hw, in_whole_numbers(picture_hw, x_64, y_64))
    rounded_hw = bilinear(picture_hw, x_64 / FRACTIONS, y_64 / FRACTIONS)
    assert np.abs(warped_hw - rounded_hw).max() <= ROUNDING
    exact_hw = bilinear(picture_hw, x_hw.astype(np.float64), y_hw.astype(np.float64))
    assert np.abs(warped_hw - exact_hw).max() <= ROUNDING + steepest(picture_hw) / 128


@settings(max_examples=50, deadline=None)
@given(seeds, target_sizes)
def test_of_one_window_every_position_serves(
    compiled: Kernels, seed: int, target_hw: tuple[int, int]
) -> None:
    """The smallest source, at any positions, the last row and column among them: no window moves."""
    rng = np.random.default_rng(seed)
    picture_hw = rng.integers(0, 256, (ROWS, SPAN_PX), np.uint8)
    x_hw = (rng.integers(0, 64 * (SPAN_PX - 1) + 1, target_hw) / 64).astype(np.float32)
    y_hw = (rng.integers(0, 64 * (ROWS - 1) + 1, target_hw) / 64).astype(np.float32)
    x_hw[0, 0], y_hw[0, 0] = SPAN_PX - 1, ROWS - 1
    x_hw[-1, -1], y_hw[-1, -1] = SPAN_PX - 1, ROWS - 1
    warp = plan_warp(compiled, x_hw, y_hw, (ROWS, SPAN_PX))
    assert warp is not None
    warped_hw = warp(picture_hw)
    assert warped_hw[0, 0] == warped_hw[-1, -1] == picture_hw[-1, -1]
    exact_hw = bilinear(picture_hw, x_hw.astype(np.float64), y_hw.astype(np.float64))
    assert np.abs(warped_hw - exact_hw).max() <= ROUNDING


@pytest.mark.parametrize("width", [8, 9, 15, 16, 17, 640])
@pytest.mark.parametrize("size_hw", [(3, 16), (5, 700), (480, 640)])
def test_whole_positions_copy(compiled: Kernels, size_hw: tuple[int, int], width: int) -> None:
    picture_hw = laid_out("contiguous", size_hw, 0)
    y_hw, x_hw = np.mgrid[0 : size_hw[0], 0 : min(width, size_hw[1])].astype(np.float32)
    for x, y in ((x_hw, y_hw), (size_hw[1] - 1 - x_hw, size_hw[0] - 1 - y_hw)):
        warp = plan_warp(compiled, x, y, size_hw)
        assert warp is not None
        assert np.array_equal(warp(picture_hw), picture_hw[y.astype(int), x.astype(int)])


def grid(target_hw: tuple[int, int], source_hw: tuple[int, int]) -> Positions:
    y_hw, x_hw = np.mgrid[0 : target_hw[0], 0 : target_hw[1]].astype(np.float32)
    return np.minimum(x_hw, source_hw[1] - 1), np.minimum(y_hw, source_hw[0] - 1)


@pytest.mark.parametrize(
    ("target_hw", "source_hw", "is_planned"),
    [
        ((4, 8), (3, 16), True),
        ((4, 7), (3, 16), False),
        ((4, 8), (2, 16), False),
        ((4, 8), (3, 15), False),
        ((1, 8), (MAX_START, 16), True),
        ((1, 8), (MAX_START + 1, 16), False),
        ((1, 8), (3, MAX_START), True),
        ((1, 8), (3, MAX_START + 1), False),
    ],
)
def test_pictures_that_are_too_small_or_too_long_are_left_to_others(
    compiled: Kernels, target_hw: tuple[int, int], source_hw: tuple[int, int], is_planned: bool
) -> None:
    assert (plan_warp(compiled, *grid(target_hw, source_hw), source_hw) is not None) == is_planned


def test_the_far_corner_of_the_longest_picture_is_reached(compiled: Kernels) -> None:
    picture_hw = np.zeros((3, MAX_START), np.uint8)
    picture_hw[2, -8:] = np.arange(8) + 200
    x_hw = np.arange(MAX_START - 8, MAX_START, dtype=np.float32)[None]
    warp = plan_warp(compiled, x_hw, np.full_like(x_hw, 2), picture_hw.shape)
    assert warp is not None
    assert warp(picture_hw).tolist() == [list(range(200, 208))]


@pytest.mark.parametrize("factor", [1.9, 2.3])
def test_half_as_wide_is_about_the_limit(compiled: Kernels, factor: float) -> None:
    x_hw, y_hw = grid((4, 40), (20, 200))
    assert (plan_warp(compiled, factor * x_hw, y_hw, (20, 200)) is not None) == (factor < 2)


@pytest.mark.parametrize("degrees", [6.0, 9.0])
def test_a_turn_of_some_degrees_is_about_the_limit(compiled: Kernels, degrees: float) -> None:
    x_hw, y_hw = grid((16, 32), (40, 64))
    tilted_hw = (y_hw + 0.9 + np.tan(np.radians(degrees)) * x_hw).astype(np.float32)
    assert (plan_warp(compiled, x_hw, tilted_hw, (40, 64)) is not None) == (degrees < 7)


@pytest.mark.parametrize("wrong", [-0.01, 20.01, float("nan"), float("inf")])
@pytest.mark.parametrize("axis", [0, 1])
def test_positions_outside_the_source_are_refused(compiled: Kernels, axis: int, wrong: float) -> None:
    """The kernel reads where it is told to."""
    both = grid((4, 16), (21, 21))
    both[axis][2, 3] = wrong
    with pytest.raises(ContractError, match="expected positions from 0 to 20, got"):
        plan_warp(compiled, *both, (21, 21))


@pytest.mark.parametrize("other", [np.zeros((20, 31), np.uint8), np.zeros((20, 30), np.uint16)])
def test_another_picture_is_refused(compiled: Kernels, other: NDArray[np.uint8]) -> None:
    warp = plan_warp(compiled, *grid((4, 16), (20, 30)), (20, 30))
    assert warp is not None
    with pytest.raises(ContractError, match=r"expected uint8 \(20, 30\), got"):
        warp(other)
