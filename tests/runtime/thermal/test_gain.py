"""The gain of a 16-bit camera over time: no pumping at any frame rate, a fresh start where the scene cuts."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from irvis_runtime.image import read_picture
from irvis_runtime.thermal.agc import Agc, FixedAgc, LinearAgc, PlateauAgc, to_8_bit
from irvis_runtime.thermal.gain import SmoothGain, subsample

SECOND = 1_000_000_000
LINEAR, PLATEAU = LinearAgc(4.0), PlateauAgc(0.1, 4.0)
FAR = np.s_[150:, :60]
"""A corner that nothing hot enters."""
Film = Callable[[int, float], NDArray[np.uint16]]


def ramp(low: int, high: int) -> NDArray[np.uint16]:
    return np.linspace(low, high, 128 * 160).reshape(128, 160).astype(np.uint16)


def largest_step(share_of_time_constant: float) -> float:
    """Of a change of 255 that comes through two stages, in grey levels: 2.146 / e of the time's share."""
    return 255 * 2.146193 / math.e * share_of_time_constant


def test_a_ramp_uses_the_whole_range() -> None:
    grey_hw = SmoothGain(LINEAR, 1.0).apply(ramp(30_000, 31_000), 0)
    assert grey_hw.dtype == np.uint8
    assert (grey_hw[0, 0], grey_hw[-1, -1]) == (0, 255)
    assert (np.diff(grey_hw.reshape(-1).astype(int)) >= 0).all()


@pytest.mark.parametrize("agc", [LINEAR, PLATEAU])
def test_a_scene_of_one_count_is_mid_grey(agc: Agc) -> None:
    assert (SmoothGain(agc, 1.0).apply(np.full((16, 16), 7, np.uint16), 0) == 128).all()


@pytest.mark.parametrize("frames", [9, 30, 60])
def test_63_percent_have_come_after_the_time_constant_whatever_the_frame_rate(frames: int) -> None:
    gain, step_ns = SmoothGain(LINEAR, 1.0), SECOND // frames
    before_hw = gain.apply(ramp(1000, 2000), 0)
    for index in range(1, frames + 1):
        gain.apply(ramp(1000, 2600), index * step_ns)
    middle = ramp(1000, 2000)[64:65]
    began, ends = 127.5, 255 * 500 / 1600
    assert before_hw[64].mean() == pytest.approx(began, abs=2)
    after = gain.apply(middle, frames * step_ns).mean()
    assert after == pytest.approx(ends + (began - ends) * math.exp(-1), abs=2)


