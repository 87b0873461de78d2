from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from irvis_runtime import ContractError, make_context
from irvis_runtime.context import ContextSmoother, area_weights
from irvis_runtime.contract import CONTEXT_SHAPE
from irvis_runtime.kernels.library import MAX_ROWS

pytestmark = pytest.mark.usefixtures("arithmetic")

sizes = st.tuples(st.integers(16, 300), st.integers(16, 300))


def brute_force(picture_hw: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Every pixel 64 times each way, then plain means of equal parts."""
    height, width = picture_hw.shape
    rows = np.repeat(picture_hw.astype(np.float64), 64, axis=0).reshape(64, height, width).mean(axis=1)
    thumbnail: NDArray[np.float64] = np.repeat(rows, 64, axis=1).reshape(64, 64, width).mean(axis=2)
    return thumbnail


def noise(size_hw: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, size_hw, dtype=np.uint8)


@pytest.mark.parametrize(
    "size_hw",
    [(16, 16), (17, 31), (63, 65), (64, 64), (128, 192), (97, 161), (480, 640), (16, 700), (721, 33)],
)
def test_is_the_area_average(size_hw: tuple[int, int]) -> None:
    infrared, visible = noise(size_hw, 1), noise(size_hw, 2)
    context = make_context(infrared, visible)
    assert context.shape == CONTEXT_SHAPE
    assert context.dtype == np.float32
    np.testing.assert_allclose(context[0, 0], brute_force(infrared), atol=1e-3)
    np.testing.assert_allclose(context[0, 1], brute_force(visible), atol=1e-3)


@given(sizes, st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_mean_is_kept(size_hw: tuple[int, int], seed: int) -> None:
    picture = noise(size_hw, seed)
    thumbnail = make_context(picture, picture)[0, 0]
    assert thumbnail.mean(dtype=np.float64) == pytest.approx(picture.mean(), abs=1e-3)
    assert picture.min() - 1e-3 <= thumbnail.min() <= thumbnail.max() <= picture.max() + 1e-3


@given(sizes, st.integers(0, 255))
@settings(max_examples=40, deadline=None)
def test_constant_stays_constant(size_hw: tuple[int, int], level: int) -> None:
    picture = np.full(size_hw, level, np.uint8)
    np.testing.assert_allclose(make_context(picture, picture), level, atol=1e-4)


def test_multiples_of_64_are_plain_block_means() -> None:
    picture = noise((128, 320))
    blocks = picture.reshape(64, 2, 64, 5).mean(axis=(1, 3))
    np.testing.assert_allclose(make_context(picture, picture)[0, 1], blocks, atol=1e-4)


def test_a_small_picture_is_repeated() -> None:
    picture = noise((16, 32))
    expected = np.repeat(np.repeat(picture, 4, axis=0), 2, axis=1)
    np.testing.assert_allclose(make_context(picture, picture)[0, 0], expected, atol=1e-4)


def test_views_give_the_same_as_copies() -> None:
    picture = noise((90, 120))
    view = picture[::-1, ::2]
    np.testing.assert_array_equal(make_context(view, view), make_context(view.copy(), view.copy()))
    # The two directions are summed one after the other, so that the last bit may differ.
    turned = make_context(picture.T, picture.T)[0, 0].T
    np.testing.assert_allclose(turned, make_context(picture, picture)[0, 0], atol=1e-3)


@pytest.mark.parametrize("view", [np.s_[::-1], np.s_[:, ::-1], np.s_[5:70, 7:99], np.s_[::2, ::3]])
def test_any_layout_is_the_area_average(view: tuple[slice, slice]) -> None:
    picture = noise((90, 120))[view]
    np.testing.assert_allclose(make_context(picture, picture)[0, 1], brute_force(picture), atol=1e-3)


@pytest.mark.parametrize("size_hw", [(MAX_ROWS, 3), (MAX_ROWS + 64, 3), (3, MAX_ROWS + 64)])
def test_a_very_long_picture_is_averaged_too(size_hw: tuple[int, int]) -> None:
    picture = np.full(size_hw, 255, np.uint8)
    np.testing.assert_allclose(make_context(picture, picture), 255, atol=1e-3)


@given(sizes, st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_with_and_without_kernels_agree(size_hw: tuple[int, int], seed: int) -> None:
    """To a ten-thousandth of a level: sums in float32 here, whole numbers there."""
    infrared, visible = noise(size_hw, seed), noise(size_hw, seed + 1)
    either = make_context(infrared, visible)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("irvis_runtime.context.kernels", lambda: None)
        np.testing.assert_allclose(either, make_context(infrared, visible), atol=1e-4)


def test_infrared_comes_first() -> None:
    dark, bright = np.zeros((20, 20), np.uint8), np.full((20, 20), 255, np.uint8)
    context = make_context(dark, bright)
    assert context[0, 0].max() == 0
    np.testing.assert_allclose(context[0, 1], 255)


@pytest.mark.parametrize(
    ("infrared", "visible"),
    [
        (np.zeros((20, 20), np.uint8), np.zeros((20, 21), np.uint8)),
        (np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20, 3), np.uint8)),
        (np.zeros((20, 20), np.float32), np.zeros((20, 20), np.float32)),
        (np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint16)),
        (np.zeros((0, 20), np.uint8), np.zeros((0, 20), np.uint8)),
    ],
)
def test_wrong_pictures_are_refused(infrared: NDArray[np.uint8], visible: NDArray[np.uint8]) -> None:
    with pytest.raises(ContractError, match=r"context: expected two uint8 pictures .* of equal size, got"):
        make_context(infrared, visible)


@given(st.integers(1, 2000))
def test_weights_share_every_pixel_out(length_px: int) -> None:
    weights = area_weights(length_px)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=0), 64 / length_px, rtol=1e-4)
    assert (weights >= 0).all()
    assert not weights.flags.writeable


@pytest.mark.parametrize("fps", [5, 25, 60])
@pytest.mark.parametrize("time_constant_s", [0.2, 0.5, 2.0])
def test_63_percent_after_one_time_constant_at_any_rate(fps: int, time_constant_s: float) -> None:
    smoother = ContextSmoother(time_constant_s)
    smoother.update(np.zeros(CONTEXT_SHAPE, np.float32), 1 / fps)
    bright = np.full(CONTEXT_SHAPE, 100, np.float32)
    frames = int(time_constant_s * fps)
    for _ in range(frames):
        smoother.update(bright, 1 / fps)
    smooth = smoother.update(bright, time_constant_s - frames / fps)
    assert smooth.dtype == np.float32
    np.testing.assert_allclose(smooth, 100 * (1 - math.exp(-1)), rtol=1e-4)


def test_one_long_step_is_many_short_ones() -> None:
    many, one = ContextSmoother(0.5), ContextSmoother(0.5)
    dark, bright = np.zeros(CONTEXT_SHAPE, np.float32), np.full(CONTEXT_SHAPE, 200, np.float32)
    for smoother in (many, one):
        smoother.update(dark, 0.04)
    for _ in range(10):
        gradual = many.update(bright, 0.03)
    np.testing.assert_allclose(gradual, one.update(bright, 0.3), rtol=1e-5)


def test_first_frame_and_the_frame_after_a_reset_are_taken_as_they_are() -> None:
    smoother = ContextSmoother()
    first = np.full(CONTEXT_SHAPE, 50, np.float32)
    np.testing.assert_array_equal(smoother.update(first, 0.04), first)
    assert smoother.update(first * 4, 0.04).max() < 100
    smoother.reset()
    np.testing.assert_array_equal(smoother.update(first * 4, 0.04), first * 4)


def test_no_time_no_change_and_time_never_runs_back() -> None:
    smoother = ContextSmoother(0.5)
    first = np.full(CONTEXT_SHAPE, 50, np.float32)
    smoother.update(first, 0.04)
    for dt_s in (0.0, -3.0):
        np.testing.assert_array_equal(smoother.update(first * 2, dt_s), first)


def test_a_time_constant_of_zero_follows_at_once() -> None:
    smoother = ContextSmoother(0.0)
    for level in (10, 200, 30):
        context = np.full(CONTEXT_SHAPE, level, np.float32)
        np.testing.assert_array_equal(smoother.update(context, 0.04), context)


@given(arrays(np.float32, (1, 2, 4, 4), elements=st.floats(0, 255, width=32)), st.floats(0, 10))
def test_smooth_lies_between_before_and_now(target: NDArray[np.float32], dt_s: float) -> None:
    smoother = ContextSmoother(0.5)
    start = np.full((1, 2, 4, 4), 128, np.float32)
    smoother.update(start, 0.04)
    smooth = smoother.update(target, dt_s)
    assert (smooth >= np.minimum(start, target) - 1e-3).all()
    assert (smooth <= np.maximum(start, target) + 1e-3).all()


@pytest.mark.parametrize("time_constant_s", [-0.1, math.nan, math.inf])
def test_impossible_time_constants_are_refused(time_constant_s: float) -> None:
    with pytest.raises(ContractError, match="context time constant: expected 0 s or more, got"):
        ContextSmoother(time_constant_s)
