"""Frozen, black and slow cameras are told from still, dark and patient ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.cameras.frames import Frame
from irvis_runtime.cameras.health import Health, HealthLimits

MS = 1_000_000
LIMITS = HealthLimits(frozen_ms=2000, black_ms=3000, slow_fps=3)


def noisy(index: int) -> NDArray[Any]:
    rng = np.random.default_rng(index)
    return (100 + rng.integers(-1, 2, (60, 80))).astype(np.uint8)


def first_fault(
    picture: Callable[[int], NDArray[Any]], seconds: float, fps: float = 10, *, is_full: bool = True
) -> tuple[float, str] | None:
    """When and as what a new camera is called faulty."""
    health = Health(LIMITS)
    for index in range(round(seconds * fps)):
        frame = Frame(picture(index), None, round(index / fps * 1e9), "", is_full)
        fault = health.fault(frame, fps)
        if fault:
            return index / fps, fault
    return None


def test_a_still_scene_with_noise_is_healthy() -> None:
    assert first_fault(noisy, 30) is None


def test_an_exact_repeat_is_frozen_after_the_stated_time() -> None:
    assert first_fault(lambda index: noisy(min(index, 20)), 10) == (4.0, "frozen: one picture for 2 s")


def test_one_pixel_that_the_sample_misses_is_life() -> None:
    def picture(index: int) -> NDArray[Any]:
        picture_hw = noisy(0)
        picture_hw[1, 1] = index % 2
        return picture_hw

    assert first_fault(picture, 10) is None


def test_a_frozen_camera_stays_frozen_over_a_restart_and_recovers_with_a_new_picture() -> None:
    health = Health(LIMITS)
    frames = [Frame(noisy(0), None, index * 500 * MS, "", True) for index in range(6)]
    assert [bool(health.fault(frame, 2)) for frame in frames] == [False] * 4 + [True] * 2
    health.restart()
    assert health.fault(Frame(noisy(0), None, 9000 * MS, "", True), 2)
    assert not health.fault(Frame(noisy(1), None, 9500 * MS, "", True), 2)


@pytest.mark.parametrize(
    ("level", "is_full", "is_black"), [(4, True, True), (12, True, False), (20, False, True)]
)
def test_black_is_a_picture_without_a_pixel_above_black(level: int, is_full: bool, is_black: bool) -> None:
    def picture(index: int) -> NDArray[Any]:
        return (level - np.random.default_rng(index).integers(0, 3, (64, 64))).astype(np.uint8)

    found = first_fault(picture, 10, is_full=is_full)
    assert found == ((3.0, "black for 3 s") if is_black else None)


def test_a_lamp_in_the_night_is_no_fault() -> None:
    def picture(index: int) -> NDArray[Any]:
        picture_hw = np.random.default_rng(index).integers(0, 3, (64, 64)).astype(np.uint8)
        picture_hw[20:40, 20:40] = 200
        return picture_hw

    assert first_fault(picture, 10) is None


def test_counts_of_a_cold_scene_are_not_black() -> None:
    assert first_fault(lambda index: np.full((8, 8), index % 5, np.uint16), 10) is None


def test_a_camera_that_falls_below_the_least_rate_is_too_slow() -> None:
    health = Health(LIMITS)
    time_ns, faults = 0, []
    for index in range(200):
        time_ns += (100 if index < 100 else 500) * MS
        fault = health.fault(Frame(noisy(index), None, time_ns, "", True), 10)
        if fault:
            faults.append((time_ns / 1e9, fault))
    assert faults[0][1].startswith("too slow: ")
    assert 13 < faults[0][0] < 16
    # The next verdict takes twice as long.
    assert 8 <= faults[1][0] - faults[0][0] <= 10


def test_a_camera_that_is_meant_to_be_slow_is_not_too_slow() -> None:
    assert first_fault(noisy, 60, fps=1) is None


def test_every_check_can_be_switched_off() -> None:
    health = Health(HealthLimits())
    black_hw = np.zeros((8, 8), np.uint8)
    assert not any(health.fault(Frame(black_hw, None, n * 10**10, "", True), 30) for n in range(20))