@pytest.mark.parametrize("fps", [9, 30])
@pytest.mark.parametrize(
    ("agc", "hot_share", "step_levels", "whole_levels"),
    # In the far corner, between two frames at 30 a second, and for good. Linear gives the hot thing its
    # range, which is what the plateau is against.
    [(LINEAR, 0.05, 6.8, 190), (PLATEAU, 0.01, 0.5, 6), (PLATEAU, 0.05, 1.0, 25), (PLATEAU, 0.2, 2.5, 70)],
)
def test_the_picture_does_not_pump_when_something_hot_enters_and_leaves(
    filmed: Film, fps: int, agc: Agc, hot_share: float, step_levels: float, whole_levels: float
) -> None:
    gain, means = SmoothGain(agc, 1.0), []
    for index in range(6 * fps):
        is_hot = fps <= index < 3 * fps
        grey_hw = gain.apply(filmed(index, hot_share if is_hot else 0.0), index * SECOND // fps)
        means.append(grey_hw[FAR].mean())
    steps = np.abs(np.diff(means))
    assert steps.max() <= step_levels * 30 / fps
    assert steps.max() <= largest_step(1 / fps) + 0.5
    assert np.ptp(means) <= whole_levels
    assert means[-1] == pytest.approx(means[0], abs=12)
    assert gain.resets == 0


def test_a_fixed_range_does_not_move_at_all(filmed: Film) -> None:
    gain = SmoothGain(FixedAgc(7000.0, 12_000.0), 1.0)
    means = [gain.apply(filmed(i, 0.2 * (i % 2)), i * SECOND // 30)[FAR].mean() for i in range(10)]
    assert np.ptp(means) < 0.1


def test_a_real_sequence_is_steady(raw16: Path) -> None:
    """60 frames of a Lepton at 8.7 a second, hand-held.

    Its counts jump by 2 together once; what goes beyond such jumps, at 4 levels a count, is the gain's own.
    """
    frames = [read_picture(path) for path in sorted((raw16 / "Lepton16_sequence").glob("*.tiff"))]
    assert len(frames) == 60
    jumps = np.abs(np.diff([counts_hw.mean() for counts_hw in frames]))
    for agc in (LINEAR, PLATEAU):
        gain = SmoothGain(agc, 1.0)
        means = [gain.apply(hw, round(index * SECOND / 8.7)).mean() for index, hw in enumerate(frames)]
        assert (np.abs(np.diff(means)) - 4 * jumps).max() < 1.5
        assert gain.resets == 0


@pytest.mark.parametrize("agc", [LINEAR, PLATEAU])
def test_another_scene_is_seen_from_its_second_frame_on(filmed: Film, agc: Agc) -> None:
    gain = SmoothGain(agc, 1.0)
    for index in range(5):
        gain.apply(filmed(index, 0.0), index * SECOND // 30)
    first_hw = gain.apply(filmed(5, 0.0) - np.uint16(2000), 5 * SECOND // 30)
    assert (first_hw == 0).all()
    second_counts_hw = filmed(6, 0.0) - np.uint16(2000)
    second_hw = gain.apply(second_counts_hw, 6 * SECOND // 30)
    assert gain.resets == 1
    assert np.array_equal(second_hw, SmoothGain(agc, 1.0).apply(second_counts_hw, 0))


def test_one_frame_of_something_else_changes_nothing(filmed: Film) -> None:
    """A torn frame, or the flag of the shutter."""
    disturbed, undisturbed = SmoothGain(LINEAR, 1.0), SmoothGain(LINEAR, 1.0)
    for index in range(20):
        frame_hw = filmed(index, 0.0)
        if index != 10:
            expected_hw = undisturbed.apply(frame_hw, index * SECOND // 30)
        given_hw = np.zeros_like(frame_hw) if index == 10 else frame_hw
        grey_hw = disturbed.apply(given_hw, index * SECOND // 30)
    assert disturbed.resets == 0
    assert np.abs(grey_hw.astype(int) - expected_hw).max() <= 2


def test_a_sky_at_the_sensors_end_is_no_change_of_scene(filmed: Film) -> None:
    """More than half of the pixels at one count are black by their own curve too."""
    gain = SmoothGain(LINEAR, 1.0)
    for index in range(10):
        counts_hw = filmed(index, 0.0)
        counts_hw[:120] = 0
        gain.apply(counts_hw, index * SECOND // 30)
    assert gain.resets == 0


def test_a_frame_that_is_asked_for_twice_counts_once(filmed: Film) -> None:
    once, twice = SmoothGain(LINEAR, 1.0), SmoothGain(LINEAR, 1.0)
    for index in range(4):
        counts_hw = filmed(index, 0.05) - np.uint16(2000 * (index == 3))
        expected_hw = once.apply(counts_hw, index * SECOND // 30)
        twice.apply(counts_hw, index * SECOND // 30)
        assert np.array_equal(twice.apply(counts_hw, index * SECOND // 30), expected_hw)


def test_zero_time_constant_follows_at_once() -> None:
    gain = SmoothGain(LINEAR, 0.0)
    gain.apply(ramp(0, 100), 0)
    assert np.array_equal(gain.apply(ramp(40_000, 60_000), 1), to_8_bit(ramp(40_000, 60_000), LINEAR))


def test_a_fixed_range_never_moves() -> None:
    agc = FixedAgc(7000.0, 9000.0)
    gain = SmoothGain(agc, 1.0)
    for index, (first, last) in enumerate([(0, 100), (7000, 9000), (60_000, 65_000), (6900, 7100)]):
        counts_hw = ramp(first, last)
        assert np.array_equal(gain.apply(counts_hw, index * 40_000_000), to_8_bit(counts_hw, agc))
    assert gain.resets == 0


@pytest.mark.parametrize(
    ("size_hw", "expected_hw"), [((512, 640), (128, 160)), ((120, 160), (120, 160)), ((256, 320), (128, 160))]
)
def test_a_subsample_has_enough_pixels_side_by_side(
    size_hw: tuple[int, int], expected_hw: tuple[int, int]
) -> None:
    counts_hw = np.zeros(size_hw, np.uint16)
    sample_hw = subsample(counts_hw)
    assert sample_hw.shape == expected_hw
    assert sample_hw.flags.c_contiguous


@pytest.mark.parametrize("agc", [LINEAR, PLATEAU])
def test_a_subsample_shows_what_the_whole_would(filmed: Film, agc: Agc) -> None:
    counts_hw = np.tile(filmed(0, 0.05), (4, 4))
    difference = SmoothGain(agc, 1.0).apply(counts_hw, 0).astype(int) - to_8_bit(counts_hw, agc)
    assert np.abs(difference).max() <= 6


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 65_535), st.integers(0, 65_535), st.integers(0, 2**31), st.integers(-SECOND, SECOND))
def test_any_counts_and_clocks_keep_the_order(low: int, high: int, seed: int, step_ns: int) -> None:
    rng = np.random.default_rng(seed)
    gains = [SmoothGain(agc, 0.5) for agc in (LINEAR, PLATEAU)]
    for index in range(3):
        counts_hw = rng.integers(min(low, high), max(low, high) + 1, (17, 19)).astype(np.uint16)
        for gain in gains:
            grey_hw = gain.apply(counts_hw, index * step_ns)
            assert grey_hw.shape == (17, 19)
            assert grey_hw.dtype == np.uint8
            order = np.argsort(counts_hw, axis=None)
            assert (np.diff(grey_hw.reshape(-1)[order].astype(int)) >= 0).all()
